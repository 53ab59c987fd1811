"""Calibration and drivers of a device around a measured matrix: they lay their patterns on its own inputs.

The matrix of the file is the truth that all of it is compared with. The device has no noise, so that what is left is
rounding, single precision, and what is said at each bound.
"""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

from measured_device import measured_device, write_matrix
from opusim import OPU, OpticalBench
from opusim.calibration import Calibration, find_exposure, measure_drift, measure_linear, measure_phases, measure_tm
from opusim.calibration.on_bench import all_off, feature_layout, random_mirrors, random_patterns
from opusim.calibration.procedures.focus import measure_focus
from opusim.calibration.procedures.tm import tm_path
from opusim.dfa import OpticalFeedback
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

ROI = (0, 0, 16, 24)
PIXELS = 5 * 90  # whole rows of the sensor, as the driver reads them


def rows_alike(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Correlation of each row but for a phase of its own, which the reference has in that pixel."""
    overlap = np.abs(np.sum(found * true.conj(), axis=1))
    return overlap / np.maximum(np.linalg.norm(found, axis=1) * np.linalg.norm(true, axis=1), 1e-30)


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the calibration of linear_transform is told
        yield


def made(tmp_path, inputs, background=0.0, preset="ideal", **changes):
    tm, off = write_matrix(tmp_path / "tm.h5", PIXELS, inputs, background)
    return measured_device(tmp_path / "tm.h5", preset, **changes), tm, off


@pytest.mark.parametrize("inputs", [4, 40, 256])
def test_every_procedure_finds_patterns(tmp_path, inputs):
    """Of few inputs, too: random macro-pixels were 1024, whatever there was."""
    device, tm, _ = made(tmp_path, inputs)
    bench = OpticalBench(device)
    session = Calibration(bench, tmp_path / "cal.h5", roi=ROI, minutes=1.0)
    assert session.has_reference and session.patterns(3).layout == bench.input_layout
    for name in ("exposure", "phase", "linear", "drift", "tm"):
        records = session.run(name)
        assert session.done(name) and records
    record = records["tm"]
    assert record.n_inputs == inputs and record.layout() == bench.input_layout and record.valid.all()
    assert record.path == str(tm_path(tmp_path / "cal.h5"))
    assert rows_alike(record.matrix(), tm[: 16 * 24]).min() > 0.9999
    focus = measure_focus(bench, record, 8, n_random=64)
    assert focus.enhancement > 1


@pytest.mark.slow
@pytest.mark.parametrize("inputs", [1024, 2000])
def test_a_large_matrix_is_the_file_s(tmp_path, inputs):
    """2000 inputs on 4560 mirrors: two mirrors each, and 560 that belong to none."""
    device, tm, _ = made(tmp_path, inputs)
    bench = OpticalBench(device)
    record = measure_tm(bench, inputs, exposure_s=400e-6, out=tmp_path / "found.h5", roi=(0, 0, 4, 24))
    assert rows_alike(record.matrix(), tm[:96]).min() > 0.999
    # In parts that are as long as those of the file: all rows but for one factor, of the light.
    lengths = np.linalg.norm(record.matrix(), axis=1) / np.linalg.norm(tm[:96], axis=1)
    assert lengths.std() / lengths.mean() < 1e-3


@pytest.mark.parametrize("background", [0.0, 0.5])
@pytest.mark.parametrize("inputs", [256, 1024, 2000])
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_a_field_transform_is_the_file_s_matrix(tmp_path, inputs, share, background):
    """Rows against x @ tm.T; the background is taken off (`OPU.field_transform`).

    A background adds to the light that the calibration takes for the reference's alone: |R + b|^2 for |R|^2, so that a
    pixel is wrong by b / |R|, here .5 of an entry over 1.5 sqrt(inputs) of them.
    """
    device, tm, _ = made(tmp_path, inputs, background)
    n = int(share * inputs)
    x = np.random.default_rng(3).integers(0, 2, (6, n), dtype=np.uint8)
    with OPU(PIXELS, device=device) as opu:
        opu.fit1d(x)
        layout = opu.current_fit.layout
        assert layout == opu.bench.input_layout.first(n) and opu.current_fit.n_ones == layout.count_on(x).mean() // 1
        fields, real, counts = opu.field_transform(x), opu.linear_transform(x), opu.transform(x)
    true = x @ tm[:, :n].T
    # The reference of the ideal device has one phase on all pixels.
    assert rows_alike(fields, true).min() > (0.99999 if not background else 0.999)
    np.testing.assert_allclose(real, np.sqrt(2) * fields.real, atol=1e-5 * np.abs(fields).max())
    light = np.abs(true + _background(tmp_path, background)) ** 2
    np.testing.assert_allclose(counts / counts.mean(), light / light.mean(), atol=1e-4 * light.max() / light.mean())


def _background(tmp_path, background):
    import h5py

    if not background:
        return 0.0
    with h5py.File(tmp_path / "tm.h5") as file:
        return file["background"][:]


def test_one_calibration_serves_fits_of_all_sizes(tmp_path):
    """A feature is as bright in a fit of few as in one of all inputs, so that reference and exposure go with both."""
    device, tm, _ = made(tmp_path, 256)
    entries = []
    with OPU(PIXELS, device=device, linear_mode="holographic") as opu:
        for n in (256, 64):
            opu.fit1d(n_features=n)
            if n == 256:
                opu.calibrate(store=False)
            first = opu.calibration
            one = np.eye(1, n, dtype=np.uint8)
            counts = opu.transform(one)
            entries.append(counts.mean())
            assert opu.calibration is first
        assert entries[0] == pytest.approx(entries[1], rel=1e-6)


def test_a_linear_transform_by_intensities_is_scaled_by_the_light_that_there_is(tmp_path):
    """Against one of the same matrix by holography: both are R x with entries of one variance."""
    device, tm, _ = made(tmp_path, 256)
    x = np.random.default_rng(4).integers(0, 2, (40, 100), dtype=np.uint8)
    powers = []
    for mode in ("holographic", "intensity"):
        with OPU(PIXELS, device=device, linear_mode=mode) as opu:
            opu.fit1d(x)
            y = opu.linear_transform(x)
        powers.append(np.mean((y - y.mean(axis=0)) ** 2))
    # Statistics of 384 pixels, and of |R x|^2 less its mean.
    assert powers[1] == pytest.approx(powers[0], rel=0.2)


def test_pictures_lie_on_the_inputs_in_raster_order(tmp_path):
    device, tm, _ = made(tmp_path, 256)
    x = np.random.default_rng(5).integers(0, 2, (4, 12, 16), dtype=np.uint8)
    with OPU(PIXELS, device=device) as opu:
        y = opu.fit_transform2d(x)
        assert opu.current_fit.layout == opu.bench.input_layout.first(192)
    light = np.abs(x.reshape(4, -1) @ tm[:, :192].T) ** 2
    np.testing.assert_allclose(y / y.mean(), light / light.mean(), atol=1e-4 * light.max() / light.mean())


def test_what_has_no_place_is_refused_by_the_fit(tmp_path):
    device, _, _ = made(tmp_path, 40)
    with OPU(PIXELS, device=device) as opu:
        with pytest.raises(ValueError, match="n_features is 41, but this device has 40 inputs of its own"):
            opu.fit1d(n_features=41)
        with pytest.raises(ValueError, match=r"n_features is \(5, 9\), but this device has 40 inputs"):
            opu.fit2d(n_features=(5, 9))
        with pytest.raises(ValueError, match="input_roi is .*, but this device has 40 inputs .* it must be left out"):
            opu.fit1d(n_features=10, input_roi=((0, 0), (20, 20)))


def test_rows_of_the_sensor_that_the_file_ends_in_are_told(tmp_path):
    """The driver reads whole rows, and calibrates all of their pixels: 307 is prime, and no rectangle."""
    write_matrix(tmp_path / "tm.h5", 307, 40)
    with OPU(307, device=measured_device(tmp_path / "tm.h5")) as opu:
        assert opu.bench.output_roi is None
        opu.fit1d(n_features=40)
        with pytest.raises(
            ValueError, match=r"307 pixels.* 307 components lie, 360 in 4 rows of 90: 270 components lie"
        ):
            opu.linear_transform(np.ones((1, 40), np.uint8))
        opu.n_components = 270
        assert opu.linear_transform(np.ones((1, 40), np.uint8)).shape == (1, 270)


def test_what_has_no_place_is_refused_by_a_matrix(tmp_path):
    device, _, _ = made(tmp_path, 40)
    bench = OpticalBench(device)
    how = {"exposure_s": 400e-6, "out": tmp_path / "no.h5", "roi": ROI}
    with pytest.raises(ValueError, match="inputs is 41, but it must be a whole number from 2 to 40"):
        measure_tm(bench, 41, **how)
    with pytest.raises(ValueError, match=r"inputs is \(5, 8\), but this bench has 40 inputs .* in line: .* up to 40"):
        measure_tm(bench, (5, 8), **how)
    with pytest.raises(ValueError, match="laid out for 50 macro-pixels, but there are 40"):
        measure_tm(bench, MirrorLayout.lined((60, 76), 50), **how)
    assert bench.clock.frames == 0


def test_patterns_on_a_bench_are_of_its_inputs(tmp_path):
    device, _, _ = made(tmp_path, 41)
    bench, free = OpticalBench(device), OpticalBench("ideal")
    for shown in (random_mirrors(bench), all_off(bench), random_patterns(bench, 30)):
        assert isinstance(shown, MirrorPatterns) and shown.layout == bench.input_layout
    # Of few inputs drawn one by one none might be on.
    assert (random_patterns(bench, 30).bits.sum(axis=1) == 21).all()
    assert len(np.unique(random_patterns(bench, 30).bits, axis=0)) == 30
    assert not all_off(bench).bits.any() and not all_off(free).any() and all_off(free).shape == (1, 912, 1140)
    assert random_mirrors(free).shape == (1, 912, 1140)
    assert feature_layout(free) == MirrorLayout.lined((912, 1140), 1024)
    assert feature_layout(free, 7) == MirrorLayout.lined((912, 1140), 7)
    with pytest.raises(ValueError, match="n is 42, but it must be a whole number from 1 to 41"):
        feature_layout(bench, 42)


def test_procedures_alone_find_patterns_too(tmp_path):
    device, _, _ = made(tmp_path, 64)
    bench = OpticalBench(device)
    assert find_exposure(bench, random_patterns(bench, 4), roi=ROI).level_dn > 0
    assert measure_phases(bench, [0.0, 1.0, 2.0], roi=ROI, bursts=2).modulation > 0.3
    assert measure_linear(bench, roi=ROI).valid.all()
    assert measure_drift(bench, duration_s=10.0, looks=3, roi=ROI).power_drift < 1e-3


def test_errors_are_fed_back_through_the_matrix(tmp_path):
    """The feedback's own matrix, measured column by column, is the real part of the file's first columns."""
    device, tm, _ = made(tmp_path, 256)
    with OPU(200, device=device) as opu:
        feedback = OpticalFeedback(opu, 200, n_classes=10)
        feedback.prepare()
        errors = np.random.default_rng(6).standard_normal((32, 10)).astype(np.float32)
        projected = feedback.project(errors)
        found = feedback.measured_matrix()
    assert projected.shape == (32, 200) and np.isfinite(projected).all()
    assert found.shape == (200, 10)
    # But for the phase of the reference in each pixel: the real part of a row turned by it.
    basis = np.concatenate([tm[:200, :10].real[..., None], tm[:200, :10].imag[..., None]], axis=2)
    for row, pair in zip(found, basis, strict=True):
        left = row - pair @ np.linalg.lstsq(pair, row, rcond=None)[0]
        assert np.linalg.norm(left) < 1e-3 * np.linalg.norm(row)


@pytest.mark.system
def test_the_command_calibrates_a_measured_device(tmp_path):
    """Every procedure, in a process of its own, with the noise of the preset and a background."""
    from opusim.calibration import read_tm

    tm, _ = write_matrix(tmp_path / "tm.h5", 64 * 128, 256, 0.5)
    (tmp_path / "lab.toml").write_text(
        'preset = "aurora"\n[medium]\nkind = "measured"\npath = "tm.h5"\ntransmission = 8.37e-11\n'
    )
    command = [sys.executable, "-m", "opusim", "calibrate", "all", "--device", "lab.toml", "--out", "cal.h5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    for name in ("exposure", "exposure_signal", "camera", "phase", "linear", "tm", "drift"):
        assert f"\n{name} " in "\n" + done.stdout
    record = read_tm(tmp_path / "cal.tm.h5")
    alike = rows_alike(record.matrix()[record.valid], tm[record.valid])
    assert record.valid.mean() > 0.99 and np.quantile(alike, 0.01) > 0.99 and np.median(alike) > 0.998
