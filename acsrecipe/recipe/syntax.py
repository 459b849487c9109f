"""What the TOML parser refuses, in words that say how to mend it."""

from __future__ import annotations

import re
from typing import Final

from acsrecipe.recipe.findings import Finding
from acsrecipe.recipe.positions import Positions

_MARKER = re.compile(r"^(?:<{7}|>{7}|\|{7})(?: .*)?$|^={7}$", re.MULTILINE)
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_MOST: Final = 20


def explain_syntax(error: Exception, positions: Positions) -> list[tuple[Finding, int]]:
    """Say what is not TOML: conflict markers, keys set twice, or the one place where the parser stopped.

    Returns
    -------
    list of (Finding, int)
        With offsets in the text.
    """
    text = positions.text
    markers = [(_conflict(match.group()), match.start()) for match in _MARKER.finditer(text)]
    if markers:
        return markers[:_MOST]
    message = str(error)
    place = _PLACE.search(message)
    if place is None and not message.endswith("end of document)"):
        return [(Finding("R007", f"a value can't be read: {message[:100]}"), 0)]
    repeated = positions.repeated
    if repeated and re.search(r"[Oo]verwrite|twice|[Dd]uplicate|immutable", message):
        return [(_repeated(path, positions), offset) for path, offset in repeated[:_MOST]]
    offset = _offset(place, text)
    plain = _PLACE.sub("", message)
    plain = plain[:1].lower() + plain[1:] if not plain[:4].isupper() else plain
    if place is not None and place.group(1) is None:
        plain += ", at the end of the file"
    return [(Finding("R004", f"not TOML: {plain[:200]}", _hint(text, offset)), offset)]


def _offset(place: re.Match[str] | None, text: str) -> int:
    if place is None or place.group(1) is None:
        return max(0, len(text.rstrip()) - 1)
    line, column = int(place.group(1)), int(place.group(2))
    start = 0
    for _ in range(line - 1):
        start = text.index("\n", start) + 1
    return start + column - 1


def _conflict(marker: str) -> Finding:
    hint = "keep one of the versions, and take the marker lines out"
    return Finding("R005", f"a merge conflict was left open here: {marker[:7]}", hint)


def _repeated(path: tuple[str | int, ...], positions: Positions) -> Finding:
    name = ".".join(str(part) for part in path if isinstance(part, str))[:80]
    line, _ = positions.line_and_column(positions.keys.get(path, 0))
    return Finding("R019", f"'{name}' is set twice, first in line {line}", "leave one out")


def _hint(text: str, offset: int) -> str:
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start : end if end >= 0 else len(text)]
    rest = text[offset : end if end >= 0 else len(text)].strip()
    word = re.match(r"[A-Za-z_][\w.*/-]*", rest)
    if text[start:offset].rstrip().endswith(("=", "[", ",")) and word:
        if word.group() in ("True", "False"):
            return f"write {word.group().lower()}"
        return f'put quotes round it: "{word.group()}"' if len(word.group()) < 60 else "put quotes round it"
    if re.match(r"\s*[\w.-]+\s*:(?!:)", line):
        return "TOML has '=' between a key and its value, not ':'"
    if re.match(r"\s*(//|;|!|--)", line):
        return "a comment starts with '#'"
    if re.search(r"[\u2018\u2019\u201c\u201d]", line):
        return 'use straight quotes: "'
    if re.match(r"\s*[\w.-]+\s*=\s*(#.*)?$", line):
        return "a value is missing after '='"
    if re.search(r'"[^"]*\\[^"]*"', line):
        return "in double quotes a backslash starts an escape: use single quotes, or '/'"
    if line.count("[") != line.count("]"):
        return "a bracket is not closed"
    if line.count('"') % 2 or line.count("'") % 2:
        return "a quote is not closed"
    return ""
