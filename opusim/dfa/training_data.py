"""Training data: checked before anything starts, shuffled by address, taken batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from opusim.base import rng
from opusim.base.user_arrays import checked_array

__all__ = ["Samples", "checked_samples", "shuffled"]

_LABELS = "labels, which are whole numbers"
_BLOCK_ROWS = 4096  # rows that are converted or hashed at once


class Samples:
    """Samples and their labels, as they were given: nothing is copied.

    Parameters
    ----------
    X : ndarray of real numbers, shape (samples, n_inputs)
    y : ndarray of int, shape (samples,)
    """

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        self.X = X
        self.y = y

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.y)

    def take(self, indices: np.ndarray, X_out: np.ndarray, y_out: np.ndarray) -> None:
        """Write the samples and labels of some indices, which must be in range, converted to the outputs' dtypes."""
        if self.X.dtype == X_out.dtype:
            # mode="clip" spares numpy a buffer; no index is out of range.
            np.take(self.X, indices, axis=0, out=X_out, mode="clip")
        else:
            X_out[...] = self.X[indices]
        y_out[...] = self.y[indices]

    def digest(self) -> str:
        """Return a check sum of types, shapes and numbers (sha256)."""
        result = hashlib.sha256()
        for array in (self.X, self.y):
            result.update(f"{array.dtype.str}{array.shape}".encode())
            for block in _blocks(array):
                result.update(np.ascontiguousarray(block).data)
        return result.hexdigest()


def checked_samples(
    X: Any, y: Any, *, n_inputs: int, n_classes: int, dtype: np.dtype, names: tuple[str, str]
) -> Samples:
    """Return samples that a network can be trained on, or tested with.

    Parameters
    ----------
    X : array_like of real numbers, shape (samples, n_inputs)
    y : array_like of int, shape (samples,)
    n_inputs, n_classes : int
        The network's.
    dtype : numpy.dtype
        What `X` will be converted to.
    names : tuple of two str
        Names of `X` and `y`, for the messages.

    Raises
    ------
    TypeError
        If `X` holds no real numbers or `y` no whole numbers.
    ValueError
        If a shape is wrong, there are no samples, a number of `X` is not finite in `dtype`, or a label is out of range.
    """
    name, label_name = names
    X, y = checked_array(name, X, kinds="biuf"), checked_array(label_name, y, _LABELS, kinds="iu")
    if X.ndim != 2 or X.shape[1] != n_inputs or not len(X):
        raise ValueError(
            f"{name} has the shape {X.shape}, but it must be (samples, {n_inputs}), with at least one sample."
        )
    if y.shape != (len(X),):
        raise ValueError(f"{label_name} has the shape {y.shape}, but it must be ({len(X)},): a label for each sample.")
    wrong = np.flatnonzero((y < 0) | (y >= n_classes))
    if wrong.size:
        raise ValueError(
            f"{label_name}[{wrong[0]}] is {y[wrong[0]]}, but labels must be from 0 to {n_classes - 1}: the network has "
            f"{n_classes} classes. {wrong.size} of {len(y)} labels are out of range."
        )
    if X.dtype.kind == "f":
        _check_finite(X, dtype, name)
    return Samples(X, y)


def _check_finite(X: np.ndarray, dtype: np.dtype, name: str) -> None:
    start = 0
    for block in _blocks(X):
        with np.errstate(over="ignore"):
            bad = np.argwhere(~np.isfinite(block.astype(dtype, copy=False)))
        if len(bad):
            row, column = bad[0]
            raise ValueError(
                f"{name}[{start + row}, {column}] is {block[row, column]}, but it must be a finite number in {dtype}."
            )
        start += len(block)


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    return (array[start : start + _BLOCK_ROWS] for start in range(0, len(array), _BLOCK_ROWS))


def shuffled(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of `n` samples in an epoch: a function of the seed and the epoch only.

    It sorts random numbers that are addressed by (seed, epoch, sample), so that it is the same with any version of
    numpy, which makes no such promise for its own shuffling.
    """
    return np.argsort(rng.uniforms(rng.stream_key(seed, "order of training samples", epoch), n), kind="stable")
