"""The hardware driver of LightOn's OPU, with opusim's simulated device behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opusim.drivers.compat.opu import OPU as OPU

__version__ = "1.4.3+opusim"
__opusim__ = True

__all__ = ["OPU", "__version__"]


def __getattr__(name: str) -> Any:
    """Load `OPU` when it is asked for: lightonml imports this package while it is being imported itself."""
    if name == "OPU":
        from opusim.drivers.compat.opu import OPU

        return OPU
    raise AttributeError(f"module 'lightonopu' has no attribute {name!r}")
