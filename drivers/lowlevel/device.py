"""The low-level device: what stands between the driver and the bench.

Lengths and places are cartesian, as in the closed driver that lightonml spoke to: the mirrors are (912, 1140), the
sensor is (width, height), a region is ((x, y), (width, height)). Times are whole microseconds.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from opusim.base import arrays, validation
from opusim.base.errors import NotReadyError
from opusim.base.locks import after_fork, new_lock
from opusim.base.user_arrays import as_numpy
from opusim.bench import linear_modes, protocol
from opusim.bench.region import AnyRoi, LightonmlRoi, checked_lightonml_roi
from opusim.drivers.settings import OPU_TYPES, microseconds, whole_microseconds
from opusim.drivers.types import AcqState, OutputRoiStrategy, Tuple2D
from opusim.drivers.values import Values, values_of
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

from .exclusive import ExclusiveUse
from .recognition import FORMATTED
from .settings_of_frame import FrameSettings

if TYPE_CHECKING:
    from pathlib import Path

    from opusim.bench.bench import OpticalBench
    from opusim.bench.frames import ReservedFrames
    from opusim.bench.reduction import Reduction
    from opusim.bench.together import Together
    from opusim.device.record import Device

# Read the middle rows of a sensor at full width, or a rectangle of its proportions, in steps of so many pixels.
_ROI_RULES = {
    "type1": (OutputRoiStrategy.mid_square, 8),
    "type2": (OutputRoiStrategy.mid_width, 1),
    "type3": (OutputRoiStrategy.mid_width, 1),
}
# Mirror patterns that go to the bench at a time: unpacked, each takes a megabyte.
_PATTERNS_PER_STEP = 64
# What a pickle of a device leaves out.
_OF_THIS_PROCESS = (
    "lock", "measuring", "_acquisitions", "_use", "_frame_settings", "_threads", "_level", "_linear_modes",
    "_singles", "_values",
)  # fmt: skip
# Those of this process.
_devices: WeakSet[OpuDevice] = WeakSet()
_LABORATORY = "opusim.bench.laboratory.FromExpose makes that of expose."


@dataclass(frozen=True)
class BenchArguments:
    """What a bench is made from; the arguments of `OpuDevice` of these names."""

    device: str | Path | Device = "aurora"
    seed: int = 0
    resolution: str | None = None
    execution: str = "auto"
    memory_budget: int | None = None
    threads: int | None = None
    backend: str = "auto"

    @property
    def given(self) -> dict[str, Any]:
        """Those that are not left at their defaults."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return {field.name: value for field, value in values if value != field.default}


