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

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from opusim.plotting.sweep import sweep_curves as sweep_curves
    from opusim.plotting.sweep import sweep_figure as sweep_figure
    from opusim.plotting.sweep import sweep_map as sweep_map
    from opusim.tasks.function import FunctionTask as FunctionTask
    from opusim.tasks.images import KernelRidge as KernelRidge
    from opusim.tasks.projected_errors import DfaAccuracy as DfaAccuracy
    from opusim.tasks.sketch import SketchError as SketchError

    from .file import read_sweep as read_sweep
    from .merge import merge_sweeps as merge_sweeps
    from .result import Outcome as Outcome
    from .result import SweepResult as SweepResult
    from .result import falls_at as falls_at
    from .sweep import Sweep as Sweep

# name -> module of this package that it comes from
_LAZY = {
    "DfaAccuracy": "opusim.tasks.projected_errors",
    "FunctionTask": "opusim.tasks.function",
    "KernelRidge": "opusim.tasks.images",
    "Outcome": ".result",
    "SketchError": "opusim.tasks.sketch",
    "Sweep": ".sweep",
    "SweepResult": ".result",
    "falls_at": ".result",
    "merge_sweeps": ".merge",
    "read_sweep": ".file",
    "sweep_curves": "opusim.plotting.sweep",
    "sweep_figure": "opusim.plotting.sweep",
    "sweep_map": "opusim.plotting.sweep",
}

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
