"""The camera as a numba kernel: mean photons of a block of pixels become counts.

The law of a pixel is a handful of small functions, written once, which take numbers and lanes of numbers alike
(`opusim.base.lane_kernels`): `develop_block` puts them together for the lanes of a block, on the CPU, and
`develop_pixel` for one pixel, which is what a thread of a GPU does (`opusim.bench.cuda_kernels`).

Every pixel of every frame owns one Philox block, addressed by (key, frame number, absolute pixel index): words 0 and 1
give the normals of shot and read noise, words 2 and 3 the exact Poisson law of dim pixels, and the two low bits of
word 3 the step of telegraph noise. What is not asked for is not made: no words without noise, the last two only where
a pixel is dim or has telegraph noise, a law of dim or bright pixels only where one of the lanes is of that kind.
"""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel
from opusim.base.lane_kernels import (
    LANES,
    address,
    all_of,
    any_of,
    as_float32,
    as_int32,
    gathered,
    lanes_at,
    moved,
    moved_as,
    put_lanes,
    select,
    spread_float,
)
from opusim.base.rng_kernels import floor, fma, gauss_pair, philox_lanes, philox_words, square_root, unit_float
from opusim.base.vector_kernels import use_widest_vectors

from .poisson_table_kernels import (
    CHANCE_BITS,
    COLUMN_BITS,
    N_COLUMNS,
    NODES_PER_ELECTRON,
    POISSON_THRESHOLD,
    kept_alias_rows,
)

BLOCK = 256
"""The most pixels that `develop_block` takes at once; its scratch then fits the first-level cache."""

_ALIAS = kept_alias_rows()

_THRESHOLD = np.float32(POISSON_THRESHOLD)
_LAST_DIM = np.float32(np.nextafter(np.float32(POISSON_THRESHOLD), np.float32(0)))
_PER_NODE = np.float32(NODES_PER_ELECTRON)
_NODE_STEP = np.float32(1 / NODES_PER_ELECTRON)
_CHANCE_MASK = np.uint32(2**CHANCE_BITS - 1)
_ALIAS_MASK = np.uint32(N_COLUMNS - 1)
_CHANCE_SHIFT = np.uint32(CHANCE_BITS)
_ALIAS_SHIFT = np.uint32(COLUMN_BITS)
_ROW_SHIFT = np.int32(COLUMN_BITS)

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_INFINITE = np.float32(np.inf)
_BIT = np.uint32(1)
# Adding and taking away 2^23 rounds a float32 of [0, 2^23) to the nearest whole number, ties to even.
_ROUNDER = np.float32(2.0**23)

# Places in the array of parameters, which `Camera.params` fills.
READ_NOISE_E, FULL_WELL_E, GAIN_DN_PER_E, BLACK_LEVEL_DN, FULL_SCALE_DN, SHOT_NOISE, QUANTISE, ELECTRONS = range(8)
# Of the response: its slope without charge, how that falls with each electron, the end of the scale, the slope there.
FIRST_SLOPE, BEND_PER_E, SCALE_END_E, LAST_SLOPE = range(8, 12)
N_PARAMS = 12

# Coefficients of the expansion below.
_K0 = np.float32(1 / 3)
_K2 = np.float32(1 / 6)
_K11 = np.float32(-1 / 36)
_K13 = np.float32(-1 / 72)
_K20 = np.float32(-8 / 405)
_K22 = np.float32(7 / 810)
_K24 = np.float32(1 / 270)


def _tail_coefficients(least: int, n_terms: int) -> tuple[np.float32, ...]:
    """Return the series of P(N >= least) / x^least for N Poisson of mean x, lowest power first.

    P(N >= k) = x^k / (k - 1)! sum_j (-x)^j / ((k + j) j!), the incomplete gamma function's series.
    """
    values = []
    factorial = 1.0
    before = 1.0
    for i in range(1, least):
        before *= i
    for j in range(n_terms):
        if j:
            factorial *= j
        values.append(np.float32((-1) ** j / (before * (least + j) * factorial)))
    return tuple(values)


