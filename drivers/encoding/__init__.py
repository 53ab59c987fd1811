"""Encoders and decoders under the name that a driver's user knows; `opusim.encoding` has them."""

from opusim.encoding import *  # noqa: F403
from opusim.encoding import __all__ as __all__
