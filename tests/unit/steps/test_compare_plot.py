"""The step compare-plot: which pixels it shows, in which place, and that the picture is the same every time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from acsrecipe.errors import StepError
from acsrecipe.plan.model import Output, Task
from acsrecipe.steps import compare_plot
from acsrecipe.steps.mosaic import average, averaging_factor, cut, join, read_frame, trim_like

ROOT = "j9sy01a1q"


def write_raw(folder: Path, chips: tuple[int, ...] = (2, 1), **primary) -> None:
    """A RAW of chips 40 x 60 with 4 overscan columns each side and 5 rows; its pixels say where they are."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header.update({"TARGNAME": "NGC104", "DETECTOR": "WFC", "APERTURE": "WFC", "EXPTIME": 339.0})
    hdus[0].header.update({"FILTER1": "F606W", "FILTER2": "CLEAR2L", "DATE-OBS": "2006-03-13", **primary})
    for ver, chip in enumerate(chips, 1):
        y0 = 0 if chip == 2 else 5
        pixels = np.full((45, 68), 50, np.uint16)
        pixels[y0 : y0 + 40, 4:64] = sky(chip)
        hdu = fits.ImageHDU(pixels, name="SCI", ver=ver)
        hdu.header.update({"CCDCHIP": chip, "LTV1": 4.0, "LTV2": float(y0)})
        hdus += [hdu, fits.ImageHDU(name="ERR", ver=ver)]
    hdus.writeto(folder / f"{ROOT}_raw.fits")


def write_calibrated(folder: Path, suffix: str = "flt", chips: tuple[int, ...] = (2, 1)) -> None:
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for ver, chip in enumerate(chips, 1):
        hdu = fits.ImageHDU(sky(chip).astype("f4"), name="SCI", ver=ver)
        hdu.header.update({"CCDCHIP": chip, "LTV1": 0.0, "LTV2": 0.0})
        hdus += [hdu]
    hdus.writeto(folder / f"{ROOT}_{suffix}.fits")


def sky(chip: int) -> np.ndarray:
    return (1000 * chip + np.add.outer(10 * np.arange(40), np.arange(60))).astype(np.uint16)


def run(folder: Path, *files: str, **parameters):
    output = Output(name=f"{ROOT}_compare.png", folder="plots", size=0)
    parameters = {"files": list(files), **parameters} if files else parameters
    task = Task(
        id=f"compare-plot/{ROOT}", kind="compare-plot", exposures=(ROOT,), outputs=(output,), parameters=parameters
    )
    return compare_plot.run(task, folder, deadline=None, report=lambda _text: None)


def test_it_writes_one_png_with_a_panel_for_each_file(tmp_path):
    write_raw(tmp_path)
    write_calibrated(tmp_path, "flt")
    write_calibrated(tmp_path, "flc")
    outcome = run(tmp_path, f"{ROOT}_flt.fits", f"{ROOT}_flc.fits")
    picture = imread(tmp_path / f"{ROOT}_compare.png")
    assert picture.shape[1] > 2 * picture.shape[0]
    panels = outcome.details["panels"]
    assert [panel["file"] for panel in panels] == [f"{ROOT}_{kind}.fits" for kind in ("raw", "flt", "flc")]
    assert [panel["unit"] for panel in panels] == ["DN", "electrons", "electrons"]
    assert [panel["shape"] for panel in panels] == [[90, 68], [80, 60], [80, 60]]
    assert set(outcome.versions) == {"matplotlib", "astropy", "numpy"}


def test_the_same_files_give_the_same_bytes_whatever_the_users_style(tmp_path):
    import matplotlib

    write_raw(tmp_path)
    write_calibrated(tmp_path)
    run(tmp_path, f"{ROOT}_flt.fits")
    first = (tmp_path / f"{ROOT}_compare.png").read_bytes()
    with matplotlib.rc_context({"font.size": 20, "image.cmap": "jet", "axes.facecolor": "red", "savefig.dpi": 33}):
        run(tmp_path, f"{ROOT}_flt.fits")
        assert matplotlib.rcParams["font.size"] == 20
    assert (tmp_path / f"{ROOT}_compare.png").read_bytes() == first
    assert b"matplotlib" not in first.lower()


def test_another_process_gives_the_same_bytes_without_a_display_or_pyplot(tmp_path):
    write_raw(tmp_path)
    write_calibrated(tmp_path)
    run(tmp_path, f"{ROOT}_flt.fits")
    first = (tmp_path / f"{ROOT}_compare.png").read_bytes()
    code = f"""
import sys
from pathlib import Path
from acsrecipe.plan.model import Output, Task
from acsrecipe.steps import compare_plot
assert "matplotlib" not in sys.modules and "astropy" not in sys.modules
output = Output(name="{ROOT}_compare.png", folder="plots", size=0)
task = Task(id="t", kind="compare-plot", exposures=("{ROOT}",), outputs=(output,))
compare_plot.run(task, Path({str(tmp_path)!r}), deadline=None, report=lambda text: None)
assert "matplotlib.pyplot" not in sys.modules
"""
    env = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=120)
    assert (tmp_path / f"{ROOT}_compare.png").read_bytes() == first


def test_chip_1_lies_above_chip_2_and_the_raw_is_trimmed_to_the_same_pixels(tmp_path):
    write_raw(tmp_path)
    write_calibrated(tmp_path)
    raw, flt = read_frame(tmp_path / f"{ROOT}_raw.fits"), read_frame(tmp_path / f"{ROOT}_flt.fits")
    mosaic = join(flt.chips)
    assert mosaic.dtype == np.float32
    np.testing.assert_array_equal(mosaic, np.concatenate([sky(2), sky(1)]))
    np.testing.assert_array_equal(join(trim_like(raw, flt).chips), mosaic)


