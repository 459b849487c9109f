"""The image stage: dark, flash, flat, photometry and statistics of a trimmed Frame; the product's HDUs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.arithmetic import Plane
from acsrecipe.engines.embedded.cards import CARD, Cards
from acsrecipe.engines.embedded.chip import Report, Window, blocks, note_constants, plane_or
from acsrecipe.engines.embedded.compiled import Doubles, Flags, Image, bound, compiled
from acsrecipe.engines.embedded.dark import subtract_dark
from acsrecipe.engines.embedded.fitsfile import write_fits
from acsrecipe.engines.embedded.flash import subtract_flash
from acsrecipe.engines.embedded.flat import divide_by_flat
from acsrecipe.engines.embedded.frame import Frame, Imset, Observation, observation
from acsrecipe.engines.embedded.history import State, end_step, tell_ccd, tell_reference
from acsrecipe.engines.embedded.photometry import Photometry, find_photometry, photmode
from acsrecipe.engines.embedded.references import (
    Reference,
    References,
    Section,
    find_reference,
    need_reference,
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


def process_image(
    frame: Frame,
    switches: Mapping[str, State],
    names: Cards,
    references: References,
    report: Report,
    *,
    cte: bool = False,
    threads: int = 1,
) -> None:
    """Do DARKCORR, FLSHCORR, FLATCORR, PHOTCORR and the statistics, in place.

    Parameters
    ----------
    switches : mapping
        Of the first member of a CR-SPLIT group (calacs's rule), else the exposure's own.
    names : list of str
        Primary cards that the reference names are taken from, by the same rule.
    cte : bool
        Whether the frame's charge transfer was corrected: DRKCFILE then takes DARKFILE's place.
    threads : int
        Chips worked on at the same time.

    Raises
    ------
    EngineError
        When a reference is missing or does not cover the image.
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
    for name in ("DARKCORR", "FLSHCORR", "FLATCORR"):
        if states[name] == "PERFORM":
            report(f"{name} {frame.root}")
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            totals = list(pool.map(lambda imset: _correct(imset, seen, used, states), frame.imsets))
    else:
        totals = [_correct(imset, seen, used, states) for imset in frame.imsets]
    mode, photometry = photmode(seen), None
    if states["PHOTCORR"] == "PERFORM" and used.phot is not None:
        report(f"PHOTCORR {frame.root}")
        photometry = find_photometry(used.phot, mode)
        if not photometry.covered:
            states["PHOTCORR"] = "IGNORED"
    for imset, total in zip(frame.imsets, totals, strict=True):
        _put_photometry(imset.sci_cards, mode, photometry)
        put_statistics(imset.sci_cards, imset.err_cards, total)
    _tell(primary, used, states)


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
    """Do the steps line by line, so that a line stays in the processor's nearest cache for all of them."""
    for a in range(start, stop):
        b = a + 1
        line = sci[a:b], err[a:b], dq[a:b]
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


def _correct(imset: Imset, seen: Observation, used: ImageReferences, states: dict[str, State]) -> NDArray[np.float64]:
    """Correct one chip block by block, and give the totals of its good pixels."""
    shape = (imset.sci.shape[0], imset.sci.shape[1])
    serious = imset.serious

    def part(reference: Reference | None, step: str) -> Section | None:
        if reference is None or states[step] != "PERFORM" or reference.is_dummy:
            return None
        return section(reference, imset.sci_cards, shape, imset.chip)

    dark, flash = part(used.dark, "DARKCORR"), part(used.flash, "FLSHCORR")
    flats = [found for found in (part(flat, "FLATCORR") for flat in used.flats) if found is not None]
    first_flat, second_flat = (*flats, None, None)[:2]
    dark_totals, flash_totals = np.zeros(2), np.zeros(2, np.float32)
    totals = np.zeros(TOTALS)
    sci, err, dq = imset.sci, imset.err, imset.dq

    def planes(found: Section | None) -> tuple[Plane, Plane, Plane]:
        return plane_or(found, "SCI", sci), plane_or(found, "ERR", err), plane_or(found, "DQ", dq)

    dark_planes, flash_planes, flat_planes, second_planes = map(planes, (dark, flash, first_flat, second_flat))
    correct = bound(
        _correct_lines,
        sci,
        err,
        dq,
        dark is not None,
        *dark_planes,
        seen.darktime,
        dark_totals,
        flash is not None,
        *flash_planes,
        seen.flashdur,
        flash_totals,
        len(flats),
        *flat_planes,
        *second_planes,
        serious,
        totals,
    )
    window = Window(*((found, PLANES) for found in (dark, flash, *flats)))
    for first, last in blocks(shape[0]):
        imset.complete(last)
        window.move(first, shape[0])
        correct(first, last)
    window.move(shape[0], shape[0])
    if dark is not None:
        mean = dark_totals[1] / dark_totals[0] if dark_totals[0] else 0.0
        header.put_float(imset.sci_cards, "MEANDARK", mean, "mean of dark values subtracted")
    if flash is not None:
        mean = float(flash_totals[0] / flash_totals[1])
        header.put_float(imset.sci_cards, "MEANFLSH", mean, "mean of post-flash values subtracted")
    for cards in (imset.sci_cards, imset.err_cards) if states["FLATCORR"] == "PERFORM" else ():
        header.put_text(cards, "BUNIT", "ELECTRONS")
    return totals


def _put_photometry(cards: Cards, mode: str, photometry: Photometry | None) -> None:
    header.put_text(cards, "PHOTMODE", mode, "list of components")
    if photometry is not None:
        header.put_float(cards, "PHOTFLAM", photometry.photflam, "inverse sensitivity")
        header.put_float(cards, "PHOTZPT", photometry.photzpt, "zero point")
        header.put_float(cards, "PHOTPLAM", photometry.photplam, "pivot wavelength")
        header.put_float(cards, "PHOTBW", photometry.photbw, "RMS bandwidth")


def _tell(primary: Cards, used: ImageReferences, states: dict[str, State]) -> None:
    """Turn the switches and write the history, in the order of the steps."""
    for keyword, found, image in (
        ("DARKCORR", (used.dark,), True),
        ("FLSHCORR", (used.flash,), True),
        ("FLATCORR", used.flats, True),
        ("PHOTCORR", (used.phot,), False),
    ):
        if end_step(primary, keyword, states[keyword]):
            for reference in found:
                if reference is not None:
                    tell_reference(primary, reference, image=image)


def stamp(primary: Cards, name: str, version: str) -> None:
    """Say who made the product and what it is called."""
    header.put_text(primary, "CAL_VER", version, "version number and date")
    header.put_text(primary, "FILENAME", name, "name of file")


_FITS_NOTE = (
    "COMMENT   FITS (Flexible Image Transport System) format is defined in 'Astronomy",
    "COMMENT   and Astrophysics', volume 376, page 359; bibcode: 2001A&A...376..359H ",
)


def _card(keyword: str, value: str, comment: str) -> str:
    return f"{keyword:8}= {value:>20} / {comment}".ljust(CARD)


def _origin(day: str) -> list[str]:
    return [
        "ORIGIN  = 'HSTIO/CFITSIO March 2010' / FITS file originator".ljust(CARD),
        f"DATE    = '{day}' / date this file was written (yyyy-mm-dd)".ljust(CARD),
    ]


def _primary_structure(day: str) -> list[str]:
    return [
        _card("SIMPLE", "T", "file does conform to FITS standard"),
        _card("BITPIX", "16", "number of bits per data pixel"),
        _card("NAXIS", "0", "number of data axes"),
        _card("EXTEND", "T", "FITS dataset may contain extensions"),
        *_FITS_NOTE,
        *_origin(day),
    ]


def _image_structure(bitpix: int, shape: tuple[int, ...], day: str) -> list[str]:
    return [
        "XTENSION= 'IMAGE   '           / IMAGE extension".ljust(CARD),
        _card("BITPIX", str(bitpix), "number of bits per data pixel"),
        _card("NAXIS", str(len(shape)), "number of data axes"),
        *(_card(f"NAXIS{n}", str(size), f"length of data axis {n}") for n, size in enumerate(reversed(shape), 1)),
        _card("PCOUNT", "0", "required keyword; must = 0"),
        _card("GCOUNT", "1", "required keyword; must = 1"),
        *_origin(day),
    ]


def _name_extension(cards: Cards, name: str, version: int) -> None:
    if header.find(cards, "EXTNAME") < 0:
        header.insert_first(cards, "EXTNAME", f"'{name:8}'", "Name of the extension")
    header.put_text(cards, "EXTNAME", name)
    if header.find(cards, "EXTVER") < 0:
        header.put_integer(cards, "EXTVER", version, "Extension version")
    elif header.integer(cards, "EXTVER") != version:
        header.put_integer(cards, "EXTVER", version)


def write_frame(frame: Frame, path: Path) -> None:
    """Write a Frame as a product: PRIMARY, then SCI, ERR and DQ of every imset.

    Raises
    ------
    EngineError
        When the file exists already.
    """
    day = time.strftime("%Y-%m-%d", time.localtime())
    parts: list[tuple[bytes, NDArray[Any] | None]] = [(header.to_block(_primary_structure(day), frame.primary), None)]
    for version, imset in enumerate(frame.imsets, 1):
        note_constants(imset, imset.err[0, 0], imset.dq[0, 0])
        for name, bitpix, data, cards in (
            ("SCI", -32, imset.sci, imset.sci_cards),
            ("ERR", -32, imset.err, imset.err_cards),
            ("DQ", 16, imset.dq, imset.dq_cards),
        ):
            _name_extension(cards, name, version)
            if header.find(cards, "PIXVALUE") >= 0 and name != "SCI":
                parts.append((header.to_block(_image_structure(bitpix, (), day), cards), None))
                continue
            block = header.to_block(_image_structure(bitpix, data.shape, day), cards)
            parts.append((block, data))
    write_fits(path, parts)
