"""A stored calibration saves time and changes no number, through every door that calibrates on first use."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

from opusim import OPU, OpticalBench
from opusim.base import folders
from opusim.calibration import store
from opusim.calibration.store import CalibrationWarning
from opusim.device.record import Device
from opusim.drivers import OpuDevice

SMALL = {"dmd.shape": (60, 76), "camera.shape": (64, 90), "operation.ones_range": (200, 4000)}
N, OUT = 40, 90


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "config_folder", lambda: tmp_path / "opusim")
    warnings.simplefilter("ignore", CalibrationWarning)
    return tmp_path / "opusim" / "calibrations"


def device():
    return Device.load("aurora").evolve(**SMALL)


def bits(n=3):
    return np.random.default_rng(0).integers(0, 2, (n, N), dtype=np.uint8)


def opened(**arguments):
    return OPU(OUT, device=device(), seed=5, **arguments)


def by_linear(opu):
    opu.fit1d(bits())
    return opu.linear_transform(bits())


def by_field(opu):
    opu.fit1d(bits())
    return opu.field_transform(bits())


def by_dask(opu):
    da = pytest.importorskip("dask.array")
    opu.fit1d(bits())
    return opu.linear_transform(da.from_array(bits(), chunks=(2, N))).compute()


def by_sklearn(opu):
    from opusim.drivers.projections.sklearn import OPUMap

    return OPUMap(OUT, opu, linear=True).fit_transform(bits())


def by_torch(opu):
    torch = pytest.importorskip("torch")
    from opusim.drivers.projections.torch import OPUMap

    return OPUMap(OUT, opu, linear=True)(torch.from_numpy(bits())).numpy()


def by_feedback(opu):
    from opusim import dfa

    feedback = dfa.OpticalFeedback(opu, OUT, n_classes=4, calibrate=False)
    return feedback.project(np.eye(4, dtype=np.float32) - 0.25)


DOORS = [by_linear, by_field, by_dask, by_sklearn, by_torch, by_feedback]


def outcome(door, **arguments):
    with opened(**arguments) as opu:
        y = np.array(door(opu))
        clock = opu.bench.clock
        return y, clock.frames, clock.elapsed_s, np.array(opu.fit_transform1d(bits()))


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture
def measured(monkeypatch):
    """How often a calibration was measured."""
    from opusim.calibration.procedures import linear

    calls, measure = [], linear.measure_linear

    def counted(*arguments, **options):
        calls.append(arguments)
        return measure(*arguments, **options)

    monkeypatch.setattr(linear, "measure_linear", counted)
    return calls


def test_what_is_stored_tells_maps_of_the_reference_apart():
    """Frames of the reference alone are what was taken before, and stored without a word of it."""
    ways = ({"operation.reference_map": way} for way in ("alone", "demodulated"))
    benches = [OpticalBench(device().evolve(**way), 5) for way in ways]
    alone, demodulated = (store._made_with(bench, 4, None) for bench in benches)
    assert "reference" not in alone and demodulated.startswith("4 steps; exposure found; reference demodulated; ")
    assert store.stored_path(benches[0]) != store.stored_path(benches[1])


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_the_same_numbers_and_frames_whether_a_calibration_is_stored_or_not(door, measured, folder):
    first = outcome(door)
    assert len(measured) == 1 and list(folder.iterdir())
    assert same(outcome(door), first) and len(measured) == 1  # stored, and taken
    with opened() as opu:  # what other programs have left there
        opu.bench.skip_frames(10)
        opu.fit1d(bits())
        opu.calibrate()
    assert same(outcome(door), first) and len(measured) == 3
    with opened() as opu:
        opu.fit1d(bits())
        opu.calibrate(steps=8)
    assert same(outcome(door), first) and len(measured) == 5
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:500])
    assert same(outcome(door), first) and len(measured) == 6


CHANGES = {
    "frames": lambda opu: opu.bench.skip_frames(1, frametime_s=0.0),
    "time": lambda opu: opu.bench.advance_to(0, 1e-3),
    "way": {"execution": "waves"},
    "memory": {"memory_budget": 1 << 40},
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_what_would_come_out_otherwise_is_measured(change, measured):
    how = CHANGES[change]
    arguments = how if isinstance(how, dict) else {}

    def door(opu):
        if callable(how):
            how(opu)
        return by_linear(opu)

    outcome(by_linear)
    assert len(measured) == 1
    first = outcome(door, **arguments)
    assert len(measured) == 2
    assert same(outcome(door, **arguments), first) and len(measured) == 2


def test_a_version_or_a_processor_of_its_own(measured, monkeypatch):
    from opusim.bench.bench import OpticalBench

    outcome(by_linear)
    monkeypatch.setattr(OpticalBench, "made_with", "another")
    outcome(by_linear)
    assert len(measured) == 2


def test_what_is_stored_is_what_was_measured(measured):
    with opened() as opu:
        by_linear(opu)
        first = opu.calibration
    with opened() as opu:
        by_linear(opu)
        second = opu.calibration
    assert type(second) is type(first) and len(measured) == 1
    for name, value in vars(first).items():
        other = getattr(second, name)
        assert type(other) is type(value) and np.array_equal(other, value), name
        assert getattr(other, "dtype", None) == getattr(value, "dtype", None), name


def test_a_calibration_among_frames_of_others_is_not_stored(folder, monkeypatch):
    """It could not be measured so again: frames of another thread came between."""
    with opened() as opu:
        opu.fit1d(bits())
        bench, expose = opu.bench, opu.bench.expose

        def with_another(*arguments, **options):
            bench.skip_frames(1)
            return expose(*arguments, **options)

        monkeypatch.setattr(bench, "expose", with_another)
        opu.calibrate()
    assert not folder.exists()


@pytest.mark.parametrize("seed", [2**63 - 1, 2**63, 2**64, 2**128 + 1])
def test_any_seed_can_be_stored(seed, measured):
    for _ in range(2):
        with OPU(OUT, device=device(), seed=seed) as opu:
            by_linear(opu)
    assert len(measured) == 1


class Laboratory:
    """A bench whose frames do not come again: only what a driver needs, and a clock."""

    def __init__(self, bench):
        self._bench = bench

    @property
    def clock(self):
        return self._bench.clock

    def __getattr__(self, name):
        if name in ("advance_from", "advance_to", "made_with", "reserve", "skip_frames"):
            raise AttributeError(name)
        return getattr(self._bench, name)


def test_on_a_laboratorys_bench_a_stored_one_serves_for_a_day(measured):
    from opusim import OpticalBench

    benches = [OpticalBench(device(), seed=5) for _ in range(3)]
    benches[1].skip_frames(5, frametime_s=10.0)
    benches[2].skip_frames(30, frametime_s=3600.0)
    for bench in benches:
        with OPU(OUT, opu_device=OpuDevice(bench=Laboratory(bench))) as opu:
            opu.calibrate(steps=5) if bench is benches[0] else by_linear(opu)
            assert opu.calibration.n_steps == (4 if bench is benches[2] else 5)
    assert len(measured) == 2


def test_several_threads_calibrate_and_measure_a_fit_once(measured, monkeypatch):
    from opusim.drivers.methods import holography

    fits, measure_fit = [], holography.measure_fit
    monkeypatch.setattr(holography, "measure_fit", lambda *arguments: fits.append(arguments) or measure_fit(*arguments))
    made, make_fit = [], OPU._make_fit
    monkeypatch.setattr(OPU, "_make_fit", lambda self, *rest: made.append(rest) or make_fit(self, *rest))
    with opened() as opu:
        failures = []

        def work():
            try:
                opu.linear_transform(bits())
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        frames = opu.bench.clock.frames
    assert not failures and (len(made), len(measured), len(fits)) == (1, 1, 1)
    with opened() as opu:
        for _ in range(8):
            opu.linear_transform(bits())
        assert opu.bench.clock.frames == frames  # as one after the other


def test_one_door_waits_for_the_calibration_of_another_and_has_it(measured):
    with opened() as opu:
        opu.fit1d(bits())
        threads = [threading.Thread(target=opu.calibrate), threading.Thread(target=opu.field_transform, args=(bits(),))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert opu.calibration is not None
    assert len(measured) in (1, 2)


PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from opusim import OPU
x = np.random.default_rng(0).integers(0, 2, (3, 40), dtype=np.uint8)
with OPU(300) as opu:
    opu.fit1d(x)
    y, z = opu.linear_transform(x), opu.transform(x)
    print(opu.bench.clock, np.asarray(y).tobytes().hex()[:400], int(np.asarray(z, dtype=int).sum()))
"""


@pytest.mark.system
def test_a_program_that_runs_again_says_the_same(tmp_path, root):
    def run(config):
        environment = {"XDG_CONFIG_HOME": str(tmp_path / config), "PYTHONPATH": str(root)}
        import os

        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = run("a")
    assert run("a") == first == run("b")
    assert list((tmp_path / "a").rglob("*.h5"))


def test_the_stored_one_is_told_of_no_more(folder):
    outcome(by_linear)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome(by_linear)
    assert store.stored_path(opened().bench).parent == folder
