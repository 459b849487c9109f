"""``acsrecipe run``: do what the plan says."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from acsrecipe.cli.surroundings import read_environment
from acsrecipe.cli.terminal import say, show_error, stdout
from acsrecipe.environment import Environment
from acsrecipe.errors import AcsRecipeError
from acsrecipe.plan.model import Plan
from acsrecipe.recipe.toml import LoadedRecipe


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe, TOML.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The run's folder.  [default: runs/NAME of the recipe]", show_default=False
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Tasks at once.  [default: as many as processors]", show_default=False
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="calacs, embedded or auto, instead of the recipe's choice.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors, and where the products are.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no server: use what was downloaded before, and the CRDS cache.")
    ] = False,
) -> None:
    """Do what `plan` shows, with progress and a log. Run it again: only what is missing or stale is done.

    Example: `acsrecipe run recipe.toml --output night1 -j 2`
    """
    from acsrecipe.api import build_plan, load_recipe

    environment = read_environment(offline=offline)
    loaded = load_recipe(recipe)
    made = build_plan(loaded, environment=environment, engine=engine)
    folder = output or Path("runs") / loaded.recipe.name
    code = follow(made, loaded, folder, environment, jobs=jobs, quiet=quiet)
    if code:
        raise typer.Exit(code)


def follow(
    made: Plan,
    loaded: LoadedRecipe,
    folder: Path,
    environment: Environment,
    *,
    jobs: int | None = None,
    quiet: bool = False,
) -> int:
    """Run a plan with its progress on the terminal; give the exit code."""
    from acsrecipe.api import run_plan
    from acsrecipe.cli.progress import show_progress

    with interruptible() as stop, show_progress(made, quiet=quiet) as observe:
        result = run_plan(
            made,
            loaded,
            folder,
            environment=environment,
            jobs=jobs,
            observe=observe,
            stop=stop,
            command_line=sys.argv,
        )
    for warning in result.warnings:
        say(f"warning: {warning}", style="yellow")
    for error in result.failed.values():
        if isinstance(error, AcsRecipeError):
            show_error(error)
        else:
            say(f"error: {error}", style="red")
    if result.skipped:
        say(f"not started, because of that: {', '.join(result.skipped)}")
    if result.failed:
        say("\nWhat was finished is kept: mend the cause and run the same command again.")
        return max(getattr(error, "exit_code", 1) for error in result.failed.values())
    stdout().print(f"products: {folder / 'products'}", markup=False, soft_wrap=True)
    return 0


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C (or SIGTERM) into a request to stop, and the second into the end at once."""
    stop = threading.Event()

    def ask(number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        os.write(2, b"\nstopping; press Ctrl-C again to end at once\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
