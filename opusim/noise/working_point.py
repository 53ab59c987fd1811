"""Circumstances of an output: filled in where they are not given, and checked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from opusim.base import validation
from opusim.bench.bench import OpticalBench
from opusim.bench.region import AnyRoi, checked_roi
from opusim.device.record import Device

from .light import usual_exposure_s
from .point import MODES, WorkingPoint

__all__ = ["checked_point", "working_point"]

_MIDDLE = 64  # rows and columns of the region in the middle of the sensor


def working_point(
    device: Device,
    mode: str = "intensity",
    *,
    share_on: float | None = None,
    exposure_s: float | None = None,
    elapsed_s: float = 60.0,
    n_steps: int = 4,
    frametime_s: float | None = None,
    roi: AnyRoi | None = None,
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
        Share of the mirrors that are on, above 0 and up to 1; half of them by default. A phase modulator lights all of
        its pixels: 1.
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
    device = Device.load(device)
    validation.choice("mode", mode, MODES)
    linear = mode == "linear"
    if linear and not device.reference.present:
        raise ValueError(
            "mode is 'linear', but this device has no reference arm: it must be 'intensity', or "
            "reference.relative_amplitude above 0."
        )
    phases = not device.modulator.binary
    if phases and linear:
        raise ValueError(
            "mode is 'linear', but this device has a phase modulator, and budgets of that mode know mirrors that are "
            "on or off: it must be 'intensity'."
        )
    if share_on is None:
        share_on = 1.0 if phases else 0.5
    if linear and len(device.sampling.lines) > 1:
        raise ValueError(
            f"mode is 'linear', but laser.linewidth_hz is {device.laser.linewidth_hz!r}, whose light this medium takes "
            "apart, and a budget of linear outputs knows one frequency: mode must be 'intensity', or the line narrower."
        )
    share_on = validation.number("share_on", share_on, low=0.0, high=1.0, low_open=True)
    if phases and share_on != 1:
        raise ValueError(f"share_on is {share_on!r}, but a phase modulator lights all of its pixels: it must be 1.")
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
    bench = OpticalBench(device, threads=1)
    least_s = (bench.stepped_frametime_s if linear else bench.minimum_frametime_s)(roi[2], exposure_s)
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
