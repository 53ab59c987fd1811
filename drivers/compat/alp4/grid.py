"""On which blocks of mirrors a program draws its pictures, so that they take the fast way through the bench.

Programs for micromirrors draw macro-mirrors: blocks of some mirrors a side, each of one value, the same blocks in all
pictures. A bench under the resolution "auto" simulates a mode for each block, which is another realisation of the same
medium than one for each mirror: so all pictures of a program must lie on one grid of blocks. It is chosen once, when
light is first needed, from all pictures in the memory of the board; see `Grid`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from opusim.base.locks import new_lock
from opusim.base.parallel import default_threads, over_ranges
from opusim.base.warn import warn_outside
from opusim.bench.bench import OpticalBench
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.reading import read_packed

__all__ = ["FEWEST", "Grid", "blocks_in", "centred", "read"]

FEWEST = 16
"""Planes that must be in the memory for blocks to be seen in them: few pictures may be coarser than those to come."""
# Pictures in which blocks are looked for first: others are compared with what is found.
_SAMPLE = 64


def centred(shape: tuple[int, int], blocks: tuple[int, int], name: str = "grid") -> MirrorLayout:
    """Return square blocks as large as fit, in the middle of the mirrors, and dark ones around them.

    Parameters
    ----------
    shape : tuple of int
        Mirrors as (rows, columns).
    blocks : tuple of int
        Blocks as (rows, columns).
    name : str
        What the sentence of an error calls them.

    Returns
    -------
    MirrorLayout
        Of the kind "dark_macro_2d".

    Raises
    ------
    ValueError
        If there are more blocks than mirrors.
    """
    side = min(shape[0] // blocks[0], shape[1] // blocks[1])
    if side < 1:
        raise ValueError(f"{name} is {blocks} blocks, but there are only {shape} mirrors.")
    size = blocks[0] * side, blocks[1] * side
    offset = (shape[0] - size[0]) // 2, (shape[1] - size[1]) // 2
    return MirrorLayout(shape, blocks, "dark_macro_2d", side, offset, size)


def blocks_in(
    planes: Iterable[np.ndarray], shape: tuple[int, int], threads: int | None = None
) -> MirrorLayout | None:  # fmt: skip
    """Return the largest square blocks that each have one value, in all of some pictures.

    Parameters
    ----------
    planes : iterable of ndarray of uint8, shape (n, bytes)
        Packed mirrors, the first in the lowest bit.
    shape : tuple of int
        Mirrors as (rows, columns); columns a multiple of 64.
    threads : int, optional
        Threads to use; all processors by default.

    Returns
    -------
    MirrorLayout or None
        Of the kind "dark_macro_2d", as large as what is on in any of them; None where blocks have one mirror, or
        nothing differs.
    """
    from .packing_kernels import find_edges  # numba is loaded when first needed

    rows, columns = shape
    words = columns // 64
    found: list[tuple[np.ndarray, ...]] = []

    def work(pictures: np.ndarray, a: int, b: int) -> None:
        sums = tuple(np.zeros(size, dtype=np.uint64) for size in (words, rows, words, rows))
        find_edges(pictures, sums[0], sums[1], sums[2], sums[3], a, b)
        found.append(sums)

    for each in planes:
        pictures = np.ascontiguousarray(each).view("<u8").reshape(len(each), rows, words)
        over_ranges(lambda a, b, p=pictures: work(p, a, b), len(each), threads or default_threads())  # type: ignore[misc]
    if not found:
        return None
    merged = [np.bitwise_or.reduce([sums[k] for sums in found]) for k in range(4)]
    column_edges, columns_on = (
        np.flatnonzero(np.unpackbits(merged[k].view(np.uint8), bitorder="little")) for k in (0, 2)
    )
    row_edges, rows_on = np.flatnonzero(merged[1]), np.flatnonzero(merged[3])
    if not len(rows_on):
        return None
    # Blocks begin where something is on, end where nothing is on any more, and lines between them lie at all edges.
    lines = [np.union1d(edges, (on[0], on[-1] + 1)) for edges, on in ((row_edges, rows_on), (column_edges, columns_on))]
    if all(len(each) == 2 for each in lines):  # one value everywhere: no blocks to be seen
        return None
    side = math.gcd(*(int(step) for each in lines for step in np.diff(each)))
    if side < 2:
        return None
    (top, height), (left, width) = ((int(each[0]), int(each[-1] - each[0])) for each in lines)
    blocks = (height // side, width // side)
    return MirrorLayout(shape, blocks, "dark_macro_2d", side, (top, left), (height, width))


def read(
    layout: MirrorLayout, packed: np.ndarray, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return what `read_packed` does: the features behind packed mirrors, and which rows are of the layout.

    Parameters
    ----------
    layout : MirrorLayout
        How features lie on the mirrors.
    packed : ndarray of uint8, shape (n, bytes)
        Packed mirrors, the first in the lowest bit.
    threads : int, optional
        Threads to use; all processors by default.

    Returns
    -------
    bits : ndarray of uint8, shape (n, n_features)
        Of no meaning where a row is not recognised.
    recognised : ndarray of bool, shape (n,)
        Whether the layout gives the row.
    """
    rows, columns = layout.dmd_shape
    if layout.kind != "dark_macro_2d" or columns % 64:
        return read_packed(layout, packed, threads)
    from .packing_kernels import read_blocks

    (top, left), side = layout.roi_offset, layout.factor
    n_rows, n_columns = layout.n_features
    places = left + side * np.arange(n_columns + 1)
    lines, inside = np.zeros(columns, dtype=np.uint8), np.zeros(columns, dtype=np.uint8)
    lines[places[places < columns]] = 1
    inside[left : places[-1]] = 1
    masks = [np.packbits(each, bitorder="little").view("<u8") for each in (lines, inside)]
    pictures = np.ascontiguousarray(packed).view("<u8").reshape(len(packed), rows, columns // 64)
    bits = np.empty((len(packed), layout.n_features_total), dtype=np.uint8)
    recognised = np.empty(len(packed), dtype=np.bool_)
    over_ranges(
        lambda a, b: read_blocks(
            pictures, top, side, n_rows, masks[0], masks[1], places[:-1], bits, recognised, a, b
        ), len(packed), threads or default_threads(),
    )  # fmt: skip
    return bits, recognised


class Grid:
    """The blocks on which all pictures of a program lie.

    Parameters
    ----------
    bench : OpticalBench
        What shows them.
    kind : MirrorLayout or {"auto", "mirrors"}
        A layout: pictures must be of it, others are refused. "mirrors": single mirrors. "auto": those that are found
        in the pictures that lie in the memory of the board when light is first needed, at least `FEWEST` planes; else
        single mirrors.

    Attributes
    ----------
    layout : MirrorLayout or None
        The blocks; None for single mirrors, or before light is needed.
    settled : bool
        Whether it has been chosen.

    Notes
    -----
    Once chosen, a grid stays. A picture of a program that has details finer than the blocks that were found ends them,
    which a warning tells: from then on all pictures are shown by single mirrors. Where the bench has a mode for each
    mirror anyway (resolution "mirrors", ``Device.has_places``), both are one matrix, and each picture goes its own way.
    """

    def __init__(self, bench: OpticalBench, kind: MirrorLayout | str = "auto") -> None:
        self._bench, self._lock = bench, new_lock()
        own = bench.input_layout
        self._declared = own is not None or isinstance(kind, MirrorLayout)
        self.layout: MirrorLayout | None = kind if isinstance(kind, MirrorLayout) else own
        self.settled = self._declared or kind == "mirrors"
        device = bench.device
        self._one_matrix = device.resolution == "mirrors" or device.has_places

    def settle(self, planes: list[np.ndarray]) -> None:
        """Choose, if that was not done yet, by what is in the memory."""
        with self._lock:
            if self.settled:
                return
            self.settled = True
            if sum(map(len, planes)) < FEWEST:
                return
            shape = self._bench.mirror_shape
            sample = blocks_in([some[:_SAMPLE] for some in planes], shape, self._bench.threads)
            if sample is not None and not all(_fits(sample, some, self._bench.threads) for some in planes):
                sample = blocks_in(planes, shape, self._bench.threads)
            self.layout = sample

    def patterns(self, packed: np.ndarray, inverted: bool = False) -> MirrorPatterns | np.ndarray:
        """Return pictures as the bench takes them.

        Parameters
        ----------
        packed : ndarray of uint8, shape (n, bytes)
            Packed mirrors, the first in the lowest bit.
        inverted : bool
            Whether on and off are exchanged.

        Returns
        -------
        MirrorPatterns or ndarray
            Features of the grid, or packed mirrors.

        Raises
        ------
        ValueError
            If a grid was declared that they do not lie on.
        """
        with self._lock:
            if self.layout is not None:
                bits, recognised = read(self.layout, packed, self._bench.threads)
                if recognised.all():
                    return self._features(bits, inverted)
                self._left(int(np.flatnonzero(~recognised)[0]), len(packed))
        return np.bitwise_xor(packed, np.uint8(255)) if inverted else packed

    def _features(self, bits: np.ndarray, inverted: bool) -> MirrorPatterns:
        layout = self.layout
        assert layout is not None
        if inverted:
            if layout.kind != "dark_macro_2d":
                raise ValueError(
                    f"ALP_PROJ_INVERSION is set, but the pictures of this bench lie on a layout of kind "
                    f"{layout.kind!r}: "
                    "it must be 'dark_macro_2d', around which mirrors can be on as well."
                )
            layout = replace(layout, kind="macro_2d")  # around the blocks mirrors are on, then
            bits = bits ^ np.uint8(1)
        return MirrorPatterns(bits, layout)

    def _left(self, k: int, n: int) -> None:
        layout = self.layout
        assert layout is not None
        blocks = f"{layout.n_features} blocks of {layout.factor} mirrors a side at {layout.roi_offset}"
        if self._declared:
            raise ValueError(
                f"Picture {k} of {n} does not lie on the grid of this bench, {blocks}: each block must have one value, "
                "and the mirrors around them must be off."
            )
        if self._one_matrix:
            return
        self.layout = None
        warn_outside(
            f"A picture does not lie on the {blocks} in which this program drew those before: from here on "
            f"pictures are "
            "shown by single mirrors, slowly, and through another realisation of the medium. Say which grid is meant "
            "before light is needed: opusim.adapters.alp4.use(grid=...) or OPUSIM_ALP4_GRID, 'mirrors' or blocks."
        )


def _fits(layout: MirrorLayout, planes: np.ndarray, threads: int) -> bool:
    return all(read(layout, planes[a : a + 512], threads)[1].all() for a in range(0, len(planes), 512))
