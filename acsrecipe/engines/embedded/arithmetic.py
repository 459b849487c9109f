"""Arithmetic of image triplets (science, error, data quality), rounding as calacs's does.

Every operation is in single precision, from left to right; a square root of a single-precision number is the
same whether taken in single precision or in double and rounded.
"""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Flags, Image, compiled

CALIBRATION_DEFECT = 512


@compiled
def subtract(sci: Image, err: Image, dq: Flags, other_sci: Image, other_err: Image, other_dq: Flags) -> None:
    """Subtract one triplet from another, in place.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Changed: ``sci - other``, ``sqrt(err**2 + other**2)``, ``dq | other``.
    other_sci, other_err, other_dq : (ny, nx)
        Same shape and units.
    """
    for j in range(sci.shape[0]):
        for i in range(sci.shape[1]):
            sci[j, i] = sci[j, i] - other_sci[j, i]
        for i in range(sci.shape[1]):
            a, b = err[j, i], other_err[j, i]
            err[j, i] = np.sqrt(a * a + b * b)
        for i in range(sci.shape[1]):
            dq[j, i] |= other_dq[j, i]


@compiled
def multiply(sci: Image, err: Image, factor: np.float32) -> None:
    """Multiply science and error by a number, in place; by exactly 1 nothing is done."""
    if factor == 1:
        return
    for j in range(sci.shape[0]):
        for i in range(sci.shape[1]):
            sci[j, i] = factor * sci[j, i]
        for i in range(sci.shape[1]):
            err[j, i] = factor * err[j, i]


@compiled
def divide(sci: Image, err: Image, dq: Flags, other_sci: Image, other_err: Image, other_dq: Flags) -> None:
    """Divide one triplet by another, in place.

    ``err`` becomes ``sqrt((err / o)**2 + (oe * sci / o / o)**2)``. Where the divisor is 0, science and error
    stay as they are and DQ bit 512 is set.
    """
    for j in range(sci.shape[0]):
        for i in range(sci.shape[1]):
            divisor = other_sci[j, i]
            a = err[j, i] / divisor
            b = other_err[j, i] * sci[j, i] / divisor / divisor
            err[j, i] = np.sqrt(a * a + b * b) if divisor != 0 else err[j, i]
        for i in range(sci.shape[1]):
            divisor = other_sci[j, i]
            sci[j, i] = sci[j, i] / divisor if divisor != 0 else sci[j, i]
        for i in range(sci.shape[1]):
            flag = np.int16(CALIBRATION_DEFECT) if other_sci[j, i] == 0 else np.int16(0)
            dq[j, i] = dq[j, i] | other_dq[j, i] | flag
