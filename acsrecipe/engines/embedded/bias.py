"""BIASCORR: the bias image, in raw DN, before the gain."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.arithmetic import Plane, add_errors, join_flags, subtract_values
from acsrecipe.engines.embedded.compiled import Flags, Image


def subtract_bias(sci: Image, dq: Flags, bias_sci: Plane, bias_dq: Plane) -> None:
    """Subtract a bias image, in place.

    Parameters
    ----------
    sci, dq : (ny, nx)
        Raw, with overscan, DN.
    bias_sci, bias_dq : (ny, nx)
        DN and flags, native or stored.
    """
    subtract_values(sci, bias_sci, np.float32(1))
    join_flags(dq, bias_dq)


def add_bias_error(err: Image, bias_err: Plane) -> None:
    """Add the bias image's error in quadrature, in place: both (ny, nx), DN."""
    add_errors(err, bias_err, np.float32(1))
