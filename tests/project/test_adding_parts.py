"""A stranger's parts, one file each: a procedure, a task, a command, a kind of medium, a way to a linear transform.

Each is used by the public doors, in a process of its own: what it registers stays there.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from command_line import words
from opusim import Device
from opusim.calibration import Procedure
from opusim.device.medium import Medium

AURORA = Device.load("aurora")

PROCEDURE = '''
"""The camera's dark level against what the maker says."""

from dataclasses import dataclass

from opusim.calibration.on_bench import dark_frames
from opusim.calibration import Option, Procedure


@dataclass(frozen=True)
class DarkRecord:
    """Mean and spread of frames with the laser shut, in grey levels."""

    level_dn: float
    spread_dn: float
    frames: int


class DarkLevel(Procedure):
    """Takes frames in the dark."""

    name = "dark"
    title = "Mean level with the laser shut."
    records = (DarkRecord,)
    options = (Option("frames", "--frames", int, "dark: frames to take; 8 by default.", default=8),)

    def measure(self, session, progress=None):
        n = session.options["frames"]
        if n < 2:
            raise ValueError(f"frames is {n}, but it must be at least 2.")
        frames = dark_frames(session.bench, 400e-6, n, session.roi).astype(float)
        if progress is not None:
            progress(1, 1)
        return {"dark": DarkRecord(float(frames.mean()), float(frames.std()), n)}

    def summary(self, record, device=None):
        own = "" if device is None else f"{device.camera.black_level_dn:g}"
        return [("dark level", f"{record.level_dn:.2f} DN", own), ("frames", str(record.frames), "")]

    def panels(self):
        def draw(axes, record, report):
            axes.bar(["dark level"], [record.level_dn])
            axes.set_ylabel("level (DN)")

        return (("Dark level", draw),)
'''

TASK = '''
"""How even the outputs are."""

from dataclasses import dataclass

import numpy as np

from opusim.tasks import task


@task("contrast", what="statistics of counts")
@dataclass(frozen=True)
class Contrast:
    """Standard deviation of the counts over their mean."""

    n_vectors: int = 10

    def __call__(self, opu, seed):
        bits = np.random.default_rng(seed).integers(0, 2, (self.n_vectors, 400), dtype=np.uint8)
        counts = opu.fit_transform1d(bits).astype(float)
        return {"contrast": float(counts.std() / counts.mean())}


@task("level", what="statistics of counts")
def level(opu, seed):
    bits = np.random.default_rng(seed).integers(0, 2, (10, 400), dtype=np.uint8)
    return {"level": float(opu.fit_transform1d(bits).mean())}
'''

COMMAND = '''
"""A command that counts the pixels of a device."""

from typing import Annotated

import typer

from opusim.cli import command


@command("pixels")
def pixels(
    device: Annotated[str, typer.Argument(help="Preset or path of a TOML file.")] = "aurora",
    binning: Annotated[int, typer.Option("--binning", help="Pixels in a bin, along a side.")] = 1,
) -> None:
    """Tell how many pixels a camera has."""
    from opusim import Device

    if binning < 1:
        raise ValueError(f"--binning is {binning}, but it must be at least 1")
    typer.echo(f"{Device.load(device).camera.n_pixels // binning**2} pixels")
'''

MEDIUM = '''
"""A medium whose matrix is that of a Fourier transform, whatever the seed."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from opusim.device.medium import EntryMedium


@dataclass(frozen=True)
class FourierMedium(EntryMedium):
    """Entries of modulus 1."""

    kind: ClassVar[str] = "fourier"
    random: ClassVar[bool] = False

    transmission: float = 1e-10
    decorrelation_time_s: float = math.inf

    def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
        k, j = np.arange(inputs.start, inputs.stop)[:, None], np.arange(outputs.start, outputs.stop)
        return np.exp(2j * np.pi * k * j / 997).astype(np.complex64)
'''

LINEAR_MODE = '''
"""A linear transform from two steps of the reference arm: half the frames of holography, no calibration.

