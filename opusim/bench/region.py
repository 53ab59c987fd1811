"""Which pixels of the sensor are read: THE region of interest, its two ways of writing, and their checks.

A bench counts rows first, (row, column, n_rows, n_columns): `Roi`. lightonml, and with it the driver at its border,
writes ((x, y), (width, height)): `LightonmlRoi`, of the sensor and of the mirrors too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from opusim.base import validation

__all__ = ["AnyRoi", "LightonmlRoi", "Region", "Roi", "checked_lightonml_roi", "checked_roi"]

AnyRoi = tuple[int, int, int, int]
"""A `Roi`, or a plain tuple of the same numbers: what every bench and procedure takes."""

LightonmlRoi = tuple[tuple[int, int], tuple[int, int]]
"""Offset and size in cartesian coordinates: ((x, y), (width, height))."""


class Roi(NamedTuple):
    """A rectangle of pixels on the sensor: the tuple (row, column, n_rows, n_columns), with names.

    Parameters
    ----------
    row, column : int
        First row and column.
    n_rows, n_columns : int
        Its size.
    """

    row: int
    column: int
    n_rows: int
    n_columns: int

    @classmethod
    def whole(cls, sensor_shape: tuple[int, int]) -> Roi:
        """Return the region that is all of a sensor.

        Parameters
        ----------
        sensor_shape : tuple of int
            Pixels as (rows, columns).

        Returns
        -------
        Roi
            The region.
        """
        return cls(0, 0, *sensor_shape)

    @classmethod
    def from_lightonml(cls, roi: LightonmlRoi) -> Roi:
        """Return a region that is written as lightonml writes it.

        Parameters
        ----------
        roi : tuple of tuple of int
            ((x, y), (width, height)) on the sensor.

        Returns
        -------
        Roi
            The same, rows first.
        """
        (x, y), (width, height) = roi
        return cls(y, x, height, width)

    @property
    def as_lightonml(self) -> LightonmlRoi:
        """The same as ((x, y), (width, height))."""
        return (self.column, self.row), (self.n_columns, self.n_rows)

    @property
    def n_pixels(self) -> int:
        """Pixels of it."""
        return self.n_rows * self.n_columns

    def __repr__(self) -> str:
        """Return it as a plain tuple, as it is written in arguments."""
        return repr(tuple(self))


def checked_roi(roi: AnyRoi | None, sensor_shape: tuple[int, int]) -> Roi:
    """Return a region of a bench after checking that it lies within the sensor.

    Parameters
    ----------
    roi : tuple of int or None
        (row, column, n_rows, n_columns); the whole sensor for None.
    sensor_shape : tuple of int
        Pixels as (rows, columns).

    Returns
    -------
    Roi
        Of plain ints.

    Raises
    ------
    TypeError, ValueError
        If it is no such tuple, or leaves the sensor.
    """
    rows, columns = sensor_shape
    if roi is None:
        return Roi(0, 0, rows, columns)
    if not isinstance(roi, (tuple, list)) or len(roi) != 4:
        raise TypeError(f"roi is {roi!r}, but it must be (row, column, n_rows, n_columns).")
    if all(type(n) is int for n in roi) and _within(roi[:2], roi[2:], sensor_shape):
        return Roi(*roi)
    row = validation.integer("roi row", roi[0], low=0, high=rows - 1)
    column = validation.integer("roi column", roi[1], low=0, high=columns - 1)
    n_rows = validation.integer("roi n_rows", roi[2], low=1, high=rows - row)
    return Roi(row, column, n_rows, validation.integer("roi n_columns", roi[3], low=1, high=columns - column))


def checked_lightonml_roi(name: str, value: Any, shape: tuple[int, int]) -> LightonmlRoi:
    """Return a region as lightonml writes it after checking that it lies within `shape`.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like of int, shape (2, 2)
        ((x, y), (width, height)), of whatever integer type.
    shape : tuple of int
        (width, height) of what it must lie within, a sensor or mirrors.

    Returns
    -------
    tuple of tuple of int
        ((x, y), (width, height)) of plain ints.

    Raises
    ------
    ValueError
        If it is no such pair of pairs, or leaves `shape`.
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
    (x, y), (width, height) = ((int(a), int(b)) for a, b in numbers)
    if not _within((x, y), (width, height), shape):
        raise ValueError(sentence)
    return (x, y), (width, height)


def _within(offset: Sequence[int], size: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a rectangle that is not empty lies within `shape`; both axes in the same order everywhere."""
    return all(0 <= o and 1 <= s and o + s <= n for o, s, n in zip(offset, size, shape, strict=True))


@dataclass(frozen=True)
class Region:
    """Pixels that are read: the first `n_pixels`, in raster order, of a rectangle on the sensor.

    Parameters
    ----------
    roi : Roi
        The rectangle.
    n_pixels : int
        How many of its pixels are read.
    sensor_columns : int
        Columns of the whole sensor.
    """

    roi: Roi
    n_pixels: int
    sensor_columns: int

    def pixels(self) -> np.ndarray:
        """Return where on the sensor the pixels lie.

        Returns
        -------
        ndarray of uint32, shape (n_pixels,)
            Raster index of each.
        """
        row, column, _, n_columns = self.roi
        p = np.arange(self.n_pixels, dtype=np.int64)
        index = (row + p // n_columns) * self.sensor_columns + column + p % n_columns
        return index.astype(np.uint32)
