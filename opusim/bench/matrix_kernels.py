"""The matrix way: binary features times a complex matrix, straight into the camera.

The features are 0 or 1, so the product is a sum of matrix rows. They are taken four at a time: for each group of four,
the sixteen possible sums are put in a table once, and each vector adds one entry a group ("method of four Russians").
Tables of eight groups on a tile of 64 numbers lie in the first-level cache while all vectors go by. Every output is
summed in the same order whatever the batch, the tile, the thread or the width of a processor's vectors, so the same row
gives the same bits wherever it stands; a BLAS promises that only for one fixed shape. Groups without a feature on cost
nothing. The field of a strip goes straight into the camera's kernel, so no array of fields is ever made.
"""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel
from opusim.base.vector_kernels import prefetch, use_widest_vectors
from opusim.device.camera_kernels import BLOCK, develop_block, make_scratch

from .row_sums_kernels import (
    ENTRIES,
    GROUP,
    GROUPS,
    LINE,
    WIDTH,
    add_1,
    add_2,
    add_3,
    add_4,
    add_5,
    add_6,
    add_7,
    add_8,
    fill_entries,
)

STRIP = BLOCK  # most fields of a strip, whose sums go to the camera together: eight tiles
DIRECT = 8  # up to this many vectors, sums are made directly rather than by table
# Vectors whose sums are kept at a time. What is in turn in the second-level cache is a tile of them, .5 MB, and the
# rows that are gathered, 1 MB: it is meant for 2 MB, as server processors since 2021 have it. With less, rows come from
# the next level, eight times in a strip, which is little beside what is added.
VECTORS = 2048

_TILES = 2 * STRIP // WIDTH
# Groups whose rows are gathered at a time, tile by tile. A strip of a row is 2 KB in line, which memory gives three
# times as fast as the 256 bytes of a tile.
_GATHERED = 128
_GROUPS_AHEAD = 2  # groups whose rows are asked for before they are added directly
_AHEAD = 2  # rows that are asked for before they are copied: no processor foresees them
_SPAN = (_GATHERED * GROUP + 1) * WIDTH  # from tile to tile; one more, so that they do not lie in one set of the cache
_NIBBLE = np.uint8(15)


@kernel(inline="always")
def _code(line, group):  # type: ignore[no-untyped-def]
    """Return which features of a group are on, the first one in the lowest bit, from a line of packed ones."""
    return (line[group >> 1] >> np.uint8(4 * (group & 1))) & _NIBBLE


@kernel(inline="always")
def strip_of(k, strip, n_pixels, samples):  # type: ignore[no-untyped-def]
    """Return of strip `k` its first pixel and how many it has, its first number and how many it has."""
    pixel0 = k * strip
    count = min(strip, n_pixels - pixel0)
    return pixel0, count, 2 * pixel0 * samples, 2 * count * samples


@kernel()
def used_groups(packed, groups):  # type: ignore[no-untyped-def]
    """List the groups in which any vector has a feature on, and return how many there are.

    Parameters
    ----------
    packed : ndarray of uint8, shape (n, n_bytes)
        Eight features a byte, the first one in the lowest bit.
    groups : ndarray of int64, shape (2 * n_bytes,)
        Filled from its start, rising.
    """
    seen = np.zeros(packed.shape[1], dtype=np.uint8)
    for v in range(packed.shape[0]):
        for i in range(packed.shape[1]):
            seen[i] |= packed[v, i]
    n = 0
    for group in range(2 * packed.shape[1]):
        if _code(seen, group):
            groups[n] = group
            n += 1
    return n


