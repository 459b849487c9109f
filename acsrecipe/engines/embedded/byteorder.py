"""Pixels as they lie in a FITS file: big-endian, read by compiled loops without a converted copy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.compiled import compiled


def as_number(value: Any) -> Any:
    """Give a pixel's value: a float or int16 as it is, a stored uint32 or uint16 in native order and type.

    For compiled loops, which so take native arrays and `stored` ones alike.
    """
    if isinstance(value, np.uint32):
        return value.byteswap().view(np.float32)
    return value.byteswap().view(np.int16) if isinstance(value, np.uint16) else value


def to_big_endian(value: Any) -> Any:
    """Give an unsigned integer as it lies in a file, for compiled loops."""
    return value.byteswap() if np.little_endian else value


def stored(plane: NDArray[Any]) -> NDArray[Any]:
    """View a big-endian float32 or int16 plane as the unsigned integers that `as_number` takes."""
    return plane.view(np.uint32 if plane.dtype.itemsize == 4 else np.uint16)


@compiled
def decode(plane: NDArray[Any], zero: np.float32, result: NDArray[np.float32]) -> None:
    """Turn pixels, stored or native, and their offset BZERO into single precision, exactly for 16-bit integers."""
    for j in range(plane.shape[0]):
        for i in range(plane.shape[1]):
            result[j, i] = np.float32(as_number(plane[j, i])) + zero


@compiled
def encode(start: int, stop: int, plane: NDArray[Any], result: NDArray[Any]) -> None:
    """Write lines of a native plane's unsigned integers in the file's byte order to the front of another.

    A plane of ``n`` lines may stand for more: line ``j`` is its line ``j % n``.
    """
    for j in range(start, stop):
        line, encoded = plane[j % plane.shape[0]], result[j - start]
        for i in range(encoded.size):
            encoded[i] = to_big_endian(line[i])
