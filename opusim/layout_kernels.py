"""The loop behind `MirrorLayout.packed`."""

from __future__ import annotations

import numpy as np

from ._jit import kernel


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
    n_bytes = template.size
    for k in range(start, stop):
        for b in range(n_bytes):
            out[k, b] = template[b]
        for r in range(run_start.size):
            value = np.uint8(255) * bits[k, run_feature[r]]
            first = run_start[r]
            for b in range(first, first + run_length[r]):
                out[k, b] = value
        for p in range(part_byte.size):
            # No branch: random bits would be mispredicted half of the time.
            out[k, part_byte[p]] |= part_mask[p] * bits[k, part_feature[p]]
        for c in range(copy_start.size):
            target = copy_start[c]
            source = target - copy_back
            for b in range(copy_length[c]):
                out[k, target + b] = out[k, source + b]


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
        wrong = np.uint8(0)
        for j in range(first_mirror.size):
            mirror = first_mirror[j]
            bits[k, j] = (packed[k, mirror >> 3] >> np.uint8(mirror & 7)) & np.uint8(1)
        for r in range(run_start.size):
            value = np.uint8(255) * bits[k, run_feature[r]]
            first = run_start[r]
            # No early exit: a loop without a branch is vectorised, and most patterns are right to the end.
            for b in range(first, first + run_length[r]):
                wrong |= packed[k, b] ^ value
        p = 0
        while p < part_byte.size:
            byte = part_byte[p]
            value = template[byte]
            while p < part_byte.size and part_byte[p] == byte:
                value |= part_mask[p] * bits[k, part_feature[p]]
                p += 1
            wrong |= packed[k, byte] ^ value
        for c in range(copy_start.size):
            target = copy_start[c]
            source = target - copy_back
            for b in range(copy_length[c]):
                wrong |= packed[k, target + b] ^ packed[k, source + b]
        for f in range(free_byte.size):
            wrong |= packed[k, free_byte[f]] ^ template[free_byte[f]]
        recognised[k] = wrong == 0
