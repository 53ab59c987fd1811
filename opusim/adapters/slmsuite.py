"""slmsuite 0.5: a bench of ours as its SLM and camera, and its SLM and camera as a bench of ours.

``pip install "opusim[slmsuite]"``. slmsuite needs no library of a vendor: each of its instruments imports its own in
the module of its name, as ``slmsuite.hardware.slms.santec``, and none of those is loaded here. It needs opencv-python,
on a machine without a display opencv-python-headless in its place, and uses cupy for all that it computes where that is
installed.

- `fourier_slm` makes of any bench whose modulator turns phases (`opusim.bench.protocol.Phases`) the FourierSLM that
  slmsuite's calibrations and holograms are written for; `BenchSLM` and `BenchCamera` are its two halves.
- `SlmsuiteBench` makes a bench of any SLM and camera that slmsuite drives, for `opusim.calibration` and an
  `opusim.OPU`.

Conventions. slmsuite's phase grows with the delay of the light, and its grey levels fall with it: a level d of its n
stands for the phase -2 pi d / n. Ours grow, so that d is our level n - 1 - d. The image is ours as it stands: row 0 at
the top, no flip. Behind a lens (`opusim.device.medium.FourierLensMedium`) a blaze in +x sends light to +x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    from slmsuite.hardware.cameras.camera import Camera
    from slmsuite.hardware.cameraslms import FourierSLM
    from slmsuite.hardware.slms.slm import SLM
    from slmsuite.misc.xp import as_numpy as on_host
except ImportError as error:
    raise ImportError(
        f"opusim.adapters.slmsuite needs slmsuite 0.5 ({error}): install the extra, as in "
        "pip install 'opusim[slmsuite]', or in a clone pip install -e '.[slmsuite]'."
    ) from error

from opusim.base import validation
from opusim.bench.laboratory import LabDevice
from opusim.bench.protocol import Drivable, has
from opusim.bench.region import AnyRoi, Roi
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout
from opusim.patterns.phases import nearest_levels

from .instruments import Instruments, OneByOneBench

__all__ = ["BenchCamera", "BenchSLM", "SlmsuiteBench", "fourier_slm"]

# Displays of a modulator whose levels are no power of two, or not even: bits.
_BITS = 8
# By how much levels may be off an even scale, in turns.
_EVEN = 1e-9
# Largest phase: at it numbers of single precision are a hundredth of a turn apart.
_LARGEST_RAD = 1e6


def fourier_slm(
    bench: Any,
    *,
    layout: MirrorLayout | None = None,
    exposure_s: float | None = None,
    roi: AnyRoi | None = None,
    slm: dict[str, Any] | None = None,
    camera: dict[str, Any] | None = None,
) -> Any:
    """Return a bench as slmsuite's pair of a camera and an SLM in the focal planes of a lens.

    ``fourier_calibrate``, and holograms with feedback from the camera (``feedback="experimental_spot"``), then work on
    the bench. Those that know the lens's scale need a medium that is one,
    `opusim.device.medium.FourierLensMedium`, or a laboratory's bench with one.

    Parameters
    ----------
    bench : Bench
        A bench whose modulator turns phases.
    layout, exposure_s, roi : object
        As for `opusim.adapters.instruments.Instruments`.
    slm, camera : dict, optional
        Keywords for `BenchSLM` and `BenchCamera`.

    Returns
    -------
    slmsuite.hardware.cameraslms.FourierSLM
        Its ``slm`` is a `BenchSLM`, its ``cam`` a `BenchCamera`. They share ``slm.instruments``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """
    both = Instruments(bench, layout=layout, exposure_s=exposure_s, roi=roi)
    shown = BenchSLM(both, **(slm or {}))
    return FourierSLM(BenchCamera(both, **(camera or {})), shown)


class BenchSLM(SLM):  # type: ignore[misc]
    """The modulator of a bench as slmsuite's SLM.

    A picture is shown with the next frame: the bench takes its time to settle itself.

    Parameters
    ----------
    instruments : Instruments or Bench
        A bench whose modulator turns phases, or what `opusim.adapters.instruments.Instruments` makes of one: to be
        shared with a `BenchCamera`.
    wav_um : float, optional
        Wavelength in micrometres; of a simulated bench its laser's. Others do not say one: it must be given.
    wav_design_um : float, optional
        Wavelength in micrometres for which the levels span one turn. By default the one for which an even scale of
        levels is stated times the turns that it spans, else `wav_um`. slmsuite uses a part of the levels where it is
        above `wav_um`.
    pitch_um : float or tuple of float, optional
        Distance of the pixels of a picture in micrometres, (x, y). Of a simulated bench that of its modulator's, times
        the side of a macro-pixel.
    name : str
        Name; that of the bench's record by default.
    settle_time_s : float
        Seconds that slmsuite waits after a picture where it is told to settle.
    gpu : bool, optional
        As for slmsuite's own: whether it holds arrays by cupy. By default where that is installed.

    Attributes
    ----------
    instruments : Instruments
        As given.

    Raises
    ------
    TypeError, ValueError
        If the bench has mirrors, or wavelength or pitch are not known.
    """

    def __init__(
        self,
        instruments: Any,
        *,
        wav_um: float | None = None,
        wav_design_um: float | None = None,
        pitch_um: float | tuple[float, float] | None = None,
        name: str = "",
        settle_time_s: float = 0.0,
        gpu: bool | None = None,
    ) -> None:
        self.instruments = _instruments(instruments)
        turns = self.instruments.level_turns
        if turns is None:
            raise TypeError(
                "The bench has mirrors, which are on or off, but slmsuite's SLM turns phases: give a bench whose "
                "modulator does (opusim.bench.protocol.Phases)."
            )
        record = _record(self.instruments)
        if wav_um is None:
            wav_um = 1e6 * _known(record, "wav_um", "wavelength").laser.wavelength_m
        wav_um = validation.number("wav_um", wav_um, low=0.0, high=100.0, low_open=True)
        if wav_design_um is not None:
            validation.number("wav_design_um", wav_design_um, low=0.0, high=100.0, low_open=True)
        validation.number("settle_time_s", settle_time_s, low=0.0, high=60.0)
        if pitch_um is None:
            pitch_um = _pitch_um(self.instruments, record)
        _check_pitch(pitch_um)
        bits = len(turns).bit_length() - 1
        span = float(turns[1] - turns[0]) * len(turns)
        even = np.allclose(turns, np.arange(len(turns)) * (span / len(turns)), rtol=0, atol=_EVEN)
        if even and span > 0 and len(turns) == 1 << bits:
            # A level of slmsuite's is one of ours.
            self._levels = np.arange(len(turns), dtype=np.uint8)[::-1].copy()
            if wav_design_um is None:
                stated_m = 0.0 if record is None else getattr(record.modulator, "stated_wavelength_m", 0.0)
                wav_design_um = span * (1e6 * stated_m or wav_um)
        else:
            bits = _BITS
            self._levels = nearest_levels(np.arange(1 << bits)[::-1] / (1 << bits), turns)
            wav_design_um = wav_um if wav_design_um is None else wav_design_um
        rows, columns = self.instruments.shape
        super().__init__(
            (columns, rows), bitdepth=bits, name=name or _name(self.instruments, "SLM"), wav_um=wav_um,
            wav_design_um=wav_design_um, pitch_um=pitch_um, settle_time_s=settle_time_s, gpu=gpu,
        )  # fmt: skip
        self._shown = self.phase.copy()
        self.set_phase(None)

    def close(self) -> None:
        """Do nothing: the bench stays as it is."""

    def _format_phase_hw(self, phase: Any) -> Any:
        """Return the levels of phases, which have come to `phase` with the correction of the wavefront added."""
        # NaN is neither above nor below.
        if not (-_LARGEST_RAD <= phase.min() and phase.max() <= _LARGEST_RAD):
            wrong = phase[~(abs(phase) <= _LARGEST_RAD)][0]
            phase[:] = self._shown
            raise ValueError(
                f"phase holds {float(wrong):g}, but it must be finite numbers in radians, up to {_LARGEST_RAD:g}, with "
                'source["phase"] added: slmsuite keeps them in single precision.'
            )
        return super()._format_phase_hw(phase)

    def _set_phase_hw(self, display: Any) -> None:
        """Show levels of slmsuite's, integers of `shape`."""
        self.instruments.put(self._levels[on_host(display)])
        self._shown[:] = self.phase


