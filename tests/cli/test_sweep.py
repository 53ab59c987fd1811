"""opusim sweep from the command line, and what is told of its files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from command_line import words
from opusim import cli
from opusim.cli.sweep import _span, print_sweep
from opusim.sweep import read_sweep

PROGRAM = """
import os, time

def task(opu, seed):
    camera = opu.device.device_model.camera
    if camera.bits == 4 and not os.path.exists("mended"):
        raise ValueError("No light at 4 bits.")
    time.sleep(float(os.environ.get("PAUSE", 0)))
    return {"accuracy": 0.1 * camera.bits + 0.01 * seed, "other": camera.read_noise_e}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["sweep", *(str(argument) for argument in arguments)])


def sweep(*arguments: object, task: str = "program.py:task", vary: str = "camera.bits=6,8") -> Result:
    return invoke("--task", task, "--vary", vary, "--out", "s.h5", "-n", 20, *arguments)


def assert_one_sentence(result: Result) -> str:
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("opusim sweep: ")]
    assert len(lines) == 1 and lines[0].endswith((".", ")")) and "Traceback" not in result.stderr
    return lines[0]


def test_help_lists_the_tasks_in_their_order():
    text = words(CliRunner().invoke(cli.app, ["sweep", "--help"], env={"COLUMNS": "400"}).stdout)
    assert (
        "digits, mnist, fashion-mnist (ridge classifier on counts); randsvd, trace, triangles (sketches); dfa-digits, "
        "dfa-mnist, dfa-fashion-mnist; module:function or file.py:function, called with (opu, seed)."
    ) in text


def test_a_sweep_prints_a_table_and_writes_its_file(folder):
    result = sweep("--seeds", 2)
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    assert "points 4 of 4 are done" in text and "device aurora, fingerprint" in text and "seeds 0, 1" in text
    # Mean, standard deviation, lowest and highest of 60 % and 61 %.
    assert "6 60.50 % 0.71 % 60.00 % 61.00 %" in text and "8 80.50 % 0.71 % 80.00 % 81.00 %" in text
    found = read_sweep(folder / "s.h5")
    assert np.allclose(found.values("accuracy"), [[0.6, 0.61], [0.8, 0.81]])
    assert found.header.n_components == 20 and "adc.bits keeps the full scale" in result.stderr


def test_real_points_run_with_settings_of_the_task():
    result = sweep("--set", "n_train=200", "--set", "n_test=50", task="digits", vary="camera.read_noise_e=13")
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    assert "task digits (dataset digits, n_train 200, n_test 50" in text and "1 of 1 are done" in text
    assert "adc.bits" not in result.stderr


def test_the_same_command_goes_on_and_a_longer_one_extends(folder):
    sweep()
    before = read_sweep(folder / "s.h5")
    result = sweep("--seeds", "3,0")
    assert result.exit_code == 0 and "4 of 4 are done" in words(result.stdout)
    after = read_sweep(folder / "s.h5")
    assert after.seeds == (3, 0) and after.outcomes[0, 1] == before.outcomes[0, 0]


def test_failed_points_are_told_and_run_again_when_asked(folder):
    result = sweep(vary="camera.bits=4,6")
    assert result.exit_code == 2
    assert "1 of 2 are done; 1 failed" in words(result.stdout) and "4 failed" in words(result.stdout)
    assert "Failed: camera.bits=4, seed 0: ValueError: No light at 4 bits." in result.stderr
    (folder / "mended").touch()
    again = sweep("--retry-failed", vary="camera.bits=4,6")
    assert again.exit_code == 0 and "2 of 2 are done" in words(again.stdout)
    assert read_sweep(folder / "s.h5").n_failed == 0


def test_when_every_point_fails_that_is_told_and_nothing_is_drawn(folder):
    result = sweep("--figure", "s.png", vary="camera.bits=4")
    assert result.exit_code == 2 and "0 of 1 are done; 1 failed" in words(result.stdout)
    assert "No light at 4 bits." in result.stderr and not (folder / "s.png").exists()


