"""The straight-line overscan: medians, clipping, fit, subtraction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.engines.embedded.frame import Observation
from acsrecipe.engines.embedded.overscan import (
    Line,
    column_medians,
    default_amplifier,
    fit_line,
    line_levels,
    line_medians,
    reject_high,
    subtract_levels,
    subtract_overscan,
)
from acsrecipe.engines.embedded.tables import CcdParameters, OverscanRegions

SEEN = Observation(
    *("j9sy01a1q", "WFC", "IMAGING", "CLAMP", "F606W", "CLEAR2L"),
    *(500.0, 53800.0, False, "ABCD", 2.0, (3, 3, 3, 3), 0.0, "", 500.0, "FIELD", 0.0, 2),
)
CCD = CcdParameters((2.0, 2.0, 2.0, 2.0), (5.0,) * 4, (2000.0,) * 4, 8, 16, 65534, 3.0, 3.0, "", "")
REGIONS = OverscanRegions((4, 4), (0, 2), (-1, -1), (-1, -1), (0, 3), (20, 23))


def chip(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(seed).normal(0, 2, (18, 24)).astype(np.float32)
    return noise + np.float32(4000), np.zeros((18, 24), np.int16)


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    sci, dq = np.array([[9, 1, 4, 2]], np.float32), np.zeros((1, 4), np.int16)
    medians = np.empty(1)
    line_medians(sci, dq, 0, 1, 0, 3, 0, 0, 31743, medians)
    assert medians[0] == 3


def test_flagged_overscan_pixels_are_not_used() -> None:
    sci, dq = np.array([[9, 1, 4, 2]], np.float32), np.array([[4, 0, 0, 0]], np.int16)
    medians = np.empty(1)
    line_medians(sci, dq, 0, 1, 0, 3, 0, 0, 31743, medians)
    assert medians[0] == 2


def test_a_line_without_usable_pixels_has_no_median_and_is_not_used() -> None:
    sci, dq = np.ones((2, 4), np.float32), np.zeros((2, 4), np.int16)
    dq[1] = 4
    medians = np.empty(2)
    line_medians(sci, dq, 0, 2, 0, 3, 0, 0, 31743, medians)
    assert medians[0] == 1
    assert np.isnan(medians[1])
    assert reject_high(medians, 5.0)[1] == 0


def test_an_unused_section_given_as_zero_in_the_table_leaves_no_pixels() -> None:
    """OSCNTAB 0, here -1: the fit finds nothing, and CCDTAB's level stands in."""
    sci, dq = np.ones((1, 4), np.float32), np.zeros((1, 4), np.int16)
    medians = np.empty(1)
    line_medians(sci, dq, 0, 1, 0, -1, 0, 0, 31743, medians)
    assert np.isnan(medians[0])


def test_columns_have_medians_too() -> None:
    sci = np.arange(12, dtype=np.float32).reshape(3, 4)
    medians = np.empty(2)
    column_medians(sci, np.zeros((3, 4), np.int16), 1, 2, 0, 2, 31743, medians)
    assert medians.tolist() == [5, 6]


def test_clipping_is_one_sided() -> None:
    levels = np.full(50, 4000.0)
    levels[7], levels[9] = 4300.0, 3700.0
    used = reject_high(levels, 5.0)
    assert used[7] == 0
    assert used[9] == 1
    assert used.sum() == 49


def test_the_clipping_threshold_loses_its_fraction() -> None:
    """Mean 100, read noise 0.3: the threshold 100.9 is cut to 100, so that 100.5 is rejected."""
    levels = np.array([99.5, 100.0, 100.5, 100.0])
    assert reject_high(levels, np.float32(0.3)).tolist() == [1, 1, 0, 1]


