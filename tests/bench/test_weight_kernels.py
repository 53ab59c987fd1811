"""Sums of a matrix with complex weights: the fast kernels against the law written plainly, bit for bit.

The law: each field begins with its constant; blocks of features follow in order. Of each block two sums are made
feature by feature in single precision, the row times the real parts of the weights and times the imaginary parts, each
product added with one rounding; the second is turned by 90 degrees, and both are added to the field. So it is written
here, with numpy. A product of two numbers of single precision is exact in double precision; a sum with a third that is
rounded to an odd last bit there rounds to single precision as the exact one does (Boldo and Melquiond 2008).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from opusim.base import parallel
from opusim.bench import weight_kernels
from opusim.bench.weight_kernels import DIRECT, STRIP, make_space, pack_weights, panel_shape, space_bytes
from opusim.bench.weighted_tile_kernels import ABREAST, FEATURES, WIDTH


def multiply_add(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return a b + c in single precision, rounded once."""
    product, c = a.astype(np.float64) * b, c.astype(np.float64)
    total = product + c
    back = total - product
    left = (product - (total - back)) + (c - back)  # what rounding took, exactly (Knuth)
    even = total.view(np.int64) % 2 == 0
    odd = np.nextafter(total, np.where(left > 0, np.inf, -np.inf))
    return np.where((left != 0) & even, odd, total).astype(np.float32)


