"""Moments of a count: a normal law that is clipped at two ends and rounded."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["clipped_moments", "rounded_moments"]

Array = NDArray[np.float64]
# In steps. From this width on rounding adds 1/12 of a step squared and no bias: what is left of both is
# 2 exp(-2 pi^2 width^2) (Widrow and Kollar, Quantization Noise, 2008, chapter 4), below 1e-4.
_WIDE = 0.75
# Codes to each side of the mean: more than seven widths.
_REACH = 6


def clipped_moments(mean: Array, variance: Array, low: float, high: float) -> tuple[Array, Array, Array]:
    """Mean, variance and probability of being inside, of a normal law that is clipped at two ends.

    Parameters
    ----------
    mean, variance : ndarray
        Of the law before.
    low, high : float
        The ends; may be infinite.
    """
    if math.isinf(low) and math.isinf(high):
        return mean, variance, np.ones_like(mean)
    width = np.sqrt(np.maximum(variance, 1e-12))
    a, b = (low - mean) / width, (high - mean) / width
    below, above = special.ndtr(a), special.ndtr(-b)
    inside = 1 - below - above
    pa, pb = (np.exp(-0.5 * np.square(v)) / math.sqrt(2 * math.pi) for v in (a, b))
    # In units of the width, from the mean; infinite ends have no weight.
    at_a, at_b = (np.where(np.isfinite(v), v, 0.0) for v in (a, b))
    first = at_a * below + at_b * above + pa - pb
    second = at_a**2 * below + at_b**2 * above + inside + at_a * pa - at_b * pb
    return mean + width * first, variance * np.maximum(second - first**2, 0.0), inside


def rounded_moments(mean: Array, variance: Array, low: float, high: float) -> tuple[Array, Array]:
    """Mean and variance of counts: a normal law rounded to whole numbers, then clipped at two of them.

    Parameters
    ----------
    mean, variance : ndarray
        Of the level before, in DN and DN².
    low, high : float
        Lowest and highest count; may be infinite.

    Returns
    -------
    mean, variance : ndarray
        By the probability of each count where the law is narrower than three quarters of a step: there the mean is off
        by up to half a step, and the variance is anything from 0 to 1/4 DN². Above, 1/12 DN² is added.
    """
    middle, spread, inside = clipped_moments(mean, variance, low, high)
    middle, spread = middle.copy(), spread + inside / 12
    narrow = variance < _WIDE**2
    if narrow.any():
        level, width = mean[narrow][:, None], np.sqrt(np.maximum(variance[narrow], 1e-12))[:, None]
        codes = np.rint(level) + np.arange(-_REACH, _REACH + 1)
        reached = special.ndtr((codes[:, 1:] - 0.5 - level) / width)
        chance = np.diff(reached, axis=1, prepend=0.0, append=1.0)
        counts = np.clip(codes, low, high)
        expected = (chance * counts).sum(axis=1)
        middle[narrow], spread[narrow] = expected, (chance * np.square(counts - expected[:, None])).sum(axis=1)
    return middle, spread
