"""The linear transform from intensities, as lightonml calls it; the method is opusim's.

lightonml passes neither the number of features nor the levels of light from one call to the next, and never says which
device it has. All that is kept here for each thread: `encode_batch` notes the number of features, the device that shows
the frames the levels. How many frames a vector takes is what that device says whose state this thread asked last, as
lightonml does just before `encode_batch`; two if there is none.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from opusim.drivers.methods import intensity as method

__all__ = ["decode_batch", "encode_batch", "init"]

_noted = threading.local()


def init(n_pixels: int) -> None:
    """Do nothing: the number of mirrors is not needed."""


def note_levels(black_level_dn: float, level_dn: float | None) -> None:
    """Keep what the camera gives in the dark, and with every feature on above that, in grey levels."""
    _noted.levels = black_level_dn, level_dn


def note_frames(frames_per_vector: int) -> None:
    """Keep how many frames of a vector the next `encode_batch` makes."""
    _noted.next_frames = frames_per_vector


def encode_batch(X: Any) -> np.ndarray:
    """Return the patterns to show.

    Parameters
    ----------
    X : array_like
        0/1, (n, n_features).

    Returns
    -------
    numpy.ndarray
        uint8, (k n and, for each 64 begun, 3 k, or 3 where k is 2; n_features) for the device's k frames a vector.
    """
    x = np.atleast_2d(np.asarray(X))
    if x.dtype != np.bool_ and x.size and (x.min() < 0 or x.max() > 1):
        raise ValueError("The input array should be binary: it may hold only 0 and 1.")
    _noted.n_features = x.shape[1]
    _noted.levels = 0.0, None
    _noted.frames = getattr(_noted, "next_frames", method.LEAST_FRAMES)
    return method.encode(x.astype(np.uint8, copy=False), _noted.frames)


def decode_batch(Y: Any) -> np.ndarray:
    """Return y = R x for the counts that the patterns of the last `encode_batch` of this thread gave.

    Parameters
    ----------
    Y : array_like
        Counts, (number of patterns, n_components).

    Returns
    -------
    numpy.ndarray
        float32, (n, n_components).
    """
    n_features = getattr(_noted, "n_features", None)
    if n_features is None:
        raise RuntimeError("decode_batch was called, but this thread has called no encode_batch before it.")
    return method.decode(np.atleast_2d(np.asarray(Y)), n_features, *_noted.levels, _noted.frames)
