"""`opusim calibrate`: every procedure on a small set-up, a killed matrix that goes on, one sentence for bad input."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from command_line import invoke
from opusim import Device, OpticalBench, calibration
from opusim.calibration.files import read_info, read_record, record_names, write_record
from opusim.calibration.procedures.camera import CameraRecord
from opusim.calibration.procedures.drift import DriftRecord
from opusim.calibration.procedures.exposure import ExposureRecord
from opusim.calibration.procedures.linear import LinearRecord
from opusim.calibration.procedures.matrix.measure import read_tm
from opusim.calibration.procedures.phase import PhaseRecord
from opusim.calibration.procedures.tm import tm_path
from opusim.calibration.session import Calibration, middle_region

ROI = "500,900,16,64"
AURORA = Device.load("aurora")


def calibrate(procedure, path, *arguments):
    return invoke("calibrate", procedure, "--out", path, "--roi", ROI, *arguments)


def sentence(result):
    """The one line of an error."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.strip() and "━" not in line]
    assert len(lines) == 1 and lines[0].endswith(".") and lines[0].startswith("opusim "), result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(file, what was printed) of `opusim calibrate all`."""
    path = tmp_path_factory.mktemp("all") / "cal.h5"
    result = calibrate("all", path, "--inputs", "64", "--minutes", "3")
    assert result.exit_code == 0, result.output
    return path, result.stdout


@pytest.fixture
def no_arm(tmp_path):
    """TOML file of a device without a reference arm."""
    path = tmp_path / "plain.toml"
    device = AURORA.evolve(name="plain", **{"reference.relative_amplitude": 0.0})
    path.write_text(device.to_toml(), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------- what each finds


@pytest.mark.slow
def test_all_writes_every_record_and_prints_it(whole):
    path, printed = whole
    kinds = {
        "exposure": ExposureRecord, "exposure_signal": ExposureRecord, "camera": CameraRecord, "phase": PhaseRecord,
        "linear": LinearRecord, "drift": DriftRecord,
    }  # fmt: skip
    assert record_names(path) == sorted(kinds)
    bench = OpticalBench(AURORA)
    records = {name: read_record(path, name, kind, bench=bench) for name, kind in kinds.items()}
    assert all(f"\n{name}" in f"\n{printed}" for name in [*kinds, "tm"])
    camera = AURORA.camera
    assert records["camera"].gain_dn_per_e == pytest.approx(camera.gain_dn_per_e, rel=0.03)
    assert records["camera"].read_noise_e == pytest.approx(camera.read_noise_e, rel=0.03)
    low, high = records["phase"].scale_interval
    # The interval holds with 95 %; twice as wide it does so for any seed that is likely.
    assert abs(AURORA.reference.scale_error - (low + high) / 2) < high - low
    assert len(records["phase"].asked_rad) == 8 and records["linear"].n_steps == 4
    assert records["drift"].times_s[-1] == pytest.approx(180, abs=1)
    for name in ("exposure", "exposure_signal"):
        assert 0 <= records[name].clipped_share <= 1e-3
    # Half of the light is the reference's: the exposure with it is the shorter one.
    assert records["exposure"].exposure_s < records["exposure_signal"].exposure_s


def test_the_map_of_fringes_goes_with_the_median(whole):
    record = read_record(whole[0], "linear", LinearRecord)
    assert record.modulation_map.shape == (16 * 64,) and record.modulation_map.dtype == np.float32
    assert 0 <= record.modulation_map.min() and record.modulation_map.max() <= 1.2
    assert record.modulation_map[record.valid].mean() == pytest.approx(record.modulation, rel=0.1)


def test_the_matrix_uses_what_was_found(whole):
    """Exposure and phase steps come from the records; the random error is that of theory's order, a few per cent."""
    path, _ = whole
    tm, phase = read_tm(tm_path(path)), read_record(path, "phase", PhaseRecord)
    assert tm.exposure_s == read_record(path, "exposure", ExposureRecord).exposure_s
    assert np.array_equal(tm.actual_rad, phase.phases_rad[::2])
    assert (tm.n_outputs, tm.n_inputs) == (16 * 64, 64) and 0 < tm.relative_error < 0.1


