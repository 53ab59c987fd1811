"""How a pixel samples the light: polarisations, points on its area with weights, and the stop that makes the grains.

The light of a pixel is an integral over its area. A sum over a few points stands for it, with weights by which it has
the contrast, the correlation of neighbours and the fringes of the integral.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from opusim import theory
from opusim.base import elementary

# By how much a sum over points may differ from the integral: in contrast and in fringe power as shares of them, in the
# correlation of neighbouring pixels. Of the first and the last, docs/physics.md section 3 promises .01 and .006.
_CONTRAST, _NEIGHBOURS, _FRINGES = 0.005, 0.003, 0.009
_CARRIERS = np.arange(1, 11) / 20  # cycles a pixel at which fringes are compared
_STEPS = 12  # of Gauss and Newton, which are at their end after six
_EVEN = 2.0  # how strongly weights are held to be even, where nothing else is asked of them
_WHOLE = 1e4  # and how strongly their sum to be 1


@dataclass(frozen=True)
class PixelSampling:
    """What the light of one pixel is the sum of.

    Parameters
    ----------
    channels : int
        Waves that do not interfere with each other: for each polarisation, 1 behind a polariser and 2 without one, one
        for each of the `lines`, side by side.
    fine : int
        Points along each side of a pixel at which the field is sampled.
    aperture : float
        Diameter of the stop as a share of the grid's side; 0 for none.
    axis_weights : tuple of float
        Weights of the `fine` points along one side; their sum is 1. A point of the pixel has the product of two.
    lines : tuple of float
        Frequencies that stand for the laser's line, as relative shifts (``opusim.device.lines``); they have equal
        parts of the power.
    """

    channels: int
    fine: int
    aperture: float
    axis_weights: tuple[float, ...] = (1.0,)
    lines: tuple[float, ...] = (0.0,)

    @classmethod
    def of(cls, *, polarised: bool, pixel_over_grain: float, lines: tuple[float, ...] = (0.0,)) -> PixelSampling:
        """Return the sampling of a pixel.

        Parameters
        ----------
        polarised : bool
            Whether there is a polariser.
        pixel_over_grain : float
            Pixel pitch over the speckle grain; 0 for no integration over the pixel.
        lines : tuple of float, optional
            Frequencies of the light, as relative shifts.

        Returns
        -------
        PixelSampling
            The sampling.
        """
        return cls((1 if polarised else 2) * len(lines), *pixel_sampling(pixel_over_grain), lines)

    @property
    def polarisations(self) -> int:
        """Polarisations that the camera sees: 1 behind a polariser, 2 without one."""
        return self.channels // len(self.lines)

    def wave(self, channel: int) -> tuple[int, float]:
        """Return what a channel is.

        Parameters
        ----------
        channel : int
            Which one, from 0.

        Returns
        -------
        polarisation : int
            0 or 1.
        relative_shift : float
            Of its frequency.
        """
        return channel // len(self.lines), self.lines[channel % len(self.lines)]

    @property
    def points(self) -> int:
        """Points of a pixel in one channel."""
        return self.fine**2

    @property
    def samples(self) -> int:
        """Fields whose intensities one pixel adds up."""
        return self.channels * self.fine**2

    @property
    def point_weights(self) -> np.ndarray:
        """Weights of the points of a pixel, rows first, of the sum 1: float64 (points,)."""
        axis = np.array(self.axis_weights)
        return (axis[:, None] * axis[None, :]).ravel()

    @property
    def weights(self) -> np.ndarray:
        """Weights of all samples, of the sum 1: float64 (samples,). Polarisations have equal parts."""
        return np.tile(self.point_weights / self.channels, self.channels)

    @property
    def amplitudes(self) -> np.ndarray:
        """What the field is multiplied by at each point, float32 (points,).

        The mean of the squares over the points is then the weighted mean of the intensity.
        """
        return np.sqrt(self.point_weights * self.points).astype(np.float32)

    @property
    def offsets(self) -> np.ndarray:
        """Where the points lie, from the centre of the pixel: float64 (points, 2), rows and columns, in pixels."""
        axis = _places(self.fine)
        return np.stack([axis.repeat(self.fine), np.tile(axis, self.fine)], axis=1)

    def fringe_contrast(self, carrier: tuple[float, float]) -> float:
        """Return what is left of the fringes of a tilted reference by a mean over the pixel's area.

        Parameters
        ----------
        carrier : tuple of float
            Cycles a pixel along rows and columns.

        Returns
        -------
        float
            Of a pixel with one point, sinc(f) sinc(f'). 1 for one with several: the reference is then taken at
            each of them, and their sum has this contrast by itself.

        Notes
        -----
        The modulation transfer function of a square pixel that fills its pitch (Goodman, Introduction to Fourier
        Optics, section 2.4): a pixel that samples one point of the speckle still sees fringes over its area.
        """
        if self.fine > 1:
            return 1.0
        return math.prod(float(elementary.sinc(f)) for f in carrier)

    def polarised(self, field: np.ndarray) -> np.ndarray:
        """Return light that is polarised as the signal's first channel is, at every frequency of the line.

        Parameters
        ----------
        field : ndarray of complex64, shape (n,) or (n, points)
            Field on each pixel, even over it, or at each of its points.

        Returns
        -------
        ndarray of complex64, shape (n, samples)
            The field on the points of the first polarisation, weighted as the signal is (`amplitudes`); 0 on those of
            the other one.
        """
        wave = np.zeros((len(field), self.channels, self.points), dtype=np.complex64)
        first = wave[:, : len(self.lines)]
        first[:] = field[:, None] if field.ndim == 2 else field[:, None, None]
        if self.fine > 1:
            first.real *= self.amplitudes
            first.imag *= self.amplitudes
        return wave.reshape(len(field), -1)

    def unweighted(self, fields: np.ndarray) -> np.ndarray:
        """Return the field itself where it is weighted for the sum over a pixel.

        Parameters
        ----------
        fields : ndarray of complex64, shape (n, samples)
            Fields as a way gives them (``Way.fields``).

        Returns
        -------
        ndarray of complex64, shape (n, samples)
            The field at each point of each pixel, of either polarisation.
        """
        if self.fine == 1:
            return fields
        result = np.array(fields, dtype=np.complex64)
        by_point = result.reshape(-1, self.points)
        by_point.real /= self.amplitudes
        by_point.imag /= self.amplitudes
        return result


@lru_cache(maxsize=64)
def pixel_sampling(pixel_over_grain: float) -> tuple[int, float, tuple[float, ...]]:
    """How finely the speckle on a pixel is sampled, behind which stop, and with which weights.

    Parameters
    ----------
    pixel_over_grain : float
        Pixel pitch over the speckle grain; 0 for no integration over the pixel.

    Returns
    -------
    fine : int
        Points along each side of a pixel: the fewest that do, and no fewer than grains.
    aperture : float
        Diameter of the stop as a share of the grid's side, ``pixel_over_grain / fine``; 0 for none.
    axis_weights : tuple of float
        Weights of the points along one side.

    Notes
    -----
    A stop of `aperture` sides makes grains of 1/aperture points, so the grain on the grid is the true one. Points lie
    in the middles of `fine` equal parts of the side. Their weights are those of least squares for what is known of the
    integral over a pixel: its contrast (`theory.pixel_modes`), the correlation of neighbours
    (`theory.neighbour_correlation`) and the power of fringes, sinc^2(f), at carriers f up to half a cycle a pixel.
    Where these leave a choice, weights are as even as they can be.

    A pixel much smaller than a grain has one point; fringes are then averaged by `PixelSampling.fringe_contrast`.
    """
    if pixel_over_grain == 0:
        return 1, 0.0, (1.0,)
    law = _Law(pixel_over_grain)
    if law.fits(np.ones(1)):
        return 1, round(float(pixel_over_grain), 9), (1.0,)
    fine = max(3, math.ceil(pixel_over_grain))
    while True:
        weights = law.weights(fine)
        if weights.min() > 0 and law.fits(weights):
            # Rounded: what the last bits of least squares are depends on the machine.
            return fine, round(pixel_over_grain / fine, 9), tuple(round(float(w), 9) for w in weights)
        fine += 1 + fine // 32


class _Law:
    """What the integral over a pixel gives for one size of grain, and how far a sum with weights is from it."""

    def __init__(self, pixel_over_grain: float) -> None:
        self.size = pixel_over_grain
        self.variance = 1 / theory.pixel_modes(pixel_over_grain)
        self.neighbours = theory.neighbour_correlation(pixel_over_grain)
        self.fringes = np.square(elementary.sinc(_CARRIERS))

    def fits(self, weights: np.ndarray) -> bool:
        """Whether a sum with these weights is near enough to the integral."""
        errors = self._errors(weights)[0]
        if len(weights) == 1:
            errors = errors[:2]  # the fringes of one point have a factor of their own
        return bool(np.abs(errors).max() <= 1)

    def weights(self, fine: int) -> np.ndarray:
        """Return the weights of least squares for a number of points, by the method of Gauss and Newton."""
        half = (fine + 1) // 2
        unfold = np.zeros((fine, half))  # from half of the weights to all, which are symmetric
        unfold[np.arange(fine), np.minimum(np.arange(fine), fine - 1 - np.arange(fine))] = 1
        weights = np.full(fine, 1 / fine)
        for _ in range(_STEPS):
            errors, slopes = self._errors(weights)
            rows = np.vstack([slopes, _EVEN * np.eye(fine), np.full((1, fine), _WHOLE)])
            rest = np.concatenate([errors, _EVEN * (weights - 1 / fine), [_WHOLE * (weights.sum() - 1)]])
            weights = weights - unfold @ np.linalg.lstsq(rows @ unfold, rest, rcond=None)[0]
        whole: np.ndarray = weights / weights.sum()
        return whole

    def _errors(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Errors of contrast, of neighbours and of fringes, over what each may be, and their slopes by the weights."""
        fine = len(weights)
        lag = np.arange(1 - fine, fine)
        # Pairs of points by their distance along one side, and how they grow with each weight.
        pairs = np.convolve(weights, weights[::-1])
        index = np.arange(fine)
        padded = np.pad(weights, fine)
        grow = padded[fine + index[None, :] - lag[:, None]] + padded[fine + index[None, :] + lag[:, None]]
        same, beside = (_squared_coherence(self.size, lag / fine, lag / fine + far) for far in (0, 1))
        variance, covariance = pairs @ same @ pairs, pairs @ beside @ pairs
        by_variance = (2 * same @ pairs) @ grow
        by_covariance = (beside @ pairs + beside.T @ pairs) @ grow
        ratio = covariance / variance
        waves = elementary.cos(2 * np.pi * _CARRIERS[:, None] * _places(fine)[None, :])
        passed = waves @ weights
        # The contrast is the root of the variance: half of the error.
        errors = [
            [(variance / self.variance - 1) / 2 / _CONTRAST], [(ratio - self.neighbours) / _NEIGHBOURS],
            (np.square(passed) / self.fringes - 1) / _FRINGES,
        ]  # fmt: skip
        slopes = [
            by_variance[None] / self.variance / 2 / _CONTRAST,
            (by_covariance - ratio * by_variance)[None] / variance / _NEIGHBOURS,
            2 * passed[:, None] * waves / self.fringes[:, None] / _FRINGES,
        ]
        return np.concatenate(errors), np.concatenate(slopes)


def _places(fine: int) -> np.ndarray:
    """Middles of `fine` equal parts of a pixel's side, from its centre, in pixels."""
    places: np.ndarray = (np.arange(fine) + 0.5) / fine - 0.5
    return places


def _squared_coherence(size: float, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """``|2 J1(pi r)/(pi r)|^2`` for distances r in grains, of places in pixels."""
    r = np.pi * size * np.sqrt(np.square(down)[:, None] + np.square(across)[None, :])
    return np.square(np.where(r > 0, 2 * elementary.bessel_j1(r) / np.maximum(r, 1e-300), 1.0))