# With x < 1/8 what is left out is below 1e-9, the resolution of the 32 bits that decide.
_T10, _T11, _T12, _T13, _T14, _T15, _T16 = _tail_coefficients(1, 7)
_T20, _T21, _T22, _T23, _T24 = _tail_coefficients(2, 5)
_T30, _T31, _T32, _T33 = _tail_coefficients(3, 4)
_T40, _T41, _T42 = _tail_coefficients(4, 3)
_T50, _T51 = _tail_coefficients(5, 2)
(_T60,) = _tail_coefficients(6, 1)


@kernel(inline="always")
def _bright_electrons(mean, root, inverse, w):  # type: ignore[no-untyped-def]
    """Return a Poisson number of a large mean, made of a standard normal number, the mean's root and one over that.

    Giles, Algorithm 955, ACM TOMS 42:3 (2016): the normal expansion of the inverse of the Poisson
    distribution function, to order 1 / mean, rounded down.
    """
    w2 = w * w
    third = fma(fma(_K24, w2, _K22), w2, _K20)
    second = w * fma(_K13, w2, _K11)
    first = fma(_K2, w2, _K0)
    x = fma(fma(third, inverse, second), inverse, first)
    return max(floor(mean + fma(root, w, x)), _ZERO)


@kernel(inline="always")
def _alias_place(mean, r2):  # type: ignore[no-untyped-def]
    """Return where the alias table has the column that a word draws, for a mean below the threshold."""
    node = as_int32(min(mean, _LAST_DIM) * _PER_NODE)
    return as_int32((node << _ROW_SHIFT) + as_int32(r2 >> _CHANCE_SHIFT))


@kernel(inline="always")
def _dim_electrons(mean, entry, r2, r3):  # type: ignore[no-untyped-def]
    """Return a Poisson number of a mean below the threshold, exact to the 32 bits of each word.

    `entry` stands in the alias table where `_alias_place` says.
    """
    mean = min(mean, _LAST_DIM)
    node = as_int32(mean * _PER_NODE)
    x = mean - as_float32(node) * _NODE_STEP
    kept = (r2 & _CHANCE_MASK) < (entry >> _ALIAS_SHIFT)
    at_node = select(kept, as_int32(r2 >> _CHANCE_SHIFT), as_int32(entry & _ALIAS_MASK))
    # The rest: as many as there are k with P(N >= k) above one uniform number.
    u = unit_float(r3)
    t1 = x * fma(fma(fma(fma(fma(fma(_T16, x, _T15), x, _T14), x, _T13), x, _T12), x, _T11), x, _T10)
    x2 = x * x
    t2 = x2 * fma(fma(fma(fma(_T24, x, _T23), x, _T22), x, _T21), x, _T20)
    rest = as_int32(u < t1)
    two = u < t2
    if any_of(two):  # once in 300 pixels; each further bound is below a twentieth of the one before
        x3 = x2 * x
        t3 = x3 * fma(fma(fma(_T33, x, _T32), x, _T31), x, _T30)
        t4 = (x2 * x2) * fma(fma(_T42, x, _T41), x, _T40)
        t5 = (x3 * x2) * fma(_T51, x, _T50)
        t6 = (x3 * x3) * _T60
        more = as_int32(two) + as_int32(u < t3) + as_int32(u < t4)
        rest = as_int32(rest + (more + as_int32(u < t5) + as_int32(u < t6)))
    return as_float32(as_int32(at_node + rest))


@kernel(inline="always")
def mean_electrons(photons, gain, dark_e):  # type: ignore[no-untyped-def]
    """Return the mean electrons of a pixel."""
    return fma(photons, gain, dark_e)


@kernel(inline="always")
def shot_electrons(mean, normal, r2, r3):  # type: ignore[no-untyped-def]
    """Return a Poisson number of a mean, made of a standard normal number, or of two words if the mean is small."""
    dim = _dim_electrons(mean, _ALIAS[np.uint64(_alias_place(mean, r2))], r2, r3)
    root = square_root(mean)
    bright = _bright_electrons(mean, root, _ONE / root, normal)
    return dim if mean < _THRESHOLD else bright


@kernel(inline="always")
def responded(charge, first_slope, bend_per_e, scale_end_e, last_slope):  # type: ignore[no-untyped-def]
    """Return the charge that a linear sensor would read as this one is read by a sensor that is not linear.

    A parabola up to the end of the scale, and beyond it a line with the slope there, as the parabola itself would turn
    back: a pixel that is brighter is never read as less.
    """
    inside = min(charge, scale_end_e)
    return fma(inside, fma(bend_per_e, inside, first_slope), (charge - inside) * last_slope)


