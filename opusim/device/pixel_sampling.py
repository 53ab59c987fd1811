"""How a pixel samples the field of the light: polarisations, points on its area, and the stop that makes the grains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import optimize, special

from opusim import theory


@dataclass(frozen=True)
class PixelSampling:
    """What the light of one pixel is the sum of.

    Parameters
    ----------
    channels : int
        Polarisations: 1 behind a polariser, 2 without one.
    fine : int
        Points along each side of a pixel at which the field is sampled.
    aperture : float
        Diameter of the stop as a share of the grid's side; 0 for none.
    """

    channels: int
    fine: int
    aperture: float

    @classmethod
    def of(cls, *, polarised: bool, pixel_over_grain: float) -> PixelSampling:
        """Return the sampling of a pixel.

        Parameters
        ----------
        polarised : bool
            Whether there is a polariser.
        pixel_over_grain : float
            Pixel pitch over the speckle grain; 0 for no integration over the pixel.

        Returns
        -------
        PixelSampling
            The sampling.
        """
        return cls(1 if polarised else 2, *pixel_sampling(pixel_over_grain))

    @property
    def points(self) -> int:
        """Points of a pixel in one polarisation."""
        return self.fine**2

    @property
    def samples(self) -> int:
        """Fields whose intensities one pixel adds up."""
        return self.channels * self.fine**2

    def by_pixel(self, block: Any, n_pixels: int, permute_dims: Callable[..., Any]) -> Any:
        """Return cells of one polarisation pixel by pixel.

        Parameters
        ----------
        block : array, shape (n, rows * fine, columns * fine)
            Cells behind the medium, of any library.
        n_pixels : int
            How many pixels are read.
        permute_dims : callable
            The library's function of that name.

        Returns
        -------
        array, shape (n, n_pixels, fine^2)
            Points of each pixel; pixels in raster order.
        """
        n, fine = len(block), self.fine
        rows, columns = block.shape[1] // fine, block.shape[2] // fine
        if fine > 1:
            block = permute_dims(block.reshape(n, rows, fine, columns, fine), (0, 1, 3, 2, 4))
        return block.reshape(n, rows * columns, fine**2)[:, :n_pixels]

    def polarised(self, field: np.ndarray) -> np.ndarray:
        """Return light that is polarised as the signal's first channel is, and even over each pixel.

        Parameters
        ----------
        field : ndarray of complex64, shape (n,)
            Field on each pixel.

        Returns
        -------
        ndarray of complex64, shape (n, samples)
            The field on the points of the first polarisation, 0 on the others.
        """
        wave = np.zeros((len(field), self.channels, self.points), dtype=np.complex64)
        wave[:, 0] = field[:, None]
        return wave.reshape(len(field), -1)


@lru_cache(maxsize=64)
def pixel_sampling(pixel_over_grain: float) -> tuple[int, float]:
    """How finely the speckle on a pixel is sampled, and behind which stop.

    Parameters
    ----------
    pixel_over_grain : float
        Pixel pitch over the speckle grain; 0 for no integration over the pixel.

    Returns
    -------
    fine : int
        Samples along each side of a pixel: at least two, and two a grain.
    aperture : float
        Diameter of the stop as a share of the grid's side; 0 for none.

    Notes
    -----
    A stop of `aperture` sides makes grains of 1/aperture samples. A mean over few samples keeps a little more
    contrast than the integral over the pixel; the stop is opened until the contrast is that of the integral
    (`theory.pixel_modes`).
    """
    if pixel_over_grain == 0:
        return 1, 0.0
    fine = max(2, math.ceil(2 * pixel_over_grain))
    centres = (np.arange(fine) + 0.5) / fine
    y, x = (axis.ravel() for axis in np.meshgrid(centres, centres))
    distance = np.sqrt((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2)

    def excess(effective: float) -> float:
        r = np.maximum(np.pi * effective * distance, 1e-9)
        return float(np.mean(np.square(2 * special.j1(r) / r))) - 1 / theory.pixel_modes(pixel_over_grain)

    effective = optimize.brentq(excess, pixel_over_grain, 1.5 * pixel_over_grain)
    # Rounded: what the last bits of Bessel functions are depends on the machine.
    return fine, round(float(effective / fine), 9)
