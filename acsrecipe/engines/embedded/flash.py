"""FLSHCORR: the post-flash of FLASHDUR seconds (ACS Data Handbook 3.4.8)."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.arithmetic import Triplet, subtract
from acsrecipe.engines.embedded.compiled import Flags, Image
from acsrecipe.engines.embedded.statistics import accumulate_line_means


def subtract_flash(
    sci: Image, err: Image, dq: Flags, flash: Triplet, flashdur: float, serious: int, totals: Image
) -> None:
    """Subtract a post-flash image scaled to FLASHDUR, in place.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Trimmed, electrons.
    flash : SCI, ERR, DQ of the same shape
        Electrons per second, native or stored.
    totals : (2,) float32
        Gathers the lines' means, weighted with their good fractions, for MEANFLSH.
    """
    accumulate_line_means(flash[0], flash[2], np.float32(flashdur), serious, totals)
    subtract(sci, err, dq, *flash, np.float32(flashdur))
