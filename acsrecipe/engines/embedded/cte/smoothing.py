"""Smooth an image as far as its read noise allows, so that the inversion does not amplify the noise.

The rule is `cteSmoothImage` of HSTCAL's ctegen2 (Anderson & Bedin 2010; ACS ISR 2018-04): each pixel is drawn to its
neighbours in the column, to the sum over 3 x 3 pixels, and back to its own value, in steps of 0.75, until the
rms of what was taken away has reached the read noise, or 100 steps are done.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.compiled import Doubles, Image
from acsrecipe.engines.embedded.compiling import jitted

MOST_STEPS = 100
ENOUGH = 0.00001  # electrons of rms
COUNTED = np.float32(0.1)  # electrons; the least float32 that is above 0.1
SPREAD = 24  # between exponents: 24 bits of float32, 5 for the sum of 18, are the 53 of float64
NOT_FINITE = 0xFF  # the exponent of infinity and NaN
WIDEST = 0xFF01  # a range that is never exact
LEAST_NOISE = 0.1  # electrons; below it there is nothing to smooth


@jitted
def _pull(difference: float, limit: float) -> float:
    if difference > limit:
        return limit
    if difference < -limit:
        return -limit
    return difference


@jitted
def _edge_row(observed: float, here: float, below: float, above: float, noise2: float, limit: float) -> float:
    """Find the adjustment of a pixel without a 3 x 3 neighbourhood."""
    own = observed - here
    down = below - here
    up = above - here
    w0 = own * own / (own * own + 4.0 * noise2)
    w1 = 4.0 * noise2 / (down * down + 4.0 * noise2)
    w2 = 4.0 * noise2 / (up * up + 4.0 * noise2)
    # The term of the 3 x 3 sum is 0 here; adding it changes nothing.
    return _pull(own, 1.0) * w0 * 0.25 + _pull(down, limit) * w1 * 0.25 + _pull(up, limit) * w2 * 0.25


@jitted
def _pulls(old: Image, pulls: Doubles, noise2: float, limit: float) -> None:
    """Work out how much each row pulls the row before it: ``pulls[k]`` from row k + 1 to row k.

    The row before pulls back with the same number, but for its sign, exactly: one division serves both.
    """
    lower, upper = old[:-1], old[1:]
    for k in range(lower.size):
        difference = np.float64(upper[k]) - np.float64(lower[k])
        weight = 4.0 * noise2 / (difference * difference + 4.0 * noise2)
        pulls[k] = _pull(difference, limit) * weight * 0.25


@jitted
def _sums_of_three(observed: Image, old: Image, differences: Doubles, sums: Doubles) -> int:
    """Sum ``observed - old`` of each row and both its neighbours; answer by how many bits the column's values range.

    The range is that of the exponents of all values but 0; NaN and infinity count as the widest.
    """
    seen, here = observed.view(np.uint32), old.view(np.uint32)
    least = np.uint32(0xFFFFFFFF)
    most = np.uint32(0)
    for k in range(observed.size):
        differences[k] = np.float64(observed[k]) - np.float64(old[k])
        first = np.uint32(seen[k] & np.uint32(0x7FFFFFFF))
        second = np.uint32(here[k] & np.uint32(0x7FFFFFFF))
        most = max(most, max(first, second))
        least = min(least, min(np.uint32(first - np.uint32(1)), np.uint32(second - np.uint32(1))))  # 0 is the highest
    lower, middle, upper = differences[:-2], differences[1:-1], differences[2:]
    inner = sums[1:-1]
    for k in range(inner.size):
        inner[k] = lower[k] + middle[k] + upper[k]
    highest = int(np.int64(most)) >> 23
    lowest = (int(np.int64(least)) + 1) >> 23
    if highest == NOT_FINITE:
        return WIDEST
    return (highest << 8) | min(max(lowest, 1), highest)


@jitted
def _sums_in_order(o0: Image, o1: Image, o2: Image, r0: Image, r1: Image, r2: Image, nines: Doubles) -> None:
    """Sum ``observed - old`` over 3 x 3 pixels, value by value, rounding as calacs's order of them rounds."""
    rows = nines.size - 2
    a0, b0, c0 = o0[:rows], o0[1 : rows + 1], o0[2:]
    a1, b1, c1 = o1[:rows], o1[1 : rows + 1], o1[2:]
    a2, b2, c2 = o2[:rows], o2[1 : rows + 1], o2[2:]
    d0, e0, f0 = r0[:rows], r0[1 : rows + 1], r0[2:]
    d1, e1, f1 = r1[:rows], r1[1 : rows + 1], r1[2:]
    d2, e2, f2 = r2[:rows], r2[1 : rows + 1], r2[2:]
    inner = nines[1 : rows + 1]
    for k in range(rows):
        nine = np.float64(a1[k]) - np.float64(d1[k]) + np.float64(b1[k]) - np.float64(e1[k])
        nine = nine + np.float64(c1[k]) - np.float64(f1[k]) + np.float64(a0[k]) - np.float64(d0[k])
        nine = nine + np.float64(b0[k]) - np.float64(e0[k]) + np.float64(c0[k]) - np.float64(f0[k])
        nine = nine + np.float64(a2[k]) - np.float64(d2[k]) + np.float64(b2[k]) - np.float64(e2[k])
        inner[k] = nine + np.float64(c2[k]) - np.float64(f2[k])


