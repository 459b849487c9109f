"""Simulate the readout of one column: which traps fill, and what they release into the pixels that follow.

The arithmetic is that of HSTCAL's ctegen2 (Anderson & Bedin 2010, PASP 122, 1035; ACS ISR 2012-03, 2018-04,
2024-07), operation by operation, so that the result is the same to the last bit:

for each trap w, from the highest level q[w] to the lowest, up the rows i of the column::

    if traps[i] < traps[i-1]: held *= traps[i] / traps[i-1]
    if pixel >= q[w]:     pixel += (release[w, n] * held + cumulated[w, n] * held) - taken     (n < length)
                          held = taken = size[w] * traps[i];  n = 0
    elif n < length:      pixel += release[w, n] * held;  n += 1

`readout_plain` is that and nothing else. `readout` gives the same bits in a fraction of the time, because

- whether a pixel is filled depends on its value before trap w alone, so 64 rows are asked at once, and
  blocks whose highest pixel is below q[w] are not visited;
- a trail is one multiple of a row of `release` added to at most `length` rows: vectors;
- a stretch of filled pixels depends on nothing but the rows themselves: vectors.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from acsrecipe.engines.embedded.cte.bits import LANES, block_max, count_bits, filled_mask, lowest_bit

Floats = NDArray[np.float64]

ALL_FILLED = -1  # an int64 with every bit set
MANY_RUNS = 12  # a block with more stretches than this is walked pixel by pixel


@njit(cache=True, nogil=True, error_model="numpy")
def readout_plain(
    pixels: Floats, rows: int, traps: Floats, q: Floats, size: Floats, release: Floats, cumulated: Floats, length: int
) -> None:
    """Simulate one readout in place, trap by trap and row by row.

    Parameters
    ----------
    pixels : (>= rows,) float64, electrons
        The column, readout at row 0; NaN pixels fill no trap and stay NaN.
    rows : int
        How many of them are pixels.
    traps : (>= rows,) float64
        Traps per pixel (the trap map, float32 values).
    q, size : (ntraps,) float64, electrons
        The level from which trap w fills, and how much it takes in one readout.
    release, cumulated : (ntraps, length + 1) float64
        What trap w releases n + 1 rows after it filled, and what is left then; the last column is 0.
    length : int
        Rows after which a trap is empty.
    """
    for w in range(q.size - 1, -1, -1):
        since = length
        held = 0.0
        for i in range(rows):
            if i > 0 and traps[i] < traps[i - 1]:
                held *= traps[i] / traps[i - 1]
            pixel = pixels[i]
            if pixel >= q[w]:
                taken = size[w] * traps[i]
                if since < length:
                    pixels[i] = pixel + ((release[w, since] * held + cumulated[w, since] * held) - taken)
                else:
                    pixels[i] = pixel - taken
                held = taken
                since = 0
            elif since < length:
                pixels[i] = pixel + release[w, since] * held
                since += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _trail(
    pixels: Floats, start: int, stop: int, falls: NDArray[np.int32], ratio: Floats, release: Floats, since: int, held: float
) -> float:
    """Add a trap's trail to rows start to stop (none of them filled); answer the charge as last rescaled."""
    i = start
    while i < stop:
        if falls[i] == i:
            held *= ratio[i]
        end = falls[i + 1]
        if end > stop:
            end = stop
        offset = since + (i - start)
        here = pixels[i:end]
        part = release[offset : offset + (end - i)]
        for k in range(here.size):
            here[k] += part[k] * held
        i = end
    return held


@njit(cache=True, nogil=True, error_model="numpy")
def _filled(pixels: Floats, start: int, stop: int, traps: Floats, ratio: Floats, size: float, r0: float, c0: float) -> None:
    """Pass rows start to stop, all filled, the row before them too: each gets what the row before left behind."""
    here = pixels[start:stop]
    below = traps[start - 1 : stop - 1]
    own = traps[start:stop]
    scale = ratio[start:stop]
    for k in range(here.size):
        held = (size * below[k]) * scale[k]
        here[k] += (r0 * held + c0 * held) - size * own[k]


