"""The digital micromirror device: binary mirrors in, a complex field out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from opusim.base import elementary, rng
from opusim.base.parameters import Stage, parameter
from opusim.base.user_arrays import checked_array

from . import lattice as lattices
from .wavefront import low_order_wavefront


@dataclass(frozen=True)
class Dmd(Stage):
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
    stated_wavelength_m : float
        Wavelength for which `efficiency` is stated; 0 where that is not said. Light of another one, by more than 5 %,
        is told (`opusim.Device.doubts`). It changes no frame.
    """

    stage: ClassVar[str] = "dmd"

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
    stated_wavelength_m: float = parameter(0.0, low=0.0, high=20e-6, unit="m", shown="nm", before=0.0)

    def _check_together(self) -> None:
        """Check the mirrors that are stuck."""
        if self.stuck_on_fraction + self.stuck_off_fraction > 1:
            raise ValueError(
                f"dmd.stuck_on_fraction is {self.stuck_on_fraction!r} and dmd.stuck_off_fraction is "
                f"{self.stuck_off_fraction!r}, but together they must be at most 1."
            )

    def without_effect(self) -> tuple[str, ...]:
        """Return the fields that change no frame.

        Returns
        -------
        tuple of str
            The wavelength for which the efficiency is stated.
        """
        return ("stated_wavelength_m",)

    @property
    def n_mirrors(self) -> int:
        """Number of mirrors."""
        return self.shape[0] * self.shape[1]

    @property
    def spacing_m(self) -> tuple[float, float]:
        """Distance of rows and of columns of indices in metres: both the pitch on a square lattice.

        On a diamond one sqrt(2) pitches between mirrors of a line, along the first axis; between lines half of that.
        """
        down, across = lattices.spacing(self.lattice)
        return self.pitch_m * down, self.pitch_m * across

    @property
    def size_m(self) -> tuple[float, float]:
        """Height and width of the array in metres: mirrors times their distance along each axis (`places_m`).

        A diamond lattice with a DLP4500's shape and pitch, (912, 1140) and 7.637 um, is 9.85 by 6.16 mm. The corners
        of its outermost mirrors stand out of that by a quarter of sqrt(2) pitches at each side.
        """
        down, across = self.spacing_m
        return self.shape[0] * down, self.shape[1] * across

    @property
    def area_m2(self) -> float:
        """Area of all cells of mirrors in square metres: number x pitch^2, on either lattice."""
        return self.n_mirrors * self.pitch_m * self.pitch_m

    @property
    def half_diagonal_m(self) -> float:
        """Radius of the circle around the array in metres: half of the diagonal of `size_m`."""
        height, width = self.size_m
        return math.sqrt(height * height + width * width) / 2

    def places_m(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where the mirrors stand.

        Returns
        -------
        tuple of two ndarrays of float64, each of shape `shape`, read-only
            Places y and x along the first and the second axis in metres, from the middle of the array. On a diamond
            lattice columns of an odd number lie further along the first axis than those of an even one. Which of them a
            maker shifts is its choice; the other is the mirrored array.
        """
        y, x = np.broadcast_arrays(*(axis * self.pitch_m for axis in lattices.places(self.shape, self.lattice)))
        y.setflags(write=False)
        x.setflags(write=False)
        return y, x

    @property
    def off_amplitude(self) -> float:
        """Amplitude of an off mirror relative to the same mirror on: 1/sqrt(contrast ratio)."""
        return 0.0 if math.isinf(self.contrast_ratio) else 1.0 / math.sqrt(self.contrast_ratio)

    def amplitude(self) -> np.ndarray:
        """Amplitude of every mirror that is on.

        Returns
        -------
        ndarray of float32, shape `shape`, read-only
            Amplitudes exp(-r^2 / w^2), scaled so that the mean of its square is 1: `Laser.power_w` is the power on
            the array, whatever the beam's radius.
        """
        return _amplitude(self.shape, self.lattice, self.pitch_m, self.beam_radius_m)

    def phase_rad(self, seed: int) -> np.ndarray:
        """Return the static wavefront error of every mirror in radians.

        Parameters
        ----------
        seed : int
            Seed of the device.

        Returns
        -------
        ndarray of float32, shape `shape`, read-only
            Zernike terms 4 to 12 (Noll) over the array's circumscribed circle with random weights, scaled
            to `aberration_rms_rad`.
        """
        return low_order_wavefront(self.shape, self.aberration_rms_rad, seed, "dmd aberration", self.lattice)

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


@lru_cache(maxsize=8)
def _amplitude(shape: tuple[int, int], lattice: str, pitch_m: float, beam_radius_m: float) -> np.ndarray:
    y, x = (axis * pitch_m for axis in lattices.places(shape, lattice))
    g = elementary.exp(-(y**2 + x**2) / (beam_radius_m * beam_radius_m))
    g = (g / math.sqrt(float(np.mean(g**2)))).astype(np.float32)
    g.setflags(write=False)
    return g


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
