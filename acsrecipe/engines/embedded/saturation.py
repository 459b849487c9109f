"""Full-well saturation: pixels above the SATUFILE image, in electrons, after bias and overscan."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.arithmetic import Plane
from acsrecipe.engines.embedded.byteorder import as_number
from acsrecipe.engines.embedded.compiled import Flags, Image, compiled

FULL_WELL = 256


@compiled
def flag_full_well(sci: Image, dq: Flags, limit: Plane, first: int, last: int) -> None:
    """Set bit 256 where science exceeds the limit, in place.

    Parameters
    ----------
    sci, dq : (ny, nx)
        Lines of the raw image, electrons.
    limit : (ny, nx)
        Electrons, native or stored.
    first, last : int
        Columns to look at, the last one not included.
    """
    for j in range(sci.shape[0]):
        signals, flags, limits = sci[j, first:last], dq[j, first:last], limit[j, first:last]
        for i in range(signals.size):
            flags[i] |= np.int16(FULL_WELL) if signals[i] > as_number(limits[i]) else np.int16(0)
