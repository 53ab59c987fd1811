"""Laying features on mirrors: the compiled module of the real driver, over `opusim.patterns.layout`."""

from __future__ import annotations

from typing import Any

import numpy as np

from opusim.drivers.lowlevel.recognition import FORMATTED
from opusim.patterns.layout import MirrorLayout

__all__ = ["Formatter"]


class Formatter:
    """Turns features into packed mirrors.

    Parameters
    ----------
    shape : tuple of int
        Mirrors as (outer, contiguous): (912, 1140) for the real device.

    Attributes
    ----------
    lined_factor : int
        Mirrors of a feature, after `define_lined_mapping`.
    macro_2d_size : int
        Side of a feature's block, after `define_macro_2d_mapping`.
    """

    def __init__(self, shape: Any) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        self._layout: MirrorLayout | None = None
        self.lined_factor = 0
        self.macro_2d_size = 0

    def define_lined_mapping(self, n_features: Any, roi_size: Any, roi_offset: Any) -> None:
        """Lay features in line on a region, each on as many mirrors as fit.

        Parameters
        ----------
        n_features : int or array of one int
            Features of a vector.
        roi_size, roi_offset : tuple of int
            Region, in the order of `shape`.
        """
        (n,) = np.atleast_1d(n_features)
        self._layout = MirrorLayout.lined(self.shape, int(n), tuple(roi_offset), tuple(roi_size))
        self.lined_factor = self._layout.factor

    def define_macro_2d_mapping(self, n_features: Any, roi_size: Any, roi_offset: Any) -> None:
        """Lay a picture of features on a region, each on the largest square block that fits; see above."""
        rows, columns = n_features
        self._layout = MirrorLayout.macro_2d(self.shape, (int(rows), int(columns)), tuple(roi_offset), tuple(roi_size))
        self.macro_2d_size = self._layout.factor

    def apply_format(self, src: np.ndarray, target: np.ndarray, n: int, reverse_bits_order: bool = True) -> None:
        """Write the mirrors of packed features into `target`, every byte of it.

        Parameters
        ----------
        src : numpy.ndarray
            uint8, (ceil(n / 8),) or (k, ceil(n / 8)), the first feature in the highest bit.
        target : numpy.ndarray
            uint8, (bytes of a pattern,) or (k, the same).
        n : int
            Features of a vector.
        reverse_bits_order : bool
            True: mirror k is bit k % 8 of its byte; False: bit 7 - k % 8.

        Raises
        ------
        RuntimeError
            If no mapping is defined.
        ValueError
            If the arrays do not fit the mapping.
        """
        layout = self._layout
        if layout is None:
            raise RuntimeError("No mapping is defined, but apply_format needs one: call define_lined_mapping first.")
        source, out = np.atleast_2d(src), np.atleast_2d(target)
        total = layout.n_features_total
        if n != total or source.dtype != np.uint8 or source.shape[-1] != -(-total // 8):
            raise ValueError(
                f"src has shape {np.shape(src)} for {n} features, but the mapping is of {total} features: "
                f"{-(-total // 8)} bytes of uint8 a vector."
            )
        if out.dtype != np.uint8 or out.shape != (len(source), layout.n_bytes) or not np.shares_memory(out, target):
            raise ValueError(
                f"target has shape {np.shape(target)}, but {len(source)} vectors need {layout.n_bytes} bytes each."
            )
        bits = np.unpackbits(source, axis=1, count=total)
        layout.packed(bits, out=out)
        if reverse_bits_order:
            # Spare bits of the last byte may be set in the source: they are no features.
            FORMATTED.formatted(layout, source if total % 8 == 0 else np.packbits(bits, axis=1))
        else:
            out[:] = np.packbits(np.unpackbits(out, axis=1, bitorder="little"), axis=1)
