"""Fields at the camera become counts without an array of light between them.

A block of pixels is squared, summed and developed while it is in the first-level cache. With a reference arm the
signal's field is read once for all phase steps.
"""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel
from opusim.base.lane_kernels import (
    LANES,
    address,
    firsts_at,
    gathered,
    lane_numbers,
    moved,
    put_lanes,
    seconds_at,
    spread_float,
)  # fmt: skip
from opusim.base.rng_kernels import fma
from opusim.base.vector_kernels import use_widest_vectors
from opusim.device.camera_kernels import BLOCK, develop_block, make_scratch

#: Most samples of a pixel: up to here numpy's sum has the order of `summed_intensity`, in which bits are promised.
MAX_SAMPLES = 128

_LANES = 8  # partial sums of numpy's sum of eight numbers or more


@kernel(inline="always")
def _alone(re, im):  # type: ignore[no-untyped-def]
    return re * re + im * im


@kernel(inline="always")
def _joined(re, im, r_re, r_im, cosine, sine, incoherent):  # type: ignore[no-untyped-def]
    # One rounding less than written plainly, and the same on every machine.
    re = re + fma(r_re, cosine, -(r_im * sine))
    im = im + fma(r_re, sine, r_im * cosine)
    return (re * re + im * im) + incoherent * (r_re * r_re + r_im * r_im)


@kernel(inline="always")
def intensity_alone(fields, place):  # type: ignore[no-untyped-def]
    """Return |S|^2 of the sample whose real part is `fields[place]`."""
    return _alone(fields[place], fields[place + np.uint64(1)])


@kernel(inline="always")
def intensity_joined(fields, place, reference, r_place, cosine, sine, incoherent):  # type: ignore[no-untyped-def]
    """Return |S + c R exp(i d)|^2 + (1 - c^2) |R|^2 of a sample; `cosine` and `sine` hold the factor c."""
    one = np.uint64(1)
    return _joined(
        fields[place], fields[place + one], reference[r_place], reference[r_place + one], cosine, sine, incoherent
    )


@kernel(inline="always")
def sample_intensity(fields, place, reference, r_place, cosine, sine, incoherent):  # type: ignore[no-untyped-def]
    """Return the intensity of a sample, with the reference if there is one."""
    if reference.size:
        return intensity_joined(fields, place, reference, r_place, cosine, sine, incoherent)
    return intensity_alone(fields, place)


@kernel()
def summed_intensity(  # type: ignore[no-untyped-def]
    fields, place, reference, r_place, samples, cosine, sine, incoherent
):
    """Return the intensities of a pixel's samples, summed.

    Parameters
    ----------
    fields : ndarray of float32, 1-D
        Real and imaginary parts by turns.
    place : uint64
        Where the pixel's first sample stands.
    reference : ndarray of float32, 1-D
        Field of the reference; empty: none.
    r_place : uint64
        Where its first sample stands.
    samples : int
        From 1 to `MAX_SAMPLES`.
    cosine, sine, incoherent : float32
        What turns the reference, coherence included, and the part of its intensity that does not interfere.

    Notes
    -----
    In the order of numpy's sum: eight partial sums, added in pairs, then the rest.
    """
    total = np.float32(0)
    done = 0
    if samples >= _LANES:
        whole = samples - samples % _LANES
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0)
        for i in range(0, whole, _LANES):
            p = place + np.uint64(2 * i)
            r = r_place + np.uint64(2 * i)
            s0 += sample_intensity(fields, p, reference, r, cosine, sine, incoherent)
            s1 += sample_intensity(fields, p + np.uint64(2), reference, r + np.uint64(2), cosine, sine, incoherent)
            s2 += sample_intensity(fields, p + np.uint64(4), reference, r + np.uint64(4), cosine, sine, incoherent)
            s3 += sample_intensity(fields, p + np.uint64(6), reference, r + np.uint64(6), cosine, sine, incoherent)
            s4 += sample_intensity(fields, p + np.uint64(8), reference, r + np.uint64(8), cosine, sine, incoherent)
            s5 += sample_intensity(fields, p + np.uint64(10), reference, r + np.uint64(10), cosine, sine, incoherent)
            s6 += sample_intensity(fields, p + np.uint64(12), reference, r + np.uint64(12), cosine, sine, incoherent)
            s7 += sample_intensity(fields, p + np.uint64(14), reference, r + np.uint64(14), cosine, sine, incoherent)
        total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
        done = whole
    for i in range(done, samples):
        total += sample_intensity(
            fields, place + np.uint64(2 * i), reference, r_place + np.uint64(2 * i), cosine, sine, incoherent
        )
    return total


