"""Printing: data to stdout, messages to stderr; colour only where a terminal shows it."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from acsrecipe.errors import AcsRecipeError, RecipeError
from acsrecipe.process import clean_text
from acsrecipe.recipe.toml import problems_as_json, render_problems


def stdout(*, width: int | None = None) -> Console:
    """Make a console for data: text is taken literally; colour and width are the terminal's (NO_COLOR, COLUMNS)."""
    return Console(highlight=False, markup=False, emoji=False, width=width)


def stderr() -> Console:
    """Make a console for messages."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def say(message: str, *, style: str = "") -> None:
    """Print a message to stderr, taken literally (no markup)."""
    stderr().print(Text(message, style=style), soft_wrap=True)


def write(text: str) -> None:
    """Write data to stdout exactly as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_json(data: Any) -> None:
    """Write data to stdout as JSON."""
    write(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def show_error(error: AcsRecipeError, *, as_json: bool = False) -> None:
    """Show an error: to stderr for people, or to stdout as JSON."""
    if isinstance(error, RecipeError):
        if as_json:
            write(problems_as_json(error.problems) + "\n")
        else:
            say(render_problems(error.problems).rstrip("\n"))
        return
    if as_json:
        problem = {"code": error.code, "where": str(error.where or ""), "message": error.message, "hint": error.hint}
        write_json({"problems": [problem]})
        return
    text = Text("error: ", style="bold red")
    text.append(clean_text(f"{error.where}: ") if error.where else "", style="not bold cyan")
    text.append("\n".join(clean_text(line) for line in error.message.splitlines()), style="not bold default")
    text.append(f" [{error.code}]" if error.code else "", style="not bold dim")
    if error.hint:
        text.append(f"\n\nhint: {error.hint}", style="not bold default")
    stderr().print(text, soft_wrap=True)
