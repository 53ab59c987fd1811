"""What can be wrong with an output: the sources of error, how each is switched off, and a budget of them.

The error of outputs y is counted against the outputs t that the same device (the same medium, features and sensor)
gives when every source here is off. What is a scale or an offset common to all outputs is no error: with r the
correlation of y with t over vectors and pixels,

    error = 1 / |r|^2 - 1,

the mean square of what the best line through t leaves of y, over the variance that it explains. For noise that is
independent of the signal this is the variance of the noise over that of the speckle. A source's part is by how much
the error falls when it alone is switched off; the parts of independent sources add up to the whole. A part can be
below zero: a saturated frame of a burst is left out, and the fit that does without it uses what is known of the
reference, which makes it the better one; and noise that spreads levels over a step makes rounding the smaller error.

Some sources (`FIXED`) do the same to an output whenever the same input is shown: patterns on the sensor, light of off
mirrors, averaging over the pixel. They make another matrix rather than a noisy one, and a readout that is trained on
the device's own outputs loses next to nothing by them. The others are new in every frame or come with time. Rounding
and saturation count among these: what they take away of an output is gone for good.

Two things are not as plain. A pixel that averages over its area is compared with the points on it: its part is the
error of the noise-free average against the intensity (or the field) at points, and all other parts are against that
average. And rounding and the two ends of the grey scale are one thing in a camera, `quantise`; here the source
"quantisation" is rounding alone, and "saturation" is both ends of the scale and the full well.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opusim.base import validation

from .point import MODES, WorkingPoint

if TYPE_CHECKING:
    from opusim.device.record import Device

__all__ = [
    "FIXED",
    "LARGEST_ERROR",
    "MODES",
    "SOURCES",
    "ErrorBudget",
    "WorkingPoint",
    "bounded",
    "checked_point",
    "parts_of",
    "sources_of",
    "without",
    "working_point",
]


SOURCES: dict[str, tuple[str, ...]] = {
    "shot noise": ("shot noise",),
    "read noise": ("read noise",),
    "quantisation": ("quantisation",),
    "saturation": ("full well",),
    "PRNU": ("PRNU",),
    "DSNU": ("DSNU",),
    "dark current": ("dark current", "hot pixels"),
    "laser power": ("laser power noise",),
    "decorrelation": ("decorrelation",),
    "reference phase": ("phase jitter", "vibration"),
    "off-state leakage": ("off-state leakage",),
    "pixel integration": ("pixel integration",),
}
"""Sources of error, and the switches of `Device.imperfections` that turn each off. The slow drifts of laser and
reference are none: a common scale or turn, which is no error, or which the anchors of a linear transform take off."""

FIXED: tuple[str, ...] = ("PRNU", "DSNU", "off-state leakage", "pixel integration")
"""Sources that do the same to an output whenever the same input is shown: a trained readout loses nothing by them."""

LARGEST_ERROR = 10.0
"""Above this an error means no more than that outputs have next to nothing to do with their inputs."""

# 1 / |r|^2 of a correlation that is nothing but chance, or 0, may be any number.
_NOTHING_LEFT = 1e9
_MIDDLE = 64  # rows and columns of the region in the middle of the sensor


@dataclass(frozen=True)
class ErrorBudget:
    """Parts of the sources in the error of an output, relative to the variance of outputs.

    Parameters
    ----------
    point : WorkingPoint
        Device and circumstances.
    errors : dict of float
        By how much the error falls when a source is off, by its name; in the order of ``SOURCES``.
    whole : float
        The error with all sources at once (that of pixel integration added). Above 10 it says no more
        than that outputs have next to nothing to do with their inputs; closed form and measurement need not agree then.
    measured : bool
        Whether it was measured on a bench (True) or comes from closed forms.
    uncertainty : dict of float
        Standard error of each measured part, by its name; empty for closed forms.
    """

    point: WorkingPoint
    errors: Mapping[str, float]
    whole: float
    measured: bool
    uncertainty: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return math.fsum(self.errors.values())

    @property
    def new(self) -> dict[str, float]:
        """Parts of the sources that are new in every frame or come with time: those that a trained readout pays for."""
        return {name: part for name, part in self.errors.items() if name not in FIXED}

    @property
    def new_share(self) -> float:
        """Share of these together in the sum of all; 0 if there is no error."""
        return math.fsum(self.new.values()) / self.total if self.total else 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what the numbers cannot be trusted for."""
        notes = []
        if self.whole > LARGEST_ERROR:
            notes.append(
                f"The error of an output ({self.point.mode}) is {self.whole:.2g} times the variance of outputs. Above "
                f"{LARGEST_ERROR:g} outputs have next to nothing to do with their inputs, and neither the error nor "
                "its parts mean more than that."
            )
        if not self.measured:
            return tuple(notes)
        off = abs(self.total - self.whole)
        if off > 0.25 * abs(self.whole) and off > 3 * math.hypot(*self.uncertainty.values()):
            notes.append(
                f"The measured parts add up to {self.total:.3g}, but all sources together make {self.whole:.3g}: they "
                "depend on each other here, so that shares are those of switching one source off alone."
            )
        least = 0.05 * abs(self.whole)
        unsure = [name for name, error in self.uncertainty.items() if error > max(abs(self.errors[name]), least)]
        if unsure:
            notes.append(
                f"Measured parts of {', '.join(unsure)} are smaller than their uncertainty: n_vectors or roi must be "
                "larger for them."
            )
        return tuple(notes)

    @property
    def rms(self) -> float:
        """Root of the error with all sources: rms error over the spread of outputs."""
        return math.sqrt(max(self.whole, 0.0))

    def share(self, source: str) -> float:
        """Return the part of a source in the sum of all.

        Parameters
        ----------
        source : str
            Name of the source.

        Returns
        -------
        float
            Its share; 0 if there is no error.

        Raises
        ------
        ValueError
            If there is no source of that name.
        """
        if source not in self.errors:
            raise ValueError(f"source is {source!r}, but it must be one of {', '.join(self.errors)}.")
        return self.errors[source] / self.total if self.total else 0.0


