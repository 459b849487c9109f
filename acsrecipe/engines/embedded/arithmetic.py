"""Arithmetic of image triplets (science, error, data quality), rounding as calacs's does.

Every operation is in single precision, from left to right; a square root of a single-precision number is the
same whether taken in single precision or in double and rounded. The second operand may be native or stored
(big-endian, see `acsrecipe.engines.embedded.byteorder`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.byteorder import as_number
from acsrecipe.engines.embedded.compiled import Flags, Image, compiled

CALIBRATION_DEFECT = 512

Plane = NDArray[Any]
"""float32 or int16, native or stored."""


@compiled
def copy_line(line: Plane, result: Plane) -> None:
    """Copy a line, (nx,), onto itself or further to the front of the same memory too."""
    for i in range(result.size):
        result[i] = line[i]


@compiled
def subtract_values(sci: Image, other: Plane, factor: np.float32) -> None:
    """Set ``sci -= factor * other``, in place; a factor of 1 changes nothing of ``other``."""
    for j in range(sci.shape[0]):
        for i in range(sci.shape[1]):
            sci[j, i] = sci[j, i] - factor * as_number(other[j, i])


@compiled
def add_errors(err: Image, other: Plane, factor: np.float32) -> None:
    """Set ``err = sqrt(err**2 + (factor * other)**2)``, in place."""
    for j in range(err.shape[0]):
        add_errors_of_line(err[j], other[j], factor)


@compiled
def add_errors_of_line(err: Image, other: Plane, factor: np.float32) -> None:
    """Do so for one line, (nx,)."""
    for i in range(err.size):
        a, b = err[i], factor * as_number(other[i])
        err[i] = np.sqrt(a * a + b * b)


@compiled
def join_flags(dq: Flags, other: Plane) -> None:
    """Set ``dq |= other``, in place."""
    for j in range(dq.shape[0]):
        for i in range(dq.shape[1]):
            dq[j, i] |= as_number(other[j, i])


@compiled
def subtract(
    sci: Image, err: Image, dq: Flags, other_sci: Plane, other_err: Plane, other_dq: Plane, factor: np.float32
) -> None:
    """Subtract a triplet times a number from another, in place.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Changed: ``sci - k * other``, ``sqrt(err**2 + (k * other)**2)``, ``dq | other``.
    other_sci, other_err, other_dq : (ny, nx)
        Native or stored.
    factor : float32
    """
    subtract_values(sci, other_sci, factor)
    add_errors(err, other_err, factor)
    join_flags(dq, other_dq)


@compiled
def divide(sci: Image, err: Image, dq: Flags, other_sci: Plane, other_err: Plane, other_dq: Plane) -> None:
    """Divide one triplet by another, in place.

    ``err`` becomes ``sqrt((err / o)**2 + (oe * sci / o / o)**2)``. Where the divisor is 0, science and error
    stay as they are and DQ bit 512 is set.
    """
    for j in range(sci.shape[0]):
        for i in range(sci.shape[1]):
            divisor = as_number(other_sci[j, i])
            a = err[j, i] / divisor
            b = as_number(other_err[j, i]) * sci[j, i] / divisor / divisor
            err[j, i] = np.sqrt(a * a + b * b) if divisor != 0 else err[j, i]
        for i in range(sci.shape[1]):
            divisor = as_number(other_sci[j, i])
            sci[j, i] = sci[j, i] / divisor if divisor != 0 else sci[j, i]
        for i in range(sci.shape[1]):
            flag = np.int16(CALIBRATION_DEFECT) if as_number(other_sci[j, i]) == 0 else np.int16(0)
            dq[j, i] = dq[j, i] | as_number(other_dq[j, i]) | flag
