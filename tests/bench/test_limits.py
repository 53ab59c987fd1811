"""Threads and memory: what is asked for holds, from the bench to a sweep, and cannot be changed without effect."""

from __future__ import annotations

import copy
import os

import numpy as np
import pytest

from opusim import OPU
from opusim.base import parallel
from opusim.bench.bench import OpticalBench
from opusim.calibration.procedures import linear
from opusim.device.medium import GaussianMedium
from opusim.device.record import Device
from opusim.drivers import OpuDevice
from opusim.drivers.lowlevel.recognition import FORMATTED
from opusim.drivers.recipe import BenchRecipe
from opusim.fringes import demodulation
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.sweep import Sweep

AURORA = Device.load("aurora")
SMALL = AURORA.evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 2000),
       "medium.transmission": AURORA.medium.transmission}
)  # fmt: skip
GAUSSIAN = SMALL.evolve(medium=GaussianMedium(SMALL.medium.transmission))
# Without noise or rounding: the last bits are there to be seen.
EXACT = SMALL.ideal()
N, PIXELS = 60, 600
MATRIX_BYTES = 8 * (N + 1) * PIXELS
EXPOSURE = {"exposure_s": 400e-6, "roi": (10, 0, 10, 60), "n_pixels": PIXELS}


def bits(n: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (n, N), dtype=np.uint8)


def patterns(n: int = 5) -> MirrorPatterns:
    return MirrorPatterns(bits(n), MirrorLayout.lined(SMALL.dmd.shape, N))


def way_of(bench: OpticalBench) -> str:
    return bench.explain(patterns(), roi=EXPOSURE["roi"], n_pixels=PIXELS).way


@pytest.fixture
def used(monkeypatch) -> list[int]:
    """Threads of every call, the calling one included, on a machine of five processors."""
    numbers: list[int] = [1]

    class Recording(parallel._Pool):
        def idle(self, n: int) -> list:
            numbers.append(n + 1)
            return super().idle(n)

    monkeypatch.setattr(parallel, "_pool", Recording())
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(5)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    for few in ("_FEW_BURSTS", "_FEW_PIXELS"):  # below which one thread does it
        monkeypatch.setattr(demodulation, few, 0)
    return numbers


# ---------------------------------------------------------------- a bench


@pytest.mark.parametrize("how", ["at once", "later"])
def test_limits_are_in_force(how, used):
    """One byte more or less decides whether the matrix is kept, hence the way."""
    for budget, way in ((MATRIX_BYTES, "matrix"), (MATRIX_BYTES - 1, "waves")):
        limits = {"memory_budget": budget, "threads": 7}
        bench = OpticalBench(EXACT, **limits) if how == "at once" else OpticalBench(EXACT).with_limits(**limits)
        assert way_of(bench) == way
        bench.transform(patterns(9), **EXPOSURE)
        assert (bench.threads, bench.memory_budget, bench.limits) == (7, budget, limits)
    assert max(used) == 7


def test_with_limits_leaves_the_rest_as_it_is():
    class Labelled(OpticalBench):
        label = ""

    bench = Labelled(SMALL, 4, execution="waves", threads=2, backend="numpy")
    bench.label = "mine"
    other = bench.with_limits(memory_budget=1000)
    assert type(other) is Labelled and other.label == "mine" and other is not bench
    assert (other.device, other.seed, other.execution, other.backend) == (SMALL, 4, "waves", "numpy")
    assert other.limits == {"memory_budget": 1000, "threads": 2} and bench.limits["memory_budget"] is None
    assert (bench.with_limits(threads=3).memory_budget, bench.threads) == (bench.memory_budget, 2)


def test_with_limits_shares_the_clock():
    """It is one device: two benches of it take turns on its frames."""
    bench, alone = OpticalBench(SMALL, 4), OpticalBench(SMALL, 4)
    expected = [alone.transform(patterns(), **EXPOSURE) for _ in range(3)]
    other = bench.with_limits(threads=2)
    found = [b.transform(patterns(), **EXPOSURE) for b in (bench, other, bench)]
    assert all(map(np.array_equal, found, expected)) and bench.clock is other.clock
    assert bench.clock == alone.clock


def test_a_copy_has_a_clock_of_its_own():
    bench = OpticalBench(SMALL, 4, threads=2, memory_budget=1000)
    first = bench.transform(patterns(), **EXPOSURE)
    other = copy.copy(bench)
    assert np.array_equal(other.transform(patterns(), **EXPOSURE), bench.transform(patterns(), **EXPOSURE))
    assert other.clock == bench.clock and other.clock is not bench.clock and bench.clock.frames == 2 * len(first)
    assert other.limits == {"memory_budget": 1000, "threads": 2}


