"""Carry an amp's lines out of its chip and back, where they may run across memory or backwards."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Image
from acsrecipe.engines.embedded.compiling import jitted

UNCERTAINTY = 0.1  # of the correction, added to ERR in quadrature


@jitted
def fetch_lines(sci: Image, lines: Image, first: int, last: int) -> None:
    """Copy lines `first` to `last` of a strided view into a contiguous array; both (lines, pixels) float32.

    The inner loop runs across lines: for columns of a chip those are neighbours in memory.
    """
    for pixel in range(sci.shape[1]):
        for line in range(first, last):
            lines[line, pixel] = sci[line, pixel]


@jitted
def apply_correction(smooth: Image, corrected: Image, sci: Image, err: Image, first: int, last: int) -> None:
    """Add ``corrected - smooth`` to `sci`, and a tenth of it to `err` in quadrature, in lines `first` to `last`.

    Parameters
    ----------
    smooth, corrected : (lines, pixels) float32, electrons
    sci, err : (lines, pixels) float32, electrons
        Views of the chip, changed in place.
    """
    for pixel in range(sci.shape[1]):
        for line in range(first, last):
            delta = corrected[line, pixel] - smooth[line, pixel]
            sci[line, pixel] += delta
            wide = UNCERTAINTY * abs(np.float64(delta))
            before = err[line, pixel]
            err[line, pixel] = np.float32(np.sqrt(np.float64(before * before) + wide * wide))
