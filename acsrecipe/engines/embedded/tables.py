"""Rows of the reference tables: CCD parameters (CCDTAB) and overscan regions (OSCNTAB).

A cell of -1, -999 or the text ANY matches whatever it is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.fitsfile import table
from acsrecipe.engines.embedded.frame import AMPLIFIERS, Observation
from acsrecipe.engines.embedded.references import Reference
from acsrecipe.errors import EngineError

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class CcdParameters:
    """One row of CCDTAB.

    Attributes
    ----------
    gain, readnoise, bias : tuple of float
        Amplifiers A to D, single precision; electrons/DN, electrons, DN. 0 for amplifiers not in CCDAMP.
    ampx, ampy : int
        First column and line read by the second amplifier, in trimmed coordinates.
    saturation : int
        DN from which the converter is saturated.
    overhead_flashed, overhead_unflashed : float
        Seconds that DARKTIME lacks, with and without post-flash.
    pedigree, descrip : str
        Of the row, for the history.
    """

    gain: tuple[float, float, float, float]
    readnoise: tuple[float, float, float, float]
    bias: tuple[float, float, float, float]
    ampx: int
    ampy: int
    saturation: int
    overhead_flashed: float
    overhead_unflashed: float
    pedigree: str
    descrip: str


@dataclass(frozen=True)
class OverscanRegions:
    """One row of OSCNTAB, columns and lines counted from 0.

    Attributes
    ----------
    trimx, trimy : (int, int)
        Columns and lines to cut at the start and the end.
    vx, vy : (int, int)
        Virtual overscan; negative when there is none.
    section_a, section_b : (int, int)
        First and last column of the leading and trailing bias section.
    """

    trimx: tuple[int, int]
    trimy: tuple[int, int]
    vx: tuple[int, int]
    vy: tuple[int, int]
    section_a: tuple[int, int]
    section_b: tuple[int, int]

    @property
    def has_virtual(self) -> bool:
        """Whether twenty virtual lines are cut, at either end."""
        return 20 in self.trimy


NO_OVERSCAN = OverscanRegions((0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0))


def columns_of(reference: Reference, *needed: str) -> Columns:
    """Read a reference table; raises EngineError when a column is missing."""
    columns = table(reference.file, reference.file.hdus[1])
    missing = [name for name in needed if name not in columns]
    if missing:
        message = f"{reference.keyword} {reference.name} has no column {', '.join(missing)}"
        raise EngineError(message, where=str(reference.file.path))
    return columns


def cell(value: Any) -> str:
    """Give a text cell without its trailing blanks and zeros."""
    return bytes(value).split(b"\0")[0].decode("latin-1").rstrip()


def same_number(cells: NDArray[Any], value: float) -> NDArray[np.bool_]:
    """Compare a column with a header's value, wildcards included."""
    result: NDArray[np.bool_] = (cells == value) | (cells == -1) | (cells == -999)
    return result


def same_text(cells: NDArray[Any], value: str) -> NDArray[np.bool_]:
    """Compare a text column with a header's value, wildcard included."""
    return np.array([cell(item) in ("ANY", value) for item in cells], dtype=np.bool_)


def same_gain(cells: NDArray[Any], gain: float) -> NDArray[np.bool_]:
    """Compare CCDGAIN: older tables hold whole numbers, and then the header's fraction is cut."""
    if cells.dtype.kind == "i":
        return same_number(cells, int(gain))
    return same_number(cells.astype(np.float32), float(np.float32(gain)))


_AMPS = tuple(AMPLIFIERS)