@pytest.mark.parametrize("limits", [{"threads": 0}, {"threads": 1.5}, {"memory_budget": 0}, {"memory_budget": "2 GiB"}])
def test_bad_limits_are_refused(limits):
    (name,) = limits
    for change in (OpticalBench(SMALL).with_limits, OpuDevice(device=SMALL).set_limits):
        with pytest.raises((TypeError, ValueError), match=f"{name} is .*must be a whole number of at least 1"):
            change(**limits)


CHANGES = {
    "clock": (None, "None: this OpticalBench was made with .*, which stays. Use advance_to or skip_frames"),
    "threads": (7, "7: this OpticalBench was made with 2, which stays. Use with_limits"),
    "memory_budget": (10, "10: this OpticalBench was made with 1000, which stays. Use with_limits"),
    "seed": (1, "1: this OpticalBench was made with 0, which stays. Make another"),
    "device": (AURORA, "a Device: this OpticalBench was made with a Device, which stays. Make another"),
    "execution": ("waves", "'waves': this OpticalBench was made with 'auto', which stays. Make another"),
    "backend": ("torch", "'torch': this OpticalBench was made with 'auto', which stays. Make another"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_bench_was_made_with_cannot_be_set(name):
    value, sentence = CHANGES[name]
    bench = OpticalBench(SMALL, threads=2, memory_budget=1000)
    before = getattr(bench, name)
    with pytest.raises(AttributeError, match=f"^{name} can't be set to {sentence}.*[.]$"):
        setattr(bench, name, value)
    assert getattr(bench, name) is before


# ---------------------------------------------------------------- an OPU


def test_an_opu_hands_its_limits_to_the_bench():
    opu = OPU(PIXELS, device=EXACT, threads=3, memory_budget=MATRIX_BYTES - 1)
    opu.fit1d(n_features=N)
    opu.transform(bits())
    assert opu.device.bench.limits == {"memory_budget": MATRIX_BYTES - 1, "threads": 3}
    with pytest.raises(ValueError, match="threads is 3, but with opu_device it cannot be given"):
        OPU(PIXELS, opu.device, threads=3)


def test_set_limits_goes_on_with_the_next_frame():
    now, alone = (OPU(PIXELS, device=SMALL, execution="matrix") for _ in range(2))
    first = [opu.fit_transform1d(bits()) for opu in (now, alone)]
    before = now.device.bench
    now.device.set_limits(threads=2)
    second = [opu.transform(bits()) for opu in (now, alone)]
    assert np.array_equal(*first) and np.array_equal(*second) and not np.array_equal(first[0], second[0])
    assert now.device.bench is not before
    kept = now.device.bench
    now.device.set_limits(threads=2)
    assert now.device.bench is kept  # nothing to compute again


def test_set_limits_on_a_bench_without():
    class Lab:
        device, seed = SMALL, 0
        transform, minimum_frametime_s = OpticalBench.transform, OpticalBench.minimum_frametime_s

    with pytest.raises(TypeError, match="is a Lab, which has no limits to set: it must have with_limits"):
        OpuDevice(bench=Lab()).set_limits(threads=1)


def test_workers_are_told_what_holds_here():
    opu = OPU(PIXELS, device=EXACT)
    opu.device.set_limits(memory_budget=MATRIX_BYTES - 1)
    recipe = BenchRecipe.of(opu.device.bench)
    recipe.offer(opu.device.bench)
    assert recipe.memory_budget == MATRIX_BYTES - 1
    assert way_of(recipe.bench()) == way_of(opu.device.bench) == "waves"


def everything(opu: OPU, calibrates: bool = True) -> None:
    """Every way through an OPU: counts, both linear modes, mirrors that are read back."""
    opu.fit_transform1d(bits(40))
    opu.linear_mode = "intensity"
    opu.linear_transform(bits(40))
    if calibrates:
        opu.linear_mode = "holographic"
        opu.calibrate(store=False)
        opu.linear_transform(bits(40))
    shown = patterns(9)
    FORMATTED.formatted(shown.layout, np.packbits(shown.bits, axis=1))
    opu.device.transform1(shown.layout.packed(shown.bits, threads=1))


@pytest.mark.slow
@pytest.mark.parametrize("device", [SMALL, GAUSSIAN], ids=["screens", "gaussian"])
@pytest.mark.parametrize("threads", [1, 3])
def test_no_part_of_an_opu_uses_more_threads(used, device, threads):
    everything(OPU(1200, device=device, threads=threads))
    assert max(used) == threads
    used.clear()
    everything(OPU(1200, device=device))
    assert max(used) == 5


def test_a_calibration_uses_the_threads_of_its_bench(monkeypatch):
    """Its frames are demodulated pattern by pattern, and only large ones are split."""
    asked, own = [], linear.fields_of_counts
    monkeypatch.setattr(linear, "fields_of_counts", lambda *a: (asked.append(a[-1]), own(*a))[1])
    opu = OPU(1200, device=SMALL, threads=3)
    opu.fit1d(n_features=N)
    opu.calibrate(store=False)
    assert asked and set(asked) == {3}


# ---------------------------------------------------------------- a sweep


def make_opu(device: Device, n_components: int, seed: int) -> OPU:
    return OPU(n_components, device=device, seed=seed)


@pytest.mark.parametrize("threads", [1, 3])
def test_points_of_a_sweep_use_the_threads_asked_for(used, threads):
    def task(opu, seed):
        everything(opu)
        return {"threads": opu.device.bench.threads}

    sweep = Sweep(task, make_opu, {"camera.bits": [8]}, device=SMALL, n_components=1200)
    assert sweep.run(threads=threads).values().tolist() == [[threads]] and max(used) == threads
    assert sweep.run().values().tolist() == [[5]] and max(used) == 5


def test_threads_of_a_sweep_hold_for_any_opu(used):
    """Also where `make_opu` says another number: it is for the sweep to share the processors."""

    def made(device, n_components, seed):
        return OPU(n_components, OpuDevice(bench=OpticalBench(device, seed, threads=4)))

    def task(opu, seed):
        opu.fit_transform1d(bits(40))
        return {"threads": opu.device.bench.threads}

    sweep = Sweep(task, made, {"camera.bits": [8]}, device=SMALL, n_components=1200)
    assert sweep.run(threads=2).values().tolist() == [[2]] and max(used) == 2


def exact_sum(opu, seed):
    """A number that has the last bits of every output in it, and the way by which they came."""
    y = opu.fit_transform1d(bits(20)).astype(np.float64)
    shown, roi = MirrorPatterns(bits(20), opu.current_fit.layout), opu.device.exposure().bench_roi
    way = opu.device.bench.explain(shown, roi=roi, n_pixels=PIXELS).way
    return {"sum": float(y.ravel() @ np.sqrt(np.arange(1, y.size + 1))), "by matrix": way == "matrix"}


VARY = {"laser.power_w": [0.01, 0.02], "exposure.mean_level": [0.2, 0.1]}


@pytest.mark.parametrize("vary", [{k: VARY[k]} for k in VARY], ids=list(VARY))
def test_results_of_a_sweep_do_not_depend_on_a_workers_memory(monkeypatch, vary):
    """The way is that of the machine that the sweep was started on, whatever memory the worker's has."""
    device = EXACT if "laser.power_w" in vary else SMALL
    sweep = Sweep(exact_sum, make_opu, vary, device=device, n_components=PIXELS)
    here = sweep.run()
    assert here.values("by matrix").tolist() == [[1], [1]]
    # What a bench takes by default, where it is made: on a worker.
    monkeypatch.setattr("opusim.bench.bench.memory_budget_bytes", lambda: 1)
    there = sweep.run()
    assert there.digest() == here.digest()
    # And the other way round: the machine at home has the little memory.
    monkeypatch.setattr("opusim.sweep.sweep.memory_budget_bytes", lambda: 1)
    monkeypatch.setattr("opusim.bench.bench.memory_budget_bytes", lambda: 1 << 40)
    assert sweep.run().values("by matrix").tolist() == [[0], [0]]
    # On two such machines the same, if it is told.
    assert sweep.run(memory_budget=MATRIX_BYTES).digest() == here.digest()
    with pytest.raises(ValueError, match="memory_budget is 0, but it must be a whole number of at least 1"):
        sweep.run(memory_budget=0)


def test_the_last_bits_depend_on_the_way():
    """Without this the test before would show nothing."""
    sums = {
        budget: exact_sum(OPU(PIXELS, device=EXACT, memory_budget=budget), 0)["sum"] for budget in (1, MATRIX_BYTES)
    }
    assert sums[1] != sums[MATRIX_BYTES] and sums[1] == pytest.approx(sums[MATRIX_BYTES], rel=1e-4)


def test_a_budget_that_make_opu_gives_is_kept(monkeypatch):
    def made(device, n_components, seed):
        return OPU(n_components, device=device, seed=seed, memory_budget=1)

    sweep = Sweep(exact_sum, made, {"laser.power_w": [0.01]}, device=EXACT, n_components=PIXELS)
    assert sweep.run().values("by matrix").tolist() == [[0]]
