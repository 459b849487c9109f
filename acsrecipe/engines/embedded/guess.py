"""The first guess of a stack of exposures: median or minimum of the count rates, pixel by pixel.

Windows are those of `acsrecipe.engines.embedded.window`.
"""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.arithmetic import copy_line
from acsrecipe.engines.embedded.compiled import Flags, Image, compiled
from acsrecipe.engines.embedded.window import Marks, Words


@compiled
def guess_median(
    rates: Image,
    flags: Flags,
    times: Image,
    bad: int,
    first: int,
    last: int,
    average: Image,
    ranks: Image,
    odd: Marks,
    words: Words,
) -> None:
    """Begin with the median count rate of good pixels over a stack; 0 where there is none.

    Parameters
    ----------
    rates, flags : (n, depth, nx)
        Windows.
    times : (n,) float32
        Seconds; images of 0 seconds are left out.
    bad : int
        DQ bits that keep a pixel out.
    first, last : int
        Lines to do, the last not included.
    average : (ny, nx) float32, electrons per second
        Those lines are set.
    ranks : (n, nx) float32
        Scratch.
    odd : (8 * m,) uint8, words : (m,) uint64
        Scratch: the same bytes, 0, and 0 afterwards; ``8 * m`` is not less than ``nx``.
    """
    n, depth = rates.shape[:2]
    serious = np.int16(bad)
    for line in range(first, last):
        slot, target = line % depth, average[line]
        # All pixels as if they were good, for that goes many at a time: sorted by exchanges between neighbours.
        used = 0
        for k in range(n):
            if times[k] > 0:
                _note_odd(rates[k, slot], flags[k, slot], serious, odd)
                copy_line(rates[k, slot], ranks[used])
                for rank in range(used, 0, -1):
                    _exchange(ranks[rank - 1], ranks[rank])
                used += 1
        if used == 0:
            target[:] = 0
        elif used % 2:
            copy_line(ranks[used // 2], target)
        else:
            _average_two(ranks[used // 2 - 1], ranks[used // 2], target)
        # The few that are not good, one by one.
        for word in range(words.size):
            if words[word] != 0:
                for i in range(8 * word, 8 * word + 8):
                    if odd[i]:
                        target[i] = _median_of(rates, flags, times, serious, slot, i, ranks)
                words[word] = 0


@compiled
def _note_odd(rate: Image, flags: Flags, serious: np.int16, odd: Marks) -> None:
    """Note where a pixel is bad, or no number and so can't be sorted."""
    for i in range(rate.size):
        odd[i] = np.uint8(odd[i] | (flags[i] & serious != 0) | (rate[i] != rate[i]))


@compiled
def _exchange(lower: Image, upper: Image) -> None:
    """Put pairs of numbers in order."""
    for i in range(lower.size):
        a, b = lower[i], upper[i]
        lower[i] = b if a > b else a
        upper[i] = a if a > b else b


@compiled
def _average_two(a: Image, b: Image, target: Image) -> None:
    for i in range(a.size):
        target[i] = (a[i] + b[i]) / np.float32(2)


@compiled
def _median_of(
    rates: Image, flags: Flags, times: Image, serious: np.int16, slot: int, i: int, ranks: Image
) -> np.float32:
    """Give the median of one pixel's good rates, sorted by insertion in column ``i`` of ``ranks``."""
    count = 0
    for k in range(rates.shape[0]):
        if times[k] > 0 and not flags[k, slot, i] & serious:
            value = rates[k, slot, i]
            place = count
            while place > 0 and ranks[place - 1, i] > value:
                ranks[place, i] = ranks[place - 1, i]
                place -= 1
            ranks[place, i] = value
            count += 1
    if count == 0:
        return np.float32(0)
    upper = np.float32(ranks[count // 2, i])
    return upper if count % 2 else (np.float32(ranks[count // 2 - 1, i]) + upper) / np.float32(2)


@compiled
def guess_minimum(rates: Image, flags: Flags, times: Image, bad: int, first: int, last: int, average: Image) -> None:
    """Begin with the minimum count rate over a stack, in the way calacs takes it.

    A pixel that is bad where it is smallest becomes 0. Parameters as for `guess_median`.
    """
    n, depth = rates.shape[:2]
    serious = np.int16(bad)
    for line in range(first, last):
        slot, target = line % depth, average[line]
        for k in range(n):
            _lower(rates[k, slot], flags[k, slot], serious, times[k] > 0, k == 0, target)


@compiled
def _lower(rate: Image, flags: Flags, serious: np.int16, exposed: bool, begins: bool, target: Image) -> None:
    for i in range(rate.size):
        value = rate[i] if exposed else np.float32(0)
        candidate = value if exposed and not flags[i] & serious else np.float32(0)
        target[i] = candidate if begins or value < target[i] else target[i]
