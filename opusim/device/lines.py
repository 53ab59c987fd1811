"""The line of a laser as a few frequencies, whose intensities add up in a frame."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from opusim.base import elementary

if TYPE_CHECKING:
    from .medium.base import Medium

__all__ = [
    "GAUSSIAN",
    "LIGHT_SPEED_M_PER_S",
    "LINES",
    "LORENTZIAN",
    "MOST_LINES",
    "line_contrast",
    "spectral_lines",
    "spectral_width",
    "stepped_shift",
]

LIGHT_SPEED_M_PER_S = 299_792_458.0
GAUSSIAN, LORENTZIAN = "gaussian", "lorentzian"
LINES = (GAUSSIAN, LORENTZIAN)
"""Laws of a line."""

MOST_LINES = 64
"""Most frequencies that stand for a line."""

# By how much the contrast that they leave may be another one, by the closed form: what is seen is within .03 of that.
_CONTRAST = 0.01
# Least correlation of the fields at a shift and at the next one that is computed.
_ALIKE = 0.99995
_FINE = 2000  # parts of a line on which its contrast is taken
_TABLE, _WIDEST = 129, 40.0  # of the correlation, in widths of it
_LEAST_SHIFT, _LARGEST_SHIFT = 2.0**-40, 2.0**-3
_WIDTH_OF_NORMAL = 2 * math.sqrt(2 * 0.6931471805599453)  # full width at half maximum over standard deviation


def _parts(law: str, n: int) -> np.ndarray:
    """Middles of n equal parts of a line by its power, in full widths at half maximum: float64 (n,), rising."""
    chance = (np.arange(n) + 0.5) / n
    if law == GAUSSIAN:
        from statistics import NormalDist  # which loads much, for what few devices have

        normal = NormalDist()
        found = np.array([normal.inv_cdf(float(p)) for p in chance]) / _WIDTH_OF_NORMAL
    else:
        angle = math.pi * (chance - 0.5)
        found = elementary.sin(angle) / elementary.cos(angle) / 2
    # Rounded, and symmetrical: the logarithm behind the first is the C library's.
    half: np.ndarray = np.round((found - found[::-1]) / 2, 9)
    return half


@lru_cache(maxsize=256)
def _correlations(medium: Medium, wavelength_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Relative shifts, rising from 0, and the correlation of intensities at each; its width is that of one half."""
    width = _LEAST_SHIFT
    while width < _LARGEST_SHIFT and medium.spectral_correlation(width, wavelength_m) ** 2 > 0.5:
        width *= 2
    shifts = np.minimum(width * _WIDEST * (np.arange(_TABLE) / (_TABLE - 1)) ** 2, _LARGEST_SHIFT)
    return shifts, np.array([medium.spectral_correlation(float(d), wavelength_m) ** 2 for d in shifts])


def _correlation(medium: Medium, wavelength_m: float, shifts: np.ndarray) -> np.ndarray:
    known, values = _correlations(medium, wavelength_m)
    return np.interp(np.abs(shifts), known, values)


def spectral_width(medium: Medium, wavelength_m: float) -> float:
    """Return the relative shift of the frequency at which half of the correlation of intensities is left.

    Parameters
    ----------
    medium : Medium
        What scatters the light.
    wavelength_m : float
        Its wavelength in metres.

    Returns
    -------
    float
        To one per cent; `inf` for a medium that keeps more than half over an eighth of the frequency.
    """
    low, high = _LEAST_SHIFT, _LARGEST_SHIFT
    if medium.spectral_correlation(high, wavelength_m) ** 2 > 0.5:
        return math.inf
    while high > 1.01 * low:
        middle = math.sqrt(low * high)
        if medium.spectral_correlation(middle, wavelength_m) ** 2 > 0.5:
            low = middle
        else:
            high = middle
    return high


