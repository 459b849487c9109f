"""From data numbers to electrons: always done, before the overscan is looked at."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Image, compiled
from acsrecipe.engines.embedded.tables import AmplifierSplit, CcdParameters
from acsrecipe.errors import EngineError


@compiled
def convert_to_electrons(plane: Image, boundary: int, left: np.float32, right: np.float32) -> None:
    """Multiply a science or error plane, (ny, nx) in DN, by the gains left and right of a column, in place."""
    for j in range(plane.shape[0]):
        # Slices, so that the compiler knows the indices to be positive and can use wide registers.
        near, far = plane[j, :boundary], plane[j, boundary:]
        for i in range(near.size):
            near[i] *= left
        for i in range(far.size):
            far[i] *= right


def gains_of(ccd: CcdParameters, split: AmplifierSplit, where: str) -> tuple[np.float32, np.float32]:
    """Give the gains of the amplifiers that read a chip's left and right columns, electrons per DN.

    Raises
    ------
    EngineError
        When the amplifier that read the first column has no gain in CCDTAB.
    """
    first = split.left if split.boundary > 0 else split.right
    if ccd.gain[first] == 0:
        message = f"CCDTAB gives no gain for amplifier {'ABCD'[first]}, which CCDAMP does not name"
        raise EngineError(message, where=where)
    return np.float32(ccd.gain[split.left]), np.float32(ccd.gain[split.right])
