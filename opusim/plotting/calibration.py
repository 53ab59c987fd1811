"""One page that shows a calibration: camera, phase steps, fringes, matrix, drift."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from opusim import theory
from opusim.calibration.procedures.camera import CameraRecord
from opusim.calibration.procedures.drift import DriftRecord
from opusim.calibration.procedures.linear import LinearRecord
from opusim.calibration.procedures.matrix.file import TmRecord
from opusim.calibration.procedures.phase import PhaseRecord
from opusim.calibration.report import Report, procedure_of
from opusim.calibration.words import duration
from opusim.plotting import ACCENT, INK, SOFT, STYLE, photon_transfer, singular_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["report_figure"]

# Draws a record of a report.
Draw = Callable[..., None]

# A4, upright, in inches; longer where there are more panels.
_PAGE = (8.27, 11.0)


def report_figure(report: Report) -> Figure:
    """Draw a calibration on one page; a panel whose record is missing says so.

    Of instruments panels that have nothing are left out: one has no lamp, another no arm, and none has a known truth.

    Parameters
    ----------
    report : Report
        From `read_report`.

    Returns
    -------
    matplotlib.figure.Figure
        Apart from pyplot, so that no display is needed.
    """
    import matplotlib
    from matplotlib.figure import Figure

    style = {**STYLE, "font.size": 9, "axes.titlesize": 10, "legend.fontsize": 8}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=_PAGE)
        figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.1)
        panels = _panels(report)
        figure.set_size_inches(_PAGE[0], _PAGE[1] / 3 * (-(-len(panels) // 2)))
        places = list(figure.subplots(-(-len(panels) // 2), 2).flat)
        for axes in places[len(panels) :]:
            axes.set_axis_off()
        for axes, (procedure, title, draw) in zip(places, panels, strict=False):
            axes.set_title(title)
            record = report.found_by(procedure)
            if record is None:
                _missing(axes, procedure)
            else:
                draw(axes, record, report)
        date = max(info.created for info in report.info.values())[:10]
        device = report.identity
        told = f"the device “{device.name}”" if device.name else "a bench without a name"
        seed = "" if device.seed < 0 or report.of_instruments else f", seed {device.seed}"
        figure.suptitle(f"Calibration of {told}{seed}, {date}", fontsize=12)
        # Drawn here, so that the style holds for the layout too.
        figure.draw_without_rendering()
    return figure


# Panels by procedure, in their order on the page: title and function.
_PANELS: dict[str, list[tuple[str, Draw]]] = {}


def _panel(procedure: str, title: str) -> Callable[[Draw], Draw]:
    """Make a function the panel of a procedure."""

    def register(draw: Draw) -> Draw:
        _PANELS.setdefault(procedure, []).append((title, draw))
        return draw

    return register


def _panels(report: Report) -> list[tuple[str, str, Draw]]:
    """Return (procedure, title, function): ours always, what others bring where the file has a record for it."""
    ours = [(name, *panel) for name, panels in _PANELS.items() for panel in panels]
    found = {type(record).__name__: record for record in report.records.values()}
    procedures = [procedure for procedure in map(procedure_of, found) if procedure is not None]
    others = {procedure.name: procedure.panels() for procedure in procedures}
    panels = ours + [(name, *panel) for name, panels in others.items() for panel in panels]
    if not report.of_instruments:
        return panels
    # Where nothing would be left, they say what is missing.
    return [panel for panel in panels if _has_something(report, panel[0], panel[2])] or panels


def _has_something(report: Report, procedure: str, draw: Draw) -> bool:
    """Return whether a report has what a panel shows."""
    if report.found_by(procedure) is None or (procedure == "tm" and report.entries is None):
        return False
    return draw is not _entries or (report.entries is not None and report.entries.truth is not None)


@_panel("camera", "Photon transfer")
def _photon_transfer(axes: Axes, record: CameraRecord, report: Report) -> None:
    photon_transfer(record, axes)


@_panel("phase", "Phase steps")
def _phase_steps(axes: Axes, record: PhaseRecord, report: Report) -> None:
    asked, off = record.asked_rad, 1e3 * (record.phases_rad - record.asked_rad)
    x = np.linspace(min(0.0, float(asked.min())), max(float(asked.max()), 1.0), 100)

    def model(d: np.ndarray, scale: float, bent: float) -> np.ndarray:
        """Deviation in mrad; like the measured one, known but for a constant."""
        deviation = d * (scale + bent * d / math.pi)
        return 1e3 * (deviation - np.mean(asked * (scale + bent * asked / math.pi)))

    axes.axhline(0, color=SOFT, lw=1)
    if report.device is not None:
        arm = report.device.reference
        axes.plot(x, model(x, arm.scale_error, arm.nonlinearity), color=SOFT, lw=3, label="simulated shifter")
    axes.plot(
        x, model(x, record.scale_error, record.nonlinearity), color=ACCENT, lw=1.4,
        label=f"scale error {100 * record.scale_error:.2g} %",
    )  # fmt: skip
    axes.errorbar(
        asked, off, yerr=1e3 * record.uncertainty_rad, fmt="o", ms=4, color=INK, capsize=2,
        label=f"measured; repeats to {1e3 * record.repeatability_rad:.2g} mrad", zorder=3,
    )  # fmt: skip
    axes.set(xlabel="phase asked (rad)", ylabel="made less asked, mean taken off (mrad)")
    # Room for the legend, which no point may lie under.
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.35 * (high - low))
    axes.legend(loc="upper left")


@_panel("linear", "Fringe modulation")
def _modulation(axes: Axes, record: LinearRecord, report: Report) -> None:
    row, column, n_rows, n_columns = record.rectangle
    picture = np.where(record.valid, record.modulation_map, np.nan).reshape(n_rows, n_columns)
    low, high = np.nanquantile(picture, [0.01, 0.99]) if record.valid.any() else (0.0, 1.0)
    image = axes.imshow(
        picture, cmap="cividis", vmin=low, vmax=high, aspect="auto",
        extent=(column, column + n_columns, row + n_rows, row),
    )  # fmt: skip
    axes.set_facecolor(ACCENT)
    bar = axes.figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.8, extend="both", aspect=30)
    bar.set_label("modulation (0 to 1), mean over patterns")
    bar.outline.set_visible(False)
    left_out = int(np.sum(~record.valid))
    words = f"orange: {left_out:,} left out" if left_out else "no pixel left out"
    axes.set(xlabel=f"column of the sensor (pixels); {words}", ylabel="row (pixels)")


@_panel("tm", "Matrix entries against the truth")
def _entries(axes: Axes, record: TmRecord, report: Report) -> None:
    entries = report.entries
    if entries is None:
        _missing(axes, "tm")
        return
    if entries.truth is None:
        _message(axes, "The truth is not known:\nopusim report --device names the device")
        return
    measured = entries.matrix[:, entries.columns]
    rms = float(np.sqrt(np.mean(np.abs(entries.truth) ** 2)))
    top = 2.6 * rms
    axes.hexbin(
        entries.truth.real.ravel(), measured.real.ravel(), gridsize=60, extent=(-top, top, -top, top), bins="log",
        cmap="Blues", mincnt=1, linewidths=0.1,
    )  # fmt: skip
    axes.plot([-top, top], [-top, top], color=ACCENT, lw=1, label="equal")
    axes.set(
        xlabel="true entry, real part (√DN); darker: more entries",
        ylabel="measured entry, real part (√DN)",
        xlim=(-top, top),
        ylim=(-top, top),
    )
    axes.legend(loc="lower right")
    told = f"error {100 * entries.error:.2g} %\nof the rms entry"
    if entries.inside is not None and entries.inside.any():
        told += f",\n{100 * entries.inner_error:.2g} % two grains\nfrom the edges"
    _note(axes, told, (0.05, 0.95), ha="left", va="top")


@_panel("tm", "Singular values")
def _singular_values(axes: Axes, record: TmRecord, report: Report) -> None:
    if report.entries is None:
        _missing(axes, "tm")
    else:
        singular_values(report.entries.matrix, axes, independent=_independent(record, report))


def _independent(record: TmRecord, report: Report) -> float | None:
    """Independent outputs, where pixels share grains; NaN where their law is not that of Marchenko and Pastur."""
    assert report.entries is not None
    grain = record.grain_px
    if not grain and report.device is not None and report.device.pixel_over_grain:
        grain = 1 / report.device.pixel_over_grain
    if not grain:
        return None
    rows, valid = len(report.entries.matrix), int(record.valid.sum())
    # Below two pixels a grain what pixels pass of the field is not even over its spectrum, nor is that sampled apart.
    return theory.independent_outputs(valid, grain) if rows == valid and grain >= 2 else math.nan


@_panel("drift", "Drift")
def _drift(axes: Axes, record: DriftRecord, report: Report) -> None:
    long = float(record.times_s[-1]) >= 120
    t = record.times_s / (60 if long else 1)
    loss = 1e3 * (1 - record.intensity_correlation)
    axes.plot(t, loss, "o-", ms=2.5, lw=0.8, color=SOFT, mec=INK, mfc=SOFT, mew=0.5)
    tau, highest = record.decorrelation_time_s, max(0.1, float(loss.max()))
    begins = () if report.device is None else report.device.medium.drift.begins_s
    for k, begin_s in enumerate(begins[1:]):  # the first one begins the watch
        label = None if k else "a state of the file begins"
        axes.axvline(begin_s / (60 if long else 1), color=SOFT, lw=0.8, ls=":", label=label)
    if begins:
        axes.set_xlim(-0.04 * t[-1], 1.04 * t[-1])
    if record.follows_law:
        label = "no decorrelation seen" if math.isinf(tau) else f"decorrelation, τ = {duration(tau)}"
        fit = -1e3 * np.expm1(-2 * (record.times_s / tau) ** 2)
        axes.plot(t, fit, color=INK, lw=1.2, label=label)
        highest = max(highest, float(fit.max()))
    else:
        axes.plot([], [], " ", label="follows no law exp(−(t/τ)²)")
    axes.set(
        xlabel=f"time ({'min' if long else 's'})", ylabel="loss of intensity correlation (‰)",
        ylim=(min(-0.4 * highest, 1.1 * float(loss.min())), 1.6 * highest),
    )  # fmt: skip
    handles, labels = axes.get_legend_handles_labels()
    if np.isfinite(record.phase_rad).any():
        other = axes.twinx()
        (line,) = other.plot(t, record.phase_rad, color=ACCENT, lw=1.2)
        other.set_ylabel("phase of the reference (rad)", color=ACCENT)
        other.tick_params(axis="y", colors=ACCENT)
        other.spines["right"].set(visible=True, color=ACCENT)
        low, high = other.get_ylim()
        other.set_ylim(low, high + 0.35 * (high - low))
        handles, labels = [*handles, line], [*labels, "phase of the reference"]
    axes.legend(handles, labels, loc="upper right")


def _missing(axes: Axes, procedure: str) -> None:
    _message(axes, f"No record: opusim calibrate {procedure}")


def _message(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=INK)


def _note(axes: Axes, text: str, at: tuple[float, float], **where: str) -> None:
    axes.text(*at, text, transform=axes.transAxes, fontsize=8, **where)  # type: ignore[arg-type]
