"""Subtraction, division and flags of image triplets; pixels native and as they lie in a file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from acsrecipe.engines.embedded.arithmetic import divide, subtract
from acsrecipe.engines.embedded.bias import add_bias_error, subtract_bias
from acsrecipe.engines.embedded.byteorder import as_number, decode, encode, stored
from acsrecipe.engines.embedded.flat import divide_by_flat

F = np.float32
SHAPE = (3, 5)


def image(value: float) -> np.ndarray:
    return np.full(SHAPE, value, F)


def flags(value: int) -> np.ndarray:
    return np.full(SHAPE, value, np.int16)


def test_subtracting_scales_the_reference_and_adds_errors_in_quadrature() -> None:
    sci, err, dq = image(10), image(3), flags(1)
    subtract(sci, err, dq, image(2), image(2), flags(4), F(2))
    assert (sci == 6).all()
    assert (err == 5).all()
    assert (dq == 5).all()


def test_a_bias_image_changes_science_flags_and_error_in_dn() -> None:
    sci, err, dq = image(2500), image(0), flags(0)
    subtract_bias(sci, dq, image(1.5), flags(16))
    add_bias_error(err, np.hstack([image(9), image(0.25)]), SHAPE[1])
    assert (sci == 2498.5).all()
    assert (dq == 16).all()
    assert (err == 0.25).all()


def test_dividing_by_a_flat_propagates_both_errors() -> None:
    sci, err, dq = image(8), image(3), flags(0)
    divide_by_flat(sci, err, dq, image(2), image(0.5), flags(2))
    assert (sci == 4).all()
    # sqrt((3/2)^2 + (0.5*8/2/2)^2)
    assert err == pytest.approx(np.sqrt(1.5**2 + 1.0**2))
    assert (dq == 2).all()


def test_a_zero_in_a_flat_leaves_the_pixel_and_flags_it_512() -> None:
    sci, err, dq = image(8), image(3), flags(1)
    flat = image(1)
    flat[1, 2] = 0
    divide(sci, err, dq, flat, image(0), flags(0))
    assert sci[1, 2] == 8
    assert err[1, 2] == 3
    assert dq[1, 2] == 513
    assert (np.delete(dq.ravel(), 7) == 1).all()


@given(hnp.arrays(F, SHAPE, elements=st.floats(-1e6, 1e6, width=32)))
def test_a_plane_stored_big_endian_gives_the_same_bits_as_a_native_one(plane: np.ndarray) -> None:
    results = []
    for other in (plane, stored(plane.astype(">f4"))):
        sci, err, dq = image(100), image(1), flags(0)
        subtract(sci, err, dq, other, other, flags(0) if other is plane else stored(flags(0).astype(">i2")), F(0.7))
        results.append((sci.tobytes(), err.tobytes(), dq.tobytes()))
    assert results[0] == results[1]


@given(hnp.arrays(F, SHAPE, elements=st.floats(-1e6, 1e6, width=32)))
def test_encoding_turns_a_plane_into_the_bytes_of_a_file_and_back(plane: np.ndarray) -> None:
    out = np.empty(SHAPE, np.uint32)
    encode(0, SHAPE[0], stored(plane), out)
    assert out.tobytes() == plane.astype(">f4").tobytes()
    assert all(as_number(word) == value for word, value in zip(out.ravel(), plane.ravel(), strict=True))


def test_unsigned_raw_pixels_are_decoded_exactly() -> None:
    dn = np.array([[0, 1, 32767, 32768, 65535]])
    words = (dn - 32768).astype(">i2").view(np.uint16)
    result = np.empty(dn.shape, F)
    decode(words, F(32768), result)
    assert (result == dn).all()


@given(st.floats(0, 1e5, width=32), st.floats(0, 1e3, width=32), st.floats(-1e5, 1e5, width=32))
def test_single_precision_square_roots_equal_double_ones_rounded(a: float, b: float, c: float) -> None:
    """What lets the engine use single-precision square roots where calacs takes double ones."""
    square = F(a) * F(a) + F(b) * F(b)
    assert np.sqrt(square) == F(np.sqrt(np.float64(square)))
    sci, err, dq = np.full((1, 1), c, F), np.full((1, 1), a, F), np.zeros((1, 1), np.int16)
    other = np.full((1, 1), b, F)
    subtract(sci, err, dq, other, other, dq, F(1))
    assert err[0, 0] == F(np.sqrt(np.float64(square)))
    assert sci[0, 0] == F(c) - F(b)