def ccd_parameters(reference: Reference, seen: Observation, chip: int, width: int, where: str) -> CcdParameters:
    """Find the row of CCDTAB for an exposure's amplifiers, gain, offsets and chip.

    Parameters
    ----------
    width : int
        Columns of the image, which bound AMPX.

    Raises
    ------
    EngineError
        When a column or the row is missing.
    """
    per_amp = [f"{stem}{amp}" for stem in ("CCDOFST", "CCDBIAS", "ATODGN", "READNSE") for amp in _AMPS]
    columns = columns_of(
        reference,
        *("CCDAMP", "CCDCHIP", "CCDGAIN", "BINAXIS1", "BINAXIS2", "AMPX", "AMPY", "ATODSAT", "SATURATE"),
        *("OVRHFLS", "OVRHUFLS", *per_amp),
    )
    match = same_text(columns["CCDAMP"], seen.ccdamp) & same_gain(columns["CCDGAIN"], seen.ccdgain)
    match &= same_number(columns["CCDCHIP"], chip)
    for amp, offset in zip(_AMPS, seen.offsets, strict=True):
        match &= same_number(columns[f"CCDOFST{amp}"], offset)
    found = np.flatnonzero(match)
    if not found.size:
        message = (
            f"CCDTAB {reference.name} has no row for CCDAMP {seen.ccdamp}, CCDCHIP {chip}, CCDGAIN {seen.ccdgain:g}, "
            f"CCDOFST {','.join(map(str, seen.offsets))}"
        )
        raise EngineError(message, where=where, hint="is an override of CCDGAIN or CCDAMP meant?")
    row = int(found[0])

    def amps(stem: str) -> tuple[float, float, float, float]:
        values = [float(np.float32(columns[f"{stem}{amp}"][row])) if amp in seen.ccdamp else 0.0 for amp in _AMPS]
        return values[0], values[1], values[2], values[3]

    ampx = int(columns["AMPX"][row])
    return CcdParameters(
        gain=amps("ATODGN"),
        readnoise=amps("READNSE"),
        bias=amps("CCDBIAS"),
        ampx=min(ampx, width),
        ampy=int(columns["AMPY"][row]),
        saturation=int(columns["ATODSAT"][row]),
        overhead_flashed=float(np.float32(columns["OVRHFLS"][row])),
        overhead_unflashed=float(np.float32(columns["OVRHUFLS"][row])),
        pedigree=cell(columns["PEDIGREE"][row]) if "PEDIGREE" in columns else reference.pedigree,
        descrip=cell(columns["DESCRIP"][row]) if "DESCRIP" in columns else "",
    )


def overscan_regions(
    reference: Reference, seen: Observation, chip: int, shape: tuple[int, int]
) -> OverscanRegions | None:
    """Find the row of OSCNTAB for an image of that shape (ny, nx); None when there is none."""
    names = [f"{stem}{n}" for stem in ("TRIMX", "TRIMY", "VX", "VY", "BIASSECTA", "BIASSECTB") for n in (1, 2)]
    columns = columns_of(reference, "CCDAMP", "CCDCHIP", "BINX", "BINY", "NX", "NY", *names)
    match = same_text(columns["CCDAMP"], seen.ccdamp) & same_number(columns["CCDCHIP"], chip)
    match &= same_number(columns["BINX"], 1) & same_number(columns["BINY"], 1)
    match &= same_number(columns["NX"], shape[1]) & same_number(columns["NY"], shape[0])
    found = np.flatnonzero(match)
    if not found.size:
        return None
    row = int(found[0])

    def pair(stem: str, base: int) -> tuple[int, int]:
        return int(columns[f"{stem}1"][row]) - base, int(columns[f"{stem}2"][row]) - base

    return OverscanRegions(
        trimx=pair("TRIMX", 0),
        trimy=pair("TRIMY", 0),
        vx=pair("VX", 1),
        vy=pair("VY", 1),
        section_a=pair("BIASSECTA", 1),
        section_b=pair("BIASSECTB", 1),
    )


@dataclass(frozen=True)
class AmplifierSplit:
    """Which columns of a chip went through which amplifier.

    Attributes
    ----------
    boundary : int
        First column of the right amplifier, in the raw image; the width when there is only a left one.
    left, right : int
        Indices into ABCD.
    """

    boundary: int
    left: int
    right: int


def amplifier_split(ccd: CcdParameters, chip: int, ltv: tuple[float, float], shape: tuple[int, int]) -> AmplifierSplit:
    """Find the boundary of a WFC chip's two amplifiers in an image with that LTV and shape (ny, nx).

    AMPX counts trimmed columns; the leading overscan (a positive LTV1) shifts it. A boundary that falls into
    the trailing overscan, or beyond the image, is the image's width.
    """
    width = shape[1]
    offset = ltv[0] if ltv[0] > 0 else 0
    boundary = 0 if ccd.ampx == 0 else int(ccd.ampx + offset)
    if boundary >= width - ltv[0] or boundary > width:
        boundary = width
    return AmplifierSplit(boundary, *((2, 3) if chip == 2 else (0, 1)))
