"""One form for a recipe's text, so that a difference between two recipes is a difference in what they ask.

The order is that of the format, values are written in one way, and every comment is kept: above the key that it
stood above, or behind the one that it stood behind.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tomli

from acsrecipe.recipe.keywords import REFERENCES, SWITCHES
from acsrecipe.recipe.model import ComparePlot, HeaderOverride, Recipe, UpdateWcs
from acsrecipe.recipe.positions import Path as KeyPath
from acsrecipe.recipe.positions import scan
from acsrecipe.recipe.toml import parse_recipe
from acsrecipe.recipe.toml_text import write_key, write_value

COLUMN: Final = 32
"""Where comments behind a short value begin."""

WIDTH: Final = 100
"""A longer value is broken: an array one element a line, a table as a section of its own."""

_TOKEN: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""+|\'\'\'.*?\'\'\'+|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|(?P<comment>\#[^\n]*)'
    r"|(?P<open>[\[{])|(?P<close>[\]}])",
    re.DOTALL,
)
_STEPS: Final = {"updatewcs": tuple(UpdateWcs.model_fields), "compare-plot": tuple(ComparePlot.model_fields)}


def format_recipe(text: str, file: str, path: Path | None = None) -> str:
    """Write a recipe's text in its one form.

    Parameters
    ----------
    text : str
    file : str
        The name shown in problems.
    path : Path, optional
        The file that it stands for, where it includes others.

    Returns
    -------
    str
        Asks for the same as ``text``, and has all of its comments; formatting it again changes nothing.

    Raises
    ------
    RecipeError
        The text is not a correct recipe.
    """
    before = parse_recipe(text, file, path)
    text = before.text
    data = tomli.loads(text)
    remarks = _find_remarks(text)
    result = _Writer(remarks).document(data)
    if parse_recipe(result, file, path).recipe != before.recipe or _comments(result) != _comments(text):
        # Not even a mistake in here may change what a recipe asks, or lose a remark.
        return text
    return result


def _comments(text: str) -> Counter[str]:
    return Counter(found.group().rstrip() for found in _TOKEN.finditer(text) if found["comment"])


@dataclass
class _Remarks:
    """A text's comments: above a key, behind or below one, before everything, and at the end.

    Those below have a blank line behind them: they end a paragraph rather than begin one.
    """

    above: dict[KeyPath, list[str]] = field(default_factory=dict)
    behind: dict[KeyPath, list[str]] = field(default_factory=dict)
    below: dict[KeyPath, list[str]] = field(default_factory=dict)
    head: list[str] = field(default_factory=list)

    def take(self, path: KeyPath, *, deep: bool) -> tuple[list[str], list[str]]:
        """Give the comments above and behind a key; with ``deep`` those inside come to stand above, too."""
        above = self.above.pop(path, [])
        behind = self.behind.pop(path, [])
        inner = [one for one in (*self.above, *self.behind) if one[: len(path)] == path and one != path] if deep else []
        if len(inner) == 1 and inner[0] in self.behind and not behind:
            behind = self.behind.pop(inner.pop())
        for one in inner:
            above += self.above.pop(one, []) + self.behind.pop(one, [])
        # What was several lines is one now, and has room for one comment.
        return above + behind[:-1], behind[-1:]

    def inside(self, path: KeyPath) -> bool:
        """Say whether several keys in a table have comments of their own."""
        inner = [one for one in (*self.above, *self.behind, *self.below) if one[: len(path)] == path and one != path]
        return len(inner) > 1


@dataclass(frozen=True)
class _Place:
    """Where a key stands; ``outer`` where it is a statement's, and not inside an array or inline table."""

    offset: int
    path: KeyPath
    outer: bool


