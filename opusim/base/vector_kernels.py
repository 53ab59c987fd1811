"""What makes LLVM use the widest vectors that a processor has, in kernels that keep them busy.

On many processors with vectors of 512 bits LLVM stays at 256 by itself, as short bursts of wide ones once made a core
slower. A function that calls `use_widest_vectors` is compiled for the width that there is: 512 bits, or 256, or less.
No result depends on it: kernels do the same operations on each element, in the same order.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

# Names of LLVM's attributes of a function (Language Reference, "Function Attributes"); other targets ignore them. With
# the last one the stack is laid out for such vectors: those kept there would lie across two lines of the cache each.
_WIDEST = ('"prefer-vector-width"="512"', '"min-legal-vector-width"="512"', '"stackrealign"')


def let_widest(function: Any) -> None:
    """Give a function of llvmlite the attributes that allow vectors of 512 bits.

    Parameters
    ----------
    function : llvmlite.ir.Function
        The function that is being built.
    """
    for attribute in _WIDEST:
        set.add(function.attributes, attribute)  # llvmlite's own `add` knows no attributes with a value


def check_contiguous(array: Any) -> None:
    """Refuse to compile for an array whose numbers do not lie in line: kernels that take its address read others.

    Parameters
    ----------
    array : numba.types.Array
        Type of the array.

    Raises
    ------
    numba.errors.TypingError
        If it has several dimensions, or may have gaps between its numbers.
    """
    if array.ndim != 1 or array.layout != "C":
        raise errors.TypingError(f"an array of one dimension, contiguous in memory, is needed, but this is {array}")


def _use_widest_vectors(typingctx: Any) -> Any:
    """Let the function that calls this use vectors of 512 bits; at its start, once, outside of loops."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        let_widest(builder.function)
        return context.get_dummy_value()

    return types.void(), generate


use_widest_vectors: Any = intrinsic(_use_widest_vectors)


def _prefetch(typingctx: Any, array: Any, place: Any) -> Any:
    """Ask the memory for the line in which `array[place]` lies, to be read soon; beyond the array nothing happens."""
    check_contiguous(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, place = arguments
        whole, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, whole, whole, whole])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        data = context.make_array(signature.args[0])(context, builder, array).data
        line = builder.bitcast(builder.gep(data, [place]), pointer)
        builder.call(ask, [line, whole(0), whole(3), whole(1)])  # for reading, into all levels of the cache, of data
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate


prefetch: Any = intrinsic(_prefetch)
