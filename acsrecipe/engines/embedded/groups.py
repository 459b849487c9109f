"""CR-SPLIT and RPT-OBS groups: several detector-stage Frames become one, with calacs's first-member rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.chip import Report, for_each
from acsrecipe.engines.embedded.compiled import Image
from acsrecipe.engines.embedded.compiled import Lines as LinesOf
from acsrecipe.engines.embedded.crossrej import LINES, Lines, combine, sum_of_skies, sum_singly
from acsrecipe.engines.embedded.frame import Frame, Imset
from acsrecipe.engines.embedded.history import switch
from acsrecipe.engines.embedded.references import References, need_reference
from acsrecipe.engines.embedded.rejection import Rejection, find_rejection
from acsrecipe.engines.embedded.skies import find_skies
from acsrecipe.engines.embedded.trimming import note_constants
from acsrecipe.errors import EngineError

# Which reference names of the first member count for the whole group, and the switch of the first
# member that makes them count. SATUFILE and SNKCFILE are each exposure's own.
_SHARED = {
    "CCDTAB": "",
    "BPIXTAB": "DQICORR",
    "BIASFILE": "BIASCORR",
    "OSCNTAB": "BLEVCORR",
    "PCTETAB": "PCTECORR",
    "DARKFILE": "DARKCORR",
    "DRKCFILE": "DARKCORR",
    "FLSHFILE": "FLSHCORR",
    "PFLTFILE": "FLATCORR",
    "DFLTFILE": "FLATCORR",
    "LFLTFILE": "FLATCORR",
    "IMPHTTAB": "PHOTCORR",
}


def shared_names(first: Cards, own: Cards, where: str) -> Cards:
    """Give a member's cards with the reference names that calacs uses: mostly the first member's."""
    names = list(own)
    for keyword, corr in _SHARED.items():
        if not corr or switch(first, corr, where) == "PERFORM":
            header.put_text(names, keyword, header.text(first, keyword, ""))
    return names


def _must_agree(frames: Sequence[Frame]) -> None:
    """Refuse groups that can't be combined: other amplifiers, sizes, or levels of a flash not yet subtracted."""
    first = frames[0]

    def flash(frame: Frame) -> tuple[str, float | None]:
        if switch(frame.primary, "FLSHCORR", str(frame.path)) != "PERFORM":
            return "", None
        seconds = header.number(frame.primary, "EXPTIME")
        duration = np.float32(header.number(frame.primary, "FLASHDUR", 0.0))
        level = float(duration / np.float32(seconds or 1.0))
        return header.text(frame.primary, "FLASHCUR", "").lower(), level

    for frame in frames[1:]:
        where = str(frame.path)
        here, there = (header.text(f.primary, "CCDAMP").upper() for f in (frame, first))
        if here != there:
            message = f"CCDAMP is {here}, but {there} in {first.root}, the first of its group"
            raise EngineError(message, where=where)
        if flash(frame) != flash(first):
            message = f"FLASHCUR or FLASHDUR / EXPTIME differ from {first.root}: the flash would not cancel"
            raise EngineError(message, where=where)


def combine_frames(
    frames: Sequence[Frame],
    root: str,
    role: str,
    references: References,
    report: Report,
    *,
    cte: bool = False,
    threads: int = 1,
) -> Frame:
    """Combine the exposures of a group, and flag what was rejected in them where CRREJTAB asks for it.

    Parameters
    ----------
    frames : sequence of Frame
        Detector-stage frames, in the association's order; their DQ is changed.
    root : str
        Rootname of the product.
    role : str
        MEMTYPE of the product for ASN_MTYP; empty leaves the card as it is.
    cte : bool
        Whether the frames' charge transfer was corrected.
    threads : int
        Chips worked on at the same time.

    Raises
    ------
    EngineError
        When the group has fewer than two exposures, or they can't be combined.
    """
    first = frames[0]
    where = str(first.path)
    if len(frames) < 2:
        message = f"group {root} has one exposure, expected two or more"
        raise EngineError(message, where=where)
    _must_agree(frames)
    times = np.array([header.number(f.primary, "EXPTIME", 0.0) for f in frames], np.float32)
    total = sum_singly(times)
    used = times if total else np.ones_like(times)
    scaled = total or np.float32(len(frames))
    exposed = int((used > 0).sum())
    crrejtab = need_reference(references, first.primary, "CRREJTAB", "CRCORR", where)
    rejection = find_rejection(crrejtab, len(frames), float(total))
    model = frames[int(np.argmax(used > 0))]
    calibration_frame = header.text(first.primary, "IMAGETYP", where=where).upper().startswith(("BIAS", "DARK"))
    if exposed < 2:
        report(f"CRCORR {root}: exposures of 0 s, nothing rejected")

    def combine_chip(like: Imset, number: int) -> tuple[Imset, np.float32, int]:
        report(f"CRCORR {root} [sci,{number + 1}]")
        begun = first.imsets[number]
        members = [_chip_of(frame, begun.chip, begun.sci.shape) for frame in frames]
        for member in members:
            member.complete_pixels(begun.sci.shape[0])
            if exposed < 2:
                member.complete(begun.sci.shape[0])
        sci, err, dq = [m.sci for m in members], [_errors_of(m) for m in members], [m.dq for m in members]
        skies = np.array(find_skies(sci, dq, rejection), np.float32)
        sky = sum_of_skies(skies)
        cards = list(like.sci_cards), list(like.err_cards), list(like.dq_cards)
        if exposed < 2:
            return Imset(like.sci * scaled + sky, like.err.copy(), like.dq.copy(), *cards, begun.chip), sky, 0
        take, shape = references.buffers.take, like.sci.shape
        made = combine(
            *(sci, err, dq, used, skies, rejection),
            total=scaled,
            calibration_frame=calibration_frame,
            result=(take(shape, np.float32), take(shape, np.float32), take(shape, np.int16)),
        )
        return Imset(made.sci, made.err, made.dq, *cards, begun.chip), sky, made.rejected

    made = for_each(combine_chip, model.imsets, range(len(model.imsets)), threads)
    imsets = [imset for imset, _, _ in made]
    made_frame = Frame(root, first.path, list(model.primary), imsets)
    _, sky, rejected = made[0]
    rate = float(np.float32(rejected) / scaled)
    _describe(made_frame, frames, rejection, total=float(total), sky=float(sky), rate=rate, role=role, cte=cte)
    for imset in imsets:
        # calacs marks the first pixel so that an error plane is stored even where all errors are alike.
        imset.err[0, 0] = -1
        note_constants(imset, imset.err[0, 0], imset.dq[0, 0])
    return made_frame


