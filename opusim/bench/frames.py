"""Frames that are taken before they are shown: their numbers and times, from which all that is random follows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


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
        return replace(self, patterns=np.asarray(patterns, dtype=np.int64))

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

    def shown(self, n_patterns: int, steps: int) -> slice | np.ndarray:
        """Return which frames of the sequence are shown.

        Parameters
        ----------
        n_patterns : int
            How many patterns there are to show.
        steps : int
            Frames of a pattern.

        Returns
        -------
        slice or ndarray of int64
            What `numbers` and `times_s` are to be indexed with.

        Raises
        ------
        ValueError
            If they do not fit the sequence.
        """
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
