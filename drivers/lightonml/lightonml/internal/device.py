"""The low-level device, where versions before 1.4.2 had it."""

from lightonopu.internal.device import AcqState, OpuAlreadyUsedException, OpuDevice

__all__ = ["AcqState", "OpuAlreadyUsedException", "OpuDevice"]
