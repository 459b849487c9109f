"""Simulate the readout of one column: which traps fill, and what they release into the pixels that follow.

The model is that of Anderson & Bedin (2010, PASP 122, 1035; ACS ISR 2018-04), the arithmetic that of HSTCAL's
ctegen2, operation by operation, so that the result is the same to the last bit:

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
from numpy.typing import NDArray

from acsrecipe.engines.embedded.compiled import Doubles
from acsrecipe.engines.embedded.compiling import jitted
from acsrecipe.engines.embedded.cte.bits import (
    CHUNK,
    LANES,
    add_trail,
    address,
    block_max,
    block_min,
    count_bits,
    filled_mask,
    lowest_bit,
    pass_all_filled,
    pass_filled,
    peek,
    peek_int,
    poke,
)

ALL_FILLED = -1  # an int64 with every bit set
MANY_RUNS = 12  # a block with more stretches than this is walked pixel by pixel


@jitted
def readout_plain(
    pixels: Doubles,
    rows: int,
    traps: Doubles,
    q: Doubles,
    size: Doubles,
    release: Doubles,
    cumulated: Doubles,
    length: int,
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
                    pixels[i] = pixel + (
                        (release[w, CHUNK + since] * held + cumulated[w, CHUNK + since] * held) - taken
                    )
                else:
                    pixels[i] = pixel - taken
                held = taken
                since = 0
            elif since < length:
                pixels[i] = pixel + release[w, CHUNK + since] * held
                since += 1


@jitted
def _trail(
    pixels: int,
    start: int,
    stop: int,
    falls: int,
    ratio: int,
    release: int,
    since: int,
    held: float,
    filled: bool,
    step: float,
) -> float:
    """Add a trap's trail to rows start to stop, none of them filled, and `step` to the row before if it was `filled`.

    Chunks are whole and begin at multiples of 8: a store then serves the next trap's load, which it would hold up if
    they overlapped in part. Answers the charge as last rescaled.
    """
    at = start - 1 if filled else start
    i = at & -CHUNK
    at = at - i if filled else -1
    if peek_int(falls, start) >= stop:
        offset = CHUNK + since - (start - i)
        add_trail(pixels, i, release, offset, held, start - i, stop - i, at, step)
        i += CHUNK
        offset += CHUNK
        while i < stop:
            add_trail(pixels, i, release, offset, held, 0, stop - i, -1, 0.0)
            i += CHUNK
            offset += CHUNK
        return held
    if filled:
        add_trail(pixels, i, release, 0, 0.0, 0, 0, at, step)
    row = start
    while row < stop:
        if peek_int(falls, row) == row:
            held *= peek(ratio, row)
        end = min(peek_int(falls, row + 1), stop)
        i = row & -CHUNK
        while i < end:
            offset = CHUNK + since + (i - start)
            add_trail(pixels, i, release, offset, held, row - i, end - i, -1, 0.0)
            i += CHUNK
        row = end
    return held


@jitted
def _pass(
    pixels: int,
    start: int,
    stop: int,
    traps: int,
    lower: int,
    ratio: int,
    size: float,
    first: float,
    left: float,
    step: float,
) -> None:
    """Add `step` to row start, and to the rows up to stop what each, all being filled, gains and loses."""
    i = start & -CHUNK
    pass_filled(pixels, i, traps, lower, ratio, size, first, left, start + 1 - i, stop - i, start - i, step)
    i += CHUNK
    while i + CHUNK <= stop:
        pass_all_filled(pixels, i, traps, lower, ratio, size, first, left)
        i += CHUNK
    if i < stop:
        pass_filled(pixels, i, traps, lower, ratio, size, first, left, 0, stop - i, -1, 0.0)


@jitted
def readout(
    pixels: Doubles,
    bounds: Doubles,
    blocks: int,
    traps: Doubles,
    lower: Doubles,
    ratio: Doubles,
    falls: NDArray[np.int32],
    q: Doubles,
    size: Doubles,
    release: Doubles,
    cumulated: Doubles,
    peak: Doubles,
    loss: Doubles,
    length: int,
) -> None:
    """Simulate one readout in place: the bits of `readout_plain`, for a column without NaN.

    Parameters
    ----------
    pixels : (64 * blocks + 8,) float64, electrons
        The column; rows that do not exist are -inf.
    bounds : (2, 64 * ceil(blocks / 64)) float64
        Scratch: an upper and a lower bound of each block of 64 rows; places that are no block are -inf.
    blocks : int
        Number of blocks.
    traps, lower, ratio : (64 * blocks + 8,) float64
        Traps per pixel; those of the row before; ``traps / lower`` where that is below 1, else 1.
    falls : (64 * blocks + 1,) int32
        The next row at or after i where `ratio` is below 1; 64 * blocks when there is none.
    q, size, length
        See `readout_plain`.
    release, cumulated : (ntraps, length + 16) float64
        See `readout_plain`; eight zeros before and eight behind.
    peak : (ntraps,) float64
        The largest absolute value in each line of `release`.
    loss : (ntraps,) float64, electrons
        No pixel that fills trap w loses more (see `losses`); inf if any pixel may.
    """
    column = address(pixels)
    highest = address(bounds)
    lowest = address(bounds) + bounds.shape[1] * 8
    here = address(traps)
    below = address(lower)
    scale = address(ratio)
    drops = address(falls)
    width = release.shape[1] * 8  # bytes
    top = -np.inf
    for b in range(blocks):
        level = block_max(column, b * LANES)
        poke(highest, b, level)
        poke(lowest, b, block_min(column, b * LANES))
        top = max(top, level)
    groups = (blocks + LANES - 1) // LANES
    rows = blocks * LANES

    for w in range(q.size - 1, -1, -1):
        level = q[w]
        if level > top:
            continue
        trail = address(release) + w * width
        total = address(cumulated) + w * width
        own = size[w]
        since = length  # rows since the trap filled
        held = 0.0
        done = 0  # rows before this one are finished for this trap
        for group in range(groups):
            candidates = filled_mask(highest, group * LANES, level)
            full = filled_mask(lowest, group * LANES, level)
            while candidates != 0:
                place = lowest_bit(candidates)
                candidates &= candidates - 1
                b = group * LANES + place
                start = b * LANES
                if full & (1 << place):
                    # As many blocks as follow one another, and have no pixel below the level, are passed at once.
                    if since < length and done < start:
                        end = min(start, done + length - since)
                        _raise(highest, done, end, peak[w] * abs(held))
                        held = _trail(column, done, end, drops, scale, trail, since, held, False, 0.0)
                        since += end - done
                    after = lowest_bit(~(full | ((1 << place) - 1)))
                    candidates = 0 if after == LANES else candidates & (-1 << after)
                    stop = (group * LANES + after) * LANES
                    scaled = held * peek(scale, start)
                    step = peek(trail, CHUNK + since) * scaled + peek(total, CHUNK + since) * scaled
                    step -= own * peek(here, start)
                    _pass(column, start, stop, here, below, scale, own, peek(trail, CHUNK), peek(total, CHUNK), step)
                    for k in range(b, group * LANES + after):
                        poke(highest, k, np.inf)
                        poke(lowest, k, peek(lowest, k) - loss[w])
                    top = np.inf
                    held = own * peek(here, stop - 1)
                    since = 0
                    done = stop
                    continue
                mask = filled_mask(column, start, level)
                if mask == 0:
                    # What a trail from before may add, is added to the bound when it is.
                    poke(highest, b, block_max(column, start))
                    continue
                poke(highest, b, np.inf)  # it will be asked again: the next level is lower
                # All filled, without the bound saying so: find out how far above the level they are.
                least = block_min(column, start) if mask == ALL_FILLED else peek(lowest, b)
                poke(lowest, b, least - loss[w])
                top = np.inf
                if since < length and done < start:
                    end = min(start, done + length - since)
                    _raise(highest, done, end, peak[w] * abs(held))
                    held = _trail(column, done, end, drops, scale, trail, since, held, False, 0.0)
                    since += end - done
                    done = end

                if count_bits(mask ^ (mask << 1)) > MANY_RUNS:
                    for i in range(start, start + LANES):
                        pixel = peek(column, i)
                        scaled = held * peek(scale, i)
                        taken = own * peek(here, i)
                        gain = peek(trail, CHUNK + since) * scaled
                        if pixel >= level:
                            poke(column, i, pixel + ((gain + peek(total, CHUNK + since) * scaled) - taken))
                            held = taken
                            since = 0
                        else:
                            poke(column, i, pixel + gain)
                            held = scaled
                            since = min(since + 1, length)
                    done = start + LANES
                    continue

                # How far a trail may run before pixels come that may be filled.
                free = min(rows, (group + 1) * LANES * LANES)
                if candidates != 0:
                    free = (group * LANES + lowest_bit(candidates)) * LANES
                first = lowest_bit(mask)
                if since < length and first > 0:
                    end = min(start + first, start + length - since)
                    held = _trail(column, start, end, drops, scale, trail, since, held, False, 0.0)
                    since += end - start
                while first < LANES:
                    i = start + first
                    last = lowest_bit(~(mask | ((1 << first) - 1)))
                    stop = start + last
                    first = LANES if last == LANES else lowest_bit(mask & (-1 << last))
                    end = min(free if first == LANES else start + first, stop + length)
                    scaled = held * peek(scale, i)
                    step = (peek(trail, CHUNK + since) * scaled + peek(total, CHUNK + since) * scaled) - own * peek(
                        here, i
                    )
                    held = own * peek(here, stop - 1)
                    if end > start + LANES:
                        _raise(highest, start + LANES, end, peak[w] * abs(held))
                    if stop == i + 1:
                        held = _trail(column, stop, end, drops, scale, trail, 0, held, True, step)
                    else:
                        _pass(column, i, stop, here, below, scale, own, peek(trail, CHUNK), peek(total, CHUNK), step)
                        if end > stop:
                            held = _trail(column, stop, end, drops, scale, trail, 0, held, False, 0.0)
                    since = end - stop
                    done = end
        if since < length and done < rows:
            end = min(rows, done + length - since)
            _raise(highest, done, end, peak[w] * abs(held))
            _trail(column, done, end, drops, scale, trail, since, held, False, 0.0)


@jitted
def _raise(highest: int, start: int, stop: int, gain: float) -> None:
    """Raise the bounds of the blocks that rows start to stop touch by what a trail may add to any pixel.

    Rounding is monotonic: a pixel below the bound, plus less than `gain`, stays below the bound plus `gain`.
    """
    for b in range(start // LANES, (stop - 1) // LANES + 1):
        poke(highest, b, peek(highest, b) + gain)
