"""The laser: power on the mirrors, its noise from frame to frame and its slow drift."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from opusim.base import elementary, rng
from opusim.base.parameters import Stage, parameter
from opusim.base.user_arrays import checked_array

PLANCK_J_S = 6.62607015e-34
LIGHT_SPEED_M_PER_S = 299_792_458.0

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
        Bandwidth B of that noise: white up to about B, so that an exposure long against 1 / (2 B) averages it and
        frames less than that apart share it. 0: `power_noise` is that of each exposure whatever its length, and new in
        every frame. DPSS lasers are noisy up to their relaxation oscillations (docs/physics.md section 3).
    power_drift_per_hour : float
        Root mean square of the relative change of power over one hour.
    """

    stage: ClassVar[str] = "laser"

    wavelength_m: float = parameter(532e-9, low=100e-9, high=20e-6, unit="m", shown="nm")
    power_w: float = parameter(10e-3, low=0.0, high=1e3, unit="W", shown="mW", learnable="scale")
    power_noise: float = parameter(
        0.0, low=0.0, high=0.5, shown="%", off=0.0, imperfection="laser power noise", source="laser power",
        learnable="odds",
    )  # fmt: skip
    power_noise_bandwidth_hz: float = parameter(0.0, low=0.0, high=1e9, unit="Hz", before=0.0)
    power_drift_per_hour: float = parameter(
        0.0, low=0.0, high=0.5, unit="per hour", shown="% per hour", off=0.0, imperfection="laser power drift"
    )

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
            `power_noise` without a bandwidth. With one, for an exposure T and h = 1 / (2 B): `power_noise` times the
            root of 1 - T / (3 h) where T <= h, and of (h / T) (1 - h / (3 T)) above.

        Notes
        -----
        The variance of a mean is that of the noise times the mean of its correlation over pairs of moments, here of
        the triangle max(0, 1 - |t - t'| / h); see `relative_power`.
        """
        length = 2 * self.power_noise_bandwidth_hz * exposure_s  # T / h
        share = 1 - length / 3 if length <= 1 else (1 - 1 / (3 * length)) / length
        return self.power_noise * math.sqrt(share)

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
            0 without a bandwidth, and from L = T + h on, h being 1 / (2 B).

        Notes
        -----
        The covariance is the mean of the triangle of `power_noise_in` over one moment of each exposure:
        [(T + h - L)^3 - 2 (h - L)^3 + (h - T - L)^3] / (6 T^2 h) times the variance of the power, where a bracket below
        zero counts as zero.
        """
        length, lag = 2 * self.power_noise_bandwidth_hz * exposure_s, 2 * self.power_noise_bandwidth_hz * lag_s
        if not self.power_noise_bandwidth_hz or lag >= 1 + length:
            return 0.0
        if length < 1e-5:  # the sum below would be lost in rounding; two moments
            return max(0.0, 1 - lag)
        cubes = (max(0.0, 1 + length - lag), max(0.0, 1 - lag), max(0.0, 1 - length - lag))
        covariance = (cubes[0] ** 3 - 2 * cubes[1] ** 3 + cubes[2] ** 3) / (6 * length * length)
        return covariance / (1 - length / 3 if length <= 1 else (1 - 1 / (3 * length)) / length)

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
            from .drift_kernels import sum_swings

            sum_swings(np.ascontiguousarray(times_s), *_drift_series(self.power_drift_per_hour, seed), power)
        if self.power_noise and self.power_noise_bandwidth_hz and len(power):
            power *= 1 + self.power_noise * self._mean_noise(frames, times_s, seed, exposure_s)
        elif self.power_noise and len(power):
            from opusim.base.rng_kernels import normals_between  # numba, where it is needed

            frames = np.asarray(frames, dtype=np.int64)
            first = int(frames.min())
            noise = normals_between(rng.key_of(seed, "laser noise"), first, int(frames.max()) + 1)
            power *= 1 + self.power_noise * noise[frames - first].astype(np.float64)
        return np.maximum(power, 0.0)

    def _mean_noise(self, frames: np.ndarray, times_s: np.ndarray, seed: int, exposure_s: float) -> np.ndarray:
        """Mean of noise of the variance 1 over exposures; see `relative_power`."""
        from .power_noise_kernels import mean_noise  # numba, where it is needed

        out = np.empty(len(times_s))
        mean_noise(
            np.ascontiguousarray(times_s), np.ascontiguousarray(frames, dtype=np.int64),
            2 * self.power_noise_bandwidth_hz, float(exposure_s), _cells_origin(seed),
            *rng.key_of(seed, "laser noise cells"), *rng.key_of(seed, "laser noise"), out,
        )  # fmt: skip
        return out


@lru_cache(maxsize=16)
def _cells_origin(seed: int) -> float:
    """Where within a cell of the noise time begins, from 0 to 1."""
    return float(rng.uniforms(rng.key_of(seed, "laser noise origin"), 1)[0])


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
