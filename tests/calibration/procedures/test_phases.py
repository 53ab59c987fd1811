"""Calibration of benches whose modulator turns phases: patterns, matrices with and without an arm, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from opusim import OpticalBench
from opusim.bench.protocol import level_turns_of
from opusim.calibration.on_bench import all_off, random_mirrors, random_patterns, shown_features, shown_mirrors
from opusim.calibration.procedures.drift import measure_drift
from opusim.calibration.procedures.exposure import find_exposure
from opusim.calibration.procedures.focus import focus_levels, measure_focus
from opusim.calibration.procedures.linear import demodulate, measure_linear
from opusim.calibration.procedures.matrix.internal import fitted_light
from opusim.calibration.procedures.matrix.measure import measure_tm, read_tm
from opusim.calibration.procedures.matrix.phases import HalvesPlan, SignsPlan, check_levels, levels_of_codes
from opusim.calibration.procedures.phase import measure_phases
from opusim.calibration.session import Calibration
from opusim.calibration.truth import true_entries
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.phases import PhasePatterns, nearest_levels
from phase_benches import Phases, phase_device

ROI = (500, 0, 1, 1020)
EXPOSURE_S = 400e-6


def fields_of(bench, patterns):
    """Fields at the outputs in roots of counts, (patterns, outputs), by the planes of the bench."""
    camera = bench.device.camera
    unit = bench.photons_per_intensity(EXPOSURE_S) * camera.quantum_efficiency * camera.gain_dn_per_e
    each = [bench.inspect(patterns[k : k + 1], roi=ROI).medium_field.reshape(-1) for k in range(len(patterns))]
    return np.sqrt(unit) * np.array(each, dtype=np.complex128)


def measured(tmp_path, bench, inputs=24, **how):
    return measure_tm(bench, inputs, **{"exposure_s": EXPOSURE_S, "roi": ROI, "out": tmp_path / "tm.h5"} | how)


# ---------------------------------------------------------------------------------------------- patterns


def test_the_nearest_level_is_that_of_a_search():
    """Against the least distance on the circle, for a whole turn, less than one, and more."""
    asked = np.random.default_rng(0).random(2000)
    for levels, span in ((256, 1.0), (4, 1.0), (30, 0.8), (64, 2.3)):
        turns = np.arange(levels) * span / levels
        away = np.abs((turns - asked[:, None] + 0.5) % 1 - 0.5)
        found = nearest_levels(asked, turns)
        np.testing.assert_allclose(away[np.arange(len(asked)), found], away.min(axis=1), atol=1e-12)


def test_a_bench_of_phases_is_shown_phases():
    bench = OpticalBench(phase_device())
    shown = random_patterns(bench, 3, seed=1)
    assert isinstance(shown, PhasePatterns) and shown.bits.max() > 250 and shown.bits.min() < 5
    assert isinstance(random_mirrors(bench), PhasePatterns)
    signs = shown_features(bench, np.array([[0, 1]], dtype=np.uint8), MirrorLayout.lined(bench.mirror_shape, 2))
    assert signs.bits.tolist() == [[128, 0]]
    with pytest.raises(ValueError, match="modulator of phases, and no pattern of these is dark"):
        all_off(bench)
    layout = MirrorLayout.lined(bench.mirror_shape, 2)
    with pytest.raises(TypeError, match="bits of mirrors, but the bench has a modulator of phases"):
        shown_mirrors(MirrorPatterns(np.zeros((1, 2), dtype=np.uint8), layout), bench)
    with pytest.raises(TypeError, match="levels of phases, but the bench has mirrors"):
        shown_mirrors(PhasePatterns(np.zeros((1, 2), dtype=np.uint8), layout), OpticalBench("ideal"))


@pytest.mark.parametrize("n_inputs", [2, 5, 24, 256])
def test_plans_give_their_inputs_back(n_inputs):
    """Fields of a known matrix and background, by the patterns' own phases: columns to single precision."""
    rng = np.random.default_rng(n_inputs)
    t = rng.standard_normal((n_inputs, 7)) + 1j * rng.standard_normal((n_inputs, 7))
    background = rng.standard_normal(7) + 1j * rng.standard_normal(7)
    plan = SignsPlan(n_inputs, 1)
    parts = [plan.split((2.0 * plan.group(g) - 1) @ t + background) for g in range(plan.n_groups)]
    units = np.concatenate([part[2] for part in parts])
    assert len(units) == plan.n_units and sum(len(plan.group(g)) for g in range(plan.n_groups)) == plan.patterns(
        0, plan.n_groups
    )
    np.testing.assert_allclose(plan.columns(units.copy(), background), t, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.mean([part[1] for part in parts], axis=0), background, atol=1e-6)

    halves = HalvesPlan(n_inputs, 1)
    signs = 2.0 * halves.base - 1
    standing = [signs[i] @ t[i] + background for i in halves.halves[::-1]]
    fields = []
    for g in range(halves.n_groups):
        codes = halves.group(g)
        stepped = (codes & 2 > 0) * (2.0 * (codes & 1) - 1)
        which = (codes[:, 1] & 2) > 0  # the second input is of the second half
        fields.append(halves.split((stepped @ t) * np.where(which[:, None], *[s.conj() for s in standing[::-1]]))[2])
    found = halves.columns(np.concatenate(fields), background)
    found = halves.joined(found, standing[0].conj() / standing[1].conj())
    np.testing.assert_allclose(found / standing[0].conj(), t, rtol=0, atol=1e-4)


