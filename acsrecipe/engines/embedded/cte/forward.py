"""Trail charge as a readout does: what the correction has to undo, for simulations and for checking it."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Doubles, Image
from acsrecipe.engines.embedded.compiling import jitted
from acsrecipe.engines.embedded.cte.bits import CHUNK, LANES
from acsrecipe.engines.embedded.cte.inversion import aligned, fill_traps, losses, prepare_traps, profiles
from acsrecipe.engines.embedded.cte.readout import readout
from acsrecipe.engines.embedded.cte.table import TrapSet
from acsrecipe.engines.embedded.cte.workers import Workers


@jitted
def trail_columns(
    frame: Image,
    trailed: Image,
    first: int,
    last: int,
    sensitivity: Doubles,
    fraction: float,
    q: Doubles,
    size: Doubles,
    release: Doubles,
    cumulated: Doubles,
    peak: Doubles,
    loss: Doubles,
    length: int,
    shifts: int,
) -> None:
    """Read out columns `first` to `last` of `frame` (finite pixels) into `trailed`; arguments as `invert_columns`."""
    rows = frame.shape[1]
    blocks = (rows + LANES - 1) // LANES
    padded = blocks * LANES
    pixels = aligned(padded + CHUNK)
    bounds = np.full((2, (blocks + LANES - 1) // LANES * LANES), -np.inf)
    traps = np.empty(rows, np.float32)
    wide = aligned(padded + CHUNK)
    lower = aligned(padded + CHUNK)
    ratio = aligned(padded + CHUNK)
    falls = np.empty(padded + 1, np.int32)
    for column in range(first, last):
        fill_traps(traps, sensitivity[column], fraction)
        prepare_traps(traps, wide, lower, ratio, falls)
        pixels[rows:] = -np.inf
        for i in range(rows):
            pixels[i] = frame[column, i]
        for _ in range(shifts):
            readout(pixels, bounds, blocks, wide, lower, ratio, falls, q, size, release, cumulated, peak, loss, length)
        for i in range(rows):
            trailed[column, i] = pixels[i]


def trail_amp(frame: Image, traps: TrapSet, sensitivities: Doubles, *, fraction: float, threads: int = 1) -> Image:
    """Trail the lines of one amp.

    Parameters
    ----------
    frame : (lines, pixels) float32, electrons
        As `oriented` gives them; not changed.
    traps, sensitivities : TrapSet, (lines, 4) float64
        See `sensitivity`.
    fraction : float
        (EXPSTART - CTEDATE0) / (CTEDATE1 - CTEDATE0).

    Returns
    -------
    (lines, pixels) float32, electrons
    """
    observed = np.ascontiguousarray(frame)
    trailed = np.empty_like(observed)
    release, cumulated, peak, size = profiles(traps)
    loss = losses(traps, sensitivities, fraction, frame.shape[1])

    def read(first: int, last: int) -> None:
        trail_columns(
            observed,
            trailed,
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
            traps.shifts,
        )

    with Workers(threads, len(observed), None, None) as workers:
        workers.spread(len(observed), read)
    return trailed
