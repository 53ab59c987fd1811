"""The linear transform from intensities, as lightonml calls it; the method is opusim's.

lightonml passes neither the number of features nor the levels of light from one call to the next, and never says which
device it has. So `encode_batch` remembers for each number of patterns that it made, in this process, of how many
features they were and how many frames a vector had, and the device that shows the frames adds the levels. Frames are
decoded as the last batch of this thread where they are as many, else as the last of any thread that was as long.
How many frames a vector takes is what that device says whose state this thread asked last, as lightonml does just
before `encode_batch`; where it asked none what the last one of any thread said, and two if there is none.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from opusim.base.locks import new_lock
from opusim.drivers.methods import intensity as method

__all__ = ["decode_batch", "encode_batch", "init"]

# Numbers of patterns that are remembered, those of the last batches.
_MOST = 1024


@dataclass
class _Batch:
    """What a batch of patterns was made of, and the levels of light, in grey levels, once they are known."""

    n_features: int
    frames_per_vector: int
    levels: tuple[float, float | None] = (0.0, None)


_noted = threading.local()
_batches: OrderedDict[int, _Batch] = OrderedDict()
_said = method.LEAST_FRAMES
_lock = new_lock()


def init(n_pixels: int) -> None:
    """Do nothing: the number of mirrors is not needed."""


def note_levels(black_level_dn: float, level_dn: float | None, n_patterns: int | None = None) -> None:
    """Keep what the camera gives in the dark, and with every feature on above that, for the batch that is shown."""
    batch = _batch_of(n_patterns)
    if batch is None:  # shown in parts
        _, batch = getattr(_noted, "last", (0, None))
    if batch is not None:
        batch.levels = black_level_dn, level_dn


def note_frames(frames_per_vector: int) -> None:
    """Keep how many frames of a vector the next `encode_batch` makes."""
    global _said
    _noted.next_frames = _said = frames_per_vector


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
    batch = _Batch(x.shape[1], getattr(_noted, "next_frames", _said))
    patterns = method.encode(x.astype(np.uint8, copy=False), batch.frames_per_vector)
    _noted.last = len(patterns), batch
    with _lock:
        _batches[len(patterns)] = batch
        _batches.move_to_end(len(patterns))
        while len(_batches) > _MOST:
            _batches.popitem(last=False)
    return patterns


def decode_batch(Y: Any) -> np.ndarray:
    """Return y = R x for the counts that the patterns of a batch gave.

    Parameters
    ----------
    Y : array_like
        Counts, (number of patterns, n_components).

    Returns
    -------
    numpy.ndarray
        float32, (n, n_components).

    Raises
    ------
    RuntimeError
        If there was no batch.
    ValueError
        If no batch had so many patterns.
    """
    counts = np.atleast_2d(np.asarray(Y))
    batch = _batch_of(len(counts))
    if batch is None:
        _, batch = getattr(_noted, "last", (0, None))
    if batch is None:
        raise RuntimeError("decode_batch was called, but no encode_batch before it made so many patterns.")
    return method.decode(counts, batch.n_features, *batch.levels, batch.frames_per_vector)


def _batch_of(n_patterns: int | None) -> _Batch | None:
    """Return the last batch of so many patterns, of this thread rather than of another one."""
    number, own = getattr(_noted, "last", (None, None))
    if n_patterns is None or number == n_patterns:
        return own
    with _lock:
        return _batches.get(n_patterns)
