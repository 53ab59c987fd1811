"""Vibration as a sum of sines, and what a moving phase leaves of the fringes of an exposure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from opusim.base import elementary, rng
from opusim.base.short_repr import short_repr

__all__ = ["Lines", "Swings", "bessel_j0", "mean_phasors", "spectrum_lines", "spectrum_variance"]

Array = NDArray[np.float64]
#: Angular frequencies, amplitudes and phases of a drift, as `drift_kernels.sum_swings` takes them.
Swings = tuple[Array, Array, Array]

#: Sines that a power spectral density is made of.
SPECTRUM_LINES = 64

# Gauss's quadrature of order 16 on [-1, 1] (Abramowitz and Stegun, table 25.4), as written there: what computes it goes
# by a library whose last bits depend on the processor.
_HALF_NODES = (
    0.0950125098376374402, 0.2816035507792589132, 0.4580167776572273863, 0.6178762444026437484,
    0.7554044083550030339, 0.8656312023878317439, 0.9445750230732325761, 0.9894009349916499326,
)  # fmt: skip
_HALF_WEIGHTS = (
    0.1894506104550684963, 0.1826034150449235889, 0.1691565193950025382, 0.1495959888165767321,
    0.1246289712555338720, 0.0951585116824927848, 0.0622535239386478929, 0.0271524594117540949,
)  # fmt: skip
_PLACES = 0.5 + 0.5 * np.array([*(-x for x in reversed(_HALF_NODES)), *_HALF_NODES])
_WEIGHTS = 0.5 * np.array([*reversed(_HALF_WEIGHTS), *_HALF_WEIGHTS])
# Most radians by which a phasor may turn in a panel: 16 nodes leave less than 1e-7.
_PANEL_RAD = 4 * math.pi
# The drift's shortest period is twenty seconds: a parabola through three moments of a 64th of a second is right to 1e-9
# of its amplitude.
_SEGMENT_S = 1 / 64
# Sines that a frame may take in all, some milliseconds; and fewest periods of a line that is left to its mean for that.
_MOST_TERMS = 1 << 20
_LEAST_PERIODS = 256


@short_repr
@dataclass(frozen=True, eq=False)
class Lines:
    """Sines whose sum is a phase: a_j sin(2 pi f_j t + p_j).

    Attributes
    ----------
    hz, rad, start : ndarray of float64, shape (n,)
        Frequencies f in hertz, amplitudes a and phases p at the time 0 in radians.
    """

    hz: Array
    rad: Array
    start: Array

    def __len__(self) -> int:
        """Return how many sines there are."""
        return len(self.hz)

    def added(self) -> Lines:
        """Return the same phase as sines of different frequencies.

        Returns
        -------
        Lines
            Those of equal frequency are one, the sum of their phasors a exp(i p), in the place of the first. What has
            no equal stays as it is, to the bit; a sum that leaves nothing is left out.
        """
        alike: dict[float, list[int]] = {}
        for index, hz in enumerate(self.hz.tolist()):
            alike.setdefault(hz, []).append(index)
        if len(alike) == len(self):
            return self
        sines = []
        for hz, places in alike.items():
            rad, start = float(self.rad[places[0]]), float(self.start[places[0]])
            if len(places) > 1:
                x = float((self.rad[places] * elementary.cos(self.start[places])).sum())
                y = float((self.rad[places] * elementary.sin(self.start[places])).sum())
                rad, start = math.sqrt(x * x + y * y), float(elementary.angle(np.array([complex(x, y)]))[0])
            if rad:
                sines.append((hz, rad, start))
        return Lines(*np.array(sines, dtype=np.float64).reshape(-1, 3).T.copy())


def bessel_j0(x: float) -> float:
    """Return the Bessel function J0, the mean of cos(x sin t) over a turn, with the same bits on every machine.

    Parameters
    ----------
    x : float
        Of any size; more points are taken above 200.

    Returns
    -------
    float
        To 1e-15: the trapezoidal rule on n points of a turn leaves 2 J_n(x).
    """
    n = 256 * max(1, math.ceil(abs(x) / 200))
    return float(elementary.cos(x * elementary.sin(2 * np.pi / n * np.arange(n))).mean())


def mean_phasors(
    times_s: Array, exposure_s: float, lines: Lines, drift: Swings | None = None
) -> NDArray[np.complex128]:
    """Return the means of exp(i (drift(t) + vibration(t))) over exposures.

    Parameters
    ----------
    times_s : ndarray of float64, shape (n,)
        Starts of the exposures in seconds.
    exposure_s : float
        Their length in seconds.
    lines : Lines
        The vibration.
    drift : tuple of ndarray, optional
        The drift; none by default.

    Returns
    -------
    ndarray of complex128, shape (n,)
        Numbers of a modulus of at most 1.

    Notes
    -----
    Gauss's quadrature in panels in which the phasor turns by at most two turns: right to 1e-7. A frame takes 2^20 terms
    at most, some milliseconds. Beyond, the fastest lines are left to their mean over whole periods, the factor J0(a),
    which is wrong by at most 2 |J1(a)| / (pi f T); none of fewer than 256 periods in an exposure T is.
    """
    from .vibration_kernels import fill_mean_phasors

    swings = (np.zeros(0),) * 3 if drift is None else drift
    kept, factor, panels, segments = _quadrature(
        lines.hz.tobytes(), lines.rad.tobytes(), exposure_s, float((np.abs(swings[1]) * swings[0]).sum()),
        drift is not None,
    )  # fmt: skip
    parts = np.empty((len(times_s), 2))
    fill_mean_phasors(
        times_s, exposure_s / panels, panels, segments, lines.hz[kept], lines.rad[kept], lines.start[kept], *swings,
        _PLACES, _WEIGHTS, parts,
    )  # fmt: skip
    parts *= factor
    result: NDArray[np.complex128] = parts.view(np.complex128)[:, 0]
    return result


@lru_cache(maxsize=64)
def _quadrature(
    hz_bytes: bytes, rad_bytes: bytes, exposure_s: float, drift_rad_per_s: float, drifts: bool
) -> tuple[NDArray[np.intp], float, int, int]:
    """Lines that are followed, the factor of the others, panels and segments of an exposure."""
    hz, rad = np.frombuffer(hz_bytes), np.frombuffer(rad_bytes)
    order = np.argsort(hz, kind="stable")
    segments = max(1, math.ceil(exposure_s / _SEGMENT_S)) if drifts else 1
    n = len(order)
    while True:
        slower = order[:n]
        rate = drift_rad_per_s
        if n:
            rate += 2 * np.pi * float(hz[slower[-1]] + (np.abs(rad[slower]) * hz[slower]).sum())
        panels = segments * max(1, math.ceil(rate * exposure_s / _PANEL_RAD / segments))
        terms = panels * len(_PLACES) * (n + 2)
        if not n or terms <= _MOST_TERMS or hz[slower[-1]] * exposure_s < _LEAST_PERIODS:
            break
        n -= 1
    factor = math.prod(bessel_j0(float(a)) for a in rad[order[n:]])
    return np.sort(slower), factor, panels, segments


# ---------------------------------------------------------------- a spectrum


def spectrum_lines(hz: tuple[float, ...], rad2_per_hz: tuple[float, ...], seed: int) -> Lines:
    """Return sines of random phases whose power is that of a one-sided power spectral density.

    Parameters
    ----------
    hz : tuple of float
        Frequencies in hertz, rising.
    rad2_per_hz : tuple of float
        The density there; a straight line between two of them where both scales are logarithmic, and nothing outside.
    seed : int
        Seed of the device.

    Returns
    -------
    Lines
        `SPECTRUM_LINES` of them: sum of a^2 / 2 is the integral of the density.

    Notes
    -----
    The band is cut into cells, half of whose ends go by the power and half by the logarithm of the frequency: what is
    high gets many of them, and what is low is not left out. The line of a cell has all of its power, and stands where
    the seed says, with the chance that the density has there: over seeds the spectrum is that which was asked for.
    """
    f, s, wide, slope = _segments(hz, rad2_per_hz)
    power = np.concatenate([[0.0], np.cumsum(_power(f[:-1] * s[:-1], slope, wide))])
    whole = power[-1]
    octaves = np.concatenate([[0.0], np.cumsum(wide)])

    def power_at(x: Array) -> Array:
        """Power up to a place on the logarithmic scale."""
        k = np.clip(np.searchsorted(octaves, x, side="right") - 1, 0, len(wide) - 1)
        # Rounded, the power of a part of a segment may be above that of all of it.
        return np.minimum(power[k] + _power((f * s)[k], slope[k], x - octaves[k]), whole)

    def place_of(share: Array, by_power: float) -> Array:
        """Place at which this share of the power, and of the scale, has come; by halving."""
        low, high = np.zeros(len(share)), np.full(len(share), octaves[-1])
        for _ in range(60):
            middle = (low + high) / 2
            come = by_power * power_at(middle) / whole + (1 - by_power) * middle / octaves[-1]
            low, high = np.where(come < share, middle, low), np.where(come < share, high, middle)
        return (low + high) / 2

    edges = place_of(np.arange(1, SPECTRUM_LINES) / SPECTRUM_LINES, 0.5)
    # Where nearly all power has come, what is added is below rounding, which may make an end come before the last one.
    ends = np.maximum.accumulate(np.concatenate([[0.0], power_at(edges), [whole]]))
    drawn = rng.uniforms(rng.key_of(seed, "reference vibration spectrum"), 2 * SPECTRUM_LINES).reshape(2, -1)
    within = place_of((ends[:-1] + drawn[0] * np.diff(ends)) / whole, 1.0)
    return Lines(f[0] * elementary.exp(within), np.sqrt(2 * np.diff(ends)), 2 * np.pi * drawn[1])


def spectrum_variance(hz: tuple[float, ...], rad2_per_hz: tuple[float, ...]) -> float:
    """Return the integral of a power spectral density.

    Parameters
    ----------
    hz, rad2_per_hz : tuple of float
        As for `spectrum_lines`.

    Returns
    -------
    float
        Variance of the phase in square radians.
    """
    f, s, wide, slope = _segments(hz, rad2_per_hz)
    return float(_power(f[:-1] * s[:-1], slope, wide).sum())


def _segments(hz: tuple[float, ...], rad2_per_hz: tuple[float, ...]) -> tuple[Array, Array, Array, Array]:
    """Frequencies, densities, widths on the scale of ln f, and powers of the frequency between them."""
    f, s = np.array(hz, dtype=np.float64), np.array(rad2_per_hz, dtype=np.float64)
    wide = elementary.log(f[1:] / f[:-1])
    return f, s, wide, elementary.log(s[1:] / s[:-1]) / wide


def _power(first: Array, slope: Array, width: Array) -> Array:
    """Integral of s (f / f1)^slope from f1 on over a width of ln f, with first = f1 s."""
    x = (slope + 1) * width
    small = np.abs(x) < 1e-2
    series = 1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x / 720))))
    grown = (elementary.exp(x) - 1) / np.where(small, 1.0, x)
    return np.asarray(first * width * np.where(small, series, grown))
