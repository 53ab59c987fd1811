"""The OPU as a transformer of scikit-learn."""

from opusim.drivers.projections.sklearn import LightonOPUMap

__all__ = ["OPUMap"]


# The class bears its own name here: pipelines call their steps by it.
class OPUMap(LightonOPUMap):
    """`LightonOPUMap` of `opusim.drivers.projections.sklearn`, where its parameters are described."""
