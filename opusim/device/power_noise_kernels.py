"""Noise of the laser's power, averaged over many exposures."""

from __future__ import annotations

import math

import numpy as np

from opusim.base.jit import kernel
from opusim.base.rng_kernels import normal

# Numbers of cells stay below this: dividing by it is exact, and cells so late no clock can tell apart.
_CELLS = 2.0**62


@kernel(inline="always")
def _cell(k0, k1, number):  # type: ignore[no-untyped-def]
    """Return the noise of a cell."""
    index = number - _CELLS * np.floor(number / _CELLS)
    return np.float64(normal(k0, k1, np.uint64(index)))


@kernel()
def mean_noise(times_s, frames, rate_hz, exposure_s, origin, c0, c1, f0, f1, out):  # type: ignore[no-untyped-def]
    """Write the mean of the noise over each exposure: see `Laser.relative_power`.

    Parameters
    ----------
    times_s : ndarray of float64, shape (n,)
        When exposures begin, in seconds.
    frames : ndarray of int64, shape (n,)
        Numbers of the frames.
    rate_hz : float
        Cells a second.
    exposure_s : float
        Length of the exposures in seconds.
    origin : float
        Where within a cell time begins, from 0 to 1.
    c0, c1, f0, f1 : uint32
        Keys of the noise of cells, and of the sum of the cells within a frame.
    out : ndarray of float64, shape (n,)
        Filled with numbers of the variance 1, or less where exposures are not short against a cell.
    """
    for i in range(len(times_s)):
        start = times_s[i] * rate_hz + origin
        end = start + exposure_s * rate_hz
        first, last = np.floor(start), np.floor(end)
        noise = _cell(c0, c1, first)
        if last > first:
            total = (first + 1.0 - start) * noise + (end - last) * _cell(c0, c1, last)
            if last > first + 1.0:
                inner = np.float64(normal(f0, f1, np.uint64(frames[i])))
                total += math.sqrt(last - first - 1.0) * inner
            noise = total / (end - start)
        out[i] = noise
