"""BIASCORR: the bias image, in raw DN, before the gain."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.arithmetic import Plane, add_errors_of_line, join_flags, subtract_values
from acsrecipe.engines.embedded.compiled import Flags, Image, compiled


@compiled
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


@compiled
def add_bias_error(err: Image, bias_err: Plane, first: int) -> None:
    """Add the bias image's error in quadrature, in place.

    Parameters
    ----------
    err : (ny, nx)
        DN.
    bias_err : (ny, nx or more)
        DN, native or stored.
    first : int
        Column of ``bias_err`` that belongs to the first one of ``err``.
    """
    nx = err.shape[1]
    for j in range(err.shape[0]):
        add_errors_of_line(err[j], bias_err[j, first : first + nx], np.float32(1))
