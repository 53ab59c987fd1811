"""The kinds of layout: in line, as a picture of square blocks, or mirror by mirror. One class says all of each.

A kind keeps nothing: the numbers are those of the `MirrorLayout` that it is given.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from opusim.base.parallel import over_ranges

if TYPE_CHECKING:
    from .layout import MirrorLayout

__all__ = ["ALWAYS_OFF", "ALWAYS_ON", "KINDS", "LayoutKind"]

ALWAYS_ON = -1
"""Value in `MirrorLayout.feature_of_mirror` of a mirror outside the region of interest, which is always on."""
ALWAYS_OFF = -2
"""Value in `MirrorLayout.feature_of_mirror` of a mirror that the features leave over inside the region: always off."""


class LayoutKind(ABC):
    """What one kind of layout is: which features fit, and which mirrors they drive."""

    by_mirror = False
    """Whether every mirror has a feature of its own."""
    repeats_rows = False
    """Whether most rows of mirrors are as the row above."""
    surround = ALWAYS_ON
    """What mirrors outside the region are."""

    @abstractmethod
    def check(self, layout: MirrorLayout) -> None:
        """Raise a ValueError if the features do not fit on the region."""

    @abstractmethod
    def mirrors_per_feature(self, factor: int) -> int:
        """Return how many mirrors a feature drives."""

    def in_order(self, layout: MirrorLayout) -> bool:
        """Whether feature k drives mirror k, and that alone."""
        return False

    def feature_map(self, layout: MirrorLayout) -> np.ndarray:
        """Return the feature of each mirror, int32 (rows, columns), or one of the two constants."""
        result = np.full(layout.dmd_shape, self.surround, dtype=np.int32)
        (row, column), (height, width) = layout.roi_offset, layout.roi_size
        index = np.arange(layout.n_features_total, dtype=np.int32)
        result[row : row + height, column : column + width] = self.in_region(layout, index)
        return result

    @abstractmethod
    def in_region(self, layout: MirrorLayout, index: np.ndarray) -> np.ndarray:
        """Return the feature of each mirror of the region, int32 of its size, from the features 0, 1, ..."""

    def pack(self, layout: MirrorLayout, values: np.ndarray, out: np.ndarray, threads: int) -> None:
        """Write the patterns of bits (n, features), packed, into (n, bytes)."""
        from .layout_kernels import pack_rows  # numba is loaded when first needed

        plan = layout._packing_plan
        over_ranges(lambda a, b: pack_rows(values, *plan, out, a, b), len(values), threads)


class Lined(LayoutKind):
    """Inside the region, taken in raster order, one feature after the other."""

    def check(self, layout: MirrorLayout) -> None:
        """Raise a ValueError if the features do not fit on the region."""
        if len(layout.n_features) != 1:
            raise ValueError(f"n_features is {layout.n_features}, but a lined layout takes one number.")
        area = math.prod(layout.roi_size)
        if layout.n_features[0] * layout.factor > area:
            raise ValueError(
                f"n_features is {layout.n_features[0]} and factor {layout.factor}, but the region of interest "
                f"{layout.roi_size} has only {area} mirrors."
            )

    def mirrors_per_feature(self, factor: int) -> int:
        """Return how many mirrors a feature drives."""
        return factor

    def in_region(self, layout: MirrorLayout, index: np.ndarray) -> np.ndarray:
        """Return the feature of each mirror of the region."""
        region = np.full(math.prod(layout.roi_size), ALWAYS_OFF, dtype=np.int32)
        region[: index.size * layout.factor] = index.repeat(layout.factor)
        return region.reshape(layout.roi_size)


class Macro2d(LayoutKind):
    """Inside the region, from its first corner on, a square block for each feature of a picture."""

    repeats_rows = True

    def check(self, layout: MirrorLayout) -> None:
        """Raise a ValueError if the features do not fit on the region."""
        if len(layout.n_features) != 2:
            raise ValueError(f"n_features is {layout.n_features}, but a macro_2d layout takes (rows, columns).")
        for features, mirrors in zip(layout.n_features, layout.roi_size, strict=True):
            if features * layout.factor > mirrors:
                raise ValueError(
                    f"n_features is {layout.n_features} and factor {layout.factor}, but the region of interest has "
                    f"only {layout.roi_size} mirrors."
                )

    def mirrors_per_feature(self, factor: int) -> int:
        """Return how many mirrors a feature drives."""
        return factor**2

    def in_region(self, layout: MirrorLayout, index: np.ndarray) -> np.ndarray:
        """Return the feature of each mirror of the region."""
        region = np.full(layout.roi_size, ALWAYS_OFF, dtype=np.int32)
        blocks = index.reshape(layout.n_features).repeat(layout.factor, axis=0).repeat(layout.factor, axis=1)
        region[: blocks.shape[0], : blocks.shape[1]] = blocks
        return region


class DarkMacro2d(Macro2d):
    """As `Macro2d`, but mirrors outside the region are off, as where a program draws its pictures on a dark array."""

    surround = ALWAYS_OFF


class Plain(LayoutKind):
    """One mirror for each feature: a vector, or a picture of the mirrors' shape or of its transpose."""

    by_mirror = True

    def check(self, layout: MirrorLayout) -> None:
        """Raise a ValueError if there are not as many features as mirrors."""
        allowed = ((layout.n_mirrors,), layout.dmd_shape, layout.dmd_shape[::-1])
        if layout.n_features not in allowed:
            raise ValueError(
                f"n_features is {layout.n_features}, but a plain layout on {layout.dmd_shape} mirrors takes "
                f"{allowed[0]}, {allowed[1]} or {allowed[2]}."
            )
        if layout.factor != 1 or layout.roi_offset != (0, 0) or layout.roi_size != layout.dmd_shape:
            raise ValueError(
                f"factor is {layout.factor}, roi_offset {layout.roi_offset} and roi_size {layout.roi_size}, but a "
                f"plain layout has factor 1 and fills the {layout.dmd_shape} mirrors."
            )

    def mirrors_per_feature(self, factor: int) -> int:
        """Return how many mirrors a feature drives."""
        return factor

    def in_order(self, layout: MirrorLayout) -> bool:
        """Whether feature k drives mirror k: not where a picture comes as (columns, rows)."""
        return layout.n_features in ((layout.n_mirrors,), layout.dmd_shape)

    def in_region(self, layout: MirrorLayout, index: np.ndarray) -> np.ndarray:
        """Return the feature of each mirror."""
        if self.in_order(layout):
            return index.reshape(layout.dmd_shape)
        return np.ascontiguousarray(index.reshape(layout.dmd_shape[::-1]).T)

    def pack(self, layout: MirrorLayout, values: np.ndarray, out: np.ndarray, threads: int) -> None:
        """Write the patterns, bit by bit: there is nothing to put together."""
        in_order, shape = self.in_order(layout), layout.dmd_shape[::-1]

        def part(start: int, stop: int) -> None:
            for k in range(start, stop):  # a vector is a megabyte here: the loop costs nothing
                row = values[k] if in_order else values[k].reshape(shape).T.ravel()
                out[k] = np.packbits(row, bitorder="little")

        over_ranges(part, len(values), threads)


KINDS: dict[str, LayoutKind] = {
    "lined": Lined(), "macro_2d": Macro2d(), "dark_macro_2d": DarkMacro2d(), "plain": Plain()
}  # fmt: skip
"""By the name that a layout has in `kind`, and in files."""
