"""A bench of one's own on the command line: how it is found, let go, measured, checked and begun."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from command_line import invoke, words
from opusim import cli
from opusim.calibration.files import record_names
from opusim.calibration.report import read_report
from opusim.calibration.session import Calibration
from opusim.plotting.calibration import report_figure

# Each file has a name of its own: a module that was imported once stays.
LAB = '''
import laboratory_bench
from opusim.bench.laboratory import LabDevice


class Lab(laboratory_bench.Few):
    """Eight by twelve mirrors, with a record and an arm."""

    said = []

    def close(self):
        self.said.append("closed")


class Weak(Lab):
    """One whose camera fails."""

    failure = None

    def show(self, *arguments, **how):
        raise self.failure


class Entered(Lab):
    close = None

    def __enter__(self):
        self.said.append("entered")
        return self

    def __exit__(self, kind, error, trace):
        self.said.append(f"left after {kind and kind.__name__}")


lab = Lab()


def make():
    return Lab()
'''


def sentence(result, command="calibrate"):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.strip() and "━" not in line]
    assert len(lines) == 1 and lines[0].startswith(f"opusim {command}: ") and lines[0].endswith("."), result.stderr
    return lines[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def lab(folder, request):
    """The name of a module of this test's own in the working folder; `said` of its Lab is what was called."""
    name = f"lab_{re.sub(r'[^a-z0-9]', '_', request.node.name.lower())}"
    (folder / f"{name}.py").write_text(LAB, encoding="utf-8")
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def extend(lab):
    """What adds text to the module of this test."""

    def extended(text):
        with Path(f"{lab}.py").open("a", encoding="utf-8") as file:
            file.write(text)

    return extended


def said(name):
    return sys.modules[name].Lab.said


# ---------------------------------------------------------------- what names a bench


@pytest.mark.parametrize(
    "spec",
    [
        "{lab}:Lab",
        "{lab}:make",
        "{lab}:lab",
        "{lab}.py:make",
        "./{lab}.py:Lab",
        "{folder}/{lab}.py:lab",
        "~/{lab}.py:Lab",
    ],
)
def test_a_class_a_function_and_a_bench_by_module_and_file(folder, lab, spec, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    spec = spec.format(lab=lab, folder=folder)
    result = invoke("calibrate", "exposure", "--bench", spec, "--roi", "0,0,6,16", "--level", 20)
    assert result.exit_code == 0, result.output
    assert record_names("cal.h5") == ["exposure", "exposure_signal"] and said(lab) == ["closed"]
    assert "simulated device" not in result.stdout and "File: cal.h5" in result.stdout


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lab.py", "must be a file or a module and a name in it, as in my_bench.py:MyBench"),
        (":Lab", "must be a file or a module and a name in it"),
        ("lab.py:", "must be a file or a module and a name in it"),
        ("no_such_module:Lab", "cannot be loaded (ModuleNotFoundError: No module named 'no_such_module')"),
        ("no_such_file.py:Lab", "there is no file 'no_such_file.py'"),
        ("math:Lab", "there is no 'Lab' in math"),
        ("math:pi", "bench is 3.14159"),
        ("os:getcwd", "it lacks expose, mirror_shape, sensor_shape"),
        ("functools:partial", "partial() raised TypeError"),
        ("opusim.bench.laboratory:LabDevice", "wants arguments (missing a required argument: 'name')"),
        ("opusim.bench.laboratory:LaboratoryBench", "LaboratoryBench() raised TypeError: Can't instantiate"),
        ("opusim.bench.template:TemplateBench", "device is not filled in yet"),
        ("opusim.bench.protocol:Bench", "Bench() raised TypeError: Protocols cannot be instantiated"),
    ],
)
def test_what_is_no_bench_is_a_sentence(folder, spec, message):
    assert message in sentence(invoke("calibrate", "exposure", "--bench", spec))
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_camera_driver", "cannot be loaded (ModuleNotFoundError: No module named 'no_camera_driver')"),
        ("def Bench(): raise OSError(5, 'no camera')", "Bench() raised OSError: [Errno 5] no camera"),
        ("def Bench(): raise SystemExit(3)", "Bench() raised SystemExit: 3"),
        ("def Bench(): assert False", "Bench() raised AssertionError."),
        ("def Bench(): raise KeyError", "Bench() raised KeyError."),
        ("def Bench(port): pass", "wants arguments (missing a required argument: 'port')"),
        ("def Bench(): return None", "bench is None (NoneType)"),
        ("import laboratory_bench\ndef Bench(): return laboratory_bench.Few", "which is a class: give an object"),
    ],
)
def test_a_file_that_makes_none_is_a_sentence(folder, text, message):
    (folder / "wrong_lab.py").write_text(text, encoding="utf-8")
    try:
        assert message in sentence(invoke("calibrate", "exposure", "--bench", "wrong_lab.py:Bench"))
    finally:
        sys.modules.pop("wrong_lab", None)