def stepped_shift(medium: Medium, wavelength_m: float, relative_shift: float) -> float:
    """Return the nearest of the shifts at which the medium is computed.

    Parameters
    ----------
    medium : Medium
        One that changes with the frequency.
    wavelength_m : float
        Wavelength in metres.
    relative_shift : float
        Shift of the frequency over it.

    Returns
    -------
    float
        A multiple of the largest power of two by which the fields of neighbours correlate by .99995 or more; what a
        bench leaves out by taking it is below .5 % of the mean light.
    """
    step = _step(medium, wavelength_m)
    return round(relative_shift / step) * step


@lru_cache(maxsize=256)
def _step(medium: Medium, wavelength_m: float) -> float:
    step = _LARGEST_SHIFT
    while step > _LEAST_SHIFT and medium.spectral_correlation(step, wavelength_m) < _ALIKE:
        step /= 2
    return step


def line_contrast(medium: Medium, wavelength_m: float, linewidth_hz: float, law: str) -> float:
    """Return the contrast that the line of a laser leaves of speckle.

    Parameters
    ----------
    medium : Medium
        What scatters the light.
    wavelength_m : float
        Its wavelength in metres.
    linewidth_hz : float
        Full width of the line at half of its maximum, in hertz.
    law : {"gaussian", "lorentzian"}
        Shape of the line.

    Returns
    -------
    float
        From 0 to 1: the root of the integral of the line's autocorrelation times the correlation of intensities at
        two frequencies (Goodman, Speckle Phenomena in Optics, 2nd ed., section 6.3).

    Notes
    -----
    The autocorrelation of a Gaussian line is one of sqrt(2) times the width, that of a Lorentzian line one of twice
    the width. A stack of screens has its correlation over all angles; light about the axis is more alike, and its
    contrast up to .03 higher.
    """
    if not linewidth_hz or not medium.disperses:
        return 1.0
    wider = math.sqrt(2) if law == GAUSSIAN else 2.0
    shifts = _parts(law, _FINE) * (wider * _relative(linewidth_hz, wavelength_m))
    return math.sqrt(float(np.mean(_correlation(medium, wavelength_m, shifts))))


def _relative(linewidth_hz: float, wavelength_m: float) -> float:
    return linewidth_hz * wavelength_m / LIGHT_SPEED_M_PER_S


@lru_cache(maxsize=256)
def spectral_lines(medium: Medium, wavelength_m: float, linewidth_hz: float, law: str) -> tuple[float, ...]:
    """Return the frequencies that stand for the line of a laser, as relative shifts; all have the same power.

    Parameters
    ----------
    medium : Medium
        What scatters the light.
    wavelength_m : float
        Its wavelength in metres.
    linewidth_hz : float
        Full width of the line at half of its maximum, in hertz; 0 for one frequency.
    law : {"gaussian", "lorentzian"}
        Shape of the line.

    Returns
    -------
    tuple of float
        Middles of equal parts of the line: as few as leave the contrast of the whole line (`line_contrast`) to .01,
        by the medium's closed form. What a camera sees of it is within .03 (docs/physics.md, section 3).

    Raises
    ------
    ValueError
        If that takes more than 64.
    """
    if not linewidth_hz or not medium.disperses:
        return (0.0,)
    wanted = line_contrast(medium, wavelength_m, linewidth_hz, law)
    width = _relative(linewidth_hz, wavelength_m)
    for n in range(1, MOST_LINES + 1):
        shifts = _parts(law, n) * width
        left = math.sqrt(float(np.mean(_correlation(medium, wavelength_m, shifts[:, None] - shifts))))
        if abs(left - wanted) <= _CONTRAST:
            return tuple(round(float(d), 18) for d in shifts)
    raise ValueError(
        f"laser.linewidth_hz is {linewidth_hz!r}, which would leave speckle a contrast of {wanted:.3g} behind this "
        f"medium, but a frame is the sum of {MOST_LINES} frequencies at most, which leave {left:.3g}: the line must be "
        f"narrower, or the medium thinner."
    )
