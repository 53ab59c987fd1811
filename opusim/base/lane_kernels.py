"""Numbers side by side, as one value in a kernel.

LLVM's own vectoriser takes a loop as wide as its widest type, and no wider: one that makes 64-bit products of 32-bit
words has half the lanes that the processor has, and the words go through memory. A kernel that computes with `Lanes`
says itself what stands side by side, and LLVM splits it into the registers that there are. Each lane is computed as the
number alone would be, with the same operations in the same order, so it has the same bits.

Functions written with operators and with the functions below take numbers and `Lanes` alike: a law of one number is
one of many. Where a number meets lanes, it stands in each of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

from .vector_kernels import check_contiguous

# Two vectors of 512 bits: with one, each step of a long chain waits for the one before (half as fast again for the
# camera), with four, blocks below 64 pixels are mostly padding, and large ones gain a tenth.
LANES = 32
"""Numbers side by side."""


class Lanes(types.Type):
    """Numba's type of `LANES` numbers, or answers of yes or no, side by side.

    Parameters
    ----------
    element : numba type
        What stands in a lane.
    """

    def __init__(self, element: Any) -> None:
        self.element = element
        super().__init__(name=f"lanes({element} x {LANES})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        element = manager.lookup(kind.element).get_value_type()
        super().__init__(manager, kind, ir.VectorType(element, LANES))


FLOATS, SIGNED, WORDS = Lanes(types.float32), Lanes(types.int32), Lanes(types.uint32)
WIDE, ANSWERS = Lanes(types.uint64), Lanes(types.boolean)


def lanes_among(arguments: tuple[Any, ...]) -> Lanes | None:
    """Return the type of the first argument that is `Lanes`; None: all are numbers.

    Parameters
    ----------
    arguments : tuple of numba types
        Of a call.
    """
    return next((each for each in arguments if isinstance(each, Lanes)), None)


def spread(builder: Any, value: Any) -> Any:
    """Return LLVM's vector that has one number in each lane.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Of the function that is being built.
    value : llvmlite.ir.Value
        The number.
    """
    vector = ir.VectorType(value.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), _places([0] * LANES))


def rounded_call(builder: Any, name: str, values: Any) -> Any:
    """Return a call of a function of LLVM's, such as its multiply-add, on numbers or on vectors of float32.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Of the function that is being built.
    name : str
        LLVM's name without its type.
    values : sequence of llvmlite.ir.Value
        The arguments, all of one type.
    """
    kind = values[0].type
    suffix = f"v{kind.count}f32" if isinstance(kind, ir.VectorType) else "f32"
    called = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(values)), f"{name}.{suffix}"
    )
    return builder.call(called, values)


def same_bits(builder: Any, value: Any, to: Any) -> Any:
    """Return a number or a vector of 32 bits taken for one of another type.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Of the function that is being built.
    value : llvmlite.ir.Value
        The number or the vector.
    to : numba type
        Of each number of the result: float32 or int32.
    """
    single = ir.FloatType() if to == types.float32 else ir.IntType(32)
    kind = value.type
    return builder.bitcast(value, ir.VectorType(single, kind.count) if isinstance(kind, ir.VectorType) else single)


def _value(context: Any, builder: Any, value: Any, kind: Any, target: Lanes) -> Any:
    """Return an argument as a vector."""
    if isinstance(kind, Lanes):
        return value
    return spread(builder, context.cast(builder, value, kind, target.element))


def lanewise(result: Any, element: Any, make: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return the body of an intrinsic whose arguments are of one type, numbers or lanes.

    Parameters
    ----------
    result, element : numba types
        Of the result and of the arguments, where they are numbers.
    make : callable
        Takes the builder and the list of the arguments' values, returns the value of the result.
    """

    def typed(arguments: tuple[Any, ...]) -> Any:
        if lanes_among(arguments) is None:
            return signature(result, *[element] * len(arguments))
        return signature(Lanes(result), *[Lanes(element) if isinstance(a, Lanes) else element for a in arguments])

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        target = lanes_among(signature.args)
        if target is not None:
            pairs = zip(values, signature.args, strict=True)
            values = [_value(context, builder, value, kind, target) for value, kind in pairs]
        return make(builder, list(values))

    return lambda arguments: (typed(arguments), generate)


