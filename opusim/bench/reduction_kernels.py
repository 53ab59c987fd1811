"""The kernels of the matrix way that make no frames: what becomes of a strip's counts is made while they are in cache.

Counts are those of `matrix_kernels.develop_matrix`, to the bit; of each frame a strip exists at a time.
"""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel
from opusim.base.vector_kernels import use_widest_vectors
from opusim.device.camera_kernels import BLOCK, develop_block, make_scratch
from opusim.fringes import demodulation_kernels as bursts

from .matrix_kernels import STRIP, make_space, photons_of, read_strip, strip_of, sum_strip

assert bursts.PIXELS >= BLOCK, "bursts of a block of pixels are demodulated together"


@kernel()
def _expose(fields, shared, f, column0, pixel0, count, photons, scratch, out):  # type: ignore[no-untyped-def]
    """Write the counts of a strip in frame `f` of a run to the start of `out`."""
    (
        samples, _, reference, turns, incoherent, scale, gain, dark_e, offset_e, telegraph_e, pixels, frames, key0,
        key1, params,
    ) = shared  # fmt: skip
    photons_of(fields, reference, column0, turns[f], incoherent[f], scale[f], count, samples, photons)
    develop_block(
        photons, 0, count, gain, dark_e, offset_e, telegraph_e, pixels, pixel0, frames[f], key0, key1, params, scratch,
        out, 0,
    )  # fmt: skip


@kernel()
def _read(fields, v, column0, width, out):  # type: ignore[no-untyped-def]
    """Copy the fields of a strip of vector `v` to the start of `out`."""
    use_widest_vectors()
    first = np.uint64(column0)
    for j in range(np.uint64(width)):
        out[j] = fields[v, first + j]


@kernel()
def _add_to_total(counts, count, total, pixel0):  # type: ignore[no-untyped-def]
    """Add counts to sums that begin at `pixel0`."""
    use_widest_vectors()
    first = np.uint64(pixel0)
    for p in range(np.uint64(count)):
        total[first + p] += np.float64(counts[p])


@kernel()
def total_counts(known, strip, shared, like, total, start, stop):  # type: ignore[no-untyped-def]
    """Add up the counts of all frames of each pattern, for a range of strips of outputs.

    Parameters
    ----------
    known : ndarray of float32, shape (n, 2 * n_pixels * samples)
        Fields of the patterns, real and imaginary parts by turns.
    strip : int
        As in `matrix_kernels.develop_matrix`.
    shared : tuple
        From `Exposure.part`: samples, frames of a pattern, and what the camera takes.
    like : ndarray of uint8, uint16 or float32
        Whose type counts have.
    total : ndarray of float64, shape (n, n_pixels)
        Added to, frame by frame.
    start, stop : int
        Range of strips.
    """
    n, n_pixels, samples, steps = total.shape[0], total.shape[1], shared[0], shared[1]
    fields, photons, scratch = np.empty(2 * STRIP, np.float32), np.empty(BLOCK, np.float32), make_scratch()
    counts = np.empty(BLOCK, dtype=like.dtype)
    for k in range(start, stop):
        pixel0, count, column0, width = strip_of(k, strip, n_pixels, samples)
        for v in range(n):
            _read(known, v, column0, width, fields)
            for f in range(v * steps, (v + 1) * steps):
                _expose(fields, shared, f, column0, pixel0, count, photons, scratch, counts)
                _add_to_total(counts, count, total[v], pixel0)


@kernel()
def _begin_mean(counts, count, means, place):  # type: ignore[no-untyped-def]
    """Put counts into a row of means that begins at `place`."""
    use_widest_vectors()
    first = np.uint64(place)
    for p in range(np.uint64(count)):
        means[first + p] = np.float32(counts[p])


