"""What would change, and does it matter: two recipes, plans, runs, contexts or revisions side by side.

The questions that are asked of a recipe before and after its run; the answers are plain data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from acsrecipe.api.look import base_folder, find_exposures
from acsrecipe.api.road import build_plan, load_recipe
from acsrecipe.environment import Environment
from acsrecipe.errors import AcsRecipeError, UsageError
from acsrecipe.inputs.model import Value
from acsrecipe.plan.compare import Comparison, PixelDifference, ReferenceDifference, compare_plans
from acsrecipe.plan.model import Plan, Scalar, from_json
from acsrecipe.recipe.model import References
from acsrecipe.recipe.revision import read_at, split_revision
from acsrecipe.recipe.toml import LoadedRecipe, parse_recipe

LARGEST_PLAN = 1 << 28


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes
    ----------
    name : str
        As people call it.
    plan : Plan
    recipe : LoadedRecipe or None
        Where the side is a recipe.
    run : Path or None
        Where the side is the folder of a run.
    """

    name: str
    plan: Plan
    recipe: LoadedRecipe | None = None
    run: Path | None = None


def open_side(name: str, environment: Environment, *, engine: str | None = None, context: str = "") -> Side:
    """Find out what a name on the command line stands for, and give its plan.

    Parameters
    ----------
    name : str
        The folder of a run, a plan's ``.json`` file, a recipe, or ``RECIPE@REVISION`` of git.
    environment : Environment
    engine : str, optional
        Stands above the recipe's.
    context : str
        Stands above the recipe's, for recipes only.

    Raises
    ------
    UsageError
        The name stands for nothing.
    AcsRecipeError
        As :func:`acsrecipe.api.build_plan`.
    """
    path = Path(name)
    if path.is_dir():
        return Side(name, read_plan(path / "plan.json"), run=path)
    if path.suffix == ".json":
        return Side(name, read_plan(path))
    recipe = open_recipe(name, environment)
    if context:
        recipe = with_context(recipe, context)
    return Side(name, build_plan(recipe, environment=environment, engine=engine), recipe)


def open_recipe(name: str, environment: Environment) -> LoadedRecipe:
    """Load a recipe, a variant of it (``RECIPE#NAME``), or one as it was (``RECIPE@REVISION``).

    Its paths start in the recipe's folder all the same.

    Raises
    ------
    RecipeError
        With every problem found; also where git does not give it.
    """
    file, revision = split_revision(name)
    if not revision:
        return load_recipe(name)
    revision, _, variant = revision.partition("#")
    path = Path(file)

    def read(path: Path) -> bytes:
        return read_at(path, revision, environment.search_path)

    return parse_recipe(read(path), file, path, variant, read)


def with_context(recipe: LoadedRecipe, context: str) -> LoadedRecipe:
    """Give a recipe that asks for another CRDS context; raises ``UsageError`` where that can't be one."""
    from pydantic import ValidationError

    try:
        asked = References.model_validate({**recipe.recipe.references.model_dump(), "context": context})
    except ValidationError as error:
        msg = f"{context!r} is not a CRDS context"
        raise UsageError(msg, hint="as in hst_0729.pmap, or latest", code="R062") from error
    return replace(recipe, recipe=recipe.recipe.model_copy(update={"references": asked}))


def read_plan(path: Path) -> Plan:
    """Read a plan that was written as JSON; raises ``UsageError`` where there is none."""
    from pydantic import ValidationError

    from acsrecipe.inputs.header import read_whole

    try:
        return from_json(read_whole(path, LARGEST_PLAN).decode())
    except (AcsRecipeError, ValidationError, UnicodeDecodeError) as error:
        what = error.message if isinstance(error, AcsRecipeError) else "it is not a plan of this version"
        msg = f"no plan can be read: {what}"
        hint = "name a recipe, a plan written by `plan -o`, or the folder of a run"
        raise UsageError(msg, where=str(path), hint=hint) from error


def compare(a: Side, b: Side, environment: Environment) -> Comparison:
    """Compare two sides: their plans; of recipes also whether other references matter; of runs also the pixels."""
    found = compare_plans(a.plan, b.plan, (a.name, b.name))
    if a.recipe is not None and b.recipe is not None and found.references:
        found = found.model_copy(update={"references": _with_effects(found, a, b, environment)})
    if a.run is not None and b.run is not None:
        found = found.model_copy(update={"pixels": tuple(_pixels(a.run, b.run))})
    return found


def _with_effects(found: Comparison, a: Side, b: Side, environment: Environment) -> tuple[ReferenceDifference, ...]:
    from acsrecipe.inputs.effects import describe_effect
    from acsrecipe.plan.changes import override_headers

    if b.recipe is None:
        return found.references
    headers: dict[str, Mapping[str, Value]] = {}
    result = []
    for one in found.references:
        old, new = (_locate(side, one.keyword, value) for side, value in ((a, one.a), (b, one.b)))
        if old is None or new is None:
            result.append(one)
            continue
        if not headers:
            exposures = find_exposures(b.recipe, environment).exposures
            planned, _ = override_headers(b.recipe, exposures)
            headers = {each.raw.path.rsplit("/", 1)[-1]: planned[each.rootname].merged() for each in exposures}
        concerned = tuple(headers[file] for file in one.files if file in headers)
        result.append(one.model_copy(update={"effect": describe_effect(one.keyword, old, new, concerned)}))
    return tuple(result)


def _locate(side: Side, keyword: str, value: Scalar) -> Path | None:
    """Find the file behind a reference: one that a task reads, or one of its name in the cache."""
    from acsrecipe.inputs.crds_cache import CrdsSettings, open_cache

    if side.recipe is None or not value:
        return None
    name = str(value).rsplit("$", 1)[-1].lower()
    base = base_folder(side.recipe)
    for task in side.plan.tasks:
        for reference in task.references:
            if reference.keyword == keyword and reference.name.lower() == name and reference.path:
                path = base / reference.path
                return path if path.is_file() else None
    if side.plan.context is None or not name.endswith(".fits"):
        return None
    path = open_cache(CrdsSettings(cache=str(base / side.plan.context.cache))).reference_path(name)
    return path if path.is_file() else None


def _pixels(a: Path, b: Path) -> list[PixelDifference]:
    from acsrecipe.inputs.pixels import compare_pixels

    names = [{path.name for path in (run / "products").glob("*.fits")} for run in (a, b)]
    found = []
    for name in sorted(names[0] | names[1]):
        if name not in names[0] or name not in names[1]:
            side = "B" if name in names[1] else "A"
            found.append(PixelDifference(file=name, hdu="", pixels=0, differing=0, note=f"only in {side}"))
            continue
        for one in compare_pixels(a / "products" / name, b / "products" / name):
            found.append(PixelDifference(file=name, **vars(one)))  # noqa: PERF401 (reads better so)
    return found
