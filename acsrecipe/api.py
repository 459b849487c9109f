"""The road in Python: a recipe, the plan of it, the run of that plan.

>>> import os
>>> from acsrecipe import Environment, build_plan, load_recipe, run_plan
>>> recipe = load_recipe("demo/recipe.toml")                           # doctest: +SKIP
>>> plan = build_plan(recipe, environment=Environment.of(os.environ))  # doctest: +SKIP
>>> run_plan(plan, recipe, "demo-run").products                        # doctest: +SKIP
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from acsrecipe.environment import Environment
from acsrecipe.errors import PlanError
from acsrecipe.inputs.crds_cache import CrdsSettings
from acsrecipe.inputs.download import Report
from acsrecipe.inputs.model import Context, Exposure, FileIdentity, Inventory, Observed, ReferenceChoice, Value
from acsrecipe.inputs.survey import Found
from acsrecipe.plan.model import EngineAbility, Plan, StepAbility
from acsrecipe.recipe.model import ArchiveFolder
from acsrecipe.recipe.toml import LoadedRecipe, resolve_path
from acsrecipe.recipe.toml import load_recipe as _load_recipe
from acsrecipe.run.execute import Observer, RunOptions, RunResult
from acsrecipe.run.execute import run_plan as _run_plan
from acsrecipe.sources import crds_settings, find_reference, mast_settings, needs_token, open_mast, open_store

PACKAGES = ("acsrecipe", "astropy", "crds", "matplotlib", "numba", "numpy", "stwcs")
"""Packages that touch data or decide on references; the log records their versions."""

PCTETAB_NAME = "Par/Serial PixelCTE 2023"


def load_recipe(path: str | Path) -> LoadedRecipe:
    """Read and check a recipe.

    Raises
    ------
    RecipeError
        With every problem found.
    """
    return _load_recipe(Path(path))


def build_plan(recipe: LoadedRecipe, *, environment: Environment | None = None, engine: str | None = None) -> Plan:
    """Look at what exists and say what a recipe would do; writes nothing.

    Parameters
    ----------
    recipe : LoadedRecipe
    environment : Environment, optional
        ``Environment.of(os.environ)`` for the CRDS cache, the CRDS server and PATH of the shell.
    engine : str, optional
        ``calacs``, ``embedded`` or ``auto``, instead of the recipe's.

    Returns
    -------
    Plan
        Look at ``plan.findings`` and ``plan.runnable``.

    Raises
    ------
    PlanError
        The inputs are not there, or not what they should be.
    ArchiveError
        The archive or the CRDS cache can't be used.
    """
    from acsrecipe.plan.build import build_plan as build

    environment = environment or Environment()
    from acsrecipe.steps.catalogue import get_step

    steps: dict[str, StepAbility] = {step.step: get_step(step.step) for step in recipe.recipe.post}
    return build(recipe, look(recipe, environment), _abilities(environment), steps, engine=engine)


def run_plan(
    plan: Plan,
    recipe: LoadedRecipe | Path,
    output: str | Path,
    *,
    environment: Environment | None = None,
    jobs: int | None = None,
    observe: Observer | None = None,
    stop: threading.Event | None = None,
    command_line: Sequence[str] = (),
    keep_going: bool = True,
    deadline: float | None = None,
    verify: bool = False,
) -> RunResult:
    """Do what a plan says, into a folder.

    Parameters
    ----------
    plan : Plan
    recipe : LoadedRecipe or Path
        The recipe that the plan is of, or that recipe's folder: the plan's paths start there.
    output : str or Path
        Gets ``products/``, ``plots/``, ``logs/``, ``plan.json`` and ``provenance.jsonl``.
    environment : Environment, optional
    jobs : int, optional
        Tasks at once; as many as there are processors if not given.
    observe : callable, optional
        Hears of every event.
    stop : threading.Event, optional
        Set it to interrupt.
    command_line : sequence of str
        For the log.
    keep_going : bool
        Whether tasks that don't depend on a failed one go on.
    deadline : float, optional
        Seconds that one task may take.
    verify : bool
        Read every output of an earlier run anew, instead of trusting inode, size and times of change.

    Raises
    ------
    PlanError, OutputError, LockedError, IntegrityError, InterruptedRunError
        See :func:`acsrecipe.run.execute.run_plan`. A task that fails raises nothing: see ``RunResult.failed``.
    """
    environment = environment or Environment()
    processors = os.cpu_count() or 1
    calibrations = sum(task.kind == "calibrate" for task in plan.tasks)
    jobs = jobs or processors
    asked = None if isinstance(recipe, Path) else recipe.recipe.calibrate.threads
    threads = asked or max(1, processors // max(1, min(jobs, calibrations)))
    options = RunOptions(
        base=recipe if isinstance(recipe, Path) else base_folder(recipe),
        output=Path(output),
        jobs=jobs,
        threads=threads,
        environment=environment.passed_on or {},
        search_path=environment.search_path,
        command_line=command_line,
        versions=versions(),
        keep_going=keep_going,
        deadline=deadline,
        verify=verify,
        store=open_store(environment).root,
        mast=mast_settings(environment, with_token=needs_token(plan)),
        crds=_crds_for(plan, recipe, environment),
        revision=_revision(plan, recipe, environment),
    )
    return _run_plan(plan, options, observe=observe, stop=stop)


def _revision(plan: Plan, recipe: LoadedRecipe | Path, environment: Environment) -> str:
    """Give the git revision of the recipe, where products are to say it and it is in a repository."""
    from acsrecipe.recipe.revision import revision_of

    if isinstance(recipe, Path) or recipe.path is None or not any(task.stamp for task in plan.tasks):
        return ""
    return revision_of(recipe.path, environment.search_path)


def look(recipe: LoadedRecipe, environment: Environment) -> Inventory:
    """Find out what exists and bears on a recipe: exposures, associations, context, references. Only reads."""
    from acsrecipe.plan.changes import override_headers

    asked = recipe.recipe
    base = base_folder(recipe)
    found = find_exposures(recipe, environment)
    headers, _ = override_headers(recipe, found.exposures)
    context, references, observed = _choose_references(
        recipe, environment, {root: header.merged() for root, header in headers.items()}, base
    )
    custom = {
        keyword: _identify_custom(resolve_path(recipe, path), base, recipe, keyword)
        for keyword, path in asked.references.override.items()
    }
    inventory = Inventory(
        exposures=found.exposures,
        associations=found.associations,
        context=context,
        references=references,
        custom=custom,
        observed=(*found.observed, *observed),
    )
    generation = _check_generation(inventory, base) if _corrects_charge_transfer(recipe, found.exposures) else ()
    return replace(inventory, observed=(*inventory.observed, *generation))


def find_exposures(
    recipe: LoadedRecipe, environment: Environment, *, whole: bool = False, report: Report | None = None
) -> Found:
    """Find the exposures and associations of a recipe in its archive.

    Parameters
    ----------
    recipe : LoadedRecipe
    environment : Environment
    whole : bool
        Download what MAST has, instead of reading headers from afar.
    report : callable, optional
        Told of the progress of downloads.
    """
    from acsrecipe.inputs.archive import LocalFolder
    from acsrecipe.inputs.survey import survey

    asked = recipe.recipe.observations
    filters = recipe.recipe.association
    options: dict[str, Any] = {
        "proposal": asked.proposal,
        "products": asked.products,
        "keep": filters.keep,
        "drop": filters.drop,
        "threads": os.cpu_count() or 1,
    }
    if isinstance(asked.archive, ArchiveFolder):
        base = base_folder(recipe)
        folder = resolve_path(recipe, asked.archive.folder)
        return survey(LocalFolder(folder, shown_as=_shown(folder, base)), asked.ids, **options)
    mast = open_mast(environment, asked.proposal, whole=whole, report=report)
    try:
        mast.look_ahead(asked.ids)
        return survey(mast, asked.ids, **options)
    finally:
        mast.close()


def base_folder(recipe: LoadedRecipe) -> Path:
    """Give the folder that a recipe's relative paths start in: its own."""
    return recipe.path.resolve().parent if recipe.path else Path()


