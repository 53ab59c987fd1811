"""The matrix way: binary features times a complex matrix, straight into the camera.

The features are 0 or 1, so the product is a sum of matrix rows. They are taken four at a time: for each
group of four, the sixteen possible sums are put in a table once, and each vector adds one entry a group
("method of four Russians"). Every output is summed in the same order whatever the batch, the tile or the
thread, so the same row gives the same bits wherever it stands; a BLAS promises that only for one fixed shape.
Groups without a feature on cost nothing. The field of a tile goes straight into the camera's kernel, so no
array of fields is ever made.
"""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel
from opusim.device.camera_kernels import BLOCK, develop_block, make_scratch

GROUP = 4  # features in a group
TILE = 256  # complex outputs of a tile: a block of the camera's kernel
CHUNK = 32  # groups whose tables exist at a time: few enough pages for the TLB
VECTORS = 1024  # vectors whose sums are kept at a time
STRIDE = 4  # table entries added at a time; CHUNK is a multiple of it
DIRECT = 6  # up to this many vectors, sums are made directly rather than by table

_ENTRIES = 1 << GROUP


@kernel()
def _fill_tables(matrix, group0, group1, column0, width, table):
    """Sixteen partial sums for each group: entry m is the sum of the rows whose bits are set in m."""
    n_features = matrix.shape[0]
    span = np.uint64(2 * TILE)
    for group in range(group0, group1):
        base = np.uint64(group - group0) * np.uint64(_ENTRIES) * span
        for j in range(2 * TILE):
            table[base + np.uint64(j)] = np.float32(0)
        for bit in range(GROUP):
            feature = group * GROUP + bit
            low = 1 << bit
            for m in range(low):
                source = base + np.uint64(m) * span
                target = base + np.uint64(low + m) * span
                if feature < n_features:
                    for j in range(width):
                        table[target + np.uint64(j)] = table[source + np.uint64(j)] + matrix[feature, column0 + j]
                else:
                    for j in range(width):
                        table[target + np.uint64(j)] = table[source + np.uint64(j)]


@kernel()
def list_rows(codes, lists, counts):
    """List, for each chunk of groups and each vector, the table entries to add.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, n_groups)
        Four features a byte.
    lists : ndarray of uint16, shape (n_chunks, n, CHUNK)
        Filled with the numbers of the entries in the chunk's table: groups without a feature on are left out,
        and the list is filled up to a multiple of `STRIDE` with entry 0, which is zero.
    counts : ndarray of int64, shape (n_chunks, n)
        Filled with the lengths of the lists.
    """
    n, n_groups = codes.shape
    for chunk in range(lists.shape[0]):
        group0 = chunk * CHUNK
        group1 = min(n_groups, group0 + CHUNK)
        for v in range(n):
            length = 0
            for group in range(group0, group1):
                code = codes[v, group]
                if code != 0:
                    lists[chunk, v, length] = np.uint16((group - group0) * _ENTRIES + code)
                    length += 1
            while length % STRIDE != 0:
                lists[chunk, v, length] = np.uint16(0)
                length += 1
            counts[chunk, v] = length


@kernel()
def _add_from_tables(row_list, length, table, sums, offset):
    """Add the listed table entries to a vector's sums, in order."""
    span = np.uint64(2 * TILE)
    for i in range(0, length, STRIDE):
        a = np.uint64(row_list[i]) * span
        b = np.uint64(row_list[i + 1]) * span
        c = np.uint64(row_list[i + 2]) * span
        d = np.uint64(row_list[i + 3]) * span
        for k in range(2 * TILE):
            j = np.uint64(k)
            sums[offset + j] = (((sums[offset + j] + table[a + j]) + table[b + j]) + table[c + j]) + table[d + j]


@kernel()
def _add_directly(codes, vector, matrix, column0, width, partial, sums, offset):
    """Add one vector's groups in the same order without tables."""
    for group in range(codes.shape[1]):
        code = codes[vector, group]
        if code == 0:
            continue
        first = True
        for bit in range(GROUP):
            if (code >> np.uint8(bit)) & np.uint8(1):
                feature = group * GROUP + bit
                if first:
                    for j in range(width):
                        partial[j] = matrix[feature, column0 + j]
                    first = False
                else:
                    for j in range(width):
                        partial[j] += matrix[feature, column0 + j]
        for j in range(width):
            sums[offset + np.uint64(j)] += partial[j]


@kernel()
def _sum_tile(codes, lists, counts, matrix, constant, v0, v1, column0, width, table, partial, sums):
    """Fill `sums` with the fields of some vectors on one tile."""
    n_groups = codes.shape[1]
    span = np.uint64(2 * TILE)
    for v in range(v1 - v0):
        base = np.uint64(v) * span
        for j in range(width):
            sums[base + np.uint64(j)] = constant[column0 + j]
        for j in range(width, 2 * TILE):
            sums[base + np.uint64(j)] = np.float32(0)
    if v1 - v0 <= DIRECT:
        for v in range(v1 - v0):
            _add_directly(codes, v0 + v, matrix, column0, width, partial, sums, np.uint64(v) * span)
    else:
        for chunk in range(lists.shape[0]):
            group0 = chunk * CHUNK
            _fill_tables(matrix, group0, min(n_groups, group0 + CHUNK), column0, width, table)
            for v in range(v1 - v0):
                _add_from_tables(lists[chunk, v0 + v], counts[chunk, v0 + v], table, sums, np.uint64(v) * span)


