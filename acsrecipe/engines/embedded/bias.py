"""BIASCORR: the bias image, in raw DN, before the gain."""

from __future__ import annotations

from acsrecipe.engines.embedded.arithmetic import subtract
from acsrecipe.engines.embedded.compiled import Flags, Image


def subtract_bias(sci: Image, err: Image, dq: Flags, bias: tuple[Image, Image, Flags]) -> None:
    """Subtract a bias image, in place.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Raw, with overscan, DN; the error is usually 0 here.
    bias : (ny, nx) float32, float32, int16
        DN.
    """
    subtract(sci, err, dq, *bias)