@pytest.mark.parametrize("given", [("--device", "aurora"), ("-d", "ideal"), ("--seed", 0), ("-s", 3)])
def test_a_simulated_device_beside_it_is_refused(folder, lab, given):
    line = sentence(invoke("calibrate", "exposure", "--bench", f"{lab}:Lab", *given))
    assert "is for a simulated device, and --bench names your own bench" in line
    assert lab not in sys.modules


# ---------------------------------------------------------------- instruments are let go


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("ValueError('no trigger')", "opusim calibrate: no trigger."),
        ("type('GrabError', (Exception,), {})('timeout')", "GrabError was raised: timeout (opusim --traceback shows"),
        ("AttributeError('no grab')", "AttributeError was raised: no grab"),
        ("AssertionError()", "AssertionError was raised (opusim --traceback shows where)."),
        ("SystemExit(0)", "SystemExit was raised: 0 (opusim --traceback"),
        ("SystemExit()", "SystemExit was raised (opusim"),
    ],
)
def test_after_an_error_it_is_closed(folder, lab, extend, failure, message):
    extend(f"\nWeak.failure = {failure}\n")
    result = invoke("calibrate", "exposure", "--bench", f"{lab}.py:Weak")
    assert message in sentence(result) and said(lab) == ["closed"]


@pytest.mark.parametrize("procedure", ["tm", "exposure"])
def test_after_an_interrupt_it_is_closed(folder, lab, extend, procedure):
    extend("\nWeak.failure = KeyboardInterrupt()\n")
    result = invoke("calibrate", procedure, "--bench", f"{lab}.py:Weak")
    assert result.exit_code == 130 and said(lab) == ["closed"]
    # Nothing was there to be kept yet.
    assert f"Interrupted before {procedure} was whole; nothing was stored." in result.stderr
    assert "resume" not in result.stderr and not list(folder.glob("*cal*"))


@pytest.mark.slow
def test_an_interrupted_matrix_is_said_to_go_on_where_some_of_it_is_stored(folder, lab, extend):
    extend("""
import pathlib

class Late(Lab):
    def show(self, *arguments, **how):
        if pathlib.Path(".cal.tm.h5.parts/start.npz").exists():
            raise KeyboardInterrupt
        return super().show(*arguments, **how)
""")
    how = ("--inputs", 16, "--roi", "0,0,8,16", "--exposure-us", 400)
    result = invoke("calibrate", "tm", "--bench", f"{lab}.py:Late", *how)
    assert result.exit_code == 130, result.output
    assert "Interrupted; what was whole is stored. --resume goes on where it stopped." in result.stderr
    again = invoke("calibrate", "tm", "--bench", f"{lab}.py:Lab", *how, "--resume")
    assert again.exit_code == 0, again.output


def test_an_exit_within_is_no_success(folder, lab, extend):
    """Where it comes from a maker's library that gives up, or the bench is being let go."""
    extend("""
class Last(Lab):
    def close(self):
        raise SystemExit

Weak.failure = SystemExit(0)
""")
    line = sentence(invoke("bench", "check", f"{lab}.py:Weak"), "bench")
    assert "SystemExit was raised: 0" in line and said(lab) == ["closed"]
    line = sentence(invoke("calibrate", "exposure", "--bench", f"{lab}.py:Last"))
    assert "The bench could not be closed (SystemExit)." in line


