"""The detector stage: from a RAW file to a trimmed Frame in electrons (what calacs leaves as ``blv_tmp``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.bias import subtract_bias
from acsrecipe.engines.embedded.biasshift import correct_bias_shift, correct_cross_talk
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.compiled import Flags, Image
from acsrecipe.engines.embedded.dark import total_darktime
from acsrecipe.engines.embedded.destripe import subtract_stripes
from acsrecipe.engines.embedded.dqi import flag_bad_pixels, flag_converter_saturation
from acsrecipe.engines.embedded.fitsfile import hdu_of, open_fits, pixels
from acsrecipe.engines.embedded.frame import (
    AMPLIFIERS,
    SERVICING_MISSION_4,
    Frame,
    Imset,
    Observation,
    corner,
    observation,
)
from acsrecipe.engines.embedded.gain import convert_to_electrons
from acsrecipe.engines.embedded.history import State, end_step, switch, tell_ccd, tell_reference
from acsrecipe.engines.embedded.noise import estimate_noise
from acsrecipe.engines.embedded.overscan import OverscanResult, subtract_overscan
from acsrecipe.engines.embedded.references import (
    Reference,
    References,
    Section,
    find_reference,
    flags_of,
    need_reference,
    rows_of,
    section,
)
from acsrecipe.engines.embedded.saturation import flag_full_well
from acsrecipe.engines.embedded.sink import flag_sinks
from acsrecipe.engines.embedded.tables import (
    CcdParameters,
    OverscanRegions,
    amplifier_split,
    ccd_parameters,
    overscan_regions,
)
from acsrecipe.errors import EngineError

Report = Callable[[str], None]

# Lines worked on at a time: the planes of a block stay in the processor's cache.
BLOCK_LINES = 32

# Subarrays that the bias shift is computed for, when they have virtual overscan.
_SHIFTED_APERTURES = frozenset(
    ["WFC1A-2K", "WFC1B-2K", "WFC2C-2K", "WFC2D-2K", "WFC1-IRAMPQ", "WFC1-MRAMPQ", "WFC2-MRAMPQ", "WFC2-ORAMPQ"]
    + [f"WFC{chip}-POL{angle}{band}" for chip in (1, 2) for angle in (0, 60, 120) for band in ("UV", "V")]
)


def blocks(lines: int) -> Iterator[tuple[int, int]]:
    """Cut a number of lines into blocks, as (first, last not included)."""
    for first in range(0, lines, BLOCK_LINES):
        yield first, min(first + BLOCK_LINES, lines)


def planes_of(part: Section, first: int, last: int) -> tuple[Image, Image, Flags]:
    """Read a block of a reference's SCI, ERR and DQ."""
    return rows_of(part, "SCI", first, last), rows_of(part, "ERR", first, last), flags_of(part, first, last)


def read_frame(path: Path) -> Frame:
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
        imsets.append(
            Imset(
                pixels(fits, sci, np.float32),
                pixels(fits, err, np.float32),
                pixels(fits, dq, np.int16),
                header.copied(sci.cards),
                header.copied(err.cards),
                header.copied(dq.cards),
                header.integer(sci.cards, "CCDCHIP", 1),
            )
        )
    name = path.name
    root = name[: -len("_raw.fits")] if name.endswith("_raw.fits") else path.stem
    return Frame(root, path, primary, imsets)


def _dummy_aware(state: State, reference: Reference | None) -> State:
    return "DUMMY" if state == "PERFORM" and reference is not None and reference.is_dummy else state


def _ltv(cards: Cards) -> tuple[float, float]:
    return header.number(cards, "LTV1", 0.0), header.number(cards, "LTV2", 0.0)


