"""What calibration needs: which references each switch reads, and what the header must have for it.

Facts of calacs 10.5 and the ACS Data Handbook (section 3.4), as plain data and small pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping

from acsrecipe.inputs.model import Value

CALIBRATED_DETECTORS = ("WFC", "HRC", "SBC")
SWITCH_VALUES = ("PERFORM", "OMIT", "COMPLETE", "SKIPPED")

CCD_ALWAYS = ("CCDTAB", "OSCNTAB")
"""Tables that calacs reads for every CCD exposure, whatever its switches."""

READ_BY_SWITCH: Mapping[str, tuple[str, ...]] = {
    "DQICORR": ("BPIXTAB",),
    "ATODCORR": ("ATODTAB",),
    "BIASCORR": ("BIASFILE", "SATUFILE"),
    "DARKCORR": ("DARKFILE",),
    "FLSHCORR": ("FLSHFILE",),
    "FLATCORR": ("PFLTFILE",),
    "SHADCORR": ("SHADFILE",),
    "PHOTCORR": ("IMPHTTAB",),
    "SINKCORR": ("SNKCFILE",),
    "PCTECORR": ("PCTETAB", "DRKCFILE"),
    "GLINCORR": ("MLINTAB",),
}
"""References that must be there where a switch is PERFORM."""

OPTIONAL_BY_SWITCH: Mapping[str, tuple[str, ...]] = {
    "FLATCORR": ("DFLTFILE", "LFLTFILE", "CFLTFILE"),
    "DQICORR": ("SPOTTAB",),
}
"""References that are read where the header names them; N/A is fine."""

IMAGE_REFERENCES = ("BIASFILE", "DARKFILE", "DRKCFILE", "PFLTFILE", "FLSHFILE", "SATUFILE", "SNKCFILE")
"""References with one SCI image for each chip, of one shape for all that CRDS could choose for an exposure."""

FILETYPES: Mapping[str, str] = {
    "ATODTAB": "ANALOG-TO-DIGITAL",
    "BIASFILE": "BIAS",
    "BPIXTAB": "BAD PIXELS",
    "CCDTAB": "CCD PARAMETERS",
    "CFLTFILE": "SPOT FLAT",
    "CRREJTAB": "COSMIC RAY REJECTION",
    "D2IMFILE": "WFC D2I FILE",
    "DARKFILE": "DARK",
    "DFLTFILE": "DELTA FLAT",
    "DGEOFILE": "DISTORTION CORRECTION",
    "DRKCFILE": "CTEDARK",
    "FLSHFILE": "POST FLASH",
    "IDCTAB": "DISTORTION COEFFICIENTS",
    "IMPHTTAB": "IMAGE PHOTOMETRY TABLE",
    "LFLTFILE": "LARGE SCALE FLAT",
    "MDRIZTAB": "MULTIDRIZZLE PARAMETERS",
    "MLINTAB": "LINEARITY",
    "NPOLFILE": "DXY GRID",
    "OSCNTAB": "OVERSCAN",
    "PCTETAB": "PIXCTE",
    "PFLTFILE": "PIXEL-TO-PIXEL FLAT",
    "SATUFILE": "FULL-WELL SATURATION LEVEL MAP",
    "SHADFILE": "SHUTTER SHADING",
    "SNKCFILE": "SINK PIXELS",
    "SPOTTAB": "SPOT POSITION TABLE",
}
"""FILETYPE of each reference, as CRDS's own specifications have it."""

PCTETAB_NAME = "Par/Serial PixelCTE 2023"
"""CTE_NAME of the only generation of PCTETABs that calacs has taken since 10.4."""

CALIBRATION_SWITCHES = (
    "DQICORR",
    "ATODCORR",
    "BIASCORR",
    "BLEVCORR",
    "SINKCORR",
    "PCTECORR",
    "DARKCORR",
    "FLSHCORR",
    "FLATCORR",
    "SHADCORR",
    "PHOTCORR",
    "GLINCORR",
)
"""Switches that make calacs write something; all of them OMIT is "nothing to do"."""


def is_performed(header: Mapping[str, Value], switch: str) -> bool:
    """Say whether a switch is PERFORM (in any case, as calacs compares)."""
    return str(header.get(switch) or "").strip().upper() == "PERFORM"


def is_named(value: Value) -> bool:
    """Say whether a reference keyword names a file: not absent, blank or N/A."""
    return str(value or "").strip().upper() not in ("", "N/A")


def bare_name(value: Value) -> str:
    """Strip ``jref$`` (or any other IRAF variable) from a reference name."""
    return str(value or "").strip().rsplit("$", 1)[-1]


def required_references(header: Mapping[str, Value], *, combined: bool) -> dict[str, str]:
    """List the references that calibrating an exposure can't do without.

    Parameters
    ----------
    header : mapping
        The primary header as it will be.
    combined : bool
        Whether the exposure is one of a CR-SPLIT or RPT-OBS group, which is combined with CRREJTAB.

    Returns
    -------
    dict
        Keyword to the reason, ``DARKCORR = PERFORM``.
    """
    needed: dict[str, str] = {}
    if header.get("DETECTOR") != "SBC":
        needed.update((keyword, "every CCD exposure") for keyword in CCD_ALWAYS)
    for switch, keywords in READ_BY_SWITCH.items():
        if is_performed(header, switch):
            needed.update((keyword, f"{switch} = PERFORM") for keyword in keywords)
    if combined:
        needed["CRREJTAB"] = "cosmic-ray rejection of the group"
    return needed


def optional_references(header: Mapping[str, Value]) -> tuple[str, ...]:
    """List the references that are read only where the header names them."""
    return tuple(
        keyword
        for switch, keywords in OPTIONAL_BY_SWITCH.items()
        if is_performed(header, switch)
        for keyword in keywords
        if is_named(header.get(keyword))
    )
