"""Bits that say whether a number is above a threshold."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.user_arrays import checked_array, refuse_not_finite

from .inputs import NotFittedError, check_matrix, numeric, refuse_nan
from .transformer import BaseTransformer, preserve_type

_FROM_DATA = ("linspace", "quantiles")


class BinaryThresholdEncoder(BaseTransformer):
    """One bit for each number: whether it is above a threshold.

    Parameters
    ----------
    threshold_enc : float or "auto", optional
        The threshold; "auto" makes it the median of each feature of the data given to `fit`.
    greater_is_one : bool, optional
        Whether numbers above the threshold become 1, or those below it. Equal ones become 0 in both cases.

    Attributes
    ----------
    threshold_enc : float, "auto" or numpy.ndarray
        As given; after `fit`, the medians in place of "auto".
    greater_is_one : bool
        As given.

    Raises
    ------
    ValueError
        If the threshold is neither a number nor "auto".
    """

    by_vector = True

    def __init__(self, threshold_enc: Any = "auto", greater_is_one: bool = True) -> None:
        if not (isinstance(threshold_enc, Real) or (isinstance(threshold_enc, str) and threshold_enc == "auto")):
            raise ValueError(f"threshold_enc is {threshold_enc!r}, but it must be a number or 'auto'.")
        if threshold_enc != threshold_enc:
            raise ValueError("threshold_enc is NaN, which nothing is above or below: it must be a number or 'auto'.")
        self.threshold_enc: Any = threshold_enc
        self.greater_is_one = greater_is_one
        self._medians: np.ndarray | None = None

    @property
    def _from_data(self) -> bool:
        """Whether the threshold is that of a fit, or waits for one, and was not set by hand since."""
        return isinstance(self.threshold_enc, str) or (
            self._medians is not None and self.threshold_enc is self._medians
        )

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), **({"threshold_enc": "auto"} if self._from_data else {})}

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a threshold."""
        return not isinstance(self.threshold_enc, str)

    def fit(self, X: Any, y: Any = None) -> BinaryThresholdEncoder:
        """Take the median of each feature as threshold, if it is "auto"; else warn if it is outside the data.

        Parameters
        ----------
        X : array_like or torch.Tensor
            (n_samples, ...) of numbers.
        y : array_like, optional
            Ignored.

        Returns
        -------
        BinaryThresholdEncoder
            The encoder itself.

        Raises
        ------
        ValueError
            If `X` is empty, holds NaN, or infinity where the threshold comes from the data.
        """
        data = numeric(X, finite=self._from_data)
        if self._from_data:
            self._medians = self.threshold_enc = np.median(data, axis=0)
        elif np.any(self.threshold_enc < data.min()) or np.any(self.threshold_enc > data.max()):
            warnings.warn(
                f"threshold_enc is {self.threshold_enc}, outside the range of the data, "
                f"{data.min()} to {data.max()}: all bits will be the same.",
                stacklevel=2,
            )
        return self

    @preserve_type
    def transform(self, X: Any) -> Any:
        """Encode.

        Parameters
        ----------
        X : array_like or torch.Tensor
            Numbers.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Bits, uint8, of the shape of `X`.

        Raises
        ------
        RuntimeError
            If the threshold is "auto" and `fit` was not called.
        ValueError
            If `X` has other features than the data of the fit, or holds NaN.
        """
        if isinstance(self.threshold_enc, str):
            raise NotFittedError("threshold_enc is 'auto', so that fit must be called before transform.")
        refuse_nan(X)
        shape = np.shape(self.threshold_enc)
        if shape and X.shape[max(0, X.ndim - len(shape)) :] != shape:
            raise ValueError(
                f"X has shape {X.shape}, but the thresholds are of vectors of shape {shape}: the last axes must agree."
            )
        bits = X > self.threshold_enc if self.greater_is_one else X < self.threshold_enc
        return np.asarray(bits).astype(np.uint8)


