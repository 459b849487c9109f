"""Locks in Python: make one, check it, move a pin of it, and plan exactly what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from acsrecipe.api.diff import with_context
from acsrecipe.api.look import base_folder
from acsrecipe.api.road import PACKAGES, build_plan, versions
from acsrecipe.environment import Environment
from acsrecipe.errors import AcsRecipeError, IntegrityError, UsageError
from acsrecipe.files import sha256_file, write_atomic
from acsrecipe.inputs.header import read_whole
from acsrecipe.plan.compare import Comparison, compare_plans
from acsrecipe.plan.lock import Lock, LockDifference, compare_locks, from_toml, lock_plan, move_pin, to_toml
from acsrecipe.plan.model import Plan
from acsrecipe.recipe.toml import LoadedRecipe, split_variant

LARGEST_LOCK = 1 << 26
MOST_NAMED = 20
KEPT = "recipe.lock"
"""Its name in the folder of a run."""


@dataclass(frozen=True)
class Upgrade:
    """A lock with one pin moved: what moved, and what that changes in the plan."""

    lock: Lock
    moved: tuple[LockDifference, ...]
    changes: Comparison | None


def lock_path(recipe: Path) -> Path:
    """Say where a recipe's lock lies: beside it, ``recipe.lock``; that of a variant ``recipe-cte.lock``."""
    file, variant = split_variant(recipe)
    return file.with_name(f"{file.stem}-{variant}.lock" if variant else f"{file.stem}.lock")


def make_lock(
    recipe: LoadedRecipe, *, environment: Environment | None = None, engine: str | None = None, context: str = ""
) -> Lock:
    """Resolve a recipe now, and hash all that it needs; writes nothing.

    Parameters
    ----------
    recipe : LoadedRecipe
    environment : Environment, optional
    engine : str, optional
        Stands above the recipe's.
    context : str
        A CRDS context that stands above the recipe's.

    Raises
    ------
    AcsRecipeError
        As :func:`acsrecipe.api.build_plan`.
    """
    asked = with_context(recipe, context) if context else recipe
    plan = build_plan(asked, environment=environment, engine=engine)
    return _lock(plan, recipe)


def _lock(plan: Plan, recipe: LoadedRecipe) -> Lock:
    return lock_plan(plan, recipe.recipe, _packages(), _hashes(plan, recipe), recipe.recipe.references.override)


def _packages() -> Mapping[str, str]:
    return {name: number for name, number in versions().items() if name in PACKAGES}


def _hashes(plan: Plan, recipe: LoadedRecipe) -> dict[tuple[str, str], str]:
    """Read every reference that is here: its sha256 is of the bytes on the disk now."""
    base = base_folder(recipe)
    found: dict[tuple[str, str], str] = {}
    read: dict[Path, str] = {}
    for task in plan.tasks:
        for reference in task.references:
            path = base / reference.path
            if reference.path and path.is_file():
                if path not in read:
                    read[path] = sha256_file(path)
                found[reference.keyword, reference.name] = read[path]
    return found


def write_lock(lock: Lock, path: Path) -> None:
    """Write a lock file, whole or not at all."""
    write_atomic(path, to_toml(lock).encode())


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises
    ------
    UsageError
        There is none.
    IntegrityError
        L001: it was edited or damaged.
    """
    if not path.is_file():
        msg = "there is no lock"
        raise UsageError(msg, where=str(path), hint="`acsrecipe lock RECIPE` writes one", code="L002")
    try:
        return from_toml(read_whole(path, LARGEST_LOCK).decode(), str(path))
    except UnicodeDecodeError as error:
        msg = "the lock was edited or damaged: it is not text"
        raise IntegrityError(msg, where=str(path), hint="`acsrecipe lock` writes it anew", code="L001") from error


def keep_lock(recipe: Path, run: Path) -> None:
    """Put a copy of a recipe's lock into the folder of a locked run, for audits."""
    write_atomic(run / KEPT, read_whole(lock_path(recipe), LARGEST_LOCK))


def check_lock(
    lock: Lock, recipe: LoadedRecipe, *, environment: Environment | None = None
) -> tuple[LockDifference, ...]:
    """Resolve the recipe as it would be without the lock, and say what is not as the lock has it."""
    return compare_locks(lock, make_lock(recipe, environment=environment, engine=_engine_asked(lock, recipe)))


def _engine_asked(lock: Lock, recipe: LoadedRecipe) -> str | None:
    """Ask for the locked engine where the recipe leaves it open: that another one is here too is no difference."""
    return lock.engine.name if recipe.recipe.calibrate.engine == "auto" else None


def build_locked_plan(
    recipe: LoadedRecipe, lock: Lock, *, environment: Environment | None = None, engine: str | None = None
) -> Plan:
    """Plan a recipe exactly as its lock has it.

    Raises
    ------
    IntegrityError
        L003: anything is not as locked; each is named.
    """
    asked = recipe
    if lock.context and recipe.recipe.references.context in ("latest", lock.context.name):
        asked = with_context(recipe, lock.context.name)
    plan = build_plan(asked, environment=environment, engine=engine or _engine_asked(lock, recipe))
    found = compare_locks(lock, _lock(plan, recipe))
    if found:
        lines = [one.text for one in found[:MOST_NAMED]]
        if len(found) > MOST_NAMED:
            lines.append(f"and {len(found) - MOST_NAMED} more")
        count = "1 thing is" if len(found) == 1 else f"{len(found)} things are"
        msg = f"{count} not as locked\n  " + "\n  ".join(lines)
        raise IntegrityError(
            msg,
            where=recipe.file,
            hint="`acsrecipe lock --check` says it again; `acsrecipe lock --upgrade NAME` moves one pin",
            code="L003",
        )
    engine_used = plan.engine.model_copy(update={"why": "the lock has it"}) if plan.engine else None
    context = plan.context
    if context is not None:
        said = {"asked": recipe.recipe.references.context, "source": "the lock"}
        context = context.model_copy(update=said)
    return plan.model_copy(update={"engine": engine_used, "context": context})


def upgrade_lock(lock: Lock, recipe: LoadedRecipe, what: str, *, environment: Environment | None = None) -> Upgrade:
    """Move one pin to what is now, and leave all others.

    Parameters
    ----------
    what : str
        See :func:`acsrecipe.plan.lock.move_pin`.

    Raises
    ------
    UsageError
        There is no such pin.
    """
    held = lock.context.name if lock.context and what != "context" else ""
    engine = None if what == "engine" else lock.engine.name or None
    asked = with_context(recipe, held) if held else recipe
    plan = build_plan(asked, environment=environment, engine=engine)
    moved = move_pin(lock, _lock(plan, recipe), what)
    if moved is None:
        known = ["context", "references", "engine", "inputs", "recipe", "packages", *sorted(lock.packages)]
        msg = f"the lock has no pin {what!r}"
        raise UsageError(msg, hint=f"{', '.join(known)}, a reference keyword or a file name", code="L004")
    changes = None
    try:
        before = with_context(recipe, lock.context.name) if lock.context else recipe
        old = build_plan(before, environment=environment, engine=lock.engine.name or None)
        changes = compare_plans(old, plan, ("locked", "upgraded"))
    except AcsRecipeError:
        # What was locked can't be had here any more; the pin moves all the same.
        changes = None
    return Upgrade(moved, compare_locks(lock, moved), changes)
