"""BLEVCORR of full frames after Servicing Mission 4: bias level and row-correlated noise (stripes).

Both come from the 24 columns of physical prescan of all four amplifiers, which share the noise (Grogin et
al., ACS ISR 2011-05). Values are electrons, double precision until stored; arrays have the amplifier at [0, 0].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.compiled import Doubles, Image, compiled

PRESCAN = 24
_VIRTUAL = 20


@compiled
def _mean_clipped(values: Doubles, count: int) -> float:
    """Give the mean of the first values, clipped four times at five standard deviations."""
    total = 0.0
    for i in range(count):
        total += values[i]
    mean = total / count
    square = 0.0
    for i in range(count):
        square += (values[i] - mean) * (values[i] - mean)
    sigma = math.sqrt(square / (count - 1))
    for _ in range(4):
        used, total, square = 0, 0.0, 0.0
        for i in range(count):
            if abs(values[i] - mean) <= 5.0 * sigma:
                total += values[i]
                square += (values[i] - mean) * (values[i] - mean)
                used += 1
        mean = total / used
        sigma = math.sqrt(square / (used - 1))
    return mean


@compiled
def _prescan(amp: Image, level: Doubles, scratch: Doubles) -> None:
    """Set ``level``, (rows, 24), to the prescan columns, each less its mean after taking out every row's own level.

    ``scratch`` is (3, rows or more) and at least 24.
    """
    rows = amp.shape[0]
    for i in range(rows):
        for j in range(24):
            level[i, j] = amp[i, j]
    lines, column, means = scratch[0], scratch[1], scratch[2]
    for i in range(rows):
        total = 0.0
        for j in range(12, 24):
            total += level[i, j]
        lines[i] = total / 12.0
    for j in range(24):
        count = 0
        for i in range(rows):
            near = False
            for k in range(24, 30):
                near = near or not amp[i, k] < 50000
            if not near:
                column[count] = level[i, j] - lines[i]
                count += 1
        means[j] = _mean_clipped(column, count)
    for i in range(rows):
        for j in range(24):
            level[i, j] = level[i, j] - means[j]


@compiled
def _good_rows(amp: Image, level: Doubles, good: NDArray[np.bool_], means: Doubles) -> None:
    """Mark the rows whose prescan is trustworthy: near the mean signal, and no saturated pixel beside it.

    ``means``, (rows,), is for the rows' signals.
    """
    rows, columns = amp.shape
    total = 0.0
    for i in range(rows - 20):
        for j in range(24):
            total += level[i, j]
    bias = total / ((rows - 20) * 24)
    # Two sums over the same pixels, each in order, one beside the other.
    total = 0.0
    for i in range(rows):
        lit = i < rows - 20
        reference = 0.0
        if i:
            for j in range(24):
                reference += level[i, j] + level[i - 1, j]
            reference /= 48
        line = 0.0
        if lit:
            for j in range(24, columns):
                total += amp[i, j] - bias
                line += amp[i, j] - reference
        else:
            for j in range(24, columns):
                line += amp[i, j] - reference
        means[i] = line / (columns - 24)
    signal = total / ((columns - 24) * (rows - 20))
    good[0] = False
    for i in range(1, rows):
        # calacs takes the integer absolute value, which cuts the fraction off.
        good[i] = abs(int(means[i] - signal)) <= 100
        for j in range(24, 30):
            if amp[i, j] > 70000:
                good[i] = False


@compiled
def _mean_of_good(level: Doubles, good: NDArray[np.bool_], use: NDArray[np.bool_]) -> float:
    """Give the mean prescan level, clipped at six times the mean absolute deviation, six to eleven times.

    ``use``, of the shape of ``level``, is for what clipping leaves.
    """
    rows = level.shape[0]
    now = 0
    for i in range(rows):
        for j in range(24):
            use[i, j] = good[i]
            now += good[i]
    passes = 0
    while True:
        last, now = now, 0
        passes += 1
        total = 0.0
        for j in range(24):
            for i in range(rows):
                if use[i, j]:
                    total += level[i, j]
                    now += 1
        mean = total / now if now else 0.0
        total = 0.0
        for j in range(24):
            for i in range(rows):
                if use[i, j]:
                    total += abs(level[i, j] - mean)
        deviation = total / now if now else 0.0
        now = 0
        for j in range(24):
            for i in range(rows):
                if use[i, j]:
                    if abs(level[i, j] - mean) > 6.0 * deviation:
                        use[i, j] = False
                    else:
                        now += 1
        if not (passes <= 5 or (passes <= 10 and now < last)):
            break
    total = 0.0
    for j in range(24):
        for i in range(rows):
            if use[i, j]:
                total += level[i, j]
    return total / now if now else 0.0


@compiled
def _average(levels: Doubles, good: NDArray[np.bool_], stripes: Doubles) -> None:
    """Set ``stripes`` to each row's level, averaged over the amplifiers where it is usable.

    0 where fewer than two are. ``levels`` is (4, rows, 24) with the mean taken out, ``good`` (4, rows).
    """
    rows = levels.shape[1]
    for i in range(rows):
        total, count = 0.0, 0
        for k in range(4):
            mean = 0.0
            for j in range(24):
                mean += levels[k, i, j]
            mean /= 24.0
            square = 0.0
            for j in range(24):
                square += (levels[k, i, j] - mean) * (levels[k, i, j] - mean)
            if math.sqrt(square / 23.0) >= 15:
                good[k, i] = False
            if good[k, i]:
                total += mean
                count += 1
        if count >= 2:
            stripes[i] = total / count
        else:
            stripes[i] = 0.0
            for k in range(4):
                good[k, i] = False


@compiled
def _subtract(amp: Image, level: Doubles, mean: float, stripes: Doubles, offsets: Doubles) -> None:
    """Subtract mean and stripes, in place; the stripe is interpolated in readout time.

    ``level`` is the prescan with the mean already taken out; ``offsets``, (columns,), is for the columns' times.
    """
    rows, columns = amp.shape
    for j in range(columns):
        offsets[j] = (j - 11.5) / (columns + 146)
    for i in range(rows):
        for j in range(columns):
            time = i + offsets[j]
            lower = math.floor(time)
            if lower < 0:
                lower = 0
            elif lower > rows - 2:
                lower = rows - 2
            stripe = stripes[lower] + (time - lower) * (stripes[lower + 1] - stripes[lower])
            value = level[i, j] if j < 24 else amp[i, j] - mean
            amp[i, j] = np.float32(value - stripe)


@dataclass(frozen=True)
class Destriped:
    """What was subtracted: mean level per amplifier A to D (electrons), rows mended and left alone."""

    levels: tuple[float, float, float, float]
    fixed: int
    skipped: int


def amplifier_view(sci: Image, amp: int) -> Image:
    """Give the half of a full-frame chip that one amplifier read, with the amplifier at [0, 0]."""
    width = sci.shape[1] // 2
    half = sci[:, :width] if amp in (0, 2) else sci[:, ::-1][:, :width]
    return half[::-1] if amp in (0, 1) else half


def subtract_stripes(chip2: Image, chip1: Image) -> Destriped:
    """Subtract bias level and stripes from both chips of a raw full frame, in place.

    Parameters
    ----------
    chip2, chip1 : (ny, nx) float32, electrons
        Untrimmed: amplifiers C and D, A and B.
    """
    amps = [amplifier_view(chip1 if amp < 2 else chip2, amp) for amp in range(4)]
    rows, columns = amps[0].shape
    scratch = np.empty((3, max(rows, PRESCAN)))
    use = np.empty((rows, PRESCAN), np.bool_)
    levels = np.empty((4, rows, PRESCAN))
    good = np.zeros((4, rows), np.bool_)
    means: list[float] = []
    for k, amp in enumerate(amps):
        _prescan(amp, levels[k], scratch)
        _good_rows(amp, levels[k], good[k], scratch[0])
        means.append(_mean_of_good(levels[k], good[k], use))
        levels[k] -= means[k]
    stripes, offsets = np.empty(rows), np.empty(columns)
    _average(levels, good, stripes)
    for k, amp in enumerate(amps):
        _subtract(amp, levels[k], means[k], stripes, offsets)
    fixed = int(good.any(axis=0).sum())
    return Destriped((means[0], means[1], means[2], means[3]), fixed, rows - fixed)