def _conversion(target: Any) -> Any:
    """Return an intrinsic that makes numbers of another type, as a call of numpy's type does."""

    def convert(typingctx: Any, value: Any) -> Any:
        of = value.element if isinstance(value, Lanes) else value

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if not isinstance(value, Lanes):
                return context.cast(builder, arguments[0], value, target)
            return _converted(builder, arguments[0], of, target)

        return signature(Lanes(target) if isinstance(value, Lanes) else target, value), generate

    return intrinsic(convert)


def _converted(builder: Any, value: Any, of: Any, to: Any) -> Any:
    if of == to:
        return value
    single = ir.FloatType() if to == types.float32 else ir.IntType(32)
    kind = ir.VectorType(single, LANES)
    if of == types.boolean:
        return builder.zext(value, kind)
    if to == types.float32:
        return (builder.sitofp if of.signed else builder.uitofp)(value, kind)
    if of == types.float32:
        return builder.fptosi(value, kind)
    return value  # whole numbers of 32 bits, with or without a sign


as_float32: Any = _conversion(types.float32)
as_int32: Any = _conversion(types.int32)
as_uint32: Any = _conversion(types.uint32)


def _select(typingctx: Any, answer: Any, yes: Any, no: Any) -> Any:
    """Return `yes` where the answer is yes, else `no`; both of one type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return signature(yes, answer, yes, yes), generate


select: Any = intrinsic(_select)

# ---------------------------------------------------------------------- operators


def _lane_types(arguments: tuple[Any, ...]) -> Any:
    lanes = lanes_among(arguments)
    assert lanes is not None
    return [each if isinstance(each, Lanes) else lanes.element for each in arguments]


def _define(symbol: Any, make: Callable[[Any, Any, Any, Any], Any], answer: bool = False) -> None:
    """Make an operator, or min or max, known for lanes with lanes and lanes with a number."""

    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        key = symbol

        def generic(self, args: Any, kws: Any) -> Any:
            lanes = lanes_among(args)
            if lanes is None or len(args) != 2:
                return None
            return signature(Lanes(types.boolean) if answer else lanes, *_lane_types(args))

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = lanes_among(signature.args)
        assert target is not None
        left, right = (
            _value(context, builder, value, kind, target) for value, kind in zip(arguments, signature.args, strict=True)
        )
        return make(builder, target.element, left, right)

    for pair in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(symbol, *pair)(lower)


def _plain(of_floats: str, of_whole: str) -> Callable[[Any, Any, Any, Any], Any]:
    return lambda builder, element, a, b: getattr(builder, of_floats if element == types.float32 else of_whole)(a, b)


def _comparison(sign: str) -> Callable[[Any, Any, Any, Any], Any]:
    def make(builder: Any, element: Any, a: Any, b: Any) -> Any:
        if element == types.float32:
            return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, a, b)
        return (builder.icmp_signed if element.signed else builder.icmp_unsigned)(sign, a, b)

    return make


def _extreme(sign: str) -> Callable[[Any, Any, Any, Any], Any]:
    """Return what numba's min and max do: the second number where it is beyond the first."""
    compare = _comparison(sign)
    return lambda builder, element, a, b: builder.select(compare(builder, element, b, a), b, a)


_define(operator.add, _plain("fadd", "add"))
_define(operator.sub, _plain("fsub", "sub"))
_define(operator.mul, _plain("fmul", "mul"))
_define(operator.truediv, lambda builder, element, a, b: builder.fdiv(a, b))
_define(operator.and_, lambda builder, element, a, b: builder.and_(a, b))
_define(operator.xor, lambda builder, element, a, b: builder.xor(a, b))
_define(operator.lshift, lambda builder, element, a, b: builder.shl(a, b))
_define(operator.rshift, lambda builder, element, a, b: (builder.ashr if element.signed else builder.lshr)(a, b))
_define(operator.lt, _comparison("<"), answer=True)
_define(min, _extreme("<"))
_define(max, _extreme(">"))


