"""Encoders and decoders."""

from opusim.encoding.base import *  # noqa: F403
from opusim.encoding.base import __all__  # noqa: F401
