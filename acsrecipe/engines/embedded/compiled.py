"""How the engine's loops are called, and where their machine code is kept.

Loops are written in Python and compiled by numba where a recursion or a sequential sum forbids numpy, and where
one fused loop beats several passes. What numba made is kept as plain machine code; later processes load that
with llvmlite alone, which takes milliseconds where numba and its registries take half a second. Neither
``fastmath`` nor contraction of multiply and add is allowed: every operation rounds as the C source's does on x86-64.

A file of machine code is named after all that it follows from: the code and the constants of the loop and of
what it calls, the types of its arguments, the processor, and the versions of Python, numba and llvmlite. So a
stale one is never found. It lies beside the source, in ``__pycache__``, or in the user's cache where that is read-only.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from acsrecipe.errors import OutputError
from acsrecipe.files import write_atomic

Image = NDArray[np.float32]
Flags = NDArray[np.int16]
Doubles = NDArray[np.float64]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Rest = ParamSpec("_Rest")


def compiled(function: _Function) -> _Function:
    """Compile a loop over arrays: without the GIL, in IEEE arithmetic, without checks of bounds.

    Called from Python, a loop takes arrays of any layout, numpy and Python numbers; it gives a number or
    nothing, and makes no array of its own. Loops that only other loops call are free to do what numba can.
    """
    return cast("_Function", Kernel(cast("FunctionType", function)))


Lines = Callable[[int, int], None]
"""Does something to lines of an image, first to last, the last one not included."""


def bound(loop: Callable[Concatenate[int, int, _Rest], None], *rest: _Rest.args, **_: _Rest.kwargs) -> Lines:
    """Fix all arguments of a compiled loop but the first two, first and last line: many calls then cost little."""
    loaded = cast("Kernel", loop).loaded((0, 0, *rest))
    words = loaded.words(rest)

    def run(first: int, last: int) -> None:
        loaded.run((first, last, *words))

    # The words are addresses: what they point to must live on.
    run.owners = rest  # type: ignore[attr-defined]
    return run


@dataclass(frozen=True)
class Kind:
    """The type of an argument: an element's type, and for arrays the axes and whether they lie in C order.

    Attributes
    ----------
    axes : int or None
        None for a number.
    """

    dtype: np.dtype[Any]
    axes: int | None = None
    ordered: bool = True

    def __str__(self) -> str:
        """Name it, as in names of files: ``f4``, ``i2[2]``, ``f4[2:]`` for a part of a plane."""
        if self.axes is None:
            return self.dtype.str[1:]
        return f"{self.dtype.str[1:]}[{self.axes}{'' if self.ordered else ':'}]"


@dataclass(frozen=True)
class MachineCode:
    """A loop compiled for some types of arguments.

    Attributes
    ----------
    symbol : str
        Name of the function in the object file: ``int32 (result *, failure **, arguments ...)``.
    result : numpy.dtype or None
        Of the number that it gives.
    """

    symbol: str
    result: np.dtype[Any] | None
    object_file: bytes


class Kernel:
    """A compiled loop: called as the function that it is made of, after its machine code has been found or made."""

    def __init__(self, function: FunctionType) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._found: dict[tuple[Any, ...], _Loaded] = {}
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        """Run the loop on arguments."""
        loaded = self.loaded(arguments)
        return loaded.run(loaded.words(arguments))

    def loaded(self, arguments: Sequence[Any]) -> _Loaded:
        """Find or make the machine code for arguments of these types."""
        types = tuple(
            [
                (each.dtype, each.ndim, each.flags.c_contiguous) if isinstance(each, np.ndarray) else type(each)
                for each in arguments
            ]
        )
        found = self._found.get(types)
        if found is None:
            with self._lock:
                found = self._found.get(types) or self._load([kind_of(each) for each in arguments])
                self._found[types] = found
        return found

    def _load(self, kinds: Sequence[Kind]) -> _Loaded:
        path = self._path(kinds)
        code = _read(path)
        if code is None:
            from acsrecipe.engines.embedded.compiling import compile_kernel, is_usual

            code = compile_kernel(self, kinds)
            if is_usual():
                _keep(path, code)
        return _bind(code, kinds)

    def _path(self, kinds: Sequence[Kind]) -> Path:
        digest = hashlib.sha256(repr((_circumstances(), list(map(str, kinds)))).encode())
        for part in ingredients(self.function, set()):
            digest.update(part.encode() + b"\0")
        source = self.function.__code__.co_filename
        name = f"{Path(source).stem}.{self.function.__name__}-{digest.hexdigest()[:32]}.kernel"
        return _folder(Path(source).parent) / name


def kind_of(argument: Any) -> Kind:
    """Give the type of an argument as the compiled loop sees it; raises TypeError for what no loop takes."""
    if isinstance(argument, np.ndarray):
        if not argument.dtype.isnative:
            message = f"an array of {argument.dtype} was given to a compiled loop, expected native or stored pixels"
            raise TypeError(message)
        return Kind(argument.dtype, argument.ndim, bool(argument.flags.c_contiguous))
    return Kind(np.asarray(argument).dtype)


def ingredients(function: FunctionType, seen: set[str]) -> Iterator[str]:
    """Give all that a function's machine code follows from: instructions, constants, and what it calls."""
    where = f"{function.__module__}.{function.__qualname__}"
    if where in seen:
        return
    seen.add(where)
    yield where
    for code in _codes(function.__code__):
        yield repr((code.co_code, code.co_varnames, code.co_names))
        yield repr([each for each in code.co_consts if not isinstance(each, CodeType)])
    yield repr((function.__defaults__, function.__kwdefaults__))
    if function.__closure__:
        yield repr([cell.cell_contents for cell in function.__closure__])
    for name, value in named_by(function).items():
        if isinstance(value, Kernel):
            value = value.function
        if isinstance(value, FunctionType):
            yield from ingredients(value, seen)
        elif not isinstance(value, (ModuleType, type)):
            yield f"{name} = {value!r}"


