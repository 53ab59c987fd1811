"""Drivers: the `OPU` class that programs use, and the low-level device below it."""

from __future__ import annotations

from .context import Context, ContextArray
from .device import OpuDevice
from .errors import InputTypeError, NotReadyError, TooManyComponentsError
from .opu import OPU
from .standin import install
from .types import AcqState, FeaturesFormat, InputRoiStrategy, OutputRescaling, OutputRoiStrategy

__all__ = [
    "OPU",
    "AcqState",
    "Context",
    "ContextArray",
    "FeaturesFormat",
    "InputRoiStrategy",
    "InputTypeError",
    "NotReadyError",
    "OpuDevice",
    "OutputRescaling",
    "OutputRoiStrategy",
    "TooManyComponentsError",
    "install",
]
