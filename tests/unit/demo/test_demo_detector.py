"""The electronics, run forwards, against calacs's correction, run backwards."""

import math

import numpy as np
import pytest

from acsrecipe.demo import detector
from acsrecipe.demo.detector import dark_seconds, is_bias_shifted, read_out
from acsrecipe.demo.geometry import MINI, PRESCAN, cut_windows
from acsrecipe.demo.modes import MODES
from acsrecipe.demo.streams import open_stream

TAU = {"A": 37.290251, "B": 36.180001, "C": 37.867770, "D": 42.461249}
SENSITIVITY = {"A": 2.9188919e-3, "B": 10.805754e-3, "C": 12.432145e-3, "D": 3.8596253e-3}


def correct_bias_shift(amp_image, amp):
    """Apply the formula of calacs pixel by pixel, with the mean of the overscan corner for gap pixels."""
    ny, nx = amp_image.shape
    corner = amp_image[-8:, 13:23].mean()
    padded = np.full((ny, nx + 146), corner)
    padded[:, :nx] = amp_image
    factor = 1 - math.exp(-1 / (TAU[amp] * 1000 / 22))
    before = 0.3 * corner
    out = np.empty(padded.size)
    for i, x in enumerate(padded.ravel()):
        after = x * factor * 0.3 + (1 - factor) * before
        out[i] = (x - SENSITIVITY[amp] * after) - (10 / 22) * (after - before)
        before = after
    return out.reshape(padded.shape)[:, :nx]


@pytest.mark.parametrize("amp", "ABCD")
def test_calacs_takes_the_simulated_bias_shift_out_again(amp):
    rng = np.random.default_rng(5)
    level = 4500 + 5 * rng.standard_normal((60, 70))
    level[3, 40:45] += 60000
    level[20:40, 30] += 3000
    shifted = detector._shift_bias(level.astype(np.float32), amp)
    back = correct_bias_shift(shifted.astype(np.float64), amp)
    # A constant offset goes with the bias level; float32 leaves a few thousandths.
    difference = back - level
    assert np.ptp(shifted - level) > 3, "there was nothing to correct"
    assert np.ptp(difference - np.median(difference)) < 0.3
    assert np.std(difference) < 0.05


def test_pixels_come_out_where_they_were_collected():
    mode = MODES["pre_sub"]
    (window,) = cut_windows(MINI, mode.ccdamp, mode.readout)
    collected = np.zeros(MINI.chip_shape, dtype=np.float32)
    collected[10, 20] = 20000.0
    bias = np.zeros(MINI.raw_shape, dtype=np.float32)
    pixels = read_out(collected, bias, window, mode, None, open_stream(1, "test"))
    assert pixels.dtype == np.uint16
    assert np.unravel_index(pixels.argmax(), pixels.shape) == (10, PRESCAN + 20)
    gain = 2 * detector.GAIN_PER_COMMANDED["C"]
    assert pixels[10, PRESCAN + 20] == pytest.approx(detector.BIAS_LEVEL["C"] + 20000 / gain, abs=15)
    assert np.median(pixels) == pytest.approx(detector.BIAS_LEVEL["C"], abs=1)


def test_the_converter_saturates_at_65535():
    mode = MODES["pre_gain1"]
    chip2, _ = cut_windows(MINI, mode.ccdamp, mode.readout)
    collected = np.full(MINI.chip_shape, 1e5, dtype=np.float32)
    bias = np.zeros(MINI.raw_shape, dtype=np.float32)
    assert read_out(collected, bias, chip2, mode, None, open_stream(1, "test")).max() == 65535


def test_stripes_are_the_same_in_both_chips_seen_from_their_amplifiers():
    mode = MODES["post_dth"]
    bias = np.zeros(MINI.raw_shape, dtype=np.float32)
    dark = np.zeros(MINI.chip_shape, dtype=np.float32)
    stripes = 100.0 * np.arange(MINI.raw_shape[0] + 1)
    chip2, chip1 = (
        read_out(dark, bias, window, mode, stripes, open_stream(1, window.chip))
        for window in cut_windows(MINI, "ABCD", "full")
    )
    # Row 0 of chip 2 and the top row of chip 1 are read first.
    up, down = np.median(chip2, axis=1), np.median(chip1, axis=1)[::-1]
    assert np.allclose(up, down, atol=150)
    assert up[-1] > up[0] + 4000


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [("pre_dth", 500.0), ("post_dth", 510.5), ("post_sub2k", 502.7), ("post_sub1k_old", 500.0), ("post_bias", 2.7)],
)
def test_dark_seconds_have_calacs_overhead_where_it_adds_one(mode, seconds):
    assert dark_seconds(MODES[mode]) == pytest.approx(seconds)


def test_only_true_size_modes_are_bias_shifted():
    shifted = {name for name, mode in MODES.items() if is_bias_shifted(mode)}
    assert shifted == {name for name, mode in MODES.items() if mode.true_size} == {"post_full", "post_sub2k_full"}
