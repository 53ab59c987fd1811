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
        Standard deviation of the relative power from frame to frame (relative intensity noise
        integrated over an exposure). DPSS lasers: .001 to .005 (docs/physics.md section 3).
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

    def relative_power(self, frames: np.ndarray, times_s: np.ndarray, *, seed: int) -> np.ndarray:
        """Power of each frame divided by the mean power.

        Parameters
        ----------
        frames : ndarray of int64, shape (n,)
            Frame numbers; the noise of a frame depends on (seed, frame number) alone.
        times_s : ndarray of float64, shape (n,)
            Device time of each frame in seconds; the drift is a Fourier series in it.
        seed : int
            Seed of the device.

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
        if self.power_noise and len(power):
            from opusim.base.rng_kernels import normals_between  # numba, where it is needed

            frames = np.asarray(frames, dtype=np.int64)
            first = int(frames.min())
            noise = normals_between(rng.key_of(seed, "laser noise"), first, int(frames.max()) + 1)
            power *= 1 + self.power_noise * noise[frames - first].astype(np.float64)
        return np.maximum(power, 0.0)


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
