"""Sums of table entries in the widest vectors: what the kernels of the matrix way spend their time with.

A tile is 64 numbers, real and imaginary parts by turns: four vectors of 512 bits, which stay in registers while entries
are added to them. LLVM splits such vectors for processors whose own are shorter. Each element is added to in the same
order whatever the width, so the bits are those of a plain loop.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from opusim.base.vector_kernels import check_contiguous, let_widest

GROUP = 4  # features in a group: sixteen sums
GROUPS = (
    8  # groups whose tables exist at a time: 32 KB, which a first-level cache of 48 KB holds beside what is added to
)
WIDTH = 64  # numbers of a tile, 32 fields
ENTRY_BITS = (4 * WIDTH).bit_length() - 1  # of the bytes of an entry, which is as long as a tile
ENTRIES = 1 << GROUP
assert GROUPS * ENTRIES <= 256 and GROUPS <= 8, "numbers of entries are bytes of one word"
assert 4 * WIDTH == 1 << ENTRY_BITS, "entries are found by a shift"
LINE = 16  # numbers of a line of the cache

_LANES = 16
_VECTORS = WIDTH // _LANES
_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(ir.FloatType(), _LANES).as_pointer()
_BYTES = ir.IntType(8).as_pointer()


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Return the pointer to the data of a contiguous array."""
    return context.make_array(kind)(context, builder, array).data


def _lanes(builder: Any, start: Any) -> list[Any]:
    """Return pointers to the vectors of a tile that starts there."""
    return [builder.bitcast(builder.gep(start, [_I64(_LANES * i)]), _VECTOR) for i in range(_VECTORS)]


def _load(builder: Any, start: Any) -> list[Any]:
    """Return the vectors of a tile."""
    return [builder.load(place, align=4) for place in _lanes(builder, start)]


def _store(builder: Any, start: Any, values: list[Any]) -> None:
    """Write the vectors of a tile."""
    for value, place in zip(values, _lanes(builder, start), strict=True):
        builder.store(value, place, align=4)


def _adder(n: int) -> Any:
    """Return an intrinsic that adds `n` entries of the tables to one tile."""

    def add_entries(typingctx: Any, sums: Any, place: Any, tables: Any, entries: Any) -> Any:
        """Add the entries whose numbers are the low bytes of `entries`, in order, to `sums[place : place + WIDTH]`."""
        check_contiguous(sums)
        check_contiguous(tables)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            let_widest(builder.function)
            target, place, source, entries = arguments
            start = builder.gep(_data(context, builder, signature.args[0], target), [place])
            table = builder.bitcast(_data(context, builder, signature.args[2], source), _BYTES)
            values = _load(builder, start)
            for i in range(n):
                # Number i, times the bytes of an entry.
                shift = 8 * i - ENTRY_BITS
                moved = builder.lshr(entries, _I64(shift)) if shift >= 0 else builder.shl(entries, _I64(-shift))
                entry = builder.gep(table, [builder.and_(moved, _I64(0xFF << ENTRY_BITS))])
                added = _load(builder, builder.bitcast(entry, ir.FloatType().as_pointer()))
                values = [builder.fadd(a, b) for a, b in zip(values, added, strict=True)]
            _store(builder, start, values)
            return context.get_dummy_value()

        return types.void(sums, types.uint64, tables, types.uint64), generate

    return intrinsic(add_entries)


add_1, add_2, add_3, add_4, add_5, add_6, add_7, add_8 = (_adder(n) for n in range(1, GROUPS + 1))


def _fill_entries(typingctx: Any, rows: Any, place: Any, tables: Any, group: Any) -> Any:
    """Write the sixteen sums of four rows of a tile, of which entry m has those whose bits are set in m.

    The rows begin at `rows[place]`, one after the other; the entries are those of a group of the tables. The row of the
    highest bit is added last.
    """
    check_contiguous(rows)
    check_contiguous(tables)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        let_widest(builder.function)
        source, place, target, group = arguments
        row = builder.gep(_data(context, builder, signature.args[0], source), [place])
        rows = []
        for _ in range(GROUP):
            rows.append(_lanes(builder, row))
            row = builder.gep(row, [_I64(WIDTH)])
        first = builder.mul(group, _I64(ENTRIES * WIDTH))
        entries = builder.gep(_data(context, builder, signature.args[2], target), [first])
        for i in range(_VECTORS):  # one after the other: sixteen vectors are as many as registers hold
            sums = [ir.Constant(_VECTOR.pointee, None)]
            for lanes in rows:
                value = builder.load(lanes[i], align=4)
                sums += [value] + [builder.fadd(one, value) for one in sums[1:]]
            for m, one in enumerate(sums):
                place = builder.bitcast(builder.gep(entries, [_I64(m * WIDTH + _LANES * i)]), _VECTOR)
                builder.store(one, place, align=4)
        return context.get_dummy_value()

    return types.void(rows, types.uint64, tables, types.uint64), generate


fill_entries: Any = intrinsic(_fill_entries)
