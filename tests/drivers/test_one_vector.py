"""Single vectors by the short way of loops: the bits, the clock and the words of the way of all."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref

import numpy as np
import pytest

from opusim.base.errors import NotReadyError
from opusim.bench.bench import OpticalBench
from opusim.bench.singles import Singles
from opusim.device.record import Device
from opusim.drivers import OPU, OpuDevice
from opusim.drivers.context import ContextArray
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

N, OUT = 90, 300
AURORA = Device.load("aurora")
SMALL = AURORA.evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 2000),
       "medium.transmission": AURORA.medium.transmission}
)  # fmt: skip
#: Devices of which each goes another way somewhere, and whether the short way is for them.
DEVICES = {
    "aurora": (SMALL, True),
    "drift": (SMALL.evolve(**{"medium.decorrelation_time_s": 1.0}), True),
    "moves": (SMALL.evolve(**{"medium.decorrelation_time_s": 0.01}), False),
    "lags": (SMALL.evolve(**{"camera.lag": 0.05}), False),
    "rolling": (SMALL.evolve(**{"camera.shutter": "rolling"}), True),
    "ideal": (SMALL.ideal(), True),
    "both polarisations": (SMALL.evolve(**{"camera.polarised": False}), True),
}


def bits(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


@pytest.fixture
def shown(monkeypatch):
    """How many vectors went the short way."""
    numbers = []
    real = Singles.counts
    monkeypatch.setattr(Singles, "counts", lambda self, one: numbers.append(1) or real(self, one))
    return numbers


class Array(np.ndarray):
    """An array that is not numpy's own, and goes the way of all."""


class Pair:
    """An OPU, and another one of the same device that is given lists, which go the way of all."""

    def __init__(self, device=SMALL, n_components=OUT, **arguments):
        self.opus = [OPU(n_components, device=device, **arguments) for _ in range(2)]

    def each(self, change):
        for opu in self.opus:
            change(opu)

    def check(self, x):
        """Show a vector by both."""
        one, other = self.opus
        packed = other.current_fit.traits.packed  # which must be uint8
        y, z = one.transform(x), other.transform(x.view(Array) if packed else x.tolist())
        assert type(y) is type(z) and y.dtype == z.dtype and y.shape == z.shape
        assert y.tobytes() == z.tobytes()
        assert one.bench.clock == other.bench.clock
        told, others = vars(y.context).copy(), vars(z.context).copy()
        assert told.pop("start") <= told.pop("end") and others.pop("start") <= others.pop("end")
        assert told == others
        return y


@pytest.mark.parametrize("execution", ["matrix", "waves"])
@pytest.mark.parametrize("name", DEVICES)
def test_a_loop_has_the_frames_of_the_way_of_all(name, execution, shown):
    device, short = DEVICES[name]
    pair, x = Pair(device, execution=execution), bits(12, N)
    pair.each(lambda opu: opu.fit1d(x, online=True))
    for i, one in enumerate(x):
        pair.check(one)
        if i % 4 == 3:
            pair.each(lambda opu: opu.bench.skip_frames(5, frametime_s=0.004))
    assert len(shown) == (12 if short else 0)


@pytest.mark.parametrize("online", [True, False])
def test_counts_that_are_shown_again_go_the_short_way(online, shown):
    pair = Pair(n_components=N)
    pair.each(lambda opu: opu.fit1d(n_features=N, online=online))
    one = bits(N)
    for _ in range(5):
        counts = pair.check(one)
        one = counts > counts.mean()
        assert type(one) is ContextArray and 0 < one.sum() < N
    pair.each(lambda opu: opu.fit1d(n_features=4 * N, online=online))
    joined = np.tile(one, 4)
    pair.check(joined)
    assert len(shown) == 6
    levels = joined.astype(np.uint8)
    levels[7] = 2
    with pytest.raises(ValueError, match=r"X\[7\] is 2"):
        pair.opus[0].transform(levels)


def test_a_loop_has_the_frames_of_a_batch():
    x = bits(9, N)
    with OPU(OUT, device=SMALL) as opu, OPU(OUT, device=SMALL) as other:
        opu.fit1d(x)
        other.fit1d(x, online=True)
        assert np.array_equal(opu.transform(x), np.stack([other.transform(one) for one in x]))


