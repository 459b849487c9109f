"""DARKCORR: the dark current of DARKTIME seconds, and how many seconds that is."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded.arithmetic import Plane, subtract
from acsrecipe.engines.embedded.compiled import Doubles, Flags, Image, compiled
from acsrecipe.engines.embedded.frame import CYCLE_24, SERVICING_MISSION_4, Observation
from acsrecipe.engines.embedded.statistics import accumulate_good
from acsrecipe.engines.embedded.tables import CcdParameters

# Subarrays of the flight software of 2016, whose overhead is known. WFC2-POL* and WFC2-MRAMPQ are not among them.
_APERTURES = frozenset(
    [f"WFC{chip}{amp}-{size}" for chip, amp in ("1A", "1B", "2C", "2D") for size in ("2K", "1K", "512")]
    + ["WFC1-IRAMPQ", "WFC1-MRAMPQ", "WFC2-ORAMPQ", "WFC1-SMFL"]
    + [f"WFC1-POL{angle}{band}" for angle in (0, 60, 120) for band in ("UV", "V")]
)


def total_darktime(seen: Observation, ccd: CcdParameters) -> float:
    """Give the seconds during which dark current gathered: DARKTIME, and overhead where it is known.

    The overhead is of full frames since Servicing Mission 4, and of named subarrays since Cycle 24 (ACS Data
    Handbook 3.4.6). Single precision.
    """
    offset = np.float32(ccd.overhead_unflashed)
    if seen.flashdur > 0 and seen.flashsta == "SUCCESSFUL":
        offset = np.float32(ccd.overhead_flashed)
    if seen.subarray:
        counts = seen.expstart >= CYCLE_24 and seen.aperture in _APERTURES
    else:
        counts = seen.expstart >= SERVICING_MISSION_4
    darktime = np.float32(seen.darktime)
    return float(darktime + offset) if counts else float(darktime)


@compiled
def subtract_dark(
    sci: Image,
    err: Image,
    dq: Flags,
    dark_sci: Plane,
    dark_err: Plane,
    dark_dq: Plane,
    darktime: float,
    serious: int,
    totals: Doubles,
) -> None:
    """Subtract a dark image scaled to DARKTIME, in place.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Trimmed, electrons.
    dark_sci, dark_err, dark_dq : (ny, nx)
        Electrons per second, native or stored.
    totals : (2,) float64
        Gathers count and sum of the scaled dark's good pixels, for MEANDARK.
    """
    accumulate_good(dark_sci, dark_dq, np.float32(darktime), serious, totals)
    subtract(sci, err, dq, dark_sci, dark_err, dark_dq, np.float32(darktime))