class OpuDevice(validation.Fixed):
    """Low-level interface of a simulated optical processing unit.

    Parameters
    ----------
    opu_type : {"type1", "type2", "type3"}, optional
        Which rule the region of interest on the camera follows; the device's own by default.
    frametime_us, exposure_us : int, optional
        Times to start with; the device's own by default.
    sequence_nb_prelim : int, optional
        Preliminary frames of a sequence: kept, without effect.
    output_roi : tuple, optional
        Region to start with, ((x, y), (width, height)); the whole sensor by default.
    verbose : int, optional
        Kept, without effect.
    name : str, optional
        Name of this unit; the device's own by default.
    device : str, Path or Device
        What is simulated: a preset's name, the path of a TOML file, or a device.
    seed : int
        Seed of the medium, the sensor and the noise.
    resolution : {"auto", "mirrors"}, optional
        What is simulated as a mode of its own; the device's choice by default.
    execution : {"auto", "matrix", "waves"}
        How; same numbers within rounding.
    memory_budget : int, optional
        Most bytes that a stored matrix may take; 6 GiB by default.
    threads : int, optional
        Threads to use with numpy; all processors by default. They do not change the result.
    backend : str
        What the light is computed with, as for `OPU`.
    bench : OpticalBench or Drivable, optional
        A bench to drive, in place of one made from `device` and the arguments after it: that of a laboratory, too
        (`opusim.bench.protocol.Drivable`).
    exclusive : bool
        Whether only one process at a time may have a device of this name open; `open` then raises an
        OpuAlreadyUsedException in a second one. Set before `open`.

    Notes
    -----
    Settings may be read and written while the device is closed, and are kept over `close`. The bench is made when it
    is first needed. Any number of devices may be open at once, and one may be used from several threads: every
    sequence reserves frame numbers of its own, so that no two frames share noise. A copy made by `copy.copy` or
    `copy.deepcopy` is the device itself. A pickle holds the settings and the bench, of whatever kind, as that pickles
    itself (an `OpticalBench` without what it has computed); unpickled, the device is open if it was, and goes on with
    the next frame.
    """

    _fixed = {"device_model": "Make another OpuDevice."}

    def __init__(
        self,
        opu_type: str | None = None,
        frametime_us: float | None = None,
        exposure_us: float | None = None,
        sequence_nb_prelim: int = 0,
        output_roi: LightonmlRoi | None = None,
        verbose: int = 0,
        name: str | None = None,
        *,
        device: str | Path | Device = "aurora",
        seed: int = 0,
        resolution: str | None = None,
        execution: str = "auto",
        memory_budget: int | None = None,
        threads: int | None = None,
        backend: str = "auto",
        bench: OpticalBench | None = None,
        exclusive: bool = False,
    ) -> None:
        self._bench = bench
        if bench is not None:
            protocol.checked_bench(bench, protocol.Drivable, why=_LABORATORY)
            given = BenchArguments(device, seed, resolution, execution, memory_budget, threads, backend).given
            if given:
                names = ", ".join(given)
                raise ValueError(f"bench is given, and so is {names}: the bench has its own. Leave out one of the two.")
            self.device_model: Any = bench.device
            # What is asked of them without a bench being made.
            self._bench_arguments: dict[str, Any] = {"seed": bench.seed}
            if protocol.has(bench, protocol.Backed):
                self._bench_arguments["backend"] = bench.backend
        else:
            from opusim.device.record import Device

            self.device_model = Device.load(device)
            self._bench_arguments = {
                "seed": validation.integer("seed", seed, low=0),
                "execution": validation.choice("execution", execution, ("auto", "matrix", "waves")),
                "backend": backend,
            }
            arrays.choose(backend)  # what is wrong with it is said now, not when the first vector is shown
            if resolution is not None:
                self._bench_arguments["resolution"] = validation.choice("resolution", resolution, ("auto", "mirrors"))
            for limit, value in (("memory_budget", memory_budget), ("threads", threads)):
                if value is not None:
                    self._bench_arguments[limit] = validation.integer(limit, value, low=1)
        # Asked for in every transform.
        self._has_reference = bool(self.device_model.reference.present)
        self._output_dtype = np.dtype(self.device_model.camera.dtype)
        self._values = values_of(self.device_model, self._bench)
        operation = self.device_model.operation
        self.opu_type = operation.opu_type if opu_type is None else opu_type
        self.name = self.device_model.name if name is None else str(name)
        self.verbose = verbose
        self.exclusive = validation.flag("exclusive", exclusive)
        # Programs reach for this private name to work round a fault of the real electronics.
        self.__opu = SimpleNamespace(nb_prelim=validation.integer("sequence_nb_prelim", sequence_nb_prelim, low=0))
        self._fresh()
        self.frametime_us = max(1, round(operation.frametime_s * 1e6)) if frametime_us is None else frametime_us
        self.exposure_us = max(1, round(operation.exposure_s * 1e6)) if exposure_us is None else exposure_us
        self._gain_dB = 0.0
        self._output_roi: LightonmlRoi = ((0, 0), self.output_shape_max)
        if output_roi is not None:
            self.output_roi = output_roi

    def _fresh(self) -> None:
        _devices.add(self)
        self.lock = new_lock()
        # Held by who calibrates, or measures what belongs to a fit: longer than `lock`, and taken before it.
        self.measuring = new_lock()
        self._active = False
        # What the camera is doing, and the threads that began it.
        self._acquisitions: list[tuple[AcqState, int]] = []
        self._use: ExclusiveUse | None = None
        # Calibrations of the linear transform, by region of the camera; shared by all who use this device.
        self.linear_records: dict[AnyRoi, Any] = {}
        # Whose region and times are set: a fit on a device that it shares sets them again if they are another's.
        self.settings_owner: object | None = None
        # Whether the region is known: that of a new device is the whole sensor, whose readout nobody asked for.
        self._region_known = False
        # What `exposure` returns, until a setting changes.
        self._frame_settings: FrameSettings | None = None
        # What `features_level_dn` was asked last, and what it said: a linear transform asks each time.
        self._level: tuple[MirrorLayout, float, float] | None = None
        self._threads: tuple[Any, int | None] | None = None
        # What shows single vectors, if anything does, and for which settings, layout and pixels.
        self._singles: tuple[FrameSettings, MirrorLayout, int, protocol.Single | None] | None = None
        # Ways to a linear transform that this device has, by what was asked for.
        self._linear_modes: dict[str, linear_modes.LinearMode] = {}

    # ------------------------------------------------------------------ what it is

    @property
    def bench(self) -> OpticalBench:
        """The bench behind it; made when first asked for."""
        with self.lock:
            if self._bench is None:
                from opusim.bench.bench import OpticalBench

                self._bench = OpticalBench(self.device_model, **self._bench_arguments)
            return self._bench

    @property
    def seed(self) -> int:
        """Seed of the medium, the sensor and the noise."""
        return self._bench_arguments["seed"]

    @property
    def backend(self) -> str | None:
        """What the bench computes with, as it was asked for; None for a bench of another kind, which takes arrays."""
        return self._bench_arguments.get("backend")

    @property
    def threads(self) -> int | None:
        """Threads that the bench uses with numpy; None for one that does not say, which leaves all processors."""
        bench, kept = self.bench, self._threads
        if kept is None or kept[0] is not bench:
            self._threads = kept = (bench, protocol.threads_of(bench))
        return kept[1]

    def set_limits(self, *, memory_budget: int | None = None, threads: int | None = None) -> None:
        """Give the bench other limits, from the next sequence on; what it has computed is computed again.

        Parameters
        ----------
        memory_budget, threads : int, optional
            As for `OpuDevice`; what is not given stays as it is.

        Raises
        ------
        TypeError
            If the bench is of another kind, without `with_limits`, or an argument is no whole number.
        ValueError
            If one is below 1.
        """
        with self.lock:
            bench = self.bench
            if not protocol.has(bench, protocol.Limited):
                raise TypeError(
                    f"The bench behind this device is a {type(bench).__name__}, which has no limits to set: it must "
                    "have with_limits, as an opusim.bench.OpticalBench has (opusim.bench.protocol.Limited)."
                )
            changed = bench.with_limits(memory_budget=memory_budget, threads=threads)
            if changed.limits != bench.limits:
                self._bench, self._singles = changed, None

    def features_level_dn(self, layout: MirrorLayout, exposure_us: float) -> float:
        """Return the mean level, above the dark, that all features of a layout give together.

        Parameters
        ----------
        layout : MirrorLayout
            How features lie on the mirrors.
        exposure_us : float
            Exposure in microseconds.

        Returns
        -------
        float
            Grey levels. The bench is asked once for a layout and an exposure, as long as they stay the same.
        """
        kept = self._level
        if kept is not None and kept[0] is layout and kept[1] == exposure_us:
            return kept[2]
        bench, exposure_s = self.bench, exposure_us / 1e6
        protocol.checked_bench(bench, protocol.Levelled, why=_LABORATORY)
        n_mirrors = layout.n_features_total * layout.mirrors_per_feature
        level_dn = bench.expected_level_dn(n_mirrors, exposure_s) - bench.expected_level_dn(0, exposure_s)
        self._level = layout, exposure_us, level_dn
        return level_dn

    def versions(self) -> str:
        """Return name and version of what is simulated.

        Returns
        -------
        str
            Several lines.
        """
        model = self.device_model
        return "\n".join(
            [
                f"simulated device {model.title}, seed {self.seed}",
                f"{'mirrors' if self.values.binary else 'phase modulator'} {model.dmd.name} {self.input_shape}",
                f"camera {model.camera.name} {self.output_shape_max}",
            ]
        )

    # ------------------------------------------------------------------ sizes

    @property
    def input_shape(self) -> Tuple2D:
        """Mirrors, cartesian: (912, 1140) for the real device."""
        rows, columns = self.device_model.dmd.shape
        return int(rows), int(columns)

    @property
    def nb_features(self) -> int:
        """Number of mirrors."""
        return math.prod(self.input_shape)

    @property
    def input_size(self) -> int:
        """Bytes of a packed pattern."""
        return -(-self.nb_features // 8)

    @property
    def output_shape_max(self) -> Tuple2D:
        """Sensor as (width, height)."""
        rows, columns = self.device_model.camera.shape
        return int(columns), int(rows)

    @property
    def output_roi_strategy(self) -> OutputRoiStrategy:
        """Where regions of interest lie."""
        return _ROI_RULES[self.opu_type][0]

    @property
    def output_roi_increment(self) -> int:
        """Step of a region's size, in pixels, on the real camera; any size is taken here."""
        return _ROI_RULES[self.opu_type][1]

    @property
    def output_dtype(self) -> np.dtype:
        """Type of the counts: uint8 up to 8 bits, uint16 above, float32 if they are not rounded."""
        return self._output_dtype

    @property
    def values(self) -> Values:
        """What the values of vectors are for its modulator: bits of mirrors, or phases and levels."""
        return self._values

    @property
    def has_reference(self) -> bool:
        """Whether the device has a reference arm."""
        return self._has_reference

    def linear_mode(self, asked: str) -> linear_modes.LinearMode:
        """Return how a linear transform is made on this device.

        Parameters
        ----------
        asked : str
            What was asked for: "auto", "holographic", "intensity" or another that is registered. "auto" takes the
            reference arm if there is one.

        Returns
        -------
        LinearMode
            One that the device has what it needs for.

        Raises
        ------
        ValueError
            If there is none of that name, no reference arm for it, or if it is for bits and the device shows phases.
        """
        known = self._linear_modes.get(asked)
        if known is not None:
            return known
        mode = linear_modes.chosen(asked, self.has_reference)
        if mode.needs_bits and not self.values.binary:
            fields = linear_modes.field_mode(linear_modes.AUTO)
            raise ValueError(
                f"linear_mode is {mode.name!r}, which combines vectors as bits, but this device has a phase modulator: "
                f"it must be {fields!r}, on a device with a reference arm (reference.relative_amplitude above 0)."
            )
        if mode.needs_reference and not self.has_reference:
            other = linear_modes.chosen(linear_modes.AUTO, has_reference=False)
            use = f"use {other.name!r}, or" if self.values.binary or not other.needs_bits else "use"
            raise ValueError(
                f"linear_mode is {mode.name!r}, but this device has no reference arm: {use} a device "
                "whose reference.relative_amplitude is above 0 (of a laboratory: a LabDevice with has_reference=True)."
            )
        self._linear_modes[asked] = mode
        return mode

    @property
    def black_level_dn(self) -> float:
        """What the camera gives in the dark, in grey levels."""
        return float(self.device_model.camera.black_level_dn)

    @property
    def full_scale_dn(self) -> float:
        """Highest count of the camera; inf for one that does not clip."""
        camera = self.device_model.camera
        return float(camera.full_scale_dn) if camera.quantise else math.inf

    # ------------------------------------------------------------------ settings

    @property
    def opu_type(self) -> str:
        """Which rule the region of interest follows: type1, type2 or type3."""
        return self._opu_type

    @opu_type.setter
    def opu_type(self, value: str) -> None:
        self._opu_type = validation.choice("opu_type", value, OPU_TYPES)

    @property
    def output_roi(self) -> LightonmlRoi:
        """Region of interest on the camera, ((x, y), (width, height))."""
        return self._output_roi

    @output_roi.setter
    def output_roi(self, value: LightonmlRoi) -> None:
        roi = checked_lightonml_roi("output_roi", value, self.output_shape_max)
        if self.output_roi_strategy is OutputRoiStrategy.mid_width and roi[1][0] != self.output_shape_max[0]:
            own = protocol.output_roi_of(self.bench)
            if own is None:
                raise ValueError(
                    f"output_roi is {value!r}, but this camera reads full width: it must be ((0, y), "
                    f"({self.output_shape_max[0]}, height))."
                )
            # Of the rows that the camera reads, those pixels are taken that the medium is known for.
        with self.lock:
            self._output_roi, self._frame_settings, self._region_known = roi, None, True

    @property
    def output_shape(self) -> Tuple2D:
        """Size of the region of interest, (width, height)."""
        return self._output_roi[1]

    @property
    def frametime_us(self) -> int:
        """Time between frames in microseconds; cut to an integer when set.

        Once a region is set or frames are taken it is the time that frames take: `asked_frametime_us`, or what
        exposure, region and bench need if that is longer, as a camera that is not ready cannot be triggered. Before,
        it is as set. What is set is kept, and is taken again where a smaller region or a shorter exposure allows it.
        """
        return self.exposure().frametime_us if self._region_known else self._frametime_us

    @frametime_us.setter
    def frametime_us(self, value: float) -> None:
        checked = microseconds("frametime_us", value)
        with self.lock:
            self._frametime_us, self._frame_settings = checked, None

    @property
    def asked_frametime_us(self) -> int:
        """Time between frames in microseconds as it was set, whether frames can be so fast or not."""
        return self._frametime_us

    @property
    def exposure_us(self) -> int:
        """Exposure in microseconds; cut to an integer when set."""
        return self._exposure_us

    @exposure_us.setter
    def exposure_us(self, value: float) -> None:
        checked = microseconds("exposure_us", value)
        with self.lock:
            self._exposure_us, self._frame_settings = checked, None

    @property
    def gain_dB(self) -> float:
        """Analogue gain relative to the device's own, in dB: 0.

        The gain of the camera belongs to the simulated device (`gain_dn_per_e`), so that nothing else may be set.
        """
        return self._gain_dB

    @gain_dB.setter
    def gain_dB(self, value: float) -> None:
        checked = validation.number("gain_dB", value, low=0.0, high=0.0)
        with self.lock:
            self._gain_dB, self._frame_settings = checked, None

    def readout_us(self, n_rows: int) -> int:
        """Return the time to read rows of the sensor.

        Parameters
        ----------
        n_rows : int
            How many rows.

        Returns
        -------
        int
            Microseconds, rounded up.
        """
        return whole_microseconds(self.device_model.camera.readout_s(n_rows))

    def least_frametime_us(self) -> int:
        """Return the shortest time between frames of which each shows one pattern, by the present region and exposure.

        Returns
        -------
        int
            Microseconds: lightonml's max(readout, exposure) + 50, or more where the bench needs it. A rolling shutter
            takes readout + exposure + 50.
        """
        with self.lock:
            roi, exposure_us = self._output_roi, self._exposure_us
        lightonml_us = max(self.readout_us(roi[1][1]), exposure_us) + 50
        return max(lightonml_us, self._least_frametime_us(roi, exposure_us))

    def exposure(self) -> FrameSettings:
        """Return the present settings as one record that no other thread can change.

        Returns
        -------
        FrameSettings
            Region, exposure, frame time and gain.
        """
        with self.lock:
            if self._frame_settings is None:
                roi, exposure_us = self._output_roi, self._exposure_us
                frametime_us = max(self._frametime_us, self._least_frametime_us(roi, exposure_us))
                self._frame_settings = FrameSettings(roi, exposure_us, frametime_us, self._gain_dB)
            return self._frame_settings

    def fastest(self, settings: FrameSettings, exposure_s: float, *, stepped: bool = False) -> FrameSettings:
        """Return settings with another exposure, and frames as fast as that allows.

        Parameters
        ----------
        settings : FrameSettings
            Whose region and gain it is.
        exposure_s : float
            Exposure in seconds; the nearest whole number of microseconds is taken.
        stepped : bool, optional
            Whether the phase of the reference is another one in each frame (`opusim.bench.protocol.Stepping`).

        Returns
        -------
        FrameSettings
            What to hand to `project`.
        """
        exposure_us = max(1, round(exposure_s * 1e6))
        least_us = self._least_frametime_us(settings.output_roi, exposure_us)
        if stepped:
            rows = settings.output_roi[1][1]
            stepped_s = protocol.stepped_frametime_of(self.bench, rows, exposure_us / 1e6)
            least_us = max(least_us, whole_microseconds(stepped_s))
        return replace(settings, exposure_us=exposure_us, frametime_us=least_us)

    def _least_frametime_us(self, roi: LightonmlRoi, exposure_us: int) -> int:
        return whole_microseconds(protocol.asked_seconds(self.bench.minimum_frametime_s, roi[1][1], exposure_us / 1e6))

    # ------------------------------------------------------------------ open and closed

    @property
    def active(self) -> bool:
        """Whether the device is open; an exclusive one that was inherited in a fork is not."""
        return self._active and (self._use is None or self._use.is_ours)

    def open(self) -> None:
        """Open the device; nothing happens if it is open.

        Raises
        ------
        OpuAlreadyUsedException
            If the device is exclusive and another process has it open.
        """
        with self.lock:
            if self.exclusive and (self._use is None or not self._use.is_ours):
                self._use = ExclusiveUse(self.name)
            self._active = True

    def close(self) -> None:
        """Close the device and end its acquisitions; settings are kept. Nothing happens if it is closed."""
        with self.lock:
            self._acquisitions.clear()
            self._active = False
            if self._use is not None:
                self._use.release()
                self._use = None

    def __enter__(self) -> OpuDevice:
        """Open the device."""
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the device."""
        self.close()

    def check_open(self) -> None:
        """Raise a NotReadyError (a RuntimeError and an AssertionError) if the device is closed."""
        if not self.active:
            raise NotReadyError(
                f"The OPU device {self.name!r} isn't active, but it must be open for this: call open(), or use it in a "
                "with block."
            )

    @property
    def output_readout_us(self) -> int:
        """Time to read the region of interest, in microseconds, rounded up; NotReadyError if closed."""
        self.check_open()
        return self.readout_us(self.output_shape[1])

    def reserve(self, n_images: int) -> None:
        """Prepare for frames; the real device needs it, here it only checks the number.

        Parameters
        ----------
        n_images : int
            How many frames.
        """
        validation.integer("n_images", n_images, low=0)

    @property
    def acq_state(self) -> AcqState | None:
        """What the camera is doing; None if the device is closed."""
        with self.lock:
            if not self.active:
                return None
            return self._acquisitions[-1][0] if self._acquisitions else AcqState.stopped

    def acquiring(self, triggered: bool = True, online: bool = False, n_images: int = 0) -> Acquisition:
        """Return a context manager during which the camera acquires.

        Parameters
        ----------
        triggered : bool
            Without effect: each pattern triggers its frame.
        online : bool
            Single vectors, one by one, instead of batches.
        n_images : int
            Frames to prepare for.

        Returns
        -------
        Acquisition
            The context manager.

        Raises
        ------
        NotReadyError
            On entering, if the device is closed.
        RuntimeError
            On entering, if it is acquiring in the other mode.
        """
        self.reserve(n_images)
        return Acquisition(self, AcqState.online if online else AcqState.batch)

    def start_acquisition(self, state: AcqState) -> None:
        """Begin to acquire; `acquiring` does so.

        Parameters
        ----------
        state : AcqState
            In which mode.

        Raises
        ------
        NotReadyError
            If the device is closed.
        RuntimeError
            If it is acquiring in the other mode.
        """
        with self.lock:
            self.check_open()
            if self._acquisitions and self._acquisitions[-1][0] is not state:
                raise RuntimeError(
                    f"The device acquires in {self._acquisitions[-1][0].name} mode, but {state.name} mode was asked "
                    "for: end the first one before."
                )
            self._acquisitions.append((state, threading.get_ident()))

    def stop_acquisition(self, state: AcqState) -> None:
        """End what `start_acquisition` began; nothing happens if the device was closed since.

        Parameters
        ----------
        state : AcqState
            In which mode it was.
        """
        with self.lock:
            mine = (state, threading.get_ident())
            found = mine if mine in self._acquisitions else next((a for a in self._acquisitions if a[0] is state), None)
            if found is not None:
                self._acquisitions.remove(found)

    def _forget_other_threads(self) -> None:
        """End, in a forked child, the batches of threads that it has not; the online mode is the OPU's, and stays."""
        me = threading.get_ident()
        self._acquisitions = [a for a in self._acquisitions if a[0] is AcqState.online or a[1] == me]

    # ------------------------------------------------------------------ frames

    def project(
        self,
        patterns: MirrorPatterns | np.ndarray,
        n_pixels: int,
        *,
        settings: FrameSettings | None = None,
        reference_phase_rad: np.ndarray | None = None,
        progress: Callable[[int], None] | None = None,
        before: MirrorPatterns | np.ndarray | None = None,
        reserved: ReservedFrames | None = None,
    ) -> Any:
        """Show patterns and return the first pixels of the region of interest.

        Parameters
        ----------
        patterns : MirrorPatterns or numpy.ndarray
            Feature vectors with their layout, in the machine's memory or on a device that the backend computes on; or
            packed mirrors, uint8 (n, input_size), little-endian. Of a phase modulator
            ``opusim.patterns.phases.PhasePatterns``.
        n_pixels : int
            How many pixels, in raster order; the others are not computed.
        settings : FrameSettings, optional
            Region and times; the device's present ones by default.
        reference_phase_rad : ndarray of float, optional
            Phases of the reference arm: each pattern is shown once for each of them. None blocks the arm.
        progress : callable, optional
            Told the number of vectors that are done.
        before : MirrorPatterns or numpy.ndarray, optional
            The one pattern that was shown right before, for a bench that `lags`.
        reserved : ReservedFrames, optional
            Frames that the bench has taken for them.

        Returns
        -------
        numpy.ndarray, torch.Tensor or cupy.ndarray
            Counts, (n * number of phases, n_pixels), where the patterns were.
        """
        self.check_open()
        settings = self.exposure() if settings is None else settings
        self._region_known = True
        return project(
            self.bench, patterns, n_pixels, settings, reference_phase_rad=reference_phase_rad, progress=progress,
            before=before, reserved=reserved,
        )  # fmt: skip

    def together(
        self,
        layout: MirrorLayout,
        reductions: Sequence[type[Reduction]],
        n_pixels: int,
        settings: FrameSettings,
        reference_phase_rad: np.ndarray | None = None,
    ) -> Together | None:
        """Return what shows vectors and reduces their frames at once; None where the bench makes frames.

        Parameters
        ----------
        layout : MirrorLayout
            How features lie on the mirrors.
        reductions : sequence of type
            What is asked for: kinds of ``opusim.bench.reduction.Reduction``.
        n_pixels : int
            How many pixels of the region, in raster order.
        settings : FrameSettings
            Region and times.
        reference_phase_rad : ndarray of float, optional
            As for `project`.

        Returns
        -------
        Together or None
            None for a bench that makes frames alone, or that cannot do all that is asked for.
        """
        self.check_open()
        bench = self.bench
        if not protocol.has(bench, protocol.Reducing):
            return None
        self._region_known = True
        return bench.together(
            layout, reductions, exposure_s=settings.exposure_s, roi=settings.bench_roi, n_pixels=n_pixels,
            reference_phase_rad=reference_phase_rad, frametime_s=settings.frametime_s,
        )  # fmt: skip

    def project_one(
        self, bits: np.ndarray, layout: MirrorLayout, n_pixels: int, settings: FrameSettings
    ) -> np.ndarray | None:  # fmt: skip
        """Show one vector as `project` does, where the bench has a shorter way for it (`protocol.Looping`).

        Parameters
        ----------
        bits : numpy.ndarray
            0 and 1, or levels, uint8 (1, n_features), in order in memory; known to be right.
        layout : MirrorLayout
            Where they go.
        n_pixels : int
            How many pixels, in raster order.
        settings : FrameSettings
            Region and times.

        Returns
        -------
        numpy.ndarray or None
            Counts, (1, n_pixels); None where there is no shorter way, and nothing was shown.
        """
        kept = self._singles
        # Settings and layouts are never changed: others are other objects.
        if kept is None or kept[0] is not settings or kept[1] is not layout or kept[2] != n_pixels:
            self.check_open()
            with self.lock:  # so that the bench is that of the device
                bench, found = self.bench, None
                if protocol.has(bench, protocol.Looping):
                    found = bench.singles(
                        layout, exposure_s=settings.exposure_s, roi=settings.bench_roi, n_pixels=n_pixels,
                        frametime_s=settings.frametime_s,
                    )  # fmt: skip
                self._singles = kept = (settings, layout, n_pixels, found)
        if kept[3] is None:
            return None
        self._region_known = True
        return kept[3].counts(bits)

    def transform1(self, ins: np.ndarray, batch_index: int = -1, nb_acq_output: int | None = None) -> np.ndarray:
        """Return the whole region of interest for each packed pattern.

        Parameters
        ----------
        ins : numpy.ndarray
            Bytes, uint8 (k, input_size), of little-endian bits.
        batch_index : int
            Without effect.
        nb_acq_output : int, optional
            How many frames to take; k by default.

        Returns
        -------
        numpy.ndarray
            Counts, (k or nb_acq_output, pixels of the region).
        """
        ins = self._check_ins(ins)
        n = len(ins)
        if nb_acq_output is not None:
            n = validation.integer("nb_acq_output", nb_acq_output, low=0, high=n)
        out = np.empty((n, math.prod(self.output_shape)), dtype=self.output_dtype)
        self._fill(ins, out)
        return out

    def transform2(
        self, ins: np.ndarray, out: np.ndarray, batch_index: int = -1, nb_acq_output: int | None = None
    ) -> None:
        """Fill `out` with the first pixels of the region of interest for each packed pattern.

        Parameters
        ----------
        ins : numpy.ndarray
            Bytes, uint8 (k, input_size), of little-endian bits.
        out : numpy.ndarray
            An array (m, w) of `output_dtype`, m at most k and w at most the region's pixels; filled in place. Patterns
            without a row in it are not shown.
        batch_index : int
            Without effect.
        nb_acq_output : int, optional
            How many rows to fill; all by default.
        """
        ins = self._check_ins(ins)
        pixels = math.prod(self.output_shape)
        if not isinstance(out, np.ndarray) or out.dtype != self.output_dtype or out.ndim != 2:
            raise ValueError(f"out is {_describe(out)}, but it must be an array (m, w) of {self.output_dtype}.")
        if len(out) > len(ins) or out.shape[1] > pixels:
            raise ValueError(
                f"out has shape {out.shape}, but with {len(ins)} patterns and {pixels} pixels it may be at most "
                f"{(len(ins), pixels)}."
            )
        if nb_acq_output is not None:
            out = out[: validation.integer("nb_acq_output", nb_acq_output, low=0, high=len(ins))]
        self._fill(ins, out)

    def transform_single(self, v: np.ndarray) -> np.ndarray:
        """Return the whole region of interest for one packed pattern.

        Parameters
        ----------
        v : numpy.ndarray
            Bytes, uint8 (input_size,), of little-endian bits.

        Returns
        -------
        numpy.ndarray
            Counts, (pixels of the region,).
        """
        pattern, _ = as_numpy(v, "v", "packed mirrors, an array of uint8")
        return self.transform1(self._check_ins(pattern[None], name="v"))[0]

    def transform_online(self, v: np.ndarray) -> np.ndarray:
        """Return what `transform_single` does, in online mode.

        Parameters
        ----------
        v : numpy.ndarray
            As for `transform_single`.

        Returns
        -------
        numpy.ndarray
            Counts, (pixels of the region,).

        Raises
        ------
        RuntimeError
            If the device does not acquire in online mode.
        """
        if self.acq_state is not AcqState.online:
            self.check_open()
            raise RuntimeError(
                "transform_online was called, but the device isn't acquiring online: use acquiring(online=True)."
            )
        return self.transform_single(v)

    def _check_ins(self, ins: Any, name: str = "ins") -> np.ndarray:
        if not self.values.binary:
            raise TypeError(
                f"{name} holds packed mirrors, but this device has a phase modulator: call project, with "
                "opusim.patterns.phases.PhasePatterns, or OPU.transform."
            )
        array, _ = as_numpy(ins, name, "packed mirrors, an array of uint8")
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != self.input_size:
            shape = array.shape[1:] if name == "v" else array.shape
            needed = f"({self.input_size},)" if name == "v" else f"(k, {self.input_size})"
            raise ValueError(
                f"{name} has shape {shape} and dtype {array.dtype}, but it must be {needed} of uint8: packed mirrors."
            )
        self.check_open()
        return array

    def _fill(self, ins: np.ndarray, out: np.ndarray) -> None:
        settings = self.exposure()
        lags = protocol.has(self.bench, protocol.Lagging) and self.bench.lags
        for rows, patterns in FORMATTED.split(ins[: len(out)], self.input_shape, self.threads):
            if patterns is not None:
                out[rows] = self.project(patterns, out.shape[1], settings=settings)
                continue
            for start in range(rows.start, rows.stop, _PATTERNS_PER_STEP):
                stop = min(rows.stop, start + _PATTERNS_PER_STEP)
                before = ins[start - 1 : start] if lags and start > rows.start else None
                out[start:stop] = self.project(ins[start:stop], out.shape[1], settings=settings, before=before)

    # ------------------------------------------------------------------ copies

    def __copy__(self) -> OpuDevice:
        """Return the device itself: there is one of it."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> OpuDevice:
        """Return the device itself: there is one of it."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings and the bench: an `OpticalBench` leaves out what it has computed, others say themselves.

        One that is not made yet will be given the budget of this process, as the way that is taken must stay.
        """
        from opusim.bench.plan import memory_budget_bytes

        state = {name: value for name, value in self.__dict__.items() if name not in _OF_THIS_PROCESS}
        if self._bench is None:
            state["_bench_arguments"] = {"memory_budget": memory_budget_bytes(), **self._bench_arguments}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the settings, and open the device if it was open."""
        active = state["_active"]
        self._fresh()
        self.__dict__.update(state)
        self._values = values_of(self.device_model, self._bench)
        self._active = False
        if active:
            self.open()


def _forget_other_threads() -> None:
    for device in list(_devices):
        device._forget_other_threads()


after_fork(_forget_other_threads)


def project(
    bench: Any, patterns: MirrorPatterns | np.ndarray, n_pixels: int, settings: FrameSettings, **more: Any
) -> Any:
    """Show patterns on a bench and return the first pixels of the region of interest.

    Parameters
    ----------
    bench : OpticalBench
        Shows them.
    patterns : MirrorPatterns or numpy.ndarray
        As for `OpuDevice.project`.
    n_pixels : int
        How many pixels of the region, in raster order.
    settings : FrameSettings
        Region and times.
    **more
        Any of `reference_phase_rad`, `progress`, `reserved` and `before`, as for the bench; it is not told of a None.

    Returns
    -------
    array
        Counts, (n * number of phases, n_pixels), where the patterns were.
    """
    return bench.transform(
        patterns,
        exposure_s=settings.exposure_s,
        roi=settings.bench_roi,
        n_pixels=n_pixels,
        frametime_s=settings.frametime_s,
        **{name: value for name, value in more.items() if value is not None},
    )


class Acquisition:
    """An acquisition while it lasts. No generator: one left open must do nothing when the interpreter ends."""

    def __init__(self, device: OpuDevice, state: AcqState) -> None:
        self._device = device
        self._state = state

    def __enter__(self) -> OpuDevice:
        """Begin to acquire."""
        self._device.start_acquisition(self._state)
        return self._device

    def __exit__(self, *exception: object) -> None:
        """End it."""
        self._device.stop_acquisition(self._state)


def _describe(value: Any) -> str:
    return f"{value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
