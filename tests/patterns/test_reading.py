"""Reading features back from packed mirrors."""

from __future__ import annotations

import numpy as np
import pytest

from opusim.patterns.layout import MirrorLayout
from opusim.patterns.reading import read_packed

SHAPE = (912, 1140)
LAYOUTS = {
    "lined": MirrorLayout.lined(SHAPE, 10_000),
    "lined in a region": MirrorLayout.lined(SHAPE, 1000, (100, 51), (333, 777)),
    "picture": MirrorLayout.macro_2d(SHAPE, (28, 28)),
    "a mirror each": MirrorLayout.macro_2d(SHAPE, (900, 900), (6, 120), (900, 900)),
    "a picture on dark mirrors": MirrorLayout(SHAPE, (40, 56), "dark_macro_2d", 5, (301, 203), (200, 281)),
    "one feature": MirrorLayout.lined(SHAPE, 1),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_what_was_packed_is_read(layout):
    bits = np.random.default_rng(0).integers(0, 2, (20, layout.n_features_total), dtype=np.uint8)
    read, recognised = read_packed(layout, layout.packed(bits))
    assert recognised.all() and np.array_equal(read, bits)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_one_mirror_changed_is_seen(layout):
    """Recognised exactly where packing what was read gives the mirrors back: with a mirror a feature, that happens."""
    rng = np.random.default_rng(1)
    packed = layout.packed(rng.integers(0, 2, (60, layout.n_features_total), dtype=np.uint8))
    for row, mirror in zip(packed, rng.integers(0, layout.n_mirrors, len(packed)), strict=True):
        row[mirror // 8] ^= 1 << (mirror % 8)
    read, recognised = read_packed(layout, packed)
    assert np.array_equal(recognised, (layout.packed(read) == packed).all(axis=1))
    if layout.factor > 1:
        assert not recognised.any()


def test_random_mirrors_are_no_pattern():
    packed = np.random.default_rng(2).integers(0, 256, (10, 129_960), dtype=np.uint8)
    assert not read_packed(LAYOUTS["lined"], packed)[1].any()


def test_packing_into_an_array_writes_every_byte():
    layout = LAYOUTS["picture"]
    bits = np.random.default_rng(3).integers(0, 2, (5, 784), dtype=np.uint8)
    out = np.full((5, layout.n_bytes), 0xA5, dtype=np.uint8)
    assert layout.packed(bits, out=out) is out and np.array_equal(out, layout.packed(bits))
    with pytest.raises(ValueError, match="out has shape"):
        layout.packed(bits, out=out[:4])
