"""Sine, cosine, exponential and logarithm in double precision as numba kernels, with one right result everywhere.

Those of numpy and of the C library have other last bits on another processor: both choose among several codes by the
instructions that it has, and fuse products with sums where it can. Here every step is an operation whose result IEEE
754 fixes (sum, product, quotient, square root, fused product and sum where it is written so), and no compiler may
put others in their place. So the bits are the same for any processor, vector width and number of threads.

Reduction and polynomials are those of fdlibm (Sun Microsystems, 1993; FreeBSD msun), without their branches. Errors
are below one unit in the last place, which `tests/base/test_elementary.py` holds against exact arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import kernel
from .vector_kernels import let_widest

VECTOR_BITS = 512  # of the widest vectors; LLVM splits them where registers are narrower

# 1.5 * 2**52: added to a number below 2**51 it leaves the nearest whole one in the low bits.
_MAGIC = np.float64(6755399441055744.0)
_MAGIC_BITS = np.int64(0x4338000000000000)

#: Largest angle in radians: beyond it the nearest quarter of a turn is not found.
MOST_RAD = 1e13
_TWO_OVER_PI = np.float64(6.36619772367581382433e-01)
# pi / 2 in three parts of 53 bits each: a fused product and sum takes the first one off exactly.
_PIO2_1 = np.float64(float.fromhex("0x1.921fb54442d18p+0"))
_PIO2_2 = np.float64(float.fromhex("0x1.1a62633145c07p-54"))
_PIO2_3 = np.float64(float.fromhex("-0x1.f1976b7ed8fbcp-110"))
_S1, _S2, _S3, _S4, _S5, _S6 = (
    np.float64(c)
    for c in (
        -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
        2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10,
    )
)  # fmt: skip
_C1, _C2, _C3, _C4, _C5, _C6 = (
    np.float64(c)
    for c in (
        4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
        -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11,
    )
)  # fmt: skip

_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7, _T8, _T9, _T10 = (
    np.float64(c)
    for c in (
        3.33333333333329318027e-01, -1.99999999998764832476e-01, 1.42857142725034663711e-01,
        -1.11111104054623557880e-01, 9.09088713343650656196e-02, -7.69187620504482999495e-02,
        6.66107313738753120669e-02, -5.83357013379057348645e-02, 4.97687799461593236017e-02,
        -3.65315727442169155270e-02, 1.62858201153657823623e-02,
    )
)  # fmt: skip
_TAN_PI_8 = np.float64(0.41421356237309503)
_PIO4, _PIO4_LO = np.float64(0.5 * _PIO2_1), np.float64(0.5 * _PIO2_2)
_PI, _PI_LO = np.float64(2.0 * _PIO2_1), np.float64(2.0 * _PIO2_2)

_LOG2_E = np.float64(1.44269504088896338700e00)
# ln 2, the first part with 20 zero bits at its end: a product with an exponent is exact.
_LN2_HI, _LN2_LO = np.float64(6.93147180369123816490e-01), np.float64(1.90821492927058770002e-10)
_P1, _P2, _P3, _P4, _P5 = (
    np.float64(c)
    for c in (
        1.66666666666666019037e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05,
        -1.65339022054652515390e-06, 4.13813679705723846039e-08,
    )
)  # fmt: skip
_MOST_EXPONENT = np.float64(800.0)  # beyond, the result is 0 or infinity
_EXPONENT_BITS = np.int64(52)
_BIAS = np.int64(1023)

_L1, _L2, _L3, _L4, _L5, _L6, _L7 = (
    np.float64(c)
    for c in (
        6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
        1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
    )
)  # fmt: skip
_ROOT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)  # sqrt(1/2)
_EXPONENT_MASK = np.int64(-0x10000000000000)  # sign and exponent bits
_LEAST_NORMAL = np.float64(2.0**-1022)
_TWO_TO_54 = np.float64(2.0**54)

_ONE, _TWO, _HALF, _ZERO = np.float64(1.0), np.float64(2.0), np.float64(0.5), np.float64(0.0)
_INFINITY, _NAN = np.float64(np.inf), np.float64(np.nan)
_MOST = np.float64(MOST_RAD)


def _fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c`` in float64 with one rounding."""
    signature = types.float64(types.float64, types.float64, types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return signature, generate


def _bits_of(typingctx: Any, value: Any) -> Any:
    """Return the bits of a float64 as an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int64))

    return types.int64(types.float64), generate


def _double_of(typingctx: Any, bits: Any) -> Any:
    """Return the float64 whose bits are an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


# As plain names: a type checker takes an intrinsic for the Python function behind it, typing context and all.
fma: Any = intrinsic(_fma)
bits_of: Any = intrinsic(_bits_of)
double_of: Any = intrinsic(_double_of)


@kernel(inline="always")
def cosine_and_sine(x):  # type: ignore[no-untyped-def]
    """Return cosine and sine of an angle in radians (float64); NaN beyond `MOST_RAD`."""
    # x = quarter * pi / 2 + r + rest, with |r| below pi / 4 and |rest| below its last bit. The first difference is
    # exact; what rounding took from the second one, and from the product in it, goes to the rest (Knuth's, Dekker's).
    shifted = x * _TWO_OVER_PI + _MAGIC
    quarter = shifted - _MAGIC
    turn = bits_of(shifted)
    first = fma(-quarter, _PIO2_1, x)
    second = quarter * _PIO2_2
    r = first - second
    back = first - r
    lost = (first - (r + back)) + (back - second)
    rest = lost - (fma(quarter, _PIO2_2, -second) + quarter * _PIO2_3)

    z = r * r
    w = z * z
    s = (_S2 + z * (_S3 + z * _S4)) + (z * w) * (_S5 + z * _S6)
    v = z * r
    sine = r - ((z * (_HALF * rest - v * s) - rest) - v * _S1)
    c = z * (_C1 + z * (_C2 + z * _C3)) + (w * w) * (_C4 + z * (_C5 + z * _C6))
    half = _HALF * z
    most = _ONE - half
    cosine = most + (((_ONE - most) - half) + (z * c - r * rest))

    # A quarter of a turn more: (c, s) becomes (-s, c).
    odd = (turn & np.int64(1)) != np.int64(0)
    a = sine if odd else cosine
    b = cosine if odd else sine
    a = -a if ((turn + np.int64(1)) & np.int64(2)) != np.int64(0) else a
    b = -b if (turn & np.int64(2)) != np.int64(0) else b
    known = abs(x) <= _MOST
    return (a if known else _NAN), (b if known else _NAN)


@kernel(inline="always")
def exponential(x):  # type: ignore[no-untyped-def]
    """Return e to the power of a float64."""
    clipped = min(max(x, -_MOST_EXPONENT), _MOST_EXPONENT)
    shifted = clipped * _LOG2_E + _MAGIC
    power = shifted - _MAGIC
    n = bits_of(shifted) - _MAGIC_BITS
    high = clipped - power * _LN2_HI
    low = power * _LN2_LO
    r = high - low
    t = r * r
    c = r - t * (_P1 + t * (_P2 + t * (_P3 + t * (_P4 + t * _P5))))
    y = _ONE - ((low - (r * c) / (_TWO - c)) - high)
    # In two steps, so that results below the least normal number come out, and those above the largest are infinite.
    half = n >> np.int64(1)
    y = y * double_of((half + _BIAS) << _EXPONENT_BITS)
    y = y * double_of((n - half + _BIAS) << _EXPONENT_BITS)
    return y if x == x else x


@kernel(inline="always")
def logarithm(x):  # type: ignore[no-untyped-def]
    """Return the natural logarithm of a float64: minus infinity of 0, NaN below."""
    small = x < _LEAST_NORMAL
    bits = bits_of(x * _TWO_TO_54 if small else x)
    # x = 2**k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
    exponent = (bits - _ROOT_HALF_BITS) & _EXPONENT_MASK
    f = double_of(bits - exponent) - _ONE
    k = np.float64(np.int32(exponent >> _EXPONENT_BITS)) - (np.float64(54.0) if small else _ZERO)
    s = f / (_TWO + f)
    z = s * s
    w = z * z
    r = z * (_L1 + w * (_L3 + w * (_L5 + w * _L7))) + w * (_L2 + w * (_L4 + w * _L6))
    square = _HALF * f * f
    y = k * _LN2_HI - ((square - (s * (square + r) + k * _LN2_LO)) - f)
    y = y if x < _INFINITY else x  # infinity and NaN
    return y if x > _ZERO else (-_INFINITY if x == _ZERO else (x if x != x else _NAN))


@kernel(inline="always")
def arctangent(y, x):  # type: ignore[no-untyped-def]
    """Return the angle of the point (x, y) in radians (float64), from -pi to pi; 0 for the origin."""
    a, b = abs(x), abs(y)
    large, least = max(a, b), min(a, b)
    # t = least / large in [0, 1]; above tan(pi / 8) by the angle from an eighth of a turn.
    far = least > _TAN_PI_8 * large
    above = least - large if far else least
    below = least + large if far else large
    t = above / (below if below > _ZERO else _ONE)
    z = t * t
    w = z * z
    odd = z * (_T0 + w * (_T2 + w * (_T4 + w * (_T6 + w * (_T8 + w * _T10)))))
    even = w * (_T1 + w * (_T3 + w * (_T5 + w * (_T7 + w * _T9))))
    angle = t - t * (odd + even)
    angle = _PIO4 + (angle + _PIO4_LO) if far else angle
    angle = (_PIO2_1 - (angle - _PIO2_2)) if b > a else angle
    angle = (_PI - (angle - _PI_LO)) if x < _ZERO else angle
    return -angle if y < _ZERO else angle


@kernel()
def fill_angles(y, x, out, start, stop):  # type: ignore[no-untyped-def]
    """Write the angles of points `start` to `stop` to `out` (all float64, 1-D, contiguous)."""
    for i in range(np.uint64(start), np.uint64(stop)):
        out[i] = arctangent(y[i], x[i])


@kernel()
def fill_sines(x, out, start, stop):  # type: ignore[no-untyped-def]
    """Write the sines of elements `start` to `stop` of `x` to `out` (both float64, 1-D, contiguous)."""
    for i in range(np.uint64(start), np.uint64(stop)):
        out[i] = cosine_and_sine(x[i])[1]


@kernel()
def fill_cosines(x, out, start, stop):  # type: ignore[no-untyped-def]
    """Write the cosines of elements `start` to `stop` of `x` to `out` (both float64, 1-D, contiguous)."""
    for i in range(np.uint64(start), np.uint64(stop)):
        out[i] = cosine_and_sine(x[i])[0]


@kernel()
def fill_exponentials(x, out, start, stop):  # type: ignore[no-untyped-def]
    """Write the exponentials of elements `start` to `stop` of `x` to `out` (both float64, 1-D, contiguous)."""
    for i in range(np.uint64(start), np.uint64(stop)):
        out[i] = exponential(x[i])


@kernel()
def fill_logarithms(x, out, start, stop):  # type: ignore[no-untyped-def]
    """Write the logarithms of elements `start` to `stop` of `x` to `out` (both float64, 1-D, contiguous)."""
    for i in range(np.uint64(start), np.uint64(stop)):
        out[i] = logarithm(x[i])


@kernel()
def fill_phasors(x, out, start, stop):  # type: ignore[no-untyped-def]
    """Write exp(i x) of elements `start` to `stop` of `x` as pairs, computed in float64.

    Parameters
    ----------
    x : ndarray of float32 or float64, 1-D, contiguous
        Angles in radians.
    out : ndarray of float32 or float64, 1-D, contiguous
        Twice as long: real and imaginary parts by turns.
    start, stop : int
        Range of elements of `x`.
    """
    for i in range(np.uint64(start), np.uint64(stop)):
        cosine, sine = cosine_and_sine(np.float64(x[i]))
        out[np.uint64(2) * i] = cosine
        out[np.uint64(2) * i + np.uint64(1)] = sine


def _multiply_vector(typingctx: Any, a: Any, b: Any, out: Any, place: Any) -> Any:
    """Write as many products of complex numbers as 512 bits hold, from `place` on; each array lies in one piece.

    All are read before any is written. The attributes are for the caller, into which LLVM puts this.
    """
    part = a.dtype.underlying_float

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        let_widest(builder.function)
        count = VECTOR_BITS // part.bitwidth
        vector = ir.VectorType(context.get_value_type(part), count)
        *arrays, first = arguments
        places = []
        for kind, array in zip(signature.args, arrays, strict=False):
            start = builder.gep(context.make_array(kind)(context, builder, array).data, [first])
            places.append(builder.bitcast(start, vector.as_pointer()))
        left, right = (builder.load(each, align=part.bitwidth // 8) for each in places[:2])

        def taken(one: Any, other: Any, lanes: list[int]) -> Any:
            return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(ir.IntType(32), count), lanes))

        every = range(count)
        turned = taken(left, left, [i ^ 1 for i in every])  # imaginary, real
        # re re', im re', ... and im im', re im', ...: their difference and their sum, by turns.
        first = builder.fmul(left, taken(right, right, [i & ~1 for i in every]))
        second = builder.fmul(turned, taken(right, right, [i | 1 for i in every]))
        minus, plus = builder.fsub(first, second), builder.fadd(first, second)
        done = taken(minus, plus, [i + (count if i % 2 else 0) for i in every])
        builder.store(done, places[2], align=part.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(a, b, out, types.intp), generate


_multiply_vector_at: Any = intrinsic(_multiply_vector)


@kernel()
def multiply_rows(a, b, out):  # type: ignore[no-untyped-def]
    """Write products of complex numbers to `out`, no part of them fused; `out` may be `a` or `b`.

    Parameters
    ----------
    a, out : ndarray of complex64 or complex128, shape (n, rows, columns)
        Factors, and their products.
    b : ndarray of the same kind, shape (rows, columns)
        The other factor of each of the `n`.
    """
    size = a.itemsize
    count = VECTOR_BITS // (8 * size)
    # LLVM's own vectoriser takes numbers one by one where it cannot tell that `out` is `a`.
    whole = 0
    if a.strides[2] == size and b.strides[1] == size and out.strides[2] == size:
        whole = a.shape[2] // count * count
    for k in range(a.shape[0]):
        for i in range(a.shape[1]):
            one, other, target = a[k, i], b[i], out[k, i]
            for j in range(0, whole, count):
                _multiply_vector_at(one, other, target, j)
            for j in range(whole, a.shape[2]):
                re, im = one[j].real, one[j].imag
                b_re, b_im = other[j].real, other[j].imag
                target[j] = complex(re * b_re - im * b_im, re * b_im + im * b_re)
