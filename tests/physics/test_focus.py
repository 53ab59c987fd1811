"""Focusing through the medium with a measured matrix, against theory (docs/physics.md section 3)."""

from __future__ import annotations

import numpy as np
import pytest

from opusim import OpticalBench
from opusim.calibration.procedures.focus import (
    binary_enhancement,
    focus_binary,
    focus_levels,
    focus_phase,
    measure_focus,
    phase_enhancement,
    phase_enhancement_of,
)
from opusim.calibration.procedures.matrix.measure import measure_tm
from phase_benches import phase_device

ROI = (500, 0, 2, 2040)


def matrix_of(tmp_path, device, n=256):
    bench = OpticalBench(device)
    return bench, measure_tm(bench, n, exposure_s=400e-6, roi=ROI, out=tmp_path / "tm.h5", circular=device != "ideal")


def gaussian(targets, n, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((targets, n)) + 1j * rng.standard_normal((targets, n))) / np.sqrt(2)


def test_theory_gives_the_numbers_of_the_reference():
    """docs/physics.md: 163.7 for 1 024 binary inputs, 130 for 812; 201.3 for 256 phases."""
    assert binary_enhancement(1024) == pytest.approx(163.7, abs=0.1)
    assert binary_enhancement(812) == pytest.approx(130, abs=0.5)
    assert phase_enhancement(256) == pytest.approx(201.3, abs=0.1)


@pytest.mark.parametrize("towards_mean", [False, True])
def test_binary_theory_on_random_matrices(towards_mean):
    """20 000 rows of 128 Gaussian entries; the random pattern's mean is known. Within 2 %."""
    t = gaussian(20_000, 128)
    bits = focus_binary(t, "mean" if towards_mean else 1.3)
    focus = np.abs(np.sum(t * bits, axis=1)) ** 2
    # A random pattern with k of n on: k/n sum |t|^2 + k (k - 1) / (n (n - 1)) (|sum t|^2 - sum |t|^2), for all k that
    # the patterns have, as the bench shows them.
    k, n = bits.sum(axis=1), 128
    own = np.sum(np.abs(t) ** 2, axis=1)
    random = np.mean(k) / n * own + np.mean(k * (k - 1)) / (n * (n - 1)) * (np.abs(t.sum(axis=1)) ** 2 - own)
    assert focus.mean() / random.mean() == pytest.approx(binary_enhancement(128, towards_mean=towards_mean), rel=0.02)


@pytest.mark.slow
def test_noise_free_focus_is_that_of_theory(tmp_path):
    """Binary on the bench, phase on the matrix: both within 5 %. 4 000 targets: the random mean is known to 1 %."""
    bench, record = matrix_of(tmp_path, "ideal")
    focus = measure_focus(bench, record, 4000)
    assert focus.theory == pytest.approx(1 + 127 / np.pi)
    assert focus.enhancement == pytest.approx(focus.theory, rel=0.05)
    assert focus.saturated_share == 0 and abs(focus.mean_on - 128) < 2
    towards = measure_focus(bench, record, 4000, phase_rad="mean")
    assert towards.enhancement == pytest.approx(towards.theory, rel=0.05) and towards.enhancement > focus.enhancement
    assert phase_enhancement_of(record.matrix()) == pytest.approx(phase_enhancement(256), rel=0.05)


def test_the_frame_is_what_the_matrix_says(tmp_path):
    """Noise-free, each target's counts are |t b + background|^2 to 1e-3: the entries are in roots of counts."""
    bench, record = matrix_of(tmp_path, "ideal", 64)
    focus = measure_focus(bench, record, 50)
    rows = record.matrix(focus.targets)
    expected = np.abs(np.sum(rows * focus_binary(rows), axis=1) + record.background(focus.targets)) ** 2
    np.testing.assert_allclose(focus.focus_dn, expected, rtol=1e-3)


@pytest.mark.slow
def test_default_device_focuses(tmp_path):
    """With all noise: what is lost is known. Off mirrors leak an amplitude e = 10^-1.5, which adds 2 e to the light of
    random patterns; the uneven beam takes 1 %; the matrix's error of 5 % takes .3 %. Within 5 % of that."""
    bench, record = matrix_of(tmp_path, "aurora")
    focus = measure_focus(bench, record, 3000)
    expected = focus.theory * 0.99 / (1 + 2 * 10**-1.5)
    assert focus.enhancement == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("method", ["phase-stepping", "internal"])
