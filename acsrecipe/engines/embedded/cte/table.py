"""Read a PCTETAB of generation 3: the traps of the parallel and the four serial registers.

Layout: a primary header and five sets of four extensions (QPROF, SCLBYCOL, RPROF, CPROF), the first for the
parallel correction, then serial for amps A, B, C, D (ACS Data Handbook 3.6; HSTCAL `loadPCTETAB`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acsrecipe.errors import EngineError

GENERATION_3 = "Par/Serial PixelCTE 2023"
GENERATION_2 = "PixelCTE 2017"
NO_TRAP = 999999.0  # QLEV_Q of unused rows
MOST_TRAPS = 9999
SERIAL_SETS = {"A": 5, "B": 9, "C": 13, "D": 17}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TableDescription:
    """What the primary header of a PCTETAB says: enough for a plan to refuse an older one.

    `generation` is 3, 2, or 1; 1 also when there is no CTE_NAME.
    """

    name: str
    generation: int


@dataclass(frozen=True)
class TrapSet:
    """The traps of one register (parallel, or serial of one amp).

    Attributes
    ----------
    level : (ntraps,) float64, electrons
        QLEV_Q: a pixel at or above it fills the trap.
    size : (ntraps,) float64, electrons
        DPDE_W: what the trap takes.
    release, cumulated : (ntraps, transfers) float64
        RPROF, CPROF: released n + 1 transfers after it filled, and then left.
    column : (ncolumns,) int64
        IZ: columns of all four amps side by side, in the order C, D, A, B.
    sensitivity : (ncolumns, 4) float64
        SENS_0512, SENS_1024, SENS_1536, SENS_2048.
    date0, date1 : float
        CTEDATE0, CTEDATE1: MJD without damage, and of the table's damage.
    length : int
        PCTETLEN: rows of a trail.
    models, shifts : int
        PCTENFOR, PCTENPAR.
    """

    level: Floats
    size: Floats
    release: Floats
    cumulated: Floats
    column: NDArray[np.int64]
    sensitivity: Floats
    date0: float
    date1: float
    length: int
    models: int
    shifts: int


@dataclass(frozen=True)
class CteTable:
    """A PCTETAB of generation 3: `threshold` is PCTETRSH, `ease` FIXROCR, `serial` is by amp."""

    name: str
    version: str
    threshold: float
    ease: bool
    parallel: TrapSet
    serial: dict[str, TrapSet]


def describe_table(path: Path) -> TableDescription:
    """Say which generation a PCTETAB is, reading its primary header only.

    Raises
    ------
    EngineError
        The file can't be opened, or is not FITS.
    """
    from astropy.io import fits

    try:
        header = fits.getheader(path, 0)
    except OSError as error:
        message = f"PCTETAB can't be read: {error}"
        raise EngineError(message, where=str(path)) from error
    name = str(header.get("CTE_NAME", "")).strip()
    return TableDescription(name, _generation(name))


def _generation(name: str) -> int:
    return {GENERATION_3: 3, GENERATION_2: 2}.get(name, 1)


def read_table(path: Path) -> CteTable:
    """Read a PCTETAB whole.

    Raises
    ------
    EngineError
        It is of an older generation, or lacks a keyword, an extension or a column, or its sizes disagree.
    """
    from astropy.io import fits

    described = describe_table(path)
    if described.generation != 3:
        found = f"CTE_NAME is '{described.name}'" if described.name else "no CTE_NAME"
        message = f"{found}: generation {described.generation}; expected generation 3, '{GENERATION_3}'"
        raise EngineError(
            message,
            where=str(path),
            hint='name a PCTETAB of generation 3, or leave out the CTE correction: PCTECORR = "OMIT"',
        )
    with fits.open(path) as hdus:
        primary = hdus[0].header
        if int(_keyword(primary, "PCTENSMD", path)) != 0:
            message = f"PCTENSMD is {primary['PCTENSMD']}; only read noise mitigation 0 is known"
            raise EngineError(message, where=str(path))
        ease = int(_keyword(primary, "FIXROCR", path))
        return CteTable(
            name=described.name,
            version=str(_keyword(primary, "CTE_VER", path)),
            threshold=float(_keyword(primary, "PCTETRSH", path)),
            ease=bool(ease),
            parallel=_read_set(hdus, 1, path),
            serial={amp: _read_set(hdus, first, path) for amp, first in SERIAL_SETS.items()},
        )


def _keyword(header: Any, name: str, path: Path) -> Any:
    if name not in header:
        message = f"PCTETAB has no keyword {name}"
        raise EngineError(message, where=str(path))
    return header[name]


def _column(hdu: Any, name: str, where: str) -> NDArray[Any]:
    if hdu.data is None or name not in hdu.data.names:
        message = f"PCTETAB has no column {name}"
        raise EngineError(message, where=where)
    return np.asarray(hdu.data[name])


def _read_set(hdus: Any, first: int, path: Path) -> TrapSet:
    expected = ("QPROF", "SCLBYCOL", "RPROF", "CPROF")
    names = tuple(hdu.name for hdu in hdus[first : first + 4])
    if names != expected:
        message = (
            f"extensions {first} to {first + 3}: found {', '.join(names) or 'none'}; expected {', '.join(expected)}"
        )
        raise EngineError(message, where=str(path))
    where = f"{path}[{first}]"
    profile, scale, release, cumulated = hdus[first : first + 4]
    level = _column(profile, "QLEV_Q", where).astype(np.float64)[:MOST_TRAPS]
    size = _column(profile, "DPDE_W", where).astype(np.float64)
    # As calacs does: the number of rows in use is counted, and the first so many are taken.
    traps = int(np.count_nonzero(level < NO_TRAP))
    length = int(_keyword(profile.header, "PCTETLEN", path))
    for hdu in (release, cumulated):
        shape = hdu.shape
        if len(shape) != 2 or shape[0] < length or shape[1] < traps:
            message = f"{hdu.name} is {shape}; expected at least {length} transfers (PCTETLEN) x {traps} traps"
            raise EngineError(message, where=where)
    return TrapSet(
        level=level[:traps].copy(),
        size=size[:traps].copy(),
        release=np.ascontiguousarray(release.data[:, :traps].T, np.float64),
        cumulated=np.ascontiguousarray(cumulated.data[:, :traps].T, np.float64),
        column=_column(scale, "IZ", where).astype(np.int64),
        sensitivity=np.stack(
            [_column(scale, f"SENS_{row}", where).astype(np.float64) for row in ("0512", "1024", "1536", "2048")],
            axis=1,
        ),
        date0=float(_keyword(profile.header, "CTEDATE0", path)),
        date1=float(_keyword(profile.header, "CTEDATE1", path)),
        length=length,
        models=int(_keyword(profile.header, "PCTENFOR", path)),
        shifts=int(_keyword(profile.header, "PCTENPAR", path)),
    )