class BenchCamera(Camera):  # type: ignore[misc]
    """The camera of a bench as slmsuite's: each image is a new frame of what the modulator shows.

    A window of interest is read from the bench alone, which computes no more than that. Averaging, high dynamic range
    and orientation (``rot``, ``fliplr``, ``flipud``) are slmsuite's own.

    Parameters
    ----------
    instruments : Instruments or Bench
        A bench, or what `opusim.adapters.instruments.Instruments` makes of one: to be shared with a `BenchSLM`.
    bitdepth : int, optional
        Bits of a count; by default those of the bench's record. Of a camera that does not round, whose frames are
        float32 without a full scale, slmsuite takes 2**bitdepth for one: 8 by default.
    pitch_um : float or tuple of float, optional
        Distance of the pixels in micrometres, (x, y); of a simulated bench its camera's. May be unknown.
    subtract_dn : int
        Counts that are taken off each pixel, of which 0 is left at least. slmsuite knows no black level: with one of
        a few counts its fit of a lattice of spots lies a pixel beside them.
    name : str
        Name; that of the bench's record by default.
    **options
        Further keywords of slmsuite's ``Camera``: ``exposure_bounds_s``, ``averaging``, ``hdr``, ``rot``, ``fliplr``,
        ``flipud``, ``capture_attempts``. The last one is 1 by default: a frame that a bench refuses once it refuses
        again.

    Attributes
    ----------
    instruments : Instruments
        As given.
    subtract_dn : int
        As given.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, or the bench does not say its bits.
    """

    def __init__(
        self,
        instruments: Any,
        *,
        bitdepth: int | None = None,
        pitch_um: float | tuple[float, float] | None = None,
        subtract_dn: int = 0,
        name: str = "",
        **options: Any,
    ) -> None:
        self.instruments = _instruments(instruments)
        self.subtract_dn = validation.integer("subtract_dn", subtract_dn, low=0, high=65535)
        record = _record(self.instruments)
        if bitdepth is None:
            bitdepth = _bits(self.instruments)
        validation.integer("bitdepth", bitdepth, low=1, high=16)
        if pitch_um is None and record is not None:
            pitch_um = 1e6 * record.camera.pixel_pitch_m
        if pitch_um is not None:
            _check_pitch(pitch_um)
        rows, columns = self.instruments.sensor_shape
        super().__init__(
            (columns, rows), bitdepth=bitdepth, pitch_um=pitch_um, name=name or _name(self.instruments, "camera"),
            **{"capture_attempts": 1, **options},
        )  # fmt: skip

    def close(self) -> None:
        """Do nothing: the bench stays as it is."""

    def flush(self, timeout_s: float = 1) -> None:
        """Do nothing: no frame waits in a buffer.

        Parameters
        ----------
        timeout_s : float
            Without meaning.
        """

    def _get_exposure_hw(self) -> float:
        return self.instruments.exposure_s

    def _set_exposure_hw(self, exposure_s: float) -> None:
        self.instruments.exposure_s = float(exposure_s)

    def _get_woi_hw(self) -> tuple[int, int, int, int]:
        row, column, rows, columns = self.instruments.roi
        return column, columns, row, rows

    def _set_woi_hw(self, woi: tuple[int, int, int, int]) -> None:
        column, columns, row, rows = (int(n) for n in woi)
        self.instruments.roi = (row, column, rows, columns)

    def _get_image_hw(self, timeout_s: float) -> np.ndarray:
        return self._frames(1)[0]

    def _get_images_hw(self, image_count: int, timeout_s: float, out: np.ndarray | None = None) -> np.ndarray:
        frames = self._frames(int(image_count))
        if out is None:
            return frames
        np.copyto(out, frames)
        return out

    def _frames(self, n: int) -> np.ndarray:
        frames = self.instruments.snap(n)
        if self.subtract_dn:
            off = frames.dtype.type(self.subtract_dn)
            frames = np.maximum(frames, off) - off
        return frames


