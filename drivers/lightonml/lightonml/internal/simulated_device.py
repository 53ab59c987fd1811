"""lightonml's own simulator: a stored random matrix, no noise."""

from opusim.drivers.compat.simulated_device import SimulatedOpuDevice

__all__ = ["SimulatedOpuDevice"]
