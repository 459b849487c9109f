"""Whose is what in the folder of a run: nothing of the user's is swept, filled, replaced or read as if it were ours."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from acsrecipe.errors import OutputError
from acsrecipe.plan.model import Plan

FOLDERS = ("products", "plots", "logs")
LOG = "provenance.jsonl"
WORK = "work"
WORKERS_LOG = "workers.log"


def refuse_foreign(root: Path) -> None:
    """Refuse a folder in which something of another's stands where a run would write.

    Raises
    ------
    OutputError
        O008: a link where a folder or log of ours belongs, or a ``work`` that no run of ours left.
    """
    for name in (*FOLDERS, LOG, "plan.json", f"logs/{WORKERS_LOG}"):
        if (root / name).is_symlink():
            msg = f"{name} is a link: what is written there would land elsewhere"
            raise OutputError(msg, where=str(root), hint="remove the link, or name another folder", code="O008")
    work = root / WORK
    if not (root / LOG).exists() and work.is_dir() and not work.is_symlink() and any(work.iterdir()):
        msg = f"{WORK}/ is not empty, and no run has been here: runs keep, and sweep, their attempts in it"
        raise OutputError(msg, where=str(root), hint="name another folder with --output", code="O008")


def refuse_own_inputs(plan: Plan, base: Path, root: Path) -> None:
    """Refuse to read from where this run writes: what is there could be replaced under the task that reads it.

    Raises
    ------
    OutputError
        O007.
    """
    home = Path(os.path.realpath(root))
    ours = [Path(os.path.realpath(root / name)) for name in (*FOLDERS, WORK)]
    for task in plan.tasks:
        for name in (*(one.path for one in task.inputs), *(one.path for one in task.references)):
            path = Path(os.path.realpath(base / name))
            if path.parent == home or any(path.is_relative_to(folder) for folder in ours):
                msg = f"{name} lies where this run would write"
                hint = "name another folder with --output: what a run reads and what it makes must stay apart"
                raise OutputError(msg, where=str(root), hint=hint, code="O007")


def refuse_other_recipe(before: str, plan: Plan, root: Path) -> None:
    """Refuse a folder that holds the run of a recipe of another name: its products would be replaced.

    Raises
    ------
    OutputError
        O009.
    """
    if before and before != plan.recipe:
        msg = f"holds the run of the recipe {before!r}, not of {plan.recipe!r}"
        hint = "name another folder with --output; a recipe that keeps its name goes on where it was"
        raise OutputError(msg, where=str(root), hint=hint, code="O009")


def find_left_over(published: Mapping[str, object], plan: Plan, root: Path) -> tuple[str, ...]:
    """Find products and plots of earlier plans that this one does not make, and that are still there."""
    made = {f"{output.folder}/{output.name}" for output in plan.products}
    return tuple(sorted(name for name in _outputs(published) if name not in made and (root / name).exists()))


def _outputs(published: Iterable[str]) -> Iterable[str]:
    return (name for name in published if name.startswith(("products/", "plots/")))
