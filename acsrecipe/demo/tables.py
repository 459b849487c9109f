"""Reference tables: CCD parameters, overscan regions, bad pixels, cosmic-ray rejection, photometry, CTE, drizzle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from acsrecipe.demo.detector import BIAS_LEVEL, GAIN_PER_COMMANDED, OVERHEAD_FLASHED, OVERHEAD_UNFLASHED, READ_NOISE
from acsrecipe.demo.geometry import FULL, Geometry, Window, chip_of, cut_windows
from acsrecipe.demo.references import TRUE_EDITION, describe
from acsrecipe.demo.streams import open_stream

GAINS = (0.5, 1.0, 1.4, 2.0, 4.0, 8.0)
CCDAMPS = ("ABCD", "AD", "BC", "A", "B", "C", "D")
OBSMODES = ("acs,wfc1,f606w,mjd#", "acs,wfc1,f814w,mjd#", "acs,wfc1,f606w,pol_v,mjd#", "acs,wfc1,f606w,pol_uv,mjd#")
RAMP_OBSMODE = "acs,wfc1,fr914m#,mjd#"
_MJDS = np.array([52334.0, 54962.0, 58500.0])
_WAVELENGTHS = np.array([7600.0, 8800.0, 10700.0])
TRAPS, SERIAL_TRAPS, TRAIL = 238, 23, 60

Column = tuple[str, str, object]
"""Name, FITS format, values."""


def write_table(
    path: Path, kind: str, seed: int, geometry: Geometry, edition: int, useafter: str, *, traps: float = 0.0
) -> None:
    """Write the reference table of a kind (``CCDTAB``, ...).

    Parameters
    ----------
    path : Path
    kind : str
        The header keyword that names such a file.
    seed : int
    geometry : Geometry
    edition : int
        1 or 2: BPIXTAB and IMPHTTAB differ.
    useafter : str
        For the header, ``Mar 01 2002 00:00:00``.
    traps : float
        See `acsrecipe.demo.modes.Mode`; for PCTETAB.
    """
    makers: dict[str, Callable[[], tuple[str, dict[str, object], list[fits.BinTableHDU | fits.ImageHDU]]]] = {
        "CCDTAB": lambda: ("CCD PARAMETERS", {}, [_ccd_parameters(geometry)]),
        "OSCNTAB": lambda: ("OVERSCAN", {}, [_overscan(geometry)]),
        "BPIXTAB": lambda: (
            "BAD PIXELS",
            {"SIZAXIS1": geometry.chip_shape[1], "SIZAXIS2": geometry.chip_shape[0]},
            [_bad_pixels(seed, geometry, edition)],
        ),
        "CRREJTAB": lambda: ("COSMIC RAY REJECTION", {}, [_rejection()]),
        "IMPHTTAB": lambda: (
            "IMAGE PHOTOMETRY TABLE",
            {"PARNUM": 2, "PHOTZPT": -21.1, "EXTRAP": True},
            _photometry(edition),
        ),
        "PCTETAB": lambda: ("PIXCTE", _CTE_KEYWORDS, _traps(geometry, traps)),
        "MDRIZTAB": lambda: ("MULTIDRIZZLE PARAMETERS", {}, [_drizzle()]),
    }
    filetype, more, extensions = makers[kind]()
    primary = fits.PrimaryHDU()
    for card in describe(filetype, useafter, len(extensions), **more):
        primary.header.append(card)
    fits.HDUList([primary, *extensions]).writeto(path)


def _table(columns: Sequence[Column], name: str = "") -> fits.BinTableHDU:
    made = [fits.Column(name=n, format=f, array=np.asarray(values)) for n, f, values in columns]
    table = fits.BinTableHDU.from_columns(made)
    if name:
        table.name = name
    return table


def _from_rows(names_formats: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> fits.BinTableHDU:
    values = list(zip(*rows, strict=True))
    return _table([(n, f, list(v)) for (n, f), v in zip(names_formats, values, strict=True)])


def _ccd_parameters(geometry: Geometry) -> fits.BinTableHDU:
    """One row for each CCDAMP, chip and gain; AMPX is where the second amplifier's columns begin, in the chip frame."""
    columns = [("CCDAMP", "4A"), ("CCDCHIP", "J"), ("CCDGAIN", "E"), ("BINAXIS1", "J"), ("BINAXIS2", "J")]
    columns += [(f"CCDOFST{amp}", "J") for amp in "ABCD"]
    columns += [(f"{name}{amp}", "E") for name in ("CCDBIAS", "ATODGN", "READNSE") for amp in "ABCD"]
    columns += [("AMPX", "J"), ("AMPY", "J"), ("ATODSAT", "J"), ("SATURATE", "E")]
    columns += [("OVRHFLS", "D"), ("OVRHUFLS", "D"), ("PEDIGREE", "67A"), ("DESCRIP", "67A")]
    rows = []
    for gain in GAINS:
        for ccdamp in CCDAMPS:
            for chip in (1, 2):
                used = [amp for amp in ccdamp if chip_of(amp) == chip]
                if not used:
                    continue
                if len(used) == 2:
                    ampx, ampy = geometry.amp_nx, geometry.amp_ny
                else:
                    # Beyond the frame: all columns are the left amplifier's. calacs cuts it to the frame.
                    ampx, ampy = (geometry.raw_shape[1] if used[0] in "AC" else 0), 0
                levels = [float(BIAS_LEVEL[a]) for a in "ABCD"]
                gains = [gain * GAIN_PER_COMMANDED[a] for a in "ABCD"]
                noises = [READ_NOISE[a] for a in "ABCD"]
                head = [ccdamp, chip, gain, 1, 1, 3, 3, 3, 3, *levels, *gains, *noises]
                tail = [OVERHEAD_FLASHED, OVERHEAD_UNFLASHED, "INFLIGHT 01/03/2002 01/03/2016", "synthetic"]
                rows.append([*head, ampx, ampy, 65534, 84700.0, *tail])
    return _from_rows(columns, rows)


