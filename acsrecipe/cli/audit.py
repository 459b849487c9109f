"""``acsrecipe audit``: are products and runs still what they are said to be."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from acsrecipe.cli.surroundings import read_environment
from acsrecipe.cli.terminal import show_error, stdout, write_json
from acsrecipe.errors import AcsRecipeError
from acsrecipe.process import clean_text

STYLES = {"tampered": "bold red", "finding": "yellow", "note": "cyan"}


def audit(
    paths: Annotated[
        list[Path],
        typer.Argument(help="FLT, FLC, CRJ, CRC or DRZ files, or folders of runs.", metavar="FILE_OR_RUN..."),
    ],
    recipe: Annotated[
        str, typer.Option(help="What they should be made by: switches, references, other cards.", show_default=False)
    ] = "",
    lock: Annotated[
        Path | None, typer.Option(help="What they should have kept to: a recipe's lock.", show_default=False)
    ] = None,
    context: Annotated[
        str, typer.Option(help="The CRDS context whose references they should have.", show_default=False)
    ] = "",
    cache: Annotated[
        str, typer.Option(help="The CRDS cache.  [default: the recipe's, or CRDS_PATH]", show_default=False)
    ] = "",
    data: Annotated[
        Path | None, typer.Option(help="A folder with the RAW files, to judge references by.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON on stdout.")] = False,
) -> None:
    """Check products and runs: hashes, log, plan, lock; switches; which references are stale, or were overridden.

    Exit 0 clean (notes apart), 10 findings, 8 something is not what its record says.

    Examples: `acsrecipe audit run`, `acsrecipe audit run/products/*.fits --recipe recipe.toml`,
    `acsrecipe audit *_flc.fits --context hst_0729.pmap --data raw`
    """
    from acsrecipe.api.audit import Auditor
    from acsrecipe.api.diff import open_recipe
    from acsrecipe.api.lock import read_lock

    environment = read_environment()
    try:
        auditor = Auditor(
            environment,
            recipe=open_recipe(recipe, environment) if recipe else None,
            lock=read_lock(lock) if lock else None,
            context=context,
            cache=cache,
            data=data,
        )
        found = auditor.audit(paths)
    except AcsRecipeError as error:
        show_error(error, as_json=as_json)
        raise typer.Exit(error.exit_code) from None
    counts = {severity: sum(one.severity == severity for one in found) for severity in STYLES}
    if as_json:
        write_json({"findings": [asdict(one) for one in found]})
    else:
        console = stdout()
        for one in sorted(found, key=lambda each: list(STYLES).index(each.severity)):
            text = Text(f"{one.severity} {one.code} ", style=STYLES[one.severity])
            text.append(clean_text(f"{one.file}: "), style="not bold default")
            text.append(clean_text(one.message), style="not bold default")
            console.print(text, soft_wrap=True)
        if not counts["tampered"] and not counts["finding"]:
            console.print("clean: nothing is other than it should be")
    if counts["tampered"]:
        raise typer.Exit(8)
    if counts["finding"]:
        raise typer.Exit(10)