@pytest.mark.parametrize("online", [True, False])
def test_whatever_changes_between_two_vectors_takes_effect(online, shown):
    x, pair = bits(4, N), Pair()
    pair.each(lambda opu: opu.fit1d(x, online=online))

    def device(name, value):
        return lambda opu: setattr(opu.device, name, value)

    def another_opu(opu):
        with OPU(40, opu_device=opu.device) as guest:
            guest.fit1d(bits(3, 20))

    changes = [
        lambda opu: None,
        device("exposure_us", 700),
        device("frametime_us", 2500),
        device("output_roi", ((0, 3), (60, 9))),
        lambda opu: setattr(opu, "n_components", 200),
        lambda opu: opu.fit1d(x, online=online, exposure_us=300),
        lambda opu: opu.fit1d(x, online=online, raw_output_size=True),
        lambda opu: opu.fit1d(x, online=online, n_components=17),
        lambda opu: opu.fit2d(x.reshape(4, 9, 10), online=online),
        lambda opu: opu.fit1d(x, online=online),
        lambda opu: opu.device.set_limits(threads=1),
        lambda opu: opu.device.set_limits(memory_budget=8 * 90 * 60),  # less than the matrix takes: waves
        lambda opu: opu.bench.skip_frames(3),
        lambda opu: opu.bench.skip_frames(1, frametime_s=3000.0),  # another state of the medium
        another_opu,
        lambda opu: setattr(opu, "n_components", OUT),
        lambda opu: (opu.close(), opu.open()),
    ]
    for change in changes:
        pair.each(change)
        for one in x[:3]:
            pictures = len(pair.opus[0].current_fit.traits.n_features) == 2
            pair.check(one.reshape(9, 10) if pictures else one)
    assert len(shown) >= 3 * len(changes) - 2  # where another fit has set the device, the way of all sets it again


def test_kinds_of_arrays(shown):
    x, pair = bits(8, N), Pair()
    pair.each(lambda opu: opu.fit1d(x, online=True))
    for one in (x[0].astype(bool), x[1].astype(np.int64), x[2].astype(np.float32), x[3][None], x[4][None, None]):
        pair.check(one)
    wide = np.zeros(2 * N, dtype=np.uint8)
    wide[::2] = x[5]
    y = pair.check(wide[::2])
    assert len(shown) == 6 and not np.shares_memory(y, wide)
    frozen = x[6].copy()
    frozen.flags.writeable = False
    pair.check(frozen)
    assert x[6].flags.writeable
    for shape, packed in (((9, 10), False), ((9, 10), True)):
        pair.each(lambda opu, s=shape, p=packed: opu.fit2d(n_features=s, packed=p, online=True))
        pair.check(np.packbits(x[7]) if packed else x[7].reshape(shape))
    pair.each(lambda opu: opu.fit1d(n_features=48 * 64, online=True))  # as many as mirrors
    pair.check(bits(48 * 64))
    pair.each(lambda opu: opu.fit1d(n_features=48 * 64, packed=True, online=True))
    pair.check(np.packbits(bits(48 * 64)))


def message(call):
    with pytest.raises((RuntimeError, TypeError, ValueError)) as caught:
        call()
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize("online", [True, False])
def test_what_is_wrong_is_told_in_the_same_words_and_takes_no_frame(online):
    x = bits(4, N)
    one, other = (OPU(OUT, device=SMALL) for _ in range(2))
    for opu in (one, other):
        opu.fit1d(x, online=online)
        opu.transform(x[0])
    wrong = [np.where(np.arange(N) == 7, v, x[0].astype(type(v))) for v in (2, -1, 0.5, np.nan, 255)]
    wrong += [x[0][:-1], x[0].reshape(9, 10), x[0].reshape(2, 45), np.array(["a"] * N), x[0].astype(complex)]
    wrong += [
        np.uint8(0).reshape(()),
        np.zeros((0, N), np.uint8),
        np.where(np.arange(N) == 3, 2, x[0]).astype(np.uint8),
    ]
    if online:
        wrong.append(x)
    for bad in wrong:
        before = one.bench.clock.frames
        told = message(lambda bad=bad: one.transform(bad))
        assert told == message(lambda bad=bad: other._counts(*other._fitted(bad)))
        assert one.bench.clock.frames == before
    assert np.array_equal(one.transform(x[1]), other.transform(x[1].tolist()))
    one.close()
    with pytest.raises(NotReadyError, match="isn't active"):
        one.transform(x[0])
    one.open()
    assert one.transform(x[0]).shape == (OUT,)


