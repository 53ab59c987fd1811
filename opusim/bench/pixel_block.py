"""Where the pixels of a region lie among the cells behind the medium: as they lie on the sensor, or folded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from opusim.device.pixel_sampling import PixelSampling

# Between bands that are side by side on the grid and not on the sensor, in grains: the first zero of 2 J1(pi x)/(pi x).
_APART_GRAINS = 1.22


@dataclass(frozen=True)
class PixelBlock:
    """A block of cells on the grid of modes that holds the pixels of a region.

    Parameters
    ----------
    shape : tuple of int
        Pixels of the region as (rows, columns).
    sampling : PixelSampling
        Points on each pixel: each is a cell.
    bands : int
        Into how many parts a long region is cut, across its longer side; they lie beside each other on the grid. 1:
        the block has the region's own rows and columns.
    """

    shape: tuple[int, int]
    sampling: PixelSampling
    bands: int = 1

    @classmethod
    def within(cls, shape: tuple[int, int], sampling: PixelSampling, longest: int) -> PixelBlock:
        """Return the block with the fewest bands whose sides have at most so many cells, or that is nearest to it.

        Parameters
        ----------
        shape : tuple of int
            Pixels of the region as (rows, columns).
        sampling : PixelSampling
            Points on each pixel.
        longest : int
            Most cells along a side.

        Returns
        -------
        PixelBlock
            The block.
        """
        block = cls(shape, sampling)
        while max(block.cells) > longest:
            longer = cls(shape, sampling, block.bands + 1)
            if max(longer.cells) >= max(block.cells) and longer.cells[0] > longer.cells[1]:
                break
            block = longer
        return block

    @property
    def _wide(self) -> bool:
        return self.shape[1] >= self.shape[0]

    @property
    def _band(self) -> int:
        """Pixels of a band along the longer side of the region."""
        return -(-max(self.shape) // self.bands)

    @property
    def _pitch(self) -> int:
        """Pixels from a band to the next one."""
        apart = 0
        if self.bands > 1 and self.sampling.aperture:
            apart = math.ceil(_APART_GRAINS / (self.sampling.aperture * self.sampling.fine))
        return min(self.shape) + apart

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the block in cells."""
        long, short = self._band, (self.bands - 1) * self._pitch + min(self.shape)
        fine = self.sampling.fine
        return (short * fine, long * fine) if self._wide else (long * fine, short * fine)

    @property
    def in_order(self) -> bool:
        """Whether the cells are the pixels in raster order."""
        return self.bands == 1 and self.sampling.fine == 1

    def places(self, n_pixels: int) -> np.ndarray:
        """Return which cells hold the points of the first pixels.

        Parameters
        ----------
        n_pixels : int
            How many pixels, in raster order.

        Returns
        -------
        ndarray of int64, shape (n_pixels, points)
            Index of each cell in raster order of the block; points of a pixel rows first.
        """
        row, column = np.divmod(np.arange(n_pixels, dtype=np.int64), self.shape[1])
        long, short = (column, row) if self._wide else (row, column)
        band, along = np.divmod(long, self._band)
        across = short + band * self._pitch
        row, column = (across, along) if self._wide else (along, across)
        fine = self.sampling.fine
        y, x = (axis.ravel() for axis in np.indices((fine, fine)))
        index: np.ndarray = (row[:, None] * fine + y) * self.cells[1] + column[:, None] * fine + x
        return index

    def read(self, block: Any, n_pixels: int, take: Callable[..., Any], places: Any) -> Any:
        """Return cells pixel by pixel, without weights.

        Parameters
        ----------
        block : array, shape (n, rows, columns) of `cells`
            Cells behind the medium in one polarisation, of any library.
        n_pixels : int
            How many pixels are read, in raster order.
        take : callable
            The library's function of that name, of an array, a flat index and the axis 1.
        places : array of int64
            From `places`, flat, of the library; not looked at if the cells are `in_order`.

        Returns
        -------
        array, shape (n, n_pixels, points)
            Points of each pixel.
        """
        flat = block.reshape(len(block), -1)
        if self.in_order:
            return flat[:, :n_pixels].reshape(len(block), n_pixels, 1)
        return take(flat, places, 1).reshape(len(block), n_pixels, self.sampling.points)
