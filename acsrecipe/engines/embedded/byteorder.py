"""Pixels as they lie in a FITS file: big-endian, read by compiled loops without a converted copy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from acsrecipe.engines.embedded.compiled import compiled


def as_number(value: Any) -> Any:
    """Give a pixel's value: a float or int16 as it is, a stored uint32 or uint16 in native order and type.

    For compiled loops, which so take native arrays and `stored` ones alike.
    """
    if isinstance(value, np.uint32):
        return value.byteswap().view(np.float32)
    return value.byteswap().view(np.int16) if isinstance(value, np.uint16) else value


def _emit_swap(_context: Any, value: Any) -> Any:
    """Emit the processor's byte swap."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bswap(arguments[0])

    return value(value), generate


_swap: Any = intrinsic(_emit_swap)


def _choose(value: Any) -> Any:
    """Choose what compiled loops do for a pixel of that type."""
    if value == types.uint32:
        return lambda value: np.uint32(_swap(value)).view(np.float32)
    if value == types.uint16:
        return lambda value: np.uint16(_swap(value)).view(np.int16)
    if isinstance(value, (types.Float, types.Integer)):
        return lambda value: value
    return None


# numba compares signatures with annotations included: a lambda has none.
overload(as_number)(lambda value: _choose(value))


def stored(plane: NDArray[Any]) -> NDArray[Any]:
    """View a big-endian float32 or int16 plane as the unsigned integers that `as_number` takes."""
    return plane.view(np.uint32 if plane.dtype.itemsize == 4 else np.uint16)


@compiled
def decode_shorts(plane: NDArray[np.uint16], zero: np.float32, result: NDArray[np.float32]) -> None:
    """Turn stored 16-bit integers and their offset BZERO into single precision, exactly."""
    for j in range(plane.shape[0]):
        for i in range(plane.shape[1]):
            result[j, i] = np.float32(as_number(plane[j, i])) + zero


@compiled
def encode(plane: NDArray[Any], result: NDArray[Any]) -> None:
    """Write a native plane's unsigned integers in the file's byte order into another of the same shape."""
    for j in range(plane.shape[0]):
        for i in range(plane.shape[1]):
            result[j, i] = _swap(plane[j, i])
