"""What numba's loops would not become: vector instructions on 8 and 64 rows of a column at once.

Each function is a few LLVM instructions, which become AVX-512, AVX2 or NEON as the machine has them. An early exit, a
reduction of floats without reordering, and a masked sum are not vectorised otherwise.

Arrays are named by the address of their first element, not as numba arrays: each call with an array as argument, and
each slice, would count references, atomically, for longer than the arithmetic takes. The caller keeps the arrays
alive and inside their bounds; all are of float64, but where said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64  # rows a block
CHUNK = 8  # rows that arithmetic is done on at once

_WHOLE = types.int64
_REAL = types.float64
_Arguments = ParamSpec("_Arguments")


def instructions(function: Callable[Concatenate[Any, _Arguments], Any]) -> Callable[_Arguments, Any]:
    """Make a function that writes LLVM instructions callable in compiled ones."""
    return cast("Callable[_Arguments, Any]", intrinsic(function))


@instructions
def address(typing_context: Any, array: Any) -> Any:
    """Give the address of a contiguous array's first element."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return _WHOLE(array), generate


@instructions
def peek(typing_context: Any, array: Any, index: Any) -> Any:
    """Read the element at `index`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, index_value = arguments
        return builder.load(_pointer(builder, base, index_value, ir.DoubleType()))

    return _REAL(_WHOLE, _WHOLE), generate


@instructions
def peek_int(typing_context: Any, array: Any, index: Any) -> Any:
    """Read the element at `index` of an int32 array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, index_value = arguments
        place = builder.gep(builder.inttoptr(base, ir.IntType(32).as_pointer()), [index_value])
        return builder.sext(builder.load(place), ir.IntType(64))

    return _WHOLE(_WHOLE, _WHOLE), generate


@instructions
def poke(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write `value` at `index`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, index_value, new = arguments
        builder.store(new, _pointer(builder, base, index_value, ir.DoubleType()))
        return context.get_dummy_value()

    return types.void(_WHOLE, _WHOLE, _REAL), generate


@instructions
def filled_mask(typing_context: Any, column: Any, start: Any, level: Any) -> Any:
    """Say with bit k whether element ``start + k``, of 64, is at or above `level`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _load(builder, arguments[0], arguments[1], LANES)
        levels = _splat(builder, arguments[2], LANES)
        return builder.bitcast(builder.fcmp_ordered(">=", vector, levels), ir.IntType(64))

    return _WHOLE(_WHOLE, _WHOLE, _REAL), generate


@instructions
def block_max(typing_context: Any, column: Any, start: Any) -> Any:
    """Find the highest of the 64 elements from `start`, none of them NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _extreme(builder, arguments[0], arguments[1], ">")

    return _REAL(_WHOLE, _WHOLE), generate


@instructions
def block_min(typing_context: Any, column: Any, start: Any) -> Any:
    """Find the lowest of the 64 elements from `start`, none of them NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _extreme(builder, arguments[0], arguments[1], "<")

    return _REAL(_WHOLE, _WHOLE), generate


@instructions
def lowest_bit(typing_context: Any, mask: Any) -> Any:
    """Find the lowest set bit; 64 when there is none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.false_bit)

    return _WHOLE(_WHOLE), generate


@instructions
def count_bits(typing_context: Any, mask: Any) -> Any:
    """Count the set bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return _WHOLE(_WHOLE), generate


@instructions
def add_trail(
    typing_context: Any,
    pixels: Any,
    start: Any,
    release: Any,
    offset: Any,
    held: Any,
    low: Any,
    high: Any,
    at: Any,
    step: Any,
) -> Any:
    """Add ``release[offset + k] * held`` to ``pixels[start + k]`` for low <= k < high of 8, and `step` to k = at.

    Eight elements of both arrays must exist from `start` and `offset`; the other pixels stay as they are.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, table, entry, held_value, *lanes = arguments
        part = _load(builder, table, entry, CHUNK)
        gain = builder.fmul(part, _splat(builder, held_value, CHUNK))
        _add_between(builder, array, row, gain, *lanes)
        return context.get_dummy_value()

    return types.void(_WHOLE, _WHOLE, _WHOLE, _WHOLE, _REAL, _WHOLE, _WHOLE, _WHOLE, _REAL), generate


