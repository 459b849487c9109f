"""Arrays used again: the pages of a fresh one cost as much time as the arithmetic done on it."""

from __future__ import annotations

import math
import threading
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

# Arrays of one shape and type that are kept for later: those of the chips of two exposures.
_KEPT = 4


class Buffers:
    """Arrays given back, to be handed out again; safe to use from several threads."""

    def __init__(self) -> None:
        self._free: dict[tuple[tuple[int, ...], str], list[NDArray[Any]]] = {}
        self._cut: WeakValueDictionary[int, NDArray[Any]] = WeakValueDictionary()
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], dtype: type[np.float32] | type[np.int16]) -> NDArray[Any]:
        """Give an array; what it holds is arbitrary."""
        with self._lock:
            free = self._free.get((shape, np.dtype(dtype).str))
            if free:
                return free.pop()
        return np.empty(shape, dtype)

    def cut(self, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Use a contiguous array's first pixels as a smaller array; giving that back gives the whole back."""
        if array.base is None:
            with self._lock:
                self._cut[id(array)] = array
        return array.reshape(-1)[: math.prod(shape)].reshape(shape)

    def give_back(self, *arrays: NDArray[Any]) -> None:
        """Take arrays back that nobody uses any more."""
        with self._lock:
            for given in arrays:
                array = self._cut.pop(id(given.base), given)
                free = self._free.setdefault((array.shape, array.dtype.str), [])
                if len(free) < _KEPT and array.flags.owndata and all(kept is not array for kept in free):
                    free.append(array)
