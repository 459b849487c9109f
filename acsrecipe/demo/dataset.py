"""Make a whole data set: exposures, association, references, rules, truth and a recipe for it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acsrecipe.demo.detector import dark_seconds, draw_stripes, read_out
from acsrecipe.demo.distortion import write_distortion
from acsrecipe.demo.geometry import FULL, MINI, Geometry, Window, cut_windows
from acsrecipe.demo.headers import Observed, switches
from acsrecipe.demo.modes import MODES, Mode
from acsrecipe.demo.raw import write_association, write_raw, write_support
from acsrecipe.demo.recipefile import write_recipe
from acsrecipe.demo.references import make_bias, make_dark, make_flash, make_flat, write_image
from acsrecipe.demo.rules import (
    CONTEXTS,
    RULES,
    choose_references,
    date_edition,
    list_editions,
    name_reference,
    write_rules,
)
from acsrecipe.demo.scene import make_cosmic_rays, make_stars, render_scene
from acsrecipe.demo.streams import open_stream
from acsrecipe.demo.tables import write_table
from acsrecipe.demo.truth import Plane, write_truth
from acsrecipe.errors import OutputError, UsageError

SKY_RATE = 0.4
"""Electrons a second and pixel."""
_MANY = 100.0
_ENDINGS = "79bdfhjlnprtvxz"
_DISTORTIONS = ("IDCTAB", "NPOLFILE", "D2IMFILE")

Image = NDArray[np.float32]
Trail = Callable[[Image, Window, float], Image]
"""What happens to the electrons of a chip, read through a window at an MJD, on their way to the amplifiers."""


@dataclass(frozen=True)
class Dataset:
    """Where everything is.

    Attributes
    ----------
    folder : Path
        Of the whole data set.
    data : Path
        Folder of RAW, SPT and ASN files: the archive.
    crds : Path
        The CRDS cache.
    truth : Path
        Folder of ``<rootname>_truth.fits``.
    recipe : Path
        A recipe that reduces it.
    association : str
        Rootname in lower case, or empty for exposures without one.
    rootnames : tuple of str
        Of the exposures, in order.
    contexts : tuple of str
        Old and new CRDS context.
    mode : str
    seed : int
    full_frame : bool
        True size.
    """

    folder: Path
    data: Path
    crds: Path
    truth: Path
    recipe: Path
    association: str
    rootnames: tuple[str, ...]
    contexts: tuple[str, ...]
    mode: str
    seed: int
    full_frame: bool


@dataclass(frozen=True)
class _Chip:
    """What one chip adds to every exposure."""

    window: Window
    flat: Image
    dark: Image
    flash: Image
    bias: Image


def make_dataset(
    folder: Path,
    *,
    seed: int = 1,
    mode: str = "pre_dth",
    full_frame: bool = False,
    exposures: int | None = None,
) -> Dataset:
    """Make a data set.

    Parameters
    ----------
    folder : Path
        To make it in; may exist, but must be empty.
    seed : int
        The same seed gives the same bytes.
    mode : str
        A name in `acsrecipe.demo.modes.MODES`.
    full_frame : bool
        Make it at true size (chips of 4096 x 2048 pixels), not of 256 x 96. Some modes exist at true size only and are
        made so in any case.
    exposures : int, optional
        How many; else as many as the mode has.

    Raises
    ------
    UsageError
        When there is no such mode or no exposure is asked for.
    OutputError
        When the folder is not empty.
    """
    chosen = _look_up(mode, exposures)
    if folder.exists() and any(folder.iterdir()):
        message = "the folder for the demo is not empty"
        raise OutputError(message, where=str(folder), hint="name one that does not exist yet")
    geometry = FULL if full_frame or chosen.true_size else MINI
    count = chosen.exposures if exposures is None else exposures
    program, visit = ("9l9", "60") if not chosen.after_sm4 else ("dmo", "01")
    association = f"j{program}{visit}010" if chosen.member else ""
    rootnames = tuple(f"j{program}{visit}a{ending}q" for ending in _ENDINGS[:count])
    data, crds, truth = (folder / name for name in ("data", "crds", "truth"))
    for path in (data, crds / "references" / "hst", truth):
        path.mkdir(parents=True)

    _write_references(crds / "references" / "hst", seed, geometry, chosen)
    write_rules(crds, chosen)
    chips = tuple(_prepare(window, seed, chosen) for window in cut_windows(geometry, chosen.ccdamp, chosen.readout))
    names = choose_references(switches(chosen), chosen, 1)
    trail = _find_trail(crds / "references" / "hst", chosen)
    combined: list[Plane] = []
    for number, rootname in enumerate(rootnames):
        observed = Observed(rootname, number, count, association, chosen, names, CONTEXTS[0])
        planes = []
        imsets = []
        for window, pixels, plane in _expose(observed, chips, seed, trail):
            imsets.append((window, pixels))
            planes.append(plane)
        write_raw(data / f"{rootname}_raw.fits", observed, imsets)
        write_support(data / f"{rootname}_spt.fits", observed)
        write_truth(truth / f"{rootname}_truth.fits", planes, trailed=trail is not None)
        if chosen.member in ("EXP-CRJ", "EXP-RPT"):
            combined = _combine(combined, planes, chosen)
    if association:
        write_association(data / f"{association}_asn.fits", association, rootnames, chosen.member)
    if combined:
        write_truth(truth / f"{association}_truth.fits", combined, trailed=trail is not None)
    recipe = folder / "recipe.toml"
    write_recipe(recipe, mode, chosen, association, rootnames)
    return Dataset(folder, data, crds, truth, recipe, association, rootnames, CONTEXTS, mode, seed, geometry == FULL)


def _look_up(mode: str, exposures: int | None) -> Mode:
    if mode not in MODES:
        message = f"the demo has no mode '{mode}'"
        raise UsageError(message, hint=f"one of {', '.join(MODES)}")
    if exposures is not None and not 1 <= exposures <= len(_ENDINGS):
        message = f"the demo can't make {exposures} exposures"
        raise UsageError(message, hint=f"from 1 to {len(_ENDINGS)}")
    return MODES[mode]


def _write_references(folder: Path, seed: int, geometry: Geometry, mode: Mode) -> None:
    for kind, rule in RULES.items():
        for edition in list_editions(kind):
            path = folder / name_reference(kind, edition)
            useafter = _spell_useafter(date_edition(kind, edition, mode))
            # Where there is one edition only, it is the true one.
            content = edition if rule.renewed else 2
            if kind in _DISTORTIONS:
                write_distortion(path, kind, seed, geometry, mode.filters, useafter)
            elif rule.form == "IMAGE":
                write_image(path, kind, seed, geometry, mode, content, useafter)
            else:
                write_table(path, kind, seed, geometry, content, useafter, traps=mode.traps)


def _spell_useafter(date: str) -> str:
    """``2002-03-01 00:00:00`` as reference headers have it: ``Mar 01 2002 00:00:00``."""
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    moment = datetime.datetime.fromisoformat(date)
    return f"{months[moment.month - 1]} {moment:%d %Y %H:%M:%S}"


def _find_trail(references: Path, mode: Mode) -> Trail | None:
    if not mode.traps:
        return None
    # Only here, for it takes a while to import, and other modes need nothing of it.
    from acsrecipe.demo.trails import Trailing

    return Trailing.of(references / name_reference("PCTETAB", list_editions("PCTETAB")[-1])).trail


def _prepare(window: Window, seed: int, mode: Mode) -> _Chip:
    geometry, chip = window.geometry, window.chip
    if mode.imagetyp == "EXT":
        flat = make_flat(seed, geometry, chip)
    else:
        flat = np.zeros(geometry.chip_shape, dtype=np.float32)
    flash = make_flash(seed, geometry, chip) if mode.flashdur else np.zeros((1, 1), dtype=np.float32)
    return _Chip(window, flat, make_dark(seed, geometry, chip), flash, make_bias(seed, geometry, chip))


def _expose(
    observed: Observed, chips: tuple[_Chip, ...], seed: int, trail: Trail | None
) -> Iterator[tuple[Window, NDArray[np.uint16], Plane]]:
    """Take one exposure: the data numbers of each imset, and what its calibrated image should be."""
    mode = observed.mode
    geometry = chips[0].window.geometry
    stripes = None
    if mode.after_sm4 and not mode.is_subarray:
        # calacs takes stripes out of full frames only.
        stripes = draw_stripes(open_stream(seed, "stripes", observed.number), geometry.raw_shape[0])
    for chip in chips:
        window = chip.window
        rng = open_stream(seed, "exposure", observed.number, window.chip)
        sky = SKY_RATE * mode.exptime if mode.imagetyp == "EXT" else 0.0
        stars = make_stars(seed, geometry, window.chip)
        lit = mode.exptime if mode.imagetyp == "EXT" else 0.0
        expected = render_scene(stars, geometry, observed.dither, sky=sky, exptime=lit)
        other = chip.dark * np.float32(dark_seconds(mode)) + chip.flash * np.float32(mode.flashdur)
        collected = _count(rng, expected * chip.flat + other)
        charge, hit = make_cosmic_rays(rng, geometry, mode.exptime)
        collected += charge
        if trail is not None:
            collected = trail(collected, window, observed.expstart)
        pixels = read_out(collected, chip.bias, window, mode, stripes, rng)
        if mode.imagetyp != "EXT":
            # Bias and dark frames keep their dark current.
            expected = other
        yield window, pixels, (np.ascontiguousarray(expected[window.lit]), hit[window.lit])


def _count(rng: np.random.Generator, expected: Image) -> Image:
    """Draw Poisson numbers; where many are expected, from the normal distribution, which is ten times faster."""
    counted = rng.standard_normal(expected.shape, dtype=np.float32)
    counted *= np.sqrt(expected)
    counted += expected
    few = expected < _MANY
    counted[few] = rng.poisson(expected[few])
    np.rint(counted, out=counted)
    return counted


def _combine(combined: list[Plane], planes: list[Plane], mode: Mode) -> list[Plane]:
    """Add an exposure to the truth of the combined product; cosmic rays are rejected, or add up as repeats do."""
    rejected = mode.member == "EXP-CRJ"
    added = [(expected, hit & (not rejected)) for expected, hit in planes]
    if not combined:
        return added
    return [(old + new, a | b) for (old, a), (new, b) in zip(combined, added, strict=True)]
