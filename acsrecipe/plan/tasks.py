"""Which tasks a plan has: what each reads and makes, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acsrecipe.inputs.members import group_members, rows_of_group
from acsrecipe.inputs.model import Association, Exposure, Inventory, Member, Value
from acsrecipe.plan.changes import Headers
from acsrecipe.plan.downloads import with_downloads
from acsrecipe.plan.model import (
    AssociationChange,
    MemberRow,
    Output,
    PlannedFile,
    PlannedReference,
    Scalar,
    StepAbility,
    Task,
    fingerprint,
)
from acsrecipe.plan.needs import bare_name, is_named, is_performed, optional_references, required_references
from acsrecipe.recipe.model import PostStep, Recipe

BLOCK = 2880
NO_ENGINE = "none"
"""``[calibrate] engine``: go on with calibrated files."""

PIXEL_BYTES = 4 + 4 + 2
"""SCI float32, ERR float32, DQ int16."""


@dataclass(frozen=True)
class Group:
    """Exposures that are calibrated in one go: a single one, or a CR-SPLIT or RPT-OBS set.

    Attributes
    ----------
    exposures : tuple of Exposure
    kind : str
        ``DTH`` for a single one, ``CR`` or ``RPT``.
    product : str
        Rootname of the combined product, empty for a single one.
    association : str
        Rootname of the association of a set.
    rows : tuple of int
        Rows of the association that calacs needs for this set alone.
    """

    exposures: tuple[Exposure, ...]
    kind: str = "DTH"
    product: str = ""
    association: str = ""
    rows: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The rootname that its task goes by."""
        return self.product or self.exposures[0].rootname


def group_exposures(exposures: Sequence[Exposure], kept: Mapping[str, Sequence[Member]]) -> tuple[Group, ...]:
    """Sort exposures into what is calibrated together.

    Parameters
    ----------
    exposures : sequence of Exposure
    kept : mapping
        Rootname of each association to its rows that stay.

    Returns
    -------
    tuple of Group
        In the order of their first exposures. An exposure without association, or alone in its group, is
        a group of its own.
    """
    by_root = {exposure.rootname: exposure for exposure in exposures}
    order = {exposure.rootname: number for number, exposure in enumerate(exposures)}
    groups: list[Group] = []
    for association, rows in kept.items():
        for group in group_members(rows):
            names = [member.memname.strip().lower() for member in group.exposures]
            members = tuple(by_root.pop(name) for name in names if name in by_root)
            if members and group.product is not None:
                product = group.product.memname.strip().lower()
                groups.append(Group(members, group.kind, product, association, rows_of_group(rows, group)))
            elif members:
                groups.append(Group(members))
    groups += [Group((exposure,)) for exposure in by_root.values()]
    return tuple(sorted(groups, key=lambda group: order[group.exposures[0].rootname]))


def build_tasks(
    recipe: Recipe,
    inventory: Inventory,
    headers: Mapping[str, Headers],
    changes: Sequence[AssociationChange],
    groups: Sequence[Group],
    engine: str,
    abilities: Mapping[str, StepAbility],
) -> tuple[Task, ...]:
    """List the tasks in an order in which they can be done, each with its fingerprint."""
    associations = {association.rootname: association for association in inventory.associations}
    steps = [(step, abilities[step.step]) for step in _in_order(recipe.post)]
    tasks = [_association_task(change, associations[change.association]) for change in changes]
    last: dict[str, str] = {}
    taken = recipe.calibrate.engine == NO_ENGINE
    for group in groups:
        if taken:
            task = _take_task(group.exposures[0], headers, rewritten=_is_rewritten(steps))
            tasks.append(task)
            last[group.name] = task.id
            continue
        task = _calibration_task(group, inventory, headers, associations, engine, rewritten=_is_rewritten(steps))
        tasks.append(task)
        last.update((exposure.rootname, task.id) for exposure in group.exposures)
    for number, (step, ability) in enumerate(steps):
        rewritten_later = _is_rewritten(steps[number + 1 :])
        for exposure in inventory.exposures:
            header = headers[exposure.rootname]
            before = last[exposure.rootname]
            task = _step_task(step, ability, exposure, header, inventory, before, rewritten=rewritten_later)
            tasks.append(task)
            if ability.REWRITES:
                last[exposure.rootname] = task.id
    if recipe.provenance.stamp:
        tasks = [task.model_copy(update={"stamp": True}) if _makes_products(task) else task for task in tasks]
    return _with_fingerprints(with_downloads(tasks))


