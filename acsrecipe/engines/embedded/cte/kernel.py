"""How the kernels are compiled: once a machine, cached, without the GIL, with IEEE arithmetic in the order written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from numba import njit
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])
Arguments = ParamSpec("Arguments")


def compiled(function: Function) -> Function:
    """Compile a function with numba; division by zero gives inf or NaN, and nothing is reordered or contracted.

    numba looks at a function's own file to tell whether its cached code is stale, not at the files of what it calls:
    after editing a kernel, delete ``__pycache__`` of this folder (the tests do).
    """
    return cast("Function", njit(cache=True, nogil=True, error_model="numpy")(function))


def instructions(function: Callable[Concatenate[Any, Arguments], Any]) -> Callable[Arguments, Any]:
    """Make a function that writes LLVM instructions callable in compiled ones; see `bits`."""
    return cast("Callable[Arguments, Any]", intrinsic(function))
