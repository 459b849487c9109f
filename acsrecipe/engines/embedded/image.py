"""The image stage: dark, flash, flat, photometry and statistics of a trimmed Frame; the product's HDUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.arithmetic import Plane
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.chip import Report
from acsrecipe.engines.embedded.compiled import Doubles, Flags, Image, Lines, bound, compiled
from acsrecipe.engines.embedded.dark import subtract_dark
from acsrecipe.engines.embedded.flash import subtract_flash
from acsrecipe.engines.embedded.flat import divide_by_flat
from acsrecipe.engines.embedded.frame import Frame, Imset, Observation, observation
from acsrecipe.engines.embedded.history import State, end_step, tell_ccd, tell_reference
from acsrecipe.engines.embedded.photometry import Photometry, find_photometry, photmode
from acsrecipe.engines.embedded.references import (
    Reference,
    References,
    Section,
    Window,
    find_reference,
    need_reference,
    plane_or,
    section,
)
from acsrecipe.engines.embedded.statistics import TOTALS, accumulate, put_statistics
from acsrecipe.engines.embedded.tables import ccd_parameters
from acsrecipe.errors import EngineError

PLANES = ("SCI", "ERR", "DQ")


@dataclass(frozen=True)
class ImageReferences:
    """The reference files of the image stage; None for steps that are not done."""

    ccdtab: Reference
    dark: Reference | None
    flash: Reference | None
    flats: tuple[Reference, ...]
    phot: Reference | None


def _find_references(
    references: References, names: Cards, states: dict[str, State], where: str, *, cte: bool
) -> ImageReferences:
    dark = flash = phot = None
    flats: tuple[Reference, ...] = ()
    if states["DARKCORR"] == "PERFORM":
        dark = need_reference(references, names, "DRKCFILE" if cte else "DARKFILE", "DARKCORR", where)
    if states["FLSHCORR"] == "PERFORM":
        flash = need_reference(references, names, "FLSHFILE", "FLSHCORR", where)
    if states["FLATCORR"] == "PERFORM":
        for keyword in ("LFLTFILE", "CFLTFILE"):
            if find_reference(references, names, keyword, where) is not None:
                message = f"{keyword} names a file: the embedded engine applies PFLTFILE and DFLTFILE only"
                raise EngineError(message, where=where, hint=f"set {keyword} to N/A")
        found = (find_reference(references, names, keyword, where) for keyword in ("PFLTFILE", "DFLTFILE"))
        flats = tuple(flat for flat in found if flat is not None)
        if not flats:
            message = "PFLTFILE and DFLTFILE name no file, but FLATCORR is PERFORM"
            raise EngineError(message, where=where)
    if states["PHOTCORR"] == "PERFORM":
        phot = need_reference(references, names, "IMPHTTAB", "PHOTCORR", where)
    ccdtab = need_reference(references, names, "CCDTAB", "every calibration", where)
    return ImageReferences(ccdtab, dark, flash, flats, phot)


def _dummy_aware(states: dict[str, State], keyword: str, *found: Reference | None) -> None:
    named = [reference for reference in found if reference is not None]
    if states[keyword] == "PERFORM" and named and all(reference.is_dummy for reference in named):
        states[keyword] = "DUMMY"


@dataclass(frozen=True)
class ImageStage:
    """What the image stage does to an exposure, and with what."""

    seen: Observation
    used: ImageReferences
    states: Mapping[str, State]
    photometry: Photometry | None

    def applies(self, reference: Reference | None, step: str) -> bool:
        """Whether the pixels of a step's reference are to be used."""
        return reference is not None and self.states[step] == "PERFORM" and not reference.is_dummy

    def rehearsed(self) -> ImageTotals:
        """Give totals as they might be."""
        dark, flash = self.applies(self.used.dark, "DARKCORR"), self.applies(self.used.flash, "FLSHCORR")
        return ImageTotals(1.0 if dark else None, 1.0 if flash else None, np.ones(TOTALS))


