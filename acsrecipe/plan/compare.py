"""Two plans side by side: which cards, references, inputs and tasks differ, and why. Pure data in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from acsrecipe.plan.changes import same_reference
from acsrecipe.plan.model import Plan, PlannedReference, Scalar, Task, Why, canonical
from acsrecipe.plan.needs import is_named

MOST_VALUES = 4
"""Values of a rule's list that are shown."""

LEFT_OUT = ("P204",)
"""Findings that only say again what the context's line says."""

Place = tuple[str, str, str]
"""File, HDU, keyword."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ValueDifference(_Data):
    """Something that both plans have, with another value: the context, the engine, an input's content."""

    name: str
    a: str
    b: str


class CardDifference(_Data):
    """A header card that the two plans leave with different values; None is "as delivered: absent".

    A reason is None where that plan leaves the card as delivered.
    """

    files: tuple[str, ...]
    hdu: str
    keyword: str
    a: Scalar
    b: Scalar
    why_a: Why | None
    why_b: Why | None


class ReferenceDifference(_Data):
    """A reference keyword that the two plans leave with different values.

    Attributes
    ----------
    reason : str
        Why it differs: a later USEAFTER, another rule, a type that became irrelevant ...
    effect : str
        What it means for these exposures where both files are at hand (same bytes, same rows), else empty.
    """

    files: tuple[str, ...]
    keyword: str
    a: Scalar
    b: Scalar
    why_a: Why | None
    why_b: Why | None
    reason: str
    effect: str = ""


class RowDifference(_Data):
    """A row of an association that one plan keeps and the other does not."""

    association: str
    row: int
    memname: str
    memtype: str
    kept_in: Literal["a", "b"]


class TaskDifference(_Data):
    """A task that would be done again (``again``), or that only one of the plans has."""

    id: str
    state: Literal["again", "only in a", "only in b"]
    why: str


class FindingDifference(_Data):
    """A finding that only one of the plans has."""

    only_in: Literal["a", "b"]
    severity: str
    code: str
    text: str


class PixelDifference(_Data):
    """How the pixels of one extension differ between two products.

    Attributes
    ----------
    file, hdu : str
    pixels : int
        Of the extension.
    differing : int
        Pixels that are not equal (NaN equals NaN).
    box : tuple of int
        x0, x1, y0, y1 round them, from 0, the ends not included; empty where shapes differ.
    largest, median : float or None
        Of the absolute differences, over the differing pixels; None where they have no number.
    note : str
        ``only in a``, ``shape (96, 256) against (96, 250)`` ..., or empty.
    """

    file: str
    hdu: str
    pixels: int
    differing: int
    box: tuple[int, ...] = ()
    largest: float | None = None
    median: float | None = None
    note: str = ""


