"""Sums of rows of a matrix with complex weights."""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel

TILE = 256
"""Floats of a row that are summed together: an even number."""


@kernel()
def weigh(weights, matrix, constant, out, start, stop):
    """Fill tiles start ... stop - 1 of `out` with constant + weights @ matrix, features in their order.

    Parameters
    ----------
    weights : float32, (n, 2 * n_features): real and imaginary parts by turns
    matrix : float32, (n_features, 2 * n_fields): the same
    constant : float32, (2 * n_fields,)
    out : float32, (n, 2 * n_fields), written
    """
    real = np.empty(TILE, np.float32)
    turned = np.empty(TILE, np.float32)
    for tile in range(start, stop):
        first = tile * TILE
        width = min(TILE, out.shape[1] - first)
        for v in range(out.shape[0]):
            for k in range(width):
                real[k] = constant[first + k]
                turned[k] = np.float32(0)
            for j in range(matrix.shape[0]):
                a, b = weights[v, 2 * j], weights[v, 2 * j + 1]
                row = matrix[j, first : first + width]
                for k in range(width):
                    real[k] += a * row[k]
                    turned[k] += b * row[k]
            for k in range(0, width, 2):
                out[v, first + k] = real[k] - turned[k + 1]
                out[v, first + k + 1] = real[k + 1] + turned[k]
