"""The multiple-scattering medium: one protocol, three kinds."""

from .base import Drift, Medium, ModeGrid
from .gaussian import GaussianMedium
from .measured import MeasuredMedium
from .phase_screens import PhaseScreenMedium

__all__ = ["Drift", "GaussianMedium", "MeasuredMedium", "Medium", "ModeGrid", "PhaseScreenMedium"]
