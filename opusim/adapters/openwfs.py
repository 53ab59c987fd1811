"""OpenWFS at our bench, and its devices as a bench: ``pip install "opusim[openwfs]"``.

OpenWFS (I. M. Vellekoop and others, version 1.1) shapes wavefronts: an algorithm sets phases on a ``PhaseSLM``,
triggers a ``Detector``, and makes a transmission matrix of what it reads. `BenchSLM` and `BenchCamera` are these two,
of any bench. `OpenWFSBench` goes the other way: a bench made of any modulator and any camera that OpenWFS drives.

Without the extras ``nidaq``, ``opengl`` and ``zaber`` OpenWFS 1.1.0 cannot be imported, whatever instruments are used;
``opusim[openwfs]`` brings them. They need neither hardware nor a display.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import astropy.units as u
    from openwfs.core import Actuator, Detector, Device, PhaseSLM, Processor
    from openwfs.utilities import project
except ImportError as error:
    raise ImportError(
        f"opusim.adapters.openwfs needs OpenWFS with the extras nidaq, opengl and zaber ({error}): pip install "
        '"opusim[openwfs]".'
    ) from error

from opusim.base import validation
from opusim.base.user_arrays import checked_array
from opusim.bench.laboratory import LabDevice
from opusim.bench.region import Roi

from .instruments import Instruments, OneByOneBench, checked_function

__all__ = ["BenchCamera", "BenchSLM", "OpenWFSBench", "PixelTargets", "on_near_zero"]

_NOW = u.Quantity(0.0, "ms")
# A phase of 1e-6 of a turn from the border between on and off counts as on it: OpenWFS's phases are single precision.
_BORDER_TURNS = 0.25 - 1e-6
# What a camera may make of an exposure that it is asked for: whole microseconds, or rows.
_EXPOSURE_SHARE, _EXPOSURE_S = 0.01, 1e-6


def on_near_zero(phases_rad: np.ndarray) -> np.ndarray:
    """Return mirrors that are on where a phase is nearer to 0 than to pi: where its cosine is positive.

    An algorithm that steps a segment by phases of 0 and pi so switches it on and off.

    Parameters
    ----------
    phases_rad : ndarray of float
        Radians, any finite numbers.

    Returns
    -------
    ndarray of uint8, shape of `phases_rad`
        1 for on. A quarter of a turn, to 1e-6 of one, is off.

    Raises
    ------
    TypeError, ValueError
        If it is no array of finite numbers.
    """
    turns = checked_array("phases_rad", phases_rad, finite=True, dtype=np.float64) / (2 * np.pi)
    return (np.abs(turns - np.rint(turns)) < _BORDER_TURNS).astype(np.uint8)


class BenchSLM(PhaseSLM, Actuator):
    """A bench's modulator as a phase-only modulator of OpenWFS.

    Phases go to the nearest levels of a modulator of phases. Mirrors turn no phase: they are on or off by
    `on_near_zero`, or as `picture_of` says.

    Parameters
    ----------
    instruments : Instruments
        The bench's modulator and camera, of which this is the modulator. Phase 0 is shown at once.
    shape : tuple of int, optional
        Segments as (rows, columns), to which phases are stretched; ``instruments.shape`` by default. Another one is
        for a `picture_of` that makes many mirrors of a segment.
    picture_of : callable, optional
        Makes what ``instruments.put`` takes of phases in radians, float64 of `shape`: such as a hologram.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.

    Notes
    -----
    Latency and duration are 0: a bench shows a picture when a frame of it is taken, and waits itself until its light
    has settled.
    """

    def __init__(
        self, instruments: Instruments, *, shape: tuple[int, int] | None = None,
        picture_of: Callable[[np.ndarray], Any] | None = None,
    ) -> None:  # fmt: skip
        self._instruments = _checked_instruments(instruments)
        self._shape = instruments.shape if shape is None else validation.shape2("shape", shape)
        checked_function("picture_of", picture_of, "phases in radians")
        if picture_of is None and self._shape != instruments.shape:
            raise ValueError(
                f"shape is {self._shape}, but without a picture_of it must be that of the pictures, "
                f"{instruments.shape}: phases of any shape are stretched to it."
            )
        self._picture_of = on_near_zero if picture_of is None and instruments.level_turns is None else picture_of
        super().__init__(duration=_NOW, latency=_NOW)
        self._phases_rad = np.zeros(self._shape)
        self.update()

    @property
    def shape(self) -> tuple[int, int]:
        """Segments as (rows, columns)."""
        return self._shape

    @property
    def phases_rad(self) -> np.ndarray:
        """Phases last set, in radians: float64 of `shape`; a copy."""
        return self._phases_rad.copy()

    def set_phases(self, values: Any, update: bool = True) -> None:
        """Set phases, and show them.

        Parameters
        ----------
        values : array_like of float
            Radians, any finite numbers; (rows, columns), a row or a number, stretched to `shape` as OpenWFS's own
            modulators do it, by the nearest value.
        update : bool
            Whether to show them now; `update` does it later.

        Raises
        ------
        TypeError, ValueError
            If they are something else; those before them stay.
        """
        array = checked_array("values", values, "phases in radians", finite=True, dtype=np.float64)
        if array.ndim > 2 or not array.size:
            raise ValueError(
                f"values has the shape {array.shape}, but it must be (rows, columns) with something in it."
            )
        array = np.array(np.atleast_2d(array))
        self._phases_rad = array if array.shape == self._shape else _stretched(array, self._shape)
        if update:
            self.update()

    def update(self) -> None:
        """Show the phases last set, once no detector measures any more."""
        self._start()
        if self._picture_of is None:
            self._instruments.put_phases(self._phases_rad)
        else:
            self._instruments.put(self._picture_of(self._phases_rad.copy()))


def _number_of_roi(name: str, what: str) -> Any:
    """Return a property of a camera: a number of its `roi`, by the name that OpenWFS has for it."""

    def get(camera: BenchCamera) -> int:
        number: int = getattr(camera.roi, name)
        return number

    def put(camera: BenchCamera, value: int) -> None:
        camera.roi = camera.roi._replace(**{name: value})

    return property(get, put, doc=what)


class BenchCamera(Detector):
    """A bench's camera as one of OpenWFS.

    Parameters
    ----------
    instruments : Instruments
        The bench's modulator and camera, of which this is the camera. Region and exposure are those of it.
    n_frames : int
        Frames of which a read is the mean.
    pixel_size : Quantity, optional
        Pitch of the pixels, as OpenWFS attaches it to what is read: a length, or two of them. None by default.

    Attributes
    ----------
    n_frames : int
        As given; may be set.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.

    Notes
    -----
    Frames are taken by the trigger itself, in the order of the triggers and in the thread that triggers, so that they
    are of the pattern that is shown then; a trigger returns when they are there, and latency and duration are 0. A
    bench is one camera: frames in threads would come in any order, and with them the noise and the drift that belong
    to each. What OpenWFS makes of the frames may be made in its threads.
    """

    def __init__(self, instruments: Instruments, *, n_frames: int = 1, pixel_size: Any = None) -> None:
        self._instruments = _checked_instruments(instruments)
        if pixel_size is not None:
            pixel_size = _quantity("pixel_size", pixel_size, u.m, "1 * u.um") * np.ones(2) * u.m
            pixel_size = pixel_size.to(u.um)
        super().__init__(data_shape=None, pixel_size=pixel_size, duration=_NOW, latency=_NOW, multi_threaded=False)
        self.n_frames = n_frames

    @property
    def n_frames(self) -> int:
        """Frames of which a read is the mean."""
        return self._n_frames

    @n_frames.setter
    def n_frames(self, value: int) -> None:
        self._n_frames = validation.integer("n_frames", value, low=1)

    @property
    def exposure(self) -> Any:
        """Exposure of each frame, a Quantity of time."""
        return (self._instruments.exposure_s * u.s).to(u.ms)

    @exposure.setter
    def exposure(self, value: Any) -> None:
        self._instruments.exposure_s = float(_quantity("exposure", value, u.s, "0.4 * u.ms"))

    @property
    def roi(self) -> Roi:
        """(row, column, n_rows, n_columns) that is read."""
        return self._instruments.roi

    @roi.setter
    def roi(self, value: Any) -> None:
        self._instruments.roi = value

    top: int = _number_of_roi("row", "First row that is read.")
    left: int = _number_of_roi("column", "First column that is read.")
    height: int = _number_of_roi("n_rows", "Rows that are read.")
    width: int = _number_of_roi("n_columns", "Columns that are read.")

    @property
    def data_shape(self) -> tuple[int, int]:
        """Rows and columns that are read."""
        return self.height, self.width

    @property
    def bottom(self) -> int:
        """Row after the last one that is read."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """Column after the last one that is read."""
        return self.left + self.width

    def _fetch(self) -> np.ndarray:
        frames = self._instruments.snap(self.n_frames)
        if len(frames) == 1:
            return frames[0]
        mean: np.ndarray = frames.mean(axis=0, dtype=np.float64)
        return mean


class PixelTargets(Processor):
    """Single pixels of a camera: each one is a target of an algorithm.

    Parameters
    ----------
    source : Detector
        Of two dimensions, such as a `BenchCamera`.
    pixels : array_like of int, shape (..., 2)
        (row, column) of each target in what the source reads.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """

    def __init__(self, source: Detector, pixels: Any) -> None:
        _checked_camera("source", source)
        array = checked_array("pixels", pixels, "whole numbers, (..., 2)", kinds="iu")
        if array.ndim < 1 or array.shape[-1] != 2 or not array.size:
            raise ValueError(
                f"pixels has the shape {array.shape}, but it must hold a row and a column for each target, (..., 2)."
            )
        wrong = ((array < 0) | (array >= source.data_shape)).any(axis=-1)
        if wrong.any():
            first = tuple(int(v) for v in array[wrong][0])
            raise ValueError(f"pixels holds {first}, but the source reads {tuple(source.data_shape)} pixels.")
        self._pixels = np.moveaxis(array.astype(np.intp), -1, 0)
        super().__init__(source, multi_threaded=False)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """The shape of `pixels` without its last axis."""
        return self._pixels.shape[1:]

    @property
    def pixel_size(self) -> None:
        """None: targets have no pitch."""
        return None

    def _fetch(self, image: np.ndarray) -> np.ndarray:
        found: np.ndarray = image[tuple(self._pixels)]
        return found


class OpenWFSBench(OneByOneBench):
    """A bench of a phase modulator and a camera that OpenWFS drives.

    It has the calibrations of `opusim.calibration`, and an `opusim.OPU` drives it. OpenWFS itself waits until the
    modulator has settled, by its latency and its duration, before it takes a frame.

    Parameters
    ----------
    slm : PhaseSLM
        Any modulator of OpenWFS.
    camera : Detector
        Any camera of OpenWFS, or another detector of two dimensions. Its sensor is what it reads when it is given, and
        must stay so. Frames are cut out of that where a region is asked for.
    shape : tuple of int
        Pixels of the bench as (rows, columns): OpenWFS stretches a picture of any shape over its modulator. That of
        the modulator itself, or fewer.
    name : str
        Name of the device; another for another medium, as calibrations are kept by it.
    version : int
        Raise it when the device has been changed.
    levels : int
        Levels from 0 to below 2 pi by which phases go, 2 to 256.
    bits : int, optional
        Bits of a count, as 12 where a camera of 12 bits gives whole numbers up to 4095; 0 for counts without a full
        scale, as float32. By default those of the type that a first frame has, and 0 for floats.
    black_level_dn : float
        Mean count in the dark.
    exposure_s : float, optional
        Exposure in seconds to begin with; the camera's own by default. A detector without an ``exposure`` has no other
        one than this, 400 us by default.
    settling_s : float
        Time in seconds that is waited after each picture, beside what OpenWFS waits.
    shutter : callable, optional
        Opens the laser's shutter when given True and shuts it when given False. Without one there are no dark frames.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """

    def __init__(
        self,
        slm: PhaseSLM,
        camera: Detector,
        *,
        shape: tuple[int, int],
        name: str = "OpenWFS",
        version: int = 1,
        levels: int = 256,
        bits: int | None = None,
        black_level_dn: float = 0.0,
        exposure_s: float | None = None,
        settling_s: float = 0.0,
        shutter: Callable[[bool], object] | None = None,
    ) -> None:
        if not isinstance(slm, PhaseSLM):
            raise TypeError(f"slm is {slm!r}, but it must be an openwfs.core.PhaseSLM.")
        _checked_camera("camera", camera)
        validation.integer("levels", levels, low=2, high=256)
        validation.number("settling_s", settling_s, low=0.0, high=60.0)
        # Before the camera is touched.
        checked_function("shutter", shutter, "True, to open it, and False, to shut it")
        self._slm, self._camera = slm, camera
        self._follows = hasattr(camera, "exposure")
        if exposure_s is None:
            exposure_s = float(camera.exposure.to_value(u.s)) if self._follows else 400e-6
        self._exposure_s = exposure_s = validation.number("exposure_s", exposure_s, low=0.0, high=3600.0, low_open=True)
        if self._follows:
            self._set_exposure(exposure_s)
        if bits is None:
            kind = np.asarray(camera.read()).dtype
            bits = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}.get(np.dtype(kind.str), 0)
        sensor_shape = tuple(int(n) for n in camera.data_shape)
        super().__init__(
            LabDevice(
                name, shape, (sensor_shape[0], sensor_shape[1]), bits=bits, black_level_dn=black_level_dn,
                exposure_s=exposure_s, frametime_s=exposure_s + _waiting_s(slm) + settling_s, phase_levels=levels,
                version=version,
            ),
            settling_s=settling_s, shutter=shutter,
        )  # fmt: skip
        turns = self.device.level_turns
        assert turns is not None
        self._phases_rad = 2 * np.pi * turns

    def minimum_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames: exposure, and what the modulator takes.

        Parameters
        ----------
        n_rows : int
            Rows that are read, of which it does not depend: all are read, and some are kept.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds.
        """
        return exposure_s + _waiting_s(self._slm) + self.settling_s

    def put(self, picture: np.ndarray) -> None:
        """Show levels on the modulator.

        Parameters
        ----------
        picture : ndarray of uint8, shape (rows, columns)
            Levels.
        """
        self._slm.set_phases(self._phases_rad[picture])

    def take(self, *, exposure_s: float, roi: Roi) -> np.ndarray:
        """Read a frame, and cut a region out of it.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.
        roi : tuple of int
            (row, column, n_rows, n_columns) on the sensor.

        Returns
        -------
        ndarray, shape (n_rows, n_columns)
            Counts.

        Raises
        ------
        ValueError
            If the camera has no exposure that could be set, and another one is asked for.
        RuntimeError
            If the camera makes something else of the exposure, reads another region than at first, or gives counts
            beyond what ``bits`` allows.
        """
        if exposure_s != self._exposure_s:
            self._set_exposure(exposure_s)
        frame = np.asarray(self._camera.read())
        if frame.shape != self.sensor_shape:
            raise RuntimeError(
                f"the camera read {frame.shape} pixels, but when the bench was made it read {self.sensor_shape}: "
                "make another bench where its region is another one."
            )
        frame = frame[roi[0] : roi[0] + roi[2], roi[1] : roi[1] + roi[3]]
        return _counts(frame, self.device)

    def _set_exposure(self, exposure_s: float) -> None:
        if not self._follows:
            raise ValueError(
                f"exposure_s is {exposure_s!r}, but this detector has no exposure that could be set: it must be "
                f"{self._exposure_s!r}."
            )
        self._exposure_s = math.nan  # after a refusal the camera has another one than before
        self._camera.exposure = exposure_s * u.s
        made = float(self._camera.exposure.to_value(u.s))
        if not abs(made - exposure_s) <= max(_EXPOSURE_SHARE * exposure_s, _EXPOSURE_S):
            raise RuntimeError(
                f"the camera was asked for an exposure of {exposure_s:g} s and has one of {made:g} s: ask for one that "
                "it can do."
            )
        self._exposure_s = exposure_s


def _counts(frame: np.ndarray, device: LabDevice) -> np.ndarray:
    camera = device.camera
    if not camera.quantise:
        return frame.astype(camera.dtype)
    if frame.dtype.kind not in "iu":
        raise RuntimeError(
            f"the camera gave an array of {frame.dtype}, but with bits = {camera.bits} counts are whole numbers: make "
            "the bench with bits = 0."
        )
    if frame.size and not 0 <= frame.min() <= frame.max() <= camera.full_scale_dn:
        raise RuntimeError(
            f"the camera gave counts from {frame.min()} to {frame.max()}, but with bits = {camera.bits} they go from 0 "
            f"to {camera.full_scale_dn}: set bits to what the camera has, or let it give counts that are not shifted."
        )
    return frame.astype(camera.dtype)


def _waiting_s(slm: PhaseSLM) -> float:
    """Seconds from a picture to settled light that a modulator declares; 0 where it does not know them."""
    if not isinstance(slm, Device):
        return 0.0
    time_s = float(slm.latency.to_value(u.s)) + float(slm.duration.to_value(u.s))
    return time_s if np.isfinite(time_s) else 0.0


def _stretched(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    out = np.zeros(shape, dtype=np.float32)
    project(array.astype(np.float32), out=out, source_extent=(2.0, 2.0), out_extent=(2.0, 2.0))
    return out.astype(np.float64)


def _checked_instruments(instruments: Any) -> Instruments:
    if not isinstance(instruments, Instruments):
        raise TypeError(
            f"instruments is {instruments!r}, but it must be an opusim.adapters.instruments.Instruments, as "
            "Instruments(bench)."
        )
    return instruments


def _checked_camera(name: str, camera: Any) -> None:
    if not isinstance(camera, Detector):
        raise TypeError(f"{name} is {camera!r}, but it must be an openwfs.core.Detector.")
    if len(camera.data_shape) != 2:
        raise ValueError(
            f"{name} reads an array of the shape {tuple(camera.data_shape)}, but it must be of two dimensions."
        )


def _quantity(name: str, value: Any, unit: Any, example: str) -> Any:
    """Return a number of SI units."""
    if not isinstance(value, u.Quantity):
        raise TypeError(f"{name} is {value!r}, but it must be a quantity of astropy, such as {example}.")
    if not value.unit.is_equivalent(unit):
        raise TypeError(
            f"{name} is {value!r}, a {value.unit.physical_type}, but it must be a {unit.physical_type}, such as "
            f"{example}."
        )
    return value.to_value(unit)
