"""The embedded engine: RAW files with edited headers in, calibrated products out, in one process.

References are mapped once for all exposures, no intermediate file is written, and every product is written
once. What the engine can do is said by `acsrecipe.engines.embedded.modes`, without importing this module.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from acsrecipe import __version__
from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.detector import process_detector
from acsrecipe.engines.embedded.fitsfile import open_fits
from acsrecipe.engines.embedded.frame import Frame
from acsrecipe.engines.embedded.groups import combine_frames, shared_names
from acsrecipe.engines.embedded.history import State, switch
from acsrecipe.engines.embedded.image import plan_image
from acsrecipe.engines.embedded.product import Product, write_product
from acsrecipe.engines.embedded.references import References
from acsrecipe.errors import EngineError

Report = Callable[[str], None]

VERSION = f"acsrecipe-embedded {__version__}"

_IMAGE_STEPS = ("DARKCORR", "FLSHCORR", "FLATCORR", "SHADCORR", "PHOTCORR")
_IMAGE_SWITCHES = (*_IMAGE_STEPS, "EXPSCORR")


def calibrate(
    exposures: Sequence[Path],
    references: Path,
    output: Path,
    *,
    association: Path | None = None,
    threads: int = 1,
    report: Report | None = None,
) -> list[Path]:
    """Calibrate ACS/WFC exposures.

    Parameters
    ----------
    exposures : sequence of Path
        ``<root>_raw.fits`` files whose headers say what to do; only read.
    references : Path
        Folder that ``jref$`` in the headers stands for.
    output : Path
        Existing folder; gets ``<root>_flt.fits`` (``_flc`` too with PCTECORR) and ``<root>.tra`` for each
        exposure, ``<product>_crj.fits`` (``_crc``) for each group.
    association : Path, optional
        Association table whose EXP-CR and EXP-RPT rows group exposures.
    threads : int
        How many to compute with. 2 or more: two exposures at the same time, where they are neither combined nor
        corrected for charge transfer; else both chips.
    report : callable, optional
        Called with a short line as each step begins, by one thread at a time.

    Returns
    -------
    list of Path
        The FITS products.

    Raises
    ------
    EngineError
        With the file, the keyword, what was found and what was expected.
    """
    shared = References(references)
    units = _units(exposures, association)
    # More than two at once would take more memory than is promised.
    workers = min(threads, len(units), 2) if all(_is_light(unit) for unit in units) else 1
    job = _Job(shared, output, threads // max(workers, 1), _one_at_a_time(report))
    if workers > 1:
        return _calibrate_together(units, job, workers)
    return [product for unit in units for product in _calibrate_unit(unit, job)]


def _calibrate_together(units: Sequence[_Unit], job: _Job, workers: int) -> list[Path]:
    """Calibrate several units at the same time; the first failure keeps those that wait from being begun."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_calibrate_unit, unit, job) for unit in units]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()
        failed = [future for future in futures if future.done() and not future.cancelled() and future.exception()]
        return [product for future in failed or futures for product in future.result()]


def _one_at_a_time(report: Report | None) -> Report | None:
    """Let one thread speak at a time."""
    if report is None:
        return None
    lock = threading.Lock()

    def say(line: str) -> None:
        with lock:
            report(line)

    return say


@dataclass(frozen=True)
class _Unit:
    """Exposures calibrated together; ``root`` and ``role`` of the product that combines them, if one does."""

    exposures: tuple[Path, ...]
    root: str = ""
    role: str = ""


def _is_light(unit: _Unit) -> bool:
    """Whether a unit takes no more memory than one exposure's planes: neither combined nor corrected for CTE."""
    if len(unit.exposures) > 1:
        return False
    primary = open_fits(unit.exposures[0], role="exposure").hdus[0].cards
    return header.text(primary, "PCTECORR", "").strip().upper() != "PERFORM"


def _units(exposures: Sequence[Path], association: Path | None) -> list[_Unit]:
    """Sort exposures into groups, in the order of the association; without one, each is alone."""
    if association is None:
        return [_Unit((path,)) for path in exposures]
    # Only here, for what it imports takes longer than a small exposure.
    from acsrecipe.inputs.association import group_members, read_association

    table = read_association(association)
    left = {path.name.split("_")[0].lower(): path for path in exposures}
    units: list[_Unit] = []
    for group in group_members(table.members):
        roots = [member.memname.strip().lower() for member in group.exposures]
        absent = [root for root in roots if root not in left]
        if group.product is None:
            units += [_Unit((left.pop(root),)) for root in roots if root not in absent]
            continue
        if absent and len(absent) < len(roots):
            message = f"{absent[0]} is in group {group.kind}{group.number} of the association, but was not given"
            raise EngineError(message, where=str(association))
        if not absent:
            root = group.product.memname.strip().lower()
            # A product that bears the association's name keeps the members' role, as calacs has it.
            role = "" if root[:9] == table.rootname[:9] else group.product.memtype.strip().replace("_", "-")
            units.append(_Unit(tuple(left.pop(name) for name in roots), root, role))
    return units + [_Unit((path,)) for path in left.values()]


