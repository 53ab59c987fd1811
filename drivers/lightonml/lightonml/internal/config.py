"""The configuration of the simulated device, where programs look for that of a real one."""

from collections.abc import Callable
from typing import Any

from opusim.drivers.compat import environment
from opusim.drivers.settings import read_config


def get_config_from(config_location: str, trace_fn: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """Read a device's json.

    Parameters
    ----------
    config_location : str
        Path of the file.
    trace_fn : callable, optional
        Told what is read.
    """
    if trace_fn is not None:
        trace_fn(f"loading config from {config_location}")
    return read_config(config_location)


def load_config(override_location: str = "", trace_fn: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """Return the configuration of the device: from a file, or else of the one that is simulated."""
    if override_location:
        return get_config_from(override_location, trace_fn)
    return environment.selected().config


def host_has_opu_config() -> bool:
    """Say that this machine has a device."""
    return True


def get_host_option(key: str, default: Any = None) -> Any:
    """Return an entry of host.json."""
    return read_config(environment.host_file()).get(key, default)


def opu_version(config_d: dict[str, Any]) -> str:
    """Return name, version and place of a configured device in a line."""
    name, version, place, kind, core = (
        config_d.get(key, "NA") for key in ("name", "version", "location", "core_type", "core_version")
    )
    return f"OPU {name}-{version}-{place}; core type {kind}, core version {core}"
