"""Products: the image stage and the writing of its pixels in one go, then the headers.

A product's pixels are written while they are still in the processor's cache, and no plane of errors is ever
whole in memory. What the headers say of the pixels (statistics, means) comes first in the file, yet is known
last: a rehearsal with other numbers tells how long the headers will be.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.cards import CARD, Cards
from acsrecipe.engines.embedded.chip import BLOCK_LINES, blocks, for_each
from acsrecipe.engines.embedded.fitsfile import Part, Unfinished
from acsrecipe.engines.embedded.frame import Frame, Imset
from acsrecipe.engines.embedded.history import State, end_step
from acsrecipe.engines.embedded.image import (
    Correction,
    ImageStage,
    ImageTotals,
    correction,
    tell_chip,
    tell_image,
)


@dataclass(frozen=True)
class Product:
    """A product to be made of a frame.

    Attributes
    ----------
    stage : ImageStage or None
        None where no step of it is to be done (bias and dark frames): calacs gives the frame as it is then.
    expscorr : str
        Switch of the extended sky, which only has to be turned.
    version : str
        Of the engine.
    """

    path: Path
    stage: ImageStage | None
    expscorr: State
    version: str


@dataclass(frozen=True)
class _Pixels:
    """What is known of a chip's pixels when all are written.

    Attributes
    ----------
    err, dq : number or None
        That all pixels of the plane equal; None where they differ.
    """

    totals: ImageTotals | None
    err: float | None = None
    dq: int | None = None


def write_product(frame: Frame, product: Product, *, threads: int = 1) -> None:
    """Do the image stage, and write the product: PRIMARY, then SCI, ERR and DQ of every imset.

    Parameters
    ----------
    frame : Frame
        Changed: its headers become those of the product, its planes are used up.
    threads : int
        Chips worked on at the same time.

    Raises
    ------
    EngineError
        When the file exists already, or a reference does not cover the image.
    """
    with Unfinished(product.path, _rehearse(frame, product)) as file:
        numbers = list(range(len(frame.imsets)))
        pixels = for_each(lambda imset, n: _write_chip(imset, n, product, file), frame.imsets, numbers, threads)
        file.finish(_head(frame, product, pixels))


def _rehearse(frame: Frame, product: Product) -> list[Part]:
    """Make the headers with some numbers, to see how long they are."""
    copies = [
        replace(
            imset,
            sci_cards=header.copied(imset.sci_cards),
            err_cards=header.copied(imset.err_cards),
            dq_cards=header.copied(imset.dq_cards),
        )
        for imset in frame.imsets
    ]
    found = [_Pixels(None if product.stage is None else product.stage.rehearsed()) for _ in copies]
    return _head(Frame(frame.root, frame.path, header.copied(frame.primary), copies), product, found)


def _write_chip(imset: Imset, number: int, product: Product, file: Unfinished) -> _Pixels:
    """Finish a chip's pixels block by block, and write each block."""
    lines, columns = imset.sci.shape
    err, estimate = imset.err, None
    if imset.errors is not None:
        err = np.empty((BLOCK_LINES, columns), np.float32)
        estimate = imset.errors(err)
    begun: Correction | None = None
    if product.stage is not None:
        begun = correction(imset, err, product.stage)
    write_sci = file.lines_of(3 * number + 1, imset.sci, BLOCK_LINES)
    write_err = file.lines_of(3 * number + 2, err, BLOCK_LINES)
    write_dq = file.lines_of(3 * number + 3, imset.dq, BLOCK_LINES)
    first_err, first_dq, one_err, one_dq = np.float32(0), np.int16(0), True, True
    for first, last in blocks(lines):
        imset.complete_pixels(last)
        if estimate is not None:
            estimate(first, last)
        if begun is not None:
            begun.lines(first, last)
        errors = err[: last - first] if estimate is not None else err[first:last]
        flags = imset.dq[first:last]
        if first == 0:
            first_err, first_dq = errors[0, 0].copy(), flags[0, 0].copy()
        one_err = one_err and bool(np.all(errors == first_err))
        one_dq = one_dq and bool(np.all(flags == first_dq))
        write_sci(first, last)
        write_err(first, last)
        write_dq(first, last)
    return _Pixels(
        None if begun is None else begun.totals(),
        float(first_err) if one_err else None,
        int(first_dq) if one_dq else None,
    )


def _head(frame: Frame, product: Product, found: list[_Pixels]) -> list[Part]:
    """Finish the headers, in the order in which calacs does it, and give the product's HDUs."""
    stage, primary = product.stage, frame.primary
    if stage is not None:
        for imset, pixels in zip(frame.imsets, found, strict=True):
            if pixels.totals is not None:
                tell_chip(imset, stage, pixels.totals)
        tell_image(primary, stage)
        end_step(primary, "EXPSCORR", product.expscorr)
    header.put_text(primary, "CAL_VER", product.version, "version number and date")
    header.put_text(primary, "FILENAME", product.path.name, "name of file")
    header.add_history(primary, f"Calibrated by {product.version}")
    day = time.strftime("%Y-%m-%d", time.localtime())
    parts = [Part(header.to_block(_primary_structure(day), primary))]
    for version, (imset, pixels) in enumerate(zip(frame.imsets, found, strict=True), 1):
        shape = imset.sci.shape[0], imset.sci.shape[1]
        header.describe_constant(imset.err_cards, pixels.err, shape)
        header.describe_constant(imset.dq_cards, pixels.dq, shape)
        for name, bitpix, data, cards in (
            ("SCI", -32, imset.sci, imset.sci_cards),
            ("ERR", -32, imset.err, imset.err_cards),
            ("DQ", 16, imset.dq, imset.dq_cards),
        ):
            _name_extension(cards, name, version)
            if header.find(cards, "PIXVALUE") >= 0 and name != "SCI":
                parts.append(Part(header.to_block(_image_structure(bitpix, (), day), cards)))
                continue
            parts.append(Part(header.to_block(_image_structure(bitpix, shape, day), cards), shape, data.dtype))
    return parts


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
