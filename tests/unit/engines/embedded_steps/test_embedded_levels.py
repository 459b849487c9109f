"""Bias shift, cross talk, stripes, statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.engines.embedded.biasshift import GAP_PIXELS, correct_bias_shift, correct_cross_talk
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.destripe import amplifier_view, subtract_stripes
from acsrecipe.engines.embedded.statistics import TOTALS, accumulate, put_statistics
from acsrecipe.errors import EngineError

F = np.float32


def spelt_out(sci: np.ndarray, time: float, sensitivity: float) -> np.ndarray:
    """The bias shift of one amplifier with the amplifier at [0, 0], as the ISR writes it."""
    amp = sci.astype(np.float64)
    mean = amp[2057:2067, 13:23].mean()
    factor = 1 - math.exp(-1 / (time * 1000 / 22))
    level = 0.3 * mean
    out = np.empty_like(amp)
    for j in range(amp.shape[0]):
        for k in range(amp.shape[1] + GAP_PIXELS):
            value = amp[j, k] if k < amp.shape[1] else mean
            after = value * factor * 0.3 + (1 - factor) * level
            if k < amp.shape[1]:
                out[j, k] = (value - sensitivity * after) - 10 / 22 * (after - level)
            level = after
    return out - out[2057:2067, 13:23].mean()


def test_the_bias_shift_follows_the_recursion_of_the_report() -> None:
    sci = np.random.default_rng(3).normal(4000, 20, (2068, 24)).astype(F)
    expected = spelt_out(sci, 37.867770, 12.432145e-3)
    level = correct_bias_shift(sci, 2, halves=False, where="x")
    assert np.abs(sci - expected).max() < 1e-3
    assert level == pytest.approx(4000 * (1 - 12.432145e-3 * 0.3), rel=1e-2)


@pytest.mark.parametrize(("amp", "turn"), [(0, np.s_[::-1, :]), (1, np.s_[::-1, ::-1]), (3, np.s_[:, ::-1])])
def test_other_amplifiers_are_read_from_their_own_corner(amp: int, turn: tuple[slice, slice]) -> None:
    sci = np.random.default_rng(4).normal(4000, 20, (2068, 24)).astype(F)
    times, sensitivities = (37.290251, 36.180001, 0, 42.461249), (2.9188919e-3, 10.805754e-3, 0, 3.8596253e-3)
    expected = spelt_out(sci[turn], times[amp], sensitivities[amp])[turn]
    correct_bias_shift(sci, amp, halves=False, where="x")
    assert np.abs(sci - expected).max() < 1e-3


def test_small_frames_are_refused_where_calacs_crashes() -> None:
    with pytest.raises(EngineError, match="needs 2067 lines"):
        correct_bias_shift(np.zeros((116, 304), F), 0, halves=True, where="x")


def test_cross_talk_adds_the_mirror_and_the_right_half_sees_the_corrected_left() -> None:
    sci = np.array([[1e4, 0, 0, 2e4]], F)
    correct_cross_talk(sci)
    left = F(1e4) + F(2e4 * 9.1e-5)
    assert sci[0].tolist() == [left, 0, 0, F(2e4) + F(float(left) * 9.1e-5)]


def test_each_amplifier_is_seen_from_its_corner() -> None:
    sci = np.arange(12, dtype=F).reshape(3, 4)
    assert [amplifier_view(sci, amp)[0, 0] for amp in range(4)] == [8, 11, 0, 3]
    assert [amplifier_view(sci, amp).shape for amp in range(4)] == [(3, 2)] * 4


def striped(seed: int, stripe: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two chips with a level for each amplifier, noise, and a stripe in every row as seen from the amplifiers."""
    rng = np.random.default_rng(seed)
    rows, columns = stripe.size, 60
    chips = []
    for amps in ((2, 3), (0, 1)):
        chip = rng.normal(0, 0.5, (rows, 2 * columns)).astype(F)
        for amp in amps:
            amplifier_view(chip, amp)[:] += F(4000 + 100 * amp) + stripe[:, None].astype(F)
        chips.append(chip)
    return chips[0], chips[1]


def test_level_and_stripes_are_taken_out_of_all_four_amplifiers() -> None:
    stripe = np.random.default_rng(5).normal(0, 3, 80)
    chip2, chip1 = striped(6, stripe)
    found = subtract_stripes(chip2, chip1)
    assert found.levels == pytest.approx([4000 + 100 * amp for amp in range(4)], abs=2)
    assert found.fixed + found.skipped == 80
    # The first row is never used.
    assert found.skipped == 1
    for amp in range(4):
        view = amplifier_view(chip1 if amp < 2 else chip2, amp)
        assert view[2:, 24:].std() < 0.8
        assert abs(view[2:, 24:].mean()) < 1


def test_rows_beside_saturated_pixels_are_left_alone() -> None:
    chip2, chip1 = striped(7, np.zeros(80))
    for amp in range(3):
        amplifier_view(chip1 if amp < 2 else chip2, amp)[40, 24] = 90000
    assert subtract_stripes(chip2, chip1).skipped == 2


@given(st.integers(0, 2**31), st.integers(1, 5))
def test_statistics_do_not_depend_on_how_an_image_is_cut_into_blocks(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    sci, err = rng.normal(50, 20, (10, 8)).astype(F), np.abs(rng.normal(5, 2, (10, 8))).astype(F)
    dq = (rng.random((10, 8)) < 0.2).astype(np.int16) * np.int16(4)
    whole, parts = np.zeros(TOTALS), np.zeros(TOTALS)
    accumulate(sci, err, dq, 31743, whole)
    for first in range(0, 10, size):
        accumulate(sci[first : first + size], err[first : first + size], dq[first : first + size], 31743, parts)
    assert whole.tobytes() == parts.tobytes()


def test_statistics_leave_out_flagged_pixels_and_errors_that_are_not_positive() -> None:
    sci, err = np.array([[1, 2, 9, 9]], F), np.array([[1, 4, 0, 1]], F)
    totals = np.zeros(TOTALS)
    accumulate(sci, err, np.array([[0, 1024, 0, 4]], np.int16), 31743, totals)
    sci_cards: Cards = []
    err_cards: Cards = []
    put_statistics(sci_cards, err_cards, totals)
    values = {card[:8].strip(): float(card[10:30]) for card in sci_cards}
    assert values == {
        "NGOODPIX": 2,
        "GOODMIN": 1,
        "GOODMAX": 2,
        "GOODMEAN": 1.5,
        "SNRMIN": 0.5,
        "SNRMAX": 1,
        "SNRMEAN": 0.75,
    }
    assert [card[:8].strip() for card in err_cards] == ["NGOODPIX", "GOODMIN", "GOODMAX", "GOODMEAN"]


def test_an_image_without_good_pixels_has_their_number_only() -> None:
    sci_cards: Cards = []
    err_cards: Cards = []
    put_statistics(sci_cards, err_cards, np.zeros(TOTALS))
    assert [card[:8] for card in (*sci_cards, *err_cards)] == ["NGOODPIX"] * 2
