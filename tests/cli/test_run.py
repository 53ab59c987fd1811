"""Programs written for the real device, with `opusim run`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from opusim import cli
from opusim.drivers.compat import standin

pytestmark = pytest.mark.system

PROGRAMS = sorted((Path(__file__).resolve().parents[1] / "programs").glob("*.py"))
HERE_ALONE = [sys.executable, "-m", "opusim", "run"]
Outcome = subprocess.CompletedProcess


def assert_clean(done: Outcome) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---------------------------------------------------------------- whole programs, installed


def test_there_are_eight_programs_that_know_nothing_of_opusim():
    assert len(PROGRAMS) == 8
    assert not any("opusim" in path.read_text(encoding="utf-8") for path in PROGRAMS)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=[path.stem for path in PROGRAMS])
def test_program_runs_where_lightonml_is_not_installed(installed, run, tmp_path, program):
    if program.stem == "tensors":
        pytest.importorskip("torch")
    find = "import importlib.util as u; print([n for n in ('lightonml', 'lightonopu') if u.find_spec(n)])"
    assert run(installed / "python", "-c", find, folder=tmp_path).stdout.strip() == "[]"
    alone = run(installed / "python", program, folder=tmp_path)
    assert alone.returncode == 1 and "ModuleNotFoundError: No module named 'lighton" in alone.stderr

    done = run(installed / "opusim", "run", program, folder=tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert done.returncode == 0, done.stderr
    # Each checks itself, and closes with one line.
    assert len(done.stdout.strip().splitlines()) == 1
    assert run(installed / "python", "-c", find, folder=tmp_path).stdout.strip() == "[]"


@pytest.mark.slow
def test_own_test_program_of_lightonml(installed, run, tmp_path):
    arguments = ("-m", "lightonml.cmd_line.opu_test", "-ns", 30, "-nf", 200, "-nc", 100)
    for linear in ((), ("-l",)):
        done = run(installed / "opusim", "run", *arguments, *linear, folder=tmp_path, XDG_CONFIG_HOME=str(tmp_path))
        assert "30 transforms in " in assert_clean(done)
    versions = assert_clean(run(installed / "opusim", "run", *arguments, "-V", folder=tmp_path))
    assert "lightonml version 1.4.3+opusim" in versions and "lightonopu version 1.4.3+opusim" in versions


# ---------------------------------------------------------------- a program is on its own


def test_arguments_belong_to_the_program(go):
    done = go("import sys; print(sys.argv)", "--device", "x", "-s", "1", "--help", "--", "-m", before=("-d", "ideal"))
    assert assert_clean(done) == "['program.py', '--device', 'x', '-s', '1', '--help', '--', '-m']"


def test_program_sees_what_python_would_show_it(go, run, folder):
    source = """
        import os, sys
        print(__name__, __file__, sys.path[0], sys.argv, sys.flags.safe_path, "opusim" in sys.modules)
    """
    done = go(source, "a")
    assert assert_clean(done) == assert_clean(run(sys.executable, "program.py", "a", folder=folder))


def test_module_is_run_as_python_runs_it(run, folder):
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "__main__.py").write_text("import sys; import lightonml; print(__package__, sys.argv[1:])")
    done = run(*HERE_ALONE, "-m", "package", "-m", "--seed", folder=folder)
    assert assert_clean(done) == "package ['-m', '--seed']"


def test_standard_input_reaches_the_program(folder):
    (folder / "program.py").write_text("print(input()[::-1])")
    done = subprocess.run([*HERE_ALONE, "program.py"], cwd=folder, input="abc\n", capture_output=True, text=True)
    assert done.stdout == "cba\n" and done.returncode == 0
    program = "import sys; print(sys.argv)"
    piped = subprocess.run([*HERE_ALONE, "-", "x"], cwd=folder, input=program, capture_output=True, text=True)
    assert piped.stdout == "['-', 'x']\n"


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("raise SystemExit", 0),
        ("raise SystemExit(5)", 5),
        ("import sys; sys.exit('a sentence')", 1),
        ("import os; os._exit(9)", 9),
        ("assert False, 'wrong'", 1),
        ("def f():\n    return 1 / 0\n\nf()", 1),
        ("import nowhere", 1),
        ("print('half' ", 1),
        ("raise KeyboardInterrupt", -2),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15),
    ],
)
def test_end_and_traceback_are_the_programs_own(go, run, folder, source, status):
    done = go(source)
    plain = run(sys.executable, "program.py", folder=folder)
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert done.returncode == status and "opusim" not in done.stderr


def test_interrupt_reaches_the_program(folder):
    (folder / "program.py").write_text(
        dedent(
            """
            import time
            try:
                print("ready", flush=True)
                time.sleep(60)
            except KeyboardInterrupt:
                print("met")
            """
        )
    )
    process = subprocess.Popen([*HERE_ALONE, "program.py"], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert rest == "met\n" and process.returncode == 0 and time.monotonic() - start < 20


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_other_processes_of_the_program_find_the_names(go, method):
    source = f"""
        import multiprocessing, subprocess, sys

        def names(_):
            import lightonml, lightonopu
            return lightonml.__version__, lightonopu.__version__

        if __name__ == "__main__":
            with multiprocessing.get_context("{method}").Pool(1) as pool:
                print(*pool.map(names, [0])[0])
            sys.stdout.flush()
            code = "import lightonml, lightonopu; print(lightonml.__version__, lightonopu.__version__)"
            subprocess.run([sys.executable, "-c", code], check=True)
    """
    lines = assert_clean(go(source)).splitlines()
    assert lines == ["1.4.3+opusim 1.4.3+opusim"] * 2


def test_metadata_of_both_distributions_is_found(go):
    source = """
        from importlib import metadata
        print(metadata.version("lightonml"), metadata.version("lightonopu"))
    """
    assert assert_clean(go(source)) == "1.4.3+opusim 1.4.3+opusim"


# ---------------------------------------------------------------- which device


def test_device_and_seed_reach_the_program(go):
    source = """
        import numpy as np
        from lightonml import OPU
        with OPU(n_components=40) as opu:
            y = opu.fit_transform1d(np.eye(30, dtype="uint8"))
        print(opu.device.device_model.name, y.sum(dtype=float), opu.device.seed)
    """
    by_option = assert_clean(go(source, before=("-d", "ideal", "--seed", 4)))
    assert by_option.startswith("ideal ") and by_option.endswith(" 4")
    # An option is stronger than the environment.
    by_environment = assert_clean(go(source, before=("--seed", 5), OPUSIM_DEVICE="ideal", OPUSIM_SEED="4"))
    assert by_environment.startswith("ideal ") and by_environment.endswith(" 5")
    assert by_environment.split()[1] != by_option.split()[1]


def test_device_of_a_file_is_found_from_another_folder(go, folder):
    (folder / "mine.toml").write_text('preset = "ideal"\nname = "mine"\n')
    content = {"type": "type1", "name": "lab", "input": {"frametime_us": 700}, "output": {"exposure_us": 300}}
    (folder / "lab.json").write_text(json.dumps(content))
    source = """
        import os
        os.chdir("/")
        from lightonml import OPU
        opu = OPU(n_components=10)
        print(opu.device.name, opu.config["output"]["exposure_us"])
    """
    assert assert_clean(go(source, before=("-d", "mine.toml"))).startswith("mine ")
    assert assert_clean(go(source, before=("-d", "lab.json"))) == "lab 300"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No program is given: opusim run program.py"),
        (["-m"], "-m is given without the name of a module"),
        (["nowhere.py"], "There is no program nowhere.py"),
        (["--quick", "here.py"], "--quick is no option of opusim run; options of the program come after its name"),
        (["--seed", "-1", "here.py"], "--seed is -1, but it must be 0 or more"),
        (["-d", "aurorra", "here.py"], "There is no device preset 'aurorra'; near matches are 'aurora'"),
        (["-d", "cmv2000", "here.py"], "cmv2000 is no device: it is a camera"),
        (["-d", "none.toml", "here.py"], "none.toml"),
        (["-d", "none.json", "here.py"], "--device is none.json, but it cannot be read as JSON"),
        (["-d", "list.json", "here.py"], "--device is list.json, but it must hold a JSON object, not list"),
        (["-d", "bad.json", "here.py"], "--device is bad.json, but it cannot be read as JSON"),
    ],
)
def test_what_is_wrong_is_told_before_the_program_starts(folder, monkeypatch, arguments, message):
    (folder / "here.py").write_text("")
    (folder / "list.json").write_text("[]")
    (folder / "bad.json").write_text("{")
    started = []
    monkeypatch.setattr(standin, "start_program", lambda *what: started.append(what))
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(cli.app, ["run", *arguments])
    assert result.exit_code == 2 and result.stdout == "" and not started
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("opusim run: ") and message in line


def test_a_good_line_starts_the_program(folder, monkeypatch):
    """So that the test above fails if nothing is ever started."""
    (folder / "here.py").write_text("")
    started = []
    monkeypatch.setattr(standin, "start_program", lambda *what: started.append(what))
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(cli.app, ["run", "--seed", "7", "here.py", "--seed", "8"])
    assert result.exit_code == 0, result.output
    ((arguments, environment),) = started
    assert arguments == ["here.py", "--seed", "8"] and environment["OPUSIM_SEED"] == "7"


def test_help_says_how_a_module_is_run(run, folder):
    text = assert_clean(run(*HERE_ALONE, "--help", folder=folder))
    assert "-m MODULE" in text and "--device" in text and "--seed" in text
