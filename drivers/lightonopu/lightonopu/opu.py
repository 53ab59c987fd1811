"""The OPU of programs from before lightonml had one."""

from opusim.drivers.compat.opu import OPU

__all__ = ["OPU"]
