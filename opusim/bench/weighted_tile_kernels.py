"""Products of a tile of a matrix with the complex weights of a few vectors: sums that stay in registers.

A tile is a few vectors of float32 wide, real and imaginary parts by turns, and `FEATURES` rows high. Its products with
the weights of `ABREAST` vectors are summed feature by feature, each by one multiply-add: the row times the real part in
one sum, times the imaginary part in another. Behind the last feature the second is turned by 90 degrees and both are
added to the field. A fused multiply-add has one right result, so the bits are the same whatever the width of a
processor's vectors, and on one that has no such instruction.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from opusim.base.lane_kernels import rounded_call
from opusim.base.vector_kernels import check_contiguous, let_widest


def _has_wide_registers() -> bool:
    """Return whether kernels are compiled for 32 registers of 512 bits; else for 16 of 256."""
    features = numba.config.CPU_FEATURES
    if features is not None:
        return "+avx512f" in features
    return bool(binding.get_host_cpu_features().get("avx512f", False))


_WIDE = _has_wide_registers()
_LANES = 16 if _WIDE else 8
_COLUMNS = 2  # vectors of a row
ABREAST = 6 if _WIDE else 3
"""Vectors that are summed together: two sums for each of them and each part of a row are as many as registers hold."""
WIDTH = _LANES * _COLUMNS
"""Numbers of a row of a tile."""
FEATURES = 256
"""Features whose products are summed before they are added to the field. The sums have this order, on every machine:
another number gives other last bits."""

_I64 = ir.IntType(64)
_FLOAT = ir.FloatType()
_KIND = ir.VectorType(_FLOAT, _LANES)
_TURNS = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [k ^ 1 for k in range(_LANES)])
_SIGNS = ir.Constant(_KIND, [ir.Constant(_FLOAT, 1.0 if k & 1 else -1.0) for k in range(_LANES)])


def _place(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    """Return a pointer to an element of a contiguous array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [place])


def _vector(builder: Any, start: Any, number: int) -> Any:
    """Return a pointer to the vector of that number from there on."""
    return builder.bitcast(builder.gep(start, [_I64(_LANES * number)]), _KIND.as_pointer())


def _spread(builder: Any, value: Any) -> Any:
    """Return a vector that has one number in each lane."""
    none = ir.Constant(_KIND, ir.Undefined)
    first = builder.insert_element(none, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, none, ir.Constant(_TURNS.type, [0] * _LANES))


def _add_products(
    typingctx: Any, weights: Any, weight: Any, tile: Any, row: Any, count: Any, sums: Any, target: Any
) -> Any:  # fmt: skip
    """Add `count` rows of a tile, at least one, times weights of `ABREAST` vectors to their sums.

    The weights begin at `weights[weight]`: feature by feature, vector by vector, real and imaginary part. The rows
    begin at `tile[row]`, the sums at `sums[target]`, vector by vector.
    """
    for array in (weights, tile, sums):
        check_contiguous(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        let_widest(builder.function)
        kinds = signature.args
        weights = _place(context, builder, kinds[0], arguments[0], arguments[1])
        rows = _place(context, builder, kinds[2], arguments[2], arguments[3])
        sums = _place(context, builder, kinds[5], arguments[5], arguments[6])
        before = builder.block
        loop = builder.append_basic_block("features")
        after = builder.append_basic_block("summed")
        builder.branch(loop)
        builder.position_at_end(loop)
        number, weight, row = (builder.phi(kind) for kind in (_I64, weights.type, rows.type))
        totals = [builder.phi(_KIND) for _ in range(2 * _COLUMNS * ABREAST)]
        here = [builder.load(_vector(builder, row, column), align=4) for column in range(_COLUMNS)]
        added = []
        for part in range(2 * ABREAST):
            factor = _spread(builder, builder.load(builder.gep(weight, [_I64(part)])))
            for column in range(_COLUMNS):
                total = totals[part * _COLUMNS + column]
                added.append(rounded_call(builder, "llvm.fma", (factor, here[column], total)))
        ends = (
            builder.add(number, _I64(1)),
            builder.gep(weight, [_I64(2 * ABREAST)]),
            builder.gep(row, [_I64(WIDTH)]),
        )  # fmt: skip
        builder.cbranch(builder.icmp_unsigned("<", ends[0], arguments[4]), loop, after)
        zero = ir.Constant(_KIND, None)
        for phi, first, last in zip(
            (number, weight, row, *totals),
            (_I64(0), weights, rows, *[zero] * len(totals)),
            (*ends, *added),
            strict=True,
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(last, loop)
        builder.position_at_end(after)
        for vector in range(ABREAST):
            for column in range(_COLUMNS):
                plain = added[2 * vector * _COLUMNS + column]
                turned = builder.shuffle_vector(added[(2 * vector + 1) * _COLUMNS + column], zero, _TURNS)
                product = builder.fadd(plain, builder.fmul(turned, _SIGNS))
                place = _vector(builder, sums, vector * _COLUMNS + column)
                builder.store(builder.fadd(builder.load(place, align=4), product), place, align=4)
        return context.get_dummy_value()

    place = types.uint64
    return types.void(weights, place, tile, place, types.uint64, sums, place), generate


add_products: Any = intrinsic(_add_products)
