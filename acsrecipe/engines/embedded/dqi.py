"""DQICORR: flags of saturated converters and of known bad pixels.

Sources: ACS Data Handbook 3.4.3; the order (saturation in raw DN, before the bias) is calacs's.
"""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Flags, Image, compiled
from acsrecipe.engines.embedded.frame import Observation
from acsrecipe.engines.embedded.references import Reference
from acsrecipe.engines.embedded.tables import cell, columns_of, same_gain
from acsrecipe.errors import EngineError

CONVERTER_SATURATED = 2048
PLACE_HOLDER = 64


@compiled
def flag_converter_saturation(sci: Image, dq: Flags, threshold: np.float32) -> None:
    """Set bit 2048 where raw DN, (ny, nx) float32, reach the converter's limit."""
    for j in range(sci.shape[0]):
        for i in range(sci.shape[1]):
            dq[j, i] |= np.int16(CONVERTER_SATURATED) if sci[j, i] >= threshold else np.int16(0)


@compiled
def flag_runs(
    dq: Flags,
    x: np.ndarray[tuple[int], np.dtype[np.int64]],
    y: np.ndarray[tuple[int], np.dtype[np.int64]],
    length: np.ndarray[tuple[int], np.dtype[np.int64]],
    axis: np.ndarray[tuple[int], np.dtype[np.int64]],
    value: np.ndarray[tuple[int], np.dtype[np.int16]],
) -> None:
    """Set flags along runs of pixels.

    Parameters
    ----------
    dq : (ny, nx) int16
        Changed.
    x, y : (n,) int64
        First pixel of each run, from 0, in the image; runs that leave the image are cut.
    length, axis : (n,) int64
        Pixels, and the direction: 1 along a line, 2 along a column.
    value : (n,) int16
    """
    ny, nx = dq.shape
    for k in range(x.size):
        if axis[k] == 1:
            if 0 <= y[k] < ny:
                for i in range(max(x[k], 0), min(x[k] + length[k], nx)):
                    dq[y[k], i] |= value[k]
        elif 0 <= x[k] < nx:
            for j in range(max(y[k], 0), min(y[k] + length[k], ny)):
                dq[j, x[k]] |= value[k]


def flag_bad_pixels(dq: Flags, reference: Reference, seen: Observation, chip: int, ltv: tuple[float, float]) -> None:
    """Set the flags of BPIXTAB's rows for this chip, amplifiers and gain.

    Parameters
    ----------
    dq : (ny, nx) int16
        Of the raw image, changed.
    ltv : (float, float)
        Added to the table's trimmed chip coordinates.

    Raises
    ------
    EngineError
        When a column is missing or a row has an axis other than 1 and 2, or no length.
    """
    columns = columns_of(reference, "PIX1", "PIX2", "LENGTH", "AXIS", "VALUE", "CCDCHIP")
    count = columns["PIX1"].size
    match = np.isin(columns["CCDCHIP"], (-999, -1, chip))
    if "CCDAMP" in columns:
        amps, inverse = np.unique(columns["CCDAMP"], return_inverse=True)
        match &= np.array([cell(amp) in ("N/A", "ANY", seen.ccdamp) for amp in amps], dtype=bool)[inverse]
    if "CCDGAIN" in columns:
        match &= same_gain(columns["CCDGAIN"], seen.ccdgain)
    axis, length = columns["AXIS"], columns["LENGTH"]
    if count and (not np.isin(axis, (1, 2)).all() or (length <= 0).any()):
        message = f"BPIXTAB {reference.name} has a row with AXIS other than 1 and 2, or LENGTH below 1"
        raise EngineError(message, where=str(reference.file.path))
    if not match.any():
        # calacs marks one pixel, so that later programs find some flag set.
        dq[1, 1] |= np.int16(PLACE_HOLDER)
        return
    flag_runs(
        dq,
        np.trunc(columns["PIX1"][match] - 1 + ltv[0]).astype(np.int64),
        np.trunc(columns["PIX2"][match] - 1 + ltv[1]).astype(np.int64),
        length[match].astype(np.int64),
        axis[match].astype(np.int64),
        columns["VALUE"][match].astype(np.int16),
    )
