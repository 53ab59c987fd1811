"""Mirrors made by a formatter take the fast way; any others are simulated mirror by mirror."""

from __future__ import annotations

import numpy as np
import pytest

from opusim.drivers import OpuDevice
from opusim.drivers.lowlevel import recognition
from opusim.drivers.lowlevel.recognition import LayoutMemory
from opusim.patterns.layout import MirrorLayout

SHAPE = (912, 1140)


def some(layout, n=3, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, layout.n_features_total), dtype=np.uint8)


@pytest.fixture
def memory():
    return LayoutMemory()


def formatted(memory, layout, bits):
    memory.formatted(layout, np.packbits(bits, axis=1))
    return layout.packed(bits)


def test_a_batch_is_recognised_and_cut_into_runs(memory):
    first, second = MirrorLayout.lined(SHAPE, 100), MirrorLayout.macro_2d(SHAPE, (8, 9))
    a, b = some(first), some(second)
    foreign = np.random.default_rng(1).integers(0, 256, (2, 129_960), dtype=np.uint8)
    p, q = formatted(memory, first, a), formatted(memory, second, b)
    runs = list(memory.split(np.concatenate([p, foreign, q, p]), SHAPE))
    assert [(rows.start, rows.stop) for rows, _ in runs] == [(0, 3), (3, 5), (5, 8), (8, 11)]
    assert [None if p is None else p.layout for _, p in runs] == [first, None, second, first]
    assert np.array_equal(runs[0][1].bits, a) and np.array_equal(runs[2][1].bits, b)


def test_mirrors_that_nobody_formatted_are_not_taken_for_features(memory):
    """A complement, all on, all off: the layout could have made them, but they were not made with it."""
    layout = MirrorLayout.lined(SHAPE, 912)
    bits = some(layout)
    formatted(memory, layout, bits)
    own = np.concatenate([1 - bits, np.ones((1, 912), dtype=np.uint8), np.zeros((1, 912), dtype=np.uint8)])
    assert [p for _, p in memory.split(layout.packed(own), SHAPE)] == [None]


def test_one_mirror_changed(memory):
    layout = MirrorLayout.lined(SHAPE, 60)
    packed = formatted(memory, layout, some(layout))
    packed[1, 5000] ^= 4
    assert [p is None for _, p in memory.split(packed, SHAPE)] == [False, True, False]


def test_what_was_formatted_before_another_layout_keeps_its_own(memory):
    """60 features are nested in 120: each pattern of the first is one of the second too."""
    first, second = MirrorLayout.lined(SHAPE, 60), MirrorLayout.lined(SHAPE, 120)
    packed = formatted(memory, first, some(first))
    formatted(memory, second, some(second))
    assert [p.layout for _, p in memory.split(packed, SHAPE)] == [first]
    assert memory.layouts(SHAPE) == [second, first] and memory.layouts((4, 4)) == []


def test_the_layout_used_last_wins_where_both_made_a_pattern(memory):
    first, second = MirrorLayout.lined(SHAPE, 912), MirrorLayout.lined(SHAPE, 1140)
    for layout in (first, second, first):
        on = formatted(memory, layout, np.ones((1, layout.n_features_total), dtype=np.uint8))
        assert next(iter(memory.split(on, SHAPE)))[1].layout == layout


def test_what_is_kept_is_bounded(memory, monkeypatch):
    monkeypatch.setattr(recognition, "_VECTORS", 5)
    monkeypatch.setattr(recognition, "_LAYOUTS", 2)
    layout = MirrorLayout.lined(SHAPE, 64)
    old, new = some(layout, 4, seed=1), some(layout, 4, seed=2)
    p, q = formatted(memory, layout, old), formatted(memory, layout, new)
    assert [x is None for _, x in memory.split(q, SHAPE)] == [False]
    assert [x is None for _, x in memory.split(p, SHAPE)] == [True, False]  # the last one is still known
    for n in (10, 20, 30):
        formatted(memory, MirrorLayout.lined(SHAPE, n), np.ones((1, n), dtype=np.uint8))
    assert [found.n_features for found in memory.layouts(SHAPE)] == [(30,), (20,)]


def test_an_empty_batch_has_no_runs(memory):
    assert list(memory.split(np.empty((0, 129_960), dtype=np.uint8), SHAPE)) == []


@pytest.mark.slow
@pytest.mark.parametrize("layout_in_use", [False, True])
def test_a_pattern_of_ones_own_equals_the_bench(layout_in_use):
    """transform2 of any mirrors is `OpticalBench.expose` of them: the same frames, bit for bit."""
    from opusim import OpticalBench

    layout = MirrorLayout.lined(SHAPE, 1000)
    if layout_in_use:
        formatted(recognition.FORMATTED, layout, some(layout, 2, seed=9))
    device = OpuDevice(output_roi=((0, 500), (2040, 4)), seed=3)
    bench = OpticalBench("aurora", seed=3)
    # The last one is a pattern that the layout could have made.
    mirrors = np.random.default_rng(4).integers(0, 2, (2, *SHAPE), dtype=np.uint8)
    mirrors = np.concatenate([mirrors, layout.mirrors(some(layout, 1, seed=10))])
    packed = np.packbits(mirrors.reshape(3, -1), axis=1, bitorder="little")
    out = np.empty((3, 2040 * 4), dtype=np.uint8)
    with device:
        device.transform2(packed, out)
    frames = bench.expose(mirrors, exposure_s=device.exposure_us / 1e6, roi=(500, 0, 4, 2040), frametime_s=500e-6)
    assert np.array_equal(out, frames.reshape(3, -1))
