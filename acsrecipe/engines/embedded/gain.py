"""From data numbers to electrons: always done, before the overscan is looked at."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.compiled import Image
from acsrecipe.engines.embedded.tables import AmplifierSplit, CcdParameters
from acsrecipe.errors import EngineError


def convert_to_electrons(sci: Image, err: Image, ccd: CcdParameters, split: AmplifierSplit, where: str) -> None:
    """Multiply science and error by the amplifiers' gains, in place.

    Parameters
    ----------
    sci, err : (ny, nx) float32
        DN in, electrons out.

    Raises
    ------
    EngineError
        When the amplifier that read the first column has no gain in CCDTAB.
    """
    first = split.left if split.boundary > 0 else split.right
    if ccd.gain[first] == 0:
        message = f"CCDTAB gives no gain for amplifier {'ABCD'[first]}, which CCDAMP does not name"
        raise EngineError(message, where=where)
    for columns, amp in ((slice(0, split.boundary), split.left), (slice(split.boundary, None), split.right)):
        factor = np.float32(ccd.gain[amp])
        sci[:, columns] *= factor
        err[:, columns] *= factor
