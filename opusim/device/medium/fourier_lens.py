"""No layer: one lens between modulator and sensor, in whose focal planes they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from opusim.base import elementary, fourier
from opusim.base.parameters import parameter
from opusim.device import propagation

from .base import WaveMedium, decorrelation_time, transmission
from .grid import ModeGrid
from .layer import LayerFactors

if TYPE_CHECKING:
    from opusim.device.camera import Camera
    from opusim.device.laser import Laser


@dataclass(frozen=True)
class FourierLensMedium(WaveMedium):
    """One lens in place of a scattering layer: the camera sees the Fourier transform of what the modulator shows.

    The modulator lies in the front focal plane of the lens, the sensor in its back focal plane. Light of the spatial
    frequency f, in cycles a modulator's pixel, comes to the camera's pixel ``side f`` away from the axis, the middle of
    the sensor (pixel n // 2 of n), in the same direction as it leaves; side is that of the grid, the smallest good one
    which holds modulator and sensor. So the sensor sees all directions up to half a cycle a pixel, if it has as many
    pixels as the grid, and a lit width of w pixels makes a spot ``side / w`` pixels wide.

    Parameters
    ----------
    envelope : bool
        Whether light at f is sinc(f) along either side of a pixel less than on the axis, as that of square pixels is;
        what is missing goes to orders beyond the sensor. Without it every pixel sends its light evenly over all
        directions, for tests of energy.
    transmission : float
        Share of the light of the modulator that reaches one pixel of the grid on average: 1 / side^2 for a lens that
        loses nothing, less with a grey filter before it. The brightest spot gets side^2 times as much.
    decorrelation_time_s : float
        `inf`: a lens stands still.

    Notes
    -----
    Field at the pixel m of the side n, along each axis: sum over the modulator's pixels j of
    exp(-2 pi i m j / n) (Goodman, Introduction to Fourier Optics, 3rd ed., section 5.2.2), times sinc(m / n). The focal
    length is (modulator's pitch) (camera's pitch) n / wavelength: it follows from the parts, and the lengths of
    `opusim.Optics` are not those of this lens. A pixel samples a point, which is enough where spots are two pixels wide
    or more. Levels that are told beforehand, by ``opusim info``, budgets of noise and `OpticalBench.expected_level_dn`,
    are those of light that is even over the grid.

    Waves go through two lenses, as with any layer. In place of a layer are two thin lenses, each in the focal plane of
    the other, which take the transform of the first lens back: exp(i pi k^2 / n) is the phase of either of the two, and
    exp(i pi q^2 / n - i pi / 4) that of the space between them. For even n this is the discrete transform to rounding
    (Bluestein, IEEE Trans. Audio Electroacoust. 18, 451, 1970).
    """

    kind: ClassVar[str] = "fourier_lens"
    order: ClassVar[float] = 40.0
    random: ClassVar[bool] = False
    has_places: ClassVar[bool] = True

    envelope: bool = parameter(True)
    transmission: float = transmission()
    decorrelation_time_s: float = decorrelation_time(frozen=True)

    @property
    def n_transforms(self) -> int:
        """Two-dimensional Fourier transforms of one pass: lens, two between the thin lenses, lens."""
        return 4

    @property
    def spreads(self) -> bool:
        """Whether light with a focus where it enters is spread until it leaves: it is not."""
        return False

    def layer_bytes(self, side: int, channels: int) -> int:
        """Return the bytes of its factors on a grid.

        Parameters
        ----------
        side : int
            Grid points along each axis.
        channels : int
            Polarisations, each with factors of its own.

        Returns
        -------
        int
            Bytes.
        """
        return 8 * side**2 * 3 * channels

    def check(self, laser: Laser, camera: Camera) -> None:
        """Raise an error for a camera whose pixels are to average over grains.

        Parameters
        ----------
        laser : Laser
            The light that comes in.
        camera : Camera
            What sees the light that comes out.

        Raises
        ------
        ValueError
            If it is such a camera: behind a lens there are no grains.
        """
        super().check(laser, camera)
        if camera.pixel_over_grain:
            raise ValueError(
                f"camera.pixel_over_grain is {camera.pixel_over_grain!r}, but behind a lens there are no grains: with "
                f"a medium of kind {self.kind!r} it must be 0."
            )

    def factors(
        self, grid: ModeGrid, *, wavelength_m: float, seed: int, state: int = 0, channel: int = 0
    ) -> LayerFactors:
        """Return what the light is multiplied by on its way.

        Parameters
        ----------
        grid : ModeGrid
            Grid of modes.
        wavelength_m : float
            Wavelength in metres; lengths in pixels do not depend on it.
        seed, state : int
            Without meaning: there is one lens.
        channel : int
            Which polarisation: all light stays in the first one, 0.

        Returns
        -------
        LayerFactors
            Arrays of its own, which may be written to.

        Raises
        ------
        ValueError
            If pixels are to average over grains.
        """
        if grid.aperture:
            raise ValueError(
                f"grid.aperture is {grid.aperture!r}, but a medium of kind {self.kind!r} has no grains that a pixel "
                "could average over: it must be 0."
            )
        side = grid.side
        orders = fourier.frequencies(side, 1 / side)
        bent = np.pi / side * orders**2
        bent = bent[:, None] + bent[None, :]
        space = elementary.phasors(bent - np.pi / 2, np.complex64)
        first = elementary.phasors(bent, np.complex64)
        signs = propagation.axis_signs(side)
        first *= signs[:, None]
        first *= signs[None, :]
        last = first.copy()
        if self.envelope:
            width = elementary.sinc(orders / side).astype(np.float32)
            first *= width[:, None]
            first *= width[None, :]
        # `side` turns the unitary map, whose entries have the mean square 1 / side^2, into unit variance.
        last *= np.float32(side if channel == 0 else 0.0)
        return LayerFactors([first, last], space)
