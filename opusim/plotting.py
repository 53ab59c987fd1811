"""Figures. Each function returns a matplotlib Figure and leaves pyplot, and whatever is open there, alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .noise_budget import dark_level_dn, level_distribution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .camera import Camera
    from .demo import DemoResult

__all__ = ["demo_figure", "save"]

# Dark and light enough to be told apart in grey, and by readers who do not see red and green.
INK = "#14213d"
SOFT = "#9fb3c8"
ACCENT = "#b5541c"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "image.interpolation": "none",
}


def demo_figure(result: DemoResult) -> Figure:
    """Draw what the demonstration found: mirrors, speckle, histogram of counts, accuracies.

    Parameters
    ----------
    result : DemoResult
        From `opusim.demo.run`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 8.0))
        figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.08)
        axes = figure.subplots(2, 2)
        _mirrors(axes[0, 0], result)
        _speckle(axes[0, 1], result)
        _histogram(axes[1, 0], result)
        _accuracies(axes[1, 1], result)
        figure.suptitle(
            f"{result.n_train + result.n_test} handwritten digits through the device “{result.device.name}”, "
            f"{result.n_features} pixels to {counted(result.n_components, 'output')}",
            fontsize=12,
        )
        # Drawn here, so that the style holds for the layout too.
        figure.draw_without_rendering()
    return figure


def save(figure: Figure, path: str | Path, *, dpi: int = 120) -> None:
    """Write a figure to a file; its ending (.png, .pdf, .svg, ...) says the format.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : str or Path
        The file; an existing one is replaced when the new one is whole.
    dpi : int, optional
        Dots per inch, for formats made of dots.

    Raises
    ------
    ValueError
        If matplotlib knows no format of that ending.
    OSError
        If the file cannot be written.
    """
    from .files import replacing

    path = Path(path)
    known = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise ValueError(f"The figure's name is {str(path)!r}, but it must end in one of .{', .'.join(sorted(known))}.")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def _mirrors(axes: Axes, result: DemoResult) -> None:
    rows, columns = result.mirrors.shape
    pitch_mm = result.device.dmd.pitch_m * 1e3
    axes.imshow(result.mirrors, cmap="gray", vmin=0, vmax=1, extent=(0, columns * pitch_mm, rows * pitch_mm, 0))
    axes.set(
        title=f"Mirrors: a “{result.label}”, white is on",
        xlabel=f"{columns} mirrors wide (mm); the margins are always on",
        ylabel=f"{rows} high (mm)",
    )
    _frame(axes)


def _speckle(axes: Axes, result: DemoResult) -> None:
    rows, columns = result.window.shape
    pitch_um = result.device.camera.pixel_pitch_m * 1e6
    # From the level of darkness on, so that all of the colours tell of light.
    dark = dark_level_dn(result.device, result.exposure_s)
    top = max(float(np.quantile(result.window, 0.998)), dark + 1)
    image = axes.imshow(
        result.window, cmap="inferno", vmin=dark, vmax=top, extent=(0, columns * pitch_um, rows * pitch_um, 0)
    )
    axes.set(
        title="Speckle: a part of the sensor",
        xlabel=f"{columns} pixels wide (µm)",
        ylabel=f"{rows} pixels high (µm)",
    )
    _frame(axes)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.75, extend="both")
    bar.set_label("counts (grey levels)")
    bar.outline.set_visible(False)


def _histogram(axes: Axes, result: DemoResult) -> None:
    counts, camera = result.counts.ravel(), result.device.camera
    top = float(counts.max())
    if np.issubdtype(counts.dtype, np.integer):
        # Whole grey levels in each bin, and few enough bins to be seen.
        width = float(max(1, math.ceil((top + 1) / 80)))
        edges = np.arange(0, top + width + 1, width) - 0.5
    else:
        edges = np.linspace(float(counts.min()), top, 61)
        width = float(edges[1] - edges[0])
    seen = np.histogram(counts, edges)[0] / counts.size / width
    centres = (edges[1:] + edges[:-1]) / 2
    mean = float(counts.mean())
    # The law's last bin holds all that is above, which is at the end of the scale, not at the end of the picture.
    beyond = np.append(edges, np.inf) if top < _scale_end(camera) else edges
    law = level_distribution(result.device, mean, result.exposure_s, beyond)[: len(centres)] / width

    axes.bar(centres, seen, width=width, color=SOFT, edgecolor="white", linewidth=0.3, label="this frame")
    axes.plot(centres, law, color=INK, lw=1.6, label="speckle law and camera noise")
    dark = dark_level_dn(result.device, result.exposure_s)
    if camera.pixel_over_grain == 0 and camera.polarised and mean > dark:
        x = np.linspace(dark, edges[-1], 200)
        line = np.exp(-(x - dark) / (mean - dark)) / (mean - dark)
        axes.plot(x, line, color=ACCENT, lw=1.4, ls=(0, (5, 3)), label="exponential law alone")
    axes.set_yscale("log")
    # Limits from what is seen: far below the black level the law falls to 1e-300 and would stretch the axis.
    smallest = 0.5 / counts.size / width
    axes.set_ylim(smallest, 2 * max(float(seen.max()), float(law.max())))
    axes.set_xlim(edges[0], edges[-1])
    axes.axvline(mean, color=INK, lw=0.8, ls=":")
    axes.annotate(f"mean {mean:.1f}", (mean, 1), xycoords=("data", "axes fraction"), xytext=(4, -10), **_POINTS)
    axes.set(title="Counts of one frame", xlabel="counts (grey levels)", ylabel="share per grey level")
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 0.98), fontsize=9)


def _accuracies(axes: Axes, result: DemoResult) -> None:
    names = [counted(result.n_features, "binary pixel"), counted(result.n_components, "camera count")]
    values = np.array([result.accuracy_pixels, result.accuracy_counts])
    error = np.sqrt(values * (1 - values) / result.n_test)
    bars = axes.bar(names, 100 * values, width=0.55, color=[SOFT, INK], edgecolor=INK)
    bars[0].set_hatch("///")
    axes.errorbar(names, 100 * values, yerr=100 * error, fmt="none", ecolor=ACCENT, elinewidth=1.6, capsize=5)
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 20))
    for name, value, spread in zip(names, values, error, strict=True):
        axes.annotate(
            f"{100 * value:.1f} %", (name, 100 * (value + spread)), xytext=(0, 5), ha="center", fontsize=12, **_POINTS
        )
    axes.set(
        title="Ridge classifier on the same images",
        ylabel=f"right among {result.n_test} test images (%)",
        xlabel="orange: ± one standard error; penalty by cross-validation",
    )


_POINTS: dict[str, Any] = {"textcoords": "offset points"}


def counted(n: int, thing: str) -> str:
    """Return "1 output" or "2 outputs"."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _scale_end(camera: Camera) -> float:
    return 2**camera.bits - 1 if camera.quantise else math.inf


def _frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(True)
