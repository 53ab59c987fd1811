"""How a layer changes with the frequency of the light: by its own paths, or by the delays of a diffusive slab."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from opusim.base import elementary, fourier
from opusim.device.propagation import axial_wave_numbers

__all__ = ["delays", "mean_delay", "stack_correlation"]

_SIDE = 64  # points of the grid on which the law of a stack is taken
# Characteristic functions are taken up to where exp(-9) of them is left, delays up to 4 L^2 / D, where exp(-39) is.
_LEAST, _LONGEST = 9.0, 4.0
_QUANTILES = 1 << 14


@lru_cache(maxsize=1024)
def stack_correlation(
    relative_shift: float, *, n_screens: int, phase_std_rad: float, correlation_length_m: float, gap_m: float,
    step_m: float, wavelength_m: float,
) -> float:  # fmt: skip
    """Return the correlation of the fields behind phase screens at two optical frequencies.

    Parameters
    ----------
    relative_shift : float
        Difference of the frequencies over the first one.
    n_screens : int
        Screens.
    phase_std_rad : float
        Standard deviation of the phase of each, at the first frequency.
    correlation_length_m : float
        Length of its correlation exp(-(r / l)^2).
    gap_m : float
        Distance between neighbouring screens.
    step_m : float
        Step of the grid, whose angles the light may have.
    wavelength_m : float
        Wavelength at the first frequency.

    Returns
    -------
    float
        Modulus of the correlation, from 0 to 1.

    Notes
    -----
    The mean over layers, for light that comes along the axis: ``exp(-K s^2 d^2 / 2)`` of the screens, and of the gaps
    the mean of exp(i phase) over the angles that the light takes from screen to screen. Behind a screen the product of
    two fields has the correlation exp(-s^2 (1 - exp(-(r / l)^2))) of its transmittance, the space is a product for each
    angle.
    """
    if not relative_shift:
        return 1.0
    axis = np.minimum(np.arange(_SIDE), _SIDE - np.arange(_SIDE)) * step_m
    alike = np.zeros(_SIDE)
    alike[0] = 1.0
    if correlation_length_m:
        alike = elementary.exp(-np.square(axis / correlation_length_m))
    variance = phase_std_rad * phase_std_rad
    passed = elementary.exp(-variance * (1 - alike[:, None] * alike[None, :])).astype(np.complex128)
    numbers = axial_wave_numbers((_SIDE, _SIDE), step_m=step_m, wavelength_m=wavelength_m / (1 + relative_shift))
    numbers -= axial_wave_numbers((_SIDE, _SIDE), step_m=step_m, wavelength_m=wavelength_m)
    turned = elementary.phasors(gap_m * numbers)
    field = passed
    for _ in range(n_screens - 1):
        field = passed * fourier.transform(fourier.transform(field, (0, 1)) * turned, (0, 1), inverse=True)
    screens = float(elementary.exp(-0.5 * n_screens * variance * relative_shift * relative_shift))
    # Rounded: that of a transform in double precision may depend on the machine in its last bits.
    return round(min(1.0, abs(complex(field[0, 0])) * screens), 9)


@lru_cache(maxsize=8)
def delays(parts: int) -> np.ndarray:
    """Return the delays of one of several parts of a diffusive slab, as quantiles of their law.

    Parameters
    ----------
    parts : int
        How many independent parts make the delay of the slab.

    Returns
    -------
    ndarray of float64, shape (16385,)
        In units of L^2 / D: quantiles of the probabilities 0, 1/16384, ... 1, read-only. Their sum over all parts has
        the mean of exp(-i w t) = z / sinh z with z^2 = i w L^2 / D.

    Notes
    -----
    z / sinh z is the product of 1 / (1 + z^2 / (n pi)^2) over n: the delay of a slab is a sum of exponential numbers,
    of the means L^2 / (D n^2 pi^2), and each part is a sum of gamma numbers of the shape 1 / parts. Densities are the
    Fourier transform of the root of z / sinh z.
    """
    # |z / sinh z| falls as exp(-sqrt(w / 2)), its root by the exponent over the number of parts.
    highest = 2 * (parts * _LEAST) ** 2
    n = 1 << max(12, math.ceil(highest * _LONGEST / (2 * math.pi))).bit_length()
    root = np.sqrt(math.pi / _LONGEST * np.arange(1, n + 1))  # of w / 2; z is (1 + i) times it
    inside = 1 - elementary.multiply(
        elementary.exp(-2 * root).astype(np.complex128), elementary.phasors(-2 * root)
    )  # 1 - exp(-2 z)
    modulus = elementary.log(2 * math.sqrt(2) * root) - root - 0.5 * elementary.log(elementary.square_modulus(inside))
    phase = math.pi / 4 - root - elementary.angle(inside)
    spectrum = np.ones(n + 1, dtype=np.complex128)
    spectrum[1:] = elementary.exp(modulus / parts) * elementary.phasors(phase / parts)
    # The mean of exp(-i w t) goes in as it is: the inverse transform has exp(+i w t).
    density = np.maximum(fourier.irfft2(spectrum[None], 2 * n)[0], 0.0)
    below = np.cumsum(density)
    below /= below[-1]
    step = _LONGEST / (2 * n)
    chance = np.arange(_QUANTILES + 1) / _QUANTILES
    chance[-1] = 1 - 0.1 / _QUANTILES  # the end of the law is far beyond what the last part of it stands for
    found = np.interp(chance, below, step * (np.arange(2 * n) + 0.5))
    # Rounded: what the last bits of such a transform are may depend on the machine.
    result: np.ndarray = np.round(found, 9)
    result.setflags(write=False)
    return result


@lru_cache(maxsize=8)
def mean_delay(parts: int) -> float:
    """Return the mean of the `delays` of one part, in units of L^2 / D: 1 / (6 parts), but for their rounding.

    Parameters
    ----------
    parts : int
        How many independent parts make the delay of the slab.

    Returns
    -------
    float
        The mean.
    """
    of_parts = delays(parts)
    return float(np.mean((of_parts[1:] + of_parts[:-1]) / 2))
