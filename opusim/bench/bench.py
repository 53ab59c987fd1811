"""The bench: the stages of a device and everything about it that changes with time."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from opusim.base import arrays, memory, parallel, validation
from opusim.base.arrays import NUMPY, Arrays
from opusim.device.medium.base import Drift
from opusim.device.record import RESOLUTIONS, Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

from .clock import FRAME_OVERHEAD_S, ClockedBench
from .film import intensity
from .frames import ReservedFrames
from .inputs import checked_exposure, checked_mirrors, checked_phases, checked_roi
from .plan import EXECUTIONS, Region, Shots, memory_budget_bytes
from .planes import BenchClock, Planes
from .prepared import PreparedParts

__all__ = ["FRAME_OVERHEAD_S", "BenchClock", "OpticalBench", "Planes"]


class OpticalBench(validation.Fixed, ClockedBench):
    """A device on the table: shows patterns, returns frames, keeps time.

    Parameters
    ----------
    device : Device, str or Path
        The device, a preset's name, or the path of a TOML file.
    seed : int
        Seed of everything random: medium, sensor, noise. The same seed gives the same counts.
    resolution : {"auto", "mirrors"}, optional
        In place of the device's own.
    execution : {"auto", "matrix", "waves"}
        How patterns from a formatter are computed: the cheaper way, or one of the two. Same device, same
        fields to 1e-4.
    memory_budget : int, optional
        Bytes that a stored matrix may take; a quarter of the machine's memory by default.
    threads : int, optional
        Threads to use with numpy; all processors by default. They do not change the result.
    backend : str
        What `transform` computes with (``opusim.base.arrays.choose``): "auto" is where the bits lie, numpy for all that
        lies in the machine's own memory; "numpy", "cupy", "torch", "torch:cpu", "torch:cuda", "torch:cuda:1". Frames of
        `expose` and planes of `inspect` are always computed by numpy. Counts of two backends differ in a few pixels at
        the edge of a rounding, by what one electron is worth.

    Attributes
    ----------
    device : Device
    seed : int
    execution, backend : str
    memory_budget, threads : int
        In use. They stay, as device, seed, execution and backend do: `with_limits` returns a bench with others.
    limits : dict
        `memory_budget` and `threads` as they were given, None for what was not: the arguments of another such bench.
    clock : BenchClock
        Device time, frames and energy.
    mirror_shape, sensor_shape : tuple of int
        (rows, columns) of the mirrors and of the sensor.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    ImportError, RuntimeError
        If a package or the GPU that the backend needs is missing.
    AttributeError
        If something that stays is set.
    """

    _fixed = {
        **dict.fromkeys(("device", "seed", "execution", "backend"), "Make another OpticalBench."),
        **dict.fromkeys(("memory_budget", "threads"), "Use with_limits, which returns a bench with others."),
    }

    def __init__(
        self,
        device: Device | str | Path,
        seed: int = 0,
        *,
        resolution: str | None = None,
        execution: str = "auto",
        memory_budget: int | None = None,
        threads: int | None = None,
        backend: str = "auto",
    ) -> None:
        arrays.choose(backend)
        self.backend = backend
        device = Device.load(device)
        if resolution is not None:
            device = device.evolve(resolution=validation.choice("resolution", resolution, RESOLUTIONS))
        self.device = device
        self.seed = validation.integer("seed", seed, low=0)
        self.execution = validation.choice("execution", execution, EXECUTIONS)
        self._limits = _checked_limits(memory_budget, threads)
        self.memory_budget: int = self._limits["memory_budget"] or memory_budget_bytes()
        self.threads: int = self._limits["threads"] or parallel.default_threads()
        self.clock = BenchClock(power_w=device.operation.power_w)
        self._lock = threading.RLock()
        self._fresh()

    def _fresh(self) -> None:
        self._parts = PreparedParts(
            self.device, self.seed, execution=self.execution, memory_budget=self.memory_budget, threads=self.threads
        )

    @property
    def limits(self) -> dict[str, int | None]:
        """`memory_budget` and `threads` as they were given; None for what was not."""
        return dict(self._limits)

    def with_limits(self, *, memory_budget: int | None = None, threads: int | None = None) -> Self:
        """Return this bench with other limits. Both keep one clock, so that no two of their frames share noise.

        Parameters
        ----------
        memory_budget, threads : int, optional
            As for `OpticalBench`; what is not given stays as it is.

        Returns
        -------
        OpticalBench
            Of the same class; what this one has computed is computed again there when needed.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it may be.
        """
        given = {name: value for name, value in _checked_limits(memory_budget, threads).items() if value is not None}
        state = self.__getstate__()
        other = type(self).__new__(type(self))
        other.__setstate__({**state, **given, "_limits": {**self._limits, **given}})
        other.clock, other._lock = self.clock, self._lock
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be computed again; the clock is one of its own."""
        state = {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_parts")}
        with self._lock:
            state["clock"] = copy.copy(self.clock)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the bench; matrices are computed again when needed.

        The budget is that of where it was made, as the way must stay; the default of threads is that of this machine.
        """
        self.__dict__.update(state)
        if self._limits["threads"] is None:
            self.__dict__["threads"] = parallel.default_threads()
        self._lock = threading.RLock()
        self._fresh()

    def __repr__(self) -> str:
        """Say which device it is, and where its clock stands."""
        return f"OpticalBench(device={self.device.name!r}, seed={self.seed}, frames={self.clock.frames})"

    # ------------------------------------------------------------------ exposures

    def expose(
        self,
        mirrors: np.ndarray | MirrorPatterns | None,
        *,
        exposure_s: float,
        reference_phase_rad: float | np.ndarray | None = None,
        roi: tuple[int, int, int, int] | None = None,
        frametime_s: float | None = None,
        n_frames: int = 1,
    ) -> np.ndarray:
        """Show patterns one after the other and return a frame for each.

        Parameters
        ----------
        mirrors : ndarray, MirrorPatterns or None
            0/1 mirrors as bool or uint8 of shape (rows, columns) or (n, rows, columns); or packed bits, uint8
            of shape (n, rows * columns / 8), little-endian; or patterns from the formatter, which take the
            fast way. None shuts the laser: dark frames.
        exposure_s : float
            Exposure in seconds.
        reference_phase_rad : float or array_like of float, optional
            Phase of the reference arm in radians; None blocks it. Several phases: each pattern is shown once for each
            of them, one after the other.
        roi : tuple of int, optional
            (row, column, n_rows, n_columns) on the sensor; the whole sensor by default.
        frametime_s : float, optional
            Time between frames; as short as possible, but not below the device's own, by default.
        n_frames : int, optional
            How many dark frames, if `mirrors` is None.

        Returns
        -------
        ndarray, shape (n * number of phases, n_rows, n_columns)
            Frames in the camera's type (uint8 up to 8 bits, else uint16).

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it may be; the bench stays as it was.
        """
        phases = checked_phases(reference_phase_rad, self.device.reference.present)
        exposure_s = checked_exposure(exposure_s)
        rectangle = checked_roi(roi, self.sensor_shape)
        region = self._region(rectangle)
        shape = (rectangle[2], rectangle[3])
        if mirrors is None:
            if phases is not None:
                raise ValueError("mirrors is None, which shuts the laser, but the reference arm needs its light.")
            n = validation.integer("n_frames", n_frames, low=0)
            frametime = self._frametime(frametime_s, shape[0], exposure_s)
            return self._light_evenly(0.0, n, region, exposure_s, frametime).reshape(n, *shape)
        if n_frames != 1:
            raise ValueError(f"n_frames is {n_frames!r}, but it counts dark frames only: with mirrors it must be 1.")
        layout, bits = checked_mirrors(mirrors, self.mirror_shape)
        frametime = self._frametime(frametime_s, shape[0], exposure_s)
        return self._run(layout, bits, region, exposure_s, frametime, None, phases).reshape(-1, *shape)

    def transform(
        self,
        patterns: MirrorPatterns,
        *,
        exposure_s: float,
        roi: tuple[int, int, int, int],
        n_pixels: int,
        reference_phase_rad: float | np.ndarray | None = None,
        frametime_s: float | None = None,
        progress: Callable[[int], None] | None = None,
        reserved: ReservedFrames | None = None,
    ) -> np.ndarray:
        """Show formatted patterns and return the first pixels of the region of interest, flat.

        Parameters
        ----------
        patterns : MirrorPatterns
            Patterns from the formatter.
        exposure_s : float
            Exposure in seconds.
        roi : tuple of int
            (row, column, n_rows, n_columns) on the sensor.
        n_pixels : int
            How many of its pixels, in raster order, are wanted; the others are not computed.
        reference_phase_rad, frametime_s : float, optional
            As in `expose`.
        progress : callable, optional
            Told the number of vectors that are done.
        reserved : ReservedFrames, optional
            From `reserve`, here or on another bench of the same device and seed: the frames to show them in, with
            their times in place of `frametime_s`. The clock stays.

        Returns
        -------
        array, shape (n * number of phases, n_pixels)
            Counts: a numpy array; for bits on a device (a tensor of torch, an array of CuPy) an array of the same
            library there.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it may be, or the bits lie on another device than the backend's.
        MemoryError
            If there is not enough memory for it; the bench stays as it was.
        """
        phases = checked_phases(reference_phase_rad, self.device.reference.present)
        exposure_s = checked_exposure(exposure_s)
        rectangle = checked_roi(roi, self.sensor_shape)
        n_pixels = validation.integer("n_pixels", n_pixels, low=1, high=rectangle[2] * rectangle[3])
        layout, bits = checked_mirrors(patterns, self.mirror_shape, on_device=True)
        frametime = self._frametime(frametime_s, rectangle[2], exposure_s)
        region = self._region(rectangle, n_pixels)
        place = NUMPY if layout is None else arrays.choose(self.backend, bits)
        return self._run(layout, bits, region, exposure_s, frametime, progress, phases, reserved, place)

    def flat_field(
        self,
        photons_per_pixel: float,
        *,
        exposure_s: float,
        n_frames: int = 1,
        roi: tuple[int, int, int, int] | None = None,
        frametime_s: float | None = None,
    ) -> np.ndarray:
        """Light the sensor evenly (a lamp in place of the medium) and return frames.

        Parameters
        ----------
        photons_per_pixel : float
            Mean photons on each pixel in the exposure.
        exposure_s : float
            Exposure in seconds.
        n_frames : int
            How many frames.
        roi, frametime_s : optional
            As in `expose`.

        Returns
        -------
        ndarray, shape (n_frames, n_rows, n_columns)
            Frames in the camera's type.
        """
        photons = validation.number("photons_per_pixel", photons_per_pixel, low=0.0, high=1e9)
        exposure_s = checked_exposure(exposure_s)
        n = validation.integer("n_frames", n_frames, low=0)
        rectangle = checked_roi(roi, self.sensor_shape)
        frametime = self._frametime(frametime_s, rectangle[2], exposure_s)
        counts = self._light_evenly(photons, n, self._region(rectangle), exposure_s, frametime)
        return counts.reshape(n, rectangle[2], rectangle[3])

    def inspect(
        self,
        mirrors: np.ndarray | MirrorPatterns,
        *,
        exposure_s: float | None = None,
        reference_phase_rad: float | None = None,
        roi: tuple[int, int, int, int] | None = None,
    ) -> Planes:
        """Return every plane of the exposure that `expose` would make next, without making it.

        Parameters
        ----------
        mirrors : ndarray or MirrorPatterns
            One pattern, as in `expose`.
        exposure_s : float, optional
            Exposure in seconds; the device's own by default.
        reference_phase_rad : float, optional
            One phase, as in `expose`.
        roi : tuple of int, optional
            As in `expose`.

        Returns
        -------
        Planes
            Fields, photons, electrons and counts of that exposure.
        """
        phases = checked_phases(reference_phase_rad, self.device.reference.present)
        if phases is not None and len(phases) != 1:
            raise ValueError(f"reference_phase_rad holds {len(phases)} phases, but inspect takes exactly one.")
        exposure_s = checked_exposure(self.device.operation.exposure_s if exposure_s is None else exposure_s)
        if mirrors is None:
            raise ValueError("mirrors is None, but inspect needs one pattern.")
        layout, bits = checked_mirrors(mirrors, self.mirror_shape)
        if len(bits) != 1:
            raise ValueError(f"mirrors holds {len(bits)} patterns, but inspect takes exactly one.")
        rectangle = checked_roi(roi, self.sensor_shape)
        region = self._region(rectangle)
        shape = (rectangle[2], rectangle[3])
        projector, maps = self._parts.projector(layout, region), self._parts.sensor(region)
        with self._lock:
            frame, time_s = self.clock.frames, self.clock.elapsed_s
        state = int(Drift(self.device.medium.decorrelation_time_s).state(np.array(time_s)))
        power = self.device.laser.relative_power(np.array([frame]), np.array([time_s]), seed=self.seed)
        scale = power * self.photons_per_intensity(exposure_s)
        fields = projector.fields(bits, state)[0]
        shots = Shots(
            state, np.array([frame]), scale, exposure_s, maps, 1,
            *self._reference(region, phases, 1, np.array([frame]), np.array([time_s])),
        )  # fmt: skip
        turn = shots.turns().view(np.complex64)[0, 0]
        level = intensity(fields, shots.reference, turn, shots.coherence)
        photons = (level * np.float32(scale[0] / projector.samples)).astype(np.float32)
        camera = self.device.camera
        electrons = camera.electrons(photons, exposure_s=exposure_s, seed=self.seed, frame0=frame, maps=maps)
        counts = np.empty((1, region.n_pixels), dtype=camera.dtype)
        projector.counts(bits, shots, counts)
        shown = bits.reshape(self.mirror_shape) if layout is None else layout.mirrors(bits)[0]
        return Planes(
            mirrors=np.asarray(shown, dtype=np.uint8),
            dmd_field=projector.source.cells(bits)[0],
            medium_field=fields.reshape(*shape, -1),
            photons=photons.reshape(shape),
            electrons=electrons.reshape(shape),
            counts=counts.reshape(shape),
        )

    # ------------------------------------------------------------------ inside

    def _run(
        self,
        layout: MirrorLayout | None,
        bits: Any,
        region: Region,
        exposure_s: float,
        frametime_s: float,
        progress: Callable[[int], None] | None,
        phases: np.ndarray | None = None,
        reserved: ReservedFrames | None = None,
        place: Arrays = NUMPY,
    ) -> Any:
        n, steps = len(bits), 1 if phases is None else len(phases)
        shown = slice(None) if reserved is None else reserved.shown(n, steps)
        home = arrays.of(bits)
        if place == NUMPY:
            bits = home.to_host(bits)
        projector, maps = self._parts.projector(layout, region, place), self._parts.sensor(region)
        kind = self.device.camera.dtype
        memory.check(
            f"The counts of {n * steps} frames of {region.n_pixels} pixels",
            kind.itemsize * n * steps * region.n_pixels,
            "pass fewer patterns at a time.",
            home,
        )
        drift = Drift(self.device.medium.decorrelation_time_s)
        if n or projector.plan.keeps_matrix:
            # Before frames are taken, so that a matrix or a layer that cannot be made costs none.
            now_s = self.clock.elapsed_s if reserved is None or not n else reserved.times_s()[shown][0]
            projector.prepare(int(drift.state(np.array(now_s))))
        # In the machine's own memory numpy's arrays and torch's tensors are the same bytes.
        out = (home if home.is_gpu else NUMPY).empty((n * steps, region.n_pixels), kind)
        if reserved is None:
            reserved = self.reserve(n * steps, frametime_s=frametime_s)
        # Of the whole sequence, then those that are shown: the last bits of a sine may depend on its neighbours.
        frames, times = reserved.numbers(), reserved.times_s()
        scale = self.device.laser.relative_power(frames, times, seed=self.seed) * self.photons_per_intensity(exposure_s)
        wave, turned, coherence = self._reference(region, phases, len(frames) // steps, frames, times)
        frames, times, scale = frames[shown], times[shown], scale[shown]
        turned = None if turned is None else turned[shown]
        states = drift.state(times[::steps])
        edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), n] if n else [0]
        for a, b in zip(edges, edges[1:], strict=False):
            done: Callable[[int], None] | None = None
            if progress is not None:

                def done(k: int, a: int = a) -> None:
                    progress(a + k)

            part = slice(a * steps, b * steps)
            shots = Shots(
                int(states[a]), frames[part], scale[part], exposure_s, maps, steps, wave,
                None if turned is None else turned[part], coherence,
            )  # fmt: skip
            projector.counts(bits[a:b], shots, out[part], done)
        return out if home.is_gpu else home.from_host(out)

    def _reference(
        self, region: Region, phases: np.ndarray | None, n: int, frames: np.ndarray, times_s: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray | None, float]:
        """Field of the reference on a region, its phase in each frame, and the coherence; Nones if it is blocked."""
        arm = self.device.reference
        if phases is None:
            return None, None, 1.0
        turned = arm.phases_rad(np.tile(phases, n), frames, times_s, seed=self.seed)
        return self._parts.reference_wave(region), turned, arm.coherence

    def _light_evenly(
        self, photons: float, n: int, region: Region, exposure_s: float, frametime_s: float
    ) -> np.ndarray:
        maps = self._parts.sensor(region)
        first, _ = self._reserve(n, frametime_s)
        out = np.empty((n, region.n_pixels), dtype=self.device.camera.dtype)
        even = np.full((1, region.n_pixels), photons, dtype=np.float32)
        for i in range(n):
            out[i] = self.device.camera.expose(
                even, exposure_s=exposure_s, seed=self.seed, frame0=first + i, maps=maps, threads=self.threads
            )[0]
        return out

    def _region(self, rectangle: tuple[int, int, int, int], n_pixels: int | None = None) -> Region:
        n = rectangle[2] * rectangle[3] if n_pixels is None else n_pixels
        return Region(*rectangle, n, self.sensor_shape[1])


def _checked_limits(memory_budget: int | None, threads: int | None) -> dict[str, int | None]:
    given = {"memory_budget": memory_budget, "threads": threads}
    return {name: None if v is None else validation.integer(name, v, low=1) for name, v in given.items()}
