"""Hadamard patterns on binary mirrors, made row by row, and the fast transform that undoes them."""

from __future__ import annotations

import numpy as np

from opusim.base import rng, validation

__all__ = ["column_signs", "fast_transform", "padded_order", "rows"]


def padded_order(n_inputs: int) -> int:
    """Return the order of the Hadamard matrix in use.

    Parameters
    ----------
    n_inputs : int
        Inputs that are measured.

    Returns
    -------
    int
        The smallest power of two that is at least `n_inputs`.
    """
    return 1 << (validation.integer("n_inputs", n_inputs, low=1) - 1).bit_length()


def rows(first: int, stop: int, n_inputs: int) -> np.ndarray:
    """Return rows of the Hadamard matrix in Sylvester's order, without making the matrix.

    Parameters
    ----------
    first, stop : int
        Which rows.
    n_inputs : int
        How many columns: the first ones of the matrix of order ``padded_order(n_inputs)`` or above.

    Returns
    -------
    ndarray of int8, shape (stop - first, n_inputs)
        1 or -1: entry (p, j) is (-1)^(number of ones that p and j have in common in base 2), as in
        `scipy.linalg.hadamard`.
    """
    common = np.arange(first, stop, dtype=np.uint32)[:, None] & np.arange(n_inputs, dtype=np.uint32)[None, :]
    for shift in (16, 8, 4, 2, 1):  # folds the parity of the bits into the lowest one
        common ^= common >> np.uint32(shift)
    return (1 - 2 * (common & 1).astype(np.int8)).astype(np.int8)


def column_signs(n_inputs: int) -> np.ndarray:
    """Return a fixed random sign for each input.

    With its columns multiplied by them a Hadamard matrix stays orthogonal, and each row turns on about half of the
    inputs. Without them the first pattern turns on all, twice the light of the others, and sets the exposure.

    Parameters
    ----------
    n_inputs : int
        Inputs that are measured.

    Returns
    -------
    ndarray of int8, shape (n_inputs,)
        Signs, 1 or -1.
    """
    draws = rng.uniforms(rng.stream_key(0, "signs of Hadamard columns"), n_inputs)
    return np.where(draws < 0.5, 1, -1).astype(np.int8)


def fast_transform(values: np.ndarray) -> np.ndarray:
    """Multiply by the Hadamard matrix along the first axis, in place.

    Parameters
    ----------
    values : ndarray of floats, complex numbers or int64, shape (order, n)
        The order is a power of two; written over, in any layout in memory.

    Returns
    -------
    ndarray
        `values`: H @ values in Sylvester's order. H is its own inverse but for the factor 1 / order.

    Raises
    ------
    TypeError
        If it is no ordinary array of these types, which could not be written over.
    ValueError
        If the first axis is no power of two, or the array must not be written.

    Notes
    -----
    Sums and differences of whole rows (Fino and Algazi, IEEE Trans. Comput. C-25, 1142, 1976): order log2(order) of
    them, each element in one fixed order, so that the bits do not depend on how many columns there are.
    """
    if type(values) is not np.ndarray or not (values.dtype.kind in "fc" or values.dtype == np.int64):
        given = f"an array of {values.dtype}" if type(values) is np.ndarray else f"a {type(values).__name__}"
        raise TypeError(
            f"values is {given}, but it is written over with sums: it must be a plain numpy array of floats, complex "
            "numbers or int64."
        )
    if not values.ndim or not values.flags.writeable:
        given = "must not be written" if values.ndim else "has no axis"
        raise ValueError(f"values {given}, but it is written over along its first axis.")
    order = len(values)
    if order & (order - 1) or not order:
        raise ValueError(f"values has {order} rows, but it must have a power of two.")
    half = 1
    while half < order:
        pairs = values.reshape(order // (2 * half), 2, half, *values.shape[1:])  # a view: one axis is split
        difference = pairs[:, 0] - pairs[:, 1]
        pairs[:, 0] += pairs[:, 1]
        pairs[:, 1] = difference
        half *= 2
    return values
