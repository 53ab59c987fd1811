"""What a moving phase leaves of a phasor in an exposure, by quadrature, for many frames."""

from __future__ import annotations

import numpy as np

from opusim.base.elementary_kernels import cosine_and_sine
from opusim.base.jit import kernel

_TURN = 2 * np.pi


@kernel()
def fill_mean_phasors(  # type: ignore[no-untyped-def]
    times_s, length_s, panels, segments, hz, rad, start, omega, amplitude, origin, place, weight, out
):
    """Fill `out` with the mean of exp(i (drift + vibration)) over [t, t + exposure] for each time t.

    Parameters
    ----------
    times_s : ndarray of float64, shape (n,)
        Starts of the exposures in seconds.
    length_s : float
        Length of a panel of the quadrature in seconds; `panels` of them make the exposure.
    panels, segments : int
        Panels, a multiple of `segments`: in each segment the drift is the parabola through its ends and middle.
    hz, rad, start : ndarray of float64, shape (lines,)
        Frequencies, amplitudes and phases at the time 0 of sines.
    omega, amplitude, origin : ndarray of float64, shape (terms,)
        The drift, as for `drift_kernels.sum_swings`.
    place, weight : ndarray of float64, shape (nodes,)
        Nodes of the quadrature from 0 to 1, and weights whose sum is 1.
    out : ndarray of float64, shape (n, 2)
        Real and imaginary parts.
    """
    nodes = len(place)
    lines = len(hz)
    within = np.empty((lines, 2, nodes))  # what turns a line from the start of a panel to its nodes, times its size
    for j in range(lines):
        for k in range(nodes):
            cosine, sine = cosine_and_sine(_TURN * (hz[j] * length_s * place[k]))
            within[j, 0, k] = rad[j] * cosine
            within[j, 1, k] = rad[j] * sine
    still = 0.0
    for m in range(len(omega)):
        still += cosine_and_sine(origin[m])[0] * amplitude[m]
    each = panels // segments
    half_s = length_s * each / 2
    drift = np.zeros(2 * segments + 1)
    turns = np.empty(lines)
    phase = np.empty(nodes)
    for i in range(len(times_s)):
        if len(omega):
            for d in range(2 * segments + 1):
                total = 0.0
                for m in range(len(omega)):
                    total += cosine_and_sine((times_s[i] + d * half_s) * omega[m] + origin[m])[0] * amplitude[m]
                drift[d] = total - still
        for j in range(lines):
            turn = hz[j] * times_s[i]
            turns[j] = turn - np.rint(turn)  # exact, and small whenever it is
        real = 0.0
        imaginary = 0.0
        for p in range(panels):
            d = 2 * (p // each)
            middle = drift[d + 1]
            slope = (drift[d + 2] - drift[d]) / 2
            bend = (drift[d + 2] + drift[d]) / 2 - middle
            first = np.float64(p % each)
            for k in range(nodes):
                x = (first + place[k]) * (2.0 / each) - 1.0
                phase[k] = middle + x * (slope + x * bend)
            for j in range(lines):
                turn = turns[j] + hz[j] * (p * length_s)
                cosine, sine = cosine_and_sine(_TURN * (turn - np.rint(turn)) + start[j])
                for k in range(nodes):
                    phase[k] += sine * within[j, 0, k] + cosine * within[j, 1, k]
            for k in range(nodes):
                cosine, sine = cosine_and_sine(phase[k])
                real += cosine * weight[k]
                imaginary += sine * weight[k]
        out[i, 0] = real / panels
        out[i, 1] = imaginary / panels
