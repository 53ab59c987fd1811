"""The loop behind `MirrorLayout.packed`."""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel


@kernel()
def pack_rows(
    bits,
    template,
    run_start,
    run_length,
    run_feature,
    part_byte,
    part_feature,
    part_mask,
    copy_start,
    copy_length,
    copy_back,
    out,
    start,
    stop,
):
    """Write the packed patterns of the vectors start ... stop - 1 (see `MirrorLayout._packing_plan`).

    Parameters
    ----------
    bits : uint8 0/1, (n, features)
    template : uint8, (bytes,): the pattern of a vector of zeros
    run_start, run_length, run_feature : int64, (runs,): bytes that one feature fills
    part_byte, part_feature : int64; part_mask : uint8, (parts,): bits of a byte that a feature owns in part
    copy_start, copy_length : int64, (copies,): bytes that equal those `copy_back` before, in rising order
    out : uint8, (n, bytes)
    """
    # One-dimensional views and unsigned places: the loops are then vectorised.
    n_bytes = template.size
    for k in range(start, stop):
        row = out[k]
        own = bits[k]
        for b in range(n_bytes):
            row[b] = template[b]
        for r in range(run_start.size):
            value = np.uint8(255 * own[run_feature[r]])
            first = np.uint64(run_start[r])
            for b in range(np.uint64(run_length[r])):
                row[first + np.uint64(b)] = value
        for p in range(part_byte.size):
            # No branch: random bits would be mispredicted half of the time.
            row[np.uint64(part_byte[p])] |= part_mask[p] * own[np.uint64(part_feature[p])]
        for c in range(copy_start.size):
            target = np.uint64(copy_start[c])
            source = target - np.uint64(copy_back)
            for b in range(np.uint64(copy_length[c])):
                row[target + np.uint64(b)] = row[source + np.uint64(b)]


@kernel()
def read_rows(
    packed,
    template,
    run_start,
    run_length,
    run_feature,
    part_byte,
    part_feature,
    part_mask,
    copy_start,
    copy_length,
    copy_back,
    first_mirror,
    free_byte,
    bits,
    recognised,
    start,
    stop,
):
    """Read the features of the patterns start ... stop - 1, and check that each byte is what `pack_rows` would write.

    Parameters
    ----------
    packed : uint8, (n, bytes)
    template ... copy_back : as for `pack_rows`; the parts of one byte follow each other
    first_mirror : int64, (features,): a mirror of each feature
    free_byte : int64: bytes that depend on no feature
    bits : uint8, (n, features), written
    recognised : bool, (n,), written
    """
    for k in range(start, stop):
        row = packed[k]
        own = bits[k]
        wrong = np.uint8(0)
        for j in range(first_mirror.size):
            mirror = np.uint64(first_mirror[j])
            own[j] = (row[mirror >> np.uint64(3)] >> np.uint8(mirror & np.uint64(7))) & np.uint8(1)
        for r in range(run_start.size):
            value = np.uint8(255 * own[run_feature[r]])
            first = np.uint64(run_start[r])
            differs = np.uint8(0)
            # No early exit: a loop without a branch is vectorised, and most patterns are right to the end.
            for b in range(np.uint64(run_length[r])):
                differs |= row[first + np.uint64(b)] ^ value
            wrong |= differs
        p = 0
        while p < part_byte.size:
            byte = part_byte[p]
            value = template[byte]
            while p < part_byte.size and part_byte[p] == byte:
                value |= part_mask[p] * own[np.uint64(part_feature[p])]
                p += 1
            wrong |= row[np.uint64(byte)] ^ value
        for c in range(copy_start.size):
            target = np.uint64(copy_start[c])
            source = target - np.uint64(copy_back)
            differs = np.uint8(0)
            for b in range(np.uint64(copy_length[c])):
                differs |= row[target + np.uint64(b)] ^ row[source + np.uint64(b)]
            wrong |= differs
        for f in range(free_byte.size):
            place = np.uint64(free_byte[f])
            wrong |= row[place] ^ template[place]
        recognised[k] = wrong == 0
