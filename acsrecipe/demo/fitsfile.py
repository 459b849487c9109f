"""Write FITS files card by card, so that every byte is ours: astropy would add and reorder structural cards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

Card = tuple[str, object] | tuple[str, object, str]
"""Keyword, value, comment; a keyword of blanks makes a comment line of its own."""
Unit = tuple[list[Card], NDArray[np.generic] | None]
"""One HDU: cards without the structural ones, and the pixels, or None for a header without a data unit."""

BLOCK = 2880
_BITPIX = {"u1": 8, "i2": 16, "u2": 16, "i4": 32, "f4": -32, "f8": -64}


def write_fits(path: Path, units: Iterable[Unit]) -> None:
    """Write a FITS file; the first unit is the primary HDU.

    Units are taken one at a time, so a generator never has more than one array in memory.

    Parameters
    ----------
    path : Path
    units : iterable of (cards, array or None)
        Arrays of uint8, int16, uint16 (written with BZERO 32768), int32, float32 or float64.
        A unit without pixels is given BITPIX 16, as the null ERR and DQ of a RAW have.
    """
    with path.open("wb") as out:
        for number, (cards, pixels) in enumerate(units):
            out.write(_header(cards, pixels, primary=number == 0))
            if pixels is not None:
                data = _big_endian(pixels)
                out.write(data.data.cast("B"))
                out.write(b"\0" * (-data.nbytes % BLOCK))


def _header(cards: list[Card], pixels: NDArray[np.generic] | None, *, primary: bool) -> bytes:
    header = fits.Header()
    if primary:
        header.append(("SIMPLE", True, "conforms to FITS standard"), end=True)
    else:
        header.append(("XTENSION", "IMAGE", "image extension"), end=True)
    kind = "i2" if pixels is None else pixels.dtype.str[1:]
    header.append(("BITPIX", _BITPIX[kind], "bits a pixel"), end=True)
    shape = () if pixels is None else pixels.shape
    header.append(("NAXIS", len(shape), "number of axes"), end=True)
    for axis, length in enumerate(reversed(shape), 1):
        header.append((f"NAXIS{axis}", length, f"length of axis {axis}"), end=True)
    if primary:
        header.append(("EXTEND", True, "there may be extensions"), end=True)
    else:
        header.append(("PCOUNT", 0, "no parameters"), end=True)
        header.append(("GCOUNT", 1, "one group"), end=True)
    if kind == "u2":
        header.append(("BSCALE", 1), end=True)
        header.append(("BZERO", 32768), end=True)
    for card in cards:
        header.append(card, end=True)
    text: str = header.tostring()
    return text.encode("ascii")


def _big_endian(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    if pixels.dtype == np.uint16:
        pixels = (pixels.astype(np.uint16, copy=False) ^ np.uint16(0x8000)).view(np.int16)
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder(">"))
