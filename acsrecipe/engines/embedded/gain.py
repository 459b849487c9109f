"""From data numbers to electrons: always done, before the overscan is looked at."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Image
from acsrecipe.engines.embedded.tables import AmplifierSplit, CcdParameters
from acsrecipe.errors import EngineError


def convert_to_electrons(plane: Image, ccd: CcdParameters, split: AmplifierSplit, where: str, *, x: int = 0) -> None:
    """Multiply a science or error plane by the amplifiers' gains, in place.

    Parameters
    ----------
    plane : (ny, nx) float32
        DN in, electrons out.
    x : int
        Column of the raw image that the plane begins at.

    Raises
    ------
    EngineError
        When the amplifier that read the first column has no gain in CCDTAB.
    """
    first = split.left if split.boundary > 0 else split.right
    if ccd.gain[first] == 0:
        message = f"CCDTAB gives no gain for amplifier {'ABCD'[first]}, which CCDAMP does not name"
        raise EngineError(message, where=where)
    boundary = max(split.boundary - x, 0)
    plane[:, :boundary] *= np.float32(ccd.gain[split.left])
    plane[:, boundary:] *= np.float32(ccd.gain[split.right])
