"""``acsrecipe fmt``: recipes in their one form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acsrecipe.cli.terminal import write
from acsrecipe.recipe.toml import load_recipe


def fmt(
    recipes: Annotated[list[Path], typer.Argument(help="Recipes, TOML.", metavar="RECIPE...", show_default=False)],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 10 where a recipe would change.")] = False,
) -> None:
    """Put recipes into canonical order and form, in place, keeping every comment; so that diffs are of substance.

    Example: `acsrecipe fmt recipes/*.toml`
    """
    from acsrecipe.files import write_atomic
    from acsrecipe.recipe.canonical import format_recipe

    changed = []
    for path in recipes:
        load_recipe(path)
        before = path.read_bytes()
        after = format_recipe(before.decode(), str(path), path).encode()
        if after != before:
            changed.append(path)
            if not check:
                write_atomic(path, after)
    for path in changed:
        write(f"{path}: {'would be written anew' if check else 'written anew'}\n")
    if check and changed:
        raise typer.Exit(10)
