"""Numbers in base two, each bit repeated as often as it weighs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from opusim.base import validation

from .inputs import AssertedValueError, NotFittedError, asserted_integer, check_matrix, numeric
from .transformer import BaseTransformer, preserve_type

_BITS = 8


class SequentialBaseTwoEncoder(validation.Fixed, BaseTransformer):
    """Quantise numbers and write them in base two, the bit of weight 2^k repeated 2^k times.

    The Hamming distance of two codes thus grows with the difference of the numbers: 5 of 8 levels is 101 in base
    two and becomes 1111 00 1.

    Parameters
    ----------
    n_gray_levels : int, optional
        Levels, a power of two, at most 256.

    Attributes
    ----------
    n_gray_levels : int
        As given.
    n_bits : int
        Its logarithm in base two.
    offset, scale : float or None
        Smallest number and range of the data of the fit.

    Raises
    ------
    AssertionError
        If the number of levels is no power of two (the error is a ValueError, too).
    """

    by_vector = True

    _fixed = dict.fromkeys(("n_gray_levels", "n_bits"), "Use set_params(n_gray_levels=...), and fit again.")

    def __init__(self, n_gray_levels: int = 16) -> None:
        such = " that is a power of 2"
        self.n_gray_levels = asserted_integer("n_gray_levels", n_gray_levels, low=1, high=2**_BITS, such=such)
        if self.n_gray_levels & (self.n_gray_levels - 1):
            raise AssertedValueError(
                f"n_gray_levels is {n_gray_levels}, but it must be a whole number from 1 to {2**_BITS}{such}."
            )
        self.n_bits = self.n_gray_levels.bit_length() - 1
        self.n_bits_type = _BITS
        self.indices_axis_2 = np.arange(_BITS - self.n_bits, _BITS)
        self.offset: Any = None
        self.scale: Any = None

    def __sklearn_is_fitted__(self) -> bool:
        """Whether range and offset are known."""
        return self.offset is not None and self.scale is not None

    def fit(self, X: Any, y: Any = None) -> SequentialBaseTwoEncoder:
        """Take the smallest number and the range of the data.

        Parameters
        ----------
        X : array_like or torch.Tensor
            Finite numbers of any shape: the training data only, so that nothing leaks from the others.
        y : array_like, optional
            Ignored.

        Returns
        -------
        SequentialBaseTwoEncoder
            The encoder itself.

        Raises
        ------
        ValueError
            If `X` is empty or not finite, or if its range is beyond what its type holds.

        Warns
        -----
        UserWarning
            If all numbers are equal, or if `X` holds integers whose range wraps around, as it does in lightonml.
        """
        data = numeric(X, finite=True)
        low, high = np.min(data), np.max(data)
        with np.errstate(over="ignore"):
            scale = np.max(data - low)
        if not np.isfinite(scale):
            raise ValueError(
                f"X reaches from {low} to {high}, but {data.dtype} must hold its range, too: divide X by 2, in fit and "
                "in transform, or give a wider type."
            )
        self.offset, self.scale = low, scale
        if data.dtype.kind in "iu" and int(scale) != int(high) - int(low):
            warnings.warn(
                f"X reaches from {low} to {high}, and this range wraps around in {data.dtype}; levels will be wrong, "
                "as they are in lightonml. Give floats instead, in fit and in transform: X.astype(float).",
                stacklevel=2,
            )
        elif self.scale == 0:
            warnings.warn(f"All numbers are {self.offset}: whatever is above will get the highest level.", stacklevel=2)
        return self

    def normalize(self, X: Any) -> np.ndarray:
        """Return the levels of numbers.

        Parameters
        ----------
        X : array_like
            Numbers of any shape; those outside the range of the fit get the lowest or the highest level.

        Returns
        -------
        numpy.ndarray
            Levels from 0 to n_gray_levels - 1, uint8, of the shape of `X`.

        Raises
        ------
        AssertionError
            If `fit` was not called (the error is a RuntimeError and a ValueError, too).
        ValueError
            If `X` is empty or holds NaN.

        Warns
        -----
        UserWarning
            If `X` holds integers of so few bits that products wrap around, as they do in lightonml: images of uint8
            should be given as floats.
        """
        if self.offset is None or self.scale is None:
            raise NotFittedError("fit must be called on the training data before transform.")
        data, offset = numeric(X), self.offset
        highest = self.n_gray_levels - 1
        if data.dtype.kind in "ui" and highest > np.iinfo(data.dtype).max:
            data, offset = data.astype(np.float64), float(offset)
        self._warn_of_wrap(data, offset)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scale = self.scale
            if np.asarray(scale).dtype.kind == "f" and not np.isfinite(highest * scale):
                # By a power of two that rounds nothing and drops out: else levels between are cut to the highest.
                data, offset, scale = (np.ldexp(x, -self.n_bits) for x in (data, offset, scale))
            level = np.round((highest * (data - offset)) / scale)
        level[np.isnan(level)] = 0  # 0/0, data of a fit to equal numbers
        return np.clip(level, 0, highest).astype(np.uint8)

    def _warn_of_wrap(self, data: np.ndarray, offset: Any) -> None:
        dtype = np.result_type(data, offset)
        if dtype.kind not in "ui":
            return
        limits = np.iinfo(dtype)
        low, high = int(data.min()) - int(offset), int(data.max()) - int(offset)
        highest = self.n_gray_levels - 1
        if min(low, highest * low) < limits.min or max(high, highest * high) > limits.max:
            warnings.warn(
                f"X has dtype {data.dtype}, in which {highest} * (X - {offset}) wraps around; levels are wrong, as "
                "they are in lightonml. Give floats instead, in fit and in transform: X.astype(float).",
                stacklevel=3,
            )

    @preserve_type
    def transform(self, X: Any) -> Any:
        """Encode.

        Parameters
        ----------
        X : array_like or torch.Tensor
            (n_samples, n_features) of numbers.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Bits, uint8, (n_samples, n_features * (n_gray_levels - 1)).

        Raises
        ------
        AssertionError
            If `fit` was not called.
        ValueError
            If `X` has not two dimensions, is empty or holds NaN.
        """
        check_matrix(X)
        bits = np.unpackbits(self.normalize(X)[:, :, None], axis=2)[:, :, self.indices_axis_2]
        repeated = np.repeat(bits, 2 ** np.arange(self.n_bits)[::-1], axis=2)
        return repeated.reshape(X.shape[0], X.shape[1] * (self.n_gray_levels - 1))
