"""What a laboratory's bench is spared: its record, and all that a driver needs besides `expose`.

`FromExpose` makes of the three members of a `~opusim.bench.protocol.Bench` and of `minimum_frametime_s` what an `OPU`
needs. `LaboratoryBench` makes `expose` too, of four methods that speak with the instruments;
``opusim/bench/template.py`` has them to fill in.
"""

from __future__ import annotations

import hashlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.user_arrays import as_numpy, checked_array
from opusim.device.record import Operation
from opusim.device.slm import PhaseSlm
from opusim.patterns.layout import MirrorPatterns
from opusim.patterns.phases import PhasePatterns, driven, nearest_levels

from .inputs import checked_exposure, checked_mirrors, checked_phases, level_pictures
from .losses import ATTEMPTS, SEQUENCE_FRAMES, Losses, guard_codes, guard_layout, shares_on
from .protocol import FramesLost, asked_seconds, input_layout_of, level_turns_of, wait
from .region import Roi, checked_roi
from .returned import checked_frames

__all__ = ["FromExpose", "LabCamera", "LabClock", "LabDevice", "LaboratoryBench"]

# Patterns that are shown in one call of `expose`: as mirrors each takes a megabyte.
_PATTERNS_PER_STEP = 64
# Random patterns whose mean tells the light of half of the mirrors.
_LEVEL_PATTERNS = 8


