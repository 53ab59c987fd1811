"""A rectangle of pixels or mirrors as lightonml writes it, and the border to the bench, which counts rows first."""

from __future__ import annotations

from typing import Any

import numpy as np

from .types import Roi, Tuple2D


def from_lightonml(roi: Roi) -> tuple[int, int, int, int]:
    """Return ((x, y), (width, height)) as the bench counts: (row, column, n_rows, n_columns)."""
    (x, y), (width, height) = roi
    return y, x, height, width


def as_lightonml(region: tuple[int, int, int, int]) -> Roi:
    """Return the bench's (row, column, n_rows, n_columns) as ((x, y), (width, height))."""
    row, column, n_rows, n_columns = region
    return (column, row), (n_columns, n_rows)


def check_roi(name: str, value: Any, shape: Tuple2D) -> Roi:
    """Return a region as ((x, y), (w, h)) of plain ints after checking that it lies within `shape`.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : object
        Two pairs of whole numbers, of whatever integer type.
    shape : tuple of int
        (width, height) of what it must lie within.
    """
    sentence = (
        f"{name} is {value!r}, but it must be ((x, y), (width, height)), whole numbers that stay within "
        f"{int(shape[0])} x {int(shape[1])}."
    )
    try:
        numbers = np.asarray(value)
    except ValueError:
        raise ValueError(sentence) from None
    if numbers.shape != (2, 2) or numbers.dtype.kind not in "iu":
        raise ValueError(sentence)
    (x, y), (w, h) = ((int(a), int(b)) for a, b in numbers)
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > shape[0] or y + h > shape[1]:
        raise ValueError(sentence)
    return (x, y), (w, h)
