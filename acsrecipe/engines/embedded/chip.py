"""The beginning of the detector stage, chip by chip, up to where its bias level is taken; `trimming` is its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.arithmetic import Plane
from acsrecipe.engines.embedded.bias import subtract_bias
from acsrecipe.engines.embedded.buffers import Buffers
from acsrecipe.engines.embedded.byteorder import decode
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.compiled import Flags, Image, bound, compiled
from acsrecipe.engines.embedded.dqi import flag_bad_pixels, flag_converter_saturation
from acsrecipe.engines.embedded.frame import Imset, Observation
from acsrecipe.engines.embedded.gain import convert_to_electrons, gains_of
from acsrecipe.engines.embedded.references import (
    WINDOW_LINES,
    Reference,
    Section,
    Window,
    advise_pages,
    plane_or,
    section,
    stored_plane,
)
from acsrecipe.engines.embedded.sink import flag_sinks
from acsrecipe.engines.embedded.tables import (
    AmplifierSplit,
    CcdParameters,
    OverscanRegions,
    amplifier_split,
)
from acsrecipe.errors import EngineError

Report = Callable[[str], None]

_Wanted = TypeVar("_Wanted")
_Result = TypeVar("_Result")

# Lines worked on at a time: their pixels, and those of references, stay in the processor's cache.
BLOCK_LINES = 32


def blocks(lines: int) -> Iterator[tuple[int, int]]:
    """Cut a number of lines into blocks, as (first, last not included)."""
    for first in range(0, lines, BLOCK_LINES):
        yield first, min(first + BLOCK_LINES, lines)


def for_each(
    step: Callable[[Imset, _Wanted], _Result], imsets: Sequence[Imset], wanted: Sequence[_Wanted], threads: int
) -> list[_Result]:
    """Do a step on every chip, several at a time where threads allow it (compiled loops run side by side)."""
    if threads > 1 and len(imsets) > 1:
        with ThreadPoolExecutor(min(threads, len(imsets))) as pool:
            return list(pool.map(step, imsets, wanted))
    return [step(imset, each) for imset, each in zip(imsets, wanted, strict=True)]


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


def split_of(imset: Imset, steps: ChipSteps) -> AmplifierSplit:
    """Find the column between a raw chip's amplifiers."""
    shape = (imset.sci.shape[0], imset.sci.shape[1])
    return amplifier_split(steps.ccd, imset.chip, ltv_of(imset.sci_cards), shape)


def section_of(reference: Reference | None, imset: Imset, planes: int = 3) -> Section | None:
    """Find the part of a reference under a raw chip; None without the reference."""
    if reference is None:
        return None
    shape = (imset.sci.shape[0], imset.sci.shape[1])
    return section(reference, imset.sci_cards, shape, imset.chip, planes=planes)


@compiled
def _begin_lines(
    start: int,
    stop: int,
    raw: Plane,
    zero: np.float32,
    sci: Image,
    dq: Flags,
    flagging: bool,
    threshold: np.float32,
    biased: bool,
    bias_sci: Plane,
    bias_dq: Plane,
    boundary: int,
    left: np.float32,
    right: np.float32,
) -> None:
    """Do `begin_chip` line by line, so that a line stays in the processor's nearest cache for all its steps."""
    for j in range(start, stop):
        line, flags = sci[j : j + 1], dq[j : j + 1]
        decode(raw[j : j + 1], zero, line)
        if flagging:
            flag_converter_saturation(line, flags, threshold)
        if biased:
            subtract_bias(line, flags, bias_sci[j : j + 1], bias_dq[j : j + 1])
        convert_to_electrons(line, boundary, left, right)


def begin_chip(imset: Imset, steps: ChipSteps) -> None:
    """Flag saturated and bad pixels, subtract the bias image, turn DN into electrons, in place.

    The error plane is left for `finish_chip`, which needs the illuminated part of it only.
    """
    if steps.flag_saturation and steps.bpixtab is not None:
        flag_bad_pixels(imset.dq, steps.bpixtab, steps.seen, imset.chip, ltv_of(imset.sci_cards))
    split, bias = split_of(imset, steps), section_of(steps.biasfile, imset)
    raw, imset.raw = imset.raw, None
    if raw is None:
        message = "its pixels were worked on before"
        raise EngineError(message, where=steps.where)
    begin = bound(
        _begin_lines,
        raw.plane,
        raw.zero,
        imset.sci,
        imset.dq,
        steps.flag_saturation,
        np.float32(steps.ccd.saturation),
        bias is not None,
        plane_or(bias, "SCI", imset.sci),
        plane_or(bias, "DQ", imset.dq),
        max(split.boundary, 0),
        *gains_of(steps.ccd, split, steps.where),
    )
    ny, window = imset.sci.shape[0], Window((bias, ("SCI", "DQ")))
    for first in range(0, ny, WINDOW_LINES):
        window.move(first, ny)
        begin(first, min(first + WINDOW_LINES, ny))
    window.move(ny, ny)


def flag_sink_pixels(imset: Imset, steps: ChipSteps) -> None:
    """Flag sink pixels of the raw chip, in place."""
    part = section_of(steps.snkcfile, imset, planes=1)
    if part is not None:
        flag_sinks(imset.sci, imset.dq, stored_plane(part, "SCI"), part.version == 1)
        advise_pages(part, ("SCI",), 0, imset.sci.shape[0], wanted=False)
