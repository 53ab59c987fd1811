"""A bench as a modulator and a camera, and a modulator and a camera as a bench: what all adapters have in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.locks import new_lock
from opusim.base.user_arrays import as_numpy
from opusim.base.warn import warn_outside
from opusim.bench.inputs import checked_exposure
from opusim.bench.laboratory import LabDevice, LaboratoryBench
from opusim.bench.protocol import Drivable, Inputs, checked_bench, has, input_layout_of, level_turns_of, output_roi_of
from opusim.bench.region import AnyRoi, Roi, checked_roi
from opusim.bench.returned import exposed
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.phases import PhasePatterns, driven, nearest_levels

__all__ = ["Instruments", "OneByOneBench"]

_EXPOSURE_S = 400e-6


def checked_function(name: str, value: Any, what: str) -> Any:
    """Return what was given for a function, or None.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : callable or None
        What was given.
    what : str
        What it is called with, for the message.

    Returns
    -------
    callable or None
        The same.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if value is not None and not callable(value):
        raise TypeError(f"{name} is {value!r}, but it must be a function of {what}, or None.")
    return value


class Instruments:
    """A bench as two instruments: a modulator that holds the picture last given, and a camera that takes frames of it.

    Threads may share it: a picture and the frames of it are never mixed.

    Parameters
    ----------
    bench : Bench
        The bench; `opusim.OpticalBench` or a laboratory's.
    layout : MirrorLayout, optional
        How pixels of a picture lie on those of the modulator, as
        ``MirrorLayout.macro_2d(bench.mirror_shape, (16, 16))`` for 16 x 16 segments. By default that of the bench's own
        inputs (`opusim.bench.protocol.Inputs`), or a pixel for each of the modulator's.
    exposure_s : float, optional
        Exposure in seconds; that of the bench's record, or 400 us.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns) that the camera reads; the rectangle that has light, or the whole sensor.

    Attributes
    ----------
    exposure_s, roi : float, Roi
        As given; may be set.
    reference_phase_rad : float or None
        Phase of the reference arm in radians; None, as at first, blocks it. May be set.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """

    def __init__(
        self, bench: Any, *, layout: MirrorLayout | None = None, exposure_s: float | None = None,
        roi: AnyRoi | None = None,
    ) -> None:  # fmt: skip
        checked_bench(bench)
        self.bench = bench
        own = input_layout_of(bench) if has(bench, Inputs) else None
        layout = own if layout is None else layout
        if layout is not None and not isinstance(layout, MirrorLayout):
            raise TypeError(f"layout is {layout!r}, but it must be an opusim.patterns.layout.MirrorLayout.")
        if layout is not None and layout.dmd_shape != tuple(bench.mirror_shape):
            raise ValueError(
                f"layout is for {layout.dmd_shape} pixels, but the modulator of this bench has "
                f"{tuple(bench.mirror_shape)}."
            )
        self.layout = layout
        self._lock = new_lock()
        if exposure_s is None:
            exposure_s = bench.device.operation.exposure_s if has(bench, Drivable) else _EXPOSURE_S
        self.exposure_s = exposure_s
        region = output_roi_of(bench) if roi is None else roi
        self.roi = Roi.whole(bench.sensor_shape) if region is None else region
        self.reference_phase_rad: float | None = None
        self._picture = np.zeros(self.shape, dtype=np.uint8)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a picture; (1, n) of n features in line."""
        if self.layout is None:
            rows, columns = self.bench.mirror_shape
            return int(rows), int(columns)
        n = self.layout.n_features
        return (n[0], n[1]) if len(n) == 2 else (1, self.layout.n_features_total)

    @property
    def level_turns(self) -> np.ndarray | None:
        """Phase of each level in turns of 2 pi, float64 (levels,); None for mirrors, which are on or off."""
        return level_turns_of(self.bench)

    @property
    def sensor_shape(self) -> tuple[int, int]:
        """Pixels of the camera as (rows, columns)."""
        rows, columns = self.bench.sensor_shape
        return int(rows), int(columns)

    @property
    def exposure_s(self) -> float:
        """Exposure in seconds."""
        return self._exposure_s

    @exposure_s.setter
    def exposure_s(self, value: float) -> None:
        self._exposure_s = checked_exposure(value)

    @property
    def roi(self) -> Roi:
        """(row, column, n_rows, n_columns) that the camera reads."""
        return self._roi

    @roi.setter
    def roi(self, value: AnyRoi) -> None:
        self._roi = checked_roi(value, self.sensor_shape)

    @property
    def picture(self) -> np.ndarray:
        """What the modulator shows: uint8 of `shape`, bits or levels; a copy. All 0 at first."""
        return self._picture.copy()

    def put(self, picture: Any) -> None:
        """Show a picture until the next one is put.

        Parameters
        ----------
        picture : array_like of `shape`
            0 and 1 for mirrors, of any type. For a modulator of phases floats are turns of 2 pi, from 0 to below 1, and
            whole numbers levels.

        Raises
        ------
        TypeError, ValueError
            If it is something else; the picture before it stays.
        """
        self._picture = self._checked("picture", picture, 2)

    def put_phases(self, phases_rad: Any) -> None:
        """Show phases, by the nearest level of each.

        Parameters
        ----------
        phases_rad : array_like of float of `shape`
            Radians, any finite numbers.

        Raises
        ------
        TypeError, ValueError
            If it is something else, or the bench has mirrors, which turn no phase.
        """
        turns = self.level_turns
        if turns is None:
            raise TypeError("phases_rad is given, but this bench has mirrors, which are on or off: put a picture.")
        array, _ = as_numpy(phases_rad, "phases_rad", f"an array of floats of the shape {self.shape}")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ValueError(f"phases_rad has dtype {array.dtype}, but it must hold finite numbers, in radians.")
        self.put(nearest_levels(array / (2 * np.pi), turns))

    def snap(self, n: int = 1) -> np.ndarray:
        """Take frames of what is shown.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts of the region `roi`.
        """
        n = validation.integer("n", n, low=0)
        return self._taken(np.repeat(self._picture[None], n, axis=0))

    def snap_each(self, pictures: Any) -> np.ndarray:
        """Show pictures one after the other, as fast as the bench goes, and take a frame of each. The last one stays.

        Parameters
        ----------
        pictures : array_like, (n, rows, columns)
            As for `put`.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts of the region `roi`.

        Raises
        ------
        TypeError, ValueError
            If it is something else.
        """
        checked = self._checked("pictures", pictures, 3)
        last = checked[-1:].copy()  # whoever has `expose` alone may write into what it is given
        with self._lock:
            frames = self._taken(checked)
            if len(last):
                self._picture = last[0]
        return frames

    def dark(self, n: int = 1) -> np.ndarray:
        """Take frames with the laser shut.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts of the region `roi`.
        """
        with self._lock:
            return exposed(self.bench, None, exposure_s=self.exposure_s, roi=self.roi, n_frames=n)

    def _taken(self, pictures: np.ndarray) -> np.ndarray:
        given: Any = pictures
        if self.layout is not None:
            kind = MirrorPatterns if self.level_turns is None else PhasePatterns
            given = kind(pictures.reshape(len(pictures), -1), self.layout)
        with self._lock:
            return exposed(
                self.bench, given, exposure_s=self.exposure_s, roi=self.roi,
                reference_phase_rad=self.reference_phase_rad,
            )  # fmt: skip

    def _checked(self, name: str, pictures: Any, ndim: int) -> np.ndarray:
        """Return bits or levels, uint8, an array of its own."""
        wanted = self.shape if ndim == 2 else ("n", *self.shape)
        array, _ = as_numpy(pictures, name, f"an array of the shape {wanted}")
        if array.ndim != ndim or array.shape[-2:] != self.shape:
            raise ValueError(f"{name} has the shape {array.shape}, but it must be ({', '.join(map(str, wanted))}).")
        if self.level_turns is not None:
            return np.array(driven(name, array, self.level_turns))
        if array.dtype.kind not in "buif":
            raise TypeError(f"{name} has dtype {array.dtype}, but it must be 0 and 1.")
        wrong = array[(array != 0) & (array != 1)]
        if wrong.size:
            raise ValueError(f"{name} holds {wrong[0]}, but mirrors are off or on, 0 or 1.")
        return array.astype(np.uint8)


class ShutteredBench(LaboratoryBench):
    """A bench that is given its record, and a shutter of the laser if there is one.

    A subclass says how frames are taken in the dark (`_unlit`), and what else `LaboratoryBench` asks for.

    Parameters
    ----------
    device : LabDevice
        What a driver needs to know.
    shutter : callable, optional
        As for `OneByOneBench`.

    Raises
    ------
    TypeError
        If an argument is not what it may be.
    """

    def __init__(self, device: LabDevice, *, shutter: Callable[[bool], object] | None = None) -> None:
        if not isinstance(device, LabDevice):
            raise TypeError(f"device is {device!r}, but it must be an opusim.bench.laboratory.LabDevice.")
        self._device = device
        self._shutter = checked_function("shutter", shutter, "True, to open it, and False, to shut it")

    @property
    def device(self) -> LabDevice:  # type: ignore[override]
        """What a driver needs to know."""
        return self._device

    def dark(self, n_frames: int, *, exposure_s: float, frametime_s: float, roi: Roi) -> np.ndarray:
        """Return frames without light, as `LaboratoryBench.dark`.

        Parameters
        ----------
        n_frames : int
            How many.
        exposure_s, frametime_s, roi : float, float, tuple of int
            As in `LaboratoryBench.dark`.

        Returns
        -------
        ndarray, shape (n_frames, n_rows, n_columns)
            Counts.

        Raises
        ------
        RuntimeError
            If pixels turn phases and there is no shutter.
        """
        if self._shutter is None:
            if self.device.phase_levels:
                raise RuntimeError(
                    "This bench is asked for dark frames, but a modulator of phases is never dark: give it a shutter, "
                    "a function that shuts the laser when called with False and opens it with True."
                )
            warn_outside(
                "This bench has no shutter, and takes frames of mirrors that are all off for dark ones: what light "
                "they send counts as dark."
            )
            return self._unlit(n_frames, exposure_s=exposure_s, frametime_s=frametime_s, roi=roi)
        self._shutter(False)
        try:
            return self._unlit(n_frames, exposure_s=exposure_s, frametime_s=frametime_s, roi=roi)
        finally:
            self._shutter(True)

    @abstractmethod
    def _unlit(self, n_frames: int, *, exposure_s: float, frametime_s: float, roi: Roi) -> np.ndarray:
        """Take frames while the shutter is shut; without one, of mirrors that are all off."""


class OneByOneBench(ShutteredBench):
    """A bench of a modulator and a camera that are triggered by software, one picture after the other.

    A subclass says `put`, `take` and what `LaboratoryBench` asks for: `minimum_frametime_s`.

    Parameters
    ----------
    device : LabDevice
        What a driver needs to know.
    settling_s : float
        Time in seconds from a picture to light that is of it alone: of liquid crystals tens of milliseconds.
    shutter : callable, optional
        Opens the laser's shutter when given True and shuts it when given False, and returns when it stands. Without
        one, dark frames of mirrors are those of mirrors that are all off, which is said in a warning; phases have none.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """

    # Each frame is asked for after its picture stands: none can be that of another one.
    guards = False

    def __init__(
        self, device: LabDevice, *, settling_s: float = 0.0, shutter: Callable[[bool], object] | None = None
    ) -> None:
        super().__init__(device, shutter=shutter)
        self.settling_s = validation.number("settling_s", settling_s, low=0.0, high=60.0)

    @abstractmethod
    def put(self, picture: np.ndarray) -> None:
        """Show a picture.

        Parameters
        ----------
        picture : ndarray of uint8, shape (rows, columns)
            0 and 1, or levels.
        """

    @abstractmethod
    def take(self, *, exposure_s: float, roi: Roi) -> np.ndarray:
        """Expose a new frame, and return it.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.
        roi : tuple of int
            (row, column, n_rows, n_columns) on the sensor.

        Returns
        -------
        ndarray, shape (n_rows, n_columns)
            Counts, of the type of ``device.camera.dtype``. Its exposure began after the call.
        """

    def show(self, mirrors: np.ndarray, *, exposure_s: float, frametime_s: float, roi: Roi) -> np.ndarray:
        """Show pictures one after the other and take a frame of each, as `LaboratoryBench.show`.

        Parameters
        ----------
        mirrors : ndarray of uint8, shape (n, rows, columns)
            Pictures.
        exposure_s, frametime_s, roi : float, float, tuple of int
            As in `LaboratoryBench.show`.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts.
        """
        return self._paced(len(mirrors), exposure_s, frametime_s, roi, lambda k: self._put(mirrors[k]))

    def _unlit(self, n_frames: int, *, exposure_s: float, frametime_s: float, roi: Roi) -> np.ndarray:
        if self._shutter is None:
            self._put(np.zeros(self.mirror_shape, dtype=np.uint8))
        return self._paced(n_frames, exposure_s, frametime_s, roi)

    def _put(self, picture: np.ndarray) -> None:
        self.put(picture)
        if self.settling_s:
            time.sleep(self.settling_s)

    def _paced(
        self, n: int, exposure_s: float, frametime_s: float, roi: Roi, before: Callable[[int], None] | None = None
    ) -> np.ndarray:
        frames = np.empty((n, roi[2], roi[3]), dtype=self.device.camera.dtype)
        due = time.monotonic()
        for k in range(n):
            if before is not None:
                before(k)
            frame = np.asarray(self.take(exposure_s=exposure_s, roi=roi))
            if frame.shape != frames.shape[1:] or frame.dtype != frames.dtype:
                raise RuntimeError(
                    f"take returned an array of {frame.dtype} of the shape {frame.shape}, but it must be of "
                    f"{frames.dtype}, which follows from device.bits, of the shape {frames.shape[1:]}."
                )
            frames[k] = frame
            due += frametime_s
            if (left := due - time.monotonic()) > 0 and k < n - 1:
                time.sleep(left)
        return frames
