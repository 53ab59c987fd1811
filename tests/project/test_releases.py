"""What older releases wrote opens, and their users' programs run: see tests/releases/README.md."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import shutil
import stat
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from opusim import dfa
from opusim.base.files import check_trailer, rescue_hdf5
from opusim.bench.bench import OpticalBench
from opusim.calibration import PhaseRecord, read_record, record_names
from opusim.calibration.report import read_report
from opusim.calibration.store import stored_path
from opusim.cli.app import app
from opusim.device.medium import MeasuredMedium
from opusim.device.record import Device
from opusim.sweep import read_sweep

RELEASES = Path(__file__).resolve().parents[1] / "releases"
FOLDER = RELEASES / "0.1.0"
#: Those of which there is a program, and code and commands of the README.
ALL = sorted(path.name for path in RELEASES.iterdir() if path.is_dir())
WHOLE = ("sweep.h5", "run.h5", "cal.h5", "cal.tm.h5")
VERSION_1 = (
    "The device of the file is aurora, version 1, and aurora means version 2 now: aurora@1 is that device "
    "(--device aurora@1, or device='aurora@1')."
)
SPOILT = ("spoilt-sweep.h5", "spoilt-run.h5")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Copies of the files, so that a rescue does not touch the checkout."""
    return Path(shutil.copytree(FOLDER, tmp_path / "0.1.0"))


def read_any(path: Path) -> object:
    if "sweep" in path.name:
        return read_sweep(path)
    return dfa.read_run(path) if "run" in path.name else read_report(path)


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_of_0_1_0_opens_with_one_warning(files, name):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            read_any(files / name)
    told = [warning for warning in seen if str(warning.message).startswith(f"{files / name} has no check sum")]
    assert len(told) == 1
    assert told[0].filename == __file__ and "an opusim before 0.1.1 wrote it" in str(told[0].message)


