"""What the embedded engine can do, as plain data: the plan refuses the rest before anything runs."""

from __future__ import annotations

from acsrecipe.plan.model import Requirement, Scalar

_OMITTED: tuple[Scalar, ...] = ("OMIT", "SKIPPED", "COMPLETE", None)
_NO_FILE: tuple[Scalar, ...] = ("N/A", "", None)
_FLAT_FIELDED: tuple[tuple[str, tuple[Scalar, ...]], ...] = (("FLATCORR", ("PERFORM",)),)

# BLEVCORR = OMIT and a missing DARKTIME are refused for every engine (acsrecipe.plan.checks, P004 and P005).
REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement("DETECTOR", "it calibrates the Wide Field Channel only", allowed=("WFC",)),
    Requirement("ATODCORR", "the correction of converter errors is not built in", allowed=_OMITTED),
    Requirement("SHADCORR", "the shutter shading correction is not built in", allowed=_OMITTED),
    Requirement("BINAXIS1", "binned data are not supported", allowed=(1, None)),
    Requirement("BINAXIS2", "binned data are not supported", allowed=(1, None)),
    Requirement("LFLTFILE", "low-order flats are not applied", allowed=_NO_FILE, when=_FLAT_FIELDED),
    Requirement("CFLTFILE", "coronagraphic flats are not applied", allowed=_NO_FILE, when=_FLAT_FIELDED),
    Requirement(
        "NAXIS2",
        "the bias shift of DS_int readouts with gain 2 is computed from lines 2058 to 2067 of full frames",
        at_least=2067,
        when=(("JWROTYPE", ("DS_INT",)), ("CCDGAIN", (2, 2.0)), ("SUBARRAY", (False,))),
    ),
)

# Kinds of association whose groups it combines, besides single and dithered exposures.
GROUPS: tuple[str, ...] = ("DTH", "CR", "RPT")
