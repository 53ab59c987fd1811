"""opusim: an optical processing unit, simulated from wave optics and sensor physics.

Light goes one way: laser, digital micromirror device, scattering medium, camera. The
driver in front of it answers to the calls that programs for the real device make::

    import numpy as np
    from opusim import OPU

    bits = np.random.default_rng(0).integers(0, 2, (100, 784), dtype=np.uint8)
    with OPU(n_components=1000) as opu:
        counts = opu.fit_transform1d(bits)  # uint8 camera counts, shape (100, 1000)

Names of this package are loaded when they are first asked for, so that
``import opusim`` costs next to nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opusim.bench.bench import OpticalBench as OpticalBench
    from opusim.device.camera import Camera as Camera
    from opusim.device.dmd import Dmd as Dmd
    from opusim.device.fourier_stop import FourierStop as FourierStop
    from opusim.device.laser import Laser as Laser
    from opusim.device.optics import Optics as Optics
    from opusim.device.record import Device as Device
    from opusim.device.reference import Reference as Reference
    from opusim.drivers import OPU as OPU

    __version__: str

# In a clone `drivers` and `calibration` stand beside this folder; installed, they are inside it. Python that starts in
# a clone finds this file there, whatever is installed, so the file itself says where the two are. Only those: with the
# whole clone on `__path__` the package would hold itself, and its tests.
_CLONE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class _InTheClone:
    """Finds `opusim.drivers` and `opusim.calibration` in a clone."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name in ("opusim.drivers", "opusim.calibration"):
            return PathFinder.find_spec(name, [_CLONE], target)
        return None


if os.path.isfile(os.path.join(_CLONE, "drivers", "__init__.py")):
    if not os.path.isdir(os.path.join(__path__[0], "drivers")):
        sys.meta_path.append(_InTheClone)

# name -> module it comes from; `None` for the name means the module itself.
_LAZY = {
    "OPU": "opusim.drivers",
    "Device": "opusim.device.record",
    "OpticalBench": "opusim.bench",
    "Laser": "opusim.device.laser",
    "Dmd": "opusim.device.dmd",
    "Reference": "opusim.device.reference",
    "Optics": "opusim.device.optics",
    "Camera": "opusim.device.camera",
    "FourierStop": "opusim.device.fourier_stop",
}
_MODULES = ("calibration", "datasets", "dfa", "drivers", "patterns", "plotting", "sweep")

__all__ = [
    "Camera", "Device", "Dmd", "FourierStop", "Laser", "OPU", "OpticalBench", "Optics", "Reference", "__version__",
    *_MODULES,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    value: Any
    if name == "__version__":
        try:
            value = importlib.import_module("opusim._version").__version__
        except ModuleNotFoundError:  # which a build writes, that of an editable install too
            from importlib import metadata

            try:
                value = metadata.version("opusim")
            except metadata.PackageNotFoundError:
                value = "0+unknown"
    elif name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"opusim.{name}")
    else:
        raise AttributeError(f"module 'opusim' has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