@pytest.mark.filterwarnings("ignore:.*check sum")
def test_what_is_in_them_is_what_0_1_0_printed(files):
    """The tables of `opusim report` of 0.1.0 on these files."""
    sweep = read_sweep(files / "sweep.h5")
    assert [f"{value:.2%}" for value in sweep.values("accuracy").ravel()] == ["76.84%", "83.30%"]
    assert [f"{value:.2%}" for value in sweep.values("validation_accuracy").ravel()] == ["80.00%", "86.67%"]
    run = dfa.read_run(files / "run.h5")
    assert run.epochs_done == 2 and run.sizes == (64, 16, 10) and run.opusim_version == "0.1.0"
    report = read_report(files / "cal.h5")
    assert set(report.records) == {"camera", "drift", "exposure", "exposure_signal", "linear", "phase", "tm"}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_names_the_command_that_mends_it(files, name):
    path = files / name
    with pytest.raises(ValueError, match=f"no h5py can open it. Nothing in it is lost: `opusim rescue .*{name}` mends"):
        read_any(path)
    result = CliRunner().invoke(app, ["report", str(path)])
    assert result.exit_code == 2 and f"opusim rescue {path}" in result.output


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_rescued_in_place_and_whole(files, name):
    path, twin = files / name, FOLDER / name.removeprefix("spoilt-")
    result = CliRunner().invoke(app, ["rescue", str(path)])
    assert result.exit_code == 0, result.output
    assert result.output == f"{path} can be read again, and has a check sum.\n"
    assert check_trailer(path) is True
    mended = read_any(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = read_any(twin)
    # Both were written by the same command, beside two versions of h5py.
    if "sweep" in name:
        assert mended.digest() == expected.digest() and mended.outcomes.keys() == expected.outcomes.keys()
    else:
        assert mended.settings == expected.settings and mended.data == expected.data
        for a, b in zip(mended.parameters, expected.parameters, strict=True):
            assert a.dtype == b.dtype and np.allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_gets_its_check_sum_and_nothing_else(files, name):
    path = files / name
    before = path.read_bytes()
    assert rescue_hdf5(path) == f"{path} could be read as it was, and has a check sum now."
    assert path.read_bytes()[:-40] == before and check_trailer(path) is True
    if name == "cal.h5":  # whose report opens the matrix too
        rescue_hdf5(files / "cal.tm.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_any(path)
    assert rescue_hdf5(path) == f"{path} is whole and has its check sum: there is nothing to mend."


@pytest.mark.filterwarnings("ignore:.*(check sum|goes on with)")
def test_a_sweep_of_0_1_0_goes_on_and_gets_its_check_sum(files):
    path = files / "sweep.h5"
    first = read_sweep(path)
    arguments = ["sweep", "--task", "digits", "--vary", "adc.bits=4,8,6", "--components", "100"]
    arguments += ["--set", "n_train=300", "--out", str(path)]
    # It was made with aurora, which was version 1: the sentence says with what it goes on.
    before = path.read_bytes()
    refused = CliRunner().invoke(app, arguments)
    words = " ".join(refused.output.split())
    assert refused.exit_code == 2 and path.read_bytes() == before
    assert f"holds another sweep: {VERSION_1} Give this one a file of its own." in words
    result = CliRunner().invoke(app, [*arguments, "--device", "aurora@1"])
    assert result.exit_code == 0, result.output
    after = read_sweep(path)
    assert check_trailer(path) is True and len(after.outcomes) == 3
    assert np.array_equal(after.values("accuracy")[:2], first.values("accuracy"))


@pytest.mark.filterwarnings("ignore:.*(check sum|is calibrated on)")
def test_a_run_of_0_1_0_goes_on_with_the_device_that_it_names(files):
    path = files / "run.h5"
    first = dfa.read_run(path)
    arguments = ["train", "--task", "digits", "--hidden", "16", "--limit", "200", "--epochs", "3", "--resume"]
    arguments += ["--out", str(path)]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2 and f" now. {VERSION_1}" in " ".join(refused.output.split())
    result = CliRunner().invoke(app, [*arguments, "--device", "aurora@1"])
    assert result.exit_code == 0, result.output
    after = dfa.read_run(path)
    assert after.epochs_done == 3 and np.array_equal(after.history.loss[:2], first.history.loss)
    assert after.fingerprint == first.fingerprint == Device.load("aurora@1").fingerprint()


@pytest.mark.filterwarnings("ignore:.*check sum")
def test_a_calibration_of_0_1_0_is_one_of_version_1(files):
    """Its report knows the device by itself; a bench of version 1 reads it, and goes on into it."""
    path = files / "cal.h5"
    assert read_report(path).truth_note == "that of the preset aurora@1"
    assert read_record(path, "phase", PhaseRecord, bench=OpticalBench("aurora@1")).asked_rad.size
    for command in (
        ["report", str(path), "--device", "aurora"],
        ["calibrate", "exposure", "--roi", "500,1000,8,16", "--out", str(path)],
    ):
        refused = CliRunner().invoke(app, command)
        assert refused.exit_code == 2 and VERSION_1 in " ".join(refused.output.split())
    before = record_names(path)
    arguments = ["calibrate", "exposure", "--roi", "500,1000,8,16", "--out", str(path), "--device", "aurora@1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert record_names(path) == before


def test_calibrations_that_0_1_0_kept_lie_where_version_1_looks_for_them():
    """By the name that 0.1.0 gave them: the device's, 16 digits of its fingerprint and the seed."""
    assert stored_path(OpticalBench("aurora@1", 3)).name == "aurora-e400bf33db558b33-seed3.h5"
    assert stored_path(OpticalBench("aurora", 3)).name != "aurora-e400bf33db558b33-seed3.h5"


@pytest.mark.slow
@pytest.mark.parametrize("release", ALL)
def test_its_program_runs_and_prints_the_same(release, tmp_path, run):
    root, folder = Path(__file__).resolve().parents[2], RELEASES / release
    done = run(
        sys.executable, folder / "program.py", folder, folder=tmp_path, XDG_CONFIG_HOME=str(tmp_path), PYTHONPATH=root
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (folder / "program.txt").read_text(encoding="utf-8")


# ---------------------------------------------------------------- what their READMEs showed


def shown(kind: str, release: str = "0.1.0") -> list[str]:
    """Blocks of code in the README of a release."""
    text = (RELEASES / release / "readme.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(("release", "n_blocks"), [("0.1.0", 10), ("0.2.0", 10)])
def test_the_code_of_its_readme_runs(release, n_blocks, tmp_path, run):
    """Each block goes on with the names of those before it, as there; without torch those that need it are left out."""
    has_torch = importlib.util.find_spec("torch") is not None
    blocks = [code for code in shown("python", release) if has_torch or "torch" not in code]
    assert len(shown("python", release)) == n_blocks
    # On fewer outputs and epochs than there: it is the names that are asked for.
    code = "\n".join(blocks).replace("n_components=10_000", "n_components=1000").replace("epochs=20", "epochs=2")
    (tmp_path / "readme.py").write_text(code, encoding="utf-8")
    root = Path(__file__).resolve().parents[2]
    done = run(sys.executable, "readme.py", folder=tmp_path, XDG_CONFIG_HOME=str(tmp_path), PYTHONPATH=root)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    ["calibration:find_exposure", "datasets:load", "dfa:read_run", "dfa.torch:DFA", "dfa.examples.gcn:train_gcn",
     "dfa.examples.transformer:train_language_model", "differentiable:ExpectedOutput", "drivers:install",
     "drivers.encoding:BinaryThresholdEncoder", "drivers.encoding.models:AE", "drivers.projections.sklearn:OPUMap",
     "drivers.projections.torch:OPUMap", "plotting:speckle", "sweep:Sweep"],
)  # fmt: skip
def test_names_in_its_readme_are_there(name):
    module, _, last = name.partition(":")
    if {"torch", "examples", "models", "differentiable"} & set(module.split(".")):
        pytest.importorskip("torch")
    assert callable(getattr(importlib.import_module(f"opusim.{module}"), last))


@pytest.mark.parametrize(
    "line",
    sorted({line for name in ALL for code in shown("sh", name) for line in code.splitlines() if line.strip()}),
)
def test_commands_of_their_readmes_are_understood(line):
    """Their names and options; none of them is run."""
    from typer.main import get_command

    program, name, *arguments = shlex.split(line, comments=True)
    group = get_command(app)
    assert program == "opusim" and name in group.commands
    command = group.commands[name]
    context = command.make_context(name, arguments, parent=group.make_context("opusim", [], resilient_parsing=True))
    assert context.command is command


def test_a_rescue_is_refused_if_the_content_is_not_what_it_was(files):
    """One digit of an accuracy: HDF5 reads it, the sweep's own digest does not fit."""
    path = files / "spoilt-sweep.h5"
    content = path.read_bytes()
    place = content.index(b'"accuracy": 0.') + len(b'"accuracy": 0.')
    path.write_bytes(content[:place] + b"1" + content[place + 1 :])
    assert path.read_bytes() != content
    before = path.read_bytes()
    result = CliRunner().invoke(app, ["rescue", str(path)])
    assert result.exit_code == 2 and "in a way that cannot be mended" in result.output
    assert path.read_bytes() == before and len(list(files.iterdir())) == len(list(FOLDER.iterdir()))


def test_each_of_several_files_is_rescued_whatever_becomes_of_the_others(files):
    (files / "cut.h5").write_bytes((files / "run.h5").read_bytes()[:3000])
    names = ["sweep.h5", "cut.h5", "none.h5", "spoilt-run.h5", "cal.h5"]
    result = CliRunner().invoke(app, ["rescue", *(str(files / name) for name in names)])
    assert result.exit_code == 2
    assert "cut.h5 is damaged or cut short in a way" in result.output and "There is no file" in result.output
    assert [check_trailer(files / name) for name in ("sweep.h5", "spoilt-run.h5", "cal.h5")] == [True] * 3


def test_a_rescued_file_goes_to_a_name_that_is_free(files):
    with pytest.raises(FileExistsError, match="out is .*run.h5', which is there already"):
        rescue_hdf5(files / "sweep.h5", files / "run.h5")
    rescue_hdf5(files / "sweep.h5")
    out = files / "copy.h5"
    assert rescue_hdf5(files / "sweep.h5", out).endswith(f"{out} is a copy of it.")
    assert out.read_bytes() == (files / "sweep.h5").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="links and rights as on POSIX are needed")
def test_a_rescue_keeps_a_link_and_who_may_read(files):
    path, link = files / "spoilt-sweep.h5", files / "link.h5"
    path.chmod(0o600)
    link.symlink_to(path.name)
    rescue_hdf5(link)
    assert link.is_symlink() and check_trailer(path) is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_matrix_of_0_1_0_as_a_medium_says_once_that_it_is_not_checked(files):
    medium = MeasuredMedium(path=str(files / "cal.tm.h5"))
    with pytest.warns(UserWarning, match="cal.tm.h5 has no check sum") as seen:
        medium.entries(range(4), range(4), seed=0)
        medium.entries(range(4), range(4), seed=0)
    assert len(seen) == 1