@kernel()
def list_entries(packed, groups, n_groups, entries, order, ends, start, stop):  # type: ignore[no-untyped-def]
    """List, for some chunks of groups, the table entries that vectors add, sorted by how many they are.

    Parameters
    ----------
    packed, groups
        As of `used_groups`.
    n_groups : int
        How many of `groups` are in use.
    entries : ndarray of uint64, shape (n_chunks, n)
        Filled with the numbers of the entries in a chunk's tables, a byte each, the first one in the lowest.
    order : ndarray of uint16, shape (n_chunks, n)
        Filled with the vectors that they belong to.
    ends : ndarray of int64, shape (n_chunks, GROUPS + 1)
        Filled with where the vectors that add k entries end: those with most come first, those with none are left out.
    start, stop : int
        Range of chunks.
    """
    n = packed.shape[0]
    found = np.empty(n, dtype=np.uint64)
    lengths = np.empty(n, dtype=np.uint8)
    for chunk in range(start, stop):
        first = chunk * GROUPS
        many = min(GROUPS, n_groups - first)
        places = np.zeros(GROUPS + 1, dtype=np.int64)
        for v in range(n):
            length = 0
            word = np.uint64(0)
            for i in range(many):
                group = groups[first + i]
                code = _code(packed[v], group)
                if code:
                    word |= np.uint64(i * ENTRIES + code) << np.uint64(8 * length)
                    length += 1
            found[v] = word
            lengths[v] = length
            places[length] += 1
        total = 0
        for length in range(GROUPS, 0, -1):
            here = places[length]
            places[length] = total
            total += here
            ends[chunk, length] = total
        for v in range(n):
            length = lengths[v]
            if length:
                place = places[length]
                places[length] = place + 1
                entries[chunk, place] = found[v]
                order[chunk, place] = v


@kernel()
def _add_entries(tables, entries, order, ends, sums, base):  # type: ignore[no-untyped-def]
    """Add the listed entries to the sums of a tile, of vectors with equally many at a time."""
    base = np.uint64(base)
    width = np.uint64(WIDTH)
    for i in range(np.uint64(0), np.uint64(ends[8])):
        add_8(sums, base + np.uint64(order[i]) * width, tables, entries[i])
    for i in range(np.uint64(ends[8]), np.uint64(ends[7])):
        add_7(sums, base + np.uint64(order[i]) * width, tables, entries[i])
    for i in range(np.uint64(ends[7]), np.uint64(ends[6])):
        add_6(sums, base + np.uint64(order[i]) * width, tables, entries[i])
    for i in range(np.uint64(ends[6]), np.uint64(ends[5])):
        add_5(sums, base + np.uint64(order[i]) * width, tables, entries[i])
    for i in range(np.uint64(ends[5]), np.uint64(ends[4])):
        add_4(sums, base + np.uint64(order[i]) * width, tables, entries[i])
    for i in range(np.uint64(ends[4]), np.uint64(ends[3])):
        add_3(sums, base + np.uint64(order[i]) * width, tables, entries[i])
    for i in range(np.uint64(ends[3]), np.uint64(ends[2])):
        add_2(sums, base + np.uint64(order[i]) * width, tables, entries[i])
    for i in range(np.uint64(ends[2]), np.uint64(ends[1])):
        add_1(sums, base + np.uint64(order[i]) * width, tables, entries[i])


@kernel()
def _gather_rows(matrix, groups, first, stop, column0, width, rows):  # type: ignore[no-untyped-def]
    """Copy the rows of some groups on a strip, tile by tile; what lies beyond the matrix is 0."""
    use_widest_vectors()
    n_features, n_columns = matrix.shape
    flat = matrix.reshape(-1)
    whole, ahead = np.uint64(WIDTH), np.uint64(_AHEAD) * np.uint64(n_columns)
    n_tiles = (width + WIDTH - 1) // WIDTH
    last = width - (n_tiles - 1) * WIDTH
    for group in range(first, stop):
        for bit in range(GROUP):
            feature = groups[group] * GROUP + bit
            target = np.uint64(((group - first) * GROUP + bit) * WIDTH)
            source = np.uint64(feature) * np.uint64(n_columns) + np.uint64(column0)
            for tile in range(n_tiles):
                here = 0 if feature >= n_features else (WIDTH if tile < n_tiles - 1 else last)
                if here == WIDTH:
                    for j in range(0, WIDTH, LINE):
                        prefetch(flat, source + ahead + np.uint64(j))
                    for j in range(whole):
                        rows[target + j] = flat[source + j]
                else:
                    for j in range(whole):
                        rows[target + j] = 0
                    for j in range(np.uint64(here)):
                        rows[target + j] = flat[source + j]
                target += np.uint64(_SPAN)
                source += whole


