"""Charge that is trailed on its way to the amplifiers, and the judge of what the correction makes of it."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.demo.dataset import make_dataset
from acsrecipe.demo.geometry import MINI, cut_windows
from acsrecipe.demo.rules import name_reference
from acsrecipe.demo.trails import Trailing
from acsrecipe.demo.truth import BEHIND, compare_with_truth, write_truth
from acsrecipe.recipe.toml import load_recipe

PRE, POST = 53807.25, 56800.25
CHIP2, CHIP1 = cut_windows(MINI, "ABCD", "full")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("trails") / "demo", mode="pre_cte")


@pytest.fixture(scope="module")
def trailing(dataset):
    return Trailing.of(dataset.crds / "references" / "hst" / name_reference("PCTETAB", 1))


def a_point(row, column):
    frame = np.full(MINI.chip_shape, 30.0, dtype=np.float32)
    frame[row, column] = 5000.0
    return frame


@pytest.mark.parametrize(("window", "row", "away"), [(CHIP2, 60, 1), (CHIP1, 35, -1)])
def test_before_sm4_a_trail_points_along_its_column_away_from_the_amplifier(trailing, window, row, away):
    frame = a_point(row, 40)
    flat = trailing.trail(np.full_like(frame, 30.0), window, PRE)
    change = trailing.trail(frame, window, PRE) - flat
    behind = change[row + away : row + 6 * away : away, 40]
    assert change[row, 40] < 4970
    assert (behind > 0).all()
    assert behind[0] > 2 * behind[-1] > 0
    assert change[row - away, 40] == 0
    assert not np.delete(change, 40, axis=1).any()
    assert (frame == a_point(row, 40)).all()


@pytest.mark.parametrize(("column", "away"), [(40, 1), (220, -1)])
def test_after_sm4_it_points_along_the_row_too_away_from_its_own_amplifier(trailing, column, away):
    frame = a_point(60, column)
    change = trailing.trail(frame, CHIP2, POST) - trailing.trail(np.full_like(frame, 30.0), CHIP2, POST)
    assert change[60, column + away] > change[60, column + 5 * away] > 0
    assert change[60, column - away] == 0
    assert change[61, column] > 0


def test_no_charge_is_made_and_what_is_lost_left_the_frame(trailing):
    frame = np.zeros(MINI.chip_shape, dtype=np.float32)
    frame[5:20, ::7] = 800.0
    trailed = trailing.trail(frame, CHIP2, PRE)
    # The last of a trail of 60 rows is still inside, and the sums of float32 differ in their last digits only.
    assert trailed.sum(dtype=np.float64) == pytest.approx(frame.sum(dtype=np.float64), rel=1e-6)
    assert trailed.min() >= 0


def test_traps_become_more_with_time(trailing):
    early, late = (trailing.trail(a_point(60, 40), CHIP2, mjd)[61, 40] for mjd in (PRE, PRE + 800))
    assert late > early > 30


def test_the_recipe_asks_for_the_correction_and_the_truth_says_that_there_were_trails(dataset):
    assert len(dataset.rootnames) == 2
    assert load_recipe(dataset.recipe).recipe.switches["PCTECORR"] == "PERFORM"
    for root in dataset.rootnames:
        assert fits.getval(dataset.truth / f"{root}_truth.fits", "CTETRAIL")


def test_a_small_detector_has_the_traps_of_the_true_one(dataset):
    table = dataset.crds / "references" / "hst" / name_reference("PCTETAB", 1)
    parallel, serial = (fits.getdata(table, ("SCLBYCOL", number))["SENS_2048"] for number in (1, 2))
    assert (parallel == np.float32(24 * 2048 / 96)).all()
    assert (serial == np.float32(24 * 2048 / 128)).all()


def test_other_modes_are_not_trailed_and_load_no_compiler(tmp_path):
    code = """
import sys
from pathlib import Path
from acsrecipe.demo.dataset import make_dataset
made = make_dataset(Path(sys.argv[1]), exposures=1)
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "demo")], check=True, timeout=120)
    truth = fits.getheader(tmp_path / "demo" / "truth" / "j9l960a7q_truth.fits")
    assert "CTETRAIL" not in truth
    scaling = fits.getdata(tmp_path / "demo" / "crds" / "references" / "hst" / name_reference("PCTETAB", 1), "SCLBYCOL")
    assert (scaling["SENS_0512"] == 1).all()
    assert 'PCTECORR = "OMIT"' in (tmp_path / "demo" / "recipe.toml").read_text()


def products_behind(folder, offsets):
    """A product of one chip, 2, whose pixels are the truth but for those at `offsets` rows above bright ones."""
    rng = np.random.default_rng(5)
    truth = np.full((200, 100), 100.0, dtype=np.float32)
    truth[20:190:20, ::2] = 2000.0
    sci = truth + 10.0 * rng.standard_normal(truth.shape, dtype=np.float32)
    for offset in offsets:
        sci[20 + offset : 190 + offset : 20, ::2] += 10.0
    header = fits.Header([("CCDCHIP", 2)])
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(sci, header, name="SCI", ver=1)]
    hdus.append(fits.ImageHDU(np.full_like(sci, 10.0), name="ERR", ver=1))
    hdus.append(fits.ImageHDU(np.zeros(sci.shape, np.int16), name="DQ", ver=1))
    for suffix in ("flt", "flc"):
        fits.HDUList(hdus).writeto(folder / f"j9l960a7q_{suffix}.fits")
    write_truth(folder / "j9l960a7q_truth.fits", [(truth, np.zeros(truth.shape, bool))], trailed=True)


def test_the_judge_sees_what_lies_behind_bright_pixels(tmp_path):
    products_behind(tmp_path, range(1, BEHIND + 1))
    flt, flc = compare_with_truth(tmp_path, tmp_path)
    assert (flt.product, flc.product) == ("flt", "flc")
    assert flt.n_behind == flc.n_behind == 9 * 50 * BEHIND
    assert flt.behind == pytest.approx(1.0, abs=0.1)
    assert not flt.agrees
    assert flt.is_as_it_should_be
    assert not flc.is_as_it_should_be


@pytest.mark.parametrize("offsets", [(), (-1, -2, BEHIND + 1)])
def test_what_lies_elsewhere_does_not_count_and_an_flt_without_trails_is_wrong(tmp_path, offsets):
    products_behind(tmp_path, offsets)
    flt, flc = compare_with_truth(tmp_path, tmp_path)
    assert flc.behind == pytest.approx(0.0, abs=0.09)
    assert flc.agrees
    assert flc.is_as_it_should_be
    assert not flt.is_as_it_should_be
