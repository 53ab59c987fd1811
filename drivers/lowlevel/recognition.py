"""Recognises mirrors that one of our formatters made, so that they take the fast way through the bench.

The formatter and the device of the real driver share nothing but arrays of bits. A formatter therefore leaves word here
of what it formats: its layout, and a hash of each vector. A device that gets mirrors asks which of them were made so:
the features are read back, each mirror is compared with what the layout would give, and the vector must be one that was
formatted. Mirrors that were changed or made by hand are never taken for formatted ones, even where a layout could have
made them, so that they all meet one matrix, the one of single mirrors.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from opusim.base.locks import new_lock
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.reading import read_packed

# What is kept: more than any program formats before it shows it.
_LAYOUTS, _VECTORS = 16, 1 << 18


class LayoutMemory:
    """What was formatted in this process, the layout used last in front."""

    def __init__(self) -> None:
        self._lock = new_lock()
        # For each layout, the hashes of the vectors that were formatted with it, the last ones at the end.
        self._formatted: OrderedDict[MirrorLayout, dict[int, None]] = OrderedDict()

    def formatted(self, layout: MirrorLayout, packed_features: np.ndarray) -> None:
        """Note vectors that were laid on mirrors.

        Parameters
        ----------
        layout : MirrorLayout
            How.
        packed_features : numpy.ndarray
            uint8, (n, ceil(n_features / 8)), the first feature in the highest bit, spare bits 0.
        """
        keys = dict.fromkeys(hash(row.tobytes()) for row in packed_features[-_VECTORS:])
        with self._lock:
            known = self._formatted.setdefault(layout, {})
            self._formatted.move_to_end(layout)
            known.update(keys)
            for old in list(itertools.islice(known, max(0, len(known) - _VECTORS))):
                del known[old]
            while len(self._formatted) > _LAYOUTS:
                self._formatted.popitem(last=False)

    def _known(self, layout: MirrorLayout, bits: np.ndarray) -> np.ndarray:
        """Whether each vector was formatted with a layout, bool (n,)."""
        rows = np.packbits(bits, axis=1)
        with self._lock:
            known = self._formatted.get(layout, {})
            return np.fromiter((hash(row.tobytes()) in known for row in rows), dtype=bool, count=len(rows))

    def layouts(self, shape: tuple[int, int]) -> list[MirrorLayout]:
        """Return the layouts for mirrors of this shape, the one used last first."""
        with self._lock:
            return [layout for layout in reversed(self._formatted) if layout.dmd_shape == shape]

    def split(
        self, packed: np.ndarray, shape: tuple[int, int], threads: int | None = None
    ) -> Iterator[tuple[slice, MirrorPatterns | None]]:
        """Cut a batch into runs of rows of one kind.

        Parameters
        ----------
        packed : numpy.ndarray
            uint8, (n, bytes), little-endian.
        shape : tuple of int
            Mirrors as (rows, columns).
        threads : int, optional
            Threads to use; all processors by default. They do not change the result.

        Yields
        ------
        slice, MirrorPatterns or None
            Rows, and the features behind them; None for mirrors that no formatter made.
        """
        n = len(packed)
        kind = np.full(n, -1)
        read: list[np.ndarray] = []
        layouts = self.layouts(shape)
        for index, layout in enumerate(layouts):
            bits, recognised = read_packed(layout, packed, threads)
            read.append(bits)
            if recognised.any():
                recognised &= self._known(layout, bits)
            kind[recognised & (kind < 0)] = index
            if (kind >= 0).all():
                break
        edges = [0, *(np.flatnonzero(np.diff(kind)) + 1).tolist(), n]
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            if start == stop:
                continue
            found = int(kind[start])
            patterns = None if found < 0 else MirrorPatterns(read[found][start:stop], layouts[found])
            yield slice(start, stop), patterns


FORMATTED = LayoutMemory()
"""Of this process: `lightonopu.formatting_v2.Formatter` writes into it, `OpuDevice` reads."""