def test_steps_turn_the_half_that_is_stepped_back():
    turns = np.arange(8) / 8
    codes = np.array([[0, 1, 2, 3]], dtype=np.uint8)
    levels = levels_of_codes(codes, turns, np.array([0.0, 0.25]))
    assert levels.tolist() == [[4, 0, 4, 0], [4, 0, 2, 6]]


def test_light_of_a_reference_among_brighter_and_darker_patterns():
    """Offsets P / I + I of 48 exponential P: the light I to rounding, also where it is far brighter or darker."""
    rng = np.random.default_rng(3)
    light = np.array([0.03, 0.3, 1.0, 3.0, 30.0])
    field = (rng.standard_normal((48, 5)) + 1j * rng.standard_normal((48, 5))) / np.sqrt(2)
    q = field * np.sqrt(light)
    np.testing.assert_allclose(fitted_light(q, np.abs(field) ** 2 + light, field.real > -1), light, rtol=1e-6)


def test_a_pixel_that_no_light_comes_to_is_dark():
    # As at the edge of a lens's plane before a camera without noise: counts are 0, to the bit.
    draws = np.random.default_rng(0).normal(size=(2, 48, 3))
    field = draws[0] + 1j * draws[1]
    light = np.array([2.0, 0.0, 5.0])
    field[:, 1] = 0
    with np.errstate(all="raise", under="ignore"):
        found = fitted_light(field * np.sqrt(light), np.abs(field) ** 2 + light, np.ones(field.shape, dtype=bool))
    np.testing.assert_allclose(found, light, rtol=1e-6, atol=1e-90)


# ---------------------------------------------------------------------------------------------- matrices


@pytest.mark.parametrize("unmodulated", [0.0, 0.1])
@pytest.mark.parametrize("method", ["phase-stepping", "internal"])
def test_noise_free_matrix_is_the_true_one(tmp_path, method, unmodulated):
    """To single precision (1e-5), rows up to a phase; and |tm x + background|^2 is the light of any phases."""
    device = phase_device(reference=method != "internal", unmodulated=unmodulated)
    bench = OpticalBench(device, seed=3)
    record = measured(tmp_path, bench, method=method)
    good = np.flatnonzero(record.valid)
    assert len(good) > (0.9 if method == "internal" else 0.999) * record.n_outputs
    found, background = record.matrix()[good], record.background()[good]
    truth = true_entries(record, device, 3, good, np.arange(24))
    turn = np.sum(truth * found.conj(), axis=1, keepdims=True)
    assert np.linalg.norm(found * turn / np.abs(turn) - truth) < 1e-5 * np.linalg.norm(truth)
    shown = PhasePatterns(np.random.default_rng(1).integers(0, 256, (5, 24)).astype(np.uint8), record.layout())
    light = np.abs(fields_of(bench, shown)[:, good]) ** 2
    told = np.abs(np.exp(2j * np.pi / 256 * shown.bits) @ found.T + background) ** 2
    assert np.abs(told - light).max() < 1e-4 * light.mean()
    assert read_tm(record.path, bench=bench).method == method


