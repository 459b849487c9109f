"""What the telescope looks at: a flat sky, stars, and the cosmic rays that hit the detector meanwhile. Electrons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acsrecipe.demo.geometry import Geometry
from acsrecipe.demo.streams import open_stream

PSF_SIGMA = 0.9
"""Pixels; a round Gaussian."""
STARS_PER_PIXEL = 1 / 1200
RAYS_PER_PIXEL_SECOND = 1 / 700 / 500
"""Cosmic-ray hits; about one pixel in a hundred of a 500 s exposure is touched when tracks are counted."""
_STAMP = 6

DITHERS = ((0.0, 0.0), (5.3, 2.6), (2.4, -4.1), (-3.2, 3.5), (-5.5, -1.8), (1.2, 5.7))
"""Pointing offsets in pixels (x, y); exposures beyond the last start over."""


@dataclass(frozen=True)
class Stars:
    """Positions in the chip frame of the first exposure (pixels from 0) and total electrons a second."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    rate: NDArray[np.float64]


def make_stars(seed: int, geometry: Geometry, chip: int) -> Stars:
    """Scatter stars over a chip, many faint and few bright ones (a few beyond full well)."""
    ny, nx = geometry.chip_shape
    rng = open_stream(seed, "stars", chip)
    count = int(ny * nx * STARS_PER_PIXEL)
    return Stars(
        rng.uniform(-8, nx + 8, count), rng.uniform(-8, ny + 8, count), 10.0 ** (3.0 - rng.gamma(2.0, 0.8, count))
    )


def render_scene(
    stars: Stars, geometry: Geometry, dither: tuple[float, float], *, sky: float, exptime: float
) -> NDArray[np.float32]:
    """Expect electrons in each pixel of a chip, before the flat field.

    Returns
    -------
    ndarray
        (ny, nx) float32, electrons.
    """
    ny, nx = geometry.chip_shape
    image = np.full((ny, nx), sky, dtype=np.float32)
    if exptime <= 0:
        return image
    reach = np.arange(-_STAMP, _STAMP + 1)
    for x, y, rate in zip(stars.x + dither[0], stars.y + dither[1], stars.rate * exptime, strict=True):
        column, row = int(np.floor(x)), int(np.floor(y))
        columns, rows = column + reach, row + reach
        columns, rows = columns[(columns >= 0) & (columns < nx)], rows[(rows >= 0) & (rows < ny)]
        if not (columns.size and rows.size):
            continue
        profile_x = np.exp(-0.5 * ((columns - x) / PSF_SIGMA) ** 2)
        profile_y = np.exp(-0.5 * ((rows - y) / PSF_SIGMA) ** 2)
        stamp = np.outer(profile_y, profile_x) * (rate / (2 * np.pi * PSF_SIGMA**2))
        image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += stamp.astype(np.float32)
    return image


def make_cosmic_rays(
    rng: np.random.Generator, geometry: Geometry, exptime: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Draw short straight tracks of charge.

    Returns
    -------
    charge : ndarray
        (ny, nx) float32, electrons.
    hit : ndarray
        (ny, nx) bool: where there is any.
    """
    ny, nx = geometry.chip_shape
    charge = np.zeros((ny, nx), dtype=np.float32)
    count = rng.poisson(ny * nx * RAYS_PER_PIXEL_SECOND * exptime)
    x, y = rng.uniform(0, nx, count), rng.uniform(0, ny, count)
    angle, length = rng.uniform(0, 2 * np.pi, count), rng.geometric(0.35, count)
    deposit = 300.0 * np.exp(rng.normal(0.8, 1.0, count))
    for step in range(int(length.max(initial=0))):
        on = length > step
        columns = np.floor(x[on] + step * np.cos(angle[on])).astype(np.intp)
        rows = np.floor(y[on] + step * np.sin(angle[on])).astype(np.intp)
        inside = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
        np.add.at(charge, (rows[inside], columns[inside]), deposit[on][inside].astype(np.float32))
    return charge, charge > 0