@infer_global(operator.neg)
class _Negation(AbstractTemplate):
    key = operator.neg

    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], args[0]) if args[0] == FLOATS else None


@lower_builtin(operator.neg, Lanes)
def _negate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.fneg(arguments[0])


# ---------------------------------------------------------------------- between lanes


def _widened(typingctx: Any, words: Any) -> Any:
    """Return words as numbers of 64 bits, the even lanes first; the high halves hold anything.

    Products of 64 bits take their factors from the low halves of registers, where even lanes are in any case.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        half = ir.VectorType(ir.IntType(64), LANES // 2)
        even = builder.bitcast(arguments[0], half)
        odd = builder.lshr(even, ir.Constant(half, [32] * (LANES // 2)))
        return builder.shuffle_vector(even, odd, _places(list(range(LANES))))

    return signature(WIDE, WORDS), generate


def _narrowed(typingctx: Any, wide: Any) -> Any:
    """Return the low halves of numbers in the order of `widened` as words, in the order that these had."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        low = builder.bitcast(arguments[0], ir.VectorType(ir.IntType(32), 2 * LANES))
        return builder.shuffle_vector(
            low, ir.Constant(low.type, ir.Undefined), _places([i + (LANES - 1 if i % 2 else 0) for i in range(LANES)])
        )

    return signature(WORDS, WIDE), generate


def _places(numbers: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)


def _spread_wide(typingctx: Any, value: Any) -> Any:
    """Return a uint64 in each lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return spread(builder, arguments[0])

    return signature(WIDE, types.uint64), generate


def _spread_float(typingctx: Any, value: Any) -> Any:
    """Return a float32 in each lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return spread(builder, arguments[0])

    return signature(FLOATS, types.float32), generate


def _asked(of_all: bool) -> Callable[..., Any]:
    def ask(typingctx: Any, answers: Any) -> Any:
        if not isinstance(answers, Lanes):
            return signature(types.boolean, types.boolean), lambda context, builder, signature, arguments: arguments[0]

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            bits = builder.bitcast(arguments[0], ir.IntType(LANES))
            if of_all:
                return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, 2**LANES - 1))
            return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

        return signature(types.boolean, ANSWERS), generate

    return ask


widened: Any = intrinsic(_widened)
narrowed: Any = intrinsic(_narrowed)
spread_wide: Any = intrinsic(_spread_wide)
spread_float: Any = intrinsic(_spread_float)
any_of: Any = intrinsic(_asked(False))
all_of: Any = intrinsic(_asked(True))

# ---------------------------------------------------------------------- memory


def _address(typingctx: Any, array: Any, place: Any) -> Any:
    """Return the address of ``array[place]`` of a contiguous array of one dimension; nothing keeps the array."""
    check_contiguous(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        return builder.gep(data, [arguments[1]])

    return signature(types.CPointer(array.dtype), array, types.intp), generate


def _moved(typingctx: Any, pointer: Any, places: Any) -> Any:
    """Return the address that is some places further."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return signature(pointer, pointer, types.intp), generate


def _moved_as(typingctx: Any, pointer: Any, places: Any, other: Any) -> Any:
    """Return the address that is some places further, as one of numbers of another type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.gep(arguments[0], [arguments[1]]), arguments[2].type)

    return signature(other, pointer, types.intp, other), generate


def _vector_place(context: Any, builder: Any, pointer: Any, place: Any, element: Any) -> tuple[Any, int]:
    kind = context.get_data_type(element)
    there = builder.bitcast(builder.gep(pointer, [place]), ir.VectorType(kind, LANES).as_pointer())
    return there, kind.width // 8 if isinstance(kind, ir.IntType) else 4


