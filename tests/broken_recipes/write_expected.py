"""Write what a user sees of each broken recipe beside it; ``git diff`` then shows what a change does to messages.

Run it from anywhere: ``python tests/broken_recipes/write_expected.py``.
"""

from __future__ import annotations

from pathlib import Path

from acsrecipe.errors import RecipeError
from acsrecipe.recipe.toml import parse_recipe, render_problems

HERE = Path(__file__).parent


def shown(recipe: Path) -> str:
    """Give what is shown of a recipe that must be refused."""
    try:
        parse_recipe(recipe.read_bytes(), recipe.name)
    except RecipeError as error:
        return render_problems(error.problems)
    msg = f"{recipe.name} is accepted, but it lies among the broken recipes"
    raise AssertionError(msg)


if __name__ == "__main__":
    for broken in sorted(HERE.glob("*.toml")):
        broken.with_suffix(".txt").write_text(shown(broken), encoding="utf-8")
