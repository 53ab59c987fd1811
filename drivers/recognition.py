"""Recognises mirrors that one of our formatters made, so that they take the fast way through the bench.

The formatter and the device of the real driver share nothing but arrays of bits. A formatter therefore leaves word of
its layout here, and a device asks whether the mirrors it gets are a pattern of such a layout. Each mirror is
compared, so that a pattern that was changed or made by hand is never taken for something else. A pattern that two
layouts can make, as all mirrors on, is read as one of the formatter that was used last.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator

import numpy as np

from opusim.layout import MirrorLayout, MirrorPatterns
from opusim.layout_reading import read_packed


class LayoutMemory:
    """The layouts of the formatters that are alive, the one used last in front."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._layouts: weakref.WeakKeyDictionary[object, MirrorLayout] = weakref.WeakKeyDictionary()

    def used(self, owner: object, layout: MirrorLayout) -> None:
        """Note that `owner`, a formatter, has just used `layout`; it is forgotten with its owner."""
        with self._lock:
            self._layouts.pop(owner, None)
            self._layouts[owner] = layout

    def layouts(self, shape: tuple[int, int]) -> list[MirrorLayout]:
        """Return the layouts for mirrors of this shape, the one used last first."""
        with self._lock:
            newest_first = list(self._layouts.values())[::-1]
        return [layout for layout in dict.fromkeys(newest_first) if layout.dmd_shape == shape]

    def split(self, packed: np.ndarray, shape: tuple[int, int]) -> Iterator[tuple[slice, MirrorPatterns | None]]:
        """Cut a batch into runs of rows of one kind.

        Parameters
        ----------
        packed : numpy.ndarray
            uint8, (n, bytes), little-endian.
        shape : tuple of int
            Mirrors as (rows, columns).

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
            bits, recognised = read_packed(layout, packed)
            read.append(bits)
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
