"""The bench: the stages of a device and everything about it that changes with time."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from opusim.base import arrays, elementary, memory, parallel, validation
from opusim.base.arrays import NUMPY, Arrays
from opusim.base.locks import new_lock
from opusim.base.numerics import numerics
from opusim.base.warn import warn_outside
from opusim.device.camera import Camera
from opusim.device.lines import stepped_shift
from opusim.device.medium import Drift
from opusim.device.medium.drift import LONGEST
from opusim.device.record import RESOLUTIONS, Device
from opusim.device.slm import PhaseSlm
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.phases import PhasePatterns, doubt_of_bits
from opusim.theory import exposure_contrast

from . import within_exposure
from .film import intensity
from .frames import MOST_FRAMES, MOST_S, BenchClock, ReservedFrames, Shots, with_one_before
from .inputs import (
    LONGEST_S,
    checked_before,
    checked_exposure,
    checked_frametime,
    checked_patterns,
    checked_phases,
    checked_transform,
    input_layout,
    output_roi,
)  # fmt: skip
from .lag import Readout
from .light_state import LightState
from .plan import EXECUTIONS, Plan, memory_budget_bytes
from .planes import Planes
from .prepared import PreparedParts
from .reduction import Reduction
from .region import AnyRoi, Region, Roi, checked_roi
from .rolling import RollingFilm, Rows
from .singles import Singles
from .together import Together

__all__ = ["FRAME_OVERHEAD_S", "BenchClock", "OpticalBench", "Planes"]

#: Time that the electronics need between frames, from lightonml's timing rule.
FRAME_OVERHEAD_S = 50e-6
# It is asked with each transform.
_readout_s = lru_cache(maxsize=64)(Camera.readout_s)
_pattern_s = lru_cache(maxsize=256)(Camera.pattern_s)
_CLOCK = "The clock of the bench"
_EXPOSURES = 64  # of which the light is kept
# Results up to this size are made without asking the system whether there is room.
_SMALL_BYTES = 1 << 20


class OpticalBench(validation.Fixed):
    """A device on the table: shows patterns, returns frames, keeps time.

    Parameters
    ----------
    device : Device, str or Path
        The device, a preset's name, or the path of a TOML file.
    seed : int
        Seed of everything random: medium, sensor, noise. The same seed gives the same counts.
    resolution : {"auto", "mirrors"}, optional
        In place of the device's own. "auto" keeps the picture of a region where its pixels average over their area
        (`Device`); "mirrors" keeps all geometry.
    execution : {"auto", "matrix", "waves"}
        How patterns from a formatter are computed: the way that is cheaper for 60 000 vectors, or one of the two.
        Same device, same fields to 1e-4. For few vectors "waves" spares the making of a matrix (`opusim.OPU`).
    memory_budget : int, optional
        Bytes that a stored matrix may take; 6 GiB by default.
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
        Device time, frames and energy. It stays: `advance_to` and `skip_frames` let it go on.
    mirror_shape, sensor_shape : tuple of int
        (rows, columns) of the mirrors and of the sensor.
    tuning_hz, temperature_change_k, pressure_change_pa : float
        By how much the laser is tuned, and how far the surroundings of the medium are from those for which the device
        is described; 0 at first. `tune` and `surround` set them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    ImportError, RuntimeError
        If a package or the GPU that the backend needs is missing.
    AttributeError
        If something that stays is set.
    """

    #: Frames are new arrays at each call (`opusim.bench.protocol.Fresh`).
    frames_are_new = True

    _fixed = {
        **dict.fromkeys(("device", "seed", "execution", "backend"), "Make another OpticalBench."),
        **dict.fromkeys(("memory_budget", "threads"), "Use with_limits, which returns a bench with others."),
        "tuning_hz": "Use tune.",
        **dict.fromkeys(("temperature_change_k", "pressure_change_pa"), "Use surround."),
        "clock": "Use advance_to or skip_frames, which let it go on.",
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
        device.tell_wavelength()
        if resolution is not None:
            device = device.evolve(resolution=validation.choice("resolution", resolution, RESOLUTIONS))
        self.device = device
        self.seed = validation.integer("seed", seed, low=0)
        self.execution = validation.choice("execution", execution, EXECUTIONS)
        self._limits = _checked_limits(memory_budget, threads)
        self.memory_budget: int = self._limits["memory_budget"] or memory_budget_bytes()
        self.threads: int = self._limits["threads"] or parallel.default_threads()
        self.clock = BenchClock(power_w=device.operation.power_w)
        self._light = LightState()
        self._fresh(new_lock())

    def _fresh(self, lock: threading.RLock) -> None:
        """Start without anything prepared; the lock guards the clock."""
        self._lock = lock
        self._parts_of = self._prepared(self._light.shift)
        for name in ("_drift", "_still_s"):
            self.__dict__.pop(name, None)
        self._told_contrast = False  # whether the user knows that an exposure is too long for the medium
        self._told_bits = False  # that bits are shown as levels
        self._told_end = False  # and that the time is behind all that is known of the medium
        self._count_type = self.device.camera.dtype
        self._photons: dict[float, float] = {}  # for an intensity of 1, by exposure

    @property
    def _parts(self) -> PreparedParts:
        """What is prepared for the light as the medium sees it now; a bench that shares it may have tuned it."""
        shift, parts = self._parts_of
        if shift != self._light.shift:
            with self._lock:
                shift, parts = self._parts_of
                if shift != self._light.shift:
                    self._parts_of = shift, parts = self._prepared(self._light.shift)
        return parts

    def _prepared(self, shift: float) -> tuple[float, PreparedParts]:
        """Return a shift of the light, and parts for it, nothing of which is made yet."""
        device = self.device
        if shift:
            device = device.evolve(medium=device.medium.shifted(shift))
        return shift, PreparedParts(
            device, self.seed, execution=self.execution, memory_budget=self.memory_budget, threads=self.threads
        )

    @cached_property
    def _drift(self) -> Drift | None:
        """How the medium changes with time; None if it does not. A file of it is read when it is needed."""
        self._parts.check_files()
        drift = self.device.medium.drift
        return None if drift.still else drift

    @cached_property
    def _still_s(self) -> float:
        """Exposure up to which a frame sees one state of the medium."""
        return self.device.medium.drift.step_s if self.device.operation.exposure_average else math.inf

    @property
    def limits(self) -> dict[str, int | None]:
        """`memory_budget` and `threads` as they were given; None for what was not."""
        return dict(self._limits)

    def with_limits(self, *, memory_budget: int | None = None, threads: int | None = None) -> Self:
        """Return this bench with other limits. Both keep one clock, so that no two of their frames share noise.

        They also have one laser and one medium: `tune` and `surround` of either are those of both.

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
        other = type(self).__new__(type(self))
        shared = {"clock": self.clock, "_light": self._light, "_limits": {**self._limits, **given}}
        other._restore({**self.__getstate__(), **given, **shared}, self._lock)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be computed again; the clock is one of its own, and so are tuning and surroundings."""
        left_out = (
            "_lock",
            "_light",
            "_parts_of",
            "_drift",
            "_still_s",
            "_count_type",
            "_photons",
            "_told_contrast",
            "_told_bits",
            "_told_end",
        )
        state = {name: value for name, value in self.__dict__.items() if name not in left_out}
        with self._lock:
            state["clock"] = copy.copy(self.clock)
            state |= self._light.given()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the bench; matrices are computed again when needed.

        The budget is that of where it was made, as the way must stay; the default of threads is that of this machine.
        """
        self._restore(state, new_lock())

    def _restore(self, state: dict[str, Any], lock: threading.RLock) -> None:
        names = LightState().given()
        self.__dict__.update({name: value for name, value in state.items() if name not in names})
        if "_light" not in state:
            self._light = LightState(**{name: value for name, value in state.items() if name in names})
            self._light.shift = self._stepped_shift(**self._light.given())
        if self._limits["threads"] is None:
            self.__dict__["threads"] = parallel.default_threads()
        self._fresh(lock)

    def __repr__(self) -> str:
        """Say which device it is, and where its clock stands."""
        return f"OpticalBench(device={self.device.name!r}, seed={self.seed}, frames={self.clock.frames})"

    # ------------------------------------------------------------------ frequency and surroundings

    @property
    def tuning_hz(self) -> float:
        """By how many hertz the laser is tuned: `tune` sets it."""
        return self._light.tuning_hz

    @property
    def temperature_change_k(self) -> float:
        """By how many kelvin the medium is warmer than where the device is described: `surround` sets it."""
        return self._light.temperature_change_k

    @property
    def pressure_change_pa(self) -> float:
        """By how many pascal the pressure is higher than where the device is described: `surround` sets it."""
        return self._light.pressure_change_pa

    @property
    def tuning_range_hz(self) -> float:
        """By how much the laser can be tuned to either side, in hertz; 0 for one that cannot."""
        return self.device.laser.tuning_range_hz

    @property
    def frequency_shift(self) -> float:
        """By how much higher the frequency of the light is to the medium than that of the laser's wavelength, over it.

        That of the tuning, and of what acts as a shift of the frequency does (`Medium.equivalent_shift`), in steps so
        small that fields of two neighbours correlate by more than .99995: one shift has one matrix.
        """
        return self._light.shift

    def tune(self, shift_hz: float) -> None:
        """Tune the laser: frames from now on are of light of another frequency.

        Clock and noise go on as they would have; the medium is computed for that frequency when the next frame is
        taken. Lenses, mirrors and camera stay those of the laser's wavelength.

        Parameters
        ----------
        shift_hz : float
            By how many hertz the frequency is higher than that of the laser's wavelength, within `tuning_range_hz` to
            either side.

        Raises
        ------
        TypeError, ValueError
            If it is no number in that range, or the medium does not change with the frequency.
        """
        most = self.tuning_range_hz
        if not most:
            raise ValueError(
                f"shift_hz is {shift_hz!r}, but the laser of this device cannot be tuned: laser.tuning_range_hz is 0."
            )
        shift_hz = validation.number("shift_hz", shift_hz, low=-most, high=most)
        if shift_hz:
            self._check_disperses("shift_hz", shift_hz)
        self._surround(tuning_hz=shift_hz)

    def surround(
        self, *, temperature_change_k: float | None = None, pressure_change_pa: float | None = None
    ) -> None:  # fmt: skip
        """Change the surroundings of the medium: frames from now on see it warmer, or under another pressure.

        What that does to the light is that of another frequency: `Medium.equivalent_shift`.

        Parameters
        ----------
        temperature_change_k : float, optional
            By how many kelvin it is warmer than where the device is described; what is not given stays.
        pressure_change_pa : float, optional
            By how many pascal the pressure is higher.

        Raises
        ------
        TypeError, ValueError
            If one is no such number, or the medium does not change with the frequency.
        """
        given = {
            "temperature_change_k": (temperature_change_k, 1e3), "pressure_change_pa": (pressure_change_pa, 1e7)
        }  # fmt: skip
        changed = {}
        for name, (value, most) in given.items():
            if value is not None:
                changed[name] = validation.number(name, value, low=-most, high=most)
                if value:
                    self._check_disperses(name, value)
        self._surround(**changed)

    def _check_disperses(self, name: str, value: float) -> None:
        medium = self.device.medium
        if not medium.disperses:
            raise ValueError(
                f"{name} is {value!r}, but a medium of kind {medium.kind!r} does not change with the frequency of the "
                "light: it must be 0, or the medium of a kind that does, such as 'phase_screens'."
            )

    def _surround(self, **changed: float) -> None:
        with self._lock:
            light = self._light
            given = light.given() | changed
            shift = self._stepped_shift(**given)
            if shift != self._parts_of[0]:
                self._parts_of = self._prepared(shift)
            # When nothing can fail any more; a bench that shares it prepares its own when it takes a frame.
            vars(light).update(given, shift=shift)

    def _stepped_shift(self, tuning_hz: float, temperature_change_k: float, pressure_change_pa: float) -> float:
        """Shift of the light's frequency as the medium sees it, in the steps in which it is computed."""
        medium, laser = self.device.medium, self.device.laser
        shift = tuning_hz / laser.frequency_hz
        shift += medium.equivalent_shift(temperature_change_k, pressure_change_pa)
        return stepped_shift(medium, laser.wavelength_m, shift) if shift else 0.0

    # ------------------------------------------------------------------ exposures

    def expose(
        self,
        mirrors: np.ndarray | MirrorPatterns | None,
        *,
        exposure_s: float,
        reference_phase_rad: float | np.ndarray | None = None,
        roi: AnyRoi | None = None,
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
            Time between frames; as short as possible, but not below the device's own, by default. Frames of different
            phases take `stepped_frametime_s` at least. With a rolling
            shutter it may be shorter than `minimum_frametime_s`: rows then see a share of the next pattern, which
            takes its turn at the end of the frame time. The last pattern of a call stays.
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

        Warns
        -----
        UserWarning
            If a rolling shutter mixes patterns: which rows, and the frame time that avoids it. Once, if a phase
            modulator is given whole numbers that are only 0 and 1.
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
        layout, bits = checked_patterns(mirrors, self.device.modulator)
        if layout is None:
            self._tell_bits(mirrors, bits)
        frametime = self._frametime(frametime_s, shape[0], exposure_s, phases)
        frames = self._run(layout, bits, region, exposure_s, frametime, None, phases, None, NUMPY, NUMPY)
        return frames.reshape(-1, *shape)

    def transform(
        self,
        patterns: MirrorPatterns,
        *,
        exposure_s: float,
        roi: AnyRoi,
        n_pixels: int,
        reference_phase_rad: float | np.ndarray | None = None,
        frametime_s: float | None = None,
        progress: Callable[[int], None] | None = None,
        reserved: ReservedFrames | None = None,
        before: MirrorPatterns | np.ndarray | None = None,
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
            Told the number of vectors that are done. A matrix that must be made first shows a bar of its own from two
            seconds on, inside a block of `opusim.bench.long_work_shown`.
        reserved : ReservedFrames, optional
            From `reserve`, here or on another bench of the same device and seed: the frames to show them in, with
            their times in place of `frametime_s`. The clock stays.
        before : MirrorPatterns or ndarray, optional
            The one pattern that was shown right before, if these are another part of the same acquisition: a camera
            that `lags` reads what its last frame left. By default the camera was idle, and is empty.

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
        layout, bits, exposure_s, rectangle, n_pixels, phases = checked_transform(
            self.device, patterns, exposure_s, roi, n_pixels, reference_phase_rad
        )
        frametime = self._frametime(frametime_s, rectangle[2], exposure_s, phases) if reserved is None else 0.0
        region = self._region(rectangle, n_pixels)
        home, place = self._places(layout, bits)
        left = None if before is None else checked_before(before, layout, self.device.modulator)
        if not self.lags:
            left = None
        return self._run(layout, bits, region, exposure_s, frametime, progress, phases, reserved, home, place, left)

    def singles(
        self, layout: MirrorLayout, *, exposure_s: float, roi: AnyRoi, n_pixels: int, frametime_s: float | None = None
    ) -> Singles | None:  # fmt: skip
        """Return what shows single patterns of a layout as `transform` does, what they have in common checked now.

        Parameters
        ----------
        layout : MirrorLayout
            How features lie on the mirrors.
        exposure_s : float
            Exposure in seconds.
        roi : tuple of int
            (row, column, n_rows, n_columns) on the sensor.
        n_pixels : int
            How many of its pixels, in raster order, are wanted.
        frametime_s : float, optional
            Time of each frame in seconds, as in `expose`.

        Returns
        -------
        Singles or None
            None where they must go by `transform`: where a frame is read with electrons of the one before it, the
            medium moves within the exposure, the modulator moves, the backend is not numpy's, bench or class has
            another `transform`, or the pixels are so many that their memory is asked for.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it may be.
        """
        none = np.zeros((0, layout.n_features_total), dtype=np.uint8)
        shown = (MirrorPatterns if self.device.modulator.binary else PhasePatterns)(none, layout)
        _, _, exposure_s, rectangle, n_pixels, _ = checked_transform(
            self.device, shown, exposure_s, roi, n_pixels, None
        )
        frametime_s = self._frametime(frametime_s, rectangle[2], exposure_s)
        if self._count_type.itemsize * n_pixels > _SMALL_BYTES or not self._has_shortcuts(exposure_s):
            return None
        return Singles(self, layout, self._region(rectangle, n_pixels), exposure_s, frametime_s)

    def together(
        self,
        layout: MirrorLayout,
        reductions: Sequence[type[Reduction]],
        *,
        exposure_s: float,
        roi: AnyRoi,
        n_pixels: int,
        reference_phase_rad: float | np.ndarray | None = None,
        frametime_s: float | None = None,
    ) -> Together | None:
        """Return what shows vectors without making frames of them: many sequences at once, reduced in the kernel.

        Parameters
        ----------
        layout : MirrorLayout
            How features lie on the mirrors.
        reductions : sequence of type
            Kinds of ``opusim.bench.reduction.Reduction`` that are asked for.
        exposure_s, roi, n_pixels, reference_phase_rad, frametime_s : object
            As in `transform`.

        Returns
        -------
        Together or None
            None where frames must be made: by waves, a rolling shutter, a camera that lags, a medium that moves while
            the shutter is open, by torch or CuPy, or where bench or class has another `transform`.
        """
        if not self.device.modulator.binary:
            return None
        none = MirrorPatterns.of_checked(np.empty((0, layout.n_features_total), np.uint8), layout)
        _, _, exposure_s, rectangle, n_pixels, phases = checked_transform(
            self.device, none, exposure_s, roi, n_pixels, reference_phase_rad
        )
        time_s = self._frametime(frametime_s, rectangle[2], exposure_s, phases)
        region, steps = self._region(rectangle, n_pixels), 1 if phases is None else len(phases)
        if not self._has_shortcuts(exposure_s):
            return None
        if self._rows(region, exposure_s, time_s, 2 * steps, phases, None) is not None:
            return None
        projector, maps = self._parts.of(layout, region, NUMPY)
        if not all(projector.way.reduces(each) for each in reductions):
            return None

        drift = self._drift

        def state_at(at_s: float) -> int:
            return 0 if drift is None else drift.state_of(at_s, _CLOCK)

        def take(n: int, state: int | None) -> tuple[ReservedFrames, int] | None:
            start_s, first_to_last_s = self.clock.elapsed_s, time_s * max(0, n - 1)
            first = state_at(start_s)
            if state is None:
                # Before frames are taken, so that a matrix that cannot be made costs none.
                projector.way.prepare(first)
            elif not first == state_at(start_s + first_to_last_s) == state:
                return None
            taken = self.reserve(n, frametime_s=time_s)
            return taken, first if first == state_at(taken.start_s + first_to_last_s) else -1

        def shots(numbers: np.ndarray, times_s: np.ndarray) -> Shots | None:
            states = self._states(times_s[::steps])
            if (states != states[0]).any():
                return None
            power = self.device.laser.relative_power(numbers, times_s, seed=self.seed, exposure_s=exposure_s)
            scale = power * self.photons_per_intensity(exposure_s)
            arm = self._reference(region, phases, len(numbers) // steps, numbers, times_s, exposure_s)
            return Shots(int(states[0]), numbers, scale, exposure_s, maps, steps, *arm)

        return Together(projector.way, take, self._take_back, shots)

    def explain(
        self,
        patterns: MirrorPatterns | np.ndarray,
        *,
        roi: AnyRoi | None = None,
        n_pixels: int | None = None,
    ) -> Plan:
        """Return which way `transform` or `expose` takes for patterns, and why, without showing them.

        Parameters
        ----------
        patterns : MirrorPatterns or ndarray
            As for `expose`; what counts is how they are laid out, and where the bits lie.
        roi : tuple of int, optional
            (row, column, n_rows, n_columns) on the sensor; the whole sensor by default.
        n_pixels : int, optional
            How many of its pixels are read; all by default.

        Returns
        -------
        Plan
            The way, the bytes of a matrix, operations and expected times of either way, and a sentence on the choice.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it may be, or the way that `execution` names is not possible.
        """
        rectangle = checked_roi(roi, self.sensor_shape)
        every = rectangle[2] * rectangle[3]
        n = every if n_pixels is None else validation.integer("n_pixels", n_pixels, low=1, high=every)
        layout, bits = checked_patterns(patterns, self.device.modulator, on_device=True)
        _, place = self._places(layout, bits)
        return self._parts.of(layout, self._region(rectangle, n), place)[0].plan

    def flat_field(
        self,
        photons_per_pixel: float,
        *,
        exposure_s: float,
        n_frames: int = 1,
        roi: AnyRoi | None = None,
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
        roi : tuple of int, optional
            (row, column, n_rows, n_columns); the whole sensor by default.
        frametime_s : float, optional
            Time of each frame, as in `expose`.

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
        roi: AnyRoi | None = None,
    ) -> Planes:
        """Return every plane of the exposure that `expose` would make next, without making it.

        Parameters
        ----------
        mirrors : ndarray or MirrorPatterns
            One pattern, as in `expose`.
        exposure_s : float, optional
            Exposure in seconds; the device's own by default.
        reference_phase_rad : float, optional
            One phase, as in `expose`; None blocks the reference.
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
        layout, bits = checked_patterns(mirrors, self.device.modulator)
        if len(bits) != 1:
            raise ValueError(f"mirrors holds {len(bits)} patterns, but inspect takes exactly one.")
        rectangle = checked_roi(roi, self.sensor_shape)
        region = self._region(rectangle)
        shape = (rectangle[2], rectangle[3])
        projector, maps = self._parts.of(layout, region)
        with self._lock:
            frame, time_s = self.clock.frames, self.clock.elapsed_s
        state = self._state(time_s)
        moving = self.device.drift_within(exposure_s)
        if moving is not None:
            self._tell_contrast(moving, exposure_s)
        way = projector.way if moving is None else projector.way.unkept
        power = self.device.laser.relative_power(
            np.array([frame]), np.array([time_s]), seed=self.seed, exposure_s=exposure_s
        )
        scale = power * self.photons_per_intensity(exposure_s)
        rows = self._rows(region, exposure_s, math.inf, 1, phases, None)
        shots = [
            Shots(
                state, np.array([frame]), scale, exposure_s, maps, 1,
                *self._reference(region, phases, 1, np.array([frame]), np.array([time_s + late_s]), exposure_s),
                np.array([time_s]),
            )
            for late_s in ([0.0] if rows is None else rows.late_s)
        ]  # fmt: skip
        moments = way.moments(shots[0])
        fields = way.fields(bits, state, moments)[0]
        if rows is not None:
            level = rows.level(fields, shots, 0)
        elif moving is None:
            turn = shots[0].turns().view(np.complex64)[0, 0]
            level = intensity(fields, shots[0].reference, turn, float(shots[0].contrasts()[0]))
        else:
            seen = within_exposure.moments_of(shots[0], np.array([time_s]), moving, self._moving_arm(phases))
            level = within_exposure.mean_intensity(way, bits, seen(0), NUMPY, shots[0].reference, moments)
        photons = (level * np.float32(scale[0] / projector.plan.samples)).astype(np.float32)
        camera = self.device.camera
        light, seen_by = self._readout().mixed(photons, maps, exposure_s)
        electrons = camera.electrons(light, exposure_s=exposure_s, seed=self.seed, frame0=frame, maps=seen_by)
        counts = np.empty((1, region.n_pixels), dtype=camera.dtype)
        if rows is not None:
            film = RollingFilm(self._readout(), projector.plan.samples, rows)
            film.develop(way, bits, [(slice(0, 1), shots)], counts)
        elif moving is None:
            way.counts(bits, shots[0], counts)
        else:
            self._readout().read(counts, 0, photons, shots[0], 0)
        if layout is None:
            shown = bits.reshape(self.mirror_shape)
        else:
            shown = (layout.mirrors if self.device.modulator.binary else layout.pixels)(bits)[0]
        return Planes(
            mirrors=np.asarray(shown, dtype=np.uint8),
            dmd_field=projector.geometry.source.shown(bits, moments)[0],
            medium_field=self.device.sampling.unweighted(fields).reshape(*shape, -1),
            photons=photons.reshape(shape),
            electrons=electrons.reshape(shape),
            counts=counts.reshape(shape),
            weights=self.device.sampling.weights,
        )

    # ------------------------------------------------------------------ time and light

    @property
    def lags(self) -> bool:
        """Whether a frame is read with electrons of the one before it, by `Camera.lag`."""
        return self.device.camera.lag > 0

    @property
    def mirror_shape(self) -> tuple[int, int]:
        """Mirrors as (rows, columns)."""
        return self.device.dmd.shape

    @property
    def sensor_shape(self) -> tuple[int, int]:
        """Pixels as (rows, columns)."""
        return self.device.camera.shape

    @property
    def input_layout(self) -> MirrorLayout | None:
        """Inputs of the medium on the mirrors, if it has its own (`opusim.bench.protocol.Inputs`); else None.

        Those of a measured matrix lie in line, on all mirrors. Patterns are then
        ``opusim.patterns.layout.MirrorPatterns(bits, bench.input_layout)``.
        """
        self._parts.check_files()
        return input_layout(self.device)

    @property
    def level_turns(self) -> np.ndarray | None:
        """Phases of the modulator's levels in turns, float64 (levels,), as its table says; None for mirrors.

        Of `opusim.bench.protocol.Phases`. What pixels really do may differ by the modulator's imperfections.
        """
        slm = self.device.modulator
        if not isinstance(slm, PhaseSlm):
            return None
        return slm.level_turns

    @property
    def output_roi(self) -> Roi | None:
        """Rectangle of the sensor that the outputs of the medium fill, if it has its own; else None.

        That of a measured matrix: where its file says pixels, the largest rectangle that they fill; else one in the
        middle of the sensor that has as many pixels (`opusim.bench.protocol.Outputs`).
        """
        return output_roi(self.device)

    def readout_s(self, n_rows: int) -> float:
        """Return the time to read rows of the sensor.

        Parameters
        ----------
        n_rows : int
            How many rows.

        Returns
        -------
        float
            Seconds.
        """
        camera = self.device.camera
        return _readout_s(camera, n_rows) if type(n_rows) is int else camera.readout_s(n_rows)

    def minimum_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames of which each shows one pattern on all rows.

        That is max(readout, exposure) + 50 us (lightonml), and what the mirrors allow. With a rolling shutter it is
        readout + exposure + 50 us: `expose` takes the former too, and rows then see a share of the next pattern.

        Parameters
        ----------
        n_rows : int
            Rows of the sensor that are read.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds.
        """
        camera = self.device.camera
        known = type(n_rows) is int and type(exposure_s) is float
        shown_s = _pattern_s(camera, n_rows, exposure_s) if known else camera.pattern_s(n_rows, exposure_s)
        return max(shown_s + FRAME_OVERHEAD_S, 1.0 / self.device.dmd.frame_rate_hz)

    def stepped_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames of which each has another phase of the reference than the last.

        The shifter steps when all rows have ended their exposure, and takes `Reference.settling_s` before the next one
        may begin; the sensor may be read meanwhile. All frames of a burst of different phases are as far apart, so that
        the first step of a burst, back from the last one of the burst before, has the same time.

        Parameters
        ----------
        n_rows : int
            Rows of the sensor that are read.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds; `minimum_frametime_s` for a shifter that needs none.
        """
        least_s = self.minimum_frametime_s(n_rows, exposure_s)
        settling_s = self.device.reference.settling_s
        if not settling_s:
            return least_s
        rolls = self.device.camera.shutter == "rolling"
        return max(least_s, exposure_s + settling_s + (self.readout_s(n_rows) if rolls else 0.0))

    def photons_per_intensity(self, exposure_s: float) -> float:
        """Return the photons on a pixel for a field of intensity 1: the light of one average mirror, at the mean power.

        Without the polariser both polarisations reach the camera: twice the light.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Mean number of photons.
        """
        found = self._photons.get(exposure_s)
        if found is None:
            found = self.device.photons_per_intensity(exposure_s)
            if len(self._photons) < _EXPOSURES:
                self._photons[exposure_s] = found
        return found

    def expected_level_dn(self, n_on: float, exposure_s: float) -> float:
        """Mean grey level for `n_on` mirrors on, spread evenly over the beam, without clipping, of a linear sensor.

        Over all outputs of a measured matrix, with the light of its background. A Fourier stop is left out: what it
        takes depends on the pattern, and the level behind it is less by that.

        Parameters
        ----------
        n_on : float
            Number of mirrors that are on.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Grey levels.
        """
        camera, dmd = self.device.camera, self.device.dmd
        # What mirrors that are off send through inputs of the medium's own is in its background.
        off = dmd.off_amplitude if self.device.medium.n_inputs is None else 0.0
        intensity = n_on + off * off * (dmd.n_mirrors - n_on) + self.device.background_intensity
        electrons = camera.quantum_efficiency * intensity * self.photons_per_intensity(exposure_s)
        electrons += camera.mean_dark_current_e_per_s * exposure_s
        if (
            camera.nonlinearity
        ):  # of the mean charge: over speckle a bent response has a mean that is lower by some bends
            electrons = float(camera.response_e(electrons))
        return camera.black_level_dn + camera.gain_dn_per_e * electrons

    def reserve(self, n_frames: int, *, frametime_s: float) -> ReservedFrames:
        """Take frames and their time now, to show patterns in them later (`transform`), here or on another bench.

        Parameters
        ----------
        n_frames : int
            How many.
        frametime_s : float
            Time of each, in seconds.

        Returns
        -------
        ReservedFrames
            The frames, for the argument `reserved` of `transform`.
        """
        if type(n_frames) is not int or n_frames < 0:
            n_frames = validation.integer("n_frames", n_frames, low=0)
        if type(frametime_s) is not float or not 0.0 <= frametime_s <= LONGEST_S:
            frametime_s = validation.number("frametime_s", frametime_s, low=0.0, high=LONGEST_S)
        return ReservedFrames(*self._take(n_frames, frametime_s), n_frames, frametime_s)

    def skip_frames(self, n_frames: int, *, frametime_s: float | None = None) -> None:
        """Let frames pass unread, and their time.

        A copy of a bench in another process goes on with the same frame numbers, hence with the same noise; workers
        that must not share noise each skip to a range of their own.

        Parameters
        ----------
        n_frames : int
            How many.
        frametime_s : float, optional
            Time of each; the device's own by default.
        """
        n = validation.integer("n_frames", n_frames, low=0)
        default = self.device.operation.frametime_s
        time_s = validation.number(
            "frametime_s", default if frametime_s is None else frametime_s, low=0.0, high=LONGEST_S
        )
        self._take(n, time_s)

    def advance_to(self, frames: int, elapsed_s: float) -> None:
        """Let the clock stand where that of another bench of the same device and seed stood.

        Its next frames are then, bit for bit, those that the other bench would have taken next: noise is addressed by
        the frame's number, drift by the time. So a run goes on in another process.

        Parameters
        ----------
        frames : int
            ``clock.frames`` of the other bench.
        elapsed_s : float
            ``clock.elapsed_s`` of the other bench, in seconds.

        Raises
        ------
        TypeError, ValueError
            If an argument is not a number that it may be, or lies behind the clock: frames that are taken stay
            taken, or two frames would share their noise. The clock stays as it was.
        """
        frames = validation.integer("frames", frames, low=0, high=MOST_FRAMES)
        elapsed_s = validation.number("elapsed_s", elapsed_s, low=0.0, high=MOST_S)
        with self._lock:
            clock = self.clock
            for name, value, now in (("frames", frames, clock.frames), ("elapsed_s", elapsed_s, clock.elapsed_s)):
                if value < now:
                    raise ValueError(f"{name} is {value!r}, but the clock cannot go back: it must be at least {now!r}.")
            clock.frames, clock.elapsed_s = frames, elapsed_s

    @property
    def made_with(self) -> str:
        """What the last bits of its frames depend on, beside device, seed and clock: way, libraries and processor."""
        shifted = f"shifted by {self._light.shift!r}; " if self._light.shift else ""
        return f"{shifted}{self.execution}; {self.memory_budget} bytes; {numerics()}"

    def advance_from(self, start: tuple[int, float], end: tuple[int, float]) -> bool:
        """Put the clock forward, if it stands where it is said to, as over frames whose outcome is known.

        Parameters
        ----------
        start, end : tuple of (int, float)
            Frames taken and device time in seconds: where the clock must stand, and where it shall.

        Returns
        -------
        bool
            Whether it stood there, and stands at the end now; nothing happens if it did not.

        Raises
        ------
        TypeError, ValueError
            As from `advance_to`, for the end.
        """
        with self._lock:
            if (self.clock.frames, self.clock.elapsed_s) != tuple(start):
                return False
            self.advance_to(*end)
        return True

    def _take(self, n: int, frametime_s: float) -> tuple[int, float]:
        """Take `n` frame numbers and their time; no two calls ever share noise."""
        with self._lock:
            clock = self.clock
            first, start = clock.frames, clock.elapsed_s
            frames, elapsed_s = first + n, start + n * frametime_s
            if frames > MOST_FRAMES or elapsed_s > MOST_S:
                raise ValueError(
                    f"{n} frames of {frametime_s:g} s from frame {first} at {start:g} s on would end at frame {frames} "
                    f"at {elapsed_s:g} s, but a bench ends at frame {MOST_FRAMES} and at {MOST_S:g} s."
                )
            if self._drift is not None and n:
                self._drift.check(_CLOCK, elapsed_s)
            # Both at once: nothing that a fork could come between.
            clock.frames, clock.elapsed_s = frames, elapsed_s
        return first, start

    def _take_back(self, taken: ReservedFrames) -> bool:
        """Put the clock back over frames that nobody has seen, if it has taken no others since; return whether."""
        with self._lock:
            clock, n = self.clock, taken.n_frames
            if (clock.frames, clock.elapsed_s) != (taken.first + n, taken.start_s + n * taken.frametime_s):
                return False
            clock.frames, clock.elapsed_s = taken.first, taken.start_s
        return True

    def _frametime(
        self, frametime_s: float | None, n_rows: int, exposure_s: float, phases: np.ndarray | None = None
    ) -> float:  # fmt: skip
        # Asked with each transform: of most devices the same.
        stepped = phases is not None and bool(self.device.reference.settling_s) and bool((phases != phases[0]).any())
        least = (self.stepped_frametime_s if stepped else self.minimum_frametime_s)(n_rows, exposure_s)
        if frametime_s is None:
            return max(least, self.device.operation.frametime_s)
        if stepped:
            return checked_frametime(frametime_s, least, "this exposure, region and reference.settling_s")
        if self.device.camera.shutter == "rolling":
            # The camera can be triggered while it reads; what its rows see then is mixed.
            shown_s = max(self.readout_s(n_rows), exposure_s) + FRAME_OVERHEAD_S
            least = max(shown_s, 1.0 / self.device.dmd.frame_rate_hz)
        return checked_frametime(frametime_s, least)

    # ------------------------------------------------------------------ inside

    def _moving(self, exposure_s: float) -> Drift | None:
        """Return the drift of a medium that moves within an exposure; None where it stands still."""
        return self.device.drift_within(exposure_s) if exposure_s > self._still_s else None

    def _has_shortcuts(self, exposure_s: float) -> bool:
        """Whether `singles` and `together` may stand for `transform`.

        That is the one above, no other was set here, nor in a class that derives from this one; numpy computes; and
        each frame is of its pattern alone, in one state of the medium.
        """
        bound = self.transform
        own = getattr(bound, "__self__", None) is self and getattr(bound, "__func__", None) is OpticalBench.transform
        # Mirrors that move are summed with weights, frame by frame.
        plain = own and self.backend in ("auto", "numpy") and not self.device.modulator.moves
        return plain and not self.lags and self._moving(exposure_s) is None

    def _places(self, layout: MirrorLayout | None, bits: Any) -> tuple[Arrays, Arrays]:
        """Return where bits lie, and where they are computed with."""
        if layout is None or (type(bits) is np.ndarray and self.backend in ("auto", "numpy")):
            return NUMPY, NUMPY
        place = arrays.choose(self.backend, bits)
        return arrays.of(bits), place

    def _run(
        self,
        layout: MirrorLayout | None,
        bits: Any,
        region: Region,
        exposure_s: float,
        frametime_s: float,
        progress: Callable[[int], None] | None,
        phases: np.ndarray | None,
        reserved: ReservedFrames | None,
        home: Arrays,
        place: Arrays,
        before: np.ndarray | None = None,
    ) -> Any:
        """Show patterns whose bits lie at `home`, computing at `place`."""
        n, steps = len(bits), 1 if phases is None else len(phases)
        if self.lags and reserved is not None:
            reserved.check_known(before is not None)
        if before is not None and (self.clock.frames if reserved is None else reserved.frames_before(steps)) < steps:
            raise ValueError("before is a pattern, but there is no frame in which it could have been shown.")
        states = None
        rows = self._rows(region, exposure_s, frametime_s, n * steps, phases, reserved)
        if rows is not None or self.lags:
            place = NUMPY
        if reserved is not None:
            frames, times, shown = reserved.of(n, steps)
            states = self._states(times[shown][::steps])
        if home is not NUMPY and place == NUMPY:
            bits = home.to_host(bits)
        projector, maps = self._parts.of(layout, region, place)
        # Asked with each transform: what it is follows from the exposure alone.
        moving = self._moving(exposure_s) if n else None
        way, kind = (projector.way if moving is None else projector.way.unkept), self._count_type
        needed = kind.itemsize * n * steps * region.n_pixels
        if needed > _SMALL_BYTES:
            what = f"The counts of {n * steps} frames of {region.n_pixels} pixels"
            memory.check(what, needed, "pass fewer patterns at a time.", home)
        if n or way.name == "matrix":
            # Before frames are taken, so that a matrix or a layer that cannot be made costs none.
            way.prepare(int(states[0]) if states is not None and n else self._state(self.clock.elapsed_s))
        if moving is not None:
            self._tell_contrast(moving, exposure_s)
        # In the machine's own memory numpy's arrays and torch's tensors are the same bytes.
        shape = (n * steps, region.n_pixels)
        slow = rows is not None or moving is not None  # by the camera of the machine's own memory
        out = home.empty(shape, kind) if home.is_gpu and not slow else np.empty(shape, kind)
        if reserved is None:
            taken = ReservedFrames(*self._take(n * steps, frametime_s), n * steps, frametime_s)
            frames, times, shown = taken.of(n, steps)
        unread = 0
        if before is not None and n:
            bits, n, unread, states = np.concatenate([before, bits]), n + 1, steps, None
            frametime_s = frametime_s if reserved is None else reserved.frametime_s
            frames, times, shown = with_one_before(frames, times, shown, steps, frametime_s)
            progress = None if progress is None else _one_less(progress)
        # Of the whole sequence, then those that are shown: the last bits of a sine may depend on its neighbours.
        power = self.device.laser.relative_power(frames, times, seed=self.seed, exposure_s=exposure_s)
        scale = power * self.photons_per_intensity(exposure_s)
        states = self._states(times[shown][::steps]) if states is None else states
        # Of each row, where a rolling shutter exposes them at times of their own.
        state = int(states[0]) if n else 0
        arms = [
            Shots(
                state, frames, scale, exposure_s, maps, steps,
                *self._reference(region, phases, len(frames) // steps, frames, times + late_s, exposure_s), times,
            )
            for late_s in ([0.0] if rows is None else rows.late_s)
        ]  # fmt: skip
        arms, times = [arm.only(shown, state) for arm in arms], times[shown]
        if moving is not None:
            within_exposure.counts(
                way, bits, arms[0], times, moving, self._moving_arm(phases), self._readout(unread),
                samples=projector.plan.samples, arrays=place, out=out, progress=progress,
            )  # fmt: skip
            return out if home is NUMPY else home.from_host(out)
        edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), n] if n > 1 else list(range(n + 1))
        runs: list[tuple[slice, list[Shots]]] = []
        for a, b in zip(edges, edges[1:], strict=False):
            done: Callable[[int], None] | None = None
            if progress is not None:

                def done(k: int, a: int = a) -> None:
                    progress(a + k)

            part = slice(a * steps, b * steps)
            shots = [arm.only(part, int(states[a])) for arm in arms]
            if rows is None:
                way.counts(bits[a:b], shots[0], out[part], done)
            runs.append((slice(a, b), shots))
        if rows is not None:
            film = RollingFilm(self._readout(unread), projector.plan.samples, rows)
            film.develop(way, bits, runs, out, progress)
            return home.from_host(out) if home is not NUMPY else out
        return out if home is NUMPY or home.is_gpu else home.from_host(out)

    def _tell_bits(self, given: Any, levels: np.ndarray) -> None:
        """Warn, once a bench, of levels that are hardly meant as such."""
        slm = self.device.modulator
        if not isinstance(slm, PhaseSlm) or self._told_bits or not levels.size or levels.max() != 1:
            return
        if doubt := doubt_of_bits("mirrors", np.asarray(given).dtype.kind, levels, slm.levels):
            self._told_bits = True
            warn_outside(doubt)

    def _tell_contrast(self, drift: Drift, exposure_s: float) -> None:
        """Warn, once a bench, of an exposure whose speckle keeps more contrast than it should."""
        ratio = exposure_s / drift.decorrelation_time_s
        if ratio <= LONGEST or self._told_contrast:
            return
        self._told_contrast = True
        warn_outside(
            f"exposure_s is {exposure_s!r}, {ratio:.4g} times medium.decorrelation_time_s. A frame is the mean of 64 "
            f"states of the medium, which is right up to {LONGEST:g} times: the speckle of the medium has the contrast "
            f"{drift.contrast(exposure_s):.3g} here, but it should have {exposure_contrast(ratio):.3g} "
            "(opusim.theory.exposure_contrast)."
        )

    def _states(self, times_s: np.ndarray) -> np.ndarray:
        """Return the state of the medium's drift at some times."""
        drift = self._drift
        if drift is None:
            return np.zeros(times_s.shape, dtype=np.int64)
        if drift.ends_s < math.inf and times_s.size and not self._told_end and times_s.max() > drift.ends_s:
            self._told_end = True
            warn_outside(
                f"The clock of the bench is at {times_s.max():.6g} s, but the last state of the medium in "
                f"{self.device.medium.told_files()} begins at {drift.begins_s[-1]:.6g} s, and stays from then on."
            )
        return drift.state_at(times_s, _CLOCK)

    def _state(self, time_s: float) -> int:
        """Return the state of the medium's drift at one time."""
        drift = self._drift
        if drift is None:
            return 0
        if drift.ends_s < math.inf:
            return int(self._states(np.array([time_s]))[0])
        return drift.state_of(time_s, _CLOCK)

    def _reference(
        self, region: Region, phases: np.ndarray | None, n: int, frames: np.ndarray, times_s: np.ndarray,
        exposure_s: float,
    ) -> tuple[np.ndarray | None, np.ndarray | None, float, np.ndarray | None]:  # fmt: skip
        """Return what `Shots` takes of the reference on a region, from its field on; Nones if it is blocked."""
        arm = self.device.reference
        if phases is None:
            return None, None, 1.0, None
        asked, wave, moduli = np.tile(phases, n), self._parts.reference_wave(region), None
        if self.device.operation.exposure_average and arm.moves:
            mean = arm.phasors(asked, frames, times_s, exposure_s, seed=self.seed)
            turned = elementary.angle(mean)
            moduli = np.minimum(np.sqrt(elementary.square_modulus(mean)), 1.0)  # rounding may go beyond
        else:
            turned = arm.phases_rad(asked, frames, times_s, seed=self.seed)
        return wave, turned, self.device.fringe_coherence, moduli

    def _moving_arm(self, phases: np.ndarray | None) -> within_exposure.MovingArm | None:
        """Return the reference for frames in which the medium moves; None if it is blocked or stands still."""
        arm = self.device.reference
        if phases is None or not arm.moves:
            return None
        return within_exposure.MovingArm(arm, phases, self.device.fringe_coherence, self.seed)

    def _rows(
        self,
        region: Region,
        exposure_s: float,
        frametime_s: float,
        n_frames: int,
        phases: np.ndarray | None,
        reserved: ReservedFrames | None,
    ) -> Rows | None:
        """Return what rows see each for itself; None if all see the same, and nothing of the frame before."""
        camera, n_rows = self.device.camera, region.roi.n_rows
        alike = None
        if self.lags and self.device.drift_within(exposure_s) is None:
            alike = Rows(np.zeros(n_rows), region.roi.n_columns, [0.0])
        if camera.shutter != "rolling":
            return alike
        slm = self.device.modulator
        if slm.vibrates:
            if isinstance(slm, PhaseSlm):
                path, value, what, still = "modulator.flicker_hz", slm.flicker_hz, "flicker of the phases", "flicker"
            else:
                path, value = "dmd.vibration_rad", self.device.micromirrors.vibration_rad
                what, still = "tilt of the mirrors", "vibration_rad"
            raise ValueError(
                f"camera.shutter is 'rolling' and {path} is {value!r}, but rows that are exposed at times of their own "
                f"would each see another {what}, which is not simulated: camera.shutter must be 'global', or "
                f"{path.partition('.')[0]}.{still} 0."
            )
        if reserved is not None:
            frametime_s = reserved.frametime_s
        shares = camera.next_shares(n_rows, exposure_s, frametime_s)
        if n_frames < 2:
            shares[:] = 0.0
        least_s = self.minimum_frametime_s(n_rows, exposure_s)
        if shares.any():
            if reserved is not None:
                raise ValueError(
                    f"reserved has frames of {frametime_s:.6g} s, in which the rolling shutter mixes patterns: they "
                    f"must take {least_s:.6g} s at least, as a part of a sequence does not know the next pattern."
                )
            mixed = np.flatnonzero(shares)
            warn_outside(
                f"The rolling shutter mixes patterns: in frames of {frametime_s:.6g} s the rows {mixed[0]} to "
                f"{mixed[-1]} of the region see the next pattern for up to {100 * shares[-1]:.3g} % of their exposure. "
                f"frametime_s = {least_s:.6g} avoids it."
            )
        arm = self.device.reference
        moves = phases is not None and arm.moves
        if not (moves or shares.any()):
            return alike
        if self.device.drift_within(exposure_s) is not None:
            raise ValueError(
                f"exposure_s is {exposure_s!r}, in which the medium moves (medium.decorrelation_time_s is "
                f"{self.device.medium.decorrelation_time_s!r}), but rows of a rolling shutter that see "
                + ("a reference that moves" if moves else "two patterns")
                + " take the medium as still: use a shorter exposure, camera.shutter = 'global', or switch off "
                + ("drift and vibration of the reference." if moves else f"the mixing by frametime_s = {least_s:.6g}.")
            )
        late_s = camera.row_time_s * np.arange(n_rows) if moves else np.zeros(1)
        return Rows(shares, region.roi.n_columns, late_s.tolist())

    def _light_evenly(
        self, photons: float, n: int, region: Region, exposure_s: float, frametime_s: float
    ) -> np.ndarray:
        maps = self._parts.sensor(region)
        first, _ = self._take(n, frametime_s)
        out = np.empty((n, region.n_pixels), dtype=self.device.camera.dtype)
        even = np.full(region.n_pixels, photons, dtype=np.float32)
        shots = Shots(0, first + np.arange(n, dtype=np.int64), np.ones(n), exposure_s, maps)
        readout = self._readout()
        readout.leave(even, shots)  # the same light was there before
        for i in range(n):
            readout.read(out, i, even, shots, i)
        return out

    def _readout(self, unread: int = 0) -> Readout:
        """Return what reads the frames of one call by the camera of the machine's own memory."""
        return Readout(self.device.camera, self.seed, self.threads, unread)

    def _region(self, roi: Roi, n_pixels: int | None = None) -> Region:
        return Region(roi, roi.n_pixels if n_pixels is None else n_pixels, self.device.camera.shape[1])


def _one_less(progress: Callable[[int], None]) -> Callable[[int], None]:
    """Return what tells `progress` of the patterns that are done, without the first."""
    return lambda done: progress(max(0, done - 1))


def _checked_limits(memory_budget: int | None, threads: int | None) -> dict[str, int | None]:
    given = {"memory_budget": memory_budget, "threads": threads}
    return {name: None if v is None else validation.integer(name, v, low=1) for name, v in given.items()}
