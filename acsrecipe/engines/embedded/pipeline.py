"""The embedded engine: RAW files with edited headers in, calibrated products out, in one process.

References are mapped once for all exposures, no intermediate file is written, and every product is written
once. What the engine can do is said by `acsrecipe.engines.embedded.modes`, without importing this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from acsrecipe import __version__
from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.detector import process_detector
from acsrecipe.engines.embedded.frame import Frame
from acsrecipe.engines.embedded.history import State, end_step, switch
from acsrecipe.engines.embedded.image import process_image, stamp, write_frame
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
        Existing folder; gets ``<root>_flt.fits`` and ``<root>.tra`` for each exposure.
    association : Path, optional
        Association table whose EXP-CR and EXP-RPT rows group exposures.
    threads : int
        Exposures worked on at the same time.
    report : callable, optional
        Called with a short line as each step begins.

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
    products: list[Path] = []
    for path in exposures:
        trailer = Trailer(report)
        frame = detect(path, None, shared, trailer)
        products.append(finish(frame, frame_switches(frame), frame.primary, shared, output, trailer))
        trailer.write(output / f"{frame.root}.tra")
    return products


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


def frame_switches(frame: Frame) -> dict[str, State]:
    """Give the image stage's switches as a frame's own header has them."""
    return {name: switch(frame.primary, name, str(frame.path)) for name in _IMAGE_SWITCHES}


def detect(path: Path, names: Cards | None, references: References, report: Report) -> Frame:
    """Run the detector stage; ``names`` are the cards that name the references, by default its own."""
    from acsrecipe.engines.embedded.fitsfile import open_fits

    own = open_fits(path, role="exposure").hdus[0].cards
    if switch(own, "DARKCORR", str(path)) == "PERFORM" and header.find(own, "DARKTIME") < 0:
        message = "DARKTIME is missing: DARKCORR would subtract nothing"
        raise EngineError(message, where=str(path), hint="give it in the recipe's [[headers]]")
    return process_detector(path, own if names is None else names, references, report)


def finish(
    frame: Frame,
    switches: dict[str, State],
    names: Cards,
    references: References,
    output: Path,
    report: Report,
    *,
    suffix: str = "flt",
) -> Path:
    """Run the image stage and write the product."""
    path = output / f"{frame.root}_{suffix}.fits"
    # Without a step to do (bias and dark frames), calacs gives the detector stage's result as it is.
    if any(switches[name] == "PERFORM" for name in _IMAGE_STEPS):
        process_image(frame, switches, names, references, report, cte=suffix in ("flc", "crc"))
        end_step(frame.primary, "EXPSCORR", switches["EXPSCORR"])
    stamp(frame.primary, path.name, VERSION)
    header.add_history(frame.primary, f"Calibrated by {VERSION}")
    report(f"writing {path.name}")
    write_frame(frame, path)
    return path
