"""The road in Python: a recipe, the plan of it, the run of that plan.

>>> import os
>>> from acsrecipe import Environment, build_plan, load_recipe, run_plan
>>> recipe = load_recipe("demo/recipe.toml")                           # doctest: +SKIP
>>> plan = build_plan(recipe, environment=Environment.of(os.environ))  # doctest: +SKIP
>>> run_plan(plan, recipe, "demo-run").products                        # doctest: +SKIP
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from acsrecipe.api.look import base_folder, look
from acsrecipe.api.processors import count_processors, share_processors
from acsrecipe.api.sources import crds_settings, mast_settings, needs_token, open_store
from acsrecipe.environment import Environment
from acsrecipe.inputs.crds_cache import CrdsSettings
from acsrecipe.plan.model import EngineAbility, Plan, StepAbility
from acsrecipe.recipe.toml import LoadedRecipe
from acsrecipe.recipe.toml import load_recipe as _load_recipe
from acsrecipe.run.execute import Observer, RunOptions, RunResult
from acsrecipe.run.execute import run_plan as _run_plan

PACKAGES = ("acsrecipe", "astropy", "crds", "matplotlib", "numba", "numpy", "stwcs")
"""Packages that touch data or decide on references; the log records their versions."""


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
        Tasks at once; if not given, as many as there are processors for, with the threads that the recipe asks for.
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
    jobs, threads = share_processors(
        count_processors(),
        jobs=jobs,
        threads=None if isinstance(recipe, Path) else recipe.recipe.calibrate.threads,
        calibrations=sum(task.kind == "calibrate" for task in plan.tasks),
    )
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
