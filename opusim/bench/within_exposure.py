"""Frames during which the medium moves: the mean of the intensities of its states, weighted by time.

Only exposures come here for which `Device.drift_within` returns the drift. It is slow:
each frame needs the fields of several states, each with a layer or a matrix of its own, and none is kept.

Where the reference moves too, each state meets the phasor that the reference has then. With p(t) that phasor, c the
coherence and R the wave, a frame is the mean of ``|S|^2 + |R|^2 + 2 Re(c p R S*)``. A state k of the weight w_k takes
the phasor m_k of `Drift.within_parts`, so that this mean is the sum of
``w_k |S_k + c m_k R|^2 + w_k (1 - |c m_k|^2) |R|^2``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from opusim.base import elementary
from opusim.base.arrays import Arrays, of
from opusim.base.short_repr import short_repr
from opusim.device.medium import Drift
from opusim.device.medium.drift import PARTS
from opusim.device.reference import Reference

from .film import intensity
from .frames import Moments as ModulatorMoments
from .frames import Shots, part_of
from .lag import Readout
from .way import Way


@short_repr
@dataclass(frozen=True, eq=False)
class Moments:
    """States of the medium that a frame sees, and the reference in each.

    Attributes
    ----------
    states : list of int
        Numbers of states.
    weights : list of float
        Their parts of the exposure, of sum 1.
    turns : list of complex
        c m, what turns the reference in each, contrast included.
    contrast : float
        c as `film.intensity` takes it, of all states; 1 where `apart` says all.
    apart : float
        Part of the reference's intensity that makes no fringes, beside what follows from `contrast`.
    """

    states: list[int]
    weights: list[float]
    turns: list[complex]
    contrast: float
    apart: float = 0.0

    @staticmethod
    def of_still(states: list[tuple[int, float]], turn: complex, contrast: float) -> Moments:
        """Return those of a reference that stands still, or is blocked.

        Parameters
        ----------
        states : list of (int, float)
            From `Drift.within`.
        turn, contrast
            As for `film.intensity`.

        Returns
        -------
        Moments
            The same turn in each.
        """
        return Moments([state for state, _ in states], [weight for _, weight in states], [turn] * len(states), contrast)


@short_repr
@dataclass(frozen=True, eq=False)
class MovingArm:
    """A reference that moves during an exposure.

    Parameters
    ----------
    arm : Reference
        The arm.
    asked_rad : ndarray of float64, shape (steps,)
        Phases asked of its shifter, in the frames of a pattern.
    coherence : float
        Contrast of the fringes of an arm that stands still.
    seed : int
        Seed of the device.
    """

    arm: Reference
    asked_rad: np.ndarray
    coherence: float
    seed: int

    def moments(self, drift: Drift, step: int, frame: int, time_s: float, exposure_s: float) -> Moments:
        """Return what a frame sees of medium and reference together.

        Parameters
        ----------
        drift : Drift
            Of the medium.
        step : int
            Which of the phases is asked for.
        frame : int
            Number of the frame.
        time_s, exposure_s : float
            When its exposure begins, and how long it is, in seconds.

        Returns
        -------
        Moments
            The phasor of the reference is its mean in each of `PARTS` equal parts of the exposure.
        """
        states, weights, shares = drift.within_parts(time_s, exposure_s)
        part_s = exposure_s / PARTS
        phasors = self.arm.phasors(
            np.full(PARTS, self.asked_rad[step]), np.full(PARTS, frame, dtype=np.int64),
            time_s + part_s * np.arange(PARTS), part_s, seed=self.seed,
        )  # fmt: skip
        real, imaginary = ((shares * part).sum(axis=1) for part in (phasors.real, phasors.imag))
        turns = self.coherence * (real + 1j * imaginary)
        # At least 0 but for rounding: see `Drift.within_parts`.
        apart = max(0.0, 1.0 - float((weights * elementary.square_modulus(turns)).sum()))
        return Moments(states, weights.tolist(), turns.tolist(), 1.0, apart)


def moments_of(
    shots: Shots, times_s: np.ndarray, drift: Drift, arm: MovingArm | None
) -> Callable[[int], Moments]:  # fmt: skip
    """Return what gives the states that a frame of a run sees, and the reference in each.

    Parameters
    ----------
    shots, times_s, drift, arm
        As for `counts`.

    Returns
    -------
    callable
        Of the number of a frame in the run.
    """
    turns, contrasts, exposure_s = shots.turns().view(np.complex64)[:, 0], shots.contrasts(), shots.exposure_s

    def seen(f: int) -> Moments:
        time_s = float(times_s[f])
        if arm is None:
            return Moments.of_still(drift.within(time_s, exposure_s), turns[f], contrasts[f])
        return arm.moments(drift, f % shots.steps, int(shots.frames[f]), time_s, exposure_s)

    return seen


def mean_intensity(
    way: Way, bits: Any, moments: Moments, arrays: Arrays, reference: np.ndarray | None,
    shown: ModulatorMoments | None = None,
) -> np.ndarray:  # fmt: skip
    """Return the intensity of one pattern, averaged over states of the medium.

    Parameters
    ----------
    way : Way
        What makes the fields.
    bits : array of uint8, shape (1, n_features)
        The pattern.
    moments : Moments
        The states, and the reference in each.
    arrays : Arrays
        Library and device that the way computes with.
    reference : ndarray of complex64, shape (n_pixels, samples), optional
        R; None if it is blocked.
    shown : opusim.bench.frames.Moments, optional
        When it is shown, for a modulator that moves.

    Returns
    -------
    ndarray of float32, shape (n_pixels,)
        The sum over a pixel's samples.
    """
    total: Any = 0.0
    with arrays.current():
        for state, weight, turn in zip(moments.states, moments.weights, moments.turns, strict=True):
            fields = way.fields(bits, state, shown)
            field = of(fields).to_host(fields)[0]
            total = total + weight * intensity(field, reference, turn, moments.contrast).astype(np.float64)
    if reference is not None and moments.apart:
        total = total + moments.apart * elementary.square_modulus(reference).sum(axis=-1, dtype=np.float64)
    return np.asarray(total, dtype=np.float32)


def counts(
    way: Way, bits: Any, shots: Shots, times_s: np.ndarray, drift: Drift, arm: MovingArm | None, readout: Readout, *,
    samples: int, arrays: Arrays, out: np.ndarray, progress: Callable[[int], None] | None,
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
    arm : MovingArm or None
        The reference, if it moves too; else it is that of `shots`.
    readout : Readout
        Reads the frames; its camera is that of the machine's own memory.
    samples : int
        Fields whose intensities one pixel adds up.
    arrays : Arrays
        Library and device that the way computes with.
    out : ndarray of the camera's type, shape (frames that are read, n_pixels)
        Filled in place.
    progress : callable or None
        Told how many patterns are done.
    """
    scale = (shots.photons_per_intensity / samples).astype(np.float32)
    seen = moments_of(shots, times_s, drift, arm)
    # A frame each, where the modulator moves.
    each = way.moments(shots)
    for i in range(len(bits)):
        for f in range(i * shots.steps, (i + 1) * shots.steps):
            shown = part_of(each, slice(f, f + 1))
            light = mean_intensity(way, bits[i : i + 1], seen(f), arrays, shots.reference, shown)
            readout.read(out, f, light * scale[f], shots, f)
        if progress is not None:
            progress(i + 1)
