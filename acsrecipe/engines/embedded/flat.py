"""FLATCORR: division by the pixel-to-pixel flat, and by the delta flat where there is one."""

from __future__ import annotations

from acsrecipe.engines.embedded.arithmetic import Plane, divide
from acsrecipe.engines.embedded.compiled import Flags, Image, compiled


@compiled
def divide_by_flat(sci: Image, err: Image, dq: Flags, flat_sci: Plane, flat_err: Plane, flat_dq: Plane) -> None:
    """Divide by a flat field, in place.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Trimmed, electrons.
    flat_sci, flat_err, flat_dq : (ny, nx)
        Native or stored. Where it is 0, science and error stay and DQ bit 512 is set.
    """
    divide(sci, err, dq, flat_sci, flat_err, flat_dq)