class SlmsuiteBench(OneByOneBench):
    """A bench of an SLM and a camera that slmsuite drives.

    Levels are phases of slmsuite's: its look-up table (``set_gamma``) and its correction of the wavefront
    (``slm.source["phase"]``) act as on any hologram. What the camera delivers is the sensor: orientation and window of
    interest are to be set before, and must stay.

    Parameters
    ----------
    slm : slmsuite.hardware.slms.slm.SLM
        The modulator, of up to 2**16 levels. A bench has 256 at most: those nearest to them are shown.
    camera : slmsuite.hardware.cameras.camera.Camera
        The camera, of 16 bits at most.
    name : str
        Name of the device; another for another medium, as calibrations are kept by it.
    shutter : callable, optional
        As for `opusim.adapters.instruments.OneByOneBench`: without one there are no dark frames.
    black_level_dn : float
        Mean count in the dark.
    settling_s : float, optional
        Time in seconds from a picture to light that is of it alone; ``slm.settle_time_s`` by default.
    readout_s : float
        Time in seconds that a frame takes beside its exposure and the settling.
    exposure_s : float, optional
        Exposure in seconds to begin with; that of the camera by default.
    exposure_tolerance : float
        By which share of it the exposure that a camera makes may differ from the one that is asked for.

    Attributes
    ----------
    slm, camera : object
        As given.
    exposure_tolerance : float
        As given.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, or the camera sums pixels by software.
    """

    def __init__(
        self,
        slm: Any,
        camera: Any,
        name: str,
        *,
        shutter: Callable[[bool], object] | None = None,
        black_level_dn: float = 0.0,
        settling_s: float | None = None,
        readout_s: float = 0.0,
        exposure_s: float | None = None,
        exposure_tolerance: float = 0.01,
    ) -> None:
        if not isinstance(slm, SLM):
            raise TypeError(f"slm is {slm!r}, but it must be an SLM of slmsuite.")
        if not isinstance(camera, Camera):
            raise TypeError(f"camera is {camera!r}, but it must be a Camera of slmsuite.")
        self.slm, self.camera = slm, camera
        self.exposure_tolerance = validation.number("exposure_tolerance", exposure_tolerance, low=0.0, high=1.0)
        self._readout_s = validation.number("readout_s", readout_s, low=0.0, high=60.0)
        levels, turns = self._scale()
        settling_s = float(slm.settle_time_s) if settling_s is None else settling_s
        exposure_s = float(camera.get_exposure()) if exposure_s is None else exposure_s
        rows, columns = slm.shape
        device = LabDevice(
            name, mirror_shape=(int(rows), int(columns)), sensor_shape=(int(camera.shape[0]), int(camera.shape[1])),
            bits=_delivered_bits(camera), black_level_dn=black_level_dn, exposure_s=exposure_s,
            frametime_s=exposure_s + settling_s + self._readout_s, phase_levels=levels, phase_range_turns=turns,
        )  # fmt: skip
        super().__init__(device, settling_s=settling_s, shutter=shutter)

    def minimum_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames: settling, exposure and readout.

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
        return self.settling_s + exposure_s + self._readout_s

    def put(self, picture: np.ndarray) -> None:
        """Show levels, as `OneByOneBench.put`.

        Parameters
        ----------
        picture : ndarray of uint8, shape (rows, columns)
            Levels.
        """
        turns = picture * (self.device.phase_range_turns / self.device.phase_levels)
        if self._truncates:
            # slmsuite cuts the fraction of a level off, which must not hang on rounding.
            turns = turns - 0.25 / (self.slm.phase_scaling * self.slm.bitresolution)
        self.slm.set_phase(2 * np.pi * turns, settle=False)

    def take(self, *, exposure_s: float, roi: Roi) -> np.ndarray:
        """Expose a new frame and return a region of it, as `OneByOneBench.take`.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.
        roi : tuple of int
            (row, column, n_rows, n_columns) of what the camera delivers.

        Returns
        -------
        ndarray, shape (n_rows, n_columns)
            Counts.

        Raises
        ------
        RuntimeError
            If the camera cannot expose for so long, delivers another shape than it did, or counts beyond its bits.
        """
        camera, about = self.camera, self.device.camera
        if not math.isclose(camera.exposure_s, exposure_s, rel_tol=1e-9):
            real_s = float(camera.set_exposure(exposure_s))
            if not abs(real_s - exposure_s) <= self.exposure_tolerance * exposure_s:
                raise RuntimeError(
                    f"The camera was asked for an exposure of {exposure_s:.6g} s and makes one of {real_s:.6g} s: give "
                    "one that it has, or a larger exposure_tolerance."
                )
        camera.flush()  # of frames that were exposed under another picture
        image = np.asarray(camera.get_image(averaging=False, hdr=False))
        if image.shape != self.sensor_shape:
            raise RuntimeError(
                f"The camera delivers images of the shape {image.shape}, but they were {self.sensor_shape} when the "
                "bench was made: window of interest, binning and orientation must stay."
            )
        row, column, rows, columns = roi
        part = image[row : row + rows, column : column + columns]
        if about.quantise and part.size and not 0 <= part.min() <= part.max() <= about.full_scale_dn:
            raise RuntimeError(
                f"The camera delivers counts from {part.min()} to {part.max()}, but its bitdepth of {self.device.bits} "
                f"means 0 to {about.full_scale_dn:g}: counts of fewer bits must not be shifted to the left."
            )
        return part.astype(about.dtype)

    @property
    def _truncates(self) -> bool:
        """Whether slmsuite cuts phases down to a level in place of rounding them."""
        return self.slm.lut is None and self.slm.phase_scaling != 1 and self.slm.bitdepth <= _BITS

    def _scale(self) -> tuple[int, float]:
        """Return how many levels there are, and how many turns they span."""
        levels, scaling = int(self.slm.bitresolution), float(self.slm.phase_scaling)
        if self.slm.lut is not None or scaling == 1:
            return min(levels, 1 << _BITS), 1.0
        whole = levels * min(1.0, scaling)  # of a turn, or all that there are
        if levels > 1 << _BITS:
            return 1 << _BITS, whole / (levels * scaling)
        return max(2, math.floor(whole)), max(2, math.floor(whole)) / (levels * scaling)