@kernel()
def sum_matrix(codes, lists, counts, matrix, constant, samples, out, tile_start, tile_stop):
    """Compute the fields of binary vectors through a complex matrix, by the sums that `develop_matrix` makes.

    Parameters
    ----------
    codes, lists, counts, matrix, constant, samples, tile_start, tile_stop
        As of `develop_matrix`.
    out : ndarray of float32, shape (n, 2 * n_pixels * samples)
        Filled in place; real and imaginary parts by turns.
    """
    n = codes.shape[0]
    tile_fields = max(1, TILE // samples) * samples
    table = np.empty(CHUNK * _ENTRIES * 2 * TILE, dtype=np.float32)
    partial = np.empty(2 * TILE, dtype=np.float32)
    sums = np.empty(min(n, VECTORS) * 2 * TILE, dtype=np.float32)
    span = np.uint64(2 * TILE)
    for tile in range(tile_start, tile_stop):
        column0 = 2 * tile * tile_fields
        width = min(2 * tile_fields, out.shape[1] - column0)
        for v0 in range(0, n, VECTORS):
            v1 = min(n, v0 + VECTORS)
            _sum_tile(codes, lists, counts, matrix, constant, v0, v1, column0, width, table, partial, sums)
            for v in range(v1 - v0):
                base = np.uint64(v) * span
                for j in range(width):
                    out[v0 + v, column0 + j] = sums[base + np.uint64(j)]


@kernel()
def _with_reference(
    sums, start, reference, column0, cosine, sine, incoherent, count, samples, scale, photons
):  # fmt: skip
    """Mean photons of a tile: |S + c R exp(i d)|^2 + (1 - c^2) |R|^2, summed over the samples of each pixel."""
    for p in range(count):
        intensity = np.float32(0)
        for i in range(samples):
            k = np.uint64(2 * (p * samples + i))
            r_re = reference[np.uint64(column0) + k]
            r_im = reference[np.uint64(column0) + k + np.uint64(1)]
            re = sums[start + k] + cosine * r_re - sine * r_im
            im = sums[start + k + np.uint64(1)] + sine * r_re + cosine * r_im
            intensity += re * re + im * im + incoherent * (r_re * r_re + r_im * r_im)
        photons[p] = intensity * scale


@kernel()
def develop_matrix(
    codes, lists, counts, matrix, constant, samples, steps, reference, turns, incoherent, scale, gain, dark_e,
    offset_e, telegraph_e, pixels, frames, key0, key1, params, out, tile_start, tile_stop,
):  # fmt: skip
    """Compute the counts of binary vectors through a complex matrix, for a range of tiles of outputs.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, n_groups)
        Four features a byte, the first one in the lowest bit.
    lists, counts : ndarray
        From `list_rows` for the same codes; not read for `DIRECT` vectors or fewer.
    matrix : ndarray of float32, shape (n_features, 2 * n_pixels * samples)
        Real and imaginary parts by turns; the `samples` of a pixel stand next to each other.
    constant : ndarray of float32, shape (2 * n_pixels * samples,)
        Field with every feature off.
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
    tile_start, tile_stop : int
        Range of tiles, of max(1, TILE // samples) pixels each.
    """
    n = codes.shape[0]
    n_pixels = out.shape[1]
    tile_pixels = max(1, TILE // samples)
    table = np.empty(CHUNK * _ENTRIES * 2 * TILE, dtype=np.float32)
    partial = np.empty(2 * TILE, dtype=np.float32)
    photons = np.empty(BLOCK, dtype=np.float32)
    block = min(n, VECTORS)
    sums = np.empty(block * 2 * TILE, dtype=np.float32)
    scratch = make_scratch()
    span = np.uint64(2 * TILE)
    for tile in range(tile_start, tile_stop):
        pixel0 = tile * tile_pixels
        count = min(tile_pixels, n_pixels - pixel0)
        column0 = 2 * pixel0 * samples
        width = 2 * count * samples
        for v0 in range(0, n, VECTORS):
            v1 = min(n, v0 + VECTORS)
            _sum_tile(codes, lists, counts, matrix, constant, v0, v1, column0, width, table, partial, sums)
            for v in range(v1 - v0):
                start = np.uint64(v) * span
                for f in range((v0 + v) * steps, (v0 + v + 1) * steps):
                    if reference.size:
                        _with_reference(
                            sums, start, reference, column0, turns[f, 0], turns[f, 1], incoherent[f], count,
                            samples, scale[f], photons,
                        )  # fmt: skip
                    elif samples == 1:  # on its own, so that it vectorises
                        for p in range(count):
                            re = start + np.uint64(2) * np.uint64(p)
                            im = re + np.uint64(1)
                            photons[p] = (sums[re] * sums[re] + sums[im] * sums[im]) * scale[f]
                    else:
                        for p in range(count):
                            intensity = np.float32(0)
                            for i in range(samples):
                                re = start + np.uint64(2 * (p * samples + i))
                                im = re + np.uint64(1)
                                intensity += sums[re] * sums[re] + sums[im] * sums[im]
                            photons[p] = intensity * scale[f]
                    develop_block(
                        photons, 0, count, gain, dark_e, offset_e, telegraph_e, pixels, pixel0, frames[f], key0, key1,
                        params, scratch, out[f], pixel0,
                    )  # fmt: skip
