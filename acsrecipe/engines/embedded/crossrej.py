"""Cosmic-ray rejection and combination of exposures of one pointing (CR-SPLIT, RPT-OBS).

Source: ACS Data Handbook 3.4 (ACSREJ). A stack of trimmed chips, electrons, becomes one. All arithmetic is in
single precision and in calacs's order of pixels and exposures; that rounds follow each other up the image, some
lines behind, changes nothing, for a round looks at no line that the next one has changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.compiled import Flags, Image
from acsrecipe.engines.embedded.guess import guess_median, guess_minimum
from acsrecipe.engines.embedded.rejection import Rejection
from acsrecipe.engines.embedded.window import EXCLUDED, HIT, SPILL, flag_hits, load_lines, reject_lines

# Lines loaded at a time. With what the rounds look back to, they stay in the processor's cache.
LINES = 32


class Lines(Protocol):
    """A plane whose lines can be had, a slice of them at a time: an array, or what computes them when asked."""

    def __getitem__(self, lines: slice, /) -> Image:
        """Give some lines, ``(lines, nx)`` float32."""


@dataclass(frozen=True)
class Combined:
    """A stack made one.

    Attributes
    ----------
    sci, err : (ny, nx) float32
        Electrons, scaled to the total time, and with the sky; their errors.
    dq : (ny, nx) int16
    rejected : int
        Pixels, of all exposures, in which a cosmic ray or its neighbourhood was found.
    """

    sci: Image
    err: Image
    dq: Flags
    rejected: int


def combine(
    sci: Sequence[Image],
    err: Sequence[Lines],
    dq: Sequence[Flags],
    times: Image,
    skies: Image,
    rejection: Rejection,
    *,
    total: np.float32,
    calibration_frame: bool,
    result: tuple[Image, Image, Flags] | None = None,
) -> Combined:
    """Reject cosmic rays from a stack and average it.

    Parameters
    ----------
    sci, err, dq : n planes each, (ny, nx)
        Electrons and flags of one chip in all exposures. With CRMASK the bit `REJECTED` of the flags is set where
        something was rejected and cleared elsewhere; nothing else is changed.
    times, skies : (n,) float32
        Seconds and electrons; an image of 0 seconds is left out.
    rejection : Rejection
    total : float32
        Seconds that the average is scaled to.
    calibration_frame : bool
        For IMAGETYP BIAS and DARK: pixels with DQ bit 4 are combined like any other.
    result : three planes, optional
        Arrays for the combined science, error and flags; what they hold is arbitrary.
    """
    ny, nx = sci[0].shape
    if result is None:
        result = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.float32), np.empty((ny, nx), np.int16)
    average, error, quality = result
    bad, left_out = rejection.badinpdq, HIT | SPILL | EXCLUDED
    if calibration_frame:
        bad, left_out = bad & ~EXCLUDED, HIT | SPILL
    sigmas, spans = np.array(rejection.thresholds, np.float32), _spans(np.float32(rejection.radius))
    spill = np.float32(rejection.spill)
    spill2 = spill * spill if spill > 0 else np.float32(-1)
    scale = np.float32(float(np.float32(rejection.scalense)) / 100.0)
    sky = sum_of_skies(skies)
    n, rounds, reach = len(sci), sigmas.size, spans.size - 1
    window = n, LINES + rounds * reach, nx
    rates, variances = np.zeros(window, np.float32), np.zeros(window, np.float32)
    flags, hits = np.zeros(window, np.int16), np.zeros(window, np.uint8)
    marks, done = np.zeros((rounds, n, reach + 1, nx), np.uint8), np.zeros(rounds, np.int64)
    ranks, sums, masks = np.empty((n, nx), np.float32), np.empty((3, nx), np.float32), np.empty((2, nx), np.int16)
    words = np.zeros(-(-nx // 8), np.uint64)
    spots = words.view(np.uint8)
    rejected = 0
    for first in range(0, ny, LINES):
        last = min(first + LINES, ny)
        for k in range(n):
            if times[k] > 0:
                lines = slice(first, last)
                planes = rates[k], variances[k], flags[k]
                load_lines(sci[k][lines], err[k][lines], dq[k][lines], times[k], skies[k], first, *planes)
        if rejection.initial.startswith("med"):
            guess_median(rates, flags, times, rejection.badinpdq, first, last, average, ranks, spots, words)
        else:
            guess_minimum(rates, flags, times, rejection.badinpdq, first, last, average)
        before = int(done[-1])
        rejected += reject_lines(
            *(rates, variances, flags, hits, marks, times, sigmas, spans, done, last, spill2, scale, bad, left_out),
            *(average, error, quality, sums, masks, spots, words),
        )
        through = int(done[-1])
        if through == before:
            continue
        finished = average[before:through]
        finished *= total
        finished += sky
        if rejection.mask:
            for k in range(n):
                flag_hits(dq[k][before:through], hits[k], before)
    return Combined(average, error, quality, rejected)


def _spans(radius: np.float32) -> NDArray[np.int64]:
    """Give how far a hit reaches along its line, one line above it, two lines ..."""
    steps = np.arange(max(math.ceil(radius), 0) + 1)
    within = (steps[:, None] ** 2 + steps**2).astype(np.float32) <= radius * radius
    return np.asarray(within.sum(axis=1)[within[:, 0]] - 1, np.int64)


def sum_singly(values: NDArray[np.float32]) -> np.float32:
    """Add in single precision, one after the other."""
    total = np.float32(0)
    for value in values:
        total = total + value
    return total


def sum_of_skies(skies: NDArray[np.float32]) -> np.float32:
    """Give the sky of a whole stack, electrons; 0 where it would be negative."""
    return max(sum_singly(skies), np.float32(0))
