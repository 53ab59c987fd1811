"""The driver over the real bench: the whole line, from bits to counts."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

from opusim import OPU
from opusim.bench.bench import OpticalBench
from opusim.drivers import OpuDevice
from opusim.patterns.layout import MirrorLayout, MirrorPatterns


def bits(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


def test_working_point_of_the_real_device():
    """Half of the mirrors on at 400 us give about 9 grey levels."""
    with OPU(2000) as opu:
        y = opu.fit_transform1d(bits(200, 1000))
    assert y.shape == (200, 2000) and y.dtype == np.uint8
    assert y.mean() == pytest.approx(9.0, abs=0.7)
    assert y.context.exposure_us == 400 and y.context.frametime_us == 500


def test_same_seed_same_counts():
    x = bits(9, 300)
    expected = OPU(500, seed=3).fit_transform1d(x)
    assert np.array_equal(OPU(500, seed=3).fit_transform1d(x), expected)
    assert not np.array_equal(OPU(500, seed=4).fit_transform1d(x), expected)
    by_fours = OPU(500, seed=3, config_override={"n_samples_by_pass": 4})
    assert np.array_equal(by_fours.fit_transform1d(x), expected)
    one_by_one = OPU(500, seed=3)
    one_by_one.fit1d(x)
    assert np.array_equal(np.concatenate([one_by_one.transform(row[None]) for row in x]), expected)
    x8 = bits(9, 304)
    packed = OPU(500, seed=3).fit_transform1d(np.packbits(x8, axis=1), packed=True)
    assert np.array_equal(packed, OPU(500, seed=3).fit_transform1d(x8))


def test_every_call_has_noise_of_its_own_and_the_same_matrix():
    x = bits(20, 300)
    opu = OPU(500)
    a, b = opu.fit_transform1d(x).astype(float), opu.transform(x).astype(float)
    assert not np.array_equal(a, b)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97


def test_counts_are_those_of_the_bench():
    x = bits(4, 300)
    opu = OPU(3000, seed=1)
    y = opu.fit_transform1d(x)
    bench = OpticalBench("aurora", 1)
    layout = MirrorLayout.lined((912, 1140), 300)
    frames = bench.expose(MirrorPatterns(x, layout), exposure_s=400e-6, roi=(543, 0, 2, 2040))
    assert np.array_equal(frames.reshape(4, -1)[:, :3000], y)


def test_a_pickle_goes_on_where_the_device_was():
    x = bits(4, 300)
    opu = OPU(500, seed=7)
    opu.fit1d(x)
    assert np.array_equal(pickle.loads(pickle.dumps(opu)).transform(x), first := opu.transform(x))
    other = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(opu))))  # twice, without a bench in between
    assert other.device.bench.clock == opu.device.bench.clock and opu.device.bench.clock.frames == 4
    second = opu.transform(x)
    assert np.array_equal(other.transform(x), second) and not np.array_equal(second, first)
    other.device.bench.skip_frames(1000)
    assert not np.array_equal(other.transform(x), opu.transform(x))


def test_a_pickle_keeps_the_threads_of_a_bench():
    device = OpuDevice(bench=OpticalBench("aurora", threads=1))
    assert pickle.loads(pickle.dumps(device)).bench.threads == 1


def test_threads_never_share_noise():
    x = np.repeat(bits(1, 300), 50, axis=0)
    opu = OPU(500)
    opu.fit1d(x)
    results = []
    threads = [threading.Thread(target=lambda: results.append(opu.transform(x))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    rows = np.concatenate([np.asarray(r) for r in results])
    assert rows.shape == (200, 500) and len(np.unique(rows, axis=0)) == 200


def test_ideal_device_gives_floats():
    with OPU(200, device="ideal") as opu:
        y = opu.fit_transform1d(bits(5, 100))
    assert y.dtype == opu.device.output_dtype


@pytest.mark.slow
def test_bare_mirrors_through_the_low_level_device():
    """Packed patterns are simulated mirror by mirror, as the bench does it."""
    device = OpuDevice(output_roi=((0, 500), (2040, 1)), seed=2)
    ins = np.random.default_rng(0).integers(0, 256, (2, device.input_size), dtype=np.uint8)
    with device:
        out = np.empty((2, 100), dtype=np.uint8)
        device.transform2(ins, out, 0)
    frames = OpticalBench("aurora", 2).expose(ins, exposure_s=400e-6, roi=(500, 0, 1, 2040))
    assert np.array_equal(out, frames[:, 0, :100])
