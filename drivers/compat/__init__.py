"""The names, calls and devices of lightonml and lightonopu, for programs that were written for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from .opu import OPU as OPU
    from .opu import get_verbose_level as get_verbose_level
    from .opu import set_verbose_level as set_verbose_level

# name -> module of this package that it comes from
_LAZY = {"OPU": ".opu", "get_verbose_level": ".opu", "set_verbose_level": ".opu"}

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
