"""Fields of bursts as numba kernels: `demodulation.field_of_clipped` burst by burst, and whole stacks of counts."""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel

PIXELS = 2048
"""Pixels of a burst that are taken together: their sums stay in a core's first-level cache."""


@kernel(inline="always")
def _fitted(light, clipped, r, x, y, cosine, sine, own, newton_steps):  # type: ignore[no-untyped-def]
    """Return the field of one burst, damped steps of Gauss and Newton from x + iy on."""
    for _ in range(newton_steps):
        xx = yy = xy = gx = gy = 0.0
        alone = own * (x * x + y * y) + r * r
        for k in range(len(cosine)):
            rest = light[k] - (alone + 2 * r * (x * cosine[k] + y * sine[k]))
            # A saturated frame counts only while the model is below what it shows at least.
            if clipped[k] and not rest > 0:
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
    return x, y


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
    for i in range(start, stop):
        x, y = _fitted(
            light[i], clipped[i], amplitude[i], field[i].real, field[i].imag, cosine, sine, own, newton_steps
        )
        field[i] = np.complex128(complex(x, y))


@kernel()
def fields_of_counts(
    frames, real, imaginary, amplitude, dark, full_scale, cosine, sine, own, newton_steps, field, start, stop
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Write the fields of bursts, saturated ones among them: sums over the steps, then the fit where it is needed.

    Parameters
    ----------
    frames : ndarray of uint8 or uint16, shape (n * steps, n_pixels)
        Counts, each pattern under every phase in turn.
    real, imaginary : ndarray of float32, shape (steps,)
        Coefficients of the sum over the steps that is S |R|.
    amplitude : ndarray of float32, shape (n_pixels,)
        |R|.
    dark : ndarray of float32, shape (n_pixels,)
        Level without light.
    full_scale : float
        Count from which a pixel is saturated.
    cosine, sine, own, newton_steps
        As in `fit_clipped`.
    field : ndarray of float32, shape (n, 2 * n_pixels)
        Receives real and imaginary parts by turns.
    start, stop : int
        Range of blocks of `PIXELS` pixels, burst by burst.
    """
    steps = len(real)
    n_pixels = frames.shape[1]
    n_blocks = -(-n_pixels // PIXELS)
    re = np.empty(PIXELS, dtype=np.float32)
    im = np.empty(PIXELS, dtype=np.float32)
    highest = np.empty(PIXELS, dtype=np.float32)
    light = np.empty(steps, dtype=np.float64)
    clipped = np.empty(steps, dtype=np.bool_)
    limit = np.float32(full_scale)
    for unit in range(start, stop):
        burst, block = unit // n_blocks, unit % n_blocks
        first = block * PIXELS
        n = min(PIXELS, n_pixels - first)
        re[:] = 0
        im[:] = 0
        highest[:] = 0
        for k in range(steps):
            row = frames[burst * steps + k, first : first + n]
            a, b = real[k], imaginary[k]
            for i in range(n):
                count = np.float32(row[i])
                re[i] += a * count
                im[i] += b * count
                highest[i] = max(highest[i], count)
        out = field[burst, 2 * first : 2 * (first + n)]
        for i in range(n):
            r = amplitude[first + i]
            out[2 * i] = re[i] / r
            out[2 * i + 1] = im[i] / r
        for i in range(n):
            if highest[i] >= limit:
                for k in range(steps):
                    count = frames[burst * steps + k, first + i]
                    light[k] = np.float64(count) - np.float64(dark[first + i])
                    clipped[k] = count >= full_scale
                x, y = _fitted(
                    light, clipped, np.float64(amplitude[first + i]), np.float64(out[2 * i]),
                    np.float64(out[2 * i + 1]), cosine, sine, own, newton_steps,
                )  # fmt: skip
                out[2 * i] = np.float32(x)
                out[2 * i + 1] = np.float32(y)
