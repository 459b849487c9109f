"""BLEVCORR, the straight-line method: bias level per line from the physical overscan.

Used for every exposure before Servicing Mission 4 and for subarrays that the bias shift can't be computed
for (ACS Data Handbook 3.4.4). Columns and lines count from 0; values are electrons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from acsrecipe.engines.embedded.compiled import Doubles, Flags, Image, compiled
from acsrecipe.engines.embedded.frame import AMPLIFIERS, LineLevels, Observation
from acsrecipe.engines.embedded.tables import CcdParameters, OverscanRegions

# The line is singular when the sum of squares is below the smallest normal single-precision number.
_TINY = float(np.finfo(np.float32).tiny)


@compiled
def _median(values: Doubles, count: int) -> float:
    """Sort the first ``count`` values in place and give the median; of an even count, the mean of two."""
    for i in range(1, count):
        value = values[i]
        k = i
        while k > 0 and values[k - 1] > value:
            values[k] = values[k - 1]
            k -= 1
        values[k] = value
    middle: float = values[count // 2]
    if count % 2 == 0:
        middle = (values[count // 2 - 1] + middle) / 2.0
    return middle


def line_medians(
    sci: Image, dq: Flags, first: int, count: int, a1: int, a2: int, b1: int, b2: int, serious: int, medians: Doubles
) -> None:
    """Take the median of each line's overscan pixels.

    Parameters
    ----------
    sci, dq : (ny, nx)
    first, count : int
        Lines.
    a1, a2, b1, b2 : int
        First and last column of two sections; a2 = 0 or b1 = 0 means that there is none.
    medians : (count,) float64
        Set; NaN where no pixel is free of serious flags.
    """
    values = np.empty(max(a2 - a1 + 1, 0) + max(b2 - b1 + 1, 0) + 1)
    _line_medians(sci[first : first + count], dq[first : first + count], a1, a2, b1, b2, serious, values, medians)


@compiled
def _line_medians(
    sci: Image, dq: Flags, a1: int, a2: int, b1: int, b2: int, serious: int, values: Doubles, medians: Doubles
) -> None:
    for j in range(sci.shape[0]):
        n = 0
        if a2 != 0:
            for i in range(a1, a2 + 1):
                if not dq[j, i] & serious:
                    values[n] = sci[j, i]
                    n += 1
        if b1 != 0:
            for i in range(b1, b2 + 1):
                if not dq[j, i] & serious:
                    values[n] = sci[j, i]
                    n += 1
        medians[j] = _median(values, n) if n else np.nan


def column_medians(sci: Image, dq: Flags, x1: int, x2: int, y1: int, y2: int, serious: int, medians: Doubles) -> None:
    """Take the median of each column's virtual overscan: columns x1 to x2, lines y1 to y2, both included."""
    _column_medians(sci, dq, x1, x2, y1, y2, serious, np.empty(y2 - y1 + 1), medians)


@compiled
def _column_medians(
    sci: Image, dq: Flags, x1: int, x2: int, y1: int, y2: int, serious: int, values: Doubles, medians: Doubles
) -> None:
    for i in range(x1, x2 + 1):
        n = 0
        for j in range(y1, y2 + 1):
            if not dq[j, i] & serious:
                values[n] = sci[j, i]
                n += 1
        medians[i - x1] = _median(values, n) if n else np.nan


@compiled
def _clip_threshold(sigma: float, mean: float) -> float:
    # calacs takes the integer absolute value here, which cuts the fraction off the threshold.
    return float(abs(int(sigma + mean)))


def reject_high(levels: Doubles, readnoise: float) -> Doubles:
    """Find the lines fit to be used: one-sided clipping, first by scatter, then by read noise.

    Parameters
    ----------
    levels : (n,) float64
        Medians; NaN where there is none.
    readnoise : float
        Of the amplifier, electrons, single precision.

    Returns
    -------
    (n,) float64
        1 where the line is used, else 0.
    """
    used = np.zeros(levels.size)
    _reject_high(levels, readnoise, used)
    return used


