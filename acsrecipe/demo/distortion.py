"""Distortion references that stwcs reads: IDCTAB, NPOLFILE, D2IMFILE. Invented, of the size of ACS/WFC's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from acsrecipe.demo.fitsfile import Unit, write_fits
from acsrecipe.demo.geometry import Geometry
from acsrecipe.demo.references import CHIPS, describe
from acsrecipe.demo.streams import open_stream

PIXEL_SCALE = 0.05
"""Arcseconds a pixel."""
CHIP_GAP = 50.0
"""Pixels between the chips."""
ORDER = 4
FILTER_PAIRS = (
    ("CLEAR1L", "CLEAR2L"),
    ("F606W", "CLEAR2L"),
    ("CLEAR1L", "F814W"),
    ("F606W", "POL0V"),
    ("F606W", "POL60V"),
    ("F606W", "POL120V"),
    ("F606W", "POL0UV"),
    ("CLEAR1L", "FR914M"),
)
_GRID = (32, 64)

# Arcseconds per pixel**n along V2 (CX) and V3 (CY); [n][m]: y**(n - m) x**m. Sizes as a camera skewed by 5 degrees.
_CX = {
    1: ((0.00200, 0.04930), (0.00185, 0.04975)),
    2: ((9.0e-8, -3.4e-7, 4.2e-7), (9.5e-8, -2.6e-7, 4.1e-7)),
    3: ((2.0e-12, -2.5e-11, -5.0e-12, -2.4e-11), (-5.0e-13, -2.6e-11, -3.0e-12, -2.4e-11)),
    4: ((5.0e-15, -3.0e-16, 4.0e-15, 1.5e-15, 9.0e-16), (1.1e-15, -6.0e-16, 1.6e-15, 1.0e-16, 1.0e-15)),
}
_CY = {
    1: ((0.04860, 0.00210), (0.05020, 0.00155)),
    2: ((-4.6e-7, 3.0e-7, -1.3e-7), (-3.7e-7, 3.1e-7, -8.0e-8)),
    3: ((-2.1e-11, -3.5e-12, -2.2e-11, 4.4e-12), (-2.2e-11, -4.2e-12, -2.5e-11, 4.3e-12)),
    4: ((-6.0e-15, 5.0e-16, -4.5e-15, -1.6e-15, -7.0e-16), (-9.0e-16, 3.0e-16, -1.8e-15, -1.5e-16, -8.0e-16)),
}
_V2V3_REF = (258.0, 250.0)


def chip_offset(geometry: Geometry) -> float:
    """Pixels along y from the middle of chip 2 to that of chip 1."""
    return geometry.amp_ny + CHIP_GAP


def write_distortion(
    path: Path, kind: str, seed: int, geometry: Geometry, filters: tuple[str, str], useafter: str
) -> None:
    """Write the distortion reference of a kind (``IDCTAB``, ``NPOLFILE`` or ``D2IMFILE``)."""
    if kind == "IDCTAB":
        _write_polynomials(path, geometry, useafter)
    else:
        _write_grids(path, kind, seed, geometry, filters, useafter)


def _write_polynomials(path: Path, geometry: Geometry, useafter: str) -> None:
    columns: dict[str, tuple[str, list[object]]] = {
        "DETCHIP": ("I", []),
        "DIRECTION": ("8A", []),
        "FILTER1": ("8A", []),
        "FILTER2": ("8A", []),
        "XSIZE": ("J", []),
        "YSIZE": ("J", []),
        **{name: ("D", []) for name in ("XREF", "YREF", "V2REF", "V3REF", "SCALE")},
    }
    powers = [(n, m) for n in range(1, ORDER + 1) for m in range(n + 1)]
    columns |= {f"{axis}{n}{m}": ("D", []) for axis in ("CX", "CY") for n, m in powers}
    ny, nx = geometry.chip_shape
    for first, second in FILTER_PAIRS:
        for index, chip in enumerate((1, 2)):
            # V3 runs against y: chip 1, above chip 2, has the smaller V3.
            v3 = _V2V3_REF[1] + (-0.5 if chip == 1 else 0.5) * chip_offset(geometry) * PIXEL_SCALE
            row: dict[str, object] = {
                "DETCHIP": chip,
                "DIRECTION": "FORWARD",
                "FILTER1": first,
                "FILTER2": second,
                "XSIZE": nx,
                "YSIZE": ny,
                "XREF": nx / 2,
                "YREF": ny / 2,
                "V2REF": _V2V3_REF[0] + (2.0 if chip == 1 else -2.0),
                "V3REF": v3,
                "SCALE": PIXEL_SCALE,
            }
            for axis, table in (("CX", _CX), ("CY", _CY)):
                row |= {f"{axis}{n}{m}": table[n][index][m] for n, m in powers}
            for name, value in row.items():
                columns[name][1].append(value)
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name=name, format=form, array=np.array(values)) for name, (form, values) in columns.items()]
    )
    primary = fits.PrimaryHDU()
    drift = {"TDD_DATE": 2004.5, "TDD_CTB1": 1.8e-6, "TDD_CTB2": 1.7e-6, "TDD_CXB1": -4.0e-7, "TDD_CXB2": -3.9e-7}
    for card in describe("DISTORTION COEFFICIENTS", useafter, 1, NORDER=ORDER, PARITY=-1, **drift):
        primary.header.append(card)
    fits.HDUList([primary, table]).writeto(path)


def _write_grids(path: Path, kind: str, seed: int, geometry: Geometry, filters: tuple[str, str], useafter: str) -> None:
    """Two tables a chip, DX and DY in pixels on a coarse grid, imset 1 for chip 2 as everywhere."""
    filetype, amplitude = {"NPOLFILE": ("DXY GRID", 0.005), "D2IMFILE": ("WFC D2I FILE", 0.03)}[kind]
    more: dict[str, object] = {"FILENAME": path.name, "OBSTYPE": "IMAGING"}
    if kind == "NPOLFILE":
        more |= {"FILTER1": filters[0], "FILTER2": filters[1]}
    ny, nx = geometry.chip_shape

    def units() -> Iterator[Unit]:
        yield describe(filetype, useafter, 4, **more), None
        for number, chip in enumerate(CHIPS, 1):
            for axis in ("DX", "DY"):
                yield (
                    [
                        ("EXTNAME", axis),
                        ("EXTVER", number),
                        ("CCDCHIP", chip),
                        ("ONAXIS1", nx),
                        ("ONAXIS2", ny),
                        ("CDELT1", nx // _GRID[1]),
                        ("CDELT2", ny // _GRID[0]),
                    ],
                    _ripple(seed, f"{kind} {axis} {chip}", amplitude),
                )

    write_fits(path, units())


def _ripple(seed: int, name: str, amplitude: float) -> NDArray[np.float32]:
    rng = open_stream(seed, name)
    y, x = np.mgrid[: _GRID[0], : _GRID[1]] / 8.0
    wave = np.sin(x * rng.uniform(0.5, 2) + rng.uniform(0, 6)) * np.cos(y * rng.uniform(0.5, 2) + rng.uniform(0, 6))
    ripple: NDArray[np.float32] = (amplitude * wave).astype(np.float32)
    return ripple
