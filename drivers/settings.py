"""The device's configuration as the driver sees it: a dict shaped as the JSON file of a real device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opusim.base import validation
from opusim.base.parameters import near_matches
from opusim.base.plain_files import parse_json, read_text
from opusim.bench.region import LightonmlRoi, checked_lightonml_roi

from .types import Tuple2D

OPU_TYPES = ("type1", "type2", "type3")


@dataclass(frozen=True)
class Settings:
    """What the driver takes from the configuration.

    Parameters
    ----------
    frametime_us, exposure_us : int
        Frame time and exposure that a fit starts from, in microseconds.
    ones_range : tuple of int
        Fewest and most mirrors on that give a good signal.
    n_samples_by_pass : int
        Vectors that go to the device at a time.
    minimum_output_size : int
        Fewest pixels that are read.
    allowed_roi : tuple or None
        ((x, y), (width, height)) of the pixels that may be read.
    no_single_transform : bool
        Whether the device has no online mode.
    stdev : float
        Standard deviation that the linear transform divides by.
    exclusive : bool
        Whether only one process at a time may open the device.
    """

    frametime_us: int
    exposure_us: int
    ones_range: tuple[int, int]
    n_samples_by_pass: int = 3000
    minimum_output_size: int = 0
    allowed_roi: LightonmlRoi | None = None
    no_single_transform: bool = False
    stdev: float = 1.0
    exclusive: bool = False


def default_config(device: Any) -> dict[str, Any]:
    """Return the configuration of a simulated device.

    Parameters
    ----------
    device : Device
        The device.

    Returns
    -------
    dict
        Shaped as lightonml's JSON files.

    Notes
    -----
    `minimum_batch_size`, `n_transform_tries`, `sequence_nb_prelim` and `detect_trigger_issue` are there because
    programs read them. They change nothing: no trigger gets lost here, and nothing fails that a second try would mend.
    """
    operation = device.operation
    return {
        "type": operation.opu_type,
        "name": device.name,
        "version": str(device.version),
        "location": "simulated",
        "core_type": device.medium.kind,
        "core_version": "NA",
        "input": {"frametime_us": max(1, round(operation.frametime_s * 1e6)), "minimum_batch_size": 0},
        "output": {
            "exposure_us": max(1, round(operation.exposure_s * 1e6)),
            "allowed_roi": None,
            "minimum_output_size": operation.minimum_output_size,
            "stdev": 1.0,
        },
        "ones_range": list(operation.ones_range),
        "n_samples_by_pass": 3000,
        "n_transform_tries": 5,
        "sequence_nb_prelim": 0,
        "detect_trigger_issue": False,
        "no_single_transform": False,
        "exclusive": False,
    }


def read_config(path: str | Path, *, name: str = "config_file") -> dict[str, Any]:
    """Read a configuration from a JSON file.

    Parameters
    ----------
    path : str or Path
        The file.
    name : str
        What the path was given as, for messages.

    Raises
    ------
    ValueError
        If the file cannot be read or holds something else.
    """
    if not isinstance(path, (str, Path)):
        raise TypeError(f"{name} is {path!r} ({type(path).__name__}), but it must be the path of a JSON file.")
    try:
        content = parse_json(read_text(Path(path).expanduser()))
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} is {str(path)!r}, but it cannot be read as JSON ({error}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"{name} is {str(path)!r}, but it must hold a JSON object, not {type(content).__name__}.")
    return content


def update_config(config: dict[str, Any], change: Any, *, name: str, strict: bool, prefix: str = "") -> None:
    """Change a configuration in place, table by table.

    Parameters
    ----------
    config : dict
        What is changed.
    change : mapping
        What it is changed to.
    name : str
        Where the change comes from, for messages.
    strict : bool
        Whether unknown keys are an error. Files of real devices hold keys that only their own driver reads:
        those are kept and do nothing.
    prefix : str
        Path of the table, for messages.

    Raises
    ------
    TypeError, ValueError
        If the change is no mapping, or names a key that does not exist.
    """
    if not isinstance(change, Mapping):
        raise TypeError(f"{name}{' ' + prefix if prefix else ''} is {change!r}, but it must be a dict.")
    for key, value in change.items():
        if strict and key not in config:
            hint = near_matches(str(key), config, before="", after="; ")
            known = ", ".join(map(repr, config))
            raise ValueError(f"{name} has an unknown key {prefix + str(key)!r}; {hint}known are {known}.")
        if isinstance(config.get(key), dict):
            update_config(config[key], value, name=name, strict=strict, prefix=f"{prefix}{key}.")
        else:
            config[key] = value


def check_config(config: Mapping[str, Any], input_size: int, output_shape: Tuple2D) -> Settings:
    """Return the settings of a configuration after checking each value.

    Parameters
    ----------
    config : mapping
        The configuration.
    input_size : int
        Number of mirrors.
    output_shape : tuple of int
        Sensor as (width, height).

    Raises
    ------
    TypeError, ValueError
        If a value is not what it may be, or one is not there.
    """
    validation.choice("type", entry(config, "type"), OPU_TYPES)
    ones = entry(config, "ones_range")
    frametime_us, exposure_us = entry(config, "input.frametime_us"), entry(config, "output.exposure_us")
    table_out = entry(config, "output")
    if not isinstance(ones, (list, tuple)) or len(ones) != 2:
        raise ValueError(f"ones_range is {ones!r}, but it must be two whole numbers [fewest, most].")
    fewest = validation.integer("ones_range[0]", ones[0], low=0, high=input_size - 1)
    most = validation.integer("ones_range[1]", ones[1], low=fewest + 1, high=input_size)
    roi = table_out.get("allowed_roi")
    return Settings(
        frametime_us=microseconds("input.frametime_us", frametime_us),
        exposure_us=microseconds("output.exposure_us", exposure_us),
        ones_range=(fewest, most),
        n_samples_by_pass=validation.integer("n_samples_by_pass", config.get("n_samples_by_pass", 3000), low=1),
        minimum_output_size=validation.integer(
            "output.minimum_output_size", table_out.get("minimum_output_size", 0), low=0
        ),
        allowed_roi=None if roi is None else checked_lightonml_roi("output.allowed_roi", roi, output_shape),
        no_single_transform=validation.flag("no_single_transform", config.get("no_single_transform", False)),
        stdev=validation.number("output.stdev", table_out.get("stdev", 1.0), low=0.0, high=1e12, low_open=True),
        exclusive=validation.flag("exclusive", config.get("exclusive", False)),
    )


def entry(config: Mapping[str, Any], path: str) -> Any:
    """Return a value of a configuration that must have it.

    Parameters
    ----------
    config : mapping
        The configuration.
    path : str
        Its key, with that of its table before it: "output.exposure_us".

    Raises
    ------
    TypeError
        If what should be its table is none.
    ValueError
        If it is not there.
    """
    found: Any = config
    done = ""
    for key in path.split("."):
        if not isinstance(found, Mapping):
            raise TypeError(f"{done} of the configuration is {found!r}, but it must be a dict.")
        done = f"{done}.{key}".lstrip(".")
        if key not in found:
            raise ValueError(f"The configuration has no {done!r}, but it must have one.")
        found = found[key]
    return found


def microseconds(name: str, value: Any) -> int:
    """Return a time in whole microseconds, cut to an integer as the real driver does.

    Raises
    ------
    TypeError, ValueError
        If it is no number, below 1 or above an hour.
    """
    return int(validation.number(name, value, low=1.0, high=3.6e9))


def whole_microseconds(time_s: float) -> int:
    """Return a time in seconds as whole microseconds, rounded up."""
    # Less a part in a billion: a readout of 8.000000000001 us is one of 8.
    return math.ceil(time_s * 1e6 * (1 - 1e-9))