def refuse_drift(plan: Plan, base: Path, *, environment: Environment | None = None) -> None:
    """Refuse a plan that was made earlier where its files, references or engine have changed since.

    Parameters
    ----------
    plan : Plan
    base : Path
        The folder of its recipe: relative paths of the plan start there.
    environment : Environment, optional

    Raises
    ------
    IntegrityError
        With every difference.
    """
    from acsrecipe.run.drift import refuse_drift as refuse

    environment = environment or Environment()
    refuse(plan, base, _abilities(environment), open_store(environment).root)


def _crds_for(plan: Plan, recipe: LoadedRecipe | Path, environment: Environment) -> CrdsSettings | None:
    """Give what fetching references takes, where the plan fetches any."""
    if not any(task.references for task in plan.tasks if task.kind == "fetch"):
        return None
    if not isinstance(recipe, Path):
        return crds_settings(recipe, environment)
    used = plan.context
    cache = str(recipe / used.cache) if used and used.cache else environment.crds_path
    return CrdsSettings(cache=cache, server=(used.server if used else "") or environment.crds_server or None)


def versions() -> dict[str, str]:
    """Give the versions of Python, the system and the packages that touch data."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _abilities(environment: Environment) -> tuple[EngineAbility, ...]:
    from acsrecipe.engines.catalogue import abilities

    return abilities(environment.search_path)


def _shown(path: Path, base: Path) -> str:
    """Write a path as plans show it: relative to the recipe's folder where it lies below, else absolute."""
    resolved = path.resolve()
    return str(resolved.relative_to(base)) if resolved.is_relative_to(base) else str(resolved)


