"""The class `OPU`."""

from opusim.drivers.compat.opu import OPU

__all__ = ["OPU"]
