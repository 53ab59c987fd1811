"""What can be wrong with an output: the sources of error, how each is switched off, and a budget of them.

The error of outputs y is counted against the outputs t that the same device (the same medium, features and sensor)
gives when every source here is off. What is a scale or an offset common to all outputs is no error: with r the
correlation of y with t over vectors and pixels,

    error = 1 / |r|^2 - 1,

the mean square of what the best line through t leaves of y, over the variance that it explains. For noise that is
independent of the signal this is the variance of the noise over that of the speckle. A source's part is by how much
the error falls when it alone is switched off; the parts of independent sources add up to the whole. A part can be
below zero: a saturated frame of a burst is left out, and the fit that does without it uses what is known of the
reference, which makes it the better one; noise that spreads levels over a step makes rounding the smaller error; and a
response that is bent upwards is steeper in the dark, where it lifts light over the noise of the read-out.

Some sources (`FIXED`) do the same to an output whenever the same input is shown: patterns on the sensor, a response
that is no straight line, light of off mirrors or that no phase turns, averaging over the pixel. They make another
matrix, or another curve, rather than a noisy one, and a readout that is trained on the device's own outputs loses next
to nothing by them. The others are new in every frame, depend on what was shown before (lag) or come with time. Rounding
and saturation count among these: what they take away of an output is gone for good.

Row, column and pixel of a fixed pattern, and the part of it that grows with the exposure, are one source, "DSNU" or
"PRNU"; over pixels their squares add up. The spread of the dark current ends with the dark current, so that it is in
the part of either: parts then add up to more than the whole.

Two things are not as plain. An intensity that a pixel averages over its area is compared with the points on it: its
part is the error of the noise-free average against the intensity at points, and all other parts are against that
average. The mean of a field over a pixel is linear in the pattern, as the field at a point is: in linear mode it is the
output, its part is 0, and what fringes lose of their contrast makes the noise of all others larger. And rounding and
the two ends of the grey scale are one thing in a camera, `quantise`; here the source "quantisation" is rounding alone,
and "saturation" is both ends of the scale and the full well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from opusim.base import validation
from opusim.base.parameters import Parameter, paths_in, paths_of
from opusim.device.record import Device

from .point import WorkingPoint

__all__ = ["FIXED", "SOURCES", "all_sources", "sources_of", "unknown_sources", "without"]

# The parameters say which source they are, or are a part of; this is the order in which sources are told.
_ORDER = (
    "shot noise", "read noise", "quantisation", "saturation", "non-linearity", "PRNU", "DSNU", "dark current", "lag",
    "laser power", "decorrelation", "reference phase", "off-state leakage", "pixel integration",
    "phase flicker", "unmodulated light",
)  # fmt: skip


def _told(parameters: Iterable[Parameter]) -> dict[str, tuple[str, ...]]:
    """Return the switches of each source: those in `_ORDER`, then others as they are met."""
    found: dict[str, dict[str, None]] = {source: {} for source in _ORDER}
    for about in parameters:
        if about.source:
            found.setdefault(about.source, {})[about.imperfection] = None
    return {source: tuple(switches) for source, switches in found.items()}


SOURCES: dict[str, tuple[str, ...]] = _told(about for _, _, _, about in paths_of(Device, shipped=True))
"""Sources of error of what comes with opusim, and the switches of `Device.imperfections` that turn each off; a device
with parts of one's own may have more (`all_sources`). The slow drifts of laser and reference are none: a common scale
or turn, which is no error, or which the anchors of a linear transform take off."""

FIXED: tuple[str, ...] = (
    "non-linearity", "PRNU", "DSNU", "off-state leakage", "pixel integration", "unmodulated light",
)  # fmt: skip
"""Sources that do the same to an output whenever the same input is shown: a trained readout loses nothing by them."""


def all_sources(device: Device) -> dict[str, tuple[str, ...]]:
    """Return the sources of error that a device may have, and the switches that turn each off.

    Parameters
    ----------
    device : Device
        The device, whatever parts it has.

    Returns
    -------
    dict of str to tuple of str
        Names of `Device.imperfections`; those of `SOURCES` first, then those that parts of one's own name.
    """
    return {source: switches for source, switches in _told(paths_in(device).values()).items() if switches}


def unknown_sources(device: Device) -> tuple[str, ...]:
    """Return the sources of a device that closed forms know nothing of, and that are on."""
    return tuple(name for name in all_sources(device) if name not in _ORDER and without(device, [name]) != device)


def sources_of(point: WorkingPoint) -> tuple[str, ...]:
    """Return the sources that there are in a mode: without a reference its phase is none."""
    return tuple(name for name in all_sources(point.device) if point.mode == "linear" or name != "reference phase")


def without(device: Device, sources: Collection[str]) -> Device:
    """Return the device with some sources switched off.

    Parameters
    ----------
    device : Device
        The device.
    sources : collection of str
        Names of `all_sources`. For "quantisation" and "saturation" the camera returns floats, not rounded and not
        clipped: whoever reads them rounds or clips.

    Raises
    ------
    TypeError, ValueError
        If there is no source of a name, or `sources` is a text.
    """
    switches, known = device.imperfections(), all_sources(device)
    changes: dict[str, Any] = {}
    if isinstance(sources, str):
        raise TypeError(f"sources is the text {sources!r}, but it must be a list of names, as [{sources!r}].")
    for source in sources:
        for name in known[validation.choice("source", source, tuple(known))]:
            changes.update(switches[name])
    if "saturation" in sources:
        changes.update(switches["quantisation"])
    return device.evolve(**changes)
