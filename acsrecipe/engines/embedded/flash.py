"""FLSHCORR: the post-flash of FLASHDUR seconds (ACS Data Handbook 3.4.8)."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.arithmetic import Plane, subtract
from acsrecipe.engines.embedded.compiled import Flags, Image, compiled
from acsrecipe.engines.embedded.statistics import accumulate_line_means


@compiled
def subtract_flash(
    sci: Image,
    err: Image,
    dq: Flags,
    flash_sci: Plane,
    flash_err: Plane,
    flash_dq: Plane,
    flashdur: float,
    serious: int,
    totals: Image,
) -> None:
    """Subtract a post-flash image scaled to FLASHDUR, in place.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Trimmed, electrons.
    flash_sci, flash_err, flash_dq : (ny, nx)
        Electrons per second, native or stored.
    totals : (2,) float32
        Gathers the lines' means, weighted with their good fractions, for MEANFLSH.
    """
    accumulate_line_means(flash_sci, flash_dq, np.float32(flashdur), serious, totals)
    subtract(sci, err, dq, flash_sci, flash_err, flash_dq, np.float32(flashdur))
