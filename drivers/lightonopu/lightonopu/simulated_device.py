"""lightonml's simulator of a device, where programs from before lightonml had it looked for it."""

from opusim.drivers.compat.simulated_device import SimulatedOpuDevice

__all__ = ["SimulatedOpuDevice"]
