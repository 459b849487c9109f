"""How the engine compiles, uses memory again, and cuts images into blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.engines.embedded import compiled as compiled_module
from acsrecipe.engines.embedded import compiling
from acsrecipe.engines.embedded.buffers import Buffers
from acsrecipe.engines.embedded.chip import blocks
from acsrecipe.engines.embedded.compiled import Kernel, bound, compiled
from acsrecipe.errors import EngineError


@compiled
def half(value: float) -> float:
    return value * FACTOR


@compiled
def halve(values: np.ndarray) -> None:
    for i in range(values.size):
        values[i] = half(values[i])


FACTOR = 0.5


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compiled_module, "_folder", lambda _beside: tmp_path)
    return tmp_path


def fresh(loop: object) -> Kernel:
    """Give a loop as another process would see it: nothing loaded."""
    assert isinstance(loop, Kernel)
    return Kernel(loop.function)


def test_machine_code_is_made_once_and_then_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([2.0, 4.0])
    fresh(halve)(values)
    assert values.tolist() == [1, 2]
    (kept,) = folder.iterdir()
    assert kept.name.startswith("test_embedded_machinery.halve-")
    monkeypatch.setattr(compiling, "compile_kernel", None)
    fresh(halve)(values)
    assert values.tolist() == [0.5, 1]


def test_code_for_other_types_and_other_constants_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh(halve)(np.zeros(2))
    fresh(halve)(np.zeros(2, np.float32))
    fresh(halve)(np.zeros(4)[::2])
    assert len(list(folder.iterdir())) == 3
    monkeypatch.setitem(half.function.__globals__, "FACTOR", 0.25)
    values = np.array([4.0])
    compiling.dispatcher.cache_clear()
    fresh(halve)(values)
    compiling.dispatcher.cache_clear()
    assert values.tolist() == [1]
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda _: b"", lambda content: content[:-1] + b"x"])
def test_damaged_machine_code_is_never_run(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    fresh(halve)(np.zeros(2))
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    values = np.array([3.0])
    fresh(halve)(values)
    assert values.tolist() == [1.5]
    assert len(kept.read_bytes()) > 200
    assert kept.read_bytes() != damage(whole)


def test_machine_code_that_can_not_be_kept_is_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiled_module, "_folder", lambda _beside: tmp_path / "file")
    assert fresh(half)(42.0) == 21.0


def test_arrays_of_any_layout_are_taken_as_they_lie(folder: Path) -> None:
    plane = np.arange(24.0).reshape(4, 6)
    expected = plane.copy()
    expected[1:3, 2:5] *= 0.5

    def halve_plane(part: np.ndarray) -> int:
        for j in range(part.shape[0]):
            for i in range(part.shape[1]):
                part[j, i] *= 0.5
        return part.shape[1]

    assert Kernel(halve_plane)(plane[1:3, 2:5][::-1]) == 3
    assert (plane == expected).all()


def test_a_loop_that_makes_arrays_is_refused_for_they_need_numba(folder: Path) -> None:
    def total(values: np.ndarray) -> np.ndarray:
        return np.zeros(values.size)

    def scratch(values: np.ndarray) -> float:
        return np.zeros(values.size)[0]

    for loop in (total, scratch):
        with pytest.raises(EngineError, match=f"the loop {loop.__name__} can't be compiled for f8") as caught:
            Kernel(loop)(np.zeros(2))
        assert "must not make arrays" in str(caught.value.hint)
    assert list(folder.iterdir()) == []


def test_stored_pixels_are_taken_as_integers_never_as_floats_in_the_wrong_order(folder: Path) -> None:
    with pytest.raises(TypeError, match="expected native or stored"):
        fresh(halve)(np.zeros(2, ">f8"))
    assert list(folder.iterdir()) == []


def test_default_values_belong_to_what_machine_code_follows_from() -> None:
    def scale(value: float, factor: float = 2.0) -> float:
        return value * factor

    before = list(compiled_module.ingredients(scale, set()))
    scale.__defaults__ = (3.0,)
    assert list(compiled_module.ingredients(scale, set())) != before


def test_code_compiled_in_an_unusual_way_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.numba.config, "BOUNDSCHECK", 1)
    values = np.array([2.0])
    fresh(halve)(values)
    assert values.tolist() == [1]
    assert list(folder.iterdir()) == []


def test_numba_that_is_told_not_to_compile_is_an_error_that_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling.numba.config, "DISABLE_JIT", 1)
    with pytest.raises(EngineError, match="NUMBA_DISABLE_JIT"):
        fresh(halve)(np.array([2.0]))


def test_lines_of_a_bound_loop_are_those_asked_for(folder: Path) -> None:
    def add(first: int, last: int, plane: np.ndarray, number: float) -> None:
        for j in range(first, last):
            for i in range(plane.shape[1]):
                plane[j, i] += number

    plane = np.zeros((4, 2))
    run = bound(compiled(add), plane, 2.5)
    run(1, 3)
    run(2, 3)
    assert plane[:, 0].tolist() == [0, 2.5, 5, 0]


def test_multiplication_and_addition_are_rounded_one_after_the_other() -> None:
    """A fused multiply-add would give another last bit, and another pixel than calacs's."""

    def combine(a: np.ndarray, b: np.ndarray, c: np.ndarray, out: np.ndarray) -> None:
        for i in range(a.size):
            out[i] = a[i] * b[i] + c[i]

    rng = np.random.default_rng(1)
    a, b, c = (rng.normal(0, 1, 10000).astype(np.float32) for _ in range(3))
    out = np.empty_like(a)
    compiled(combine)(a, b, c, out)
    assert out.tobytes() == (a * b + c).tobytes()


def test_arrays_given_back_are_handed_out_again_once() -> None:
    buffers = Buffers()
    first = buffers.take((2, 3), np.float32)
    buffers.give_back(first, first)
    assert buffers.take((2, 3), np.float32) is first
    assert buffers.take((2, 3), np.float32) is not first
    assert buffers.take((2, 3), np.int16).dtype == np.int16


def test_views_are_not_kept_for_their_owner_may_still_use_them() -> None:
    buffers = Buffers()
    view = np.zeros((4, 3), np.float32)[:2]
    buffers.give_back(view)
    assert not np.shares_memory(buffers.take((2, 3), np.float32), view)


@given(st.integers(0, 500))
def test_blocks_cover_every_line_once(lines: int) -> None:
    covered = [line for first, last in blocks(lines) for line in range(first, last)]
    assert covered == list(range(lines))
