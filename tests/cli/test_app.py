"""The command line: what each command does, and one sentence for everything that can go wrong."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from typer.testing import Result

import opusim
from command_line import invoke, words
from opusim import OPU, Device
from opusim.base.parameters import parts_of, plain_text
from opusim.cli import tables
from opusim.device.toml import presets

COMMAND = [sys.executable, "-m", "opusim"]


def assert_one_sentence(result: Result, command: str) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith(f"opusim {command}: ") and lines[0].endswith((".", ")"))
    assert "Traceback" not in result.stderr
    return lines[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bits(folder: Path) -> np.ndarray:
    array = np.random.default_rng(0).integers(0, 2, (700, 100), dtype=np.uint8)
    np.save(folder / "in.npy", array)
    return array


def test_version():
    assert invoke("--version").stdout.strip() == f"opusim {opusim.__version__}"


def test_help_names_every_command():
    text = words(invoke("--help").stdout)
    assert all(f" {name} " in text for name in ("demo", "transform", "presets", "info"))


def test_no_command_shows_the_help():
    assert "Usage: opusim" in words(invoke().output)


def test_unknown_command_is_an_error():
    result = invoke("project")
    assert result.exit_code == 2 and "No such command 'project'" in words(result.stderr)


# ---------------------------------------------------------------- demo


def test_demo_prints_both_accuracies_and_saves_the_figure(folder):
    result = invoke("demo", "--out", "figure.png", "--components", 1500)
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    pixels, counts = (float(text.split(f"{name} ")[1].split()[1]) for name in ("binary pixels", "camera counts"))
    assert 80 < pixels < 92 < counts < 100
    assert "penalty by cross-validation" in text and "images simulated in" in text and "whole run" in text
    assert "0.90 s and 27 J for 1797 frames" in text and "400 µs" in text and "mean grey level 8." in text
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert os.listdir(folder) == ["figure.png"]


@pytest.mark.slow
def test_demo_is_reproducible(folder):
    def table() -> str:
        text = words(invoke("demo", "--out", "a.svg", "--components", 300, "--seed", 7).stdout)
        return text.split("images simulated in")[0]

    assert table() == table()


@pytest.mark.parametrize("device", ["ideal", "twelve.toml"])
def test_demo_draws_any_device(folder, device):
    Path("twelve.toml").write_text(
        'preset = "aurora"\nname = "twelve"\n[camera]\nbits = 12\ngain_dn_per_e = 0.6\npolarised = false\n'
    )
    result = invoke("demo", "--out", "a.png", "--components", 200, "--device", device)
    assert result.exit_code == 0, result.output
    assert Path("a.png").stat().st_size > 10_000


def test_figure_has_labels_with_units(folder):
    from opusim import plotting
    from opusim.tasks import digits_demo as demo

    with OPU(n_components=100, disable_pbar=True) as opu:
        figure = plotting.demo_figure(demo.run(opu))
    labels = [axes.get_xlabel() for axes in figure.axes] + [axes.get_ylabel() for axes in figure.axes]
    for unit in ("(mm)", "(µm)", "(grey levels)", "(%)"):
        assert any(unit in label for label in labels), unit
    scales = [axes.get_yscale() for axes in figure.axes]
    assert scales.count("log") == 1


def test_figure_of_a_camera_of_twelve_bits_keeps_its_limits():
    from opusim import plotting
    from opusim.tasks import digits_demo as demo

    # A black level many widths of the noise above zero: the law is about 1e-300 in the first bins.
    changes = {"camera.bits": 12, "camera.gain_dn_per_e": 0.6, "camera.black_level_dn": 400.0}
    with OPU(n_components=1, disable_pbar=True, device=Device.load("aurora").evolve(**changes)) as opu:
        figure = plotting.demo_figure(demo.run(opu))
    mirrors, speckle, histogram, accuracies = figure.axes[:4]
    low, high = histogram.get_ylim()
    seen = max(bar.get_height() for bar in histogram.patches)
    assert 0 < low < seen < high <= 1 and high < 4 * seen
    assert speckle.images[0].norm.vmin == pytest.approx(400, abs=1)
    assert (
        mirrors.get_title(loc="left").startswith("Mirrors: a “0”") and "margins are always on" in mirrors.get_xlabel()
    )
    assert "penalty by cross-validation" in accuracies.get_xlabel()
    assert [t.get_text() for t in accuracies.get_xticklabels()] == ["64 binary pixels", "1 camera count"]
    assert "“aurora, changed”, 64 pixels to 1 output" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "no/a.png"], "There is no folder no"),
        (["--out", "."], "is a folder"),
        (["--components", "0"], "--components is 0, but it must be at least 1"),
        (["--seed", "-1"], "seed is -1"),
        (["--device", "borealis"], "no device preset 'borealis'.*aurora"),
        (["--device", "no.toml"], "'no.toml'.*cannot be read"),
        (["--out", "a.xyz", "--components", "50"], r"'a.xyz', but it must end in one of .*\.png"),
    ],
)
def test_demo_errors(folder, arguments, message):
    line = assert_one_sentence(invoke("demo", *arguments), "demo")
    assert re.search(message, line), line
    assert os.listdir(folder) == []


# ---------------------------------------------------------------- transform


def test_transform_is_what_the_driver_gives(folder, bits):
    result = invoke("transform", "in.npy", "out.npy", "--components", 300, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "out.npy: uint8 700 x 300" in result.stdout and "needed 0.35 s" in result.stdout
    with OPU(n_components=300, seed=3, disable_pbar=True) as opu:
        expected = opu.fit_transform1d(bits)
    found = np.load("out.npy", allow_pickle=False)
    assert found.dtype == np.uint8 and np.array_equal(found, expected)
    assert sorted(os.listdir(folder)) == ["in.npy", "out.npy"]


def test_transform_takes_floats_that_are_bits(folder, bits):
    np.save("floats.npy", bits.astype(np.float32))
    for name in ("in.npy", "floats.npy"):
        result = invoke("transform", name, f"out-{name}", "-n", 50)
        assert result.exit_code == 0, result.output
    assert np.array_equal(np.load("out-in.npy"), np.load("out-floats.npy"))


def test_transform_never_replaces_its_input(folder, bits):
    before = Path("in.npy").read_bytes()
    os.link("in.npy", "same.npy")
    for name in ("in.npy", "./in.npy", "same.npy"):
        line = assert_one_sentence(invoke("transform", "in.npy", name, "-n", 10, "--force"), "transform")
        assert f"{Path(name)} is the input itself" in line
    assert Path("in.npy").read_bytes() == before


def test_transform_of_packed_bits_is_the_same(folder, bits):
    np.save("whole.npy", bits[:, :96])
    np.save("packed.npy", np.packbits(bits[:, :96], axis=1))
    assert invoke("transform", "whole.npy", "a.npy", "-n", 50).exit_code == 0
    result = invoke("transform", "packed.npy", "b.npy", "-n", 50, "--packed")
    assert result.exit_code == 0, result.output
    assert np.array_equal(np.load("a.npy"), np.load("b.npy"))


def test_transform_of_images(folder):
    images = np.random.default_rng(1).integers(0, 2, (30, 12, 10)).astype(bool)
    np.save("in.npy", images)
    np.save("packed.npy", np.packbits(images.reshape(30, -1), axis=1))
    assert invoke("transform", "in.npy", "a.npy", "-n", 40, "--2d").exit_code == 0
    result = invoke("transform", "packed.npy", "b.npy", "-n", 40, "--2d", "--packed", "--features", "12x10")
    assert result.exit_code == 0, result.output
    with OPU(n_components=40, disable_pbar=True) as opu:
        expected = opu.fit_transform2d(images)
    assert np.array_equal(np.load("a.npy"), expected) and np.array_equal(np.load("b.npy"), expected)


def test_transform_with_a_device_of_ones_own(folder, bits):
    Path("mine.toml").write_text('preset = "aurora"\nname = "mine"\n[camera]\nbits = 12\ngain_dn_per_e = 0.6\n')
    result = invoke("transform", "in.npy", "out.npy", "-n", 20, "--device", "mine.toml")
    assert result.exit_code == 0, result.output
    assert np.load("out.npy").dtype == np.uint16 and np.load("out.npy").max() > 255


def test_warnings_are_one_line(folder):
    np.save("in.npy", np.eye(20, dtype=np.uint8))
    result = invoke("transform", "in.npy", "out.npy", "-n", 10)
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if "sparse" in line]
    assert re.match(r"opusim transform: X turns \d+ mirrors on", line) and "UserWarning" not in line


def test_transform_keeps_an_existing_file_unless_forced(folder, bits):
    Path("out.npy").write_text("mine")
    line = assert_one_sentence(invoke("transform", "in.npy", "out.npy", "-n", 10), "transform")
    assert "out.npy is there already; --force replaces it" in line and Path("out.npy").read_text() == "mine"
    assert invoke("transform", "in.npy", "out.npy", "-n", 10, "--force").exit_code == 0
    assert np.load("out.npy").shape == (700, 10)


def save(name: str, array: np.ndarray) -> None:
    np.save(name, array, allow_pickle=array.dtype == object)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (None, [], "There is no file x.npy"),
        (lambda: Path("x.npy").write_bytes(pickle.dumps([1])), [], "is not a .npy file"),
        (lambda: save("x.npy", np.array([{}], object)), [], "holds Python objects, which are never read"),
        (lambda: Path("x.npy").mkdir(), [], "x.npy is a folder, but it must be a .npy file"),
        (lambda: save("x.npy", np.zeros((2, 3), complex)), [], "holds complex128, but it must hold booleans, or num"),
        (lambda: save("x.npy", np.full((2, 3), 0.5)), [], r"X\[0, 0\] is 0.5"),
        (lambda: save("x.npy", np.full((2, 3), 2)), [], r"X\[0, 0\] is 2"),
        (lambda: save("x.npy", np.zeros(3, bool)), [], r"shape \(3,\), but it must have 2 axes"),
        (lambda: save("x.npy", np.zeros((2, 3, 3), bool)), [], "Images of two dimensions need --2d"),
        (lambda: save("x.npy", np.zeros((2, 3), bool)), ["--2d"], "must have 3 axes"),
        (lambda: save("x.npy", np.zeros((0, 3), bool)), [], "holds no vectors"),
        (lambda: save("x.npy", np.ones((2, 3), bool)), ["-n", "0"], "--components is 0"),
        (lambda: save("x.npy", np.ones((2, 3), bool)), ["-n", "9999999"], "n_components is 9999999.*2219520"),
        (lambda: save("x.npy", np.ones((2, 3), bool)), ["-s", "-1"], "seed is -1"),
        (lambda: save("x.npy", np.ones((2, 3), bool)), ["-d", "none"], "no device preset 'none'"),
        (lambda: save("x.npy", np.ones((1, 1100000), bool)), [], "1100000.*1039680 mirrors"),
        (lambda: save("x.npy", np.ones((2, 3), bool)), ["--features", "1x3"], "only for --packed --2d"),
        (lambda: save("x.npy", np.ones((2, 3), "u1")), ["--packed", "--2d"], "--features is ''.*as in 28x28"),
        (
            lambda: save("x.npy", np.ones((2, 3), "u1")),
            ["--packed", "--2d", "--features", "24x"],
            "--features is '24x'",
        ),
        (lambda: save("x.npy", np.ones((2, 3), "u1")), ["--packed", "--2d", "--features", "9x9"], "81|9"),
    ],
)
def test_transform_errors(folder, make, arguments, message):
    if make is not None:
        make()
    line = assert_one_sentence(invoke("transform", "x.npy", "out.npy", *arguments), "transform")
    assert re.search(message, line), line
    assert set(os.listdir(folder)) <= {"x.npy"}


@pytest.mark.parametrize(
    ("target", "message"), [("no/out.npy", "no folder no"), ("out.txt", "must end in .npy"), (".", "is a folder")]
)
def test_transform_target_errors(folder, bits, target, message):
    assert message in assert_one_sentence(invoke("transform", "in.npy", target), "transform")


def test_transform_says_when_the_disk_is_too_small(folder, bits, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("usage", (), {"free": 1000}))
    line = assert_one_sentence(invoke("transform", "in.npy", "out.npy", "-n", 1000), "transform")
    assert "MiB, but its disk has only 0 MiB left" in line and os.listdir(folder) == ["in.npy"]


@pytest.mark.system
def test_transform_on_a_disk_that_fills_up(folder, bits):
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = subprocess.run(
        [*COMMAND, "transform", "in.npy", "out.npy", "-n", "3000"],
        capture_output=True,
        text=True,
        preexec_fn=little_room,
        timeout=300,
    )
    assert done.returncode == 2 and "opusim transform: File too large" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and os.listdir(folder) == ["in.npy"]


@pytest.mark.system
def test_interrupt_ends_with_130_and_one_line(folder):
    np.save("in.npy", np.random.default_rng(0).integers(0, 2, (20_000, 1000), dtype=np.uint8))
    process = subprocess.Popen(
        [*COMMAND, "transform", "in.npy", "out.npy", "-n", "20000"], stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    while len(os.listdir(folder)) == 1 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    # A shell reports the death by that signal as 130 too; Python chooses it if the key came inside an `exec`.
    assert process.returncode in (130, -signal.SIGINT), stderr
    assert stderr.strip().splitlines()[-1] == "Interrupted; no unfinished file was left behind."
    assert "Traceback" not in stderr and os.listdir(folder) == ["in.npy"]


@pytest.mark.system
def test_interrupt_is_not_lost_where_python_drops_errors(folder):
    # Python prints an error of `__del__` or of a weak reference's callback and goes on, KeyboardInterrupt too.
    source = """
        import signal, time, weakref
        from opusim.cli import app, command

        class Let:
            pass

        @command("wait")
        def wait() -> None:
            let = Let()
            gone = weakref.ref(let, lambda _: signal.raise_signal(signal.SIGINT))
            del let
            print("goes on", flush=True)
            time.sleep(60)

        app(["wait"])
    """
    done = subprocess.run([sys.executable, "-c", dedent(source)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130 and done.stdout == "goes on\n", done.stderr
    assert done.stderr == "Interrupted; no unfinished file was left behind.\n"


@pytest.mark.system
@pytest.mark.parametrize(
    ("module", "longest_s", "printed"),
    [("torch", 10.0, "begins\nends\n"), ("torch", 0.2, "begins\n"), ("own", 10.0, "begins\n")],
)
def test_interrupt_waits_for_native_code_that_is_loaded(folder, module, longest_s, printed):
    """A package of native code that is half there comes out as another error, or ends the process; not for ever."""
    Path(f"{module}.py").write_text(
        "import signal, time\nprint('begins', flush=True)\nsignal.raise_signal(signal.SIGINT)\n"
        "for _ in range(20):\n    time.sleep(0.05)\nprint('ends', flush=True)\n"
    )
    source = f"""
        import signal, sys, time
        from opusim.cli import app, command
        sys.modules["opusim.cli.app"]._LONGEST_HOLD_S = {longest_s}
        signal.signal(signal.SIGINT, signal.default_int_handler)

        @command("wait")
        def wait() -> None:
            import {module}
            time.sleep(60)

        app(["wait"])
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    done = subprocess.run([sys.executable, "-c", dedent(source)], capture_output=True, text=True, timeout=60, env=env)
    assert (done.returncode, done.stdout) == (130, printed), done.stderr
    assert done.stderr == "Interrupted; no unfinished file was left behind.\n"


