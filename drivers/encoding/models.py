"""Trainable encoders under the name that a driver's user knows; `opusim.encoding.models` has them, and needs torch."""

from opusim.encoding.models import *  # noqa: F403
from opusim.encoding.models import __all__ as __all__
