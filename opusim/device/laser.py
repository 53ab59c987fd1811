"""The laser: power on the mirrors, its noise from frame to frame and its slow drift."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import ClassVar

import numpy as np

from opusim.base import elementary, rng
from opusim.base.parameters import Stage, parameter
from opusim.base.user_arrays import checked_array

from .lines import GAUSSIAN, LIGHT_SPEED_M_PER_S, LINES

PLANCK_J_S = 6.62607015e-34

# Periods of the drift's Fourier series: from ten minutes (air conditioning) to four days.
_SHORTEST_S, _LONGEST_S, _N_PERIODS = 600.0, 4 * 86400.0, 16
_DOUBLE, _WHOLE = np.dtype(np.float64), np.dtype(np.int64)


@dataclass(frozen=True)
class Laser(Stage):
    """A continuous-wave laser that lights the mirrors.

    Parameters
    ----------
    wavelength_m : float
        Vacuum wavelength in metres.
    power_w : float
        Mean power that falls on the mirror array, in watts.
    power_noise : float
        Standard deviation of the relative power: of the power itself where the noise has a bandwidth, of the mean over
        one exposure where it has none. DPSS lasers: .001 to .005 (docs/physics.md section 3).
    power_noise_bandwidth_hz : float
        Noise-equivalent bandwidth B of it; the correlation falls as ``exp(-4 B |t|)``: an exposure long against
        1 / (4 B) averages it and frames less than that apart share it. 0: `power_noise` is that of each exposure
        whatever its length, and new in every frame. DPSS lasers are noisy up to their relaxation oscillations
        (docs/physics.md section 3).
    power_drift_per_hour : float
        Root mean square of the relative change of power over one hour.
    linewidth_hz : float
        Full width of the line at half of its maximum, in hertz; 0 for one frequency. A frame is the mean of the
        intensities over the line: where the medium changes with the frequency (`Medium.disperses`), speckle loses
        contrast (``opusim.device.lines``). It is taken as fast against an exposure. What the path lengths of the arms
        leave of the fringes is `Reference.coherence`, whatever the line.
    line : {"gaussian", "lorentzian"}
        Shape of the line.
    tuning_range_hz : float
        By how much the frequency can be tuned to either side (`OpticalBench.tune`); 0 for a laser that cannot.
    """

    stage: ClassVar[str] = "laser"

    wavelength_m: float = parameter(532e-9, low=100e-9, high=20e-6, unit="m", shown="nm")
    power_w: float = parameter(10e-3, low=0.0, high=1e3, unit="W", shown="mW", learnable="scale")
    power_noise: float = parameter(
        0.0, low=0.0, high=0.5, shown="%", off=0.0, imperfection="laser power noise", source="laser power",
        learnable="odds",
    )  # fmt: skip
    power_noise_bandwidth_hz: float = parameter(0.0, low=0.0, high=1e9, unit="Hz", shown="kHz", before=0.0)
    power_drift_per_hour: float = parameter(
        0.0, low=0.0, high=0.5, unit="per hour", shown="% per hour", off=0.0, imperfection="laser power drift"
    )
    linewidth_hz: float = parameter(
        0.0, low=0.0, high=1e14, unit="Hz", shown="GHz", off=0.0, imperfection="linewidth", before=0.0
    )
    line: str = parameter(GAUSSIAN, kind="choice", choices=LINES, before=GAUSSIAN)
    tuning_range_hz: float = parameter(0.0, low=0.0, high=1e13, unit="Hz", shown="GHz", before=0.0)

    @property
    def frequency_hz(self) -> float:
        """Optical frequency, c / wavelength, in hertz."""
        return LIGHT_SPEED_M_PER_S / self.wavelength_m

    @property
    def photon_energy_j(self) -> float:
        """Energy of one photon, h c / wavelength, in joules."""
        return PLANCK_J_S * LIGHT_SPEED_M_PER_S / self.wavelength_m

    def photons(self, exposure_s: float) -> float:
        """Return the mean number of photons that fall on the mirror array in one exposure.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Photons.
        """
        return self.power_w * exposure_s / self.photon_energy_j

    def power_noise_in(self, exposure_s: float) -> float:
        """Return the standard deviation of the relative power's mean over an exposure.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds, at least 0.

        Returns
        -------
        float
            `power_noise` without a bandwidth. With one, for an exposure T and x = 4 B T: `power_noise` times the root
            of 2 (x - 1 + exp(-x)) / x^2.

        Notes
        -----
        The variance of a mean is that of the noise times the mean of its correlation over pairs of moments, here of
        ``exp(-4 B |t - t'|)``; see `relative_power`.
        """
        return self.power_noise * math.sqrt(_means(4 * self.power_noise_bandwidth_hz * exposure_s)[1])

    def power_noise_correlation(self, exposure_s: float, lag_s: float) -> float:
        """Return the correlation of the noise of two exposures.

        Parameters
        ----------
        exposure_s : float
            Length T of both in seconds.
        lag_s : float
            Time L from the start of one to the start of the other in seconds; they do not overlap: at least T.

        Returns
        -------
        float
            0 without a bandwidth.

        Notes
        -----
        The covariance is the mean of the correlation of `power_noise_in` over one moment of each exposure:
        exp(-4 B (L - T)) [(1 - exp(-x)) / x]^2 with x = 4 B T, times the variance of the power.
        """
        rate_hz = 4 * self.power_noise_bandwidth_hz
        if not rate_hz:
            return 0.0
        one, two = _means(rate_hz * exposure_s)
        return float(elementary.exp(-rate_hz * max(0.0, lag_s - exposure_s))) * one * one / two

    def relative_power(
        self, frames: np.ndarray, times_s: np.ndarray, *, seed: int, exposure_s: float = 0.0
    ) -> np.ndarray:  # fmt: skip
        """Power of each frame divided by the mean power.

        Parameters
        ----------
        frames : ndarray of int64, shape (n,)
            Frame numbers; the noise of a frame depends on (seed, frame number) alone, or, with a bandwidth, on seed,
            frame number, time and exposure.
        times_s : ndarray of float64, shape (n,)
            Device time of each frame in seconds, at which its exposure begins; the drift is a Fourier series in it.
        seed : int
            Seed of the device.
        exposure_s : float, optional
            Exposure in seconds, over which noise that has a bandwidth is averaged; 0 for the power at that moment.

        Returns
        -------
        ndarray of float64, shape (n,)
            Relative power, never below zero.

        Notes
        -----
        Noise with a bandwidth B jumps at the moments of a Poisson process, 4 B times a second on average, and keeps a
        normal value between them. It correlates as ``exp(-4 B |t|)``, its spectrum 1 / (1 + (pi f / (2 B))^2), which
        falls to one half at 2 B / pi and has the equivalent width B. A frame's mean is known without those before it
        (`power_noise_kernels`). The process is stationary: frames have the same law wherever their times fall. Times
        are doubles; beyond 2^53 / (4 B) seconds, 26 days at the highest bandwidth of 1 GHz, they do not tell jumps
        apart, and what is lost is how much frames share that are less than the clock's step apart.

        The drift is sum_m a_m (cos(w_m t + p_m) - cos p_m), zero at t = 0, with random phases p_m. The
        amplitudes grow as the square root of the period, as in a random walk, so that the drift goes on for days:
        E[(x(t + T) - x(t))^2] = sum_m a_m^2 (1 - cos w_m T) is about proportional to T between ten minutes and a
        day. They are scaled so that it is the square of `power_drift_per_hour` for an hour.
        """
        # A bench asks for each call: what is plainly right costs next to nothing.
        if type(times_s) is not np.ndarray or times_s.dtype != _DOUBLE:
            times_s = checked_array("times_s", times_s, dtype=np.float64)
        if type(frames) is not np.ndarray or frames.dtype != _WHOLE:
            frames = checked_array("frames", frames, kinds="iu")
        power = np.ones(len(times_s))
        if self.power_drift_per_hour:
            _kernels()[0](np.ascontiguousarray(times_s), *_drift_series(self.power_drift_per_hour, seed), power)
        if self.power_noise and self.power_noise_bandwidth_hz and len(power):
            power *= 1 + self.power_noise * self._mean_noise(frames, times_s, seed, exposure_s)
        elif self.power_noise and len(power):
            frames = np.asarray(frames, dtype=np.int64)
            alone = len(frames) == 1  # as in a loop over single vectors
            first, last = (int(frames[0]),) * 2 if alone else (int(frames.min()), int(frames.max()))
            noise = _kernels()[1](rng.key_of(seed, "laser noise"), first, last + 1)
            power *= 1 + self.power_noise * (noise if alone else noise[frames - first]).astype(np.float64)
        return np.maximum(power, 0.0)

    def _mean_noise(self, frames: np.ndarray, times_s: np.ndarray, seed: int, exposure_s: float) -> np.ndarray:
        """Mean of noise of the variance 1 over exposures; see `relative_power`."""
        from .power_noise_kernels import mean_noise  # numba, where it is needed

        out = np.empty(len(times_s))
        mean_noise(
            np.ascontiguousarray(times_s), np.ascontiguousarray(frames, dtype=np.int64),
            4 * self.power_noise_bandwidth_hz, float(exposure_s), *rng.key_of(seed, "laser noise jumps"),
            *rng.key_of(seed, "laser noise values"), *rng.key_of(seed, "laser noise"), out,
        )  # fmt: skip
        return out


def _means(x: float) -> tuple[float, float]:
    """Means of exp(-u) over u in an exposure of the length x, and of exp(-|u - v|) over u and v in it.

    They are (1 - exp(-x)) / x and 2 (x - 1 + exp(-x)) / x^2: by series where the differences would be lost in rounding.
    """
    if x > 0.5:
        one = (1 - float(elementary.exp(-x))) / x
        return one, 2 * (1 - one) / x
    one = two = 1.0
    for k in range(14, 0, -1):  # sums of (-x)^k / (k + 1)! and of 2 (-x)^k / (k + 2)!, from k = 0 on, by Horner
        one, two = 1 - x / (k + 1) * one, 1 - x / (k + 2) * two
    return one, two


@cache
def _kernels() -> tuple[Callable[..., None], Callable[..., np.ndarray]]:
    """Return the kernel of the drift and that of the noise; numba is loaded when they are needed."""
    from opusim.base.rng_kernels import normals_between

    from .drift_kernels import sum_swings

    return sum_swings, normals_between


@lru_cache(maxsize=16)
def _drift_series(power_drift_per_hour: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angular frequencies, amplitudes and phases of the drift."""
    from .drift_kernels import sum_swings

    periods_s = elementary.geometric(_SHORTEST_S, _LONGEST_S, _N_PERIODS)
    omega = 2 * np.pi / periods_s
    amplitude = np.sqrt(periods_s)
    # What the squares of the amplitudes give after that time, without the random phases: -sum of a^2 (1 - cos).
    swing = np.zeros(1)
    sum_swings(np.array([3600.0]), omega, amplitude**2, np.zeros(len(omega)), swing)
    amplitude *= power_drift_per_hour / math.sqrt(-swing[0])
    phase = 2 * np.pi * rng.uniforms(rng.key_of(seed, "laser drift"), len(omega))
    return omega, amplitude, phase
