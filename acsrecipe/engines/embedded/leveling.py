"""BLEVCORR as a whole: which method takes an exposure's bias level, and what that writes into the headers."""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.biasshift import correct_bias_shift, correct_cross_talk
from acsrecipe.engines.embedded.chip import Report, for_each
from acsrecipe.engines.embedded.destripe import subtract_stripes
from acsrecipe.engines.embedded.frame import AMPLIFIERS, SERVICING_MISSION_4, Frame, Imset, Observation
from acsrecipe.engines.embedded.overscan import OverscanResult, subtract_overscan
from acsrecipe.engines.embedded.tables import CcdParameters, OverscanRegions
from acsrecipe.errors import EngineError

# Subarrays that the bias shift is computed for, when they have virtual overscan.
_SHIFTED_APERTURES = frozenset(
    ["WFC1A-2K", "WFC1B-2K", "WFC2C-2K", "WFC2D-2K", "WFC1-IRAMPQ", "WFC1-MRAMPQ", "WFC2-MRAMPQ", "WFC2-ORAMPQ"]
    + [f"WFC{chip}-POL{angle}{band}" for chip in (1, 2) for angle in (0, 60, 120) for band in ("UV", "V")]
)


def subtract_level(
    frame: Frame,
    seen: Observation,
    ccds: list[CcdParameters],
    regions: list[OverscanRegions | None],
    report: Report,
    *,
    threads: int = 1,
    at_once: bool = True,
) -> OverscanResult:
    """Subtract the bias level, by the method that the date, the readout and the aperture ask for.

    Unless it must be done ``at_once``, levels of lines may only be noted in the imsets, see `Imset.levels`.
    """
    imsets, where = frame.imsets, str(frame.path)
    shifted = seen.jwrotype == "DS_INT" and seen.ccdgain == 2
    if seen.expstart >= SERVICING_MISSION_4 and not seen.subarray:
        return _level_full_frame(frame, regions, report, threads, shifted=shifted)
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

    def correct(imset: Imset, wanted: tuple[CcdParameters, OverscanRegions | None]) -> OverscanResult:
        ccd, region = wanted
        later = None if at_once else imset.levels
        return subtract_overscan(imset.sci, imset.dq, region, ccd, seen, imset.chip, imset.serious, later)

    results = for_each(correct, imsets, list(zip(ccds, regions, strict=True)), threads)
    for number, (imset, result) in enumerate(zip(imsets, results, strict=True), 1):
        report(f"BLEVCORR {frame.root} [sci,{number}]")
        if result.mean is not None:
            header.put_float(imset.sci_cards, "MEANBLEV", result.mean, "mean of bias levels subtracted in electrons")
        levels.update({amp: level for amp, level in result.levels.items() if level != 0.0})
        drift = result.drift
        for line in result.lines:
            report(f"  {line}")
    return OverscanResult(levels, None, drift, ())


def _level_full_frame(
    frame: Frame, regions: list[OverscanRegions | None], report: Report, threads: int, *, shifted: bool
) -> OverscanResult:
    imsets, where = frame.imsets, str(frame.path)
    if len(imsets) != 2 or None in regions[:2]:
        message = "a full frame since 2009 needs both chips, with a row each in OSCNTAB, for its bias level"
        raise EngineError(message, where=where)
    chip2, chip1 = imsets[0], imsets[1]
    levels = [0.0, 0.0, 0.0, 0.0]
    if shifted:
        report(f"BLEVCORR {frame.root} bias shift and cross talk")
        half = chip2.sci.shape[0], chip2.sci.shape[1] // 2
        scratch = [np.empty(half) for _ in range(min(threads, 2))]

        def correct(imset: Imset, amps: tuple[int, int]) -> None:
            for amp in amps:
                levels[amp] = correct_bias_shift(
                    imset.sci, amp, halves=True, where=where, scratch=scratch[amps[0] // 2 % len(scratch)]
                )
            correct_cross_talk(imset.sci)

        for_each(correct, (chip1, chip2), ((0, 1), (2, 3)), threads)
    report(f"BLEVCORR {frame.root} stripes")
    striped = subtract_stripes(chip2.sci, chip1.sci)
    for imset, pair in ((chip1, striped.levels[:2]), (chip2, striped.levels[2:])):
        mean = (pair[0] + pair[1]) / 2.0
        header.put_float(imset.sci_cards, "MEANBLEV", mean, "mean of bias levels subtracted in electrons")
    header.add_history(frame.primary, f"DESTRIPE: number of rows fixed per amp: {striped.fixed}")
    header.add_history(frame.primary, f"DESTRIPE: number of rows skipped per amp: {striped.skipped}")
    total = {amp: levels[amp] + striped.levels[amp] for amp in range(4)}
    return OverscanResult(total, None, False, ())
