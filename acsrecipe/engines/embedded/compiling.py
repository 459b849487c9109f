"""What needs numba itself: making machine code of loops, and loops that can't be kept as machine code."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, TypeVar, cast

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numba
import numpy as np
from numba import types
from numba.core.errors import NumbaError
from numba.extending import intrinsic, overload
from numba.np.numpy_support import as_dtype, from_dtype

from acsrecipe.engines.embedded.byteorder import as_number, to_big_endian
from acsrecipe.engines.embedded.compiled import Kernel, Kind, MachineCode, named_by, target_machine
from acsrecipe.errors import EngineError

_Function = TypeVar("_Function", bound=Callable[..., Any])

_OPTIONS = {"nogil": True, "fastmath": False, "error_model": "numpy"}

# Of machine code that is loaded without numba: no arrays made, no wrappers for Python.
_KEPT = {**_OPTIONS, "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

_RULE = "a loop called from Python must not make arrays, nor raise, and gives a number or nothing"

# All that machine code may ask for from outside.
_KNOWN = re.compile(r"llvm\..*|mem(cpy|move|set)|(sqrt|floor|ceil|fabs)f?")


def jitted(function: _Function) -> _Function:
    """Compile a loop by the same rules as `compiled`, with numba in every process.

    For loops that make arrays, or use what only numba's own calling convention knows.
    """
    try:
        made = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        # No folder that could be written to: compile anew in every process.
        made = numba.njit(**_OPTIONS)(function)
    return cast("_Function", made)


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
overload(to_big_endian)(lambda value: lambda value: _swap(value))


@functools.cache
def dispatcher(kernel: Kernel) -> Any:
    """Give a loop as a function of numba's, and so all the loops that it calls."""
    function = kernel.function
    copy = FunctionType(
        function.__code__,
        {name: dispatcher(value) if isinstance(value, Kernel) else value for name, value in named_by(function).items()},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    return numba.njit(**_KEPT)(copy)


def is_usual() -> bool:
    """Whether numba compiles as it always does, rather than as variables of the environment ask it to."""
    settings = numba.config
    return int(settings.OPT) == 3 and bool(settings.LOOP_VECTORIZE) and not settings.BOUNDSCHECK


def compile_kernel(kernel: Kernel, kinds: Sequence[Kind]) -> MachineCode:
    """Make the machine code of a loop for some types of arguments.

    Raises
    ------
    EngineError
        When the code would need numba at run time: the loop makes an array, or fails with an exception.
    """
    if numba.config.DISABLE_JIT:
        message = "numba is told not to compile (NUMBA_DISABLE_JIT), but the embedded engine's loops must be"
        raise EngineError(message, hint="unset that variable")
    loop = dispatcher(kernel)
    signature = tuple(_type_of(kind) for kind in kinds)
    try:
        loop.compile(signature)
    except NumbaError as error:
        message = f"the loop {kernel.function.__name__} can't be compiled for {', '.join(map(str, kinds))}"
        raise EngineError(message, hint=_RULE) from error
    made = loop.overloads[signature]
    given = made.signature.return_type
    if given != types.none and not isinstance(given, (types.Number, types.Boolean)):
        message = f"the loop {kernel.function.__name__} gives {given}"
        raise EngineError(message, hint=_RULE)
    number = None if given == types.none else as_dtype(given)
    symbol = made.fndesc.llvm_func_name
    module = llvm.parse_assembly(loop.inspect_llvm(signature))
    foreign = [each.name for each in module.functions if each.is_declaration and not _KNOWN.fullmatch(each.name)]
    words = 2 + sum(1 if kind.axes is None else 5 + 2 * kind.axes for kind in kinds)
    if foreign or len(list(module.get_function(symbol).arguments)) != words:
        message = f"the machine code of {kernel.function.__name__} needs {', '.join(foreign) or 'other arguments'}"
        raise EngineError(message, hint=_RULE)
    return MachineCode(symbol, number, target_machine().emit_object(module))


def _type_of(kind: Kind) -> Any:
    element = from_dtype(kind.dtype)
    return element if kind.axes is None else types.Array(element, kind.axes, "C" if kind.ordered else "A")