def plain_sums(weights: np.ndarray, matrix: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Return the fields of vectors, block by block: complex64 (n, n_fields)."""
    fields = np.repeat(constant[None], len(weights), axis=0)
    for first in range(0, len(matrix), FEATURES):
        plain, turned = np.zeros_like(fields), np.zeros_like(fields)
        for row, weight in zip(matrix[first : first + FEATURES], weights.T[first : first + FEATURES], strict=True):
            plain = multiply_add(weight.real[:, None], row, plain)
            turned = multiply_add(weight.imag[:, None], row, turned)
        fields[:, 0::2] += plain[:, 0::2] - turned[:, 1::2]
        fields[:, 1::2] += plain[:, 1::2] + turned[:, 0::2]
    return fields.view(np.complex64)


def packed(weights: np.ndarray, at_a_time: int = 1) -> np.ndarray:
    """Return weights as the kernels take them, so many blocks of vectors packed at a time."""
    n, n_features = weights.shape
    if n <= DIRECT:
        return weights.view(np.float32)
    panel = np.full(panel_shape(n, n_features), np.nan, dtype=np.float32)
    for block in range(0, -(-n // ABREAST), at_a_time):
        some = weights[block * ABREAST : (block + at_a_time) * ABREAST]
        pack_weights(some.view(np.float32), n_features, panel[0], block, -(-n // ABREAST))
    return panel


def kernel_sums(
    weights: np.ndarray,
    matrix: np.ndarray,
    constant: np.ndarray,
    *,
    samples: int = 1,
    strip: int = STRIP,
    threads: int = 1,
    at_a_time: int = 1,
) -> np.ndarray:
    """Return the same by the kernels."""
    given = packed(weights, at_a_time)
    out = np.full((len(weights), matrix.shape[1]), np.nan, dtype=np.float32)

    def work(a: int, b: int) -> None:
        weight_kernels.weigh_matrix(given, len(weights), matrix, constant, strip, samples, out, a, b)

    n_pixels = matrix.shape[1] // (2 * samples)
    parallel.over_ranges(work, -(-n_pixels // strip), threads)
    return out.view(np.complex64)


def case(n: int, n_features: int, n_fields: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = np.exp(2j * np.pi * rng.random((n, n_features))).astype(np.complex64)
    matrix = rng.normal(size=(n_features, 2 * n_fields)).astype(np.float32)
    return weights, matrix, rng.normal(size=2 * n_fields).astype(np.float32)


def test_the_multiply_add_of_this_test_rounds_once():
    # 1 + 2^-12 squared is 1 + 2^-11 + 2^-24: rounded to 24 bits before the sum, the last part would be lost.
    one = np.array([1 + 2.0**-12], dtype=np.float32)
    assert multiply_add(one, one, np.array([-1.0 - 2.0**-11], dtype=np.float32)) == np.float32(2.0**-24)
    # Halfway between two numbers but for 2^-60, which double precision drops: up, not to the even one below.
    small = np.array([2.0**-30], dtype=np.float32)
    half = multiply_add(one * 0 + 1, np.array([1 + 2.0**-23], np.float32), np.array([2.0**-24], np.float32))
    assert half == np.float32(1 + 2.0**-22)  # the tie goes to the even one
    assert multiply_add(small, small, np.array([1.0], np.float32)) == 1


@pytest.mark.parametrize("n", [1, 2, DIRECT, DIRECT + 1, 2 * ABREAST + 1, 20])
@pytest.mark.parametrize("n_features", [1, 3, 4, 7, FEATURES, FEATURES + 1, 2 * FEATURES + 9])
@pytest.mark.parametrize("n_fields", [1, WIDTH // 2, WIDTH // 2 + 1, STRIP + 3])
def test_sums_are_those_of_the_law(n, n_features, n_fields):
    given = case(n, n_features, n_fields, seed=n + n_features + n_fields)
    assert np.array_equal(kernel_sums(*given), plain_sums(*given))


def test_sums_are_the_product_of_complex_matrices():
    weights, matrix, constant = case(30, 700, 90)
    exact = weights.astype(complex) @ matrix.view(np.complex64).astype(complex) + constant.view(np.complex64)
    found = kernel_sums(weights, matrix, constant)
    # Roundings of 700 products add up like a random walk: 2^-24 sqrt(700) of the sum's size, 1.6e-6.
    assert np.abs(found - exact).max() < 3e-6 * np.sqrt(np.mean(np.abs(exact) ** 2))


@pytest.mark.parametrize(("samples", "strip"), [(1, 256), (1, 32), (1, 45), (2, 128), (3, 85), (64, 4)])
@pytest.mark.parametrize("threads", [1, 3])
def test_strips_and_threads_change_nothing(samples, strip, threads):
    given = case(9, 100, 64 * 9)
    assert np.array_equal(kernel_sums(*given, samples=samples, strip=strip, threads=threads), plain_sums(*given))


def test_a_vector_has_the_same_bits_in_any_batch():
    weights, matrix, constant = case(500, 300, 70)
    whole = kernel_sums(weights, matrix, constant)
    assert np.array_equal(kernel_sums(weights, matrix, constant, at_a_time=7), whole)
    for n in (1, DIRECT, DIRECT + 1, 100):
        assert np.array_equal(kernel_sums(weights[:n], matrix, constant), whole[:n])
        assert np.array_equal(kernel_sums(np.ascontiguousarray(weights[-n:]), matrix, constant), whole[-n:])


def test_numbers_beyond_single_precision_stay_where_they_are():
    # Infinite and undefined entries reach their own column, and undefined weights their own vector.
    weights, matrix, constant = case(40, 64, 33)
    matrix[3, 10], matrix[60, 20] = np.inf, np.nan
    weights[7, 5] = np.nan
    found = kernel_sums(weights, matrix, constant)
    bad = np.isnan(found.real) | np.isnan(found.imag) | np.isinf(found)
    expected = np.zeros_like(bad)
    expected[7], expected[:, [5, 10]] = True, True
    assert np.array_equal(bad, expected)


@pytest.mark.parametrize("n", [1, DIRECT, DIRECT + 1, 64, 1024])
def test_the_space_takes_what_is_declared(n):
    space = make_space(n)
    assert sum(array.nbytes for array in space) == space_bytes(n)
    assert all(array.ctypes.data % 64 == 0 for array in space)


# In a process of its own, as for another processor: shapes of tiles, packed and direct sums.
_DIGEST = """
import hashlib, json, sys
sys.path.insert(0, "tests/bench")
from test_weight_kernels import DIRECT, WIDTH, case, kernel_sums
found = [kernel_sums(*case(n, 270, 75)) for n in (1, DIRECT + 1, 20)]
print(json.dumps([hashlib.sha256(one.tobytes()).hexdigest() for one in found] + [WIDTH]))
"""


@pytest.mark.system
@pytest.mark.parametrize(
    ("processor", "features"),
    [("generic", ""), ("haswell", "+avx2,+fma"), ("skylake-avx512", "+avx2,+fma,+avx512f,+avx512dq,+avx512vl")],
)
def test_sums_have_the_same_bits_for_another_processor(processor, features, tmp_path):
    known = _features()
    if not all(known.get(one.strip("+")) for one in features.split(",") if one):
        pytest.skip("this processor has no such vectors")
    variables = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _DIGEST], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *found, width = json.loads(done.stdout)
    assert width == (32 if "avx512" in features else 16)
    assert found == [hashlib.sha256(kernel_sums(*case(n, 270, 75)).tobytes()).hexdigest() for n in (1, DIRECT + 1, 20)]


def _features() -> dict[str, bool]:
    from llvmlite import binding

    return dict(binding.get_host_cpu_features())