@dataclass(frozen=True)
class LabCamera:
    """What a driver needs to know of a camera.

    Parameters
    ----------
    name : str
        Name of the camera.
    shape : tuple of int
        Pixels as (rows, columns).
    bits : int
        Bits of a count: uint8 up to 8, uint16 up to 16; 0 for float32 without a full scale.
    black_level_dn : float
        Mean count in the dark.
    row_time_s : float
        Time to read one row, in seconds.
    """

    name: str
    shape: tuple[int, int]
    bits: int
    black_level_dn: float
    row_time_s: float

    @property
    def quantise(self) -> bool:
        """Whether counts are whole numbers with a full scale."""
        return self.bits > 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the counts."""
        return np.dtype(np.float32 if not self.bits else np.uint8 if self.bits <= 8 else np.uint16)

    @property
    def full_scale_dn(self) -> float:
        """Highest count; inf without a full scale."""
        return 2**self.bits - 1 if self.bits else math.inf

    def readout_s(self, n_rows: int) -> float:
        """Return the time to read rows.

        Parameters
        ----------
        n_rows : int
            How many.

        Returns
        -------
        float
            Seconds.
        """
        return n_rows * self.row_time_s


@dataclass(frozen=True)
class _Mirrors:
    name: str
    shape: tuple[int, int]

    @property
    def n_mirrors(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class _Arm:
    present: bool


@dataclass(frozen=True)
class _Unknown:
    kind: str = "NA"


@dataclass(frozen=True)
class LabDevice:
    """A laboratory's device as a driver knows it: sizes, the camera's counts, the times to begin with.

    Parameters
    ----------
    name : str
        Name of the device; another for another medium, as calibrations are kept by it.
    mirror_shape, sensor_shape : tuple of int
        Mirrors and pixels as (rows, columns).
    bits : int
        Bits of a count: 8 (uint8), up to 16 (uint16), or 0 for float32 without a full scale.
    black_level_dn : float
        Mean count in the dark.
    exposure_s, frametime_s : float
        Exposure and time from one pattern to the next, in seconds, that the driver begins with.
    row_time_s : float
        Time to read one row of the sensor, in seconds.
    has_reference : bool
        Whether there is a reference arm whose phase can be set.
    ones_range : tuple of int, optional
        Fewest and most mirrors on for which `exposure_s` is right; above, the driver shortens it. All by default.
    opu_type : {"type1", "type2", "type3"}
        Which regions the camera reads: a rectangle in the middle ("type1"), or rows of full width.
    power_w : float
        Electrical power in watts, for the energy on the clock.
    version : int
        Raise it when the device has been changed.
    phase_levels : int
        Levels of a modulator that turns the phase of its light, 2 to 256; 0 for mirrors, which are on or off.
    phase_range_turns : float
        Phase that all its levels span, in turns of 2 pi: level k turns the light by ``phase_range_turns k / levels``.
    settling_s : float
        Time in seconds from a step of the reference's phase to light that stands, as of a piezo.
    latency_s : float
        Time in seconds from a trigger to the start of the camera's exposure. A pattern must stay for it and the
        exposure: `LaboratoryBench.minimum_frametime_s` must be no less.
    """

    name: str
    mirror_shape: tuple[int, int]
    sensor_shape: tuple[int, int]
    bits: int = 8
    black_level_dn: float = 0.0
    exposure_s: float = 400e-6
    frametime_s: float = 500e-6
    row_time_s: float = 0.0
    has_reference: bool = False
    ones_range: tuple[int, int] | None = None
    opu_type: str = "type1"
    power_w: float = 0.0
    version: int = 1
    # Not in the text of mirrors, whose fingerprint is that of before there were phases.
    phase_levels: int = field(default=0, repr=False)
    phase_range_turns: float = field(default=1.0, repr=False)
    settling_s: float = field(default=0.0, repr=False)
    latency_s: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        """Check every parameter."""
        for name in ("name", "opu_type"):
            if not isinstance(self.__dict__[name], str) or not self.__dict__[name]:
                raise TypeError(f"{name} is {self.__dict__[name]!r}, but it must be a text that is not empty.")
        for name in ("mirror_shape", "sensor_shape"):
            object.__setattr__(self, name, validation.shape2(name, self.__dict__[name]))
        validation.integer("bits", self.bits, low=0, high=16)
        validation.number("black_level_dn", self.black_level_dn, low=0.0, high=65535.0)
        validation.number("row_time_s", self.row_time_s, low=0.0, high=60.0)
        validation.flag("has_reference", self.has_reference)
        validation.integer("version", self.version, low=1)
        if validation.integer("phase_levels", self.phase_levels, low=0, high=256) == 1:
            raise ValueError("phase_levels is 1, but a modulator of phases has 2 to 256 levels; mirrors have 0.")
        validation.number("phase_range_turns", self.phase_range_turns, low=0.0, high=8.0, low_open=True)
        validation.number("settling_s", self.settling_s, low=0.0, high=60.0)
        validation.number("latency_s", self.latency_s, low=0.0, high=60.0)
        self.operation  # noqa: B018 - it checks the others

    @property
    def dmd(self) -> Any:
        """Name, `shape` and `n_mirrors` of the mirrors; of a modulator of phases also what its levels are."""
        if self.phase_levels:  # the pitch is nobody's business here
            return PhaseSlm(
                f"{self.name} pixels", self.mirror_shape, 8e-6, levels=self.phase_levels,
                range_turns=float(self.phase_range_turns),
            )  # fmt: skip
        return _Mirrors(f"{self.name} mirrors", self.mirror_shape)

    @property
    def level_turns(self) -> np.ndarray | None:
        """Phase of each level in turns of 2 pi, float64 (levels,); None for mirrors."""
        return self.dmd.level_turns if self.phase_levels else None

    @property
    def camera(self) -> LabCamera:
        """What is known of the camera."""
        return LabCamera(
            f"{self.name} camera", self.sensor_shape, self.bits, float(self.black_level_dn), self.row_time_s
        )

    @property
    def operation(self) -> Operation:
        """How the driver runs it."""
        ones = (0, math.prod(self.mirror_shape)) if self.ones_range is None else self.ones_range
        return Operation(
            self.frametime_s, self.exposure_s, ones, self.opu_type, 0, self.power_w, reference_map="demodulated"
        )

    @property
    def reference(self) -> Any:
        """Whether there is an arm: `present`."""
        return _Arm(self.has_reference)

    @property
    def medium(self) -> Any:
        """Nobody knows what it is: `kind` is "NA"."""
        return _Unknown()

    def fingerprint(self) -> str:
        """Return a sha256 (hex) over all of this.

        Returns
        -------
        str
            64 digits.
        """
        text = repr(self)
        if self.phase_levels:
            text += f", phases {self.phase_levels} {float(self.phase_range_turns)!r}"
        if self.settling_s or self.latency_s:
            text += f", settling {float(self.settling_s)!r}, latency {float(self.latency_s)!r}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class LabClock:
    """What a laboratory's bench has used, by the clock on the wall.

    Parameters
    ----------
    power_w : float
        Electrical power of the device in watts.
    frames : int
        Frames taken.
    """

    power_w: float = 0.0
    frames: int = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since 1970: so a calibration that was kept has an age in another process, too."""
        return time.time()

    @property
    def energy_j(self) -> float:
        """Joules that the device would have used since then: differences have a meaning."""
        return self.elapsed_s * self.power_w


