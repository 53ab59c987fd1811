"""Planes of the optics, from the mirrors to the camera's counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import validation

from .style import (
    ACCENT,
    INK,
    SOFT,
    STYLE,
    axes_for,
    colour_scale,
    image,
    is_planes,
    numbers,
    of_planes,
    phase_image,
    picture_size,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from opusim.bench.bench import Planes
    from opusim.device.record import Device

__all__ = ["field", "histogram", "mirrors", "speckle"]

# What a plane at the camera holds: label of an axis, and one of what it counts.
_UNITS = {
    "counts": ("counts (grey levels)", "grey level"),
    "photons": ("light on a pixel (photons)", "photon"),
    "electrons": ("charge of a pixel (electrons)", "electron"),
}
_PLANES = tuple(_UNITS)
# The brightest pixels, from this share on, are drawn as one: else a single one would leave all others dark.
_BRIGHTEST = 0.998
# At most so many bars for whole numbers, and so many for others.
_BARS, _REAL_BARS = 80, 60


def mirrors(
    pattern: Planes | np.ndarray, ax: Axes | None = None, *, pitch_m: float | Sequence[float] | None = None
) -> Axes:
    """Draw which mirrors are on.

    Parameters
    ----------
    pattern : Planes or ndarray of shape (rows, columns)
        What `OpticalBench.inspect` returned, or mirrors, 1 on and 0 off.
    ax : matplotlib.axes.Axes, optional
        Where; a figure of its own, apart from pyplot, by default.
    pitch_m : float or two of them, optional
        Distance of two rows, and of two columns, of mirrors in metres, for axes in mm (`opusim.Dmd.spacing_m`); they
        count mirrors by default. Of a diamond lattice this is a picture of indices in the size of the array: every
        other column is drawn half a mirror off its place (`opusim.Dmd.places_m`).

    Returns
    -------
    matplotlib.axes.Axes
        White is on, black is off.

    Raises
    ------
    TypeError, ValueError
        If the pattern is not one of 0 and 1 in two dimensions, or another argument is not what it may be.
    """
    shown = numbers("pattern", of_planes(pattern, "mirrors"), ndim=2)
    if not np.isin(shown, (0, 1)).all():
        raise ValueError(f"pattern holds numbers from {shown.min()} to {shown.max()}, but mirrors are 0 or 1.")
    pitch_m = _pitch(pitch_m)
    with axes_for(ax, size=picture_size(shown.shape)) as ax:
        image(ax, shown, thing="mirrors", pitch_m=pitch_m, cmap="gray", vmin=0, vmax=1)
        ax.set_xlabel(f"{ax.get_xlabel()}; white is on")
    return ax


def field(
    values: Planes | np.ndarray,
    ax: Axes | Sequence[Axes] | None = None,
    *,
    plane: str = "camera",
    sample: int = 0,
    pitch_m: float | Sequence[float] | None = None,
) -> tuple[Axes, Axes]:
    """Draw a complex field: its amplitude, and its phase beside it.

    Parameters
    ----------
    values : Planes or ndarray of complex, shape (rows, columns)
        What `OpticalBench.inspect` returned, or a field.
    ax : matplotlib.axes.Axes, or two of them, optional
        Where: two axes, or one of a grid, whose place is then shared out. By default a figure of its own.
    plane : {"camera", "mirrors"}
        Which field: at the camera, or as it leaves the mirrors.
    sample : int, optional
        Which of the fields that a pixel adds up (polarisations, points on the pixel).
    pitch_m : float or two of them, optional
        Distance of two entries in metres, for axes in µm or mm; they count entries by default.

    Returns
    -------
    tuple of two matplotlib.axes.Axes
        Amplitude and phase. The amplitude is 1 for the light of one average mirror. The phase is drawn from -pi
        (black) to pi (white), where it jumps.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """
    validation.choice("plane", plane, ("camera", "mirrors"))
    thing = "pixels" if plane == "camera" else "mirrors"
    if is_planes(values):
        if plane == "camera":
            stack = values.medium_field  # type: ignore[union-attr]
            values = stack[:, :, validation.integer("sample", sample, low=0, high=stack.shape[2] - 1)]
        else:
            # Under the resolution "auto" a field has a mode for each macro-pixel.
            thing = "mirrors" if values.dmd_field.shape == values.mirrors.shape else "modes"  # type: ignore[union-attr]
            values = values.dmd_field  # type: ignore[union-attr]
    shown = numbers("values", values, ndim=2, kinds="biufc")
    pitch_m = _pitch(pitch_m)
    width, height = picture_size(shown.shape, 4.8)
    with _two_axes(ax, (2 * width, height)) as (left, right):
        amplitude = np.abs(shown)
        drawn = image(
            left, amplitude, thing=thing, pitch_m=pitch_m, cmap="inferno", vmin=0, vmax=float(amplitude.max()) or 1.0
        )
        colour_scale(drawn, "amplitude (1: a mean mirror)")
        phase_image(right, np.angle(shown), thing=thing, pitch_m=pitch_m)
    return left, right


def speckle(
    frame: Planes | np.ndarray,
    ax: Axes | None = None,
    *,
    plane: str = "counts",
    pitch_m: float | Sequence[float] | None = None,
    darkest: float = 0.0,
) -> Axes:
    """Draw the speckle on a part of the sensor.

    Parameters
    ----------
    frame : Planes or ndarray of shape (rows, columns)
        What `OpticalBench.inspect` returned, or a frame.
    ax : matplotlib.axes.Axes, optional
        Where; a figure of its own, apart from pyplot, by default.
    plane : {"counts", "photons", "electrons"}
        What is drawn of the planes, or what an array holds.
    pitch_m : float or two of them, optional
        Distance of two pixels in metres, for axes in µm or mm; they count pixels by default.
    darkest : float, optional
        Value that is drawn black, such as the level of a dark frame.

    Returns
    -------
    matplotlib.axes.Axes
        Bright is much light. The brightest two in a thousand pixels are drawn alike.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """
    validation.choice("plane", plane, _PLANES)
    shown = numbers("frame", of_planes(frame, plane), ndim=2)
    low = validation.number("darkest", darkest, low=-1e300, high=1e300)
    pitch_m = _pitch(pitch_m)
    top = float(np.quantile(shown, _BRIGHTEST))
    # One grey level at least, so that a dark frame is not all noise.
    top = max(top, low + 1) if shown.dtype.kind in "biu" or top <= low else top
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    with axes_for(ax, size=picture_size(shown.shape)) as ax:
        drawn = image(ax, shown, thing="pixels", pitch_m=pitch_m, cmap="inferno", vmin=low, vmax=top)
        colour_scale(drawn, _UNITS[plane][0], extend=beyond[bool(shown.min() < low), bool(shown.max() > top)])
    return ax


def histogram(
    values: Planes | np.ndarray,
    ax: Axes | None = None,
    *,
    plane: str | None = None,
    dark: float = 0.0,
    device: Device | None = None,
    exposure_s: float | None = None,
    label: str = "pixels",
) -> Axes:
    """Draw how often each level occurs, against the exponential law of speckle.

    Parameters
    ----------
    values : Planes or ndarray of any shape
        What `OpticalBench.inspect` returned, or frames, or outputs.
    ax : matplotlib.axes.Axes, optional
        Where; a figure of its own, apart from pyplot, by default.
    plane : {"counts", "photons", "electrons"}, optional
        What is drawn of the planes ("photons" by default), or what an array holds ("counts").
    dark : float, optional
        Level without light, from which the law starts: the camera's black level, for counts. A `device` knows it.
    device : Device, optional
        Device that made the counts: the law with the camera's noise is drawn too, and the exponential law alone only
        where a pixel reads one point of polarised light, behind a medium that stands still during the exposure.
    exposure_s : float, optional
        Exposure in seconds; the device's own by default.
    label : str, optional
        What was counted, for the legend.

    Returns
    -------
    matplotlib.axes.Axes
        Bars are what was counted, the dashed line is exp(-(y - dark) / m) / m with m the mean above `dark`, the full
        line the law with noise, `opusim.noise.level_distribution`. The dotted line marks the mean.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """
    if plane is None:
        plane = "photons" if is_planes(values) else "counts"
    validation.choice("plane", plane, _PLANES)
    counts = numbers("values", of_planes(values, plane)).ravel()
    dark = validation.number("dark", dark, low=-1e300, high=1e300)
    if device is not None:
        from opusim.noise.levels import dark_level_dn

        if plane != "counts":
            raise ValueError(f"device is given, but the values are {plane}: it must be None for all but counts.")
        exposure_s = device.operation.exposure_s if exposure_s is None else exposure_s
        dark = dark_level_dn(device, exposure_s)
    edges, width = _edges(counts)
    seen = np.histogram(counts, edges)[0] / counts.size / width
    mean = float(counts.mean(dtype=np.float64))
    highest = float(seen.max())
    name, one = _UNITS[plane]
    with axes_for(ax) as ax:
        ax.bar(
            (edges[1:] + edges[:-1]) / 2, seen, width=width, color=SOFT, edgecolor="white", linewidth=0.3, label=label
        )
        if device is not None:
            law = _law(device, mean, float(exposure_s or 0), counts.max(), edges) / width
            highest = max(highest, float(law.max()))
            centres = (edges[1:] + edges[:-1]) / 2
            ax.plot(centres, law, color=INK, lw=1.6, label="speckle law and camera noise")
        if mean > dark and (device is None or _exponential(device, float(exposure_s or 0))):
            x = np.linspace(dark, edges[-1], 200)
            line = np.exp(-(x - dark) / (mean - dark)) / (mean - dark)
            alone = "exponential law" if device is None else "exponential law alone"
            ax.plot(x, line, color=ACCENT, lw=1.4, ls=(0, (5, 3)), label=alone)
        ax.set_yscale("log")
        # Limits from what is seen: far below the black level the law falls to 1e-300 and would stretch the axis.
        ax.set_ylim(0.5 / counts.size / width, 2 * highest)
        ax.set_xlim(edges[0], edges[-1])
        ax.axvline(mean, color=INK, lw=0.8, ls=":")
        ax.annotate(
            f"mean {mean:.1f}", (mean, 1), xycoords=("data", "axes fraction"), xytext=(4, -10),
            textcoords="offset points",
        )  # fmt: skip
        ax.set(xlabel=name, ylabel=f"share per {one}")
        ax.legend(loc="upper right", bbox_to_anchor=(1.0, 0.98), fontsize=9)
    return ax


def _edges(counts: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the edges of bars of one width, and that width."""
    top = float(counts.max())
    if counts.dtype.kind in "biu":
        # Whole grey levels in each bar, and few enough bars to be seen.
        width = float(max(1, math.ceil((top + 1) / _BARS)))
        return np.arange(0, top + width + 1, width) - 0.5, width
    low = float(counts.min())
    edges = np.linspace(low, top if top > low else low + 1, _REAL_BARS + 1)
    return edges, float(edges[1] - edges[0])


