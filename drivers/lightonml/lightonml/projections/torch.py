"""The OPU as a module of PyTorch."""

from opusim.drivers.projections.torch import LightonOPUMap

__all__ = ["OPUMap"]


# The class bears its own name here: networks show their layers by it.
class OPUMap(LightonOPUMap):
    """`LightonOPUMap` of `opusim.drivers.projections.torch`, where its parameters are described."""
