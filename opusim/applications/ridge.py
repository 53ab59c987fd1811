"""Ridge classifiers on counts, for a path of penalties.

The products of the counts are made once; each penalty then costs one factorisation. Of n samples and p outputs the
smaller form is solved, p x p or n x n: both give the same classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from opusim.base import validation
from opusim.base.user_arrays import checked_array, exponent_of, times_two_to

__all__ = ["RidgeResult", "ridge_classifier"]

_ROWS = 2000
# Whole numbers up to this are exact in float32, and so are sums of products that stay below it.
_EXACT = 2.0**24
# Counts of other exponents are brought to that of _EXACT first: float32 does not hold them, or with few bits.
_EXPONENTS = (-100, 120)


@dataclass(frozen=True)
class RidgeResult:
    """What a classifier reached.

    Parameters
    ----------
    accuracy : float
        Share of the test samples that are right.
    validation_accuracy : float
        Share of the validation samples that are right, at the penalty that was chosen, before they were learnt from.
    penalty : float
        That penalty, over the mean variance of an output.
    """

    accuracy: float
    validation_accuracy: float
    penalty: float


def ridge_classifier(
    train: np.ndarray,
    y_train: np.ndarray,
    test: np.ndarray,
    y_test: np.ndarray,
    *,
    n_validation: int,
    penalties: Sequence[float],
) -> RidgeResult:
    """Learn classes by least squares with a penalty, and test.

    The targets are 1 for the class of a sample and -1 for the others; the intercept is free; the class with the
    highest score is chosen, as in scikit-learn's RidgeClassifier. The last training samples pick the penalty by their
    squared error, which tells penalties apart with fewer samples than the accuracy does, and are then learnt from, too.

    Parameters
    ----------
    train, test : ndarray of numbers, shape (n, p)
        Counts.
    y_train, y_test : ndarray of int, shape (n,)
        Classes, from 0.
    n_validation : int
        Training samples that pick the penalty: at least 1, and fewer than there are.
    penalties : sequence of float
        Penalties, each times the number of samples and the mean variance of an output: the same penalty for any camera.
        At least one, each finite and not negative.

    Returns
    -------
    RidgeResult

    Raises
    ------
    TypeError, ValueError
        If an array holds something else, or counts that are not finite; if shapes do not go together, or a number is
        out of range.

    Notes
    -----
    Sums over samples in a BLAS depend in their last bits on how it orders them. Counts are shifted by a whole number
    near their mean, and then all partial sums of a few thousand products are whole numbers that float32 holds, for
    cameras of up to 8 bits and mostly above: they are exact. What does not fit is summed in float64. The classifier
    does not depend on the unit of the counts; those that float32 does not hold are scaled by a power of two.
    """
    train = checked_array("train", train, "counts", kinds="biuf", finite=True)
    test = checked_array("test", test, "counts", kinds="biuf", finite=True)
    y_train = checked_array("y_train", y_train, "classes, which are whole numbers", kinds="iu")
    y_test = checked_array("y_test", y_test, "classes, which are whole numbers", kinds="iu")
    for name, x, y in (("train", train, y_train), ("test", test, y_test)):
        if x.ndim != 2 or not x.size:
            raise ValueError(f"{name} has the shape {x.shape}, but it must be (samples, outputs), with some of both.")
        if y.shape != x.shape[:1]:
            raise ValueError(f"y_{name} has the shape {y.shape}, but it must be a class for each of {len(x)} samples.")
        if y.min() < 0:
            place = int(np.argmax(y < 0))
            raise ValueError(f"y_{name}[{place}] is {y[place]}, but classes are whole numbers from 0.")
    if test.shape[1] != train.shape[1]:
        raise ValueError(f"test has {test.shape[1]} outputs a sample, but it must have {train.shape[1]}, as train has.")
    if len(train) < 2:
        raise ValueError("train has 1 sample, but it must have at least 2: one to learn from, and one to validate.")
    n_validation = validation.integer("n_validation", n_validation, low=1, high=len(train) - 1)
    penalties = checked_array("penalties", penalties, dtype=np.float64).tolist()
    if not isinstance(penalties, list) or not penalties:
        raise ValueError(f"penalties is {penalties}, but it must be a sequence of at least one number.")
    penalties = [validation.number(f"penalties[{i}]", one, low=0.0, high=np.inf) for i, one in enumerate(penalties)]
    train, test = _within_float32(train, test)
    classes = np.arange(int(max(y_train.max(), y_test.max())) + 1)
    targets = np.where(y_train[:, None] == classes, 1.0, -1.0)
    shift = np.rint(train[:_ROWS].mean(axis=0, dtype=np.float64)).astype(np.float32)
    n_learn = len(train) - n_validation
    learn, hold = slice(0, n_learn), slice(n_learn, None)
    fit = _Primal if train.shape[1] <= len(train) else _Dual
    model = fit(train[learn], targets[learn], shift)
    tried = []
    for penalty in penalties:
        scores = model.scores(train[hold], penalty)
        right = float(np.mean(scores.argmax(axis=1) == y_train[hold]))
        tried.append((float(np.mean((scores - targets[hold]) ** 2)), penalty, right))
    _, penalty, right = min(tried)
    model.extend(train[hold], targets[hold])
    scores = model.scores(test, penalty)
    return RidgeResult(float(np.mean(scores.argmax(axis=1) == y_test)), right, penalty)


def _within_float32(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return counts times one power of two that float32 holds; any camera's as they are."""
    exponent = exponent_of(train)
    if train.dtype.kind == "f" and train.any() and not _EXPONENTS[0] <= exponent <= _EXPONENTS[1]:
        by = 24 - exponent
        with np.errstate(over="ignore", under="ignore"):
            train, test = (times_two_to(np.asarray(x, dtype=np.float64), by) for x in (train, test))
    if not exponent_of(test) <= _EXPONENTS[1] or not np.isfinite(test).all():
        raise ValueError("test holds counts that are too large beside those of train: both must be counts in one unit.")
    return train, test


