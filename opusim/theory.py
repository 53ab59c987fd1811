"""Closed forms of what the simulation must show: speckle, random matrices, kernels, beams."""

from __future__ import annotations

import numpy as np
from scipy import integrate, special

from opusim.base.user_arrays import checked_array


def marchenko_pastur_edges(ratio: float) -> tuple[float, float]:
    """Return the smallest and the largest singular value of a large random matrix, 1 -+ sqrt(ratio).

    Parameters
    ----------
    ratio : float
        Inputs over outputs, 0 < ratio <= 1, for entries of variance 1 / outputs.

    Returns
    -------
    tuple of float
        Both edges of the distribution.
    """
    root = float(np.sqrt(ratio))
    return 1 - root, 1 + root


def marchenko_pastur_pdf(s: np.ndarray, ratio: float) -> np.ndarray:
    """Return the density of the singular values (Marchenko and Pastur 1967).

    It is sqrt((s+^2 - s^2)(s^2 - s-^2)) / (pi ratio s) between the edges s- and s+, and 0 elsewhere.

    Parameters
    ----------
    s : ndarray
        Singular values.
    ratio : float
        As in `marchenko_pastur_edges`.

    Returns
    -------
    ndarray
        Density at each `s`.
    """
    low, high = marchenko_pastur_edges(ratio)
    s = checked_array("s", s, dtype=np.float64)
    inside = np.maximum((high**2 - s**2) * (s**2 - low**2), 0.0)
    return np.sqrt(inside) / (np.pi * ratio * np.maximum(s, 1e-300))


def marchenko_pastur_cdf(s: np.ndarray, ratio: float) -> np.ndarray:
    """Return the distribution function of the singular values, by the trapezoidal rule on 20 000 steps.

    Parameters
    ----------
    s : ndarray
        Singular values.
    ratio : float
        As in `marchenko_pastur_edges`.

    Returns
    -------
    ndarray
        Share of the singular values up to each `s`.
    """
    low, high = marchenko_pastur_edges(ratio)
    s = checked_array("s", s, dtype=np.float64)
    # The substitution s = mid - half cos(a) takes away the square-root ends.
    angle = np.linspace(0, np.pi, 20_001)
    half = (high - low) / 2
    nodes = (high + low) / 2 - half * np.cos(angle)
    density = marchenko_pastur_pdf(nodes, ratio) * half * np.sin(angle)
    cdf = integrate.cumulative_trapezoid(density, angle, initial=0.0)
    return np.interp(s, nodes, cdf / cdf[-1], left=0.0, right=1.0)


def pixel_modes(pixel_over_grain: float) -> float:
    """Return the number M of speckle modes that a square pixel adds up, for the speckle of a round aperture.

    Parameters
    ----------
    pixel_over_grain : float
        Pixel pitch over the grain g = wavelength x distance / diameter of the aperture.

    Returns
    -------
    float
        M = 1 / integral of the triangle-weighted squared coherence ``|2 J1(pi r)/(pi r)|^2`` over the pixel
        (Goodman, Speckle Phenomena in Optics, 2nd ed., eq. 4-133). The contrast is 1/sqrt(M).
    """
    if pixel_over_grain == 0:
        return 1.0
    p = float(pixel_over_grain)
    nodes, weights = np.polynomial.legendre.leggauss(max(40, int(20 * p)))
    u = (nodes + 1) / 2
    w = weights / 2
    r = p * np.hypot(u[:, None], u[None, :])
    coherence = np.square(2 * special.j1(np.pi * r) / (np.pi * r))
    share = np.sum(w[:, None] * w[None, :] * (1 - u[:, None]) * (1 - u[None, :]) * coherence)
    return float(1 / (4 * share))


