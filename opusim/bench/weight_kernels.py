"""The way by matrix of features with complex weights: weights times matrix, straight into the camera.

The field of a vector is its constant; blocks of `FEATURES` features follow in order, and of each the products of
weights and rows are summed feature by feature, by multiply-adds of one rounding, and added to the field. So every
output is summed in the same order whatever the batch, the tile, the thread or the width of a processor's vectors, and
the same row gives the same bits wherever it stands; a BLAS promises that only for one fixed shape.

Many vectors: the rows of a block are copied tile by tile, so that a tile stays in the first-level cache while all
vectors go by, whose weights lie in the order in which they are read (`pack_weights`). A few: rows are added where they
lie, as copying them would take longer.
"""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel
from opusim.base.rng_kernels import fma
from opusim.base.vector_kernels import prefetch, use_widest_vectors
from opusim.device.camera_kernels import BLOCK, develop_block, make_scratch

from .matrix_kernels import aligned, photons_of, strip_of
from .row_sums_kernels import LINE
from .weighted_tile_kernels import ABREAST, FEATURES, WIDTH, add_products

STRIP = BLOCK  # most fields of a strip, whose sums go to the camera together
DIRECT = 5  # up to this many vectors, rows are added where they lie

_TILES = 2 * STRIP // WIDTH
_SPAN = FEATURES * WIDTH + LINE  # from tile to tile; a line more, so that they do not lie in one set of the cache
_ROWS = 4  # that are added together: sums are read and written once for all of them


