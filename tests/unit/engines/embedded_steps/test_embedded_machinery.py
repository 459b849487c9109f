"""How the engine compiles, uses memory again, and cuts images into blocks."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.engines.embedded.buffers import Buffers
from acsrecipe.engines.embedded.chip import blocks
from acsrecipe.engines.embedded.compiled import compiled


def test_without_a_folder_for_compiled_code_it_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def no_folder(*functions: object, **options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*functions, **options)

    monkeypatch.setattr(numba, "njit", no_folder)

    def double(a: float) -> float:
        return 2 * a

    assert compiled(double)(21.0) == 42.0


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
