"""Reference images: bias, dark, CTE dark, flat, post-flash, saturation, sink pixels; some in two editions.

The second edition is the true one: exposures are made with it. The first is what an older pipeline had.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acsrecipe.demo.fitsfile import Card, Unit, write_fits
from acsrecipe.demo.geometry import PRESCAN, VIRTUAL, Geometry
from acsrecipe.demo.modes import Mode
from acsrecipe.demo.streams import open_stream

TRUE_EDITION = 2
HOT_RATE = 0.08
"""Electrons a second above which a pixel is flagged hot (DQ 16)."""
HOT, BAD_FLAT = 16, 512
CHIPS = (2, 1)
"""In the order of a file's imsets."""

Image = NDArray[np.float32]


def make_bias(seed: int, geometry: Geometry, chip: int, edition: int = TRUE_EDITION) -> Image:
    """Structure of the bias in the raw frame, data numbers: columns, and pixels; the level is not part of it."""
    ny, nx = geometry.raw_shape
    rng = open_stream(seed, "bias", chip, edition)
    image = 0.4 * rng.standard_normal((ny, nx), dtype=np.float32)
    image += 0.4 * open_stream(seed, "bias columns", chip).standard_normal(nx, dtype=np.float32)
    if edition != TRUE_EDITION:
        # An error that no overscan can take out again.
        image[:, PRESCAN : nx - PRESCAN] += np.float32(1.5)
    return image


def make_dark(seed: int, geometry: Geometry, chip: int, edition: int = TRUE_EDITION) -> Image:
    """Dark current in the chip frame, electrons a second: smooth, with hot pixels."""
    rng = open_stream(seed, "dark", chip, edition)
    level = np.float32(0.0036 if edition == TRUE_EDITION else 0.0029)
    image: Image = level * np.exp(0.2 * rng.standard_normal(geometry.chip_shape, dtype=np.float32))
    count = image.size // 700
    image.flat[rng.integers(0, image.size, count)] = 10.0 ** rng.uniform(-1.6, 0.4, count)
    return image


def make_flat(seed: int, geometry: Geometry, chip: int) -> Image:
    """Relative response in the chip frame: bowl-shaped, 1 % from pixel to pixel, three dead pixels (0)."""
    rng = open_stream(seed, "flat", chip)
    image = 1.02 - np.float32(0.06) * _bowl(geometry.chip_shape)
    image += 0.01 * rng.standard_normal(image.shape, dtype=np.float32)
    image.flat[rng.integers(0, image.size, 3)] = 0.0
    return image


def make_flash(seed: int, geometry: Geometry, chip: int) -> Image:
    """Post-flash lamp in the chip frame, electrons a second."""
    rng = open_stream(seed, "flash", chip)
    image: Image = np.float32(12.0) * (1.1 - np.float32(0.3) * _bowl(geometry.chip_shape))
    image *= 1 + 0.01 * rng.standard_normal(image.shape, dtype=np.float32)
    return image


def make_saturation(seed: int, geometry: Geometry, chip: int) -> Image:
    """Full well in the raw frame, electrons."""
    rng = open_stream(seed, "saturation", chip)
    slope = rng.uniform(-1500, 1500)
    return (78000.0 + slope * _bowl(geometry.raw_shape)).astype(np.float32)