@pytest.mark.parametrize("method", ["phase-stepping", "internal"])
def test_random_error_is_as_it_says(tmp_path, method):
    """On a noisy device: the error against the truth within 1.6 of the one that the record tells by its anchors.

    An arm's own errors (its steps, its area over a pixel) are not in what the anchors tell.
    """
    device = phase_device("aurora", reference=method != "internal")
    bench = OpticalBench(device)
    record = measured(tmp_path, bench, 64, method=method, exposure_s=600e-6)
    good = np.flatnonzero(record.valid)[:400]
    truth = true_entries(record, device, 0, good, np.arange(64))
    found = record.matrix()[good]
    turn = np.sum(truth * found.conj(), axis=1, keepdims=True)
    error = np.linalg.norm(found * turn / np.abs(turn) - truth) / np.linalg.norm(truth)
    assert 0.6 < error / record.relative_error < 1.6 and error < 0.15


def test_matrix_of_one_go_and_of_a_resumed_one_are_the_same(tmp_path):
    device = phase_device("aurora", reference=False)
    one = measured(tmp_path, OpticalBench(device), method="internal")
    calls = []

    class Stop(Exception):
        pass

    def stop(done, total):
        calls.append(done)
        if len(calls) == 2:
            raise Stop

    with pytest.raises(Stop):
        measured(tmp_path, OpticalBench(device), method="internal", out=tmp_path / "b.h5", progress=stop)
    other = measured(tmp_path, OpticalBench(device), method="internal", out=tmp_path / "b.h5", resume=True)
    assert np.array_equal(one.matrix(), other.matrix()) and np.array_equal(one.background(), other.background())


def test_without_an_arm_the_method_is_internal_by_itself(tmp_path):
    """To the bit what the named method gives; with an arm steps are those of the arm."""
    bare = phase_device(reference=False)
    own = measured(tmp_path, OpticalBench(bare))
    named = measured(tmp_path, OpticalBench(bare), method="internal", out=tmp_path / "b.h5")
    assert own.method == "internal" and np.array_equal(own.matrix(), named.matrix())
    assert measured(tmp_path, OpticalBench(phase_device()), out=tmp_path / "c.h5").method == "phase-stepping"


def test_what_a_matrix_of_phases_refuses(tmp_path):
    bench = OpticalBench(phase_device(reference=False))
    with pytest.raises(ValueError, match="has no reference arm"):
        measured(tmp_path, bench, method="phase-stepping")
    asked = Calibration(bench, tmp_path / "cal.h5", roi=ROI, inputs=24, exposure_s=EXPOSURE_S, method="phase-stepping")
    with pytest.raises(ValueError, match="--method is phase-stepping, but this device has no reference arm"):
        asked.run("tm")
    with pytest.raises(ValueError, match="no input is ever alone"):
        measured(tmp_path, bench, basis="canonical", method="internal")
    with pytest.raises(ValueError, match="stepped by 4 quarters"):
        measured(tmp_path, bench, method="internal", steps=3)
    with pytest.raises(ValueError, match="circular is given, but it is for phase steps"):
        measured(tmp_path, bench, method="internal", circular=True)
    with pytest.raises(ValueError, match="the mirrors of this bench are on or off"):
        measured(tmp_path, OpticalBench("ideal"), method="internal")
    with pytest.raises(ValueError, match=r"no level for a phase of 0.5 turns"):
        measured(tmp_path, OpticalBench(phase_device(range_turns=0.4)))
    with pytest.raises(ValueError, match=r"no level for a phase of 0.25 turns: the nearest of its 3 levels"):
        check_levels(np.arange(3) / 3, np.array([0.0, 0.25]), "a matrix")


# ---------------------------------------------------------------------------------------------- the others


def test_procedures_on_one_file_with_and_without_an_arm(tmp_path):
    """Each is right or left out: what the arm is needed for is said."""
    region = {"roi": (500, 600, 16, 64), "inputs": 16, "minutes": 2.0}
    with_arm = Calibration(OpticalBench(phase_device("aurora")), tmp_path / "a.h5", **region)
    found = {name: with_arm.run(name) for name in ("exposure", "phase", "linear", "tm")}
    assert found["tm"]["tm"].method == "phase-stepping" and with_arm.done("tm")
    assert found["phase"]["phase"].scale_error == pytest.approx(0.02, abs=0.005)
    without = Calibration(OpticalBench(phase_device("aurora", reference=False)), tmp_path / "b.h5", **region)
    assert without.run("tm")["tm"].method == "internal" and without.done("tm")
    for name in ("phase", "linear"):
        with pytest.raises(ValueError, match=f"no reference arm, and '{name}'"):
            without.run(name)
    assert "exposure_signal" in without.run("exposure")


