"""Entries of a Gaussian medium: circular, of unit variance, independent, and a function of their place only.

Seeds are fixed; five standard errors are 6e-7 of false alarms for a new seed.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from opusim.base import rng
from opusim.device.medium.gaussian_kernels import fill_gaussian, gaussian_entries

KEY = rng.stream_key(5, "test medium")
COLUMNS, ROWS = 401, 1503


def tile(n_columns, n_rows, column0=0, row0=0, key=KEY, threads=1):
    return gaussian_entries(key, np.empty((n_columns, 2 * n_rows), np.float32), column0, row0, threads=threads)


@pytest.fixture(scope="module")
def parts():
    return tile(COLUMNS, ROWS)


@pytest.fixture(scope="module")
def entries(parts):
    return parts.view(np.complex64).astype(np.complex128)


def test_parts_are_normal_of_variance_one_half(parts):
    assert stats.kstest(parts.ravel() * np.sqrt(2), "norm").pvalue > 1e-6


def test_moments_are_circular_gaussian(entries):
    n = entries.size
    error = 5 / np.sqrt(n)
    assert abs(entries.mean()) < error
    assert abs((np.abs(entries) ** 2).mean() - 1) < error
    assert abs((entries**2).mean()) < error * np.sqrt(2)  # no preferred phase
    ratio = (np.abs(entries) ** 4).mean() / (np.abs(entries) ** 2).mean() ** 2
    assert ratio == pytest.approx(2, abs=5 * np.sqrt(4 / n) * 2)


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (5, 7)])
def test_entries_are_independent(entries, shift):
    a = entries[: COLUMNS - shift[0], : ROWS - shift[1]]
    b = entries[shift[0] :, shift[1] :]
    bound = 5 / np.sqrt(a.size)
    assert abs((a * b.conj()).mean()) < bound
    assert abs((a * b).mean()) < bound
    assert abs(np.corrcoef(np.abs(a.ravel()) ** 2, np.abs(b.ravel()) ** 2)[0, 1]) < bound


@pytest.mark.slow
def test_singular_values_follow_marchenko_and_pastur():
    n, m = 256, 1024
    values = np.linalg.svd(tile(n, m).view(np.complex64) / np.sqrt(m), compute_uv=False)
    low, high = 1 - np.sqrt(n / m), 1 + np.sqrt(n / m)
    s = np.linspace(low, high, 4001)
    density = np.sqrt((high**2 - s**2).clip(0) * (s**2 - low**2).clip(0)) / (np.pi * n / m * s)
    law = np.cumsum(density)
    law /= law[-1]
    assert stats.kstest(values, lambda x: np.interp(x, s, law)).statistic < 0.02


@settings(max_examples=60, deadline=None)
@given(
    column=st.integers(0, COLUMNS - 1),
    row=st.integers(0, ROWS - 1),
    width=st.integers(0, 40),
    height=st.integers(0, 700),
)
def test_a_tile_is_a_window_of_the_matrix(parts, column, row, width, height):
    width, height = min(width, COLUMNS - column), min(height, ROWS - row)
    window = parts[column : column + width, 2 * row : 2 * (row + height)]
    np.testing.assert_array_equal(tile(width, height, column, row), window)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_nothing(parts, threads):
    np.testing.assert_array_equal(tile(COLUMNS, ROWS, threads=threads), parts)


def test_far_corners_have_entries_of_their_own():
    places = [(0, 0), (2**32 - 4, 0), (0, 2**33 - 4), (2**32 - 4, 2**33 - 4), (0, 2**32)]
    tiles = [tile(4, 4, *place) for place in places]
    for i, a in enumerate(tiles):
        for b in tiles[:i]:
            assert not np.isin(a, b).any()


def test_keys_give_matrices_that_share_nothing(entries):
    other = tile(COLUMNS, ROWS, key=rng.stream_key(6, "test medium")).view(np.complex64)
    assert abs((entries * other.conj()).mean()) < 5 / np.sqrt(entries.size)


def test_kernel_alone_gives_the_same():
    out = np.empty((3, 10), np.float32)
    fill_gaussian(KEY[0], KEY[1], out, np.uint64(7), np.uint64(9))
    np.testing.assert_array_equal(out, tile(3, 5, 7, 9))


@pytest.mark.parametrize(
    ("out", "place", "error", "words"),
    [
        (np.empty((2, 4)), (0, 0), TypeError, ["out is float64", "float32"]),
        ([1.0], (0, 0), TypeError, ["out is [1.0]", "float32"]),
        (np.empty((2, 3), np.float32), (0, 0), ValueError, ["out has shape (2, 3)", "even"]),
        (np.empty((4, 2), np.float32).T, (0, 0), ValueError, ["out has shape (2, 4)", "C-contiguous"]),
        (np.empty((2, 4), np.float32), (-1, 0), ValueError, ["column0 is -1"]),
        (np.empty((2, 4), np.float32), (0, 2**33 - 1), ValueError, ["row0 is 8589934591"]),
        (np.empty((2, 4), np.float32), (0.5, 0), TypeError, ["column0 is 0.5"]),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(out, place, error, words):
    with pytest.raises(error) as caught:
        gaussian_entries(KEY, out, *place)
    assert all(word in str(caught.value) for word in words)
