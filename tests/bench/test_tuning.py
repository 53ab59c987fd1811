"""A bench whose laser is tuned, or whose medium is warmed: what it keeps, and what it refuses."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

from opusim import OPU, Device, OpticalBench
from opusim.bench.protocol import Tunable, has, tunes
from opusim.device.medium import GaussianMedium, PhaseScreenMedium
from opusim.drivers.lowlevel.device import OpuDevice
from opusim.drivers.recipe import BenchRecipe

DEVICE = Device.load("aurora").evolve(
    **{"laser.tuning_range_hz": 1e13, "medium.expansion_per_k": 1e-5, "camera.shape": (48, 48), "dmd.shape": (48, 48),
       "operation.ones_range": (1, 2304), "operation.opu_type": "type1", "resolution": "mirrors"}
)  # fmt: skip
MIRRORS = (np.random.default_rng(0).random((1, 48, 48)) < 0.5).astype(np.uint8)
SHIFT_HZ = 2e12


def frame(bench):
    return bench.expose(MIRRORS, exposure_s=2e-3)


@pytest.fixture
def bench():
    return OpticalBench(DEVICE, 3, threads=1)


def test_tuning_changes_the_light_alone_and_comes_back(bench):
    untouched = OpticalBench(DEVICE, 3, threads=1)
    assert np.array_equal(frame(bench), frame(untouched))
    bench.tune(SHIFT_HZ)
    assert bench.tuning_hz == SHIFT_HZ and bench.clock.frames == 1
    assert not np.array_equal(frame(bench), frame(untouched))
    bench.tune(0.0)
    assert bench.frequency_shift == 0.0
    # Clock and noise went on as those of the bench that was left alone.
    assert np.array_equal(frame(bench), frame(untouched))
    assert bench.device == untouched.device


def test_the_same_shift_has_the_same_bits_whatever_makes_it(bench):
    shift = SHIFT_HZ / DEVICE.laser.frequency_hz
    other, third = (OpticalBench(DEVICE, 3, threads=1) for _ in range(2))
    bench.tune(SHIFT_HZ)
    other.surround(temperature_change_k=shift / 1e-5)
    assert bench.frequency_shift == other.frequency_shift != 0.0
    shifted = OpticalBench(DEVICE.evolve(**{"medium.frequency_shift": bench.frequency_shift}), 3, threads=1)
    frames = [frame(one) for one in (bench, other, shifted)]
    assert np.array_equal(frames[0], frames[1]) and np.array_equal(frames[0], frames[2])
    third.tune(SHIFT_HZ)
    third.surround(temperature_change_k=-shift / 1e-5)
    assert third.frequency_shift == 0.0


def test_a_tuned_bench_is_copied_pickled_and_limited_as_it_is(bench):
    bench.tune(SHIFT_HZ)
    bench.surround(temperature_change_k=2.0)
    others = [copy.copy(bench), copy.deepcopy(bench), pickle.loads(pickle.dumps(bench))]
    expected = frame(bench)
    for other in others:
        assert (other.tuning_hz, other.temperature_change_k) == (SHIFT_HZ, 2.0)
        assert np.array_equal(frame(other), expected)
    limited = bench.with_limits(memory_budget=1 << 20)
    assert limited.frequency_shift == bench.frequency_shift
    assert bench.made_with != OpticalBench(DEVICE, 3, threads=1).made_with


def test_benches_of_other_limits_have_one_laser(bench):
    """Whichever is tuned, both are: frames are those of a bench that was tuned alone."""
    limited = bench.with_limits(memory_budget=1 << 20)
    alone = OpticalBench(DEVICE, 3, threads=1)
    for tuned, shown in ((bench, limited), (limited, bench)):
        frame(shown), frame(alone)  # what was prepared before is not what is shown behind it
        shift_hz = alone.tuning_hz + SHIFT_HZ
        tuned.tune(shift_hz)
        alone.tune(shift_hz)
        assert (shown.tuning_hz, shown.frequency_shift) == (shift_hz, alone.frequency_shift)
        assert np.array_equal(frame(shown), frame(alone))
        assert shown.made_with.startswith("shifted")
    limited.surround(temperature_change_k=3.0)
    assert bench.temperature_change_k == 3.0
    # Copies are tables of their own.
    for other in (copy.copy(bench), copy.deepcopy(limited), pickle.loads(pickle.dumps(limited))):
        other.tune(0.0)
        assert other.temperature_change_k == 3.0
    assert bench.tuning_hz == limited.tuning_hz == 2 * SHIFT_HZ


def test_an_opu_sees_the_tuning_of_the_bench_that_it_was_given():
    """Also after its device was given other limits, which are another object; single vectors and batches."""
    bench, alone = OpticalBench(DEVICE, 3, threads=1), OpticalBench(DEVICE, 3, threads=1)
    x = (np.random.default_rng(1).random((3, 64)) < 0.5).astype(np.uint8)
    opus = []
    for one in (bench, alone):
        device = OpuDevice(bench=one)
        device.set_limits(threads=2)
        opu = OPU(n_components=100, opu_device=device)
        opu.fit1d(x)
        opu.transform(x), opu.transform(x[0])
        opus.append((opu, device))
    bench.tune(SHIFT_HZ)
    opus[1][1].bench.tune(SHIFT_HZ)
    assert np.array_equal(opus[0][0].transform(x), opus[1][0].transform(x))
    assert np.array_equal(opus[0][0].transform(x[0]), opus[1][0].transform(x[0]))
    assert opus[0][1].bench.frequency_shift == bench.frequency_shift != 0.0


def test_a_tuning_that_fails_leaves_both_as_they_were(bench, monkeypatch):
    limited = bench.with_limits(memory_budget=1 << 20)
    monkeypatch.setattr(PhaseScreenMedium, "shifted", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        limited.tune(SHIFT_HZ)
    assert bench.tuning_hz == limited.tuning_hz == bench.frequency_shift == 0.0


def test_a_pickle_of_a_bench_without_tuning_is_read(bench):
    state = {k: v for k, v in bench.__getstate__().items() if not k.startswith(("tuning", "temperature", "pressure"))}
    other = OpticalBench.__new__(OpticalBench)
    other.__setstate__(state)
    assert other.tuning_hz == other.temperature_change_k == other.frequency_shift == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, 2e13, -2e13, "1", None, True])
def test_a_tuning_that_is_none_is_refused_and_the_bench_stays(bench, value):
    bench.tune(SHIFT_HZ)
    with pytest.raises((TypeError, ValueError), match=r"shift_hz is .*, but it must be .*\."):
        bench.tune(value)
    assert bench.tuning_hz == SHIFT_HZ


@pytest.mark.parametrize("name", ["temperature_change_k", "pressure_change_pa"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9, "1", True])
def test_surroundings_that_are_none_are_refused(bench, name, value):
    with pytest.raises((TypeError, ValueError), match=rf"{name} is .*, but it must be .*\."):
        bench.surround(**{name: value})
    assert bench.frequency_shift == 0.0


def test_a_shift_beyond_what_the_medium_takes_leaves_the_bench_as_it_was():
    bench = OpticalBench(DEVICE.evolve(**{"medium.expansion_per_k": 1e-2}), 3, threads=1)
    with pytest.raises(ValueError, match=r"medium.frequency_shift is 1.0\d*, but it must be .*0.1"):
        bench.surround(temperature_change_k=100.0)
    assert bench.temperature_change_k == bench.frequency_shift == 0.0


def test_a_laser_that_cannot_be_tuned_and_a_medium_that_does_not_change_say_so():
    plain = OpticalBench("aurora")
    assert has(plain, Tunable) and not tunes(plain) and tunes(OpticalBench(DEVICE))
    with pytest.raises(ValueError, match=r"cannot be tuned: laser.tuning_range_hz is 0\."):
        plain.tune(1e9)
    entries = OpticalBench(DEVICE.evolve(medium=GaussianMedium(DEVICE.medium.transmission)))
    with pytest.raises(ValueError, match=r"kind 'gaussian' does not change with the frequency"):
        entries.tune(1e6)
    with pytest.raises(ValueError, match=r"temperature_change_k is 1.0, but a medium of kind 'gaussian'"):
        entries.surround(temperature_change_k=1.0)
    with pytest.raises(AttributeError, match="Use tune"):
        plain.tuning_hz = 1.0


def test_a_slab_has_a_time_and_a_stack_has_none():
    with pytest.raises(ValueError, match=r"medium.diffusion_time_s is 1e-12, but medium.spectral_law is 'stack'"):
        PhaseScreenMedium(diffusion_time_s=1e-12)
    with pytest.raises(ValueError, match=r"medium.spectral_law is 'slab', but medium.diffusion_time_s is 0.0"):
        PhaseScreenMedium(spectral_law="slab")


@pytest.mark.parametrize("value", [math.nan, -1.0, "wide"])
def test_a_linewidth_that_is_none_is_refused(value):
    with pytest.raises((TypeError, ValueError), match=r"laser.linewidth_hz is .*, but it must be"):
        DEVICE.evolve(**{"laser.linewidth_hz": value})


def test_a_line_that_takes_too_many_frequencies_is_refused():
    with pytest.raises(ValueError, match=r"laser.linewidth_hz is 1\d+\.0, .* 64 frequencies at most, which leave .*\."):
        DEVICE.evolve(**{"laser.linewidth_hz": 1e14, "medium.spectral_law": "slab", "medium.diffusion_time_s": 1e-9})


def test_a_recipe_is_that_of_the_light_when_it_was_written():
    """A worker's bench has the tuning of then, also where the bench of the recipe was tuned to another since."""
    bench = OpticalBench(Device.load("aurora").evolve(**{"laser.tuning_range_hz": 1e13}), 1)
    plain = BenchRecipe.of(bench)
    plain.offer(bench)
    assert plain.bench() is bench
    bench.tune(SHIFT_HZ)
    tuned = BenchRecipe.of(bench)
    assert plain.bench() is not bench and plain.bench().device.medium.frequency_shift == 0.0
    shift = bench.frequency_shift
    bench.tune(0.0)
    assert tuned.bench().device.medium.frequency_shift == tuned.frequency_shift == shift != 0.0
