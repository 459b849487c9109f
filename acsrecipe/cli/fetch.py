"""``acsrecipe fetch``: have everything here before planning or running without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from acsrecipe.cli.surroundings import read_environment
from acsrecipe.cli.terminal import say, stderr, stdout
from acsrecipe.errors import PlanError
from acsrecipe.inputs.download import Progress


def fetch(
    recipe: Annotated[Path, typer.Argument(help="A recipe, TOML.", show_default=False)],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> None:
    """Download what a recipe needs: its exposures from MAST, then its reference files from CRDS; verified, once.

    `run` does this itself; `fetch` is for planning and running later without a network (`--offline`), and for
    servers that do not give parts of files.

    Example: `acsrecipe fetch recipe.toml`, then on the train `acsrecipe run --offline recipe.toml`
    """
    from acsrecipe.api import build_plan, find_exposures, load_recipe
    from acsrecipe.api.sources import crds_settings
    from acsrecipe.inputs import references as crds

    environment = read_environment()
    loaded = load_recipe(recipe)
    with _progress(quiet=quiet) as report:
        found = find_exposures(loaded, environment, whole=True, report=report)
        wrong = [one for one in found.observed if one.severity == "error"]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise PlanError(
                wrong[0].message + more, where=wrong[0].file or None, hint=wrong[0].hint, code=wrong[0].code
            )
        plan = build_plan(loaded, environment=environment)
        wanted = [one.name for task in plan.tasks if task.kind == "fetch" for one in task.references]
        if wanted:

            def tell(step: crds.Progress) -> None:
                report(Progress(step.name, step.done, step.size, 0.0, step.note))

            crds.fetch_references(crds_settings(loaded, environment), wanted, tell)
    exposures = len(found.exposures)
    stdout().print(f"{exposures} exposures and {len(wanted)} new references are here", markup=False)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show bars in a terminal, a line a file where output is piped."""
    console = stderr()
    if quiet or not console.is_terminal:
        done: set[str] = set()

        def plain(step: Progress) -> None:
            if quiet:
                return
            if step.note:
                say(str(step))
            elif step.done == step.size and step.name not in done:
                done.add(step.name)
                say(f"{step.name}: {step.size} bytes")

        yield plain
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=console) as bars:
        tasks: dict[str, int] = {}

        def show(step: Progress) -> None:
            if step.note:
                bars.console.print(Text(str(step), style="yellow"))
            elif step.name:
                if step.name not in tasks:
                    tasks[step.name] = bars.add_task(step.name, total=step.size)
                bars.update(tasks[step.name], completed=step.done, total=step.size)  # type: ignore[arg-type]

        yield show
