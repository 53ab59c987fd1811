"""The multiple-scattering medium: one base, a file for each kind."""

from .base import EntryMedium, Medium, WaveMedium, decorrelation_time, transmission
from .drift import Drift, StateSequence
from .fourier_lens import FourierLensMedium
from .gaussian import GaussianMedium
from .grid import ModeGrid
from .measured import MeasuredMedium
from .phase_screens import PhaseScreenMedium

__all__ = [
    "Drift",
    "EntryMedium",
    "FourierLensMedium",
    "GaussianMedium",
    "MeasuredMedium",
    "Medium",
    "ModeGrid",
    "PhaseScreenMedium",
    "StateSequence",
    "WaveMedium",
    "decorrelation_time",
    "transmission",
]
