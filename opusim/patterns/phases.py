"""Levels of a phase modulator with the layout that lays them on its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .layout import MirrorLayout, MirrorPatterns

__all__ = ["PhasePatterns", "driven", "nearest_levels"]


def nearest_levels(turns: np.ndarray, level_turns: np.ndarray) -> np.ndarray:
    """Return the level whose phase is nearest to a phase, whole turns not counted.

    Parameters
    ----------
    turns : ndarray of float
        Phases in turns of 2 pi; any finite numbers.
    level_turns : ndarray of float, shape (levels,)
        Phase of each level, in turns; at most 256.

    Returns
    -------
    ndarray of uint8, shape of `turns`
        Levels; the lowest where several have the same phase.
    """
    phases, levels = np.unique(np.asarray(level_turns, dtype=np.float64) % 1.0, return_index=True)
    asked = np.asarray(turns, dtype=np.float64) % 1.0
    # The last phase stands also a turn below the first one, and the first one a turn above the last.
    around = np.concatenate([phases[-1:] - 1.0, phases, phases[:1] + 1.0])
    which = np.concatenate([levels[-1:], levels, levels[:1]]).astype(np.uint8)
    return which[np.searchsorted((around[1:] + around[:-1]) / 2, asked)]


def driven(name: str, values: np.ndarray, level_turns: np.ndarray) -> np.ndarray:
    """Return the levels that phases or levels of a user's stand for, on a modulator with so many levels.

    Parameters
    ----------
    name : str
        What the sentence of an error calls them.
    values : ndarray
        Floats are phases in turns of 2 pi, from 0 to below 1; whole numbers are levels.
    level_turns : ndarray of float64, shape (levels,)
        Phase of each level, in turns.

    Returns
    -------
    ndarray of uint8, same shape
        Levels, in order in memory.

    Raises
    ------
    TypeError
        If they are neither floats nor whole numbers.
    ValueError
        If one is not a number, or beyond what it may be.
    """
    last = len(level_turns) - 1
    if values.dtype.kind not in "fui":
        raise TypeError(
            f"{name} has type {values.dtype}, but a modulator of phases is neither on nor off: it must be floats, "
            f"phases in turns from 0 to below 1, or whole numbers, levels from 0 to {last}."
        )
    if values.dtype.kind == "f":
        good = (values >= 0) & (values < 1)
        if not good.all():
            wrong = values.ravel()[int(good.argmin())]
            raise ValueError(f"{name} holds {wrong}, but phases are in turns of 2 pi, from 0 to below 1.")
        return nearest_levels(values, level_turns)
    if values.size and not 0 <= values.min() <= values.max() <= last:
        wrong = values.min() if values.min() < 0 else values.max()
        raise ValueError(f"{name} holds the level {wrong}, but levels go from 0 to {last}.")
    return np.ascontiguousarray(values, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class PhasePatterns(MirrorPatterns):
    """Vectors of levels together with the layout that turns them into pictures of a phase modulator's pixels.

    Parameters
    ----------
    bits : numpy.ndarray
        Levels, uint8, (n, n_features_total): what a pixel is driven with. Phases become levels by
        ``modulator.levels_of``. Kept as a read-only view where it is contiguous.
    layout : MirrorLayout
        Where they go. Pixels of no feature have the level 0.

    Raises
    ------
    TypeError, ValueError
        If `bits` has another dtype or shape.
    """

    bits: Any
    layout: MirrorLayout

    def __post_init__(self) -> None:
        """Check shape and dtype; the range is the modulator's."""
        checked = self.layout.check_bits(self.bits)
        if np.asarray(self.bits).dtype == np.bool_:
            raise TypeError("bits has dtype bool, but it must hold levels of a phase modulator, as uint8.")
        object.__setattr__(self, "bits", checked)

    @classmethod
    def of_checked(cls, bits: Any, layout: MirrorLayout) -> PhasePatterns:
        """Return patterns of levels that are known to be right, without looking at them again.

        Parameters
        ----------
        bits : numpy.ndarray
            Levels, uint8, (n, n_features_total), in order in memory.
        layout : MirrorLayout
            Where they go.

        Returns
        -------
        PhasePatterns
            With a read-only view of the array.
        """
        patterns = object.__new__(cls)
        view = bits.view()
        view.flags.writeable = False
        object.__setattr__(patterns, "bits", view)
        object.__setattr__(patterns, "layout", layout)
        return patterns

    def __getitem__(self, rows: slice) -> PhasePatterns:
        """Return some of the patterns, without copying them."""
        if not isinstance(rows, slice):
            raise TypeError(f"The index is {rows!r}, but patterns are taken by slices, as in patterns[2:5].")
        return PhasePatterns.of_checked(self.bits[rows], self.layout)

    def host_bits(self) -> np.ndarray:
        """Return the levels as a numpy array.

        Returns
        -------
        numpy.ndarray
            Levels, uint8, (n, n_features_total).
        """
        return self.bits

    def to_mirrors(self) -> np.ndarray:
        """Return the level of every pixel.

        Returns
        -------
        numpy.ndarray
            Levels, uint8, (n, rows, columns).
        """
        return self.layout.pixels(self.bits)

    def packed(self) -> np.ndarray:
        """Refuse: levels are no bits."""
        raise TypeError("Levels of a phase modulator cannot be packed: eight bits of a byte are eight mirrors.")

    def count_on(self) -> np.ndarray:
        """Return how many pixels each pattern lights: all of them.

        Returns
        -------
        numpy.ndarray
            Numbers of pixels, int64, (n,).
        """
        return np.full(len(self.bits), self.layout.n_mirrors, dtype=np.int64)
