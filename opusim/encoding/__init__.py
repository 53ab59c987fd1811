"""Encoders, which make bits of data, and decoders, which put results of bit planes together again.

The names, arguments and results are those of ``lightonml.encoding``. All of them take and return numpy
arrays or torch tensors. `opusim.encoding.models` holds trainable encoders and needs torch.
"""

from __future__ import annotations

from .base import *  # noqa: F403
from .base import __all__ as __all__