def _lanes_at(typingctx: Any, pointer: Any, place: Any) -> Any:
    """Return the `LANES` numbers of 32 bits from `place` on, counted from an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, steps = arguments
        there, width = _vector_place(context, builder, first, steps, pointer.dtype)
        return builder.load(there, align=width)

    return signature(Lanes(pointer.dtype), pointer, types.intp), generate


def _put_lanes(typingctx: Any, pointer: Any, place: Any, values: Any) -> Any:
    """Write `LANES` numbers from `place` on, counted from an address, as the type that is kept there."""
    element = pointer.dtype

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        where, at, value = arguments
        there, width = _vector_place(context, builder, where, at, element)
        if element == types.float32 or values.element == types.float32:
            value = _converted(builder, value, values.element, element if element == types.float32 else types.int32)
        kept = ir.VectorType(context.get_data_type(element), LANES)
        if value.type.element != kept.element:
            value = builder.trunc(value, kept)
        builder.store(value, there, align=width)
        return context.get_dummy_value()

    return signature(types.void, pointer, types.intp, values), generate


def _gathered(typingctx: Any, table: Any, places: Any) -> Any:
    """Return ``table[place]`` for each lane of places, int32 from 0 on; the table is an address or a plain array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, steps = arguments
        if isinstance(table, types.Array):
            first = context.make_array(table)(context, builder, first).data
        element, whole = context.get_data_type(table.dtype), ir.VectorType(ir.IntType(64), LANES)
        result, answers = ir.VectorType(element, LANES), ir.VectorType(ir.IntType(1), LANES)
        steps = builder.mul(builder.zext(steps, whole), ir.Constant(whole, [4] * LANES))
        pointers = builder.inttoptr(
            builder.add(spread(builder, builder.ptrtoint(first, ir.IntType(64))), steps),
            ir.VectorType(first.type, LANES),
        )
        # As every LLVM before 22 has it; it knows its older forms and names.
        kind = ir.FunctionType(result, [pointers.type, ir.IntType(32), answers, result])
        name = f"llvm.masked.gather.v{LANES}{'f' if table.dtype == types.float32 else 'i'}32.v{LANES}p0"
        called = cgutils.get_or_insert_function(builder.module, kind, name)
        yes, nothing = ir.Constant(answers, [1] * LANES), ir.Constant(result, ir.Undefined)
        return builder.call(called, [pointers, ir.Constant(ir.IntType(32), 4), yes, nothing])

    return signature(Lanes(table.dtype), table, places), generate


def _pairs_at(part: int) -> Any:
    """Return an intrinsic for the first or the second numbers of `LANES` pairs."""

    def take(typingctx: Any, pointer: Any, place: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pairs = ir.VectorType(context.get_data_type(pointer.dtype), 2 * LANES)
            both = builder.load(builder.bitcast(builder.gep(arguments[0], [arguments[1]]), pairs.as_pointer()), align=4)
            return builder.shuffle_vector(
                both, ir.Constant(pairs, ir.Undefined), _places([2 * i + part for i in range(LANES)])
            )

        return signature(Lanes(pointer.dtype), pointer, types.intp), generate

    return intrinsic(take)


def _lane_numbers(typingctx: Any) -> Any:
    """Return 0, 1, 2, ..., one to a lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _places(list(range(LANES)))

    return signature(SIGNED), generate


# Of pairs that stand one after the other from `place` on, counted from an address: real and imaginary parts.
firsts_at: Any = _pairs_at(0)
seconds_at: Any = _pairs_at(1)
lane_numbers: Any = intrinsic(_lane_numbers)
gathered: Any = intrinsic(_gathered)
address: Any = intrinsic(_address)
moved: Any = intrinsic(_moved)
moved_as: Any = intrinsic(_moved_as)
lanes_at: Any = intrinsic(_lanes_at)
put_lanes: Any = intrinsic(_put_lanes)
