"""What comes back from a pickle or a copy is what went in, above all the bench: a laboratory's never becomes ours."""

from __future__ import annotations

import copy
import os
import pickle
import threading

import numpy as np
import pytest
from sklearn.base import clone

from opusim import OPU
from opusim.bench.bench import OpticalBench
from opusim.device.record import Device
from opusim.dfa import OpticalFeedback
from opusim.drivers import OpuDevice
from opusim.drivers.projections.sklearn import LightonOPUMap, OPUMap

AURORA = Device.load("aurora")
SMALL = AURORA.evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 2000),
       "medium.transmission": AURORA.medium.transmission}
)  # fmt: skip
N, OUT = 40, 120


def bits(n: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (n, N), dtype=np.uint8)


class Bright(OpticalBench):
    """A bench that is none of ours: its counts are 100 or more, where ours have a mean of ten."""

    label = ""

    def transform(self, *args, **kwargs):
        return np.maximum(super().transform(*args, **kwargs), 100)


class Lab:
    """A bench of another class altogether."""

    def __init__(self) -> None:
        self.inside = Bright(SMALL, 4, execution="waves")
        self.label = ""

    def __getattr__(self, name):
        if name in ("inside", "limits", "with_limits") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inside, name)


def bright() -> Bright:
    return Bright(SMALL, 4, execution="waves", threads=2)


def ours() -> OpticalBench:
    return OpticalBench(SMALL, 4, execution="waves", threads=2, memory_budget=12345, backend="numpy")


def there_and_back(thing):
    return pickle.loads(pickle.dumps(thing))


def by_value(thing):
    """As joblib and Dask send it."""
    cloudpickle = pytest.importorskip("cloudpickle")
    return cloudpickle.loads(cloudpickle.dumps(thing))


COPIES = {"pickle": there_and_back, "cloudpickle": by_value, "copy": copy.copy, "deepcopy": copy.deepcopy}
each_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
each_bench = pytest.mark.parametrize("make", [bright, Lab, ours])


# ---------------------------------------------------------------- the device


@each_copy
@each_bench
def test_a_device_comes_back_over_the_bench_that_it_had(make, copied):
    bench = make()
    bench.label, bench.clock.power_w = "mine", 77.0
    bench.skip_frames(9, frametime_s=0.5)
    device = OpuDevice(bench=bench, exposure_us=77)
    found = copied(device)
    assert type(found.bench) is type(bench) and found.bench.label == "mine"
    assert found.bench.clock == bench.clock and found.bench.clock.frames == 9
    assert (found.seed, found.exposure_us, found.backend) == (4, 77, device.backend)
    assert found.device_model == found.bench.device == SMALL and found.bench.execution == "waves"
    if make is not Lab:
        assert found.bench.limits == bench.limits and found.bench.threads == 2
    if copied in (copy.copy, copy.deepcopy):
        assert found is device  # there is one of it


def test_two_devices_of_one_bench_come_back_so():
    bench = ours()
    first, second = there_and_back([OpuDevice(bench=bench), OpuDevice(bench=bench)])
    assert first is not second and first.bench is second.bench


class Wired(Lab):
    """Holds what no pickle can: a line to the laboratory."""

    def __init__(self) -> None:
        super().__init__()
        self.line = threading.Lock()


def test_a_bench_that_cannot_be_pickled_says_so_itself():
    opu = OPU(OUT, OpuDevice(bench=Wired()))
    expected = opu.fit_transform1d(bits())
    with pytest.raises(TypeError, match="cannot pickle '_thread.lock' object"):
        pickle.dumps(opu)
    assert opu.device.active and opu.transform(bits()).shape == expected.shape