def bounded(error: float) -> float:
    """Return an error, or 1e9 for outputs that do not vary with their inputs at all."""
    return float(error) if error < _NOTHING_LEFT else _NOTHING_LEFT


def parts_of(
    point: WorkingPoint, error: Callable[[WorkingPoint, Collection[str]], float], averaging: float
) -> tuple[dict[str, float], float]:
    """Parts of each source in an error, by switching it off, and the error with all of them.

    Parameters
    ----------
    point : WorkingPoint
        Device and circumstances.
    error : callable
        ``error(point, off)``: the error without the sources `off` and without pixel integration.
    averaging : float
        Part of pixel integration, which is added to it.

    Returns
    -------
    errors : dict of float
        By source.
    whole : float
    """
    whole = bounded(error(point, ()))
    errors = {
        source: averaging if source == "pixel integration" else whole - bounded(error(point, (source,)))
        for source in sources_of(point)
    }
    return errors, whole + averaging


def working_point(
    device: Device,
    mode: str = "intensity",
    *,
    share_on: float = 0.5,
    exposure_s: float | None = None,
    elapsed_s: float = 60.0,
    n_steps: int = 4,
    frametime_s: float | None = None,
    roi: tuple[int, int, int, int] | None = None,
) -> WorkingPoint:
    """Fill in and check the circumstances of an output.

    Parameters
    ----------
    device : Device, str or Path
        The device, a preset's name, or the path of a TOML file.
    mode : {"intensity", "linear"}
        What an output is. "linear": the field ``S conj(R) / |R|`` from a burst of frames under equal steps of the
        reference's phase, by least squares at the phases that the shifter makes, as `OPU.linear_transform` measures it.
    share_on : float, optional
        Share of the mirrors that are on, above 0 and up to 1.
    exposure_s : float, optional
        Exposure in seconds. By default the device's own; in linear mode the one at which a burst in fourteen has a
        saturated frame, which is what the driver's calibration looks for.
    elapsed_s : float, optional
        Time since the state of the medium that outputs are compared with (a calibration, a fit), in seconds.
    n_steps : int, optional
        Frames of a burst, in linear mode, at least 3.
    frametime_s : float, optional
        Time from one frame to the next; the driver's by default.
    roi : tuple of int, optional
        Region of the sensor, (row, column, n_rows, n_columns); by default 64 x 64 pixels in its middle.

    Returns
    -------
    WorkingPoint
        Device and circumstances.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, there is no reference arm for the linear mode, or no light.
    """
    from opusim.bench.bench import OpticalBench
    from opusim.bench.inputs import checked_roi
    from opusim.device.record import Device

    from .light import usual_exposure_s

    device = Device.load(device)
    validation.choice("mode", mode, MODES)
    linear = mode == "linear"
    if linear and not device.reference.present:
        raise ValueError(
            "mode is 'linear', but this device has no reference arm: it must be 'intensity', or "
            "reference.relative_amplitude above 0."
        )
    share_on = validation.number("share_on", share_on, low=0.0, high=1.0, low_open=True)
    elapsed_s = validation.number("elapsed_s", elapsed_s, low=0.0, high=1e9)
    n_steps = validation.integer("n_steps", n_steps, low=3, high=1000) if linear else 1
    rows, columns = device.camera.shape
    if roi is None:
        height, width = min(rows, _MIDDLE), min(columns, _MIDDLE)
        roi = ((rows - height) // 2, (columns - width) // 2, height, width)
    roi = checked_roi(roi, device.camera.shape)
    if exposure_s is not None:
        exposure_s = validation.number("exposure_s", exposure_s, low=0.0, high=3600.0, low_open=True)
    asked: dict[str, Any] = {"share_on": share_on, "elapsed_s": elapsed_s, "n_steps": n_steps, "roi": roi}
    own = device.operation.exposure_s
    point = WorkingPoint(device, "linear" if linear else "intensity", exposure_s=own, frametime_s=0.0, **asked)
    if not point.electrons_per_intensity > 0:
        raise ValueError("There is no light at the camera (laser.power_w, medium.transmission), so no output either.")
    if exposure_s is None:
        exposure_s = usual_exposure_s(point) if linear else own
    least_s = OpticalBench(device, threads=1).minimum_frametime_s(roi[2], exposure_s)
    if frametime_s is None:
        frametime_s = least_s if linear else max(least_s, device.operation.frametime_s)
    else:
        frametime_s = validation.number("frametime_s", frametime_s, low=least_s * (1 - 1e-9), high=3600.0)
    return WorkingPoint(device, point.mode, exposure_s=exposure_s, frametime_s=frametime_s, **asked)


def checked_point(device: Device, mode: str, circumstances: Mapping[str, Any]) -> WorkingPoint:
    """Return `working_point`, names of the circumstances checked.

    Raises
    ------
    TypeError
        If there is no circumstance of a name.
    """
    known = tuple(name for name in inspect.signature(working_point).parameters if name not in ("device", "mode"))
    for name in circumstances:
        if name not in known:
            raise TypeError(f"{name} is no circumstance of an output: it must be one of {', '.join(known)}.")
    return working_point(device, mode, **circumstances)


def sources_of(point: WorkingPoint) -> tuple[str, ...]:
    """Return the sources that there are in a mode: without a reference its phase is none."""
    return tuple(name for name in SOURCES if point.mode == "linear" or name != "reference phase")


def without(device: Device, sources: Collection[str]) -> Device:
    """Return the device with some sources switched off.

    Parameters
    ----------
    device : Device
        The device.
    sources : collection of str
        Names of `SOURCES`. For "quantisation" and "saturation" the camera returns floats, not rounded and not
        clipped: whoever reads them rounds or clips.

    Raises
    ------
    TypeError, ValueError
        If there is no source of a name, or `sources` is a text.
    """
    switches = device.imperfections()
    changes: dict[str, Any] = {}
    if isinstance(sources, str):
        raise TypeError(f"sources is the text {sources!r}, but it must be a list of names, as [{sources!r}].")
    for source in sources:
        for name in SOURCES[validation.choice("source", source, tuple(SOURCES))]:
            changes.update(switches[name])
    if "saturation" in sources:
        changes.update(switches["quantisation"])
    return device.evolve(**changes)