def named_by(function: FunctionType) -> dict[str, Any]:
    """Give the names of its module that a function uses, and what they stand for, in order."""
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    return {name: function.__globals__[name] for name in sorted(names & function.__globals__.keys())}


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@functools.cache
def _circumstances() -> tuple[str, ...]:
    """Name the processor and the versions that machine code is made for, and how we make it."""
    import llvmlite  # type: ignore[import-untyped]
    import llvmlite.binding as llvm  # type: ignore[import-untyped]

    here = Path(__file__)
    how = (hashlib.sha256(file.read_bytes()).hexdigest() for file in (here, here.with_name("compiling.py")))
    return (llvm.get_default_triple(), *_processor(), sys.version, llvmlite.__version__, _numba(), *how)


def _numba() -> str:
    """Name numba's version, without loading it."""
    found = importlib.util.find_spec("numba")
    if found is not None and found.origin is not None:
        # To ask the metadata of packages takes longer than to load all machine code.
        with contextlib.suppress(OSError):
            return Path(found.origin).with_name("_version.py").read_text("utf-8")
    from importlib.metadata import version

    return version("numba")


@functools.cache
def _processor() -> tuple[str, str]:
    """Give the processor's name and what it can do, as LLVM spells it; nothing where LLVM does not know it."""
    import llvmlite.binding as llvm

    try:
        return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    except RuntimeError:
        return "", ""


@functools.cache
def _folder(beside: Path) -> Path:
    """Choose the folder for machine code: where Python keeps its own of that source, else the user's cache."""
    folder = Path(importlib.util.cache_from_source(str(beside / "x.py"))).parent
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK):
        return folder
    import platformdirs

    return Path(platformdirs.user_cache_dir("acsrecipe")) / "kernels"


_MAGIC = b"acsrecipe kernel 1\n"


def _read(path: Path) -> MachineCode | None:
    """Read machine code; None when it is not there or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, rest = content[len(_MAGIC) : len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
    if not content.startswith(_MAGIC) or hashlib.sha256(rest).digest() != checksum:
        return None
    names, _, object_file = rest.partition(b"\n")
    symbol, _, result = names.decode("ascii").partition(" ")
    return MachineCode(symbol, np.dtype(result) if result else None, object_file)


def _keep(path: Path, code: MachineCode) -> None:
    """Write machine code, whole or not at all; where nothing can be written, do without."""
    names = f"{code.symbol} {code.result.str if code.result is not None else ''}\n"
    rest = names.encode("ascii") + code.object_file
    with contextlib.suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _MAGIC + hashlib.sha256(rest).digest() + rest)


# What numba's functions return: a number was given, nothing was given.
_DONE = (0, -2)

_SIZE = ctypes.c_ssize_t
_ARRAY = [ctypes.c_void_p, ctypes.c_void_p, _SIZE, _SIZE, ctypes.c_void_p]


def _bind(code: MachineCode, kinds: Sequence[Kind]) -> _Loaded:
    """Load machine code into the process."""
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.object_file))
    engine.finalize_object()
    types: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
    for kind in kinds:
        types += [np.ctypeslib.as_ctypes_type(kind.dtype)] if kind.axes is None else _ARRAY + [_SIZE] * 2 * kind.axes
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *types)(engine.get_function_address(code.symbol))
    return _Loaded(code, function, tuple(kind.axes is None for kind in kinds), engine)


@dataclass(frozen=True)
class _Loaded:
    """Machine code in the process; ``engine`` owns its memory."""

    code: MachineCode
    function: Callable[..., int]
    numbers: tuple[bool, ...]
    engine: Any

    def words(self, arguments: Sequence[Any]) -> list[Any]:
        """Turn the last arguments into the words that machine code takes."""
        words: list[Any] = []
        for argument, is_number in zip(arguments, self.numbers[-len(arguments) :], strict=True):
            if is_number:
                words.append(argument)
            else:
                # numba's array: two owners, number and size of elements, address, axes and steps.
                shape = argument.shape
                words += (None, None, argument.size, argument.itemsize, argument.ctypes.data, *shape, *argument.strides)
        return words

    def run(self, words: Sequence[Any]) -> Any:
        """Run it, and give its result."""
        result, failure = ctypes.c_uint64(), ctypes.c_void_p()
        status = self.function(ctypes.addressof(result), ctypes.addressof(failure), *words)
        if status not in _DONE:
            message = f"compiled code {self.code.symbol} failed with status {status}"
            raise ArithmeticError(message)
        return None if self.code.result is None else np.frombuffer(bytes(result), self.code.result, 1)[0].item()


def target_machine() -> Any:
    """Describe the processor that code is made for: this one, with all it can."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = _processor()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu,
        features=features,
        opt=3,
        reloc="default",
        codemodel="jitdefault",
        jit=True,
    )
