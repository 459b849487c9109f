"""Smooth an image as far as its read noise allows, so that the inversion does not amplify the noise.

The rule is `cteSmoothImage` of HSTCAL's ctegen2 (Anderson & Bedin 2010; ACS ISR 2018-04): each pixel is drawn to its
neighbours in the column, to the sum over 3 x 3 pixels, and back to its own value, in steps of 0.75, until the
rms of what was taken away has reached the read noise, or 100 steps are done.
"""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Doubles, Image, compiled

MOST_STEPS = 100
ENOUGH = 0.00001  # electrons of rms
COUNTED = np.float32(0.1)  # electrons; the least float32 that is above 0.1
LEAST_NOISE = 0.1  # electrons; below it there is nothing to smooth


@compiled
def _pull(difference: float, limit: float) -> float:
    if difference > limit:
        return limit
    if difference < -limit:
        return -limit
    return difference


@compiled
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


@compiled
def _pulls(old: Image, pulls: Doubles, noise2: float, limit: float) -> None:
    """Work out how much each row pulls the row before it: ``pulls[k]`` from row k + 1 to row k.

    The row before pulls back with the same number, but for its sign, exactly: one division serves both.
    """
    lower, upper = old[:-1], old[1:]
    for k in range(lower.size):
        difference = np.float64(upper[k]) - np.float64(lower[k])
        weight = 4.0 * noise2 / (difference * difference + 4.0 * noise2)
        pulls[k] = _pull(difference, limit) * weight * 0.25


@compiled
def _inner_rows(
    o0: Image,
    o1: Image,
    o2: Image,
    r0: Image,
    r1: Image,
    r2: Image,
    answer: Image,
    pulls: Doubles,
    squares: Doubles,
    noise2: float,
    limit: float,
) -> int:
    """Smooth rows 1 to n - 1 of the middle column (o1, r1) of three, and account for them as `_account` does."""
    rows = answer.size - 2
    a0, b0, c0 = o0[:rows], o0[1 : rows + 1], o0[2:]
    a1, b1, c1 = o1[:rows], o1[1 : rows + 1], o1[2:]
    a2, b2, c2 = o2[:rows], o2[1 : rows + 1], o2[2:]
    d0, e0, f0 = r0[:rows], r0[1 : rows + 1], r0[2:]
    d1, e1, f1 = r1[:rows], r1[1 : rows + 1], r1[2:]
    d2, e2, f2 = r2[:rows], r2[1 : rows + 1], r2[2:]
    down, up = pulls[:rows], pulls[1 : rows + 1]
    out = answer[1 : rows + 1]
    sums = squares[1 : rows + 1]
    counted = 0
    for k in range(rows):
        here = np.float64(e1[k])
        seen = np.float64(b1[k])
        # One running sum in this order: another order may round differently.
        nine = np.float64(a1[k]) - np.float64(d1[k]) + seen - here + np.float64(c1[k]) - np.float64(f1[k])
        nine = nine + np.float64(a0[k]) - np.float64(d0[k]) + np.float64(b0[k]) - np.float64(e0[k])
        nine = nine + np.float64(c0[k]) - np.float64(f0[k]) + np.float64(a2[k]) - np.float64(d2[k])
        nine = nine + np.float64(b2[k]) - np.float64(e2[k]) + np.float64(c2[k]) - np.float64(f2[k])
        nine = nine / 9.0
        own = seen - here
        w0 = own * own / (own * own + 4.0 * noise2)
        w9 = nine * nine / (nine * nine + 18.0 * noise2)
        change = _pull(own, 1.0) * w0 * 0.25 + _pull(nine, limit) * w9 * 0.25 - down[k] + up[k]
        after = np.float32(here + np.float64(np.float32(change)) * 0.75)
        out[k] = after
        counts = abs(b1[k]) >= COUNTED or abs(after) >= COUNTED
        taken = np.float64(b1[k] - after)
        sums[k] += taken * taken if counts else 0.0
        counted += 1 if counts else 0
    return counted


@compiled
def _edge_column(observed: Image, old: Image, answer: Image, noise2: float, limit: float) -> None:
    rows = answer.size
    for i in range(rows):
        here = np.float64(old[i])
        below = np.float64(old[i - 1]) if i > 0 else here
        above = np.float64(old[i + 1]) if i < rows - 1 else here
        change = _edge_row(np.float64(observed[i]), here, below, above, noise2, limit)
        answer[i] = np.float32(here + np.float64(np.float32(change)) * 0.75)


@compiled
def _account(observed: Image, answer: Image, squares: Doubles, i: int) -> int:
    """Add the square of what was taken from row i to `squares`; answer whether the pixel counts."""
    if abs(observed[i]) >= COUNTED or abs(answer[i]) >= COUNTED:
        taken = np.float64(observed[i] - answer[i])
        squares[i] += taken * taken
        return 1
    return 0


@compiled
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
    counted = 0
    for c in range(first, last):
        answer = new[c]
        if c in (0, columns - 1):
            _edge_column(observed[c], old[c], answer, noise2, limit)
            for i in range(rows):
                counted += _account(observed[c], answer, squares, i)
        else:
            _pulls(old[c], pulls, noise2, limit)
            counted += _inner_rows(
                observed[c - 1],
                observed[c],
                observed[c + 1],
                old[c - 1],
                old[c],
                old[c + 1],
                answer,
                pulls,
                squares,
                noise2,
                limit,
            )
            for i in (0, rows - 1):
                here = np.float64(old[c, i])
                below = np.float64(old[c, i - 1]) if i > 0 else here
                above = np.float64(old[c, i + 1]) if i < rows - 1 else here
                change = _edge_row(np.float64(observed[c, i]), here, below, above, noise2, limit)
                answer[i] = np.float32(here + np.float64(np.float32(change)) * 0.75)
                counted += _account(observed[c], answer, squares, i)
    return squares.sum(), counted
