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
        Takes the next frames of the bench, so many, and returns them with the state that the medium is in, -1 if it is
        not in one; None, and nothing is taken, if a state is given and it is not in that.
    take_back : callable
        Puts the clock back over frames that nobody has seen, if they are the last that it took; returns whether.
    shots : callable
        Returns the circumstances of frames, of their numbers and times; None if the medium is not in one state then.
    """

    way: Way
    take: Callable[[int, int | None], tuple[ReservedFrames, int] | None]
    take_back: Callable[[ReservedFrames], bool]
    shots: Callable[[np.ndarray, np.ndarray], Shots | None]

    def taken(self, frames: Sequence[int]) -> TakenTogether:
        """Take the frames of sequences, one after the other: as many as are of one state of the medium.

        Parameters
        ----------
        frames : sequence of int
            How many each has.

        Returns
        -------
        TakenTogether
            What shows patterns in the frames of those that were taken, the first one at least.

        Raises
        ------
        ValueError
            If there is no time for the first one: the bench's clock is at its end. Where there is none for one of the
            others, those before it are taken.
        MemoryError
            If there is not enough memory for what the first one needs.
        """
        sequences: list[ReservedFrames] = []
        state = None
        for n in frames:
            try:
                found = self.take(n, state)
            except ValueError:
                if not sequences:
                    raise
                break  # it is told when those before it have been shown
            if found is None:
                break
            one, state = found
            sequences.append(one)
        numbers, times_s = (
            np.concatenate(parts)
            for parts in zip(*((each.numbers(), each.times_s()) for each in sequences), strict=True)
        )
        return TakenTogether(tuple(sequences), self.way, self.take_back, self.shots(numbers, times_s))


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
    take_back : callable
        As of `Together`.
    shots : Shots or None
        Circumstances of all frames, one sequence after the other; None if they must be shown one by one.
    """

    sequences: tuple[ReservedFrames, ...]
    way: Way
    take_back: Callable[[ReservedFrames], bool]
    shots: Shots | None

    @property
    def still(self) -> bool:
        """Whether `reduce` is there: the medium is in one state in all of them."""
        return self.shots is not None

    def give_back(self, first: int) -> None:
        """Give frames back of which nothing was handed out: they are taken anew, unless others were taken since.

        Parameters
        ----------
        first : int
            Number of the sequence from which on they are given back.
        """
        for one in reversed(self.sequences[first:]):
            if not self.take_back(one):
                return

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
