"""Figures. They leave pyplot, and whatever is open there, alone.

Each function takes arrays, or the result of what made them, and axes to draw on, and returns the axes::

    from opusim import OpticalBench, plotting

    planes = OpticalBench("aurora").inspect(mirrors, roi=(500, 0, 64, 128))
    ax = plotting.speckle(planes)
    plotting.save(ax.figure, "speckle.png")

Without axes a figure of its own is made, in the style `STYLE`. In a notebook, figures are shown that pyplot has made::

    plt.rcParams.update(plotting.STYLE)
    fig, ax = plt.subplots()
    plotting.speckle(planes, ax)

Nothing is told by colour alone: brightness, dashes, markers and hatches tell it too. Names are loaded when they are
first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from .camera import photon_transfer as photon_transfer
    from .demo import demo_figure as demo_figure
    from .matrices import singular_values as singular_values
    from .matrices import transmission_matrix as transmission_matrix
    from .noise import noise_budget as noise_budget
    from .planes import field as field
    from .planes import histogram as histogram
    from .planes import mirrors as mirrors
    from .planes import speckle as speckle
    from .style import ACCENT as ACCENT
    from .style import INK as INK
    from .style import SOFT as SOFT
    from .style import STYLE as STYLE
    from .style import counted as counted
    from .style import save as save
    from .sweep import sweep_curves as sweep_curves
    from .sweep import sweep_map as sweep_map

# name -> module it comes from
_LAZY = {
    "ACCENT": "opusim.plotting.style",
    "INK": "opusim.plotting.style",
    "SOFT": "opusim.plotting.style",
    "STYLE": "opusim.plotting.style",
    "counted": "opusim.plotting.style",
    "demo_figure": "opusim.plotting.demo",
    "field": "opusim.plotting.planes",
    "histogram": "opusim.plotting.planes",
    "mirrors": "opusim.plotting.planes",
    "noise_budget": "opusim.plotting.noise",
    "photon_transfer": "opusim.plotting.camera",
    "save": "opusim.plotting.style",
    "singular_values": "opusim.plotting.matrices",
    "speckle": "opusim.plotting.planes",
    "sweep_curves": "opusim.plotting.sweep",
    "sweep_map": "opusim.plotting.sweep",
    "transmission_matrix": "opusim.plotting.matrices",
}

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
