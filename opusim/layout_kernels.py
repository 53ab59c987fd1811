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