def test_a_section_shows_the_same_part_of_the_detector_in_both(tmp_path):
    write_raw(tmp_path)
    write_calibrated(tmp_path)
    outcome = run(tmp_path, f"{ROOT}_flt.fits", section=[10, 30, 35, 50])
    raw, flt = outcome.details["panels"]
    assert raw["shape"] == flt["shape"] == [15, 20]
    assert raw["zscale"] == flt["zscale"]


@pytest.mark.parametrize("chips", [(1,), (2,)])
def test_a_subarray_of_one_chip_is_drawn(tmp_path, chips):
    write_raw(tmp_path, chips)
    write_calibrated(tmp_path, chips=chips)
    outcome = run(tmp_path, section=[0, 60, 0, 40])
    assert [panel["shape"] for panel in outcome.details["panels"]] == [[40, 60], [40, 60]]


def test_names_that_look_like_markup_are_drawn_as_they_are(tmp_path):
    write_raw(tmp_path, TARGNAME="$\\frac{[/bad]", FILTER1="POL0UV", FILTER2="F435W")
    write_calibrated(tmp_path)
    run(tmp_path)
    header = {"TARGNAME": "$\\frac", "FILTER1": "POL0UV", "FILTER2": "F435W", "DETECTOR": "WFC", "APERTURE": "WFC1A-2K"}
    root, line = compare_plot._headline(ROOT, header)
    assert (root, line) == (ROOT, "$\\frac   ·   ACS/WFC1A-2K   ·   POL0UV + F435W")


def test_big_frames_are_averaged_and_the_picture_says_so(tmp_path):
    assert averaging_factor([(4136, 4144), (4096, 4096)], compare_plot.MOST_PIXELS) == 4
    assert averaging_factor([(512, 2048)], compare_plot.MOST_PIXELS) == 2
    assert averaging_factor([(90, 68)], compare_plot.MOST_PIXELS) == 1
    assert "averaged over 4 × 4 pixels" in compare_plot._footnote(4, None)
    assert compare_plot._footnote(1, (0, 5, 2, 9)).endswith("section x 0-5, y 2-9")


@given(st.integers(1, 23), st.integers(1, 23), st.integers(1, 9))
def test_averaging_keeps_the_mean_of_every_block(ny, nx, factor):
    image = np.arange(ny * nx, dtype=np.float32).reshape(ny, nx)
    averaged = average(image, factor)
    assert averaged.shape == (-(-ny // factor), -(-nx // factor))
    for row, column in np.ndindex(averaged.shape):
        block = image[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        assert averaged[row, column] == pytest.approx(block.mean(), rel=1e-6)


def test_a_frame_of_constant_pixels_can_be_drawn(tmp_path):
    write_raw(tmp_path)
    write_calibrated(tmp_path)
    for name in ("raw", "flt"):
        with fits.open(tmp_path / f"{ROOT}_{name}.fits", mode="update") as hdus:
            hdus["SCI", 1].data[:] = 7
            hdus["SCI", 2].data[:] = 7
    assert run(tmp_path).details["panels"][1]["zscale"] == [7.0, 7.0]


def test_nan_does_not_spoil_the_limits(tmp_path):
    write_raw(tmp_path)
    write_calibrated(tmp_path)
    with fits.open(tmp_path / f"{ROOT}_flt.fits", mode="update") as hdus:
        hdus["SCI", 1].data[:, 5] = np.nan
    low, high = run(tmp_path).details["panels"][1]["zscale"]
    assert 900 < low < high < 3000


def test_an_image_without_a_finite_pixel_is_named(tmp_path):
    write_raw(tmp_path)
    write_calibrated(tmp_path)
    with fits.open(tmp_path / f"{ROOT}_flt.fits", mode="update") as hdus:
        hdus["SCI", 1].data[:] = np.nan
        hdus["SCI", 2].data[:] = np.nan
    with pytest.raises(StepError, match="FLT, calibrated image has no finite pixel") as caught:
        run(tmp_path)
    assert caught.value.code == "S021"


@pytest.mark.parametrize("section", [[0, 61, 0, 10], [5, 5, 0, 10], [0, 10, 70, 81]])
def test_a_section_outside_the_image_is_named(tmp_path, section):
    write_raw(tmp_path)
    write_calibrated(tmp_path)
    with pytest.raises(StepError, match="does not lie within the 60 x 80 pixels"):
        run(tmp_path, section=section)
    with pytest.raises(ValueError, match="does not lie within"):
        cut(np.zeros((80, 60), np.float32), tuple(section))


def test_what_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(StepError, match=f"no calibrated file of {ROOT}"):
        run(tmp_path)
    write_calibrated(tmp_path)
    with pytest.raises(StepError, match=f"{ROOT}_raw.fits is not there"):
        run(tmp_path)
    (tmp_path / f"{ROOT}_raw.fits").write_bytes(b"<html>")
    with pytest.raises(StepError, match=f"{ROOT}_raw.fits"):
        run(tmp_path)


def test_a_raw_that_does_not_belong_to_the_calibrated_file_is_refused(tmp_path):
    write_raw(tmp_path, chips=(1,))
    write_calibrated(tmp_path, chips=(2,))
    with pytest.raises(StepError, match="has chip 1, which the calibrated file has not"):
        run(tmp_path, section=[0, 5, 0, 5])