def test_a_bench_that_is_not_made_yet_gets_the_memory_of_where_it_was_asked_for(monkeypatch):
    """The way depends on it, and last bits on the way; threads are those of where it is used."""
    opu = OPU(OUT, device=SMALL)
    data, expected = pickle.dumps(opu), opu.fit_transform1d(bits())
    for module in ("opusim.bench.bench", "opusim.bench.plan"):
        monkeypatch.setattr(f"{module}.memory_budget_bytes", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(5)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    other = pickle.loads(data)
    assert np.array_equal(other.fit_transform1d(bits()), expected)
    assert other.device.bench.memory_budget == opu.device.bench.memory_budget > 1
    later = there_and_back(opu).device.bench
    assert later.memory_budget == opu.device.bench.memory_budget and later.threads == other.device.bench.threads == 5


def test_settings_made_after_a_fit_come_back():
    """A program may set the exposure on the device: it holds until the next fit, in a copy too."""
    opu = OPU(OUT, device=SMALL)
    opu.fit1d(bits())
    opu.device.exposure_us = 100
    other = there_and_back(opu)
    expected = opu.transform(bits())
    assert np.array_equal(other.transform(bits()), expected) and other.device.exposure_us == 100


@each_copy
@pytest.mark.parametrize("mode", ["holographic", "intensity"])
def test_what_was_measured_for_a_fit_comes_back(mode, copied):
    """Measured anew, it would take frames and be other numbers: the copy of a linear transform gave another one."""
    device = SMALL.evolve(**{"camera.shape": (80, 120), "operation.minimum_output_size": 2000})
    opu = OPU(OUT, device=device, seed=5, linear_mode=mode)
    opu.fit1d(n_features=N)
    if mode == "holographic":
        opu.calibrate(store=False)
    opu.linear_transform(bits())
    other = copied(opu)
    frames = opu.bench.clock.frames
    expected = opu.linear_transform(bits())
    each = opu.bench.clock.frames - frames
    found = other.linear_transform(bits())
    if other.device is opu.device:
        assert opu.bench.clock.frames - frames == 2 * each  # its own frames, and no others
    else:
        assert np.array_equal(found, expected) and other.bench.clock == opu.bench.clock


# ---------------------------------------------------------------- those who use a device


def over(bench) -> OPU:
    return OPU(OUT, OpuDevice(bench=bench), linear_mode="intensity")


@each_copy
@pytest.mark.parametrize("make", [bright, Lab])
def test_an_opu_goes_on_with_its_own_bench(make, copied):
    opu = over(make())
    first = opu.fit_transform1d(bits())
    other = copied(opu)
    assert type(other.device.bench) is type(opu.device.bench)
    counts = other.transform(bits())
    assert counts.min() >= 100 and counts.shape == first.shape
    if other.device is not opu.device:
        assert np.array_equal(counts, opu.transform(bits()))


MAPS = {"OPUMap": OPUMap, "LightonOPUMap": LightonOPUMap}


@pytest.mark.parametrize("fitted", [True, False])
@pytest.mark.parametrize("kind", MAPS.values(), ids=MAPS)
def test_a_map_goes_on_with_its_own_bench(kind, fitted):
    mapping = kind(OUT, over(Lab()))
    if fitted:
        mapping.fit(bits())
    for copied in (there_and_back, by_value, copy.deepcopy, clone):
        other = copied(mapping)
        assert type(other.opu.device.bench) is Lab
        assert other.fit(bits()).transform(bits()).min() >= 100
        if fitted and copied is not clone:
            assert type(copied(mapping).opu_.device.bench) is Lab and copied(mapping).transform(bits()).min() >= 100


def test_a_map_of_torch_goes_on_with_its_own_bench():
    pytest.importorskip("torch", reason="torch is not installed")
    from opusim.drivers.projections.torch import OPUMap as TorchMap

    mapping = TorchMap(OUT, over(Lab())).fit(bits())
    for copied in (there_and_back, by_value, copy.deepcopy):
        other = copied(mapping)
        assert type(other.opu_.device.bench) is Lab and other(bits()).min() >= 100


def test_feedback_goes_on_with_its_own_bench():
    feedback = OpticalFeedback(over(Lab()), OUT, n_classes=N)
    for copied in (there_and_back, by_value, copy.deepcopy):
        other = copied(feedback)
        assert type(other.opu.device.bench) is Lab and other.state() == feedback.state()
        assert other.describe() == feedback.describe()


@pytest.mark.slow
def test_workers_of_joblib_use_the_bench_that_was_sent():
    joblib = pytest.importorskip("joblib")

    class Elsewhere(OpticalBench):  # known here only, so that it is sent by value
        def transform(self, *args, **kwargs):
            return np.maximum(super().transform(*args, **kwargs), 100)

    opu = over(Elsewhere(SMALL, 4))
    opu.fit1d(bits())
    for y in joblib.Parallel(n_jobs=2)(joblib.delayed(opu.transform)(bits()) for _ in range(2)):
        assert y.min() >= 100 and y.shape == (5, OUT)
