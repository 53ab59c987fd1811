"""The command ``opusim sweep``, and what ``opusim report`` tells of its files."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    DeviceOption,
    PartOption,
    _end,
    _folder_of,
    _load_device,
    _say,
    check_figure,
    command,
    err,
    out,
)
from .line import told_held
from .tables import _table

if TYPE_CHECKING:
    import numpy as np

    from opusim.device.record import Device
    from opusim.sweep import SweepResult

# Failed points that are told one by one.
_TOLD = 5
# Characters of a number in a table, and of the frame of a column.
_DIGITS, _FRAME = 9, 3


def _complete(parameters: list[Any]) -> list[Any]:
    """Name the tasks, those of one kind together."""
    from opusim.tasks.registry import TASKS

    kinds: dict[str, list[str]] = {}
    for name, task in TASKS.items():
        kinds.setdefault(task.what, []).append(name)
    told = [f"{', '.join(names)}{f' ({what})' if what else ''}; " for what, names in kinds.items()]
    for parameter in parameters:
        if parameter.name == "task":
            parameter.help = f"{''.join(told)}{parameter.help}"
    return []


@command("sweep", order=25, late=_complete)
def sweep(
    task: Annotated[
        str,
        typer.Option(
            "--task", "-t", help="module:function or file.py:function, called with (opu, seed).", show_default=False,
        ),
    ],
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary", "-v", help="What to vary: camera.bits=4,6,8 or camera.prnu=1e-4:1e-2:log:5. Fields of the "
            "device; adc.bits (full scale kept), exposure.mean_level (mean output before rounding, as a share of full "
            "scale), exposure_s, n_components, "
            "task.NAME. Several: every value with every other.", show_default=False,
        ),
    ],
    target: Annotated[
        Path, typer.Option("--out", "-o", help="HDF5 file; a sweep in it goes on, or is extended.")
    ] = Path("sweep.h5"),
    device: DeviceOption = "aurora",
    seeds: Annotated[str, typer.Option("--seeds", "-s", help="How many, from 0 on; or a list as in 3,4,7.")] = "1",
    components: Annotated[
        int | None,
        typer.Option(
            "--components", "-n", help="Outputs: camera pixels to read; 1000 by default, 200 for randsvd, 400 for "
            "trace and triangles.", show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Setting of the task, as n_train=5000; several times.", show_default=False),
    ] = None,
    zipped: Annotated[
        bool, typer.Option("--zip", help="The values of several --vary go together, the first of each first.")
    ] = False,
    workers: Annotated[int, typer.Option("--workers", "-j", help="Processes.")] = 1,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask", help="Address of a Dask scheduler as tcp://host:8786, or local:2 for two processes here.",
            show_default=False,
        ),
    ] = None,
    part: PartOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run points again that failed before.")] = False,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", help="Figure to draw at the end: .png, .pdf or .svg.", show_default=False),
    ] = None,
) -> None:  # fmt: skip
    """Repeat a task over parameters of a device and over seeds. A sweep that was stopped goes on where it was."""
    given: dict[str, list[Any]] = {}
    with err.status("Checking the points …"):
        from opusim.device.record import Device
        from opusim.sweep import Sweep
        from opusim.sweep.points import parse_vary
        from opusim.tasks.registry import parse_task

        for text in vary:
            path, values = parse_vary(text)
            if path in given:
                raise ValueError(f"--vary names {path} twice.")
            given[path] = values
        _folder_of(target)
        if figure is not None:
            check_figure(figure)
        plan = Sweep(
            parse_task(task, _settings(settings or [])), make_opu, given, device=_load_device(Device, device),
            n_components=components, seeds=_seeds(seeds), zipped=zipped,
        )  # fmt: skip
    if "camera.bits" in given:
        _say("camera.bits keeps the gain, so the full scale moves with it; adc.bits keeps the full scale.")
    chosen, total = None, len(plan.settings) * len(plan.header.seeds)
    if part is not None:
        from opusim.base.parts import Part

        chosen = Part.parse(part)
        target, total = chosen.beside(target), len(range(chosen.number - 1, total, chosen.count))
    bar = _Bar(total)
    try:
        with bar:
            result = plan.run(
                target, workers=workers, dask=dask, retry_failed=retry_failed, part=chosen, callback=bar.tell
            )
    except KeyboardInterrupt:
        _end(f"Interrupted; {bar.done} of {bar.total} points are in {target}. The same command goes on.",
             EXIT_INTERRUPTED)  # fmt: skip
    _print_result(result, f"Sweep {target}")
    _tell_not_finite(result)
    _tell_failed(result)
    if figure is not None and result.metrics:
        _draw(result, figure)
        out.print(f"Figure: {figure}", markup=False, soft_wrap=True)
    if result.n_failed:
        raise typer.Exit(EXIT_ERROR)


def make_opu(device: Device, n_components: int, seed: int) -> Any:
    """Return the OPU of a point."""
    from opusim.drivers import OPU

    return OPU(n_components, device=device, seed=seed, disable_pbar=True)


def print_sweep(path: Path, figure: Path | None = None) -> None:
    """Tell what the file of a sweep holds, and draw it if that is asked for.

    Parameters
    ----------
    path : Path
        The file.
    figure : Path, optional
        Figure to draw: .png, .pdf or .svg; replaced if it is there.

    Raises
    ------
    FileNotFoundError, ValueError
        As `opusim.sweep.read_sweep`.
    """
    with err.status("Reading the sweep …"):
        from opusim.sweep import read_sweep

        result = read_sweep(path)
    _print_result(result, f"Sweep {path}")
    _tell_not_finite(result)
    _tell_failed(result)
    if figure is not None:
        _draw(result, figure)


def _draw(result: SweepResult, figure: Path) -> None:
    with err.status("Drawing the figure …"):
        from opusim import plotting
        from opusim.sweep import sweep_figure

        plotting.save(sweep_figure(result), figure, dpi=130)


def _print_result(result: SweepResult, title: str) -> None:
    import numpy as np

    header, n = result.header, len(result.settings) * len(result.seeds)
    facts = _table(title, "quantity", "value")
    settings = ", ".join(f"{key} {value}" for key, value in header.task.items() if key != "name")
    facts.add_row("task", f"{header.task['name']}{f' ({settings})' if settings else ''}")
    facts.add_row("device", f"{header.device_name}, fingerprint {header.fingerprint[:16]}")
    if any(axis.path.partition(".")[0] in ("camera", "dmd", "modulator", "optics") for axis in header.axes):
        facts.add_row("held", told_held(header.device, {axis.path for axis in header.axes}))
    if not any(axis.path == "n_components" for axis in header.axes):
        facts.add_row("outputs", f"{header.n_components}")
    facts.add_row("seeds", ", ".join(map(str, result.seeds)))
    failed = f"; {result.n_failed} failed" if result.n_failed else ""
    if result.part is not None:
        facts.add_row("part", f"{result.part} of a sweep of {n} points; opusim merge puts the parts together")
        n = len(result.places_of(result.part))
    facts.add_row("points", f"{len(result.outcomes) - result.n_failed} of {n} are done{failed}")
    if result.n_failed and result.n_failed == len(result.outcomes):
        place = min(result.outcomes)
        facts.add_row("why, at the first", f"{result.outcomes[place].error_type}: {result.outcomes[place].error}")
    seconds = np.array([outcome.seconds for outcome in result.outcomes.values()])
    if np.isfinite(seconds).any():
        facts.add_row("time of a point", f"{np.nanmedian(seconds):.3g} s (median)")
    facts.add_row("begun", result.created)
    out.print(facts)
    if not result.metrics:
        return
    first, *others = result.metrics
    spread = ("± sd", "lowest", "highest") if len(result.seeds) > 1 else ()
    _print_rows(result, f"{first}, mean over the seeds" if spread else first, (first, *spread))
    if others:
        title = "Other numbers, mean over the seeds" if spread else "Other numbers"
        for columns in _fitting(result, others):
            _print_rows(result, title, columns)
            title = "And"


def _fitting(result: SweepResult, names: Sequence[str]) -> list[list[str]]:
    """Return metrics in tables that are no wider than the screen, so that no word of a heading is broken."""
    axes = sum(max(len(axis.path), _DIGITS) + _FRAME for axis in result.axes)
    tables: list[list[str]] = [[]]
    width = axes
    for name in names:
        column = max(_DIGITS, *map(len, name.split("_"))) + _FRAME
        if tables[-1] and width + column >= out.width:
            tables.append([])
            width = axes
        tables[-1].append(name)
        width += column
    return tables


def _print_rows(result: SweepResult, title: str, columns: Sequence[str]) -> None:
    """Print a row for each combination: means of metrics, or of the first one with its spread."""
    import numpy as np

    axes = [axis.path for axis in result.axes]
    heads = [name.replace("_", " ") for name in columns]
    if sum(max(len(head), _DIGITS) + _FRAME for head in (*axes, *heads)) >= out.width:
        heads = [head.replace(" ", "\n") for head in heads]  # broken there, and nowhere else
    table = _table(title, *axes, *heads)
    for column in table.columns:
        column.justify, column.overflow = "right", "fold"
    values = {name: result.values(name) for name in columns if name in result.metrics}
    for i, setting in enumerate(result.settings):
        cells = []
        for name in columns:
            row = values.get(name, values[columns[0]])[i]
            row = row[np.isfinite(row)]
            if not len(row):
                cells.append(_nothing(result, i, name) if name in values else "")
            elif name in values:
                cells.append(_number(row.mean(), name))
            else:
                spread = row.min() if name == "lowest" else row.max() if name == "highest" else _sd(row)
                cells.append(_number(spread, columns[0]))
        table.add_row(*(f"{value:g}" for value in setting), *cells)
    out.print(table)


def _nothing(result: SweepResult, row: int, name: str) -> str:
    """Return why there is no finite number in a row: all points failed, or what they gave; nothing otherwise."""
    found = [outcome for (i, _), outcome in result.outcomes.items() if i == row]
    given = [outcome.metrics[name] for outcome in found if name in outcome.metrics]
    if given:
        return "not a number" if any(map(math.isnan, given)) else "infinite"
    return "failed" if found and all(outcome.failed for outcome in found) and name == result.metrics[0] else ""


def _tell_not_finite(result: SweepResult) -> None:
    for name in result.metrics:
        n = result.n_not_finite(name)
        if n:
            _say(f"{name} is not a number, or infinite, at {n} of {len(result.outcomes)} points; means leave them out.")


def _sd(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _number(value: float, name: str) -> str:
    """Return a metric as text: an accuracy in percent, others with three digits."""
    if math.isnan(value):
        return ""
    if "accuracy" in name:
        return f"{100 * value:.2f} %"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _tell_failed(result: SweepResult) -> None:
    failed = [(place, outcome) for place, outcome in sorted(result.outcomes.items()) if outcome.failed]
    for place, outcome in failed[:_TOLD]:
        _say(f"Failed: {result.label(place)}: {outcome.error_type}: {outcome.error}")
    if len(failed) > _TOLD:
        _say(f"... and {len(failed) - _TOLD} more.")
    if failed:
        _say("--retry-failed runs them again; the file holds the tracebacks.")
    warned: dict[str, int] = {}
    for outcome in result.outcomes.values():
        for text in outcome.warnings:
            warned[text] = warned.get(text, 0) + 1
    for text, times in list(warned.items())[:_TOLD]:
        _say(f"{text} ({times} point{'s' if times > 1 else ''})")


def _settings(texts: list[str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals or not value:
            raise ValueError(f"--set is {text!r}, but it must be a name, an equals sign and a value, as n_train=5000.")
        if name in result:
            raise ValueError(f"--set names {name} twice.")
        result[name] = value
    return result


def _seeds(text: str) -> int | list[int]:
    if re.fullmatch(r"[1-9][0-9]*", text.strip()):
        return int(text)
    if re.fullmatch(r"[0-9]+(,[0-9]+)+,?|[0-9]+,", text.replace(" ", "")):
        return [int(part) for part in text.split(",") if part.strip()]
    raise ValueError(f"--seeds is {text!r}, but it must be a number of seeds, as 5, or a list of them, as 3,4,7.")


class _Bar:
    """A progress bar on stderr with the time that is left, counted from the points of this run."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.total, self.done = total, 0
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), console=err,
        )  # fmt: skip
        self._task = self._bar.add_task("Points", total=total, left="")
        self._start, self._before = 0.0, 0

    def __enter__(self) -> None:
        """Show nothing yet: what is wrong with a file or a cluster shows before the first point."""

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def tell(self, result: SweepResult, place: tuple[int, int] | None) -> None:
        self.done = len(result.outcomes)
        if place is None:
            self._bar.start()
            self._start, self._before, left = time.perf_counter(), self.done, ""
        else:
            pace = (time.perf_counter() - self._start) / (self.done - self._before)
            left = f"{_span(pace * (self.total - self.done))} left"
        failed = f" ({result.n_failed} failed)" if result.n_failed else ""
        self._bar.update(self._task, completed=self.done, description=f"Points{failed}", left=left)


def _span(seconds: float) -> str:
    """Return a time in words: "8 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
