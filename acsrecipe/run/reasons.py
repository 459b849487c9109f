"""Why a task runs again: the earlier task, as the log keeps it, against the one of the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from acsrecipe.plan.downloads import FETCH
from acsrecipe.plan.model import (
    ARCHIVED,
    HeaderChange,
    Plan,
    PlannedFile,
    PlannedReference,
    ReferenceChange,
    Scalar,
    Task,
)
from acsrecipe.run.journal import Finished

TOLD = {"after", "edits", "engine", "fingerprint", "inputs", "outputs", "parameters", "references"}
"""Fields of a task whose differences are told one by one."""

MOST = 3
"""Reasons that are told; of more, only how many."""


def why_again(
    plan: Plan,
    before: Mapping[str, Finished],
    makers: Mapping[str, Mapping[str, str]],
    lacks: Callable[[dict[str, Any]], str],
) -> dict[str, str]:
    """Say of each task that has to run why; what is not in the answer is kept.

    Parameters
    ----------
    plan : Plan
    before : mapping
        What the log says had finished, by task.
    makers : mapping
        Who makes the files that a task reads: see :func:`acsrecipe.run.schedule.find_makers`.
    lacks : callable
        Says what is wrong with an output that the log names (``is gone``), or nothing.
    """
    reasons: dict[str, str] = {}
    for task in plan.tasks:
        if task.kind == FETCH:
            continue
        earlier = before.get(task.id)
        if earlier is None:
            reasons[task.id] = "new"
        elif earlier.fingerprint != task.fingerprint:
            reasons[task.id] = _what_changed(plan, task, earlier, reasons)
        elif lost := _first_lost(earlier.outputs, lacks):
            reasons[task.id] = lost
    for task in reversed(plan.tasks):
        # What a task passes on without publishing it is swept; it has to be made again for those that need it.
        if task.id in reasons:
            for name, maker in makers[task.id].items():
                if maker in before and maker not in reasons and _is_lost(name, before[maker], lacks):
                    reasons[maker] = f"{task.id} needs what it makes"
    _add_fetches(plan, reasons)
    return reasons


def _add_fetches(plan: Plan, reasons: dict[str, str]) -> None:
    """Fetch what a task that runs is going to read, and nothing else."""
    readers: dict[str, list[str]] = {}
    for task in plan.tasks:
        for earlier in task.after:
            if task.id in reasons:
                readers.setdefault(earlier, []).append(task.id)
    for task in plan.tasks:
        if task.kind == FETCH and (mine := readers.get(task.id)):
            reasons[task.id] = f"{mine[0]} needs it" + (f", and {len(mine) - 1} more" if len(mine) > 1 else "")


def _first_lost(outputs: Sequence[dict[str, Any]], lacks: Callable[[dict[str, Any]], str]) -> str:
    """Name the first published product that is not as it was left; a trailer is no reason to calibrate again."""
    for output in outputs:
        if output["folder"] not in ("", "logs") and (how := lacks(output)):
            return f"{output['name']} {how}"
    return ""


def _is_lost(name: str, maker: Finished, lacks: Callable[[dict[str, Any]], str]) -> bool:
    return any(output["name"] == name and lacks(output) for output in maker.outputs)


def _what_changed(plan: Plan, task: Task, earlier: Finished, reasons: Mapping[str, str]) -> str:
    try:
        old = Task.model_validate(earlier.event.get("asked"))
    except ValidationError:
        return "its recipe, inputs, references or engine changed"
    found = [*_differences(plan, old, task)]
    if not found:
        again = [name for name in task.after if name in reasons]
        found = [f"{again[0]} is done again"] if again else ["what it follows changed"]
    return "; ".join(found[:MOST]) + (f"; and {len(found) - MOST} more" if len(found) > MOST else "")


def _differences(plan: Plan, old: Task, new: Task) -> Iterator[str]:
    if old.engine != new.engine:
        name, _, version = new.engine.partition(" ")
        same = old.engine.partition(" ")[0] == name
        yield f"engine {old.engine} -> {version if same else new.engine}"
    yield from _changed_inputs(old.inputs, new.inputs)
    yield from _changed_edits(plan, old, new)
    yield from _changed_references(plan, old.references, new)
    for key in sorted({*old.parameters, *new.parameters}):
        before, after = old.parameters.get(key), new.parameters.get(key)
        if before != after:
            yield f"{key} {_show(before)} -> {_show(after)}"
    for name in sorted(set(Task.model_fields) - TOLD):
        if getattr(old, name) != getattr(new, name):
            yield f"{name} {_show(getattr(old, name))} -> {_show(getattr(new, name))}"
    made, wanted = ({output.name for output in task.outputs} for task in (old, new))
    if made != wanted:
        yield f"makes {', '.join(sorted(wanted - made)) or 'less than before'}"


def _changed_inputs(old: Sequence[PlannedFile], new: Sequence[PlannedFile]) -> Iterator[str]:
    before = {(file.role, _bare(file.path)): file for file in old}
    after = {(file.role, _bare(file.path)): file for file in new}
    for key in sorted({*before, *after}):
        if key not in after:
            yield f"{key[1]} is no longer read"
        elif key not in before:
            yield f"{key[1]} is read as well"
        elif _content(before[key]) != _content(after[key]):
            yield f"{key[1]} changed"


def _changed_references(plan: Plan, old: Sequence[PlannedReference], new: Task) -> Iterator[str]:
    before = {(file.keyword, file.name): file for file in old}
    after = {(file.keyword, file.name): file for file in new.references}
    gone = {keyword: name for keyword, name in before if (keyword, name) not in after}
    for keyword, name in sorted(after):
        if (keyword, name) not in before:
            yield f"{keyword} {gone.pop(keyword, 'none')} -> {name}{_address(plan, new, keyword)}"
        elif _content(before[keyword, name]) != _content(after[keyword, name]):
            yield f"{keyword} changed: {name} has other content"
    for keyword, name in gone.items():
        yield f"{keyword} {name} is no longer used"


def _changed_edits(plan: Plan, old: Task, new: Task) -> Iterator[str]:
    references = {file.keyword for file in (*old.references, *new.references)}
    for name in sorted({*old.edits, *new.edits}):
        before = {(hdu, keyword): value for hdu, keyword, value in old.edits.get(name, ())}
        after = {(hdu, keyword): value for hdu, keyword, value in new.edits.get(name, ())}
        for hdu, keyword in sorted({*before, *after}):
            if before.get((hdu, keyword)) == after.get((hdu, keyword)) or keyword in references:
                continue
            was = _edited(before, (hdu, keyword), plan, name)
            now = _edited(after, (hdu, keyword), plan, name)
            yield f"{keyword} {was} -> {now}{_address(plan, new, keyword)}"


def _edited(edits: Mapping[tuple[str, str], Scalar], key: tuple[str, str], plan: Plan, name: str) -> str:
    """Give what a card becomes: its edit, or, where it has none, what was delivered as far as the plan says so."""
    if key in edits:
        return _show(edits[key])
    changes: list[HeaderChange | ReferenceChange] = [*plan.header_changes, *plan.reference_changes]
    old = [one.old for one in changes if one.keyword == key[1] and _bare(one.file) == name]
    return _show(old[0]) if old else "as delivered"


def _address(plan: Plan, task: Task, keyword: str) -> str:
    """Give the line of the recipe that asks for a change, in brackets."""
    own = {file.path for file in task.inputs}
    changes: list[HeaderChange | ReferenceChange] = [*plan.header_changes, *plan.reference_changes]
    for change in changes:
        if change.keyword == keyword and change.file in own:
            where = change.why.where or change.why.context
            return f" ({where})" if where else ""
    return ""


def _content(file: PlannedFile | PlannedReference) -> tuple[int, str, str]:
    if file.path.startswith(ARCHIVED) and isinstance(file, PlannedFile):
        return file.size, file.seen, ""
    return file.size, file.sha256, file.sha1


def _bare(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _show(value: object) -> str:
    return "none" if value is None else str(value)