@kernel()
def _fill_photons(  # type: ignore[no-untyped-def]
    fields, reference, referred, samples, cosine, sine, incoherent, scale, lights, photons, count
):
    """Fill in the photons of pixels whose data stand at the addresses given, LANES of them at least.

    Sums are those of `summed_intensity`: a pixel in each lane, its samples one after the other.
    """
    use_widest_vectors()
    last = count - LANES
    own = lane_numbers() * np.int32(samples)
    for vector in range((count + LANES - 1) // LANES):
        pixel = min(vector * LANES, last)
        light = spread_float(np.float32(0))
        for j in range(samples):
            place = 2 * (pixel * samples + j * LANES)
            re, im = firsts_at(fields, place), seconds_at(fields, place)
            if referred:
                light = _joined(
                    re, im, firsts_at(reference, place), seconds_at(reference, place), cosine, sine, incoherent
                )
            else:
                light = _alone(re, im)
            put_lanes(lights, j * LANES, light)
        if samples > 1:
            light = spread_float(np.float32(0))
            done = 0
            if samples >= _LANES:
                done = samples - samples % _LANES
                s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = light
                for j in range(0, done, _LANES):
                    s0 = s0 + gathered(moved(lights, j), own)
                    s1 = s1 + gathered(moved(lights, j + 1), own)
                    s2 = s2 + gathered(moved(lights, j + 2), own)
                    s3 = s3 + gathered(moved(lights, j + 3), own)
                    s4 = s4 + gathered(moved(lights, j + 4), own)
                    s5 = s5 + gathered(moved(lights, j + 5), own)
                    s6 = s6 + gathered(moved(lights, j + 6), own)
                    s7 = s7 + gathered(moved(lights, j + 7), own)
                light = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
            for j in range(done, samples):
                light = light + gathered(moved(lights, j), own)
        put_lanes(photons, pixel, light * scale)


@kernel()
def develop_fields(
    fields, samples, steps, reference, turns, incoherent, scale, gain, dark_e, offset_e, telegraph_e, pixels, frames,
    key0, key1, params, out, start, stop,
):  # fmt: skip
    """Develop blocks `start` to `stop` of a stack of fields.

    Parameters
    ----------
    fields : ndarray of float32, shape (n, 2 * n_pixels * samples), contiguous
        Real and imaginary parts by turns; the `samples` of a pixel stand next to each other.
    samples : int
        Fields whose intensities one pixel adds up, at most `MAX_SAMPLES`.
    steps, reference, turns, incoherent, scale, gain, dark_e, offset_e, telegraph_e : object
    pixels, frames, key0, key1, params, out : object
        As in `matrix_kernels.develop_matrix`.
    start, stop : int
        Range of work: unit u is block u % n_blocks of vector u // n_blocks, n_blocks = ceil(n_pixels / BLOCK).
    """
    n_pixels = out.shape[1]
    n_blocks = (n_pixels + BLOCK - 1) // BLOCK
    flat = fields.reshape(-1)
    photons = np.empty(BLOCK, dtype=np.float32)
    lights = np.empty(LANES * samples, dtype=np.float32)
    scratch = make_scratch()
    referred = reference.size != 0
    for unit in range(start, stop):
        vector = unit // n_blocks
        pixel0 = (unit % n_blocks) * BLOCK
        count = min(BLOCK, n_pixels - pixel0)
        r_first = np.uint64(2 * pixel0 * samples)
        first = np.uint64(2 * vector * n_pixels * samples) + r_first
        for f in range(vector * steps, (vector + 1) * steps):
            cosine, sine, rest = turns[f, 0], turns[f, 1], incoherent[f]
            if count >= LANES:
                _fill_photons(
                    address(flat, first), address(reference, r_first if referred else 0), referred, samples, cosine,
                    sine, rest, scale[f], address(lights, 0), address(photons, 0), count,
                )  # fmt: skip
            else:
                for p in range(count):
                    skip = np.uint64(2 * p * samples)
                    photons[p] = scale[f] * summed_intensity(
                        flat, first + skip, reference, r_first + skip, samples, cosine, sine, rest
                    )
            develop_block(
                photons, 0, count, gain, dark_e, offset_e, telegraph_e, pixels, pixel0, frames[f], key0, key1, params,
                scratch, out[f], pixel0,
            )  # fmt: skip
