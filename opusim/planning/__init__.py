"""What a transform would need: memory, time and traffic, before it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from .costs import Costs as Costs
    from .costs import Memory as Memory
    from .costs import ScalePlan as ScalePlan
    from .costs import Workload as Workload
    from .costs import plan_scale as plan_scale
    from .rates import Rates as Rates
    from .rates import RateStore as RateStore
    from .rates import planner_rates as planner_rates

# name -> module of this package that it comes from
_LAZY = {
    "Costs": ".costs",
    "Memory": ".costs",
    "RateStore": ".rates",
    "Rates": ".rates",
    "ScalePlan": ".costs",
    "Workload": ".costs",
    "plan_scale": ".costs",
    "planner_rates": ".rates",
}

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
