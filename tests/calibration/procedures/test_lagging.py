"""Calibrations of a bench whose camera leaves a share of each frame to the next one.

The laws of lag are in tests/physics/test_lag.py. A stack of one pattern is steady but for its first frame, which finds
a flushed camera; a procedure that takes it like the others finds noise, drift and bent levels that are not there.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from opusim import OPU, OpticalBench
from opusim.calibration.on_bench import exposed_each, exposed_steadily, random_patterns
from opusim.calibration.procedures.camera import characterise_camera
from opusim.calibration.procedures.drift import measure_drift
from opusim.calibration.procedures.exposure import find_exposure
from opusim.calibration.procedures.linear import measure_linear
from opusim.calibration.procedures.matrix.measure import measure_tm
from opusim.calibration.procedures.phase import measure_phases
from opusim.device.record import Device

ROI = (500, 0, 32, 96)
IDEAL, AURORA = Device.load("ideal"), Device.load("aurora")
QUARTERS = np.array([0.0, 0.5, 1.0, 1.5]) * math.pi


def lagging(device, lag, **changes):
    return OpticalBench(device.evolve(**{"camera.lag": lag} | changes), seed=0)


def forms(bench):
    """The same three patterns in all forms that a bench takes: macro-pixels, mirrors, packed bits; and one alone."""
    mirrors = np.random.default_rng(0).integers(0, 2, (3, *bench.mirror_shape), dtype=np.uint8)
    packed = np.packbits(mirrors.reshape(3, -1), axis=1, bitorder="little")
    return {"macro-pixels": random_patterns(bench, 3), "mirrors": mirrors, "packed": packed, "one": mirrors[0]}


@pytest.mark.parametrize("form", ["macro-pixels", "mirrors", "packed", "one"])
@pytest.mark.parametrize("phases", [None, 0.3, QUARTERS])
def test_frames_with_and_without_the_one_before(form, phases):
    """By the law of lag from frames of a bench without it: the last one before the first one, or nothing of another."""
    how = {"exposure_s": 1e-4, "roi": (500, 0, 4, 32), "reference_phase_rad": phases}
    without, lag = lagging(IDEAL, 0.0), 0.2
    shown = forms(without)[form]
    alone = without.expose(shown, **how).astype(np.float64)
    mixed = (1 - lag) * alone + lag * np.roll(alone, 1, axis=0)
    size = 2e-6 * alone.max()
    assert np.abs(exposed_each(lagging(IDEAL, lag), shown, **how) - alone).max() < size
    assert np.abs(exposed_steadily(lagging(IDEAL, lag), shown, **how) - mixed).max() < size
    for same in (exposed_each, exposed_steadily):
        bench = lagging(IDEAL, 0.0)
        assert np.array_equal(same(bench, shown, **how), alone) and bench.clock.frames == len(alone)


@pytest.mark.parametrize("lag", [0.01, 0.5])
def test_the_linear_calibration_of_a_bench_without_noise(lag):
    """The contrast of the fringes falls by |1 - l + l exp(-i pi / 2)| by the steps, to 3 %.

    The first step mixes with another pattern. Phases, drift and repetition are exact; frames of the reference alone are
    all alike.
    """
    record = measure_linear(lagging(IDEAL, lag), roi=ROI)
    assert np.abs(record.actual_rad - QUARTERS).max() < 1e-6
    assert record.relative_error < 1e-6 and record.drift_rad_per_minute < 1e-6 and record.jitter_rad < 1e-6
    assert record.coherence == pytest.approx(math.hypot(1 - lag, lag), rel=0.03)
    assert record.reference_dn == pytest.approx(measure_linear(lagging(IDEAL, 0.0), roi=ROI).reference_dn, rel=1e-4)


@pytest.mark.parametrize("lag", [0.1, 0.5])
def test_phases_are_those_of_the_shifter(lag):
    """The arm's own errors, and no more drift than there is: each phase is read without the one before it."""
    changes = {"camera.shot_noise": True, "reference.scale_error": 0.02, "reference.nonlinearity": 0.01}
    found = measure_phases(lagging(IDEAL, lag, **changes), QUARTERS, roi=ROI, exposure_s=2e-4)
    assert found.scale_interval[0] <= 0.02 <= found.scale_interval[1]
    assert found.nonlinearity_interval[0] <= 0.01 <= found.nonlinearity_interval[1]
    assert found.repeatability_rad < 2 * found.noise_rad


