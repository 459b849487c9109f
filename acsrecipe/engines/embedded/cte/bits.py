"""Questions about 64 rows at once: which pixels are filled, where the next one is, how high the block goes.

Each is one LLVM vector instruction sequence (AVX-512, AVX2, NEON: whatever the machine has), which the
loops of numba would not become: an early exit and a reduction without reordering do not vectorise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64  # rows a block

_COLUMN = types.Array(types.float64, 1, "C")


def _load_block(context: Any, builder: Any, array_type: Any, array: Any, start: Any, lanes: int) -> Any:
    """Load `lanes` doubles of a column from row `start`, which the caller keeps inside the array."""
    struct = context.make_array(array_type)(context, builder, array)
    pointer = builder.gep(struct.data, [start])
    vector = ir.VectorType(ir.DoubleType(), lanes)
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    loaded.align = 8
    return loaded


@intrinsic
def filled_mask(typing_context: Any, column: Any, start: Any, level: Any) -> Any:
    """Bit k of the answer: is pixel ``start + k`` at or above `level`; 64 pixels from `start`, as int64."""
    if not (isinstance(column, types.Array) and column.dtype == types.float64):
        return None
    signature = types.int64(column, types.int64, types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, start_value, level_value = arguments
        vector = _load_block(context, builder, signature.args[0], array, start_value, LANES)
        levels = _splat(builder, level_value, LANES)
        return builder.bitcast(builder.fcmp_ordered(">=", vector, levels), ir.IntType(64))

    return signature, generate


@intrinsic
def block_max(typing_context: Any, column: Any, start: Any) -> Any:
    """The highest of the 64 pixels from `start`; without NaN, which the caller excludes."""
    if not (isinstance(column, types.Array) and column.dtype == types.float64):
        return None
    signature = types.float64(column, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, start_value = arguments
        vector = _load_block(context, builder, signature.args[0], array, start_value, LANES)
        lanes = LANES
        while lanes > 1:
            lanes //= 2
            low = _half(builder, vector, lanes, 0)
            high = _half(builder, vector, lanes, lanes)
            vector = builder.select(builder.fcmp_ordered(">", low, high), low, high)
        return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    return signature, generate


@intrinsic
def lowest_bit(typing_context: Any, mask: Any) -> Any:
    """The position of the lowest set bit of an int64; 64 when none is."""
    signature = types.int64(types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.false_bit)

    return signature, generate


@intrinsic
def count_bits(typing_context: Any, mask: Any) -> Any:
    """How many bits of an int64 are set."""
    signature = types.int64(types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return signature, generate


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    vector_type = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(vector_type, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(vector_type, ir.Undefined), zeros)


def _half(builder: Any, vector: Any, lanes: int, first: int) -> Any:
    places = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(first, first + lanes)))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), places)


__all__ = ["LANES", "block_max", "count_bits", "filled_mask", "lowest_bit"]
_ = np
