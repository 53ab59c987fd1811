"""Random numbers by address: element i of a stream is a function of (key, i) and of nothing else.

The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as
1, 2, 3, SC 2011). A key names a stream; a counter names a place in it. Nothing is drawn in
order, so any split of the work over batches, threads or processes gives the same numbers.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import validation
from .user_arrays import checked_array

Key = tuple[np.uint32, np.uint32]
_N_INDICES = 2**63  # indices are int64, so that a negative one can be refused


def stream_key(seed: int, purpose: str, *indices: int) -> Key:
    """Return the key of the stream that serves one purpose under one seed.

    Parameters
    ----------
    seed : int
        Any whole number of at least 0.
    purpose : str
        What the stream is for, such as ``"camera noise"``. Streams of two purposes share nothing.
    *indices : int
        Whole numbers that number several streams of one purpose.

    Returns
    -------
    tuple of two numpy.uint32
        The two words of a Philox4x32 key: the first 64 bits of the BLAKE2b digest of the arguments.

    Raises
    ------
    TypeError
        If `seed` or an index is not a whole number, or `purpose` not a text.
    ValueError
        If `seed` is negative or `purpose` is empty.
    """
    seed = validation.integer("seed", seed, low=0)
    if not isinstance(purpose, str):
        raise TypeError(f"purpose is {purpose!r} ({type(purpose).__name__}), but it must be a text.")
    if not purpose:
        raise ValueError("purpose is '', but it must be a text that names what the stream is for.")
    for place, index in enumerate(indices):
        if isinstance(index, bool) or not isinstance(index, Integral):
            raise TypeError(f"indices[{place}] is {index!r} ({type(index).__name__}), but it must be a whole number.")
    # repr of the text quotes it, so no two lists of arguments read the same.
    canonical = ":".join([str(seed), repr(purpose), *(str(int(index)) for index in indices)])
    digest = hashlib.blake2b(canonical.encode(), digest_size=8).digest()
    return np.uint32(int.from_bytes(digest[:4], "little")), np.uint32(int.from_bytes(digest[4:], "little"))


@lru_cache(maxsize=1024, typed=True)
def key_of(seed: int, purpose: str, *indices: int) -> Key:
    """Return what `stream_key` returns, kept for the next time: for stages, which ask for the same keys again.

    Parameters
    ----------
    seed : int
        Seed of the device; this and the others are checked, by `stream_key`, when first asked for.
    purpose : str
        What the numbers are for.
    *indices : int
        Which stream of that purpose.

    Returns
    -------
    tuple of two numpy.uint32
        The key.
    """
    return stream_key(seed, purpose, *indices)


def uniforms(key: Key, n: int, offset: int = 0) -> np.ndarray:
    """Return uniform random numbers between 0 and 1, both ends excluded.

    Parameters
    ----------
    key : tuple of two numpy.uint32
        From `stream_key`.
    n : int
        How many, at least 0.
    offset : int, optional
        Index of the first one, at least 0.

    Returns
    -------
    ndarray of float64, shape (n,)
        Element i depends on `key` and ``offset + i`` only. 52 random bits each.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.
    """
    from . import rng_kernels

    out = np.empty(_count(n, offset), dtype=np.float64)
    rng_kernels.fill_uniforms(*_words(key), np.uint64(offset), out)
    return out


def normals(key: Key, n: int, offset: int = 0) -> np.ndarray:
    """Return standard normal random numbers.

    Parameters
    ----------
    key : tuple of two numpy.uint32
        From `stream_key`.
    n : int
        How many, at least 0.
    offset : int, optional
        Index of the first one, at least 0.

    Returns
    -------
    ndarray of float32, shape (n,)
        Element i depends on `key` and ``offset + i`` only. They lie within 6.7 standard
        deviations, the range of a Box-Muller transform of 32 random bits.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.
    """
    from . import rng_kernels

    out = np.empty(_count(n, offset), dtype=np.float32)
    rng_kernels.fill_normals(*_words(key), np.uint64(offset), out)
    return out


def uniforms_at(key: Key, indices: ArrayLike) -> np.ndarray:
    """Return the elements of `uniforms` at any indices.

    Parameters
    ----------
    key : tuple of two numpy.uint32
        From `stream_key`.
    indices : array_like of int, any shape
        Which elements, each at least 0.

    Returns
    -------
    ndarray of float64, shape of `indices`

    Raises
    ------
    TypeError, ValueError
        If an index is not a whole number of at least 0.
    """
    from . import rng_kernels

    flat, shape = _indices(indices)
    out = np.empty(flat.size, dtype=np.float64)
    rng_kernels.gather_uniforms(*_words(key), flat, out)
    return out.reshape(shape)


def normals_at(key: Key, indices: ArrayLike) -> np.ndarray:
    """Return the elements of `normals` at any indices.

    Parameters
    ----------
    key : tuple of two numpy.uint32
        From `stream_key`.
    indices : array_like of int, any shape
        Which elements, each at least 0.

    Returns
    -------
    ndarray of float32, shape of `indices`

    Raises
    ------
    TypeError, ValueError
        If an index is not a whole number of at least 0.
    """
    from . import rng_kernels

    flat, shape = _indices(indices)
    out = np.empty(flat.size, dtype=np.float32)
    rng_kernels.gather_normals(*_words(key), flat, out)
    return out.reshape(shape)


def _count(n: Any, offset: Any) -> int:
    """Return `n` after checking that it and `offset` name a part of a stream."""
    offset = validation.integer("offset", offset, low=0, high=_N_INDICES - 1)
    return validation.integer("n", n, low=0, high=_N_INDICES - 1 - offset)


def _words(key: Any) -> Key:
    """Return the two words of a key as uint32 after checking them."""
    try:
        first, second = key
    except (TypeError, ValueError):
        raise TypeError(f"key is {key!r}, but it must be the two words that stream_key returns.") from None
    return (
        np.uint32(validation.integer("key[0]", first, low=0, high=2**32 - 1)),
        np.uint32(validation.integer("key[1]", second, low=0, high=2**32 - 1)),
    )


def _indices(indices: ArrayLike) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return indices as a flat uint64 array, and their shape."""
    array = checked_array("indices", indices, "whole numbers of at least 0", kinds="iu")
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise ValueError(f"indices holds {array.min()}, but each must be at least 0.")
    return np.ascontiguousarray(array, dtype=np.uint64).reshape(-1), array.shape
