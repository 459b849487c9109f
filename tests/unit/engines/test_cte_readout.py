"""The fast readout gives the bits of the plain one, and the plain one is the rule in its docstring."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acsrecipe.engines.embedded.cte.bits import CHUNK, LANES
from acsrecipe.engines.embedded.cte.inversion import aligned, prepare_traps
from acsrecipe.engines.embedded.cte.readout import readout, readout_plain


class Traps(NamedTuple):
    q: np.ndarray
    size: np.ndarray
    release: np.ndarray
    cumulated: np.ndarray
    length: int


def by_the_rule(pixels: np.ndarray, traps: np.ndarray, table: Traps) -> np.ndarray:
    """Read out once, in Python floats, as the docstring of `readout` has it."""
    pixels = [float(v) for v in pixels]
    for w in reversed(range(len(table.q))):
        n, held = table.length, 0.0
        for i, pixel in enumerate(pixels):
            if i and float(traps[i]) < float(traps[i - 1]):
                held *= float(traps[i]) / float(traps[i - 1])
            inside = n < table.length
            release = float(table.release[w, CHUNK + n]) * held if inside else 0.0
            if pixel >= table.q[w]:
                rest = float(table.cumulated[w, CHUNK + n]) * held if inside else 0.0
                taken = float(table.size[w]) * float(traps[i])
                pixels[i] += release + rest - taken
                n, held = 0, taken
            else:
                pixels[i] += release
                n += inside
    return np.array(pixels)


def plain(pixels: np.ndarray, traps: np.ndarray, table: Traps) -> np.ndarray:
    answer = pixels.copy()
    readout_plain(
        answer, len(pixels), traps.astype(float), table.q, table.size, table.release, table.cumulated, table.length
    )
    return answer


def fast(pixels: np.ndarray, traps: np.ndarray, table: Traps) -> np.ndarray:
    rows = len(pixels)
    blocks = -(-rows // LANES)
    padded = blocks * LANES
    column, wide, lower, ratio = (aligned(padded + CHUNK) for _ in range(4))
    falls = np.empty(padded + 1, np.int32)
    prepare_traps(traps.astype(np.float32), wide, lower, ratio, falls)
    column[:] = -np.inf
    column[:rows] = pixels
    bounds = np.full((2, -(-blocks // LANES) * LANES), -np.inf)
    peak = np.abs(table.release).max(axis=1)
    loss = table.size * traps.max() * (1.001 - table.cumulated.min(axis=1))
    readout(
        column,
        bounds,
        blocks,
        wide,
        lower,
        ratio,
        falls,
        table.q,
        table.size,
        table.release,
        table.cumulated,
        peak,
        loss,
        table.length,
    )
    assert np.all(column[rows:] == -np.inf)
    return column[:rows].copy()


def a_table(rng: np.random.Generator, *, traps: int, length: int, ordered: bool = True) -> Traps:
    q = rng.uniform(1, 400, traps)
    release = np.zeros((traps, length + 2 * CHUNK))
    cumulated = np.zeros_like(release)
    part = np.sort(rng.random((traps, length)))[:, ::-1]
    part /= part.sum(axis=1, keepdims=True)
    release[:, CHUNK : CHUNK + length] = part.astype(np.float32)
    cumulated[:, CHUNK : CHUNK + length] = (1 - part.cumsum(axis=1)).astype(np.float32)
    return Traps(np.sort(q) if ordered else q, rng.uniform(0.1, 3, traps) / 7, release, cumulated, length)


def a_column(
    rng: np.random.Generator, rows: int, *, sky: float, bright: float, falls: float
) -> tuple[np.ndarray, np.ndarray]:
    pixels = rng.normal(sky, 7, rows)
    hit = rng.random(rows) < bright
    pixels[hit] += rng.exponential(150, hit.sum())
    traps = ((1 + np.arange(rows)) / rows).astype(np.float32)
    fallen = rng.random(rows) < falls
    traps[fallen] *= np.float32(0.75)
    return pixels, traps


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 400),
    length=st.integers(1, 70),
    sky=st.sampled_from([-20.0, 0.0, 30.0, 150.0]),
    bright=st.sampled_from([0.0, 0.01, 0.1, 0.5]),
    falls=st.sampled_from([0.0, 0.02, 0.3]),
    ordered=st.booleans(),
)
def test_fast_plain_and_rule_give_the_same_bits(
    seed: int, rows: int, length: int, sky: float, bright: float, falls: float, ordered: bool
) -> None:
    rng = np.random.default_rng(seed)
    table = a_table(rng, traps=int(rng.integers(1, 14)), length=length, ordered=ordered)
    pixels, traps = a_column(rng, rows, sky=sky, bright=bright, falls=falls)
    expected = by_the_rule(pixels, traps, table)
    np.testing.assert_array_equal(plain(pixels, traps, table), expected)
    np.testing.assert_array_equal(fast(pixels, traps, table), expected)


@pytest.mark.parametrize("rows", [2048, 4096, 4097, 9000])
def test_columns_of_more_than_64_blocks_are_read_out_alike(rows: int) -> None:
    rng = np.random.default_rng(rows)
    table = a_table(rng, traps=40, length=60)
    pixels, traps = a_column(rng, rows, sky=40, bright=0.02, falls=0.001)
    np.testing.assert_array_equal(fast(pixels, traps, table), plain(pixels, traps, table))


def test_a_trail_that_lifts_pixels_over_the_next_level_fills_them() -> None:
    # The lower trap's level is above all pixels of block 1 until the upper trap's trail has come.
    release = np.zeros((2, 60 + 2 * CHUNK))
    release[:, CHUNK : CHUNK + 60] = 1 / 60
    cumulated = np.zeros_like(release)
    table = Traps(np.array([50.01, 500.0]), np.array([6.0, 6.0]), release, cumulated, 60)
    pixels = np.full(192, 50.0)
    pixels[60] = 1000.0
    traps = np.ones(192, np.float32)
    answer = fast(pixels, traps, table)
    np.testing.assert_array_equal(answer, plain(pixels, traps, table))
    assert np.count_nonzero(answer[64:120] < 48.0) > 50


def test_charge_is_conserved_when_the_trail_ends_inside_the_column() -> None:
    rng = np.random.default_rng(1)
    table = a_table(rng, traps=30, length=20)
    pixels = np.zeros(400)
    pixels[100] = 1000.0
    answer = fast(pixels, np.ones(400, np.float32), table)
    assert answer.sum() == pytest.approx(1000.0, abs=1e-4)
    assert answer[100] == pytest.approx(1000.0 - table.size.sum(), abs=1e-9)


def test_the_plain_readout_leaves_nan_as_it_is() -> None:
    rng = np.random.default_rng(2)
    table = a_table(rng, traps=5, length=10)
    pixels, traps = a_column(rng, 80, sky=100, bright=0.1, falls=0)
    pixels[40] = np.nan
    answer = plain(pixels, traps, table)
    assert np.flatnonzero(np.isnan(answer)).tolist() == [40]
