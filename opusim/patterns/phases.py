"""Levels of a phase modulator with the layout that lays them on its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from opusim.base.circle import nearest_on_circle

from .layout import MirrorLayout, MirrorPatterns

__all__ = ["PhasePatterns", "doubt_of_bits", "driven", "nearest_levels"]


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
    return nearest_on_circle(np.asarray(turns, dtype=np.float64), np.asarray(level_turns, dtype=np.float64))


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
        If they are bool, or neither floats nor whole numbers.
    ValueError
        If one is not a number, or beyond what it may be.
    """
    last, kind = len(level_turns) - 1, values.dtype.kind
    if kind == "b":
        raise TypeError(
            f"{name} has dtype bool, but a phase modulator is neither on nor off: give phases in turns as floats, from "
            f"0 to below 1, or levels as whole numbers, from 0 to {last}."
        )
    if kind not in "fui":
        raise TypeError(
            f"{name} has dtype {values.dtype}, but it must be floats, phases in turns, or whole numbers, levels."
        )
    if kind == "f":
        good = (values >= 0) & (values < 1)
        if not good.all():
            wrong = values.ravel()[int(good.argmin())]
            raise ValueError(
                f"{name} holds {wrong}, but phases are in turns of 2 pi, from 0 to below 1"
                + (": phases in radians, divided by 2 pi, modulo 1." if np.isfinite(wrong) else ".")
            )
        return np.ascontiguousarray(nearest_levels(values, level_turns))
    if values.size and not 0 <= values.min() <= values.max() <= last:
        wrong = values.min() if values.min() < 0 else values.max()
        raise ValueError(f"{name} holds the level {wrong}, but levels go from 0 to {last}.")
    return np.ascontiguousarray(values, dtype=np.uint8)


def doubt_of_bits(name: str, kind: str, shown: np.ndarray, n_levels: int) -> str:
    """Return a sentence for whole numbers that are only 0 and 1, as bits are, where there are more levels.

    Parameters
    ----------
    name : str
        What the sentence calls them.
    kind : str
        Of their dtype: "f" for phases, else they are levels.
    shown : ndarray of whole numbers
        Their levels.
    n_levels : int
        Levels of the modulator.

    Returns
    -------
    str
        Nothing where they are hardly meant as bits.
    """
    if kind == "f" or n_levels == 2 or not shown.size or shown.max() != 1:
        return ""
    return (
        f"{name} holds whole numbers that are only 0 and 1, as bits for mirrors are. This device has a phase "
        f"modulator, which takes them as the levels 0 and 1 of {n_levels}: phases that hardly differ. 0.5 * {name} "
        "shows a 1 as half a turn."
    )


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
