"""Which pixels of the sensor are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Region:
    """Pixels that are read: the first `n_pixels`, in raster order, of a rectangle on the sensor.

    Parameters
    ----------
    row, column : int
        First row and column of the rectangle.
    n_rows, n_columns : int
        Its size.
    n_pixels : int
        How many of its pixels are read.
    sensor_columns : int
        Columns of the whole sensor.
    """

    row: int
    column: int
    n_rows: int
    n_columns: int
    n_pixels: int
    sensor_columns: int

    def pixels(self) -> np.ndarray:
        """Return where on the sensor the pixels lie.

        Returns
        -------
        ndarray of uint32, shape (n_pixels,)
            Raster index of each.
        """
        p = np.arange(self.n_pixels, dtype=np.int64)
        index = (self.row + p // self.n_columns) * self.sensor_columns + self.column + p % self.n_columns
        return index.astype(np.uint32)
