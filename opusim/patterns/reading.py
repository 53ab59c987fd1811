"""The way back: from packed mirrors to the features that a layout would have made them of."""

from __future__ import annotations

import numpy as np

from opusim.base.parallel import default_threads, over_ranges

from .layout import MirrorLayout


def read_packed(
    layout: MirrorLayout, packed: np.ndarray, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the features behind packed mirrors, and which rows are patterns of this layout at all.

    Parameters
    ----------
    layout : MirrorLayout
        How features lie on the mirrors; "lined" or "macro_2d".
    packed : numpy.ndarray
        uint8, (n, ceil(mirrors / 8)), little-endian as `MirrorLayout.packed` gives them.
    threads : int, optional
        Threads to use; all processors by default. The result does not depend on it.

    Returns
    -------
    bits : numpy.ndarray
        uint8 0/1, (n, n_features_total); of no meaning where a row is not recognised.
    recognised : numpy.ndarray
        bool, (n,): whether `layout.packed(bits)` is the row, every mirror of it.
    """
    from .layout_kernels import read_rows  # numba is loaded when first needed

    source = np.ascontiguousarray(packed).view()
    source.flags.writeable = False
    bits = np.empty((len(source), layout.n_features_total), dtype=np.uint8)
    recognised = np.empty(len(source), dtype=np.bool_)
    plan = layout._packing_plan
    extra = _reading_plan(layout)
    threads = threads or default_threads()
    over_ranges(lambda a, b: read_rows(source, *plan, *extra, bits, recognised, a, b), len(source), threads)
    return bits, recognised


def _reading_plan(layout: MirrorLayout) -> tuple[np.ndarray, ...]:
    """Return where to read each feature, and the bytes that no feature has a part in; kept on the layout."""
    kept = layout.__dict__.get("_reading_plan")
    if kept is None:
        _, run_start, run_length, _, part_byte, _, _, copy_start, copy_length, _ = layout._packing_plan
        feature = layout.feature_of_mirror().ravel()
        mirror = np.flatnonzero(feature >= 0)
        first = np.empty(layout.n_features_total, dtype=np.int64)
        first[feature[mirror][::-1]] = mirror[::-1]  # the last write stays: the lowest mirror of each feature
        free = np.ones(layout.n_bytes, dtype=np.bool_)
        for starts, lengths in ((run_start, run_length), (copy_start, copy_length)):
            for start, length in zip(starts, lengths, strict=True):
                free[start : start + length] = False
        free[part_byte] = False
        kept = first, np.flatnonzero(free)
        layout.__dict__["_reading_plan"] = kept
    return kept
