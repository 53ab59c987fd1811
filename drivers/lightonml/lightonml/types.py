"""Names of choices; those before 1.4 had all of them here."""

from opusim.bench.region import LightonmlRoi as Roi
from opusim.drivers.types import (
    AcqState,
    FeaturesFormat,
    InputRoiStrategy,
    OutputRescaling,
    OutputRoiStrategy,
    Tuple2D,
)

from .internal.types import IntList, IntOrTuple, TransformOutput

__all__ = [
    "AcqState",
    "FeaturesFormat",
    "InputRoiStrategy",
    "IntList",
    "IntOrTuple",
    "OutputRescaling",
    "OutputRoiStrategy",
    "Roi",
    "TransformOutput",
    "Tuple2D",
]
