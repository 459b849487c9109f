"""The error plane: read noise and photon noise added to what the bias image brought."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Image, compiled
from acsrecipe.engines.embedded.tables import AmplifierSplit, CcdParameters
from acsrecipe.errors import EngineError


@compiled
def add_noise(sci: Image, err: Image, start: int, stop: int, variance: np.float32) -> None:
    """Set ``err = sqrt(max(sci, 0) + variance + err**2)`` in columns start to stop, electrons, float32."""
    for j in range(sci.shape[0]):
        # Slices, so that the compiler knows the indices to be positive and can use wide registers.
        signals, errors = sci[j, start:stop], err[j, start:stop]
        for i in range(signals.size):
            signal = np.float32(0) if signals[i] < 0 else signals[i]
            errors[i] = np.sqrt(signal + variance + errors[i] * errors[i])


def estimate_noise(
    sci: Image, err: Image, ccd: CcdParameters, split: AmplifierSplit, where: str, *, readnoise_only: bool, x: int = 0
) -> None:
    """Fill the error plane, in place.

    Parameters
    ----------
    sci, err : (ny, nx) float32, electrons
    readnoise_only : bool
        For bias frames (TARGNAME begins with BIAS): the error is the read noise alone.
    x : int
        Column of the raw image that the planes begin at.

    Raises
    ------
    EngineError
        When the amplifier that read the first column has no read noise in CCDTAB.
    """
    first = split.left if split.boundary > 0 else split.right
    if ccd.readnoise[first] == 0:
        message = f"CCDTAB gives no read noise for amplifier {'ABCD'[first]}"
        raise EngineError(message, where=where)
    width = sci.shape[1]
    boundary = min(max(split.boundary - x, 0), width)
    for start, stop, amp in ((0, boundary, split.left), (boundary, width, split.right)):
        noise = np.float32(ccd.readnoise[amp])
        if readnoise_only:
            err[:, start:stop] = noise
        elif stop > start:
            add_noise(sci, err, start, stop, noise * noise)