@pytest.mark.parametrize("lag", [0.1, 0.5])
def test_nothing_of_lag_is_seen_in_even_light(lag):
    """Efficiency, gain, non-linearity and dark current to the bit: dark and even frames are those without lag."""
    how = {"roi": (500, 0, 64, 64), "levels": 8, "longest_dark_s": 0.5}
    found, true = (characterise_camera(lagging(AURORA, x), **how) for x in (lag, 0.0))
    for name in ("quantum_efficiency", "gain_dn_per_e", "nonlinearity", "dark_current_e_per_s", "read_noise_e"):
        assert getattr(found, name) == pytest.approx(getattr(true, name), rel=1e-6)


def test_drift_of_a_still_bench():
    """Nothing moves, and nothing seems to: correlations of 1 to rounding, no noise in the first burst."""
    record = measure_drift(lagging(IDEAL, 0.5), reference=True, duration_s=3.0, looks=3, roi=ROI, exposure_s=1e-4)
    assert np.abs(record.intensity_correlation - 1).max() < 1e-6
    assert np.abs(record.field_correlation - 1).max() < 1e-6 and np.abs(record.phase_rad).max() < 1e-6


def test_the_level_of_one_pattern_is_that_of_a_steady_one():
    """The same exposure as without lag, where the first frame alone would be half as bright."""
    found = [
        find_exposure(lagging(AURORA, lag), random_patterns(lagging(AURORA, lag), 1), target_level_dn=30.0, roi=ROI)
        for lag in (0.0, 0.5)
    ]
    assert found[1].exposure_s == pytest.approx(found[0].exposure_s, rel=0.02)


@pytest.mark.slow
def test_a_matrix_is_measured_at_any_lag(tmp_path):
    """Columns are turned as a whole, by 1 - l + l exp(-i pi / 2); left are steps that mix two patterns: about l."""
    lag, found = 0.1, []
    for each in (0.0, lag):
        record = measure_tm(lagging(IDEAL, each), 64, exposure_s=1e-4, out=tmp_path / f"{each}.h5", roi=ROI)
        found.append(record.matrix())
    a, b = (x[np.isfinite(x).all(axis=1)] for x in found)
    likeness = abs(np.vdot(a, b)) / (np.linalg.norm(a) * np.linalg.norm(b))
    assert math.sqrt(1 / likeness**2 - 1) < 2 * lag


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0.01, 0.5])
@pytest.mark.parametrize("device", ["ideal", "aurora"])
def test_a_linear_transform_at_any_lag(device, lag):
    """No false diagnosis of the anchor; a large lag is named in a warning, a small one is an error of about as much."""
    X, found = np.random.default_rng(0).integers(0, 2, (130, 200), dtype=np.uint8), []
    for each in (0.0, lag):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with OPU(1000, device=Device.load(device).evolve(**{"camera.lag": each}), linear_mode="holographic") as opu:
                opu.fit1d(X)
                found.append(np.asarray(opu.linear_transform(X), dtype=np.float64))
        text = " ".join(str(one.message) for one in told)
        assert ("camera.lag is 0.5" in text) == (each == 0.5) and "anchor" not in text
    if lag < 0.1:
        noise = 0.05 if device == "aurora" else 0.0
        assert np.linalg.norm(found[1] - found[0]) < (2 * lag + noise) * np.linalg.norm(found[0])


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "own", "last"), [(2, -3 / 2, -1 / 2), (5, -11 / 6, 1 / 6)])
def test_intensities_of_two_opposite_frames_mix(frames, own, last):
    """What varies is (1 - 3 l / 2) y - (l / 2) y' by two frames, (1 - 11 l / 6) y + (l / 6) y' by five.

    Closed form: each frame reads 1 - l of its own and l of the one before, and a frame and its opposite have plus and
    minus half of y. All over the root of what is left of Y(1), which both terms share: their ratio is tested to 2 % of
    the first, and their size to 1 % for two frames, where Y(1) comes first and reads 1 - l.
    """
    X, lag, y = np.random.default_rng(0).integers(0, 2, (60, 300), dtype=np.uint8), 0.1, []
    for each in (0.0, lag):
        device = IDEAL.evolve(**{"camera.lag": each, "operation.frames_per_vector": frames})
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with OPU(4000, device=device, linear_mode="intensity") as opu:
                opu.fit1d(X)
                y.append(np.asarray(opu.linear_transform(X), dtype=np.float64))
        assert bool(told) == bool(each)
        assert not told or "camera.lag is 0.1" in str(told[0].message)
    plain, mixed = (z - z.mean(axis=0) for z in y)
    terms = np.stack([plain[1:].ravel(), plain[:-1].ravel()], axis=1)
    found = np.linalg.lstsq(terms, mixed[1:].ravel(), rcond=None)[0]
    assert found[1] / found[0] == pytest.approx(last * lag / (1 + own * lag), abs=0.02)
    if frames == 2:
        assert found[0] == pytest.approx((1 + own * lag) / math.sqrt(1 - lag), rel=0.01)
