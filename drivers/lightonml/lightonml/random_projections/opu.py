"""`OPUMap`, and the name that it had first."""

from opusim.drivers.compat.random_mapping import OPURandomMapping

from ..projections.sklearn import OPUMap

__all__ = ["OPUMap", "OPURandomMapping"]
