"""What 0.2.0 wrote opens and goes on: see tests/releases/README.md. Its program and README are in test_releases.py."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from opusim import OPU, Device, OpticalBench, dfa
from opusim.base.files import check_trailer
from opusim.calibration import LinearRecord, TmRecord, read_record, record_names
from opusim.calibration.report import read_report
from opusim.cli.app import app
from opusim.sweep import read_sweep

FOLDER = Path(__file__).resolve().parents[1] / "releases" / "0.2.0"
SWEEP = ["sweep", "--device", "aurora@2", "--task", "digits", "--components", "100", "--set", "n_train=300"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Copies of the files, so that nothing touches the checkout."""
    return Path(shutil.copytree(FOLDER, tmp_path / "0.2.0"))


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def test_every_file_has_its_check_sum_and_says_who_wrote_it(files):
    """Those of opusim: a laboratory's matrix and bare arrays have none."""
    for path in [*files.glob("*.h5"), *files.glob("*.part*.npy")]:
        assert check_trailer(path) is (None if path.name == "measured.h5" else True), path.name
    run, sweep = dfa.read_run(files / "run.h5"), read_sweep(files / "sweep.h5")
    assert run.opusim_version == "0.2.0" and sweep.header.opusim_version == "0.2.0"
    assert run.fingerprint == Device.load("aurora@2").fingerprint()


def test_files_open_without_a_warning(files):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_sweep(files / "sweep.h5").outcomes) == 2
        assert dfa.read_run(files / "run.h5").epochs_done == 2
        report = read_report(files / "cal.h5")
    assert set(report.records) == {"camera", "drift", "exposure", "exposure_signal", "linear", "phase", "tm"}
    assert report.truth_note == "that of the preset aurora@2"
    assert read_record(files / "off.tm.h5", "transmission", TmRecord).method == "off-axis"


def test_a_sweep_goes_on(files):
    path = files / "sweep.h5"
    before = read_sweep(path).values("accuracy")
    invoke(*SWEEP, "--vary", "adc.bits=4,8,6", "--out", path)
    after = read_sweep(path)
    assert len(after.outcomes) == 3 and np.array_equal(after.values("accuracy")[:2], before)


def test_parts_of_a_sweep_are_merged(files):
    invoke("merge", files / "whole.h5", *sorted(files.glob("parts.part*.h5")))
    whole, at_once = read_sweep(files / "whole.h5"), read_sweep(files / "sweep.h5")
    assert np.array_equal(whole.values("accuracy"), at_once.values("accuracy"))


def test_parts_of_a_transform_are_merged_and_give_todays_counts(files):
    invoke("merge", files / "whole.npy", *sorted(files.glob("y.part*.npy")))
    then = np.load(files / "y.npy")
    assert np.array_equal(np.load(files / "whole.npy"), then)
    invoke("transform", files / "x.npy", files / "now.npy", "--device", "aurora@2", "--components", 50)
    now = np.load(files / "now.npy")
    # The tolerance of docs/design.md, for other versions of the libraries.
    apart = np.abs(now.astype(int) - then.astype(int))
    assert apart.max() <= 1 and np.count_nonzero(apart) <= 0.01 * then.size


@pytest.mark.filterwarnings("ignore:.*(is calibrated on)")
def test_a_run_goes_on(files):
    path = files / "run.h5"
    before = dfa.read_run(path).history.loss
    arguments = ["train", "--device", "aurora@2", "--task", "digits", "--hidden", 16, "--limit", 200, "--epochs", 3]
    invoke(*arguments, "--resume", "--out", path)
    after = dfa.read_run(path)
    assert after.epochs_done == 3 and np.array_equal(after.history.loss[:2], before)


def test_a_calibration_serves_its_bench_and_goes_on(files):
    path = files / "cal.h5"
    before = record_names(path)
    record = read_record(path, "linear", LinearRecord, bench=OpticalBench("aurora@2"))
    assert 0 < record.relative_error < 1
    arguments = ["calibrate", "exposure", "--roi", "500,1000,8,16", "--out", path, "--device", "aurora@2"]
    invoke(*arguments)
    assert record_names(path) == before


def test_devices_of_its_readme_and_a_measured_matrix_are_read(files):
    assert Device.load(files / "deeper.toml").camera.bits == 12
    bench = Device.load(files / "bench.toml")
    assert bench.optics.held == "lengths" and bench.reference.carrier_cycles_per_pixel == (0.25, 0.25)
    with OPU(n_components=6, device=str(files / "measured.toml")) as opu:
        assert opu.fit_transform1d(np.eye(8, dtype=np.uint8)).shape == (8, 6)
