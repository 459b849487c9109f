"""Invert the readout, column by column: find the charge that, read out, gives what was observed.

Steps and constants as in HSTCAL's ctegen2 (`inverseCTEBlur`, `correctCROverSubtraction`, `populateTrapPixelMap`).
Columns are independent, so any number of threads may each have a range of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.compiled import Doubles, Image
from acsrecipe.engines.embedded.compiling import jitted
from acsrecipe.engines.embedded.cte.bits import CHUNK, LANES
from acsrecipe.engines.embedded.cte.readout import readout, readout_plain
from acsrecipe.engines.embedded.cte.table import TrapSet

MOST_RUNS = 5  # of a column, when charge trails behind cosmic rays come out negative
REACH = 10  # rows before an over-subtracted pixel in which its cosmic ray is looked for
DETECTOR_ROWS = 2048.0
NODE_ROWS = 512.0  # SENS_0512 .. SENS_2048 are given for every 512th row


@jitted
def aligned(size: int) -> Doubles:
    """Make room for `size` float64 that begins at a cache line."""
    room = np.empty(size + CHUNK)
    skip = (-(room.ctypes.data // 8)) % CHUNK
    return room[skip : skip + size]


@jitted
def fill_traps(traps: Image, sensitivity: Doubles, fraction: float) -> None:
    """Fill one column of the trap map.

    Parameters
    ----------
    traps : (rows,) float32
        Receives the traps each row's charge has met, row 0 being read out first.
    sensitivity : (4,) float64
        The column's SENS_0512, _1024, _1536, _2048.
    fraction : float
        The age of the damage: (EXPSTART - CTEDATE0) / (CTEDATE1 - CTEDATE0).
    """
    for row in range(traps.size):
        place = row / NODE_ROWS
        if place > 2.999:
            place = 2.999
        node = int(np.floor(place))
        scale = sensitivity[node] + (sensitivity[node + 1] - sensitivity[node]) * (place - node)
        traps[row] = np.float32(scale * ((row + 1) / DETECTOR_ROWS) * fraction)


@jitted
def prepare_traps(traps: Image, wide: Doubles, lower: Doubles, ratio: Doubles, falls: NDArray[np.int32]) -> None:
    """Work out what `readout` wants of a column's traps (see there)."""
    rows = traps.size
    padded = wide.size - CHUNK
    wide[rows:] = 0.0
    ratio[:] = 1.0
    for i in range(rows):
        wide[i] = traps[i]
    lower[0] = 0.0
    lower[1:] = wide[:-1]
    falls[padded] = padded
    for i in range(padded - 1, -1, -1):
        falls[i] = falls[i + 1]
        if 0 < i < rows and wide[i] < wide[i - 1]:
            ratio[i] = wide[i] / wide[i - 1]
            falls[i] = i


@jitted
def ease_cosmic_rays(traps: Image, model: Doubles, observed: Doubles, threshold: float) -> bool:
    """Take a quarter of the traps from where a trail was over-subtracted; answer whether there was any such place.

    A cosmic ray that hits during readout has passed fewer traps than its row says, so that its correction leaves a
    hole: one pixel below `threshold` (-10), two together below -12, or three below -15 electrons, by correction.
    """
    found = False
    for i in range(REACH, traps.size - 2):
        m0 = model[i]
        m1 = m0 + model[i + 1]
        m2 = m1 + model[i + 2]
        if (
            (threshold > m0 and threshold > m0 - observed[i])
            or (m1 < -12.0 and m1 - observed[i] - observed[i + 1] < -12.0)
            or (m2 < -15.0 and m2 - observed[i] - observed[i + 1] - observed[i + 2] < -15.0)
        ):
            found = True
            brightest = i
            for k in range(i - REACH, i + 1):
                if model[k] - observed[k] > model[brightest] - observed[brightest]:
                    brightest = k
            for k in range(brightest, i + 1):
                traps[k] = np.float32(traps[k] * 0.75)
    return found