@kernel()
def _add_directly(packed, v, matrix, column0, width, sums, base):  # type: ignore[no-untyped-def]
    """Add the groups of one vector in the same order without tables, to sums that lie in line."""
    use_widest_vectors()
    n_columns = matrix.shape[1]
    flat = matrix.reshape(-1)
    start, size = np.uint64(base), np.uint64(width)
    rows = np.empty(GROUP, dtype=np.uint64)
    for group in range(2 * packed.shape[1]):
        ahead = group + _GROUPS_AHEAD
        if ahead < 2 * packed.shape[1]:
            code = _code(packed[v], ahead)
            for bit in range(GROUP):
                if (code >> np.uint8(bit)) & np.uint8(1):
                    place = np.uint64(ahead * GROUP + bit) * np.uint64(n_columns) + np.uint64(column0)
                    for j in range(0, width, LINE):
                        prefetch(flat, place + np.uint64(j))
        code = _code(packed[v], group)
        n = 0
        for bit in range(GROUP):
            if (code >> np.uint8(bit)) & np.uint8(1):
                rows[n] = np.uint64(group * GROUP + bit) * np.uint64(n_columns) + np.uint64(column0)
                n += 1
        a, b, c, d = rows[0], rows[1], rows[2], rows[3]
        if n == 1:
            for j in range(size):
                sums[start + j] += flat[a + j]
        elif n == 2:
            for j in range(size):
                sums[start + j] += flat[a + j] + flat[b + j]
        elif n == 3:
            for j in range(size):
                sums[start + j] += (flat[a + j] + flat[b + j]) + flat[c + j]
        elif n == 4:
            for j in range(size):
                sums[start + j] += ((flat[a + j] + flat[b + j]) + flat[c + j]) + flat[d + j]


@kernel()
def aligned(n):  # type: ignore[no-untyped-def]
    """Return an array of float32 that begins with a line of the cache."""
    raw = np.empty(n + LINE, dtype=np.float32)
    skip = (-(raw.ctypes.data >> 2)) & (LINE - 1)
    return raw[skip : skip + n]


@kernel()
def make_space(n):  # type: ignore[no-untyped-def]
    """Return what `sum_strip` computes in, for one thread and `n` vectors: tables, rows, sums, and a small one."""
    if n <= DIRECT:
        return aligned(0), aligned(0), aligned(2 * STRIP * n), aligned(2 * STRIP)
    return aligned(GROUPS * ENTRIES * WIDTH), aligned(_TILES * _SPAN), aligned(2 * STRIP * n), aligned(2 * STRIP)


def space_bytes(n: int) -> int:
    """Return the bytes that `make_space` takes for `n` vectors, but for the lines that align it."""
    if n <= DIRECT:
        return 4 * 2 * STRIP * (n + 1)
    return 4 * (GROUPS * ENTRIES * WIDTH + _TILES * _SPAN + 2 * STRIP * (n + 1))


@kernel()
def _begin(line, start, n, sums, place):  # type: ignore[no-untyped-def]
    """Put one tile of `line` into the sums of all vectors."""
    use_widest_vectors()
    first, target = np.uint64(start), np.uint64(place)
    for _ in range(n):
        for j in range(np.uint64(WIDTH)):
            sums[target + j] = line[first + j]
        target += np.uint64(WIDTH)


