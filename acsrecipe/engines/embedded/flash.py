"""FLSHCORR: the post-flash of FLASHDUR seconds (ACS Data Handbook 3.4.8)."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.arithmetic import multiply, subtract
from acsrecipe.engines.embedded.compiled import Flags, Image
from acsrecipe.engines.embedded.statistics import accumulate_line_means


def subtract_flash(
    sci: Image,
    err: Image,
    dq: Flags,
    flash: tuple[Image, Image, Flags],
    flashdur: float,
    serious: int,
    totals: Image,
) -> None:
    """Subtract a post-flash image scaled to FLASHDUR, in place.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Trimmed, electrons.
    flash : (ny, nx) float32, float32, int16
        Electrons per second; SCI and ERR are scaled in place.
    totals : (2,) float32
        Gathers the lines' means, weighted with their good fractions, for MEANFLSH.
    """
    flash_sci, flash_err, flash_dq = flash
    multiply(flash_sci, flash_err, np.float32(flashdur))
    accumulate_line_means(flash_sci, flash_dq, serious, totals)
    subtract(sci, err, dq, flash_sci, flash_err, flash_dq)
