"""The digital micromirror device: binary mirrors in, a complex field out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from opusim.base import elementary, rng, validation
from opusim.base.parameters import parameter
from opusim.base.user_arrays import checked_array

from . import lattice as lattices
from . import mirror_motion
from .modulator import Modulator

# Of mirrors that move: their light is summed with weights, which nearly equal states leave without digits.
_LEAST_CONTRAST = 1.01


@dataclass(frozen=True)
class Dmd(Modulator):
    """A micromirror array lit by a Gaussian beam.

    Parameters
    ----------
    name : str
        Part name.
    shape : tuple of int
        Mirrors as (rows, columns).
    pitch_m : float
        Distance of neighbouring mirrors in metres, and width of a mirror's cell, on either lattice.
    contrast_ratio : float
        Full-on to full-off intensity ratio; an off mirror still sends the amplitude 1/sqrt(contrast_ratio).
    efficiency : float
        Share of the light on the array that leaves it in the order used, all mirrors on
        (fill factor x mirror x diffraction x window).
    frame_rate_hz : float
        Highest rate of binary patterns.
    beam_radius_m : float
        Radius at which the beam's intensity is 1/e^2 of its centre; `inf` for even lighting.
    aberration_rms_rad : float
        Root mean square of the static low-order wavefront error over the array, in radians.
    stuck_on_fraction, stuck_off_fraction : float
        Share of mirrors that never leave the state.
    lattice : {"square", "diamond"}
        How mirrors stand. "diamond": on their corners. Along the first axis they are sqrt(2) pitches apart; along the
        second one each line follows the last at half of that, and is shifted by half of sqrt(2) pitches along the
        first. So each mirror has four neighbours at one pitch, and a cell of pitch^2, as on a square lattice.
        Rows and columns of patterns, layouts and figures are indices on either one.
    warm_up_loss : float
        Share of the speckle's correlation with that of the cold array which is lost while the array warms up: .013 for
        a DMD without cooling (docs/physics.md section 3). The window bends: a smooth wavefront that grows with time. A
        bench begins cold; 0: warm from the start.
    warm_up_time_s : float
        Time constant of it in seconds: .4 hours.
    creep_per_hour : float
        Loss of correlation per hour that goes on after that, .0018. The correlation is
        ``1 - warm_up_loss (1 - exp(-t / warm_up_time_s)) - creep_per_hour t``, with all mirrors on, and stays at one
        half from where it would fall below.
    vibration_rad : float
        Amplitude of a sinusoidal tilt, as the phase of the outermost mirror along the first axis, in radians: the
        cable shakes the chip. .1 undamped, .02 damped (docs/physics.md section 3). A frame has the mean tilt of its
        exposure (`Operation.exposure_average`); what the light loses by moving meanwhile, a share of
        ``vibration_rad^2 / 6`` at most where it is small, is left out.
    vibration_hz : float
        Frequency of it.
    stated_wavelength_m : float
        Wavelength for which `efficiency` is stated; 0 where that is not said. Light of another one, by more than 5 %,
        is told (`opusim.Device.wavelength_doubts`). It changes no frame.
    """

    stage: ClassVar[str] = "dmd"
    kind: ClassVar[str] = "dmd"
    binary: ClassVar[bool] = True
    elements: ClassVar[str] = "mirrors"

    name: str = parameter(kind="name")
    shape: tuple[int, int] = parameter(kind="shape")
    pitch_m: float = parameter(low=0.1e-6, high=1e-3, unit="m", shown="µm")
    contrast_ratio: float = parameter(
        math.inf, low=1.0, high=math.inf, off=math.inf, imperfection="off-state leakage", source="off-state leakage",
        learnable="scale",
    )  # fmt: skip
    efficiency: float = parameter(0.65, low=0.0, high=1.0, low_open=True, learnable="odds")
    frame_rate_hz: float = parameter(2000.0, low=0.0, high=1e7, low_open=True, unit="Hz")
    beam_radius_m: float = parameter(
        math.inf, low=0.0, high=math.inf, low_open=True, unit="m", off=math.inf, imperfection="uneven beam"
    )
    aberration_rms_rad: float = parameter(0.0, low=0.0, high=100.0, unit="rad", off=0.0, imperfection="aberration")
    stuck_on_fraction: float = parameter(0.0, low=0.0, high=1.0, off=0.0, imperfection="stuck mirrors")
    stuck_off_fraction: float = parameter(0.0, low=0.0, high=1.0, off=0.0, imperfection="stuck mirrors")
    lattice: str = parameter(lattices.SQUARE, kind="choice", choices=lattices.LATTICES, before=lattices.SQUARE)
    warm_up_loss: float = parameter(
        0.0, low=0.0, high=0.5, shown="%", off=0.0, imperfection="mirror warm-up", source="decorrelation", before=0.0
    )
    warm_up_time_s: float = parameter(1440.0, low=0.0, high=1e9, low_open=True, unit="s", before=1440.0)
    creep_per_hour: float = parameter(
        0.0, low=0.0, high=1.0, unit="per hour", shown="% per hour", off=0.0, imperfection="mirror warm-up",
        source="decorrelation", before=0.0,
    )  # fmt: skip
    vibration_rad: float = parameter(
        0.0, low=0.0, high=100.0, unit="rad", off=0.0, imperfection="mirror vibration", source="decorrelation",
        before=0.0,
    )  # fmt: skip
    vibration_hz: float = parameter(100.0, low=0.0, high=1e6, unit="Hz", before=100.0)
    stated_wavelength_m: float = parameter(0.0, low=0.0, high=20e-6, unit="m", shown="nm", before=0.0)

    def _check_together(self) -> None:
        """Check the mirrors that are stuck, and those that move."""
        if self.stuck_on_fraction + self.stuck_off_fraction > 1:
            raise ValueError(
                f"dmd.stuck_on_fraction is {self.stuck_on_fraction!r} and dmd.stuck_off_fraction is "
                f"{self.stuck_off_fraction!r}, but together they must be at most 1."
            )

        if self.moves and self.contrast_ratio < _LEAST_CONTRAST:
            raise ValueError(
                f"dmd.contrast_ratio is {self.contrast_ratio!r}, but of mirrors that warm up or vibrate it must be at "
                f"least {_LEAST_CONTRAST}."
            )

    @property
    def moves(self) -> bool:
        """Whether the light of one pattern is another one from frame to frame: warm-up, creep or vibration."""
        return bool(self.warm_up_loss or self.creep_per_hour or self.vibration_rad)

    @property
    def vibrates(self) -> bool:
        """Whether the cable shakes the mirrors."""
        return bool(self.vibration_rad)

    @property
    def off_amplitude(self) -> float:
        """Amplitude of an off mirror relative to the same mirror on: 1/sqrt(contrast ratio)."""
        return 0.0 if math.isinf(self.contrast_ratio) else 1.0 / math.sqrt(self.contrast_ratio)

    def stuck(self, seed: int) -> np.ndarray:
        """Which mirrors are stuck.

        Parameters
        ----------
        seed : int
            Seed of the device.

        Returns
        -------
        ndarray of int8, shape `shape`, read-only
            For each mirror 1 if it is stuck on, -1 if it is stuck off, 0 if it works.
        """
        return _stuck(self.shape, self.stuck_on_fraction, self.stuck_off_fraction, seed)

    def speckle_correlation(self, times_s: np.ndarray) -> np.ndarray:
        """Return the correlation of the speckle's intensity with that of the cold array, with all mirrors on.

        Parameters
        ----------
        times_s : ndarray of float64, shape (n,)
            Seconds since the array was switched on.

        Returns
        -------
        ndarray of float64, shape (n,)
            Behind a random medium; without the vibration.
        """
        times = checked_array("times_s", times_s, dtype=np.float64)
        return mirror_motion.speckle_correlation(self, times)

    def field_correlation(self, time_s: float, exposure_s: float) -> float:
        """Return the correlation of the field behind a random medium with that of the cold array at rest.

        Parameters
        ----------
        time_s : float
            Seconds since the array was switched on.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            With all mirrors on; the root of that of the intensity, on average over the vibration.
        """
        warm = float(mirror_motion.speckle_correlation(self, np.array([float(time_s)]))[0])
        return math.sqrt(warm * mirror_motion.vibrating_correlation(self, exposure_s))

    def motion_shapes(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the shapes of the phases by which mirrors move.

        Parameters
        ----------
        seed : int
            Seed of the device: which wavefront.

        Returns
        -------
        wavefront : ndarray of float32, shape `shape`, read-only
            Of the warm-up: of mean 0 and standard deviation 1 over the light.
        tilt : ndarray of float32, shape `shape`, read-only
            Of the vibration: 1 at the outermost mirror along the first axis.
        """
        return mirror_motion.warm_up(self, seed).shape.reshape(self.shape), mirror_motion.tilt(self)

    def motion(self, times_s: np.ndarray, exposure_s: float, *, seed: int) -> np.ndarray:
        """Return how much of either shape there is in exposures.

        Parameters
        ----------
        times_s : ndarray of float64, shape (n,)
            Starts of the exposures, in seconds since the array was switched on.
        exposure_s : float
            Their length in seconds; 0 for the moments themselves.
        seed : int
            Seed of the device: where the vibration starts.

        Returns
        -------
        ndarray of float64, shape (n, 2)
            Radians: a mirror's phase is the sum of both, times `motion_shapes`.
        """
        times = checked_array("times_s", times_s, dtype=np.float64)
        exposure_s = validation.number("exposure_s", exposure_s, low=0.0, high=3600.0)
        sizes = mirror_motion.warm_up(self, seed).sizes(mirror_motion.speckle_correlation(self, times))
        return np.stack([sizes, mirror_motion.tilt_rad(self, times, exposure_s, seed)], axis=1)

    def field(self, mirrors: np.ndarray, *, seed: int) -> np.ndarray:
        """Complex field that leaves the mirrors.

        Parameters
        ----------
        mirrors : ndarray of uint8 or bool, shape (..., rows, columns)
            1 for on, 0 for off.
        seed : int
            Seed of the device: which mirrors are stuck, which wavefront error.

        Returns
        -------
        ndarray of complex64, same shape
            Field g [b + eps (1 - b)] exp(i phi) (docs/physics.md section 3), in units in which one mirror that is on
            has the mean intensity 1.
        """
        on, off = _states(self, seed)
        state = checked_array("mirrors", mirrors, "0 and 1, as uint8 or bool", kinds="bu")
        if state.shape[-2:] != self.shape or state.max(initial=0) > 1:
            raise ValueError(
                f"mirrors has shape {state.shape} and values up to {state.max(initial=0)}, but it must hold only 0 and "
                f"1 and be of (..., {self.shape[0]}, {self.shape[1]})."
            )
        return np.where(state.astype(bool, copy=False), on, off)


