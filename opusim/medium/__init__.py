"""The multiple-scattering medium: one protocol, three kinds."""

from opusim.medium.base import Drift, Medium, ModeGrid
from opusim.medium.gaussian import GaussianMedium
from opusim.medium.measured import MeasuredMedium
from opusim.medium.phase_screens import PhaseScreenMedium

__all__ = ["Drift", "GaussianMedium", "MeasuredMedium", "Medium", "ModeGrid", "PhaseScreenMedium"]