@jitted
def invert_columns(
    frame: Image,
    corrected: Image,
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
    models: int,
    shifts: int,
    noise: float,
    threshold: float,
    ease: bool,
    plain: bool,
) -> int:
    """Correct columns `first` to `last`; answer how many runs they took (one a column; more where rays were eased).

    Parameters
    ----------
    frame : (columns, rows) float32, electrons
        The smoothed image, one column of the detector a line, row 0 being read out first.
    corrected : (columns, rows) float32, electrons
        Receives the answer.
    sensitivity : (columns, 4) float64
        See `fill_traps`.
    fraction, threshold : float
        See `fill_traps`, `ease_cosmic_rays`.
    q, size, release, cumulated, peak, loss, length
        See `readout`.
    models, shifts : int
        PCTENFOR, PCTENPAR.
    noise : float
        Read noise in electrons: what is far below it is not corrected, but for the last time.
    ease : bool
        FIXROCR.
    plain : bool
        Use `readout_plain` for all columns (for tests; columns with NaN or infinity always take it).
    """
    rows = frame.shape[1]
    blocks = (rows + LANES - 1) // LANES
    padded = blocks * LANES
    groups = (blocks + LANES - 1) // LANES
    observed = np.empty(rows)
    before = np.empty(rows)
    model = aligned(padded + CHUNK)
    bounds = np.full((2, groups * LANES), -np.inf)
    traps = np.empty(rows, np.float32)
    wide = aligned(padded + CHUNK)
    lower = aligned(padded + CHUNK)
    ratio = aligned(padded + CHUNK)
    falls = np.empty(padded + 1, np.int32)
    noise2 = noise * noise
    runs = 0
    for column in range(first, last):
        finite = True
        for i in range(rows):
            observed[i] = frame[column, i]
            finite &= np.isfinite(observed[i])
        fill_traps(traps, sensitivity[column], fraction)
        for _attempt in range(MOST_RUNS):
            runs += 1
            prepare_traps(traps, wide, lower, ratio, falls)
            model[rows:] = -np.inf
            model[:rows] = observed
            for step in range(models):
                before[:] = model[:rows]
                for _shift in range(shifts):
                    if plain or not finite:
                        readout_plain(model, rows, wide, q, size, release, cumulated, length)
                    else:
                        readout(
                            model,
                            bounds,
                            blocks,
                            wide,
                            lower,
                            ratio,
                            falls,
                            q,
                            size,
                            release,
                            cumulated,
                            peak,
                            loss,
                            length,
                        )
                if step < models - 1:
                    for i in range(rows):
                        delta = model[i] - observed[i]
                        delta2 = delta * delta
                        model[i] = before[i] - delta * (delta2 / (delta2 + noise2))
                else:
                    for i in range(rows):
                        model[i] = before[i] - (model[i] - observed[i])
            if not (ease and ease_cosmic_rays(traps, model, observed, threshold)):
                break
        for i in range(rows):
            corrected[column, i] = model[i]
    return runs


def profiles(traps: TrapSet) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Lay out a trap set as the kernels want it.

    Returns
    -------
    release, cumulated : (ntraps, length + 16) float64
        Cut at the trail's length, eight zeros before and behind.
    peak : (ntraps,) float64
        The largest absolute value of each line of `release`.
    size : (ntraps,) float64, electrons
        What a trap takes in one of the `shifts` readouts.
    """
    padding = ((0, 0), (CHUNK, CHUNK))
    release = np.pad(traps.release[:, : traps.length], padding)
    cumulated = np.pad(traps.cumulated[:, : traps.length], padding)
    return release, cumulated, np.abs(release).max(axis=1), traps.size / traps.shifts


def losses(traps: TrapSet, sensitivities: Doubles, fraction: float, rows: int) -> Doubles:
    """Bound what a pixel can lose to each trap in one readout, in any of the columns.

    It loses `size` times the traps of its row, at most, where what is released to it is not negative; a little more
    where `cumulated` is a little below 0, and for rounding. Tables with other signs give no bound.

    Returns
    -------
    (ntraps,) float64, electrons
    """
    release, cumulated, _, size = profiles(traps)
    if fraction < 0 or sensitivities.min(initial=0) < 0 or release.min() < 0 or size.min() < 0:
        return np.full(size.size, np.inf)
    # Interpolation between nodes, and beyond the last one, stays within their extremes.
    most = sensitivities.max(initial=0) * fraction * max(1.0, rows / DETECTOR_ROWS) * 1.001
    return np.asarray(size * most * (1.001 - cumulated.min(axis=1)))