@jitted
def _inner_rows(
    observed: Image,
    old: Image,
    answer: Image,
    nines: Doubles,
    pulls: Doubles,
    squares: Doubles,
    noise2: float,
    limit: float,
) -> int:
    """Smooth rows 1 to n - 1 of a column, and account for them as `_account` does."""
    rows = answer.size - 2
    seen, here = observed[1 : rows + 1], old[1 : rows + 1]
    down, up = pulls[:rows], pulls[1 : rows + 1]
    around = nines[1 : rows + 1]
    out = answer[1 : rows + 1]
    sums = squares[1 : rows + 1]
    counted = 0
    for k in range(rows):
        nine = around[k] / 9.0
        before = np.float64(here[k])
        own = np.float64(seen[k]) - before
        w0 = own * own / (own * own + 4.0 * noise2)
        w9 = nine * nine / (nine * nine + 18.0 * noise2)
        change = _pull(own, 1.0) * w0 * 0.25 + _pull(nine, limit) * w9 * 0.25 - down[k] + up[k]
        after = np.float32(before + np.float64(np.float32(change)) * 0.75)
        out[k] = after
        counts = abs(seen[k]) >= COUNTED or abs(after) >= COUNTED
        taken = np.float64(seen[k] - after)
        sums[k] += taken * taken if counts else 0.0
        counted += 1 if counts else 0
    return counted


@jitted
def _edge_column(observed: Image, old: Image, answer: Image, noise2: float, limit: float) -> None:
    rows = answer.size
    for i in range(rows):
        here = np.float64(old[i])
        below = np.float64(old[i - 1]) if i > 0 else here
        above = np.float64(old[i + 1]) if i < rows - 1 else here
        change = _edge_row(np.float64(observed[i]), here, below, above, noise2, limit)
        answer[i] = np.float32(here + np.float64(np.float32(change)) * 0.75)


@jitted
def _account(observed: Image, answer: Image, squares: Doubles, i: int) -> int:
    """Add the square of what was taken from row i to `squares`; answer whether the pixel counts."""
    if abs(observed[i]) >= COUNTED or abs(answer[i]) >= COUNTED:
        taken = np.float64(observed[i] - answer[i])
        squares[i] += taken * taken
        return 1
    return 0


@jitted
def smooth_columns(observed: Image, old: Image, new: Image, first: int, last: int, noise: float) -> tuple[float, int]:
    """Take one step in columns `first` to `last`, from `old` to `new`.

    Parameters
    ----------
    observed, old, new : (columns, rows) float32, electrons
        At least three columns and two rows.
    first, last : int
        The columns to do; their neighbours are read in `old`.
    noise : float
        Read noise, electrons.

    Returns
    -------
    float, int
        The sum of squares of ``observed - new`` over pixels with either above 0.1 in absolute value, and their number.
    """
    columns, rows = observed.shape
    noise2 = noise * noise
    limit = noise * 0.33
    squares = np.zeros(rows)
    pulls = np.empty(rows)
    nines = np.empty(rows)
    differences = np.empty(rows)
    sums = np.empty((3, rows))  # of three rows each, of three columns in turn
    ranges = np.zeros(3, np.int64)
    counted = 0
    ready = first - 1  # columns before this one have their sums
    for c in range(first, last):
        answer = new[c]
        if c in (0, columns - 1):
            _edge_column(observed[c], old[c], answer, noise2, limit)
            for i in range(rows):
                counted += _account(observed[c], answer, squares, i)
        else:
            ready = max(ready, c - 1)
            while ready <= c + 1:
                ranges[ready % 3] = _sums_of_three(observed[ready], old[ready], differences, sums[ready % 3])
                ready += 1
            if _exact(ranges):
                for i in range(rows):
                    nines[i] = sums[0, i] + sums[1, i] + sums[2, i]
            else:
                _sums_in_order(observed[c - 1], observed[c], observed[c + 1], old[c - 1], old[c], old[c + 1], nines)
            _pulls(old[c], pulls, noise2, limit)
            counted += _inner_rows(observed[c], old[c], answer, nines, pulls, squares, noise2, limit)
            for i in (0, rows - 1):
                here = np.float64(old[c, i])
                below = np.float64(old[c, i - 1]) if i > 0 else here
                above = np.float64(old[c, i + 1]) if i < rows - 1 else here
                change = _edge_row(np.float64(observed[c, i]), here, below, above, noise2, limit)
                answer[i] = np.float32(here + np.float64(np.float32(change)) * 0.75)
                counted += _account(observed[c], answer, squares, i)
    return squares.sum(), counted


@jitted
def _exact(ranges: NDArray[np.int64]) -> bool:
    """Whether 18 values, at most 2^(highest + 1) and all multiples of 2^(lowest - 23), sum up without rounding."""
    highest = 0
    lowest = NOT_FINITE
    for k in range(ranges.size):
        highest = max(highest, int(ranges[k]) >> 8)
        lowest = min(lowest, int(ranges[k]) & 0xFF)
    return highest - lowest <= SPREAD
