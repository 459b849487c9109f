"""``acsrecipe diff``: what differs between two recipes, plans, runs, contexts or revisions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from acsrecipe.cli.surroundings import read_environment
from acsrecipe.cli.terminal import show_error, stdout, write
from acsrecipe.errors import AcsRecipeError, UsageError


def diff(
    a: Annotated[str, typer.Argument(help="A recipe, RECIPE@REVISION of git, a plan.json, or the folder of a run.")],
    b: Annotated[str, typer.Argument(help="The same, to compare with; with --context the second context.")] = "",
    context: Annotated[
        str, typer.Option("--context", help="The recipe under this CRDS context against the one that follows.")
    ] = "",
    engine: Annotated[str | None, typer.Option(help="calacs, embedded or auto, for both.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown, for a pull request.")] = False,
) -> None:
    """Show what differs: switches, cards, references with the reason of each, tasks to be done again; exit 10 if any.

    Examples: `acsrecipe diff recipe.toml@HEAD~1 recipe.toml`, `acsrecipe diff run1 run2`,
    `acsrecipe diff recipe.toml --context hst_0500.pmap hst_0729.pmap`
    """
    from acsrecipe.api.diff import compare, open_side
    from acsrecipe.plan.model import canonical

    environment = read_environment()
    try:
        if not b:
            msg = "there is nothing to compare with"
            raise UsageError(
                msg, hint="acsrecipe diff A B, or acsrecipe diff RECIPE --context hst_0500.pmap hst_0729.pmap"
            )
        if context:
            sides = [open_side(a, environment, engine=engine, context=name) for name in (context, b)]
            if sides[0].recipe is None:
                msg = "contexts are compared for a recipe, not for a plan or a run"
                raise UsageError(msg, where=a)
            name = Path(a).name
            sides = [
                replace(side, name=f"{name} under {asked}") for side, asked in zip(sides, (context, b), strict=True)
            ]
        else:
            sides = [open_side(one, environment, engine=engine) for one in (a, b)]
        found = compare(sides[0], sides[1], environment)
    except AcsRecipeError as error:
        show_error(error, as_json=as_json)
        raise typer.Exit(error.exit_code) from None
    if as_json:
        write(canonical(found.model_dump(mode="json")) + "\n")
    else:
        from acsrecipe.plan.render_diff import render_comparison, to_markdown

        if as_markdown:
            write(to_markdown(found))
        else:
            stdout().print(render_comparison(found))
    if not found.empty:
        raise typer.Exit(10)
