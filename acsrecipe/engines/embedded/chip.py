"""One chip through the detector stage, a block of lines at a time, before and after its bias level is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.arithmetic import Triplet
from acsrecipe.engines.embedded.bias import add_bias_error, subtract_bias
from acsrecipe.engines.embedded.buffers import Buffers
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.compiled import Flags, Image
from acsrecipe.engines.embedded.dqi import flag_bad_pixels, flag_converter_saturation
from acsrecipe.engines.embedded.frame import Imset, Observation, corner
from acsrecipe.engines.embedded.gain import convert_to_electrons
from acsrecipe.engines.embedded.noise import estimate_noise
from acsrecipe.engines.embedded.references import Reference, Section, forget_pages, lines_of, section
from acsrecipe.engines.embedded.saturation import flag_full_well
from acsrecipe.engines.embedded.sink import flag_sinks
from acsrecipe.engines.embedded.tables import (
    NO_OVERSCAN,
    AmplifierSplit,
    CcdParameters,
    OverscanRegions,
    amplifier_split,
)

Report = Callable[[str], None]

_Wanted = TypeVar("_Wanted")
_Result = TypeVar("_Result")

# Lines worked on at a time: the planes of a block stay in the processor's cache.
BLOCK_LINES = 32
KEPT_LINES = 256


def blocks(lines: int, *parts: Section | None) -> Iterator[tuple[int, int]]:
    """Cut a number of lines into blocks, as (first, last not included).

    The pages of the reference sections given are let go behind the blocks, so that little of a mapped file is
    in memory at a time.
    """
    kept = 0
    for first in range(0, lines, BLOCK_LINES):
        last = min(first + BLOCK_LINES, lines)
        yield first, last
        if last - kept >= KEPT_LINES or last == lines:
            for part in parts:
                if part is not None:
                    forget_pages(part, kept, last)
            kept = last


def for_each(
    step: Callable[[Imset, _Wanted], _Result], imsets: Sequence[Imset], wanted: Sequence[_Wanted], threads: int
) -> list[_Result]:
    """Do a step on every chip, several at a time where threads allow it (compiled loops run side by side)."""
    if threads > 1 and len(imsets) > 1:
        with ThreadPoolExecutor(min(threads, len(imsets))) as pool:
            return list(pool.map(step, imsets, wanted))
    return [step(imset, each) for imset, each in zip(imsets, wanted, strict=True)]


def triplet_of(part: Section, first: int, last: int) -> Triplet:
    """Give a block of a reference's SCI, ERR and DQ."""
    return lines_of(part, "SCI", first, last), lines_of(part, "ERR", first, last), lines_of(part, "DQ", first, last)


def ltv_of(cards: Cards) -> tuple[float, float]:
    """Give LTV1 and LTV2, 0 where absent."""
    return header.number(cards, "LTV1", 0.0), header.number(cards, "LTV2", 0.0)


@dataclass(frozen=True)
class ChipSteps:
    """What is done to a chip, and with what; None for references of steps that are not done.

    Attributes
    ----------
    flag_saturation : bool
        DQICORR is asked for, even if its table is a dummy.
    """

    seen: Observation
    ccd: CcdParameters
    region: OverscanRegions | None
    flag_saturation: bool
    bpixtab: Reference | None
    biasfile: Reference | None
    satufile: Reference | None
    snkcfile: Reference | None
    buffers: Buffers
    where: str


def _split(imset: Imset, steps: ChipSteps) -> AmplifierSplit:
    shape = (imset.sci.shape[0], imset.sci.shape[1])
    return amplifier_split(steps.ccd, imset.chip, ltv_of(imset.sci_cards), shape)


def _section(reference: Reference | None, imset: Imset, planes: int = 3) -> Section | None:
    if reference is None:
        return None
    shape = (imset.sci.shape[0], imset.sci.shape[1])
    return section(reference, imset.sci_cards, shape, imset.chip, planes=planes)


def begin_chip(imset: Imset, steps: ChipSteps) -> None:
    """Flag saturated and bad pixels, subtract the bias image, turn DN into electrons, in place.

    The error plane is left for `finish_chip`, which needs the illuminated part of it only.
    """
    if steps.flag_saturation and steps.bpixtab is not None:
        flag_bad_pixels(imset.dq, steps.bpixtab, steps.seen, imset.chip, ltv_of(imset.sci_cards))
    split, bias = _split(imset, steps), _section(steps.biasfile, imset)
    for first, last in blocks(imset.sci.shape[0], bias):
        imset.fill(first, last)
        sci, dq = imset.sci[first:last], imset.dq[first:last]
        if steps.flag_saturation:
            flag_converter_saturation(sci, dq, np.float32(steps.ccd.saturation))
        if bias is not None:
            subtract_bias(sci, dq, lines_of(bias, "SCI", first, last), lines_of(bias, "DQ", first, last))
        convert_to_electrons(sci, steps.ccd, split, steps.where)


