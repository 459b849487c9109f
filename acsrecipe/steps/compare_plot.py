"""The step ``compare-plot``: an exposure before and after calibration, side by side in one PNG."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acsrecipe.errors import StepError
from acsrecipe.plan.model import Outcome, Task
from acsrecipe.process import clean_text

if TYPE_CHECKING:
    from acsrecipe.steps.mosaic import Frame, Image, Section

KIND = "compare-plot"
REFERENCES: tuple[str, ...] = ()
NEEDS_RAW = True
REWRITES = False

MOST_PIXELS = 1100
"""Pixels that a panel shows a side; larger frames are averaged in blocks."""

PANEL = 5.6
"""Inches."""

DPI = 150
TITLES = {"flt": "FLT, calibrated", "flc": "FLC, calibrated and CTE-corrected"}

_STYLE_LOCK = threading.Lock()  # matplotlib's style is one for the whole process.


@dataclass(frozen=True)
class Panel:
    """One picture: the frame, its place in pixels, the unit of its values and what stands above it."""

    title: str
    unit: str
    image: Image
    extent: tuple[float, float, float, float]
    chips: tuple[tuple[int, float, float], ...]


def outputs(rootname: str, suffixes: Sequence[str]) -> tuple[str, ...]:
    """Name what it makes: one PNG an exposure, whatever its calibrated files."""
    return (f"{rootname}_compare.png",)


def run(
    task: Task,
    folder: Path,
    *,
    deadline: float | None,
    report: Callable[[str], None],
    cancel: threading.Event | None = None,
) -> Outcome:
    """Draw RAW beside the calibrated files of an exposure.

    Parameters
    ----------
    task : Task
        ``parameters["files"]`` are the calibrated files; ``parameters["section"]`` may be [x0, x1, y0, y1]
        in pixels of the calibrated image (for two chips: of both, chip 1 above chip 2), of which the RAW
        shows the same part of the detector. Without it all is shown, the RAW with its overscan.
    folder : Path
        With the files, and the RAW under its bare name.
    deadline, cancel
        Not looked at: it takes seconds, and what it draws can't hang.
    report : callable

    Returns
    -------
    Outcome
        ``details["panels"]``: file, shape as drawn, and the zscale limits in the panel's unit.

    Raises
    ------
    StepError
        S010 a file is not there or not readable, S020 it can't be drawn.
    """
    root = task.exposures[0]
    names = [str(name) for name in task.parameters.get("files") or ()]
    names = names or [name for name in (f"{root}_flt.fits", f"{root}_flc.fits") if (folder / name).exists()]
    if not names:
        msg = f"found no calibrated file of {root} to draw"
        raise StepError(msg, where=task.id, code="S010")
    section = task.parameters.get("section")
    report(f"reading {root}_raw.fits, {', '.join(names)}")
    raw = _read(task, folder / f"{root}_raw.fits")
    calibrated = {name: _read(task, folder / name) for name in names}
    try:
        panels, factor = _panels(raw, calibrated, tuple(section) if section else None)
    except ValueError as error:
        msg_0 = f"{root}: {error}"
        raise StepError(msg_0, where=task.id, code="S020") from error
    report("drawing")
    (output,) = task.outputs
    limits = _draw(folder / output.name, _headline(root, raw.primary), _footnote(factor, section), panels)
    drawn = zip([f"{root}_raw.fits", *names], panels, limits, strict=True)
    return Outcome(
        versions={name: version(name) for name in ("matplotlib", "astropy", "numpy")},
        details={
            "panels": [
                {"file": name, "shape": list(panel.image.shape), "unit": panel.unit, "zscale": list(limit)}
                for name, panel, limit in drawn
            ],
            "averaged": factor,
        },
    )


def _read(task: Task, path: Path) -> Frame:
    from acsrecipe.steps.mosaic import read_frame

    try:
        return read_frame(path)
    except (OSError, ValueError, TypeError) as error:
        words = "is not there" if isinstance(error, FileNotFoundError) else str(error)
        msg = f"{path.name} {words}"
        raise StepError(msg, where=task.id, code="S010") from error


def _panels(raw: Frame, calibrated: Mapping[str, Frame], section: Section | None) -> tuple[tuple[Panel, ...], int]:
    from acsrecipe.steps.mosaic import average, averaging_factor, cut, join, trim_like

    if section is not None:
        raw = trim_like(raw, next(iter(calibrated.values())))
    drawn = [("RAW", "DN", raw)]
    for name, frame in calibrated.items():
        suffix = name.removesuffix(".fits").rpartition("_")[2]
        drawn.append((TITLES.get(suffix, suffix.upper()), "electrons", frame))
    images = [join(frame.chips) for _, _, frame in drawn]
    if section is not None:
        images = [cut(image, section) for image in images]
    factor = averaging_factor([image.shape for image in images], MOST_PIXELS)
    panels = []
    for (title, unit, frame), image in zip(drawn, images, strict=True):
        ny, nx = image.shape
        x0, y0 = (section[0], section[2]) if section is not None else (0, 0)
        extent = (x0 - 0.5, x0 + nx - 0.5, y0 - 0.5, y0 + ny - 0.5)
        panels.append(Panel(title, unit, average(image, factor), extent, _places(frame)))
    return tuple(panels), factor


def _places(frame: Frame) -> tuple[tuple[int, float, float], ...]:
    """Give each chip's number and the rows between which it lies; nothing for a single one."""
    places, bottom = [], -0.5
    for chip in frame.chips:
        places.append((chip.number, bottom, bottom + chip.pixels.shape[0]))
        bottom += chip.pixels.shape[0]
    return tuple(places) if len(places) > 1 else ()


