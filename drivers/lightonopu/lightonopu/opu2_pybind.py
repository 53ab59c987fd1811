"""Binding of a device of type 2."""

from __future__ import annotations

from ._binding import Binding

__all__ = ["OPU"]


class OPU(Binding):
    """A closed device of type 2."""

    opu_type = "type2"
