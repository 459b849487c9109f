"""Whether the headers of existing products are what a recipe, a CRDS context or a lock says: pure comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from acsrecipe.inputs.model import ReferenceChoice, Value
from acsrecipe.plan.changes import Headers, same_reference
from acsrecipe.plan.lock import Lock
from acsrecipe.plan.needs import CALIBRATION_SWITCHES, bare_name, is_named
from acsrecipe.recipe.keywords import REFERENCES
from acsrecipe.record.audit import AuditFinding, Severity

DONE = ("COMPLETE", "SKIPPED")
ONLY_IN = {"PCTECORR": ("flc", "crc")}
"""A switch that turns in these products only: in an FLT beside an FLC, PCTECORR stays PERFORM (calacs)."""

GEOMETRIC = ("BIASFILE",)
"""Chosen by the frame's size and offset (NAXISn, LTVn), which calacs changes when it trims the overscan."""

COUNTED = ("EXPTIME", "TEXPTIME", "EXPSTART", "EXPEND", "DARKTIME", "NEXTEND", "ROOTNAME", "DATE")
"""Primary cards that calibration or combination writes anew."""


@dataclass(frozen=True)
class Product:
    """A calibrated file: its headers, and what its stamp says.

    Attributes
    ----------
    file : str
        As people named it.
    rootname, suffix : str
        ``j9l960a7q``, ``flt``.
    primary : mapping
    stamps : sequence of mapping
        Rows of its ACSRECIPE table; none for a file of the archive.
    """

    file: str
    rootname: str
    suffix: str
    primary: Mapping[str, Value]
    stamps: Sequence[Mapping[str, str]] = ()

    def overridden(self) -> dict[str, str]:
        """Give the reference keywords that a recipe set, by its own record, with the reason."""
        return {
            row["KEYWORD"]: f"{row['ADDRESS']}: {row['WHY']}"
            for row in self.stamps
            if row.get("KIND") == "recipe" and row.get("KEYWORD") in REFERENCES
        }


def compare_with_recipe(product: Product, planned: Headers | None) -> Iterable[AuditFinding]:
    """Say where a product's header is not what a recipe would make it.

    Parameters
    ----------
    product : Product
    planned : Headers or None
        The RAW's headers after the recipe's changes; None where the recipe does not make this product.
    """
    if planned is None:
        yield AuditFinding("V010", "finding", product.file, "the recipe does not make this product")
        return
    for switch in CALIBRATION_SWITCHES:
        wanted, found = (_switch(header.get(switch)) for header in (planned.primary, product.primary))
        allowed = {"PERFORM": DONE, "OMIT": ("OMIT",)}.get(wanted, ())
        if wanted == "PERFORM" and product.suffix not in ONLY_IN.get(switch, (product.suffix,)):
            allowed = ("PERFORM", *DONE)
        if allowed and found not in allowed:
            message = f"{switch} is {found}, the recipe says {wanted}"
            yield AuditFinding("V011", "finding", product.file, message)
    for keyword, (value, why) in sorted(planned.held.items()):
        found_value = product.primary.get(keyword)
        if not same_reference(found_value, value):
            message = f"{keyword} is {_bare(found_value)}, the recipe gives {_bare(value)} ({why.text})"
            yield AuditFinding("V012", "finding", product.file, message)
    for change in planned.changes:
        if change.hdu != "PRIMARY" or change.keyword.endswith("CORR") or change.keyword in COUNTED:
            continue
        found_value = product.primary.get(change.keyword)
        if found_value != change.new:
            message = f"{change.keyword} is {found_value!r}, the recipe gives {change.new!r}"
            # Another context that chose the same files made the same pixels.
            severity: Severity = "note" if change.keyword == "CRDS_CTX" else "finding"
            yield AuditFinding("V013", severity, product.file, message)


def compare_with_context(
    product: Product,
    choices: Mapping[str, ReferenceChoice],
    context: str,
    since: Mapping[str, str],
    *,
    from_raw: bool,
) -> Iterable[AuditFinding]:
    """Say which references of a product are not those that a context chooses.

    Parameters
    ----------
    choices : mapping
        What the context chooses, by keyword.
    since : mapping
        Keyword to the first known context that chose another file than the product has.
    from_raw : bool
        Whether the choice was made on the RAW file's header; on a calibrated file's, types that go by the
        frame's geometry can't be judged.
    """
    overridden = product.overridden()
    for keyword, choice in sorted(choices.items()):
        found = product.primary.get(keyword)
        if not choice.name or same_reference(found, choice.name) or (found is None and not is_named(choice.name)):
            continue
        if keyword in overridden:
            yield AuditFinding("V021", "note", product.file, f"{keyword} is an override: {overridden[keyword]}")
            continue
        if not from_raw and keyword in GEOMETRIC:
            message = f"{keyword} can't be judged without the RAW file: calacs trims the frame it is chosen by"
            yield AuditFinding("V022", "note", product.file, message)
            continue
        when = f", since {since[keyword]}" if keyword in since else ""
        why = choice.irrelevant or choice.problem or _rule(choice)
        message = f"{keyword} {_bare(found)} is stale{when}: {context} chooses {choice.name} ({why})"
        yield AuditFinding("V020", "finding", product.file, message)


def find_unrecorded(
    product: Product, own: Mapping[str, ReferenceChoice], context: str, *, from_raw: bool
) -> Iterable[AuditFinding]:
    """Say which references of a product are not those of the context that it names itself: somebody set them."""
    overridden = product.overridden()
    for keyword, choice in sorted(own.items()):
        found = product.primary.get(keyword)
        if not choice.name or not is_named(found) or same_reference(found, choice.name):
            continue
        if keyword in overridden:
            yield AuditFinding("V021", "note", product.file, f"{keyword} is an override: {overridden[keyword]}")
        elif from_raw or keyword not in GEOMETRIC:
            message = f"{keyword} {_bare(found)} was set by hand: its own context {context} chooses {choice.name}"
            yield AuditFinding("V021", "finding", product.file, message)


def compare_with_lock(product: Product, lock: Lock) -> Iterable[AuditFinding]:
    """Say where a product's header names a context, engine or reference that a lock does not have."""
    context = product.primary.get("CRDS_CTX")
    if lock.context and context is not None and context != lock.context.name:
        message = f"CRDS_CTX is {context}, the lock has {lock.context.name}"
        yield AuditFinding("V007", "finding", product.file, message)
    engine = product.primary.get("ACSR_ENG")
    wanted = f"{lock.engine.name} {lock.engine.version}".strip()
    if engine is not None and engine != wanted:
        yield AuditFinding("V007", "finding", product.file, f"it was made by {engine}, the lock has {wanted}")
    names: dict[str, set[str]] = {}
    for file in lock.references:
        names.setdefault(file.role, set()).add(file.name.lower())
    for keyword, allowed in sorted(names.items()):
        found = product.primary.get(keyword)
        if is_named(found) and bare_name(found).lower() not in allowed:
            message = f"{keyword} is {_bare(found)}, the lock has {', '.join(sorted(allowed))}"
            yield AuditFinding("V007", "finding", product.file, message)


def _switch(value: Value) -> str:
    return str(value or "OMIT").strip().upper()


def _bare(value: Value) -> str:
    return bare_name(value) if is_named(value) else "N/A"


def _rule(choice: ReferenceChoice) -> str:
    after = f"; USEAFTER {choice.useafter}" if choice.useafter else ""
    return f"{choice.mapping}{after}"