def test_linear_tells_fields_of_phases():
    """Fields of the record are those of the planes, up to the phase of each row, to what it says of their error.

    The light of the reference is told without a dark pattern.
    """
    bench = OpticalBench(phase_device("aurora"))
    record = measure_linear(bench, roi=ROI, exposure_s=EXPOSURE_S)
    shown = random_patterns(bench, 20, seed=5)
    frames = bench.expose(shown, exposure_s=EXPOSURE_S, roi=ROI, reference_phase_rad=record.asked_rad)
    fields = demodulate(record, frames.reshape(80, -1))
    truth = fields_of(bench, shown)[:, record.valid]
    found = fields[:, record.valid]
    turn = np.sum(truth * found.conj(), axis=0)
    found = found * (turn / np.abs(turn))
    scale = np.vdot(found, truth).real / np.vdot(found, found).real
    assert scale == pytest.approx(1, abs=0.02)
    assert np.linalg.norm(found - truth) / np.linalg.norm(truth) < 0.08


def test_a_laboratorys_modulator_of_phases(tmp_path):
    """Exposure, phases, drift, a matrix of both methods, and focusing, by the four methods of a laboratory's bench."""
    bench = Phases()
    assert np.array_equal(level_turns_of(bench), np.arange(64) / 64)
    found = find_exposure(bench, random_patterns(bench, 4), target_level_dn=20.0, full_scale_dn=255)
    assert found.level_dn == pytest.approx(20, rel=0.05)
    turned = measure_phases(bench, [0.0, 2.0, 4.0], exposure_s=EXPOSURE_S, full_scale_dn=255)
    np.testing.assert_allclose(turned.phases_rad, [0, 2, 4], atol=6 * turned.uncertainty_rad + 0.01)
    drift = measure_drift(bench, duration_s=0.1, looks=3, exposure_s=EXPOSURE_S, full_scale_dn=255)
    assert drift.intensity_correlation[-1] == pytest.approx(1, abs=0.05)
    for method in ("phase-stepping", "internal"):
        record = measure_tm(
            bench, 96, exposure_s=EXPOSURE_S, out=tmp_path / f"{method}.h5", method=method, full_scale_dn=255
        )
        good = np.flatnonzero(record.valid)[:20]
        own, true = record.matrix(good), bench.matrix[good]
        alike = np.abs(np.sum(own * true.conj(), axis=1)) / np.linalg.norm(own, axis=1) / np.linalg.norm(true, axis=1)
        assert np.median(alike) > 0.95
        focus = measure_focus(bench, record, 20, full_scale_dn=255)
        assert focus.enhancement == pytest.approx(focus.theory, rel=0.25) and focus.mean_on == 96
    level = bench.expected_level_dn(96, EXPOSURE_S)
    shown = random_patterns(bench, 16, seed=9)
    assert level == pytest.approx(bench.expose(shown, exposure_s=EXPOSURE_S).mean(), rel=0.1)


def test_a_laboratorys_modulator_refuses_what_it_cannot_show():
    bench = Phases()
    layout = MirrorLayout.lined((8, 12), 4)
    with pytest.raises(TypeError, match="this bench has a modulator of phases: give levels"):
        bench.expose(MirrorPatterns(np.zeros((1, 4), dtype=np.uint8), layout), exposure_s=EXPOSURE_S)
    with pytest.raises(ValueError, match="holds the level 64, but levels go from 0 to 63"):
        bench.expose(PhasePatterns(np.full((1, 4), 64, dtype=np.uint8), layout), exposure_s=EXPOSURE_S)
    with pytest.raises(TypeError, match="neither on nor off"):
        bench.expose(np.zeros((8, 12), dtype=bool), exposure_s=EXPOSURE_S)
    with pytest.raises(ValueError, match="phases are in turns of 2 pi, from 0 to below 1"):
        bench.expose(np.full((8, 12), 1.5), exposure_s=EXPOSURE_S)
    assert bench.expose(np.full((8, 12), 0.5), exposure_s=EXPOSURE_S).shape == (1, 10, 16)


def test_levels_of_a_focus_are_nearest_to_the_conjugate_phases():
    rows = np.exp(2j * np.pi * np.array([[0.0, 0.25, 0.9]]))
    assert focus_levels(rows, np.arange(8) / 8).tolist() == [[0, 6, 1]]
    assert focus_levels(rows, np.arange(8) / 8, phase_rad=np.pi / 2).tolist() == [[2, 0, 3]]