def plan_image(
    frame: Frame,
    switches: Mapping[str, State],
    names: Cards,
    references: References,
    report: Report,
    *,
    cte: bool = False,
) -> ImageStage:
    """Find out what DARKCORR, FLSHCORR, FLATCORR and PHOTCORR will do, and note it in the primary header.

    Parameters
    ----------
    switches : mapping
        Of the first member of a CR-SPLIT group (calacs's rule), else the exposure's own.
    names : list of str
        Primary cards that the reference names are taken from, by the same rule.
    cte : bool
        Whether the frame's charge transfer was corrected: DRKCFILE then takes DARKFILE's place.

    Raises
    ------
    EngineError
        When a reference is missing.
    """
    where = str(frame.path)
    primary = frame.primary
    seen = observation(primary, where)
    states: dict[str, State] = {
        name: switches[name] if switches[name] == "PERFORM" else "OMIT"
        for name in ("DARKCORR", "FLSHCORR", "FLATCORR", "SHADCORR", "PHOTCORR", "EXPSCORR")
    }
    if states["SHADCORR"] == "PERFORM":
        message = "SHADCORR is PERFORM: the embedded engine can't do it"
        raise EngineError(message, where=where, hint='omit it (the shutter of WFC needs none), or engine = "calacs"')
    used = _find_references(references, names, states, where, cte=cte)
    _dummy_aware(states, "DARKCORR", used.dark)
    _dummy_aware(states, "FLSHCORR", used.flash)
    _dummy_aware(states, "FLATCORR", *used.flats)
    _dummy_aware(states, "PHOTCORR", used.phot)
    width = frame.imsets[0].sci.shape[1]
    tell_ccd(primary, used.ccdtab, ccd_parameters(used.ccdtab, seen, frame.imsets[0].chip, width, where))

    if states["FLSHCORR"] == "PERFORM" and seen.flashdur <= 0:
        header.add_history(primary, "Post-flash exposure was 0 seconds. FLSHCORR not performed.")
        states["FLSHCORR"] = "IGNORED"
    if states["FLSHCORR"] == "PERFORM" and seen.flashsta == "ABORTED":
        header.add_history(primary, "Post-flash STATUS was ABORTED. Post-flash may be compromised.")
    photometry = None
    if states["PHOTCORR"] == "PERFORM" and used.phot is not None:
        photometry = find_photometry(used.phot, photmode(seen))
        if not photometry.covered:
            states["PHOTCORR"] = "IGNORED"
    for name in ("DARKCORR", "FLSHCORR", "FLATCORR", "PHOTCORR"):
        if states[name] == "PERFORM":
            report(f"{name} {frame.root}")
    return ImageStage(seen, used, states, photometry)


@dataclass(frozen=True)
class ImageTotals:
    """What the image stage finds in a chip's pixels, for its headers; None for steps that are not done.

    Attributes
    ----------
    dark, flash : float or None
        Means of what was subtracted, electrons.
    good : (TOTALS,) float64
        See `acsrecipe.engines.embedded.statistics.accumulate`.
    """

    dark: float | None
    flash: float | None
    good: Doubles


@compiled
def _correct_lines(
    start: int,
    stop: int,
    sci: Image,
    err: Image,
    dq: Flags,
    darkened: bool,
    dark_sci: Plane,
    dark_err: Plane,
    dark_dq: Plane,
    darktime: float,
    dark_totals: Doubles,
    flashed: bool,
    flash_sci: Plane,
    flash_err: Plane,
    flash_dq: Plane,
    flashdur: float,
    flash_totals: Image,
    flats: int,
    flat_sci: Plane,
    flat_err: Plane,
    flat_dq: Plane,
    second_sci: Plane,
    second_err: Plane,
    second_dq: Plane,
    serious: int,
    totals: Doubles,
) -> None:
    """Do the steps line by line, so that a line stays in the processor's nearest cache for all of them.

    ``err`` may be ``n`` lines only: that of line ``j`` is line ``j % n`` then.
    """
    n = err.shape[0]
    for a in range(start, stop):
        b, slot = a + 1, a % n
        line = sci[a:b], err[slot : slot + 1], dq[a:b]
        if darkened:
            dark = dark_sci[a:b], dark_err[a:b], dark_dq[a:b]
            subtract_dark(*line, *dark, darktime, serious, dark_totals)
        if flashed:
            flash = flash_sci[a:b], flash_err[a:b], flash_dq[a:b]
            subtract_flash(*line, *flash, flashdur, serious, flash_totals)
        if flats > 0:
            divide_by_flat(*line, flat_sci[a:b], flat_err[a:b], flat_dq[a:b])
        if flats > 1:
            divide_by_flat(*line, second_sci[a:b], second_err[a:b], second_dq[a:b])
        accumulate(*line, serious, totals)