def flag_sink_pixels(imset: Imset, steps: ChipSteps) -> None:
    """Flag sink pixels of the raw chip, in place."""
    part = _section(steps.snkcfile, imset, planes=1)
    if part is not None:
        flag_sinks(imset.sci, imset.dq, lines_of(part, "SCI", 0, imset.sci.shape[0]), part.version == 1)
        forget_pages(part, 0, imset.sci.shape[0])


def finish_chip(imset: Imset, steps: ChipSteps) -> None:
    """Flag the full well, fill the error plane, cut the overscan off, and shift the headers' coordinates."""
    region = steps.region or NO_OVERSCAN
    ny, nx = imset.sci.shape
    y1, y2, x1, x2 = region.trimy[0], ny - region.trimy[1], region.trimx[0], nx - region.trimx[1]
    split, bias = _split(imset, steps), _section(steps.biasfile, imset)
    satu = _section(steps.satufile, imset)
    full_well = _full_well_area(imset, satu, (y2 - y1, x2 - x1))
    shape = y2 - y1, x2 - x1
    # Trimmed lines take the place of raw ones that are done with: fresh memory would cost more than the copy.
    sci, dq = steps.buffers.cut(imset.sci, shape), steps.buffers.cut(imset.dq, shape)
    err = steps.buffers.take(shape, np.float32)
    corner_sci, corner_err = imset.sci[:1, :1].copy(), imset.err[:1, :1].copy()
    first_dq = imset.dq[0, 0]
    for first, last in blocks(ny, bias, satu):
        if satu is not None:
            top, bottom = max(first, full_well[0]), min(last, full_well[1])
            if top < bottom:
                limit = lines_of(satu, "SCI", top, bottom)
                flag_full_well(imset.sci[top:bottom], imset.dq[top:bottom], limit, full_well[2], full_well[3])
        if first == 0:
            first_dq = imset.dq[0, 0]
        top, bottom = max(first, y1), min(last, y2)
        if top >= bottom:
            continue
        out = slice(top - y1, bottom - y1)
        sci[out] = imset.sci[top:bottom, x1:x2]
        dq[out] = imset.dq[top:bottom, x1:x2]
        err[out] = imset.err[top:bottom, x1:x2]
        _fill_errors(sci[out], err[out], steps, split, bias, (top, bottom, x1, x2))
    # Whether a plane counts as constant is asked with the untrimmed image's first pixel, as HSTIO asks it.
    _fill_errors(corner_sci, corner_err, steps, split, bias, (0, 1, 0, 1))
    imset.sci, imset.err, imset.dq = sci, err, dq
    imset.fill = lambda _first, _last: None
    note_constants(imset, corner_err[0, 0], first_dq)
    header.put_integer(imset.sci_cards, "SIZAXIS1", x2 - x1)
    header.put_integer(imset.sci_cards, "SIZAXIS2", y2 - y1)
    for cards in (imset.sci_cards, imset.err_cards, imset.dq_cards):
        header.shift_origin(cards, x1, y1)


def _fill_errors(
    sci: Image,
    err: Image,
    steps: ChipSteps,
    split: AmplifierSplit,
    bias: Section | None,
    area: tuple[int, int, int, int],
) -> None:
    """Bring the RAW file's errors of an area (first and last line, first and last column) to electrons and noise."""
    top, bottom, x1, x2 = area
    if bias is not None:
        add_bias_error(err, np.ascontiguousarray(lines_of(bias, "ERR", top, bottom)[:, x1:x2]))
    convert_to_electrons(err, steps.ccd, split, steps.where, x=x1)
    bias_frame = steps.seen.targname.startswith("BIAS")
    estimate_noise(sci, err, steps.ccd, split, steps.where, readnoise_only=bias_frame, x=x1)


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
    constant = is_constant(imset.err, first_err)
    header.describe_constant(imset.err_cards, float(first_err) if constant else None, shape)
    constant = is_constant(imset.dq, first_dq)
    header.describe_constant(imset.dq_cards, int(first_dq) if constant else None, shape)


def is_constant(plane: Image | Flags, value: np.float32 | np.int16) -> bool:
    """Whether all pixels of a plane have that value."""
    return all(bool((plane[first:last] == value).all()) for first, last in blocks(plane.shape[0]))
