"""The detector stage: from a RAW file to a trimmed Frame in electrons (what calacs leaves as ``blv_tmp``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.buffers import Buffers
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.chip import (
    ChipSteps,
    Report,
    begin_chip,
    flag_sink_pixels,
    for_each,
    ltv_of,
)
from acsrecipe.engines.embedded.dark import total_darktime
from acsrecipe.engines.embedded.fitsfile import hdu_of, open_fits, pixels, undecoded_pixels
from acsrecipe.engines.embedded.frame import AMPLIFIERS, Frame, Imset, Observation, observation
from acsrecipe.engines.embedded.history import State, end_step, switch, tell_ccd, tell_reference
from acsrecipe.engines.embedded.leveling import subtract_level
from acsrecipe.engines.embedded.overscan import OverscanResult
from acsrecipe.engines.embedded.references import Reference, References, find_reference, need_reference
from acsrecipe.engines.embedded.tables import ccd_parameters, overscan_regions
from acsrecipe.engines.embedded.trimming import finish_chip
from acsrecipe.errors import EngineError


def read_frame(path: Path, buffers: Buffers) -> Frame:
    """Read a RAW file: science in DN, error and flags usually constant 0.

    Raises
    ------
    EngineError
        When an HDU is missing, or the file is cut short.
    """
    fits = open_fits(path, role="exposure")
    primary = header.copied(fits.hdus[0].cards)
    count = header.integer(primary, "NEXTEND", 3) // 3
    imsets: list[Imset] = []
    for version in range(1, count + 1):
        sci, err, dq = (hdu_of(fits, name, version) for name in ("SCI", "ERR", "DQ"))
        raw = undecoded_pixels(fits, sci)
        imsets.append(
            Imset(
                buffers.take(raw.plane.shape, np.float32),
                pixels(fits, err, np.float32),
                pixels(fits, dq, np.int16, buffers),
                header.copied(sci.cards),
                header.copied(err.cards),
                header.copied(dq.cards),
                header.integer(sci.cards, "CCDCHIP", 1),
                raw,
            )
        )
    name = path.name
    root = name[: -len("_raw.fits")] if name.endswith("_raw.fits") else path.stem
    return Frame(root, path, primary, imsets)


def _dummy_aware(state: State, reference: Reference | None) -> State:
    return "DUMMY" if state == "PERFORM" and reference is not None and reference.is_dummy else state


def process_detector(path: Path, names: Cards, references: References, report: Report, *, threads: int = 1) -> Frame:
    """Do DQICORR, BIASCORR, gain, BLEVCORR, full well, noise, SINKCORR; trim.

    The last of it, from full well on, may be left to `Imset.complete`: the image stage does it while it works on
    the same lines, in the processor's cache. Who needs whole planes calls that first.

    Parameters
    ----------
    path : Path
        RAW file.
    names : list of str
        Primary cards that the reference names are taken from: those of the first member of a CR-SPLIT
        group (calacs's rule), else the exposure's own.
    threads : int
        Chips worked on at the same time, where they do not depend on each other.

    Raises
    ------
    EngineError
        Where calacs would fail, and where it would silently ruin the product.
    """
    where = str(path)
    frame = read_frame(path, references.buffers)
    primary = frame.primary
    seen = observation(primary, where)
    states: dict[str, State] = {}
    for name in ("DQICORR", "ATODCORR", "BIASCORR", "BLEVCORR", "SINKCORR"):
        state = switch(primary, name, where)
        states[name] = state if state == "PERFORM" else "OMIT"
    if states["ATODCORR"] == "PERFORM":
        message = "ATODCORR is PERFORM: the embedded engine can't do it"
        raise EngineError(message, where=where, hint='omit it (no table was ever made for WFC), or engine = "calacs"')
    if states["BLEVCORR"] != "PERFORM":
        message = "BLEVCORR is not PERFORM: the overscan stays, and no later step can work with it"
        raise EngineError(message, where=where)

    ccdtab = need_reference(references, names, "CCDTAB", "every calibration", where)
    oscntab = need_reference(references, names, "OSCNTAB", "BLEVCORR", where)
    bpixtab = find_reference(references, names, "BPIXTAB", where) if states["DQICORR"] == "PERFORM" else None
    biasfile = satufile = snkcfile = None
    if states["BIASCORR"] == "PERFORM":
        biasfile = need_reference(references, names, "BIASFILE", "BIASCORR", where)
        satufile = need_reference(references, names, "SATUFILE", "BIASCORR", where)
    if states["SINKCORR"] == "PERFORM":
        snkcfile = need_reference(references, names, "SNKCFILE", "SINKCORR", where)
    states["DQICORR"] = _dummy_aware(states["DQICORR"], bpixtab)
    states["BIASCORR"] = _dummy_aware(states["BIASCORR"], biasfile)
    states["SINKCORR"] = _dummy_aware(states["SINKCORR"], snkcfile)
    for table in (ccdtab, oscntab):
        if table.is_dummy:
            message = f"{table.keyword} {table.name} is a dummy (PEDIGREE {table.pedigree})"
            raise EngineError(message, where=where, hint=f"choose another {table.keyword}")
    steps = _plan_chips(frame, seen, ccdtab, oscntab, references.buffers)
    tell_ccd(primary, ccdtab, steps[0].ccd)
    steps = [
        replace(
            step,
            flag_saturation=states["DQICORR"] != "OMIT",
            bpixtab=bpixtab if states["DQICORR"] == "PERFORM" else None,
            biasfile=biasfile if states["BIASCORR"] == "PERFORM" else None,
            satufile=satufile if states["BIASCORR"] == "PERFORM" else None,
            snkcfile=snkcfile if states["SINKCORR"] == "PERFORM" else None,
        )
        for step in steps
    ]
    if states["DQICORR"] != "OMIT":
        report(f"DQICORR {frame.root}")
    if biasfile is not None:
        report(f"BIASCORR {frame.root}")
    for_each(begin_chip, frame.imsets, steps, threads)
    _tell_beginning(frame, states, bpixtab, biasfile)
    ccds, regions = [step.ccd for step in steps], [step.region for step in steps]
    levels = subtract_level(frame, seen, ccds, regions, report, threads=threads, at_once=snkcfile is not None)
    _tell_level(primary, oscntab, levels, from_overscan=steps[-1].region is not None)
    header.put_float(primary, "DARKTIME", total_darktime(seen, steps[0].ccd))
    header.add_history(primary, "Uncertainty array initialized.")
    if snkcfile is not None:
        report(f"SINKCORR {frame.root}")
        for_each(flag_sink_pixels, frame.imsets, steps, threads)
        end_step(primary, "SINKCORR", states["SINKCORR"])
        tell_reference(primary, snkcfile, image=True)
    header.put_text(primary, "CAL_VER", "", "version number and date")
    header.put_text(primary, "FILENAME", "", "name of file")
    for_each(finish_chip, frame.imsets, steps, threads)
    for imset in frame.imsets:
        if max(ltv_of(imset.sci_cards)) > 0:
            message = f"the overscan of chip {imset.chip} could not be trimmed (no row in OSCNTAB {oscntab.name})"
            raise EngineError(message, where=where)
    if header.find(primary, "BIASLEVA") >= 0:
        for index, amp in enumerate(AMPLIFIERS):
            if levels.levels.get(index, 0.0) != 0.0:
                header.put_float(primary, f"BIASLEV{amp}", levels.levels[index])
    return frame


def _plan_chips(
    frame: Frame, seen: Observation, ccdtab: Reference, oscntab: Reference, buffers: Buffers
) -> list[ChipSteps]:
    """Find each chip's rows in CCDTAB and OSCNTAB."""
    where = str(frame.path)
    steps: list[ChipSteps] = []
    for imset in frame.imsets:
        shape = (imset.sci.shape[0], imset.sci.shape[1])
        ccd = ccd_parameters(ccdtab, seen, imset.chip, shape[1], where)
        region = overscan_regions(oscntab, seen, imset.chip, shape)
        steps.append(ChipSteps(seen, ccd, region, False, None, None, None, None, buffers, where))
    return steps


def _tell_beginning(
    frame: Frame, states: dict[str, State], bpixtab: Reference | None, biasfile: Reference | None
) -> None:
    primary = frame.primary
    if states["DQICORR"] != "OMIT":
        end_step(primary, "DQICORR", states["DQICORR"])
        header.add_history(primary, "  values checked for saturation")
        if bpixtab is not None:
            header.add_history(primary, "  DQ array initialized ...")
            tell_reference(primary, bpixtab, image=False)
    if biasfile is not None:
        end_step(primary, "BIASCORR", states["BIASCORR"])
        tell_reference(primary, biasfile, image=True)
    for imset in frame.imsets:
        header.put_text(imset.sci_cards, "BUNIT", "ELECTRONS")
        header.put_text(imset.err_cards, "BUNIT", "ELECTRONS")


def _tell_level(primary: Cards, oscntab: Reference, levels: OverscanResult, *, from_overscan: bool) -> None:
    header.put_text(primary, "BLEVCORR", "COMPLETE")
    level = "; bias level from overscan" if from_overscan else ", but default bias level"
    header.add_history(primary, f"BLEVCORR complete{level} was subtracted.")
    drift = "includes" if levels.drift else "does not include"
    header.add_history(primary, f"BLEVCORR {drift} correction for drift along lines.")
    header.add_history(primary, "  Overscan region table: ")
    tell_reference(primary, oscntab, image=False)