def _find_places(text: str) -> list[_Place]:
    depths = [(0, 0)]
    for found in _TOKEN.finditer(text):
        if found["open"] or found["close"]:
            depths.append((found.end(), depths[-1][1] + (1 if found["open"] else -1)))

    def depth(offset: int) -> int:
        return next(level for at, level in reversed(depths) if at <= offset)

    places = []
    for path, offset in scan(text).keys.items():
        line = text.rfind("\n", 0, offset) + 1
        header = depth(line) == 0 and text[line:].lstrip().startswith("[")
        places.append(_Place(offset, path, header or depth(offset) == 0))
    return sorted(places, key=lambda one: (one.offset, len(one.path)))


def _find_remarks(text: str) -> _Remarks:
    places = _find_places(text)
    first = places[0].offset if places else len(text)
    remarks = _Remarks()
    level = 0
    for found in _TOKEN.finditer(text):
        level += bool(found["open"]) - bool(found["close"])
        if not found["comment"]:
            continue
        comment, start, end = found.group().rstrip(), found.start(), found.end()
        line = text.rfind("\n", 0, start) + 1
        before = [one for one in places if one.offset < start and (level or one.outer)]
        after = [one for one in places if one.offset > start and (level or one.outer)]
        if text[line:start].strip():
            remarks.behind.setdefault(before[-1].path, []).append(comment)
            continue
        upto = after[0].offset if after else len(text)
        apart = not after or re.search(r"\n[ \t]*\n", text[end:upto])
        if start < first and apart:
            gap = [""] if remarks.head and _has_blank_above(text, line) else []
            remarks.head += [*gap, comment]
        elif apart and not level and before:
            mine = remarks.below.setdefault(before[-1].path, [])
            mine += [*([""] if _has_blank_above(text, line) else []), comment]
        else:
            offset = after[0].offset
            above = [one.path for one in after if one.offset == offset][-1]
            remarks.above.setdefault(above, []).append(comment)
    return remarks


def _has_blank_above(text: str, line: int) -> bool:
    return not text[text.rfind("\n", 0, max(line - 1, 0)) + 1 : max(line - 1, 0)].strip() and line > 0


