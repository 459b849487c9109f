"""Quality flags: converter saturation, bad pixels, full well, sink pixels; gain, noise, dark time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acsrecipe.engines.embedded.dark import subtract_dark, total_darktime
from acsrecipe.engines.embedded.dqi import flag_converter_saturation, flag_runs
from acsrecipe.engines.embedded.flash import subtract_flash
from acsrecipe.engines.embedded.frame import Observation
from acsrecipe.engines.embedded.gain import convert_to_electrons, gains_of
from acsrecipe.engines.embedded.noise import estimate_noise, readnoise_of
from acsrecipe.engines.embedded.saturation import flag_full_well
from acsrecipe.engines.embedded.sink import flag_sinks
from acsrecipe.engines.embedded.tables import AmplifierSplit, CcdParameters, amplifier_split
from acsrecipe.errors import EngineError

F = np.float32
SEEN = Observation(
    *("jdmo01a7q", "WFC", "IMAGING", "CLAMP", "F606W", "CLEAR2L"),
    *(500.0, 56800.0, False, "ABCD", 2.0, (3, 3, 3, 3), 0.0, "", 500.0, "FIELD", 0.0, 2),
)
CCD = CcdParameters((2.0, 3.0, 4.0, 5.0), (5.0, 6.0, 7.0, 8.0), (0.0,) * 4, 8, 16, 65534, 7.0, 3.0, "", "")


def test_the_converter_is_saturated_from_its_limit_on() -> None:
    dq = np.zeros((1, 3), np.int16)
    flag_converter_saturation(np.array([[65533, 65534, 65535]], F), dq, F(65534))
    assert dq.tolist() == [[0, 2048, 2048]]


def test_runs_of_bad_pixels_are_cut_at_the_edges() -> None:
    dq = np.zeros((3, 4), np.int16)
    columns = [np.array(v, np.int64) for v in ([-2, 3, 0, 9], [0, -1, 2, 0], [4, 9, 2, 3], [1, 2, 1, 1])]
    flag_runs(dq, *columns, np.array([4, 16, 128, 256], np.int16))
    assert dq.tolist() == [[4, 4, 0, 16], [0, 0, 0, 16], [128, 128, 0, 16]]


def test_full_well_is_exceeded_not_reached_and_only_in_the_columns_asked_for() -> None:
    dq = np.zeros((1, 4), np.int16)
    flag_full_well(np.array([[90, 80, 81, 99]], F), dq, np.full((1, 4), 80, F), 1, 3)
    assert dq.tolist() == [[0, 0, 256, 0]]


def sink_column(values: list[float], signal: list[float], *, upwards: bool) -> list[int]:
    dq = np.zeros((len(values), 1), np.int16)
    flag_sinks(np.array(signal, F)[:, None], dq, np.array(values, F)[:, None], upwards)
    return dq[:, 0].tolist()


def test_a_sink_flags_its_downstream_neighbour_itself_and_its_tail() -> None:
    values = [0, -1, -30, 999, 60, 50, 0]
    assert sink_column(values, [10] * 2 + [55] + [10] * 4, upwards=True) == [0, 1024, 1024, 1024, 1024, 0, 0]


def test_a_tail_ends_where_the_signal_at_the_sink_is_enough() -> None:
    values = [-30, 999, 40, 60]
    assert sink_column(values, [50, 0, 0, 0], upwards=True) == [1024, 1024, 0, 0]


def test_tails_run_away_from_the_amplifier() -> None:
    values = [0, 60, 999, -30]
    assert sink_column(values, [0, 0, 0, 50], upwards=False) == [0, 1024, 1024, 1024]
    assert sink_column(values, [0, 0, 0, 50], upwards=True) == [0, 0, 0, 1024]


def test_each_amplifier_has_its_gain_and_read_noise() -> None:
    sci, err = np.full((2, 4), 10, F), np.zeros((2, 4), F)
    split = AmplifierSplit(2, 2, 3)
    convert_to_electrons(sci, split.boundary, *gains_of(CCD, split, "x"))
    assert sci[0].tolist() == [40, 40, 50, 50]
    estimate_noise(sci, err, split.boundary, *readnoise_of(CCD, split, "x"), False)
    assert err[0] == pytest.approx([np.sqrt(40 + 49)] * 2 + [np.sqrt(50 + 64)] * 2)


@pytest.mark.parametrize(("boundary", "electrons"), [(0, [3, 3, 3]), (1, [2, 3, 3]), (4, [2, 2, 2])])
def test_the_boundary_may_lie_at_the_edge_of_a_plane_or_beyond(boundary: int, electrons: list[float]) -> None:
    plane = np.ones((1, 3), F)
    convert_to_electrons(plane, boundary, F(2), F(3))
    assert plane.tolist() == [electrons]


def test_negative_signal_has_read_noise_only_and_bias_frames_nothing_else() -> None:
    err = np.full((1, 2), 3, F)
    estimate_noise(np.array([[-50, 0]], F), err, 2, F(7), F(8), False)
    assert err == pytest.approx(np.sqrt(49 + 9))
    estimate_noise(np.array([[9e3, 9e3]], F), err, 1, F(7), F(8), True)
    assert err.tolist() == [[7, 8]]


def test_an_amplifier_without_gain_or_read_noise_is_an_error_that_names_it() -> None:
    ccd = replace(CCD, gain=(0.0, 0.0, 0.0, 0.0), readnoise=(0.0, 0.0, 0.0, 0.0))
    with pytest.raises(EngineError, match="no gain for amplifier C"):
        gains_of(ccd, AmplifierSplit(1, 2, 3), "x")
    with pytest.raises(EngineError, match="no read noise for amplifier D"):
        readnoise_of(ccd, AmplifierSplit(0, 2, 3), "x")


@pytest.mark.parametrize(
    ("ampx", "ltv1", "width", "boundary"),
    [(2048, 24.0, 4144, 2072), (4144, 24.0, 4144, 4144), (0, -2024.0, 2072, 0), (2048, 0.0, 4096, 2048)],
)
def test_the_boundary_between_amplifiers_moves_with_the_leading_overscan(
    ampx: int, ltv1: float, width: int, boundary: int
) -> None:
    split = amplifier_split(replace(CCD, ampx=ampx), 2, (ltv1, 0.0), (10, width))
    assert (split.boundary, split.left, split.right) == (boundary, 2, 3)


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"expstart": 53800.0}, 500.0),
        ({}, 503.0),
        ({"flashdur": 5.0, "flashsta": "SUCCESSFUL"}, 507.0),
        ({"flashdur": 5.0, "flashsta": "ABORTED"}, 503.0),
        ({"subarray": True, "aperture": "WFC1A-2K"}, 500.0),
        ({"subarray": True, "aperture": "WFC1A-2K", "expstart": 58000.0}, 503.0),
        ({"subarray": True, "aperture": "WFC2-POL0V", "expstart": 58000.0}, 500.0),
    ],
)
def test_the_dark_time_has_its_overhead_by_epoch_and_aperture(changes: dict[str, object], seconds: float) -> None:
    assert total_darktime(replace(SEEN, **changes), CCD) == seconds


def test_dark_and_flash_are_scaled_and_their_means_taken_over_good_pixels() -> None:
    rate, nothing = np.array([[1, 2, 30]], F), np.zeros((1, 3), F)
    bad = np.array([[0, 0, 4]], np.int16)
    sci, err, dq = np.full((1, 3), 100, F), np.full((1, 3), 3, F), np.zeros((1, 3), np.int16)
    totals = np.zeros(2)
    subtract_dark(sci, err, dq, rate, nothing + F(0.4), bad, 10.0, 31743, totals)
    assert sci.tolist() == [[90, 80, -200]]
    assert (err == 5).all()
    assert dq.tolist() == [[0, 0, 4]]
    assert totals.tolist() == [2, 30]
    lines = np.zeros(2, F)
    subtract_flash(sci, err, dq, rate, nothing, bad, 2.0, 31743, lines)
    assert sci.tolist() == [[88, 76, -260]]
    assert lines[0] / lines[1] == pytest.approx(3)
