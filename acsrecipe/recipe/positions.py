"""Where each key and value of a TOML text stands: a scanner of our own, because no TOML parser keeps a map of lines.

It also keeps the bounds that a parser needs to be safe and quick (long dotted keys, deep nesting and long numbers
cost seconds or worse), so it runs before the parser. It does not judge the text: where it is lost, the parser will be.
It never recurses.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, NoReturn

import tomli

Path = tuple[str | int, ...]

MOST_LEVELS: Final = 32
MOST_ENTRIES: Final = 10_000
LONGEST_NUMBER: Final = 128

_BLANKS = re.compile(r"[ \t]*")
_BLANKS_AND_LINES = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_COMMENT = re.compile(r"[ \t]*(?:#[^\n]*)?")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\[\]{}#=\"']*|[^\s,\[\]{}#=\"']+")
_STOP_LINE = re.compile(r'\\.|["\n]')
_STOP_LINES = re.compile(r'\\.|"""', re.DOTALL)


@dataclass(frozen=True)
class Excess:
    """A bound that the text breaks: ``offset`` in the text, and a code and message for it."""

    offset: int
    code: str
    message: str


@dataclass
class Positions:
    """Offsets in the text, by path: ``("switches", "PCTECORR")``, ``("headers", 0, "set", "CCDGAIN")``.

    Attributes
    ----------
    keys : dict
        Where a key, or an element of an array, first stands.
    values : dict
        Where what it is set to starts; tables made by a header have none.
    repeated : list of (path, int)
        Keys that are set again, with the place of the repetition.
    complete : bool
        The scanner got to the end.
    """

    text: str
    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, int] = field(default_factory=dict)
    repeated: list[tuple[Path, int]] = field(default_factory=list)
    excess: Excess | None = None
    complete: bool = False
    _starts: list[int] = field(default_factory=list)

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """Give the line and the column of an offset, both from 1."""
        if not self._starts:
            self._starts += accumulate((len(line) + 1 for line in self.text.split("\n")), initial=0)
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


class _LostError(Exception):
    """The text is not TOML here, as far as the scanner can see."""


class _ExcessError(Exception):
    def __init__(self, excess: Excess) -> None:
        super().__init__(excess.message)
        self.excess = excess


def scan(text: str) -> Positions:
    """Find the place of every key and value.

    Parameters
    ----------
    text : str
        A TOML text with LF line ends. Anything else is accepted too.

    Returns
    -------
    Positions
        With ``excess`` where the text breaks a bound; what stands before it has been found.
    """
    found = Positions(text)
    try:
        _Scanner(text, found).document()
        found.complete = True
    except _ExcessError as error:
        found.excess = error.excess
    except (_LostError, IndexError):
        found.complete = False
    return found


