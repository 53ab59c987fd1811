"""Philox4x32-10 and the normal transform as numba kernels.

Everything here is branch-free and built from integer operations, multiply-adds and square roots,
each of which has one right result. So LLVM can vectorise a plain loop over these helpers, and the
bits are the same for any vector width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .jit import kernel
from .lane_kernels import (
    as_float32,
    as_int32,
    as_uint32,
    lanewise,
    narrowed,
    rounded_call,
    same_bits,
    spread_wide,
    widened,
)  # fmt: skip

# Multipliers and key increments of Philox4x32 (Salmon et al. 2011, table 2 and section 3).
_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

# Minimax fits on the ranges given (errors 2e-7 relative, 2e-8 and 5e-8 absolute): well below
# what a float32 sample of a normal distribution can show.
# log(1 + f) / f on [-1/3, 1/3].
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = (
    np.float32(c)
    for c in (0.99999984, -0.49999876, 0.3333799, -0.25012039, 0.19795012, -0.1634058, 0.17111333, -0.1577458)
)
# sin(pi t) / t and cos(pi t) in t^2, on t in [-1/2, 1/2].
_S0, _S1, _S2, _S3, _S4 = (np.float32(c) for c in (3.14159264, -5.16771009, 2.55007766, -0.59829216, 0.07765941))
_C0, _C1, _C2, _C3, _C4 = (np.float32(c) for c in (0.99999995, -4.93479286, 4.05841191, -1.33188016, 0.2196968))

_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
_MINUS_TWO = np.float32(-2.0)
_LN2 = np.float32(0.6931471805599453)
_TWO_TO_MINUS_23 = np.float32(2.0**-23)
_TWO_TO_MINUS_32 = np.float32(2.0**-32)
_TWO_THIRDS_BITS = np.int32(0x3F2AAAAB)  # 2/3 as a float32
_EXPONENT_MASK = np.int32(-0x800000)  # sign and exponent bits
_EVEN_MASK = np.int32(-2)


_SINGLE, _WHOLE = types.float32, types.int32
_multiply_add = lanewise(_SINGLE, _SINGLE, lambda builder, values: rounded_call(builder, "llvm.fma", values))
_to_bits = lanewise(_WHOLE, _SINGLE, lambda builder, values: same_bits(builder, values[0], _WHOLE))
_to_float = lanewise(_SINGLE, _WHOLE, lambda builder, values: same_bits(builder, values[0], _SINGLE))


def _fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c`` in float32 with one rounding (a fused multiply-add instruction)."""
    return _multiply_add((a, b, c))


def _bits_of(typingctx: Any, value: Any) -> Any:
    """Return the bits of a float32 as an int32."""
    return _to_bits((value,))


def _float_of(typingctx: Any, bits: Any) -> Any:
    """Return the float32 whose bits are an int32."""
    return _to_float((bits,))


def _rounded_function(name: str) -> Any:
    """Return an intrinsic of one float32 that LLVM knows by name, for the CPU and for a GPU alike."""
    of = lanewise(_SINGLE, _SINGLE, lambda builder, values: rounded_call(builder, name, values))

    def function(typingctx: Any, value: Any) -> Any:
        return of((value,))

    return intrinsic(function)


# As plain names: a type checker takes an intrinsic for the Python function behind it, typing context and all.
fma: Any = intrinsic(_fma)
bits_of: Any = intrinsic(_bits_of)
float_of: Any = intrinsic(_float_of)
# numpy's functions of these names, which numba does not have for a GPU.
square_root: Any = _rounded_function("llvm.sqrt")
floor: Any = _rounded_function("llvm.floor")