@instructions
def pass_filled(
    typing_context: Any,
    pixels: Any,
    start: Any,
    traps: Any,
    lower: Any,
    ratio: Any,
    size: Any,
    first: Any,
    left: Any,
    low: Any,
    high: Any,
    at: Any,
    step: Any,
) -> Any:
    """Pass filled pixels ``start + k``, low <= k < high of 8, each with a filled one before it; add `step` to k = at.

    Each gets ``first * held + left * held`` with held = ``(size * lower[row]) * ratio[row]``, less
    ``size * traps[row]``. Eight elements of all arrays must exist from `start`; the other pixels stay as they are.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row = arguments[:2]
        _add_between(builder, array, row, _balance(builder, row, *arguments[2:8]), *arguments[8:])
        return context.get_dummy_value()

    signature = types.void(
        *(_WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE), *(_REAL, _REAL, _REAL), *(_WHOLE, _WHOLE, _WHOLE), _REAL
    )
    return signature, generate


@instructions
def pass_all_filled(
    typing_context: Any, pixels: Any, start: Any, traps: Any, lower: Any, ratio: Any, size: Any, first: Any, left: Any
) -> Any:
    """Do `pass_filled` for all of 8."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row = arguments[:2]
        before = _load(builder, array, row, CHUNK)
        after = builder.fadd(before, _balance(builder, row, *arguments[2:]))
        builder.store(after, _pointer(builder, array, row, before.type)).align = 8
        return context.get_dummy_value()

    return types.void(_WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE, _REAL, _REAL, _REAL), generate


def _balance(builder: Any, row: Any, traps: Any, lower: Any, ratio: Any, size: Any, first: Any, left: Any) -> Any:
    """Work out what filled pixels, each with a filled one before it, gain less what they lose."""
    own, below, scale = (_load(builder, table, row, CHUNK) for table in (traps, lower, ratio))
    sizes, firsts, lefts = (_splat(builder, value, CHUNK) for value in (size, first, left))
    held = builder.fmul(builder.fmul(sizes, below), scale)
    gain = builder.fadd(builder.fmul(firsts, held), builder.fmul(lefts, held))
    return builder.fsub(gain, builder.fmul(sizes, own))


def _extreme(builder: Any, array: Any, start: Any, order: str) -> Any:
    vector = _load(builder, array, start, LANES)
    lanes = LANES
    while lanes > 1:
        lanes //= 2
        low = _part(builder, vector, 0, lanes)
        high = _part(builder, vector, lanes, lanes)
        vector = builder.select(builder.fcmp_ordered(order, low, high), low, high)
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _add_between(builder: Any, array: Any, row: Any, gain: Any, low: Any, high: Any, at: Any, step: Any) -> None:
    """Add `gain` in lanes low to high, `step` in lane `at`, and -0.0, which changes nothing, in the others.

    So the whole chunk is stored, and the next load of it can be served from the store: from a masked store it can't.
    """
    lanes = ir.Constant(ir.VectorType(low.type, CHUNK), list(range(CHUNK)))
    inside = builder.and_(
        builder.icmp_signed(">=", lanes, _splat(builder, low, CHUNK)),
        builder.icmp_signed("<", lanes, _splat(builder, high, CHUNK)),
    )
    here = builder.icmp_signed("==", lanes, _splat(builder, at, CHUNK))
    change = builder.select(inside, gain, ir.Constant(gain.type, [-0.0] * CHUNK))
    change = builder.select(here, _splat(builder, step, CHUNK), change)
    before = _load(builder, array, row, CHUNK)
    stored = builder.store(builder.fadd(before, change), _pointer(builder, array, row, before.type))
    stored.align = 8


def _pointer(builder: Any, array: Any, index: Any, kind: Any) -> Any:
    first = builder.inttoptr(array, ir.DoubleType().as_pointer())
    return builder.bitcast(builder.gep(first, [index]), kind.as_pointer())


def _load(builder: Any, array: Any, index: Any, lanes: int) -> Any:
    loaded = builder.load(_pointer(builder, array, index, ir.VectorType(ir.DoubleType(), lanes)))
    loaded.align = 8
    return loaded


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    unknown = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    one = builder.insert_element(unknown, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, unknown, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


def _part(builder: Any, vector: Any, first: int, lanes: int) -> Any:
    places = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(first, first + lanes)))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), places)
