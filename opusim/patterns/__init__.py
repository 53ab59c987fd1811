"""How features lie on the mirrors, how they are read from packed bits, and holograms for a stop behind the mirrors.

>>> import numpy as np
>>> from opusim.patterns import lee, lee_stop
>>> lee(np.exp(0.5j * np.pi * np.ones((4, 8))), (0.0, 0.25))[0]
array([0, 0, 1, 1, 0, 0, 1, 1], dtype=uint8)
>>> lee_stop((0.0, 0.25))
{'fourier_stop.diameter_cycles': 0.25, 'fourier_stop.centre_cycles': (0.0, 0.25)}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from .holograms import lee as lee
    from .holograms import lee_stop as lee_stop
    from .holograms import superpixel as superpixel
    from .holograms import superpixel_stop as superpixel_stop

# name -> module of this package that it comes from
_LAZY = dict.fromkeys(("lee", "lee_stop", "superpixel", "superpixel_stop"), ".holograms")

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