def _headline(root: str, primary: Mapping[str, Any]) -> tuple[str, str]:
    """Say what was observed: rootname; target, detector, filters, exposure time, date."""
    wheels = [str(primary.get(key, "")).strip() for key in ("FILTER1", "FILTER2")]
    filters = [name for name in wheels if name and not name.startswith("CLEAR") and name != "N/A"]
    time = primary.get("EXPTIME")
    place = [str(primary.get("DETECTOR", "")).strip(), str(primary.get("APERTURE", "")).strip()]
    if place[1].startswith(place[0]):
        place = place[1:]
    words = [
        str(primary.get("TARGNAME", "")).strip(),
        "ACS/" + " ".join(part for part in place if part),
        " + ".join(filters) or "clear",
        f"{time:g} s" if isinstance(time, int | float) else "",
        str(primary.get("DATE-OBS", "")).strip(),
    ]
    return root, clean_text("   ·   ".join(word for word in words if word))


def _footnote(factor: int, section: Sequence[int] | None) -> str:
    words = ["linear, zscale limits for each panel"]
    if factor > 1:
        words.append(f"averaged over {factor} × {factor} pixels")
    if section:
        words.append(f"section x {section[0]}-{section[1]}, y {section[2]}-{section[3]}")
    return "; ".join(words)


def _draw(path: Path, headline: tuple[str, str], footnote: str, panels: Sequence[Panel]) -> list[tuple[float, float]]:
    """Write the PNG: the same panels give the same bytes; give each panel's limits."""
    import matplotlib.style
    from astropy.visualization import ZScaleInterval
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from numpy import isfinite

    limits: list[tuple[float, float]] = []
    with _STYLE_LOCK, matplotlib.style.context("default"):
        aspect = max(panel.image.shape[0] / panel.image.shape[1] for panel in panels)
        height = min(max(0.79 * PANEL * aspect, 2.0), 2 * PANEL) + 1.5
        layout = ConstrainedLayoutEngine(rect=(0.0, 0.045, 1.0, 1.0 - 0.045 - 0.66 / height), wspace=0.06)
        figure = Figure(figsize=(PANEL * len(panels) + 0.6, height), dpi=DPI, layout=layout)
        FigureCanvasAgg(figure)
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            if not isfinite(panel.image).any():
                msg = f"the {panel.title} image has no finite pixel: there is nothing to draw"
                hint = "look at its references: NaN in a dark or flat makes NaN of what it corrects"
                raise StepError(msg, hint=hint, code="S021")
            low, high = (float(limit) for limit in ZScaleInterval().get_limits(panel.image))
            limits.append((low, high))
            _draw_panel(figure, axes, panel, low, high)
        top = 1.0 - 0.12 / height
        figure.text(0.012, top, headline[0], size=13, weight="bold", va="top", parse_math=False)
        figure.text(0.012, top - 0.27 / height, headline[1], size=10, va="top", color="0.25", parse_math=False)
        figure.text(0.012, 0.012, footnote, size=7.5, color="0.4", parse_math=False)
        figure.savefig(path, format="png", metadata={"Software": None})
    return limits


def _draw_panel(figure: Any, axes: Any, panel: Panel, low: float, high: float) -> None:
    shown = axes.imshow(
        panel.image,
        origin="lower",
        extent=panel.extent,
        cmap="gray",
        vmin=low,
        vmax=high if high > low else low + 1.0,
        interpolation="antialiased",
    )
    axes.set_title(panel.title, size=10, loc="left")
    axes.set_xlabel("x [pixel]", size=8.5)
    axes.set_ylabel("y [pixel]", size=8.5)
    axes.tick_params(labelsize=7.5, direction="out", length=3)
    bottom, top = panel.extent[2], panel.extent[3]
    for number, first, last in panel.chips:
        if bottom < first < top:
            axes.axhline(first, color="tab:orange", linewidth=0.7)
        if first < top and last > bottom:
            axes.text(
                0.98,
                (min(last, top) - bottom) / (top - bottom) - 0.018,
                f"chip {number}",
                transform=axes.transAxes,
                ha="right",
                va="top",
                size=7.5,
                color="tab:orange",
                weight="bold",
                bbox={"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5},
            )
    # An inset is as high as the picture, whatever the picture's shape.
    bar = figure.colorbar(shown, cax=axes.inset_axes((1.02, 0.0, 0.035, 1.0)))
    bar.set_label(panel.unit, size=8.5)
    bar.ax.tick_params(labelsize=7.5, length=3)
    bar.outline.set_linewidth(0.6)
