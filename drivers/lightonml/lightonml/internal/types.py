"""Names of choices and of types."""

from typing import Any, Union

import numpy as np

from opusim.bench.region import LightonmlRoi as Roi
from opusim.drivers.context import ContextArray
from opusim.drivers.types import AcqState, FeaturesFormat, InputRoiStrategy, OutputRoiStrategy, Tuple2D

IntList = Union[list[int], np.ndarray]  # noqa: UP007
IntOrTuple = Union[int, tuple[int, ...]]  # noqa: UP007
# A tensor, where the input was one.
TransformOutput = Union[ContextArray, Any]  # noqa: UP007

__all__ = [
    "AcqState",
    "ContextArray",
    "FeaturesFormat",
    "InputRoiStrategy",
    "IntList",
    "IntOrTuple",
    "OutputRoiStrategy",
    "Roi",
    "TransformOutput",
    "Tuple2D",
]
