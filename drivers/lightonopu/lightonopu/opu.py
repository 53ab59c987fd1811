"""The OPU of programs from before lightonml had one."""

from opusim.drivers.compat import OPU

__all__ = ["OPU"]