@kernel(inline="always")
def telegraph_step(r3):  # type: ignore[no-untyped-def]
    """Return -1, 0 or 1 with the chances 1/4, 1/2, 1/4, by the two low bits of a word.

    The law of dim pixels has the same word, as a number that it compares with six bounds. Which low bits a word has
    depends on the side of a bound on which it lies only as far as fewer than four words are left over there: 6 x 3 of
    2^32, 4e-9 in total variation, which is what the 32 bits of that law resolve anyway.
    """
    return as_float32(as_int32(r3 & _BIT) + as_int32((r3 >> _BIT) & _BIT) - np.int32(1))


@kernel(inline="always")
def grey_level(electrons, normal, offset_e, params):  # type: ignore[no-untyped-def]
    """Return the grey level, not yet rounded: full well, read noise, offset, gain, black level."""
    signal = min(electrons, params[FULL_WELL_E]) + fma(params[READ_NOISE_E], normal, offset_e)
    return fma(params[GAIN_DN_PER_E], signal, params[BLACK_LEVEL_DN])


@kernel(inline="always")
def rounded_level(level, full_scale_dn):  # type: ignore[no-untyped-def]
    """Return a grey level as the whole number that is read out, still a float32."""
    # The limits are whole numbers, so clipping first gives what rounding first would.
    clipped = min(max(level, _ZERO), full_scale_dn)
    return (clipped + _ROUNDER) - _ROUNDER


@kernel(inline="always")
def develop_pixel(  # type: ignore[no-untyped-def]
    photons, gain, dark_e, offset_e, telegraph_e, pixel, frame, key0, key1, params
):
    """Turn the mean photons of one pixel of one frame into its count.

    The same functions in the same order as in `develop_block`, hence the same bits.

    Parameters
    ----------
    photons, gain, dark_e, offset_e, telegraph_e : float32
        Of this pixel, as in `develop_block`; 0 for a pixel without telegraph noise.
    pixel : uint32
        Absolute raster index.
    frame : uint64
        Frame number.
    key0, key1 : uint32
        Words of the noise key.
    params : ndarray of float32, shape (12,)
        From `Camera.params`.

    Returns
    -------
    float32
        The count, a whole number if the camera rounds.
    """
    number = np.uint64(frame)
    w0, w1, w2, w3 = philox_words(
        np.uint64(pixel), np.uint64(0), number & np.uint64(0xFFFFFFFF), number >> np.uint64(32), np.uint64(key0),
        np.uint64(key1),
    )  # fmt: skip
    shot, read = gauss_pair(np.uint32(w0), np.uint32(w1))
    electrons = mean_electrons(photons, gain, dark_e)
    if params[SHOT_NOISE] != _ZERO:
        electrons = shot_electrons(electrons, shot, np.uint32(w2), np.uint32(w3))
    if params[ELECTRONS] != _ZERO:
        return min(electrons, params[FULL_WELL_E])
    well_e = params[FULL_WELL_E]
    if params[BEND_PER_E] != _ZERO:
        electrons = responded(
            min(electrons, well_e), params[FIRST_SLOPE], params[BEND_PER_E], params[SCALE_END_E], params[LAST_SLOPE]
        )
        well_e = _INFINITE  # what the well does not hold is gone already
    electronics = (params[READ_NOISE_E], well_e, params[GAIN_DN_PER_E], params[BLACK_LEVEL_DN])
    level = grey_level(electrons, read, offset_e + telegraph_step(np.uint32(w3)) * telegraph_e, electronics)
    return rounded_level(level, params[FULL_SCALE_DN]) if params[QUANTISE] != _ZERO else level


@kernel()
def make_scratch():  # type: ignore[no-untyped-def]
    """Return the scratch arrays of one thread: uint32 and float32, each of 4 * BLOCK."""
    return np.empty(4 * BLOCK, dtype=np.uint32), np.empty(4 * BLOCK, dtype=np.float32)


