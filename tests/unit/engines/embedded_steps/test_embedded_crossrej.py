"""Cosmic-ray rejection: sky, first guess, hits and what they take with them, the combination."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.engines.embedded.crossrej import REJECTED, combine, find_skies, guess_median, guess_minimum
from acsrecipe.engines.embedded.rejection import Rejection

F = np.float32
ASKED = Rejection(500.0, "6.5,5.5,4.5", (6.5, 5.5, 4.5), 2.1, 0.5555, "med", "mode", 30.0, 0, mask=True)
SHAPE = (20, 24)


def stack(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sci = rng.normal(100, 5, (count, *SHAPE)).astype(F)
    return sci, np.full(sci.shape, 5, F), np.zeros(sci.shape, np.int16)


def combined(sci: np.ndarray, err: np.ndarray, dq: np.ndarray, **changes: object) -> object:
    times, skies = np.full(len(sci), 500, F), np.zeros(len(sci), F)
    frame = bool(changes.pop("calibration_frame", False))
    return combine(sci, err, dq, times, skies, replace(ASKED, **changes), calibration_frame=frame)


def test_the_sky_is_the_mode_of_unflagged_pixels() -> None:
    sci, _, dq = stack(1)
    image, flags = np.tile(sci[0], (30, 30)), np.tile(dq[0], (30, 30))
    image[0, :200] = 1e6
    flags[0, :200] = 4
    image[1, :50] = 5000
    assert find_skies([image], [flags], replace(ASKED, badinpdq=4)) == pytest.approx([100], abs=2)
    assert find_skies([image], [flags], replace(ASKED, sky="none")) == [0.0]


def test_the_median_guess_is_a_rate_and_leaves_out_bad_pixels_and_empty_exposures() -> None:
    sci = np.array([10, 30, 50, 9e9], F).reshape(4, 1, 1)
    dq = np.array([0, 0, 4, 0], np.int16).reshape(4, 1, 1)
    times, skies = np.array([2, 2, 2, 0], F), np.array([2, 2, 2, 2], F)
    assert guess_median(sci, dq, times, skies, 0)[0, 0] == 14
    assert guess_median(sci, dq, times, skies, 4)[0, 0] == 9
    assert guess_median(sci, dq | np.int16(4), times, skies, 4)[0, 0] == 0


def test_the_minimum_guess_becomes_0_where_the_smallest_is_bad() -> None:
    sci = np.array([30, 10], F).reshape(2, 1, 1)
    dq = np.array([0, 4], np.int16).reshape(2, 1, 1)
    times, skies = np.ones(2, F), np.zeros(2, F)
    assert guess_minimum(sci, dq, times, skies, 0)[0, 0] == 10
    assert guess_minimum(sci, dq, times, skies, 4)[0, 0] == 0


def test_a_cosmic_ray_in_one_of_three_is_left_out_of_the_average() -> None:
    sci, err, dq = stack(3)
    sci[1, 10, 12] = 5000
    made = combined(sci, err, dq)
    assert made.hits[1, 10, 12]
    assert not made.hits[[0, 2], 10, 12].any()
    assert made.sci[10, 12] == pytest.approx((sci[0, 10, 12] + sci[2, 10, 12]) / 1000)
    # Two of three exposures: scaled to the whole time.
    assert made.err[10, 12] == pytest.approx(1500 / 1000 * np.sqrt(50))
    assert made.dq[10, 12] == 0
    assert made.rejected == made.hits.sum() >= 1


def test_neighbours_of_a_hit_are_rejected_at_a_lower_threshold_within_the_radius() -> None:
    sci, err, dq = stack(3)
    sci[:] = 100
    sci[0, 10, 12] = 5000
    sci[0, 10, 13], sci[0, 12, 12], sci[0, 10, 16] = 125, 125, 125
    made = combined(sci, err, dq)
    assert np.argwhere(made.hits[0]).tolist() == [[10, 12], [10, 13], [12, 12]]
    alone = combined(sci, err, dq, radius=0.0)
    assert np.argwhere(alone.hits[0]).tolist() == [[10, 12]]


def test_a_pixel_hit_in_every_exposure_has_no_value_and_says_so() -> None:
    sci, err, dq = stack(2)
    sci[:] = 100
    sci[0, 5, 5], sci[1, 5, 5] = 9000, -9000
    made = combined(sci, err, dq, initial="med")
    assert made.sci[5, 5] == 0
    assert made.err[5, 5] == 0
    assert made.dq[5, 5] == REJECTED


def test_flags_of_all_exposures_are_joined() -> None:
    sci, err, dq = stack(2)
    sci[:] = 100
    dq[0, 3, 3], dq[1, 3, 3] = 16, 256
    assert combined(sci, err, dq).dq[3, 3] == 272


def test_bad_pixels_are_kept_out_unless_the_frame_is_a_bias_or_dark() -> None:
    sci, err, dq = stack(2)
    sci[:] = 100
    sci[0, 3, 3], dq[0, 3, 3] = 130, 4
    assert combined(sci, err, dq, badinpdq=4).sci[3, 3] == pytest.approx(0.2)
    sci[0, 3, 3] = 104
    assert combined(sci, err, dq, badinpdq=4, calibration_frame=True).sci[3, 3] == pytest.approx(0.204)


@given(st.integers(0, 2**31), st.integers(2, 4))
def test_equal_exposures_combine_to_themselves(seed: int, count: int) -> None:
    image = np.random.default_rng(seed).normal(200, 30, SHAPE).astype(F)
    sci = np.repeat(image[None], count, axis=0)
    made = combined(sci, np.full(sci.shape, 5, F), np.zeros(sci.shape, np.int16))
    assert not made.hits.any()
    assert made.sci * 500 == pytest.approx(image, rel=1e-6)
    assert made.err == pytest.approx(5 * np.sqrt(count))
