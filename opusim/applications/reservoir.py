"""Next-generation reservoir computing by light: a series and its past as phases, speckle, a linear readout.

The input of a step holds the values of that step and of earlier ones, weighted, and a bias, each as a phase of a
modulator. The readout is linear in the speckle and the values of the step; it predicts the values of the next one, and
feeds them back to forecast further. Source: Wang et al., Optical next generation reservoir computing, Light: Science &
Applications 14, 245 (2025), arXiv 2404.07857.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from opusim.base import validation
from opusim.base.short_repr import short_repr
from opusim.base.user_arrays import checked_array

__all__ = ["Past", "Readout", "Speckle", "fit_readout", "forecast", "forecast_error"]

Speckle = Callable[[np.ndarray], np.ndarray]
"""Phases in turns (n, inputs) -> intensities (n, outputs): the ``transform`` of an OPU with a phase modulator."""


@dataclass(frozen=True)
class Past:
    """Which values a step's phases are of.

    Parameters
    ----------
    weights : tuple of float
        Of the values now, one step ago, and so on. A value of 1 times a weight of 1 is half a turn.
    bias : float
        A phase that is always there, in half turns.
    """

    weights: tuple[float, ...] = (1.0, 0.93)
    bias: float = 1.05

    def __post_init__(self) -> None:
        """Check both."""
        if not isinstance(self.weights, tuple) or not self.weights:
            raise TypeError(f"weights is {self.weights!r}, but it must be a tuple of numbers, at least one.")
        for k, weight in enumerate(self.weights):
            validation.number(f"weights[{k}]", weight, low=-1e6, high=1e6)
        validation.number("bias", self.bias, low=-1e6, high=1e6)

    def turns(self, series: np.ndarray) -> np.ndarray:
        """Return the phases of each step that has a past.

        Parameters
        ----------
        series : ndarray of real numbers, shape (steps, d)
            Values, each about 0 to 1.

        Returns
        -------
        ndarray of float64, shape (steps - len(weights) + 1, d * len(weights) + 1)
            Phases in turns, from 0 to below 1. The first row is that of step ``len(weights) - 1``.

        Raises
        ------
        TypeError, ValueError
            If the values are something else, or fewer than there are weights.
        """
        values = _series("series", series, len(self.weights)).astype(np.float64)
        n = len(values) - len(self.weights) + 1
        parts = [weight * values[len(self.weights) - 1 - k :][:n] for k, weight in enumerate(self.weights)]
        turns = np.concatenate([*parts, np.full((n, 1), self.bias)], axis=1) / 2 % 1.0
        turns[turns == 1.0] = 0.0  # what lies a rounding below a whole turn
        return turns


@short_repr
@dataclass(frozen=True)
class Readout:
    """Predicts the next values from the speckle and the values of a step; see `fit_readout`.

    Parameters
    ----------
    weights : ndarray of float64, shape (outputs + d, d)
        Weights of intensities over `scale`, and of values.
    scale : float
        By what intensities are divided.
    """

    weights: np.ndarray
    scale: float

    def predict(self, intensities: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Predict the values of the steps after some.

        Parameters
        ----------
        intensities : ndarray of real numbers, shape (n, outputs)
            Speckle of the steps, dark level taken off as in what it was fitted to.
        values : ndarray of real numbers, shape (n, d)
            Values of the steps.

        Returns
        -------
        ndarray of float64, shape (n, d)
            Values of the next steps.

        Raises
        ------
        TypeError, ValueError
            If an array holds something else, or their shapes do not go together.
        """
        predicted: np.ndarray = _features(intensities, values, self.scale) @ self.weights
        return predicted


