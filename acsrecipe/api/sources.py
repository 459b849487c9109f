"""Where a recipe's inputs come from, given the environment: MAST or a folder, CRDS, and the store of downloads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from acsrecipe.environment import Environment
from acsrecipe.errors import PlanError
from acsrecipe.inputs.crds_cache import CrdsCache, CrdsSettings, Patience
from acsrecipe.inputs.download import Report
from acsrecipe.inputs.model import FileIdentity, ReferenceChoice
from acsrecipe.inputs.store import Store, default_folder
from acsrecipe.inputs.wire import MastSettings
from acsrecipe.plan.model import Plan
from acsrecipe.recipe.toml import LoadedRecipe, resolve_path

if TYPE_CHECKING:
    from acsrecipe.inputs.mast import Mast

MAST = "https://mast.stsci.edu"


def mast_settings(environment: Environment, *, with_token: bool = False) -> MastSettings:
    """Say how to talk with MAST; the token only where it is needed."""
    return MastSettings(
        server=environment.mast_server or MAST,
        offline=environment.offline,
        patience=environment.patience or Patience(),
        deadline=environment.deadline,
        connections=environment.connections,
        token=environment.ask_token() if with_token and environment.ask_token else "",
    )


def open_store(environment: Environment) -> Store:
    """Give the store of downloads."""
    folder = Path(environment.downloads).expanduser() if environment.downloads else default_folder()
    return Store(folder.absolute())


def open_mast(
    environment: Environment, proposal: int | None, *, whole: bool = False, report: Report | None = None
) -> Mast:
    """Open MAST as an archive; close it when done."""
    from acsrecipe.inputs.mast import Mast

    return Mast(
        mast_settings(environment),
        open_store(environment),
        proposal=proposal,
        whole=whole,
        report=report,
        ask_token=environment.ask_token,
    )


def crds_settings(recipe: LoadedRecipe, environment: Environment) -> CrdsSettings:
    """Say which CRDS cache and server count.

    Raises
    ------
    PlanError
        P205 neither the recipe nor the environment names a cache.
    """
    asked = recipe.recipe.references
    cache = str(resolve_path(recipe, asked.cache)) if asked.cache else environment.crds_path
    if not cache:
        msg = "no CRDS cache is named"
        raise PlanError(
            msg,
            where=recipe.where("references"),
            hint='write cache = "crds" under [references], or set CRDS_PATH',
            code="P205",
        )
    server = asked.server or environment.crds_server or None
    settings = CrdsSettings(cache=cache, server=server, offline=environment.offline)
    return replace(settings, patience=environment.patience) if environment.patience else settings


def find_reference(choice: ReferenceChoice, cache: CrdsCache, *, online: bool) -> ReferenceChoice:
    """Say whether the file of a choice has to be fetched: it is not in the cache, or not what CRDS catalogues.

    Content is compared, by size and sha1, once a process and version of a file.
    """
    from acsrecipe.inputs.crds_cache import verify_reference

    known = cache.catalogue.get(choice.name)
    if known is None or not online:
        return choice
    path = cache.reference_path(choice.name)
    wanted = FileIdentity(path=str(path), size=known.size, sha1=known.sha1)
    if choice.file is not None and not verify_reference(wanted):
        return choice
    base = cache.config.get("reference_url")
    address = base.get(cache.observatory, "") if isinstance(base, dict) else ""
    return replace(choice, file=replace(wanted, source=f"{str(address).rstrip('/')}/{choice.name}"))


def needs_token(plan: Plan) -> bool:
    """Say whether a run of the plan downloads what is not public."""
    return any(file.exclusive for task in plan.tasks if task.kind == "fetch" for file in task.inputs)
