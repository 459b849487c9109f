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

_MEMTYPE = re.compile(r"(EXP|PROD)-(DTH|CRJ|RPT|(?:CR|RP)\d+)", re.ASCII)


@dataclass(frozen=True)
class Group:
    """Exposures that calacs makes one product of: a CR-SPLIT or RPT-OBS group, or one dithered exposure.

    Attributes
    ----------
    kind : str
        ``CR``, ``RPT`` or ``DTH``.
    number : int
        n of EXP-CRn or EXP-RPn (1 for EXP-CRJ and EXP-RPT); 0 for a dithered exposure.
    exposures : tuple of Member
        In the table's order.
    product : Member or None
        The row of its own product; always None for a dithered exposure.
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
        A002 to A012; each names its rows. (A009, a member without a RAW file, is the survey's to see.)
    """
    found = [*_check_table(members), *(one for member in members for one in _check_row(member))]
    for group in group_members(members):
        found.extend(_check_group(group))
    return tuple(
        Observed(code, severity, message, association.file.path, hint) for code, severity, message, hint in found
    )


_Found = tuple[str, Literal["error", "warning"], str, str]


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
    finals = [member for member in members if _memtype(member) == "PROD-DTH"]
    if len(finals) > 1:
        listed = ", ".join(f"{member.row} ({member.memname})" for member in finals)
        yield "A004", "error", f"has several PROD-DTH products: rows {listed}", "drop all of them but one, or all"
    kinds = {group.kind for group in group_members(members)}
    if "DTH" in kinds and len(kinds) > 1:
        text = "EXP-DTH rows stand beside EXP-CRn or EXP-RPn rows: calacs calibrates only the latter"
        yield "A012", "warning", text, "make a recipe for each"


def _check_row(member: Member) -> Iterator[_Found]:
    name, row = member.memname, f"row {member.row}"
    if "_" in member.memtype:
        text = f"MEMTYPE {member.memtype} in {row} has '_' where calacs expects '-': it reads it as {_memtype(member)}"
        yield "A005", "warning", text, ""
    if not _MEMTYPE.fullmatch(_memtype(member)):
        text = f"unknown MEMTYPE {member.memtype!r} in {row}"
        yield "A006", "error", text, "expected EXP- or PROD- and DTH, CRJ, CRn, RPT or RPn; or drop the row"
    if not ROOTNAME.fullmatch(name.strip().lower()):
        text = f"MEMNAME {name!r} in {row} is not a rootname of ACS (IPPPSSOOT, nine characters, J first)"
        yield "A007", "error", text, "it may have been cut or mistyped: drop the row, or fetch the table again"
    elif is_exposure(member) and not member.memprsnt:
        yield "A008", "warning", f"{name} in {row} has MEMPRSNT = F: calacs leaves it out", ""


def _check_group(group: Group) -> Iterator[_Found]:
    if group.kind == "DTH":
        return
    label, count = f"{group.kind} group {group.number}", len(group.exposures)
    if count > MOST_COMBINED:
        text = f"{label} has {count} exposures (rows {group.exposures[0].row} to {group.exposures[-1].row})"
        yield "A010", "error", f"{text}: calacs combines at most {MOST_COMBINED}", "drop some of them"
    if count and group.product is None:
        text = f"{label} has no product row, so its combined image has no name"
        yield "A011", "error", text, "keep the PROD- row of the group too, or drop its EXP- rows"


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
    return _memtype(member).startswith("EXP-")


def group_members(members: Sequence[Member]) -> tuple[Group, ...]:
    """Sort the exposures that are present into the groups that calacs processes, in the table's order."""
    exposures: dict[tuple[Literal["CR", "RPT", "DTH"], int], list[Member]] = {}
    products: dict[tuple[str, int], Member] = {}
    groups: list[Group] = []
    order: list[tuple[Literal["CR", "RPT", "DTH"], int] | Member] = []
    for member in members:
        found = _MEMTYPE.fullmatch(_memtype(member))
        if found is None:
            continue
        kind: Literal["CR", "RPT"] = "CR" if found[2].startswith("CR") else "RPT"
        key = (kind, int(found[2][2:]) if found[2][2:].isdigit() else 1)
        if found[1] == "PROD":
            products.setdefault(key, member) if found[2] != "DTH" else None
        elif not member.memprsnt:
            continue
        elif found[2] == "DTH":
            order.append(member)
        else:
            if key not in exposures:
                order.append(key)
            exposures.setdefault(key, []).append(member)
    for one in order:
        if isinstance(one, Member):
            groups.append(Group("DTH", 0, (one,)))
        else:
            groups.append(Group(one[0], one[1], tuple(exposures[one]), products.get(one)))
    return tuple(groups)


def members_that_disagree(
    association: Association, members: Sequence[Member], headers: Mapping[str, Mapping[str, Value]]
) -> tuple[Observed, ...]:
    """Report switches and reference names that differ within a group of which calacs takes the first member's.

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
        A020 warnings, one for each member and keyword.
    """
    found = []
    for group in group_members(members):
        roots = [member.memname.strip().lower() for member in group.exposures]
        first, *others = [root for root in roots if root in headers] or [""]
        for other in others:
            for keyword in (*SWITCHES, *REFERENCES):
                here, there = headers[first].get(keyword), headers[other].get(keyword)
                if _spelled(here) != _spelled(there):
                    message = (
                        f"{other} has {keyword} = {there}, but {first}, the first of its {group.kind} group, has "
                        f"{keyword} = {here}: calacs takes the first member's switches and references for all"
                    )
                    hint = f"set {keyword} to the same value in all of them, or drop one"
                    found.append(Observed("A020", "warning", message, association.file.path, hint))
    return tuple(found)


def _memtype(member: Member) -> str:
    return member.memtype.strip().upper().replace("_", "-")


def _spelled(value: Value) -> Value:
    return value.strip().upper() if isinstance(value, str) else value