def test_a_configuration_is_read_by_a_fit_online_and_each_time_else():
    x = bits(2, N)
    with OPU(OUT, device=SMALL) as opu:
        for online in (True, False):
            opu.config["n_samples_by_pass"] = 3000
            opu.fit1d(x, online=online)
            opu.transform(x[0])
            opu.config["n_samples_by_pass"] = -1
            if online:
                assert opu.transform(x[0]).shape == (OUT,)
            else:
                with pytest.raises(ValueError, match="n_samples_by_pass"):
                    opu.transform(x[0])


def test_threads_that_show_vectors_at_once_take_a_frame_each():
    x = bits(N)
    with OPU(OUT, device=SMALL) as opu, OPU(OUT, device=SMALL) as other:
        for each in (opu, other):
            each.fit1d(x, online=True)
        found = []

        def loop():
            for _ in range(25):
                found.append(np.asarray(opu.transform(x)).tobytes())

        threads = [threading.Thread(target=loop) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(found) == sorted(np.asarray(other.transform(x)).tobytes() for _ in range(100))
        assert len(set(found)) == 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_goes_on_where_it_was_copied(tmp_path):
    x = bits(3, N)
    with OPU(OUT, device=SMALL) as opu:
        opu.fit1d(x, online=True)
        opu.transform(x[0])
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(30)
                np.save(tmp_path / "child.npy", np.asarray(opu.transform(x[1])))
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        assert status == 0
        assert np.array_equal(np.load(tmp_path / "child.npy"), opu.transform(x[1]))


def test_a_bench_that_is_replaced_is_not_kept():
    x = bits(N)
    with OPU(OUT, device=SMALL) as opu:
        opu.fit1d(x, online=True)
        opu.transform(x)
        old = weakref.ref(opu.bench)
        opu.device.set_limits(threads=1)
        gc.collect()
        assert old() is None


def test_a_bench_with_a_transform_of_its_own_is_asked_for_it(shown):
    class Counting(OpticalBench):
        calls = 0

        def transform(self, *arguments, **more):
            self.calls += 1
            return super().transform(*arguments, **more)

    x, bench = bits(3, N), Counting(SMALL)
    with OPU(OUT, opu_device=OpuDevice(bench=bench)) as opu:
        opu.fit1d(x, online=True)
        for one in x:
            opu.transform(one)
    assert bench.calls == 3 and not shown


def test_singles_of_a_bench_check_what_they_are_given():
    bench = OpticalBench(SMALL)

    layout = MirrorLayout.lined(SMALL.dmd.shape, N)
    right = {"exposure_s": 4e-4, "roi": (0, 0, 10, 60), "n_pixels": 100}
    for name, value in {"exposure_s": 0.0, "roi": (0, 0, 50, 60), "n_pixels": 601, "frametime_s": 1e-5}.items():
        with pytest.raises(ValueError, match=name.partition("_")[0]):
            bench.singles(layout, **{**right, name: value})
    with pytest.raises(ValueError, match="laid out"):
        bench.singles(MirrorLayout.lined((10, 10), 5), **right)
    other, x = OpticalBench(SMALL), bits(5, N)
    loop = bench.singles(layout, **right)
    found = np.concatenate([loop.counts(x[i : i + 1]) for i in range(5)])
    assert np.array_equal(found, other.transform(MirrorPatterns(x, layout), **right))
    assert bench.clock == other.clock
    assert OpticalBench(SMALL, backend="torch:cpu").singles(layout, **right) is None
    assert OpticalBench(DEVICES["lags"][0]).singles(layout, **right) is None
