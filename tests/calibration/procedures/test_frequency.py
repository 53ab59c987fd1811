"""The servo on the frequency of the laser: as a procedure, on benches of others, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from typer.testing import CliRunner

from opusim import Device, OpticalBench, cli
from opusim.calibration import Calibration, FrequencyRecord, lock_frequency, read_record, read_report
from opusim.calibration.report import summary
from opusim.device.medium import PhaseScreenMedium
from opusim.device.slm import PhaseSlm

AURORA = Device.load("aurora")
# A kelvin is a shift of 1e-5, 5.6 GHz, and half of the correlation is left 2.8 GHz away.
DEVICE = AURORA.evolve(
    medium=PhaseScreenMedium(
        transmission=AURORA.medium.transmission, spectral_law="slab", diffusion_time_s=5e-10, expansion_per_k=1e-5
    ),
    **{"laser.tuning_range_hz": 20e9, "operation.ones_range": (1, 2000)},
    **{"dmd.shape": (48, 64), "camera.shape": (48, 64)},
)  # fmt: skip
ROI = (16, 0, 16, 64)
FIXED = DEVICE.evolve(**{"laser.tuning_range_hz": 0.0})
MIRRORS = (np.random.default_rng(1).random((2, 48, 64)) < 0.5).astype(np.uint8)


def test_a_file_keeps_the_reference_to_which_the_laser_goes_back(tmp_path):
    path = tmp_path / "cal.h5"
    bench = OpticalBench(DEVICE, 1, execution="waves")
    first = Calibration(bench, path, roi=ROI, exposure_s=2e-3).run("frequency")["frequency"]
    stored = read_record(path, "frequency", FrequencyRecord, bench=bench)
    assert (stored.tuning_hz, stored.width_hz, stored.trials) == (first.tuning_hz, first.width_hz, first.trials)
    assert first.reference_dn.shape == (4, 16, 64) and first.reference_tuning_hz == 0.0
    bench.surround(temperature_change_k=-1.5)
    second = Calibration(bench, path, roi=ROI).run("frequency")["frequency"]
    assert second.exposure_s == 2e-3 and np.array_equal(second.reference_dn, first.reference_dn)
    assert second.tuning_hz == pytest.approx(1.5e-5 * DEVICE.laser.frequency_hz, abs=0.1 * first.width_hz)
    assert second.correlation > 0.98 * second.correlation_of_one_state and second.correlation_before < 0.3
    rows = dict((name, text) for name, text, _ in summary(second, DEVICE))
    assert rows["laser tuned to"].startswith("+8.") and "of ±20 GHz" in rows["laser tuned to"]
    assert "frequency" in read_report(path).records


def test_phases_in_turns_are_patterns_too():
    """A modulator of phases takes them as floats, as by `expose`."""
    mirrors = DEVICE.dmd
    pixels = PhaseSlm(
        "pixels", mirrors.shape, mirrors.pitch_m, efficiency=mirrors.efficiency, frame_rate_hz=mirrors.frame_rate_hz
    )
    bench = OpticalBench(DEVICE.evolve(dmd=pixels), 1, execution="waves")
    turns = np.random.default_rng(0).random((2, *mirrors.shape))
    assert lock_frequency(bench, turns, roi=ROI, exposure_s=2e-3).correlation > 0.98


def test_a_bench_of_a_laboratory_is_tuned_too():
    """One that has the three members of a bench, and those of `Tunable`, and a laser that creeps beside its scale."""

    class Bench:
        def __init__(self):
            self.inside = OpticalBench(DEVICE, 2, execution="waves")
            self.mirror_shape, self.sensor_shape = self.inside.mirror_shape, self.inside.sensor_shape
            self.expose, self.tuning_range_hz, self.tuning_hz = self.inside.expose, 12e9, 0.0

        def tune(self, shift_hz):
            self.tuning_hz = shift_hz
            self.inside.tune(shift_hz + self.creep_hz)

        creep_hz = 0.0

    bench = Bench()
    how = {"exposure_s": 2e-3, "roi": ROI}
    kept = lock_frequency(bench, MIRRORS, **how)
    bench.creep_hz = 7e9
    bench.tune(kept.tuning_hz)
    told = []
    found = lock_frequency(bench, MIRRORS, reference=kept, progress=lambda *part: told.append(part), **how)
    assert found.tuning_hz == pytest.approx(-7e9, abs=0.1 * kept.width_hz) and bench.tuning_hz == found.tuning_hz
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_state_that_no_tuning_brings_back_is_told_and_the_laser_stays():
    bench = OpticalBench(DEVICE, 1, execution="waves")
    how = {"exposure_s": 2e-3, "roi": ROI}
    kept = lock_frequency(bench, MIRRORS, **how)
    bench.surround(temperature_change_k=10.0)  # 56 GHz away, of 20
    bench.tune(1e9)
    with pytest.raises(
        ValueError, match=r"No tuning within 2e\+10 Hz to either side restores the speckle: frames corr"
    ):
        lock_frequency(bench, MIRRORS, reference=kept, **how)
    assert bench.tuning_hz == 1e9


def test_what_is_no_servo_is_refused(tmp_path):
    bench = OpticalBench(DEVICE, 1, execution="waves")
    how = {"exposure_s": 2e-3, "roi": ROI}
    with pytest.raises(ValueError, match=r"The laser of this bench cannot be tuned: its tuning_range_hz is 0"):
        lock_frequency(OpticalBench(FIXED), MIRRORS, **how)
    with pytest.raises(TypeError, match=r"it lacks tune, tuning_hz, tuning_range_hz, as declared by .*Tunable"):
        lock_frequency(type("Bare", (), {"mirror_shape": (2, 2), "sensor_shape": (2, 2), "expose": print})(), MIRRORS)
    with pytest.raises(ValueError, match="mirrors is None, which shuts the laser"):
        lock_frequency(bench, None, **how)
    with pytest.raises(TypeError, match="reference is 'old', but it must be a FrequencyRecord"):
        lock_frequency(bench, MIRRORS, reference="old", **how)
    with pytest.raises(ValueError, match="give 4 outputs, but a correlation takes a pattern, and 64 pixels"):
        lock_frequency(bench, MIRRORS[:1], exposure_s=2e-3, roi=(0, 0, 2, 2))
    with pytest.raises(ValueError, match=r"Two sets of frames of one state correlate by .* only: a longer exposure"):
        lock_frequency(bench, MIRRORS, exposure_s=1e-6, roi=ROI)
    kept = lock_frequency(bench, MIRRORS, **how)
    with pytest.raises(ValueError, match=r"reference holds frames of shape \(2, 16, 64\), but .* \(1, 16, 64\)"):
        lock_frequency(bench, MIRRORS[:1], reference=kept, **how)
    for name, value in (("n_frames", 0), ("exposure_s", math.nan)):
        with pytest.raises(ValueError, match=f"{name} is {value}, but it must be"):
            lock_frequency(bench, MIRRORS, **how | {name: value})
    session = Calibration(OpticalBench(FIXED), tmp_path / "cal.h5", roi=ROI)
    assert not session.has_tuning
    with pytest.raises(ValueError, match=r"cannot be tuned \(laser.tuning_range_hz\), and 'frequency' cannot do with"):
        session.run("frequency")


def test_surroundings_of_a_simulated_bench_are_an_option(tmp_path):
    """A fresh bench goes back to the file's reference: 1.5 K are 1.5e-5 of the frequency, against the warming."""
    path, how = tmp_path / "cal.h5", {"roi": ROI, "exposure_s": 2e-3}
    first = Calibration(OpticalBench(DEVICE, 1, execution="waves"), path, **how).run("frequency")["frequency"]
    bench = OpticalBench(DEVICE, 1, execution="waves")
    warm = Calibration(bench, path, temperature_k=1.5, pressure_pa=0.0, **how).run("frequency")["frequency"]
    assert warm.tuning_hz == pytest.approx(-1.5e-5 * DEVICE.laser.frequency_hz, abs=0.1 * first.width_hz)
    assert warm.correlation_before < 0.3 and bench.temperature_change_k == 1.5
    # Its clock has passed over the frames of the reference, whose noise none of its own has.
    assert warm.elapsed_s > first.elapsed_s and warm.correlation_of_one_state < 1
    with pytest.raises(TypeError, match="a change of the surroundings is 'hot'"):
        Calibration(bench, path, temperature_k="hot", **how)


