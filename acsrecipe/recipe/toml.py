"""A recipe file becomes a recipe, or a list of everything that is wrong with it, each with its line and column.

The text is bounded before it is parsed, so that no file, however made, takes more than a moment or ends in anything
but a :class:`~acsrecipe.errors.RecipeError`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import tomli
from pydantic import ValidationError

from acsrecipe.errors import Problem, RecipeError, Where
from acsrecipe.recipe import rules
from acsrecipe.recipe.compose import merge, vary
from acsrecipe.recipe.findings import Finding
from acsrecipe.recipe.mistakes import read_mistakes
from acsrecipe.recipe.model import ArchiveFolder, Recipe
from acsrecipe.recipe.positions import Positions, scan
from acsrecipe.recipe.report import problems_as_json, render_problems
from acsrecipe.recipe.syntax import explain_syntax

__all__ = ["LoadedRecipe", "load_recipe", "parse_recipe", "problems_as_json", "render_problems", "resolve_path"]

MOST_BYTES: Final = 1 << 20
LONGEST_LINE: Final = 1 << 16
MOST_PROBLEMS: Final = 100

Read = Callable[[Path], bytes]
"""Gives the content of a file, or raises RecipeError."""


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with the text it came from.

    Attributes
    ----------
    recipe : Recipe
        What the user asks.
    path : Path or None
        The file, as it was named; None for a recipe from a string.
    file : str
        The name shown to people.
    text : str
        The whole text, with LF line ends.
    sha256 : str
        Of the bytes as read.
    positions : mapping
        Path of keys, such as ``("headers", 0, "set", "CCDGAIN")``, to the line and column of the key, from 1.
    included : tuple of (str, mapping)
        Name and positions of each included file, in order.
    variant : str
        Which variant of the recipe this is, or empty.
    """

    recipe: Recipe
    path: Path | None
    file: str
    text: str
    sha256: str
    positions: Mapping[tuple[str | int, ...], tuple[int, int]] = field(repr=False)
    included: tuple[tuple[str, Mapping[tuple[str | int, ...], tuple[int, int]]], ...] = field(default=(), repr=False)
    variant: str = ""

    def where(self, *keys: str | int) -> Where:
        """Give the place of a key, or of the nearest table round it; the file alone where none is written."""
        places = [(self.file, self.positions), *reversed(self.included)]
        for length in range(len(keys), 0, -1):
            path = keys[:length]
            varied = ("variants", self.variant, *path)
            if self.variant and varied in self.positions:
                return Where(self.file, *self.positions[varied])
            for file, positions in places:
                if path in positions:
                    return Where(file, *positions[path])
        return Where(self.file)


def load_recipe(path: Path) -> LoadedRecipe:
    """Read a recipe file.

    Parameters
    ----------
    path : Path
        The TOML file; opened for reading only, and only if it is a regular file. ``recipe.toml#cte`` is the
        variant ``cte`` of it.

    Returns
    -------
    LoadedRecipe
        Paths in it have been checked to stay in the recipe's folder (they need not exist).

    Raises
    ------
    RecipeError
        With every problem found.
    """
    path, variant = split_variant(Path(path))
    content = _read(path)
    return _parse(content, str(path), path, variant)


def split_variant(path: Path) -> tuple[Path, str]:
    """Split ``recipe.toml#cte`` into the file and the variant's name; a file of the whole name is that file."""
    name, mark, variant = path.name.rpartition("#")
    return (path.with_name(name), variant) if mark and name and not path.exists() else (path, "")


def parse_recipe(
    text: str | bytes, file: str, path: Path | None = None, variant: str = "", read: Read | None = None
) -> LoadedRecipe:
    """Read a recipe from memory; ``file`` is the name shown in problems, ``path`` the file it stands for, if any.

    ``read`` gives the content of an included file; without it that is read from the disk.

    Raises
    ------
    RecipeError
        With every problem found.
    """
    return _parse(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text, file, path, variant, read)


def resolve_path(loaded: LoadedRecipe, text: str, *keys: str | int) -> Path:
    """Turn a path of a recipe into one that can be opened.

    Parameters
    ----------
    loaded : LoadedRecipe
        The recipe; a relative path starts at its folder (at the current one for a recipe from memory).
    text : str
        The path as written. Nothing is expanded.
    keys : str or int
        Where it is written, to be named if it is wrong: ``"references", "override", "DARKFILE"``.

    Returns
    -------
    Path
        Absolute, without '..'. It need not exist. Links in it are not followed, but where they lead was checked.

    Raises
    ------
    RecipeError
        If a relative path leaves the folder, by '..' or through a link, or if it needs expanding.
    """
    found = _leave_problem(text, loaded.path)
    if found is not None:
        where = loaded.where(*keys)
        lines = loaded.text.split("\n")
        source = lines[where.line - 1] if 0 < where.line <= len(lines) else ""
        raise RecipeError((Problem(found.code, where, found.message, source, found.hint),))
    folder = loaded.path.parent if loaded.path is not None else Path()
    return Path(os.path.normpath(folder.absolute() / text))