class _Errors:
    """Errors of an exposure, computed for some lines at a time: they take no memory, and are needed but once."""

    def __init__(self, compute: Callable[[Image], LinesOf], columns: int) -> None:
        self._lines = np.empty((LINES, columns), np.float32)
        self._compute = compute(self._lines)

    def __getitem__(self, lines: slice, /) -> Image:
        """Compute and give some lines; a slice begins at a multiple of `LINES`, and is no longer."""
        self._compute(lines.start, lines.stop)
        return self._lines[: lines.stop - lines.start]


def _errors_of(member: Imset) -> Lines:
    return member.err if member.errors is None else _Errors(member.errors, member.sci.shape[1])


def _chip_of(frame: Frame, chip: int, shape: tuple[int, ...]) -> Imset:
    for imset in frame.imsets:
        if imset.chip == chip:
            if imset.sci.shape != shape:
                message = f"chip {chip} has {imset.sci.shape} pixels, expected {shape} as in the first of its group"
                raise EngineError(message, where=str(frame.path))
            return imset
    message = f"there is no imset with CCDCHIP {chip}"
    raise EngineError(message, where=str(frame.path))


def _describe(
    frame: Frame,
    frames: Sequence[Frame],
    rejection: Rejection,
    *,
    total: float,
    sky: float,
    rate: float,
    role: str,
    cte: bool,
) -> None:
    """Write the cards of a combined product, in calacs's order."""
    primary = frame.primary
    starts = [header.number(f.primary, "EXPSTART", 0.0) for f in frames]
    ends = [header.number(f.primary, "EXPEND", 0.0) for f in frames]
    header.put_float(primary, "TEXPTIME", total)
    header.put_float(primary, "EXPTIME", total)
    header.put_double(primary, "EXPSTART", min(starts), "computed exposure start time (Modified Julian Date)")
    header.put_double(primary, "EXPEND", max(ends), "computed exposure end time (Modified Julian Date)")
    header.put_float(primary, "SKYSUM", sky, "Total sky level (electrons)")
    header.put_float(primary, "REJ_RATE", rate, "Cosmic ray impact rate (pixels/sec)")
    flashed = [f for f in frames if switch(f.primary, "FLSHCORR", str(f.path)) == "PERFORM"]
    for keyword, members, comment in (
        ("FLASHDUR", flashed, "Cumulative exposure time in seconds"),
        ("DARKTIME", frames, "Cumulative dark time in seconds"),
    ):
        values = np.array([header.number(f.primary, keyword, 0.0) for f in members], np.float32)
        header.put_float(primary, keyword, float(sum_singly(values)))
        header.put_comment(primary, keyword, comment)
    header.put_text(primary, "INITGUES", rejection.initial)
    header.put_text(primary, "SKYSUB", rejection.sky)
    header.put_text(primary, "CRSIGMAS", rejection.sigmas)
    header.put_float(primary, "MEANEXP", rejection.meanexp)
    header.put_float(primary, "CRRADIUS", rejection.radius)
    header.put_float(primary, "CRTHRESH", rejection.spill)
    header.put_float(primary, "SCALENSE", rejection.scalense)
    header.put_integer(primary, "BADINPDQ", rejection.badinpdq)
    header.put_truth(primary, "CRMASK", rejection.mask)
    header.put_integer(primary, "NEXTEND", 3 * len(frame.imsets))
    header.put_text(primary, "CRCORR", "COMPLETE")
    header.put_text(primary, "CAL_VER", "", "version number and date")
    header.put_text(primary, "FILENAME", "", "name of file")
    if role:
        header.put_text(primary, "ASN_MTYP", role.upper(), "Role of the Exposure in the Association")
    # calacs cuts "_crj_tmp" off its intermediate file's name here, but does not know "_crc_tmp".
    label = f"{frame.root}_crc_tmp" if cte else frame.root
    for imset in frame.imsets:
        header.put_integer(imset.sci_cards, "NCOMBINE", len(frames))
        for cards in (imset.sci_cards, imset.err_cards, imset.dq_cards):
            header.put_text(cards, "EXPNAME", label, "9 character exposure identifier")
    header.put_text(primary, "ROOTNAME", label.upper(), "Rootname of the observation set")