def _exponential(device: Device, exposure_s: float) -> bool:
    """Whether a pixel reads one speckle pattern: other sums of patterns have a gamma law."""
    one = device.pixel_over_grain == 0 and device.camera.polarised
    return one and device.drift_within(exposure_s) is None


def _law(device: Device, mean: float, exposure_s: float, top: float, edges: np.ndarray) -> np.ndarray:
    from opusim.noise.levels import level_distribution

    camera = device.camera
    end = 2**camera.bits - 1 if camera.quantise else math.inf
    # The law's last bin holds all that is above, which is at the end of the scale, not at the end of the picture.
    beyond = np.append(edges, np.inf) if top < end else edges
    return level_distribution(device, mean, exposure_s, beyond)[: len(edges) - 1]


def _pitch(pitch_m: float | Sequence[float] | None) -> tuple[float, float] | None:
    """Return the distance of two rows and that of two columns."""
    if pitch_m is None:
        return None
    if isinstance(pitch_m, (tuple, list)):
        if len(pitch_m) != 2:
            raise ValueError(f"pitch_m is {pitch_m!r}, but it must be a number, or two: of rows and of columns.")
        down, across = (
            validation.number(f"pitch_m[{i}]", one, low=0.0, high=1.0, low_open=True) for i, one in enumerate(pitch_m)
        )
        return down, across
    one = validation.number("pitch_m", pitch_m, low=0.0, high=1.0, low_open=True)
    return one, one


@contextmanager
def _two_axes(ax: Any, size: tuple[float, float]) -> Iterator[tuple[Axes, Axes]]:
    """Give two axes: those of the caller, halves of one of them, or those of a new figure."""
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    if ax is None:
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=size, layout="constrained")
            left, right = figure.subplots(1, 2)
            yield left, right
            figure.draw_without_rendering()
        return
    if isinstance(ax, Axes):
        place = ax.get_subplotspec()
        if place is None:
            raise ValueError("ax is one that stands in no grid, so that its place cannot be shared: give two axes.")
        halves = place.subgridspec(1, 2)
        ax.set_subplotspec(halves[0])
        yield ax, ax.figure.add_subplot(halves[1])
        return
    pair = list(np.ravel(np.asarray(ax, dtype=object)))
    if len(pair) != 2 or not all(isinstance(one, Axes) for one in pair):
        raise TypeError(f"ax is {ax!r}, but it must be one of matplotlib's Axes, two of them, or None.")
    yield pair[0], pair[1]
