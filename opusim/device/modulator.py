"""What shows patterns to the light: mirrors that are on or off, or pixels that turn its phase."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import numpy as np

from opusim.base import elementary
from opusim.base.parameters import Stage

from . import lattice as lattices
from .wavefront import low_order_wavefront


class Modulator(Stage):
    """Base of all modulators: an array of pixels lit by a Gaussian beam.

    A kind is a frozen dataclass with a `kind` and the fields below.

    Parameters
    ----------
    name : str
        Part name.
    shape : tuple of int
        Pixels as (rows, columns).
    pitch_m : float
        Distance of neighbouring pixels in metres.
    efficiency : float
        Share of the light on the array that leaves it in the order used.
    frame_rate_hz : float
        Highest rate of patterns.
    beam_radius_m : float
        Radius at which the beam's intensity is 1/e^2 of its centre; `inf` for even lighting.
    aberration_rms_rad : float
        Root mean square of the static low-order wavefront error over the array, in radians.
    stated_wavelength_m : float
        Wavelength for which `efficiency` is stated; 0 where that is not said.

    Attributes
    ----------
    kind : str
        Of the class: its name in the TOML table ``[modulator]``.
    binary : bool
        Of the class: whether a pixel is on or off; else it turns the phase of its light, by levels.
    elements : str
        Of the class: what its pixels are called.
    stated : tuple of str
        Of the class: the fields that are stated for `stated_wavelength_m`.
    """

    kind: ClassVar[str] = ""
    binary: ClassVar[bool]
    elements: ClassVar[str] = "pixels"
    stated: ClassVar[tuple[str, ...]] = ("efficiency",)

    name: str
    shape: tuple[int, int]
    pitch_m: float
    efficiency: float
    frame_rate_hz: float
    beam_radius_m: float
    aberration_rms_rad: float
    stated_wavelength_m: float

    @property
    def lattice(self) -> str:
        """How pixels stand, one of ``opusim.device.lattice.LATTICES``; a field of kinds that have the choice."""
        return lattices.SQUARE

    def without_effect(self) -> tuple[str, ...]:
        """Return the fields that change no frame.

        Returns
        -------
        tuple of str
            The wavelength for which the efficiency is stated.
        """
        return ("stated_wavelength_m",)

    def lit_by(self, wavelength_m: float) -> Modulator:
        """Return the modulator as light of a wavelength sees it.

        Parameters
        ----------
        wavelength_m : float
            Wavelength in metres.

        Returns
        -------
        Modulator
            Itself, unless it does something else to light of another wavelength than to that for which it is stated.
        """
        return self

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
        """Amplitude of a pixel that is off relative to the same pixel on; 0 where none is ever off."""
        return 0.0

    @property
    def unmodulated_share(self) -> float:
        """Share of the light that no pattern changes but by switching it off; 0 for mirrors."""
        return 0.0

    @property
    def moves(self) -> bool:
        """Whether the light of one pattern is another one from frame to frame."""
        return False

    @property
    def vibrates(self) -> bool:
        """Whether it is another one within a frame's own time, so that rows of a rolling shutter differ."""
        return False

    def field_correlation(self, time_s: float, exposure_s: float) -> float:
        """Return the correlation of the field behind a random medium with that at the start, of modulators that move.

        Parameters
        ----------
        time_s : float
            Seconds since it was switched on.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            1 where it stands still.
        """
        return 1.0

    def amplitude(self) -> np.ndarray:
        """Amplitude of every mirror that is on.

        Returns
        -------
        ndarray of float32, shape `shape`, read-only
            Amplitudes exp(-r^2 / w^2), scaled so that the mean of its square is 1: `Laser.power_w` is the power on
            the array, whatever the beam's radius.
        """
        return beam_amplitude(self.shape, self.lattice, self.pitch_m, self.beam_radius_m)

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
        return low_order_wavefront(self.shape, self.aberration_rms_rad, seed, f"{self.kind} aberration", self.lattice)


@lru_cache(maxsize=8)
def beam_amplitude(shape: tuple[int, int], lattice: str, pitch_m: float, beam_radius_m: float) -> np.ndarray:
    """Return the amplitude of a Gaussian beam on the pixels; see `Modulator.amplitude`.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns).
    lattice : {"square", "diamond"}
        How pixels stand.
    pitch_m, beam_radius_m : float
        Distance of neighbours, and radius at 1/e^2 of the intensity, in metres.

    Returns
    -------
    ndarray of float32, shape `shape`, read-only
        Amplitudes.
    """
    y, x = (axis * pitch_m for axis in lattices.places(shape, lattice))
    g = elementary.exp(-(y**2 + x**2) / (beam_radius_m * beam_radius_m))
    g = (g / math.sqrt(float(np.mean(g**2)))).astype(np.float32)
    g.setflags(write=False)
    return g
