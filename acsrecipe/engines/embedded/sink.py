"""SINKCORR: flags of sink pixels and of their tails (Ryon & Grogin, ACS ISR 2017-01, section 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.arithmetic import Plane
from acsrecipe.engines.embedded.byteorder import as_number
from acsrecipe.engines.embedded.compiled import Flags, Image, compiled

SINK = 1024


def flag_sinks(sci: Image, dq: Flags, sink: Plane, upwards: bool) -> None:
    """Set bit 1024 on sink pixels, their downstream neighbours and their tails, in place.

    Parameters
    ----------
    sci, dq : (ny, nx)
        Raw image, electrons.
    sink : (ny, nx)
        The SNKCFILE, native or stored: below -1 a sink, -1 its downstream neighbour, above 0 the signal
        below which a tail pixel is affected, 0 nothing.
    upwards : bool
        Whether the amplifier is below, so that tails run to higher lines.
    """
    nx = sci.shape[1]
    _flag_sinks(sci, dq, sink, upwards, np.zeros(nx, np.bool_), np.zeros(nx, np.float32))


@compiled
def _flag_sinks(
    sci: Image, dq: Flags, sink: Plane, upwards: bool, going: NDArray[np.bool_], depth: NDArray[np.float32]
) -> None:
    """Do so; ``going`` and ``depth``, (nx,), all 0, remember what goes on in each column."""
    ny, nx = sci.shape
    for step in range(ny):
        j = step if upwards else ny - 1 - step
        for i in range(nx):
            value = as_number(sink[j, i])
            if value < 0:
                going[i] = True
                if value < -1:
                    depth[i] = sci[j, i]
                dq[j, i] |= np.int16(SINK)
            elif value > 0:
                if going[i]:
                    if value > depth[i]:
                        dq[j, i] |= np.int16(SINK)
                    else:
                        going[i] = False
            else:
                going[i] = False
