"""Fetch tasks: what a plan needs and this machine has not got yet."""

from __future__ import annotations

from collections.abc import Sequence

from acsrecipe.plan.model import Plan, PlannedFile, PlannedReference, Task

FETCH = "fetch"
REFERENCES = f"{FETCH}/references"


def with_downloads(tasks: Sequence[Task]) -> list[Task]:
    """Put a task that fetches before those that read what is not here: one an exposure, and one for all references.

    Tasks whose files are all here are given back as they are.
    """
    files: dict[str, dict[str, PlannedFile]] = {}
    references: dict[str, PlannedReference] = {}
    waiting = []
    for task in tasks:
        before = []
        for file in task.inputs:
            if file.source:
                name = f"{FETCH}/{file.path.rsplit('/', 1)[-1].partition('_')[0]}"
                files.setdefault(name, {})[file.path] = file
                before.append(name)
        for reference in task.references:
            if reference.source:
                references[reference.name] = reference
                before.append(REFERENCES)
        after = tuple(dict.fromkeys([*before, *task.after]))
        waiting.append(task.model_copy(update={"after": after}) if before else task)
    fetches = [_fetch_task(name, tuple(some.values())) for name, some in files.items()]
    if references:
        wanted = tuple(references[name] for name in sorted(references))
        fetches.append(Task(id=REFERENCES, kind=FETCH, exposures=(), references=wanted))
    return [*fetches, *waiting]


def _fetch_task(name: str, files: tuple[PlannedFile, ...]) -> Task:
    return Task(
        id=name,
        kind=FETCH,
        exposures=(name.partition("/")[2],),
        inputs=files,
    )


def count_downloads(plan: Plan) -> tuple[int, int]:
    """Give the number of files that a run of the plan would download, and their bytes."""
    fetches = [task for task in plan.tasks if task.kind == FETCH]
    sizes = [max(0, file.size) for task in fetches for file in task.inputs]
    sizes += [reference.size for task in fetches for reference in task.references]
    return len(sizes), sum(sizes)