@kernel()
def _develop_lanes(  # type: ignore[no-untyped-def]
    light, slope, dark, offsets, steps, flickers, sites, m, frame, key0, key1, params, words, floats, out
):
    """Develop pixels whose data stand at the addresses given."""
    use_widest_vectors()
    means, roots, inverses = floats, moved(floats, BLOCK), moved(floats, 2 * BLOCK)
    first, second, third, fourth = words, moved(words, BLOCK), moved(words, 2 * BLOCK), moved(words, 3 * BLOCK)
    spare = moved(floats, 3 * BLOCK)  # seven vectors
    target = out
    if m < LANES:  # too few for one vector: the last one stands in all lanes that are left over
        padded_light, padded_slope, padded_dark = spare, moved(spare, LANES), moved(spare, 2 * LANES)
        padded_offsets, padded_steps = moved(spare, 3 * LANES), moved(spare, 4 * LANES)
        padded_sites = moved_as(spare, 5 * LANES, words)
        for i in range(LANES):
            k = min(i, m - 1)
            padded_light[i], padded_slope[i], padded_dark[i] = light[k], slope[k], dark[k]
            padded_offsets[i], padded_sites[i] = offsets[k], sites[k]
            if flickers:
                padded_steps[i] = steps[k]
        light, slope, dark = padded_light, padded_slope, padded_dark
        offsets, steps, sites = padded_offsets, padded_steps, padded_sites
        target = moved_as(spare, 6 * LANES, out)

    n_vectors = (m + LANES - 1) // LANES
    last = max(m - LANES, 0)  # where the last vector begins: what it shares with the one before comes out the same
    full_well_e, read_noise_e, full_scale_dn = params[FULL_WELL_E], params[READ_NOISE_E], params[FULL_SCALE_DN]
    shot_noise = params[SHOT_NOISE] != _ZERO
    quantise = params[QUANTISE] != _ZERO
    electrons_only = params[ELECTRONS] != _ZERO
    bent = params[BEND_PER_E] != _ZERO
    well_e = _INFINITE if bent else full_well_e  # what the well does not hold is gone before the response bends
    electronics = (read_noise_e, well_e, params[GAIN_DN_PER_E], params[BLACK_LEVEL_DN])
    slope0, bend, end_e, slope1 = params[FIRST_SLOPE], params[BEND_PER_E], params[SCALE_END_E], params[LAST_SLOPE]
    number = np.uint64(frame)
    # The high halves of an address may hold anything. LLVM, which would see zeros there, forgets them and makes whole
    # products of 64 bits, which take three times as long.
    number_high = (number >> np.uint64(32)) | (number << np.uint64(32))
    draws = shot_noise or flickers or read_noise_e != _ZERO  # without noise no bit of a count depends on the words

    # Words, and roots and quotients: the unit that makes these is busy while others make the words.
    for vector in range(n_vectors):
        i = min(vector * LANES, last)
        there = vector * LANES
        mean = mean_electrons(lanes_at(light, i), lanes_at(slope, i), lanes_at(dark, i))
        put_lanes(means, there, mean)
        if draws:
            is_dim = mean < _THRESHOLD
            if shot_noise and not all_of(is_dim):
                root = square_root(mean)
                put_lanes(roots, there, root)
                put_lanes(inverses, there, _ONE / root)
            w0, w1, w2, w3 = philox_lanes(
                lanes_at(sites, i), np.uint64(0), number, number_high, np.uint64(key0), np.uint64(key1)
            )
            put_lanes(first, there, w0)
            put_lanes(second, there, w1)
            if flickers or (shot_noise and any_of(is_dim)):
                put_lanes(third, there, w2)
                put_lanes(fourth, there, w3)

    for vector in range(n_vectors):
        i = min(vector * LANES, last)
        there = vector * LANES
        electrons = lanes_at(means, there)
        read = spread_float(_ZERO)
        if draws:
            shot, read = gauss_pair(lanes_at(first, there), lanes_at(second, there))
            if shot_noise:
                mean = electrons
                is_dim = mean < _THRESHOLD
                if not all_of(is_dim):
                    electrons = _bright_electrons(mean, lanes_at(roots, there), lanes_at(inverses, there), shot)
                if any_of(is_dim):
                    w2, w3 = lanes_at(third, there), lanes_at(fourth, there)
                    entry = gathered(_ALIAS, _alias_place(mean, w2))
                    electrons = select(is_dim, _dim_electrons(mean, entry, w2, w3), electrons)
        if electrons_only:
            put_lanes(target, i, min(electrons, full_well_e))
        else:
            if bent:
                electrons = responded(min(electrons, full_well_e), slope0, bend, end_e, slope1)
            offset = lanes_at(offsets, i)
            if flickers:
                offset = offset + telegraph_step(lanes_at(fourth, there)) * lanes_at(steps, i)
            level = grey_level(electrons, read, offset, electronics)
            if quantise:
                put_lanes(target, i, as_int32(rounded_level(level, full_scale_dn)))
            else:
                put_lanes(target, i, level)
    if m < LANES:
        for i in range(m):
            out[i] = target[i]