def test_one_procedure_replaces_its_record_and_leaves_the_others(tmp_path):
    path = tmp_path / "cal.h5"
    for steps in (5, 6):
        result = calibrate("phase", path, "--steps", steps, "--exposure-us", 500)
        assert result.exit_code == 0 and "scale error" in result.stdout
        assert calibrate("exposure", path, "--level", 20).exit_code == 0
    record = read_record(path, "phase", PhaseRecord)
    assert len(record.asked_rad) == 6 and record.exposure_s == pytest.approx(500e-6)
    assert read_record(path, "exposure", ExposureRecord).level_dn == pytest.approx(20, rel=0.02)
    assert record_names(path) == ["exposure", "exposure_signal", "phase"]


def test_all_goes_on_with_what_lacks(whole, tmp_path):
    path = tmp_path / "cal.h5"
    path.write_bytes(whole[0].read_bytes())
    result = calibrate("all", path, "--inputs", "64", "--minutes", "3", "--resume")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("there already") == 5 and tm_path(path).exists()

    for option, value in (("--inputs", "32"), ("--roi", "520,960,8,16")):
        result = calibrate("all", path, "--minutes", "3", option, value, "--resume")
        assert result.exit_code == 2 and "go on with the same options" in result.stderr


@pytest.mark.slow
def test_without_a_reference_arm(no_arm, tmp_path):
    path = tmp_path / "cal.h5"
    for procedure in ("phase", "linear", "tm"):
        assert "no reference arm" in sentence(calibrate(procedure, path, "-d", no_arm))
        assert not path.exists() and not tm_path(path).exists()
    result = calibrate("all", path, "-d", no_arm, "--minutes", "3")
    assert result.exit_code == 0 and "phase, linear, tm are left out" in result.stdout
    assert "cannot be tuned (laser.tuning_range_hz): frequency is left out" in " ".join(result.stdout.split())
    assert record_names(path) == ["camera", "drift", "exposure_signal"]
    assert np.isnan(read_record(path, "drift", DriftRecord).phase_rad).all()


@pytest.mark.slow
def test_what_a_procedure_refuses_does_not_stop_the_others(tmp_path):
    """The camera of the device ideal has no shot noise, from which its gain could be found."""
    path = tmp_path / "cal.h5"
    result = calibrate("all", path, "-d", "ideal", "--inputs", "16", "--minutes", "3")
    assert result.exit_code == 2 and "opusim calibrate: camera: The noise of the flat field" in result.stderr
    assert "camera" not in record_names(path) and {"phase", "linear", "drift"} <= set(record_names(path))
    assert read_tm(tm_path(path)).relative_error < 1e-3


# ------------------------------------------------------------------------------------- killed and resumed