@kernel()
def _add_to_mean(counts, count, means, place):  # type: ignore[no-untyped-def]
    """Add counts to a row of means that begins at `place`."""
    use_widest_vectors()
    first = np.uint64(place)
    for p in range(np.uint64(count)):
        means[first + p] += np.float32(counts[p])


@kernel()
def _subtract_means(means, count, many, few, out, pixel0):  # type: ignore[no-untyped-def]
    """Write what two rows of sums, divided by the frames in them, differ by."""
    use_widest_vectors()
    one, other, half, target = np.float32(many), np.float32(few), np.uint64(BLOCK), np.uint64(pixel0)
    for p in range(np.uint64(count)):
        out[target + p] = means[p] / one - means[half + p] / other


@kernel()
def _subtract_counts(counts, count, out, pixel0):  # type: ignore[no-untyped-def]
    """Write what two rows of counts differ by."""
    use_widest_vectors()
    first, second, target = counts[0], counts[1], np.uint64(pixel0)
    for p in range(np.uint64(count)):
        out[target + p] = np.float32(first[p]) - np.float32(second[p])


@kernel()
def differences_of_means(listed, matrix, constant, strip, shared, like, out, start, stop):  # type: ignore[no-untyped-def]
    """Write what the means over the frames of two patterns differ by, for a range of strips of outputs.

    Parameters
    ----------
    listed : tuple
        Packed patterns and their entries, as `matrix_kernels.develop_matrix` takes them; the two of a vector stand next
        to each other.
    matrix, constant, strip
        As in `matrix_kernels.develop_matrix`.
    like, start, stop
        As in `total_counts`.
    shared : tuple
        As in `total_counts`, with the frames of a vector, which show its two patterns in turn.
    out : ndarray of float32, shape (n / 2, n_pixels)
        Filled in place.
    """
    packed, groups, n_groups, entries, order, ends = listed
    n, n_pixels, samples, steps = packed.shape[0], out.shape[1], shared[0], shared[1]
    space, scratch = make_space(n), make_scratch()
    fields, photons = np.empty(2 * STRIP, dtype=np.float32), np.empty(BLOCK, dtype=np.float32)
    counts, means = np.empty((2, BLOCK), dtype=like.dtype), np.empty(2 * BLOCK, dtype=np.float32)
    for k in range(start, stop):
        pixel0, count, column0, width = strip_of(k, strip, n_pixels, samples)
        sum_strip(packed, groups, n_groups, entries, order, ends, matrix, constant, column0, width, space)
        for v in range(n // 2):
            for i in range(2):
                read_strip(space, n, 2 * v + i, width, fields)
                for j in range(i, steps, 2):
                    _expose(fields, shared, v * steps + j, column0, pixel0, count, photons, scratch, counts[i])
                    if steps == 2:
                        continue  # the counts are their own means
                    if j == i:
                        _begin_mean(counts[i], count, means, i * BLOCK)
                    else:
                        _add_to_mean(counts[i], count, means, i * BLOCK)
            if steps == 2:
                _subtract_counts(counts, count, out[v], pixel0)
            else:
                _subtract_means(means, count, (steps + 1) // 2, steps // 2, out[v], pixel0)


@kernel()
def _demodulate_vector(  # type: ignore[no-untyped-def]
    v, fields, shared, column0, pixel0, count, law, finish, photons, scratch, counts, found, own, out
):
    """Write what the bursts of vector `v` tell on a strip, from its fields there."""
    turned, background, scale = finish
    steps, each = len(law[0]), 3 - len(scale)
    many = shared[1] // steps
    for burst in range(v * many, (v + 1) * many):
        for j in range(steps):
            _expose(fields, shared, burst * steps + j, column0, pixel0, count, photons, scratch, counts[j])
        if len(turned):
            bursts.demodulate_block(counts, 0, 0, count, law, pixel0, found, 0, own)
            bursts.finish_block(found, 0, count, turned[burst], background, scale, pixel0, out[burst], each * pixel0)
        else:
            bursts.demodulate_block(counts, 0, 0, count, law, pixel0, out[burst], 2 * pixel0, own)


@kernel()
def known_fields_of_bursts(known, strip, shared, like, law, finish, out, start, stop):  # type: ignore[no-untyped-def]
    """Write the fields that bursts of frames tell of patterns whose fields are known, for a range of strips of outputs.

    Parameters
    ----------
    known, strip, shared, like, start, stop
        As in `total_counts`; the frames of a pattern are one burst or several.
    law, finish, out
        As in `fields_of_bursts`.
    """
    steps, each = len(law[0]), 3 - len(finish[2])
    n, n_pixels, samples = known.shape[0], out.shape[1] // each, shared[0]
    fields, photons, scratch = np.empty(2 * STRIP, np.float32), np.empty(BLOCK, np.float32), make_scratch()
    counts, found = np.empty((steps, BLOCK), dtype=like.dtype), np.empty(2 * BLOCK, dtype=np.float32)
    own = bursts.make_space(steps)
    for k in range(start, stop):
        pixel0, count, column0, width = strip_of(k, strip, n_pixels, samples)
        for v in range(n):
            _read(known, v, column0, width, fields)
            _demodulate_vector(
                v, fields, shared, column0, pixel0, count, law, finish, photons, scratch, counts, found, own, out
            )


@kernel()
def fields_of_bursts(  # type: ignore[no-untyped-def]
    listed, matrix, constant, strip, shared, like, law, finish, out, start, stop
):
    """Write the fields that bursts of frames tell, for a range of strips of outputs.

    Parameters
    ----------
    listed : tuple
        Packed patterns and their entries, as `matrix_kernels.develop_matrix` takes them.
    matrix, constant, strip
        As in `matrix_kernels.develop_matrix`.
    shared, like, start, stop
        As in `total_counts`; the frames of a pattern are one burst or several.
    law : tuple
        As in `demodulation_kernels.demodulate_block`.
    finish : tuple
        What fields of a burst are multiplied by, float32 (number of bursts, 2), or (0, 2) where they stay as they are;
        background and scale as in `demodulation_kernels.finish_block`.
    out : ndarray of float32, shape (number of bursts, n_pixels) or (number of bursts, 2 * n_pixels)
        Filled in place, with real parts or with both by turns.
    """
    packed, groups, n_groups, entries, order, ends = listed
    steps, each = len(law[0]), 3 - len(finish[2])
    n, n_pixels, samples = packed.shape[0], out.shape[1] // each, shared[0]
    fields, photons, scratch = np.empty(2 * STRIP, np.float32), np.empty(BLOCK, np.float32), make_scratch()
    counts, found = np.empty((steps, BLOCK), dtype=like.dtype), np.empty(2 * BLOCK, dtype=np.float32)
    space, own = make_space(n), bursts.make_space(steps)
    for k in range(start, stop):
        pixel0, count, column0, width = strip_of(k, strip, n_pixels, samples)
        sum_strip(packed, groups, n_groups, entries, order, ends, matrix, constant, column0, width, space)
        for v in range(n):
            read_strip(space, n, v, width, fields)
            _demodulate_vector(
                v, fields, shared, column0, pixel0, count, law, finish, photons, scratch, counts, found, own, out
            )


@kernel()
def scale_rows(values, offset, scale, start, stop):  # type: ignore[no-untyped-def]
    """Replace rows `start` to `stop` by ``(values - offset) scale``, each pixel by its own.

    Parameters
    ----------
    values : ndarray of float32, shape (n, n_pixels)
        Replaced in place.
    offset, scale : ndarray of float32, shape (n_pixels,)
        Of each pixel.
    start, stop : int
        Range of rows.
    """
    use_widest_vectors()
    for v in range(start, stop):
        row = values[v]
        for p in range(np.uint64(values.shape[1])):
            row[p] = (row[p] - offset[p]) * scale[p]