def _makes_products(task: Task) -> bool:
    """Say whether a task makes calibrated files that are published; an association stays as its reader expects it."""
    return task.kind != "association" and any(output.folder == "products" for output in task.outputs)


def _is_rewritten(steps: Sequence[tuple[PostStep, StepAbility]]) -> bool:
    return any(ability.REWRITES for _, ability in steps)


def _in_order(steps: Sequence[PostStep]) -> list[PostStep]:
    """Keep the recipe's order, but let a step wait for those in its ``after`` (checked free of cycles)."""
    waiting, ready = list(steps), list[PostStep]()
    while waiting:
        done = {step.step for step in ready}
        step = next((one for one in waiting if set(one.after) <= done), waiting[0])
        waiting.remove(step)
        ready.append(step)
    return ready


def _association_task(change: AssociationChange, association: Association) -> Task:
    rows = [row.row for row in change.kept]
    return Task(
        id=f"association/{change.association}",
        kind="association",
        exposures=tuple(row.memname.lower() for row in change.kept if row.memtype.upper().startswith("EXP")),
        inputs=(_planned("ASN", association.file),),
        outputs=(Output(name=f"{change.association}_asn.fits", folder="products", size=association.file.size),),
        parameters={"rows": rows},
    )


def _take_task(exposure: Exposure, headers: Mapping[str, Headers], *, rewritten: bool) -> Task:
    """Take a calibrated file as it is, but for the header changes, in place of calibrating."""
    header = headers[exposure.rootname]
    name = exposure.raw.path.rsplit("/", 1)[-1]
    return Task(
        id=f"take/{exposure.rootname}",
        kind="take",
        exposures=(exposure.rootname,),
        inputs=(_planned(name.rsplit("_", 1)[-1].removesuffix(".fits").upper(), exposure.raw),),
        outputs=(_calibrated(name, exposure, "" if rewritten else "products"),),
        edits={name: _edits(header)},
    )


def _edits(header: Headers) -> tuple[tuple[str, str, Scalar], ...]:
    changed = [(change.hdu, change.keyword, change.new) for change in header.changes]
    return (*changed, *(("PRIMARY", change.keyword, change.new) for change in header.references))


def _calibration_task(
    group: Group,
    inventory: Inventory,
    headers: Mapping[str, Headers],
    associations: Mapping[str, Association],
    engine: str,
    *,
    rewritten: bool,
) -> Task:
    inputs: list[PlannedFile] = []
    outputs: list[Output] = []
    edits: dict[str, tuple[tuple[str, str, Scalar], ...]] = {}
    parameters: dict[str, Any] = {"group": group.kind}
    if group.association:
        inputs.append(_planned("ASN", associations[group.association].file))
        parameters["rows"] = list(group.rows)
        parameters["association"] = group.association
    corrected = False
    for exposure in group.exposures:
        header = headers[exposure.rootname]
        inputs.append(_planned("RAW", exposure.raw))
        if exposure.spt is not None:
            inputs.append(_planned("SPT", exposure.spt))
        name = exposure.raw.path.rsplit("/", 1)[-1]
        edits[name] = _edits(header)
        folder = "" if rewritten else "products"
        corrected = is_performed(header.primary, "PCTECORR")
        outputs += [
            _calibrated(f"{exposure.rootname}_{suffix}.fits", exposure, folder)
            for suffix in calibrated_suffixes(header.primary)
        ]
    if group.product:
        # calacs combines RPT-OBS groups of CCDs as it does CR-SPLIT ones: both give a CRJ (SFL is of the SBC alone).
        outputs += [
            _calibrated(f"{group.product}_{suffix}.fits", group.exposures[0], "products")
            for suffix in (("crj", "crc") if corrected else ("crj",))
        ]
    return Task(
        id=f"calibrate/{group.name}",
        kind="calibrate",
        exposures=tuple(exposure.rootname for exposure in group.exposures),
        inputs=tuple(inputs),
        references=_references(group, inventory, headers),
        outputs=tuple(outputs),
        engine=engine,
        parameters=parameters,
        edits=edits,
    )


