"""Association files: read them, and write them with fewer rows, by their bytes.

An ASN file is a primary header and one binary table with MEMNAME, MEMTYPE and MEMPRSNT. What its rows
mean is in :mod:`acsrecipe.inputs.members`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from acsrecipe import files
from acsrecipe.errors import PlanError
from acsrecipe.inputs import cards as fits_cards
from acsrecipe.inputs.checksum import renew_checksum
from acsrecipe.inputs.header import read_whole
from acsrecipe.inputs.layout import Hdu, refuse_cut, scan
from acsrecipe.inputs.members import (
    Group,
    check_association,
    filter_members,
    group_members,
    members_that_disagree,
    rows_of_group,
)
from acsrecipe.inputs.model import Association, FileIdentity, Member, Value

__all__ = [
    "Group",
    "check_association",
    "filter_members",
    "group_members",
    "members_that_disagree",
    "parse_association",
    "read_association",
    "refuse_other_instrument",
    "rows_of_group",
    "write_filtered",
]

_LARGEST_TABLE = 1 << 20
_WIDTHS = {"L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "E": 4, "K": 8, "D": 8, "C": 8, "P": 8, "M": 16, "Q": 16}


@dataclass(frozen=True)
class _Table:
    hdu: int
    rows: int
    row_size: int
    columns: Mapping[str, tuple[int, int, str]]


def parse_association(content: bytes, rootname: str, file: FileIdentity) -> Association:
    """Read an association table.

    Parameters
    ----------
    content : bytes
        The whole file.
    rootname : str
        Of the association, from the file's name.
    file : FileIdentity
        Kept in the result, and named in errors.

    Raises
    ------
    PlanError
        I003 to I009, as :func:`acsrecipe.inputs.header.read_headers`; I021 another instrument;
        A001 a keyword, the table or a column is missing or of another type.
    """
    hdus, table = _find_table(content, file.path)
    primary = hdus[0].header.cards
    refuse_other_instrument(primary, file.path)
    if not isinstance(primary.get("DETECTOR"), str):
        msg = "has no keyword DETECTOR in its primary header: calacs would stop at that"
        raise PlanError(msg, where=file.path, hint="expected DETECTOR = WFC, HRC or SBC", code="A001")
    return Association(rootname, file, tuple(_rows(content, hdus[table.hdu], table)))


def read_association(path: Path) -> Association:
    """Read an association file; raises ``PlanError`` as :func:`parse_association`. Its content is hashed."""
    content = read_whole(path, _LARGEST_TABLE)
    file = FileIdentity(str(path), len(content), hashlib.sha256(content).hexdigest())
    return parse_association(content, path.name.split("_")[0].lower(), file)


def refuse_other_instrument(primary: Mapping[str, Value], name: str) -> None:
    """Raise ``PlanError`` I021 unless a primary header is of ACS."""
    instrument = primary.get("INSTRUME")
    if not isinstance(instrument, str) or instrument.strip().upper() != "ACS":
        found = f"INSTRUME = {instrument}" if instrument is not None else "no keyword INSTRUME"
        msg = f"is not of ACS: found {found}, expected INSTRUME = ACS"
        raise PlanError(msg, where=name, hint="acsrecipe reprocesses HST/ACS exposures only", code="I021")


def write_filtered(source: Path, target: Path, rows: Collection[int]) -> str:
    """Write an association file with only some of its rows, every other byte as it was.

    Parameters
    ----------
    source : Path
        Only read.
    target : Path
        Must not exist.
    rows : collection of int
        Numbers of the rows that stay, from 1.

    Returns
    -------
    str
        sha256 of the source, as read.

    Raises
    ------
    PlanError
        As :func:`parse_association`; A013 a row that is not there.
    OutputError
        The target exists, or the disk can't take it.

    Notes
    -----
    Only the NAXIS2 card and the table's data unit change; DATASUM and CHECKSUM are made anew where
    those cards are.
    """
    content = read_whole(source, _LARGEST_TABLE)
    hdus, table = _find_table(content, str(source))
    absent = sorted(set(rows) - set(range(1, table.rows + 1)))
    if absent or not rows:
        msg = f"has rows 1 to {table.rows}, but rows {absent or 'none'} were asked for"
        raise PlanError(msg, where=str(source), code="A013")
    hdu = hdus[table.hdu]
    at = hdu.data_start
    size = table.row_size
    data = b"".join(content[at + (row - 1) * size : at + row * size] for row in sorted(set(rows)))
    data = data.ljust(-(-len(data) // fits_cards.BLOCK) * fits_cards.BLOCK, b"\0")
    kept = hdu.cards()
    if len(set(rows)) != table.rows:
        fits_cards.set_value(kept, "NAXIS2", len(set(rows)))
        renew_checksum(kept, data)
    with files.writing(target), files.create_new(target) as out:
        files.write_all(out, content[: hdu.start] + fits_cards.pack(kept) + data + content[hdu.end :])
    return hashlib.sha256(content).hexdigest()


def _find_table(content: bytes, name: str) -> tuple[tuple[Hdu, ...], _Table]:
    if len(content) > _LARGEST_TABLE:
        msg = f"has more than {_LARGEST_TABLE} bytes, which no association table has"
        raise PlanError(msg, where=name, code="A001")
    hdus = scan(lambda offset, size: content[offset : offset + size], len(content), name)
    refuse_cut(hdus, name)
    for number, hdu in enumerate(hdus):
        if hdu.header.cards.get("XTENSION") == "BINTABLE":
            return hdus, _read_layout(hdu, number, name)
    msg = f"has no binary table: found {' '.join(hdu.label for hdu in hdus)}, expected PRIMARY and ASN,1"
    raise PlanError(msg, where=name, code="A001")


def _read_layout(hdu: Hdu, number: int, name: str) -> _Table:
    values = hdu.header.cards
    columns: dict[str, tuple[int, int, str]] = {}
    at = 0
    fields, row_size, rows = (values.get(keyword) for keyword in ("TFIELDS", "NAXIS1", "NAXIS2"))
    if (
        not isinstance(fields, int)
        or not isinstance(row_size, int)
        or not isinstance(rows, int)
        or values["NAXIS"] != 2
    ):
        msg = "has a table whose TFIELDS, NAXIS1 or NAXIS2 is missing"
        raise PlanError(msg, where=name, code="A001")
    for column in range(1, min(fields, 999) + 1):
        form = re.fullmatch(r"(\d*)([LXBIJKAEDCMPQ]).*", str(values.get(f"TFORM{column}", "")).strip())
        if form is None:
            msg = f"has a table whose TFORM{column} is {values.get(f'TFORM{column}')!r}"
            raise PlanError(msg, where=name, code="A001")
        repeat = int(form[1] or 1)
        width = -(-repeat // 8) if form[2] == "X" else repeat * _WIDTHS[form[2]]
        columns.setdefault(str(values.get(f"TTYPE{column}", "")).strip().upper(), (at, width, form[2]))
        at += width
    for title, letter in (("MEMNAME", "A"), ("MEMTYPE", "A"), ("MEMPRSNT", "L")):
        if title not in columns or columns[title][2] != letter:
            kind = "text" if letter == "A" else "logical"
            msg = f"has no column {title} of {kind}: found {', '.join(columns) or 'none'}"
            raise PlanError(msg, where=name, hint="expected MEMNAME, MEMTYPE and MEMPRSNT", code="A001")
    if at != row_size or hdu.data_size != row_size * rows:
        msg = f"has a table whose columns take {at} bytes a row, but NAXIS1 = {row_size} (and no heap was expected)"
        raise PlanError(msg, where=name, code="A001")
    return _Table(number, rows, row_size, columns)


def _rows(content: bytes, hdu: Hdu, table: _Table) -> Iterator[Member]:
    for row in range(table.rows):
        at = hdu.data_start + row * table.row_size

        def cell(title: str, at: int = at) -> bytes:
            offset, width, _ = table.columns[title]
            return content[at + offset : at + offset + width]

        name, kind = (
            cell(title).split(b"\0")[0].decode("ascii", "backslashreplace").rstrip() for title in ("MEMNAME", "MEMTYPE")
        )
        yield Member(row + 1, name, kind, cell("MEMPRSNT")[:1] == b"T")