@dataclass(frozen=True)
class _Job:
    """What stays the same for all exposures of a call."""

    references: References
    output: Path
    threads: int
    report: Report | None


def _calibrate_unit(unit: _Unit, job: _Job) -> list[Path]:
    """Calibrate exposures that belong together; the first one's switches and references count for all."""
    trailers = [Trailer(job.report) for _ in unit.exposures]
    first = header.copied(open_fits(unit.exposures[0], role="exposure").hdus[0].cards)
    where = str(unit.exposures[0])
    switches = {name: switch(first, name, where) for name in _IMAGE_SWITCHES}
    frames: dict[str, list[Frame]] = {"": []}
    names: list[Cards] = []
    for path, trailer in zip(unit.exposures, trailers, strict=True):
        own = header.copied(open_fits(path, role="exposure").hdus[0].cards)
        names.append(shared_names(first, own, where))
        if switches["DARKCORR"] == "PERFORM" and header.find(own, "DARKTIME") < 0:
            message = "DARKTIME is missing: DARKCORR would subtract nothing"
            raise EngineError(message, where=str(path), hint="give it in the recipe's [[headers]]")
        frames[""].append(process_detector(path, names[-1], job.references, trailer, threads=job.threads))
        if switch(first, "PCTECORR", where) == "PERFORM":
            frames[""][-1].complete()
            frames.setdefault("c", []).append(_correct_cte(frames[""][-1], names[-1], job, trailer))
    products: list[Path] = []
    if unit.root:
        trailer = Trailer(job.report)
        for kind, members in frames.items():
            combined = combine_frames(
                members, unit.root, unit.role, job.references, trailer, cte=kind == "c", threads=job.threads
            )
            products.append(_finish(combined, switches, names[0], job, trailer, suffix=f"cr{kind or 'j'}"))
        trailer.write(job.output / f"{unit.root}.tra")
    for number, trailer in enumerate(trailers):
        for kind, members in frames.items():
            frame = members[number]
            products.append(_finish(frame, switches, names[number], job, trailer, suffix=f"fl{kind or 't'}"))
        trailer.write(job.output / f"{frames[''][number].root}.tra")
    return products


def _correct_cte(frame: Frame, names: Cards, job: _Job, trailer: Trailer) -> Frame:
    """Correct a frame for charge-transfer inefficiency; the result shares nothing with it."""
    # Only here, for exposures without it need none of what this imports.
    from acsrecipe.engines.embedded.cte.stage import correct_frame
    from acsrecipe.engines.embedded.cte.workers import CteProgress

    where = str(frame.path)
    if switch(frame.primary, "PCTECORR", where) != "PERFORM":
        message = "PCTECORR is not PERFORM, as it is in the first exposure of the group: calacs stops at that"
        raise EngineError(message, where=where, hint="give all exposures of the group the same PCTECORR")
    said: set[tuple[str, str]] = set()

    def listen(progress: CteProgress) -> None:
        line = f"PCTECORR {frame.root} amplifier {progress.amp}, {progress.direction}"
        if (progress.amp, progress.direction) not in said:
            said.add((progress.amp, progress.direction))
            trailer(line)
        elif job.report is not None:
            # Short, for in a narrow terminal the end of a line is cut off.
            left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
            job.report(f"CTE {frame.root} {progress.amp} {progress.fraction:.0%}{left}")

    corrected = correct_frame(frame, names, job.references, threads=job.threads, report=listen)
    for imset in corrected.imsets:
        imset.dq = imset.dq.copy()
    return corrected


class Trailer:
    """Lines said while an exposure is calibrated: passed on, and kept for its trailer file."""

    def __init__(self, report: Report | None) -> None:
        self.lines: list[str] = [VERSION]
        self._report = report

    def __call__(self, line: str) -> None:
        """Take one line."""
        self.lines.append(line)
        if self._report is not None:
            self._report(line)

    def write(self, path: Path) -> None:
        """Write the trailer file."""
        path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")


def _finish(frame: Frame, switches: dict[str, State], names: Cards, job: _Job, report: Report, *, suffix: str) -> Path:
    """Do the image stage and write the product; its planes are free for others then."""
    path = job.output / f"{frame.root}_{suffix}.fits"
    # Without a step to do (bias and dark frames), calacs gives the detector stage's result as it is.
    stage = None
    if any(switches[name] == "PERFORM" for name in _IMAGE_STEPS):
        cte = suffix in ("flc", "crc")
        stage = plan_image(frame, switches, names, job.references, report, cte=cte)
    report(f"writing {path.name}")
    write_product(frame, Product(path, stage, switches["EXPSCORR"], VERSION), threads=job.threads)
    for imset in frame.imsets:
        job.references.buffers.give_back(imset.sci, imset.err, imset.dq)
    # Whoever still has the frame must not keep its planes alive.
    frame.imsets.clear()
    return path