def _overscan(geometry: Geometry) -> fits.BinTableHDU:
    """One row for each readout; VX, VY are 0: no drift along the row is fitted."""
    columns = [("CCDAMP", "4A"), ("CCDCHIP", "J"), ("BINX", "J"), ("BINY", "J"), ("NX", "J"), ("NY", "J")]
    columns += [(name, "J") for name in ("TRIMX1", "TRIMX2", "TRIMY1", "TRIMY2")]
    columns += [(name, "J") for name in ("BIASSECTA1", "BIASSECTA2", "BIASSECTB1", "BIASSECTB2")]
    columns += [(name, "J") for name in ("VX1", "VX2", "VY1", "VY2")]
    readouts = [(amps, "full") for amps in ("ABCD", "AD", "BC")]
    parts = ("2K", "1K", "512", "old-2K", "old-1K", "old-512")
    readouts += [(amp, part) for amp in "ABCD" for part in parts]
    rows = [
        _overscan_row(ccdamp, window)
        for ccdamp, readout in readouts
        for window in cut_windows(geometry, ccdamp, readout)
    ]
    return _from_rows(columns, rows)


def _overscan_row(ccdamp: str, window: Window) -> list[object]:
    return [ccdamp, window.chip, 1, 1, window.nx, window.ny, *window.trim, *window.bias_sections, 0, 0, 0, 0]


