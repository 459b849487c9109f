"""``acsrecipe doctor``: is everything here that a run needs, and how to mend what is not."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from acsrecipe.cli.surroundings import read_environment
from acsrecipe.cli.terminal import stdout, write_json
from acsrecipe.environment import Environment
from acsrecipe.errors import AcsRecipeError
from acsrecipe.recipe.toml import LoadedRecipe

State = Literal["ok", "note", "warning", "broken"]
MARKS = {"ok": ("✓", "green"), "note": ("·", "cyan"), "warning": ("!", "yellow"), "broken": ("✗", "bold red")}
LEAST_FREE = 2e9
"""Bytes: an association of four full frames takes about this with its references."""
OLD_DAYS = 30


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes
    ----------
    name : str
    state : str
        ``ok``, ``note``, ``warning`` (some recipes won't work), or ``broken`` (none will, or this one won't).
    found : str
        What was found.
    mend : str
        What to do about it; empty where nothing has to be done.
    exit_code : int
        What ``doctor`` exits with where it is broken.
    """

    name: str
    state: State
    found: str
    mend: str = ""
    exit_code: int = 0


def doctor(
    recipe: Annotated[Path | None, typer.Argument(help="Look at what this recipe needs.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The checks as JSON on stdout.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no server.")] = False,
) -> None:
    """Look at engine, versions, CRDS cache and server, MAST, token, downloads and disk; say how to mend each.

    Exits with 0 unless something keeps every recipe (or the one named) from being run.

    Example: `acsrecipe doctor`, or `acsrecipe doctor recipe.toml --json`
    """
    from acsrecipe.api import load_recipe

    environment = read_environment(offline=offline)
    checks = list(examine(environment, load_recipe(recipe) if recipe else None))
    if as_json:
        write_json({"checks": [asdict(one) for one in checks]})
    else:
        show(checks)
    broken = [one.exit_code for one in checks if one.state == "broken"]
    if broken:
        raise typer.Exit(broken[0])


def show(checks: list[Check]) -> None:
    """Print checks for people; the mark says what the colour says."""
    console = stdout()
    width = max(len(one.name) for one in checks)
    for one in checks:
        mark, style = MARKS[one.state]
        console.print(Text.assemble((mark, style), f" {one.name:{width}}  {one.found}"), soft_wrap=True)
        if one.mend:
            console.print(Text(f"  {'':{width}}  to mend it: {one.mend}", style="dim"), soft_wrap=True)


def examine(environment: Environment, recipe: LoadedRecipe | None = None) -> Iterator[Check]:
    """Make all checks; one that fails in an unforeseen way says so, and the others go on."""
    examinations: tuple[tuple[str, Callable[[Environment, LoadedRecipe | None], Iterator[Check]]], ...] = (
        ("versions", _versions),
        ("engine", _engine),
        ("CRDS", _crds),
        ("MAST", _mast),
        ("disk", _disk),
    )
    for name, look in examinations:
        try:
            yield from look(environment, recipe)
        except (AcsRecipeError, OSError) as error:
            yield Check(name, "broken", str(error).partition("\n")[0], getattr(error, "hint", "") or "", 4)


def _versions(_environment: Environment, _recipe: LoadedRecipe | None) -> Iterator[Check]:
    from acsrecipe.api import versions

    found = versions()
    absent = [name for name, version in found.items() if version == "not installed"]
    listed = ", ".join(f"{name} {version}" for name, version in found.items() if name != "system")
    if absent:
        yield Check("versions", "broken", f"{', '.join(absent)} not installed", f"pip install {' '.join(absent)}", 1)
    else:
        yield Check("versions", "ok", listed)


def _engine(environment: Environment, recipe: LoadedRecipe | None) -> Iterator[Check]:
    from acsrecipe.engines.catalogue import abilities

    wanted = recipe.recipe.calibrate.engine if recipe else "auto"
    for one in abilities(environment.search_path):
        if one.available:
            yield Check(f"engine {one.name}", "ok", f"{one.version} {one.detail}".strip())
            continue
        mend = "conda install -c conda-forge hstcal, and have calacs.e in PATH" if one.name == "calacs" else ""
        if one.name == wanted:
            yield Check(f"engine {one.name}", "broken", one.detail, mend, 5)
        else:
            yield Check(f"engine {one.name}", "note", one.detail, mend)
    if "jref" in os.environ:
        found = "jref is set in the environment; it is not used: each task has its own"
        yield Check("jref", "note", found)