def calibrated_suffixes(primary: Mapping[str, Value]) -> tuple[str, ...]:
    """Say which calibrated files an exposure gives: ``flt``, and ``flc`` where its charge transfer is corrected."""
    return ("flt", "flc") if is_performed(primary, "PCTECORR") else ("flt",)


def _references(group: Group, inventory: Inventory, headers: Mapping[str, Headers]) -> tuple[PlannedReference, ...]:
    found: dict[tuple[str, str], PlannedReference] = {}
    for exposure in group.exposures:
        header = headers[exposure.rootname].primary
        keywords = [*required_references(header, combined=bool(group.product)), *optional_references(header)]
        for reference in _planned_references(exposure, header, inventory, keywords):
            found[reference.keyword, reference.name] = reference
    return tuple(found[key] for key in sorted(found))


def _planned_references(
    exposure: Exposure, header: Mapping[str, Value], inventory: Inventory, keywords: Iterable[str]
) -> Iterable[PlannedReference]:
    for keyword in keywords:
        if not is_named(header.get(keyword)):
            continue
        name = bare_name(header[keyword])
        file = inventory.custom.get(keyword)
        if file is None:
            choice = inventory.references.get(exposure.rootname, {}).get(keyword)
            file = choice.file if choice is not None and choice.name.lower() == name.lower() else None
        yield PlannedReference(
            keyword=keyword,
            name=name,
            path=file.path if file else "",
            size=file.size if file else 0,
            sha256=file.sha256 if file else "",
            sha1=file.sha1 if file else "",
            source=file.source if file else "",
        )


def _step_task(
    step: PostStep,
    ability: StepAbility,
    exposure: Exposure,
    header: Headers,
    inventory: Inventory,
    before: str,
    *,
    rewritten: bool,
) -> Task:
    source = exposure.raw.path.rsplit("_", 1)[-1].removesuffix(".fits")
    suffixes = calibrated_suffixes(header.primary) if source == "raw" else (source,)
    names = ability.outputs(exposure.rootname, suffixes)
    if ability.REWRITES:
        outputs = tuple(_calibrated(name, exposure, "" if rewritten else "products") for name in names)
    else:
        outputs = tuple(Output(name=name, folder="plots", size=0) for name in names)
    calibrated = [f"{exposure.rootname}_{suffix}.fits" for suffix in suffixes]
    return Task(
        id=f"{step.step}/{exposure.rootname}",
        kind=step.step,
        exposures=(exposure.rootname,),
        after=(before,),
        inputs=(_planned("RAW", exposure.raw),) if ability.NEEDS_RAW else (),
        references=tuple(_planned_references(exposure, header.primary, inventory, ability.REFERENCES)),
        outputs=outputs,
        parameters={**step.model_dump(mode="json", exclude={"step", "after"}), "files": calibrated},
    )


def _calibrated(name: str, exposure: Exposure, folder: Any) -> Output:
    """Estimate a calibrated file: SCI, ERR and DQ of each chip, at the size of the RAW (an upper bound)."""
    size, hdus = BLOCK * 10, []
    for number, science in enumerate(exposure.science(), 1):
        pixels = int(science.cards.get("NAXIS1") or 0) * int(science.cards.get("NAXIS2") or 0)
        size += pixels * PIXEL_BYTES + 3 * 2 * BLOCK
        hdus += [f"{extension},{number}" for extension in ("SCI", "ERR", "DQ")]
    return Output(name=name, folder=folder, size=size, hdus=tuple(hdus))


def _planned(role: str, file: Any) -> PlannedFile:
    return PlannedFile(
        role=role,
        path=file.path,
        size=file.size,
        sha256=file.sha256,
        sha1=file.sha1,
        source=file.source,
        seen=file.seen,
        exclusive=file.exclusive,
    )


def _with_fingerprints(tasks: Iterable[Task]) -> tuple[Task, ...]:
    done: dict[str, str] = {}
    result = []
    for task in tasks:
        done[task.id] = fingerprint(task, done)
        result.append(task.model_copy(update={"fingerprint": done[task.id]}))
    return tuple(result)


def describe_row(row: Any, why: str = "") -> MemberRow:
    """Turn a member of an association into a row of the plan."""
    return MemberRow(row=row.row, memname=row.memname, memtype=row.memtype, memprsnt=row.memprsnt, why=why)
