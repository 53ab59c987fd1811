"""The command ``opusim calibrate``, and the table of what a procedure found."""

from __future__ import annotations

import re
from collections.abc import Callable
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
    _table,
    command,
    err,
    out,
)

PROCEDURES = ("exposure", "camera", "phase", "linear", "tm", "drift", "all")
# Options that not every procedure has: name on the command line, and whose it is.
_BELONGS = {
    "steps": ("--steps", ("phase", "linear", "tm", "drift", "all")),
    "exposure_us": ("--exposure-us", ("camera", "phase", "linear", "tm", "drift")),
    "level": ("--level", ("exposure", "all")),
    "clipped": ("--clipped", ("exposure", "all")),
    "inputs": ("--inputs", ("tm", "all")),
    "basis": ("--basis", ("tm", "all")),
    "minutes": ("--minutes", ("drift", "all")),
    "resume": ("--resume", ("tm", "all")),
}


@command("calibrate")
def calibrate(
    procedure: Annotated[str, typer.Argument(metavar="|".join(PROCEDURES), help="What to measure.")],
    target: Annotated[
        Path, typer.Option("--out", "-o", help="HDF5 file; records of other procedures in it stay.")
    ] = Path("cal.h5"),
    device: DeviceOption = "aurora",
    seed: SeedOption = 0,
    region: Annotated[
        str,
        typer.Option(
            "--roi",
            help="Region as row,column,rows,columns; the middle 64 x 128 pixels by default.",
            show_default=False,
        ),
    ] = "",
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Phase steps; 8 for phase, 4 for others by default.", show_default=False),
    ] = None,
    exposure_us: Annotated[
        float | None,
        typer.Option(
            "--exposure-us",
            help="Exposure in µs; by default 400 for camera, the file's or a found one for others.",
            show_default=False,
        ),
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(
            "--level",
            help="exposure: mean grey level to reach; by default as long as few outputs clip.",
            show_default=False,
        ),
    ] = None,
    clipped: Annotated[
        float | None, typer.Option("--clipped", help="exposure: share of outputs that may clip; 0.001 by default.")
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option("--inputs", help="tm: macro-pixels in line, or rows x columns as 16x16; 256 by default."),
    ] = None,
    basis: Annotated[str | None, typer.Option("--basis", help="tm: hadamard (the default) or canonical.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="drift: device time to watch; 10 by default.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="tm: go on with an interrupted one. all: leave out what is there.")
    ] = False,
) -> None:
    """Measure a device by patterns and frames alone, and write what is found to an HDF5 file.

    The matrix of tm goes into a file of its own beside it: cal.tm.h5 beside cal.h5. With the defaults each procedure
    takes seconds, 10 minutes of drift included: the device's time is simulated.
    """
    given = locals()
    if procedure not in PROCEDURES:
        raise ValueError(f"The procedure is {procedure!r}, but it must be one of {', '.join(PROCEDURES)}.")
    for name, (option, of) in _BELONGS.items():
        if given[name] not in (None, False) and procedure not in of:
            raise ValueError(f"{option} is given, but it is for {', '.join(of)}, not for {procedure}.")
    _folder_of(target)
    roi, columns = _region(region), _inputs(inputs)
    if basis not in (None, "hadamard", "canonical"):
        raise ValueError(f"--basis is {basis!r}, but it must be hadamard or canonical.")
    with err.status("Loading the simulation …"):
        from opusim.bench.bench import OpticalBench
        from opusim.calibration.report import summary
        from opusim.calibration.session import NEED_REFERENCE, Calibration
        from opusim.calibration.session import PROCEDURES as EVERY
        from opusim.device.record import Device

        bench = OpticalBench(_load_device(Device, device), seed)
        chosen: dict[str, Any] = {"inputs": columns, "basis": basis, "minutes": minutes, "clipped_share": clipped}
        calibration = Calibration(
            bench, target, roi=roi, steps=steps, level_dn=level, resume=resume,
            exposure_s=None if exposure_us is None else 1e-6 * exposure_us,
            **{name: value for name, value in chosen.items() if value is not None},
        )  # fmt: skip
    todo: tuple[str, ...] = EVERY if procedure == "all" else (procedure,)
    if procedure == "all" and not calibration.has_reference:
        todo = tuple(name for name in todo if name not in NEED_REFERENCE)
        out.print(f"{bench.device.name} has no reference arm: {', '.join(NEED_REFERENCE)} are left out.")
    refused = False
    for name in todo:
        if procedure == "all" and resume and calibration.done(name):
            out.print(f"{name}: there already.")
            continue
        try:
            with _Bar(name) as tell:
                records = calibration.run(name, tell)
        except KeyboardInterrupt:
            going_on = " --resume goes on where it stopped." if name == "tm" or procedure == "all" else ""
            _end(f"Interrupted; what was whole is stored.{going_on}", EXIT_INTERRUPTED)
        except ValueError as error:
            if procedure != "all":
                raise
            # What the other procedures find is worth having.
            _say(f"opusim calibrate: {name}: {_sentence(error)}")
            refused = True
            continue
        for key, record in records.items():
            print_rows(key, summary(record, bench.device))
    written = target if procedure != "tm" else target.with_name(f"{target.stem}.tm{target.suffix}")
    out.print(f"File: {written}", markup=False, soft_wrap=True)
    if refused:
        raise typer.Exit(EXIT_ERROR)


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
        self._bar.start()
        return lambda done, total: self._bar.update(self._task, completed=done, total=total, description=self._then)


def _region(text: str) -> tuple[int, int, int, int] | None:
    if not text:
        return None
    parts = re.fullmatch(r"(\d+),(\d+),([1-9]\d*),([1-9]\d*)", text.replace(" ", ""))
    if parts is None:
        raise ValueError(f"--roi is {text!r}, but it must be row,column,rows,columns as in 512,956,64,128.")
    row, column, n_rows, n_columns = (int(part) for part in parts.groups())
    return row, column, n_rows, n_columns


def _inputs(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    parts = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if parts is None:
        raise ValueError(f"--inputs is {text!r}, but it must be a number, or rows and columns as in 16x16.")
    return int(parts[1]) if parts[2] is None else (int(parts[1]), int(parts[2]))
