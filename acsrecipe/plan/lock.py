"""The lock: what a recipe was resolved to, so that it can be had again exactly. Plan in, TOML out, and back.

A lock says nothing of where files lie, only what they are: it holds in another folder, for another user.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import tomli
from pydantic import BaseModel, ConfigDict, ValidationError

from acsrecipe.errors import IntegrityError
from acsrecipe.plan.model import Plan, canonical
from acsrecipe.recipe.model import Recipe
from acsrecipe.recipe.toml_text import write_key, write_value

HEAD = """\
# What acsrecipe resolved for {recipe}. Not to be edited: `acsrecipe lock` writes it,
# `acsrecipe lock --check` compares it with what is, `acsrecipe run --locked` does nothing else.
"""
PARTS = ("observations", "association", "switches", "headers", "references", "calibrate", "post", "provenance")
WHEREABOUTS = {"observations": ("archive",), "references": ("cache", "server"), "calibrate": ("threads",)}
"""What a recipe says of places and speed; the lock does not hold anybody to it."""

Kind = Literal["recipe", "context", "rules", "engine", "package", "input", "reference"]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LockedFile(_Data):
    """An input or a reference, and what makes it itself.

    Attributes
    ----------
    role : str
        ``RAW``, ``SPT``, ``ASN``; for references the keyword.
    name : str
        Bare file name.
    size : int
    sha256, sha1, seen : str
        Those that are known; ``seen`` is what an archive shows before a download.
    custom : bool
        A reference of the user's own.
    """

    role: str
    name: str
    size: int
    sha256: str = ""
    sha1: str = ""
    seen: str = ""
    custom: bool = False


class LockedRecipe(_Data):
    """The recipe: its file, and a hash of what each part of it asks for."""

    name: str
    file: str
    sha256: str
    parts: dict[str, str]


class LockedContext(_Data):
    """The CRDS context, with the sha1 of each of its rules (as CRDS defines it)."""

    name: str
    mappings: dict[str, str]


class LockedEngine(_Data):
    """The engine that calibrates."""

    name: str
    version: str


class Lock(_Data):
    """All that a locked run is held to."""

    format: Literal[1] = 1
    recipe: LockedRecipe
    context: LockedContext | None
    engine: LockedEngine
    packages: dict[str, str]
    inputs: tuple[LockedFile, ...]
    references: tuple[LockedFile, ...]


class LockDifference(_Data):
    """One thing that is not as the lock has it."""

    kind: Kind
    name: str
    locked: str
    found: str

    @property
    def text(self) -> str:
        """Say it in a line."""
        return f"{self.kind} {self.name}: the lock has {self.locked or 'none'}, found {self.found or 'none'}"


def lock_plan(
    plan: Plan,
    recipe: Recipe,
    versions: Mapping[str, str],
    hashes: Mapping[tuple[str, str], str],
    custom: Iterable[str],
) -> Lock:
    """Turn a plan into a lock.

    Parameters
    ----------
    plan : Plan
    recipe : Recipe
    versions : mapping
        Of the packages that touch data.
    hashes : mapping
        (keyword, name) of each reference that is on this machine to its sha256.
    custom : iterable of str
        Reference keywords whose file the recipe names itself.
    """
    own = set(custom)
    inputs = {
        (file.role, _name(file.path)): LockedFile(
            role=file.role, name=_name(file.path), size=file.size, sha256=file.sha256, seen=file.seen
        )
        for task in plan.tasks
        for file in task.inputs
    }
    references = {
        (one.keyword, one.name): LockedFile(
            role=one.keyword,
            name=one.name,
            size=one.size,
            sha256=hashes.get((one.keyword, one.name), one.sha256),
            sha1=one.sha1,
            custom=one.keyword in own,
        )
        for task in plan.tasks
        if task.kind != "fetch"
        for one in task.references
    }
    context = plan.context
    return Lock(
        recipe=LockedRecipe(name=plan.recipe, file=plan.recipe_file, sha256=plan.recipe_sha256, parts=parts_of(recipe)),
        context=LockedContext(name=context.name, mappings=context.mappings) if context else None,
        engine=LockedEngine(
            name=plan.engine.name if plan.engine else "", version=plan.engine.version if plan.engine else ""
        ),
        packages=dict(sorted(versions.items())),
        inputs=tuple(inputs[key] for key in sorted(inputs)),
        references=tuple(references[key] for key in sorted(references)),
    )


def parts_of(recipe: Recipe) -> dict[str, str]:
    """Hash what each part of a recipe asks for: comments, order of keys and whereabouts do not count."""
    data = recipe.model_dump(mode="json")
    found = {}
    for part in PARTS:
        asked = data[part]
        if isinstance(asked, dict):
            asked = {key: value for key, value in asked.items() if key not in WHEREABOUTS.get(part, ())}
        found[part] = hashlib.sha256(canonical(asked).encode()).hexdigest()[:16]
    return found


def compare_locks(locked: Lock, now: Lock) -> tuple[LockDifference, ...]:
    """List what is not as the lock has it, in words that name it."""
    found: list[LockDifference] = []

    def note(kind: Kind, name: str, a: str, b: str) -> None:
        if a != b:
            found.append(LockDifference(kind=kind, name=name, locked=a, found=b))

    for part in sorted(locked.recipe.parts.keys() | now.recipe.parts.keys()):
        one, other = locked.recipe.parts.get(part, ""), now.recipe.parts.get(part, "")
        note("recipe", f"[{part}] of {now.recipe.file}", one and f"content {one}", other and f"content {other}")
    here, there = locked.context, now.context
    note("context", "of CRDS", here.name if here else "", there.name if there else "")
    if here and there:
        _compare_maps("rules", here.mappings, there.mappings, found, both=here.name != there.name)
    note("engine", "that calibrates", _engine(locked), _engine(now))
    _compare_maps("package", locked.packages, now.packages, found)
    _compare_files("input", locked.inputs, now.inputs, found)
    _compare_files("reference", locked.references, now.references, found)
    return tuple(found)


def _engine(lock: Lock) -> str:
    return f"{lock.engine.name} {lock.engine.version}".strip()


def _compare_maps(
    kind: Kind, a: Mapping[str, str], b: Mapping[str, str], found: list[LockDifference], *, both: bool = False
) -> None:
    """Compare by name; with ``both`` only names that are in both: another context has rules of other names."""
    names = a.keys() & b.keys() if both else a.keys() | b.keys()
    for name in sorted(names):
        one, other = a.get(name, ""), b.get(name, "")
        if one != other:
            found.append(LockDifference(kind=kind, name=name, locked=one, found=other))


def _compare_files(kind: Kind, a: Iterable[LockedFile], b: Iterable[LockedFile], found: list[LockDifference]) -> None:
    ours, theirs = ({(file.role, file.name): file for file in files} for files in (a, b))
    for key in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(key), theirs.get(key)
        if one is None or other is None:
            text = [file.name if file else "" for file in (one, other)]
            found.append(LockDifference(kind=kind, name=" ".join(key), locked=text[0], found=text[1]))
            continue
        for what in ("sha256", "sha1", "seen", "size"):
            mine, other_value = getattr(one, what), getattr(other, what)
            if mine and other_value and mine != other_value:
                found.append(
                    LockDifference(
                        kind=kind, name=" ".join(key), locked=f"{what} {mine}", found=f"{what} {other_value}"
                    )
                )
                break


def move_pin(locked: Lock, now: Lock, what: str) -> Lock | None:
    """Take one pin from a new lock, and leave all others; None where there is no such pin.

    Parameters
    ----------
    locked, now : Lock
    what : str
        ``context`` (with the references that follow from it), ``references``, ``inputs``, ``engine``, ``recipe``,
        ``packages``, or the name of a package, a reference keyword, or a file.
    """
    whole: dict[str, dict[str, Any]] = {
        "context": {"context": now.context, "references": now.references},
        "references": {"references": now.references},
        "inputs": {"inputs": now.inputs},
        "engine": {"engine": now.engine},
        "recipe": {"recipe": now.recipe},
        "packages": {"packages": now.packages},
    }
    if what in whole:
        return locked.model_copy(update=whole[what])
    if what in locked.packages or what in now.packages:
        packages = {**locked.packages, what: now.packages.get(what, "")}
        return locked.model_copy(update={"packages": {name: n for name, n in sorted(packages.items()) if n}})
    for field in ("references", "inputs"):
        mine = [file for file in getattr(locked, field) if what not in (file.role, file.name)]
        theirs = [file for file in getattr(now, field) if what in (file.role, file.name)]
        if theirs or len(mine) != len(getattr(locked, field)):
            merged = sorted([*mine, *theirs], key=lambda file: (file.role, file.name))
            return locked.model_copy(update={field: tuple(merged)})
    return None


def to_toml(lock: Lock) -> str:
    """Write a lock: one line an entry, in a fixed order, sealed with the hash of all lines before the seal."""
    recipe = lock.recipe
    lines = [HEAD.format(recipe=recipe.file), f"format = {lock.format}", "", "[recipe]"]
    lines += [f"{key} = {write_value(getattr(recipe, key))}" for key in ("name", "file", "sha256")]
    lines += ["", "[recipe.parts]", *_pairs(recipe.parts)]
    if lock.context:
        lines += ["", "[context]", f"name = {write_value(lock.context.name)}"]
        lines += ["", "[context.mappings]", *_pairs(lock.context.mappings)]
    lines += [
        "",
        "[engine]",
        f"name = {write_value(lock.engine.name)}",
        f"version = {write_value(lock.engine.version)}",
    ]
    lines += ["", "[packages]", *_pairs(lock.packages), "", "[files]"]
    for field, files in (("inputs", lock.inputs), ("references", lock.references)):
        lines.append(f"{field} = [")
        lines += [f"  {write_value(_brief(file))}," for file in files]
        lines.append("]")
    text = "\n".join(lines) + "\n"
    return f'{text}\n[seal]\nsha256 = "{_seal(text)}"\n'


def _pairs(table: Mapping[str, str]) -> list[str]:
    return [f"{write_key(key)} = {write_value(table[key])}" for key in sorted(table)]


def _brief(file: LockedFile) -> dict[str, Any]:
    return {key: value for key, value in file.model_dump().items() if value not in ("", False)}


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def from_toml(text: str, name: str) -> Lock:
    """Read a lock.

    Raises
    ------
    IntegrityError
        L001: it was edited or damaged: its seal does not hold, or it is not a lock of this version.
    """
    body, mark, seal = text.rpartition("\n[seal]\n")
    stated = re.fullmatch(r'sha256 = "([0-9a-f]{64})"\n', seal)
    if not mark or stated is None or stated[1] != _seal(body):
        msg = "the lock was edited or damaged: its seal does not hold"
        raise IntegrityError(
            msg, where=name, hint="look at the difference, then `acsrecipe lock` writes it anew", code="L001"
        )
    try:
        data = tomli.loads(body)
        files = data.pop("files")
        return Lock.model_validate({"context": None, **data, **files})
    except (ValueError, KeyError, ValidationError) as error:
        msg = f"it is not a lock of this version: {str(error).splitlines()[0]}"
        raise IntegrityError(msg, where=name, hint="`acsrecipe lock` writes it anew", code="L001") from error


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