@compiled
def _reject_high(levels: Doubles, readnoise: float, used: Doubles) -> None:
    n = levels.size
    total, count = 0.0, 0
    for j in range(n):
        if levels[j] == levels[j]:
            used[j] = 1.0
            total += levels[j]
            count += 1
    if count == 0:
        return
    mean = total / count
    variance = 0.0
    for j in range(n):
        if used[j] == 1.0:
            deviation = levels[j] - mean
            variance += deviation * deviation
    sigma = math.sqrt(variance / (count - 1)) if count > 1 else np.nan
    poisson = math.sqrt(mean) if mean >= 0 else np.nan
    if sigma > poisson:
        sigma = poisson
    if sigma == sigma:
        threshold = _clip_threshold(3.0 * sigma, mean)
        for j in range(n):
            if levels[j] > threshold:
                used[j] = 0.0
    total, count = 0.0, 0
    for j in range(n):
        if used[j] != 0.0:
            total += levels[j]
            count += 1
    if count:
        mean = total / count
        threshold = _clip_threshold(np.float64(np.float32(3.0) * np.float32(readnoise)), mean)
        for j in range(n):
            if levels[j] > threshold:
                used[j] = 0.0


@dataclass(frozen=True)
class Line:
    """A straight line ``slope * (line - origin) + intercept``."""

    slope: float
    intercept: float
    origin: int


def _sums(levels: Doubles, used: Doubles, origin: int) -> tuple[float, float, float, float, float]:
    sums = np.empty(5)
    _sum_up(levels, used, origin, sums)
    n, sx, sy, sxy, sxx = sums.tolist()
    return n, sx, sy, sxy, sxx


@compiled
def _sum_up(levels: Doubles, used: Doubles, origin: int, sums: Doubles) -> None:
    n, sx, sy, sxy, sxx = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(levels.size):
        if used[j] == 1.0:
            x = float(j - origin)
            n += 1
            sx += x
            sy += levels[j]
            sxy += x * levels[j]
            sxx += x * x
    sums[0], sums[1], sums[2], sums[3], sums[4] = n, sx, sy, sxy, sxx


def fit_line(levels: Doubles, used: Doubles, default: float) -> Line:
    """Fit a line to the levels of the lines in use, unweighted; ``default`` where the fit is singular."""
    origin = levels.size // 2
    n, sx, sy, sxy, sxx = _sums(levels, used, origin)
    if n >= 1:
        spread = sxx - sx * sx / n
        if abs(spread) >= _TINY:
            xmean, ymean = sx / n, sy / n
            slope = (sxy - xmean * ymean * n) / spread
            return Line(slope, ymean - slope * xmean, origin)
    return Line(0.0, default, origin)


