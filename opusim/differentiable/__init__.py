"""The mean output of a device as a torch module, with gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from .output import ExpectedOutput as ExpectedOutput

# name -> module of this package that it comes from
_LAZY = {
    "ExpectedOutput": ".output",
}

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
