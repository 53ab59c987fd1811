"""Figures of a sweep: curves with their spread over the seeds, or a heat map for two parameters."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.sweep.points import BITS, COMPONENTS, LEVEL, Axis
from opusim.sweep.result import SweepResult

from .style import ACCENT, LINES, SOFT, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["axis_label", "sweep_curves", "sweep_figure", "sweep_map"]

_UNITS = {
    "m": "m", "s": "s", "w": "W", "e": "electrons", "rad": "rad", "dn": "DN", "hz": "Hz",
    "dn_per_e": "DN/electron", "e_per_s": "electrons/s", "rad_per_minute": "rad/min", "per_hour": "1/h", "us": "µs",
}  # fmt: skip
_NAMES = {
    LEVEL: "mean output before rounding (share of full scale)",
    BITS: "bits of the camera, full scale kept",
    COMPONENTS: "outputs",
}
# Written in capitals.
_SHORT = {"prnu": "PRNU", "dsnu": "DSNU", "dmd": "DMD"}
# A range of more than this is drawn with equal ratios.
_WIDE = 20.0
# Ticks that are nearer than this share of the axis would run into each other.
_TICKS_APART = 0.07
# Cells of a heat map that get their number written into them, at most.
_CELLS = 150


def axis_label(path: str) -> str:
    """Return a parameter's name and unit for an axis: "camera: read noise (electrons)"."""
    if path in _NAMES:
        return _NAMES[path]
    stage, _, name = path.rpartition(".")
    units = [suffix for suffix in _UNITS if name.endswith(f"_{suffix}")]
    suffix = max(units, key=len, default="")
    words = (name.removesuffix(f"_{suffix}") if suffix else name).replace("_", " ")
    stage, words = _SHORT.get(stage, stage.replace("_", " ")), _SHORT.get(words, words)
    return f"{stage}: {words}{f' ({_UNITS[suffix]})' if suffix else ''}"


def sweep_figure(result: SweepResult, metric: str | None = None) -> Figure:
    """Draw a sweep on one page.

    Parameters
    ----------
    result : SweepResult
        From `Sweep.run` or `read_sweep`.
    metric : str, optional
        Which one; the first by default.

    Returns
    -------
    matplotlib.figure.Figure
        A curve for one parameter, or for several whose values go together; a heat map and curves for two; curves for
        more, one for each combination of the others.

    Raises
    ------
    ValueError
        If there are no results, or that metric is not among them.
    """
    import matplotlib
    from matplotlib.figure import Figure

    two = len(result.axes) == 2 and not result.header.zipped and min(len(axis.values) for axis in result.axes) > 1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12.0 if two else 8.0, 5.0))
        figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.1)
        axes = figure.subplots(1, 2 if two else 1, squeeze=False)[0]
        if two:
            sweep_map(result, metric, ax=axes[0])
        sweep_curves(result, metric, ax=axes[-1])
        n_seeds = len(result.seeds)
        figure.suptitle(
            f"{result.header.task['name']} on the device “{result.header.device_name}”, "
            f"{n_seeds} seed{'s' if n_seeds > 1 else ''}",
            fontsize=12,
        )
        # Drawn here, so that the style holds for the layout too.
        figure.draw_without_rendering()
    return figure


