"""The smoothing follows its rule to the bit, whatever the number of threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acsrecipe.engines.embedded.cte.correct import smooth_frame
from acsrecipe.engines.embedded.cte.smoothing import _exact, _sums_in_order, _sums_of_three, smooth_columns
from acsrecipe.engines.embedded.cte.workers import Workers


def pulled(value: float, limit: float) -> float:
    return limit if value > limit else -limit if value < -limit else value


def one_step(observed: np.ndarray, old: np.ndarray, noise: float) -> np.ndarray:
    """Take one step pixel by pixel in Python floats: to the pixel's own value, the 3 x 3 sum, and both neighbours."""
    columns, rows = observed.shape
    new = np.empty_like(old)
    limit, noise2 = noise * 0.33, noise * noise
    for c in range(columns):
        for r in range(rows):
            here = float(old[c, r])
            own = float(observed[c, r]) - here
            nine = 0.0
            if 0 < c < columns - 1 and 0 < r < rows - 1:
                for cc in (c, c - 1, c + 1):
                    for rr in (r - 1, r, r + 1):
                        nine += float(observed[cc, rr])
                        nine -= float(old[cc, rr])
                nine /= 9.0
            down = float(old[c, r - 1]) - here if r else 0.0
            up = float(old[c, r + 1]) - here if r < rows - 1 else 0.0
            change = (
                pulled(own, 1.0) * (own * own / (own * own + 4.0 * noise2)) * 0.25
                + pulled(nine, limit) * (nine * nine / (nine * nine + 18.0 * noise2)) * 0.25
                + pulled(down, limit) * (4.0 * noise2 / (down * down + 4.0 * noise2)) * 0.25
                + pulled(up, limit) * (4.0 * noise2 / (up * up + 4.0 * noise2)) * 0.25
            )
            new[c, r] = np.float32(here + float(np.float32(change)) * 0.75)
    return new


def a_scene(seed: int, columns: int, rows: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    frame = rng.normal(3, 5, (columns, rows))
    frame[rng.random(frame.shape) < 0.05] += 4000
    return frame.astype(np.float32)


@pytest.mark.parametrize(("columns", "rows"), [(2, 2), (3, 3), (5, 64), (17, 43)])
def test_three_steps_follow_the_rule_bit_by_bit(columns: int, rows: int) -> None:
    observed = a_scene(columns, columns, rows)
    old = expected = observed
    for _ in range(3):
        new = np.empty_like(observed)
        squares, counted = smooth_columns(observed, old, new, 0, columns, 4.85)
        expected = one_step(observed, expected, 4.85)
        np.testing.assert_array_equal(new, expected)
        counts = (np.abs(observed.astype(float)) > 0.1) | (np.abs(new.astype(float)) > 0.1)
        assert counted == np.count_nonzero(counts)
        taken = (observed - new).astype(float)[counts]
        assert squares == pytest.approx(float((taken * taken).sum()), rel=1e-12)
        old = new


def test_it_stops_when_the_read_noise_is_taken_away_and_threads_change_nothing() -> None:
    observed = a_scene(9, 300, 200)
    answers = []
    for threads in (1, 2, 3):
        with Workers(threads, 1, None, None) as workers:
            answers.append(smooth_frame(observed, 4.0, workers))
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])
    taken = (observed - answers[0]).astype(float)
    assert math.sqrt((taken**2).mean()) == pytest.approx(4.0, abs=0.2)


def test_without_read_noise_nothing_is_smoothed() -> None:
    observed = a_scene(3, 5, 6)
    with Workers(1, 1, None, None) as workers:
        answer = smooth_frame(observed, 0.09, workers)
    np.testing.assert_array_equal(answer, observed)
    assert answer is not observed


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1), lowest=st.integers(-60, 16), highest=st.integers(-10, 17))
def test_sums_said_to_be_exact_are_those_of_calacs_order(seed: int, lowest: int, highest: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.uniform(1, 2, (2, 3, 40)) * 2.0 ** rng.integers(min(lowest, highest), highest + 1, (2, 3, 40))
    values *= rng.choice([-1, 0, 1], values.shape, p=[0.45, 0.1, 0.45])
    observed, old = values.astype(np.float32)
    sums, differences, nines = np.zeros((3, 40)), np.empty(40), np.zeros(40)
    ranges = np.array([_sums_of_three(observed[c], old[c], differences, sums[c]) for c in range(3)])
    _sums_in_order(*observed, *old, nines)
    if _exact(ranges):
        np.testing.assert_array_equal(sums.sum(axis=0)[1:-1], nines[1:-1])
    else:
        magnitudes = np.abs(values[values != 0])
        assert math.log2(magnitudes.max() / magnitudes.min()) > 23


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sums_of_what_is_no_number_are_never_exact(bad: float) -> None:
    observed = np.ones(8, np.float32)
    observed[3] = bad
    ranges = np.full(3, _sums_of_three(observed, np.ones(8, np.float32), np.empty(8), np.empty(8)))
    assert not _exact(ranges)
