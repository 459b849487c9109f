"""``acsrecipe check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acsrecipe.cli.terminal import show_error, write
from acsrecipe.errors import RecipeError
from acsrecipe.recipe.toml import load_recipe


def check(
    recipes: Annotated[list[Path], typer.Argument(help="Recipes, TOML.", metavar="RECIPE...", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Problems as JSON on stdout.")] = False,
) -> None:
    """Check recipes without opening any data; show every problem with its line.

    Example: `acsrecipe check recipes/*.toml`
    """
    wrong = False
    for path in recipes:
        try:
            load_recipe(path)
        except RecipeError as error:
            wrong = True
            show_error(error, as_json=as_json)
        else:
            if not as_json:
                write(f"{path}: correct\n")
    if as_json and not wrong:
        write('{"problems": []}\n')
    if wrong:
        raise typer.Exit(2)
