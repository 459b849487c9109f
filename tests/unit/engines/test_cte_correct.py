"""The correction of whole frames: amps, orientation, threads, progress, cancelling, and that it undoes a readout."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from acsrecipe.engines.embedded.cte import workers
from acsrecipe.engines.embedded.cte.correct import SM4, ChipFrame, correct_cte, oriented, sensitivity
from acsrecipe.engines.embedded.cte.forward import trail_amp
from acsrecipe.engines.embedded.cte.inversion import ease_cosmic_rays, fill_traps
from acsrecipe.engines.embedded.cte.table import CteTable, TrapSet
from acsrecipe.engines.embedded.cte.workers import CteProgress
from acsrecipe.errors import EngineError, InterruptedRunError

NOISE = dict.fromkeys("ABCD", 4.5)


def some_traps(count: int, *, models: int = 3, shifts: int = 3) -> TrapSet:
    n = np.arange(1, 21)
    part = (1 / n) / (1 / n).sum()
    return TrapSet(
        level=np.round(3 * np.arange(1, count + 1) ** 1.8),
        size=np.full(count, 30.0),
        release=np.tile(part, (count, 1)).astype(np.float32).astype(float),
        cumulated=np.tile(1 - part.cumsum(), (count, 1)).astype(np.float32).astype(float),
        column=np.arange(8192),
        sensitivity=np.ones((8192, 4)),
        date0=52000.0,
        date1=57000.0,
        length=20,
        models=models,
        shifts=shifts,
    )


def a_cte_table(*, ease: bool = True) -> CteTable:
    serial = {amp: some_traps(8) for amp in "ABCD"}
    return CteTable("Par/Serial PixelCTE 2023", "3.0", -10.0, ease, some_traps(40), serial)


def a_scene(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scene = np.full(shape, 40.0)
    hit = rng.random(shape) < 0.01
    scene[hit] += rng.exponential(2000, hit.sum())
    return scene.astype(np.float32)


def a_chip(amps: str, seed: int = 0) -> ChipFrame:
    rng = np.random.default_rng(seed)
    sci = a_scene((70, 90), seed) + rng.normal(0, 4.5, (70, 90)).astype(np.float32)
    return ChipFrame(sci, np.full((70, 90), 5, np.float32), amps, 45 if len(amps) == 2 else 0)


@pytest.mark.parametrize("expstart", [54000.0, 56000.0])
def test_threads_and_the_plain_kernel_give_the_same_bits(expstart: float) -> None:
    chips = [a_chip("CD", 1), a_chip("AB", 2)]
    answers = [
        correct_cte(chips, a_cte_table(), expstart=expstart, read_noise=NOISE, threads=threads, plain=plain)
        for threads, plain in ((1, False), (3, False), (2, True))
    ]
    for other in answers[1:]:
        for mine, theirs in zip(answers[0], other, strict=True):
            for plane, expected in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(plane, expected)
                assert plane.dtype == np.float32
    assert np.any(answers[0][0][0] != chips[0].sci)
    assert np.all(answers[0][0][1] >= 5)


def test_the_input_is_not_changed() -> None:
    chip = a_chip("CD")
    sci, err = chip.sci.copy(), chip.err.copy()
    correct_cte([chip], a_cte_table(), expstart=56000.0, read_noise=NOISE)
    np.testing.assert_array_equal(chip.sci, sci)
    np.testing.assert_array_equal(chip.err, err)


@pytest.mark.parametrize(
    ("amp", "flip_y", "flip_x"), [("C", False, False), ("D", False, True), ("A", True, False), ("B", True, True)]
)
def test_an_amp_is_corrected_as_amp_c_would_be_mirrored(amp: str, flip_y: bool, flip_x: bool) -> None:
    """Read noise and traps being equal, each amp's answer is the mirror of C's."""
    table = a_cte_table()
    chip = a_chip("C", 5)
    turn = (slice(None, None, -1 if flip_y else 1), slice(None, None, -1 if flip_x else 1))
    mirrored = ChipFrame(chip.sci[turn].copy(), chip.err[turn].copy(), amp)
    expected = correct_cte([chip], table, expstart=56000.0, read_noise=NOISE)[0]
    answer = correct_cte([mirrored], table, expstart=56000.0, read_noise=NOISE)[0]
    for plane, other in zip(answer, expected, strict=True):
        np.testing.assert_array_equal(plane[turn], other)


@pytest.mark.parametrize("amp", ["A", "B", "C", "D"])
@pytest.mark.parametrize("serial", [False, True])
def test_lines_begin_at_the_readout(amp: str, serial: bool) -> None:
    frame = np.arange(12, dtype=np.float32).reshape(3, 4)
    lines = oriented(amp, frame, serial)
    y, x = (0 if amp in "CD" else 2), (0 if amp in "AC" else 3)
    assert frame[y, x] in lines[:, 0]
    assert lines.shape == ((3, 4) if serial else (4, 3))
    assert np.shares_memory(lines, frame)
    beside = frame[y, 1 if amp in "AC" else 2] if serial else frame[1, x]
    where = int(np.flatnonzero(lines[:, 0] == frame[y, x])[0])
    assert lines[where, 1] == beside


def test_columns_take_their_sensitivity_from_the_order_c_d_a_b() -> None:
    traps = some_traps(3)
    traps.sensitivity[:, 0] = np.arange(8192)
    assert sensitivity(traps, "C", 0, 2048)[[0, 2047], 0].tolist() == [0, 2047]
    assert sensitivity(traps, "D", 2048, 2048)[[0, 2047], 0].tolist() == [2048, 4095]
    assert sensitivity(traps, "A", 0, 2048)[[0, 2047], 0].tolist() == [4096, 6143]
    assert sensitivity(traps, "B", 2048, 2048)[[0, 2047], 0].tolist() == [6144, 8191]


def test_the_trap_map_interpolates_between_its_four_nodes() -> None:
    traps = np.empty(2048, np.float32)
    fill_traps(traps, np.array([1.0, 2.0, 4.0, 8.0]), 0.5)
    assert traps[0] == np.float32(1.0 / 2048 * 0.5)
    assert traps[256] == np.float32(1.5 * (257 / 2048) * 0.5)
    assert traps[1024] == np.float32(4.0 * (1025 / 2048) * 0.5)
    assert traps[2047] == np.float32((4.0 + 4.0 * (2.999 - 2)) * 1.0 * 0.5)


def test_traps_from_a_cosmic_ray_to_its_hole_lose_a_quarter() -> None:
    traps = np.ones(40, np.float32)
    observed = np.full(40, 5.0)
    model = observed.copy()
    model[20], model[23] = 400.0, -11.0
    assert ease_cosmic_rays(traps, model, observed, -10.0)
    assert np.flatnonzero(traps != 1).tolist() == [20, 21, 22, 23]
    assert set(traps[20:24].tolist()) == {0.75}
    assert not ease_cosmic_rays(np.ones(40, np.float32), observed, observed, -10.0)
    for holes in ([-6.1, -6.1], [-5.1, -5.1, -5.1]):
        model = observed.copy()
        model[20 : 20 + len(holes)] = holes
        observed_zero = np.zeros(40)
        assert ease_cosmic_rays(np.ones(40, np.float32), np.where(model < 0, model, 0), observed_zero, -10.0)


def test_it_recovers_what_a_readout_with_the_same_traps_has_trailed() -> None:
    table = a_cte_table(ease=False)
    scene = a_scene((200, 120), 3)
    trailed = scene.copy()
    for serial in (False, True):
        traps = table.serial["C"] if serial else table.parallel
        lines = oriented("C", trailed, serial)
        fraction = (56000.0 - traps.date0) / (traps.date1 - traps.date0)
        lines[...] = trail_amp(lines, traps, sensitivity(traps, "C", 0, len(lines)), fraction=fraction)
    frame = ChipFrame(trailed, np.ones_like(trailed), "C")
    answer = correct_cte([frame], table, expstart=56000.0, read_noise={"C": 0.05})[0][0]
    before, after = np.abs(trailed - scene), np.abs(answer - scene)
    assert before.max() > 30
    assert after.max() < before.max() / 20
    assert after.sum() < before.sum() / 100


def test_progress_rises_from_0_to_1_and_names_amp_and_direction() -> None:
    seen: list[CteProgress] = []
    chips = [a_chip("CD"), a_chip("AB")]
    correct_cte(chips, a_cte_table(), expstart=SM4, read_noise=NOISE, threads=2, report=seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert fractions == sorted(fractions)
    order = list(dict.fromkeys((progress.amp, progress.direction) for progress in seen))
    assert order == [(amp, direction) for amp in "CDAB" for direction in ("serial", "parallel")]


def test_the_time_left_is_estimated_from_the_first_columns_and_then_from_finished_amps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: now))
    seen: list[CteProgress] = []

    def work(_first: int, _last: int) -> None:
        nonlocal now
        now += 1.0

    with workers.Workers(1, 40, seen.append, None) as crew:
        for amp in "CD":
            crew.begin(amp, "parallel")
            crew.spread(20, work, size=10)  # smoothed: 2 s
            assert seen[-1].seconds_left == (None if amp == "C" else 4.0)
            crew.spread(20, work, size=5, counts=True)  # inverted: 4 s
            assert seen[-1].seconds_left == (6.0 if amp == "C" else 0.0)


def test_cancelling_stops_within_a_second_and_leaves_no_thread() -> None:
    rng = np.random.default_rng(0)
    sci = rng.normal(1000, 30, (2048, 1024)).astype(np.float32)
    frame = ChipFrame(sci, np.ones_like(sci), "C")
    asked: list[float] = []

    def cancelled() -> bool:
        asked.append(time.monotonic())
        return asked[-1] - asked[0] > 0.3

    started = threading.active_count()
    with pytest.raises(InterruptedRunError, match="cancelled"):
        correct_cte(
            [frame], a_cte_table(), expstart=54000.0, read_noise=NOISE, threads=2, cancelled=cancelled, plain=True
        )
    assert time.monotonic() - asked[-1] < 1.0
    assert threading.active_count() == started


def test_a_listener_that_raises_stops_the_work_even_while_it_smooths() -> None:
    frame = ChipFrame(np.full((600, 600), 0.5, np.float32), np.ones((600, 600), np.float32), "C")
    started = threading.active_count()
    calls = 0

    def listen(progress: CteProgress) -> None:
        nonlocal calls
        calls += 1
        assert progress.fraction == 0.0
        if calls == 5:
            message = "enough"
            raise InterruptedRunError(message)

    with pytest.raises(InterruptedRunError, match="enough"):
        correct_cte([frame], a_cte_table(), expstart=54000.0, read_noise=NOISE, report=listen)
    assert threading.active_count() == started


def test_an_error_names_the_amp() -> None:
    with pytest.raises(EngineError, match="no read noise for amp C"):
        correct_cte([a_chip("C")], a_cte_table(), expstart=54000.0, read_noise={})
    narrow = ChipFrame(np.ones((10, 8), np.float32), np.ones((10, 8), np.float32), "CD", 7)
    with pytest.raises(EngineError, match="amp D has 1 x 10 pixels"):
        correct_cte([narrow], a_cte_table(), expstart=54000.0, read_noise=NOISE)
