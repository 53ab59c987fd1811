"""The picture of the demonstration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .planes import histogram, mirrors, speckle
from .style import ACCENT, INK, SOFT, STYLE, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from opusim.tasks.digits_demo import DemoResult

__all__ = ["demo_figure"]


def demo_figure(result: DemoResult) -> Figure:
    """Draw what the demonstration found: mirrors, speckle, histogram of counts, accuracies.

    Parameters
    ----------
    result : DemoResult
        From ``opusim.tasks.digits_demo.run``.

    Returns
    -------
    matplotlib.figure.Figure
        A figure of its own, apart from pyplot.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from opusim.noise.levels import dark_level_dn

    device, exposure_s = result.device, result.exposure_s
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 8.0))
        figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.08)
        ((first, second), (third, fourth)) = figure.subplots(2, 2)
        mirrors(result.mirrors, first, pitch_m=device.dmd.spacing_m).set(
            title=f"Mirrors: a “{result.label}”, white is on",
            xlabel=f"{result.mirrors.shape[1]} mirrors wide (mm); the margins are always on",
        )
        # From the level of darkness on, so that all of the colours tell of light.
        dark = dark_level_dn(device, exposure_s)
        speckle(result.window, second, pitch_m=device.camera.pixel_pitch_m, darkest=dark).set_title(
            "Speckle: a part of the sensor"
        )
        histogram(result.counts, third, device=device, exposure_s=exposure_s, label="this frame").set_title(
            "Counts of one frame"
        )
        _accuracies(fourth, result)
        figure.suptitle(
            f"{result.n_train + result.n_test} handwritten digits through the device “{result.device.name}”, "
            f"{result.n_features} pixels to {counted(result.n_components, 'output')}",
            fontsize=12,
        )
        # Drawn here, so that the style holds for the layout too.
        figure.draw_without_rendering()
    return figure


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
            f"{100 * value:.1f} %", (name, 100 * (value + spread)), xytext=(0, 5), ha="center", fontsize=12,
            textcoords="offset points",
        )  # fmt: skip
    axes.set(
        title="Ridge classifier on the same images",
        ylabel=f"right among {result.n_test} test images (%)",
        xlabel="orange: ± one standard error; penalty by cross-validation",
    )