@kernel(inline="always")
def develop_block(  # type: ignore[no-untyped-def]
    photons, i0, m, gain, dark_e, offset_e, telegraph_e, pixels, p0, frame, key0, key1, params, scratch, out, o0
):
    """Turn mean photons of up to BLOCK pixels of one frame into counts.

    Parameters
    ----------
    photons : ndarray of float32, 1-D, contiguous
        Mean photons per pixel in the exposure, finite and at least 0 (not checked here).
    i0, m : int
        First element of `photons`, and how many; m <= BLOCK.
    gain, dark_e, offset_e : ndarray of float32, 1-D, contiguous
        Electrons per photon, dark electrons in the exposure, fixed offset in electrons: per pixel.
    telegraph_e : ndarray of float32, 1-D, contiguous
        Amplitude of the telegraph noise of each pixel in electrons; empty: none has any.
    pixels : ndarray of uint32, 1-D, contiguous
        Absolute raster index of each pixel on the sensor: the address of its noise.
    p0 : int
        Where the block starts in `gain`, `dark_e`, `offset_e`, `telegraph_e` and `pixels`.
    frame : uint64
        Frame number.
    key0, key1 : uint32
        Words of the noise key.
    params : ndarray of float32, shape (12,)
        From `Camera.params`.
    scratch : tuple of two ndarrays
        From `make_scratch`, one per thread.
    out : ndarray of uint8, uint16 or float32, 1-D, contiguous
        Receives the result in out[o0 : o0 + m].
    o0 : int
        First element of `out`.
    """
    _develop_lanes(
        address(photons, i0), address(gain, p0), address(dark_e, p0), address(offset_e, p0), address(telegraph_e, p0),
        telegraph_e.size != 0, address(pixels, p0), m, frame, key0, key1, address(params, 0), address(scratch[0], 0),
        address(scratch[1], 0), address(out, o0),
    )  # fmt: skip


@kernel()
def develop_frames(  # type: ignore[no-untyped-def]
    photons, gain, dark_e, offset_e, telegraph_e, pixels, frame0, key0, key1, params, out, start, stop
):
    """Develop blocks `start` to `stop` of a stack of frames.

    Parameters
    ----------
    photons, out : ndarray, shape (n_frames, n_pixels), contiguous
        As in `develop_block`, one row per frame.
    gain, dark_e, offset_e, telegraph_e, pixels, key0, key1, params
        As in `develop_block`.
    frame0 : uint64
        Number of the first frame.
    start, stop : int
        Range of work: unit u is block u % n_blocks of frame u // n_blocks, n_blocks = ceil(n_pixels / BLOCK).
    """
    scratch = make_scratch()
    n_pixels = photons.shape[1]
    n_blocks = (n_pixels + BLOCK - 1) // BLOCK
    flat_photons = photons.reshape(-1)
    flat_out = out.reshape(-1)
    for unit in range(start, stop):
        i = unit // n_blocks
        p0 = (unit % n_blocks) * BLOCK
        m = min(BLOCK, n_pixels - p0)
        frame = np.uint64(frame0) + np.uint64(i)
        place = i * n_pixels + p0
        develop_block(
            flat_photons,
            place,
            m,
            gain,
            dark_e,
            offset_e,
            telegraph_e,
            pixels,
            p0,
            frame,
            key0,
            key1,
            params,
            scratch,
            flat_out,
            place,
        )