def sweep_curves(result: SweepResult, metric: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw a metric against the parameter with the most values, a curve for each combination of the others.

    A curve goes through the means over the seeds; dots are single seeds, the band reaches from the lowest to the
    highest. Crosses at the bottom are values at which a point failed. A note tells of results that are not a number.

    Parameters
    ----------
    result : SweepResult
        The sweep.
    metric : str, optional
        Which one; the first by default.
    ax : matplotlib.axes.Axes, optional
        Where; a figure of its own by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If there are no results, that metric is not among them, or there are more than eight curves.
    """
    metric = result.metrics[0] if metric is None and result.metrics else metric
    values, factor = result.values(metric), _factor(metric)
    ax = _own(ax)
    along = 0 if result.header.zipped else int(np.argmax([len(axis.values) for axis in result.axes]))
    axis = result.axes[along]
    others = [i for i in range(len(result.axes)) if i != along and not result.header.zipped]
    curves: dict[tuple[Any, ...], list[int]] = {}
    for row, setting in enumerate(result.settings):
        curves.setdefault(tuple(setting[i] for i in others), []).append(row)
    if len(curves) > len(LINES):
        raise ValueError(
            f"The sweep has {len(curves)} combinations beside {axis.path}, but a figure shows at most {len(LINES)} "
            "curves: vary fewer parameters in one sweep."
        )
    position = _positions(ax.xaxis, axis)
    failed = sorted({result.settings[i][along] for (i, _), outcome in result.outcomes.items() if outcome.failed})
    for (key, rows), line in zip(curves.items(), LINES, strict=False):
        rows = sorted(rows, key=lambda row: position[result.settings[row][along]])
        x = np.array([position[result.settings[row][along]] for row in rows])
        y = factor * values[rows]
        seen = np.isfinite(y).any(axis=1)
        x, y = x[seen], y[seen]
        if not len(x):
            continue
        name = ", ".join(f"{result.axes[i].path} = {value:g}" for i, value in zip(others, key, strict=True))
        ax.plot(x, np.nanmean(y, axis=1), **line, ms=5, mfc="white", lw=1.6, label=name, zorder=3)
        if y.shape[1] > 1:
            low, high = np.nanmin(y, axis=1), np.nanmax(y, axis=1)
            ax.fill_between(x, low, high, color=line["color"], alpha=0.15, lw=0)
            ax.plot(x, y, ls="", marker=".", ms=3, color=line["color"], alpha=0.6)
    if failed:
        x = np.array([position[value] for value in failed])
        ax.plot(
            x, np.full(len(x), 0.02), ls="", marker="x", color=ACCENT, ms=7, mew=2, clip_on=False, label="failed",
            transform=ax.get_xaxis_transform(),
        )  # fmt: skip
    with_it = [axis_label(other.path) for other in result.axes[1:] if result.header.zipped]
    together = "\n" + textwrap.fill(f"(with it: {', '.join(with_it)})", 60) if with_it else ""
    # Of one seed there is no mean.
    title = "Mean; dots: seeds, band: their range" if len(result.seeds) > 1 else ""
    ax.set(xlabel=axis_label(axis.path) + together, ylabel=_metric_label(metric), title=title)
    _note_missing(ax, result, metric)
    if (others or failed) and ax.get_legend_handles_labels()[1]:
        ax.legend(fontsize=9)
    return ax


def sweep_map(result: SweepResult, metric: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the mean of a metric over the seeds as a heat map of two parameters.

    Parameters
    ----------
    result : SweepResult
        A sweep over two parameters, every value with every other.
    metric : str, optional
        Which one; the first by default.
    ax : matplotlib.axes.Axes, optional
        Where; a figure of its own by default.

    Returns
    -------
    matplotlib.axes.Axes
        The first parameter goes up, the second to the right, each value in a row or column of the same width. Dark is
        low, and the numbers stand in the cells if there are not too many. Cells without a result are hatched.

    Raises
    ------
    ValueError
        If there are no results, that metric is not among them, or there are not two parameters in a grid.
    """
    if len(result.axes) != 2 or result.header.zipped:
        raise ValueError(f"A heat map needs two parameters in a grid, but the sweep has {len(result.axes)}.")
    metric = result.metrics[0] if metric is None and result.metrics else metric
    grid, factor = result.grid(metric), _factor(metric)
    ax = _own(ax)
    count = np.isfinite(grid).sum(axis=2)
    mean = np.full(count.shape, np.nan)
    np.divide(factor * np.nansum(grid, axis=2), count, out=mean, where=count > 0)
    orders = [np.argsort(axis.values) for axis in result.axes]
    mean = mean[np.ix_(*orders)]
    ax.set_facecolor("white")
    ax.patch.set(hatch="///", edgecolor=SOFT)
    image = ax.pcolormesh(np.ma.masked_invalid(mean), cmap="cividis", edgecolors="white", linewidth=0.8)
    for axis, order, which in ((result.axes[0], orders[0], ax.yaxis), (result.axes[1], orders[1], ax.xaxis)):
        which.set_ticks(np.arange(len(order)) + 0.5, [_shown(axis.values[i]) for i in order])
    if mean.size <= _CELLS:
        low, high = np.nanmin(mean, initial=np.inf), np.nanmax(mean, initial=-np.inf)
        # As many digits as tell the cells apart.
        places = 1 if factor > 1 or low > high else max(0, 2 - math.floor(math.log10(max(abs(high), abs(low), 1e-300))))
        for (row, column), value in np.ndenumerate(mean):
            if np.isfinite(value):
                dark = value < low + 0.6 * (high - low)
                ax.text(
                    column + 0.5, row + 0.5, f"{value:.{places}f}", ha="center", va="center", fontsize=9,
                    color="white" if dark and high > low else "black",
                )  # fmt: skip
    title = "Mean over the seeds" if len(result.seeds) > 1 else ""
    ax.set(xlabel=axis_label(result.axes[1].path), ylabel=axis_label(result.axes[0].path), title=title)
    _note_missing(ax, result, metric)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.85)
    bar.set_label(_metric_label(metric))
    bar.outline.set_visible(False)
    return ax


def _note_missing(ax: Axes, result: SweepResult, metric: str | None) -> None:
    """Say in the figure how many results cannot be drawn: a gap, or an empty figure, would not tell why."""
    n = result.n_not_finite(metric)
    if n:
        ax.text(
            0.5, 0.98, f"{n} of {len(result.outcomes)} results: not a number, or infinite", transform=ax.transAxes,
            ha="center", va="top", fontsize=9, bbox={"facecolor": "white", "edgecolor": ACCENT, "alpha": 0.9}, zorder=5,
        )  # fmt: skip


def _own(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(6.4, 4.4), layout="constrained").subplots()


def _factor(metric: str | None) -> float:
    return 100.0 if metric is not None and "accuracy" in metric else 1.0


def _metric_label(metric: str | None) -> str:
    name = str(metric).replace("_", " ")
    return f"{name} (%)" if _factor(metric) > 1 else name


def _shown(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:g}"


def _positions(axis: Any, parameter: Axis) -> dict[Any, float]:
    """Choose the scale of an axis; return where each value goes, infinity a step beyond the others."""
    finite = sorted(value for value in parameter.values if math.isfinite(value))
    wide = len(finite) > 1 and finite[0] > 0 and finite[-1] / finite[0] > _WIDE
    if wide:
        axis.axes.set_xscale("log")
    positions = {value: float(value) for value in finite}
    infinite = [value for value in parameter.values if math.isinf(value)]
    if infinite:
        last = float(finite[-1]) if finite else 1.0
        step = (last / finite[0]) ** (1 / max(1, len(finite) - 1)) if wide else 1.0
        beyond = last * step * 1.5 if wide else last + max(1.0, 0.15 * abs(last))
        positions[infinite[0]] = beyond
    places = np.sort([math.log(p) if wide else p for p in positions.values()])
    apart = len(places) < 2 or np.diff(places).min() > _TICKS_APART * (places[-1] - places[0])
    if infinite or (len(finite) <= 8 and apart):
        # A tick at each value, and no others: few values are better read off so.
        axis.set_ticks([positions[v] for v in parameter.values], [_shown(v) for v in parameter.values])
        axis.set_ticks([], minor=True)
    return positions