@dataclass(frozen=True)
class Correction:
    """The image stage of one chip: what corrects some lines, and where it gathers what it finds."""

    lines: Lines
    dark: Doubles | None
    flash: Image | None
    good: Doubles

    def totals(self) -> ImageTotals:
        """Give what was found; complete when all lines are corrected."""
        dark = flash = None
        if self.dark is not None:
            dark = float(self.dark[1] / self.dark[0]) if self.dark[0] else 0.0
        if self.flash is not None:
            flash = float(self.flash[0] / self.flash[1]) if self.flash[1] else float("nan")
        return ImageTotals(dark, flash, self.good)


def correction(imset: Imset, err: Image, stage: ImageStage) -> Correction:
    """Make ready to correct a chip, whose errors are in a plane or in some lines (see `Imset.errors`), in place.

    Raises
    ------
    EngineError
        When a reference does not cover the image.
    """
    sci, dq = imset.sci, imset.dq
    shape, used = (sci.shape[0], sci.shape[1]), stage.used

    def part(reference: Reference | None, step: str) -> Section | None:
        if reference is None or not stage.applies(reference, step):
            return None
        return section(reference, imset.sci_cards, shape, imset.chip)

    def planes(found: Section | None) -> tuple[Plane, Plane, Plane]:
        return plane_or(found, "SCI", sci), plane_or(found, "ERR", sci), plane_or(found, "DQ", dq)

    dark, flash = part(used.dark, "DARKCORR"), part(used.flash, "FLSHCORR")
    flats = [found for found in (part(flat, "FLATCORR") for flat in used.flats) if found is not None]
    first_flat, second_flat = (*flats, None, None)[:2]
    dark_planes, flash_planes, flat_planes, second_planes = map(planes, (dark, flash, first_flat, second_flat))
    dark_totals, flash_totals, good = np.zeros(2), np.zeros(2, np.float32), np.zeros(TOTALS)
    correct = bound(
        _correct_lines,
        sci,
        err,
        dq,
        dark is not None,
        *dark_planes,
        stage.seen.darktime,
        dark_totals,
        flash is not None,
        *flash_planes,
        stage.seen.flashdur,
        flash_totals,
        len(flats),
        *flat_planes,
        *second_planes,
        imset.serious,
        good,
    )
    window = Window(*((found, PLANES) for found in (dark, flash, *flats)))

    def do(first: int, last: int) -> None:
        window.move(first, shape[0])
        correct(first, last)
        if last == shape[0]:
            window.move(last, last)

    return Correction(do, None if dark is None else dark_totals, None if flash is None else flash_totals, good)


def tell_chip(imset: Imset, stage: ImageStage, totals: ImageTotals) -> None:
    """Write what was found in a chip's pixels, and the photometry, into its headers."""
    if totals.dark is not None:
        header.put_float(imset.sci_cards, "MEANDARK", totals.dark, "mean of dark values subtracted")
    if totals.flash is not None:
        header.put_float(imset.sci_cards, "MEANFLSH", totals.flash, "mean of post-flash values subtracted")
    for cards in (imset.sci_cards, imset.err_cards) if stage.states["FLATCORR"] == "PERFORM" else ():
        header.put_text(cards, "BUNIT", "ELECTRONS")
    _put_photometry(imset.sci_cards, photmode(stage.seen), stage.photometry)
    put_statistics(imset.sci_cards, imset.err_cards, totals.good)


def _put_photometry(cards: Cards, mode: str, photometry: Photometry | None) -> None:
    header.put_text(cards, "PHOTMODE", mode, "list of components")
    if photometry is not None:
        header.put_float(cards, "PHOTFLAM", photometry.photflam, "inverse sensitivity")
        header.put_float(cards, "PHOTZPT", photometry.photzpt, "zero point")
        header.put_float(cards, "PHOTPLAM", photometry.photplam, "pivot wavelength")
        header.put_float(cards, "PHOTBW", photometry.photbw, "RMS bandwidth")


def tell_image(primary: Cards, stage: ImageStage) -> None:
    """Turn the switches and write the history, in the order of the steps."""
    used = stage.used
    for keyword, found, image in (
        ("DARKCORR", (used.dark,), True),
        ("FLSHCORR", (used.flash,), True),
        ("FLATCORR", used.flats, True),
        ("PHOTCORR", (used.phot,), False),
    ):
        if end_step(primary, keyword, stage.states[keyword]):
            for reference in found:
                if reference is not None:
                    tell_reference(primary, reference, image=image)
