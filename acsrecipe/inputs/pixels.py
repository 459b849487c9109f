"""The pixels of two FITS files, extension by extension: how many differ, where, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acsrecipe.errors import PlanError


@dataclass(frozen=True)
class PixelChange:
    """How one extension differs between two files; extensions that are equal have none.

    Attributes
    ----------
    hdu : str
        ``SCI,1``.
    pixels, differing : int
    box : tuple of int
        x0, x1, y0, y1 round what differs, from 0, the ends not included.
    largest, median : float or None
        Of the absolute differences where both pixels are numbers.
    note : str
        Where pixels can't be compared: another shape, or only one file has it.
    """

    hdu: str
    pixels: int = 0
    differing: int = 0
    box: tuple[int, ...] = ()
    largest: float | None = None
    median: float | None = None
    note: str = ""


def compare_pixels(a: Path, b: Path) -> tuple[PixelChange, ...]:
    """Compare the images (and tables, row by row) of two FITS files; NaN equals NaN.

    Raises
    ------
    PlanError
        I001: a file can't be read.
    """
    from astropy.io import fits

    changes = []
    try:
        with fits.open(a, memmap=True) as one, fits.open(b, memmap=True) as other:
            left = {_label(hdu): hdu for hdu in one}
            right = {_label(hdu): hdu for hdu in other}
            for label in dict.fromkeys([*left, *right]):
                if label not in left or label not in right:
                    changes.append(PixelChange(label, note=f"only in {'B' if label in right else 'A'}"))
                    continue
                change = _compare(label, left[label], right[label])
                if change is not None:
                    changes.append(change)
    except (OSError, ValueError, TypeError) as error:
        msg = f"can't be compared: {error}"
        raise PlanError(msg, where=f"{a} and {b}", code="I001") from error
    return tuple(changes)


def _label(hdu: Any) -> str:
    return f"{hdu.name},{hdu.ver}" if hdu.name != "PRIMARY" else "PRIMARY"


def _compare(label: str, one: Any, other: Any) -> PixelChange | None:
    import numpy as np

    a, b = one.data, other.data
    if a is None and b is None:
        return None
    if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
        sides = ["no pixels" if data is None else f"{data.shape} {data.dtype}" for data in (a, b)]
        if a is not None and a.dtype.names:
            sides = [f"{len(data) if data is not None else 0} rows" for data in (a, b)]
        return PixelChange(label, note=f"{sides[0]} against {sides[1]}")
    if a.dtype.names:
        # Cell by cell: the bytes of a row hold no arrays of variable length.
        rows = sum(
            any(np.asarray(x[name]).tobytes() != np.asarray(y[name]).tobytes() for name in a.dtype.names)
            for x, y in zip(a, b, strict=True)
        )
        return PixelChange(label, note=f"{rows} of {len(a)} rows differ") if rows else None
    differs = a != b
    if a.dtype.kind == "f":
        differs &= ~(np.isnan(a) & np.isnan(b))
    count = int(differs.sum())
    if not count:
        return None
    where = np.nonzero(differs)
    y, x = where[-2:] if a.ndim > 1 else (np.zeros(1, int), where[0])
    distance = np.abs(a[where].astype(np.float64) - b[where].astype(np.float64))
    distance = distance[np.isfinite(distance)]
    return PixelChange(
        label,
        pixels=int(a.size),
        differing=count,
        box=(int(x.min()), int(x.max()) + 1, int(y.min()), int(y.max()) + 1),
        largest=float(distance.max()) if distance.size else None,
        median=float(np.median(distance)) if distance.size else None,
    )