def _bad_pixels(seed: int, geometry: Geometry, edition: int) -> fits.BinTableHDU:
    """Short runs along rows (AXIS 1) and columns (AXIS 2), 1-based in the chip frame, any amplifier and gain."""
    ny, nx = geometry.chip_shape
    count = max(60, ny * nx // 40000)
    rng = open_stream(seed, "bad pixels")
    axis = rng.integers(1, 3, count)
    length = rng.integers(1, 18, count)
    columns: list[Column] = [
        ("CCDAMP", "4A", ["N/A"] * count),
        ("CCDCHIP", "J", rng.integers(1, 3, count)),
        ("CCDGAIN", "E", np.full(count, -999.0)),
        ("PIX1", "J", rng.integers(1, nx - 20, count)),
        ("PIX2", "J", rng.integers(1, ny - 20, count)),
        ("LENGTH", "J", length),
        ("AXIS", "J", axis),
        ("VALUE", "I", rng.choice([4, 128], count)),
    ]
    if edition != TRUE_EDITION:
        # The older edition knew fewer of them.
        columns = [(name, kind, np.asarray(values)[: count // 2]) for name, kind, values in columns]
    return _table(columns)


def _rejection() -> fits.BinTableHDU:
    columns = [("CRSPLIT", "J"), ("MEANEXP", "E"), ("SCALENSE", "E"), ("INITGUES", "8A"), ("SKYSUB", "4A")]
    columns += [("CRSIGMAS", "20A"), ("CRRADIUS", "E"), ("CRTHRESH", "E"), ("BADINPDQ", "J"), ("CRMASK", "L")]
    # Of a pair the median is the mean: the first guess has to be the minimum.
    guesses = ["min" if exposures <= 2 else "med" for exposures in range(1, 9)]
    rest = ("mode", "6.5,5.5,4.5", 2.1, 0.5555, 0, True)
    rows = [(n, 10000.0, 30.0, guess, *rest) for n, guess in enumerate(guesses, 1)]
    return _from_rows([*columns, ("CCDCHIP", "J")], [(*row, -999) for row in rows])


def _photometry(edition: int) -> list[fits.BinTableHDU]:
    """Inverse sensitivity, pivot wavelength and bandwidth, linear in MJD; for a ramp filter in wavelength and MJD."""
    drift = np.array([0.0, 0.006, 0.02]) if edition == TRUE_EDITION else np.array([0.0, 0.01, 0.03])
    quantities = {
        "PHOTFLAM": (7.85e-20, drift),
        "PHOTPLAM": (5921.5, np.zeros(3)),
        "PHOTBW": (672.3, np.array([0.0, -1e-4, -3e-4])),
    }
    tables = []
    for name, (start, change) in quantities.items():
        rows = []
        for number, obsmode in enumerate(OBSMODES):
            curve = start * (1 + 0.11 * number) * (1 + change)
            rows.append((obsmode, f"{name}1", 0.0, curve, np.zeros(9), "mjd#", _MJDS, 3, "", np.zeros(3), 0))
        surface = np.outer(1 + change, start * np.array([1.2, 1.0, 1.5])).ravel()
        wave = ("fr914m#", _WAVELENGTHS, 3)
        rows.append((RAMP_OBSMODE, f"{name}2", 0.0, np.zeros(3), surface, *wave, "mjd#", _MJDS, 3))
        columns = [("OBSMODE", "40A"), ("DATACOL", "12A"), (name, "D"), (f"{name}1", "3D"), (f"{name}2", "9D")]
        columns += [("PAR1NAMES", "12A"), ("PAR1VALUES", "3D"), ("NELEM1", "J")]
        columns += [("PAR2NAMES", "12A"), ("PAR2VALUES", "3D"), ("NELEM2", "J")]
        columns += [("PEDIGREE", "30A"), ("DESCRIP", "30A")]
        table = _from_rows(columns, [(*row, "INFLIGHT", "synthetic") for row in rows])
        table.name = name
        tables.append(table)
    return tables


_CTE_KEYWORDS: dict[str, object] = {
    # calacs compares the name letter by letter.
    "CTE_NAME": "Par/Serial PixelCTE 2023",
    "CTE_VER": "3.0",
    "PCTERNOI": 4.3,
    "PCTENSMD": 0,
    "PCTETRSH": -10.0,
    "FIXROCR": 1,
}
_CTE_DATES: dict[str, object] = {
    "CTEDATE0": 52334.86,
    "CTEDATE1": 57710.45,
    "PCTETLEN": TRAIL,
    "PCTENFOR": 5,
    "PCTENPAR": 7,
}


def _traps(geometry: Geometry, density: float) -> list[fits.BinTableHDU | fits.ImageHDU]:
    """Third-generation CTE parameters: one set for parallel transfers, then serial ones for amplifiers A to D.

    Where charge is trailed, a small detector has as many traps on the way to its amplifiers as the true one: else
    its trails could not be seen.
    """
    extensions: list[fits.BinTableHDU | fits.ImageHDU] = []
    for number, amp in enumerate(("", "A", "B", "C", "D"), 1):
        count, full = (TRAPS, 1.0) if number == 1 else (SERIAL_TRAPS, 60.0)
        transfers, true = (geometry.amp_nx, FULL.amp_nx) if amp else (geometry.amp_ny, FULL.amp_ny)
        made = [
            _charge_levels(count, full),
            _column_scaling(density * true / transfers if density else 1.0),
            fits.ImageHDU(_trail(count), name="RPROF"),
            fits.ImageHDU(1.0 - np.cumsum(_trail(count), axis=0, dtype=np.float32), name="CPROF"),
        ]
        for extension, name in zip(made, ("QPROF", "SCLBYCOL", "RPROF", "CPROF"), strict=True):
            extension.name, extension.ver = name, number
            for key, value in _CTE_DATES.items():
                extension.header[key] = value
            if amp:
                extension.header["CCDAMP"] = amp
        extensions += made
    return extensions


def _charge_levels(count: int, scale: float) -> fits.BinTableHDU:
    """List the charge at which each trap begins to fill; rows beyond the last trap hold 999999."""
    rows = np.arange(1, 10000)
    levels = np.minimum(2.0 * scale * rows**1.95 + scale, 99000.0 + rows).astype(np.int32)
    levels[count:] = 999999
    return _table(
        [
            ("W", "I", rows.astype(np.int16)),
            ("QLEV_Q", "J", levels),
            ("DPDE_W", "E", np.ones(rows.size)),
            ("DESCRIP", "20A", ["synthetic"] * rows.size),
        ]
    )


def _column_scaling(density: float) -> fits.BinTableHDU:
    columns: list[Column] = [("IZ", "I", np.arange(8192, dtype=np.int16))]
    columns += [(f"SENS_{row:04d}", "E", np.full(8192, density)) for row in (512, 1024, 1536, 2048)]
    return _table([*columns, ("DESCRIP", "20A", ["synthetic"] * 8192)])


def _trail(count: int) -> NDArray[np.float32]:
    """Share of the trapped charge released at each transfer, (transfers, traps) float32, each trap's sum 1."""
    step = np.arange(TRAIL)
    release = 0.16 * np.exp(-step / 1.7) + 0.03 * np.exp(-step / 9.0) + 0.002
    return np.repeat((release / release.sum())[:, None], count, axis=1).astype(np.float32)


def _drizzle() -> fits.BinTableHDU:
    return _from_rows([("shiftfile", "12A"), ("filter", "8A"), ("numimages", "J")], [("none", "ANY", 1)])