@njit(cache=True, nogil=True, error_model="numpy")
def readout(
    pixels: Floats,
    highest: Floats,
    blocks: int,
    traps: Floats,
    ratio: Floats,
    falls: NDArray[np.int32],
    q: Floats,
    size: Floats,
    release: Floats,
    cumulated: Floats,
    length: int,
) -> None:
    """Simulate one readout in place: the bits of `readout_plain`, for a column without NaN.

    Parameters
    ----------
    pixels : (64 * blocks,) float64, electrons
        The column; rows that do not exist are -inf.
    highest : (64 * ceil(blocks / 64),) float64
        Scratch: an upper bound of each block of 64 rows; places that are no block are -inf.
    blocks : int
        Number of blocks.
    traps, ratio : (64 * blocks,) float64
        Traps per pixel; ``traps[i] / traps[i-1]`` where that is below 1, else 1.
    falls : (64 * blocks + 1,) int32
        The next row at or after i where `ratio` is below 1; 64 * blocks when there is none.
    q, size, release, cumulated, length
        See `readout_plain`.
    """
    top = -np.inf
    for b in range(blocks):
        level = block_max(pixels, b * LANES)
        highest[b] = level
        if level > top:
            top = level
    groups = (blocks + LANES - 1) // LANES

    for w in range(q.size - 1, -1, -1):
        level = q[w]
        if level > top:
            continue
        trail = release[w]
        total = cumulated[w]
        own = size[w]
        since = length
        held = 0.0
        done = 0  # blocks before this one are finished for this trap
        for group in range(groups):
            candidates = filled_mask(highest, group * LANES, level)
            while candidates != 0:
                b = group * LANES + lowest_bit(candidates)
                candidates &= candidates - 1
                # The trail of an earlier block runs on through blocks where nothing fills.
                while since < length and done < b:
                    start = done * LANES
                    rows = min(LANES, length - since)
                    held = _trail(pixels, start, start + rows, falls, ratio, trail, since, held)
                    highest[done] = block_max(pixels, start)
                    since += rows
                    done += 1
                done = b + 1

                start = b * LANES
                mask = filled_mask(pixels, start, level)
                if mask == 0:
                    if since < length:
                        rows = min(LANES, length - since)
                        held = _trail(pixels, start, start + rows, falls, ratio, trail, since, held)
                        since += rows
                    highest[b] = block_max(pixels, start)
                    continue
                highest[b] = np.inf  # it will be asked again: the next level is lower
                top = np.inf

                if count_bits(mask ^ (mask << 1)) > MANY_RUNS:
                    for i in range(start, start + LANES):
                        pixel = pixels[i]
                        scaled = held * ratio[i]
                        taken = own * traps[i]
                        gain = trail[since] * scaled
                        if pixel >= level:
                            pixels[i] = pixel + ((gain + total[since] * scaled) - taken)
                            held = taken
                            since = 0
                        else:
                            pixels[i] = pixel + gain
                            held = scaled
                            since = min(since + 1, length)
                    continue

                place = 0
                rest = mask
                while place < LANES:
                    first = lowest_bit(rest)
                    if first > place:
                        rows = min(first - place, length - since)
                        if rows > 0:
                            i = start + place
                            held = _trail(pixels, i, i + rows, falls, ratio, trail, since, held)
                            since += rows
                        if first == LANES:
                            break
                    inverse = ~(mask | ((1 << first) - 1))
                    last = lowest_bit(inverse)
                    i = start + first
                    scaled = held * ratio[i]
                    taken = own * traps[i]
                    pixels[i] += (trail[since] * scaled + total[since] * scaled) - taken
                    stop = start + last
                    if stop > i + 1:
                        _filled(pixels, i + 1, stop, traps, ratio, own, trail[0], total[0])
                    held = own * traps[stop - 1]
                    since = 0
                    place = last
                    if last < LANES:
                        rest = mask & (-1 << last)
        while since < length and done < blocks:
            start = done * LANES
            rows = min(LANES, length - since)
            held = _trail(pixels, start, start + rows, falls, ratio, trail, since, held)
            highest[done] = block_max(pixels, start)
            since += rows
            done += 1