def test_values_may_go_together(folder):
    result = sweep("--vary", "camera.read_noise_e=1,2", "--zip")
    assert result.exit_code == 0, result.output
    assert read_sweep(folder / "s.h5").settings == ((6, 1.0), (8, 2.0))


def test_a_figure_is_drawn(folder):
    result = sweep("--figure", "s.png")
    assert result.exit_code == 0 and (folder / "s.png").read_bytes().startswith(b"\x89PNG")
    assert "Figure: s.png" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--task", "nothing", "--vary", "camera.bits=6"), "task is 'nothing'"),
        (("--task", "digits", "--vary", "camera.bit=6"), "no numeric field 'camera.bit'.*'camera.bits'"),
        (("--task", "digits", "--vary", "camera.bits=6,60"), "camera.bits is 60, but it must be a whole number from 2"),
        (("--task", "digits", "--vary", "camera.bits"), "it must be a path, an equals sign"),
        (("--task", "digits", "--vary", "camera.bits=6", "--vary", "camera.bits=7"), "--vary names camera.bits twice"),
        (("--task", "digits", "--vary", "camera.bits=6", "--set", "n_tran=3"), "no setting 'n_tran'"),
        (("--task", "digits", "--vary", "camera.bits=6", "--set", "n_train"), "a name, an equals sign and a value"),
        (("--task", "digits", "--vary", "camera.bits=6", "--seeds", "0"), "--seeds is '0'"),
        (("--task", "digits", "--vary", "camera.bits=6", "--seeds", "a"), "--seeds is 'a'"),
        (("--task", "digits", "--vary", "camera.bits=6", "--workers", "0"), "workers is 0"),
        (("--task", "digits", "--vary", "camera.bits=6", "--device", "orora"), "no device preset 'orora'"),
        (("--task", "digits", "--vary", "camera.bits=6", "-n", "0"), "n_components is 0"),
        (("--task", "digits", "--vary", "camera.bits=6", "--out", "no/s.h5"), "There is no folder no for s.h5"),
        (("--task", "digits", "--vary", "camera.bits=6", "--out", "program.py"), "is not an HDF5 file"),
        (("--task", "digits", "--vary", "camera.bits=6", "--dask", "nowhere"), "no Dask scheduler answers there"),
        (("--task", "digits", "--vary", "camera.bits=6", "--dask", "local:2", "-j", "2"), "only one of them may be"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments, sentence, folder):
    if "--dask" in arguments:
        pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    import re

    text = (folder / "program.py").read_text()
    assert re.search(sentence, assert_one_sentence(invoke(*arguments)))
    assert (folder / "program.py").read_text() == text


