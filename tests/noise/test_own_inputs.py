"""Budgets of a device around a measured matrix: closed forms, and sources switched off on patterns of its inputs."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from measured_device import measured_device, write_matrix
from opusim import OpticalBench
from opusim.cli import app
from opusim.noise import error_budget, noise_terms
from opusim.noise.measured import measured_error_budget
from opusim.patterns.layout import MirrorPatterns

ROI = (0, 0, 20, 40)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["intensity", "linear"])
def test_both_budgets_agree(tmp_path, mode):
    """Known by two ways that share nothing but the stages; 10 % for what 200 vectors and 800 pixels tell."""
    write_matrix(tmp_path / "tm.h5", 800, 256)
    device = measured_device(tmp_path / "tm.h5", "aurora")
    formed = error_budget(device, mode, roi=ROI)
    measured = measured_error_budget(device, mode, n_vectors=200, roi=ROI)
    assert measured.total == pytest.approx(formed.total, rel=0.1)
    for name in ("shot noise", "read noise"):
        assert measured.errors[name] == pytest.approx(formed.errors[name], rel=0.15)


def test_a_share_that_is_none_of_the_inputs_is_refused(tmp_path):
    write_matrix(tmp_path / "tm.h5", 800, 8)
    device = measured_device(tmp_path / "tm.h5", "aurora")
    with pytest.raises(ValueError, match="share_on is 0.05, but patterns are made for at least 0.062"):
        measured_error_budget(device, n_vectors=20, roi=ROI, share_on=0.05)


@pytest.mark.parametrize(("spread", "background"), [(0.0, 0.0), (0.3, 0.0), (0.0, 8.0), (0.4, 6.0)])
def test_level_and_contrast_are_those_of_uneven_rows_and_a_background(tmp_path, spread, background):
    """Frames of 40 patterns of half the inputs, on 5 600 outputs: 2 % of the level above the dark, 3 % of the contrast.

    A row of strength exp(s n), n normal, and a background of the same rows: <I^2> / <I>^2 is known in closed form, too:
    (2 s^2 + 4 s b + b^2) / (s + b)^2 exp(4 spread^2), s and b the mean light of inputs and background.
    """
    rng = np.random.default_rng(4)
    m, n = 5600, 128

    def normal(*shape):
        return rng.standard_normal((*shape, 2)) @ [1, 1j]

    rows = np.exp(spread * rng.standard_normal(m))
    with h5py.File(tmp_path / "tm.h5", "w") as file:
        file["tm"] = (normal(m, n) * rows[:, None]).astype(np.complex64)
        file["background"] = (background * rows * np.exp(2j * np.pi * rng.random(m))).astype(np.complex64)
    device = measured_device(tmp_path / "tm.h5", "ideal")
    bench = OpticalBench(device)
    bits = np.zeros((40, n), dtype=np.uint8)
    for row in bits:
        row[rng.permutation(n)[: n // 2]] = 1
    shown = MirrorPatterns(bits, bench.input_layout)
    exposure_s = device.operation.exposure_s
    light = bench.transform(shown, exposure_s=exposure_s, roi=(0, 0, 64, 88), n_pixels=m).astype(np.float64)
    n_on = int(shown.count_on()[0])
    budget = noise_terms(device, n_on, exposure_s)
    assert budget.level_dn == pytest.approx(light.mean(), rel=0.02)
    contrast = np.sqrt(np.mean(light**2) / light.mean() ** 2 - 1)
    assert budget.contrast == pytest.approx(contrast, rel=0.03)
    s, b = 2 * n / 2, background**2
    law = (2 * s**2 + 4 * s * b + b**2) / (s + b) ** 2 * np.exp(4 * spread**2)
    assert budget.contrast == pytest.approx(np.sqrt(law - 1), rel=0.06)


def test_info_tells_what_the_file_holds(tmp_path):
    """Sizes, states and places; fields of a sequence where there is one."""
    tm, _ = write_matrix(tmp_path / "tm.h5", 600, 32, background=2.0)
    (tmp_path / "one.toml").write_text('preset = "aurora"\n[medium]\nkind = "measured"\npath = "tm.h5"\n')
    (tmp_path / "many.toml").write_text('preset = "aurora"\n[medium]\nkind = "measured"\npath = "many.h5"\n')
    with h5py.File(tmp_path / "many.h5", "w") as file:
        file["tm"], file["times_s"] = np.stack([tm, tm, tm]), [0.0, 60.0, 120.0]
        file["pixels"] = np.array([10, 20, 20, 30])
    told = {}
    for name in ("one", "many"):
        result = CliRunner().invoke(app, ["info", str(tmp_path / f"{name}.toml")])
        assert result.exit_code == 0, result.output
        told[name] = " ".join(result.output.replace("│", " ").split())
        assert "matrix: 600 outputs x 32 inputs" in told[name] and "contrast over outputs" in told[name]
    assert "pixels: those of the region, in its order" in told["one"]
    assert "sequence True" not in told["one"] and "times times_s" not in told["one"]
    assert "sequence True" in told["many"] and "3 states, from 0, 60, 120 s on" in told["many"]
    assert "rows 10 to 29, columns 20 to 49 of the sensor: roi (10, 20, 20, 30)" in told["many"]
