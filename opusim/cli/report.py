"""The command ``opusim report``: what a file of opusim holds, by the format that it names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import _load_device, check_figure, command, err, out
from .calibrate import print_rows
from .tables import _table, joules

if TYPE_CHECKING:
    from rich.table import Table

    from opusim.calibration.report import Report
    from opusim.dfa.checkpoint import RunFile
    from opusim.dfa.history import History


@command("report", order=22)
def report(
    source: Annotated[Path, typer.Argument(help="A file of opusim calibrate, opusim train or opusim sweep.")],
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure", help="Figure to draw, one page: .png, .pdf or .svg; replaced if it is there.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", "-d", help="Calibrations: device whose truth to compare with; a preset's is found.",
            show_default=False,
        ),
    ] = None,
) -> None:  # fmt: skip
    """Tell what a file holds: a calibration, beside the simulated device's truth, a training run, or a sweep."""
    form = _format_of(source)
    if form not in _REPORTS:
        known = ", ".join(map(repr, _REPORTS))
        raise ValueError(f"{source} is an HDF5 file of the format {form!r}, but opusim report reads {known}.")
    if figure is not None:
        if figure.exists() and figure.samefile(source):
            what = form.removeprefix("opusim ")
            raise ValueError(f"{figure} is the {what} file itself: the figure needs a name of its own.")
        check_figure(figure)
    _REPORTS[form](source, figure, device)
    if figure is not None:
        out.print(f"Figure: {figure}", markup=False, soft_wrap=True)


def _format_of(source: Path) -> str | None:
    """Return what a file says that it is; errors are those of any file of opusim."""
    # Here: the command line answers without numpy.
    from opusim.base.files import format_of

    return format_of(
        source,
        wanted="a file that opusim wrote (HDF5)",
        other=f"{source} is not an HDF5 file, but calibrations, training runs and sweeps are.",
        damaged=f"{source} is damaged or cut short; make it again, or use a backup.",
    )


def _report_calibration(source: Path, figure: Path | None, device: str | None) -> None:
    with err.status("Reading the calibration …") as status:
        from opusim.calibration.report import read_report, summary
        from opusim.device.record import Device

        found = read_report(source, device=None if device is None else _load_device(Device, device))
        if figure is not None:
            status.update("Drawing the figure …")
            from opusim import plotting
            from opusim.plotting.calibration import report_figure

            plotting.save(report_figure(found), figure, dpi=130)
    _print_head(found)
    for name, record in found.records.items():
        print_rows(name, summary(record, found.device), found.info[name].created)


def _print_head(found: Report) -> None:
    from opusim.calibration.report import whose

    device = found.identity
    table = _table(f"Calibration {found.path}", "quantity", "value")
    table.add_row("device", whose(device, of_instruments=found.of_instruments))
    table.add_row("fingerprint", device.fingerprint[:16] or "none")
    table.add_row("truth", found.truth_note)
    out.print(table)


def _report_training(source: Path, figure: Path | None, device: str | None) -> None:
    if device is not None:
        raise ValueError(f"--device is given, but {source} is a training run; it is for calibrations.")
    with err.status("Reading the training run …") as status:
        from opusim.dfa.checkpoint import read_run

        run = read_run(source)
        if figure is not None:
            status.update("Drawing the figure …")
            from opusim import plotting
            from opusim.plotting.training import training_figure

            plotting.save(training_figure(run), figure, dpi=130)
    print_run(source, run)


def _report_sweep(source: Path, figure: Path | None, device: str | None) -> None:
    if device is not None:
        raise ValueError(f"--device is given, but {source} is a sweep; it is for calibrations.")
    from .sweep import print_sweep

    print_sweep(source, figure)