def fit_readout(
    intensities: np.ndarray, values: np.ndarray, targets: np.ndarray, *, penalty: float, scale: float | None = None
) -> Readout:
    """Fit a readout by least squares with a penalty, without an intercept.

    Parameters
    ----------
    intensities : ndarray of real numbers, shape (n, outputs)
        Speckle of each step, dark level taken off.
    values, targets : ndarray of real numbers, shape (n, d)
        Values of each step, and of the next one.
    penalty : float
        Weight of the sum of the squared weights. The authors' simulation of Kuramoto and Sivashinsky's system has .59,
        with another scale than the default (Notes).
    scale : float, optional
        By what intensities are divided; 9 times their mean by default.

    Returns
    -------
    Readout
        Solved in the smaller of the two forms, by outputs or by steps.

    Raises
    ------
    TypeError, ValueError
        If an array holds something else, shapes do not go together, there is no light, or a number is out of range.

    Notes
    -----
    The authors' simulation clips intensities at 9 and divides them by it, whatever their mean, with entries over
    ``sqrt(2 inputs)`` whose real parts are normal and whose imaginary parts are even from 0 to 1. These add up where
    phases are alike, so that the mean grows with the inputs: 1.01 for the seven of Lorenz's system, of which 9 is about
    9 times, but about 7 for 129 of phases even over half a turn, as for 64 values and their past. A penalty of theirs
    goes with intensities over such a number: `scale` of 9 over that mean times the mean of the intensities.
    """
    penalty = validation.number("penalty", penalty, low=0.0, high=1e300, low_open=True)
    counts = checked_array("intensities", intensities, finite=True)
    if scale is None:
        scale = 9 * float(counts.mean(dtype=np.float64)) if counts.size else 0.0
        if not scale > 0:
            raise ValueError(f"intensities has the mean {scale / 9:.4g}, but it must be above 0: there is no light.")
    scale = validation.number("scale", scale, low=0.0, high=1e300, low_open=True)
    x, y = _features(intensities, values, scale), _series("targets", targets, 1).astype(np.float64)
    if len(y) != len(x):
        raise ValueError(f"targets has {len(y)} rows, but it must have one for each of {len(x)} steps.")
    if x.shape[1] <= len(x):
        square = x.T @ x
        square.flat[:: len(square) + 1] += penalty
        weights = scipy.linalg.solve(square, x.T @ y, assume_a="pos")
    else:
        square = x @ x.T
        square.flat[:: len(square) + 1] += penalty
        weights = x.T @ scipy.linalg.solve(square, y, assume_a="pos")
    return Readout(weights, scale)


def forecast(speckle: Speckle, readout: Readout, past: Past, start: np.ndarray, steps: int) -> np.ndarray:
    """Go on with a series alone: each predicted step is the input of the next.

    Parameters
    ----------
    speckle : callable
        Phases in turns (1, inputs) to intensities (1, outputs): the device, one vector at a time.
    readout : Readout
        That was fitted to it.
    past : Past
        As the readout was fitted with.
    start : ndarray of real numbers, shape (n, d)
        The last values that are known: as many as `past` has weights, or more.
    steps : int
        How many to predict.

    Returns
    -------
    ndarray of float64, shape (steps, d)
        Predicted values.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.
    RuntimeError
        If the forecast runs away, beyond what a phase can show.
    """
    steps, lags = validation.integer("steps", steps, low=1), len(past.weights)
    known = _series("start", start, lags).astype(np.float64)[-lags:]
    series = np.concatenate([known, np.empty((steps, known.shape[1]))])
    for k in range(lags, lags + steps):
        window = series[k - lags : k]
        series[k] = readout.predict(speckle(past.turns(window)), window[-1:])[0]
        if not np.isfinite(series[k]).all() or np.abs(series[k]).max() > 1e6:
            raise RuntimeError(f"The forecast runs away: after {k - lags + 1} steps it is {series[k].tolist()}.")
    return series[lags:]


def forecast_error(predicted: np.ndarray, true: np.ndarray) -> float:
    """Return the root mean square error of a forecast over the largest true value, as the authors give it.

    Parameters
    ----------
    predicted, true : ndarray of real numbers, shape (steps, d)
        The forecast, and what came; in the series' own units, of which the largest value depends.

    Returns
    -------
    float
        Error over largest value.

    Raises
    ------
    TypeError, ValueError
        If an array holds something else, their shapes differ, or no true value is above 0.
    """
    found, came = _series("predicted", predicted, 1), _series("true", true, 1)
    if found.shape != came.shape:
        raise ValueError(f"true has the shape {came.shape}, but it must have that of predicted, {found.shape}.")
    most = float(came.max())
    if not most > 0:
        raise ValueError(f"true has the largest value {most:.4g}, but it must be above 0.")
    # Over the largest value first: squares of any numbers then stay numbers.
    return math.sqrt(float(np.mean(np.square(found / most - came / most), dtype=np.float64)))


def _series(name: str, values: np.ndarray, least: int) -> np.ndarray:
    array = checked_array(name, values, "values, steps by dimensions", finite=True)
    if array.ndim != 2 or len(array) < least or not array.shape[1]:
        raise ValueError(
            f"{name} has the shape {array.shape}, but it must be (steps, dimensions), with {least} steps at least."
        )
    return array


def _features(intensities: np.ndarray, values: np.ndarray, scale: float) -> np.ndarray:
    counts, own = _series("intensities", intensities, 1), _series("values", values, 1)
    if len(counts) != len(own):
        raise ValueError(f"values has {len(own)} rows, but it must have one for each of {len(counts)} of intensities.")
    return np.concatenate([counts / scale, own.astype(np.float64)], axis=1)