def unpack_mirrors(packed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mirrors as 0/1 bytes from packed bits.

    Parameters
    ----------
    packed : ndarray of uint8, shape (n, rows * columns / 8)
        Bit k % 8 of byte k // 8 is mirror k in raster order (little-endian, as the real driver sends them).
    shape : tuple of int
        (rows, columns).

    Returns
    -------
    ndarray of uint8, shape (n, rows, columns)
    """
    bits = np.unpackbits(packed, axis=-1, count=shape[0] * shape[1], bitorder="little")
    return bits.reshape(len(packed), *shape)


@lru_cache(maxsize=4)
def _states(dmd: Dmd, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Field of every mirror commanded on, and commanded off; a stuck mirror gives the same field either way."""
    on = dmd.amplitude() * elementary.phasors(dmd.phase_rad(seed), np.complex64)
    off = np.float32(dmd.off_amplitude) * on
    stuck = dmd.stuck(seed)
    result = np.where(stuck < 0, off, on), np.where(stuck > 0, on, off)
    for array in result:
        array.setflags(write=False)
    return result


@lru_cache(maxsize=4)
def _stuck(shape: tuple[int, int], on: float, off: float, seed: int) -> np.ndarray:
    result = np.zeros(shape, dtype=np.int8)
    if on or off:
        u = rng.uniforms(rng.stream_key(seed, "dmd stuck mirrors"), shape[0] * shape[1]).reshape(shape)
        result[u < on] = 1
        result[u > 1 - off] = -1
    result.setflags(write=False)
    return result
