"""Mirrors made by a formatter take the fast way; any others are simulated mirror by mirror."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from opusim.drivers import OpuDevice
from opusim.drivers.recognition import LayoutMemory
from opusim.layout import MirrorLayout

SHAPE = (912, 1140)


class Owner:
    pass


def some(layout, n=3, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, layout.n_features_total), dtype=np.uint8)


@pytest.fixture
def memory():
    return LayoutMemory()


def test_a_batch_is_recognised_and_cut_into_runs(memory):
    first, second = MirrorLayout.lined(SHAPE, 100), MirrorLayout.macro_2d(SHAPE, (8, 9))
    owners = Owner(), Owner()
    memory.used(owners[0], first)
    memory.used(owners[1], second)
    foreign = np.random.default_rng(1).integers(0, 256, (2, 129_960), dtype=np.uint8)
    a, b = some(first), some(second)
    packed = np.concatenate([first.packed(a), foreign, second.packed(b), first.packed(a)])
    runs = list(memory.split(packed, SHAPE))
    assert [(rows.start, rows.stop) for rows, _ in runs] == [(0, 3), (3, 5), (5, 8), (8, 11)]
    assert [None if p is None else p.layout for _, p in runs] == [first, None, second, first]
    assert np.array_equal(runs[0][1].bits, a) and np.array_equal(runs[2][1].bits, b)


def test_the_layout_used_last_comes_first(memory):
    """All mirrors on can be made by any layout that fills the array."""
    first, second = MirrorLayout.lined(SHAPE, 912), MirrorLayout.lined(SHAPE, 1140)
    owners = Owner(), Owner()
    memory.used(owners[0], first)
    memory.used(owners[1], second)
    on = np.full((1, 129_960), 255, dtype=np.uint8)
    assert next(iter(memory.split(on, SHAPE)))[1].layout == second
    memory.used(owners[0], first)
    assert next(iter(memory.split(on, SHAPE)))[1].layout == first


def test_a_layout_is_forgotten_with_its_formatter(memory):
    layout, owner = MirrorLayout.lined(SHAPE, 10), Owner()
    memory.used(owner, layout)
    assert memory.layouts(SHAPE) == [layout] and memory.layouts((4, 4)) == []
    del owner
    gc.collect()
    assert memory.layouts(SHAPE) == []
    assert [p for _, p in memory.split(layout.packed(some(layout)), SHAPE)] == [None]


def test_an_empty_batch_has_no_runs(memory):
    assert list(memory.split(np.empty((0, 129_960), dtype=np.uint8), SHAPE)) == []


def test_a_pattern_of_ones_own_equals_the_bench():
    """transform2 of any mirrors is `OpticalBench.expose` of them: the same frames, bit for bit."""
    from opusim import OpticalBench

    device = OpuDevice(output_roi=((0, 500), (2040, 4)), seed=3)
    bench = OpticalBench("aurora", seed=3)
    mirrors = np.random.default_rng(4).integers(0, 2, (3, *SHAPE), dtype=np.uint8)
    packed = np.packbits(mirrors.reshape(3, -1), axis=1, bitorder="little")
    out = np.empty((3, 2040 * 4), dtype=np.uint8)
    with device:
        device.transform2(packed, out)
    frames = bench.expose(mirrors, exposure_s=device.exposure_us / 1e6, roi=(500, 0, 4, 2040), frametime_s=500e-6)
    assert np.array_equal(out, frames.reshape(3, -1))
