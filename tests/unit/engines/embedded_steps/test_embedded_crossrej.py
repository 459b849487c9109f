"""Cosmic-ray rejection: sky, first guess, hits and what they take with them, the combination."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acsrecipe.engines.embedded.crossrej import Combined, combine, sum_of_skies
from acsrecipe.engines.embedded.guess import guess_median, guess_minimum
from acsrecipe.engines.embedded.rejection import Rejection
from acsrecipe.engines.embedded.skies import find_skies
from acsrecipe.engines.embedded.window import REJECTED, SPILL, flag_hits, load_lines

F = np.float32
ASKED = Rejection(500.0, "6.5,5.5,4.5", (6.5, 5.5, 4.5), 2.1, 0.5555, "med", "mode", 30.0, 0, mask=True)
SHAPE = (20, 24)


def stack(count: int, seed: int = 1, shape: tuple[int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sci = rng.normal(100, 5, (count, *shape)).astype(F)
    return sci, np.full(sci.shape, 5, F), np.zeros(sci.shape, np.int16)


def combined(sci: np.ndarray, err: np.ndarray, dq: np.ndarray, **changes: object) -> tuple[Combined, np.ndarray]:
    """Combine exposures of 500 s; give the result, and where it flagged hits."""
    times, skies = np.full(len(sci), 500, F), np.zeros(len(sci), F)
    frame = bool(changes.pop("calibration_frame", False))
    flagged = dq.copy()
    asked = replace(ASKED, **changes)
    made = combine(sci, err, flagged, times, skies, asked, total=F(500 * len(sci)), calibration_frame=frame)
    return made, flagged & REJECTED > 0


def guessed(kind: str, sci: np.ndarray, dq: np.ndarray, times: np.ndarray, skies: np.ndarray, bad: int) -> np.ndarray:
    """Guess a stack all of whose lines are in the window."""
    n, ny, nx = sci.shape
    rates, variances, flags = np.zeros(sci.shape, F), np.zeros(sci.shape, F), np.zeros(sci.shape, np.int16)
    for k in range(n):
        if times[k] > 0:
            load_lines(sci[k], sci[k], dq[k], times[k], skies[k], 0, rates[k], variances[k], flags[k])
    average = np.full((ny, nx), np.nan, F)
    if kind == "min":
        guess_minimum(rates, flags, times, bad, 0, ny, average)
    else:
        words = np.zeros(-(-nx // 8), np.uint64)
        guess_median(rates, flags, times, bad, 0, ny, average, np.empty((n, nx), F), words.view(np.uint8), words)
        assert not words.any()
    return average


def test_the_sky_is_the_mode_of_unflagged_pixels() -> None:
    sci, _, dq = stack(1)
    image, flags = np.tile(sci[0], (30, 30)), np.tile(dq[0], (30, 30))
    image[0, :200] = 1e6
    flags[0, :200] = 4
    image[1, :50] = 5000
    assert find_skies([image], [flags], replace(ASKED, badinpdq=4)) == pytest.approx([100], abs=2)
    assert find_skies([image], [flags], replace(ASKED, sky="none")) == [0.0]


def test_pixels_outside_of_the_histogram_have_no_part_in_the_sky() -> None:
    image = np.full((40, 40), 10, F)
    image[0], image[1], image[2, 0] = 1e9, np.nan, -np.inf
    image[3:5] = np.repeat([[9.5], [11.5]], 40, axis=1)
    flags = np.zeros(image.shape, np.int16)
    # The range comes from the first image; of that, only values that are no outliers.
    first = np.full(image.shape, 10, F)
    first[0, 0] = 0
    # Bins 9, 10 and 11 hold 40, 35 * 40 and 40: the parabola's top is in the middle of bin 10.
    assert find_skies([first, image], [flags, flags], ASKED)[1] == 10.5


def test_the_sum_of_skies_is_not_negative() -> None:
    assert sum_of_skies(np.array([3, -1], F)) == 2
    assert sum_of_skies(np.array([3, -9], F)) == 0


def test_the_median_guess_is_a_rate_and_leaves_out_bad_pixels_and_empty_exposures() -> None:
    sci = np.array([10, 30, 50, 9e9], F).reshape(4, 1, 1)
    dq = np.array([0, 0, 4, 0], np.int16).reshape(4, 1, 1)
    times, skies = np.array([2, 2, 2, 0], F), np.array([2, 2, 2, 2], F)
    assert guessed("med", sci, dq, times, skies, 0)[0, 0] == 14
    assert guessed("med", sci, dq, times, skies, 4)[0, 0] == 9
    assert guessed("med", sci, dq | np.int16(4), times, skies, 4)[0, 0] == 0


@given(st.integers(0, 2**31), st.integers(1, 6), st.booleans())
def test_the_median_guess_is_the_median_of_what_is_good(seed: int, count: int, some_bad: bool) -> None:
    rng = np.random.default_rng(seed)
    sci = rng.integers(-50, 50, (count, 3, 13)).astype(F)
    dq = np.where(rng.random(sci.shape) < (0.3 if some_bad else 0), 4, 0).astype(np.int16)
    found = guessed("med", sci, dq, np.ones(count, F), np.zeros(count, F), 4)
    for j, i in np.ndindex(found.shape):
        good = sci[:, j, i][dq[:, j, i] == 0]
        assert found[j, i] == (np.median(good) if good.size else 0)


def test_the_minimum_guess_becomes_0_where_the_smallest_is_bad() -> None:
    sci = np.array([30, 10], F).reshape(2, 1, 1)
    dq = np.array([0, 4], np.int16).reshape(2, 1, 1)
    times, skies = np.ones(2, F), np.zeros(2, F)
    assert guessed("min", sci, dq, times, skies, 0)[0, 0] == 10
    assert guessed("min", sci, dq, times, skies, 4)[0, 0] == 0


def test_a_cosmic_ray_in_one_of_three_is_left_out_of_the_average() -> None:
    sci, err, dq = stack(3)
    sci[1, 10, 12] = 5000
    made, hits = combined(sci, err, dq)
    assert hits[1, 10, 12]
    assert not hits[[0, 2], 10, 12].any()
    # Two of three exposures: scaled to the whole time.
    assert made.sci[10, 12] == pytest.approx(1.5 * (sci[0, 10, 12] + sci[2, 10, 12]))
    assert made.err[10, 12] == pytest.approx(1500 / 1000 * np.sqrt(50))
    assert made.dq[10, 12] == 0
    assert made.rejected == hits.sum() >= 1


def test_neighbours_of_a_hit_are_rejected_at_a_lower_threshold_within_the_radius() -> None:
    sci, err, dq = stack(3)
    sci[:] = 100
    sci[0, 10, 12] = 5000
    sci[0, 10, 13], sci[0, 12, 12], sci[0, 10, 16] = 125, 125, 125
    _, hits = combined(sci, err, dq)
    assert np.argwhere(hits[0]).tolist() == [[10, 12], [10, 13], [12, 12]]
    _, alone = combined(sci, err, dq, radius=0.0)
    assert np.argwhere(alone[0]).tolist() == [[10, 12]]


def test_a_pixel_hit_in_every_exposure_has_no_value_and_says_so() -> None:
    sci, err, dq = stack(2)
    sci[:] = 100
    sci[0, 5, 5], sci[1, 5, 5] = 9000, -9000
    made, _ = combined(sci, err, dq, initial="med")
    assert made.sci[5, 5] == 0
    assert made.err[5, 5] == 0
    assert made.dq[5, 5] == REJECTED


def test_flags_of_all_exposures_are_joined() -> None:
    sci, err, dq = stack(2)
    sci[:] = 100
    dq[0, 3, 3], dq[1, 3, 3] = 16, 256
    assert combined(sci, err, dq)[0].dq[3, 3] == 272


def test_bad_pixels_are_kept_out_unless_the_frame_is_a_bias_or_dark() -> None:
    sci, err, dq = stack(2)
    sci[:] = 100
    sci[0, 3, 3], dq[0, 3, 3] = 130, 4
    assert combined(sci, err, dq, badinpdq=4)[0].sci[3, 3] == pytest.approx(200)
    sci[0, 3, 3] = 104
    assert combined(sci, err, dq, badinpdq=4, calibration_frame=True)[0].sci[3, 3] == pytest.approx(204)


def test_hits_are_flagged_in_whole_bytes_of_columns_and_only_where_asked() -> None:
    dq = np.full((2, 13), REJECTED + 1, np.int16)
    hits = np.zeros((3, 13), np.uint8)
    # Lines 4 and 5 of the image are in slots 1 and 2 of a window of three.
    hits[1, [2, 12]] = 1
    flag_hits(dq, hits, 4)
    assert np.flatnonzero(dq[0] & REJECTED).tolist() == [2, 8, 9, 10, 11, 12]
    assert np.flatnonzero(dq[1] & REJECTED).tolist() == [8, 9, 10, 11, 12]
    assert (dq & 1 == 1).all()
    sci, err, dq = stack(3)
    sci[0, 5, 5] = 9000
    made, flagged = combined(sci, err, dq, mask=False)
    assert made.rejected > 0
    assert not flagged.any()


@given(st.integers(0, 2**31), st.integers(2, 4))
def test_equal_exposures_combine_to_themselves(seed: int, count: int) -> None:
    image = np.random.default_rng(seed).normal(200, 30, SHAPE).astype(F)
    sci = np.repeat(image[None], count, axis=0)
    made, hits = combined(sci, np.full(sci.shape, 5, F), np.zeros(sci.shape, np.int16))
    assert not hits.any()
    assert made.sci == pytest.approx(image * count, rel=1e-6)
    assert made.err == pytest.approx(5 * np.sqrt(count))


def reject_plainly(
    sci: np.ndarray, err: np.ndarray, dq: np.ndarray, times: np.ndarray, asked: Rejection
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reject round by round on whole images, pixel by pixel; give the average rate, quality and hits."""
    n, ny, nx = sci.shape
    exposed = [k for k in range(n) if times[k] > 0]
    average = np.zeros((ny, nx), F)
    for j, i in np.ndindex(ny, nx):
        good = [sci[k, j, i] / times[k] for k in exposed if not dq[k, j, i] & asked.badinpdq]
        average[j, i] = np.median(np.array(good, F)) if good else 0
    radius, spill, scale = F(asked.radius), F(asked.spill), F(asked.scalense / 100)
    width = math.ceil(radius)
    for sigma in asked.thresholds:
        mask, before, new = dq.copy(), average, np.zeros_like(average)
        joined, quality = np.zeros((ny, nx), np.int16), np.full((ny, nx), REJECTED, np.int16)
        seconds = np.zeros((ny, nx), F)
        original = dq.copy()
        for k in exposed:
            away = (sci[k] / times[k] - before) ** 2
            noise = F(sigma) ** 2 * err[k] ** 2 / times[k] ** 2
            part = scale * np.maximum(before * times[k], 0)
            limit = F(sigma) ** 2 * (err[k] ** 2 + part * part) / times[k] ** 2
            for j in range(ny):
                original[k, j] = mask[k, j]
                mask[k, j, (mask[k, j] & asked.badinpdq != 0) & (mask[k, j] != SPILL)] = 4
                for i in range(nx):
                    if away[j, i] <= limit[j, i] or mask[k, j, i] == 4:
                        continue
                    mask[k, j, i] = 8
                    for y in range(max(j - width, 0), min(j + width + 1, ny)):
                        for x in range(max(i - width, 0), min(i + width + 1, nx)):
                            near = (y - j) ** 2 + (x - i) ** 2 <= radius * radius
                            if near and mask[k, y, x] != 8 and away[y, x] > spill**2 * noise[y, x] and y >= j:
                                mask[k, y, x] = SPILL
            good = mask[k] & 14 == 0
            new += np.where(good, sci[k] / times[k] * times[k], 0)
            seconds += np.where(good, times[k], F(0))
            hit = (mask[k] == 8) | (mask[k] == SPILL)
            value = (original[k] | joined) & ~(REJECTED | SPILL)
            quality = np.where(hit, value | quality, (value | quality) & ~REJECTED)
            joined = np.where(hit, value | REJECTED, value)
        with np.errstate(invalid="ignore"):
            average = np.where(seconds > 0, new / seconds, before)
    return np.where(seconds > 0, average, 0), quality, (mask == 8) | (mask == SPILL)


