"""Names of choices, under their first names too."""

from opusim.drivers.types import AcqState, FeaturesFormat, InputRoiStrategy, OutputRoiStrategy

DmdRoiStrategy = InputRoiStrategy

__all__ = ["AcqState", "DmdRoiStrategy", "FeaturesFormat", "InputRoiStrategy", "OutputRoiStrategy"]