class FromExpose:
    """Makes what an `OPU` needs of a bench that has `expose`, both shapes and `minimum_frametime_s`.

    Inherit from it, before other classes. Each member may be replaced by a better one.

    Attributes
    ----------
    seed : int
        0: there is one such device.

    Examples
    --------
    >>> class Mine(FromExpose):
    ...     mirror_shape, sensor_shape = (16, 16), (8, 12)
    ...
    ...     def minimum_frametime_s(self, n_rows, exposure_s):
    ...         return exposure_s + 1e-4
    ...
    ...     def expose(self, mirrors, *, exposure_s, reference_phase_rad=None, roi=None, frametime_s=None, n_frames=1):
    ...         n, (_, _, n_rows, n_columns) = n_frames if mirrors is None else len(mirrors), roi or (0, 0, 8, 12)
    ...         return np.zeros((n, n_rows, n_columns), dtype=np.uint8)
    >>> Mine().device.camera.dtype
    dtype('uint8')
    """

    seed: int = 0

    # Of the class that inherits: what it must have.
    mirror_shape: Any
    sensor_shape: Any
    expose: Callable[..., np.ndarray]
    minimum_frametime_s: Callable[[int, float], float]

    @cached_property
    def device(self) -> Any:
        """What the driver needs to know, as far as one dark frame tells; a `LabDevice` that you write tells more."""
        exposure_s = 400e-6
        whole = (0, 0, *self.sensor_shape)
        dark = checked_frames(self.expose(None, exposure_s=exposure_s), 1, whole)
        bits = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}.get(dark.dtype, 0)
        return LabDevice(
            type(self).__name__, tuple(self.mirror_shape), tuple(self.sensor_shape), bits=bits,
            black_level_dn=max(0.0, float(dark.mean())), exposure_s=exposure_s,
            frametime_s=asked_seconds(self.minimum_frametime_s, int(self.sensor_shape[0]), exposure_s),
        )  # fmt: skip

    @property
    def level_turns(self) -> np.ndarray | None:
        """Phases of the levels in turns that a `LabDevice` of one's own says; None for mirrors."""
        if type(self).device is FromExpose.device:
            return None  # one that a dark frame tells would know of none
        return self.device.level_turns if isinstance(self.device, LabDevice) else None

    def transform(
        self,
        patterns: MirrorPatterns,
        *,
        exposure_s: float,
        roi: Roi,
        n_pixels: int,
        reference_phase_rad: float | np.ndarray | None = None,
        frametime_s: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Show patterns and return the first pixels of a region, flat: as `Drivable.transform`, by `expose`.

        Parameters
        ----------
        patterns : MirrorPatterns or ndarray
            Patterns with their layout, or packed mirrors.
        exposure_s : float
            Exposure in seconds.
        roi : tuple of int
            (row, column, n_rows, n_columns) on the sensor.
        n_pixels : int
            How many of its pixels, in raster order, are wanted.
        reference_phase_rad, frametime_s : float, optional
            As in `expose`.
        progress : callable, optional
            Told the number of patterns that are done.

        Returns
        -------
        ndarray, shape (n * number of phases, n_pixels)
            Counts.

        Raises
        ------
        TypeError, ValueError
            If `expose` refuses an argument.
        RuntimeError
            If it returns something else than the frames that were asked for.
        """
        if not isinstance(patterns, MirrorPatterns):
            patterns, _ = as_numpy(patterns, "patterns", "packed mirrors, an array of uint8")
            if patterns.dtype != np.uint8 or patterns.ndim < 2:
                raise TypeError(
                    f"patterns has shape {patterns.shape} and dtype {patterns.dtype}, but it must be MirrorPatterns, "
                    "or packed mirrors of uint8, (n, bytes)."
                )
        steps = 1
        if reference_phase_rad is not None:
            reference_phase_rad = np.atleast_1d(checked_array("reference_phase_rad", reference_phase_rad, finite=True))
            steps = reference_phase_rad.size
        result = np.empty((len(patterns) * steps, n_pixels), dtype=self.device.camera.dtype)
        turns = level_turns_of(self)
        for start in range(0, len(patterns), _PATTERNS_PER_STEP):
            part = patterns[start : start + _PATTERNS_PER_STEP]
            if not isinstance(part, MirrorPatterns):
                mirrors = unpacked(part, self.mirror_shape)
            else:
                _check_kind(part, turns)
                mirrors = part.to_mirrors()
            frames = self.expose(
                mirrors, exposure_s=exposure_s, reference_phase_rad=reference_phase_rad, roi=roi,
                frametime_s=frametime_s,
            )  # fmt: skip
            rows = slice(start * steps, (start + len(part)) * steps)
            frames = checked_frames(frames, len(part) * steps, roi, dtype=result.dtype)
            result[rows] = frames.reshape(len(part) * steps, -1)[:, :n_pixels]
            if progress is not None:
                progress(start + len(part))
        return result

    def expected_level_dn(self, n_on: float, exposure_s: float) -> float:
        """Return the mean grey level for so many mirrors on: measured with none and with half of them on.

        Where pixels turn phases it is measured in the dark and with random phases, whose light is that of all of them.

        Parameters
        ----------
        n_on : float
            Number of mirrors that are on.
        exposure_s : float
            Exposure in seconds, at which half of the mirrors must not saturate the camera.

        Returns
        -------
        float
            Grey levels, over the whole sensor.
        """
        kept = self.__dict__.setdefault("_levels_dn", {})
        if exposure_s not in kept:
            kept[exposure_s] = self._level_of_mirrors(exposure_s)
        at_none, per_mirror = kept[exposure_s]
        return float(at_none + per_mirror * n_on)

    def _level_of_mirrors(self, exposure_s: float) -> tuple[float, float]:
        """Return the mean grey level with none on, or where pixels turn phases in the dark, and what each adds."""
        own, draws, turns = input_layout_of(self), np.random.default_rng(0), level_turns_of(self)
        none: np.ndarray | None
        if turns is not None:
            shape = self.mirror_shape if own is None else (own.n_features_total,)
            shown = nearest_levels(draws.random((_LEVEL_PATTERNS, *shape)), turns)
            none, half = None, shown if own is None else own.pixels(shown)
        elif own is None:
            none = np.zeros((1, *self.mirror_shape), dtype=np.uint8)
            half = (draws.random((_LEVEL_PATTERNS, *self.mirror_shape)) < 0.5).astype(np.uint8)
        else:
            bits = draws.integers(0, 2, (1 + _LEVEL_PATTERNS, own.n_features_total), dtype=np.uint8)
            bits[0] = 0
            none, half = np.split(own.mirrors(bits), [1])
        whole = (0, 0, *self.sensor_shape)
        # All pixels send light whatever their phase. Asked before they are shown: an `expose` may write into them.
        more = 1.0 if none is None else half.mean(dtype=np.float64) - none.mean(dtype=np.float64)
        levels = [
            float(checked_frames(self.expose(m, exposure_s=exposure_s), n, whole).mean(dtype=np.float64))
            for m, n in ((none, 1), (half, len(half)))
        ]
        return levels[0], (levels[1] - levels[0]) / more / half[0].size


def unpacked(mirrors: Any, mirror_shape: tuple[int, int], level_turns: np.ndarray | None = None) -> np.ndarray:
    """Return patterns of any form that `expose` takes as mirrors, uint8 (n, rows, columns) of 0 and 1; or as levels."""
    if isinstance(mirrors, MirrorPatterns):
        _check_kind(mirrors, level_turns)
        checked_mirrors(mirrors, mirror_shape)
        return mirrors.to_mirrors()
    if level_turns is None:
        return checked_mirrors(mirrors, mirror_shape)[1].reshape(-1, *mirror_shape)
    return level_pictures(mirrors, mirror_shape, level_turns)


def _check_kind(patterns: MirrorPatterns, level_turns: np.ndarray | None) -> None:
    """Refuse bits for a modulator of phases, and levels for mirrors or that it has not."""
    if isinstance(patterns, PhasePatterns) == (level_turns is None):
        raise TypeError(
            "mirrors holds levels of a phase modulator, but this bench has mirrors, which are on or off: give "
            "opusim.patterns.layout.MirrorPatterns."
            if level_turns is None
            else "mirrors holds bits of mirrors, but this bench has a modulator of phases: give levels, as "
            "opusim.patterns.phases.PhasePatterns."
        )
    if level_turns is not None:
        driven("mirrors", patterns.host_bits(), level_turns)


class LaboratoryBench(FromExpose, ABC):
    """A laboratory's bench, of four methods that speak with its instruments.

    What it is given is checked here, so that the four get arrays of one shape and type. Frames that come back with
    another shape or type than `device` says are refused: rows and columns exchanged, or one less than there were
    patterns. They are copied, so that `show` may return one buffer again and again.

    Patterns are shown in parts. A part of which frames were lost is shown again, whole: where `show` or `dark` raise
    `opusim.bench.protocol.FramesLost`, or return fewer or more frames than there are patterns; where a frame is one
    that came before, to the bit; where one is dark, though its pattern has as much light as others; and where guard
    frames, two patterns of the bench's own at the start and at the end of each part, are not where they were shown. A
    warning says so once for each call, and after the last attempt `FramesLost` is raised.

    Attributes
    ----------
    clock : LabClock
        Frames taken, those of guards and of every attempt too, and the time on the wall.
    seed : int
        0: there is one such device.
    attempts : int
        How often a part is shown at most; 3.
    sequence_frames : int
        Frames of a part at most, 64 without guards. All phases of a pattern stay in one part, as the phase of the
        reference drifts from one attempt to the next.
    guards : bool
        Whether parts of two frames or more have four guard frames; True. A bench that takes each frame after its
        pattern is shown, as `opusim.adapters.instruments.OneByOneBench`, needs none.
    """

    attempts: int = ATTEMPTS
    sequence_frames: int = SEQUENCE_FRAMES
    guards: bool = True

    @property
    @abstractmethod
    def device(self) -> LabDevice:  # type: ignore[override]
        """What the driver needs to know: a `LabDevice`, the same one each time."""

    @abstractmethod
    def minimum_frametime_s(self, n_rows: int, exposure_s: float) -> float:  # type: ignore[override]
        """Return the shortest time between frames.

        Parameters
        ----------
        n_rows : int
            Rows of the sensor that are read.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds, at least the exposure and ``device.latency_s``.
        """

    def stepped_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames of which each has another phase of the reference than the last.

        Parameters
        ----------
        n_rows : int
            Rows of the sensor that are read.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds: `minimum_frametime_s`, or what latency, exposure and ``device.settling_s`` take where that is more.
        """
        least_s = asked_seconds(self.minimum_frametime_s, n_rows, exposure_s)
        if not self.device.settling_s:
            return least_s
        return max(least_s, exposure_s + self.device.latency_s + self.device.settling_s)

    @abstractmethod
    def show(self, mirrors: np.ndarray, *, exposure_s: float, frametime_s: float, roi: Roi) -> np.ndarray:
        """Show patterns one after the other and return a frame for each.

        Parameters
        ----------
        mirrors : ndarray of uint8, shape (n, rows, columns)
            Patterns: 1 sends light to the medium, 0 does not. In C order, n of at least 1. A copy, which may be
            written over.
        exposure_s : float
            Exposure of each frame in seconds.
        frametime_s : float
            Time from one pattern to the next in seconds, at least `minimum_frametime_s`. After a step of the reference
            it is that of `expose` without ``device.settling_s``, which was waited for already.
        roi : tuple of int
            (row, column, n_rows, n_columns) on the sensor, within it.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts, in the order of the patterns, of the type ``device.camera.dtype``.

        Raises
        ------
        FramesLost
            If the instruments say that frames were lost: it is then called again.
        """

    @abstractmethod
    def dark(self, n_frames: int, *, exposure_s: float, frametime_s: float, roi: Roi) -> np.ndarray:
        """Shut the laser (or its shutter), return frames, and let the light on again.

        Parameters
        ----------
        n_frames : int
            How many, at least 1.
        exposure_s, frametime_s, roi : float, float, tuple of int
            As in `show`.

        Returns
        -------
        ndarray, shape (n_frames, n_rows, n_columns)
            Counts, of the type ``device.camera.dtype``.
        """

    def set_reference(self, phase_rad: float | None) -> None:
        """Set the phase of the reference arm; asked only where ``device.has_reference`` is set, or with None.

        After a step ``device.settling_s`` is waited for, after None nothing is: return when the arm is blocked. Where
        phases are stepped, the arm is blocked for the guards of each part, whose light would drift with its phase.

        Parameters
        ----------
        phase_rad : float or None
            Radians; None blocks the arm.
        """

    def restart(self) -> None:
        """Make instruments ready after frames were lost: called before a part is shown again. Does nothing here.

        Such as to stop and arm a camera anew, which else waits for triggers that are past.
        """

    @cached_property
    def clock(self) -> LabClock:
        """Frames taken, and the time on the wall."""
        return LabClock(self.device.power_w)

    @property
    def mirror_shape(self) -> tuple[int, int]:  # type: ignore[override]
        """Mirrors as (rows, columns)."""
        return self.device.mirror_shape

    @property
    def sensor_shape(self) -> tuple[int, int]:  # type: ignore[override]
        """Pixels as (rows, columns)."""
        return self.device.sensor_shape

    def expose(  # type: ignore[override]
        self,
        mirrors: np.ndarray | MirrorPatterns | None,
        *,
        exposure_s: float,
        reference_phase_rad: float | np.ndarray | None = None,
        roi: Roi | None = None,
        frametime_s: float | None = None,
        n_frames: int = 1,
    ) -> np.ndarray:
        """Show patterns and return a frame for each, and for each phase of the reference arm.

        It is `opusim.bench.protocol.Bench.expose`.

        Parameters
        ----------
        mirrors : ndarray, MirrorPatterns or None
            0/1 mirrors as bool or uint8, (rows, columns) or (n, rows, columns); or packed bits, uint8
            (n, rows * columns / 8), little-endian; or patterns with their layout. None shuts the laser.
        exposure_s : float
            Exposure in seconds.
        reference_phase_rad : float or array_like of float, optional
            Phases of the reference arm in radians; each pattern is shown under all of them before the next one.
        roi : tuple of int, optional
            (row, column, n_rows, n_columns); the whole sensor by default.
        frametime_s : float, optional
            Time between frames in seconds, settling of the reference and all; that of `device`, or the shortest one if
            it is longer, by default.
        n_frames : int
            How many dark frames, where `mirrors` is None.

        Returns
        -------
        ndarray, shape (n * number of phases, n_rows, n_columns)
            Counts.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it may be; nothing is shown then.
        RuntimeError
            If `show` or `dark` return something else than the frames that were asked for, or `minimum_frametime_s`
            something else than seconds. It is `FramesLost` where some were lost at every attempt.

        Warns
        -----
        UserWarning
            Once, if parts were shown again, and if there are guards that cannot be told apart.

        Notes
        -----
        `show` is called for each frame where phases are stepped.
        """
        phases = checked_phases(reference_phase_rad, self.device.has_reference)
        exposure_s = checked_exposure(exposure_s)
        region = checked_roi(roi, self.sensor_shape)
        least_s, why, unstepped_s = self._least_frametime(region[2], exposure_s, phases)
        if frametime_s is None:
            frametime_s = max(least_s, self.device.frametime_s)
        else:
            frametime_s = validation.number("frametime_s", frametime_s, low=0.0, high=3600.0, low_open=True)
            if frametime_s < least_s * (1 - 1e-9):
                raise ValueError(f"frametime_s is {frametime_s!r}, but here it must be at least {least_s:.6g}{why}.")
        given: dict[str, Any] = {"exposure_s": exposure_s, "frametime_s": frametime_s, "roi": region}
        if mirrors is None:
            if phases is not None:
                raise ValueError("mirrors is None, which shuts the laser, but the reference arm needs its light.")
            n = validation.integer("n_frames", n_frames, low=0)
            frames = self._losses().dark(n, lambda: self._counted("dark", n, n, given)) if n else self._empty(region)
        else:
            if n_frames != 1:
                raise ValueError(
                    f"n_frames is {n_frames!r}, but it counts dark frames only: with mirrors it must be 1."
                )
            shown = unpacked(mirrors, self.mirror_shape, level_turns_of(self))
            frames = self._shown(shown, phases, given, unstepped_s) if len(shown) else self._empty(region)
        return frames

    def transform(self, patterns: MirrorPatterns, **how: Any) -> np.ndarray:  # type: ignore[override]
        """Show patterns and return the first pixels of a region, flat: as `FromExpose.transform`.

        Parameters
        ----------
        patterns : MirrorPatterns or ndarray
            Patterns with their layout, or packed mirrors.
        **how
            As for `FromExpose.transform`.

        Returns
        -------
        ndarray, shape (n * number of phases, n_pixels)
            Counts.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As for `expose`.
        """
        with self._losses().told():
            return super().transform(patterns, **how)

    def _losses(self) -> Losses:
        kept: Losses = self.__dict__.setdefault("_lost", Losses())
        kept.adjust(self.attempts, self.sequence_frames, self.guards, self.restart)
        return kept

    def _least_frametime(self, n_rows: int, exposure_s: float, phases: np.ndarray | None) -> tuple[float, str, float]:
        """Return the shortest time between frames, why it is longer than `minimum_frametime_s`, and that of any."""
        least_s, latency_s = asked_seconds(self.minimum_frametime_s, n_rows, exposure_s), self.device.latency_s
        why = ""
        if latency_s and exposure_s + latency_s > least_s * (1 + 1e-9):
            least_s, why = exposure_s + latency_s, f", the exposure after a latency_s of {latency_s:g}"
        unstepped_s = least_s
        if phases is not None and (phases != phases[0]).any():
            stepped_s = asked_seconds(self.stepped_frametime_s, n_rows, exposure_s)
            if stepped_s > least_s:
                least_s, why = stepped_s, ", as the phase of the reference is another in each frame"
        return least_s, why, unstepped_s

    def _shown(
        self, mirrors: np.ndarray, phases: np.ndarray | None, given: dict[str, Any], unstepped_s: float
    ) -> np.ndarray:
        region, steps = given["roi"], 1 if phases is None else len(phases)
        turns = level_turns_of(self)
        lit = shares_on(mirrors, turns)
        made = cache(lambda: self._guards(float(lit.max()), turns))  # frames by themselves need none

        def show(start: int, stop: int, guarded: bool) -> tuple[np.ndarray | None, np.ndarray]:
            shown, guards = mirrors[start:stop], made() if guarded else None
            if steps == 1:
                self._turn(None if phases is None else float(phases[0]))
                if guards is None:
                    return None, self._frames(shown.copy(), given)
                frames = self._frames(np.concatenate([guards, shown, guards[::-1]]), given)
                return np.concatenate([frames[:2], frames[-2:]]), frames[2:-2]
            assert phases is not None
            ends = []
            # What was waited for after a step is no part of the time that a pattern then stands for.
            settled = {**given, "frametime_s": max(unstepped_s, given["frametime_s"] - self.device.settling_s)}
            # Guards under the arm would fade with its phase, which drifts by a radian in the seconds that a part takes.
            if guards is not None:
                self._turn(None)
                ends.append(self._frames(guards.copy(), settled))
            frames = np.empty((len(shown) * steps, *region[2:]), dtype=self.device.camera.dtype)
            for i in range(len(frames)):
                k, step = divmod(i, steps)
                times = settled if self._turn(float(phases[step])) else given
                frames[i] = self._frames(shown[k : k + 1].copy(), times, own=False)[0]
            if guards is not None:
                self._turn(None)
                ends.append(self._frames(guards[::-1], settled))
            return np.concatenate(ends) if ends else None, frames

        result = self._losses().take(len(mirrors), steps, show, lit)
        if phases is not None:
            self._turn(None)
        return result

    def _turn(self, phase_rad: float | None) -> bool:
        """Set the reference, and wait where its phase is another one than before; return whether that was so."""
        before = self.__dict__.get("_stands_at")
        self.set_reference(phase_rad)
        self._stands_at = phase_rad
        if phase_rad is not None and phase_rad != before and self.device.settling_s:
            wait(self, self.device.settling_s)
            return True
        return False

    def _frames(self, mirrors: np.ndarray, given: dict[str, Any], *, own: bool = True) -> np.ndarray:
        """Show patterns once, an array that `show` may keep or write into."""
        return self._counted("show", np.ascontiguousarray(mirrors), len(mirrors), given, own=own)

    def _counted(self, method: str, what: Any, n: int, given: dict[str, Any], *, own: bool = True) -> np.ndarray:
        """Return the frames of `show` or `dark`, copied: cameras often hand out one buffer again.

        What was exposed counts, also if it was lost.
        """
        try:
            frames = getattr(self, method)(what, **given)
        except FramesLost:
            self.clock.frames += n
            raise
        self.clock.frames += n
        return checked_frames(frames, n, given["roi"], who=method, dtype=self.device.camera.dtype, own=own)

    def _guards(self, share: float, turns: np.ndarray | None) -> np.ndarray:
        """Return two patterns about as bright as those whose greatest share on is given, uint8 (2, rows, columns)."""
        layout = guard_layout(self)
        codes = guard_codes(layout, share, turns)
        kept = self.__dict__.setdefault("_guard_patterns", {})
        key = (layout, int(codes.sum()))
        if key not in kept:
            kept.clear()
            kept[key] = layout.mirrors(codes) if turns is None else layout.pixels(codes)
        result: np.ndarray = kept[key]
        return result

    def _empty(self, region: Roi) -> np.ndarray:
        return np.empty((0, region[2], region[3]), dtype=self.device.camera.dtype)
