"""What stands against the references of a plan: missing, unfit, or without effect. Findings P2xx; no file is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from acsrecipe.inputs.model import Exposure, HduHeader, Inventory, ReferenceChoice, Value
from acsrecipe.plan.changes import Headers, address
from acsrecipe.plan.checks import error, some
from acsrecipe.plan.model import Finding, Task
from acsrecipe.plan.needs import (
    FILETYPES,
    IMAGE_REFERENCES,
    PCTETAB_NAME,
    bare_name,
    is_named,
    is_performed,
    required_references,
)
from acsrecipe.recipe.toml import LoadedRecipe

Choices = Mapping[str, ReferenceChoice]


def check_references(exposure: Exposure, header: Headers, choices: Choices, *, combined: bool) -> Iterable[Finding]:
    """Find required references that the header does not name, and say what would make CRDS give one."""
    for keyword, reason in required_references(header.primary, combined=combined).items():
        value = header.primary.get(keyword)
        choice = choices.get(keyword)
        if is_named(value) or (choice is not None and choice.problem):
            continue
        found = f"is {value!r}" if value is not None else "is not in the header"
        hint = f"choose a context that has one, or name a file in [references.override] {keyword}"
        if choice is not None and choice.irrelevant:
            found += f", because CRDS says that it is not needed ({choice.irrelevant})"
            hint = f"set that switch to PERFORM in [switches], or name a file in [references.override] {keyword}"
        yield error("P202", f"{keyword} {found}; but it is needed: {reason}", exposure.raw.path, hint)


def check_files(tasks: Sequence[Task], inventory: Inventory) -> Iterable[Finding]:
    """Find references that tasks need and that are not in the cache; one finding a file."""
    missing: dict[tuple[str, str], list[str]] = {}
    for task in tasks:
        for reference in task.references:
            choices = [inventory.references.get(root, {}).get(reference.keyword) for root in task.exposures]
            # Where CRDS can't choose, P201 says so: then no cache has it.
            if not reference.path and not any(choice is not None and choice.problem for choice in choices):
                missing.setdefault((reference.keyword, reference.name), []).append(task.id)
    cache = inventory.context.cache if inventory.context else ""
    for (keyword, name), users in missing.items():
        text = f"{keyword} {name} is not in the CRDS cache {cache or '(none given)'}; needed by {some(users)}"
        hint = "fetch it into the cache, or name a file of your own in [references.override]"
        yield error("P203", text, "", hint)


def check_overrides(loaded: LoadedRecipe, inventory: Inventory, headers: Mapping[str, Headers]) -> Iterable[Finding]:
    """Find references of the recipe's own that don't fit their keyword or detector, or have no effect."""
    for keyword in sorted(loaded.recipe.references.override):
        file = inventory.custom.get(keyword)
        if file is None:
            continue
        where = address(loaded, "references", "override", keyword)
        choices = [inventory.references.get(root, {}).get(keyword) for root in headers]
        idle = [choice.irrelevant for choice in choices if choice is not None and choice.irrelevant]
        if idle and len(idle) == len(choices):
            yield Finding(
                code="P211",
                severity="warning",
                message=f"{keyword} has no effect: it is not needed ({idle[0]})",
                where=where,
                hint="leave the override out, or set that switch to PERFORM",
            )
        hdus = inventory.reference_headers.get(file.path, ())
        if hdus:
            yield from _unfit(keyword, file.path, hdus[0].cards, headers, where)
            usual = next((choice.file for choice in choices if choice is not None and choice.file), None)
            theirs = inventory.reference_headers.get(usual.path, ()) if usual else ()
            if theirs and keyword in IMAGE_REFERENCES:
                yield from _misshapen(keyword, file.path, hdus, theirs, where)


def _unfit(
    keyword: str, path: str, cards: Mapping[str, Value], headers: Mapping[str, Headers], where: str
) -> Iterable[Finding]:
    wanted = {"INSTRUME": {"ACS"}, "DETECTOR": {str(one.primary.get("DETECTOR")) for one in headers.values()}}
    for card, values in wanted.items():
        found = str(cards.get(card) or "").strip().upper()
        if found and found not in values and found not in ("ANY", "N/A"):
            text = f"{path} can't be a {keyword} here: its {card} is {found!r}, expected {' or '.join(sorted(values))}"
            yield error("P208", text, where, "name a file made for these exposures")
    filetype, expected = str(cards.get("FILETYPE") or "").strip().upper(), FILETYPES.get(keyword, "")
    if filetype and expected and filetype != expected:
        yield Finding(
            code="P209",
            severity="warning",
            message=f"{path} says FILETYPE = {filetype!r}, expected {expected!r} of a {keyword}",
            where=where,
            hint="make sure that it is the file you mean",
        )


def _misshapen(
    keyword: str, path: str, hdus: Sequence[HduHeader], usual: Sequence[HduHeader], where: str
) -> Iterable[Finding]:
    found, expected = _shapes(hdus), _shapes(usual)
    if found != expected:
        text = f"{path} can't be a {keyword} here: its SCI extensions are {_show(found)}, expected {_show(expected)}"
        yield error("P210", text, where, "the expected shape is that of the file that CRDS chooses")


def _shapes(hdus: Sequence[HduHeader]) -> list[tuple[Value, Value]]:
    return [(hdu.cards.get("NAXIS1"), hdu.cards.get("NAXIS2")) for hdu in hdus if hdu.name == "SCI"]


def _show(shapes: Sequence[tuple[Value, Value]]) -> str:
    return ", ".join(f"{x} x {y}" for x, y in shapes) or "none"


def check_generation(inventory: Inventory, headers: Mapping[str, Headers]) -> Iterable[Finding]:
    """Find PCTETABs of a generation that no engine of today takes, where charge transfer is to be corrected."""
    used: dict[str, list[str]] = {}
    for rootname, header in headers.items():
        if not is_performed(header.primary, "PCTECORR"):
            continue
        choice = inventory.references.get(rootname, {}).get("PCTETAB")
        file = inventory.custom.get("PCTETAB") or (choice.file if choice else None)
        if file is not None and file.path in inventory.reference_headers:
            used.setdefault(file.path, []).append(rootname)
    for path, users in used.items():
        name = str(inventory.reference_headers[path][0].cards.get("CTE_NAME") or "").strip()
        if name != PCTETAB_NAME:
            text = f"{bare_name(path.rsplit('/', 1)[-1])} is of CTE_NAME {name!r}; calacs takes {PCTETAB_NAME!r} only"
            hint = f'choose a newer context, or PCTECORR = "OMIT"; it is the PCTETAB of {some(users)}'
            yield error("P207", text, path, hint)
