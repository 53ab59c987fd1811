"""What flicker of a phase modulator does to the speckle of one pattern, in closed form.

Phases that are even over R turns, all multiplied by 1 + n in a frame: the fields of two frames correlate as the mean of
exp(i phase d), d the difference of their n, which is exp(i pi R d) sinc(R d). What no level turns, a share u of the
light, stays: the correlation is (1 - u) exp(i pi R d) sinc(R d) + u. Intensities of Gaussian fields correlate as the
square of its modulus (Siegert's relation; Goodman, Speckle Phenomena, 2nd ed., section 3.3). The flicker of a frame is
that over `Device.averaged_s` of its exposure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from opusim.device.modulator import Modulator

__all__ = ["between_frames", "with_target"]

_POINTS = 40  # of Gauss and Hermite's quadrature over the flicker of a frame


def between_frames(modulator: Modulator, averaged_s: float) -> float:
    """Return the mean correlation of the intensities of two frames of one pattern; 1 where nothing flickers."""
    from opusim.device.slm import PhaseSlm

    if not isinstance(modulator, PhaseSlm) or not modulator.moves:
        return 1.0
    # The difference of two frames has twice the variance of one.
    d, weight = _normal(np.sqrt(2) * modulator.range_turns * modulator.flicker_in(averaged_s))
    share = modulator.unmodulated_share
    fields = (1 - share) * np.exp(1j * np.pi * d) * np.sinc(d) + share
    return float(weight @ np.square(np.abs(fields)))


def with_target(modulator: Modulator, averaged_s: float) -> float:
    """Return the mean correlation of a frame's intensities with those without flicker; 1 where nothing flickers."""
    from opusim.device.slm import PhaseSlm

    if not isinstance(modulator, PhaseSlm) or not modulator.moves:
        return 1.0
    d, weight = _normal(modulator.range_turns * modulator.flicker_in(averaged_s))
    return float(weight @ np.square(np.sinc(d)))


def _normal(rms: float) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(_POINTS)
    return rms * nodes, weights / weights.sum()