@pytest.mark.parametrize("n_inputs", [256, pytest.param(1024, marks=pytest.mark.slow)])
def test_phases_focus_as_theory_says(tmp_path, method, n_inputs):
    """pi / 4 (N - 1) + 1 within 5 %, on a bench of phases, noise-free, from the matrix that was measured on it.

    About 2 000 targets: the mean intensity of focuses spreads by 2 pi / 4 sqrt((4 - pi) / pi / N), far below a per cent
    in the mean. That of 256 random patterns over as many pixels is known to 1 %.
    """
    device = phase_device(reference=method != "internal")
    bench = OpticalBench(device)
    record = measure_tm(bench, n_inputs, exposure_s=400e-6, roi=ROI, out=tmp_path / "tm.h5", method=method)
    focus = measure_focus(bench, record, 2000)
    assert focus.theory == pytest.approx(np.pi / 4 * (n_inputs - 1) + 1, rel=1e-4)
    assert focus.enhancement == pytest.approx(np.pi / 4 * (n_inputs - 1) + 1, rel=0.05)
    assert focus.mean_on == n_inputs


def test_levels_take_their_share_of_a_focus(tmp_path):
    """Four levels take sinc^2(1/4) = .811 of what phases give: theory against matrices, and on a bench within 5 %."""
    assert phase_enhancement(256, np.arange(4) / 4) == pytest.approx(np.sinc(0.25) ** 2 * np.pi / 4 * 255 + 1, rel=1e-3)
    t = gaussian(20_000, 64)
    shown = np.exp(2j * np.pi / 4 * focus_levels(t, np.arange(4) / 4))
    found = np.mean(np.abs(np.sum(t * shown, axis=1)) ** 2) / np.mean(np.sum(np.abs(t) ** 2, axis=1))
    assert found == pytest.approx(phase_enhancement(64, np.arange(4) / 4), rel=0.02)
    bench = OpticalBench(phase_device(reference=False, levels=4))
    record = measure_tm(bench, 64, exposure_s=400e-6, roi=ROI, out=tmp_path / "tm.h5", method="internal")
    focus = measure_focus(bench, record, 2000)
    assert focus.theory == pytest.approx(np.sinc(0.25) ** 2 * np.pi / 4 * 63 + 1, rel=1e-3)
    assert focus.enhancement == pytest.approx(focus.theory, rel=0.05)


def test_a_focus_on_phases_has_no_mean_pattern(tmp_path):
    bench = OpticalBench(phase_device(reference=False))
    record = measure_tm(bench, 16, exposure_s=400e-6, roi=ROI, out=tmp_path / "tm.h5", method="internal")
    with pytest.raises(ValueError, match="phase_rad is 'mean', but on a modulator of phases"):
        measure_focus(bench, record, 3, phase_rad="mean")


def test_a_noisy_matrix_flatters_itself():
    """Phases from a matrix with as much noise as signal: the light itself knows, the matrix does not."""
    t = gaussian(500, 256)
    noisy = t + gaussian(500, 256, seed=1)
    assert phase_enhancement_of(noisy) == pytest.approx(phase_enhancement(256), rel=0.02)
    # The phases keep half of the field's coherent part: 1 / (1 + 1) of the intensity.
    assert phase_enhancement_of(noisy, t) == pytest.approx(1 + (phase_enhancement(256) - 1) / 2, rel=0.02)
    assert np.allclose(np.abs(focus_phase(t)), 1, atol=1e-6)


def test_bad_input(tmp_path):
    bench, record = matrix_of(tmp_path, "ideal", 16)
    for targets, sentence in ((0, "targets is 0"), ([5000], "targets holds 5000"), ([0.5], "numbers of pixels")):
        with pytest.raises((TypeError, ValueError), match=sentence):
            measure_focus(bench, record, targets)
    record.valid[7] = False
    with pytest.raises(ValueError, match="targets holds 7, but that pixel was left out"):
        measure_focus(bench, record, [7])
    with pytest.raises(ValueError, match="phase_rad is 'best'"):
        focus_binary(np.ones(4, complex), "best")
    with pytest.raises(TypeError, match="rows is an array"):
        focus_binary(np.array(["a"]))
    with pytest.raises(ValueError, match="true_rows has shape"):
        phase_enhancement_of(np.ones((2, 3), complex), np.ones((2, 4), complex))
    with pytest.raises(ValueError, match="zero everywhere"):
        phase_enhancement_of(np.zeros((2, 3), complex))