def _crds(environment: Environment, recipe: LoadedRecipe | None) -> Iterator[Check]:
    from acsrecipe.api.sources import crds_settings
    from acsrecipe.inputs.crds_cache import open_cache

    named = recipe is not None and recipe.recipe.references.cache
    if not named and not environment.crds_path:
        mend = 'set CRDS_PATH to a folder of your own, or write cache = "crds" under [references]'
        yield Check("CRDS cache", "broken" if recipe else "warning", "none is named", mend, 3)
        return
    if recipe is not None:
        settings = crds_settings(recipe, environment)
    else:
        from acsrecipe.inputs.crds_cache import CrdsSettings

        settings = CrdsSettings(environment.crds_path, environment.crds_server or None, offline=environment.offline)
    cache = open_cache(settings)
    contexts = cache.contexts()
    empty = not contexts
    if empty and not settings.server:
        mend = "set CRDS_SERVER_URL=https://hst-crds.stsci.edu: rules and references are fetched when needed"
        yield Check("CRDS cache", "broken", f"{cache.root} is empty, and no server is named", mend, 4)
    elif empty:
        yield Check("CRDS cache", "ok", f"{cache.root} is empty; it is filled when needed")
    else:
        found = f"{cache.root} ({cache.layout}), {len(contexts)} contexts, latest known {cache.latest or 'none'}"
        age = _age(cache.synced)
        if age is not None:
            found += f", heard of a server {age:.0f} days ago"
        old = age is not None and age > OLD_DAYS and not settings.server
        mend = "set CRDS_SERVER_URL=https://hst-crds.stsci.edu to hear of newer contexts" if old else ""
        yield Check("CRDS cache", "warning" if old else "ok", found, mend)
    nearest = next(path for path in (cache.root, *cache.root.parents) if path.exists())
    if not os.access(nearest, os.W_OK) and settings.server:
        mend = "name a cache of your own: CRDS_PATH, or cache under [references]"
        yield Check("CRDS cache", "warning", f"{nearest} can't be written: nothing can be fetched into it", mend)
    if not settings.server:
        mend = "set CRDS_SERVER_URL=https://hst-crds.stsci.edu, unless the cache has all you need"
        yield Check("CRDS server", "note", "none is named: contexts and references come from the cache only", mend)
    elif not settings.online:
        yield Check("CRDS server", "note", f"{settings.server} was not asked (--offline)")
    else:
        what = _reach(environment, settings.server, settings.server)
        state: State = "ok" if what.startswith("answers") else ("broken" if empty else "warning")
        mend = "" if state == "ok" else "look at the network and at CRDS_SERVER_URL; --offline uses the cache"
        yield Check("CRDS server", state, f"{settings.server} {what}", mend, 4)


def _mast(environment: Environment, recipe: LoadedRecipe | None) -> Iterator[Check]:
    from acsrecipe.api.sources import mast_settings, open_store
    from acsrecipe.inputs.wire import Client, LastingError, PassingError

    store = open_store(environment)
    settings = mast_settings(environment, with_token=True)
    kept = len(store.names(settings.server))
    yield Check("downloads", "ok", f"{store.root}: {kept} files of {settings.server}")
    if settings.offline:
        yield Check("MAST", "note", f"{settings.server} was not asked (--offline)")
        return
    client = Client(replace(settings, patience=replace(settings.patience, attempts=1)))
    try:
        url = f"{settings.server.rstrip('/')}/whoami"
        said = json.loads(client.read_all(url, 1 << 20, exclusive=True, until=time.monotonic() + 30))
        anonymous = bool(said.get("anon", True)) if isinstance(said, dict) else True
    except (PassingError, LastingError, ValueError) as error:
        needed = recipe is not None and recipe.recipe.observations.archive == "mast"
        what = "its answer makes no sense" if isinstance(error, ValueError) else str(error)
        mend = "look at the network, and at MAST_SERVER if it is set; --offline uses what was downloaded before"
        yield Check("MAST", "broken" if needed else "warning", f"{settings.server}: {what}", mend, 4)
        return
    finally:
        client.close()
    yield Check("MAST", "ok", f"{settings.server} answers")
    if not settings.token:
        mend = "only for exclusive-access data: make one at https://auth.mast.stsci.edu/token, set MAST_API_TOKEN"
        yield Check("MAST token", "note", "there is none", mend)
    elif anonymous:
        mend = "it may have expired: make a new one at https://auth.mast.stsci.edu/token"
        yield Check("MAST token", "warning", "MAST does not know it", mend)
    else:
        yield Check("MAST token", "ok", "MAST accepts it")


def _disk(environment: Environment, recipe: LoadedRecipe | None) -> Iterator[Check]:
    from acsrecipe.api.sources import open_store

    places: dict[str, Any] = {"here": Path.cwd(), "downloads": open_store(environment).root}
    if recipe is not None and recipe.recipe.references.cache is None and environment.crds_path:
        places["CRDS cache"] = Path(environment.crds_path).absolute()
    for name, folder in places.items():
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(nearest).free
        low = free < LEAST_FREE
        found = f"{name}: {free / 1e9:.1f} GB free at {nearest}"
        mend = "free some; four full frames and their references take about 2 GB" if low else ""
        yield Check("disk", "warning" if low else "ok", found, mend)


def _reach(environment: Environment, server: str, url: str) -> str:
    """Say whether a server answers at all."""
    from acsrecipe.api.sources import mast_settings
    from acsrecipe.inputs.wire import AbsentError, AccessError, Client, LastingError, PassingError

    settings = replace(mast_settings(environment), server=server)
    client = Client(settings)
    try:
        with client.get(url, {}, exclusive=False, until=time.monotonic() + 30):
            return "answers"
    except (AbsentError, AccessError):
        return "answers"
    except (LastingError, PassingError) as error:
        return f"can't be asked: {error}"
    finally:
        client.close()


def _age(stamp: str) -> float | None:
    """Give the days since a time stamp, or None where there is none."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(stamp).replace(tzinfo=UTC)).total_seconds() / 86400
    except ValueError:
        return None
