"""Estimators of the photon-transfer method: temporal and spatial variances of frames, and the fits through them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from opusim.base.short_repr import short_repr

__all__ = [
    "Estimate", "FrameStatistics", "SpatialVariances", "bend", "gain_fit", "gather", "hot_pixels", "line", "linearity",
    "noise_quantile", "proportional", "relative_deviations", "root_interval", "spatial_variance", "spread_of_rises",
    "variance_components",
]  # fmt: skip

Interval = tuple[float, float]

# A pixel is hot if its dark signal is this many standard deviations above the others', and where dark currents differ
# also that many of their logarithms.
_HOT, _HOT_LOG = 6.0, 5.0
# Standard errors from which on the currents of pixels are said to differ.
_DIFFER = 4.0
# Part of a normal law below one standard deviation.
_ONE_SIGMA = 0.8413447460685429
# Rows and columns from which on what they share can be told from what each pixel has.
_LEAST_LINES = 8
# Rounds in which pixels that are left out take the values of their row and column.
_FILLING = 20


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


@dataclass(frozen=True)
class Estimate:
    """A variance that was estimated, and its interval; both may come out below 0 where noise rules.

    Parameters
    ----------
    square : float
        The variance.
    interval : tuple of float
        Its ends.
    """

    square: float
    interval: Interval

    def root(self, divisor: float = 1.0, relative: float = 0.0) -> tuple[float, Interval]:
        """Return the standard deviation and its interval, none below 0.

        Parameters
        ----------
        divisor : float
            What both are divided by: a signal, a gain.
        relative : float
            Half of the divisor's own interval, relative to it.
        """
        squares = (self.interval[0], self.square, self.interval[1])
        low, value, high = (math.sqrt(max(one, 0.0)) / divisor for one in squares)
        own = relative * value
        return value, (max(value - math.hypot(value - low, own), 0.0), value + math.hypot(high - value, own))


@dataclass(frozen=True)
class SpatialVariances:
    """Variances over the pixels of what a whole row has in common, a whole column, and each pixel alone.

    Parameters
    ----------
    total, row, column, pixel : Estimate
        The first is the sum of the others.
    """

    total: Estimate
    row: Estimate
    column: Estimate
    pixel: Estimate


def variance_components(
    image: np.ndarray, temporal: float, quantile: float, *, leave_out: np.ndarray | None = None
) -> SpatialVariances | None:
    """Split the spatial variance of a mean image into those of rows, columns and pixels.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Mean image.
    temporal : float
        Variance of its pixels by temporal noise: that of a frame over the number of frames.
    quantile : float
        Half width of the intervals in standard deviations, if they were those of a normal law.
    leave_out : ndarray of bool, shape (rows, columns), optional
        Pixels not to use.

    Returns
    -------
    SpatialVariances or None
        None if there are fewer than 8 rows or columns.

    Notes
    -----
    EMVA 1288 release 4, 8.2: of M rows and N columns, with the temporal variance t in each pixel of the mean image,

        s_cav^2 = s_col^2 + (s_pix^2 + t) / M,    s_rav^2 = s_row^2 + (s_pix^2 + t) / N,
        s^2 = s_row^2 + s_col^2 + s_pix^2 + t

    are the variances of the means of columns, those of rows, and of all pixels; solved for the three, so that the
    temporal noise that is left in the means is in none of them. Here in the equivalent form of an analysis of
    variance, which counts the degrees of freedom that a surface of second degree (an uneven lamp) has taken. Intervals
    are those of modified large samples for sums and differences of mean squares (Burdick and Graybill, Confidence
    Intervals on Variance Components, 1992, 3.3), as columns and rows are too few for a normal law.
    """
    rows, columns = image.shape
    left_out = 0 if leave_out is None else int(leave_out.sum())
    if min(rows, columns) < _LEAST_LINES or left_out > image.size // 4:
        return None
    rest = _without_surface(image, leave_out)
    if leave_out is not None and left_out:
        # Pixels that are not there take what their row and their column have: they then add nothing to the residuals.
        rest = np.where(leave_out, 0.0, rest)
        for _ in range(_FILLING):
            by_row, by_column = rest.mean(axis=1, keepdims=True), rest.mean(axis=0, keepdims=True)
            rest = np.where(leave_out, by_row + by_column - rest.mean(), rest)
    by_row, by_column = rest.mean(axis=1), rest.mean(axis=0)
    whole = float(np.sum(rest**2))
    of_rows, of_columns = columns * float(np.sum(by_row**2)), rows * float(np.sum(by_column**2))
    freedom = rows * columns - rows - columns - left_out
    each = _MeanSquare.of((whole - of_rows - of_columns) / freedom, freedom, quantile)
    row, column = (
        _MeanSquare.of(squares / (n - 3), n - 3, quantile) for squares, n in ((of_rows, rows), (of_columns, columns))
    )
    share = 1 - 1 / rows - 1 / columns
    return SpatialVariances(
        _combined(-temporal, (row, 1 / columns), (column, 1 / rows), (each, share)),
        _combined(0.0, (row, 1 / columns), (each, -1 / columns)),
        _combined(0.0, (column, 1 / rows), (each, -1 / rows)),
        _combined(-temporal, (each, 1.0)),
    )


@dataclass(frozen=True)
class _MeanSquare:
    """A mean square, and how far below and above it its expectation may lie, relative to it."""

    value: float
    below: float
    above: float

    @classmethod
    def of(cls, value: float, freedom: int, quantile: float) -> _MeanSquare:
        from scipy import stats

        tail = float(stats.norm.sf(quantile))
        most, least = float(stats.chi2.isf(tail, freedom)), float(stats.chi2.ppf(tail, freedom))
        return cls(value, 1 - freedom / most, freedom / least - 1)


def _combined(constant: float, *terms: tuple[_MeanSquare, float]) -> Estimate:
    """Return a constant and multiples of mean squares that do not depend on each other, with an interval."""
    total = constant + sum(factor * one.value for one, factor in terms)
    low2 = sum((factor * one.value * (one.below if factor > 0 else one.above)) ** 2 for one, factor in terms)
    high2 = sum((factor * one.value * (one.above if factor > 0 else one.below)) ** 2 for one, factor in terms)
    return Estimate(total, (total - math.sqrt(low2), total + math.sqrt(high2)))


def _without_surface(image: np.ndarray, leave_out: np.ndarray | None) -> np.ndarray:
    """Return an image less the surface of second degree that fits it best."""
    rows, columns = image.shape
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    surface = np.stack([np.ones_like(x), x, y, x * y, x**2, y**2], axis=-1)
    keep = slice(None) if leave_out is None else ~leave_out
    solution = np.linalg.lstsq(surface[keep].reshape(-1, 6), image[keep].ravel(), rcond=None)[0]
    result: np.ndarray = image - surface @ solution
    return result


def hot_pixels(short: FrameStatistics, long: FrameStatistics) -> np.ndarray:
    """Return the pixels whose dark level rises far more with the exposure than that of the others.

    Parameters
    ----------
    short, long : FrameStatistics
        Dark frames of the shortest and the longest exposure.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
        By six standard deviations of the rises. Where the currents of pixels are seen to differ, their law is taken for
        a log-normal one, whose tail is no hot pixels: above five standard deviations of the logarithm, and six of the
        noise besides.
    """
    rise = long.mean_image - short.mean_image
    middle, high = (float(one) for one in np.quantile(rise, (0.5, _ONE_SIGMA)))
    noise = math.sqrt(long.variance / long.frames + short.variance / short.frames)
    # The middle has an error of 1.25 noise / sqrt(n), the other quantile one of 1.5; half of them fall together.
    upper, error = high - middle, 1.5 * noise / math.sqrt(rise.size)
    if middle > 2 * noise and upper > noise + _DIFFER * error:
        relative = math.log1p(math.sqrt(upper**2 - noise**2) / middle)
        return rise > middle * math.exp(_HOT_LOG * relative) + _HOT * noise
    width = max(1.4826 * float(np.median(np.abs(rise - middle))), noise)
    return rise > middle + _HOT * max(width, 1e-9)


def spread_of_rises(
    short: FrameStatistics, long: FrameStatistics, quantile: float, *, leave_out: np.ndarray
) -> Estimate:
    """Variance over the pixels of how far the dark level rises from one exposure to another.

    Parameters
    ----------
    short, long : FrameStatistics
        Dark frames of both exposures.
    quantile : float
        Half width of the interval in standard deviations.
    leave_out : ndarray of bool, shape (rows, columns)
        Pixels not to use.

    Notes
    -----
    Offsets of pixels, rows and columns are in both images, and cancel in each pixel. The error of the variance is that
    of its fourth moment, as dark currents have a long tail.
    """
    rest = (long.mean_image - short.mean_image)[~leave_out]
    squares = np.square(rest - rest.mean())
    n = rest.size
    square = float(squares.sum()) / (n - 1) - long.variance / long.frames - short.variance / short.frames
    error = quantile * float(squares.std()) / math.sqrt(n)
    return Estimate(square, (square - error, square + error))


def noise_quantile(frames: FrameStatistics, share: float) -> tuple[float, float, float]:
    """Median and a quantile of the temporal variance of pixels, and that quantile if all had the same normal noise.

    Parameters
    ----------
    frames : FrameStatistics
        Frames of one scene.
    share : float
        Which quantile, from 0 to 1.

    Returns
    -------
    middle, found, normal : float
        The variance of whose sample variances over the frames the median is that of all pixels: a sample variance is
        chi^2 over its degrees of freedom, whose median is below its mean. The quantile of sample variances as they are.
        And that of pixels which all have the first: few frames alone make some pixels look noisy.
    """
    from scipy import stats

    freedom = frames.frames - 1
    median, found = (float(one) for one in np.quantile(frames.variance_image, (0.5, share)))
    middle = median * freedom / float(stats.chi2.ppf(0.5, freedom))
    return middle, found, middle * float(stats.chi2.ppf(share, freedom)) / freedom


def relative_deviations(light: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Deviations of the signal from a straight line, relative to it: the linearity error of EMVA 1288 release 4.

    Parameters
    ----------
    light, signal : ndarray, shape (n,)
        Photons, and levels with the dark level taken off; from 5 % to 95 % of saturation, none 0.

    Notes
    -----
    Section 6.7: the line a light + b with the least sum of squares of (signal - line) / signal, and the deviations
    (signal - line) / line.
    """
    slope, offset = np.polynomial.polynomial.polyfit(light, signal, 1, w=1 / signal)[::-1]
    fitted = slope * light + offset
    result: np.ndarray = signal / fitted - 1
    return result


def bend(light: np.ndarray, signal: np.ndarray, errors: np.ndarray, end: float) -> tuple[float, float]:
    """Largest deviation from the line between the ends of the scale, as a share of the scale, and its standard error.

    Parameters
    ----------
    light, signal, errors : ndarray, shape (n,)
        Photons, levels with the dark level taken off, and the errors of these.
    end : float
        Signal at the end of the scale.

    Notes
    -----
    Of a parabola without an offset, b p + c p^2, that fits best: halfway between 0 and the light P that fills the
    scale it lies -c P^2 / 4 above the line between the ends.
    """
    weights = 1 / np.maximum(errors, 1e-12 * max(float(np.abs(signal).max()), 1e-300))
    scale = float(light.max())
    design = np.stack([light / scale, (light / scale) ** 2], axis=1) * weights[:, None]
    inverse = np.linalg.inv(design.T @ design)
    first, second = inverse @ design.T @ (signal * weights)
    inside = first * first + 4 * second * end
    filled = 2 * end / (first + math.sqrt(inside)) if inside > 0 and first > 0 else end / max(first, 1e-300)
    factor = filled**2 / (4 * end)
    return -float(second) * factor, math.sqrt(float(inverse[1, 1])) * factor


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
