"""The end of the detector stage, chip by chip: full well, the overscan cut off, the error plane."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.arithmetic import Plane, copy_line
from acsrecipe.engines.embedded.bias import add_bias_error
from acsrecipe.engines.embedded.chip import ChipSteps, blocks, section_of, split_of
from acsrecipe.engines.embedded.compiled import Doubles, Flags, Image, Lines, bound, compiled
from acsrecipe.engines.embedded.frame import Imset, corner
from acsrecipe.engines.embedded.gain import convert_to_electrons, gains_of
from acsrecipe.engines.embedded.noise import estimate_noise, readnoise_of
from acsrecipe.engines.embedded.references import WINDOW_LINES, Section, Window, plane_or
from acsrecipe.engines.embedded.saturation import flag_full_well
from acsrecipe.engines.embedded.tables import NO_OVERSCAN


@compiled
def _fill(value: np.float32, result: Image) -> None:
    for i in range(result.size):
        result[i] = value


@compiled
def _finish_lines(
    start: int,
    stop: int,
    raw_sci: Image,
    raw_dq: Flags,
    top: int,
    x1: int,
    areas: NDArray[np.int64],
    levels: Doubles,
    full_well: Plane,
    well: NDArray[np.int64],
    sci: Image,
    dq: Flags,
) -> None:
    """Do `finish_chip` line by line, so that a line stays in the processor's nearest cache for all its steps.

    Parameters
    ----------
    start, stop : int
        Lines of the trimmed planes.
    raw_sci, raw_dq, full_well : (ny, nx)
        Of the raw image.
    top, x1 : int
        Line and column of the raw image that are the first of the trimmed planes.
    areas, levels : (n, 4) int64, (n, ny) float64
        Bias level of each line in some areas, see `LineLevels`.
    well : (4,) int64
        First and last line, first and last column where the full well is looked at, the last ones not included.
    sci, dq : (lines, columns)
        Trimmed; may begin where the raw planes do in memory.
    """
    columns = sci.shape[1]
    for k in range(start, stop):
        j = k + top
        for n in range(areas.shape[0]):
            if areas[n, 0] <= j < areas[n, 1]:
                level, part = levels[n, j], raw_sci[j, areas[n, 2] : areas[n, 3]]
                for i in range(part.size):
                    part[i] = np.float32(np.float64(part[i]) - level)
        if well[0] <= j < well[1]:
            flag_full_well(raw_sci[j : j + 1], raw_dq[j : j + 1], full_well[j : j + 1], well[2], well[3])
        copy_line(raw_sci[j, x1 : x1 + columns], sci[k])
        copy_line(raw_dq[j, x1 : x1 + columns], dq[k])


@compiled
def _estimate_lines(
    start: int,
    stop: int,
    sci: Image,
    top: int,
    x1: int,
    raw_err: Image,
    biased: bool,
    bias_err: Plane,
    boundary: int,
    gain: Image,
    readnoise: Image,
    readnoise_only: bool,
    err: Image,
) -> None:
    """Compute errors of trimmed pixels.

    Parameters
    ----------
    start, stop : int
        Lines of the trimmed planes.
    sci : (lines, columns)
        Trimmed, electrons.
    top, x1 : int
        Line and column of the raw image that are the first of the trimmed planes.
    raw_err, bias_err : (ny, nx)
        Of the raw image; a single error stands for all where they are equal.
    gain, readnoise : (2,) float32
        Left and right of ``boundary``, a column of the trimmed planes.
    err : (n, columns)
        Changed; line ``k`` is written to line ``k % n``.
    """
    columns, n = sci.shape[1], err.shape[0]
    for k in range(start, stop):
        j, slot = k + top, k % n
        errors = err[slot : slot + 1]
        if raw_err.size > 1:
            copy_line(raw_err[j, x1 : x1 + columns], err[slot])
        else:
            _fill(raw_err[0, 0], err[slot])
        if biased:
            add_bias_error(errors, bias_err[j : j + 1], x1)
        convert_to_electrons(errors, boundary, gain[0], gain[1])
        estimate_noise(sci[k : k + 1], errors, boundary, readnoise[0], readnoise[1], readnoise_only)


def finish_chip(imset: Imset, steps: ChipSteps) -> None:
    """Flag the full well, fill the error plane, cut the overscan off, and shift the headers' coordinates.

    Pixels are left to `Imset.complete`, but for those that are looked at here.
    """
    region = steps.region or NO_OVERSCAN
    ny, nx = imset.sci.shape
    y1, y2, x1, x2 = region.trimy[0], ny - region.trimy[1], region.trimx[0], nx - region.trimx[1]
    shape = y2 - y1, x2 - x1
    # Trimmed lines take the place of raw ones that are done with: fresh memory would cost more than the copy.
    sci, dq = steps.buffers.cut(imset.sci, shape), steps.buffers.cut(imset.dq, shape)
    err = steps.buffers.take(shape, np.float32)
    # Whether a plane counts as constant is asked with the untrimmed image's first pixel, as HSTIO asks it.
    corner = np.empty((1, 1), np.float32), np.empty((1, 1), np.int16)
    corner_err = np.empty((1, 1), np.float32)
    _pending(imset, steps, shape, (0, 0), (imset.sci[:1].copy(), imset.dq[:1].copy()), corner)(0, 1)
    _estimating(imset, steps, (0, 0), corner[0])(corner_err)(0, 1)
    imset.pending = _pending(imset, steps, shape, (y1, x1), (imset.sci, imset.dq), (sci, dq))
    imset.errors = _estimating(imset, steps, (y1, x1), sci)
    imset.sci, imset.err, imset.dq, imset.levels = sci, err, dq, []
    note_constants(imset, corner_err[0, 0], corner[1][0, 0])
    header.put_integer(imset.sci_cards, "SIZAXIS1", x2 - x1)
    header.put_integer(imset.sci_cards, "SIZAXIS2", y2 - y1)
    for cards in (imset.sci_cards, imset.err_cards, imset.dq_cards):
        header.shift_origin(cards, x1, y1)


def _pending(
    imset: Imset,
    steps: ChipSteps,
    trimmed: tuple[int, int],
    origin: tuple[int, int],
    raw: tuple[Image, Flags],
    planes: tuple[Image, Flags],
) -> Lines:
    """Give what fills lines of planes that begin at a line and a column of the raw image, which is changed too."""
    satu = section_of(steps.satufile, imset)
    levels = np.zeros((len(imset.levels), imset.sci.shape[0]))
    for row, found in zip(levels, imset.levels, strict=True):
        row[found.area[0] : found.area[1]] = found.values
    finish = bound(
        _finish_lines,
        *raw,
        *origin,
        np.array([found.area for found in imset.levels], np.int64).reshape(-1, 4),
        levels,
        plane_or(satu, "SCI", imset.sci),
        np.array(_full_well_area(imset, satu, trimmed) if satu is not None else (0, 0, 0, 0), np.int64),
        *planes,
    )
    window = Window((satu, ("SCI",)))

    def do(first: int, last: int) -> None:
        for start in range(first, last, WINDOW_LINES):
            window.move(start + origin[0], raw[0].shape[0])
            finish(start, min(start + WINDOW_LINES, last))
        if last == planes[0].shape[0]:
            window.move(raw[0].shape[0], raw[0].shape[0])

    return do


def _estimating(imset: Imset, steps: ChipSteps, origin: tuple[int, int], sci: Image) -> Callable[[Image], Lines]:
    """Give `Imset.errors` for a trimmed plane that begins at a line and a column of the raw image."""
    split, bias = split_of(imset, steps), section_of(steps.biasfile, imset)
    lines = imset.sci.shape[0]
    rest = (
        sci,
        *origin,
        # A constant plane has one number in memory, at every place.
        imset.err if any(imset.err.strides) else imset.err[:1, :1].copy(),
        bias is not None,
        plane_or(bias, "ERR", imset.sci),
        max(split.boundary - origin[1], 0),
        np.array(gains_of(steps.ccd, split, steps.where)),
        np.array(readnoise_of(steps.ccd, split, steps.where)),
        steps.seen.targname.startswith("BIAS"),
    )
    window = Window((bias, ("ERR",)))

    def into(err: Image) -> Lines:
        estimate = bound(_estimate_lines, *rest, err)

        def do(first: int, last: int) -> None:
            for start in range(first, last, WINDOW_LINES):
                window.move(start + origin[0], lines)
                estimate(start, min(start + WINDOW_LINES, last))
            if last == sci.shape[0]:
                window.move(lines, lines)

        return do

    return into


def _full_well_area(imset: Imset, satu: Section | None, trimmed: tuple[int, int]) -> tuple[int, int, int, int]:
    """Give the lines and columns in which calacs flags the full well: the trimmed area of full frames.

    In subarrays calacs forgets the trim, and flags from the first column and line over the trimmed size.
    """
    at = corner(imset.sci_cards)
    x, y = (abs(at[0]), abs(at[1])) if satu is not None and satu.same else (0, 0)
    return y, y + trimmed[0], x, x + trimmed[1]


def note_constants(imset: Imset, first_err: np.float32, first_dq: np.int16) -> None:
    """Say in the ERR and DQ headers whether all pixels equal those values."""
    shape = (imset.sci.shape[0], imset.sci.shape[1])
    constant = is_constant(imset, imset.err, first_err)
    header.describe_constant(imset.err_cards, float(first_err) if constant else None, shape)
    constant = is_constant(imset, imset.dq, first_dq)
    header.describe_constant(imset.dq_cards, int(first_dq) if constant else None, shape)


def is_constant(imset: Imset, plane: Image | Flags, value: np.float32 | np.int16) -> bool:
    """Whether all pixels of a plane have that value; completes the plane as far as it is looked at."""
    for first, last in blocks(plane.shape[0]):
        imset.complete(last)
        if not (plane[first:last] == value).all():
            return False
    return True
