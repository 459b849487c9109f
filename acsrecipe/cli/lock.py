"""``acsrecipe lock``: pin everything that a recipe was resolved to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from acsrecipe.cli.surroundings import read_environment
from acsrecipe.cli.terminal import say, show_error, stdout, write, write_json
from acsrecipe.errors import AcsRecipeError, PlanError, UsageError


def lock(
    recipe: Annotated[Path, typer.Argument(help="A recipe, TOML.", show_default=False)],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 10 where the lock is not what would be resolved now.")
    ] = False,
    upgrade: Annotated[
        str | None,
        typer.Option(
            "--upgrade",
            help="Move one pin: context, references, inputs, engine, recipe, packages, a package, keyword or file.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="calacs, embedded or auto, instead of the recipe's choice.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What differs, as JSON on stdout.")] = False,
) -> None:
    """Write RECIPE.lock: context and rules, inputs, references, engine, packages, each with version or checksum.

    Examples: `acsrecipe lock recipe.toml`, then `acsrecipe run recipe.toml --locked`;
    `acsrecipe lock recipe.toml --check`; `acsrecipe lock recipe.toml --upgrade context`
    """
    try:
        _lock(recipe, check=check, upgrade=upgrade, engine=engine, as_json=as_json)
    except AcsRecipeError as error:
        show_error(error, as_json=as_json)
        raise typer.Exit(error.exit_code) from None


def _lock(recipe: Path, *, check: bool, upgrade: str | None, engine: str | None, as_json: bool) -> None:
    from acsrecipe.api import load_recipe
    from acsrecipe.api.lock import check_lock, lock_path, make_lock, read_lock, upgrade_lock, write_lock

    environment = read_environment()
    loaded = load_recipe(recipe)
    path = lock_path(recipe)
    if check and upgrade:
        msg = "--check writes nothing, --upgrade does"
        raise UsageError(msg, hint="give one of them")
    if check:
        found = check_lock(read_lock(path), loaded, environment=environment)
        _show(found, as_json=as_json)
        if found:
            raise typer.Exit(10)
        if not as_json:
            write(f"{path}: as it is now\n")
        return
    if upgrade:
        done = upgrade_lock(read_lock(path), loaded, upgrade, environment=environment)
        write_lock(done.lock, path)
        _show(done.moved, as_json=as_json)
        if not as_json and not done.moved:
            write(f"{upgrade}: the pin is where it was\n")
        elif not as_json and done.changes is not None:
            from acsrecipe.plan.render_diff import render_comparison

            stdout().print(render_comparison(done.changes))
        return
    made = make_lock(loaded, environment=environment, engine=engine)
    missing = [file for file in made.references if not (file.sha256 or file.sha1)]
    if missing:
        names = ", ".join(f"{file.role} {file.name}" for file in missing[:3])
        msg = f"{len(missing)} references are not here and not in CRDS's catalogue: {names}"
        raise PlanError(msg, hint="bring them into the cache first: `acsrecipe plan` names them all", code="P203")
    write_lock(made, path)
    say(f"{path}: {len(made.inputs)} inputs, {len(made.references)} references, {len(made.packages)} packages locked")


def _show(found: Any, *, as_json: bool) -> None:
    if as_json:
        write_json({"differences": [one.model_dump() for one in found]})
        return
    for one in found:
        write(f"{one.text}\n")