@kernel()
def sum_strip(packed, groups, n_groups, entries, order, ends, matrix, constant, column0, width, space):  # type: ignore[no-untyped-def]
    """Put the fields of vectors on a strip of `width` numbers into the space of sums; `read_strip` gets them."""
    tables, rows, sums, line = space
    n = packed.shape[0]
    # Not -0, which nothing that is added later would leave.
    if n <= DIRECT:
        for v in range(n):
            base = v * 2 * STRIP
            for j in range(width):
                sums[base + j] = constant[column0 + j] + np.float32(0)
            _add_directly(packed, v, matrix, column0, width, sums, base)
        return
    n_tiles = (width + WIDTH - 1) // WIDTH
    line[:] = 0
    for j in range(width):
        line[j] = constant[column0 + j] + np.float32(0)
    for first in range(0, max(1, n_groups), _GATHERED):
        stop = min(n_groups, first + _GATHERED)
        _gather_rows(matrix, groups, first, stop, column0, width, rows)
        for tile in range(n_tiles):
            if first == 0:
                _begin(line, tile * WIDTH, n, sums, tile * n * WIDTH)
            for group in range(first, stop, GROUPS):
                place = np.uint64(tile * _SPAN + (group - first) * GROUP * WIDTH)
                for i in range(min(GROUPS, stop - group)):
                    fill_entries(rows, place + np.uint64(i * GROUP * WIDTH), tables, np.uint64(i))
                chunk = group // GROUPS
                _add_entries(tables, entries[chunk], order[chunk], ends[chunk], sums, tile * n * WIDTH)


