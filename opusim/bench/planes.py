"""What a bench hands out besides frames: the planes of one exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opusim.base.short_repr import short_repr


@short_repr
@dataclass(frozen=True)
class Planes:
    """Every plane of one exposure, from `OpticalBench.inspect`.

    Parameters
    ----------
    mirrors : ndarray of uint8, shape (rows, columns)
        Mirrors as shown (1 on), stuck ones as commanded.
    dmd_field : ndarray of complex64
        Field that leaves the mirrors (rows, columns), or the macro-pixels for a formatted pattern under the
        resolution "auto". Both are pictures of indices: where the mirrors of a diamond lattice stand,
        `opusim.Dmd.places_m` tells. In front of a Fourier stop, if there is one.
    medium_field : ndarray of complex64, shape (n_rows, n_columns, samples)
        Field at the camera when the exposure begins; more than one sample for unpolarised light or integration over the
        pixel: polarisation by polarisation, points on the pixel rows first (`PixelSampling.offsets` of
        `Device.sampling`). Where the medium moves while the shutter is open, the photons are those of the mean over it.
    photons : ndarray of float32, shape (n_rows, n_columns)
        Mean photons on each pixel in the exposure.
    electrons : ndarray of float32, shape (n_rows, n_columns)
        Electrons in each pixel: shot noise and full well in, read noise not.
    counts : ndarray, shape (n_rows, n_columns)
        What the camera returns.
    weights : ndarray of float64, shape (samples,)
        Parts of the samples in the light of a pixel, of the sum 1: without a reference, `photons` goes as the sum of
        ``weights * |medium_field|^2``.
    """

    mirrors: np.ndarray
    dmd_field: np.ndarray
    medium_field: np.ndarray
    photons: np.ndarray
    electrons: np.ndarray
    counts: np.ndarray
    weights: np.ndarray
