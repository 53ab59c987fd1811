"""Settings of the module ``lightonml``: folder of data sets, and how much is logged.

Messages of levels 2 and 3 go to the logger "lightonml" of Python's `logging`, and from there to stderr.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from opusim.drivers.compat.opu import get_verbose_level, set_verbose_level

__all__ = [
    "get_debug_fn",
    "get_ml_data_dir",
    "get_print_fn",
    "get_trace_fn",
    "get_verbose_level",
    "set_ml_data_dir",
    "set_verbose_level",
]

_LOGGER = logging.getLogger("lightonml")
_TRACE = logging.DEBUG - 5  # below DEBUG: Python's logging has no level of that name
_PRINT_LEVEL, _DEBUG_LEVEL, _TRACE_LEVEL = 1, 2, 3

_settings: dict[str, Any] = {"ml_data_dir": ""}


def get_ml_data_dir() -> Any:
    """Return the folder of data sets that was set, or an empty string."""
    return _settings["ml_data_dir"]


def set_ml_data_dir(value: Any) -> None:
    """Set the folder of data sets.

    Parameters
    ----------
    value : str or pathlib.Path
        The folder; an empty string for none. The environment variable ``LIGHTONML_DATA_DIR`` is stronger,
        configuration files are weaker.
    """
    _settings["ml_data_dir"] = value


def get_print_fn() -> Callable[..., Any]:
    """Return `print`, or at level 0 a function that does nothing."""
    return print if get_verbose_level() >= _PRINT_LEVEL else _nothing


def get_debug_fn() -> Callable[..., Any]:
    """Return a function that logs a message, or below level 2 one that does nothing."""
    return _log_fn(_DEBUG_LEVEL, logging.DEBUG)


def get_trace_fn() -> Callable[..., Any]:
    """Return a function that logs a message, or below level 3 one that does nothing."""
    return _log_fn(_TRACE_LEVEL, _TRACE)


def _log_fn(threshold: int, level: int) -> Callable[..., Any]:
    if get_verbose_level() < threshold:
        return _nothing
    if not _LOGGER.handlers:  # asked for by the level: without a handler Python shows warnings only
        _LOGGER.addHandler(logging.StreamHandler())
    if _LOGGER.level == logging.NOTSET or _LOGGER.level > level:
        _LOGGER.setLevel(level)

    def log(message: Any, *args: Any) -> None:
        _LOGGER.log(level, str(message), *args)

    return log


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """Take anything, do nothing."""
