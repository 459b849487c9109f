"""PHOTCORR: the PHOTMODE text, and PHOTFLAM, PHOTPLAM, PHOTBW from IMPHTTAB.

A row of IMPHTTAB may depend on parameters (``mjd#``, a ramp filter's ``#``); its values are then interpolated
linearly in each of them, the dimensions taken one after the other from the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.fitsfile import hdu_of, table
from acsrecipe.engines.embedded.frame import Observation
from acsrecipe.engines.embedded.references import Reference
from acsrecipe.engines.embedded.tables import Columns, cell
from acsrecipe.errors import EngineError

_NAMES = ("PHOTFLAM", "PHOTPLAM", "PHOTBW")
NOT_COVERED = -9999.0


@dataclass(frozen=True)
class Photometry:
    """Values for the SCI header; ``covered`` is False where IMPHTTAB does not reach (calacs then skips)."""

    photflam: float
    photplam: float
    photbw: float
    photzpt: float

    @property
    def covered(self) -> bool:
        """Whether the table reaches to this observation."""
        return self.photflam != NOT_COVERED


def photmode(seen: Observation) -> str:
    """Give PHOTMODE: the instrument, WFC1 for either chip, filters, and the date."""
    words = ["ACS", "WFC1"]
    if seen.obstype.startswith("CORON"):
        words.append("CORON")
    for name in (seen.filter1, seen.filter2):
        if name.startswith(("N/A", "CLEAR")):
            continue
        word = name
        if name.startswith("POL"):
            word = "POL_UV" if "UV" in name else "POL_V"
        if name.startswith("FR"):
            word += f"#{seen.lrfwave:.4g}"
        words.append(word)
    return " ".join([*words, f"MJD#{seen.expstart:.4f}"])


def _number(spelt: str) -> float:
    try:
        return float(spelt)
    except ValueError:
        return 0.0


def _bracket(grid: list[float], value: float) -> tuple[int, int]:
    last = len(grid) - 1
    if grid[last] <= value:
        return last - 1, last
    above = next(n for n, at in enumerate(grid) if not at <= value)
    if above == 0:
        return 0, 1
    return (above - 1, above) if above < last else (last - 1, last)


def _interpolate(x: list[float], y: list[float], at: float) -> float:
    low, high = _bracket(x, at)
    return y[low] + (at - x[low]) * (y[high] - y[low]) / (x[high] - x[low])


def _row_value(columns: Columns, row: int, name: str, given: dict[str, float], *, extrapolate: bool) -> float:
    datacol = cell(columns["DATACOL"][row])
    dimensions = int(datacol[len(name) :] or 0) if len(datacol) > len(name) else 0
    if not dimensions:
        return float(columns[name][row])
    grids: list[list[float]] = []
    values: list[float] = []
    for n in range(1, dimensions + 1):
        parameter = cell(columns[f"PAR{n}NAMES"][row])
        grid = [float(v) for v in columns[f"PAR{n}VALUES"][row].ravel()[: int(columns[f"NELEM{n}"][row])]]
        value = next((v for key, v in given.items() if key.lower().startswith(parameter.lower())), 0.0)
        if value == 0.0:
            return 0.0
        if not grid[0] <= value <= grid[-1] and not (extrapolate and parameter.lower() == "mjd#"):
            return NOT_COVERED
        grids.append(grid)
        values.append(value)
    results: Any = columns[f"{name}{dimensions}"][row].ravel()
    brackets = []
    for grid, value in zip(grids, values, strict=True):
        if value < grid[0]:
            place = 0.0
        elif value > grid[-1]:
            place = float(len(grid) - 1)
        else:
            place = _interpolate(grid, [float(n) for n in range(len(grid))], value)
        brackets.append(_bracket([float(n) for n in range(len(grid))], math.floor(place)))
    corners: list[float] = []
    for bits in range(2**dimensions):
        stride, index = 1, 0
        for n, (grid, bracket) in enumerate(zip(grids, brackets, strict=True)):
            index += stride * bracket[bits >> n & 1]
            stride *= len(grid)
        corners.append(float(results[index]))
    for grid, bracket, value in zip(grids, brackets, values, strict=True):
        ends = [grid[bracket[0]], grid[bracket[1]]]
        corners = [_interpolate(ends, corners[k : k + 2], value) for k in range(0, len(corners), 2)]
    return corners[0]


def find_photometry(reference: Reference, mode: str) -> Photometry:
    """Look up the photometry of a PHOTMODE.

    Raises
    ------
    EngineError
        When IMPHTTAB has no row for the mode.
    """
    primary = reference.file.hdus[0].cards
    where = str(reference.file.path)
    words = mode.lower().split(" ")
    given = {word.partition("#")[0] + "#": _number(word.partition("#")[2]) for word in words if "#" in word}
    wanted = ",".join(word.partition("#")[0] + "#" if "#" in word else word for word in words)
    extrapolate = header.find(primary, "EXTRAP") >= 0 and header.truth(primary, "EXTRAP", where=where)
    found: list[float] = []
    for name in _NAMES:
        columns = table(reference.file, hdu_of(reference.file, name, 1))
        for row, item in enumerate(columns["OBSMODE"]):
            known = cell(item).lower()
            if len(known) == len(wanted) and all(token in wanted for token in known.split(",") if token):
                found.append(_row_value(columns, row, name, given, extrapolate=extrapolate))
                break
        else:
            message = f"IMPHTTAB {reference.name} has no {name} row for {wanted}"
            raise EngineError(message, where=where, hint="are FILTER1 and FILTER2 what the table knows?")
    return Photometry(found[0], found[1], found[2], header.number(primary, "PHOTZPT", where=where))
