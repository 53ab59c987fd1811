"""Where mirrors stand: a square lattice, or one that stands on its corner ("diamond"), in units of the pitch."""

from __future__ import annotations

import math

import numpy as np

SQUARE, DIAMOND = "square", "diamond"
LATTICES = (SQUARE, DIAMOND)
"""How mirrors stand. In both, each mirror has a cell of the area pitch^2, and four neighbours at one pitch."""

_ROOT2 = math.sqrt(2.0)


def spacing(lattice: str) -> tuple[float, float]:
    """Return how far apart indices are along both axes.

    Parameters
    ----------
    lattice : {"square", "diamond"}
        How mirrors stand.

    Returns
    -------
    tuple of float
        Distance of one mirror from the next of its line (along the first axis), and of a line from the next (along
        the second one), in pitches. Their product is 1, the area of a mirror's cell.
    """
    return (_ROOT2, _ROOT2 / 2) if lattice == DIAMOND else (1.0, 1.0)


def places(shape: tuple[int, int], lattice: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of mirrors from the middle of the array.

    Parameters
    ----------
    shape : tuple of int
        Mirrors as (rows, columns).
    lattice : {"square", "diamond"}
        How mirrors stand.

    Returns
    -------
    y, x : ndarray of float64
        Along the first and the second axis, in pitches; of shapes that broadcast to `shape`. On a diamond lattice the
        columns of an odd number are half a spacing further along the first axis than those of an even one.
    """
    down, across = spacing(lattice)
    y = (np.arange(shape[0]) - (shape[0] - 1) / 2)[:, None]
    x = (np.arange(shape[1]) - (shape[1] - 1) / 2)[None, :]
    if lattice == DIAMOND:
        if shape[1] > 1:
            y = y + (np.arange(shape[1]) % 2 - 0.5)[None, :] / 2
        y, x = y * down, x * across
    return y, x


def along_edges(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Return the places of a diamond lattice in steps along the edges of its mirrors.

    A diamond lattice is a square one that is turned by 45 degrees: along the edges neighbours are one pitch apart, and
    places are whole numbers.

    Parameters
    ----------
    shape : tuple of int
        Mirrors as (rows, columns).

    Returns
    -------
    u, v : ndarray of int64, shape `shape`
        Steps along both edges, from 0 on: (y + x) / sqrt(2) and (y - x) / sqrt(2) of `places`, but for a constant.
    box : tuple of int
        Steps that all mirrors take along both: a square of about rows + columns / 2.
    """
    row, column = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    # y / sqrt(2) = row + (column % 2) / 2 and x / sqrt(2) = column / 2, so that these are halves of even numbers.
    u = row + (column % 2 + column) // 2
    v = row + (column % 2 - column) // 2
    v = v - v.min()
    return u, v, (int(u.max()) + 1, int(v.max()) + 1)
