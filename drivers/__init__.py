"""Drivers: the `OPU` class that programs use, and the low-level device below it."""

from __future__ import annotations

from opusim.base.errors import InputTypeError, NotReadyError, TooManyComponentsError
from opusim.drivers.compat.standin import install
from opusim.drivers.lowlevel.device import OpuDevice

from .context import Context, ContextArray
from .opu import OPU
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