class MultiThresholdEncoder(BaseTransformer):
    """Several bits for each number: which thresholds it is above (a thermometer code).

    Parameters
    ----------
    thresholds : array_like or {"linspace", "quantiles"}, optional
        The thresholds: (n_thresholds,) for all features, or (n_features, n_thresholds) for each its own. "linspace"
        spreads them evenly over the range of the data given to `fit`, "quantiles" evenly over their ranks.
    n_bins : int, optional
        One more than there are thresholds, at least 2; follows from `thresholds` where these are given.
    columnwise : bool, optional
        Whether each feature has thresholds of its own.

    Attributes
    ----------
    thresholds : numpy.ndarray or str
        As given; after `fit`, the thresholds in place of a name.
    n_bins : int
        One more than there are thresholds.
    columnwise : bool
        As given.

    Raises
    ------
    ValueError
        If an argument is none of these.
    """

    by_vector = True

    def __init__(self, thresholds: Any = "linspace", n_bins: int = 8, columnwise: bool = False) -> None:
        self._fitted: np.ndarray | None = None
        self._rule: str | None = None
        self.columnwise = columnwise
        self.thresholds: Any
        if isinstance(thresholds, str) and thresholds in _FROM_DATA:
            self._rule = self.thresholds = thresholds
            self.n_bins = validation.integer("n_bins", n_bins, low=2)
            return
        if isinstance(thresholds, (str, Real)):
            raise ValueError(
                f"thresholds is {thresholds!r}, but it must be a list, a numpy array, 'linspace' or 'quantiles'."
            )
        self.thresholds = _numbers(thresholds)
        if columnwise and self.thresholds.ndim != 2:
            raise ValueError(
                f"thresholds has shape {self.thresholds.shape}, but with columnwise=True it must have two "
                "dimensions, (features, thresholds). Pass such an array or set columnwise to False."
            )
        self.n_bins = self.thresholds.shape[-1] + 1

    @property
    def _from_data(self) -> bool:
        """Whether thresholds are those of a fit, or wait for one, and were not set by hand since."""
        return isinstance(self.thresholds, str) or (self._fitted is not None and self.thresholds is self._fitted)

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), **({"thresholds": self._name()} if self._from_data else {})}

    def _name(self) -> str:
        name = self.thresholds if isinstance(self.thresholds, str) else self._rule
        if name not in _FROM_DATA:
            raise ValueError(f"thresholds is {name!r}, but it must be thresholds, 'linspace' or 'quantiles'.")
        return str(name)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are thresholds."""
        return not isinstance(self.thresholds, str)

    def fit(self, X: Any, y: Any = None) -> MultiThresholdEncoder:
        """Compute the thresholds from data, if they are "linspace" or "quantiles"; else do nothing.

        Parameters
        ----------
        X : array_like or torch.Tensor
            (n_samples, n_features) of numbers.
        y : array_like, optional
            Ignored.

        Returns
        -------
        MultiThresholdEncoder
            The encoder; its thresholds are of shape (n_bins - 1,), or float32, (n_features, n_bins - 1), with
            `columnwise`.

        Raises
        ------
        ValueError
            If `X` is empty, holds NaN, or infinity where the thresholds come from the data, or has not two dimensions
            where each feature has its own thresholds.
        """
        data = numeric(X, finite=self._from_data)
        if not self._from_data:
            return self
        self._rule = self._name()
        if self.columnwise:
            check_matrix(data)
            fitted = np.empty((data.shape[1], self.n_bins - 1), dtype=np.float32)
            for column in range(data.shape[1]):
                fitted[column] = self._from(data[:, column])
        else:
            fitted = self._from(data)
        self._fitted = self.thresholds = fitted
        return self

    def _from(self, data: np.ndarray) -> np.ndarray:
        """Return n_bins - 1 thresholds for some numbers."""
        if self._rule == "linspace":
            return np.linspace(data.min(), data.max(), self.n_bins + 1)[1:-1]
        step = 1 / self.n_bins
        return np.array([np.quantile(data, i * step, method="midpoint") for i in range(1, self.n_bins)])

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
            Bits, uint8, (n_samples, (n_bins - 1) * n_features): all features against the first threshold, then all
            against the second, ...

        Raises
        ------
        RuntimeError
            If thresholds come from data and `fit` was not called.
        ValueError
            If `X` has not two dimensions, or other features than there are thresholds for, or holds NaN.
        """
        if isinstance(self.thresholds, str):
            raise NotFittedError(f"thresholds is {self.thresholds!r}, so that fit must be called before transform.")
        thresholds = np.asarray(self.thresholds)
        check_matrix(X)
        refuse_nan(X)
        if thresholds.ndim == 2 and len(thresholds) != X.shape[1]:
            raise ValueError(f"X has {X.shape[1]} features, but there are thresholds for {len(thresholds)}.")
        # (n_samples, n_thresholds, n_features)
        bits = X[:, None, :] > (thresholds[:, None] if thresholds.ndim == 1 else thresholds.T)
        return bits.reshape(X.shape[0], -1).view(np.uint8)


def _numbers(thresholds: Any) -> np.ndarray:
    """Return a copy of thresholds as an array of one or two dimensions."""
    array = checked_array("thresholds", thresholds, "numbers, its rows of one length", kinds="buif").copy()
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(
            f"thresholds has shape {array.shape}, but it must be (thresholds,) or (features, thresholds), "
            "with one at least."
        )
    refuse_not_finite("thresholds", array, infinite=False)
    return array
