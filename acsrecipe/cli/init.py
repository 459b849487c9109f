"""``acsrecipe init``: a new recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acsrecipe.cli.surroundings import read_environment
from acsrecipe.cli.terminal import say, write


def init(
    product: Annotated[
        Path | None,
        typer.Option("--from", help="An FLT, FLC, CRJ or CRC file: the recipe that makes it.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The folder of its RAW files.  [default: looked for near it]", show_default=False),
    ] = None,
    cache: Annotated[
        str, typer.Option(help="The CRDS cache, to find overrides.  [default: CRDS_PATH]", show_default=False)
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it to this new file.  [default: stdout]", show_default=False),
    ] = None,
) -> None:
    """Write a recipe to begin with: a commented one, or the one that would make a product.

    Examples: `acsrecipe init -o recipe.toml`, `acsrecipe init --from j9l960a7q_flt.fits --data raw`
    """
    from acsrecipe.recipe.draft import EMPTY

    if product is None:
        text = EMPTY
    else:
        from acsrecipe.api.origin import recipe_from_product

        base = output.parent if output is not None else Path()
        text = recipe_from_product(product, environment=read_environment(), data=data, cache=cache, base=base)
    if output is None:
        write(text)
        return
    from acsrecipe.files import create_new, write_all, writing

    with writing(output), create_new(output) as file:
        write_all(file, text.encode())
    say(f"{output}: look at it, then `acsrecipe plan {output}`")
