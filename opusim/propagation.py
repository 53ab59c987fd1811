"""Scalar wave propagation on a periodic grid: angular spectrum and lens. The only place that calls an FFT."""

from __future__ import annotations

import numpy as np
import scipy.fft


def good_side(minimum: int) -> int:
    """Return the smallest even side of at least `minimum` whose only prime factors are 2, 3 and 5.

    Even, because the optical axis lies on a grid point; such lengths are fast for the FFT.
    """
    side = max(2, minimum + minimum % 2)
    while True:
        rest = side
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return side
        side += 2


def axis_signs(side: int) -> np.ndarray:
    """Return (-1)^k, which moves the origin of a discrete Fourier transform to the middle of the grid."""
    signs = np.ones(side, dtype=np.float32)
    signs[1::2] = -1
    return signs


def transfer_function(shape: tuple[int, int], *, step_m: float, wavelength_m: float, distance_m: float) -> np.ndarray:
    """Transfer function of free space for the angular spectrum method.

    Parameters
    ----------
    shape : tuple of int
        Grid points (rows, columns).
    step_m : float
        Grid step in metres.
    wavelength_m : float
        Wavelength in the medium, in metres.
    distance_m : float
        Distance along the axis, in metres.

    Returns
    -------
    ndarray of complex64, shape `shape`
        exp(i z (k_z - k)) in the FFT's own frequency order; waves beyond 1/wavelength decay
        (Goodman, Introduction to Fourier Optics, 3rd ed., eq. 3-74). The common phase k z is left out.
        The field is periodic, so sampling this function is exact for any distance.
    """
    fy = scipy.fft.fftfreq(shape[0], step_m)[:, None]
    fx = scipy.fft.fftfreq(shape[1], step_m)[None, :]
    result = np.empty(shape, dtype=np.complex64)
    k = 2 * np.pi / wavelength_m
    for start in range(0, shape[0], 256):  # in bands, so that the doubles stay small
        rows = slice(start, start + 256)
        squared = 1.0 - wavelength_m**2 * (fy[rows] ** 2 + fx**2)
        # Evanescent waves decay whichever way one goes: amplifying them on the way back would only amplify noise.
        phase = distance_m * k * (np.sqrt(np.maximum(squared, 0)) - 1)
        decay = abs(distance_m) * k * np.sqrt(np.maximum(-squared, 0))
        result[rows] = np.exp(1j * phase - decay)
    return result


def fourier(field: np.ndarray, *, workers: int | None = None) -> np.ndarray:
    """Two-dimensional unitary Fourier transform over the last two axes; `field` is overwritten."""
    return scipy.fft.fft2(field, norm="ortho", workers=workers, overwrite_x=True)


def inverse_fourier(field: np.ndarray, *, workers: int | None = None) -> np.ndarray:
    """Inverse of `fourier`; `field` is overwritten."""
    return scipy.fft.ifft2(field, norm="ortho", workers=workers, overwrite_x=True)


def angular_spectrum(
    field: np.ndarray, *, step_m: float, wavelength_m: float, distance_m: float, workers: int | None = None
) -> np.ndarray:
    """Propagate a field through free space.

    Parameters
    ----------
    field : ndarray of complex64, shape (..., rows, columns)
        Field on a periodic grid.
    step_m, wavelength_m, distance_m : float
        Grid step, wavelength and distance in metres; a negative distance goes back.
    workers : int, optional
        Threads of the FFT.

    Returns
    -------
    ndarray of complex64, same shape
        Field at the new plane. Without evanescent waves (step_m >= wavelength_m / sqrt 2) the energy is kept.
    """
    transfer = transfer_function(
        (field.shape[-2], field.shape[-1]), step_m=step_m, wavelength_m=wavelength_m, distance_m=distance_m
    )
    spectrum = fourier(np.array(field, dtype=np.complex64), workers=workers)
    spectrum *= transfer
    return inverse_fourier(spectrum, workers=workers)


def lens_from_rows(field: np.ndarray, rows: slice, *, workers: int | None = None) -> np.ndarray:
    """Two-dimensional transform of a field that is zero outside `rows`; `field` is overwritten.

    The first pass of the transform skips the rows that are known to be dark.
    """
    lit = field[..., rows, :]
    lit[...] = scipy.fft.fft(lit, axis=-1, norm="ortho", workers=workers, overwrite_x=True)
    return scipy.fft.fft(field, axis=-2, norm="ortho", workers=workers, overwrite_x=True)


def lens_to_rows(field: np.ndarray, rows: slice, *, workers: int | None = None) -> np.ndarray:
    """Rows `rows` of the two-dimensional transform; `field` is overwritten.

    The second pass of the transform skips the rows that nobody reads.
    """
    columns_done = scipy.fft.fft(field, axis=-2, norm="ortho", workers=workers, overwrite_x=True)
    return scipy.fft.fft(columns_done[..., rows, :], axis=-1, norm="ortho", workers=workers)
