"""Fields of bursts as numba kernels: sums over the steps, the fit of saturated ones, and what follows for a vector.

A burst is a row of counts for each phase step. Its pixels are taken a block at a time, wherever the rows lie: in a
stack of frames, or in a few rows that were made for it alone.
"""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel
from opusim.base.vector_kernels import use_widest_vectors

PIXELS = 256
"""Pixels of a burst that are taken together: what is computed of them stays in a core's first-level cache."""

# Numbers of the fit, a row of `PIXELS` each, one after the other in one array: so a compiler sees that they are apart.
_X, _Y, _R, _ALONE, _XX, _YY, _XY, _GX, _GY, _LIGHT = (np.uint64(i * PIXELS) for i in range(10))
_RE, _IM, _HIGHEST = (np.uint64(i * PIXELS) for i in range(3))
_ROW = np.uint64(PIXELS)
_LANES = np.uint64(8)  # float64 numbers of the widest vector
_FOUR = 4  # steps of a burst that has a loop of its own: those that a calibration takes if it is not told otherwise


@kernel()
def make_space(steps):  # type: ignore[no-untyped-def]
    """Return what `demodulate_block` computes in, for one thread and so many phase steps."""
    fit = np.empty((9 + steps) * PIXELS, dtype=np.float64)
    return np.empty(3 * PIXELS, dtype=np.float32), np.empty(PIXELS, dtype=np.int64), fit, np.empty(steps * PIXELS)


@kernel(inline="always")
def _frame(x, y, r, alone, light, floor, c, s, own):  # type: ignore[no-untyped-def]
    """Return slopes of a frame's light along x and y, and what it shows beyond the model; 0 if it does not count."""
    rest = light - (alone + 2 * r * (x * c + y * s))
    # A saturated frame counts only while the model is below what it shows at least.
    used = rest > floor
    along_x = 2 * own * x + 2 * r * c
    along_y = 2 * own * y + 2 * r * s
    return (along_x if used else 0.0), (along_y if used else 0.0), (rest if used else 0.0)


@kernel(inline="always")
def _step(xx, yy, xy, gx, gy):  # type: ignore[no-untyped-def]
    """Return a damped step along x and y, from the sums over the frames."""
    damping = 1e-3 * (xx + yy) + 1e-12
    xx += damping
    yy += damping
    determinant = xx * yy - xy * xy
    return (yy * gx - xy * gy) / determinant, (xx * gy - xy * gx) / determinant


@kernel()
def _fit_four(size, fit, floor, cosine, sine, own, newton_steps):  # type: ignore[no-untyped-def]
    """Do the steps of `fit_block` for bursts of four frames: the same sums, in registers."""
    use_widest_vectors()
    c0, c1, c2, c3 = cosine[0], cosine[1], cosine[2], cosine[3]
    s0, s1, s2, s3 = sine[0], sine[1], sine[2], sine[3]
    second, third, fourth = np.uint64(1) * _ROW, np.uint64(2) * _ROW, np.uint64(3) * _ROW
    for _ in range(newton_steps):
        for i in range(size):
            x, y, r = fit[_X + i], fit[_Y + i], fit[_R + i]
            alone = own * (x * x + y * y) + r * r
            a0, b0, d0 = _frame(x, y, r, alone, fit[_LIGHT + i], floor[i], c0, s0, own)
            a1, b1, d1 = _frame(x, y, r, alone, fit[_LIGHT + second + i], floor[second + i], c1, s1, own)
            a2, b2, d2 = _frame(x, y, r, alone, fit[_LIGHT + third + i], floor[third + i], c2, s2, own)
            a3, b3, d3 = _frame(x, y, r, alone, fit[_LIGHT + fourth + i], floor[fourth + i], c3, s3, own)
            # From 0 on, as a sum that begins with -0 would keep its sign.
            xx = 0.0 + a0 * a0 + a1 * a1 + a2 * a2 + a3 * a3
            yy = 0.0 + b0 * b0 + b1 * b1 + b2 * b2 + b3 * b3
            xy = 0.0 + a0 * b0 + a1 * b1 + a2 * b2 + a3 * b3
            gx = 0.0 + a0 * d0 + a1 * d1 + a2 * d2 + a3 * d3
            gy = 0.0 + b0 * d0 + b1 * d1 + b2 * d2 + b3 * d3
            step_x, step_y = _step(xx, yy, xy, gx, gy)
            fit[_X + i] = x + step_x
            fit[_Y + i] = y + step_y


