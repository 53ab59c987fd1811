"""Estimators of the photon-transfer method: temporal and spatial variances of frames, and the fits through them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from opusim.base.short_repr import short_repr

__all__ = [
    "FrameStatistics", "gain_fit", "gather", "hot_pixels", "line", "linearity", "proportional", "root_interval",
    "spatial_variance",
]  # fmt: skip

# A pixel is hot if its dark signal is this many standard deviations above the others'.
_HOT = 6.0


@short_repr
@dataclass(frozen=True)
class FrameStatistics:
    """Moments of frames of one scene.

    Parameters
    ----------
    mean_image, variance_image : ndarray of float64, shape (rows, columns)
        Mean and sample variance of each pixel over the frames.
    mean : float
        Mean of all counts.
    variance : float
        Temporal variance of a pixel, averaged over pixels; changes common to all pixels taken off.
    frames : int
        How many frames.
    zero_share : float
        Share of the counts that are 0.
    integers : bool
        Whether counts are whole numbers, hence rounded.
    """

    mean_image: np.ndarray
    variance_image: np.ndarray
    mean: float
    variance: float
    frames: int
    zero_share: float
    integers: bool

    @property
    def dof(self) -> int:
        """Degrees of freedom of `variance`."""
        return (self.frames - 1) * (self.mean_image.size - 1)

    @property
    def mean_error(self) -> float:
        """Standard error of `mean` by temporal noise."""
        return math.sqrt(self.variance / (self.frames * self.mean_image.size))

    def variance_above(self, sigmas: float) -> tuple[float, float]:
        """Temporal variance and its standard error, from pixels that do not reach 0.

        Parameters
        ----------
        sigmas : float
            How many standard deviations of the temporal noise a pixel's mean must be above 0. A choice by the mean
            does not bend the variance.
        """
        least = sigmas * math.sqrt(self.variance) - 0.5
        chosen = self.mean_image >= least
        n = int(chosen.sum())
        if not self.integers or n < max(16, 0.01 * chosen.size):
            chosen, n = np.ones_like(chosen), chosen.size
        common = float(self.variance_image.mean()) - self.variance
        variance = float(self.variance_image[chosen].mean()) - common
        return variance, variance * math.sqrt(2 / ((self.frames - 1) * n))


def gather(frames: np.ndarray) -> FrameStatistics:
    """Return the moments of frames (n, rows, columns), n at least 2.

    Notes
    -----
    The temporal variance is sum (y_ij - y_i. - y_.j + y_..)^2 / ((L - 1)(P - 1)) over L frames and P pixels. For two
    frames that is EMVA 1288's half the mean square of the difference, less the square of the difference of the means.
    """
    if frames.ndim != 3 or len(frames) < 2 or frames[0].size < 2:
        raise ValueError(f"frames has shape {frames.shape}, but at least two frames of two pixels are needed.")
    n, pixels = len(frames), frames[0].size
    mean_image = frames.mean(axis=0, dtype=np.float64)
    squares = np.zeros(mean_image.shape)
    for frame in frames:
        squares += np.square(frame - mean_image)
    variance_image = squares / (n - 1)
    of_means = frames.reshape(n, -1).mean(axis=1, dtype=np.float64).var(ddof=1)
    variance = max(float(variance_image.mean() - of_means) * pixels / (pixels - 1), 0.0)
    return FrameStatistics(
        mean_image,
        variance_image,
        float(mean_image.mean()),
        variance,
        n,
        float(np.mean(frames == 0)),
        frames.dtype.kind in "iu",
    )


def spatial_variance(image: np.ndarray, temporal: float, *, leave_out: np.ndarray | None = None) -> tuple[float, float]:
    """Variance of a mean image over the pixels with the temporal part removed, and its standard error.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Mean image.
    temporal : float
        Variance of its pixels by temporal noise: that of a frame over the number of frames.
    leave_out : ndarray of bool, shape (rows, columns), optional
        Pixels not to use.

    Returns
    -------
    variance, error : float
        The variance may come out below 0 where the temporal part rules.

    Notes
    -----
    A surface of second degree, as an uneven lamp makes, is taken off first.
    """
    rows, columns = image.shape
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    surface = np.stack([np.ones_like(x), x, y, x * y, x**2, y**2], axis=-1)
    keep = np.ones(image.shape, dtype=bool) if leave_out is None else ~leave_out
    design, values = surface[keep], image[keep]
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = max(values.size - int(rank), 1)
    total = float(np.sum(np.square(values - design @ solution))) / freedom
    return total - temporal, total * math.sqrt(2 / freedom)


def hot_pixels(short: FrameStatistics, long: FrameStatistics) -> np.ndarray:
    """Return the pixels whose dark level rises far more with the exposure than that of the others, as bool."""
    rise = long.mean_image - short.mean_image
    middle = float(np.median(rise))
    noise = math.sqrt(long.variance / long.frames + short.variance / short.frames)
    width = max(1.4826 * float(np.median(np.abs(rise - middle))), noise)
    return rise > middle + _HOT * max(width, 1e-9)


def line(x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Return the slope of a weighted straight line and its standard error."""
    weights = 1 / np.square(np.maximum(errors, 1e-12))
    centre = np.average(x, weights=weights)
    spread = float(np.sum(weights * np.square(x - centre)))
    return float(np.sum(weights * (x - centre) * y)) / spread, 1 / math.sqrt(spread)


