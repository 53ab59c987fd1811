"""The figure of a noise budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.noise.budget import ErrorBudget, names_of
from opusim.noise.sources import FIXED

from .style import ACCENT, INK, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["noise_budget"]

# Told apart by hatch as well as by shade.
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": INK},
    {"color": SOFT, "hatch": "///", "edgecolor": INK},
    {"color": "white", "hatch": "...", "edgecolor": INK},
    {"color": ACCENT, "hatch": "xxx", "edgecolor": "white"},
)


def noise_budget(budget: ErrorBudget | Sequence[ErrorBudget], ax: Axes | None = None) -> Axes:
    """Draw the shares of each source in the error of an output.

    Parameters
    ----------
    budget : ErrorBudget or sequence of ErrorBudget
        One, or up to four to be compared: two modes, closed form and measured, two devices.
    ax : matplotlib.axes.Axes, optional
        Where to draw; the axes of a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        Sources from the largest share down; those below a thousandth in all budgets are left out. Of a measured
        budget thin lines are the standard errors. Names of sources that are the same in every frame are in italics.

    Raises
    ------
    TypeError, ValueError
        If there is no budget, more than four, or something else.

    Notes
    -----
    The figure is as high as its bars need; axes that are passed in stay as they are, and numbers shrink with the bars.
    """
    budgets = [budget] if isinstance(budget, ErrorBudget) else list(budget) if isinstance(budget, Iterable) else []
    if not all(isinstance(one, ErrorBudget) for one in budgets) or (not budgets and not isinstance(budget, Iterable)):
        kinds = ", ".join(sorted({type(one).__name__ for one in budgets})) or type(budget).__name__
        raise TypeError(f"budget is or holds {kinds}, but it must be an ErrorBudget, or a list of them.")
    if not 1 <= len(budgets) <= len(_LOOKS):
        raise ValueError(f"budget holds {len(budgets)} budgets, but it must be one, or two to {len(_LOOKS)}.")
    shares = {name: [100 * b.share(name) if name in b.errors else 0.0 for b in budgets] for name in names_of(budgets)}
    names = sorted((name for name in shares if np.max(np.abs(shares[name])) >= 0.1), key=lambda name: max(shares[name]))
    if ax is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, max(4.5, 1.3 + 0.16 * len(names) * (len(budgets) + 0.5))))
        figure.set_layout_engine("constrained")
        ax = figure.subplots()
    row_pt = 72 / ax.figure.dpi * ax.get_window_extent().height / max(len(names), 1)
    size = min(8.0, 0.75 * 0.8 * row_pt / len(budgets))
    height = 0.8 / len(budgets)
    places = np.arange(len(names))
    for i, one in enumerate(budgets):
        widths = [shares[name][i] for name in names]
        middle = places + 0.4 - (i + 0.5) * height
        bars = ax.barh(middle, widths, height=0.92 * height, label=_title(one), **_LOOKS[i])
        # Up to the full width, so that a source that nobody knows does not set the scale.
        unsure = [
            min(100 * abs(one.uncertainty.get(name, 0.0) / one.total), 100.0) if one.total else 0.0 for name in names
        ]
        if any(unsure):
            ax.hlines(middle, np.subtract(widths, unsure), np.add(widths, unsure), color=ACCENT, lw=1.2)
        # A zero has no sign; a source that a mode does not have gets no number.
        labels = [
            f"{round(width, 1) + 0.0:.1f}" if name in one.errors else ""
            for name, width in zip(names, widths, strict=True)
        ]
        ax.bar_label(bars, labels=labels, padding=3, fontsize=size)
    ax.axvline(0, color=INK, lw=0.8)
    ax.set_yticks(places, names)
    for name, label in zip(names, ax.get_yticklabels(), strict=True):
        label.set_fontstyle("italic" if name in FIXED else "normal")
    ax.margins(x=0.12)
    fixed = "\nin italics: the same in every frame, so that a trained readout loses nothing by it"
    ax.set_xlabel(f"share of the mean square error of an output (%){fixed if set(names) & set(FIXED) else ''}")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if names:
        ax.legend(loc="lower right", frameon=False, fontsize=9)
    else:
        ax.annotate("no error", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")
    return ax


def _title(budget: ErrorBudget) -> str:
    point = budget.point
    steps = f"{point.n_steps} x " if point.mode == "linear" else ""
    how = "measured" if budget.measured else "closed form"
    error = f"error {100 * budget.rms:.3g} %"
    return f"{point.device.name}, {point.mode}, {steps}{1e6 * point.exposure_s:.0f} µs: {error} ({how})"