def process_detector(path: Path, names: Cards, references: References, report: Report) -> Frame:
    """Do DQICORR, BIASCORR, gain, BLEVCORR, full well, noise, SINKCORR; trim.

    Parameters
    ----------
    path : Path
        RAW file.
    names : list of str
        Primary cards that the reference names are taken from: those of the first member of a CR-SPLIT
        group (calacs's rule), else the exposure's own.

    Raises
    ------
    EngineError
        Where calacs would fail, and where it would silently ruin the product.
    """
    where = str(path)
    frame = read_frame(path)
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
    states["BLEVCORR"] = _dummy_aware(states["BLEVCORR"], oscntab)

    ccds = [ccd_parameters(ccdtab, seen, imset.chip, imset.sci.shape[1], where) for imset in frame.imsets]
    tell_ccd(primary, ccdtab, ccds[0])
    regions = [
        overscan_regions(oscntab, seen, imset.chip, (imset.sci.shape[0], imset.sci.shape[1])) for imset in frame.imsets
    ]

    for imset, ccd in zip(frame.imsets, ccds, strict=True):
        _start(imset, ccd, seen, bpixtab, biasfile, states, where)
    if states["DQICORR"] != "OMIT":
        report(f"DQICORR {frame.root}")
        end_step(primary, "DQICORR", states["DQICORR"])
        header.add_history(primary, "  values checked for saturation")
        if bpixtab is not None:
            header.add_history(primary, "  DQ array initialized ...")
            tell_reference(primary, bpixtab, image=False)
    if biasfile is not None:
        report(f"BIASCORR {frame.root}")
        end_step(primary, "BIASCORR", states["BIASCORR"])
        tell_reference(primary, biasfile, image=True)
    for imset in frame.imsets:
        header.put_text(imset.sci_cards, "BUNIT", "ELECTRONS")
        header.put_text(imset.err_cards, "BUNIT", "ELECTRONS")

    levels = _level(frame, seen, ccds, regions, report)
    tell = "  Overscan region table: "
    done = all(region is not None for region in regions[:1])
    header.put_text(primary, "BLEVCORR", "COMPLETE")
    from_overscan = "complete; bias level from overscan was subtracted."
    header.add_history(
        primary, f"BLEVCORR {from_overscan if done else 'complete, but default bias level was subtracted.'}"
    )
    header.add_history(
        primary,
        f"BLEVCORR {'includes' if levels.drift else 'does not include'} correction for drift along lines.",
    )
    header.add_history(primary, tell)
    tell_reference(primary, oscntab, image=False)

    header.put_float(primary, "DARKTIME", total_darktime(seen, ccds[0]))
    for number, (imset, ccd) in enumerate(zip(frame.imsets, ccds, strict=True), 1):
        region = regions[number - 1]
        if states["BIASCORR"] == "PERFORM" and states["BLEVCORR"] == "PERFORM" and satufile is not None:
            _flag_saturation(imset, satufile, region)
        split = amplifier_split(ccd, imset.chip, _ltv(imset.sci_cards), (imset.sci.shape[0], imset.sci.shape[1]))
        bias_frame = seen.targname.startswith("BIAS")
        estimate_noise(imset.sci, imset.err, ccd, split, where, readnoise_only=bias_frame)
    header.add_history(primary, "Uncertainty array initialized.")
    if snkcfile is not None:
        report(f"SINKCORR {frame.root}")
        if states["SINKCORR"] == "PERFORM":
            for imset in frame.imsets:
                shape = (imset.sci.shape[0], imset.sci.shape[1])
                part = section(snkcfile, imset.sci_cards, shape, imset.chip, planes=1)
                sinks = rows_of(part, "SCI", 0, shape[0])
                flag_sinks(imset.sci, imset.dq, sinks, part.version == 1)
        end_step(primary, "SINKCORR", states["SINKCORR"])
        tell_reference(primary, snkcfile, image=True)

    header.put_text(primary, "CAL_VER", "", "version number and date")
    header.put_text(primary, "FILENAME", "", "name of file")
    for imset, region in zip(frame.imsets, regions, strict=True):
        if region is None and seen.expstart >= SERVICING_MISSION_4 and not seen.subarray:
            message = (
                f"OSCNTAB {oscntab.name} has no row for a chip of {imset.sci.shape[1]} x {imset.sci.shape[0]} pixels"
            )
            raise EngineError(message, where=where)
        _trim(imset, region)
        if max(_ltv(imset.sci_cards)) > 0:
            message = f"the overscan of chip {imset.chip} could not be trimmed (no row in OSCNTAB {oscntab.name})"
            raise EngineError(message, where=where)
    if header.find(primary, "BIASLEVA") >= 0:
        for index, amp in enumerate(AMPLIFIERS):
            if levels.levels.get(index, 0.0) != 0.0:
                header.put_float(primary, f"BIASLEV{amp}", levels.levels[index])
    return frame


