"""The command ``opusim calibrate``, and the table of what a procedure found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    DeviceOption,
    SeedOption,
    _end,
    _folder_of,
    _load_device,
    _progress,
    _say,
    _sentence,
    command,
    err,
    late_options,
    late_values,
    out,
    refuse_foreign,
)
from .bench import BenchOption, opened_bench
from .tables import _table


def _complete(parameters: list[Any]) -> list[Any]:
    """Name the procedures, and add their options."""
    from opusim.calibration.procedures.base import PROCEDURES, options_of

    for parameter in parameters:
        if parameter.name == "procedure":
            parameter.metavar = "|".join((*PROCEDURES, _ALL))
    known = options_of(PROCEDURES.values())
    return late_options({name: (option.flag, option.kind, option.help) for name, (option, _) in known.items()})


_ALL = "all"


@command("calibrate", order=20, late=_complete)
def calibrate(
    context: typer.Context,
    procedure: Annotated[str, typer.Argument(help="What to measure.")],
    target: Annotated[
        Path, typer.Option("--out", "-o", help="HDF5 file; records of other procedures in it stay.")
    ] = Path("cal.h5"),
    own: BenchOption = None,
    device: DeviceOption = "aurora",
    seed: SeedOption = 0,
    region: Annotated[
        str,
        typer.Option(
            "--roi",
            help="Region as row,column,rows,columns; the middle 64 x 128 pixels by default, or the pixels of a "
            "measured matrix.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Measure a device by patterns and frames alone, and write what is found to an HDF5 file.

    The matrix of tm goes into a file of its own beside it: cal.tm.h5 beside cal.h5. With the defaults each procedure
    takes seconds, 10 minutes of drift included: the device's time is simulated. The first frequency keeps the present
    state as a reference, to which later ones, in other surroundings, tune the laser back.

    With --bench the procedures run on instruments, in real time: opusim bench begins such a bench and checks it.
    """
    from opusim.calibration.procedures.base import PROCEDURES, options_of

    given, known = late_values(context), options_of(PROCEDURES.values())
    if procedure != _ALL and procedure not in PROCEDURES:
        names = ", ".join((*PROCEDURES, _ALL))
        raise ValueError(f"The procedure is {procedure!r}, but it must be one of {names}.")
    refuse_foreign(
        {option.flag: given[name] for name, (option, _) in known.items()},
        {option.flag: of if option.alone else (*of, _ALL) for option, of in known.values()},
        procedure,
    )
    if own is not None:
        _refuse_simulation(context)
    _folder_of(target)
    roi = _region(region)
    options: dict[str, Any] = {}
    for name, (option, _) in known.items():
        value = given[name]
        options[name] = value if value is None or option.read is None else option.read(value)
    # Before instruments are opened: what is wrong with the line needs none.
    from opusim.calibration.session import check_files, checked_options

    checked_options(options)
    check_files(target)
    path = target.absolute()  # a bench may change the working folder
    with _bench(own, device, seed) as bench:
        refused = _calibrated(procedure, bench, target, path, roi, options, simulated=own is None)
    if refused:
        raise typer.Exit(EXIT_ERROR)


def _refuse_simulation(context: typer.Context) -> None:
    """Refuse what names a simulated device beside a bench of one's own."""
    for name in ("device", "seed"):
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise ValueError(f"--{name} is given, but it is for a simulated device, and --bench names your own bench.")


@contextmanager
def _bench(own: str | None, device: str, seed: int) -> Iterator[Any]:
    """Make the bench: one that is named, or a simulated one."""
    if own is not None:
        # No spinner: whoever opens instruments may have something to say.
        with opened_bench(own, "--bench") as bench:
            yield bench
        return
    with err.status("Loading the simulation …"):
        from opusim.bench.bench import OpticalBench
        from opusim.device.record import Device

        simulated = OpticalBench(_load_device(Device, device), seed)
    yield simulated