def _instruments(given: Any) -> Instruments:
    return given if isinstance(given, Instruments) else Instruments(given)


def _record(instruments: Instruments) -> Device | None:
    """Return what a simulated bench is made of; None for others, which say no lengths."""
    record = instruments.bench.device if has(instruments.bench, Drivable) else None
    return record if isinstance(record, Device) else None


def _known(record: Device | None, argument: str, what: str) -> Device:
    if record is None:
        raise TypeError(f"{argument} is not given, but this bench does not say its {what}: give it in micrometres.")
    return record


def _pitch_um(instruments: Instruments, record: Device | None) -> float:
    layout = instruments.layout
    if layout is not None and layout.kind == "lined":
        raise TypeError(
            "pitch_um is not given, but the features of this layout lie in line, at no one distance: give it in "
            "micrometres."
        )
    side = 1 if layout is None else layout.factor
    return 1e6 * side * _known(record, "pitch_um", "pitch").modulator.pitch_m


def _check_pitch(pitch_um: Any) -> None:
    """Refuse what is no distance, or two."""
    each = pitch_um if isinstance(pitch_um, (tuple, list, np.ndarray)) else (pitch_um, pitch_um)
    if len(each) != 2:
        raise ValueError(f"pitch_um is {pitch_um!r}, but it must be a number of micrometres, or two of them: (x, y).")
    for value in each:
        validation.number("pitch_um", value, low=0.0, high=1e4, low_open=True)


def _bits(instruments: Instruments) -> int:
    """Return the bits of a count, as the bench's record says them."""
    if not has(instruments.bench, Drivable):
        raise TypeError("bitdepth is not given, but this bench does not say the bits of its counts: give them.")
    camera = instruments.bench.device.camera
    return int(camera.bits) if camera.quantise else _BITS


def _name(instruments: Instruments, what: str) -> str:
    return f"{instruments.bench.device.name} {what}" if has(instruments.bench, Drivable) else f"bench {what}"


def _delivered_bits(camera: Any) -> int:
    """Return the bits of what a camera of slmsuite's delivers; 0 for floats."""
    if np.dtype(camera.get_dtype(averaging=1, hdr=False)).kind == "f":
        return 0
    averaged = 1 if camera.averaging is None else int(camera.averaging)
    if camera.bitresolution != averaged << camera.bitdepth:
        raise ValueError(
            f"camera sums {camera.binning} pixels by software, so that no count is its full scale: its binning must be "
            "1, or done by the camera."
        )
    return validation.integer("bitdepth of the camera", int(camera.bitdepth), low=1, high=16)