def test_results_stay_where_the_command_was_begun(folder, lab, extend):
    (folder / "elsewhere").mkdir()
    extend("""
import os

class Moving(Lab):
    def __init__(self):
        super().__init__()
        os.chdir("elsewhere")
""")
    result = invoke("calibrate", "exposure", "--bench", f"{lab}.py:Moving", "--out", "c.h5")
    assert result.exit_code == 0 and "File: c.h5" in result.stdout, result.output
    assert record_names(folder / "c.h5") == ["exposure", "exposure_signal"]
    assert list((folder / "elsewhere").iterdir()) == []


def test_a_context_manager_is_entered_and_left(folder, lab, extend):
    extend("""
import contextlib

@contextlib.contextmanager
def managed():
    Lab.said.append("opened")
    try:
        yield Weak() if Weak.failure else Lab()
    finally:
        Lab.said.append("let go")
""")
    assert invoke("calibrate", "exposure", "--bench", f"{lab}.py:Entered").exit_code == 0
    assert said(lab) == ["entered", "left after None"]
    said(lab).clear()
    assert invoke("calibrate", "exposure", "--bench", f"{lab}.py:managed", "--out", "b.h5").exit_code == 0
    assert said(lab) == ["opened", "let go"]
    said(lab).clear()
    sys.modules[lab].Weak.failure = RuntimeError("no light")
    assert "no light" in sentence(invoke("calibrate", "exposure", "--bench", f"{lab}.py:managed"))
    assert said(lab) == ["opened", "let go"]
    result = invoke("calibrate", "phase", "--bench", f"{lab}.py:Entered", "--exposure-us", "nonsense")
    assert result.exit_code == 2 and "entered" not in said(lab)


def test_one_that_cannot_be_closed_is_told(folder, lab, extend):
    extend("""
class Stuck(Lab):
    def close(self):
        raise OSError("the shutter is stuck")

class Both(Weak):
    failure = ValueError("no trigger")
    close = Stuck.close
""")
    line = sentence(invoke("calibrate", "exposure", "--bench", f"{lab}.py:Stuck"))
    assert "The bench could not be closed (OSError: the shutter is stuck)" in line
    assert "exposure" in record_names("cal.h5")
    result = invoke("calibrate", "exposure", "--bench", f"{lab}.py:Both")
    first, last = (line for line in result.stderr.splitlines() if "opusim" in line)
    assert result.exit_code == 2 and "could not be closed" in first and last == "opusim calibrate: no trigger."