def _calibrated(
    procedure: str, bench: Any, target: Path, path: Path, roi: Any, options: dict[str, Any], *, simulated: bool
) -> bool:  # fmt: skip
    """Run procedures on a bench, print what they find, and return whether one of several was refused.

    `target` is the file as it was given, for the one who reads, and `path` the same from the root.
    """
    from opusim.bench.protocol import identity_of
    from opusim.calibration.procedures.base import PROCEDURES
    from opusim.calibration.procedures.matrix.journal import interrupted_header
    from opusim.calibration.report import summary
    from opusim.calibration.session import Calibration
    from opusim.calibration.truth import simulated_device

    calibration = Calibration(bench, path, roi=roi, **options)

    def session_of(name: str) -> Calibration:
        """Return that on the bench, or on one by waves at the same time and tuning, for what changes the light."""
        if not (
            simulated
            and PROCEDURES[name].changes_light
            and calibration.has_tuning
            and bench.device.medium.disperses
        ):  # fmt: skip
            return calibration
        quick: Any = type(bench)(bench.device, bench.seed, execution="waves")
        quick.advance_to(bench.clock.frames, bench.clock.elapsed_s)
        quick.tune(bench.tuning_hz)
        return Calibration(quick, path, roi=roi, **options)

    todo = list(PROCEDURES) if procedure == _ALL else [procedure]
    if procedure == _ALL:
        calibration.check_full_scale()
        todo = _possible(calibration, identity_of(bench).name, simulated=simulated)
    resume, refused, stored = bool(options["resume"]), False, False
    for name in todo:
        if procedure == _ALL and resume and calibration.done(name):
            calibration.go_past(name)
            out.print(f"{name}: there already.")
            stored = True
            continue
        try:
            # What cannot work is said at once, without a bar.
            session = session_of(name)
            for sentence in session.prepare(name):
                out.print(sentence, markup=False, soft_wrap=True)
            with _Bar(name) as tell:
                records = session.run(name, tell)
            if session is not calibration:
                other: Any = session.bench  # a simulated one, as `bench` is
                bench.advance_to(other.clock.frames, other.clock.elapsed_s)
                bench.tune(other.tuning_hz)
        except KeyboardInterrupt:
            resumes = any(option.name == "resume" for option in PROCEDURES[name].options)
            if stored or (resumes and interrupted_header(PROCEDURES[name].file(path)) is not None):
                _end("Interrupted; what was whole is stored. --resume goes on where it stopped.", EXIT_INTERRUPTED)
            _end(f"Interrupted before {name} was whole; nothing was stored.", EXIT_INTERRUPTED)
        except ValueError as error:
            if procedure != _ALL:
                raise
            # What the other procedures find is worth having.
            _say(f"opusim calibrate: {name}: {_sentence(error)}")
            refused = True
            continue
        stored = True
        for key, record in records.items():
            print_rows(key, summary(record, simulated_device(bench)))
    written = target if procedure == _ALL else PROCEDURES[procedure].file(target)
    out.print(f"File: {written}", markup=False, soft_wrap=True)
    return refused


def _possible(calibration: Any, name: str, *, simulated: bool) -> list[str]:
    """Return the procedures that a bench has all for, in order, and say which are left out, and why."""
    from opusim.calibration.procedures.base import PROCEDURES

    todo, who = list(PROCEDURES), name or "This bench"

    def leave_out(told: str, needy: Callable[[str], bool]) -> None:
        names = [name for name in todo if needy(name)]
        if names:
            out.print(f"{told}: {', '.join(names)} {'is' if len(names) == 1 else 'are'} left out.", soft_wrap=True)
            todo[:] = [name for name in todo if name not in names]

    if not calibration.has_lamp:
        leave_out(f"{who} has no lamp (flat_field)", lambda name: PROCEDURES[name].needs_lamp)
    if not calibration.has_reference:
        leave_out(f"{who} has no reference arm", lambda name: PROCEDURES[name].needs_reference_on(calibration.bench))
    if not calibration.has_tuning:
        why = "laser.tuning_range_hz" if simulated else "it has no tune, or no range"
        leave_out(f"The laser of {name or 'this bench'} cannot be tuned ({why})",
                  lambda name: PROCEDURES[name].needs_tuning)  # fmt: skip
    return todo


def print_rows(name: str, rows: list[tuple[str, str, str]], created: str = "") -> None:
    """Print what a procedure found, with a column for the truth where some of it is known."""
    known = any(truth for _, _, truth in rows)
    table = _table(
        f"{name}, {created}" if created else name, "quantity", "found", *(("simulated device",) if known else ())
    )
    for quantity, value, truth in rows:
        table.add_row(*((quantity, value, truth) if known else (quantity, value)))
    out.print(table)


class _Bar(_progress):
    """A bar for procedures, which tell (done, total); how much there is, is known when they first do."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: preparing", name, None)

    def __enter__(self) -> Callable[..., None]:
        self._start()
        return lambda done, total: self._bar.update(self._task, completed=done, total=total, description=self._then)


def _region(text: str) -> tuple[int, int, int, int] | None:
    if not text:
        return None
    parts = re.fullmatch(r"(\d+),(\d+),([1-9]\d*),([1-9]\d*)", text.replace(" ", ""))
    if parts is None:
        raise ValueError(f"--roi is {text!r}, but it must be row,column,rows,columns as in 512,956,64,128.")
    row, column, n_rows, n_columns = (int(part) for part in parts.groups())
    return row, column, n_rows, n_columns
