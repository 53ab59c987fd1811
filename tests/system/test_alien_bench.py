"""Every procedure from the command line on a bench that knows nothing of opusim, which knows itself what is true."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import alien_bench
from opusim.calibration.files import read_info, read_record, record_names
from opusim.calibration.on_bench import random_patterns
from opusim.calibration.procedures.base import PROCEDURES
from opusim.calibration.procedures.camera import CameraRecord
from opusim.calibration.procedures.drift import DriftRecord
from opusim.calibration.procedures.exposure import ExposureRecord
from opusim.calibration.procedures.frequency import FrequencyRecord
from opusim.calibration.procedures.linear import LinearRecord
from opusim.calibration.procedures.matrix.file import GROUP, read_tm
from opusim.calibration.procedures.phase import PhaseRecord

FILE = Path(alien_bench.__file__)
ROI = (0, 0, *alien_bench.SENSOR)


def opusim(folder, *arguments, **variables):
    """Run the command as a user would, in a folder with a copy of the bench's file."""
    (folder / FILE.name).write_bytes(FILE.read_bytes())
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ALIEN")}
    line = [sys.executable, "-m", "opusim", *map(str, arguments)]
    return subprocess.run(line, cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=500)


def calibrate(folder, procedure, factory, *arguments, **variables):
    done = opusim(folder, "calibrate", procedure, "--bench", f"alien_bench.py:{factory}", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    assert "simulated device" not in done.stdout
    return done


def own_entries(bench, record, at_s=0.0, *, amplitude=1 - alien_bench.OFF_LIGHT):
    """Matrix of the bench itself in roots of counts: what each input adds to the field."""
    bits = np.eye(record.n_inputs, dtype=np.uint8)
    lit = record.layout().mirrors(bits).astype(np.float64)
    fields = amplitude * bench.optics.field(lit, at_s).reshape(record.n_inputs, -1).T
    return fields * np.sqrt(alien_bench.GAIN * record.exposure_s * bench.response.reshape(-1, 1))


def row_correlations(found, true):
    """How alike rows are, whatever the phase of each: 1 for equal ones."""
    product = np.abs(np.sum(found * true.conj(), axis=1))
    return product / np.linalg.norm(found, axis=1) / np.linalg.norm(true, axis=1)


def check_matrix(record, true, *, least, scale):
    valid = np.flatnonzero(record.valid)
    found = record.matrix(valid)
    assert np.median(row_correlations(found, true[valid])) > least
    assert np.linalg.norm(found) / np.linalg.norm(true[valid]) == pytest.approx(1, abs=scale)


def dark_level(exposure_s):
    # Counts are cut off, which takes half a count from the mean.
    return alien_bench.BLACK - 0.5 + alien_bench.GAIN * alien_bench.DARK_E_PER_S * exposure_s


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(folder, what was printed, log) of `opusim calibrate all` on the bench with all that it has."""
    folder = tmp_path_factory.mktemp("whole")
    done = calibrate(
        folder, "all", "make", "--inputs", 64, "--minutes", 20, "--longest-us", 500_000, ALIEN_LOG=str(folder / "log")
    )  # fmt: skip
    return folder, done, (folder / "log").read_text()


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """(folder, what was printed) of the same on shapes and `expose` alone."""
    folder = tmp_path_factory.mktemp("bare")
    done = calibrate(folder, "all", "bare", "--inputs", 64, "--minutes", 0.05, "--full-scale", alien_bench.FULL)
    return folder, done


def test_every_procedure_finds_something_and_the_instruments_are_let_go(whole):
    folder, _, log = whole
    names = {*record_names(folder / "cal.h5"), *(["tm"] if (folder / "cal.tm.h5").exists() else [])}
    assert {*PROCEDURES.own(), "exposure_signal"} == names
    assert log.splitlines() == ["open", "closed"]


def test_the_exposure_gives_the_light_that_the_optics_have(whole):
    record = read_record(whole[0] / "cal.h5", "exposure_signal", ExposureRecord)
    bench = alien_bench.make()
    field = bench.optics.field(bench.amplitudes(random_patterns(bench, 16)))
    rate = np.mean(np.abs(field) ** 2 * bench.response)
    assert 0 < record.clipped_share <= 1e-3 and record.saturation_dn == alien_bench.FULL
    # A thousandth of the light is lost where pixels clip; the laser's power is known to .2 % / sqrt(16).
    assert record.level_dn == pytest.approx(alien_bench.GAIN * rate * record.exposure_s, rel=5e-3)
    assert record.dark_dn == pytest.approx(dark_level(record.exposure_s), abs=0.1)


def test_the_camera_is_the_one_that_it_is(whole):
    record, bench = read_record(whole[0] / "cal.h5", "camera", CameraRecord), alien_bench.make()
    # Intervals of 95 % are .4 % wide; three times that leaves chance hardly any room.
    for found, true in (
        (record.gain_dn_per_e, alien_bench.GAIN), (record.quantum_efficiency, alien_bench.EFFICIENCY),
        (record.saturation_e, (alien_bench.FULL - dark_level(400e-6)) / alien_bench.GAIN),
        (record.dark_current_e_per_s, alien_bench.DARK_E_PER_S),
    ):  # fmt: skip
        assert found == pytest.approx(true, rel=0.0125)
    # What a row has in common from frame to frame counts as noise in time.
    assert record.read_noise_e == pytest.approx(math.hypot(alien_bench.READ_E, alien_bench.ROW_E), rel=0.02)
    # Of this sensor's own pixels; of its 32 dark frames a row keeps a share of its noise, which looks like a pattern.
    assert record.prnu == pytest.approx(bench.response.std(), rel=0.06)
    rows = alien_bench.ROW_E / math.sqrt(32)
    assert record.dsnu_e == pytest.approx(math.hypot(bench.offset_e.std(), rows), rel=0.05)
    assert record.saturation_by == "full scale" and not len(record.hot_pixels)
    assert record.roi == ROI


def test_the_shifter_is_the_one_that_it_is(whole):
    record = read_record(whole[0] / "cal.h5", "phase", PhaseRecord)
    for found, (low, high), true in (
        (record.scale_error, record.scale_interval, alien_bench.SCALE_ERROR),
        (record.nonlinearity, record.nonlinearity_interval, alien_bench.BENT),
    ):  # fmt: skip
        assert abs(found - true) < high - low  # four standard errors
    # Of 24 bursts of 16 phases: known to 1 / sqrt(2 * 23 * 15) = 4 %.
    assert record.repeatability_rad == pytest.approx(alien_bench.JITTER_RAD, rel=0.16)
    asked = record.asked_rad
    made = asked * (1 + alien_bench.SCALE_ERROR + alien_bench.BENT * asked / math.pi)
    assert np.ptp(record.phases_rad - made) < 8 * record.uncertainty_rad


def test_what_the_linear_transform_needs(whole):
    record = read_record(whole[0] / "cal.h5", "linear", LinearRecord)
    assert record.coherence > 0.98  # the arm is of one polarisation and one colour with the signal
    assert record.relative_error < 0.05 and record.valid.mean() > 0.9
    true = np.abs(alien_bench.make().arm_wave) ** 2 * alien_bench.GAIN * record.exposure_s
    assert record.reference_dn.mean() == pytest.approx(true.mean(), rel=0.02)


def test_the_matrix_is_the_conjugate_of_the_lights_since_the_arm_counts_the_other_way(whole):
    path = whole[0] / "cal.tm.h5"
    record, at_s = read_tm(path), read_info(path, GROUP).elapsed_s
    true = own_entries(alien_bench.make(), record, at_s)
    # Random errors of entries are a few per cent, whose squares rows of 64 of them lose in correlation.
    check_matrix(record, true.conj(), least=0.998, scale=0.02)
    valid = np.flatnonzero(record.valid)
    assert np.median(row_correlations(record.matrix(valid), true[valid])) < 0.5


def test_drift_follows_the_optics_own(whole):
    path = whole[0] / "cal.h5"
    record, bench = read_record(path, "drift", DriftRecord), alien_bench.make()
    began_s = read_info(path, "drift").elapsed_s - float(record.times_s[-1])
    lit = bench.amplitudes(random_patterns(bench, 1))
    fields = np.array([bench.optics.field(lit, began_s + t)[0] for t in record.times_s])
    # Pixels that clip under the arm in some look are left out, and they are the bright ones.
    lit_by_both = fields + bench.arm_wave * np.exp(-0.5j * np.pi * np.arange(4).reshape(4, 1, 1, 1))
    full = (alien_bench.FULL - dark_level(record.exposure_s)) / alien_bench.GAIN / record.exposure_s
    use = np.max(np.abs(lit_by_both) ** 2 * bench.response, axis=(0, 1)) < 0.98 * full
    looks = np.abs(fields[:, use]) ** 2
    own = np.array([np.corrcoef(looks[0], look)[0, 1] for look in looks])
    assert np.abs(record.intensity_correlation - own).max() < 0.01
    # The law holds of a mean over many grains and mirrors; here it is of 300 grains, each to 1 / sqrt(300) = 6 %.
    assert record.follows_law and record.decorrelation_time_s == pytest.approx(1800, rel=0.2)


def test_the_laser_undoes_what_warmth_does(whole, tmp_path):
    calibrate(tmp_path, "frequency", "make")
    calibrate(tmp_path, "frequency", "make", ALIEN_WARMER_GHZ="7")
    record = read_record(tmp_path / "cal.h5", "frequency", FrequencyRecord)
    assert record.tuning_hz == pytest.approx(-7e9, abs=0.05e9)
    assert record.correlation_before < 0.5 and record.correlation > 0.99
    # Where exp(-(2 pi f d)^2) is a half, by steps of an eighth.
    width = math.sqrt(math.log(2)) / (2 * math.pi * alien_bench.DELAY_S)
    assert record.width_hz == pytest.approx(width, rel=0.15)


def test_off_axis_finds_the_carrier_of_the_arm(tmp_path):
    calibrate(tmp_path, "tm", "make", "--method", "off-axis", "--grain-px", 4, "--inputs", 64)
    record = read_tm(tmp_path / "cal.tm.h5")
    off = np.array(record.carrier_cycles_per_pixel) + alien_bench.TILT  # counted the other way round
    assert np.abs(off).max() < 3 * record.carrier_uncertainty
    true = own_entries(alien_bench.make(), record, read_info(tmp_path / "cal.tm.h5", GROUP).elapsed_s)
    check_matrix(record, true.conj(), least=0.995, scale=0.03)


# ---------------------------------------------------------------- benches that have less


def test_a_bench_of_three_members_goes_through_all_that_it_can(bare):
    folder, done = bare
    assert "This bench has no lamp (flat_field): camera is left out." in done.stdout
    assert "The laser of this bench cannot be tuned (it has no tune, or no range): frequency is" in done.stdout
    names = record_names(folder / "cal.h5")
    assert set(names) == {"exposure", "exposure_signal", "phase", "linear", "drift"}
    record = read_tm(folder / "cal.tm.h5")
    check_matrix(record, own_entries(alien_bench.bare(), record).conj(), least=0.998, scale=0.02)
    assert read_record(folder / "cal.h5", "drift", DriftRecord).intensity_correlation.min() > 0.99


def test_full_scale_that_nothing_tells_is_asked_for(tmp_path):
    for procedure in ("all", "drift"):  # the others in tests/cli
        done = opusim(tmp_path, "calibrate", procedure, "--bench", "alien_bench.py:bare")
        assert done.returncode == 2 and done.stdout == ""
        assert "full_scale_dn (--full-scale) is not given" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.h5"))


def test_a_medium_that_melts_on_the_clock_of_the_wall(tmp_path):
    calibrate(
        tmp_path, "drift", "melting", "--minutes", 0.1, "--exposure-us", 1500, "--full-scale", 4095, ALIEN_TAU_S="9"
    )  # fmt: skip
    record = read_record(tmp_path / "cal.h5", "drift", DriftRecord)
    # Looks that take longer than the gap between them are told when they were.
    assert record.times_s[-1] >= 6 and np.all(np.diff(record.times_s) > 0.09)
    assert record.decorrelation_time_s == pytest.approx(9, rel=0.2)


def test_phases_without_an_arm_are_stepped_against_each_other(tmp_path):
    done = calibrate(tmp_path, "all", "phases", "--inputs", 64, "--minutes", 2, "--longest-us", 500_000)
    assert "This bench has no reference arm: phase, linear are left out." in done.stdout
    record = read_tm(tmp_path / "cal.tm.h5")
    assert record.method == "internal"
    # No arm, and no sign of its phase: the matrix is the light's own.
    check_matrix(record, own_entries(alien_bench.phases(), record, amplitude=1.0), least=0.998, scale=0.03)
    names = set(record_names(tmp_path / "cal.h5"))
    assert names == {"exposure_signal", "camera", "drift", "frequency"}


def test_phases_with_an_arm(tmp_path):
    calibrate(tmp_path, "tm", "phases_with_arm", "--inputs", 64)
    record = read_tm(tmp_path / "cal.tm.h5")
    assert record.method == "phase-stepping"
    true = own_entries(alien_bench.phases_with_arm(), record, amplitude=1.0)
    check_matrix(record, true.conj(), least=0.998, scale=0.03)


def test_mirrors_without_an_arm(tmp_path):
    done = calibrate(tmp_path, "all", "armless", "--minutes", 2, "--longest-us", 500_000)
    assert "This bench has no reference arm: phase, linear, tm are left out." in done.stdout
    assert set(record_names(tmp_path / "cal.h5")) == {"exposure_signal", "camera", "drift", "frequency"}
    assert not np.isfinite(read_record(tmp_path / "cal.h5", "drift", DriftRecord).phase_rad).any()


# ---------------------------------------------------------------- reports, and the check


def test_reports_tell_and_draw(whole, bare):
    for folder in (whole[0], bare[0]):
        figure = folder / "report.png"
        done = opusim(folder, "report", "cal.h5", "--figure", figure)
        assert done.returncode == 0, done.stderr
        assert figure.read_bytes().startswith(b"\x89PNG") and figure.stat().st_size > 30_000
        text = " ".join(done.stdout.split())
        assert "without a name" in text and "seed" not in text and "simulated device" not in text
        assert "no record that says which device it" in text and "5,076 outputs x 64 inputs" in text


@pytest.mark.parametrize("factory", ["make", "phases"])
def test_the_bench_keeps_the_rules(factory, tmp_path):
    done = opusim(tmp_path, "bench", "check", f"alien_bench.py:{factory}", "--exposure-us", 1500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "keeps the rules" in done.stdout and "no input_layout" in done.stdout
