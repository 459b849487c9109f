"""FLATCORR: division by the pixel-to-pixel flat, and by the delta flat where there is one."""

from __future__ import annotations

from acsrecipe.engines.embedded.arithmetic import divide
from acsrecipe.engines.embedded.compiled import Flags, Image


def divide_by_flat(sci: Image, err: Image, dq: Flags, flat: tuple[Image, Image, Flags]) -> None:
    """Divide by a flat field, in place.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Trimmed, electrons.
    flat : (ny, nx) float32, float32, int16
        Where it is 0, science and error stay and DQ bit 512 is set.
    """
    divide(sci, err, dq, *flat)
