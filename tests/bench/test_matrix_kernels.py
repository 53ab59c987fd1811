"""Sums of rows of a matrix: the fast kernels against the law written plainly, bit for bit.

The law: each output begins with its constant; groups of four features follow in order, and of each the rows that are on
are summed in their order, in single precision, and added. So it is written here, with numpy, one vector at a time.
"""

from __future__ import annotations

import numba
import numpy as np
import pytest

import opusim
from opusim.base import parallel
from opusim.bench import matrix_kernels
from opusim.bench.by_matrix import list_groups
from opusim.bench.matrix_kernels import DIRECT, GROUP, STRIP, VECTORS, make_space, space_bytes
from opusim.bench.plan import MAX_SAMPLES
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.patterns.layout import MirrorLayout


def plain_sums(bits: np.ndarray, matrix: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Return the fields of vectors, group by group: float32 (n, numbers)."""
    found = np.empty((len(bits), matrix.shape[1]), dtype=np.float32)
    for one, total in zip(bits, found, strict=True):
        total[:] = constant
        for first in range(0, len(matrix), GROUP):
            rows = matrix[first : first + GROUP][one[first : first + GROUP] == 1]
            if len(rows):
                part = rows[0].copy()
                for row in rows[1:]:
                    part += row
                total += part
    return found


def kernel_sums(
    bits: np.ndarray,
    matrix: np.ndarray,
    constant: np.ndarray,
    *,
    samples: int = 1,
    strip: int = STRIP,
    threads: int = 1,
) -> np.ndarray:
    """Return the same by the kernels."""
    listed = list_groups(np.packbits(bits, axis=1, bitorder="little"), threads)
    out = np.full((len(bits), matrix.shape[1]), np.nan, dtype=np.float32)

    def work(a: int, b: int) -> None:
        matrix_kernels.sum_matrix(*listed, matrix, constant, strip, samples, out, a, b)

    n_pixels = matrix.shape[1] // (2 * samples)
    parallel.over_ranges(work, -(-n_pixels // strip), threads)
    return out


def case(n: int, n_features: int, n_fields: int, on: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    bits = (rng.random((n, n_features)) < on).astype(np.uint8)
    matrix = rng.normal(size=(n_features, 2 * n_fields)).astype(np.float32)
    return bits, matrix, rng.normal(size=2 * n_fields).astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, DIRECT, DIRECT + 1, 70])
@pytest.mark.parametrize("n_features", [1, 4, 7, 32, 33, 519, 1030])
@pytest.mark.parametrize("n_fields", [1, 32, 33, 300])
def test_sums_are_those_of_the_law(n, n_features, n_fields):
    given = case(n, n_features, n_fields, 0.5, seed=n + n_features + n_fields)
    assert np.array_equal(kernel_sums(*given), plain_sums(*given))


@pytest.mark.parametrize("on", [0.0, 0.003, 0.05, 0.2, 0.9, 1.0])
def test_sums_of_sparse_and_of_full_vectors(on):
    given = case(90, 700, 64, on)
    assert np.array_equal(kernel_sums(*given), plain_sums(*given))


def test_sums_of_vectors_that_differ_in_how_many_features_are_on():
    bits, matrix, constant = case(200, 260, 40, 0.5)
    # From none to all, so that every length of a list occurs in every chunk.
    bits[:] = np.arange(260) * 200 < np.arange(200)[:, None] * 261
    bits = np.random.default_rng(1).permuted(bits, axis=1)
    assert np.array_equal(kernel_sums(bits, matrix, constant), plain_sums(bits, matrix, constant))


@pytest.mark.parametrize(("samples", "strip"), [(1, 256), (1, 32), (1, 45), (2, 128), (3, 85), (64, 4)])
@pytest.mark.parametrize("threads", [1, 3])
def test_strips_and_threads_change_nothing(samples, strip, threads):
    bits, matrix, constant = case(30, 100, 64 * 9, 0.4)
    found = kernel_sums(bits, matrix, constant, samples=samples, strip=strip, threads=threads)
    assert np.array_equal(found, plain_sums(bits, matrix, constant))


def test_a_vector_has_the_same_bits_in_any_batch():
    bits, matrix, constant = case(VECTORS, 120, 70, 0.5)
    whole = kernel_sums(bits, matrix, constant)
    for n in (1, DIRECT, DIRECT + 1, 100):
        assert np.array_equal(kernel_sums(bits[:n], matrix, constant), whole[:n])
        assert np.array_equal(kernel_sums(bits[-n:], matrix, constant), whole[-n:])


def test_zeros_have_one_sign_whatever_the_way():
    # Minus 0 is left by adding nothing to it, and becomes plus 0 by adding 0.
    matrix, constant = np.zeros((8, 4), dtype=np.float32), np.full(4, -0.0, dtype=np.float32)
    bits = np.eye(DIRECT + 1, 8, dtype=np.uint8)
    for n in (1, DIRECT, DIRECT + 1):
        assert not np.signbit(kernel_sums(bits[:n], matrix, constant)).any()


def test_numbers_beyond_single_precision_stay_where_they_are():
    # Infinite and undefined entries of a row reach the vectors that have it on, and no other.
    bits, matrix, constant = case(40, 64, 33, 0.5)
    matrix[3, :10], matrix[60, 20:] = np.inf, np.nan
    found = kernel_sums(bits, matrix, constant)
    assert np.array_equal(found, plain_sums(bits, matrix, constant), equal_nan=True)
    assert np.isnan(found[bits[:, 60] == 1][:, 20:]).all() and not np.isnan(found[bits[:, 60] == 0]).any()


@pytest.mark.parametrize("n", [1, DIRECT, DIRECT + 1, 64, VECTORS])
def test_the_space_takes_what_is_declared(n):
    space = make_space(n)
    assert sum(array.nbytes for array in space) == space_bytes(n)
    assert all(array.ctypes.data % 64 == 0 for array in space)


def test_a_strip_has_whole_pixels():
    assert MAX_SAMPLES <= STRIP


def test_arrays_with_gaps_are_refused():
    # A kernel that takes an address would read what lies between.
    bits, matrix, constant = case(20, 40, 64, 0.5)
    listed = list_groups(np.packbits(bits, axis=1, bitorder="little"))
    wide = np.zeros((40, 256), dtype=np.float32)[:, ::2]
    with pytest.raises((TypeError, ValueError, NotImplementedError, numba.errors.NumbaError)):
        matrix_kernels.sum_matrix(*listed, wide, constant, STRIP, 1, np.empty((20, 128), np.float32), 0, 1)


def test_no_vectors_have_no_fields():
    device = opusim.Device.load("aurora")
    layout = MirrorLayout.lined(device.dmd.shape, 20)
    way = Projector(device, 0, layout, Region(Roi(0, 0, 1, 9), 9, 2040), execution="matrix").way
    assert way.fields(np.zeros((0, 20), dtype=np.uint8)).shape == (0, 9, 1)
