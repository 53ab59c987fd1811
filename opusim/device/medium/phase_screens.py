"""Wave optics of a scattering layer: random phase screens with free space between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from opusim.base import elementary, fourier, rng
from opusim.base.parameters import parameter
from opusim.device import propagation
from opusim.device.lines import LIGHT_SPEED_M_PER_S
from opusim.theory import slab_correlation

from .base import WaveMedium, decorrelation_time, transmission
from .drift import Drift
from .grid import ModeGrid
from .layer import LayerFactors

if TYPE_CHECKING:
    from opusim.device.camera import Camera
    from opusim.device.laser import Laser

# Of K sigma^2, and of the scattered angle over that of the grid: the fourth moment of the entries on half of a grid's
# side is within .05 of 2 from there on (docs/physics.md section 3).
_LEAST_STRENGTH, _LEAST_SPREAD = 10.0, 0.55
# Of the scattered angle again: delays of the points of a grid scatter into all of its angles, which takes no light from
# the axis only where the screens do so anyway (docs/physics.md section 3).
_LEAST_SPREAD_OF_SLAB = 0.9

_MIDDLE, _EXIT = "middle screen", "exit face"  # planes where the light leaves the polarisation that is read
# Least rms width, over the period of the grid, to which a gap spreads the light of a point where a stop cuts out the
# middle of the exit face. Harmonics of the wrapped law have exp(-2 pi^2 .4^2) = .04 after one gap; four of them are
# first ones, and two independent gaps leave 4 x .04^2 = .7 %.
_LEAST_EVENING = 0.4

STACK, SLAB = "stack", "slab"
"""Laws by which a layer changes with the frequency of the light."""


@dataclass(frozen=True)
class PhaseScreenMedium(WaveMedium):
    """A scattering layer between two lenses: lens, K random screens with free space between them, lens.

    The mirrors lie in the front focal plane of the first lens, the camera in the back focal plane of the
    second, so each mirror lights the layer at its own angle and each pixel sees the layer at its own angle.
    The layer is periodic: a random model of the statistics of multiple scattering, which makes no claim of
    absolute scattering strength. With K >= 3 and K sigma^2 >= 10 its transmission matrix cannot be told from
    an i.i.d. complex Gaussian one by the tests of docs/physics.md section 3.

    Parameters
    ----------
    n_screens : int
        K, number of screens.
    phase_std_rad : float
        The sigma: standard deviation of each screen's phase in radians.
    correlation_length_m : float
        The l_c: the screen's phase has the correlation exp(-(r / l_c)^2).
    thickness_m : float
        Distance from the first to the last screen. It sets the memory effect: the larger, the smaller the
        tilt under which the speckle still moves as a whole. The tilt from one mirror to the next is that of the grid
        of modes, or where the device's optics say it (`ModeGrid.cell_angle_rad`) that one, whatever the grid. Behind a
        stop the layer is thicker than that where it would not light its exit face evenly (`evening`).
    step_m : float
        Grid step in the layer. With step_m >= wavelength / sqrt 2 no wave is evanescent and energy is kept.
    ballistic_fraction : float
        Share of the light that passes unscattered (a controlled zero order: random screens alone kill it as
        exp(-K sigma^2), unrealistically fast, 2001.06767).
    depolarising : bool
        Whether light leaves the polarisation that is read, as in multiple scattering: at each point of one plane a
        random share of it passes. What the camera sees is then not a block of a lossless, unitary map, which has less
        spread singular values than an i.i.d. matrix, the more so the larger a part of the modes is read. Without it
        energy is kept, for tests of that.
    depolarised_at : {"middle screen", "exit face"}
        The plane where it passes, and by which law. "middle screen": screen K // 2, counted from 0, amplitudes of the
        quarter-circle law (`middle_amplitude`). Singular values are then those of an i.i.d. matrix however many of the
        modes are read (docs/physics.md section 3). With fewer than three screens there is no middle: the exit face
        takes its place, and nothing is claimed. "exit face": the last screen, amplitudes of Rayleigh's law
        (`exit_amplitude`). The largest singular values are then above the edge of Marchenko and Pastur's law, by 1 to
        37 % on a device's own grids: what is read of a bright place of the face is an open channel.
    transmission : float
        Share of the light that leaves the mirrors (all on) which reaches one pixel on average, in one polarisation
        (`Medium`).
    decorrelation_time_s : float
        Time after which the field correlation has fallen to 1/e; `inf` for none. At the laser's own wavelength.
    stated_wavelength_m : float
        Wavelength for which `phase_std_rad` is stated: a screen is a length of path, so that its phases go as stated
        over true wavelength. 0: it is stated for the laser's, whatever that is.
    frequency_shift : float
        By how much the frequency of the light is higher than that of the laser's wavelength, over it. It acts on paths
        inside the layer, by `spectral_law`, and on nothing else: grid and lenses are those of the laser's wavelength.
    spectral_law : {"stack", "slab"}
        How the layer changes with the frequency. "stack": by its own paths, phases of the screens times 1 + shift and
        free space at the wavelength / (1 + shift), of the stated thickness on whatever grid (`depth_on`).
        "slab": as a diffusive slab does, whose light has paths of many lengths. Every point of the screens behind the
        first delays the light by a time of its own, so that intensities correlate by
        `opusim.theory.slab_correlation`; the stated thickness has no part in it. It asks for two screens at least,
        and for scattering into all angles of the grid, as such delays do; other layers are doubted (`doubts`).
    diffusion_time_s : float
        With "slab", L^2 / D of the slab in seconds: square of the thickness over the diffusion constant of the light.
    expansion_per_k : float
        Thermal expansion of the paths in the layer, per kelvin.
    index_per_k, index_per_pa : float
        Change of their refractive index over it, n^-1 dn/dT, per kelvin, and the same per pascal of the pressure around
        it. Warmer by dT it is as for light of a frequency that is higher by (expansion + n^-1 dn/dT) dT, which a laser
        tuned by as much to the other side undoes (docs/physics.md, section 3; US 2021/0041219).
    """

    kind: ClassVar[str] = "phase_screens"
    order: ClassVar[float] = 10.0
    inside: ClassVar[tuple[str, ...]] = ("phase_std_rad", "thickness_m")

    n_screens: int = parameter(3, low=1, high=100)
    phase_std_rad: float = parameter(3.0, low=0.0, high=100.0, unit="rad", learnable="scale")
    correlation_length_m: float = parameter(0.8e-6, low=0.0, high=1e-3, unit="m")
    thickness_m: float = parameter(2e-3, low=0.0, high=1.0, unit="m", learnable="scale")
    step_m: float = parameter(0.4e-6, low=1e-9, high=1e-3, unit="m")
    ballistic_fraction: float = parameter(0.0, low=0.0, high=1.0, off=0.0, imperfection="ballistic light")
    depolarising: bool = parameter(True)
    depolarised_at: str = parameter(_MIDDLE, choices=(_MIDDLE, _EXIT), before=_EXIT)
    transmission: float = transmission()
    decorrelation_time_s: float = decorrelation_time()
    stated_wavelength_m: float = parameter(0.0, low=0.0, high=20e-6, unit="m", shown="nm", before=0.0)
    frequency_shift: float = parameter(0.0, low=-0.1, high=0.1, before=0.0)
    spectral_law: str = parameter(STACK, kind="choice", choices=(STACK, SLAB), before=STACK)
    diffusion_time_s: float = parameter(0.0, low=0.0, high=1e-3, unit="s", before=0.0)
    expansion_per_k: float = parameter(
        0.0, low=-1e-2, high=1e-2, unit="per K", off=0.0, imperfection="temperature of the medium", before=0.0
    )
    index_per_k: float = parameter(
        0.0, low=-1e-2, high=1e-2, unit="per K", off=0.0, imperfection="temperature of the medium", before=0.0
    )
    index_per_pa: float = parameter(
        0.0, low=-1e-4, high=1e-4, unit="per Pa", off=0.0, imperfection="pressure around the medium", before=0.0
    )

    def _check_together(self) -> None:
        """Check that a slab has a time, and nothing else has one."""
        if self.diffusion_time_s and self.spectral_law != SLAB:
            raise ValueError(
                f"medium.diffusion_time_s is {self.diffusion_time_s!r}, but medium.spectral_law is "
                f"{self.spectral_law!r}: it must be 0, or the law {SLAB!r}."
            )
        if not self.diffusion_time_s and self.spectral_law == SLAB:
            raise ValueError(
                f"medium.spectral_law is {SLAB!r}, but medium.diffusion_time_s is {self.diffusion_time_s!r}: it must "
                "be above 0, the L^2 / D of the slab in seconds."
            )

    @property
    def disperses(self) -> bool:
        """Whether it changes with the frequency of the light: always."""
        return True

    def shifted(self, relative_shift: float) -> Self:
        """Return the layer as light of another frequency sees it.

        Parameters
        ----------
        relative_shift : float
            By how much the frequency is higher, over the frequency itself.

        Returns
        -------
        PhaseScreenMedium
            With `frequency_shift` larger by as much.
        """
        return replace(self, frequency_shift=self.frequency_shift + relative_shift) if relative_shift else self

    def equivalent_shift(self, temperature_change_k: float, pressure_change_pa: float) -> float:
        """Return the relative shift of the frequency that acts on the light as a change of its surroundings does.

        Parameters
        ----------
        temperature_change_k : float
            By how many kelvin it is warmer.
        pressure_change_pa : float
            By how many pascal the pressure is higher.

        Returns
        -------
        float
            Paths that are longer by so much hold as many more waves as those of light of a higher frequency.
        """
        warmed = (self.expansion_per_k + self.index_per_k) * temperature_change_k
        return warmed + self.index_per_pa * pressure_change_pa

    def spectral_correlation(self, relative_shift: float, wavelength_m: float) -> float:
        """Return the correlation of the field with that at another frequency of the light.

        Parameters
        ----------
        relative_shift : float
            Difference of the frequencies over the first one.
        wavelength_m : float
            Wavelength of the first one in metres.

        Returns
        -------
        float
            Modulus of the correlation, from 0 to 1, by `spectral_law`.
        """
        if self.spectral_law == SLAB:
            shift_hz = relative_shift * LIGHT_SPEED_M_PER_S / wavelength_m
            return math.sqrt(slab_correlation(shift_hz, self.diffusion_time_s))
        from .spectrum import stack_correlation

        return stack_correlation(
            float(relative_shift), n_screens=self.n_screens,
            phase_std_rad=self.phase_std_rad * self._scale(wavelength_m),
            correlation_length_m=self.correlation_length_m, gap_m=self.gap_m, step_m=self.step_m,
            wavelength_m=wavelength_m,
        )  # fmt: skip

    def _scale(self, wavelength_m: float) -> float:
        """Return what the stated phases are multiplied by at a wavelength."""
        return self.stated_wavelength_m / wavelength_m if self.stated_wavelength_m else 1.0

    @property
    def n_transforms(self) -> int:
        """Number of two-dimensional Fourier transforms of one pass: lens, two a gap between screens, lens."""
        return 2 * self.n_screens

    @property
    def gap_m(self) -> float:
        """Distance between neighbouring screens in metres."""
        return self.thickness_m / (self.n_screens - 1) if self.n_screens > 1 else 0.0

    @property
    def spreads(self) -> bool:
        """Whether there is space between screens: a single plane leaves a focus where it is."""
        return self.gap_m > 0

    def scattered_sine(self, wavelength_m: float) -> float:
        """Return by how much one screen spreads light: the rms sine of the angle along one axis.

        Parameters
        ----------
        wavelength_m : float
            Wavelength in metres.

        Returns
        -------
        float
            Sine wavelength sigma / (sqrt 2 pi l_c): slopes of a phase of the correlation exp(-(r / l_c)^2). At most
            wavelength / (2 sqrt 3 step), that of light which is even over all angles of the grid.
        """
        even = wavelength_m / (2 * math.sqrt(3) * self.step_m)
        slope = wavelength_m * (self.phase_std_rad * self._scale(wavelength_m)) / (math.sqrt(2) * math.pi)
        return slope / self.correlation_length_m if slope < even * self.correlation_length_m else even

    def evening(self, cell_angle_rad: float, wavelength_m: float) -> float:
        """Return how much thicker than its angles ask the layer must be to light its exit face evenly.

        Parameters
        ----------
        cell_angle_rad : float
            Angle between the light of neighbouring cells (`ModeGrid.cell_angle_rad`), above 0.
        wavelength_m : float
            Wavelength in metres.

        Returns
        -------
        float
            At least 1, which is enough where gap x rms sine (`scattered_sine`) is .4 of wavelength / cell angle, the
            width of the light of all cells and the period of the layer. 1 for layers without gaps or without
            scattering, which no thickness evens.

        Notes
        -----
        The mean of all cells, which has half of the light with half of them on, comes to a focus in the middle of the
        first screen. A stop is the middle of the last one: what the gaps do not spread is seen as too much light. Two
        gaps of .4 leave below 1 % (docs/physics.md, section 3); one gap, of two screens, leaves a coarse speckle on
        the face, which no width does away with.
        """
        spread = self.gap_m * self.scattered_sine(wavelength_m)
        if not spread:
            return 1.0
        return max(1.0, _LEAST_EVENING * wavelength_m / cell_angle_rad / spread)

    def depth_on(self, grid: ModeGrid, wavelength_m: float) -> float:
        """Return how much thicker the layer is on a grid than it is, so that neighbours are as alike as they are.

        Parameters
        ----------
        grid : ModeGrid
            Grid of modes.
        wavelength_m : float
            Wavelength in metres.

        Returns
        -------
        float
            True angle of a cell (`ModeGrid.cell_angle_rad`) over that of the grid, wavelength / (side x step): the
            memory effect goes by the product of angle and thickness. 1 where the angle is that of the grid. Behind a
            stop, with an angle of its own, it is larger by `evening`: neighbours are then less alike than they are.
        """
        if not grid.cell_angle_rad:
            return 1.0
        depth = grid.cell_angle_rad * grid.side * self.step_m / wavelength_m
        return depth * self.evening(grid.cell_angle_rad, wavelength_m) if grid.aperture else depth

    def screen_phase(
        self, screen: int, side: int, *, seed: int, state: int = 0, channel: int = 0, wavelength_m: float | None = None
    ) -> np.ndarray:
        """Phase of one screen.

        Parameters
        ----------
        screen : int
            Which screen, from 0.
        side : int
            Grid points along each axis.
        seed : int
            Seed of the device.
        state : int
            State of the drift (`Drift`); 0 at the start.
        channel : int
            Polarisation channel: the two see independent screens.
        wavelength_m : float, optional
            Wavelength in metres; that for which the phases are stated by default.

        Returns
        -------
        ndarray of float32, shape (side, side)
            Phase in radians: Gaussian, standard deviation `phase_std_rad` at the stated wavelength, correlation
            exp(-(r / l_c)^2). Without the shift of the frequency.

        Notes
        -----
        The drift moves the phase as a Gaussian process with the correlation rho(t) = exp(-(t/tau)^2) (`Drift`),
        tau = sqrt(K sigma^2) tau_d: the field correlation of K screens, exp(-K sigma^2 (1 - rho)), is then
        exp(-(t/tau_d)^2) until it is lost, and every state keeps the energy.
        """
        deviation = self.phase_std_rad * (1.0 if wavelength_m is None else self._scale(wavelength_m))
        drift = Drift(self.decorrelation_time_s)
        strength = self.n_screens * deviation * deviation
        slow = Drift(self.decorrelation_time_s * math.sqrt(strength) if strength else math.inf)
        first, others = slow.mixture(drift.time(state))
        white = rng.normals(rng.stream_key(seed, "phase screen", screen, channel), side * side)
        if others:
            white *= np.float32(first)
            for n, weight in others:
                key = rng.stream_key(seed, "phase screen drift", screen, channel, n)
                white += np.float32(weight) * rng.normals(key, side * side)
        white = white.reshape(side, side)
        if self.correlation_length_m == 0:
            return white * np.float32(deviation)
        fy = fourier.frequencies(side, self.step_m)
        fx = fourier.half_frequencies(side, self.step_m)
        # Half the exponent of the power spectrum, which is the transform of exp(-(r / l_c)^2).
        y, x = (elementary.exp(-0.5 * (np.pi * self.correlation_length_m * f) ** 2) for f in (fy, fx))
        scale = deviation / float(np.mean(y**2))  # the root of a mean for each axis
        spectrum = fourier.rfft2(white)
        spectrum *= (scale * y).astype(np.float32)[:, None]
        spectrum *= x.astype(np.float32)[None, :]
        return fourier.irfft2(spectrum, side).astype(np.float32, copy=False)

    def middle_amplitude(self, side: int, *, seed: int, channel: int = 0) -> np.ndarray:
        """Return the amplitude that stays in the polarisation that is read at each point of the middle screen.

        Parameters
        ----------
        side : int
            Modes along a side of the grid.
        seed, channel : int
            Which realisation, and which polarisation.

        Returns
        -------
        ndarray of float32, shape (side, side)
            From 0 to 2 with the density sqrt(4 - x^2) / pi, a quarter of a circle, and the mean square 1; ones if the
            layer does not depolarise there.

        Notes
        -----
        A square Gaussian matrix is U1 Q U2 with independent random unitary matrices and quarter-circle distributed
        singular values Q (Marchenko and Pastur for a square). The halves of the layer stand for U1 and U2. Values: the
        distance from an axis of points that are even in a disc of radius 2.
        """
        if not self._middle:
            return np.ones((side, side), dtype=np.float32)
        n = side * side
        key = rng.stream_key(seed, "middle screen", channel)
        distance = elementary.cos((0.5 * np.pi) * rng.uniforms(key, n, n))
        distance *= np.sqrt(4 * rng.uniforms(key, n))
        return distance.astype(np.float32).reshape(side, side)

    @property
    def _middle(self) -> bool:
        return self.depolarising and self.depolarised_at == _MIDDLE and self.n_screens >= 3

    def exit_amplitude(self, side: int, *, seed: int, channel: int = 0) -> np.ndarray:
        """Return the amplitude that passes the polariser at each point of the exit face.

        Parameters
        ----------
        side : int
            Modes along a side of the grid.
        seed, channel : int
            Which realisation, and which polarisation.

        Returns
        -------
        ndarray of float32, shape (side, side)
            Rayleigh distributed with the mean square 1; ones if the layer does not depolarise there.
        """
        if not self.depolarising or self._middle:
            return np.ones((side, side), dtype=np.float32)
        u = rng.uniforms(rng.stream_key(seed, "exit face", channel), side * side)
        return np.sqrt(-elementary.log(u)).astype(np.float32).reshape(side, side)

    @property
    def widening_m(self) -> float | None:
        """Twice the distance from the first to the last screen; None of a layer too weak to diffuse the light."""
        strong = self.n_screens * self.phase_std_rad * self.phase_std_rad >= _LEAST_STRENGTH
        return 2 * self.gap_m * (self.n_screens - 1) if strong else None

    @property
    def angular_spread(self) -> float:
        """Rms angle into which all screens together scatter along one axis, over the largest one of the grid.

        The slopes of a phase of the correlation exp(-(r / l_c)^2) have the rms sqrt(2) sigma / l_c along an axis;
        independent screens add up, sigma sqrt(2 K) / l_c, and the grid holds pi / step. `inf` for screens that are
        white on it.
        """
        if not self.correlation_length_m:
            return math.inf
        slope = self.phase_std_rad * math.sqrt(2 * self.n_screens) / self.correlation_length_m
        return slope * self.step_m / math.pi

    def doubts(self) -> list[str]:
        """Say where the entries of the matrix will not be as independent ones are.

        Returns
        -------
        list of str
            A sentence where the light scatters too little, or where it scatters into too few of the grid's angles; and
            one where the law "slab" does not hold, for a single screen or too few angles.
        """
        strength = self.n_screens * self.phase_std_rad * self.phase_std_rad
        result = []
        if strength < _LEAST_STRENGTH:
            result.append(
                f"medium.n_screens is {self.n_screens} and medium.phase_std_rad {self.phase_std_rad:g}, which makes "
                f"n_screens x phase_std_rad^2 {strength:.3g}: below {_LEAST_STRENGTH:g} too much of the light goes "
                "straight on for the statistics of independent entries. medium.phase_std_rad = "
                f"{math.sqrt(_LEAST_STRENGTH / self.n_screens):.3g} would do."
            )
        elif self.angular_spread < _LEAST_SPREAD:
            most = self.correlation_length_m * self.angular_spread / _LEAST_SPREAD
            result.append(
                f"medium.correlation_length_m is {self.correlation_length_m:g}, "
                f"{self.correlation_length_m / self.step_m:.3g} times medium.step_m: the screens scatter into "
                f"{self.angular_spread:.2g} of the grid's angles (rms), and below {_LEAST_SPREAD:g} pixels away from "
                "the axis are darker than the others, so that the entries are not as independent ones are. "
                f"medium.correlation_length_m must be at most {most:.3g} for that; two steps are usual."
            )
        return result + self._doubts_of_slab()

    def _doubts_of_slab(self) -> list[str]:
        """Say where a change of the frequency acts otherwise than by the law of a slab."""
        if self.spectral_law != SLAB:
            return []
        if self.n_screens == 1:
            return [
                f"medium.spectral_law is {SLAB!r} and medium.n_screens 1: the mean of a pattern comes to one spot of a "
                "single screen, where all of its light has one delay, so that speckle keeps more than the law says. "
                "medium.n_screens must be 2 at least for it."
            ]
        if self.angular_spread >= _LEAST_SPREAD_OF_SLAB:
            return []
        least = (
            _LEAST_SPREAD_OF_SLAB * math.pi * self.correlation_length_m / self.step_m / math.sqrt(2 * self.n_screens)
        )
        return [
            f"medium.spectral_law is {SLAB!r}, but the screens scatter into {self.angular_spread:.2g} of the grid's "
            f"angles (rms): below {_LEAST_SPREAD_OF_SLAB:g} light about the axis dims where the frequency changes, and "
            f"speckle keeps more than the law says. medium.phase_std_rad = {math.ceil(100 * least) / 100:g} would do."
        ]

    def check(self, laser: Laser, camera: Camera) -> None:
        """Raise an error if the grid of the layer is too fine for the light.

        Parameters
        ----------
        laser : Laser
            The light that comes in.
        camera : Camera
            What sees the light that comes out.

        Raises
        ------
        ValueError
            If laser or camera do not go with it.
        """
        super().check(laser, camera)
        least = laser.wavelength_m / math.sqrt(2)
        if self.step_m < least:
            raise ValueError(
                f"medium.step_m is {self.step_m!r}, but at a wavelength of {laser.wavelength_m!r} it must "
                f"be at least {least:.4g} (wavelength / sqrt 2): finer grids hold waves that do not propagate. "
                "Set medium.correlation_length_m to two steps as well."
            )

    def field_correlation(self, time_s: float) -> float:
        """Return the correlation of the field with that at the start.

        exp(-K sigma^2 (1 - rho)) with the correlation rho of the screens (`screen_phase`), and all of what passes
        unscattered.

        Parameters
        ----------
        time_s : float
            Start of a state of the drift (`Drift.time`), in seconds.

        Returns
        -------
        float
            From 0 to 1.

        Notes
        -----
        The mean over layers, and of light that is spread over the first screen what each layer shows. The mirrors lie
        in the front focal plane, so that the mean of a binary pattern, half of its light, comes to one spot of that
        screen and sees one phase of it: the square is then (1 + (exp(2 (1 - rho) sigma^2) - 1) / 4) times as large,
        .173 in place of .140 after one decorrelation time of three screens (`opusim.theory.screens_correlation`;
        docs/physics.md, section 3).
        """
        if not time_s:
            return 1.0
        loss = (time_s / self.decorrelation_time_s) ** 2
        strength = self.n_screens * self.phase_std_rad * self.phase_std_rad
        loss = -strength * math.expm1(-loss / strength) if strength else 0.0
        return self.ballistic_fraction + (1 - self.ballistic_fraction) * math.exp(-loss)

    def layer_bytes(self, side: int, channels: int) -> int:
        """Return the bytes of screens and transfer functions on a grid.

        Parameters
        ----------
        side : int
            Grid points along each axis.
        channels : int
            Polarisations, each with screens of its own.

        Returns
        -------
        int
            Bytes.
        """
        grids = channels * (self.n_screens + (self.n_screens > 1)) + bool(self.ballistic_fraction)
        return 8 * side**2 * grids

    def factors(
        self, grid: ModeGrid, *, wavelength_m: float, seed: int, state: int = 0, channel: int = 0
    ) -> LayerFactors:
        """Return screens, transfer functions and stop on a grid.

        Parameters
        ----------
        grid : ModeGrid
            Grid of modes.
        wavelength_m : float
            Wavelength in metres.
        seed, state, channel : int
            Which realisation, which state of its drift, which polarisation.

        Returns
        -------
        LayerFactors
            Arrays of its own, which may be written to.
        """
        side = grid.side
        screens = []
        for k in range(self.n_screens):
            phase = self.screen_phase(
                k, side, seed=seed, state=state, channel=channel, wavelength_m=wavelength_m
            )  # fmt: skip
            if self.frequency_shift:
                phase = self._shifted_phase(phase, k, wavelength_m, seed, channel)
            screens.append(elementary.phasors(phase, np.complex64))
        signs = propagation.axis_signs(side)
        for end in (0, -1):
            screens[end] *= signs[:, None]
            screens[end] *= signs[None, :]
        stop = _round_stop(side, grid.aperture).astype(np.float32) if grid.aperture else None
        # `side` turns the unitary map, whose entries have the mean square 1 / side^2, into unit variance.
        screens[-1] *= np.float32(side * math.sqrt(1 - self.ballistic_fraction))
        if stop is not None or (self.depolarising and not self._middle):
            passing = self.exit_amplitude(side, seed=seed, channel=channel)
            if stop is not None:
                passing *= stop
            screens[-1] *= _of_mean_square_one(passing)
        if self._middle:
            screens[self.n_screens // 2] *= _of_mean_square_one(self.middle_amplitude(side, seed=seed, channel=channel))
        transfer, ballistic = None, None
        depth = self.depth_on(grid, wavelength_m)
        if self.n_screens > 1:
            transfer = self._space(side, depth, self.gap_m, wavelength_m)
        # The unscattered light is fully polarised: it stays in the first channel.
        if self.ballistic_fraction and channel == 0:
            ballistic = self._space(side, depth, self.thickness_m, wavelength_m)
            ballistic *= np.float32(side * math.sqrt(self.ballistic_fraction))
            ballistic = fourier.centred(ballistic)  # counted from the axis, as the image is
        return LayerFactors(screens, transfer, stop, ballistic)

    def _shifted_phase(
        self, phase: np.ndarray, screen: int, wavelength_m: float, seed: int, channel: int
    ) -> np.ndarray:  # fmt: skip
        """Phase of a screen at the shifted frequency, of that at the laser's."""
        if self.spectral_law != SLAB:
            return phase * np.float32(1 + self.frequency_shift)
        # All paths through one point of the first screen, such as that of a pattern's mean, would have one delay of it.
        parts = max(1, self.n_screens - 1)
        if screen < self.n_screens - parts:
            return phase
        from .spectrum import delays, mean_delay

        # Each point by itself: delays as long as the screens are correlated are fewer, and leave the law to chance.
        quantiles = delays(parts)
        chance = rng.uniforms(rng.stream_key(seed, "slab delay", screen, channel), phase.size)
        late = np.interp(chance, np.arange(len(quantiles)) / (len(quantiles) - 1), quantiles) - mean_delay(parts)
        turned = 2 * np.pi * LIGHT_SPEED_M_PER_S / wavelength_m * self.frequency_shift * self.diffusion_time_s
        result: np.ndarray = (phase - (turned * late).reshape(phase.shape)).astype(np.float32)
        return result

    def _space(self, side: int, depth: float, distance_m: float, wavelength_m: float) -> np.ndarray:
        """Return what a distance multiplies plane waves by, on a grid whose depth is so many times the true one.

        The memory effect goes by angle and depth, so that a grid of other angles has another depth (`depth_on`). Paths
        have no other lengths for that: what a shift of the frequency adds is that of the true distance.
        """
        space: dict[str, float] = {"step_m": self.step_m, "wavelength_m": wavelength_m}
        if not self._paths_shift:
            return propagation.transfer_function((side, side), distance_m=depth * distance_m, **space)
        phase = propagation.axial_wave_numbers((side, side), **space)
        phase *= depth - 1
        phase += self._shifted_numbers(side, wavelength_m)
        phase *= distance_m
        return elementary.phasors(phase, np.complex64)

    @property
    def _paths_shift(self) -> bool:
        """Whether the space between the screens is another one at the shifted frequency."""
        return bool(self.frequency_shift) and self.spectral_law == STACK

    def _shifted_numbers(self, side: int, wavelength_m: float) -> np.ndarray:
        return propagation.axial_wave_numbers(
            (side, side), step_m=self.step_m, wavelength_m=wavelength_m / (1 + self.frequency_shift)
        )

    def phase_slopes(
        self, name: str, grid: ModeGrid, *, wavelength_m: float, seed: int, channel: int = 0
    ) -> LayerFactors:
        """Return by how much the phase of each factor grows with a field of `inside`.

        Parameters
        ----------
        name : str
            "phase_std_rad", which turns the screens, or "thickness_m", which turns the space between them.
        grid : ModeGrid
            Grid of modes.
        wavelength_m : float
            Wavelength in metres.
        seed, channel : int
            Which realisation, which polarisation.

        Returns
        -------
        LayerFactors
            Real arrays, as of `WaveMedium.phase_slopes`.

        Raises
        ------
        NotImplementedError
            For another field.
        """
        side = grid.side
        if name not in self.inside:
            return super().phase_slopes(name, grid, wavelength_m=wavelength_m, seed=seed, channel=channel)
        # Where the layer is thickened to light a stop evenly, its depth goes by that and not by its thickness.
        evened = grid.aperture > 0 and grid.cell_angle_rad > 0 and self.evening(grid.cell_angle_rad, wavelength_m) > 1
        growth = self.depth_on(grid, wavelength_m)
        screens: list[np.ndarray] = []
        if name == "phase_std_rad":
            phases = (
                self.screen_phase(k, side, seed=seed, channel=channel, wavelength_m=wavelength_m)
                for k in range(self.n_screens)
            )
            times = 1 + self.frequency_shift if self._paths_shift else 1.0
            screens = [phase / (self.phase_std_rad / times) for phase in phases]
            even = wavelength_m / (2 * math.sqrt(3) * self.step_m)
            if not evened or self.scattered_sine(wavelength_m) >= even:
                return LayerFactors(screens)
            growth *= -self.thickness_m / self.phase_std_rad  # of depth x thickness, which goes by 1 / sigma
        elif evened:
            growth = 0.0
        numbers = propagation.axial_wave_numbers((side, side), step_m=self.step_m, wavelength_m=wavelength_m)
        if name == "thickness_m" and self._paths_shift:
            numbers *= growth - 1
            numbers += self._shifted_numbers(side, wavelength_m)
        else:
            numbers *= growth
        return LayerFactors(
            screens,
            transfer=numbers / (self.n_screens - 1) if self.n_screens > 1 else None,
            ballistic=fourier.centred(numbers) if self.ballistic_fraction and channel == 0 else None,
        )


def _of_mean_square_one(amplitude: np.ndarray) -> np.ndarray:
    """Scale an amplitude, in place, so that the entries of the map keep the mean square 1 over the whole grid."""
    amplitude /= np.sqrt(np.mean(np.square(amplitude, dtype=np.float64))).astype(np.float32)
    return amplitude


def _round_stop(side: int, diameter: float) -> np.ndarray:
    """Amplitude of a centred round stop in the FFT's order, scaled to pass the mean square 1.

    Its power falls from 1 to 0 over one grid step, not at once: a stop of few points would else have another size than
    was asked for, and so would the grains. The ramp adds 5/12 of a step squared to the square of the radius in the
    second moment, which the size of the grains goes by; so much is taken off.
    """
    axis = fourier.frequencies(side, 1 / side)  # in grid steps
    radius = math.sqrt(max((side * diameter / 2) ** 2 - 5 / 12, 0.0))
    distance = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
    power = np.clip(radius - distance + 0.5, 0.0, 1.0)
    amplitude: np.ndarray = np.sqrt(power / float(np.mean(power)))
    return amplitude
