"""What changed since a plan was made: its files, its references, its engine, or the plan itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from acsrecipe.errors import IntegrityError
from acsrecipe.files import sha256_file
from acsrecipe.inputs.store import Store
from acsrecipe.plan.model import ARCHIVED, EngineAbility, Plan, PlannedFile, PlannedReference, fingerprint

AT_ONCE = 2
"""Files that are read at the same time."""

SHORT = 12
"""Letters of a hash that are shown."""


def refuse_drift(plan: Plan, base: Path, engines: Sequence[EngineAbility], store: Path | None = None) -> None:
    """Refuse to run a plan that no longer says what would happen.

    Parameters
    ----------
    plan : Plan
    base : Path
        Where its relative paths start.
    engines : sequence of EngineAbility
        The engines that are here.
    store : Path, optional
        The folder of downloads.

    Raises
    ------
    IntegrityError
        With every difference: D001.
    """
    found = [*_edited_tasks(plan), *_engine_differences(plan, engines), *_file_differences(plan, base, store)]
    if found:
        msg = f"{len(found)} things are not as when the plan was made:\n" + "\n".join(f"    {one}" for one in found)
        hint = "make the plan again from its recipe, look at it, and run that"
        raise IntegrityError(msg if len(found) > 1 else found[0], where=plan.recipe_file, hint=hint, code="D001")


def _edited_tasks(plan: Plan) -> Iterator[str]:
    before: dict[str, str] = {}
    for task in plan.tasks:
        before[task.id] = task.fingerprint
        if any(name not in before for name in task.after) or fingerprint(task, before) != task.fingerprint:
            yield f"{task.id} was changed in the plan itself: its fingerprint does not fit"


def _engine_differences(plan: Plan, engines: Sequence[EngineAbility]) -> Iterator[str]:
    if plan.engine is None or not any(task.engine for task in plan.tasks):
        return
    here = next((one for one in engines if one.name == plan.engine.name), None)
    if here is None or not here.available:
        detail = f": {here.detail}" if here is not None and here.detail else ""
        yield f"engine {plan.engine.name} {plan.engine.version} -> not here{detail}"
    elif here.version != plan.engine.version:
        yield f"engine {plan.engine.name} {plan.engine.version} -> {here.version}"


def _file_differences(plan: Plan, base: Path, store: Path | None) -> Iterator[str]:
    files: dict[tuple[str, str], PlannedFile | PlannedReference] = {}
    for task in plan.tasks:
        read: list[PlannedFile | PlannedReference] = [*task.inputs, *task.references]
        for file in read:
            if not file.source:  # What is fetched is checked when it comes.
                files[file.path, file.sha256 or file.sha1] = file
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for file, how in zip(files.values(), pool.map(partial(_difference, base, store), files.values()), strict=True):
            if how:
                keyword = f"{file.keyword} " if isinstance(file, PlannedReference) else ""
                yield f"{keyword}{file.path} {how}"


def _difference(base: Path, store: Path | None, file: PlannedFile | PlannedReference) -> str:
    if file.path.startswith(ARCHIVED):
        if store is None or not Store(store).path(file.sha256).is_file():
            return "is not among the downloads any more"
        return ""  # It lies under its own hash, which is checked when it is staged.
    path = base / file.path
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"has {size} bytes, the plan saw {file.size}"
        if file.sha256:
            digest, wanted = sha256_file(path), file.sha256
        else:
            digest, wanted = _sha1_file(path) if file.sha1 else "", file.sha1
    except OSError as error:
        return f"can't be read: {error.strerror or error}"
    if digest != wanted:
        kind = "sha256" if file.sha256 else "sha1"
        return f"has other content: {kind} {wanted[:SHORT]}... -> {digest[:SHORT]}..."
    return ""


def _sha1_file(path: Path) -> str:
    import hashlib

    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
