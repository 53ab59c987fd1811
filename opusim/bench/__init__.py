"""A device on the table: patterns in, counts out, and the time that goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from opusim.base.progress import long_work_shown as long_work_shown

    from .bench import FRAME_OVERHEAD_S as FRAME_OVERHEAD_S
    from .bench import OpticalBench as OpticalBench
    from .frames import BenchClock as BenchClock
    from .plan import Plan as Plan
    from .planes import Planes as Planes
    from .protocol import FramesLost as FramesLost

# name -> module of this package that it comes from
_LAZY = {
    "BenchClock": ".frames",
    "FRAME_OVERHEAD_S": ".bench",
    "FramesLost": ".protocol",
    "OpticalBench": ".bench",
    "Plan": ".plan",
    "Planes": ".planes",
    "long_work_shown": "opusim.base.progress",
}

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