@kernel()
def fit_block(n, fit, floor, cosine, sine, own, newton_steps):  # type: ignore[no-untyped-def]
    """Improve the fields of `n` bursts together, by damped steps of Gauss and Newton.

    Parameters
    ----------
    n : int
        How many, at most `PIXELS`.
    fit : ndarray of float64, 1-D
        From `make_space`: real and imaginary parts of a first guess, which the fit replaces, ``|R|``, room for sums,
        and frames, dark level taken off, at `_LIGHT`.
    floor : ndarray of float64, shape (steps * PIXELS,)
        What the light of a frame that is saturated must be above that of the model to count, 0; of the others below
        any number.
    cosine, sine : ndarray of float64, shape (steps,)
        Of the phases.
    own : float
        1 / coherence**2.
    newton_steps : int
        How many steps.
    """
    use_widest_vectors()
    # Whole vectors: of a few bursts most would be done one by one.
    size = (np.uint64(n) + _LANES - np.uint64(1)) // _LANES * _LANES
    for i in range(np.uint64(n), size):
        fit[_X + i] = fit[_Y + i] = fit[_R + i] = 1.0
        for k in range(np.uint64(len(cosine))):
            fit[_LIGHT + k * _ROW + i] = 1.0
            floor[k * _ROW + i] = 0.0
    if len(cosine) == _FOUR:
        _fit_four(size, fit, floor, cosine, sine, own, newton_steps)
        return
    for _ in range(newton_steps):
        for i in range(size):
            fit[_XX + i] = 0.0
            fit[_YY + i] = 0.0
            fit[_XY + i] = 0.0
            fit[_GX + i] = 0.0
            fit[_GY + i] = 0.0
            x, y, r = fit[_X + i], fit[_Y + i], fit[_R + i]
            fit[_ALONE + i] = own * (x * x + y * y) + r * r
        for k in range(np.uint64(len(cosine))):
            c, s, row = cosine[k], sine[k], k * _ROW
            for i in range(size):
                along_x, along_y, rest = _frame(
                    fit[_X + i], fit[_Y + i], fit[_R + i], fit[_ALONE + i], fit[_LIGHT + row + i], floor[row + i], c, s,
                    own,
                )  # fmt: skip
                fit[_XX + i] += along_x * along_x
                fit[_YY + i] += along_y * along_y
                fit[_XY + i] += along_x * along_y
                fit[_GX + i] += along_x * rest
                fit[_GY + i] += along_y * rest
        for i in range(size):
            step_x, step_y = _step(fit[_XX + i], fit[_YY + i], fit[_XY + i], fit[_GX + i], fit[_GY + i])
            fit[_X + i] += step_x
            fit[_Y + i] += step_y


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
    steps = np.uint64(len(cosine))
    _, _, fit, floor = make_space(len(cosine))
    for first in range(start, stop, PIXELS):
        n = min(PIXELS, stop - first)
        for j in range(n):
            i = np.uint64(j)
            for k in range(steps):
                fit[_LIGHT + k * _ROW + i] = light[first + j, k]
                floor[k * _ROW + i] = 0.0 if clipped[first + j, k] else -np.inf
            fit[_R + i] = amplitude[first + j]
            fit[_X + i] = field[first + j].real
            fit[_Y + i] = field[first + j].imag
        fit_block(n, fit, floor, cosine, sine, own, newton_steps)
        for j in range(n):
            field[first + j] = complex(fit[_X + np.uint64(j)], fit[_Y + np.uint64(j)])


@kernel()
def demodulate_block(counts, row, column, n, law, pixel, out, place, space):  # type: ignore[no-untyped-def]
    """Write the fields of a burst on a block of pixels: sums over the steps, then the fit where a frame is saturated.

    Parameters
    ----------
    counts : ndarray of uint8 or uint16, shape (rows, columns)
        Frames, each pattern under every phase in turn.
    row, column, n : int
        Where the block begins in it, and its pixels, at most `PIXELS`.
    law : tuple
        From `demodulation.law_of`: real and imaginary parts of the coefficients of the sum over the steps that is
        S |R|, float32 (steps,); |R| and the level without light, float32 (n_pixels,); the count from which a pixel is
        saturated; cosine and sine of the phases, float64 (steps,); 1 / coherence**2; steps of the fit.
    pixel : int
        Where the block begins among the pixels of the law.
    out : ndarray of float32, 1-D
        Receives real and imaginary parts by turns.
    place : int
        Where the block begins in it.
    space : tuple of ndarray
        From `make_space`, one per thread.
    """
    use_widest_vectors()
    real, imaginary, amplitude, dark, full_scale, cosine, sine, own, newton_steps = law
    sums, found, fit, floor = space
    steps, size, one, two = np.uint64(len(real)), np.uint64(n), np.uint64(1), np.uint64(2)
    first, own_pixel, target = np.uint64(column), np.uint64(pixel), np.uint64(place)
    limit = np.float32(full_scale)
    for i in range(size):
        sums[_RE + i] = 0
        sums[_IM + i] = 0
        sums[_HIGHEST + i] = 0
    for k in range(steps):
        line, a, b = counts[np.uint64(row) + k], real[k], imaginary[k]
        for i in range(size):
            count = np.float32(line[first + i])
            sums[_RE + i] += a * count
            sums[_IM + i] += b * count
            sums[_HIGHEST + i] = max(sums[_HIGHEST + i], count)
    for i in range(size):
        r = amplitude[own_pixel + i]
        out[target + two * i] = sums[_RE + i] / r
        out[target + two * i + one] = sums[_IM + i] / r
    m = 0
    for i in range(size):
        found[m] = i
        m += sums[_HIGHEST + i] >= limit
    if m == 0:
        return
    many = np.uint64(m)
    for k in range(steps):
        line = counts[np.uint64(row) + k]
        for j in range(many):
            p = np.uint64(found[j])
            count = line[first + p]
            fit[_LIGHT + k * _ROW + j] = np.float64(count) - np.float64(dark[own_pixel + p])
            floor[k * _ROW + j] = 0.0 if count >= full_scale else -np.inf
    for j in range(many):
        p = np.uint64(found[j])
        fit[_R + j] = amplitude[own_pixel + p]
        fit[_X + j] = out[target + two * p]
        fit[_Y + j] = out[target + two * p + one]
    fit_block(m, fit, floor, cosine, sine, own, newton_steps)
    for j in range(many):
        p = np.uint64(found[j])
        out[target + two * p] = np.float32(fit[_X + j])
        out[target + two * p + one] = np.float32(fit[_Y + j])


