"""What was measured, in words: times and phases in the units that suit them."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["duration", "micro", "radians"]


def micro(time_s: float) -> str:
    """Say a short time in microseconds."""
    return f"{1e6 * time_s:.4g} µs"


def radians(phases: np.ndarray) -> str:
    """Say phases, each with three digits; none as a minus zero."""
    return ", ".join(f"{phase:z.3f}" for phase in phases) + " rad"


def duration(time_s: float) -> str:
    """Say a time in the unit that suits it."""
    if math.isinf(time_s):
        return "never"
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if time_s >= 2 * size:
            return f"{time_s / size:.3g} {unit}"
    return f"{time_s:.3g} s"
