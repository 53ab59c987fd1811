"""What the calibration of a linear transform takes and leaves out; budgets of noise reckon with the same numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLIPPED_SHARE",
    "DARK_FRAMES",
    "LEAST_REFERENCE",
    "REFERENCE_FRAMES",
    "REFERENCE_MAPS",
    "reference_bursts",
    "light_of_reference",
]

#: Frames of the reference alone, and of the dark: their noise is below that of one measurement by the root of it.
REFERENCE_FRAMES, DARK_FRAMES = 64, 32
#: What may be taken for the light of the reference: frames of it, or bursts with every mirror off (`Operation`).
REFERENCE_MAPS = ("alone", "demodulated")
#: Share of bursts with a saturated frame at the exposure that is sought: their fields are saved by the other frames and
#: the known reference.
CLIPPED_SHARE = 0.07
#: Below this share of the mean ``|R|^2`` a pixel is left out.
LEAST_REFERENCE = 0.05


def reference_bursts(steps: int) -> int:
    """Return how many bursts with every mirror off a demodulated map takes: `REFERENCE_FRAMES` frames or a few more.

    Parameters
    ----------
    steps : int
        Frames of a burst.

    Returns
    -------
    int
        Bursts.
    """
    return -(-REFERENCE_FRAMES // steps)


def light_of_reference(level: NDArray[np.float64], power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``|R|^2`` of bursts with every mirror off, whose mirrors still send a little light E.

    Parameters
    ----------
    level : ndarray of float64, shape (n_pixels,)
        Mean over the steps, dark level taken off: ``|R|^2 + |E|^2``.
    power : ndarray of float64, shape (n_pixels,)
        Of the fringe q = E conj(R), ``|R|^2 |E|^2``.

    Returns
    -------
    ndarray of float64, shape (n_pixels,)
        The larger root of x^2 - level x + power, as R is brighter than E.

    Notes
    -----
    Fringes of contrast c show c q, and the root is then too large by about (1 - c^2) ``|E|^2``: for c = .99 a fiftieth
    of ``|E|^2``, itself a thousandth of ``|R|^2`` or so. Jitter of the steps is new in each burst, and averages out.
    """
    return (level + np.sqrt(np.maximum(level**2 - 4 * power, 0))) / 2
