"""How the engine's loops are compiled.

numba is used where a recursion or a sequential sum forbids numpy, and where one fused loop beats several
numpy passes. Compiled code is cached beside the source (or in numba's own cache folder where the
installation is read-only), so only the very first run pays for compiling. Neither ``fastmath`` nor
contraction of multiply and add is allowed: every operation rounds as the C source's does on x86-64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Flags = NDArray[np.int16]
Doubles = NDArray[np.float64]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile a loop over arrays with numba: cached, without the GIL, IEEE arithmetic, no bounds checks."""
    try:
        made = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function)
    except RuntimeError:
        # No folder that could be written to: compile anew in every process.
        made = numba.njit(nogil=True, fastmath=False, error_model="numpy")(function)
    return cast("_Function", made)