def _read(path: Path) -> bytes:
    where = Where(str(path))
    try:
        # Without waiting: a FIFO would keep us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "name the recipe's .toml file" if isinstance(error, FileNotFoundError) else ""
        problem = Problem("R001", where, f"the recipe can't be read: {reason}", hint=hint)
        raise RecipeError((problem,)) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise RecipeError((Problem("R001", where, f"the recipe can't be read: it is {what}"),))
    with os.fdopen(descriptor, "rb") as stream:
        try:
            return stream.read(MOST_BYTES + 1)
        except OSError as error:
            problem = Problem("R001", where, f"the recipe can't be read: {error.strerror}")
            raise RecipeError((problem,)) from None


@dataclass(frozen=True)
class _Source:
    """One file of a recipe: the recipe itself, or one that it includes."""

    file: str
    text: str
    positions: Positions
    data: dict[str, Any]
    sha256: str


def _parse(content: bytes, file: str, path: Path | None, variant: str = "", read: Read | None = None) -> LoadedRecipe:
    own = _load_source(content, file)
    sources = [own, *_included(own, path, read or _read)]
    data: dict[str, Any] = {}
    for source in [*sources[1:], own]:
        data = merge(data, source.data)
    findings: list[Finding] = []
    recipe = _validate(data, path, findings)
    if recipe is not None:
        for name in recipe.variants:
            found: list[Finding] = []
            _validate(vary(data, name), path, found)
            findings += [_of_variant(one, name, own.positions) for one in found]
    if variant and recipe is not None and variant not in recipe.variants:
        hint = f"variants: {', '.join(recipe.variants)}" if recipe.variants else "the recipe has no variants"
        findings.append(Finding("R010", f"there is no variant '{variant}'", hint, ("variants",), of_key=True))
    if findings or recipe is None:
        problems = [_locate(finding, sources) for finding in findings]
        order = {source.file: number for number, source in enumerate(sources)}
        placed = sorted(problems, key=lambda problem: (order[problem[1].file], problem[0]))
        found_in = {source.file: source for source in sources}
        raise RecipeError(tuple(_problem(finding, at, found_in[w.file].positions, w.file) for at, w, finding in placed))
    if variant:
        recipe = Recipe.model_validate(vary(data, variant))
    digest = own.sha256
    if len(sources) > 1:
        digest = hashlib.sha256("".join(source.sha256 for source in sources).encode()).hexdigest()
    places = [
        {key: one.positions.line_and_column(offset) for key, offset in one.positions.keys.items()} for one in sources
    ]
    return LoadedRecipe(
        recipe=recipe,
        path=path,
        file=file,
        text=own.text,
        sha256=digest,
        positions=places[0],
        included=tuple((one.file, place) for one, place in zip(sources[1:], places[1:], strict=True)),
        variant=variant,
    )


def _load_source(content: bytes, file: str) -> _Source:
    text = _decode(content, file)
    positions = scan(text)
    if positions.excess is not None:
        excess = positions.excess
        hint = "a recipe is small: was another file meant?"
        finding = Finding(excess.code, f"{excess.message}, which no recipe needs", hint)
        raise RecipeError((_problem(finding, excess.offset, positions, file),))
    try:
        data = tomli.loads(text)
    except (ValueError, RecursionError, OverflowError) as error:
        found = explain_syntax(error, positions)
        raise RecipeError(tuple(_problem(finding, offset, positions, file) for finding, offset in found)) from None
    return _Source(file, text, positions, data, hashlib.sha256(content).hexdigest())


def _included(own: _Source, path: Path | None, read: Read) -> list[_Source]:
    """Load the files that a recipe includes; what is wrong with the list itself is found when it is validated."""
    names = own.data.get("include")
    if not isinstance(names, list) or len(names) > rules.MOST_INCLUDES:
        return []
    folder = path.parent if path is not None else Path()
    sources = []
    for number, name in enumerate(names):
        if not isinstance(name, str) or next(rules.path(name, {}), None) is not None:
            continue
        problem = _leave_problem(name, path)
        if problem is not None:
            at = own.positions.values.get(("include", number), 0)
            raise RecipeError((_problem(problem, at, own.positions, own.file),))
        source = _load_source(read(folder / name), str(folder / name))
        for key in ("include", "variants"):
            if key in source.data:
                message = f"an included file has no '{key}': that is for the recipe itself"
                finding = Finding("R010", message, "", (key,), of_key=True)
                raise RecipeError(
                    (_problem(finding, _offset(finding, source.positions), source.positions, source.file),)
                )
        sources.append(source)
    return sources


def _validate(data: Mapping[str, Any], path: Path | None, findings: list[Finding]) -> Recipe | None:
    """Make a recipe of data, or add what is wrong to ``findings``."""
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        some = list(islice(read_mistakes(error, data), MOST_PROBLEMS + 1))
        findings += some[:MOST_PROBLEMS]
        if len(some) > MOST_PROBLEMS:
            findings.append(
                Finding("R099", f"there are more problems than the {MOST_PROBLEMS} shown", "mend these first")
            )
        return None
    findings += _path_findings(recipe, path)
    return recipe


