"""Proof of success: a calibration has succeeded when its products say so, not when a program says so.

calacs.e also ends with status 0 when it did nothing. Which switches turn, and in which product, is
measured on calacs 10.5.0's own products and read in its ``acshist.c``, ``acs2d/do2d.c`` and ``sciflags.c``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from acsrecipe.errors import EngineError, PlanError
from acsrecipe.inputs.header import read_headers
from acsrecipe.inputs.model import HduHeader, Value
from acsrecipe.plan.model import Output, Task

FRAME_SWITCHES = ("DQICORR", "ATODCORR", "BIASCORR", "BLEVCORR", "SINKCORR")
"""Turn as each exposure's own RAW header says (acsccd)."""

IMAGE_SWITCHES = ("DARKCORR", "FLSHCORR", "FLATCORR", "SHADCORR", "PHOTCORR", "EXPSCORR")
"""Turn as the RAW header of the group's *first* exposure says (acs2d); RPTCORR and DRIZCORR never turn here."""

PRODUCT_SWITCHES: Mapping[str, tuple[str, ...]] = {
    "flt": (),
    "flc": ("PCTECORR",),
    "crj": ("CRCORR",),
    "crc": ("CRCORR", "PCTECORR"),
    "sfl": (),
}
"""Turn in these products only: in an FLT beside an FLC, PCTECORR stays PERFORM."""

NOT_FOR_SBC = (*FRAME_SWITCHES[1:], "FLSHCORR", "SHADCORR", "EXPSCORR")
"""Switches that calacs ignores for the SBC's MAMA (acs2d/sanity2d.c), or that were not seen to turn there."""


def prove(task: Task, folder: Path) -> tuple[str, ...]:
    """Check that every product of a calibration is there, whole, and calibrated.

    Parameters
    ----------
    task : Task
        Its ``outputs`` are what must be there, its ``exposures`` whose switches count.
    folder : Path
        The attempt folder, with the staged RAW files.

    Returns
    -------
    tuple of str
        Warnings: switches that are SKIPPED (a reference with PEDIGREE DUMMY, a flash of 0 s).

    Raises
    ------
    EngineError
        Names the file, the keyword, what was found and what was expected. E010 a product is not there,
        E011 not a whole FITS file, E012 an HDU is missing or without pixels, E013 a switch did not turn.
    """
    raws = {root: _raw_switches(task, folder, root) for root in task.exposures}
    warnings: list[str] = []
    for output in task.outputs:
        path = folder / output.name
        if path.is_symlink() or not path.is_file():
            made = (
                ", ".join(sorted(p.name for p in folder.glob("*.fits") if not p.name.endswith("_raw.fits"))) or "none"
            )
            raise _unproven(task, f"{output.name} was not made (other FITS files in its folder: {made})", "E010")
        if not output.name.endswith(".fits"):
            continue
        headers = _read(task, path)
        _prove_hdus(task, output, headers)
        root, _, suffix = output.name.removesuffix(".fits").partition("_")
        own = raws.get(root, raws[task.exposures[0]] if task.exposures else {})
        first = raws[task.exposures[0]] if task.exposures else {}
        warnings += _prove_switches(task, output.name, suffix, headers[0].cards, own, first)
    return tuple(warnings)


def _raw_switches(task: Task, folder: Path, root: str) -> Mapping[str, Value]:
    path = folder / f"{root}_raw.fits"
    return _read(task, path)[0].cards if path.is_file() else {}


def _read(task: Task, path: Path) -> tuple[HduHeader, ...]:
    try:
        return read_headers(path)
    except PlanError as error:
        raise _unproven(task, f"{path.name} {error.message}", "E011") from error


def _prove_hdus(task: Task, output: Output, headers: tuple[HduHeader, ...]) -> None:
    found = {f"{hdu.name},{hdu.version}": hdu for hdu in headers[1:]}
    missing = [hdu for hdu in output.hdus if hdu not in found and hdu != "PRIMARY"]
    if missing:
        msg = f"{output.name} has no HDU {', '.join(missing)}: found {', '.join(found) or 'only a primary header'}"
        raise _unproven(task, msg, "E012")
    for label in output.hdus:
        # A null ERR or DQ (constant pixels) has NAXIS 0; SCI must have pixels.
        if label.startswith("SCI,") and (found[label].cards.get("NAXIS") or 0) == 0:
            raise _unproven(task, f"{output.name}: HDU {label} has NAXIS = 0, expected an image", "E012")


def _prove_switches(
    task: Task,
    name: str,
    suffix: str,
    product: Mapping[str, Value],
    own: Mapping[str, Value],
    first: Mapping[str, Value],
) -> list[str]:
    asked = [switch for switch in FRAME_SWITCHES if _is_perform(own, switch)]
    asked += [switch for switch in IMAGE_SWITCHES if _is_perform(first, switch)]
    asked += [switch for switch in PRODUCT_SWITCHES.get(suffix, ()) if _is_perform(first, switch)]
    if str(own.get("DETECTOR") or "").strip().upper() == "SBC":
        asked = [switch for switch in asked if switch not in NOT_FOR_SBC]
    warnings = []
    for switch in asked:
        found = product.get(switch)
        value = str(found or "").strip().upper()
        if value == "SKIPPED":
            warnings.append(f"{name}: {switch} was skipped: a dummy reference, or nothing to correct")
        elif value != "COMPLETE":
            shown = "no such card" if found is None else repr(found)
            msg = f"{name}: found {switch} = {shown}, expected 'COMPLETE' as the RAW says PERFORM"
            raise _unproven(task, msg, "E013")
    return warnings


def _is_perform(header: Mapping[str, Value], switch: str) -> bool:
    return str(header.get(switch) or "").strip().upper() == "PERFORM"


def _unproven(task: Task, message: str, code: str) -> EngineError:
    return EngineError(message, where=task.id, hint="look at the last lines of the trailer in the log", code=code)
