"""``acsrecipe plan``: the dry run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acsrecipe.cli.run_command import plan_locked
from acsrecipe.cli.surroundings import read_environment
from acsrecipe.cli.terminal import say, show_error, stdout, write
from acsrecipe.errors import AcsRecipeError, UsageError


def plan(
    recipe: Annotated[Path, typer.Argument(help="A recipe, TOML.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="The plan as canonical JSON on stdout.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the plan as JSON to this file, too.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="calacs, embedded or auto, instead of the recipe's choice.")
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 10 where anything would change, 0 where nothing would.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no server: use what was downloaded before, and the CRDS cache.")
    ] = False,
    locked: Annotated[
        bool, typer.Option("--locked", help="Plan what RECIPE.lock says, and refuse anything else, naming it.")
    ] = False,
) -> None:
    """Show exactly what a run would change: associations, header cards, references; and why. Writes nothing.

    Example: `acsrecipe plan recipe.toml`, or for a script `acsrecipe plan recipe.toml --json | jq .header_changes`
    """
    from acsrecipe.api import build_plan, load_recipe
    from acsrecipe.plan.model import to_json

    try:
        environment = read_environment(offline=offline)
        loaded = load_recipe(recipe)
        made = (
            plan_locked(loaded, recipe, environment, engine)
            if locked
            else build_plan(loaded, environment=environment, engine=engine)
        )
    except AcsRecipeError as error:
        show_error(error, as_json=as_json)
        raise typer.Exit(error.exit_code) from None
    if output is not None:
        from acsrecipe.files import write_atomic

        _refuse_other(output)
        write_atomic(output, to_json(made).encode())
    if as_json:
        write(to_json(made))
    else:
        from acsrecipe.plan.render import print_plan

        print_plan(made, stdout())
    if output is not None:
        say(f"the plan is in {output}")
    if not made.runnable:
        raise typer.Exit(3)
    if exit_code and (
        made.header_changes or made.reference_changes or any(c.dropped for c in made.association_changes)
    ):
        raise typer.Exit(10)


def _refuse_other(path: Path) -> None:
    """Refuse to write a plan over a file that is not one."""
    from pydantic import ValidationError

    from acsrecipe.plan.model import from_json

    if not path.exists():
        return
    try:
        from_json(path.read_text(encoding="utf-8"))
    except (ValidationError, ValueError, OSError):
        message = "is there already, and is not a plan"
        raise UsageError(message, where=str(path), hint="name a new file, or that of an earlier plan") from None