def _of_variant(finding: Finding, name: str, positions: Positions) -> Finding:
    """Point a finding at the variant: at the key that it changes, or at its table."""
    path = ("variants", name, *finding.path)
    while path not in positions.keys and len(path) > 2:
        path = path[:-1]
    return Finding(finding.code, f"variant {name}: {finding.message}", finding.hint, path, finding.of_key)


def _locate(finding: Finding, sources: list[_Source]) -> tuple[int, Where, Finding]:
    """Find the file that a finding is about, and where in it: the one that has most of its path."""

    def depth(source: _Source) -> int:
        return max((n for n in range(len(finding.path) + 1) if finding.path[:n] in source.positions.keys), default=0)

    best = max(sources, key=depth)
    return _offset(finding, best.positions), Where(best.file), finding


def _decode(content: bytes, file: str) -> str:
    if len(content) > MOST_BYTES:
        hint = "was another file meant?"
        problem = Problem("R002", Where(file), "a recipe has at most 1 MiB, this file has more", hint=hint)
        raise RecipeError((problem,))
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        problem = Problem("R003", Where(file, 1, 1), "the file is UTF-16, expected UTF-8", hint="save it as UTF-8")
        raise RecipeError((problem,))
    if content.startswith(b"\xef\xbb\xbf"):
        hint = "save it as UTF-8 without BOM"
        problem = Problem("R003", Where(file, 1, 1), "the file starts with a byte order mark", hint=hint)
        raise RecipeError((problem,))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8").replace("\r\n", "\n")
        rest = content[error.start :].split(b"\n", 1)[0].decode("utf-8", "replace")
        place = Positions(before).line_and_column(len(before))
        source = (before.rsplit("\n", 1)[-1] + rest)[:LONGEST_LINE]
        message = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise RecipeError((Problem("R003", Where(file, *place), message, source, "save it as UTF-8"),)) from None
    text = text.replace("\r\n", "\n")
    positions = Positions(text)
    if "\x00" in text:
        finding = Finding("R003", "the file holds a NUL character, so it is not text", "was another file meant?")
        raise RecipeError((_problem(finding, text.index("\x00"), positions, file),))
    start = 0
    while len(text) - start > LONGEST_LINE:
        end = text.find("\n", start)
        if (end if end >= 0 else len(text)) - start > LONGEST_LINE:
            message = f"a line has at most {LONGEST_LINE} characters, this one has more"
            raise RecipeError((_problem(Finding("R002", message, "was another file meant?"), start, positions, file),))
        start = end + 1
    return text


def _offset(finding: Finding, positions: Positions) -> int:
    """Give the offset that a finding is about: the value, else the key, else the nearest table round it."""
    if finding.code == "R099":
        return len(positions.text)
    path = finding.path
    if not finding.of_key and path in positions.values:
        return positions.values[path]
    while path:
        if path in positions.keys:
            return positions.keys[path]
        path = path[:-1]
    return 0


def _problem(finding: Finding, offset: int, positions: Positions, file: str) -> Problem:
    if finding.code == "R099":
        return Problem(finding.code, Where(file), finding.message, "", finding.hint)
    line, column = positions.line_and_column(offset)
    end = positions.text.find("\n", offset)
    source = positions.text[offset - column + 1 : end if end >= 0 else len(positions.text)]
    if finding.code == "R063":
        # An address may hold a password: what is shown may be kept in a log.
        source = re.sub(r"//[^/\s]*@", "//***@", source)
    return Problem(finding.code, Where(file, line, column), finding.message, source, finding.hint)


def _path_findings(recipe: Recipe, path: Path | None) -> list[Finding]:
    archive = recipe.observations.archive
    paths: dict[tuple[str, ...], str | None] = {("references", "cache"): recipe.references.cache}
    if isinstance(archive, ArchiveFolder):
        paths["observations", "archive", "folder"] = archive.folder
    for keyword, file in recipe.references.override.items():
        paths["references", "override", keyword] = file
    found: list[Finding] = []
    for keys, text in paths.items():
        problem = _leave_problem(text, path) if text is not None else None
        if problem is not None:
            found.append(Finding(problem.code, problem.message, problem.hint, keys))
    return found


def _leave_problem(text: str, recipe_path: Path | None) -> Finding | None:
    wrong = next(rules.path(text, {}), None)
    if wrong is not None or text.startswith("/"):
        return wrong
    folder = (recipe_path.parent if recipe_path is not None else Path()).resolve()
    try:
        target = (folder / text).resolve()
    except (OSError, RuntimeError) as error:
        return Finding("R064", f"the path {text!r} can't be followed: {error}")
    if target != folder and folder not in target.parents:
        hint = "write the target as an absolute path if that is meant"
        return Finding("R065", f"the path {text!r} leaves the recipe's folder through a link", hint)
    return None
