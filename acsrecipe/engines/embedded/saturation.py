"""Full-well saturation: pixels above the SATUFILE image, in electrons, after bias and overscan."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Flags, Image, compiled

FULL_WELL = 256


@compiled
def flag_full_well(sci: Image, dq: Flags, limit: Image, y: int, x: int) -> None:
    """Set bit 256 where science exceeds the limit, in place.

    Parameters
    ----------
    sci, dq : (ny, nx)
        The whole raw image, electrons.
    limit : (h, w) float32
        Electrons; its first pixel lies over ``sci[y, x]``.
    """
    for j in range(limit.shape[0]):
        for i in range(limit.shape[1]):
            dq[y + j, x + i] |= np.int16(FULL_WELL) if sci[y + j, x + i] > limit[j, i] else np.int16(0)
