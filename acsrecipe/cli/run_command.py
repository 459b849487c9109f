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
from acsrecipe.errors import AcsRecipeError, UsageError
from acsrecipe.plan.model import Plan
from acsrecipe.recipe.toml import LoadedRecipe

DEADLINE = 4 * 3600.0
"""Seconds that one task may take: a run over night must end, also where a program hangs."""


def run(
    recipe: Annotated[
        Path, typer.Argument(help="A recipe, TOML; or the plan that `plan -o` wrote, JSON.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The run's folder.  [default: runs/NAME of the recipe]", show_default=False
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Tasks at once.  [default: as processors allow]", show_default=False),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="calacs, embedded or auto, instead of the recipe's choice.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors, and where the products are.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no server: use what was downloaded before, and the CRDS cache.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going/--fail-fast", help="Whether a failure stops what does not depend on it.")
    ] = True,
    deadline: Annotated[float, typer.Option(min=1.0, help="Seconds that one task may take.")] = DEADLINE,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every product of an earlier run anew, to see whether it still holds.")
    ] = False,
    base: Annotated[
        Path | None,
        typer.Option(
            help="Where a plan's relative paths start: its recipe's folder.  [default: where that recipe is found "
            "beside the plan, or here]",
            show_default=False,
        ),
    ] = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="Do what RECIPE.lock says, and refuse anything else, naming it.")
    ] = False,
) -> None:
    """Do what `plan` shows, with progress and a log. Run it again: only what is missing or stale is done.

    Of a plan that was written before, exactly that is done; it is refused, with the difference, where its files,
    references or engine have changed since.

    Example: `acsrecipe run recipe.toml --output night1 -j 2`
    """
    from acsrecipe.api import build_plan, load_recipe, refuse_drift
    from acsrecipe.run.workdir import RunFolder

    environment = read_environment(offline=offline)
    source: LoadedRecipe | Path
    if recipe.suffix == ".json":
        if locked:
            msg = "--locked is for a recipe: a plan is what it is already"
            raise UsageError(msg, where=str(recipe))
        made, source = _read_plan(recipe, base, engine)
        folder = output or Path("runs") / made.recipe
        RunFolder(folder).refuse_second()
        refuse_drift(made, source, environment=environment)
    else:
        source = load_recipe(recipe)
        folder = output or Path("runs") / source.recipe.name
        RunFolder(folder).refuse_second()
        made = (
            plan_locked(source, recipe, environment, engine)
            if locked
            else build_plan(source, environment=environment, engine=engine)
        )
    code = follow(
        made,
        source,
        folder,
        environment,
        jobs=jobs,
        quiet=quiet,
        keep_going=keep_going,
        deadline=deadline,
        verify=verify,
    )
    if locked:
        from acsrecipe.api.lock import keep_lock

        keep_lock(recipe, folder)
    if code:
        raise typer.Exit(code)


def plan_locked(loaded: LoadedRecipe, recipe: Path, environment: Environment, engine: str | None) -> Plan:
    """Plan a recipe as its lock has it."""
    from acsrecipe.api.lock import build_locked_plan, lock_path, read_lock

    return build_locked_plan(loaded, read_lock(lock_path(recipe)), environment=environment, engine=engine)


def _read_plan(path: Path, base: Path | None, engine: str | None) -> tuple[Plan, Path]:
    """Read a plan that was written before, and find the folder that its paths start in."""
    from pydantic import ValidationError

    from acsrecipe.plan.model import from_json

    if engine is not None:
        msg = "--engine can't change a plan that is made"
        raise UsageError(msg, where=str(path), hint="make the plan again with `acsrecipe plan RECIPE --engine ...`")
    try:
        made = from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"can't be read: {error}"
        raise UsageError(msg, where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"is not a plan of this version of acsrecipe: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UsageError(msg, where=str(path), hint="make it again with `acsrecipe plan RECIPE -o`") from error
    for folder in (base,) if base is not None else (path.parent, Path()):
        if base is not None or (folder / made.recipe_file).is_file():
            return made, folder.resolve()
    msg = f"the folder of its recipe {made.recipe_file} is not known: it is neither beside the plan nor here"
    raise UsageError(msg, where=str(path), hint="name that folder with --base")


def follow(
    made: Plan,
    loaded: LoadedRecipe | Path,
    folder: Path,
    environment: Environment,
    *,
    jobs: int | None = None,
    quiet: bool = False,
    keep_going: bool = True,
    deadline: float = DEADLINE,
    verify: bool = False,
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
            keep_going=keep_going,
            deadline=deadline,
            verify=verify,
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