def make_sink(seed: int, geometry: Geometry, chip: int) -> Image:
    """Sink pixels in the raw frame, in calacs's code.

    Below -1: the sink; -1: the pixel next to it towards the amplifier; positive: pixels behind it that are affected
    as long as the sink itself holds fewer electrons than that.
    """
    ny, nx = geometry.raw_shape
    rng = open_stream(seed, "sink", chip)
    image = np.zeros((ny, nx), dtype=np.float32)
    away = 1 if chip == 2 else -1
    first = VIRTUAL if chip == 1 else 0
    count = max(8, ny * nx // 3000)
    rows = rng.integers(first + 8, first + geometry.amp_ny - 8, count)
    columns = rng.integers(PRESCAN, nx - PRESCAN, count)
    for row, column in zip(rows, columns, strict=True):
        image[row - away, column] = -1.0
        image[row, column] = -rng.uniform(20, 60)
        for step in range(1, rng.integers(2, 7)):
            image[row + away * step, column] = rng.uniform(40, 300)
    return image


def _bowl(shape: tuple[int, int]) -> Image:
    """0 in the middle, 1 halfway along an edge, 2 in a corner."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    bowl: Image = (y * y)[:, None] + (x * x)[None, :]
    return bowl


def describe(filetype: str, useafter: str, nextend: int, **more: object) -> list[Card]:
    """Give the primary cards that every reference file has."""
    cards: list[Card] = [
        ("NEXTEND", nextend, "number of extensions"),
        ("FILETYPE", filetype, "what this is"),
        ("TELESCOP", "HST"),
        ("INSTRUME", "ACS"),
        ("DETECTOR", "WFC"),
        ("USEAFTER", useafter),
        ("PEDIGREE", "INFLIGHT 01/03/2002 01/03/2016"),
        ("DESCRIP", "Synthetic, made by acsrecipe demo: not for science ----------------"),
    ]
    return [*cards, *more.items()]


def write_image(path: Path, kind: str, seed: int, geometry: Geometry, mode: Mode, edition: int, useafter: str) -> None:
    """Write the reference image of a kind (``BIASFILE``, ``DARKFILE``, ...).

    Parameters
    ----------
    path : Path
    kind : str
        The header keyword that names such a file.
    seed, geometry, mode
        Of the data set.
    edition : int
        1 or 2.
    useafter : str
        For the header, ``Mar 01 2002 00:00:00``.
    """
    filetype, unit = {
        "BIASFILE": ("BIAS", "COUNTS"),
        "DARKFILE": ("DARK", "ELECTRONS/S"),
        "DRKCFILE": ("CTEDARK", "ELECTRONS/S"),
        "PFLTFILE": ("PIXEL-TO-PIXEL FLAT", "UNITLESS"),
        "FLSHFILE": ("POST FLASH", "ELECTRONS/S"),
        "SATUFILE": ("FULL-WELL SATURATION LEVEL MAP", "ELECTRONS"),
        "SNKCFILE": ("SINK PIXELS", "ELECTRONS"),
    }[kind]
    more: dict[str, object] = {"CCDAMP": "ABCD", "CCDGAIN": 2.0}
    if kind == "PFLTFILE":
        more |= {"FILTER1": mode.filters[0], "FILTER2": mode.filters[1], "OBSTYPE": "IMAGING"}
    if kind == "FLSHFILE":
        more |= {"FLASHCUR": "LOW", "SHUTRPOS": "A"}
    nextend = 2 if kind == "SNKCFILE" else 6

    def units() -> Iterator[Unit]:
        yield describe(filetype, useafter, nextend, **more), None
        for number, chip in enumerate(CHIPS, 1):
            for name, pixels in _planes(kind, seed, geometry, chip, edition):
                raw_frame = pixels.shape == geometry.raw_shape
                yield (
                    [
                        ("EXTNAME", name),
                        ("EXTVER", number),
                        ("CCDCHIP", chip),
                        ("LTV1", float(PRESCAN) if raw_frame else 0.0),
                        ("LTV2", float(VIRTUAL) if raw_frame and chip == 1 else 0.0),
                        ("LTM1_1", 1.0),
                        ("LTM2_2", 1.0),
                        ("BUNIT", "UNITLESS" if name == "DQ" else unit),
                    ],
                    pixels,
                )

    write_fits(path, units())


def _planes(
    kind: str, seed: int, geometry: Geometry, chip: int, edition: int
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    if kind == "SNKCFILE":
        yield "SCI", make_sink(seed, geometry, chip)
        return
    flags = None
    if kind == "BIASFILE":
        sci = make_bias(seed, geometry, chip, edition)
        err = np.full_like(sci, 0.1)
    elif kind in ("DARKFILE", "DRKCFILE"):
        sci = make_dark(seed, geometry, chip, edition)
        err = np.float32(0.02) * sci
        flags = np.where(sci > HOT_RATE, HOT, 0).astype(np.int16)
    elif kind == "PFLTFILE":
        sci = make_flat(seed, geometry, chip)
        err = np.full_like(sci, 0.001)
        flags = np.where(sci == 0, BAD_FLAT, 0).astype(np.int16)
    elif kind == "FLSHFILE":
        sci = make_flash(seed, geometry, chip)
        err = np.float32(0.005) * sci
    else:
        sci = make_saturation(seed, geometry, chip)
        err = np.zeros_like(sci)
    yield "SCI", sci
    yield "ERR", err
    yield "DQ", flags if flags is not None else np.zeros(sci.shape, dtype=np.int16)
