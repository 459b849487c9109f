"""Cosmic-ray rejection and combination of exposures of one pointing (CR-SPLIT, RPT-OBS).

Source: ACS Data Handbook 3.4 (ACSREJ). A stack of ``n`` trimmed chips, ``(n, ny, nx)`` electrons, becomes one.
All arithmetic is in single precision and in calacs's order, line by line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.compiled import Flags, Image, compiled
from acsrecipe.engines.embedded.rejection import Rejection

REJECTED = 8192

# Marks of the working mask. They share their values with DQ bits that the input may carry, as in calacs.
_SPILL, _EXCLUDED, _HIT = 2, 4, 8

_LEAST, _FEWEST_BINS, _MOST_BINS = -15000, 1000, 10000


@compiled
def _range(sci: Image, dq: Flags, bad: int) -> tuple[np.float32, np.float32, int]:
    """Give minimum, sequential single-precision sum, and count of the pixels without bad bits."""
    least, total, count = np.float32(2147483647.0), np.float32(0), 0
    for j in range(sci.shape[0]):
        for i in range(sci.shape[1]):
            if not dq[j, i] & bad:
                least = min(sci[j, i], least)
                total = total + sci[j, i]
                count += 1
    return least, total, count


@compiled
def _histogram(sci: Image, dq: Flags, least: np.float32, width: np.float32, bins: int) -> NDArray[np.int64]:
    counts = np.zeros(bins, np.int64)
    for j in range(sci.shape[0]):
        for i in range(sci.shape[1]):
            if dq[j, i] == 0:
                place = (sci[j, i] - least) / width
                if abs(place) < 2147483647:
                    h = int(place)
                    if 0 <= h < bins:
                        counts[h] += 1
    return counts


def _mode(counts: NDArray[np.int64], width: np.float32, least: np.float32) -> np.float32:
    """Find the mode of a histogram by a parabola through its peak."""
    peak = int(counts.argmax())
    if peak == 0:
        return np.float32(float(least) + 0.5 * float(width))
    if peak == counts.size - 1:
        return np.float32(float(least) + (counts.size - 0.5) * float(width))
    left = np.float32(counts[peak] - counts[peak - 1])
    right = np.float32(counts[peak] - counts[peak + 1])
    curvature = left + right
    if abs(curvature) < 1e-20:
        return np.float32(float(least) + (peak + 0.5) * float(width))
    place = np.float32(peak + 0.5 + 0.5 * float(left - right) / float(curvature))
    return np.float32(least + place * width)


def find_skies(sci: list[Image], dq: list[Flags], rejection: Rejection) -> list[float]:
    """Give each image's sky, the mode of its unflagged pixels, electrons, single precision; 0 for SKYSUB none.

    The histogram's range comes from the first image.
    """
    if rejection.sky == "none":
        return [0.0] * len(sci)
    least, total, count = _range(sci[0], dq[0], rejection.badinpdq)
    low = max(int(least), _LEAST)
    mean = int(float(np.float32(total) / np.float32(max(count, 1))) + 1) if total > 0 else 1
    bins = 2 * mean - low + 1
    width = np.float32(1)
    if bins < _FEWEST_BINS:
        bins = _FEWEST_BINS
    elif bins > _MOST_BINS:
        width = np.float32(bins) / np.float32(_MOST_BINS)
        bins = _MOST_BINS
    base = np.float32(low)
    return [
        float(_mode(_histogram(image, flags, base, width, bins), width, base))
        for image, flags in zip(sci, dq, strict=True)
    ]


@compiled
def guess_median(sci: Image, dq: Flags, times: Image, skies: Image, bad: int) -> Image:
    """Give the median count rate of good pixels over a stack; 0 where there is none.

    Parameters
    ----------
    sci, dq : (n, ny, nx)
        Electrons, flags.
    times, skies : (n,) float32
        Seconds and electrons; images of 0 seconds are left out.
    bad : int
        DQ bits that keep a pixel out.

    Returns
    -------
    (ny, nx) float32, electrons per second
    """
    n, ny, nx = sci.shape
    result = np.zeros((ny, nx), np.float32)
    stack = np.empty(n, np.float32)
    for j in range(ny):
        for i in range(nx):
            count = 0
            for k in range(n):
                if times[k] > 0 and not dq[k, j, i] & bad:
                    value = (sci[k, j, i] - skies[k]) / times[k]
                    place = count
                    while place > 0 and stack[place - 1] > value:
                        stack[place] = stack[place - 1]
                        place -= 1
                    stack[place] = value
                    count += 1
            if count:
                if count % 2:
                    result[j, i] = stack[count // 2]
                else:
                    total = stack[count // 2 - 1] + stack[count // 2]
                    result[j, i] = total / np.float32(2)
    return result


@compiled
def guess_minimum(sci: Image, dq: Flags, times: Image, skies: Image, bad: int) -> Image:
    """Give the minimum count rate over a stack, in the way calacs takes it.

    A pixel that is bad where it is smallest becomes 0. Parameters as for `guess_median`.
    """
    n, ny, nx = sci.shape
    result = np.zeros((ny, nx), np.float32)
    for k in range(n):
        for j in range(ny):
            for i in range(nx):
                value = np.float32(0)
                if times[k] > 0:
                    value = (sci[k, j, i] - skies[k]) / times[k]
                if k == 0 or value < result[j, i]:
                    good = times[k] > 0 and not dq[k, j, i] & bad
                    result[j, i] = value if good else np.float32(0)
    return result


@compiled
def _reject_once(
    sci: Image,
    err: Image,
    mask: Flags,
    times: Image,
    skies: Image,
    average: Image,
    error: Image,
    flags: Flags,
    hits: NDArray[np.bool_],
    sigma: np.float32,
    spill: np.float32,
    radius: np.float32,
    scale: np.float32,
    left_out: int,
    bad: int,
    last: bool,
) -> int:
    """Go through all lines once: find hits, average what is left. See `combine` for the arrays.

    ``mask`` starts as the stack's DQ and ends as marks; in the last round ``error``, ``flags`` and ``hits`` are set.
    """
    n, ny, nx = sci.shape
    width = math.ceil(radius)
    reach = radius * radius
    sigma2 = sigma * sigma
    spill2 = spill * spill
    if spill <= 0:
        spill2 = np.float32(-1)
    total_time = np.float32(0)
    for k in range(n):
        total_time = total_time + times[k]
    rejected = 0
    dq_line = np.empty(nx, np.int16)
    threshold = np.empty((n, width + 1, nx), np.float32)
    spill_limit = np.empty((n, width + 1, nx), np.float32)
    sums, seconds, squares = np.empty(nx, np.float32), np.empty(nx, np.float32), np.empty(nx, np.float32)
    both = np.empty(nx, np.int16)
    for line in range(ny):
        # The limits of a line are computed when it comes within reach, with the average of the round before.
        first = line + width if line else 0
        for row in range(first, min(line + width + 1, ny)):
            slot = row % (width + 1)
            for k in range(n):
                if times[k] <= 0:
                    continue
                time2 = times[k] * times[k]
                for i in range(nx):
                    variance = err[k, row, i] * err[k, row, i]
                    signal = average[row, i] * times[k]
                    if not signal > 0:
                        signal = np.float32(0)
                    part = scale * signal
                    threshold[k, slot, i] = sigma2 * (variance + part * part) / time2
                    spill_limit[k, slot, i] = sigma2 * variance / time2
        sums[:] = 0
        seconds[:] = 0
        squares[:] = 0
        both[:] = 0
        if last:
            flags[line, :] = REJECTED
        here = line % (width + 1)
        for k in range(n):
            time, sky = times[k], skies[k]
            if not time > 0:
                continue
            for i in range(nx):
                dq_line[i] = mask[k, line, i]
                if dq_line[i] & bad and dq_line[i] != _SPILL:
                    mask[k, line, i] = _EXCLUDED
            for i in range(nx):
                rate = (sci[k, line, i] - sky) / time
                away = rate - average[line, i]
                if not (away * away > threshold[k, here, i] and mask[k, line, i] != _EXCLUDED):
                    continue
                mask[k, line, i] = _HIT
                # Lines below are done with; only this one and those above can still take a mark.
                for jj in range(line, min(line + width + 1, ny)):
                    dy = jj - line
                    slot = jj % (width + 1)
                    for ii in range(max(i - width, 0), min(i + width + 1, nx)):
                        if np.float32((ii - i) * (ii - i) + dy * dy) > reach:
                            continue
                        beside = (sci[k, jj, ii] - sky) / time - average[jj, ii]
                        if beside * beside <= spill2 * spill_limit[k, slot, ii]:
                            continue
                        if mask[k, jj, ii] != _HIT:
                            mask[k, jj, ii] = _SPILL
            for i in range(nx):
                if not mask[k, line, i] & left_out:
                    rate = (sci[k, line, i] - sky) / time
                    sums[i] = sums[i] + rate * time
                    seconds[i] = seconds[i] + time
                    squares[i] = squares[i] + err[k, line, i] * err[k, line, i]
            if last:
                for i in range(nx):
                    value = (dq_line[i] | both[i]) & ~np.int16(REJECTED) & ~np.int16(_SPILL)
                    combined = value | flags[line, i]
                    if mask[k, line, i] == _HIT or mask[k, line, i] == _SPILL:
                        value = value | np.int16(REJECTED)
                        hits[k, line, i] = True
                        rejected += 1
                    else:
                        combined = combined & ~np.int16(REJECTED)
                    both[i] = value
                    flags[line, i] = combined
        for i in range(nx):
            if seconds[i] > 0:
                average[line, i] = sums[i] / seconds[i]
                if last:
                    error[line, i] = np.float32(np.float64(total_time / seconds[i]) * math.sqrt(np.float64(squares[i])))
            elif last:
                average[line, i] = 0
                error[line, i] = 0
    return rejected


@dataclass(frozen=True)
class Combined:
    """A stack made one.

    Attributes
    ----------
    sci, err : (ny, nx) float32
        Electrons per second without sky (to be scaled by the total time), and electrons.
    dq : (ny, nx) int16
    hits : (n, ny, nx) bool
        Where a cosmic ray, or its neighbourhood, was found in each image.
    rejected : int
        How many those are.
    """

    sci: Image
    err: Image
    dq: Flags
    hits: NDArray[np.bool_]
    rejected: int


def combine(
    sci: Image, err: Image, dq: Flags, times: Image, skies: Image, rejection: Rejection, *, calibration_frame: bool
) -> Combined:
    """Reject cosmic rays from a stack and average it.

    Parameters
    ----------
    sci, err, dq : (n, ny, nx)
        Electrons and flags of one chip in all exposures; not changed.
    times, skies : (n,) float32
        Seconds and electrons; an image of 0 seconds is left out.
    rejection : Rejection
    calibration_frame : bool
        For IMAGETYP BIAS and DARK: pixels with DQ bit 4 are combined like any other.
    """
    bad, left_out = rejection.badinpdq, _HIT | _SPILL | _EXCLUDED
    if calibration_frame:
        bad, left_out = bad & ~_EXCLUDED, _HIT | _SPILL
    guess = guess_median if rejection.initial.startswith("med") else guess_minimum
    average = guess(sci, dq, times, skies, rejection.badinpdq)
    shape = average.shape
    error, flags, hits = np.zeros(shape, np.float32), np.zeros(shape, np.int16), np.zeros(sci.shape, np.bool_)
    scale = np.float32(float(np.float32(rejection.scalense)) / 100.0)
    rejected = 0
    for round_, sigma in enumerate(rejection.thresholds):
        rejected = _reject_once(
            sci,
            err,
            dq.copy(),
            times,
            skies,
            average,
            error,
            flags,
            hits,
            np.float32(sigma),
            np.float32(rejection.spill),
            np.float32(rejection.radius),
            scale,
            left_out,
            bad,
            round_ == len(rejection.thresholds) - 1,
        )
    return Combined(average, error, flags, hits, rejected)