def test_a_laboratorys_medium_is_as_it_is(tmp_path):
    class Bench:
        def __init__(self):
            self.inside = OpticalBench(DEVICE, 2, execution="waves")
            self.mirror_shape, self.sensor_shape = self.inside.mirror_shape, self.inside.sensor_shape
            self.expose, self.tuning_range_hz, self.tuning_hz = self.inside.expose, 12e9, 0.0

        def tune(self, shift_hz):
            self.tuning_hz = shift_hz

    session = Calibration(Bench(), tmp_path / "cal.h5", roi=ROI, temperature_k=1.0)
    with pytest.raises(ValueError, match="--temperature-k is given, but this bench is not simulated"):
        session.run("frequency")


def test_the_command_warms_a_bench_and_finds_its_tuning(tmp_path):
    """By waves, in a program of its own for each run."""
    device, path = tmp_path / "warm.toml", tmp_path / "cal.h5"
    table = (
        'preset = "aurora"\nname = "warm"\n[laser]\ntuning_range_hz = 20e9\n[operation]\nones_range = [1, 2000]\n'
        '[medium]\nspectral_law = "slab"\ndiffusion_time_s = 5e-10\nexpansion_per_k = 1e-5\n'
        "[dmd]\nshape = [48, 64]\n[camera]\nshape = [48, 64]\n"
    )
    device.write_text(table)
    call = [
        "calibrate",
        "frequency",
        "-o",
        str(path),
        "-d",
        str(device),
        "--exposure-us",
        "2000",
        "--roi",
        "16,0,16,64",
    ]
    for more in ([], ["--temperature-k", "1"]):
        result = CliRunner().invoke(cli.app, [*call, *more])
        assert result.exit_code == 0, result.output
    found = read_record(path, "frequency", FrequencyRecord)
    assert found.tuning_hz == pytest.approx(-1e-5 * DEVICE.laser.frequency_hz, abs=0.1 * found.width_hz)
    table = table.replace("20e9", "0.0")
    device.write_text(table)
    refused = CliRunner().invoke(cli.app, ["calibrate", "frequency", "-o", str(tmp_path / "b.h5"), "-d", str(device)])
    assert refused.exit_code == 2 and "cannot be tuned" in " ".join(refused.stderr.split())