def _start(
    imset: Imset,
    ccd: CcdParameters,
    seen: Observation,
    bpixtab: Reference | None,
    biasfile: Reference | None,
    states: dict[str, State],
    where: str,
) -> None:
    shape = (imset.sci.shape[0], imset.sci.shape[1])
    ltv = _ltv(imset.sci_cards)
    if states["DQICORR"] in ("PERFORM", "DUMMY"):
        flag_converter_saturation(imset.sci, imset.dq, np.float32(ccd.saturation))
        if bpixtab is not None and states["DQICORR"] == "PERFORM":
            flag_bad_pixels(imset.dq, bpixtab, seen, imset.chip, ltv)
    split = amplifier_split(ccd, imset.chip, ltv, shape)
    part = section(biasfile, imset.sci_cards, shape, imset.chip) if biasfile is not None else None
    for first, last in blocks(shape[0]):
        sci, err, dq = imset.sci[first:last], imset.err[first:last], imset.dq[first:last]
        if part is not None and states["BIASCORR"] == "PERFORM":
            subtract_bias(sci, err, dq, planes_of(part, first, last))
        convert_to_electrons(sci, err, ccd, split, where)


def _level(
    frame: Frame,
    seen: Observation,
    ccds: list[CcdParameters],
    regions: list[OverscanRegions | None],
    report: Report,
) -> OverscanResult:
    """Subtract the bias level, by the method that the date, the readout and the aperture ask for."""
    imsets, where = frame.imsets, str(frame.path)
    shifted = seen.jwrotype == "DS_INT" and seen.ccdgain == 2
    if seen.expstart >= SERVICING_MISSION_4 and not seen.subarray:
        return _level_full_frame(frame, regions, report, shifted=shifted)
    if (
        seen.expstart >= SERVICING_MISSION_4
        and shifted
        and seen.aperture in _SHIFTED_APERTURES
        and regions[0] is not None
        and regions[0].has_virtual
    ):
        report(f"BLEVCORR {frame.root} [sci,1] bias shift")
        amp = AMPLIFIERS.index(seen.ccdamp)
        level = correct_bias_shift(imsets[0].sci, amp, halves=False, where=where)
        header.put_float(imsets[0].sci_cards, "MEANBLEV", level, "mean of bias levels subtracted in electrons")
        return OverscanResult({amp: level}, level, False, ())
    levels: dict[int, float] = {}
    drift = False
    for number, (imset, ccd, region) in enumerate(zip(imsets, ccds, regions, strict=True), 1):
        report(f"BLEVCORR {frame.root} [sci,{number}]")
        result = subtract_overscan(imset.sci, imset.dq, region, ccd, seen, imset.chip, imset.serious)
        if result.mean is not None:
            header.put_float(imset.sci_cards, "MEANBLEV", result.mean, "mean of bias levels subtracted in electrons")
        levels.update({amp: level for amp, level in result.levels.items() if level != 0.0})
        drift = result.drift
        for line in result.lines:
            report(f"  {line}")
    return OverscanResult(levels, None, drift, ())