@kernel()
def fields_of_counts(frames, law, field, start, stop):  # type: ignore[no-untyped-def]
    """Write the fields of bursts, saturated ones among them.

    Parameters
    ----------
    frames : ndarray of uint8 or uint16, shape (n * steps, n_pixels)
        Counts, each pattern under every phase in turn.
    law : tuple
        As in `demodulate_block`.
    field : ndarray of float32, shape (n, 2 * n_pixels)
        Receives real and imaginary parts by turns.
    start, stop : int
        Range of blocks of `PIXELS` pixels, burst by burst.
    """
    steps = len(law[0])
    n_pixels = frames.shape[1]
    n_blocks = -(-n_pixels // PIXELS)
    space = make_space(steps)
    for unit in range(start, stop):
        burst, first = unit // n_blocks, unit % n_blocks * PIXELS
        n = min(PIXELS, n_pixels - first)
        demodulate_block(frames, burst * steps, first, n, law, first, field[burst], 2 * first, space)


@kernel()
def finish_block(fields, place, n, turn, background, scale, pixel, out, target):  # type: ignore[no-untyped-def]
    """Turn fields back, take the background off and scale them: ``(S turn - background) scale``.

    Parameters
    ----------
    fields : ndarray of float32, 1-D
        Real and imaginary parts by turns.
    place, n : int
        Where the block begins in it, and its pixels.
    turn : ndarray of float32, shape (2,)
        Real and imaginary part of what fields are multiplied by.
    background : ndarray of float32, shape (2 * n_pixels,)
        Real and imaginary parts by turns.
    scale : ndarray of float32, shape (1,) or (2,)
        The scale; a second number asks for the real part alone, times it.
    pixel : int
        Where the block begins among all pixels.
    out : ndarray of float32, 1-D
        Receives real parts, or both by turns; may be `fields`.
    target : int
        Where the block begins in it.

    Notes
    -----
    Operations are those of `elementary.multiply` and of numpy with complex numbers, in the same order: a product with a
    real number has one with 0 in it, which tells the sign of nothing.
    """
    use_widest_vectors()
    cosine, sine, factor, nothing = turn[0], turn[1], scale[0], np.float32(0)
    source, own, end, two = np.uint64(place), np.uint64(pixel), np.uint64(target), np.uint64(2)
    one = np.uint64(1)
    if len(scale) == 2:
        last = scale[1]
        for i in range(np.uint64(n)):
            a, b = fields[source + two * i], fields[source + two * i + one]
            re = (a * cosine - b * sine) - background[two * (own + i)]
            im = (a * sine + b * cosine) - background[two * (own + i) + one]
            out[end + i] = last * (re * factor - im * nothing)
        return
    for i in range(np.uint64(n)):
        a, b = fields[source + two * i], fields[source + two * i + one]
        re = (a * cosine - b * sine) - background[two * (own + i)]
        im = (a * sine + b * cosine) - background[two * (own + i) + one]
        out[end + two * i] = re * factor - im * nothing
        out[end + two * i + one] = re * nothing + im * factor


@kernel()
def finish_fields(fields, turns, background, scale, out, start, stop):  # type: ignore[no-untyped-def]
    """Finish the fields of vectors `start` to `stop`.

    Parameters
    ----------
    fields : ndarray of float32, shape (n, at least 2 * n_pixels)
        Real and imaginary parts by turns.
    turns : ndarray of float32, shape (n, 2)
        As `turn` of `finish_block`, for each vector.
    background, scale
        As in `finish_block`.
    out : ndarray of float32, shape (n, n_pixels) or (n, 2 * n_pixels)
        Receives real parts, or both by turns.
    start, stop : int
        Range of vectors.
    """
    n_pixels = out.shape[1] // (3 - len(scale))
    for v in range(start, stop):
        finish_block(fields[v], 0, n_pixels, turns[v], background, scale, 0, out[v], 0)
