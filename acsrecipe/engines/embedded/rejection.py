"""Parameters of the cosmic-ray rejection: the row of CRREJTAB for a group's size and exposure time."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from acsrecipe.engines.embedded.references import Reference
from acsrecipe.engines.embedded.tables import cell, columns_of
from acsrecipe.errors import EngineError


@dataclass(frozen=True)
class Rejection:
    """What CRREJTAB asks for; numbers in single precision.

    Attributes
    ----------
    meanexp : float
        Mean exposure time of the group, seconds (not the table's limit).
    sigmas : str
        As the table spells them.
    thresholds : tuple of float
        One per iteration, standard deviations.
    radius, spill : float
        How far, and at what fraction of the threshold, a hit takes its neighbours with it (CRRADIUS, CRTHRESH).
    initial, sky : str
        INITGUES and SKYSUB.
    scalense : float
        Multiplicative noise, per cent.
    badinpdq : int
        DQ bits that keep a pixel out.
    mask : bool
        Whether hits are flagged in the single exposures too (CRMASK).
    """

    meanexp: float
    sigmas: str
    thresholds: tuple[float, ...]
    radius: float
    spill: float
    initial: str
    sky: str
    scalense: float
    badinpdq: int
    mask: bool


def find_rejection(reference: Reference, images: int, total: float) -> Rejection:
    """Find the row of CRREJTAB for a number of images and their total exposure time.

    Of the rows for that number (or the largest in the table), the one with the smallest MEANEXP that is not
    below the mean exposure time.

    Raises
    ------
    EngineError
        When there is none, or CRSIGMAS is no list of numbers.
    """
    where = str(reference.file.path)
    columns = columns_of(
        reference,
        *("CRSPLIT", "MEANEXP", "CRSIGMAS", "SKYSUB", "CRRADIUS", "CRTHRESH", "INITGUES", "SCALENSE"),
        *("BADINPDQ", "CRMASK"),
    )
    mean = np.float32(total) / np.float32(images)
    splits, limits = columns["CRSPLIT"], columns["MEANEXP"].astype(np.float32)
    wanted = min(images, int(splits.max())) if splits.size else images
    distance = np.where(splits == wanted, limits - mean, -1.0)
    found = np.flatnonzero(distance >= 0)
    if not found.size:
        message = f"CRREJTAB {reference.name} has no row for CRSPLIT {wanted} with MEANEXP of {mean:g} s or more"
        raise EngineError(message, where=where)
    # Of equal rows calacs keeps the last.
    row = int(found[::-1][np.argmin(distance[found][::-1])])
    sigmas = cell(columns["CRSIGMAS"][row])
    try:
        thresholds = tuple(float(np.float32(float(word))) for word in re.split(r"[,;/ ]\s*", sigmas.strip()) if word)
    except ValueError:
        thresholds = ()
    if not 1 <= len(thresholds) <= 20:
        message = f"CRREJTAB {reference.name} has CRSIGMAS {sigmas!r}, expected 1 to 20 numbers"
        raise EngineError(message, where=where)
    sky = cell(columns["SKYSUB"][row])
    if sky not in ("none", "mode"):
        message = f"CRREJTAB {reference.name} has SKYSUB {sky!r}, expected none or mode"
        raise EngineError(message, where=where)
    mask = columns["CRMASK"][row]
    initial = cell(columns["INITGUES"][row])
    return Rejection(
        meanexp=float(mean),
        sigmas=sigmas,
        thresholds=thresholds,
        radius=float(np.float32(columns["CRRADIUS"][row])),
        spill=float(np.float32(columns["CRTHRESH"][row])),
        # Anything that does not begin with med or min is taken for minimum.
        initial=initial if initial[:3] in ("med", "min") else "minimum",
        sky=sky,
        scalense=float(np.float32(columns["SCALENSE"][row])),
        badinpdq=int(columns["BADINPDQ"][row]),
        mask=bytes(mask) == b"T" if isinstance(mask, bytes) else bool(mask),
    )
