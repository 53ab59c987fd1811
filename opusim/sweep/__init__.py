"""Sweeps: a task repeated over parameters of a device and over seeds, in one file that a killed run goes on with.

>>> from opusim import OPU
>>> from opusim.sweep import KernelRidge, Sweep
>>> def make_opu(device, n_components, seed):
...     return OPU(n_components, device=device, seed=seed, disable_pbar=True)
>>> sweep = Sweep(KernelRidge("digits"), make_opu, {"camera.read_noise_e": [0, 50]}, n_components=500, seeds=1)
>>> result = sweep.run()
>>> result.values("accuracy").shape
(2, 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim._lazy import lazy_names

if TYPE_CHECKING:
    from opusim.sweep.figure import sweep_curves as sweep_curves
    from opusim.sweep.figure import sweep_figure as sweep_figure
    from opusim.sweep.figure import sweep_map as sweep_map
    from opusim.sweep.file import read_sweep as read_sweep
    from opusim.sweep.result import Outcome as Outcome
    from opusim.sweep.result import SweepResult as SweepResult
    from opusim.sweep.result import falls_at as falls_at
    from opusim.sweep.sweep import Sweep as Sweep
    from opusim.sweep.tasks import DfaAccuracy as DfaAccuracy
    from opusim.sweep.tasks import FunctionTask as FunctionTask
    from opusim.sweep.tasks import KernelRidge as KernelRidge
    from opusim.sweep.tasks import SketchError as SketchError

# name -> module of this package that it comes from
_LAZY = {
    "DfaAccuracy": ".tasks",
    "FunctionTask": ".tasks",
    "KernelRidge": ".tasks",
    "Outcome": ".result",
    "SketchError": ".tasks",
    "Sweep": ".sweep",
    "SweepResult": ".result",
    "falls_at": ".result",
    "read_sweep": ".file",
    "sweep_curves": ".figure",
    "sweep_figure": ".figure",
    "sweep_map": ".figure",
}

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
