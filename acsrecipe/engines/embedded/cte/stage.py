"""PCTECORR as a stage of the engine: a Frame before, a Frame after, and what calacs's acscte writes into the header."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.cte.correct import SM4, ChipFrame, correct_cte
from acsrecipe.engines.embedded.cte.table import GENERATION_3, CteTable, TrapSet, read_table
from acsrecipe.engines.embedded.cte.workers import Cancelled, Report
from acsrecipe.engines.embedded.frame import Frame, Imset, observation
from acsrecipe.engines.embedded.history import end_step, tell_ccd, tell_reference
from acsrecipe.engines.embedded.references import References, need_reference
from acsrecipe.engines.embedded.tables import ccd_parameters
from acsrecipe.errors import EngineError

AMPS = {1: "AB", 2: "CD"}
VERSION = "3.0"


def correct_frame(
    frame: Frame,
    names: Cards,
    references: References,
    *,
    threads: int = 1,
    report: Report | None = None,
    cancelled: Cancelled | None = None,
) -> Frame:
    """Do PCTECORR.

    Parameters
    ----------
    frame : Frame
        What the detector stage made: trimmed, in electrons. It stays as it is.
    names : list of str
        Primary cards that the reference names are taken from (of the first member of a CR-SPLIT group).
    references : References
        Where PCTETAB and CCDTAB are.
    threads, report, cancelled
        See `correct_cte`.

    Returns
    -------
    Frame
        With new SCI and ERR, the same DQ arrays, and cards of its own.

    Raises
    ------
    EngineError
        PCTETAB is missing, a dummy, of an older generation or damaged; or the header asks of it what it can't give.
    InterruptedRunError
        `cancelled` said so.
    """
    where = str(frame.path)
    primary = list(frame.primary)
    seen = observation(primary, where)
    pctetab = need_reference(references, names, "PCTETAB", "PCTECORR", where)
    if pctetab.is_dummy:
        message = f"PCTETAB {pctetab.name} is a dummy (PEDIGREE {pctetab.pedigree}): PCTECORR can't be done with it"
        raise EngineError(message, where=where, hint="choose another PCTETAB, or set PCTECORR = OMIT")
    table = with_header_settings(read_table(pctetab.file.path), primary, where)
    ccdtab = need_reference(references, names, "CCDTAB", "every calibration", where)

    chips: list[ChipFrame] = []
    amps = ""
    for imset in frame.imsets:
        ccd = ccd_parameters(ccdtab, seen, imset.chip, imset.sci.shape[1], where)
        if not chips:
            first = ccd
        present = "".join(amp for amp in AMPS[imset.chip] if amp in seen.ccdamp)
        amps += present
        chips.append(ChipFrame(imset.sci, imset.err, present, ccd.ampx, ccd.ampy))
    corrected = correct_cte(
        chips,
        table,
        expstart=seen.expstart,
        read_noise=dict(zip("ABCD", first.readnoise, strict=True)),
        threads=threads,
        report=report,
        cancelled=cancelled,
    )

    tell_ccd(primary, ccdtab, first)
    header.put_text(primary, "PCTETAB", pctetab.name, "CTE Correction Table")
    tell_settings(primary, table, amps, seen.expstart)
    end_step(primary, "PCTECORR", "PERFORM")
    for amp, noise in zip("ABCD", first.readnoise, strict=True):
        number = f"{float(np.float32(noise)):#14.7E}"
        header.add_history(primary, f"PCTERNOI {number} Amp '{amp}' read noise clip limit (from CCDTAB).")
    header.add_history(primary, "CTE parameters table: ")
    tell_reference(primary, pctetab, image=False)
    header.put_text(primary, "CTE_NAME", GENERATION_3, "name of CTE algorithm")
    header.put_text(primary, "CTE_VER", VERSION, "version of CTE algorithm")
    imsets = [
        Imset(sci, err, old.dq, list(old.sci_cards), list(old.err_cards), list(old.dq_cards), old.chip)
        for old, (sci, err) in zip(frame.imsets, corrected, strict=True)
    ]
    return replace(frame, primary=primary, imsets=imsets)


def with_header_settings(table: CteTable, primary: Cards, where: str) -> CteTable:
    """Let an exposure's header override the table, as calacs does.

    PCTETLEN, PCTENFOR and PCTENPAR count where they are above 1, FIXROCR where it is 0 or 1. A card that is there
    is first brought up to date with what the parallel correction uses, and so decides for the serial one too.

    Raises
    ------
    EngineError
        FIXROCR is something else, PCTENSMD is not 0, or PCTETLEN is more than the profiles have.
    """
    if header.integer(primary, "PCTENSMD", 0) != 0:
        message = f"PCTENSMD is {header.integer(primary, 'PCTENSMD')}; only read noise mitigation 0 is known"
        raise EngineError(message, where=where)
    ease = header.integer(primary, "FIXROCR", int(table.ease))
    if ease not in (0, 1):
        message = f"FIXROCR is {ease}, expected 0 or 1"
        raise EngineError(message, where=where)
    parallel = _overridden(table.parallel, primary, table.parallel, where)
    serial = {amp: _overridden(traps, primary, parallel, where) for amp, traps in table.serial.items()}
    return replace(table, ease=bool(ease), parallel=parallel, serial=serial)


def _overridden(traps: TrapSet, primary: Cards, parallel: TrapSet, where: str) -> TrapSet:
    def chosen(keyword: str, own: int, first: int) -> int:
        if header.find(primary, keyword) < 0:
            return own
        value = header.integer(primary, keyword, where=where)
        value = value if value > 1 else first
        return value if value > 1 else own

    traps = replace(
        traps,
        length=chosen("PCTETLEN", traps.length, parallel.length),
        models=chosen("PCTENFOR", traps.models, parallel.models),
        shifts=chosen("PCTENPAR", traps.shifts, parallel.shifts),
    )
    if traps.length > traps.release.shape[1]:
        message = f"PCTETLEN is {traps.length}; the trails of PCTETAB have {traps.release.shape[1]} rows"
        raise EngineError(message, where=where)
    return traps


def tell_settings(primary: Cards, table: CteTable, amps: str, expstart: float) -> None:
    """Write the settings into their cards, where the header has them, else into the history: parallel, then serial.

    Parameters
    ----------
    amps : str
        In the order in which they were corrected.
    """
    parallel = table.parallel
    fraction = (expstart - parallel.date0) / (parallel.date1 - parallel.date0)
    _tell(primary, "CTE_NAME", table.name, "CTE algorithm name")
    _tell(primary, "CTE_VER", table.version, "CTE algorithm version")
    _tell(primary, "CORRTYPE", "parallel", "CTE correction type")
    _tell(primary, "FIXROCR", int(table.ease), "fix readout cosmic rays")
    _tell(primary, "PCTETRSH", table.threshold, "CTE over subtraction threshold")
    _tell(primary, "PCTEFRAC", fraction, "CTE scaling factor")
    _tell_traps(primary, parallel)
    if expstart >= SM4:
        for amp in amps:
            _tell(primary, "CORRTYPE", f"serial - Amp {amp}", "CTE correction type")
            _tell_traps(primary, table.serial[amp])


def _tell_traps(primary: Cards, traps: TrapSet) -> None:
    _tell(primary, "CTEDATE0", traps.date0, "Date of instrument installation")
    _tell(primary, "CTEDATE1", traps.date1, "Date of CTE model pinning")
    _tell(primary, "PCTETLEN", traps.length, "max length of CTE trail")
    _tell(primary, "PCTENFOR", traps.models, "Number of iter in forward model")
    _tell(primary, "PCTENPAR", traps.shifts, "Number of iter in parallel transfer")


def _tell(primary: Cards, keyword: str, value: str | int | float, comment: str) -> None:
    present = header.find(primary, keyword) >= 0
    if isinstance(value, str):
        if present:
            header.put_text(primary, keyword, value, comment)
        else:
            header.add_history(primary, f"{keyword} {value} {comment}")
    elif isinstance(value, int):
        if present:
            header.put_integer(primary, keyword, value, comment)
        else:
            header.add_history(primary, f"{keyword} {value:12d} {comment}")
    elif present:
        header.put_double(primary, keyword, value, comment)
    else:
        header.add_history(primary, f"{keyword} {value:#20.12E} {comment}")
