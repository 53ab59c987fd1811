"""One page that shows a training run: accuracy, loss, alignment with backpropagation, and where the time went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .style import ACCENT, INK, LINES, SOFT, STYLE, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from opusim.dfa.checkpoint import RunFile
    from opusim.dfa.history import History

__all__ = ["run_title", "time_split", "training_figure"]

# Networks with more than four hidden layers are rare: the fifth line is grey, and the sixth is the first again.
_LINES: tuple[dict[str, Any], ...] = (*LINES[:4], {"color": "#6b6b6b", "ls": (0, (7, 2, 1, 2, 1, 2)), "marker": "v"})
_MARKERS: dict[str, Any] = {"ms": 4.5, "mfc": "white", "lw": 1.5}
_POINTS: dict[str, Any] = {"textcoords": "offset points"}
_METHODS = {"backprop": "backpropagation", "shallow": "last layer alone"}
_LOSSES = {"cross_entropy": "cross entropy (nats)", "squared_error": "squared error"}
# Directions in a space of many dimensions that have nothing in common.
_UNRELATED_DEG = 90.0


def run_title(run: RunFile) -> str:
    """Return what was learnt and how, in a line.

    Parameters
    ----------
    run : RunFile
        From `opusim.dfa.checkpoint.read_run`.
    """
    method = str(run.settings["method"])
    how = _METHODS.get(method) or f"direct feedback alignment, {run.feedback['kind']} feedback"
    device = f" ({run.feedback['device']})" if "device" in run.feedback else ""
    what = f"{run.settings['label']}, " if run.settings["label"] else ""
    network = f"{run.network['sizes']} {run.network['activation']}"
    epochs = counted(len(run.history), "epoch")
    return f"{what}{network}: {how}{device}, seed {run.settings['seed']}, {epochs}"


def time_split(history: History) -> dict[str, float]:
    """Return what an epoch took on average, by what took it.

    Parameters
    ----------
    history : History
        At least one epoch.

    Returns
    -------
    dict of float
        Wall time in seconds: network, encoding of errors, their projection, evaluation, all else. Together they are the
        whole epoch.
    """
    parts = {
        "network": history.network_s,
        "encoding of errors": history.encoding_s,
        "projection": history.projection_s,
        "evaluation": history.evaluation_s,
    }
    parts["all else"] = history.total_s - np.sum(list(parts.values()), axis=0)
    return {name: float(seconds.mean()) for name, seconds in parts.items()}


def training_figure(run: RunFile) -> Figure:
    """Draw a training run on one page.

    Parameters
    ----------
    run : RunFile
        From `opusim.dfa.read_run`.

    Returns
    -------
    matplotlib.figure.Figure
        Four panels: accuracy and loss by epoch; the angle between the update of each hidden layer and that of
        backpropagation, in degrees, with the right angle of unrelated ones; the wall time of an epoch by what took it,
        in seconds. A panel without data says so. Apart from pyplot, so that no display is needed.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 7.4))
        figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.1)
        for axes, draw in zip(figure.subplots(2, 2).flat, (_accuracy, _loss, _alignment, _time), strict=True):
            if len(run.history):
                draw(axes, run)
            else:
                _message(axes, "No epoch is done")
        figure.suptitle(run_title(run), fontsize=12)
        # Drawn here, so that the style holds for the layout too.
        figure.draw_without_rendering()
    return figure


def _accuracy(axes: Axes, run: RunFile) -> None:
    axes.set(title="Accuracy", ylabel="right answers (%)")
    for values, name, line in (
        (run.history.validation_accuracy, "held-out data", _LINES[0]),
        (run.history.train_accuracy, "training data", _LINES[1]),
    ):
        if np.isfinite(values).any():
            axes.plot(run.history.epoch, 100 * values, **line, **_MARKERS, label=f"{name}: {100 * values[-1]:.2f} %")
    # Room above, for curves that leave none.
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.35 * (top - bottom))
    axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick <= 100])
    axes.legend(loc="best", title="after the last epoch", handlelength=3.0).set_in_layout(False)
    _epochs(axes, run.history)


def _loss(axes: Axes, run: RunFile) -> None:
    axes.set(title="Loss of the training data", ylabel=_LOSSES[run.settings["loss"]])
    axes.plot(run.history.epoch, run.history.loss, **_LINES[1], **_MARKERS)
    axes.set_ylim(0, 1.08 * float(run.history.loss.max()) or 1.0)
    _epochs(axes, run.history)


def _alignment(axes: Axes, run: RunFile) -> None:
    axes.set(title="Hidden layers: angle to backpropagation", ylabel="angle of the updates (degrees)")
    angles = run.history.alignment_deg
    if run.settings["method"] == "backprop":
        _message(axes, "These are the updates of backpropagation.")
        return
    if not np.isfinite(angles).any():
        _message(axes, "No angles were measured.")
        return
    for layer, column in enumerate(angles.T):
        label = f"layer {layer + 1}: {column[-1]:.1f}°"
        axes.plot(run.history.epoch, column, **_LINES[layer % len(_LINES)], **_MARKERS, label=label)
    axes.axhline(_UNRELATED_DEG, color=INK, lw=0.9, ls=":")
    axes.annotate(
        # Beside the panel: within it there are curves.
        "unrelated", (1, _UNRELATED_DEG), xycoords=("axes fraction", "data"), xytext=(4, 0), va="center", **_POINTS,
    )  # fmt: skip
    axes.set_yticks(range(0, 181, 15))
    # Room above for the legend.
    rows = -(-angles.shape[1] // 2)
    axes.set_ylim(0, max(100.0, float(np.nanmax(angles)) + 5) + 5 + 10 * rows)
    axes.legend(loc="best", ncols=2, handlelength=3.0).set_in_layout(False)
    _epochs(axes, run.history)


def _time(axes: Axes, run: RunFile) -> None:
    axes.set(title="Wall time of an epoch", xlabel="mean of all epochs (s)")
    split = time_split(run.history)
    places = range(len(split))[::-1]
    bars = axes.barh(places, list(split.values()), height=0.6, color=[INK, SOFT, ACCENT, SOFT, "white"], edgecolor=INK)
    for bar, hatch in zip(bars, ("", "///", "", "...", ""), strict=True):
        bar.set_hatch(hatch)
    total = sum(split.values())
    for place, seconds in zip(places, split.values(), strict=True):
        share = f"{seconds:.3g} s, {100 * seconds / total:.0f} %"
        axes.annotate(share, (max(seconds, 0), place), xytext=(4, 0), va="center", **_POINTS)
    axes.set_yticks(places, list(split))
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.3 * max(split.values()))
    if np.isfinite(run.history.clock_s).any():
        text = f"The device itself would\nneed {np.nanmean(run.history.clock_s):.3g} s an epoch."
        axes.text(0.98, 0.03, text, ha="right", va="bottom", transform=axes.transAxes)


def _epochs(axes: Axes, history: History) -> None:
    """Whole epochs along the axis, from the first to the last."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_xlim(history.epoch[0] - 0.5, history.epoch[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _message(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
