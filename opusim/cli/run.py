"""The command ``opusim run``."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Annotated

import typer

from .app import _load_device, command


# What follows the program's name belongs to the program. `-m` is left to us: click would read on behind its value.
@command("run", order=24, ignore_unknown_options=True, allow_interspersed_args=False)
def run(
    program: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROGRAM | -m MODULE",
            help="A program, or a module by its name, and then what it is called with: all of it is the program's.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", "-d", help="Preset, TOML file, or json shaped as a real device's.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", "-s", help="Seed of the medium, the sensor and the noise.", show_default=False),
    ] = None,
) -> None:
    """Run a program that was written for the real device: lightonopu, lightonml and ALP4 are there for it."""
    arguments = list(program or [])
    first = arguments[0] if arguments else ""
    if first == "-m" and len(arguments) == 1:
        raise ValueError("-m is given without the name of a module.")
    if not first:
        raise ValueError("No program is given: opusim run program.py [arguments], or opusim run -m module [arguments].")
    if first.startswith("-") and first not in ("-m", "-"):
        raise ValueError(f"{first} is no option of opusim run; options of the program come after its name.")
    if not first.startswith("-") and not Path(first).exists():
        raise FileNotFoundError(f"There is no program {first}.")
    if seed is not None and seed < 0:
        raise ValueError(f"--seed is {seed}, but it must be 0 or more.")
    if device is not None:
        device = _check_device(device)

    from opusim.drivers.compat import environment, standin

    # Python puts a program's own folder first on its path, or for a module the working folder.
    path = Path(first).resolve()
    folder = None if first.startswith("-") else str(path if path.is_dir() else path.parent)
    used = standin.stand_in_folders(folder)
    for told in (used.problem, standin.other_alp4(folder or os.getcwd())):
        if told:
            warnings.warn(told, stacklevel=2)
    # What the variables say is told now, not when the program has run for an hour.
    if device is None:
        environment.selected()
    standin.start_program(arguments, standin.environment_for(used, os.environ, device=device, seed=seed))


def _check_device(spec: str) -> str:
    """Check what --device names; return it so that it means the same in another folder."""
    from opusim.base.plain_files import parse_json, read_text
    from opusim.device.record import Device

    if not spec.endswith(".json"):
        _load_device(Device, spec)
        return str(Path(spec).expanduser().resolve()) if spec.endswith(".toml") or "/" in spec else spec
    path = Path(spec).expanduser()
    try:
        content = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"--device is {spec}, but it cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"--device is {spec}, but it must hold a JSON object, not {type(content).__name__}.")
    return str(path.resolve())