With the reference R and the field S of a vector, |S + R|^2 - |S - R|^2 = 4 Re(S conj(R)); with every feature off it is
that of the background, which is taken off. That frame also tells |R|.
"""

from dataclasses import dataclass

import numpy as np

from opusim.bench.linear_modes import LinearMode
from opusim.drivers.methods.base import Method


@dataclass(frozen=True)
class TwoStep(Method):
    """sqrt(2) Re(M x conj(R)) / |R|, over the root mean square of an entry of M: blocks after a dark vector each."""

    rms: float

    dtype = np.dtype(np.float32)
    block = 32
    parted = False
    shares = True
    packed = False
    phases_rad = np.array([0.0, np.pi])

    def frames(self, n):
        return 2 * (n + 1)

    def encode(self, bits, *, part=False):
        return np.concatenate([np.zeros((1, bits.shape[1]), np.uint8), bits])

    def decode(self, frames, shared=None, *, out=None, part=False, threads=None):
        plus, minus = frames[::2].astype(np.float64), frames[1::2].astype(np.float64)
        shared.append((plus[0], minus[0]))
        return (plus[1:] - minus[1:]).astype(np.float32)

    def begin(self):
        return []

    def finish(self, results, shared):
        plus, minus = np.mean(shared, axis=0)
        results -= (plus - minus).astype(np.float32)
        results *= (2**0.5 / (4 * np.sqrt((plus + minus) / 2) * self.rms)).astype(np.float32)
        return results

    def shared(self, show, sizes, n_features):
        dark = np.zeros((1, n_features), np.uint8)
        return [tuple(show(k, np.array([0]), dark).astype(np.float64)) for k in range(len(sizes))]


class TwoStepMode(LinearMode):
    name = "two-step"
    what = "by two steps"
    needs_reference = True

    def prepare(self, fit, device, settings, n_out, place, *, complex_output):
        n_features = fit.traits.n_features_total
        level_dn = device.features_level_dn(fit.layout, settings.exposure_us)
        return TwoStep((level_dn / n_features) ** 0.5), settings

    def planned(self, fit, device, settings, n_out, steps):
        return TwoStep(1.0), settings
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")


def example_of(part: type) -> str:
    """Return the file that a docstring shows: the indented lines behind a double colon."""
    _, _, text = inspect.cleandoc(part.__doc__ or "").partition("::\n\n")
    return "".join(line for line in text.splitlines(True) if line[:4] in ("    ", "\n"))


def install(folder: Path, *modules: str) -> None:
    """Do what pip does of a package with these entry points."""
    info = folder / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n", encoding="utf-8")
    points = "\n".join(f"{module} = {module}" for module in modules)
    (info / "entry_points.txt").write_text(f"[opusim.parts]\n{points}\n", encoding="utf-8")


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def opusim(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(folder, "-m", "opusim", *arguments)


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.strip() and "━" not in line]  # a bar
    assert line.endswith(".")
    return line


# ---------------------------------------------------------------- a procedure of calibration


def test_a_procedure_that_a_program_imports(folder):
    write(folder, "dark_level", PROCEDURE)
    write(
        folder,
        "program",
        """
        import dark_level
        from opusim import OpticalBench
        from opusim.calibration import PROCEDURES, Calibration, read_record, read_report
        from opusim.calibration.report import summary

        assert list(PROCEDURES) == ["exposure", "camera", "phase", "linear", "tm", "drift", "frequency", "dark"]
        bench = OpticalBench("aurora")
        session = Calibration(bench, "cal.h5", roi=(500, 900, 16, 64), frames=4)
        assert not session.done("dark")
        found = session.run("dark")["dark"]
        assert session.done("dark") and found == read_record("cal.h5", "dark", dark_level.DarkRecord, bench=bench)
        # Dark current is below a grey level in 400 us; the mean of 4096 counts is known to a hundredth.
        assert abs(found.level_dn - bench.device.camera.black_level_dn) < 1, found
        report = read_report("cal.h5")
        assert report.records == {"dark": found} and summary(found)[1] == ("frames", "4", "")
        try:
            Calibration(bench, "cal.h5", frame=4)
        except TypeError as error:
            print(error)
        """,
    )
    done = python(folder, "program.py")
    assert done.returncode == 0, done.stderr
    assert "There is no option 'frame' of a procedure; near matches are 'frames'" in done.stdout


def test_the_example_of_a_procedure(folder):
    write(folder, "dark_level", example_of(Procedure))
    code = "import dark_level; from opusim import OpticalBench; from opusim.calibration import Calibration; "
    code += "s = Calibration(OpticalBench('aurora'), 'cal.h5', roi=(500, 900, 16, 64), frames=3); "
    code += "print(s.run('dark'), s.done('dark'))"
    done = python(folder, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{'dark': DarkRecord(level_dn=") and done.stdout.endswith("frames=3)} True\n")
    done = opusim(folder, "calibrate", "--help")
    assert "dark" not in done.stdout
    install(folder, "dark_level")
    done = opusim(folder, "calibrate", "dark", "--frames", "1")
    assert "frames is 1, but it must be a whole number of at least 2" in one_sentence(done)


def test_a_procedure_that_is_installed(folder):
    write(folder, "dark_level", PROCEDURE)
    install(folder, "dark_level")
    told = words(opusim(folder, "calibrate", "--help").stdout)
    assert (
        "exposure|camera|phase|linear|tm|drift|frequency|dark|all" in told.replace("frequ ency", "frequency")
        and "dark: frames to take" in told
    )
    done = opusim(folder, "calibrate", "dark", "--roi", "500,900,16,64", "--frames", "4")
    level = f"{AURORA.camera.black_level_dn:g}"
    assert done.returncode == 0 and "dark level" in done.stdout and f" {level} " in words(done.stdout), done.stderr
    done = opusim(folder, "report", "cal.h5", "--figure", "cal.png")
    assert done.returncode == 0 and "dark, 20" in done.stdout and (folder / "cal.png").exists(), done.stderr
    assert "must be at least 2" in one_sentence(opusim(folder, "calibrate", "dark", "--frames", "1"))
    told = one_sentence(opusim(folder, "calibrate", "camera", "--frames", "3"))
    assert "--frames is given, but it is for dark, all, not for camera" in told


# ---------------------------------------------------------------- a task


def test_a_task_in_processes_of_its_own(folder):
    write(folder, "statistics_of_counts", TASK)
    install(folder, "statistics_of_counts")
    assert "contrast, level (statistics of counts);" in words(opusim(folder, "sweep", "--help").stdout)
    arguments = ["--vary", "camera.read_noise_e=13,130", "-n", "500", "--seeds", "2"]
    for workers, target in (("2", "two.h5"), ("1", "one.h5")):
        done = opusim(folder, "sweep", "-t", "contrast", *arguments, "--set", "n_vectors=5", "-j", workers,
                      "-o", target)  # fmt: skip
        assert done.returncode == 0 and "4 of 4 are done" in done.stdout, done.stderr
    write(
        folder,
        "program",
        """
        import numpy as np
        from opusim.sweep import read_sweep
        from opusim.tasks import parse_task

        one, two = (read_sweep(name) for name in ("one.h5", "two.h5"))
        assert np.array_equal(one.values("contrast"), two.values("contrast"))
        assert one.header.task == {"name": "contrast", "n_vectors": 5} == two.header.task, one.header.task
        level = parse_task("level")
        assert level is __import__("statistics_of_counts").level
        for name, settings in (("levle", {}), ("level", {"n": "1"}), ("contrast", {"n": "1"})):
            try:
                parse_task(name, settings)
            except ValueError as error:
                print(error)
        """,
    )
    done = python(folder, "program.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("task is 'levle'; near matches are 'level'")
    assert "no settings such as 'n'" in done.stdout and "it has n_vectors" in done.stdout


# ---------------------------------------------------------------- a command


def test_a_command(folder):
    write(folder, "pixels", COMMAND)
    install(folder, "pixels")
    assert "pixels Tell how many pixels a camera has." in words(opusim(folder, "--help").stdout)
    done = opusim(folder, "pixels", "--binning", "2")
    assert done.returncode == 0 and done.stdout == f"{AURORA.camera.n_pixels // 4} pixels\n"
    assert one_sentence(opusim(folder, "pixels", "--binning", "0")).startswith("opusim pixels: --binning is 0, but")
    assert "No such command 'pixel'" in words(opusim(folder, "pixel").stderr)


# ---------------------------------------------------------------- a medium


def test_a_medium(folder):
    write(folder, "fourier", MEDIUM)
    install(folder, "fourier")
    (folder / "lab.toml").write_text('preset = "ideal"\n[medium]\nkind = "fourier"\n', encoding="utf-8")
    done = opusim(folder, "info", "lab.toml")
    assert done.returncode == 0 and "fourier: transmission 1e-10" in words(done.stdout), done.stderr
    code = "import numpy as np, opusim; x = np.random.default_rng(0).integers(0, 2, (3, 100), dtype=np.uint8); "
    code += "a, b = (opusim.OPU(20, device='lab.toml', seed=s).fit_transform1d(x) for s in (1, 2)); "
    code += "print(np.array_equal(a, b), a.std() > 0)"
    code += "; import fourier, opusim.testing; opusim.testing.check_medium(fourier.FourierMedium())"
    done = python(folder, "-c", code)
    assert done.returncode == 0 and done.stdout.split() == ["True", "True"], done.stderr
    (folder / "lab.toml").write_text('preset = "ideal"\n[medium]\nkind = "furier"\n', encoding="utf-8")
    assert "'fourier'" in one_sentence(opusim(folder, "info", "lab.toml"))


def test_the_example_of_a_medium(folder):
    write(folder, "constant", example_of(Medium))
    code = "import constant; from opusim import Device; from opusim.testing import check_medium; "
    code += "check_medium(constant.ConstantMedium()); print(Device.from_dict({'preset': 'aurora', 'medium': "
    code += "{'kind': 'constant', 'phase_rad': 0.5}}).medium.phase_rad)"
    done = python(folder, "-c", code)
    assert done.returncode == 0 and done.stdout == "0.5\n", done.stderr


def test_a_medium_in_a_file_that_nothing_imports(folder):
    write(folder, "fourier", MEDIUM)
    lines = 'preset = "ideal"\n[medium]\nkind = "{}"\n'
    (folder / "lab.toml").write_text(lines.format("fourier.py:FourierMedium"), encoding="utf-8")
    (folder / "module.toml").write_text(lines.format("fourier:FourierMedium"), encoding="utf-8")
    done = opusim(folder, "info", "lab.toml")
    assert done.returncode == 0 and "fourier: transmission 1e-10" in words(done.stdout), done.stderr
    code = "from opusim import Device; a = Device.load('lab.toml'); b = Device.from_toml(a.to_toml()); "
    code += (
        "print(a == b == Device.load('module.toml'), a.fingerprint() == b.fingerprint(), b.to_dict()['medium']['kind'])"
    )
    assert python(folder, "-c", code).stdout.split() == ["True", "True", "fourier"]
    # Workers find it too.
    write(folder, "statistics_of_counts", TASK)
    done = opusim(folder, "sweep", "-t", "statistics_of_counts.py:level", "-d", "lab.toml", "--vary",
                  "camera.gain_dn_per_e=1,2", "-n", "50", "-j", "2", "-o", "two.h5")  # fmt: skip
    assert done.returncode == 0 and "2 of 2 are done" in done.stdout, done.stderr
    for kind, sentence in {
        "fog.py:Fog": "but there is no file 'fog.py'", "fourier.py:Fog": "but there is no 'Fog' in fourier.py",
        "fourier.py:math": "it must be a class of type Medium", "furier:Fog": "it cannot be loaded (ModuleNotFound",
    }.items():  # fmt: skip
        (folder / "lab.toml").write_text(lines.format(kind), encoding="utf-8")
        assert sentence in one_sentence(opusim(folder, "info", "lab.toml"))


# ---------------------------------------------------------------- a way to a linear transform


def test_a_linear_mode_at_once_and_with_dask(folder):
    """Against R of the device itself, column by column: on an ideal device to rounding, and to its one scale."""
    pytest.importorskip("dask.array", reason="dask is not installed")
    write(folder, "two_step", LINEAR_MODE)
    write(
        folder,
        "program",
        """
        import copy, pickle
        import dask.array as da
        import numpy as np
        import two_step
        from opusim import OPU
        from opusim.testing import check_method

        def opu(mode):
            made = OPU(200, device="ideal", seed=3, linear_mode=mode, disable_pbar=True)
            made.fit1d(n_features=60)
            return made

        x = np.random.default_rng(0).integers(0, 2, (80, 60), dtype=np.uint8)
        one, two = opu("two-step"), pickle.loads(pickle.dumps(opu("two-step")))
        now, later = one.linear_transform(x), two.linear_transform(da.from_array(x, chunks=(13, -1)))
        assert one.bench.clock.frames == two.bench.clock.frames == 2 * (80 + 3)
        for scheduler in ("threads", "synchronous"):
            assert np.array_equal(later.compute(scheduler=scheduler), now)

        known = opu("auto")
        known.calibrate(store=False)
        matrix = known.field_transform(np.eye(60, dtype=np.uint8))
        product = np.sqrt(2) * (x @ np.asarray(matrix)).real
        scale = np.vdot(product, now) / np.vdot(product, product)
        # The level that is expected of a pixel, against the mean over 200 with their reference.
        assert abs(scale - 1) < 0.02 and np.abs(now - scale * product).max() < 1e-4 * product.std()
        # Fields are holography's in this mode too: it says that it has none.
        one.calibrate(store=False)
        assert np.allclose(one.field_transform(x[:1]), known.field_transform(x[:1]), atol=1e-4)
        assert "parts" in check_method(two_step.TwoStep(1.0)).passed
        """,
    )
    done = python(folder, "program.py")
    assert done.returncode == 0, done.stderr


def test_a_linear_mode_that_is_installed(folder):
    """It is known wherever a mode is asked for, and planned."""
    write(folder, "two_step", LINEAR_MODE)
    install(folder, "two_step")
    write(
        folder,
        "program",
        """
        import sys
        import numpy as np
        from opusim import OPU, Device, dfa
        from opusim.drivers import workload
        from opusim.planning.costs import plan_scale
        from opusim.planning.rates import measure, planner_rates
        from opusim.tasks.sketch import SketchError

        opu = OPU(200, device="ideal", disable_pbar=True)
        opu.fit1d(n_features=60)
        assert opu.device.linear_mode("auto").name == "holographic" and "two_step" not in sys.modules
        opu.linear_mode = "two-step"
        work = workload.workload(opu, 1000, linear=True)
        assert (work.steps, work.block, work.patterns_per_block, work.n_frames) == (2, 32, 1, 2 * (1000 + 32))
        projector = workload.projector_of(opu, work, threads=1)
        rates = planner_rates(projector, 1)
        plan = plan_scale(projector, work, rates, rates)
        assert plan.process_s > 0 and work.device_s == work.n_frames * opu.device.exposure().frametime_s
        finish = workload.finisher(opu, work)
        assert finish(np.full((11, 200), 9.0)).shape == (4, 200)

        feedback = dfa.OpticalFeedback(OPU(30, device="ideal", linear_mode="two-step"), 30, n_classes=10)
        feedback.prepare()
        assert feedback.describe()["linear_mode"] == "two-step" and feedback.opu.calibration is None
        errors = [SketchError(size=40, mode=mode)(OPU(20, device="ideal", disable_pbar=True), 0)["error"]
                  for mode in ("two-step", "holographic")]
        assert abs(errors[0] / errors[1] - 1) < 1e-4

        plain = Device.load("aurora").evolve(**{"reference.relative_amplitude": 0.0})
        opu = OPU(30, device=plain, linear_mode="two-step")
        for call in (lambda: opu.linear_transform(np.ones((1, 60))),
                     lambda: SketchError(mode="two-step").check(plain, 30),
                     lambda: OPU(30, linear_mode="two-stop"),
                     lambda: SketchError(mode="two-stop")):
            try:
                call()
            except ValueError as told:
                print(told)
        """,
    )
    done = python(folder, "program.py")
    assert done.returncode == 0, done.stderr
    known = "'auto', 'holographic', 'intensity', 'two-step'; near matches are 'two-step'."
    assert done.stdout.splitlines() == [
        "linear_mode is 'two-step', but this device has no reference arm: use 'intensity', or a device whose "
        "reference.relative_amplitude is above 0 (of a laboratory: a LabDevice with has_reference=True).",
        "mode is 'two-step', but this device has no reference arm.",
        f"linear_mode is 'two-stop', but it must be one of {known}",
        f"mode is 'two-stop', but it must be one of {known}",
    ]
    assert "One of auto, holographic, intensity, two-step." in words(opusim(folder, "train", "--help").stdout)
    told = one_sentence(opusim(folder, "train", "--mode", "two-stop"))
    assert told.endswith("one of auto, holographic, intensity, two-step; near matches are 'two-step'.")


# ---------------------------------------------------------------- what must not happen


def test_a_broken_part_is_told_once_and_stops_nothing(folder):
    write(folder, "broken", "import a_module_that_nobody_has\n")
    write(folder, "pixels", COMMAND)
    install(folder, "broken", "pixels")
    done = opusim(folder, "pixels")
    assert done.returncode == 0 and done.stdout == f"{AURORA.camera.n_pixels} pixels\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("opusim: The part 'broken' (broken) of stranger cannot be loaded and is left out (")
    arguments = "-t digits --set n_train=20 --set n_test=10 --vary camera.read_noise_e=13,130 -n 50 -j 2 -o two.h5"
    done = opusim(folder, "sweep", *arguments.split())
    told = [line for line in done.stderr.splitlines() if "The part" in line]
    assert done.returncode == 0 and len(told) == 1 and told[0].startswith("opusim sweep: The part 'broken'"), (
        done.stderr
    )
    done = python(folder, "-c", "import opusim.calibration as c; print(*c.PROCEDURES); print(*c.PROCEDURES)")
    assert done.returncode == 0 and done.stderr.count("The part 'broken'") == 1
    assert done.stdout.splitlines() == 2 * ["exposure camera phase linear tm drift frequency"]


def test_names_that_are_taken_are_refused(folder):
    write(folder, "dark_level", PROCEDURE.replace('name = "dark"', 'name = "camera"'))
    write(folder, "pixels", COMMAND.replace('@command("pixels")', '@command("info")'))
    write(folder, "counts", TASK.replace('@task("level"', '@task("mnist"'))
    write(folder, "two_step", LINEAR_MODE.replace('"two-step"', '"intensity"'))
    install(folder, "dark_level", "pixels", "counts", "two_step")
    done = opusim(folder, "--help")
    assert done.returncode == 0
    told = done.stderr.splitlines()
    assert len(told) == 4 and all("is left out (ValueError: There is a " in line for line in told), told


def test_a_part_is_not_loaded_where_nothing_asks_for_it(folder):
    write(folder, "noticed", "import pathlib\npathlib.Path('loaded').touch()\n")
    install(folder, "noticed")
    for arguments in (("presets",), ("info", "ideal")):
        assert opusim(folder, *arguments).returncode == 0 and not (folder / "loaded").exists()
    code = "import opusim.calibration as c, opusim.tasks as t; c.PROCEDURES['camera'], t.parse_task('digits')"
    assert python(folder, "-c", code).returncode == 0 and not (folder / "loaded").exists()
    assert opusim(folder, "--help").returncode == 0 and (folder / "loaded").exists()


def test_without_parts_nothing_is_read_that_takes_time(folder):
    code = "from opusim.base import plugins; import sys; before = 'importlib.metadata' in sys.modules; plugins.load(); "
    code += "print(before or 'importlib.metadata' not in sys.modules)"
    assert python(folder, "-c", code).stdout.strip() == "True"