class Comparison(_Data):
    """All that differs between two plans, and of runs between their products."""

    a: str
    b: str
    basics: tuple[ValueDifference, ...] = ()
    exposures_only_in_a: tuple[str, ...] = ()
    exposures_only_in_b: tuple[str, ...] = ()
    inputs: tuple[ValueDifference, ...] = ()
    association: tuple[RowDifference, ...] = ()
    switches: tuple[CardDifference, ...] = ()
    headers: tuple[CardDifference, ...] = ()
    references: tuple[ReferenceDifference, ...] = ()
    tasks: tuple[TaskDifference, ...] = ()
    findings: tuple[FindingDifference, ...] = ()
    pixels: tuple[PixelDifference, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not any(getattr(self, name) for name in type(self).model_fields if name not in ("a", "b"))


def compare_plans(a: Plan, b: Plan, names: tuple[str, str] = ("a", "b")) -> Comparison:
    """List what differs between two plans.

    Only what bears on the products counts: the recipe's name, its text and where files lie do not.

    Parameters
    ----------
    a, b : Plan
    names : tuple of str
        What people call them.
    """
    switches, headers = _cards(a, b)
    exposures = [{_name(f.path) for task in plan.tasks for f in task.inputs if _is_exposure(f.role)} for plan in (a, b)]
    return Comparison(
        a=names[0],
        b=names[1],
        basics=tuple(_basics(a, b)),
        exposures_only_in_a=tuple(sorted(exposures[0] - exposures[1])),
        exposures_only_in_b=tuple(sorted(exposures[1] - exposures[0])),
        inputs=tuple(_inputs(a, b)),
        association=tuple(_rows(a, b)),
        switches=switches,
        headers=headers,
        references=_references(a, b),
        tasks=tuple(_tasks(a, b)),
        findings=tuple(_findings(a, b)),
    )


def effects(plan: Plan) -> dict[Place, Scalar]:
    """Give every card that a plan decides on, with the value that it will have: by file name, HDU, keyword."""
    found: dict[Place, Scalar] = {}
    for held in plan.references:
        found.update(((_name(file), "PRIMARY", held.keyword), held.value) for file in held.files)
    for reference in plan.reference_changes:
        found[_name(reference.file), "PRIMARY", reference.keyword] = reference.new
    for change in plan.header_changes:
        found[_name(change.file), change.hdu, change.keyword] = change.new
    return found


def apply_comparison(before: Mapping[Place, Scalar], comparison: Comparison) -> dict[Place, Scalar]:
    """Apply what differs to the effects of plan ``a``: gives those of plan ``b`` (cards as delivered included)."""
    after = dict(before)
    for one in (*comparison.switches, *comparison.headers):
        after.update(((file, one.hdu, one.keyword), one.b) for file in one.files)
    for reference in comparison.references:
        after.update(((file, "PRIMARY", reference.keyword), reference.b) for file in reference.files)
    return after


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _is_exposure(role: str) -> bool:
    return role in ("RAW", "FLT", "FLC")


def _basics(a: Plan, b: Plan) -> Iterable[ValueDifference]:
    def engine(plan: Plan) -> str:
        return f"{plan.engine.name} {plan.engine.version}".strip() if plan.engine else ""

    pairs = [
        ("CRDS context", a.context.name if a.context else "", b.context.name if b.context else ""),
        ("engine", engine(a), engine(b)),
    ]
    if a.context and b.context and a.context.name == b.context.name:
        rules = a.context.mappings.keys() & b.context.mappings.keys()
        pairs += [(f"rules {name}", a.context.mappings[name], b.context.mappings[name]) for name in sorted(rules)]
    return [ValueDifference(name=name, a=one, b=other) for name, one, other in pairs if one != other]


def _inputs(a: Plan, b: Plan) -> Iterable[ValueDifference]:
    files = [{_name(file.path): file for task in plan.tasks for file in task.inputs} for plan in (a, b)]
    for name in sorted(files[0].keys() & files[1].keys()):
        one, other = (some[name].sha256 or some[name].seen for some in files)
        if one and other and one != other:
            yield ValueDifference(name=name, a=f"sha256 {one}", b=f"sha256 {other}")


def _rows(a: Plan, b: Plan) -> Iterable[RowDifference]:
    kept = [{(c.association, row.row): row for c in plan.association_changes for row in c.kept} for plan in (a, b)]
    known = [{c.association for c in plan.association_changes} for plan in (a, b)]
    for key in sorted(kept[0].keys() ^ kept[1].keys()):
        if key[0] in known[0] & known[1]:
            row = kept[0].get(key) or kept[1][key]
            yield RowDifference(
                association=key[0],
                row=key[1],
                memname=row.memname,
                memtype=row.memtype,
                kept_in="a" if key in kept[0] else "b",
            )


def _cards(a: Plan, b: Plan) -> tuple[tuple[CardDifference, ...], tuple[CardDifference, ...]]:
    changes = [{(_name(c.file), c.hdu, c.keyword): c for c in plan.header_changes} for plan in (a, b)]
    common = _common_files(a, b)
    found = []
    for key in dict.fromkeys([*changes[0], *changes[1]]):
        one, other = changes[0].get(key), changes[1].get(key)
        if key[0] not in common:
            continue
        # Where one plan leaves the card alone it is as delivered, which the other plan knows.
        delivered = one.old if one else other.old if other else None
        before = one.new if one else delivered
        after = other.new if other else delivered
        if (type(before), before) != (type(after), after):
            found.append(
                CardDifference(
                    files=(key[0],),
                    hdu=key[1],
                    keyword=key[2],
                    a=before,
                    b=after,
                    why_a=one.why if one else None,
                    why_b=other.why if other else None,
                )
            )
    gathered = _gather(found)
    switches = tuple(one for one in gathered if one.keyword.endswith("CORR"))
    return switches, tuple(one for one in gathered if not one.keyword.endswith("CORR"))


def _common_files(a: Plan, b: Plan) -> set[str]:
    """Name the files that both plans edit or read; a card of a file that one plan lacks is no difference of cards."""
    names = []
    for plan in (a, b):
        files = {_name(file.path) for task in plan.tasks for file in task.inputs}
        files |= {_name(change.file) for change in plan.header_changes}
        files |= {_name(change.file) for change in plan.reference_changes}
        names.append(files | {_name(file) for held in plan.references for file in held.files})
    return names[0] & names[1]


def _references(a: Plan, b: Plan) -> tuple[ReferenceDifference, ...]:
    values = [_reference_values(plan) for plan in (a, b)]
    delivered = [{(_name(c.file), c.keyword): c.old for c in plan.reference_changes} for plan in (a, b)]
    common = _common_files(a, b)
    files = [_reference_files(plan) for plan in (a, b)]
    found = []
    for key in sorted(values[0].keys() | values[1].keys()):
        if key[0] not in common:
            continue
        sides: list[tuple[Scalar, Why | None]] = []
        for mine, other in ((0, 1), (1, 0)):
            if key in values[mine]:
                sides.append(values[mine][key])
            elif key in delivered[other]:
                sides.append((delivered[other][key], None))
            else:  # The other plan says what the file says already.
                sides.append((values[other][key][0], None))
        (one, why_one), (two, why_two) = sides
        if _equal(one, two) and not _other_content(files[0].get(key[1]), files[1].get(key[1]), one):
            continue
        found.append(
            ReferenceDifference(
                files=(key[0],),
                keyword=key[1],
                a=one,
                b=two,
                why_a=why_one,
                why_b=why_two,
                reason=explain(one, two, why_one, why_two),
            )
        )
    return tuple(_gather(found))


def _reference_values(plan: Plan) -> dict[tuple[str, str], tuple[Scalar, Why | None]]:
    found: dict[tuple[str, str], tuple[Scalar, Why | None]] = {
        (_name(file), held.keyword): (held.value, held.why) for held in plan.references for file in held.files
    }
    for change in plan.reference_changes:
        found.setdefault((_name(change.file), change.keyword), (change.new, change.why))
    return found


def _reference_files(plan: Plan) -> dict[str, dict[str, PlannedReference]]:
    found: dict[str, dict[str, PlannedReference]] = {}
    for task in plan.tasks:
        for reference in task.references:
            found.setdefault(reference.keyword, {})[reference.name.lower()] = reference
    return found


def _other_content(
    a: Mapping[str, PlannedReference] | None, b: Mapping[str, PlannedReference] | None, value: Scalar
) -> bool:
    """Say whether a reference of one name is not the same file in the two plans (an edited file of the user's)."""
    name = str(value or "").rsplit("$", 1)[-1].lower()
    one, other = (a or {}).get(name), (b or {}).get(name)
    if one is None or other is None:
        return False
    return any(
        mine and theirs and mine != theirs
        for mine, theirs in ((one.sha256, other.sha256), (one.sha1, other.sha1), (one.size, other.size))
    )


def _equal(one: Scalar, two: Scalar) -> bool:
    return same_reference(one, two)


def explain(a: Scalar, b: Scalar, why_a: Why | None, why_b: Why | None) -> str:
    """Say in words why a reference differs between two plans."""
    if same_reference(a, b):
        return "the file of this name has another content"
    for why in (why_b, why_a):
        if why is not None and why.kind == "recipe":
            side = "" if why is why_b else "no longer "
            return f"{side}set by the recipe ({why.where}: {why.text})".replace("(: ", "(")
    if why_b is None:
        return "the type is not known there: the header keeps what it has"
    if why_a is None:
        return f"the type is new there: {why_b.text}"
    if not is_named(b):
        return f"became irrelevant: {why_b.text}" if why_b.kind == "irrelevant" else f"no file any more: {why_b.text}"
    if not is_named(a):
        return f"became relevant: {_rule(why_b)}"
    if why_a.matched != why_b.matched:
        return f"another rule matched: {_rule(why_b)} (was {_rule(why_a)})"
    if why_a.useafter != why_b.useafter:
        order = "a later" if why_b.useafter > why_a.useafter else "an earlier"
        return f"{order} USEAFTER: {why_b.useafter} (was {why_a.useafter}); rule {_rule(why_b, useafter=False)}"
    return f"the same rule names another file: {_rule(why_b)}"


def _rule(why: Why, *, useafter: bool = True) -> str:
    # A rule's value may be a list of dozens, and a star says nothing.
    parts = [f"{keyword}={_brief(value)}" for keyword, value in why.matched.items() if value != "*"]
    matched = ", ".join(parts) or "every exposure"
    return f"{matched}, USEAFTER {why.useafter}" if useafter and why.useafter else matched


def _brief(value: str) -> str:
    values = value.split("|")
    return value if len(values) <= MOST_VALUES else f"{'|'.join(values[:3])}|... ({len(values)} values)"


def _tasks(a: Plan, b: Plan) -> Iterable[TaskDifference]:
    one, other = ({task.id: task for task in plan.tasks if task.kind != "fetch"} for plan in (a, b))
    for name in dict.fromkeys([*one, *other]):
        if name not in other:
            yield TaskDifference(id=name, state="only in a", why="not in the other plan")
        elif name not in one:
            yield TaskDifference(id=name, state="only in b", why="not in the other plan")
        elif one[name].fingerprint != other[name].fingerprint:
            yield TaskDifference(id=name, state="again", why=", ".join(_why_again(one[name], other[name])))


def _why_again(a: Task, b: Task) -> list[str]:
    parts: list[tuple[str, Callable[[Task], Any]]] = [
        ("another engine", lambda task: task.engine),
        ("other inputs", lambda task: sorted((f.role, f.size, f.sha256, f.seen) for f in task.inputs)),
        (
            "other references",
            lambda task: sorted((r.keyword, r.name, r.size, r.sha256, r.sha1) for r in task.references),
        ),
        ("other header edits", lambda task: canonical(task.model_dump(mode="json")["edits"])),
        ("other options", lambda task: canonical(task.parameters)),
        ("other outputs", lambda task: sorted((o.name, o.folder, o.hdus) for o in task.outputs)),
    ]
    found = [words for words, part in parts if part(a) != part(b)]
    return found or ["it follows a task that is done again"]


def _findings(a: Plan, b: Plan) -> Iterable[FindingDifference]:
    seen = [
        {
            (f.severity, f.code, f"{f.where}: {f.message}" if f.where else f.message)
            for f in p.findings
            if f.code not in LEFT_OUT
        }
        for p in (a, b)
    ]
    for side, own, other in (("a", seen[0], seen[1]), ("b", seen[1], seen[0])):
        for severity, code, text in sorted(own - other):
            yield FindingDifference(only_in="a" if side == "a" else "b", severity=severity, code=code, text=text)


def _gather(rows: Iterable[Any]) -> list[Any]:
    """Make equal differences of many files one, with all their files, in order of first appearance."""
    files: dict[str, list[str]] = {}
    first: dict[str, Any] = {}
    for row in rows:
        key = row.model_copy(update={"files": ()}).model_dump_json()
        files.setdefault(key, []).extend(row.files)
        first.setdefault(key, row)
    return [row.model_copy(update={"files": tuple(files[key])}) for key, row in first.items()]
