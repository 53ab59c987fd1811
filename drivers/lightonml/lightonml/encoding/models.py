"""Encoders that are trained, for PyTorch."""

from opusim.drivers.encoding.models import *  # noqa: F403
from opusim.drivers.encoding.models import __all__  # noqa: F401