class _Primal:
    """Solves for the weights of the outputs, p x p."""

    def __init__(self, x: np.ndarray, targets: np.ndarray, shift: np.ndarray) -> None:
        p = len(shift)
        self._shift = shift
        self._n, self._sum, self._target_sum = 0, np.zeros(p), np.zeros(targets.shape[1])
        self._products, self._cross = np.zeros((p, p)), np.zeros((p, targets.shape[1]))
        self.extend(x, targets)

    def extend(self, x: np.ndarray, targets: np.ndarray) -> None:
        for first in range(0, len(x), _ROWS):
            rows = x[first : first + _ROWS].astype(np.float32) - self._shift
            some = targets[first : first + _ROWS]
            self._products += _products(rows.T, rows.T)
            self._cross += rows.T.astype(np.float64) @ some
            self._sum += rows.sum(axis=0, dtype=np.float64)
            self._target_sum += some.sum(axis=0)
        self._n += len(x)

    def scores(self, x: np.ndarray, penalty: float) -> np.ndarray:
        mean, target_mean = self._sum / self._n, self._target_sum / self._n
        # Column by column, as LAPACK takes it: symmetric, so the transpose is the same.
        system = (self._products - np.outer(self._sum, mean)).T
        _add_penalty(system, penalty, len(mean), len(mean))
        weights = _solve(system, self._cross - np.outer(self._sum, target_mean))
        offset = target_mean - (mean + self._shift) @ weights
        blocks = [x[a : a + _ROWS].astype(np.float64) @ weights for a in range(0, len(x), _ROWS)]
        return np.concatenate([*blocks, np.zeros((0, weights.shape[1]))]) + offset


class _Dual:
    """Solves for the weights of the samples, n x n."""

    def __init__(self, x: np.ndarray, targets: np.ndarray, shift: np.ndarray) -> None:
        self._shift = shift
        self._x, self._targets = x.astype(np.float32) - shift, targets

    def extend(self, x: np.ndarray, targets: np.ndarray) -> None:
        self._x = np.concatenate([self._x, x.astype(np.float32) - self._shift])
        self._targets = np.concatenate([self._targets, targets])
        self.__dict__.pop("_gram", None)

    def scores(self, x: np.ndarray, penalty: float) -> np.ndarray:
        if "_gram" not in self.__dict__:
            self._gram = _products(self._x, self._x)
        means = self._gram.mean(axis=0)
        whole = float(means.mean())
        system = (self._gram - means - means[:, None] + whole).T
        _add_penalty(system, penalty, len(means), self._x.shape[1])
        target_mean = self._targets.mean(axis=0)
        weights = _solve(system, self._targets - target_mean)
        # The weights of the samples add up to nothing, so that only the mean over the training samples is taken off.
        weights -= weights.mean(axis=0)
        result = np.empty((len(x), weights.shape[1]))
        for first in range(0, len(x), _ROWS):
            rows = x[first : first + _ROWS].astype(np.float32) - self._shift
            result[first : first + _ROWS] = (_products(rows, self._x) - means) @ weights
        return result + target_mean


def _add_penalty(system: np.ndarray, penalty: float, n_rows: int, p: int) -> None:
    """Add to the diagonal the penalty times n times the mean variance; something, if nothing varies at all."""
    trace = float(np.trace(system))
    system[np.arange(n_rows), np.arange(n_rows)] += penalty * trace / p if trace > 0 else 1.0


def _solve(system: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve a symmetric system, which is overwritten; without a factorisation, where rounding leaves none."""
    try:
        factor = scipy.linalg.cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        # Penalties far below the rounding of the products: such a classifier is none.
        return np.zeros_like(right)
    return scipy.linalg.cho_solve(factor, right, check_finite=False)


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a @ b.T in float64: exact for whole numbers whose sums of squares are small enough."""
    largest = max(float(np.einsum("ij,ij->i", m, m, dtype=np.float64).max(initial=0.0)) for m in (a, b))
    # By Cauchy and Schwarz no partial sum is above that.
    if largest < _EXACT and all((np.rint(m) == m).all() for m in (a, b)):
        return (a @ b.T).astype(np.float64)
    return a.astype(np.float64) @ b.astype(np.float64).T
