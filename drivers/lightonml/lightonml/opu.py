"""The class `OPU`."""

from opusim.drivers.compat import OPU

__all__ = ["OPU"]