def test_a_file_of_another_sweep_is_refused(folder):
    sweep()
    before = (folder / "s.h5").read_bytes()
    assert "camera.bits was [6, 8] in the file" in assert_one_sentence(sweep(vary="camera.bits=6,7"))
    assert (folder / "s.h5").read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_says_how_far_it_came_and_how_to_go_on(folder):
    command = [sys.executable, "-m", "opusim", "sweep", "--task", "program.py:task", "--out", "s.h5", "-n", "20"]
    command += ["--vary", "camera.bits=6,8", "--seeds", "10"]
    environment = {**os.environ, "PAUSE": "0.3"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        end = time.perf_counter() + 120
        while not (folder / "s.h5").exists() or len(read_sweep(folder / "s.h5").outcomes) < 2:
            assert process.poll() is None and time.perf_counter() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    done = len(read_sweep(folder / "s.h5").outcomes)
    assert 2 <= done < 20
    assert f"Interrupted; {done} of 20 points are in s.h5. The same command goes on." in error
    assert "Traceback" not in error


def test_a_figure_of_another_kind_is_refused_before_anything_is_run(folder):
    assert "must end in one of .png, .pdf, .svg" in assert_one_sentence(sweep("--figure", "s.xyz"))
    assert not (folder / "s.h5").exists()


def test_results_that_are_no_number_are_told(folder):
    text = "def nan(opu, seed):\n    return {'a': float('nan') if opu.device.device_model.camera.bits > 6 else 1.0}\n"
    (folder / "odd.py").write_text(text)
    result = sweep(task="odd.py:nan")
    assert "8 not a number" in words(result.stdout) and "6 1" in words(result.stdout)
    assert "a is not a number, or infinite, at 1 of 2 points" in result.stderr


# ---------------------------------------------------------------- report


def test_the_report_command_knows_sweeps(folder):
    sweep()
    result = CliRunner().invoke(cli.app, ["report", "s.h5"])
    assert result.exit_code == 0 and "2 of 2 are done" in words(result.stdout)
    assert "opusim sweep" in words(CliRunner().invoke(cli.app, ["report", "--help"]).stdout)
    result = CliRunner().invoke(cli.app, ["report", "program.py"])
    assert "calibrations, training runs and sweeps are" in result.stderr
    assert "must end in one of" in CliRunner().invoke(cli.app, ["report", "s.h5", "--figure", "s.doc"]).stderr


def test_a_report_tells_and_draws_what_the_file_holds(folder, capsys):
    sweep("--seeds", 2, "--vary", "camera.read_noise_e=1,2", vary="camera.bits=4,6")
    capsys.readouterr()
    print_sweep(folder / "s.h5", folder / "report.png")
    printed = capsys.readouterr()
    text = words(printed.out)
    assert "4 of 8 are done; 4 failed" in text and "6 1 60.50 % 0.71 %" in text and "4 1 failed" in text
    assert printed.err.count("Failed: camera.bits=4") == 4
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_of_a_sweep_that_has_not_begun_is_short(folder, capsys, monkeypatch):
    from opusim.sweep import SweepResult
    from opusim.sweep.file import write_sweep

    sweep()
    result = read_sweep(folder / "s.h5")
    write_sweep(folder / "s.h5", SweepResult(result.header, result.settings))
    capsys.readouterr()
    print_sweep(folder / "s.h5")
    assert "0 of 2 are done" in words(capsys.readouterr().out)


def test_a_report_of_a_damaged_file_is_an_error(folder):
    (folder / "s.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(ValueError, match="damaged or cut short"):
        print_sweep(folder / "s.h5")


@pytest.mark.parametrize(("seconds", "text"), [(3.2, "3 s"), (89, "89 s"), (150, "2 min"), (9000, "2.5 h")])
def test_times_that_are_left_are_told_in_words(seconds, text):
    assert _span(seconds) == text


def test_a_sweep_of_which_nothing_came_says_so_and_why(folder):
    result = sweep(vary="camera.bits=4")
    assert result.exit_code == 2
    told = words(CliRunner().invoke(cli.app, ["report", "s.h5"]).stdout)
    assert "0 of 1 are done; 1 failed" in told and "ValueError: No light at 4 bits." in told


def test_no_word_of_a_heading_is_broken(folder):
    """Many numbers with long names take several tables at 80 columns, each beside what was varied."""
    names = [f"{word}_number" for word in ("validation", "penalty", "saturation", "clipped", "exposure", "device")]
    numbers = ", ".join(f"{name!r}: {k + 0.5}" for k, name in enumerate(names))
    (folder / "many.py").write_text(f"def task(opu, seed):\n    return {{'accuracy': 0.5, {numbers}}}\n")
    assert sweep(task="many.py:task", vary="camera.read_noise_e=2,20").exit_code == 0
    told = CliRunner().invoke(cli.app, ["report", "s.h5"], env={"COLUMNS": "80"}).stdout
    heads = [line for line in told.splitlines() if "camera.read_noise_e" in line and line.startswith("┃")]
    assert len(heads) >= 3 and max(map(len, told.splitlines())) <= 80
    for name in names:
        assert name.split("_")[0] in told