def _choose_references(
    recipe: LoadedRecipe, environment: Environment, headers: Mapping[str, Mapping[str, Value]], base: Path
) -> tuple[Context, dict[str, dict[str, ReferenceChoice]], tuple[Observed, ...]]:
    from acsrecipe.inputs.references import open_rules

    settings = crds_settings(recipe, environment)
    rules = open_rules(settings, recipe.recipe.references.context)
    chosen: dict[str, dict[str, ReferenceChoice]] = {}
    for rootname, header in headers.items():
        chosen[rootname] = {
            keyword: replace(choice, file=_relative(choice.file, base)) if choice.file else choice
            for keyword, choice in (
                (keyword, find_reference(found, rules.cache, online=settings.online))
                for keyword, found in rules.choose(header).items()
            )
        }
    # A server that was asked was heard just now: a plan, which knows no clock, does not say when.
    synced = "" if rules.context.server else rules.context.synced
    context = replace(rules.context, cache=_shown(Path(rules.context.cache), base), synced=synced)
    return context, chosen, rules.observed


def _relative(file: FileIdentity, base: Path) -> FileIdentity:
    return replace(file, path=_shown(Path(file.path), base))


def _identify_custom(path: Path, base: Path, recipe: LoadedRecipe, keyword: str) -> FileIdentity:
    from acsrecipe.files import sha256_file
    from acsrecipe.inputs.header import read_headers

    where = recipe.where("references", "override", keyword)
    if not path.is_file():
        msg = f"{keyword}: there is no file {path}"
        raise PlanError(msg, where=where, code="P206")
    read_headers(path)
    return FileIdentity(path=_shown(path, base), size=path.stat().st_size, sha256=sha256_file(path))


def _corrects_charge_transfer(recipe: LoadedRecipe, exposures: Sequence[Exposure]) -> bool:
    wanted = recipe.recipe.switches.get("PCTECORR")
    return wanted == "PERFORM" or (
        wanted is None and any(str(one.primary.get("PCTECORR")).upper() == "PERFORM" for one in exposures)
    )


def _check_generation(inventory: Inventory, base: Path) -> tuple[Observed, ...]:
    """Find PCTETABs of a generation that no engine of today takes (calacs since 10.4)."""
    from acsrecipe.inputs.header import read_headers

    tables = {
        file.path
        for choices in inventory.references.values()
        if (choice := choices.get("PCTETAB")) and (file := inventory.custom.get("PCTETAB") or choice.file)
        if not file.source
    }
    found = []
    for path in sorted(tables):
        name = read_headers(base / path)[0].cards.get("CTE_NAME")
        if str(name).strip() != PCTETAB_NAME:
            found.append(
                Observed(
                    code="P207",
                    severity="error",
                    message=f"this PCTETAB is of CTE_NAME {name!r}; calacs since 10.4 takes {PCTETAB_NAME!r} only",
                    file=path,
                    hint='choose a newer context, or PCTECORR = "OMIT"',
                )
            )
    return tuple(found)