@pytest.mark.slow
def test_a_killed_matrix_goes_on_bit_for_bit(tmp_path):
    """Kill -9 in the middle, Ctrl-C in the middle of the rest, then to the end: as in one go."""
    arguments = ["calibrate", "tm", "--roi", "500,900,48,128", "--inputs", "256", "--exposure-us", "700"]
    path, once = tmp_path / "cal.h5", tmp_path / "once.h5"
    journal = tm_path(path).with_name(f".{tm_path(path).name}.parts")

    def run_until(batch, number, *more):
        """Start the command and send a signal as soon as a batch is stored."""
        process = subprocess.Popen(
            [sys.executable, "-m", "opusim", *arguments, "--out", str(path), *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        stored = journal / f"batch-{batch:06d}.npz"
        deadline = time.monotonic() + 120
        while not stored.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert process.poll() is None, process.communicate()
        os.kill(process.pid, number)
        return process.communicate(timeout=60)[1], process.returncode

    _, code = run_until(2, signal.SIGKILL)
    assert code == -signal.SIGKILL and journal.is_dir() and not tm_path(path).exists()
    assert "--resume" in sentence(invoke(*arguments, "--out", path))
    said, code = run_until(6, signal.SIGINT, "--resume")
    assert code == 130 and "--resume goes on" in said and "Traceback" not in said
    assert not tm_path(path).exists()
    other = sentence(invoke(*arguments, "--out", path, "--resume", "--basis", "canonical"))
    assert "basis = 'hadamard'" in other
    assert invoke(*arguments, "--out", path, "--resume").exit_code == 0
    assert invoke(*arguments, "--out", once).exit_code == 0
    assert not journal.exists()
    with h5py.File(tm_path(path)) as a, h5py.File(tm_path(once)) as b:
        assert np.array_equal(a["tm"][()], b["tm"][()]) and np.abs(a["tm"][()]).max() > 0
        assert np.array_equal(a["background"][()], b["background"][()])
        assert a.attrs["elapsed_s"] == b.attrs["elapsed_s"]
        assert set(a["transmission"]) == set(b["transmission"])
        for name in a["transmission"]:
            assert np.array_equal(a["transmission"][name][()], b["transmission"][name][()]), name


def test_what_was_done_before_a_kill_takes_its_frames_and_time(tmp_path):
    """Each procedure in a life of its own, going past those that are done: the records of one go, to the bit."""
    options = {"roi": (500, 900, 4, 64), "inputs": 16, "minutes": 0.2}
    names = ("exposure", "linear", "tm", "drift")
    once, parts = tmp_path / "once.h5", tmp_path / "parts.h5"
    bench = OpticalBench(AURORA)
    for name in names:
        Calibration(bench, once, **options).run(name)
    for k, name in enumerate(names):
        life = Calibration(OpticalBench(AURORA), parts, **options)
        for before in names[:k]:
            assert life.done(before)
            life.go_past(before)
        assert not life.done(name)
        life.run(name)
    assert life.bench.clock.frames == bench.clock.frames and life.bench.clock.elapsed_s == bench.clock.elapsed_s
    assert record_names(once) == record_names(parts) == ["drift", "exposure", "exposure_signal", "linear"]
    for one, other in ((once, parts), (tm_path(once), tm_path(parts))):
        with h5py.File(one) as a, h5py.File(other) as b:
            assert a.attrs["elapsed_s"] == b.attrs["elapsed_s"]
            for name in a:
                if not hasattr(a[name], "keys"):
                    assert np.array_equal(a[name][()], b[name][()])
                    continue
                for key in a[name]:
                    assert np.array_equal(a[name][key][()], b[name][key][()], equal_nan=True), (name, key)
                for key in set(a[name].attrs) - {"_created", "_epoch_s"}:
                    assert repr(a[name].attrs[key]) == repr(b[name].attrs[key]), (name, key)


def test_what_a_procedure_finds_is_stored_at_once(tmp_path, monkeypatch):
    """Not one record after the other: a kill between them would leave a procedure that looks done."""
    written = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (written.append(str(new)), real(old, new)))
    session = Calibration(OpticalBench(AURORA), tmp_path / "cal.h5", roi=(500, 900, 4, 64))
    session.run("exposure")
    assert written == [str(tmp_path / "cal.h5")] and record_names(tmp_path / "cal.h5") == [
        "exposure",
        "exposure_signal",
    ]


def test_an_exposure_with_half_of_its_records_is_not_done(tmp_path):
    """As an older opusim left it that was killed between them."""
    path = tmp_path / "cal.h5"
    session = Calibration(OpticalBench(AURORA), path, roi=(500, 900, 4, 64))
    found = session.run("exposure")
    path.unlink()
    write_record(path, "exposure", found["exposure"], bench=session.bench)
    assert not session.done("exposure")
    session.run("exposure")
    assert session.done("exposure")


def test_a_file_that_does_not_say_frames_moves_no_clock(tmp_path):
    """As an older opusim wrote it."""
    path = tmp_path / "cal.h5"
    first = Calibration(OpticalBench(AURORA), path, roi=(500, 900, 4, 64))
    first.run("exposure")
    assert read_info(path, "exposure").frames == first.bench.clock.frames
    with h5py.File(path, "r+") as file:
        del file["exposure_signal"].attrs["_frames"]
    with pytest.warns(UserWarning, match="has no check sum"):
        second = Calibration(OpticalBench(AURORA), path, roi=(500, 900, 4, 64))
    second.go_past("exposure")
    assert second.bench.clock.frames == 0


def test_a_finished_matrix_is_not_measured_again(whole, tmp_path):
    path = tmp_path / "cal.h5"
    for one, other in ((whole[0], path), (tm_path(whole[0]), tm_path(path))):
        other.write_bytes(one.read_bytes())
    before = tm_path(path).stat().st_mtime_ns
    assert calibrate("tm", path, "--inputs", "64", "--resume").exit_code == 0
    assert tm_path(path).stat().st_mtime_ns == before
    assert "another measurement, which is finished" in sentence(calibrate("tm", path, "--inputs", "32", "--resume"))


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("focus",), "The procedure is 'focus', but it must be one of exposure, camera"),
        (("camera", "--basis", "hadamard"), "--basis is given, but it is for tm, all, not for camera"),
        (("exposure", "--minutes", "3"), "--minutes is given, but it is for drift, all"),
        (("tm", "--method", "twin"), "--method is 'twin', but it must be phase-stepping, off-axis or internal"),
        (("tm", "--method", "off-axis"), "--grain-px is not given, but --method off-axis needs it"),
        (("tm", "--carrier", "0.3"), "--carrier is '0.3', but it must be two numbers from -0.5 to 0.5"),
        (("tm", "--carrier", "0.3,0.3"), "--carrier is given, but it is for --method off-axis"),
        (("tm", "--basis", "fourier"), "--basis is 'fourier', but it must be hadamard or canonical"),
        (("tm", "--inputs", "0"), "--inputs is '0', but it must be"),
        (("tm", "--inputs", "1"), "inputs is 1, but it must be"),
        (("tm", "--inputs", "10x"), "--inputs is '10x', but it must be"),
        (("phase", "--steps", "2"), "steps is 2, but it must be a whole number from 3 to 63"),
        (("drift", "--minutes", "-1"), "minutes is -1.0, but it must be"),
        (("drift", "--minutes", "nan"), "minutes is nan, but it must be"),
        (("phase", "--exposure-us", "0"), "exposure_s is 0.0, but it must be"),
        (("phase", "--exposure-us", "300000"), "saturated"),
        (("phase", "--exposure-us", "0.01"), "There is no light"),
        (("exposure", "--level", "250"), "target_level_dn is 250"),
        (("phase", "--roi", "1,2,3"), "--roi is '1,2,3', but it must be row,column,rows,columns"),
        (("phase", "--roi", "2000,0,16,64"), "roi row is 2000"),
        (("phase", "--device", "nothing"), "nothing"),
        (("phase", "--seed", "-1"), "seed is -1"),
        (("phase", "--out", "nowhere/cal.h5"), "There is no folder nowhere"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    region = () if "--roi" in arguments else ("--roi", ROI)
    assert words in sentence(invoke("calibrate", *arguments, *region))
    assert not list(tmp_path.iterdir())


def test_files_that_are_not_this_devices(whole, tmp_path):
    path = tmp_path / "cal.h5"
    content = whole[0].read_bytes()
    path.write_bytes(content)
    assert "belongs to another device: aurora" in sentence(calibrate("phase", path, "-d", "ideal"))
    assert "belongs to the device 'aurora' of seed 0, but this one has the seed 1" in sentence(
        calibrate("camera", path, "--seed", 1)
    )
    tm_path(path).write_bytes(tm_path(whole[0]).read_bytes())
    path.unlink()
    assert "belongs to another device: aurora" in sentence(calibrate("tm", path, "-d", "ideal"))
    for broken, words in ((content[: len(content) // 2], "damaged or cut short"), (b"text", "not an HDF5 file")):
        path.write_bytes(broken)
        assert words in sentence(calibrate("phase", path))
        assert path.read_bytes() == broken
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    assert "format version 99" in sentence(calibrate("phase", path))


# ------------------------------------------------------------------------------------- from a program


def test_public_names_are_there_and_light():
    assert all(getattr(calibration, name) is not None and name in dir(calibration) for name in calibration.__all__)
    assert set(calibration.__all__) == set(calibration._LAZY)
    with pytest.raises(AttributeError, match="no attribute 'measure'; it has .*measure_tm"):
        _ = calibration.measure
    code = "import sys, opusim.calibration; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_region_in_the_middle():
    assert middle_region((1088, 2040)) == (512, 956, 64, 128)
    assert middle_region((10, 300)) == (0, 86, 10, 128)


def test_calibration_refuses_what_it_does_not_know(tmp_path):
    c = Calibration(OpticalBench(AURORA), tmp_path / "cal.h5", exposure_s=1e-3)
    with pytest.raises(ValueError, match="procedure is 'focus'"):
        c.run("focus")
    with pytest.raises(ValueError, match="exposure_s is given"):
        c.run("exposure")
    assert not c.done("camera") and not c.done("tm")
    write_record(c.path, "camera", ExposureRecord(400e-6, *[1.0] * 6, 1, 0.0), bench=c.bench)
    assert c.done("camera")


def test_help_lists_the_options_in_their_order():
    text = invoke("calibrate", "--help").stdout
    options = re.findall(r"--[a-z-]+", text)
    others = ("--out", "--bench", "--device", "--seed", "--roi", "--help")
    own = [name for name in dict.fromkeys(options) if name not in others]
    assert own == [
        "--steps", "--exposure-us", "--full-scale", "--shortest-us", "--longest-us", "--level", "--clipped",
        "--inputs", "--basis", "--method", "--grain-px", "--carrier", "--minutes", "--resume", "--temperature-k",
        "--pressure-pa",
    ]  # fmt: skip