@pytest.mark.system
@pytest.mark.skipif(sys.platform == "win32", reason="there a process is ended from outside without a word")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)])
def test_what_ends_the_process_lets_the_instruments_go(folder, lab, extend, number):
    """Ctrl-C, kill, and a terminal that is closed."""
    extend("""
import pathlib

class Slow(Lab):
    def show(self, *arguments, **how):
        if self.clock.frames > 25:  # in the watch of ten minutes
            pathlib.Path("watched").touch()
        return super().show(*arguments, **how)

    def close(self):
        pathlib.Path("closed").touch()
""")
    line = [sys.executable, "-m", "opusim", "calibrate", "drift", "--bench", f"{lab}.py:Slow", "--exposure-us", "400"]
    support = str(Path(__file__).parents[1] / "support")
    path = os.pathsep.join([support, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        line, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE, text=True,
        # What runs the tests may ignore it (nohup), and so would its children.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # fmt: skip
    try:
        limit = time.monotonic() + 60
        while not (folder / "watched").exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "Interrupted" in errors and (folder / "closed").exists(), errors


@pytest.mark.skipif(sys.platform == "win32", reason="there SIGTERM ends a process without a word")
def test_what_ends_the_process_waits_for_native_code_that_is_loaded(folder, lab, extend, monkeypatch):
    """As a Ctrl-C does: a package that is half there comes out as another error."""
    (folder / "half_there.py").write_text(
        "import signal, time\nwhole = []\nsignal.raise_signal(signal.SIGTERM)\ntime.sleep(0.2)\nwhole.append('whole')\n"
    )
    monkeypatch.setattr(sys.modules["opusim.cli.app"], "_NATIVE", {"half_there"})
    monkeypatch.syspath_prepend(folder)
    extend("""
import time

class Loading(Lab):
    def __init__(self):
        super().__init__()
        try:
            import half_there
            self.said.extend(half_there.whole)
            time.sleep(60)
        finally:
            self.said.append("ended")
""")
    try:
        result = invoke("calibrate", "exposure", "--bench", f"{lab}.py:Loading")
    finally:
        sys.modules.pop("half_there", None)
    assert result.exit_code == 130 and "Interrupted" in result.stderr and said(lab) == ["whole", "ended"]


@pytest.mark.skipif(sys.platform == "win32", reason="there SIGTERM ends a process without a word")
def test_signals_are_as_they_were_afterwards(folder, lab, extend):
    extend("""
import signal

class Ended(Lab):
    def show(self, *arguments, **how):
        self.said.append(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)

class Own(Lab):
    def __init__(self):
        super().__init__()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
""")
    result = invoke("calibrate", "exposure", "--bench", f"{lab}.py:Ended")
    assert result.exit_code == 130 and "Interrupted" in result.stderr and said(lab) == [False, "closed"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    try:
        assert invoke("calibrate", "exposure", "--bench", f"{lab}.py:Own").exit_code == 0
        # What a bench has set itself is its own affair.
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


# ---------------------------------------------------------------- what is measured on it


@pytest.mark.slow
def test_all_on_a_bench_with_a_record(folder, lab):
    arguments = ("--inputs", 16, "--minutes", 0.02, "--roi", "0,0,8,16")
    result = invoke("calibrate", "all", "--bench", f"{lab}.py:make", *arguments)
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    assert "few has no lamp (flat_field): camera is left out." in text
    assert "The laser of few cannot be tuned (it has no tune, or no range): frequency is left out." in text
    assert "simulated device" not in text and "128 outputs x 16 inputs" in text
    again = invoke("calibrate", "all", "--bench", f"{lab}.py:make", *arguments, "--resume")
    assert again.exit_code == 0 and "tm: there already." in again.stdout
    for name in ("cal.h5", "cal.tm.h5"):
        told = invoke("report", name, "--figure", "report.png")
        assert told.exit_code == 0, told.output
        text = words(told.stdout)
        assert "device few fingerprint" in text and "truth none: it was measured on instruments" in text
        assert "seed" not in text and "--device" not in text and "-0.000" not in text
        assert "reference drifts by not known: watched for less than a minute" in text or name == "cal.tm.h5"
        assert Path("report.png").stat().st_size > 20_000


@pytest.mark.slow
def test_the_figure_of_instruments_has_the_panels_that_there_are(folder, lab):
    """No panel asks for a lamp, an arm or a truth that a bench has not."""
    sys.path.insert(0, str(folder))
    bench = __import__(lab).Lab()
    session = Calibration(bench, "cal.h5", roi=(0, 0, 8, 16), inputs=16, minutes=0.01)
    session.run("exposure")
    report = read_report("cal.h5")
    assert report.of_instruments and len(report_figure(report).axes) == 6  # nothing else is there: what could be
    for procedure in ("tm", "drift"):
        session.run(procedure)
    report = read_report("cal.h5")
    assert list(report.records)[-2:] == ["tm", "drift"]  # in the order of the procedures
    figure = report_figure(report)
    assert [axes.get_title("left") for axes in figure.axes if axes.axison and axes.get_title("left")] == [
        "Singular values", "Drift",
    ]  # fmt: skip
    assert figure.get_suptitle().startswith("Calibration of the device “few”, 20")


def test_instruments_are_opened_when_the_line_is_right(folder, lab):
    (folder / "other.h5").write_bytes(b"no calibration")
    for words_, message in (
        (("--minutes", 0), "minutes is 0.0"),
        (("--shortest-us", 50, "--longest-us", 20), "longest_s is 2e-05"),
        (("--roi", "1,2"), "--roi is '1,2'"),
        (("--out", "other.h5"), "other.h5"),
    ):
        assert message in sentence(invoke("calibrate", "all", "--bench", f"{lab}.py:Lab", *words_))
    assert lab not in sys.modules and len(os.listdir(folder)) == 2


@pytest.mark.parametrize(("procedure", "message"), [("camera", "has no lamp"), ("frequency", "cannot be tuned")])
def test_what_a_bench_lacks_is_said_without_a_bar(folder, lab, procedure, message):
    result = invoke("calibrate", procedure, "--bench", f"{lab}.py:Lab")
    assert message in sentence(result) and "preparing" not in result.stderr


def test_no_bar_that_has_not_moved_stays_beside_an_error(folder, lab):
    (folder / f"{lab}.py").write_text(LAB + "\nfrom dataclasses import replace\n"
        "class Armless(Lab):\n    device = replace(Lab.device, has_reference=False)\n", encoding="utf-8")  # fmt: skip
    result = invoke("calibrate", "phase", "--bench", f"{lab}.py:Armless")
    assert "has no reference arm" in sentence(result) and "preparing" not in result.stderr


def test_paragraphs_of_a_help_are_whole():
    """A line of the source is no line of a terminal."""
    for command, text in (("bench", "cannot be run. opusim calibrate --bench then measures it."),
                          ("calibrate", "With the defaults each procedure takes seconds, 10 minutes")):  # fmt: skip
        result = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"})
        assert any(text in line for line in result.output.splitlines()), result.output


def test_a_simulated_bench_of_ones_own_has_its_truth_beside(folder):
    (folder / "simulated_lab.py").write_text(
        "import opusim\ndef make(): return opusim.OpticalBench('aurora', seed=4)\n", encoding="utf-8"
    )
    roi = ("--roi", "500,900,16,64")
    result = invoke("calibrate", "camera", "--bench", "simulated_lab.py:make", *roi)
    assert result.exit_code == 0, result.output
    same = invoke("calibrate", "camera", "--device", "aurora", "--seed", 4, *roi, "--out", "same.h5")
    assert "simulated device" in result.stdout
    assert result.stdout.replace("cal.h5", "") == same.stdout.replace("same.h5", "")
    sys.modules.pop("simulated_lab", None)


@pytest.mark.parametrize(
    ("procedure", "arguments", "message"),
    [
        ("camera", [], "This bench has no lamp, and 'camera' cannot do without one: flat_field"),
        ("frequency", [], "The laser of this device cannot be tuned"),
        ("tm", ["--method", "off-axis"], "--grain-px is not given, but --method off-axis needs it"),
        ("tm", ["--method", "internal"], "is for a modulator of phases, and this bench has mirrors"),
        ("frequency", ["--temperature-k", "1"], "this bench is not simulated"),
        ("exposure", ["--full-scale", "0"], "full_scale_dn is 0"),
        ("exposure", ["--shortest-us", "0"], "shortest_s is 0"),
        ("exposure", ["--shortest-us", "900", "--longest-us", "100"], "longest_s is 0.0001, but shortest_s is 0.0009"),
        ("camera", ["--full-scale", "255"], "--full-scale is given, but it is for exposure, phase"),
    ],
)
def test_what_it_lacks_is_a_sentence(folder, lab, procedure, arguments, message):
    assert message in sentence(invoke("calibrate", procedure, "--bench", f"{lab}:Lab", *arguments))
    assert not Path("cal.h5").exists()


@pytest.mark.parametrize("procedure", ["exposure", "phase", "linear", "tm", "drift", "all"])
def test_full_scale_that_nothing_tells_is_asked_for(folder, procedure):
    line = sentence(invoke("calibrate", procedure, "--bench", "alien_bench:bare"))
    assert "full_scale_dn (--full-scale) is not given, but this bench has no lamp and no record" in line
    assert "4095" in line and os.listdir(folder) == []


def test_exposures_are_sought_within_what_the_camera_takes(folder):
    """Its camera refuses less than 50 us and more than half a second."""
    spec = ("--bench", "alien_bench:bare", "--full-scale", 4095)
    found = invoke("calibrate", "exposure", *spec, "--longest-us", 900, "--level", 500)
    assert "at the longest exposure of 0.0009 s" in sentence(found)
    result = invoke("calibrate", "exposure", *spec, "--shortest-us", 1000, "--longest-us", 3000)
    assert result.exit_code == 0, result.output


# ---------------------------------------------------------------- opusim bench


def test_check_tells_what_passed_and_what_was_left_out(folder, lab, extend):
    extend("\nclass Large(laboratory_bench.Numbers):\n    close = Lab.close\n    said = Lab.said\n")
    result = invoke("bench", "check", f"{lab}.py:Large", "--seed", 3)
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    assert "The bench Large keeps the rules" in text and "order passed" in text and "transform passed" in text
    assert "lamp skipped: no flat_field: it is not a Lamp" in text and said(lab) == ["closed"]


def test_check_says_each_broken_rule(folder, lab, extend):
    extend("""
import numpy as np

class Backwards(Lab):
    def show(self, mirrors, **how):
        return super().show(mirrors[::-1].copy(), **how)

class Deaf(Lab):
    def show(self, mirrors, *, exposure_s, **how):
        return super().show(mirrors, exposure_s=400e-6, **how)

class Turned(Lab):
    def show(self, mirrors, **how):
        return np.swapaxes(super().show(mirrors, **how), 1, 2)
""")
    for name, rule, hint in (
        ("Backwards", "order", "frame k must be that of pattern k"),
        ("Deaf", "exposure", "twice the exposure must be brighter"),
        ("Turned", "frames", "rows and columns are exchanged"),
    ):
        result = invoke("bench", "check", f"{lab}.py:{name}")
        assert result.exit_code == 1, result.output
        head, *rest = result.stdout.splitlines()
        broken = [line for line in rest if line.startswith("- ")]
        assert re.fullmatch(rf"The bench {name} breaks {len(broken)} rules?:", head)
        assert any(line.startswith(f"- {rule}: ") and hint in line for line in broken), broken
        # What holds is told as well, and what could not be looked at.
        told = words(result.stdout)
        assert "members passed" in told and ("relies on what is broken" in told) == (name == "Turned")
    assert said(lab) == ["closed"] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "no_such_file.py:Lab"], "The bench is 'no_such_file.py:Lab', but there is no file"),
        (["check", "math:pi"], "it lacks expose, mirror_shape, sensor_shape"),
        (["check", "opusim.bench.template:TemplateBench"], "device is not filled in yet"),
        (["check", "alien_bench:bare", "--exposure-us", "0"], "--exposure-us is 0"),
        (["check", "alien_bench:bare", "--seed", "-1"], "--seed is -1"),
        (["measure", "x.py:Lab"], "The action is 'measure', but it must be one of check, template"),
        (["template", "x.py", "--seed", "1"], "--seed is given, but it is for opusim bench check, not for template"),
        (["template", "x.txt"], "must be named as a module of Python, as my_bench.py"),
        (["template", "my-bench.py"], "must be named as a module of Python"),
        (["template", "no/x.py"], "There is no folder no"),
        (["template", "class.py"], "'class' is a word of Python: name it as my_bench.py"),
        (["template", "numpy.py"], "there is another module 'numpy' already, /"),
        (["template", "sys.py"], "there is another module 'sys' already, of Python itself"),
        (["template", "antigravity.py"], "there is another module 'antigravity' already"),
    ],
)
def test_what_cannot_be_run_is_a_sentence(folder, arguments, message):
    assert message in sentence(invoke("bench", *arguments), "bench")
    assert os.listdir(folder) == []


def test_the_template_is_written_once(folder):
    result = invoke("bench", "template", "begun_bench.py")
    assert result.exit_code == 0, result.output
    shipped = (resources.files("opusim") / "bench" / "template.py").read_text(encoding="utf-8")
    assert Path("begun_bench.py").read_text(encoding="utf-8") == shipped
    assert "opusim bench check begun_bench.py:TemplateBench" in words(result.stdout)
    try:
        line = sentence(invoke("bench", "check", "begun_bench.py:TemplateBench"), "bench")
        assert "device is not filled in yet: it must be a LabDevice" in line
    finally:
        sys.modules.pop("begun_bench", None)
    Path("begun_bench.py").write_text("mine")
    assert "begun_bench.py is there already" in sentence(invoke("bench", "template", "begun_bench.py"), "bench")
    assert Path("begun_bench.py").read_text() == "mine"
