"""Frames: the clock that counts them, those that are taken before they are shown, and what a run of them is shown in.

All that is random, and all that changes with time, follows from the numbers and times of frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from opusim.base import elementary
from opusim.base.short_repr import short_repr
from opusim.base.user_arrays import checked_array
from opusim.device.camera import SensorMaps

#: Where a clock ends: numbers of frames and of states of a drift are whole numbers of 64 bits.
MOST_FRAMES = 2**62
MOST_S = 1e12


@dataclass
class BenchClock:
    """What the real device would have needed.

    Parameters
    ----------
    elapsed_s : float
        Device time since the bench was made, in seconds.
    frames : int
        Frames taken; the number of the next frame, which addresses its noise.
    power_w : float
        Electrical power of the device in watts.
    """

    elapsed_s: float = 0.0
    frames: int = 0
    power_w: float = 30.0

    @property
    def energy_j(self) -> float:
        """Energy used since the bench was made, in joules."""
        return self.elapsed_s * self.power_w


def time_after(start_s: float, step_s: float, n: int) -> float:
    """Return where a clock stands after `n` sequences of the same length, added one by one.

    Sums are rounded each time, which no product is. Between two powers of two, though, every sum after the second adds
    the same: a multiple of the distance of two numbers there. So the many are passed over at once, exactly.

    Parameters
    ----------
    start_s, step_s : float
        Where it stands, and the time of a sequence, in seconds, at least 0.
    n : int
        Sequences.

    Returns
    -------
    float
        What a loop of `n` sums gives, bit for bit.
    """
    now = start_s
    while n > 0:
        # Two: after a tie, which goes to the even number, the next sums are alike.
        for _ in range(min(2, n)):
            now, n = now + step_s, n - 1
        added = now + step_s - now
        if added == 0.0:
            return now
        end = math.ldexp(1.0, math.frexp(now)[1])
        leap = min(n, int((end - now) / added) - 2)
        if leap > 0 and now + step_s < end:
            now, n = now + leap * added, n - leap
    return now


@short_repr
@dataclass(frozen=True, eq=False)
class ReservedFrames:
    """Frames of one sequence of patterns, taken by `OpticalBench.reserve`.

    Whoever shows patterns in them, a part at a time, in any order, again, or on another bench of the same device and
    seed, gets the counts of the whole sequence shown at once. It may be pickled.

    Parameters
    ----------
    first : int
        Number of the first frame.
    start_s : float
        Device time of the first frame, in seconds.
    n_frames : int
        Frames of the sequence.
    frametime_s : float
        Time between frames, in seconds.
    patterns : ndarray of int64, optional
        Which patterns of the sequence are shown now, from 0 on; all by default.
    """

    first: int
    start_s: float
    n_frames: int
    frametime_s: float
    patterns: np.ndarray | None = None

    def only(self, patterns: np.ndarray) -> ReservedFrames:
        """Return the frames of some patterns of the sequence.

        Parameters
        ----------
        patterns : ndarray of int64
            Their numbers within it, from 0 on, rising.

        Returns
        -------
        ReservedFrames
            The same sequence, of which only these are shown.
        """
        return replace(self, patterns=checked_array("patterns", patterns, kinds="iu", dtype=np.int64))

    def numbers(self) -> np.ndarray:
        """Return the numbers of all frames of the sequence.

        Returns
        -------
        ndarray of int64, shape (n_frames,)
            Numbers.
        """
        return self.first + np.arange(self.n_frames, dtype=np.int64)

    def times_s(self) -> np.ndarray:
        """Return the device times of all frames of the sequence.

        Returns
        -------
        ndarray of float64, shape (n_frames,)
            Seconds.
        """
        return self.start_s + self.frametime_s * np.arange(self.n_frames)

    def of(self, n_patterns: int, steps: int) -> tuple[np.ndarray, np.ndarray, slice | np.ndarray]:
        """Return the frames of the sequence, and which of them are shown.

        Parameters
        ----------
        n_patterns : int
            How many patterns there are to show.
        steps : int
            Frames of a pattern.

        Returns
        -------
        numbers : ndarray of int64, shape (n_frames,)
            As from `numbers`.
        times_s : ndarray of float64, shape (n_frames,)
            As from `times_s`.
        shown : slice or ndarray of int64
            What both are to be indexed with.

        Raises
        ------
        ValueError
            If the patterns do not fit the sequence.
        """
        return self.numbers(), self.times_s(), self._shown(n_patterns, steps)

    def frames_before(self, steps: int) -> int:
        """Return how many frames there were before the first one that is shown.

        Parameters
        ----------
        steps : int
            Frames of a pattern.

        Returns
        -------
        int
            Since the clock began.
        """
        if self.patterns is None or not len(self.patterns):
            return self.first
        return self.first + steps * int(self.patterns[0])

    def check_known(self, before: bool) -> None:
        """Raise a ValueError unless the frame before each that is shown is known, for a camera that leaves electrons.

        Parameters
        ----------
        before : bool
            Whether the pattern before the first one is told.
        """
        if self.patterns is None or not len(self.patterns):
            return
        if (np.diff(self.patterns) != 1).any() or not (before or self.patterns[0] == 0):
            raise ValueError(
                f"reserved is for the patterns {self.patterns} of a sequence, but with camera.lag above 0 a frame is "
                "read with electrons of the one before it: they must follow each other without a gap, and before must "
                "be the one before the first of them."
            )

    def _shown(self, n_patterns: int, steps: int) -> slice | np.ndarray:
        if self.patterns is None:
            if n_patterns * steps != self.n_frames:
                raise ValueError(
                    f"reserved holds {self.n_frames} frames, but {n_patterns} patterns of {steps} frames each take "
                    f"{n_patterns * steps}."
                )
            return slice(None)
        frames = (self.patterns[:, None] * steps + np.arange(steps)).ravel()
        if len(self.patterns) != n_patterns:
            raise ValueError(f"reserved is for {len(self.patterns)} patterns, but there are {n_patterns}.")
        if n_patterns and not (frames[0] >= 0 and frames[-1] < self.n_frames and (np.diff(frames) > 0).all()):
            raise ValueError(
                f"reserved is for the patterns {self.patterns} of {steps} frames each, but they must rise and lie "
                f"within its {self.n_frames} frames."
            )
        return frames


def with_one_before(
    frames: np.ndarray, times_s: np.ndarray, shown: slice | np.ndarray, steps: int, frametime_s: float
) -> tuple[np.ndarray, np.ndarray, slice | np.ndarray]:
    """Return frames as `ReservedFrames.of` does, with those of the pattern that was shown right before.

    Parameters
    ----------
    frames, times_s, shown
        Numbers and times of a sequence, and which of them are shown.
    steps : int
        Frames of a pattern.
    frametime_s : float
        Time between frames, in seconds.

    Returns
    -------
    frames, times_s, shown
        The same; those of the pattern before come first.
    """
    first = 0 if isinstance(shown, slice) else int(shown[0])
    if first:
        return frames, times_s, np.concatenate([np.arange(first - steps, first), np.asarray(shown)])
    back = np.arange(-steps, 0)
    frames, times_s = (
        np.concatenate([frames[0] + back, frames]),
        np.concatenate([times_s[0] + frametime_s * back, times_s]),
    )
    return frames, times_s, shown if isinstance(shown, slice) else np.concatenate([back, shown]) + steps


class Moments(NamedTuple):
    """When patterns are shown, for a modulator whose light changes from frame to frame.

    Parameters
    ----------
    frames : ndarray of int64, shape (n,)
        Frame of each pattern.
    times_s : ndarray of float64, shape (n,)
        Device time at which its exposure begins, in seconds.
    exposure_s : float
        Exposure in seconds; 0 where frames see the modulator as it is when they begin.
    """

    frames: np.ndarray
    times_s: np.ndarray
    exposure_s: float

    def part(self, vectors: slice) -> Moments:
        """Return those of some of the patterns."""
        return Moments(self.frames[vectors], self.times_s[vectors], self.exposure_s)


def part_of(moments: Moments | None, vectors: slice) -> Moments | None:
    """Return the moments of some of the patterns; None where there are none, of a modulator that stands still."""
    return None if moments is None else moments.part(vectors)


@short_repr
@dataclass(frozen=True, eq=False)
class Shots:
    """Circumstances of a run of frames, apart from the patterns.

    Attributes
    ----------
    state : int
        State of the medium's drift; one for all.
    frames : ndarray of int64, shape (n,)
        Frame numbers.
    photons_per_intensity : ndarray of float64, shape (n,)
        Photons on a pixel for an intensity of 1, for each frame.
    exposure_s : float
        Exposure in seconds.
    maps : SensorMaps
        Fixed patterns of the pixels that are read.
    steps : int
        Frames of each pattern, one after the other: n is the number of patterns times this.
    reference : ndarray of complex64, shape (n_pixels, samples), optional
        Field of the reference arm at the phase 0; None if it is blocked.
    phases_rad : ndarray of float64, shape (n,), optional
        Phase of the reference in each frame.
    coherence : float
        Contrast of the fringes.
    moduli : ndarray of float64, shape (n,), optional
        What each exposure leaves of the contrast: modulus of the reference's mean phasor. None: all of it.
    times_s : ndarray of float64, shape (n,), optional
        Device time at which the exposure of each frame begins; None where nothing asks for it.
    """

    state: int
    frames: np.ndarray
    photons_per_intensity: np.ndarray
    exposure_s: float
    maps: SensorMaps
    steps: int = 1
    reference: np.ndarray | None = None
    phases_rad: np.ndarray | None = None
    coherence: float = 1.0
    moduli: np.ndarray | None = None
    times_s: np.ndarray | None = None

    def only(self, frames: slice | np.ndarray, state: int) -> Shots:
        """Return the circumstances of some of the frames, in a state of the medium's drift.

        Parameters
        ----------
        frames : slice or ndarray of int64
            Which of them.
        state : int
            The state.

        Returns
        -------
        Shots
            Of these frames; itself where these are all of them, in its own state.
        """
        if state == self.state and isinstance(frames, slice) and len(self.frames[frames]) == len(self.frames):
            return self
        phases, moduli, times_s = (
            None if one is None else one[frames] for one in (self.phases_rad, self.moduli, self.times_s)
        )  # fmt: skip
        return replace(
            self, state=state, frames=self.frames[frames], photons_per_intensity=self.photons_per_intensity[frames],
            phases_rad=phases, moduli=moduli, times_s=times_s,
        )  # fmt: skip

    def contrasts(self) -> np.ndarray:
        """Return the contrast of the fringes in each frame: float64 (n,)."""
        whole = np.full(len(self.frames), self.coherence)
        return whole if self.moduli is None else whole * self.moduli

    def incoherent(self) -> np.ndarray:
        """Return the part of the reference's intensity that does not interfere in each frame: float32 (n,)."""
        if self.moduli is None and self.coherence == 1.0:
            return np.zeros(len(self.frames), dtype=np.float32)
        contrasts = self.contrasts()
        return (1 - contrasts * contrasts).astype(np.float32)

    def turns(self) -> np.ndarray:
        """Return what turns the reference in each frame, contrast included: float32 (n, 2), cosine and sine."""
        if self.phases_rad is None:
            return np.zeros((len(self.frames), 2), dtype=np.float32)
        pairs = elementary.phasors(self.phases_rad).view(np.float64).reshape(-1, 2)
        return (self.contrasts()[:, None] * pairs).astype(np.float32)
