"""Encoders and decoders."""

from opusim.drivers.encoding.base import *  # noqa: F403
from opusim.drivers.encoding.base import __all__  # noqa: F401