@settings(max_examples=20)
@given(
    st.integers(0, 2**31),
    st.sampled_from([(0, 500, 500), (500, 350, 500), (10, 20, 0), (1, 1)]),
    st.sampled_from([0.0, 1.0, 2.1, 3.7]),
    st.sampled_from([(4.5,), (5.0, 4.0), (6.5, 5.5, 4.5, 3.5)]),
    st.sampled_from([0, 16, 1 | 2 | 16]),
)
def test_rounds_that_follow_each_other_up_the_image_do_as_rounds_one_after_the_other(
    seed: int, seconds: tuple[int, ...], radius: float, thresholds: tuple[float, ...], badinpdq: int
) -> None:
    rng = np.random.default_rng(seed)
    # More lines than are loaded at a time, and no multiple of that.
    times, shape = np.array(seconds, F), (len(seconds), 75, 8)
    sci = rng.normal(100, 5, shape).astype(F) + rng.choice([0, 60, 500], shape, p=[0.95, 0.03, 0.02]).astype(F)
    dq = rng.choice([0, 1, 2, 8, 16, 64], shape, p=[0.9, 0.02, 0.02, 0.02, 0.02, 0.02]).astype(np.int16)
    err = rng.uniform(3, 8, shape).astype(F)
    asked = replace(ASKED, radius=float(F(radius)), thresholds=thresholds, badinpdq=badinpdq)
    average, quality, hits = reject_plainly(sci, err, dq, times, asked)
    flagged, skies = dq.copy(), np.zeros(len(times), F)
    made = combine(sci, err, flagged, times, skies, asked, total=F(1), calibration_frame=False)
    np.testing.assert_array_equal(made.sci, average)
    np.testing.assert_array_equal(made.dq, quality)
    np.testing.assert_array_equal((flagged & REJECTED > 0)[times > 0], hits[times > 0])
    assert made.rejected == hits[times > 0].sum()