@kernel()
def read_strip(space, n, v, width, fields):  # type: ignore[no-untyped-def]
    """Copy the fields of vector `v` of `n` on a strip, in line, to `fields`."""
    use_widest_vectors()
    sums = space[2]
    many, one = (1, width) if n <= DIRECT else ((width + WIDTH - 1) // WIDTH, WIDTH)
    source = np.uint64(v * (2 * STRIP if n <= DIRECT else WIDTH))
    target = np.uint64(0)
    for tile in range(many):
        for j in range(np.uint64(min(one, width - tile * one))):
            fields[target + j] = sums[source + j]
        source += np.uint64(n * WIDTH)
        target += np.uint64(one)


@kernel()
def sum_matrix(  # type: ignore[no-untyped-def]
    packed, groups, n_groups, entries, order, ends, matrix, constant, strip, samples, out, start, stop
):
    """Compute the fields of binary vectors through a complex matrix, by the sums that `develop_matrix` makes.

    Parameters
    ----------
    packed, groups, n_groups, entries, order, ends, matrix, constant, strip, samples, start, stop
        As of `develop_matrix`.
    out : ndarray of float32, shape (n, 2 * n_pixels * samples)
        Filled in place; real and imaginary parts by turns.
    """
    n = packed.shape[0]
    space = make_space(n)
    for k in range(start, stop):
        _, _, column0, width = strip_of(k, strip, out.shape[1] // (2 * samples), samples)
        sum_strip(packed, groups, n_groups, entries, order, ends, matrix, constant, column0, width, space)
        for v in range(n):
            read_strip(space, n, v, width, out[v, column0 : column0 + width])


@kernel(inline="always")
def _joined(re, im, r_re, r_im, cosine, sine, incoherent):  # type: ignore[no-untyped-def]
    """Return ``|S + c R exp(i d)|^2 + (1 - c^2) |R|^2`` of a sample; `cosine` and `sine` hold the factor c."""
    re = re + cosine * r_re - sine * r_im
    im = im + sine * r_re + cosine * r_im
    return re * re + im * im + incoherent * (r_re * r_re + r_im * r_im)


@kernel()
def photons_of(fields, reference, column0, turn, incoherent, scale, count, samples, photons):  # type: ignore[no-untyped-def]
    """Write the mean photons of a strip, without a reference or with it, summed over the samples of each pixel."""
    use_widest_vectors()
    size, two, one = np.uint64(count), np.uint64(2), np.uint64(1)
    if reference.size == 0 and samples == 1:  # loops of their own for one sample, so that they vectorise
        for p in range(size):
            re, im = fields[two * p], fields[two * p + one]
            photons[p] = (re * re + im * im) * scale
        return
    cosine, sine, start = turn[0], turn[1], np.uint64(column0)
    if samples == 1:
        for p in range(size):
            k = two * p
            r_re, r_im = reference[start + k], reference[start + k + one]
            photons[p] = _joined(fields[k], fields[k + one], r_re, r_im, cosine, sine, incoherent) * scale
        return
    for p in range(size):
        intensity = np.float32(0)
        for i in range(np.uint64(samples)):
            k = two * (p * np.uint64(samples) + i)
            re, im = fields[k], fields[k + one]
            if reference.size:
                r_re, r_im = reference[start + k], reference[start + k + one]
                intensity += _joined(re, im, r_re, r_im, cosine, sine, incoherent)
            else:
                intensity += re * re + im * im
        photons[p] = intensity * scale


@kernel()
def develop_matrix(  # type: ignore[no-untyped-def]
    packed, groups, n_groups, entries, order, ends, matrix, constant, strip, samples, steps, reference, turns,
    incoherent, scale, gain, dark_e, offset_e, telegraph_e, pixels, frames, key0, key1, params, out, start, stop,
):  # fmt: skip
    """Compute the counts of binary vectors through a complex matrix, for a range of strips of outputs.

    Parameters
    ----------
    packed : ndarray of uint8, shape (n, n_bytes)
        Eight features a byte, the first one in the lowest bit.
    groups, n_groups
        From `used_groups` for the same vectors; not read for `DIRECT` vectors or fewer.
    entries, order, ends : ndarray
        From `list_entries` for the same vectors; not read for `DIRECT` vectors or fewer.
    matrix : ndarray of float32, shape (n_features, 2 * n_pixels * samples)
        Real and imaginary parts by turns; the `samples` of a pixel stand next to each other.
    constant : ndarray of float32, shape (2 * n_pixels * samples,)
        Field with every feature off.
    strip : int
        Pixels of a strip, at most STRIP // samples.
    samples : int
        Fields whose intensities one pixel adds up.
    steps : int
        Frames of each vector, one after the other.
    reference : ndarray of float32, shape (2 * n_pixels * samples,) or (0,)
        Field that is added, turned anew in each frame; empty: none.
    turns : ndarray of float32, shape (n * steps, 2)
        Cosine and sine of its phase, times the contrast of the fringes.
    incoherent : ndarray of float32, shape (n * steps,)
        Part of the reference's intensity that does not interfere, 1 - contrast^2.
    scale : ndarray of float32, shape (n * steps,)
        Photons for an intensity of 1, for each frame, divided by `samples`.
    gain, dark_e, offset_e, telegraph_e, pixels, key0, key1, params
        As in `camera_kernels.develop_block`.
    frames : ndarray of uint64, shape (n * steps,)
        Frame numbers.
    out : ndarray, shape (n * steps, n_pixels)
        Filled in place.
    start, stop : int
        Range of strips.
    """
    n = packed.shape[0]
    n_pixels = out.shape[1]
    space = make_space(n)
    fields = np.empty(2 * STRIP, dtype=np.float32)
    photons = np.empty(BLOCK, dtype=np.float32)
    scratch = make_scratch()
    for k in range(start, stop):
        pixel0, count, column0, width = strip_of(k, strip, n_pixels, samples)
        sum_strip(packed, groups, n_groups, entries, order, ends, matrix, constant, column0, width, space)
        for v in range(n):
            read_strip(space, n, v, width, fields)
            for f in range(v * steps, (v + 1) * steps):
                photons_of(fields, reference, column0, turns[f], incoherent[f], scale[f], count, samples, photons)
                develop_block(
                    photons, 0, count, gain, dark_e, offset_e, telegraph_e, pixels, pixel0, frames[f], key0, key1,
                    params, scratch, out[f], pixel0,
                )  # fmt: skip
