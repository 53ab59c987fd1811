"""Wave optics of a scattering layer: random phase screens with free space between them."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.fft

from opusim.base import parallel, rng
from opusim.base.arrays import NUMPY, Arrays
from opusim.base.parameters import Stage, parameter
from opusim.device import propagation

from .base import Drift, ModeGrid, decorrelation_time, transmission

_CACHE_BYTES = 1 << 20  # grids up to this size go through the whole layer in one core's cache
_KEPT_GRIDS = 2  # grids of fields that are kept between calls, or one for each thread


@dataclass(frozen=True)
class PhaseScreenMedium(Stage):
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
        tilt under which the speckle still moves as a whole.
    step_m : float
        Grid step in the layer. With step_m >= wavelength / sqrt 2 no wave is evanescent and energy is kept.
    ballistic_fraction : float
        Share of the light that passes unscattered (a controlled zero order: random screens alone kill it as
        exp(-K sigma^2), unrealistically fast, 2001.06767).
    depolarising : bool
        Whether the layer turns the polarisation at random, as multiple scattering does: at each point of the exit
        face a random share of the light is in the polarisation that is read (a circular complex Gaussian element
        of the local Jones matrix). What the camera sees is then not a block of a lossless, unitary map. A block of
        a unitary map has less spread singular values than an i.i.d. matrix, the more so the larger a part of the
        modes is read: a spread of ``|amplitude|^2`` equal to its mean is what makes up for that, for any part.
        Without it energy is kept, for tests of that.
    transmission : float
        Share of the light that leaves the mirrors (all on) which reaches one pixel on average, in one polarisation.
    decorrelation_time_s : float
        Time after which the field correlation has fallen to 1/e; `inf` for none.
    """

    stage: ClassVar[str] = "medium"
    kind: ClassVar[str] = "phase_screens"
    has_waves: ClassVar[bool] = True

    n_screens: int = parameter(3, low=1, high=100)
    phase_std_rad: float = parameter(3.0, low=0.0, high=100.0, unit="rad", learnable="scale")
    correlation_length_m: float = parameter(0.8e-6, low=0.0, high=1e-3, unit="m")
    thickness_m: float = parameter(2e-3, low=0.0, high=1.0, unit="m", learnable="scale")
    step_m: float = parameter(0.4e-6, low=1e-9, high=1e-3, unit="m")
    ballistic_fraction: float = parameter(0.0, low=0.0, high=1.0, off=0.0, imperfection="ballistic light")
    depolarising: bool = parameter(True)
    transmission: float = transmission()
    decorrelation_time_s: float = decorrelation_time()

    @property
    def n_transforms(self) -> int:
        """Number of two-dimensional Fourier transforms of one pass: lens, two a gap between screens, lens."""
        return 2 * self.n_screens

    @property
    def gap_m(self) -> float:
        """Distance between neighbouring screens in metres."""
        return self.thickness_m / (self.n_screens - 1) if self.n_screens > 1 else 0.0

    def screen_phase(self, screen: int, side: int, *, seed: int, state: int = 0, channel: int = 0) -> np.ndarray:
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

        Returns
        -------
        ndarray of float32, shape (side, side)
            Phase in radians: Gaussian, standard deviation `phase_std_rad`, correlation exp(-(r / l_c)^2).

        Notes
        -----
        The drift moves the phase as a Gaussian process with the correlation rho(t) = exp(-(t/tau)^2) (`Drift`),
        tau = sqrt(K sigma^2) tau_d: the field correlation of K screens, exp(-K sigma^2 (1 - rho)), is then
        exp(-(t/tau_d)^2) until it is lost, and every state keeps the energy.
        """
        drift = Drift(self.decorrelation_time_s)
        strength = self.n_screens * self.phase_std_rad**2
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
            return white * np.float32(self.phase_std_rad)
        fy = scipy.fft.fftfreq(side, self.step_m)
        fx = scipy.fft.rfftfreq(side, self.step_m)
        # Half the exponent of the power spectrum, which is the transform of exp(-(r / l_c)^2).
        y = np.exp(-0.5 * (np.pi * self.correlation_length_m * fy) ** 2)
        x = np.exp(-0.5 * (np.pi * self.correlation_length_m * fx) ** 2)
        full_x = np.exp(-0.5 * (np.pi * self.correlation_length_m * scipy.fft.fftfreq(side, self.step_m)) ** 2)
        scale = self.phase_std_rad / math.sqrt(float(np.mean(y**2) * np.mean(full_x**2)))
        spectrum = scipy.fft.rfft2(white, overwrite_x=True)
        spectrum *= (scale * y).astype(np.float32)[:, None]
        spectrum *= x.astype(np.float32)[None, :]
        return scipy.fft.irfft2(spectrum, s=(side, side), overwrite_x=True).astype(np.float32, copy=False)

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
            Rayleigh distributed with the mean square 1; ones if the layer does not depolarise.
        """
        if not self.depolarising:
            return np.ones((side, side), dtype=np.float32)
        u = rng.uniforms(rng.stream_key(seed, "exit face", channel), side * side)
        return np.sqrt(-np.log(u)).astype(np.float32).reshape(side, side)

    def operator(
        self,
        grid: ModeGrid,
        *,
        wavelength_m: float,
        seed: int,
        state: int = 0,
        channel: int = 0,
        workers: int | None = None,
        arrays: Arrays = NUMPY,
    ) -> PhaseScreenOperator:
        """Prepare the layer for a grid: compute its screens and transfer functions once.

        Parameters
        ----------
        grid : ModeGrid
            Grid of modes.
        wavelength_m : float
            Wavelength in metres.
        seed, state, channel : int
            Which realisation, which state of its drift, which polarisation.
        workers : int, optional
            Threads of the FFT; they do not change the result.
        arrays : Arrays, optional
            Library and device that the fields are of: the layer is prepared by numpy and moved there once.

        Returns
        -------
        PhaseScreenOperator
            What takes fields through the layer.
        """
        return PhaseScreenOperator(self, grid, wavelength_m, seed, state, channel, workers, arrays)


