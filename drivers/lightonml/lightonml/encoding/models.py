"""Encoders that are trained, for PyTorch."""

from opusim.encoding.models import *  # noqa: F403
from opusim.encoding.models import __all__  # noqa: F401