def fit_drift(sci: Image, dq: Flags, regions: OverscanRegions, serious: int) -> float | None:
    """Fit the slope of the bias along lines from the virtual overscan; None when there is none to fit."""
    (x1, x2), (y1, y2) = regions.vx, regions.vy
    if x2 <= x1 or y2 <= y1:
        return None
    medians = np.empty(x2 - x1 + 1)
    column_medians(sci, dq, x1, x2, y1, y2, serious, medians)
    used = (~np.isnan(medians)).astype(np.float64)
    n, sx, sy, sxy, sxx = _sums(medians, used, (x1 + x2) // 2 - x1)
    if n < 1:
        return None
    spread = sxx - sx * sx / n
    if spread == 0:
        return None
    slope: float = (sxy - sx / n * (sy / n) * n) / spread
    return slope


def line_levels(line: Line, first: int, last: int) -> Doubles:
    """Evaluate the line at image lines ``first`` to ``last``, not included: (last - first,) float64.

    The number that it is evaluated with counts from the image's first line, though the fit counts from the
    first trimmed one: 20 lines late on chip 1, as calacs does it.
    """
    numbers: Doubles = np.arange(first, last, dtype=np.float64) - line.origin
    return numbers * line.slope + line.intercept


@compiled
def subtract_levels(part: Image, levels: Doubles, drift: Doubles) -> None:
    """Subtract a level from each line, and what it drifts by along the lines, in place.

    Parameters
    ----------
    part : (ny, nx) float32
    levels : (ny,) float64
    drift : (nx,) float64
    """
    for j in range(part.shape[0]):
        line = part[j]
        for i in range(line.size):
            line[i] = np.float32(np.float64(line[i]) - levels[j] - drift[i])


@dataclass(frozen=True)
class OverscanResult:
    """What was subtracted.

    Attributes
    ----------
    levels : dict
        Amplifier (0 to 3) to its mean level, electrons.
    mean : float or None
        Mean over the chip's amplifiers; None when only CCDTAB's default was subtracted.
    drift : bool
        Whether a drift along lines was subtracted as well.
    lines : tuple of str
        For the trailer.
    """

    levels: dict[int, float]
    mean: float | None
    drift: bool
    lines: tuple[str, ...]


def default_amplifier(seen: Observation, chip: int) -> int:
    """Give the amplifier whose CCDTAB level stands in where the overscan gives none."""
    first = AMPLIFIERS.index(seen.ccdamp[0])
    return (first + 2 if len(seen.ccdamp) > 1 and chip == 2 else first) % 4


def _sections(regions: OverscanRegions, right: bool, alone: bool, width: int) -> tuple[int, int, int, int]:
    a, b = regions.section_a, regions.section_b
    if a[1] > 0 and b[1] > 0:
        near, far = (b, a) if right else (a, b)
        other = far if alone else (0, 0)
    else:
        near, other = (b if a[1] == 0 else a), (0, 0)
    return max(near[0], 0), min(near[1], width - 1), max(other[0], 0), min(other[1], width - 1)


def subtract_overscan(
    sci: Image,
    dq: Flags,
    regions: OverscanRegions | None,
    ccd: CcdParameters,
    seen: Observation,
    chip: int,
    serious: int,
    later: list[LineLevels] | None = None,
) -> OverscanResult:
    """Subtract the bias level of each amplifier from the illuminated part of a raw chip, in place.

    Parameters
    ----------
    sci, dq : (ny, nx)
        Electrons.
    regions : OverscanRegions or None
        None (no row in OSCNTAB): CCDTAB's level is subtracted everywhere.
    serious : int
        SDQFLAGS: overscan pixels with one of these bits are not used.
    later : list of LineLevels, optional
        Levels that need not be subtracted before the overscan is cut off are appended to it, instead.
    """
    stand_in = default_amplifier(seen, chip)
    default = np.float32(ccd.bias[stand_in]) * np.float32(ccd.gain[stand_in])
    if regions is None:
        sci -= default
        return OverscanResult({stand_in: float(default)}, None, False, ("no row in OSCNTAB: level from CCDTAB",))
    amps = [amp for amp in ("CD" if chip == 2 else "AB") if amp in seen.ccdamp]
    ny, nx = sci.shape
    levels: dict[int, float] = {}
    lines: list[str] = []
    total, drifted = 0.0, False
    for amp in amps:
        right = (ord(amp) - ord(amps[0])) % 2 == 1
        a1, a2, b1, b2 = _sections(regions, right, len(amps) == 1, nx)
        x1 = regions.trimx[0] + (ccd.ampx if right else 0)
        x2 = min(ccd.ampx + regions.trimx[0] if not right and ccd.ampx else nx - regions.trimx[1], nx)
        y1 = regions.trimy[0]
        y2 = min(ccd.ampy + regions.trimy[0] if ccd.ampy else ny - regions.trimy[1], ny)
        drift, average = np.zeros(max(x2 - x1, 0)), 0.0
        if regions.vy[0] > 0 or regions.vy[1] > 0:
            slope = fit_drift(sci, dq, regions, serious)
            drifted = slope is not None
            zero = (a1 + a2) / 2.0
            drift = (np.arange(x1, x2, dtype=np.float64) - zero) * (slope or 0.0)
            average = ((x2 - x1) / 2.0 - zero) * (slope or 0.0)
        medians = np.empty(y2 - y1)
        line_medians(sci, dq, regions.trimy[0], y2 - y1, a1, a2, b1, b2, serious, medians)
        index = AMPLIFIERS.index(amp)
        used = reject_high(medians, ccd.readnoise[index])
        fit = fit_line(medians, used, float(default))
        found = line_levels(fit, y1, y2)
        if later is None or drifted:
            subtract_levels(sci[y1:y2, x1:x2], found, drift)
        else:
            later.append(LineLevels((y1, y2, x1, x2), found))
        # One after the other, as calacs adds them.
        levels[index] = float(np.add.accumulate(found + average)[-1]) / (y2 - y1)
        total += levels[index]
        lines.append(
            f"amplifier {amp}: {int(used.sum())} of {used.size} lines used, slope {fit.slope:g}, "
            f"level {levels[index]:.6g} electrons"
        )
    return OverscanResult(levels, float(np.float32(total / len(amps))) if amps else None, drifted, tuple(lines))