class _Scanner:
    def __init__(self, text: str, found: Positions) -> None:
        self.text = text
        self.found = found
        self.at = 0
        self.lengths: dict[Path, int] = {}
        self.headers: set[Path] = set()

    def document(self) -> None:
        text = self.text
        header: Path = ()
        while True:
            self.skip(_BLANKS_AND_LINES)
            if self.at >= len(text):
                return
            if text[self.at] == "[":
                header = self.header()
            else:
                self.value(self.assignment(header))
            self.skip(_COMMENT)
            if self.at < len(text):
                self.expect("\n")

    def header(self) -> Path:
        """Read ``[a.b]`` or ``[[a.b]]``; give the path of the table that the lines below fill."""
        start = self.at
        double = self.text.startswith("[[", self.at)
        self.at += 2 if double else 1
        self.skip(_BLANKS)
        parts = self.key()
        self.skip(_BLANKS)
        self.expect("]]" if double else "]")
        path: Path = ()
        for index, (name, offset) in enumerate(parts):
            path = (*path, name)
            self.note_key(path, offset)
            if double and index == len(parts) - 1:
                self.lengths[path] = self.lengths.get(path, 0) + 1
            if path in self.lengths and (double or index < len(parts) - 1):
                path = (*path, self.lengths[path] - 1)
                self.note_key(path, offset)
        if not double and path in self.headers:
            self.found.repeated.append((path, start))
        self.headers.add(path)
        return path

    def assignment(self, table: Path) -> Path:
        """Read ``a.b =`` and give the whole path."""
        parts = self.key()
        path = table
        for index, (name, offset) in enumerate(parts):
            path = (*path, name)
            if path in self.found.keys and (path in self.found.values or index == len(parts) - 1):
                self.found.repeated.append((path, offset))
            self.note_key(path, offset)
        self.skip(_BLANKS)
        self.expect("=")
        self.skip(_BLANKS)
        return path

    def key(self) -> list[tuple[str, int]]:
        parts: list[tuple[str, int]] = []
        while True:
            start = self.at
            if self.text[start] in "\"'":
                self.string()
                parts.append((self.unquoted(start), start))
            else:
                self.skip(_BARE_KEY)
                if self.at == start:
                    raise _LostError
                parts.append((self.text[start : self.at], start))
            if len(parts) > MOST_LEVELS:
                self.refuse(parts[0][1], "R006", f"a dotted key has more than {MOST_LEVELS} parts")
            blank = self.at
            self.skip(_BLANKS)
            if not self.text.startswith(".", self.at):
                self.at = blank
                return parts
            self.at += 1
            self.skip(_BLANKS)

    def value(self, path: Path) -> None:
        """Read a value with all that is in it."""
        open_containers: list[tuple[str, Path]] = []
        while True:
            fresh = self.start_value(path, open_containers)
            while open_containers:
                closer, container = open_containers[-1]
                self.skip(_BLANKS_AND_LINES)
                if not fresh and self.text[self.at] != closer:
                    self.expect(",")
                    self.skip(_BLANKS_AND_LINES)
                if self.text[self.at] == closer:
                    self.at += 1
                    open_containers.pop()
                    fresh = False
                    continue
                if closer == "]":
                    length = self.lengths.get(container, 0)
                    self.lengths[container] = length + 1
                    path = (*container, length)
                    self.note_key(path, self.at)
                else:
                    path = self.assignment(container)
                break
            else:
                return

    def start_value(self, path: Path, open_containers: list[tuple[str, Path]]) -> bool:
        """Read a scalar, or open an array or inline table and say so."""
        start = self.at
        self.found.values.setdefault(path, start)
        first = self.text[start]
        if first in "[{":
            open_containers.append(("]" if first == "[" else "}", path))
            self.at += 1
            return True
        if first in "\"'":
            self.string(may_span=True)
            return False
        self.skip(_BARE_VALUE)
        if self.at == start:
            raise _LostError
        if self.at - start > LONGEST_NUMBER:
            self.refuse(start, "R007", f"a number or word of {self.at - start} characters")
        return False

    def string(self, *, may_span: bool = False) -> None:
        """Read a quoted string; only values may span lines."""
        text, start = self.text, self.at
        quote = text[start]
        if may_span and text.startswith(quote * 3, start):
            end = self.end_of_lines(quote, start + 3)
            while end - start >= 6 and text.startswith(quote, end) and text[end - 5 : end] != quote * 5:
                end += 1
            self.at = end
        elif quote == "'":
            end = text.find("'", start + 1)
            if end < 0 or "\n" in text[start:end]:
                raise _LostError
            self.at = end + 1
        else:
            for match in _STOP_LINE.finditer(text, start + 1):
                if match.group() == "\n":
                    raise _LostError
                if match.group() == '"':
                    self.at = match.end()
                    return
            raise _LostError

    def end_of_lines(self, quote: str, start: int) -> int:
        if quote == "'":
            end = self.text.find("'''", start)
            if end < 0:
                raise _LostError
            return end + 3
        for match in _STOP_LINES.finditer(self.text, start):
            if match.group() == '"""':
                return match.end()
        raise _LostError

    def unquoted(self, start: int) -> str:
        token = self.text[start : self.at]
        if "\\" not in token:
            return token[1:-1]
        try:
            value = tomli.loads(f"k = {token}")["k"]
        except ValueError:
            raise _LostError from None
        return str(value)

    def note_key(self, path: Path, offset: int) -> None:
        self.found.keys.setdefault(path, offset)
        if len(path) > MOST_LEVELS:
            self.refuse(offset, "R006", f"tables and arrays are nested more than {MOST_LEVELS} deep")
        if len(self.found.keys) > MOST_ENTRIES:
            self.refuse(offset, "R002", f"more than {MOST_ENTRIES} keys and values")

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def expect(self, token: str) -> None:
        if not self.text.startswith(token, self.at):
            raise _LostError
        self.at += len(token)

    def refuse(self, offset: int, code: str, message: str) -> NoReturn:
        raise _ExcessError(Excess(offset, code, message))
