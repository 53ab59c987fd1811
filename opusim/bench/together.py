"""Frames of many patterns that become something else at once: what a bench does where no array of frames is asked for.

Their numbers and times are those of sequence after sequence, as if each had been shown by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from opusim.base.short_repr import short_repr

from .frames import ReservedFrames, Shots
from .reduction import Reduction
from .way import Way

__all__ = ["TakenTogether", "Together"]


@short_repr
@dataclass(frozen=True, eq=False)
class Together:
    """Vectors of one layout on one region of a bench.

    Parameters
    ----------
    way : Way
        What reduces their frames.
    take : callable
        Takes the next frames of the bench, so many.
    shots : callable
        Returns the circumstances of frames, of their numbers and times; None if the medium is not in one state then.
    """

    way: Way
    take: Callable[[int], ReservedFrames]
    shots: Callable[[np.ndarray, np.ndarray], Shots | None]

    def taken(self, frames: Sequence[int]) -> TakenTogether:
        """Take the frames of sequences, one after the other.

        Parameters
        ----------
        frames : sequence of int
            How many each has.

        Returns
        -------
        TakenTogether
            What shows patterns in them.
        """
        sequences = tuple(self.take(n) for n in frames)
        numbers, times_s = (
            np.concatenate(parts)
            for parts in zip(*((each.numbers(), each.times_s()) for each in sequences), strict=True)
        )
        return TakenTogether(sequences, self.way, self.shots(numbers, times_s))


@short_repr
@dataclass(frozen=True, eq=False)
class TakenTogether:
    """Frames of some sequences.

    Parameters
    ----------
    sequences : tuple of ReservedFrames
        Each of them.
    way : Way
        What reduces them.
    shots : Shots or None
        Circumstances of all frames, one sequence after the other; None if they must be shown one by one.
    """

    sequences: tuple[ReservedFrames, ...]
    way: Way
    shots: Shots | None

    @property
    def still(self) -> bool:
        """Whether `reduce` is there: the medium is in one state in all of them."""
        return self.shots is not None

    def reduce(
        self, bits: np.ndarray, reduction: Reduction, frames: np.ndarray, n_pixels: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Show vectors and return what becomes of their frames.

        Parameters
        ----------
        bits : ndarray of uint8, shape (n, n_features)
            0 or 1.
        reduction : Reduction
            What becomes of the frames.
        frames : ndarray of int64, shape (n, frames of a vector)
            Which frames of all sequences, from 0 on, are those of each vector, in the order in which they show it.
        n_pixels : int
            How many pixels of the region are wanted, the first ones.
        out : ndarray, optional
            Where to put it, or to add to it: as from `Reduction.empty`.

        Returns
        -------
        ndarray
            `out`, or an array of its own.
        """
        assert self.shots is not None, "the medium changes: show the sequences one by one"
        shots = replace(self.shots.only(frames.ravel(), self.shots.state), steps=frames.shape[1])
        if out is None:
            out = reduction.empty(len(bits), frames.shape[1], n_pixels)
        self.way.reduce(bits, shots, reduction, out)
        return out
