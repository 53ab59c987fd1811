"""Fields of saturated bursts as a numba kernel: `demodulation.field_of_clipped`, burst by burst."""

from __future__ import annotations

import numpy as np

from ._jit import kernel


@kernel()
def fit_clipped(light, clipped, amplitude, cosine, sine, own, newton_steps, field, start, stop):  # type: ignore[no-untyped-def]
    """Fit bursts `start` to `stop` by Gauss and Newton, damped.

    Parameters
    ----------
    light : ndarray of float64, shape (n, steps)
        Frames, dark level taken off.
    clipped : ndarray of bool, shape (n, steps)
        Which are saturated.
    amplitude : ndarray of float64, shape (n,)
        |R|.
    cosine, sine : ndarray of float64, shape (steps,)
        Of the phases.
    own : float
        1 / coherence**2.
    newton_steps : int
        How many steps.
    field : ndarray of complex128, shape (n,)
        A first guess, replaced by the fit.
    start, stop : int
        Range of bursts.
    """
    steps = light.shape[1]
    for i in range(start, stop):
        r = amplitude[i]
        x, y = field[i].real, field[i].imag
        for _ in range(newton_steps):
            xx = yy = xy = gx = gy = 0.0
            alone = own * (x * x + y * y) + r * r
            for k in range(steps):
                rest = light[i, k] - (alone + 2 * r * (x * cosine[k] + y * sine[k]))
                # A saturated frame counts only while the model is below what it shows at least.
                if clipped[i, k] and not rest > 0:
                    continue
                along_x = 2 * own * x + 2 * r * cosine[k]
                along_y = 2 * own * y + 2 * r * sine[k]
                xx += along_x * along_x
                yy += along_y * along_y
                xy += along_x * along_y
                gx += along_x * rest
                gy += along_y * rest
            damping = 1e-3 * (xx + yy) + 1e-12
            xx += damping
            yy += damping
            determinant = xx * yy - xy * xy
            x += (yy * gx - xy * gy) / determinant
            y += (xx * gy - xy * gx) / determinant
        field[i] = np.complex128(complex(x, y))
