"""What limits an output: the budget of its error, source by source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from .levels import NoiseBudget as NoiseBudget
    from .levels import NoiseTerm as NoiseTerm
    from .levels import dark_level_dn as dark_level_dn
    from .levels import error_budget as error_budget
    from .levels import level_distribution as level_distribution
    from .levels import noise_at_level as noise_at_level
    from .levels import noise_terms as noise_terms

# name -> module of this package that it comes from
_LAZY = {
    "NoiseBudget": ".levels",
    "NoiseTerm": ".levels",
    "dark_level_dn": ".levels",
    "error_budget": ".levels",
    "level_distribution": ".levels",
    "noise_at_level": ".levels",
    "noise_terms": ".levels",
}

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
