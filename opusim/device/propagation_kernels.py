"""The transfer function of free space as a numba kernel."""

from __future__ import annotations

import numpy as np

from opusim.base.elementary_kernels import cosine_and_sine, exponential
from opusim.base.jit import kernel


@kernel()
def fill_transfer(fy, fx, wavelength_m, distance_m, out, start, stop):  # type: ignore[no-untyped-def]
    """Write exp(i z (k_z - k)) at spatial frequencies, for a range of rows.

    Parameters
    ----------
    fy, fx : ndarray of float64, 1-D
        Spatial frequencies of rows and columns, per metre.
    wavelength_m, distance_m : float
        Wavelength, and the distance z.
    out : ndarray of float32, shape (len(fy), 2 * len(fx)), contiguous
        Receives real and imaginary parts by turns.
    start, stop : int
        Range of rows.

    Notes
    -----
    Evanescent waves decay whichever way one goes: amplifying them on the way back would only amplify noise.
    """
    turn = distance_m * (2 * np.pi / wavelength_m)
    square = wavelength_m * wavelength_m
    for i in range(start, stop):
        y2 = fy[i] * fy[i]
        for j in range(np.uint64(len(fx))):
            squared = 1.0 - square * (y2 + fx[j] * fx[j])
            cosine, sine = cosine_and_sine(turn * (np.sqrt(max(squared, 0.0)) - 1.0))
            size = exponential(-abs(turn) * np.sqrt(max(-squared, 0.0)))
            out[i, np.uint64(2) * j] = size * cosine
            out[i, np.uint64(2) * j + np.uint64(1)] = size * sine
