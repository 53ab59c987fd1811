"""What features of a phase modulator have of each other's phases: sums of weights over pairs of their pixels.

Along a row weights of pixels of one feature are added up at once, by sums from the left end of the reach on: the work
is that of the rows within reach, not of all pixels there.
"""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel


@kernel()
def run_ends(feature: np.ndarray) -> np.ndarray:
    """Return for each pixel the column at which the run of its feature along the row ends, int32."""
    rows, columns = feature.shape
    ends = np.empty((rows, columns), dtype=np.int32)
    for i in range(rows):
        end = columns
        for j in range(columns - 1, -1, -1):
            if j + 1 < columns and feature[i, j] != feature[i, j + 1]:
                end = j + 1
            ends[i, j] = end
    return ends


@kernel()
def add_shares(
    feature: np.ndarray,
    ends: np.ndarray,
    pixels: np.ndarray,
    starts: np.ndarray,
    first: int,
    weights: np.ndarray,
    from_left: np.ndarray,
    down_share: np.ndarray,
    across_share: np.ndarray,
    own: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    values: np.ndarray,
) -> int:
    """Write what features from `first` on have of others, while there is room, and return which one comes next.

    Pixels of feature k are ``pixels[starts[k] : starts[k + 1]]``, in raster order; `weights` are those at the distances
    0, 1, ... along an axis, and ``from_left[j]`` is the sum of the first j from the left end of the reach on. A share
    is one over the weights of the pixels that there are.
    """
    rows, columns = feature.shape
    n, reach, room = own.size, weights.size - 1, indices.size
    total, met = np.zeros(n), np.zeros(n, dtype=np.bool_)
    list_of_met = np.empty(n, dtype=np.int32)
    filled, k = 0, first
    while k < n and filled + n <= room:
        n_met, count = 0, starts[k + 1] - starts[k]
        kept = 1.0
        for at in range(starts[k], starts[k + 1]):
            row, column = pixels[at] // columns, pixels[at] % columns
            left, right = max(0, column - reach), min(columns, column + reach + 1)
            share = down_share[row] * across_share[column] / count
            for i in range(max(0, row - reach), min(rows, row + reach + 1)):
                weight = weights[abs(i - row)] * share
                j = left
                while j < right:
                    end = min(ends[i, j], right)
                    of = feature[i, j]
                    if of != k:
                        value = weight * (from_left[end - column + reach] - from_left[j - column + reach])
                        kept -= value
                        if of >= 0:  # the others are at level 0, whose phase is 0
                            if not met[of]:
                                met[of] = True
                                list_of_met[n_met] = of
                                n_met += 1
                            total[of] += value
                    j = end
        own[k] = kept
        indptr[k] = filled
        for m in range(n_met):
            of = list_of_met[m]
            indices[filled], values[filled] = of, total[of]
            total[of], met[of] = 0.0, False
            filled += 1
        k += 1
        indptr[k] = filled
    return k
