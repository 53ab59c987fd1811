"""Entries of a Gaussian transmission matrix, each computed from (key, row, column) alone.

So the matrix can be kept or made again tile by tile, and is the same either way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from opusim.base import parallel, validation
from opusim.base.jit import kernel
from opusim.base.rng import Key
from opusim.base.rng_kernels import gauss_pair, philox_words

_MAX_ROWS = 2**33  # a 32-bit counter of row pairs
_MAX_COLUMNS = 2**32

_LOW = np.uint64(0xFFFFFFFF)
_NONE = np.uint64(0)
_ONE = np.uint64(1)
_ROOT_HALF = np.float32(np.sqrt(0.5))  # real and imaginary part share a variance of 1
_CHUNK = 256  # row pairs at once: their words fit the first-level cache


@kernel()
def fill_gaussian(key0, key1, out, column0, row0):  # type: ignore[no-untyped-def]
    """Write a tile of a matrix of circular complex Gaussian entries of unit variance.

    Parameters
    ----------
    key0, key1 : uint32
        Words of the matrix's key.
    out : ndarray of float32, shape (n_columns, 2 * n_rows), C-contiguous
        Receives the real part of entry (row0 + r, column0 + c) in out[c, 2 r] and the imaginary part in
        out[c, 2 r + 1]: the transpose of tm[output, input], each part normal with variance 1/2.
    column0, row0 : int
        Column (input) and row (output) of the tile's corner, at least 0, even or odd.

    Notes
    -----
    A Philox block, addressed by (row // 2, column), gives the entries of two rows.
    """
    k0 = np.uint64(key0)
    k1 = np.uint64(key1)
    first_row = np.uint64(row0)
    n_rows = np.uint64(out.shape[1] // 2)
    flat = out.reshape(-1)
    words = np.empty(4 * _CHUNK, dtype=np.uint32)
    b1 = np.uint64(_CHUNK)
    b2 = np.uint64(2 * _CHUNK)
    b3 = np.uint64(3 * _CHUNK)
    # An odd first row is the second of its pair, an odd end leaves a pair half used.
    head = min(first_row & _ONE, n_rows)
    n_pairs = (n_rows - head) >> _ONE
    tail = (n_rows - head) & _ONE
    first_pair = (first_row + head) >> _ONE
    for c in range(np.uint64(out.shape[0])):
        column = np.uint64(column0) + c
        start = c * n_rows * np.uint64(2)
        if head:
            r0, r1, r2, r3 = philox_words(first_row >> _ONE, column, _NONE, _NONE, k0, k1)
            re, im = gauss_pair(r2, r3)
            flat[start] = re * _ROOT_HALF
            flat[start + _ONE] = im * _ROOT_HALF
            start += np.uint64(2)
        done = _NONE
        while done < n_pairs:
            n = min(n_pairs - done, b1)
            for i in range(n):
                r0, r1, r2, r3 = philox_words(first_pair + done + i, column, _NONE, _NONE, k0, k1)
                words[i] = np.uint32(r0)
                words[b1 + i] = np.uint32(r1)
                words[b2 + i] = np.uint32(r2)
                words[b3 + i] = np.uint32(r3)
            place = start + np.uint64(4) * done
            for i in range(n):
                a, b = gauss_pair(words[i], words[b1 + i])
                d, e = gauss_pair(words[b2 + i], words[b3 + i])
                o = place + np.uint64(4) * i
                flat[o] = a * _ROOT_HALF
                flat[o + _ONE] = b * _ROOT_HALF
                flat[o + np.uint64(2)] = d * _ROOT_HALF
                flat[o + np.uint64(3)] = e * _ROOT_HALF
            done += n
        if tail:
            r0, r1, r2, r3 = philox_words(first_pair + n_pairs, column, _NONE, _NONE, k0, k1)
            re, im = gauss_pair(r0, r1)
            start += np.uint64(4) * n_pairs
            flat[start] = re * _ROOT_HALF
            flat[start + _ONE] = im * _ROOT_HALF


def gaussian_entries(key: Key, out: np.ndarray, column0: int = 0, row0: int = 0, threads: int = 1) -> np.ndarray:
    """Fill a tile of a Gaussian transmission matrix, columns shared out over threads.

    Parameters
    ----------
    key : tuple of two numpy.uint32
        From `opusim.base.rng.stream_key`.
    out : ndarray of float32, shape (n_columns, 2 * n_rows), C-contiguous
        Filled as `fill_gaussian` says: V[input, re/im of output], mean of |entry|^2 = 1.
    column0, row0 : int, optional
        Input and output at the tile's corner, even or odd.
    threads : int, optional
        Threads to use; the entries do not depend on it.

    Returns
    -------
    ndarray
        `out`.

    Raises
    ------
    TypeError, ValueError
        If `out` is not such an array, or the tile reaches beyond 2**33 rows or 2**32 columns.
    """
    checked: Any = out
    if not isinstance(checked, np.ndarray) or checked.dtype != np.float32 or checked.ndim != 2:
        given = f"{checked.dtype} of {checked.ndim} dimensions" if isinstance(checked, np.ndarray) else repr(checked)
        raise TypeError(f"out is {given}, but it must be a float32 array of 2 dimensions.")
    if checked.shape[1] % 2 or not checked.flags.c_contiguous or not checked.flags.writeable:
        raise ValueError(
            f"out has shape {checked.shape} and strides {checked.strides}, but it must be C-contiguous, writeable and "
            "have an even number of columns (real and imaginary parts in turn)."
        )
    validation.integer("column0", column0, low=0, high=_MAX_COLUMNS - checked.shape[0])
    validation.integer("row0", row0, low=0, high=_MAX_ROWS - checked.shape[1] // 2)
    validation.integer("threads", threads, low=1)

    def work(start: int, stop: int) -> None:
        fill_gaussian(key[0], key[1], out[start:stop], np.uint64(column0 + start), np.uint64(row0))

    parallel.over_ranges(work, checked.shape[0], threads)
    return out