@kernel()
def pack_weights(weights, n_features, panel, start, n_blocks):  # type: ignore[no-untyped-def]
    """Put weights of vectors in the order in which they are read.

    Parameters
    ----------
    weights : ndarray of float32, shape (n, 2 * n_features)
        Real and imaginary parts by turns; of whole blocks of `ABREAST` vectors, or to the last vector.
    n_features : int
        Features.
    panel : ndarray of float32, shape (n_blocks * ABREAST * 2 * n_features,)
        By blocks of features, by blocks of vectors, then feature by feature. Vectors that are not there get zeros.
    start, n_blocks : int
        The block of vectors that the first one begins, and how many there are.
    """
    two, line = np.uint64(2), np.uint64(2 * ABREAST)
    for v in range((weights.shape[0] + ABREAST - 1) // ABREAST * ABREAST):
        block = start + v // ABREAST
        for first in range(0, n_features, FEATURES):
            count = min(FEATURES, n_features - first)
            place = np.uint64((first * n_blocks + block * count) * ABREAST * 2 + v % ABREAST * 2)
            if v < weights.shape[0]:
                row = weights[v, 2 * first : 2 * (first + count)]
                for j in range(np.uint64(count)):
                    panel[place + j * line] = row[two * j]
                    panel[place + j * line + np.uint64(1)] = row[two * j + np.uint64(1)]
            else:
                for j in range(np.uint64(count)):
                    panel[place + j * line] = 0
                    panel[place + j * line + np.uint64(1)] = 0


@kernel()
def _copy_rows(matrix, first, count, column0, width, rows):  # type: ignore[no-untyped-def]
    """Copy a strip of the rows of a block, tile by tile; what lies beyond the strip is 0."""
    use_widest_vectors()
    n_columns = matrix.shape[1]
    flat = matrix.reshape(-1)
    whole, ahead = np.uint64(WIDTH), np.uint64(n_columns)
    n_tiles = (width + WIDTH - 1) // WIDTH
    for j in range(count):
        source = np.uint64(first + j) * np.uint64(n_columns) + np.uint64(column0)
        target = np.uint64(j * WIDTH)
        for tile in range(n_tiles):
            here = min(WIDTH, width - tile * WIDTH)
            if here == WIDTH:
                for k in range(0, WIDTH, LINE):
                    prefetch(flat, source + ahead + np.uint64(k))
                for k in range(whole):
                    rows[target + k] = flat[source + k]
            else:
                for k in range(whole):
                    rows[target + k] = 0
                for k in range(np.uint64(here)):
                    rows[target + k] = flat[source + k]
            source += whole
            target += np.uint64(_SPAN)


@kernel()
def _add_rows(weights, v, matrix, first, count, column0, width, plain, turned):  # type: ignore[no-untyped-def]
    """Sum the rows of a block times the parts of the weights of one vector, where the rows lie."""
    use_widest_vectors()
    n_columns = np.uint64(matrix.shape[1])
    flat = matrix.reshape(-1)
    size = np.uint64(width)
    for k in range(size):
        plain[k] = 0
        turned[k] = 0
    place = np.uint64(first) * n_columns + np.uint64(column0)
    j = first
    while j + _ROWS <= first + count:
        a0, b0, a1, b1 = weights[v, 2 * j], weights[v, 2 * j + 1], weights[v, 2 * j + 2], weights[v, 2 * j + 3]
        a2, b2, a3, b3 = weights[v, 2 * j + 4], weights[v, 2 * j + 5], weights[v, 2 * j + 6], weights[v, 2 * j + 7]
        p1, p2, p3 = place + n_columns, place + np.uint64(2) * n_columns, place + np.uint64(3) * n_columns
        for k in range(0, width, LINE):
            ahead = place + np.uint64(_ROWS) * n_columns + np.uint64(k)
            for _ in range(_ROWS):
                prefetch(flat, ahead)
                ahead += n_columns
        for k in range(size):
            m0, m1, m2, m3 = flat[place + k], flat[p1 + k], flat[p2 + k], flat[p3 + k]
            plain[k] = fma(a3, m3, fma(a2, m2, fma(a1, m1, fma(a0, m0, plain[k]))))
            turned[k] = fma(b3, m3, fma(b2, m2, fma(b1, m1, fma(b0, m0, turned[k]))))
        place += np.uint64(_ROWS) * n_columns
        j += _ROWS
    while j < first + count:
        a, b = weights[v, 2 * j], weights[v, 2 * j + 1]
        for k in range(size):
            plain[k] = fma(a, flat[place + k], plain[k])
            turned[k] = fma(b, flat[place + k], turned[k])
        place += n_columns
        j += 1


@kernel()
def make_space(n):  # type: ignore[no-untyped-def]
    """Return what `sum_strip` computes in, for one thread and `n` vectors: rows, or two sums, and the fields."""
    if n <= DIRECT:
        return aligned(2 * 2 * STRIP), aligned(2 * STRIP * n)
    return aligned(_TILES * _SPAN), aligned(2 * STRIP * ((n + ABREAST - 1) // ABREAST) * ABREAST)


def space_bytes(n: int) -> int:
    """Return the bytes that `make_space` takes for `n` vectors, but for the lines that align it."""
    if n <= DIRECT:
        return 4 * 2 * STRIP * (n + 2)
    return 4 * (_TILES * _SPAN + 2 * STRIP * -(-n // ABREAST) * ABREAST)


def panel_shape(n: int, n_features: int) -> tuple[int, ...]:
    """Return the shape of the weights of `n` vectors as `sum_strip` takes them: packed, or in rows if they are few."""
    return (n, 2 * n_features) if n <= DIRECT else (1, -(-n // ABREAST) * ABREAST * 2 * n_features)


@kernel()
def _sum_directly(weights, v, matrix, constant, column0, width, space):  # type: ignore[no-untyped-def]
    """Put the field of one vector on a strip into the space."""
    use_widest_vectors()
    sums, fields = space
    plain, turned = sums[: 2 * STRIP], sums[2 * STRIP :]
    base, first0 = np.uint64(v * 2 * STRIP), np.uint64(column0)
    one, two = np.uint64(1), np.uint64(2)
    for j in range(np.uint64(width)):
        fields[base + j] = constant[first0 + j]
    for first in range(0, matrix.shape[0], FEATURES):
        _add_rows(weights, v, matrix, first, min(FEATURES, matrix.shape[0] - first), column0, width, plain, turned)
        for p in range(np.uint64(width // 2)):
            k = two * p
            fields[base + k] += plain[k] - turned[k + one]
            fields[base + k + one] += plain[k + one] + turned[k]


@kernel()
def sum_strip(weights, n, matrix, constant, column0, width, space):  # type: ignore[no-untyped-def]
    """Put the fields of `n` vectors on a strip of `width` numbers into the space; `read_strip` gets them.

    `weights` are of the shape `panel_shape`, by `pack_weights` where they are packed.
    """
    if n <= DIRECT:
        for v in range(n):
            _sum_directly(weights, v, matrix, constant, column0, width, space)
        return
    rows, fields = space
    panel = weights[0]
    n_features = matrix.shape[0]
    n_blocks = (n + ABREAST - 1) // ABREAST
    n_tiles = (width + WIDTH - 1) // WIDTH
    whole = np.uint64(WIDTH)
    target = np.uint64(0)
    for tile in range(n_tiles):
        start, here = np.uint64(column0 + tile * WIDTH), np.uint64(min(WIDTH, width - tile * WIDTH))
        for _ in range(n_blocks * ABREAST):
            for k in range(here):
                fields[target + k] = constant[start + k]
            for k in range(here, whole):
                fields[target + k] = 0
            target += whole
    for first in range(0, n_features, FEATURES):
        count = min(FEATURES, n_features - first)
        _copy_rows(matrix, first, count, column0, width, rows)
        for tile in range(n_tiles):
            for block in range(n_blocks):
                add_products(
                    panel, np.uint64((first * n_blocks + block * count) * ABREAST * 2), rows, np.uint64(tile * _SPAN),
                    np.uint64(count), fields, np.uint64((tile * n_blocks + block) * ABREAST * WIDTH),
                )  # fmt: skip


@kernel()
def read_strip(space, n, v, width, line):  # type: ignore[no-untyped-def]
    """Copy the field of vector `v` of `n` on a strip, in line, to `line`."""
    use_widest_vectors()
    fields = space[1]
    many, one = (1, width) if n <= DIRECT else ((width + WIDTH - 1) // WIDTH, WIDTH)
    source = np.uint64(v * (2 * STRIP if n <= DIRECT else WIDTH))
    target = np.uint64(0)
    for tile in range(many):
        for k in range(np.uint64(min(one, width - tile * one))):
            line[target + k] = fields[source + k]
        source += np.uint64((n + ABREAST - 1) // ABREAST * ABREAST * WIDTH)
        target += np.uint64(one)


@kernel()
def weigh_matrix(weights, n, matrix, constant, strip, samples, out, start, stop):  # type: ignore[no-untyped-def]
    """Compute the fields of vectors with complex weights, by the sums that `develop_weights` makes.

    Parameters
    ----------
    weights, n, matrix, constant, strip, samples, start, stop
        As of `develop_weights`.
    out : ndarray of float32, shape (n, 2 * n_pixels * samples)
        Filled in place; real and imaginary parts by turns.
    """
    space = make_space(n)
    for k in range(start, stop):
        _, _, column0, width = strip_of(k, strip, out.shape[1] // (2 * samples), samples)
        sum_strip(weights, n, matrix, constant, column0, width, space)
        for v in range(n):
            read_strip(space, n, v, width, out[v, column0 : column0 + width])


@kernel()
def develop_weights(  # type: ignore[no-untyped-def]
    weights, n, matrix, constant, strip, samples, steps, reference, turns, incoherent, scale, gain, dark_e, offset_e,
    telegraph_e, pixels, frames, key0, key1, params, out, start, stop,
):  # fmt: skip
    """Compute the counts of vectors with complex weights through a complex matrix, for a range of strips of outputs.

    Parameters
    ----------
    weights : ndarray of float32, shape `panel_shape`
        Real and imaginary parts by turns; from `pack_weights`, but as they are for `DIRECT` vectors or fewer.
    n : int
        Vectors.
    matrix : ndarray of float32, shape (n_features, 2 * n_pixels * samples)
        Real and imaginary parts by turns; the `samples` of a pixel stand next to each other.
    constant : ndarray of float32, shape (2 * n_pixels * samples,)
        Field with every weight 0.
    strip : int
        Pixels of a strip, at most STRIP // samples.
    samples, steps, reference, turns, incoherent, scale, gain, dark_e, offset_e, telegraph_e, pixels, frames : object
    key0, key1, params, out, start, stop : object
        As in `matrix_kernels.develop_matrix`.
    """
    n_pixels = out.shape[1]
    space = make_space(n)
    fields = np.empty(2 * STRIP, dtype=np.float32)
    photons = np.empty(BLOCK, dtype=np.float32)
    scratch = make_scratch()
    for k in range(start, stop):
        pixel0, count, column0, width = strip_of(k, strip, n_pixels, samples)
        sum_strip(weights, n, matrix, constant, column0, width, space)
        for v in range(n):
            read_strip(space, n, v, width, fields)
            for f in range(v * steps, (v + 1) * steps):
                photons_of(fields, reference, column0, turns[f], incoherent[f], scale[f], count, samples, photons)
                develop_block(
                    photons, 0, count, gain, dark_e, offset_e, telegraph_e, pixels, pixel0, frames[f], key0, key1,
                    params, scratch, out[f], pixel0,
                )  # fmt: skip