@pytest.mark.system
def test_interrupt_that_is_ignored_stays_so(folder):
    """As nohup has it, and shells for what they start in the background."""
    source = """
        import signal
        from opusim.cli import app, command
        signal.signal(signal.SIGINT, signal.SIG_IGN)

        @command("wait")
        def wait() -> None:
            signal.raise_signal(signal.SIGINT)
            print("goes on")

        app(["wait"])
    """
    done = subprocess.run([sys.executable, "-c", dedent(source)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "goes on\n"), done.stderr


def test_traceback_on_request(folder):
    result = invoke("--traceback", "transform", "none.npy", "out.npy")
    assert isinstance(result.exception, FileNotFoundError)
    assert_one_sentence(invoke("transform", "none.npy", "out.npy"), "transform")


# ---------------------------------------------------------------- presets, info


def test_presets_lists_everything():
    text = words(invoke("presets").stdout)
    for shelf in ("", "dmds", "slms", "cameras"):
        for spec, description in presets(shelf).items():
            name, _, version = spec.partition("@")
            assert f"{name} {version} " in text and description.split()[0] in text


@pytest.mark.parametrize("name", [spec.partition("@")[0] for spec in presets()])
def test_info_tells_what_a_device_is(name):
    result = invoke("info", name)
    assert result.exit_code == 0, result.output
    text, device = words(result.stdout), Device.load(name)
    for part in (device.dmd.name, device.camera.name, device.medium.kind, device.fingerprint()[:16], "Working point"):
        assert part in text
    for source in ("shot noise", "read noise", "quantisation", "dark current", "PRNU", "DSNU", "laser power"):
        assert (f"{source} new" in text or f"{source} the same" in text) == (name != "ideal")
    assert ("float32, not rounded" in text) == (name == "ideal") == ("There is no noise." in text)
    assert "DN (digital number) is one grey level" in text and "at least 0" not in text


@pytest.mark.parametrize(
    "name, line",
    [
        ("aurora", 'preset = "CMV2000"           # I: '), ("aurora@1", "black_level_dn = 2.0         # I: "),
        ("IMX250@1", "read_noise_e = 1.8              # C: "), ("dlp7000", "pitch_m = 13.68e-6         # V: "),
    ],
)  # fmt: skip
def test_presets_prints_one_with_its_sources(name, line):
    assert line in invoke("presets", name).stdout
    told = invoke("presets", "no such thing")
    assert told.exit_code == 2 and "There is no preset 'no such thing'" in words(told.stderr)


def test_info_tells_what_was_changed_and_what_follows(tmp_path):
    """Full scale of 12 bits at the gain of the IMX174: (4095 - 40) / 0.12233 electrons; 608 of its 1216 rows are read
    twice as often as all."""
    path = tmp_path / "mine.toml"
    path.write_text('preset = "aurora"\n[camera]\npreset = "IMX174"\n')
    text = words(invoke("info", str(path)).stdout)
    assert (
        text.startswith("aurora, changed (from aurora, version 2)") and "device aurora, changed: camera IMX174" in text
    )
    assert "the preset has:" in text and "camera.bits 8 bits" in text
    assert "full scale 4095 DN at 33,148 electrons, 100.0 % of the full well" in text
    assert "1216 rows 162 Hz, 608 rows 324 Hz, 152 rows 1,296 Hz: 5.08 µs a row" in text
    path.write_text('preset = "aurora"\n[camera]\nbits = 10\n')
    told = invoke("info", str(path))
    assert told.exit_code == 0 and "camera.gain_dn_per_e stays 0.04" in words(told.stderr)
    assert "full scale 1023 DN at 25,510 electrons, 189.0 % of the full well" in words(told.stdout)


def test_info_tells_the_stop_behind_the_mirrors(tmp_path):
    path = tmp_path / "lab.toml"
    path.write_text('preset = "aurora"\n[fourier_stop]\ndiameter_cycles = 0.25\ncentre_cycles = [0.0, 0.125]\n')
    text = words(invoke("info", str(path)).stdout)
    assert "laser DMD relay lens layer lens camera" in text and "-(:)-" in text
    # A quarter of wavelength x focal length / pitch, 532 nm x 12 mm / 7.637 um.
    assert "Fourier stop 0.25 cycles per pitch wide: spots of 4 mirrors on their image, 209 µm of the" in text
    assert "round, 0.25 cycles per pitch wide at 0 and 0.125 cycles per pitch; each mirror is a mode" in text
    assert "resolution auto: behind the Fourier stop each mirror is a mode" in text
    assert "also: envelope True" in text and "levels and noise below are those of light that passes" in text


def test_info_tells_frequencies_in_units_that_are_read(tmp_path):
    path = tmp_path / "lab.toml"
    path.write_text(
        'preset = "aurora"\n[laser]\nlinewidth_hz = 50e9\nline = "lorentzian"\ntuning_range_hz = 5e11\n'
        "power_noise_bandwidth_hz = 100e3\n"
    )
    text = words(invoke("info", str(path)).stdout)
    assert "rms up to 100 kHz, drift 1 % per hour; a lorentzian line of 50 GHz; tunes by 500 GHz to either side" in text
    assert "5e+11" not in text and "5e+10" not in text and "100000" not in text


@pytest.mark.parametrize("name", ["aurora", "ideal"])
def test_info_tells_every_parameter(name):
    """Some in words of their own, the others by name, in the unit that the name ends with or else with it: a new one is
    there by itself. Empty lists are left out."""
    device, text = Device.load(name), words(invoke("info", name).stdout)
    # Mirrors that stand still are not told.
    still = ("warm_up_loss", "warm_up_time_s", "creep_per_hour", "vibration_rad", "vibration_hz")
    own_words = {
        "laser": {"wavelength_m", "power_w", "power_noise", "power_noise_bandwidth_hz", "power_drift_per_hour"},
        "dmd": {"name", "shape", "pitch_m", "lattice", "contrast_ratio", "efficiency", *still},
        "medium": set(),
        "camera": {
            "name", "shape", "pixel_pitch_m", "bits", "quantise", "gain_dn_per_e", "quantum_efficiency", "full_well_e",
            "read_noise_e",
        },
        "operation": {"opu_type", "minimum_output_size"},
        "reference": set(), "optics": {
            "held", "illumination_focal_m", "focal_m", "exit_diameter_m", "stop_diameter_m",
        },
        "fourier_stop": {"diameter_cycles", "centre_cycles", "shape"},
    }  # fmt: skip
    for stage in parts_of(Device):
        one = getattr(device, stage)
        if stage == "reference" and not one.present:
            assert "reference arm none" in text
            continue
        if stage == "fourier_stop":
            assert "Fourier stop none" in text
            continue
        for field in dataclasses.fields(one):
            if field.name in own_words[stage]:
                quiet = (*still, "quantise", "bits", "minimum_output_size", "stop_diameter_m")
                assert one.text(field.name) in text or field.name in quiet
            elif getattr(one, field.name) == ():
                assert field.name not in text
            else:
                number = plain_text(getattr(one, field.name))
                assert field.name in text and (f"{field.name} {number}" in text or "(" in number)
    if name == "aurora":
        assert "laser DMD lens layer lens camera *----|----12 mm" in text and "grain 10.6 µm" in text
        assert "exit face 5 mm, no stop" in text and text.count("thickness_m") == 1
        assert (
            "thickness_m 0.002," in text
            and "carrier_cycles_per_pixel 0 and 0," in text
            and "ones_range 52000 to 676000 mirrors" in text
        )


def test_info_says_how_many_rows_see_one_pattern_under_a_rolling_shutter(tmp_path):
    """Zyla 4.2: 1 / (100 x 2048) s a row, 4.88 us; row r ends 4.88 r us after 400: 21 of them within 500 us."""
    path = tmp_path / "mine.toml"
    path.write_text('preset = "aurora"\n[camera]\npreset = "Zyla-4.2"\n')
    text = words(invoke("info", str(path)).stdout)
    assert "at the former rows of a region beyond the first 21 see the next pattern too" in text
    assert "at the former" not in words(invoke("info").stdout)


def test_info_of_lengths_that_mean_nothing_says_so(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('preset = "aurora@1"\n[optics]\nstop_diameter_m = 2e-3\n')
    told = invoke("info", str(path))
    assert told.exit_code == 0 and "optics.stop_diameter_m has no effect" in words(told.stderr)


def test_info_gives_the_working_point_of_the_default_device():
    text = words(invoke("info").stdout)
    assert "saturated outputs < 0.001 % (beyond 255 DN)" in text and "saturated: the" not in text
    level = float(text.split("mean grey level ")[1].split()[0])
    assert level == pytest.approx(9.0, abs=0.06) and "speckle contrast 1.000" in text
    rms = float(text.split("a mean of 21.6 DN varies by ")[1].split()[0])
    assert 1.0 <= rms <= 1.2


def test_info_of_a_phase_modulator_has_no_words_of_mirrors():
    text = words(invoke("info", "ngrc-bench").stdout)
    assert "ones_range" not in text and "mirrors" not in text and "21.6 DN" not in text


def test_info_of_a_broad_line_and_a_reference_arm_leaves_linear_outputs_out(folder):
    table = (
        'preset = "aurora"\nname = "broad"\n[laser]\nlinewidth_hz = 1e10\n[reference]\nrelative_amplitude = 2.0\n'
        '[medium]\nspectral_law = "slab"\ndiffusion_time_s = 1e-9\n'
    )
    Path("broad.toml").write_text(table)
    assert len(Device.load("broad.toml").sampling.lines) > 1
    result = invoke("info", "broad.toml")
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    assert "Error of an output by source" in text and text.count("errors of linear outputs are left out") == 1


def test_info_of_a_device_with_too_much_light(folder):
    Path("bright.toml").write_text('preset = "aurora"\nname = "bright"\n[laser]\npower_w = 1.0\n')
    result = invoke("info", "bright.toml")
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    assert "capped at the full scale, 255 DN" in text and "The sensor is saturated" in text
    assert "shot noise" not in text


@pytest.mark.parametrize(("name", "table"), [("cmv2000", "camera"), ("IMX174", "camera"), ("DLP4500@1", "dmd")])
def test_info_of_a_part_says_where_it_belongs(name, table):
    line = assert_one_sentence(invoke("info", name), "info")
    assert f'Use it in a TOML file as [{table}] preset = "{name}".' in line


@pytest.mark.system
@pytest.mark.parametrize("arguments", [["info"], ["presets"], ["--help"], ["info", "µ…é"]])
def test_terminals_without_unicode(arguments):
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, timeout=120, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == (2 if len(arguments) > 1 else 0), done.stderr
    assert b"Traceback" not in done.stderr
    if arguments == ["info"]:
        assert b"400 us" in done.stdout


@pytest.mark.parametrize(("energy_j", "text"), [(26.96, "27 J"), (0.3, "0.30 J"), (1234.0, "1200 J"), (0.0, "0 J")])
def test_joules_have_two_digits(energy_j, text):
    assert tables.joules(energy_j) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0.0 %"), (1e-6, "< 0.001 %"), (0.0004, "0.04 %"), (0.359, "35.9 %"), (1.0, "100.0 %")]
)
def test_small_shares_are_not_rounded_to_nothing(share, text):
    assert tables.percent(share) == text


def test_info_errors():
    assert "no device preset 'auror'" in assert_one_sentence(invoke("info", "auror"), "info")


@pytest.mark.system
def test_module_and_console_script_agree():
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"opusim {opusim.__version__}"


def test_bars_and_statuses_tell_of_work_that_takes_long(monkeypatch):
    """As of a matrix that is made before the first vector: a line of its own, gone when it is done."""
    from opusim.base import progress
    from opusim.cli.app import _progress, err, telling

    monkeypatch.setattr(progress, "LONG_S", 0.0)
    bar = _progress("first", "then", 3)
    with bar as advance:
        with progress.LongWork(50, "OPU: matrix") as work:
            work.advance(10)
            work.advance(20)
            below = bar._bar.tasks[1]
            assert (below.description, below.completed, below.total) == ("OPU: matrix", 30, 50)
        assert len(bar._bar.tasks) == 1
        advance(1)
        assert bar._bar.tasks[0].description == "then"
    status = err.status("Loading …")
    with telling(status):
        with progress.LongWork(50, "OPU: matrix") as work:
            work.advance(10)
            assert status.status == "Loading … OPU: matrix: 20 %"
        assert status.status == "Loading …"
    with progress.LongWork(50, "OPU: matrix") as work:
        work.advance(10)
    assert status.status == "Loading …"