@dataclass
class _Writer:
    """Writes tables in the order of the format, with the comments that belong to each key."""

    remarks: _Remarks
    lines: list[str] = field(default_factory=list)

    def document(self, data: Mapping[str, Any]) -> str:
        self.lines += self.remarks.head
        self.blank()
        tables = []
        for key in _ordered(data, tuple(Recipe.model_fields)):
            value = data[key]
            if isinstance(value, dict) or (key in ("headers", "post") and value):
                tables.append(key)
            else:
                self.pair((key,), write_key(key), value)
        for key in tables:
            if key == "variants":
                for name, changes in data[key].items():
                    self.variant((key, name), changes)
            elif isinstance(data[key], list):
                for number, item in enumerate(data[key]):
                    self.table((key, number), f"[[{key}]]", key, item)
            else:
                self.table((key,), f"[{key}]", key, data[key])
        rest = [*self.remarks.above.values(), *self.remarks.behind.values(), *self.remarks.below.values()]
        for some in rest:
            self.blank()
            self.lines += [comment for comment in some if comment]
        return "\n".join(self.lines).strip("\n") + "\n"

    def blank(self) -> None:
        """Leave one blank line."""
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def below(self, path: KeyPath) -> None:
        """Write what stands below a key, and a blank line that keeps it there."""
        for inner in [one for one in self.remarks.below if one[: len(path)] == path]:
            for comment in self.remarks.below.pop(inner):
                if comment:
                    self.lines.append(comment)
                else:
                    self.blank()
            self.blank()

    def header(self, path: KeyPath, text: str) -> None:
        above, behind = self.remarks.take(path, deep=False)
        if isinstance(path[-1], int) and path[-1] == 0:
            more = self.remarks.take(path[:-1], deep=False)
            above, behind = more[0] + above, more[1] + behind
        self.blank()
        self.lines += [*above, _join(text, behind)]
        for one in (path, path[:-1]) if isinstance(path[-1], int) else (path,):
            if one in self.remarks.below:
                self.take_below(one)

    def take_below(self, path: KeyPath) -> None:
        """Write what stands below a header itself."""
        self.lines += [comment for comment in self.remarks.below.pop(path) if comment]
        self.blank()

    def table(self, path: KeyPath, header: str, name: str, table: Mapping[str, Any]) -> None:
        self.header(path, header)
        own = []
        for key in _ordered(table, _order(name, table)):
            value, here = table[key], (*path, key)
            if isinstance(value, dict) and value and self.is_wide(key, value, here):
                own.append(key)
            else:
                self.pair(here, write_key(key), value)
        for key in own:
            self.table((*path, key), f"[{name}.{write_key(key)}]", f"{name}.{key}", table[key])

    def is_wide(self, key: str, value: Mapping[str, Any], path: KeyPath) -> bool:
        # References of one's own come and go one by one: a line each.
        several = key == "override" and len(value) > 1
        return several or len(f"{write_key(key)} = {write_value(value)}") > WIDTH or self.remarks.inside(path)

    def variant(self, path: KeyPath, changes: Mapping[str, Any]) -> None:
        above, behind = self.remarks.take(path[:-1], deep=False)
        more = self.remarks.take(path, deep=False)
        name = write_key(str(path[-1]))
        self.blank()
        self.lines += [*above, *more[0], _join(f"[variants.{name}]", behind + more[1])]
        for one in (path[:-1], path):
            if one in self.remarks.below:
                self.take_below(one)
        for key in _ordered(changes, tuple(Recipe.model_fields)):
            for keys, value in _leaves((key,), changes[key]):
                above = []
                for length in range(1, len(keys)):
                    some = self.remarks.take((*path, *keys[:length]), deep=False)
                    above += some[0] + some[1]
                self.lines += above
                self.pair((*path, *keys), ".".join(write_key(one) for one in keys), value)

    def pair(self, path: KeyPath, key: str, value: Any) -> None:
        broken = isinstance(value, list) and len(f"{key} = {write_value(value)}") > WIDTH
        above, behind = self.remarks.take(path, deep=not broken)
        self.lines += above
        if not broken:
            self.lines.append(_join(f"{key} = {write_value(value)}", behind))
            self.below(path)
            return
        self.lines.append(_join(f"{key} = [", behind))
        for number, item in enumerate(value):
            above, behind = self.remarks.take((*path, number), deep=True)
            self.lines += [f"  {comment}" for comment in above]
            self.lines.append(_join(f"  {write_value(item)},", behind))
        self.lines.append("]")
        self.below(path)


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give what a variant changes, one dotted key each; conditions and cards of a header stay together."""
    if isinstance(value, dict) and value and len(path) < 2:
        for key in _ordered(value, _order(path[0], value)):
            yield from _leaves((*path, key), value[key])
    else:
        yield path, value


def _join(text: str, behind: Sequence[str]) -> str:
    return f"{text:<{COLUMN}}  {' '.join(behind)}" if behind else text


def _ordered(table: Mapping[str, Any], order: Sequence[str]) -> list[str]:
    place = {name: number for number, name in enumerate(order)}
    return sorted(table, key=lambda key: place.get(key, len(place)))


def _order(name: str, table: Mapping[str, Any]) -> tuple[str, ...]:
    """Say in which order the keys of a table come; keys that are not named keep theirs, behind the others."""
    if name == "switches":
        return tuple(SWITCHES)
    if name == "references.override":
        return tuple(sorted(REFERENCES))
    if name == "headers":
        return tuple(HeaderOverride.model_fields)
    if name == "post":
        return _STEPS.get(str(table.get("step")), ("step",))
    part = Recipe.model_fields.get(name)
    fields = getattr(part.annotation, "model_fields", None) if part is not None else None
    return tuple(fields) if fields else ()
