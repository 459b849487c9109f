"""The chips of an exposure as one picture: read, put together, cut, and averaged down to what a page can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Section = tuple[int, int, int, int]
"""x0, x1, y0, y1 in pixels from 0; the end is not included."""


@dataclass(frozen=True)
class Chip:
    """One SCI image.

    Attributes
    ----------
    number : int
        CCDCHIP; for the WFC 2 is the lower one on the sky-facing mosaic, 1 the upper one.
    origin : tuple of float
        LTV1, LTV2: the physical chip pixel (1, 1) lies at (LTV1 + 1, LTV2 + 1) of the image.
    pixels : (ny, nx) float32
        In the file's units.
    """

    number: int
    origin: tuple[float, float]
    pixels: Image


@dataclass(frozen=True)
class Frame:
    """What of a FITS file is drawn: its primary header and its chips, from below to above."""

    primary: Mapping[str, Any]
    chips: tuple[Chip, ...]


def read_frame(path: Path) -> Frame:
    """Read the SCI images of a file.

    Raises
    ------
    ValueError
        It has none, or they differ in width.
    OSError
        It can't be read.
    """
    from astropy.io import fits

    chips = []
    with fits.open(path, mode="readonly", memmap=False) as hdus:
        primary = dict(hdus[0].header)
        for hdu in hdus[1:]:
            if hdu.name == "SCI":
                header = hdu.header
                origin = (float(header.get("LTV1", 0.0)), float(header.get("LTV2", 0.0)))
                chips.append(Chip(int(header.get("CCDCHIP", 1)), origin, _pixels(hdu)))
    if not chips:
        msg = "has no SCI image to draw"
        raise ValueError(msg)
    if len({chip.pixels.shape[1] for chip in chips}) > 1:
        msg = f"has SCI images of different widths: {', '.join(str(chip.pixels.shape) for chip in chips)}"
        raise ValueError(msg)
    return Frame(primary, tuple(sorted(chips, key=lambda chip: -chip.number)))


def _pixels(hdu: Any) -> Image:
    """Give an image's pixels; a null image of constant value (NAXIS 0, PIXVALUE) is filled."""
    if hdu.data is None:
        shape = (int(hdu.header.get("NPIX2", 0)), int(hdu.header.get("NPIX1", 0)))
        if 0 in shape:
            msg = f"has a SCI,{hdu.ver} without pixels"
            raise ValueError(msg)
        return np.full(shape, hdu.header.get("PIXVALUE", 0.0), np.float32)
    if hdu.data.ndim != 2:
        msg = f"has a SCI,{hdu.ver} of {hdu.data.ndim} dimensions, expected 2"
        raise ValueError(msg)
    return np.asarray(hdu.data, np.float32)


def trim_like(frame: Frame, calibrated: Frame) -> Frame:
    """Cut a RAW frame to the pixels that its calibrated frame has: without overscan.

    Raises
    ------
    ValueError
        The calibrated chips do not lie within the raw ones.
    """
    shapes = {chip.number: chip for chip in calibrated.chips}
    trimmed = []
    for chip in frame.chips:
        like = shapes.get(chip.number)
        if like is None:
            msg = f"has chip {chip.number}, which the calibrated file has not"
            raise ValueError(msg)
        x0, y0 = (round(raw - cal) for raw, cal in zip(chip.origin, like.origin, strict=True))
        ny, nx = like.pixels.shape
        if x0 < 0 or y0 < 0 or y0 + ny > chip.pixels.shape[0] or x0 + nx > chip.pixels.shape[1]:
            msg = f"has a chip {chip.number} of {chip.pixels.shape}, in which {(ny, nx)} from {(y0, x0)} does not lie"
            raise ValueError(msg)
        trimmed.append(Chip(chip.number, like.origin, chip.pixels[y0 : y0 + ny, x0 : x0 + nx]))
    return Frame(frame.primary, tuple(trimmed))


def join(chips: Sequence[Chip]) -> Image:
    """Put chips on top of each other, the first lowest, in one (sum of ny, nx) float32 image."""
    return np.concatenate([chip.pixels for chip in chips]) if len(chips) > 1 else chips[0].pixels


def cut(image: Image, section: Section) -> Image:
    """Give a section of an image, without a copy.

    Raises
    ------
    ValueError
        It is empty or does not lie within the image.
    """
    x0, x1, y0, y1 = section
    ny, nx = image.shape
    if not (0 <= x0 < x1 <= nx and 0 <= y0 < y1 <= ny):
        msg = f"section [{x0}, {x1}, {y0}, {y1}] does not lie within the {nx} x {ny} pixels of the image"
        raise ValueError(msg)
    return image[y0:y1, x0:x1]


def average(image: Image, factor: int) -> Image:
    """Average blocks of factor x factor pixels; blocks at the upper and right edge may be smaller."""
    if factor <= 1:
        return image
    ny, nx = image.shape
    sums = np.zeros((-(-ny // factor), -(-nx // factor)), np.float32)
    for row in range(factor):
        for column in range(factor):
            part = image[row::factor, column::factor]
            sums[: part.shape[0], : part.shape[1]] += part
    rows, columns = (np.minimum(factor, size - np.arange(0, size, factor)) for size in (ny, nx))
    averaged: Image = (sums / np.outer(rows, columns)).astype(np.float32)
    return averaged


def averaging_factor(shapes: Sequence[tuple[int, ...]], most: int) -> int:
    """Give the smallest factor that brings every shape down to `most` pixels a side."""
    return max(1, *(-(-max(shape) // most) for shape in shapes))
