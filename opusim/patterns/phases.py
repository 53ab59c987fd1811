"""Levels of a phase modulator with the layout that lays them on its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .layout import MirrorLayout, MirrorPatterns


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