@given(st.floats(-0.1, 0.1), st.floats(1000, 5000), st.integers(4, 200))
def test_a_straight_line_is_found_again(slope: float, level: float, lines: int) -> None:
    numbers = np.arange(lines)
    line = fit_line(level + slope * (numbers - lines // 2), np.ones(lines), 0.0)
    assert line.origin == lines // 2
    assert line.slope == pytest.approx(slope, abs=1e-9)
    assert line.intercept == pytest.approx(level)


def test_a_singular_fit_gives_the_default_level() -> None:
    assert fit_line(np.array([5.0, 7.0]), np.zeros(2), 4321.0).intercept == 4321.0
    assert fit_line(np.array([5.0, 7.0]), np.array([1.0, 0.0]), 4321.0).slope == 0.0


def test_the_line_is_evaluated_with_the_image_line_number() -> None:
    """Fitted from the first trimmed line, evaluated from the image's first: calacs is that many lines late."""
    assert line_levels(Line(1.0, 10.0, 2), 2, 6).tolist() == [10, 11, 12, 13]


def test_levels_and_drift_are_subtracted_from_their_lines_and_columns() -> None:
    sci = np.full((6, 2), 100, np.float32)
    subtract_levels(sci[2:], np.array([10.0, 11.0, 12.0, 13.0]), np.array([0.0, 5.0]))
    assert sci[:, 0].tolist() == [100, 100, 90, 89, 88, 87]
    assert sci[:, 1].tolist() == [100, 100, 85, 84, 83, 82]


def test_levels_left_for_later_are_those_that_would_have_been_subtracted() -> None:
    (sci, dq), later = chip(), []
    now = sci.copy()
    result = subtract_overscan(now, dq, REGIONS, CCD, SEEN, 2, 31743)
    before = sci.copy()
    assert subtract_overscan(sci, dq, REGIONS, CCD, SEEN, 2, 31743, later) == result
    assert sci.tobytes() == before.tobytes()
    for level in later:
        y1, y2, x1, x2 = level.area
        subtract_levels(sci[y1:y2, x1:x2], level.values, np.zeros(x2 - x1))
    assert sci.tobytes() == now.tobytes()


def test_both_amplifiers_of_a_chip_lose_their_own_level() -> None:
    sci, dq = chip()
    sci[:, 12:] += 300
    result = subtract_overscan(sci, dq, REGIONS, CCD, SEEN, 2, 31743)
    lit = sci[0:16, 4:20]
    assert abs(lit[:, :8].mean()) < 1
    assert abs(lit[:, 8:].mean()) < 1
    assert result.levels[3] - result.levels[2] == pytest.approx(300, abs=2)
    assert result.mean == pytest.approx(4150, abs=2)
    assert not result.drift


def test_only_the_illuminated_part_changes() -> None:
    sci, dq = chip()
    before = sci.copy()
    subtract_overscan(sci, dq, REGIONS, CCD, SEEN, 2, 31743)
    assert (sci[:, :4] == before[:, :4]).all()
    assert (sci[:, 20:] == before[:, 20:]).all()
    assert (sci[16:] == before[16:]).all()


def test_without_a_row_in_oscntab_the_level_of_ccdtab_is_subtracted_everywhere() -> None:
    sci, dq = chip()
    result = subtract_overscan(sci, dq, None, CCD, SEEN, 2, 31743)
    assert abs(sci.mean()) < 1
    assert result.mean is None
    assert result.levels == {2: 4000.0}


def test_the_stand_in_amplifier_is_the_first_of_the_chip() -> None:
    assert default_amplifier(SEEN, 1) == 0
    assert default_amplifier(SEEN, 2) == 2


def test_a_drift_along_lines_is_fitted_from_the_virtual_overscan() -> None:
    sci, dq = np.full((18, 24), 4000, np.float32), np.zeros((18, 24), np.int16)
    sci += np.arange(24, dtype=np.float32) * np.float32(2)
    regions = OverscanRegions((4, 4), (0, 2), (4, 19), (16, 17), (0, 3), (20, 23))
    result = subtract_overscan(sci, dq, regions, CCD, SEEN, 2, 31743)
    assert result.drift
    assert np.abs(sci[:16, 4:20]).max() < 1e-2
