"""Which part of the mirrors shows the features, and how: from a number of features to a `MirrorLayout`.

Regions are ((x, y), (width, height)) with x along the axis of 912 mirrors and y along that of 1140, as lightonml
counts them; these are row and column of the layout. The choices are lightonml 1.4.3's, number for number.
"""

from __future__ import annotations

import math

from opusim.base import validation
from opusim.bench.region import LightonmlRoi, checked_lightonml_roi
from opusim.patterns.layout import MirrorLayout

from .types import FeaturesFormat, InputRoiStrategy, Tuple2D, as_member


class InputRoi(validation.Fixed):
    """Chooses the region of interest on the mirrors.

    Parameters
    ----------
    input_shape : tuple of int
        Mirrors, (912, 1140) for the real device.
    ones_range : tuple of int
        Fewest and most mirrors on that give a good signal.
    """

    _fixed = dict.fromkeys(("input_shape", "input_size"), "Make another InputRoi.")

    def __init__(self, input_shape: Tuple2D, ones_range: tuple[int, int]) -> None:
        self.input_shape = input_shape
        self.input_size = math.prod(input_shape)
        self.ones_range = ones_range

    def compute_roi(
        self, strategy: InputRoiStrategy, n_features: tuple[int, ...], n_ones: float | None = None
    ) -> LightonmlRoi:
        """Return the region for features of one or two dimensions.

        Parameters
        ----------
        strategy : InputRoiStrategy
            full, small or auto.
        n_features : tuple of int
            One number, or two.
        n_ones : float, optional
            Mean number of ones in a vector; `auto` needs it.

        Raises
        ------
        ValueError
            If the features do not fit, or `auto` finds no region because the input is too sparse.
        """
        strategy = as_member("input_roi_strategy", strategy, InputRoiStrategy)
        if strategy is InputRoiStrategy.small:
            return self._small(n_features)
        if strategy is InputRoiStrategy.full:
            return self._checked(n_features, self._macro(n_features, self._largest_factor(n_features)))
        if n_ones is None:
            raise ValueError("input_roi_strategy is auto, but auto needs data to count ones in: fit on X, or use full.")
        return self._auto(n_features, n_ones)

    def _auto(self, n_features: tuple[int, ...], n_ones: float) -> LightonmlRoi:
        if math.prod(n_features) > self.input_size / 2:
            return self._small(n_features)  # no room for macro-pixels
        largest = self._largest_factor(n_features)
        for factor in range(largest, 0, -1):
            # The largest factor of features in line takes the whole array, lower ones a region of its proportions.
            roi = self._macro(n_features, factor, whole=factor == largest)
            # The search multiplies by `factor` even for squares of factor x factor mirrors, as lightonml does:
            # programs would meet other regions otherwise. What is reported and sets the exposure is exact.
            if self.input_size - math.prod(roi[1]) + int(n_ones * factor) >= self.ones_range[0]:
                return self._checked(n_features, roi)
        raise ValueError(
            f"X has {n_ones:.4g} ones in a vector of {_shown(n_features)} on average, but at least "
            f"{self.ones_range[0]} mirrors must be on and no region of interest reaches that: the input is too sparse "
            "for the input_roi_strategy auto."
        )

    def _largest_factor(self, n_features: tuple[int, ...]) -> int:
        if len(n_features) == 1:
            factor = self.input_size // n_features[0]
        else:
            factor = min(self.input_shape[0] // n_features[0], self.input_shape[1] // n_features[1])
        if factor == 0:
            raise self._too_large(n_features)
        return factor

    def _macro(self, n_features: tuple[int, ...], factor: int, whole: bool = True) -> LightonmlRoi:
        if len(n_features) == 2:
            size = (n_features[0] * factor, n_features[1] * factor)
        elif whole:
            return (0, 0), self.input_shape
        else:
            ratio = self.input_shape[0] / self.input_shape[1]
            y = math.sqrt(n_features[0] * factor / ratio)
            size = (math.ceil(ratio * y), math.ceil(y))
        return self._centred(size), size

    def _small(self, n_features: tuple[int, ...]) -> LightonmlRoi:
        if len(n_features) == 2:
            size = (n_features[0], n_features[1])
        else:
            side = math.ceil(math.sqrt(n_features[0]))
            short = min(self.input_shape)
            if side <= short:
                size = (side, side)
            else:
                long = math.ceil(n_features[0] / short)
                size = (short, long) if self.input_shape[0] == short else (long, short)
        return self._checked(n_features, (self._centred(size), size))

    def _centred(self, size: Tuple2D) -> Tuple2D:
        return (self.input_shape[0] // 2 - size[0] // 2, self.input_shape[1] // 2 - size[1] // 2)

    def _checked(self, n_features: tuple[int, ...], roi: LightonmlRoi) -> LightonmlRoi:
        fits = all(0 <= o and 1 <= s and o + s <= n for o, s, n in zip(*roi, self.input_shape, strict=True))
        if not fits:
            raise self._too_large(n_features)
        return roi

    def _too_large(self, n_features: tuple[int, ...]) -> ValueError:
        return ValueError(
            f"n_features is {_shown(n_features)}, but the features must fit on the {self.input_shape[0]} x "
            f"{self.input_shape[1]} mirrors ({self.input_size} in all)."
        )


def make_layout(input_shape: Tuple2D, n_features: tuple[int, ...], roi: LightonmlRoi | None) -> MirrorLayout:
    """Return the layout of features on a region.

    Parameters
    ----------
    input_shape : tuple of int
        Mirrors.
    n_features : tuple of int
        One number (laid in line), or two (square blocks).
    roi : tuple or None
        ((x, y), (width, height)); None if there are as many features as mirrors.

    Raises
    ------
    ValueError
        If they do not fit.
    """
    if roi is None:
        return MirrorLayout.plain(input_shape, n_features)
    offset, size = checked_lightonml_roi("input_roi", roi, input_shape)
    fits = math.prod(n_features) <= math.prod(size) if len(n_features) == 1 else (
        n_features[0] <= size[0] and n_features[1] <= size[1]
    )  # fmt: skip
    if not fits:
        raise ValueError(
            f"input_roi is {roi!r}, but {_shown(n_features)} features do not fit on its {size[0]} x {size[1]} mirrors."
        )
    if len(n_features) == 2:
        return MirrorLayout.macro_2d(input_shape, (n_features[0], n_features[1]), offset, size)
    return MirrorLayout.lined(input_shape, n_features[0], offset, size)


def _shown(n_features: tuple[int, ...]) -> int | tuple[int, ...]:
    return n_features[0] if len(n_features) == 1 else n_features


def format_of(layout: MirrorLayout) -> tuple[FeaturesFormat, int]:
    """Return the format's name and its factor as the context reports them; lightonml's factor is 0 for none."""
    if layout.by_mirror:
        return FeaturesFormat.none, 0
    # lightonml has our names for the kinds that lay features out, and none for dark mirrors around blocks.
    return FeaturesFormat[layout.kind.removeprefix("dark_")], layout.factor