def neighbour_correlation(pixel_over_grain: float, rows: float = 0, columns: float = 1) -> float:
    """Return the correlation of the intensities that two square pixels read, for the speckle of a round aperture.

    Parameters
    ----------
    pixel_over_grain : float
        Pixel pitch over the grain, as in `pixel_modes`; above 0. The pixels fill their pitch.
    rows, columns : float
        How far apart the pixels are, in pixels.

    Returns
    -------
    float
        Covariance over variance: .574, .236 and .113 for neighbours at .5, 1 and 2 grains a pixel.

    Notes
    -----
    The squared coherence ``|2 J1(pi r)/(pi r)|^2`` of two points (Goodman, Speckle Phenomena in Optics, 2nd ed.,
    section 4.4) is averaged over both pixels: over the difference of places in them, which has a triangular law.
    """
    p = float(pixel_over_grain)
    nodes, weights = np.polynomial.legendre.leggauss(max(40, int(8 * p)))
    u = np.concatenate([nodes - 1, nodes + 1]) / 2
    w = np.concatenate([weights, weights]) / 2 * (1 - np.abs(u))

    def covariance(down: float, across: float) -> float:
        r = np.pi * p * np.hypot(u[:, None] + down, u[None, :] + across)
        coherence = np.square(np.where(r > 0, 2 * special.j1(r) / np.maximum(r, 1e-300), 1.0))
        return float(np.sum(w[:, None] * w[None, :] * coherence))

    return covariance(rows, columns) / covariance(0, 0)


def speckle_contrast(pixel_over_grain: float = 0.0, polarised: bool = True) -> float:
    """Return the contrast (standard deviation over mean) of the intensity that pixels read: 1/sqrt(M).

    Unpolarised light through a depolarising medium adds two independent patterns (Goodman 1976).

    Parameters
    ----------
    pixel_over_grain : float
        Side of a pixel over the size of a speckle grain; 0 for a pixel that samples a point.
    polarised : bool
        Whether the camera reads one polarisation.

    Returns
    -------
    float
        Contrast, from 0 to 1.
    """
    return float(1 / np.sqrt(pixel_modes(pixel_over_grain) * (1 if polarised else 2)))


def optical_kernel(x: np.ndarray, y: np.ndarray, modes: float = 1.0) -> np.ndarray:
    """Return the kernel of ``|Rx|^2`` features (Saade et al. 2016, 1510.06664).

    It is ``||x||^2 ||y||^2 + (x . y)^2 / modes``.

    Parameters
    ----------
    x, y : ndarray, shapes (n, d) and (m, d)
        Real inputs.
    modes : float
        Speckle modes that a pixel adds up.

    Returns
    -------
    ndarray, shape (n, m)
        Mean over outputs of ``|Rx|^2 |Ry|^2`` for entries of unit variance.
    """
    x = checked_array("x", x, kinds="biuf", dtype=np.float64)
    y = checked_array("y", y, kinds="biuf", dtype=np.float64)
    norms = np.sum(np.square(x), axis=1)[:, None] * np.sum(np.square(y), axis=1)[None, :]
    return norms + np.square(x @ y.T) / modes


def gaussian_beam_radius(waist_m: float, distance_m: float, wavelength_m: float) -> float:
    """Return the 1/e^2 radius of a Gaussian beam: w0 sqrt(1 + (z wavelength / (pi w0^2))^2) (Siegman, Lasers, ch. 17).

    Parameters
    ----------
    waist_m : float
        Radius w0 at the waist, in metres.
    distance_m : float
        Distance z from the waist, in metres.
    wavelength_m : float
        Wavelength in metres.

    Returns
    -------
    float
        Radius in metres.
    """
    rayleigh = np.pi * waist_m**2 / wavelength_m
    return float(waist_m * np.sqrt(1 + (distance_m / rayleigh) ** 2))


def memory_effect(tilt: np.ndarray, length: float) -> np.ndarray:
    """Return the correlation of the speckle with itself after a tilt: (q L / sinh q L)^2 for a diffusive slab.

    Parameters
    ----------
    tilt : ndarray
        The q: change of the transverse wave number, in 1/m.
    length : float
        Effective thickness in metres (Feng, Kane, Lee and Stone 1988; for screens .4 to .55 of the distance
        from the first to the last one, docs/physics.md section 3; about two thirds of it for three screens).

    Returns
    -------
    ndarray
        Correlation at each `tilt`, from 0 to 1.
    """
    # Beyond 300 it is 0 to within 1e-255, and sinh would soon be beyond what a number holds.
    x = np.minimum(np.abs(checked_array("tilt", tilt, dtype=np.float64) * length), 300.0)
    safe = np.where(x < 1e-6, 1.0, x)
    return np.where(x < 1e-6, 1.0, np.square(safe / np.sinh(safe)))