@kernel(inline="always")
def _philox_round(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the words after one round."""
    product0 = _M0 * (c0 & _LOW)
    product1 = _M1 * (c2 & _LOW)
    return (product1 >> _SHIFT) ^ c1 ^ k0, product1, (product0 >> _SHIFT) ^ c3 ^ k1, product0


@kernel(inline="always")
def philox_words(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the four words of Philox4x32-10, each in the low half of a uint64.

    Arguments are uint64 below 2**32. The high halves of the results are not cleared: every use
    takes the low 32 bits, and leaving them saves instructions in the vectorised loop.
    """
    for _ in range(10):
        c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0, k1)
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@kernel(inline="always")
def philox_lanes(site, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the four words of a block of Philox4x32-10 for each lane; the first words of their addresses differ.

    `site` are lanes of uint32, the rest uint64, of which the low halves count. The rounds stand one after the other: a
    loop of them would be too long for LLVM to unroll.
    """
    c0, c1, c2, c3 = widened(site), spread_wide(c1), spread_wide(c2), spread_wide(c3)
    c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0 + np.uint64(1) * _W0, k1 + np.uint64(1) * _W1)
    c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0 + np.uint64(2) * _W0, k1 + np.uint64(2) * _W1)
    c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0 + np.uint64(3) * _W0, k1 + np.uint64(3) * _W1)
    c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0 + np.uint64(4) * _W0, k1 + np.uint64(4) * _W1)
    c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0 + np.uint64(5) * _W0, k1 + np.uint64(5) * _W1)
    c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0 + np.uint64(6) * _W0, k1 + np.uint64(6) * _W1)
    c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0 + np.uint64(7) * _W0, k1 + np.uint64(7) * _W1)
    c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0 + np.uint64(8) * _W0, k1 + np.uint64(8) * _W1)
    c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0 + np.uint64(9) * _W0, k1 + np.uint64(9) * _W1)
    return narrowed(c0), narrowed(c1), narrowed(c2), narrowed(c3)


@kernel(inline="always")
def unit_float(word):  # type: ignore[no-untyped-def]
    """Return a uint32 word as a float32 in (0, 1], fine near 0."""
    return (as_float32(as_uint32(word)) + _HALF) * _TWO_TO_MINUS_32


@kernel(inline="always")
def gauss_pair(r0, r1):  # type: ignore[no-untyped-def]
    """Return two independent standard normal float32 numbers made of two uint32 words.

    Box and Muller's transform (1958). The first word gives the radius. The second gives the angle:
    its low bit is the sign of the cosine, the others an angle between -pi/2 and pi/2, where one
    polynomial each serves sine and cosine.
    """
    # log(u): u = 2**e * (1 + f) with 1 + f in [2/3, 4/3).
    bits = bits_of(unit_float(r0))
    exponent = as_int32((bits - _TWO_THIRDS_BITS) & _EXPONENT_MASK)
    f = float_of(as_int32(bits - exponent)) - _ONE
    p = fma(_L7, f, _L6)
    p = fma(p, f, _L5)
    p = fma(p, f, _L4)
    p = fma(p, f, _L3)
    p = fma(p, f, _L2)
    p = fma(p, f, _L1)
    p = fma(p, f, _L0)
    log_u = fma(as_float32(exponent) * _TWO_TO_MINUS_23, _LN2, p * f)
    radius = square_root(log_u * _MINUS_TWO)

    angle = as_int32(as_uint32(r1))
    t = as_float32(as_int32(angle & _EVEN_MASK)) * _TWO_TO_MINUS_32
    t2 = t * t
    sine = fma(_S4, t2, _S3)
    sine = fma(sine, t2, _S2)
    sine = fma(sine, t2, _S1)
    sine = fma(sine, t2, _S0)
    cosine = fma(_C4, t2, _C3)
    cosine = fma(cosine, t2, _C2)
    cosine = fma(cosine, t2, _C1)
    cosine = fma(cosine, t2, _C0)
    # The low bit, moved to the top, is a random sign.
    sign = as_int32(angle << np.int32(31))
    return float_of(as_int32(bits_of(radius * cosine) ^ sign)), radius * (sine * t)


@kernel(inline="always")
def unit_double(high, low):  # type: ignore[no-untyped-def]
    """Return 52 of 64 random bits as a float64 in (0, 1)."""
    bits = (np.uint64(np.uint32(high)) << np.uint64(20)) | (np.uint64(np.uint32(low)) >> np.uint64(12))
    return (np.float64(bits) + 0.5) * 2.0**-52


@kernel(inline="always")
def uniform(k0, k1, index):  # type: ignore[no-untyped-def]
    """Return element `index` of a uniform stream: two to a Philox block."""
    block = index >> np.uint64(1)
    r0, r1, r2, r3 = philox_words(
        block & _LOW, block >> _SHIFT, np.uint64(0), np.uint64(0), np.uint64(k0), np.uint64(k1)
    )
    odd = (index & np.uint64(1)) != np.uint64(0)
    return unit_double(r2 if odd else r0, r3 if odd else r1)


@kernel(inline="always")
def normal(k0, k1, index):  # type: ignore[no-untyped-def]
    """Return element `index` of a normal stream: four to a Philox block."""
    block = index >> np.uint64(2)
    r0, r1, r2, r3 = philox_words(
        block & _LOW, block >> _SHIFT, np.uint64(0), np.uint64(0), np.uint64(k0), np.uint64(k1)
    )
    late = (index & np.uint64(2)) != np.uint64(0)
    first, second = gauss_pair(r2 if late else r0, r3 if late else r1)
    return second if (index & np.uint64(1)) != np.uint64(0) else first


@kernel()
def fill_uniforms(k0, k1, offset, out):  # type: ignore[no-untyped-def]
    """Write elements `offset`, `offset` + 1, ... of a uniform stream to `out` (float64, 1-D)."""
    for i in range(np.uint64(out.size)):
        out[i] = uniform(k0, k1, offset + i)


@kernel()
def gather_uniforms(k0, k1, indices, out):  # type: ignore[no-untyped-def]
    """Write elements `indices` (uint64, 1-D) of a uniform stream to `out` (float64, 1-D)."""
    for i in range(np.uint64(out.size)):
        out[i] = uniform(k0, k1, indices[i])


@kernel()
def gather_normals(k0, k1, indices, out):  # type: ignore[no-untyped-def]
    """Write elements `indices` (uint64, 1-D) of a normal stream to `out` (float32, 1-D)."""
    for i in range(np.uint64(out.size)):
        out[i] = normal(k0, k1, indices[i])


@kernel()
def fill_normals(k0, k1, offset, out):  # type: ignore[no-untyped-def]
    """Write elements `offset`, `offset` + 1, ... of a normal stream to `out` (float32, 1-D)."""
    size = np.uint64(out.size)
    # Up to the first whole block of four, whole blocks, the rest.
    head = min((np.uint64(4) - (offset & np.uint64(3))) & np.uint64(3), size)
    for i in range(head):
        out[i] = normal(k0, k1, offset + i)
    n_blocks = (size - head) >> np.uint64(2)
    first_block = (offset + head) >> np.uint64(2)
    for b in range(n_blocks):
        block = first_block + b
        r0, r1, r2, r3 = philox_words(
            block & _LOW, block >> _SHIFT, np.uint64(0), np.uint64(0), np.uint64(k0), np.uint64(k1)
        )
        i = head + (b << np.uint64(2))
        out[i], out[i + np.uint64(1)] = gauss_pair(r0, r1)
        out[i + np.uint64(2)], out[i + np.uint64(3)] = gauss_pair(r2, r3)
    for i in range(head + (n_blocks << np.uint64(2)), size):
        out[i] = normal(k0, k1, offset + i)


def normals_between(key: tuple[np.uint32, np.uint32], first: int, stop: int) -> np.ndarray:
    """Return the elements `first` to `stop` - 1 of `rng.normals`, nothing checked: for stages, with frame numbers.

    Parameters
    ----------
    key : tuple of two numpy.uint32
        From `rng.key_of`.
    first, stop : int
        From 0 on.

    Returns
    -------
    ndarray of float32, shape (stop - first,)
        The numbers.
    """
    out = np.empty(stop - first, dtype=np.float32)
    fill_normals(*key, np.uint64(first), out)
    return out
