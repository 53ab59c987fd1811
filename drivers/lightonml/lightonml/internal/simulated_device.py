"""lightonml's own simulator: a stored random matrix, no noise."""

from opusim.drivers.simulated_device import SimulatedOpuDevice

__all__ = ["SimulatedOpuDevice"]
