"""From electrons to data numbers: the electronics that calacs corrects for, run forwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acsrecipe.demo.geometry import PRESCAN, Window
from acsrecipe.demo.modes import CYCLE24_MJD, Mode

GAIN_PER_COMMANDED = {"A": 1.002, "B": 0.974, "C": 1.011, "D": 0.995}
"""Electrons a data number, over CCDGAIN."""
READ_NOISE = {"A": 4.9, "B": 4.7, "C": 5.1, "D": 4.8}
"""Electrons."""
BIAS_LEVEL = {"A": 2241.0, "B": 2256.0, "C": 2237.0, "D": 2249.0}
"""Data numbers."""
OVERHEAD_FLASHED, OVERHEAD_UNFLASHED = 5.5, 2.7
"""Seconds of dark current beyond DARKTIME (CCDTAB: OVRHFLS, OVRHUFLS)."""
DRIFT = 0.15
"""Data numbers by which the bias level rises from the first to the last row, before SM4."""
STRIPE_SIGMA = 1.2
"""Electrons of the row-wise 1/f noise that all amplifiers share, after SM4."""

CROSS_TALK = 9.1e-5
"""What calacs adds of the mirrored half of a chip (cross_talk_corr)."""
_PIXEL_RATE = 1000.0 / 22.0
_GAP = 146
_DC_RATIO = 0.3
_TAU = {"A": 37.290251, "B": 36.180001, "C": 37.867770, "D": 42.461249}
_DSI = {"A": 2.9188919e-3, "B": 10.805754e-3, "C": 12.432145e-3, "D": 3.8596253e-3}
"""The bias shift's constants (ACS ISR 2012-02, and calacs)."""

_FLIPS = {"A": (-1, 1), "B": (-1, -1), "C": (1, 1), "D": (1, -1)}


def dark_seconds(mode: Mode) -> float:
    """Seconds for which dark current is collected: DARKTIME and the overhead that calacs adds to it."""
    overhead = OVERHEAD_FLASHED if mode.flashdur else OVERHEAD_UNFLASHED
    late = mode.expstart >= CYCLE24_MJD if mode.is_subarray else mode.after_sm4
    return mode.exptime + mode.flashdur + (overhead if late else 0.0)


def is_bias_shifted(mode: Mode) -> bool:
    """Tell whether calacs will take the bias shift out: after SM4, DS_int, gain 2, and virtual overscan is there."""
    fits_readout = mode.readout in ("full", "2K")
    return mode.after_sm4 and mode.jwrotype == "DS_int" and mode.ccdgain == 2 and fits_readout


def draw_stripes(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Draw the common noise, one value for each row in the order of readout (one more to interpolate to). Electrons."""
    return rng.normal(0.0, STRIPE_SIGMA, rows + 1)


def read_out(
    collected: NDArray[np.float32],
    bias: NDArray[np.float32],
    window: Window,
    mode: Mode,
    stripes: NDArray[np.float64] | None,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Read a chip: overscans, cross talk, stripes, read noise, bias shift, gain, bias level, digitisation.

    Parameters
    ----------
    collected : ndarray
        (ny, nx) float32, electrons in the illuminated pixels of the chip.
    bias : ndarray
        Raw frame of the chip, float32, data numbers: the structure of the bias, without its level.
    window : Window
        What is read.
    mode : Mode
    stripes : ndarray or None
        From `draw_stripes`, the same for both chips.
    rng : Generator

    Returns
    -------
    ndarray
        (window.ny, window.nx) uint16, data numbers.
    """
    ny, nx = collected.shape
    first = window.y0 + window.ltv[1]
    frame = np.zeros(window.geometry.raw_shape, dtype=np.float32)
    frame[first : first + ny, PRESCAN : PRESCAN + nx] = collected
    shifted = is_bias_shifted(mode)
    if shifted and not mode.is_subarray:
        frame -= np.float32(CROSS_TALK) * frame[:, ::-1]
    for amp, columns in window.amp_columns():
        part = frame[:, columns]
        gain = mode.ccdgain * GAIN_PER_COMMANDED[amp]
        part += np.float32(READ_NOISE[amp]) * rng.standard_normal(part.shape, dtype=np.float32)
        part += np.float32(BIAS_LEVEL[amp] * gain)
        if mode.after_sm4:
            # Seen from the amplifier: its own corner is read first.
            flip_y, flip_x = _FLIPS[amp]
            seen = part[::flip_y, ::flip_x]
            if stripes is not None:
                seen += _spread_stripes(stripes, seen.shape)
            if shifted:
                half = slice(0, PRESCAN + window.geometry.amp_nx)
                seen[:, half] = _shift_bias(seen[:, half], amp)
        else:
            part += np.linspace(0.0, DRIFT * gain, part.shape[0], dtype=np.float32)[:, None]
        part /= np.float32(gain)
    frame += bias
    return np.clip(np.rint(frame[window.raw]), 0, 65535).astype(np.uint16)


def _spread_stripes(stripes: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Interpolate in readout time, as the destriping of calacs does: a row's value holds at the prescan's middle."""
    rows, columns = shape
    along = ((np.arange(columns) - (PRESCAN - 1) / 2) / (columns + _GAP)).astype(np.float32)
    here, later = (stripes[start : start + rows, None].astype(np.float32) for start in (0, 1))
    spread: NDArray[np.float32] = here + (later - here) * along
    return spread


def _shift_bias(level: NDArray[np.float32], amp: str) -> NDArray[np.float32]:
    """Undo what calacs does against the bias shift: find y with ``level = (y - s d') - (10/22) (d' - d)``.

    d is the true bias level before a pixel and ``d' = 0.3 f y + (1 - f) d`` after it, for pixels in the order of
    readout with 146 gap pixels behind each row. That is a first-order recursion, linear in d; within a row it is
    summed at once, from row to row one at a time.

    Parameters
    ----------
    level : ndarray
        (ny, nx) float32, electrons, the amplifier at [0, 0].
    amp : str
    """
    ny, nx = level.shape
    factor = 1.0 - np.exp(-1.0 / (_TAU[amp] * _PIXEL_RATE))
    s, weight = _DSI[amp], 10.0 / 22.0
    a = 1.0 - (s + weight) * _DC_RATIO * factor
    b = (s + weight) * (1.0 - factor) - weight
    gain = _DC_RATIO * factor / a
    keep = gain * b + 1.0 - factor
    gap = float(level[-8:, PRESCAN // 2 : PRESCAN].mean()) / (1.0 - _DC_RATIO * s)
    decay = keep ** np.arange(1, nx + 1)
    own = np.cumsum(level.astype(np.float64) * (gain / decay), axis=1) * decay
    # During the gap the level seen is that of the overscan, as it comes out of the electronics.
    gap_keep = (1.0 - factor) ** _GAP
    gap_add = _DC_RATIO * gap * (1.0 - gap_keep)
    start = np.empty(ny)
    value = _DC_RATIO * gap
    for row in range(ny):
        start[row] = value
        value = (value * decay[-1] + own[row, -1]) * gap_keep + gap_add
    before = np.empty((ny, nx))
    before[:, 0] = start
    before[:, 1:] = own[:, :-1] + start[:, None] * decay[:-1]
    out: NDArray[np.float32] = ((level + b * before) / a).astype(np.float32)
    return out
