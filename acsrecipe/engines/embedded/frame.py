"""What flows through the engine: an exposure's headers and, per chip, its three planes.

A `Frame` is what the detector stage makes (calacs: the ``blv_tmp`` file, in memory): overscan corrected and
trimmed, in electrons. Charge-transfer correction takes a Frame and gives a Frame; the image stage
(dark, flash, flat, photometry) turns a Frame into a product; cosmic-ray rejection turns several Frames into one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.compiled import Doubles, Flags, Image, Lines
from acsrecipe.engines.embedded.fitsfile import Undecoded
from acsrecipe.errors import EngineError

AMPLIFIERS = "ABCD"

# Modified Julian Dates at which calacs changes its ways: Servicing Mission 4, and Cycle 24.
SERVICING_MISSION_4 = 54962.0
CYCLE_24 = 57662.0


@dataclass(frozen=True)
class LineLevels:
    """Bias level of each line in a part of a raw image.

    Attributes
    ----------
    area : (int, int, int, int)
        First and last line, first and last column, the last ones not included.
    values : (lines,) float64
        Electrons.
    """

    area: tuple[int, int, int, int]
    values: Doubles


@dataclass
class Imset:
    """One chip: planes and their cards.

    Attributes
    ----------
    sci, err : (ny, nx) float32
        DN when read, electrons after the gain.
    dq : (ny, nx) int16
        Data quality bits.
    sci_cards, err_cards, dq_cards : list of str
        Edited in place while the stages run.
    chip : int
        CCDCHIP, 1 (amplifiers A and B) or 2 (C and D).
    raw : Undecoded or None
        The RAW file's pixels, which ``sci`` is filled with as the detector stage begins; None later on.
    levels : list of LineLevels
        Bias levels found, but subtracted only when the overscan is cut off.
    pending : callable or None
        Does what is left of the detector stage to some lines, but their errors; lines up to ``done`` are done.
    errors : callable or None
        Gives what computes errors of some lines from ``sci``, into a plane or (line ``j`` into line ``j % n``) into
        ``n`` lines; ``estimate`` is that for ``err``, whose lines up to ``estimated`` are computed.
    """

    sci: Image
    err: Image
    dq: Flags
    sci_cards: Cards
    err_cards: Cards
    dq_cards: Cards
    chip: int
    raw: Undecoded | None = None
    levels: list[LineLevels] = field(default_factory=list)
    pending: Lines | None = None
    done: int = 0
    errors: Callable[[Image], Lines] | None = None
    estimate: Lines | None = None
    estimated: int = 0

    def complete(self, last: int) -> None:
        """Do what is left of the detector stage to all lines before ``last``; in order, for memory is shared."""
        self.complete_pixels(last)
        if self.errors is None or last <= self.estimated:
            return
        if self.estimate is None:
            self.estimate = self.errors(self.err)
        self.estimate(self.estimated, last)
        self.estimated = last
        if last == self.sci.shape[0]:
            self.errors = self.estimate = None

    def complete_pixels(self, last: int) -> None:
        """Do so, but leave errors away: ``err`` takes no memory until they are computed."""
        if self.pending is None or last <= self.done:
            return
        self.pending(self.done, last)
        self.done = last
        if last == self.sci.shape[0]:
            self.pending = None

    @property
    def serious(self) -> int:
        """SDQFLAGS: the bits that keep a pixel from being used in a fit or a mean."""
        return header.integer(self.sci_cards, "SDQFLAGS", 65535)


@dataclass
class Frame:
    """An exposure between two stages."""

    root: str
    path: Path
    primary: Cards
    imsets: list[Imset]

    def complete(self) -> None:
        """Do what is left of the detector stage to all lines."""
        for imset in self.imsets:
            imset.complete(imset.sci.shape[0])


@dataclass(frozen=True)
class Observation:
    """What the primary header says of how the exposure was taken; defaults are calacs's.

    Attributes
    ----------
    ccdgain, flashdur : float
        Rounded to single precision, as calacs keeps them.
    darktime : float
        Seconds; 0 when the card is absent, as calacs has it.
    """

    root: str
    aperture: str
    obstype: str
    jwrotype: str
    filter1: str
    filter2: str
    exptime: float
    expstart: float
    subarray: bool
    ccdamp: str
    ccdgain: float
    offsets: tuple[int, int, int, int]
    flashdur: float
    flashsta: str
    darktime: float
    targname: str
    lrfwave: float
    imsets: int


def observation(primary: Cards, where: str) -> Observation:
    """Read an Observation from primary cards; raises EngineError where calacs would refuse."""
    import numpy as np

    detector = header.text(primary, "DETECTOR", where=where)
    if detector != "WFC":
        message = f"DETECTOR is {detector}, expected WFC: the embedded engine knows no other"
        raise EngineError(message, where=where, hint='use engine = "calacs"')
    ccdamp = header.text(primary, "CCDAMP", where=where).upper()
    if not ccdamp or set(ccdamp) - set(AMPLIFIERS):
        message = f"CCDAMP is {ccdamp or 'empty'}, expected letters of ABCD"
        raise EngineError(message, where=where)
    exptime = header.number(primary, "EXPTIME", where=where)
    if exptime < 0:
        message = f"EXPTIME is {exptime}, expected 0 or more"
        raise EngineError(message, where=where)
    imsets = header.integer(primary, "NEXTEND", 3) // 3
    if imsets < 1:
        message = "NEXTEND is below 3: there is no science image"
        raise EngineError(message, where=where)
    header.number(primary, "EXPEND", where=where)
    return Observation(
        root=header.text(primary, "ROOTNAME", where=where),
        aperture=header.text(primary, "APERTURE", "").upper(),
        obstype=header.text(primary, "OBSTYPE", ""),
        jwrotype=header.text(primary, "JWROTYPE", "").upper(),
        filter1=header.text(primary, "FILTER1", ""),
        filter2=header.text(primary, "FILTER2", ""),
        exptime=exptime,
        expstart=header.number(primary, "EXPSTART", where=where),
        subarray=header.truth(primary, "SUBARRAY", where=where),
        ccdamp=ccdamp[:4],
        ccdgain=float(np.float32(header.number(primary, "CCDGAIN", 1.0))),
        offsets=(
            header.integer(primary, "CCDOFSTA", 3),
            header.integer(primary, "CCDOFSTB", 3),
            header.integer(primary, "CCDOFSTC", 3),
            header.integer(primary, "CCDOFSTD", 3),
        ),
        flashdur=float(np.float32(header.number(primary, "FLASHDUR", 0.0))),
        flashsta=header.text(primary, "FLASHSTA", "").upper(),
        darktime=header.number(primary, "DARKTIME", 0.0),
        targname=header.text(primary, "TARGNAME", ""),
        lrfwave=header.number(primary, "LRFWAVE", -1.0),
        imsets=imsets,
    )


def corner(cards: Cards) -> tuple[int, int]:
    """Give the image's corner in unbinned detector pixels, from LTV; raises EngineError for binned data."""
    for keyword in ("LTM1_1", "LTM2_2"):
        if header.number(cards, keyword, 1.0) != 1.0:
            message = f"{keyword} is not 1: binned data"
            raise EngineError(message, hint='use engine = "calacs"')
    ltv1, ltv2 = header.number(cards, "LTV1", 0.0), header.number(cards, "LTV2", 0.0)
    return nearest(-ltv1), nearest(-ltv2)


def nearest(value: float) -> int:
    """Round half away from zero, as calacs does."""
    return int(value + 0.5) if value >= 0 else int(value - 0.5)
