"""``acsrecipe schema``."""

from __future__ import annotations

from acsrecipe.cli.terminal import write


def schema() -> None:
    """Write the JSON Schema of recipes, for an editor that completes and checks TOML.

    Example: `acsrecipe schema > recipe-1.json`, and `#:schema recipe-1.json` as a recipe's first line.
    """
    from acsrecipe.recipe.schema import schema_text

    write(schema_text())
