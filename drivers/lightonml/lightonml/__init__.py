"""lightonml under its own names, on the simulated device: names of version 1.4.3 and of those before it."""

from ._state import (
    get_debug_fn,
    get_ml_data_dir,
    get_print_fn,
    get_trace_fn,
    get_verbose_level,
    set_ml_data_dir,
    set_verbose_level,
)
from .opu import OPU

__opusim__ = True
__version__ = "1.4.3+opusim"

__all__ = [
    "OPU",
    "get_debug_fn",
    "get_ml_data_dir",
    "get_print_fn",
    "get_trace_fn",
    "get_verbose_level",
    "set_ml_data_dir",
    "set_verbose_level",
]
