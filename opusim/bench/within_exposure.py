"""Frames during which the medium moves: the mean of the intensities of its states, weighted by time.

Only exposures come here for which `Device.drift_within` returns the drift. It is slow:
each frame needs the fields of several states, each with a layer or a matrix of its own, and none is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from opusim.base.arrays import Arrays, of
from opusim.device.camera import Camera
from opusim.device.medium import Drift

from .film import intensity
from .frames import Shots
from .way import Way


def mean_intensity(
    way: Way, bits: Any, states: list[tuple[int, float]], arrays: Arrays, reference: np.ndarray | None, turn: complex,
    coherence: float,
) -> np.ndarray:  # fmt: skip
    """Return the intensity of one pattern, averaged over states of the medium.

    Parameters
    ----------
    way : Way
        What makes the fields.
    bits : array of uint8, shape (1, n_features)
        The pattern.
    states : list of (int, float)
        From `Drift.within`.
    arrays : Arrays
        Library and device that the way computes with.
    reference, turn, coherence
        As for `film.intensity`.

    Returns
    -------
    ndarray of float32, shape (n_pixels,)
        The sum over a pixel's samples; the reference stands still.
    """
    total: Any = 0.0
    with arrays.current():
        for state, weight in states:
            fields = way.fields(bits, state)
            field = of(fields).to_host(fields)[0]
            total = total + weight * intensity(field, reference, turn, coherence).astype(np.float64)
    return np.asarray(total, dtype=np.float32)


def counts(
    way: Way, bits: Any, shots: Shots, times_s: np.ndarray, drift: Drift, camera: Camera, *, seed: int, samples: int,
    arrays: Arrays, threads: int, out: np.ndarray, progress: Callable[[int], None] | None,
) -> None:  # fmt: skip
    """Fill `out` with the counts of patterns, each frame a mean over the states that it sees.

    Parameters
    ----------
    way : Way
        What makes the fields.
    bits : array of uint8, shape (n, n_features)
        The patterns, of the library of `arrays`.
    shots : Shots
        Circumstances of the n * steps frames; its state is not asked.
    times_s : ndarray of float64, shape (n * steps,)
        When each exposure begins, in seconds.
    drift : Drift
        Of the medium.
    camera : Camera
        The camera.
    seed : int
        Seed of the device: the noise.
    samples : int
        Fields whose intensities one pixel adds up.
    arrays : Arrays
        Library and device that the way computes with; the camera is that of the machine's own memory.
    threads : int
        Threads to use; they do not change the result.
    out : ndarray of the camera's type, shape (n * steps, n_pixels)
        Filled in place.
    progress : callable or None
        Told how many patterns are done.
    """
    scale = (shots.photons_per_intensity / samples).astype(np.float32)
    turns = shots.turns().view(np.complex64)[:, 0]
    contrasts = shots.contrasts()
    for i in range(len(bits)):
        for f in range(i * shots.steps, (i + 1) * shots.steps):
            states = drift.within(float(times_s[f]), shots.exposure_s)
            light = mean_intensity(way, bits[i : i + 1], states, arrays, shots.reference, turns[f], contrasts[f])
            out[f] = camera.expose(
                light * scale[f], exposure_s=shots.exposure_s, seed=seed, frame0=int(shots.frames[f]), maps=shots.maps,
                threads=threads,
            ).reshape(-1)  # fmt: skip
        if progress is not None:
            progress(i + 1)