def print_run(source: Path, run: RunFile, *, epochs: bool = True) -> None:
    """Print what a training run was, how far it came, and where its time went.

    Parameters
    ----------
    source : Path
        Its file.
    run : RunFile
        What is in it.
    epochs : bool
        Whether to print a table of the epochs too.
    """
    from opusim.plotting.training import time_split

    settings, history = run.settings, run.history
    table = _table(f"Training run {source}", "quantity", "value")
    table.add_row("method", _METHODS.get(str(settings["method"]), str(settings["method"])))
    if run.feedback:
        for name, value in _feedback_rows(run.feedback):
            table.add_row(name, value)
    n_parameters = sum(array.size for array in run.parameters)
    table.add_row("network", f"{run.network['sizes']}, {run.network['activation']}, {n_parameters:,} parameters")
    table.add_row("optimiser", _optimiser_words(run))
    held_out = run.data.get("validation_samples")
    label = f"{settings['label']}: " if settings["label"] else ""
    table.add_row(
        "data",
        f"{label}{run.data['samples']:,} samples to train, {f'{held_out:,}' if held_out else 'none'} held out; "
        f"batches of {settings['batch_size']}, seed {settings['seed']}",
    )
    table.add_row("epochs", f"{len(history)} of {settings['epochs']}")
    if len(history):
        accuracy = history.validation_accuracy[-1]
        if math.isfinite(accuracy):
            table.add_row("accuracy, held out", f"[bold]{100 * accuracy:.2f} %[/bold]")
        table.add_row("accuracy, training", f"{100 * history.train_accuracy[-1]:.2f} %, while learnt")
        if settings["method"] == "dfa":
            table.add_row("angles to backpropagation", angles(history.alignment_deg[-1]))
    out.print(table)
    if not len(history):
        return
    if epochs:
        out.print(_epoch_table(history))
    split = time_split(history)
    times = _table("Wall time of an epoch, mean", "part", "time", "share")
    for column in times.columns[1:]:
        column.justify = "right"
    for name, seconds in split.items():
        times.add_row(name, f"{seconds:.3g} s", f"{100 * seconds / sum(split.values()):.0f} %")
    times.add_section()
    times.add_row("together", f"{sum(split.values()):.3g} s", "")
    out.print(times)
    state = run.feedback_state
    if "used_frames" in state:
        out.print(
            f"The device itself would have needed {state['used_s']:.1f} s and {joules(state['used_j'])} "
            f"for {state['used_frames']:,} frames, calibration included.",
            soft_wrap=True,
        )


_METHODS = {
    "dfa": "direct feedback alignment",
    "backprop": "backpropagation",
    "shallow": "last layer alone; hidden layers stay random",
}
# At most so many rows of epochs: more than a screen helps nobody.
_MOST_ROWS = 20


def _feedback_rows(feedback: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the projections were made by, and how errors were shown."""
    rows = []
    kind = str(feedback.get("kind", "of a kind of its own"))
    if kind == "optical":
        device = feedback.get("device") or feedback.get("driver", "a device")
        words = [f"optical: {device}", *(f"{name} {feedback[name]}" for name in ("seed",) if name in feedback)]
        words += [str(feedback[name]) for name in ("linear_mode",) if name in feedback]
        if feedback.get("averages", 1) > 1:
            words.append(f"mean of {feedback['averages']} frames")
        rows.append(("feedback", ", ".join(words)))
        if "fingerprint" in feedback:
            rows.append(("fingerprint", str(feedback["fingerprint"])[:16]))
    else:
        words = [kind, *(f"{name} {feedback[name]}" for name in ("noise", "seed") if name in feedback)]
        rows.append(("feedback", ", ".join(words)))
    encoding = [f"{key.removeprefix('encoding_')} {value}" for key, value in feedback.items() if "encoding_" in key]
    rows.append(("errors as", ", ".join([str(feedback.get("encoding", "not told")), *encoding])))
    return rows


def _optimiser_words(run: RunFile) -> str:
    """Return kind and rates; betas and the like are in the file."""
    told = [str(run.optimiser["kind"])]
    for key in ("learning_rate", "momentum", "weight_decay"):
        if run.optimiser.get(key):
            told.append(f"{key.replace('_', ' ')} {run.optimiser[key]:g}")
    if run.settings["learning_rate_decay"] != 1:
        told.append(f"the rate times {run.settings['learning_rate_decay']:g} from epoch to epoch")
    return ", ".join(told)


def angles(degrees: Iterable[float]) -> str:
    """Return angles as text: 52.1° 48.3°; "-" where there is none, or only backpropagation's own, which are 0."""
    shown = list(degrees)
    if not any(angle > 0 for angle in shown):
        return "-"
    return " ".join(f"{angle:.1f}°" if math.isfinite(angle) else "-" for angle in shown)


def _epoch_table(history: History) -> Table:
    from opusim.dfa.losses import loss_text

    table = _table("Epochs", "epoch", "loss", "training", "held out", "angles", "wall time")
    for column in table.columns:
        column.justify = "right"
    step = -(-len(history) // _MOST_ROWS)
    for i in sorted({*range(step - 1, len(history), step), 0, len(history) - 1}):
        held_out, degrees = history.validation_accuracy[i], history.alignment_deg[i]
        table.add_row(
            f"{history.epoch[i]}", loss_text(history.loss[i]), f"{100 * history.train_accuracy[i]:.2f} %",
            f"{100 * held_out:.2f} %" if math.isfinite(held_out) else "-",
            angles(degrees), f"{history.total_s[i]:.1f} s",
        )  # fmt: skip
    return table


_REPORTS = {
    "opusim calibration": _report_calibration,
    "opusim training run": _report_training,
    "opusim sweep": _report_sweep,
}