def proportional(x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Return the slope of a weighted line through the origin and its standard error."""
    weights = 1 / np.square(np.maximum(errors, 1e-12))
    information = float(np.sum(weights * x * x))
    return float(np.sum(weights * x * y)) / information, 1 / math.sqrt(information)


def gain_fit(
    signal: np.ndarray, variance: np.ndarray, dof: np.ndarray, dark_variance: float, dark_error: float
) -> tuple[float, float, float]:
    """Slope of the temporal variance against the signal, its standard error, and how it follows `dark_variance`.

    Parameters
    ----------
    signal : ndarray, shape (n,)
        Levels in DN, dark level taken off.
    variance, dof : ndarray, shape (n,)
        Temporal variances and their degrees of freedom.
    dark_variance, dark_error : float
        Variance without light and its standard error.

    Notes
    -----
    A variance v has the error v sqrt(2 / dof). The fit's own v is used, not the measured one: weights that follow the
    noise of the data pull the slope down.
    """
    x = np.concatenate([[0.0], signal])
    y = np.concatenate([[dark_variance], variance])
    slope, intercept = float(np.sum(signal * variance) / np.sum(signal**2)), dark_variance
    error, follows = math.inf, 0.0
    for _ in range(20):
        fitted = np.maximum(intercept + slope * signal, 1e-12 * max(float(y.max()), 1e-300))
        errors = np.maximum(
            np.concatenate([[dark_error], fitted * np.sqrt(2 / dof)]), max(1e-9 * float(fitted.max()), 1e-100)
        )
        weights = 1 / np.square(errors)
        centre = np.average(x, weights=weights)
        spread = float(np.sum(weights * np.square(x - centre)))
        last, slope = slope, float(np.sum(weights * (x - centre) * y)) / spread
        intercept = float(np.average(y, weights=weights)) - slope * centre
        error, follows = 1 / math.sqrt(spread), -float(weights[0] * centre) / spread
        if abs(slope - last) <= 1e-9 * abs(slope):
            break
    return slope, error, follows


def linearity(
    signal: np.ndarray, fitted: np.ndarray, errors: np.ndarray, quantile: float
) -> tuple[float, float, float]:
    """Mean of |signal / fitted - 1| and its interval, whose lower end is 0 if noise alone explains it."""
    deviation = float(np.mean(np.abs(signal / fitted - 1)))
    noise = errors / fitted
    expected = float(noise.mean()) * math.sqrt(2 / math.pi)
    spread = math.sqrt(float(np.sum(noise**2)) * (1 - 2 / math.pi)) / len(noise)
    return deviation, max(deviation - expected - quantile * spread, 0.0), deviation + quantile * spread


def root_interval(square: float, error: float, quantile: float) -> tuple[float, float]:
    """Interval of a standard deviation whose square was estimated with an error; its ends are not below 0."""
    low, high = square - quantile * error, square + quantile * error
    return math.sqrt(max(low, 0.0)), math.sqrt(max(high, 0.0))
