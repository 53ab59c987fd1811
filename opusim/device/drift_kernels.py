"""A slow drift as a Fourier series, for many moments."""

from __future__ import annotations

from opusim.base.elementary_kernels import cosine_and_sine
from opusim.base.jit import kernel


@kernel()
def sum_swings(times_s, omega, amplitude, start, out):  # type: ignore[no-untyped-def]
    """Add the sum over m of a_m (cos(w_m t + p_m) - cos p_m), which is 0 at t = 0, for each time t.

    Parameters
    ----------
    times_s : ndarray of float64, shape (n,)
        Times in seconds.
    omega, amplitude, start : ndarray of float64, shape (terms,)
        Angular frequencies w in radians per second, amplitudes a, and phases p in radians.
    out : ndarray of float64, shape (n,)
        The sum is added to what it holds.
    """
    origin = 0.0
    for i in range(-1, len(times_s)):  # the start of time comes first
        time_s = times_s[i] if i >= 0 else 0.0
        total = 0.0
        for m in range(len(omega)):
            total += cosine_and_sine(time_s * omega[m] + start[m])[0] * amplitude[m]
        if i >= 0:
            out[i] += total - origin
        else:
            origin = total
