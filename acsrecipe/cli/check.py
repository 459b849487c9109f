"""``acsrecipe check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acsrecipe.cli.terminal import show_error, write
from acsrecipe.errors import Problem, RecipeError
from acsrecipe.recipe.toml import load_recipe, problems_as_json


def check(
    recipes: Annotated[list[Path], typer.Argument(help="Recipes, TOML.", metavar="RECIPE...", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Problems as JSON on stdout.")] = False,
) -> None:
    """Check recipes without opening any data; show every problem with its line.

    Example: `acsrecipe check recipes/*.toml`
    """
    problems: list[Problem] = []
    for path in recipes:
        try:
            load_recipe(path)
        except RecipeError as error:
            problems += error.problems
            if not as_json:
                show_error(error)
        else:
            if not as_json:
                write(f"{path}: correct\n")
    if as_json:
        write(problems_as_json(problems) + "\n")
    if problems:
        raise typer.Exit(2)
