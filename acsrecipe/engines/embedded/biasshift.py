"""BLEVCORR after Servicing Mission 4, gain 2, dual-slope integration: bias shift and cross talk.

The preamplifier's high-pass filter lets the bias follow the signal; the correction walks through the
pixels in the order of their readout (Golimowski et al., ACS ISR 2012-02). Values are electrons.
"""

from __future__ import annotations

import math

import numpy as np

from acsrecipe.engines.embedded.compiled import Doubles, Image, compiled
from acsrecipe.errors import EngineError

_SERIAL_FREQUENCY = 1000.0 / 22.0
_PARALLEL_SHIFT = 3.212
GAP_PIXELS = int(_SERIAL_FREQUENCY * _PARALLEL_SHIFT + 0.5)

# Per amplifier A to D: time constant of the filter (microseconds), sensitivity of the integrator.
_TIME_CONSTANT = (37.290251, 36.180001, 37.867770, 42.461249)
_SENSITIVITY = (2.9188919e-3, 10.805754e-3, 12.432145e-3, 3.8596253e-3)

# The "magic square" whose mean stands for no signal: lines and columns of the amplifier's corner frame.
SQUARE_LINES = (2057, 2067)
SQUARE_COLUMNS = (13, 23)


@compiled
def _square_mean(amp: Doubles) -> float:
    total = 0.0
    for j in range(2057, 2067):
        for k in range(13, 23):
            total += amp[j, k]
    return total / 100.0


@compiled
def _read_line(sci: Image, line: int, x1: int, flip_x: bool, values: Doubles) -> None:
    """Copy a line of one amplifier's part, in the order of its readout."""
    width = values.size
    part = sci[line, x1 : x1 + width]
    if flip_x:
        for k in range(width):
            values[k] = part[width - 1 - k]
    else:
        for k in range(width):
            values[k] = part[k]


@compiled
def _shift(
    sci: Image, x1: int, flip_x: bool, flip_y: bool, scratch: Doubles, factor: float, sensitivity: float, gap: int
) -> float:
    """Correct one amplifier's part of ``sci`` in place and give the level that was subtracted.

    ``scratch``, (ny, width) float64, is for that part with the amplifier at [0, 0].
    """
    ny, width = scratch.shape
    for j in range(2057, 2067):
        _read_line(sci, ny - 1 - j if flip_y else j, x1, flip_x, scratch[j])
    mean = _square_mean(scratch)
    # ``factor`` is the filter's answer within the time of one pixel.
    keep = 1.0 - factor
    before = mean * 0.3
    for j in range(ny):
        values = scratch[j]
        _read_line(sci, ny - 1 - j if flip_y else j, x1, flip_x, values)
        for k in range(width):
            value = values[k]
            after = value * factor * 0.3 + keep * before
            values[k] = (value - sensitivity * after) - (10.0 / 22.0) * (after - before)
            before = after
        for _ in range(gap):
            before = mean * factor * 0.3 + keep * before
    level = _square_mean(scratch)
    for j in range(ny):
        values = scratch[j]
        part = sci[ny - 1 - j if flip_y else j, x1 : x1 + width]
        if flip_x:
            for k in range(width):
                part[width - 1 - k] = np.float32(values[k] - level)
        else:
            for k in range(width):
                part[k] = np.float32(values[k] - level)
    return level


def correct_bias_shift(sci: Image, amp: int, *, halves: bool, where: str, scratch: Doubles | None = None) -> float:
    """Remove the bias shift from one amplifier's part of a raw chip, in place.

    Parameters
    ----------
    sci : (ny, nx) float32, electrons
        With all overscan: the lines 2057 to 2066 from the amplifier are needed.
    amp : int
        0 to 3 for A to D.
    halves : bool
        Whether the chip was read by two amplifiers (full frame), rather than by this one alone (subarray).
    scratch : (ny, width) float64, optional
        To be overwritten; given, no memory has to be fetched for each amplifier.

    Returns
    -------
    float
        The level subtracted, electrons.

    Raises
    ------
    EngineError
        When the image has too few lines; calacs reads beyond its memory there.
    """
    ny, nx = sci.shape
    width = nx // 2 if halves else nx
    if ny < SQUARE_LINES[1] or width < SQUARE_COLUMNS[1]:
        message = f"the bias shift needs {SQUARE_LINES[1]} lines of virtual overscan and image, found {ny}"
        raise EngineError(message, where=where, hint="it is asked for by JWROTYPE DS_int with CCDGAIN 2")
    right = amp in (1, 3)
    factor = 1.0 - math.exp(-1.0 / (_TIME_CONSTANT[amp] * _SERIAL_FREQUENCY))
    return _shift(
        sci,
        nx - width if right else 0,
        right,
        amp in (0, 1),
        np.empty((ny, width)) if scratch is None else scratch,
        factor,
        _SENSITIVITY[amp],
        GAP_PIXELS,
    )


@compiled
def correct_cross_talk(sci: Image) -> None:
    """Add to each pixel of a full-frame chip 9.1e-5 of its mirror pixel, in place, from left to right.

    The right half so sees the left half already corrected, as in calacs.
    """
    ny, nx = sci.shape
    for j in range(ny):
        for i in range(nx):
            sci[j, i] += np.float32(np.float64(sci[j, nx - 1 - i]) * 9.1e-5)
