"""The sky of exposures that are to be combined: the mode of their unflagged pixels.

Source: ACS Data Handbook 3.4 (ACSREJ). All arithmetic is in single precision and in calacs's order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.compiled import Flags, Image, compiled
from acsrecipe.engines.embedded.rejection import Rejection

_LEAST, _FEWEST_BINS, _MOST_BINS = -15000, 1000, 10000

Counts = NDArray[np.int64]
Places = NDArray[np.int32]


@compiled
def measure_range(sci: Image, dq: Flags, bad: int, result: Image) -> int:
    """Find the least of the pixels without bad bits and their sum, one pixel after the other; give their count.

    Parameters
    ----------
    sci, dq : (ny, nx)
    bad : int
        DQ bits that keep a pixel out.
    result : (2,) float32
        Set to the least value (2147483648 where there is no pixel) and to the sum.
    """
    serious = np.int16(bad)
    least, total, count = np.float32(2147483647.0), np.float32(0), 0
    for j in range(sci.shape[0]):
        values, flags = sci[j], dq[j]
        for i in range(values.size):
            # Adding 0 where a pixel is left out changes no bit, and needs no branch that is guessed wrong.
            good = not flags[i] & serious
            value = values[i] if good else np.float32(0)
            total = total + value
            least = value if good and value < least else least
            count += good
    result[0], result[1] = least, total
    return count


@compiled
def count_values(sci: Image, dq: Flags, least: np.float32, width: np.float32, places: Places, counts: Counts) -> None:
    """Add an image's unflagged pixels to a histogram.

    Parameters
    ----------
    sci, dq : (ny, nx)
        Pixels with any flag are left out.
    least, width : float32
        Where the first bin begins, and how wide all are.
    places : (nx,) int32
        Scratch.
    counts : (2, bins + 1) int64
        Changed: the histogram is their sum, without the last, which takes what is in no bin.
    """
    bins = counts.shape[1] - 1
    for j in range(sci.shape[0]):
        values, flags = sci[j], dq[j]
        for i in range(values.size):
            place = (values[i] - least) / width
            # As calacs's conversion to integer cuts, what is above -1 falls into bin 0.
            inside = flags[i] == 0 and place > np.float32(-1) and place < np.float32(bins)
            places[i] = np.int32(place if inside else np.float32(bins))
        # In turn, for neighbours are often in the same bin, and its next addition waits for the one before.
        for i in range(values.size):
            counts[i % 2, places[i]] += 1


def find_mode(counts: Counts, width: np.float32, least: np.float32) -> np.float32:
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


def find_skies(sci: Sequence[Image], dq: Sequence[Flags], rejection: Rejection) -> list[float]:
    """Give each image's sky, the mode of its unflagged pixels, electrons, single precision; 0 for SKYSUB none.

    The histogram's range comes from the first image.
    """
    if rejection.sky == "none":
        return [0.0] * len(sci)
    found = np.empty(2, np.float32)
    count = measure_range(sci[0], dq[0], rejection.badinpdq, found)
    least, total = found
    low = max(int(least), _LEAST)
    mean = int(total / np.float32(max(count, 1)) + np.float32(1)) if total > 0 else 1
    bins = 2 * mean - low + 1
    width = np.float32(1)
    if bins < _FEWEST_BINS:
        bins = _FEWEST_BINS
    elif bins > _MOST_BINS:
        width = np.float32(bins) / np.float32(_MOST_BINS)
        bins = _MOST_BINS
    base = np.float32(low)
    skies: list[float] = []
    for image, flags in zip(sci, dq, strict=True):
        counts = np.zeros((2, bins + 1), np.int64)
        count_values(image, flags, base, width, np.empty(image.shape[1], np.int32), counts)
        skies.append(float(find_mode(counts.sum(axis=0)[:bins], width, base)))
    return skies
