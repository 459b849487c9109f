"""From a recipe and what exists to a plan: pure, without files, clock or environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from acsrecipe.errors import PlanError
from acsrecipe.inputs.members import filter_members, members_that_disagree
from acsrecipe.inputs.model import Association, Inventory, Member, Observed
from acsrecipe.plan.changes import Headers, address, apply_references, held_references, override_headers
from acsrecipe.plan.checks import check_engine, check_headers, check_steps
from acsrecipe.plan.model import (
    AssociationChange,
    ContextUsed,
    EngineAbility,
    EngineUsed,
    Finding,
    Plan,
    StepAbility,
)
from acsrecipe.plan.reference_checks import check_files, check_generation, check_overrides, check_references
from acsrecipe.plan.tasks import NO_ENGINE, Group, build_tasks, describe_row, group_exposures
from acsrecipe.recipe.model import Recipe
from acsrecipe.recipe.toml import LoadedRecipe

SEVERITIES = ("error", "warning", "note")


def build_plan(
    loaded: LoadedRecipe,
    inventory: Inventory,
    engines: Sequence[EngineAbility],
    steps: Mapping[str, StepAbility],
    *,
    engine: str | None = None,
) -> Plan:
    """Compare what is with what should be.

    Parameters
    ----------
    loaded : LoadedRecipe
        The recipe, and where each key stands in it.
    inventory : Inventory
        What exists, with references chosen on the headers that :func:`override_headers` gives.
    engines : sequence of EngineAbility
        The engines that there are, in the order of preference for ``auto``.
    steps : mapping
        What the post-steps declare of themselves, by name.
    engine : str, optional
        Stands above the recipe's ``[calibrate] engine``.

    Returns
    -------
    Plan
        Whole, even where it can't be run: then it has findings of severity ``error``.
    """
    recipe = loaded.recipe
    findings = [_finding(one, loaded) for one in inventory.observed]
    rows = {one.rootname: filter_members(one, **_filter(recipe)) for one in inventory.associations}
    changes = tuple(_describe(one, *rows[one.rootname]) for one in inventory.associations)
    headers, overridden = override_headers(loaded, inventory.exposures)
    findings += overridden
    calibrated = recipe.calibrate.engine != NO_ENGINE
    kept = {name: members for name, (members, _) in rows.items()} if calibrated else {}
    groups = group_exposures(inventory.exposures, kept)
    read_by_steps = None if calibrated else {keyword for step in steps.values() for keyword in step.REFERENCES}
    for exposure in inventory.exposures:
        findings += apply_references(loaded, inventory, exposure, headers[exposure.rootname], only=read_by_steps)
    used = EngineUsed(name=NO_ENGINE, version="", why="the recipe goes on with calibrated files")
    if calibrated:
        chosen, why = _choose_engine(engine or recipe.calibrate.engine, engine is not None, engines)
        used = EngineUsed(name=chosen.name, version=chosen.version, why=why)
        where = address(loaded, "calibrate", "engine")
        findings += _check_calibration(inventory, groups, headers, kept)
        findings += check_engine(chosen, groups, headers, engines, where)
    else:
        findings += check_steps(inventory.exposures, steps)
    tasks = build_tasks(recipe, inventory, headers, changes, groups, f"{used.name} {used.version}".strip(), steps)
    findings += check_overrides(loaded, inventory, headers)
    findings += check_files(tasks, inventory)
    findings += _remarks(changes, inventory)
    return Plan(
        recipe=recipe.name,
        recipe_file=loaded.file.rsplit("/", 1)[-1],
        recipe_sha256=loaded.sha256,
        context=_context(inventory),
        engine=used,
        association_changes=changes,
        header_changes=tuple(change for one in _ordered(inventory, headers) for change in one.changes),
        reference_changes=tuple(change for one in _ordered(inventory, headers) for change in one.references),
        tasks=tasks,
        products=tuple(output for task in tasks for output in task.outputs if output.folder in ("products", "plots")),
        findings=tuple(sorted(dict.fromkeys(findings), key=lambda one: SEVERITIES.index(one.severity))),
        references=held_references((exposure, headers[exposure.rootname]) for exposure in inventory.exposures),
    )


def _check_calibration(
    inventory: Inventory,
    groups: Sequence[Group],
    headers: Mapping[str, Headers],
    kept: Mapping[str, Sequence[Member]],
) -> Iterator[Finding]:
    combined = {one.rootname for group in groups if group.product for one in group.exposures}
    for exposure in inventory.exposures:
        header = headers[exposure.rootname]
        yield from check_headers(exposure, header)
        choices = inventory.references.get(exposure.rootname, {})
        yield from check_references(exposure, header, choices, combined=exposure.rootname in combined)
    yield from check_generation(inventory, headers)
    primaries = {root: header.primary for root, header in headers.items()}
    for association in inventory.associations:
        for one in members_that_disagree(association, kept[association.rootname], primaries):
            yield _finding(one, None)


def _ordered(inventory: Inventory, headers: dict[str, Headers]) -> list[Headers]:
    return [headers[exposure.rootname] for exposure in inventory.exposures]


def _filter(recipe: Recipe) -> dict[str, Mapping[str, Sequence[str]]]:
    return {"keep": dict(recipe.association.keep), "drop": dict(recipe.association.drop)}


def _describe(
    association: Association, kept: Sequence[Member], dropped: Sequence[tuple[Member, str]]
) -> AssociationChange:
    return AssociationChange(
        association=association.rootname,
        file=association.file.path,
        kept=tuple(describe_row(member) for member in kept),
        dropped=tuple(describe_row(member, why) for member, why in dropped),
    )


def _choose_engine(asked: str, by_hand: bool, engines: Sequence[EngineAbility]) -> tuple[EngineAbility, str]:
    if asked != "auto":
        found = next((one for one in engines if one.name == asked), None)
        if found is None:
            known = ", ".join(one.name for one in engines)
            msg = f"there is no engine {asked!r}; there are: {known}"
            raise PlanError(msg, code="P300")
        return found, "asked for on the command line" if by_hand else "the recipe asks for it"
    here = next((one for one in engines if one.available), engines[-1])
    absent = [f"{one.name} is not here ({one.detail})" for one in engines if not one.available]
    return here, "auto: " + (f"{here.name} is installed" if not absent else "; ".join(absent))


def _context(inventory: Inventory) -> ContextUsed | None:
    context = inventory.context
    if context is None:
        return None
    return ContextUsed(
        name=context.name,
        asked=context.asked,
        source=context.source,
        server=context.server,
        cache=context.cache,
        synced=context.synced,
        mappings=dict(context.mappings),
    )


def _finding(one: Observed, loaded: LoadedRecipe | None) -> Finding:
    where = one.file
    if not where and loaded is not None:
        where = address(loaded, "observations", "ids")
    return Finding(code=one.code, severity=one.severity, message=one.message, where=where, hint=one.hint)


def _remarks(changes: Sequence[AssociationChange], inventory: Inventory) -> list[Finding]:
    remarks = []
    for change in changes:
        drizzled = [row.memname for row in change.kept if row.memtype.upper() == "PROD-DTH"]
        if drizzled:
            remarks.append(
                Finding(
                    code="P403",
                    severity="note",
                    message=f"{', '.join(drizzled)} stays in {change.association} as PROD-DTH, but nothing is drizzled",
                    where=change.file,
                    hint='keep = { MEMTYPE = ["EXP-DTH"] } drops it',
                )
            )
    if inventory.context and not inventory.context.server:
        remarks.append(
            Finding(
                code="P204",
                severity="note",
                message=f"no CRDS server was asked; {inventory.context.name} comes from {inventory.context.source}",
            )
        )
    return remarks
