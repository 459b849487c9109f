"""The CTE correction of an exposure: amp by amp C, D, A, B; serial (after SM4), then parallel.

It stands between the bias and overscan correction (trimmed frames in electrons) and dark and flat. Order of steps,
orientation of amps, and arithmetic are calacs 10.5.0's (`DoCTE`, `doPCTEGen3`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acsrecipe.engines.embedded.compiled import Doubles, Image
from acsrecipe.engines.embedded.cte.inversion import invert_columns, losses, profiles
from acsrecipe.engines.embedded.cte.smoothing import ENOUGH, LEAST_NOISE, MOST_STEPS, smooth_columns
from acsrecipe.engines.embedded.cte.table import CteTable, TrapSet
from acsrecipe.engines.embedded.cte.transfer import apply_correction, fetch_lines
from acsrecipe.engines.embedded.cte.workers import Cancelled, Report, Workers
from acsrecipe.errors import EngineError

SM4 = 54962.0  # MJD from which the serial trails are corrected
COLUMNS_PER_CHIP = 4096

SMALLEST = 2  # pixels a side
SMOOTHED_AT_ONCE = 64  # columns a thread smooths before it looks whether it shall stop


@dataclass(frozen=True)
class ChipFrame:
    """One chip (imset) of an exposure, overscan trimmed.

    Attributes
    ----------
    sci, err : (ny, nx) float32, electrons
    amps : str
        The amps that read it out, left one first: "CD" or "AB", or one letter.
    boundary : int
        AMPX of CCDTAB: the first column of the second amp; 0 when there is but one amp.
    height : int
        AMPY of CCDTAB: rows read out; 0 means all.
    """

    sci: Image
    err: Image
    amps: str
    boundary: int = 0
    height: int = 0


def correct_cte(
    chips: Sequence[ChipFrame],
    table: CteTable,
    *,
    expstart: float,
    read_noise: Mapping[str, float],
    threads: int = 1,
    report: Report | None = None,
    cancelled: Cancelled | None = None,
    plain: bool = False,
) -> list[tuple[Image, Image]]:
    """Correct an exposure's chips for charge transfer inefficiency.

    Parameters
    ----------
    chips : sequence of ChipFrame
        In the order of the file's imsets; not changed.
    table : CteTable
        See `read_table`, and `with_header_settings` for what an exposure's header may override.
    expstart : float
        MJD; from SM4 on the serial trails are corrected too.
    read_noise : mapping of str to float
        READNSEA..D of CCDTAB by amp letter, electrons.
    threads : int
        How many threads compute.
    report : callable, optional
        Called from the calling thread, about ten times a second.
    cancelled : callable, optional
        Asked about ten times a second; True stops within a few columns' time.
    plain : bool
        Use the reference kernel (for tests; slow).

    Returns
    -------
    list of (sci, err)
        New arrays, a pair for each chip. DQ is not touched by this correction.

    Raises
    ------
    EngineError
        An amp's area is too small to be smoothed, or an amp has no read noise.
    InterruptedRunError
        `cancelled` said so.
    """
    serial = expstart >= SM4
    areas = [[_area(chip, place) for place in range(len(chip.amps))] for chip in chips]
    lines = sum(area.columns + (area.rows if serial else 0) for amps in areas for area in amps)
    answer = []
    with Workers(threads, lines, report, cancelled) as workers:
        for chip, amps in zip(chips, areas, strict=True):
            sci, err = chip.sci.copy(), chip.err.copy()
            for amp, area in zip(chip.amps, amps, strict=True):
                if amp not in read_noise:
                    message = f"no read noise for amp {amp}"
                    raise EngineError(message, where="CCDTAB")
                noise = float(np.float32(read_noise[amp]))
                for is_serial in (True, False) if serial else (False,):
                    traps = table.serial[amp] if is_serial else table.parallel
                    workers.begin(amp, "serial" if is_serial else "parallel")
                    correct_amp(
                        oriented(amp, area.part(sci), is_serial),
                        oriented(amp, area.part(err), is_serial),
                        traps,
                        sensitivity(traps, amp, area.left, area.rows if is_serial else area.columns),
                        fraction=(expstart - traps.date0) / (traps.date1 - traps.date0),
                        noise=noise,
                        threshold=table.threshold,
                        ease=table.ease,
                        workers=workers,
                        plain=plain,
                    )
            answer.append((sci, err))
    return answer


@dataclass(frozen=True)
class _Area:
    left: int
    columns: int
    rows: int

    def part(self, frame: Image) -> Image:
        return frame[: self.rows, self.left : self.left + self.columns]


def _area(chip: ChipFrame, place: int) -> _Area:
    """Find the part of a chip that an amp read out; places and clipping as calacs has them."""
    ny, nx = chip.sci.shape
    boundary = min(chip.boundary, nx)
    if place == 0:
        area = _Area(0, boundary or nx, min(chip.height, ny) or ny)
    else:
        area = _Area(boundary, nx - boundary, min(chip.height, ny) or ny)
    if area.columns < SMALLEST or area.rows < SMALLEST:
        message = f"amp {chip.amps[place]} has {area.columns} x {area.rows} pixels; expected {SMALLEST} a side at least"
        raise EngineError(message, where="CCDTAB, AMPX")
    return area


def sensitivity(traps: TrapSet, amp: str, left: int, columns: int) -> Doubles:
    """Choose the SCLBYCOL rows of an amp's lines, in the order of `oriented`.

    calacs counts columns from the frame's own left edge, also for subarrays and, for the serial correction, along the
    lines; a column that the table does not name has no traps.

    Returns
    -------
    (columns, 4) float64
    """
    offset = left + (COLUMNS_PER_CHIP if amp in "AB" else 0)
    chosen = np.zeros((columns, 4))
    place = traps.column - offset
    inside = (place >= 0) & (place < columns)
    chosen[place[inside]] = traps.sensitivity[inside]
    return chosen


def oriented(amp: str, frame: Image, serial: bool) -> Image:
    """View an amp's part of a chip as lines along which charge was moved, the end read out first.

    Parameters
    ----------
    amp : str
        A, B, C or D.
    frame : (ny, nx) array
        The amp's part of the chip as in the file.
    serial : bool
        Lines are rows of the chip; in the order into which calacs's rotation brings them.

    Returns
    -------
    (nx, ny) array, or (ny, nx) when serial
        A view: writing to it writes to `frame`.
    """
    to_the_right = amp in "BD"
    at_the_top = amp in "AB"
    if serial:
        lines = frame if at_the_top else frame[::-1]
        return lines[:, ::-1] if to_the_right else lines
    rows = frame[::-1] if at_the_top else frame
    return (rows[:, ::-1] if to_the_right else rows).T


def correct_amp(
    sci: Image,
    err: Image,
    traps: TrapSet,
    sensitivities: Doubles,
    *,
    fraction: float,
    noise: float,
    threshold: float,
    ease: bool,
    workers: Workers,
    plain: bool = False,
) -> int:
    """Correct the lines of one amp in place; answer how many runs of a line it took.

    Parameters
    ----------
    sci, err : (lines, pixels) float32, electrons
        As `oriented` gives them.
    traps, sensitivities : TrapSet, (lines, 4) float64
        See `sensitivity`.
    fraction, threshold, ease
        See `invert_columns`.
    noise : float
        Read noise, electrons.
    """
    observed = np.empty(sci.shape, np.float32)
    workers.spread(len(sci), lambda first, last: fetch_lines(sci, observed, first, last))
    smooth = smooth_frame(observed, noise, workers)
    corrected = np.empty_like(smooth)
    release, cumulated, peak, size = profiles(traps)
    loss = losses(traps, sensitivities, fraction, sci.shape[1])

    def invert(first: int, last: int) -> int:
        runs: int = invert_columns(
            smooth,
            corrected,
            first,
            last,
            sensitivities,
            fraction,
            traps.level,
            size,
            release,
            cumulated,
            peak,
            loss,
            traps.length,
            traps.models,
            traps.shifts,
            noise,
            threshold,
            ease,
            plain,
        )
        return runs

    runs = workers.spread(len(smooth), invert, counts=True)
    workers.spread(len(sci), lambda first, last: apply_correction(smooth, corrected, sci, err, first, last))
    return sum(runs)


def smooth_frame(observed: Image, noise: float, workers: Workers) -> Image:
    """Smooth an image within its read noise; see `smooth_columns`."""
    if noise < LEAST_NOISE:
        return observed.copy()
    old = observed
    new = np.empty_like(observed)
    spare = np.empty_like(observed)
    for _ in range(MOST_STEPS):
        source, target = old, new

        def step(first: int, last: int, source: Image = source, target: Image = target) -> tuple[float, int]:
            sums: tuple[float, int] = smooth_columns(observed, source, target, first, last, noise)
            return sums

        parts = workers.spread(len(observed), step, size=SMOOTHED_AT_ONCE)
        squares = sum(part[0] for part in parts)
        counted = sum(part[1] for part in parts)
        old, new = target, (spare if source is observed else source)
        if counted and noise - np.sqrt(squares / counted) < ENOUGH:
            break
    return old
