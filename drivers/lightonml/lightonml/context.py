"""What a transform was made with, and the array that carries it."""

from opusim.drivers.context import Context, ContextArray, from_epoch

__all__ = ["Context", "ContextArray", "from_epoch"]
