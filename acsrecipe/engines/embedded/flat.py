"""FLATCORR: division by the pixel-to-pixel flat, and by the delta flat where there is one."""

from __future__ import annotations

from acsrecipe.engines.embedded.arithmetic import Triplet, divide
from acsrecipe.engines.embedded.compiled import Flags, Image


def divide_by_flat(sci: Image, err: Image, dq: Flags, flat: Triplet) -> None:
    """Divide by a flat field, in place.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Trimmed, electrons.
    flat : SCI, ERR, DQ of the same shape
        Native or stored. Where it is 0, science and error stay and DQ bit 512 is set.
    """
    divide(sci, err, dq, *flat)