class PhaseScreenOperator:
    """A scattering layer on a grid: fields of input cells in, fields of output cells out.

    Entries of the linear map have the mean square 1 over the grid. Made by `PhaseScreenMedium.operator`.

    Attributes
    ----------
    medium : PhaseScreenMedium
    grid : ModeGrid
    arrays : Arrays
        Library and device of its arrays.
    screens : list of array of complex64, shape (side, side)
        Transmittance of each screen. The first and the last carry the sign pattern that puts the origin of
        the lenses' transforms on the optical axis; the last carries the stop. For other libraries than numpy the
        factors also carry the scale of the transforms.
    """

    def __init__(
        self,
        medium: PhaseScreenMedium,
        grid: ModeGrid,
        wavelength_m: float,
        seed: int,
        state: int,
        channel: int,
        workers: int | None,
        arrays: Arrays = NUMPY,
    ) -> None:
        self.medium = medium
        self.grid = grid
        self.workers = workers
        self.arrays = arrays
        self._free: list[np.ndarray] = []
        self._origin: PhaseScreenOperator | None = None
        side = grid.side
        scattered = math.sqrt(1 - medium.ballistic_fraction)
        self.screens = []
        for k in range(medium.n_screens):
            phase = medium.screen_phase(k, side, seed=seed, state=state, channel=channel)
            screen = np.empty((side, side), dtype=np.complex64)
            np.cos(phase, out=screen.real)
            np.sin(phase, out=screen.imag)
            self.screens.append(screen)
        signs = propagation.axis_signs(side)
        for end in (0, -1):
            self.screens[end] *= signs[:, None]
            self.screens[end] *= signs[None, :]
        self._ballistic: Any = None
        self._stop: Any = round_stop(side, grid.aperture).astype(np.float32) if grid.aperture else None
        # `side` turns the unitary map, whose entries have the mean square 1 / side^2, into unit variance.
        self.screens[-1] *= np.float32(side * scattered)
        if medium.depolarising or self._stop is not None:
            passing = medium.exit_amplitude(side, seed=seed, channel=channel)
            if self._stop is not None:
                passing *= self._stop
            passing /= np.sqrt(np.mean(np.square(passing, dtype=np.float64))).astype(np.float32)
            self.screens[-1] *= passing
        self.transfer: Any = None
        if medium.n_screens > 1:
            self.transfer = propagation.transfer_function(
                (side, side), step_m=medium.step_m, wavelength_m=wavelength_m, distance_m=medium.gap_m
            )
        # The unscattered light is fully polarised: it stays in the first channel.
        if medium.ballistic_fraction and channel == 0:
            self._ballistic = propagation.transfer_function(
                (side, side), step_m=medium.step_m, wavelength_m=wavelength_m, distance_m=medium.thickness_m
            )
            self._ballistic *= np.float32(side * math.sqrt(medium.ballistic_fraction))
            # Counted from the axis, as the image is.
            self._ballistic = scipy.fft.fftshift(self._ballistic)
        if arrays.name != "numpy":
            # What makes the transforms unitary: each factor takes it from the one before it, the last screen also from
            # the lens behind it.
            for factor in (*self.screens, self.screens[-1], self.transfer, self._stop):
                if factor is not None:
                    factor *= np.float32(1 / side)
            if self._ballistic is not None and self._stop is not None:
                self._ballistic *= np.float32(1 / side)  # of the lens behind the stop
        for k, screen in enumerate(self.screens):  # one by one: the host holds no more than it must
            self.screens[k] = arrays.from_host(screen)
        for name in ("transfer", "_ballistic", "_stop"):
            if getattr(self, name) is not None:
                setattr(self, name, arrays.from_host(getattr(self, name)))

    def on(self, grid: ModeGrid) -> PhaseScreenOperator:
        """Return the same layer, its arrays shared, with other blocks of cells on a grid of the same side and stop."""
        assert (grid.side, grid.aperture) == (self.grid.side, self.grid.aperture), "another grid needs another layer"
        other = copy.copy(self)
        other.grid = grid
        other._origin = self._origin or self  # lives as long as any copy: by it the layer is found
        return other

    @property
    def reciprocal(self) -> bool:
        """Whether `backward` is the transpose of `forward`."""
        return self._ballistic is None or self._stop is None

    def forward(self, cells: Any) -> Any:
        """Field of the output cells for fields of the input cells.

        Parameters
        ----------
        cells : array of complex64, shape (n, *grid.input_shape)
            Fields that leave the mirrors, of the library of `arrays`.

        Returns
        -------
        array of complex64, shape (n, *grid.output_shape)
            Fields at the camera. May be called from several threads.
        """
        return self._pass(cells, self.grid, self.screens)

    def backward(self, cells: Any) -> Any:
        """Apply the transposed map (reciprocity): fields (n, *output_shape) in, (n, *input_shape) out.

        Not defined for ballistic light behind a stop, which `reciprocal` tells.
        """
        return self._pass(cells, self.grid.transposed(), self.screens[::-1])

    def _pass(self, cells: Any, grid: ModeGrid, screens: list[Any]) -> Any:
        n, workers = len(cells), self.workers or 1
        if self.arrays.name != "numpy":
            return self._through(cells, grid, screens, workers)
        out = np.empty((n, *grid.output_shape), dtype=np.complex64)
        # As many grids at a time as the cache holds. Threads take grids of their own, which is quicker than parts of
        # one grid, unless there are too few of them.
        bytes_ = 8 * grid.side**2
        step, apart = max(1, _CACHE_BYTES // bytes_), n >= workers or bytes_ <= _CACHE_BYTES

        def work(start: int, stop: int) -> None:
            for first in range(start, stop, step):
                part = slice(first, min(stop, first + step))
                self._through(cells[part], grid, screens, 1 if apart else workers, out[part])

        parallel.over_ranges(work, n, workers if apart else 1)
        return out

    def _through(
        self, cells: Any, grid: ModeGrid, screens: list[Any], workers: int, out: np.ndarray | None = None
    ) -> Any:  # fmt: skip
        """Pass a few fields through the layer, from lens to lens; numpy's into `out`."""
        rows, columns = grid.input_block
        how: dict[str, Any] = {"arrays": self.arrays, "workers": workers, "scaled": False}
        held = self._take(len(cells))
        field = held
        if self.arrays.name == "numpy":  # whose lens takes the other rows for dark
            field[:, rows, : columns.start] = 0
            field[:, rows, columns.stop :] = 0
        field[:, rows, columns] = cells
        field = propagation.lens_from_rows(field, rows, times=screens[0], **how)
        for screen in screens[1:]:
            field = propagation.fourier(field, times=self.transfer, **how)
            field = propagation.inverse_fourier(field, times=screen, **how)
        field = propagation.lens_to_block(field, *grid.output_block, out=out, **how)
        if self.arrays.name == "numpy" and len(self._free) < max(_KEPT_GRIDS, self.workers or 1):
            self._free.append(held)
        if self._ballistic is not None:
            field += self._unscattered(cells, grid, workers)
        return field

    def _take(self, n: int) -> Any:
        """Return grids for `n` fields: numpy's are used again, since new memory costs as much as a pass over it.

        Each call takes them out of the list and puts them back (both are one step for Python), so threads never share.
        """
        side = self.grid.side
        if self.arrays.name != "numpy":
            return self.arrays.zeros((n, side, side), np.complex64)
        try:
            grids = self._free.pop()
        except IndexError:
            grids = np.empty((0, 0, 0), dtype=np.complex64)
        return grids if len(grids) == n else propagation.padded_grids(n, (side, side))

    def _unscattered(self, cells: Any, grid: ModeGrid, workers: int | None) -> Any:
        """Light that met no screen: the mirrors' image upside down, defocused by the layer's thickness."""
        side, xp = grid.side, self.arrays.xp
        image = self.arrays.zeros((len(cells), side, side), np.complex64)
        rows, columns = grid.input_block
        image[:, rows, columns] = cells
        # Point m of the image is point -m of the object, m counted from the axis at side / 2, modulo the side.
        image = xp.roll(xp.flip(image, axis=(1, 2)), (1, 1), axis=(1, 2))
        image *= self._ballistic
        if self._stop is not None:  # the stop acts in the exit face, one lens before the camera
            how: dict[str, Any] = {"arrays": self.arrays, "workers": workers, "scaled": False}
            image = propagation.fourier(propagation.inverse_fourier(image, times=self._stop, **how), **how)
        rows, columns = grid.output_block
        return image[:, rows, columns]


def round_stop(side: int, diameter: float) -> np.ndarray:
    """Amplitude of a centred round stop in the FFT's order, scaled to pass the mean square 1."""
    axis = scipy.fft.fftfreq(side)  # -0.5 .. 0.5, in units of the side
    inside = axis[:, None] ** 2 + axis[None, :] ** 2 <= (diameter / 2) ** 2
    return inside / math.sqrt(float(np.mean(inside)))