def _level_full_frame(
    frame: Frame, regions: list[OverscanRegions | None], report: Report, *, shifted: bool
) -> OverscanResult:
    imsets, where = frame.imsets, str(frame.path)
    if len(imsets) != 2 or None in regions[:2]:
        message = "a full frame since 2009 needs both chips, with a row each in OSCNTAB, for its bias level"
        raise EngineError(message, where=where)
    chip2, chip1 = imsets[0], imsets[1]
    levels = [0.0, 0.0, 0.0, 0.0]
    if shifted:
        report(f"BLEVCORR {frame.root} bias shift and cross talk")
        for amp in range(4):
            sci = chip1.sci if amp < 2 else chip2.sci
            levels[amp] = correct_bias_shift(sci, amp, halves=True, where=where)
        for imset in imsets:
            correct_cross_talk(imset.sci)
    report(f"BLEVCORR {frame.root} stripes")
    striped = subtract_stripes(chip2.sci, chip1.sci)
    for imset, pair in ((chip1, striped.levels[:2]), (chip2, striped.levels[2:])):
        mean = (pair[0] + pair[1]) / 2.0
        header.put_float(imset.sci_cards, "MEANBLEV", mean, "mean of bias levels subtracted in electrons")
    header.add_history(frame.primary, f"DESTRIPE: number of rows fixed per amp: {striped.fixed}")
    header.add_history(frame.primary, f"DESTRIPE: number of rows skipped per amp: {striped.skipped}")
    total = {amp: levels[amp] + striped.levels[amp] for amp in range(4)}
    return OverscanResult(total, None, False, ())


def _flag_saturation(imset: Imset, satufile: Reference, region: OverscanRegions | None) -> None:
    """Flag the full well where calacs does: the trimmed area of full frames.

    In subarrays calacs forgets the trim and flags from the image's first column and line, over the trimmed size.
    """
    ny, nx = imset.sci.shape
    trimx, trimy = (region.trimx, region.trimy) if region is not None else ((0, 0), (0, 0))
    part = section(satufile, imset.sci_cards, (ny, nx), imset.chip)
    height, width = ny - sum(trimy), nx - sum(trimx)
    at = corner(imset.sci_cards)
    x, y = (abs(at[0]), abs(at[1])) if part.same else (0, 0)
    for first, last in blocks(height):
        limit = rows_of(part, "SCI", y + first, y + last)[:, x : x + width]
        flag_full_well(imset.sci, imset.dq, np.ascontiguousarray(limit), y + first, x)


def note_constants(imset: Imset, first_err: np.float32, first_dq: np.int16) -> None:
    """Say in the ERR and DQ headers whether all pixels equal those values."""
    shape = (imset.sci.shape[0], imset.sci.shape[1])
    constant = is_constant(imset.err, first_err)
    header.describe_constant(imset.err_cards, float(first_err) if constant else None, shape)
    constant = is_constant(imset.dq, first_dq)
    header.describe_constant(imset.dq_cards, int(first_dq) if constant else None, shape)


def is_constant(plane: Image | Flags, value: np.float32 | np.int16) -> bool:
    """Whether all pixels of a plane have that value."""
    return bool((plane[0] == value).all() and (plane == value).all())


def _trim(imset: Imset, region: OverscanRegions | None) -> None:
    """Cut the overscan off all three planes, and shift the headers' coordinates."""
    if region is None:
        region = OverscanRegions((0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0))
    ny, nx = imset.sci.shape
    lines = slice(region.trimy[0], ny - region.trimy[1])
    columns = slice(region.trimx[0], nx - region.trimx[1])
    # Whether a plane counts as constant is asked with the untrimmed image's first pixel, as HSTIO asks it.
    first_err, first_dq = imset.err[0, 0], imset.dq[0, 0]
    imset.sci = np.ascontiguousarray(imset.sci[lines, columns])
    imset.err = np.ascontiguousarray(imset.err[lines, columns])
    imset.dq = np.ascontiguousarray(imset.dq[lines, columns])
    note_constants(imset, first_err, first_dq)
    header.put_integer(imset.sci_cards, "SIZAXIS1", imset.sci.shape[1])
    header.put_integer(imset.sci_cards, "SIZAXIS2", imset.sci.shape[0])
    for cards in (imset.sci_cards, imset.err_cards, imset.dq_cards):
        header.shift_origin(cards, region.trimx[0], region.trimy[0])
