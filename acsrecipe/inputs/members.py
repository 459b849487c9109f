"""The rows of an association: filter, group and check them. Nothing here opens a file.

What is checked is what makes calacs fail, crash, or quietly do something else than the table says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from acsrecipe.inputs.model import Association, Member, Observed, Value
from acsrecipe.recipe.keywords import REFERENCES, SWITCHES

ROOTNAME = re.compile(r"j[a-z0-9]{8}", re.ASCII)
"""IPPPSSOOT of ACS, in lower case."""

MOST_COMBINED = 120
"""Images that ACSREJ combines at once (MAX_FILES in calacs)."""

_Kind = Literal["CR", "RPT"]
_MEMTYPE = re.compile(r"(EXP|PROD)-(DTH|CRJ|RPT|(?:CR|RP)\d+)", re.ASCII)


@dataclass(frozen=True)
class Group:
    """Exposures that are calibrated together: a CR-SPLIT or RPT-OBS group, or one exposure alone.

    Attributes
    ----------
    kind : str
        ``CR``, ``RPT``, or ``DTH`` for an exposure alone: EXP-DTH, or any whose group has no product row.
    number : int
        n of EXP-CRn or EXP-RPn (1 for EXP-CRJ and EXP-RPT); 0 for an exposure alone.
    exposures : tuple of Member
        In the table's order; only those that are present.
    product : Member or None
        The row of its own product, the last one where there are several; None for an exposure alone.
    """

    kind: Literal["CR", "RPT", "DTH"]
    number: int
    exposures: tuple[Member, ...]
    product: Member | None = None


def check_association(association: Association, members: Sequence[Member]) -> tuple[Observed, ...]:
    """Look for rows that calacs can't do, or would do differently than they look.

    Parameters
    ----------
    association : Association
    members : sequence of Member
        Its rows that stay (see :func:`filter_members`): only they are checked.

    Returns
    -------
    tuple of Observed
        A002 to A015; each names its rows. (A009, a member without a RAW file, is the survey's to see.)
    """
    found = [*_check_table(members), *(one for member in members for one in _check_row(member))]
    for group in group_members(members):
        found.extend(_check_group(group, members))
    return tuple(
        Observed(code, severity, message, association.file.path, hint) for code, severity, message, hint in found
    )


_Found = tuple[str, Literal["error", "warning", "note"], str, str]


def _check_table(members: Sequence[Member]) -> Iterator[_Found]:
    exposures = [member for member in members if is_exposure(member)]
    if not any(member.memprsnt for member in exposures):
        yield (
            "A002",
            "error",
            f"no exposure is left to calibrate ({len(members)} rows stay)",
            "keep at least one EXP- row",
        )
    counts = Counter(member.memname.strip().upper() for member in members)
    for name in (name for name, count in counts.items() if count > 1):
        rows = [member for member in members if member.memname.strip().upper() == name]
        listed = " and ".join(f"{member.row} ({member.memtype})" for member in rows)
        yield "A003", "error", f"{name} is a member more than once: rows {listed}", "drop all rows but one"
    products: dict[str, list[Member]] = {}
    for member in members:
        if _spelling(member).startswith("PROD-"):
            products.setdefault(_label(member), []).append(member)
    for label, rows in products.items():
        if len(rows) > 1:
            listed = " and ".join(f"{member.row} ({member.memname})" for member in rows)
            yield "A004", "error", f"has several products for {label}: rows {listed}", "drop all of them but one"
    single = [member for group in group_members(members) if group.kind == "DTH" for member in group.exposures]
    for member in single:
        if _position(member) is not None:
            text = f"{member.memname} in row {member.row} is {member.memtype}, but its group has no product row"
            yield "A011", "note", f"{text}: it is calibrated alone, not combined", ""


def _check_row(member: Member) -> Iterator[_Found]:
    name, row = member.memname, f"row {member.row}"
    if "_" in member.memtype:
        text = f"MEMTYPE {member.memtype} in {row} has '_' where calacs expects '-': it is read as {_spelling(member)}"
        yield "A005", "warning", text, ""
    if not _MEMTYPE.fullmatch(_spelling(member)):
        text = f"unknown MEMTYPE {member.memtype!r} in {row}"
        yield "A006", "error", text, "expected EXP- or PROD- and DTH, CRJ, CRn, RPT or RPn; or drop the row"
    if not ROOTNAME.fullmatch(name.strip().lower()):
        text = f"MEMNAME {name!r} in {row} is not a rootname of ACS (IPPPSSOOT, nine characters, J first)"
        yield "A007", "error", text, "it may have been cut or mistyped: drop the row, or fetch the table again"
    elif is_exposure(member) and not member.memprsnt:
        yield "A008", "warning", f"{name} in {row} has MEMPRSNT = F: calacs leaves it out", ""


def _check_group(group: Group, members: Sequence[Member]) -> Iterator[_Found]:
    if group.product is None:
        return
    first, count = group.exposures[0], len(group.exposures)
    label = f"{_label(first)} (from row {first.row})"
    if count > MOST_COMBINED:
        text = f"group {label} has {count} exposures: calacs combines at most {MOST_COMBINED}"
        yield "A010", "error", text, "drop some of them"
    if count == 1:
        text = f"group {label} has one exposure, {first.memname}: calacs combines two or more, and stops at one"
        yield (
            "A012",
            "error",
            text,
            f"drop row {group.product.row} ({group.product.memname}) too: it is then done alone",
        )
    reached = _positions(members, rows_of_group(members, group))
    if reached < group.number:
        text = f"group {label}: calacs counts {reached} groups in its rows, and crashes at group number {group.number}"
        yield "A014", "error", text, "keep the PROD- rows of the groups before it"


def rows_of_group(members: Sequence[Member], group: Group) -> tuple[int, ...]:
    """Give the rows of an association with which calacs does one group only.

    They are the group's own, and the product rows of the groups of lower number: calacs makes room
    for as many groups as it counts in the table, then uses their numbers, and crashes (calacs 10.5.0)
    on a table with two exposures of group 4 and its product only. Products without exposures it skips.
    """
    own = {member.row for member in group.exposures}
    for member in members:
        position = _position(member)
        if position and position[0] == group.kind and position[1] <= group.number and not is_exposure(member):
            own.add(member.row)
    return tuple(sorted(own))


def _positions(members: Sequence[Member], rows: Sequence[int]) -> int:
    """Count groups as calacs does: a row counts if its number is above the count so far."""
    count = 0
    for member in members:
        position = _position(member)
        if member.row in rows and position and position[1] > count:
            count += 1
    return count


def filter_members(
    association: Association, keep: Mapping[str, Sequence[str]], drop: Mapping[str, Sequence[str]]
) -> tuple[tuple[Member, ...], tuple[tuple[Member, str], ...]]:
    """Split an association's rows into those that stay and those that go, with the reason.

    Parameters
    ----------
    association : Association
    keep : mapping
        MEMTYPE or MEMNAME to values (``*`` and ``?`` as in file names, any case); a row stays only if
        each named column has one of its values. Empty: all rows.
    drop : mapping
        The same; a row goes if any named column has one of the values. Applied after ``keep``.

    Returns
    -------
    tuple of (rows that stay, (row, reason) pairs of those that go)
    """
    stay: list[Member] = []
    go: list[tuple[Member, str]] = []
    for member in association.members:
        values = {"MEMNAME": member.memname, "MEMTYPE": member.memtype}
        reason = ""
        for column, patterns in keep.items():
            if not reason and not any(matches(pattern, values[column]) for pattern in patterns):
                reason = f"{column} {values[column]} is not in association.keep ({', '.join(patterns)})"
        for column, patterns in drop.items():
            hit = next((pattern for pattern in patterns if matches(pattern, values[column])), None)
            if not reason and hit is not None:
                reason = f"{column} {values[column]} is in association.drop ({hit})"
        if reason:
            go.append((member, reason))
        else:
            stay.append(member)
    return tuple(stay), tuple(go)


def matches(pattern: str, name: str) -> bool:
    """Compare a name with a pattern in which ``*`` is any text and ``?`` any one character; case does not count."""
    parts = (".*" if letter == "*" else "." if letter == "?" else re.escape(letter) for letter in pattern.strip())
    return re.fullmatch("".join(parts), name.strip(), re.IGNORECASE) is not None


def is_exposure(member: Member) -> bool:
    """Tell whether a row names an exposure, not a product."""
    return _spelling(member).startswith("EXP-")


def group_members(members: Sequence[Member]) -> tuple[Group, ...]:
    """Sort the exposures that are present into groups, in the order of their first rows."""
    products = {_position(member): member for member in members if not is_exposure(member) and _position(member)}
    together: dict[tuple[_Kind, int] | int, list[Member]] = {}
    for member in members:
        if is_exposure(member) and member.memprsnt:
            position = _position(member)
            key = position if position and position in products else member.row
            together.setdefault(key, []).append(member)
    return tuple(
        Group("DTH", 0, tuple(exposures))
        if isinstance(key, int)
        else Group(key[0], key[1], tuple(exposures), products[key])
        for key, exposures in together.items()
    )


def members_that_disagree(
    association: Association, members: Sequence[Member], headers: Mapping[str, Mapping[str, Value]]
) -> tuple[Observed, ...]:
    """Report headers that don't fit a group, of which calacs takes the first member's settings for all.

    Parameters
    ----------
    association : Association
    members : sequence of Member
        The rows that stay.
    headers : mapping
        Rootname, in lower case, to primary header as calacs will see it. Members without one are skipped.

    Returns
    -------
    tuple of Observed
        A020 warnings, one for each member and keyword: switches and reference names that differ from
        the first member's. A021 errors: CRCORR or RPTCORR = PERFORM in the first member of the other
        kind of group, at which calacs stops.
    """
    found = []
    for group in group_members(members):
        roots = [member.memname.strip().lower() for member in group.exposures]
        if group.product is None or roots[0] not in headers:
            continue
        first = headers[roots[0]]
        wrong = "RPTCORR" if group.kind == "CR" else "CRCORR"
        if _plain(first.get(wrong)) == "PERFORM":
            text = f"{roots[0]}, the first of a group of {group.exposures[0].memtype}, has {wrong} = PERFORM"
            hint = f"set {wrong} = OMIT under [switches]"
            found.append(Observed("A021", "error", f"{text}: calacs stops at that", association.file.path, hint))
        for other in (root for root in roots[1:] if root in headers):
            for keyword in (*SWITCHES, *REFERENCES):
                here, there = first.get(keyword), headers[other].get(keyword)
                if _plain(here) != _plain(there):
                    text = f"{keyword} = {there} in {other} will not count: calacs takes {here} of {roots[0]}"
                    hint = f"{roots[0]} is the first of its {group.kind} group; give both the same {keyword}"
                    found.append(Observed("A020", "warning", text, association.file.path, hint))
    return tuple(found)


def _spelling(member: Member) -> str:
    return member.memtype.strip().upper().replace("_", "-")


def _position(member: Member) -> tuple[_Kind, int] | None:
    """Give the kind and number of the group that a row belongs to; None where it stands alone."""
    found = _MEMTYPE.fullmatch(_spelling(member))
    if found is None or found[2] == "DTH":
        return None
    number = found[2][2:]
    return "CR" if found[2].startswith("CR") else "RPT", int(number) if number.isdigit() else 1


def _label(member: Member) -> str:
    return _spelling(member).partition("-")[2]


def _plain(value: Value) -> Value:
    return value.strip().upper() if isinstance(value, str) else value
