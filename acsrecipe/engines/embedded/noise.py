"""The error plane: read noise and photon noise added to what the bias image brought."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Image, compiled
from acsrecipe.engines.embedded.tables import AmplifierSplit, CcdParameters
from acsrecipe.errors import EngineError


@compiled
def _add(signals: Image, errors: Image, noise: np.float32) -> None:
    """Do so for a line's columns of one amplifier."""
    for i in range(signals.size):
        signal = np.float32(0) if signals[i] < 0 else signals[i]
        errors[i] = np.sqrt(signal + noise * noise + errors[i] * errors[i])


@compiled
def estimate_noise(
    sci: Image, err: Image, boundary: int, left: np.float32, right: np.float32, readnoise_only: bool
) -> None:
    """Set ``err = sqrt(max(sci, 0) + readnoise**2 + err**2)``, in place.

    Parameters
    ----------
    sci, err : (ny, nx) float32, electrons
    boundary : int
        Column at which the right amplifier begins.
    left, right : float32
        Read noise, electrons.
    readnoise_only : bool
        For bias frames (TARGNAME begins with BIAS): the error is the read noise alone.
    """
    nx = sci.shape[1]
    for j in range(sci.shape[0]):
        if readnoise_only:
            for i in range(nx):
                err[j, i] = left if i < boundary else right
        else:
            # Slices, so that the compiler knows the indices to be positive and can use wide registers.
            _add(sci[j, :boundary], err[j, :boundary], left)
            _add(sci[j, boundary:], err[j, boundary:], right)


def readnoise_of(ccd: CcdParameters, split: AmplifierSplit, where: str) -> tuple[np.float32, np.float32]:
    """Give the read noise of the amplifiers that read a chip's left and right columns, electrons.

    Raises
    ------
    EngineError
        When the amplifier that read the first column has no read noise in CCDTAB.
    """
    first = split.left if split.boundary > 0 else split.right
    if ccd.readnoise[first] == 0:
        message = f"CCDTAB gives no read noise for amplifier {'ABCD'[first]}"
        raise EngineError(message, where=where)
    return np.float32(ccd.readnoise[split.left]), np.float32(ccd.readnoise[split.right])
