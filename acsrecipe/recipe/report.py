"""Problems as people read them, and as machines do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from acsrecipe.errors import Problem

_WIDEST: Final = 100


def render_problems(problems: Iterable[Problem]) -> str:
    """Write problems as plain text: place, message and code; the line with a caret; a hint.

    Parameters
    ----------
    problems : iterable of Problem
        As a :class:`~acsrecipe.errors.RecipeError` carries them.

    Returns
    -------
    str
        Blocks with an empty line between them, ending in a line end; no colours, no control characters.
    """
    return "\n".join(_block(problem) for problem in problems)


def _block(problem: Problem) -> str:
    lines = [f"{_visible(str(problem.where))}: {_visible(problem.message)} [{problem.code}]"]
    if problem.source_line.strip():
        text, column = _window(problem.source_line, problem.where.column)
        number = str(problem.where.line)
        lines.append(f"  {number} | {text}")
        if column:
            lines.append(f"  {' ' * len(number)} | {' ' * (column - 1)}^")
    if problem.hint:
        lines.append(f"hint: {_visible(problem.hint)}")
    return "\n".join(lines) + "\n"


def _window(line: str, column: int) -> tuple[str, int]:
    """Cut a long line to what stands round the column; give the column in what is left."""
    shown = "".join(_visible_character(character) for character in line)
    if len(shown) <= _WIDEST:
        return shown.rstrip(), column
    start = max(0, min(column - _WIDEST // 2, len(shown) - _WIDEST))
    head, tail = ("..." if start else ""), ("..." if start + _WIDEST < len(shown) else "")
    cut = shown[start + len(head) : start + _WIDEST - len(tail)]
    return f"{head}{cut}{tail}", column - start if column else 0


def _visible_character(character: str) -> str:
    # One for one, so that the caret stays under its character; a tab is one blank wide for the same reason.
    if character == "\t":
        return " "
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"


def _visible(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def problems_as_json(problems: Iterable[Problem]) -> str:
    """Write ``{"problems": [...]}``, each with file, line, column, code, message, source_line and hint."""
    rows = [
        {
            "file": problem.where.file,
            "line": problem.where.line,
            "column": problem.where.column,
            "code": problem.code,
            "message": problem.message,
            "source_line": problem.source_line,
            "hint": problem.hint,
        }
        for problem in problems
    ]
    return json.dumps({"problems": rows}, indent=2, ensure_ascii=True)
