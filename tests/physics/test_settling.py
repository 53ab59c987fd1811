"""Device time of phase steps: a piezo settles before each exposure, an electro-optic modulator needs no time.

With n vectors in K steps, all n K frames are ``max(frame time, exposure + settling)`` apart, as every frame has another
phase than the one before it. The first frame of a burst steps back.
"""

from __future__ import annotations

import numpy as np
import pytest

import opusim
from opusim import OPU
from opusim.bench import OpticalBench
from opusim.calibration.algorithms.phase_shifting import equal_steps
from opusim.device.medium import GaussianMedium
from opusim.noise.working_point import working_point
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

AURORA = opusim.Device.load("aurora")
PLAIN = AURORA.evolve(medium=GaussianMedium(AURORA.medium.transmission))
PIEZO = PLAIN.evolve(**{"reference.settling_s": 5e-3})
LAYOUT = MirrorLayout.lined((912, 1140), 12)
BITS = np.random.default_rng(0).integers(0, 2, (7, 12), dtype=np.uint8)
HOW = {"exposure_s": 4e-4, "roi": (500, 500, 8, 8), "n_pixels": 64}


def spent_s(device, phases, **how) -> float:
    bench = OpticalBench(device, seed=1)
    bench.transform(MirrorPatterns(BITS, LAYOUT), reference_phase_rad=phases, **(HOW | how))
    return bench.clock.elapsed_s


@pytest.mark.parametrize("steps", [3, 4, 5])
def test_bursts_take_exposure_and_settling(steps):
    phases = equal_steps(steps)
    assert spent_s(PIEZO, phases) == pytest.approx(7 * steps * (4e-4 + 5e-3), rel=1e-12)
    assert spent_s(PLAIN, phases) == pytest.approx(7 * steps * 5e-4, rel=1e-12)
    # The sensor is read meanwhile: a settling that is shorter than that costs nothing.
    short = PIEZO.evolve(**{"reference.settling_s": 5e-5})
    assert spent_s(short, phases) == spent_s(PLAIN, phases)


def test_rows_of_a_rolling_shutter_end_before_the_step():
    rolling = PIEZO.evolve(**{"camera.shutter": "rolling"})
    expected = 28 * (4e-4 + rolling.camera.readout_s(8) + 5e-3)
    assert spent_s(rolling, equal_steps(4)) == pytest.approx(expected, rel=1e-12)


def test_phases_that_stay_need_no_time():
    for phases in (None, 0.5, np.array([0.5]), np.array([0.5, 0.5])):
        assert spent_s(PIEZO, phases) == spent_s(PLAIN, phases)


def test_frames_may_not_follow_faster():
    with pytest.raises(ValueError, match=r"frametime_s is 0\.005, but with this exposure, region and reference.sett"):
        spent_s(PIEZO, equal_steps(4), frametime_s=0.005)
    assert spent_s(PIEZO, equal_steps(4), frametime_s=0.006) == pytest.approx(28 * 0.006)
    assert spent_s(PIEZO, 0.0, frametime_s=0.005) == pytest.approx(7 * 0.005)


def test_counts_and_fingerprint_of_an_electro_optic_shifter_are_those_of_before():
    assert PLAIN.evolve(**{"reference.settling_s": 0.0}).fingerprint() == PLAIN.fingerprint()
    assert PIEZO.fingerprint() != PLAIN.fingerprint()
    slow = PLAIN.evolve(**{"reference.drift_rad_per_minute": 0.0, "reference.vibration_rad": 0.0,
                           "laser.power_noise_bandwidth_hz": 0.0, "laser.power_drift_per_hour": 0.0})  # fmt: skip
    counts = [
        OpticalBench(device, seed=1).transform(MirrorPatterns(BITS, LAYOUT), reference_phase_rad=equal_steps(4), **HOW)
        for device in (slow, slow.evolve(**{"reference.settling_s": 5e-3}))
    ]
    # Where nothing changes with time, time changes nothing.
    np.testing.assert_array_equal(counts[0], counts[1])


def test_the_clock_of_a_linear_transform_tells_it():
    """All frames of a call are exposure and settling apart, and they are as many as without a piezo."""
    x = np.random.default_rng(1).integers(0, 2, (100, 60), dtype=np.uint8)
    spent = {}
    small = {"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 3000)}
    for name, device in (("piezo", PIEZO.evolve(**small)), ("still", PLAIN.evolve(**small))):
        opu = OPU(n_components=80, device=device, seed=2, linear_mode="holographic")
        opu.fit1d(x)
        opu.calibrate()
        opu.linear_transform(x)
        bench = opu.device.bench
        before = bench.clock.frames, bench.clock.elapsed_s
        opu.linear_transform(x)
        frames, time_s = bench.clock.frames - before[0], bench.clock.elapsed_s - before[1]
        exposure_s = opu.calibration.exposure_s
        spent[name] = frames, time_s / frames, exposure_s
    assert spent["piezo"][0] == spent["still"][0]
    # Frame times of the driver are whole microseconds.
    assert spent["piezo"][1] == pytest.approx(spent["piezo"][2] + 5e-3, abs=2e-6)
    assert spent["still"][1] < 0.3 * spent["piezo"][1]


def test_plans_and_budgets_of_noise_reckon_with_it():
    from opusim.drivers.workload import workload

    x = np.ones((10, 60), np.uint8)
    opu = OPU(n_components=80, device=PIEZO, seed=2, linear_mode="holographic")
    opu.fit1d(x)
    assert workload(opu, 10, linear=True).frametime_s == pytest.approx(opu.device.exposure().exposure_s + 5e-3)
    assert workload(opu, 10).frametime_s == pytest.approx(opu.device.exposure().frametime_s)
    point = working_point(PIEZO, "linear", roi=(500, 500, 8, 8), exposure_s=4e-4)
    assert point.frametime_s == pytest.approx(4e-4 + 5e-3)
    assert working_point(PIEZO, roi=(500, 500, 8, 8)).frametime_s == pytest.approx(5e-4)
