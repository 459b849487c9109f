"""``acsrecipe demo``: the whole road on a synthetic association."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from acsrecipe.cli.run_command import follow
from acsrecipe.cli.surroundings import read_environment
from acsrecipe.cli.terminal import say, stdout
from acsrecipe.environment import Environment
from acsrecipe.errors import UsageError


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to make it; must be new or empty.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    mode: Annotated[str, typer.Option(help="Kind of association; --list-modes names them.")] = "pre_dth",
    full_frame: Annotated[bool, typer.Option("--full-frame", help="The true size of ACS/WFC frames.")] = False,
    engine: Annotated[str | None, typer.Option(help="calacs, embedded or auto.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Tasks at once.", show_default=False)] = None,
    list_modes: Annotated[bool, typer.Option("--list-modes", help="List the modes and exit.")] = False,
    served: Annotated[
        bool, typer.Option("--served", help="Fetch the data from stand-ins for MAST and CRDS on this machine.")
    ] = False,
    only_make: Annotated[bool, typer.Option("--only-make", help="Make the data and the recipe; run nothing.")] = False,
) -> None:
    """Make a synthetic ACS/WFC association with its references, then plan, run, and compare with the truth.

    Example: `acsrecipe demo`, then `acsrecipe log demo/run`
    """
    from acsrecipe.demo.dataset import make_dataset
    from acsrecipe.demo.modes import MODES

    if list_modes:
        for name, one in MODES.items():
            typer.echo(f"{name:16} {one.summary}")
        return
    if mode not in MODES:
        msg = f"there is no mode {mode!r}"
        raise UsageError(msg, hint=f"modes: {', '.join(MODES)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = "exists and is not an empty folder"
        raise UsageError(msg, where=str(folder), hint="name another one")
    say(f"making a synthetic association in {folder} ...")
    dataset = make_dataset(folder, seed=seed, mode=mode, full_frame=full_frame)
    if only_make:
        stdout().print(f"recipe: {dataset.recipe}", markup=False, soft_wrap=True)
        return
    environment = read_environment()
    if not served:
        _walk(dataset.recipe, folder, dataset.truth, environment, engine, jobs)
        return
    from acsrecipe.demo.served import serve

    with serve(dataset) as site:
        say(f"\nstand-ins for MAST and CRDS answer at {site.mast.url} and {site.crds.url}")
        environment = replace(
            environment, mast_server=site.mast.url, crds_server=site.crds.url, downloads=str(site.downloads)
        )
        _walk(site.recipe, folder, dataset.truth, environment, engine, jobs)
        say(f"MAST was asked {len(site.mast.requests)} times, and sent {site.mast.bytes_sent / 1e6:.1f} MB.")


def _walk(
    recipe: Path, folder: Path, truth: Path, environment: Environment, engine: str | None, jobs: int | None
) -> None:
    """Plan, run, and compare with the truth."""
    from acsrecipe.api import build_plan, load_recipe
    from acsrecipe.plan.render import print_plan

    loaded = load_recipe(recipe)
    dry_run = build_plan(loaded, environment=environment, engine=engine)
    say(f"\n$ acsrecipe plan {recipe}\n", style="bold")
    print_plan(dry_run, stdout())
    run_folder = folder / "run"
    say(f"\n$ acsrecipe run {recipe} --output {run_folder}\n", style="bold")
    code = follow(dry_run, loaded, run_folder, environment, jobs=jobs)
    if code:
        raise typer.Exit(code)
    if not _agrees(run_folder / "products", truth):
        raise typer.Exit(1)
    say(f"\nLook around: {run_folder}/products, {run_folder}/plots; `acsrecipe log {run_folder}` tells what was done.")


def _agrees(products: Path, truth: Path) -> bool:
    """Show how the products compare with the truth; say whether all agree."""
    from rich.table import Table

    from acsrecipe.demo.truth import compare_with_truth

    verdicts = compare_with_truth(products, truth)
    table = Table(title="(product - truth) / ERR on unflagged pixels", title_justify="left", box=None, padding=(0, 2))
    trailed = any(one.trailed for one in verdicts)
    behind = ("behind bright",) if trailed else ()
    for column in ("product", "pixels", "mean", "standard deviation", *behind, ""):
        table.add_column(column, justify="left" if column in ("product", "") else "right")
    for one in verdicts:
        numbers = [f"{one.n_pixels}", f"{one.mean:+.3f}", f"{one.std:.3f}"]
        if trailed:
            numbers.append(f"{one.behind:+.3f}")
        if one.agrees:
            verdict = "agrees" if one.is_as_it_should_be else "SHOULD HAVE TRAILS"
        else:
            verdict = "has trails" if one.is_as_it_should_be else "DOES NOT AGREE"
        table.add_row(f"{one.rootname}_{one.product}", *numbers, verdict)
    stdout().print(table)
    return bool(verdicts) and all(verdict.is_as_it_should_be for verdict in verdicts)
