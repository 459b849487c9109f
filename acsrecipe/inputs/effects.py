"""Whether another reference file would make a difference to an exposure: same bytes, or the same rows of a table.

The idea of comparing only the rows that an exposure selects is that of ``crds bestrefs --optimize-tables``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acsrecipe.files import sha256_file
from acsrecipe.inputs.model import Value

ANY = {"ANY", "N/A", "", "-1", "-1.0", "-999", "-999.0"}
"""What a cell of a reference table says where it is for every value."""

SELECTORS = (
    "CCDAMP",
    "CCDGAIN",
    "DETECTOR",
    "FILTER1",
    "FILTER2",
    "OBSTYPE",
    "BINX",
    "BINY",
)
"""Columns by which calacs picks rows, where a table has them and they mean the same as the keyword of that name.

It takes a row for each CCDCHIP, so all chips count; OBSMODE of an IMPHTTAB is not the keyword OBSMODE.
"""


ABOUT = {
    "",
    "COMMENT",
    "HISTORY",
    "DATE",
    "FILENAME",
    "ROOTNAME",
    "DESCRIP",
    "PEDIGREE",
    "USEAFTER",
    "CHECKSUM",
    "DATASUM",
}
ABOUT |= {"NAXIS2", "VCALCOS", "FITSVERS", "IRAF-TLM", "ORIGIN"}
"""Cards of a reference table that change no pixel."""


TEXTS = ("DESCRIP", "COMMENT", "PEDIGREE")


def describe_effect(keyword: str, old: Path, new: Path, headers: tuple[Mapping[str, Value], ...]) -> str:
    """Say whether one reference in place of another matters to some exposures.

    Parameters
    ----------
    keyword : str
        ``CCDTAB``: keywords ending in TAB name tables.
    old, new : Path
        Both files.
    headers : tuple of mapping
        Of the exposures, merged as CRDS does.

    Returns
    -------
    str
        ``the bytes are the same``, ``the rows for these exposures are the same`` ..., or empty where that is not known.
    """
    try:
        if old.stat().st_size == new.stat().st_size and sha256_file(old) == sha256_file(new):
            return "no effect: the bytes are the same"
        if keyword.endswith("TAB"):
            return _describe_rows(old, new, headers)
        return _describe_images(old, new)
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _describe_rows(old: Path, new: Path, headers: tuple[Mapping[str, Value], ...]) -> str:
    from astropy.io import fits

    with fits.open(old) as one, fits.open(new) as other:
        if [hdu.name for hdu in one[1:]] != [hdu.name for hdu in other[1:]]:
            return "the tables have other extensions"
        cards = sorted({name for a, b in zip(one, other, strict=True) for name in _other_cards(a.header, b.header)})
        for number, (a, b) in enumerate(zip(one[1:], other[1:], strict=True), 1):
            name = a.name or f"table {number}"
            if a.data is None and b.data is None:
                continue
            if a.data is None or b.data is None or a.data.dtype != b.data.dtype:
                return f"{name} has other columns"
            for header in headers:
                first, second = (_select(hdu.data, header) for hdu in (a, b))
                if first != second:
                    return f"rows of {name} that these exposures may read differ"
    if cards:
        return f"the rows for these exposures are the same, header cards differ: {', '.join(cards[:5])}"
    return "no effect: the rows for these exposures are the same"


def _other_cards(a: Any, b: Any) -> set[str]:
    """Name the cards that differ, but for those that say where the file comes from: calacs reads some of the others."""
    names = {name for name in (*a, *b) if name not in ABOUT}
    return {name for name in names if a.get(name) != b.get(name)}


def _select(table: Any, header: Mapping[str, Value]) -> list[bytes]:
    import numpy as np

    chosen = []
    columns = table.dtype.names or ()
    names = [name for name in SELECTORS if name in columns]
    fitting = [row for row in table if all(_fits(row[name], header.get(name)) for name in names)]
    # Where no row fits, how the table is read is not known here: then every row counts.
    for row in fitting or table:
        # The texts about a row change no pixel, except a PEDIGREE of DUMMY, which skips the step. Each cell is
        # taken by itself: the bytes of a row hold no arrays of variable length, as IMPHTTAB has them.
        cells = [np.asarray(row[name]).tobytes() for name in columns if name not in TEXTS]
        dummy = "PEDIGREE" in columns and str(row["PEDIGREE"]).strip().upper().startswith("DUMMY")
        chosen.append(b"\0".join(cells) + (b"DUMMY" if dummy else b""))
    return chosen


def _fits(cell: Any, value: Value) -> bool:
    text = str(cell).strip().upper()
    if value is None or text in ANY:
        return True
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(text) == float(value)
        except ValueError:
            return True
    return text == str(value).strip().upper()


def _describe_images(old: Path, new: Path) -> str:
    from acsrecipe.inputs.pixels import compare_pixels

    changes = compare_pixels(old, new)
    if not changes:
        return "no effect: the pixels are the same"
    parts = [f"{one.hdu} {one.note or f'{one.differing} of {one.pixels} pixels'}" for one in changes]
    return "differs in " + ", ".join(parts[:4]) + (" ..." if len(parts) > 4 else "")
