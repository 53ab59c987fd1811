"""`opusim train` and what `opusim report` tells of a training run."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import Result

from command_line import invoke, words
from opusim import datasets, dfa, plotting
from opusim.cli import train as cli_train
from opusim.dfa.checkpoint import FORMAT, read_run, write_run
from opusim.dfa.losses import loss_text
from opusim.plotting.training import run_title, time_split, training_figure
from opusim.tasks.image_sets import TASKS, load_task

COMMAND = [sys.executable, "-m", "opusim"]
SMALL = ("--task", "digits", "--hidden", "24,16", "--limit", "600", "--batch-size", "32", "--decay", "1")


def train(*arguments: object) -> Result:
    result = invoke("train", *SMALL, *arguments)
    assert result.exit_code == 0, result.output
    return result


def sentence(result: Result, command: str = "train") -> str:
    """The one line of an error; lines of epochs and the bar may come before it."""
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip() and not re.match("epoch", line)]
    assert len(lines) == 1 and lines[0].startswith(f"opusim {command}: ") and lines[0].endswith((".", ")"))
    return lines[0]


def same(first: Path, second: Path) -> None:
    """Two files hold the same run, but for the wall times."""
    a, b = read_run(first), read_run(second)
    assert len(a.parameters) == len(b.parameters)
    assert all(np.array_equal(x, y) for x, y in zip(a.parameters, b.parameters, strict=True))
    for field in dataclasses.fields(a.history):
        if field.name not in ("network_s", "encoding_s", "projection_s", "evaluation_s", "total_s"):
            x, y = getattr(a.history, field.name), getattr(b.history, field.name)
            assert np.array_equal(x, y, equal_nan=True), field.name
    assert a.feedback_state == b.feedback_state


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path.parent / f"{tmp_path.name}-config"))
    return tmp_path


@pytest.fixture(scope="module")
def optical(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """(file, what was printed) of two epochs on the default device."""
    path = tmp_path_factory.mktemp("optical") / "run.h5"
    return path, train("--epochs", 2, "--out", path)


@pytest.fixture(scope="module")
def digital(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("digital") / "run.h5"
    return path, train("--feedback", "gaussian", "--epochs", 3, "--seed", 4, "--out", path)


# ---------------------------------------------------------------- what it trains


def test_it_is_what_the_library_gives(digital, tmp_path):
    path, _ = digital
    data = load_task("digits", limit=600)
    network = dfa.MLP([64, 24, 16, 10], activation="tanh", seed=4)
    trainer = dfa.DFATrainer(
        network, dfa.GaussianFeedback(10, 40, seed=4), optimiser=dfa.Adam(), batch_size=32, epochs=3, seed=4,
        checkpoint=tmp_path / "own.h5",
    )  # fmt: skip
    trainer.fit(data.x_train, data.y_train, validation=(data.x_test, data.y_test))
    same(path, tmp_path / "own.h5")


def test_what_is_printed_is_what_is_in_the_file(digital):
    path, result = digital
    run, text = read_run(path), words(result.stdout)
    assert f"accuracy, held out {100 * run.history.validation_accuracy[-1]:.2f} %" in text
    angles = [f"{angle:.1f}°" for angle in run.history.alignment_deg[-1]]
    assert f"angles to backpropagation {' '.join(angles)}" in text
    for part in ("64-24-16-10, tanh", "gaussian, seed 4", "600 samples to train, 449 held out", "3 of 3", "float"):
        assert part in text
    lines = [line for line in result.stderr.splitlines() if re.match(r"epoch \d of 3   loss", line)]
    assert len(lines) == 3
    for line, accuracy in zip(lines, run.history.validation_accuracy, strict=True):
        assert f"accuracy {100 * accuracy:.2f} %" in line and line.count("°") == 2


def test_light_in_the_loop_on_the_default_device(optical):
    path, result = optical
    run, text = read_run(path), words(result.stdout)
    assert run.feedback["kind"] == "optical" and run.feedback["device"] == "aurora"
    assert run.feedback["encoding"] == "nearest ternary" and run.feedback["width"] == 40
    assert "optical: aurora, seed 0, holographic" in text and run.fingerprint[:16] in text
    used = run.feedback_state["used_frames"]
    assert f"for {used:,} frames, calibration included" in text
    # Each sample of an epoch shows two patterns at most, each in four phase steps and some frames for anchors.
    assert np.all(run.history.frames > 600) and used > run.history.frames.sum()
    assert np.all(run.history.clock_s > 0) and np.all(run.history.energy_j > 0)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--feedback", "optical", "--device", "ideal", "--mode", "intensity", "--averages", "2"], "optical"),
        (["--feedback", "noisy", "--noise", "0.3", "--encoding", "bits:3", "--bits", "8"], "noisy"),
        (["--feedback", "optical", "--device", "ideal", "--exposure-us", "50", "--loss", "squared_error"], "optical"),
        (["--feedback", "backprop", "--optimiser", "sgd", "--momentum", "0.5", "--learning-rate", "0.1"], ""),
        (["--feedback", "shallow", "--activation", "relu", "--decay", "0.9"], ""),
    ],
)
def test_every_way_of_training(folder, options, kind):
    result = train("--epochs", 1, *options)
    run = read_run("run.h5")
    assert run.feedback.get("kind", "") == kind and len(run.history) == 1
    text = words(result.stdout)
    if "--exposure-us" in options:
        assert run.feedback["exposure_s"] == pytest.approx(50e-6) and run.settings["loss"] == "squared_error"
    elif kind == "optical":
        assert run.feedback["averages"] == 2 and "intensity, mean of 2 frames" in text
    elif kind == "noisy":
        assert (
            run.feedback["output_bits"] == 8
            and run.feedback["noise"] == 0.3
            and "noisy, noise 0.3, seed 0" in text
            and "bits, bits 3" in text
        )
    else:
        assert "angles" not in text and "device itself" not in text
        assert "   angles -   " in result.stderr and "°" not in result.stderr + invoke("report", "run.h5").stdout
        assert run.settings["method"] == options[1]
        assert "sgd, learning rate 0.1, momentum 0.5" in text or "the rate times 0.9 from epoch to epoch" in text


def test_hidden_layers_learn_by_feedback(folder):
    """After 20 epochs the digits are told apart, and the updates lie nearer to backpropagation than a right angle.

    Chance is 10 %. Directions without relation lie within 90 ± 4 degrees (sd 57.3/sqrt(24*16) = 3 degrees).
    """
    train("--feedback", "gaussian", "--epochs", 20, "--limit", 1348)
    history = read_run("run.h5").history
    assert history.validation_accuracy[-1] > 0.8
    assert np.all(history.alignment_deg[-1] < 75)


# ---------------------------------------------------------------- stopping and going on


def test_more_epochs_go_on_from_the_file(optical, folder):
    """A run on the device that is continued is the one that was never stopped, noise included."""
    train("--epochs", 1, "--out", "part.h5")
    train("--epochs", 2, "--out", "part.h5", "--resume")
    same(Path("part.h5"), optical[0])


def running(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, "train", *SMALL, *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], there: Path) -> None:
    end = time.monotonic() + 120
    while not there.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert there.exists(), process.communicate()[1]


def test_a_killed_run_goes_on_to_the_same_numbers(folder):
    process = running("--feedback", "noisy", "--epochs", 100_000)
    wait_for(process, folder / "run.h5")
    time.sleep(0.3)
    process.kill()
    process.communicate(timeout=60)
    done = read_run("run.h5").epochs_done
    assert done >= 1
    train("--feedback", "noisy", "--epochs", done + 2, "--resume")
    train("--feedback", "noisy", "--epochs", done + 2, "--out", "whole.h5")
    same(Path("run.h5"), Path("whole.h5"))


def test_interrupt_says_what_is_kept(folder):
    process = running("--feedback", "gaussian", "--epochs", 100_000)
    wait_for(process, folder / "run.h5")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    # A shell reports the death by that signal as 130 too.
    assert process.returncode in (130, -signal.SIGINT), stderr
    assert "Traceback" not in stderr
    last = stderr.strip().splitlines()[-1]
    done = read_run("run.h5").epochs_done
    assert (
        last == f"Interrupted; run.h5 holds {done} of 100000 epochs. The same command with --resume goes on from there."
    )
    assert os.listdir(folder) == ["run.h5"]


def test_the_bar_keeps_the_last_angles_and_opens_with_the_first_batch():
    status = importlib.import_module("opusim.cli.app").err.status("Loading")
    bar = cli_train._TrainingBar(status)
    shown = []
    network = dfa.MLP([64, 24, 16, 10])
    data = load_task("digits", limit=100)

    def follow(at):
        assert bar._bar.live.is_started == bool(shown)
        bar(at)
        assert bar._bar.live.is_started
        shown.append((at, bar._bar.tasks[0].description))

    with bar:
        feedback = dfa.GaussianFeedback(10, 40)
        dfa.DFATrainer(network, feedback, batch_size=50, epochs=2, callback=follow).fit(data.x_train, data.y_train)
    known = [text for at, text in shown if not at.epoch_done]
    assert len(known) == 4 and not any("angles" in text for text in known[:2])
    angles = " ".join(f"{angle:.1f}°" for angle in shown[-1][0].history.alignment_deg[0])
    assert all(text.endswith(f"right, angles {angles}") for text in known[2:])


def test_large_losses_are_short():
    assert [loss_text(x) for x in (0.12345, 9999, 123456.0, 1.5e30, np.nan)] == [
        "0.1235", "9999.0000", "1.235e+05", "1.5e+30", "nan",
    ]  # fmt: skip


def test_a_run_that_is_done_is_told_again(digital):
    path, first = digital
    before = path.read_bytes()
    result = train("--feedback", "gaussian", "--epochs", 3, "--seed", 4, "--out", path, "--resume")
    assert result.stdout == first.stdout and path.read_bytes() == before


def test_diverging_stops_with_a_sentence(folder):
    line = sentence(
        invoke("train", *SMALL, "--feedback", "backprop", "--activation", "relu", "--optimiser", "sgd",
               "--learning-rate", "100000")
    )  # fmt: skip
    assert re.search(r"Training diverged in epoch 1, step \d+: .* There is no checkpoint yet", line)
    assert os.listdir(folder) == []


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "cora"], "--task is 'cora', but it must be one of mnist, fashion-mnist, digits"),
        (["--feedback", "light"], "--feedback is 'light', but it must be one of optical, "),
        (["--optimiser", "lion"], "--optimiser is 'lion'"),
        (["--mode", "off-axis"], "--mode is 'off-axis'"),
        (["--feedback", "gaussian", "--device", "ideal"], "--device is given, but it is for the feedback optical"),
        (["--feedback", "backprop", "--encoding", "sign"], "the feedback optical or gaussian or noisy, not for back"),
        (["--feedback", "gaussian", "--noise", "0.1"], "--noise is given, but it is for the feedback noisy"),
        (["--momentum", "0.5"], "--momentum is given, but it is for the optimiser sgd, not for adam"),
        (["--hidden", ""], "--hidden is '', but it must be sizes of layers as in 1024,1024"),
        (["--hidden", "10,x"], "--hidden is '10,x'"),
        (["--feedback", "gaussian", "--encoding", "morse"], "encoding is 'morse'"),
        (["--encoding", "float"], "mirrors show bits only"),
        (["--device", "borealis"], "no device preset 'borealis'"),
        (["--feedback", "gaussian", "--activation", "sine"], "activation is 'sine'"),
        (["--feedback", "gaussian", "--epochs", "0"], "epochs is 0"),
        (["--feedback", "gaussian", "--batch-size", "0"], "batch_size is 0"),
        (["--feedback", "gaussian", "--learning-rate", "-1"], "learning_rate is -1"),
        (["--feedback", "gaussian", "--decay", "0"], "learning_rate_decay is 0"),
        (["--feedback", "noisy", "--noise", "-1"], "noise is -1"),
        (["--feedback", "noisy", "--bits", "0"], "bits is 0"),
        (["--feedback", "gaussian", "--bits", "8"], "--bits is given, but it is for the feedback noisy"),
        (["--feedback", "gaussian", "--exposure-us", "9"], "--exposure-us is given, but it is for the feedback opt"),
        (["--exposure-us", "-1"], "exposure_s is -1e-06"),
        (["--feedback", "gaussian", "--loss", "hinge"], "loss is 'hinge', but it must be one of 'cross_entropy', "),
        (["--feedback", "shallow", "--out", "x" * 250 + ".h5"], "the training run cannot be written to"),
        (["--limit", "1349"], "limit is 1349, but it must be a whole number from 1 to 1348"),
        (["--seed", "-1"], "seed is -1"),
        (["--out", "no/run.h5"], "There is no folder no"),
        (["--out", "."], "is a folder"),
        (["--resume"], "There is no training run run.h5 to go on with"),
        (["--resume", "--force"], "--resume and --force are both given"),
    ],
)  # fmt: skip
def test_options_that_are_refused(folder, options, message):
    assert message in sentence(invoke("train", *SMALL, *options))
    assert os.listdir(folder) == []


def test_a_file_that_is_there_is_kept(folder):
    Path("run.h5").write_text("mine")
    options = ("--feedback", "shallow", "--epochs", 1)
    line = sentence(invoke("train", *SMALL, *options))
    assert "run.h5 is there already; --resume goes on with it, --force replaces it" in line
    assert "not an HDF5 file" in sentence(invoke("train", *SMALL, *options, "--resume"))
    assert Path("run.h5").read_text() == "mine"
    train(*options, "--force")
    assert read_run("run.h5").epochs_done == 1


def test_going_on_with_other_options_is_refused(digital):
    path, _ = digital
    before = path.read_bytes()
    options = ("--feedback", "gaussian", "--epochs", 4, "--out", path, "--resume")
    for other, found in (
        (("--seed", 5), "seed is 4 in the file, but 5 now"),
        (("--seed", 4, "--limit", 500), "samples is 600 in the file, but 500 now"),
        (("--seed", 4, "--encoding", "sign"), "encoding is 'float' in the file, but 'sign' now"),
        (("--seed", 4, "--hidden", "20,20"), "sizes is '64-24-16-10' in the file, but '64-20-20-10' now"),
        (("--seed", 4, "--optimiser", "sgd"), "kind is 'adam' in the file, but 'sgd' now"),
    ):
        assert found in sentence(invoke("train", *SMALL, *options, *other))
    assert path.read_bytes() == before


def test_another_device_is_refused_on_going_on(optical, folder, monkeypatch):
    """And other settings, network, optimiser or data too: before the device is calibrated."""
    monkeypatch.setattr(dfa.OpticalFeedback, "prepare", lambda feedback: pytest.fail("the device is not needed"))
    again = ("train", *SMALL, "--epochs", 3, "--out", optical[0], "--resume")
    line = sentence(invoke(*again, "--device", "ideal"))
    assert "device is 'aurora' in the file, but 'ideal' now" in line and "fingerprint is" in line
    for option, value in (("--batch-size", 16), ("--hidden", "20,20"), ("--optimiser", "sgd"), ("--limit", 500)):
        assert "cannot be continued, because it is another run" in sentence(invoke(*again, option, value))


# ---------------------------------------------------------------- report


def test_report_tells_a_run(optical):
    path, _ = optical
    result = invoke("report", path)
    assert result.exit_code == 0, result.output
    text, run = words(result.stdout), read_run(path)
    assert "direct feedback alignment" in text and "Wall time of an epoch, mean" in text
    for i in range(2):
        assert f"{i + 1} {run.history.loss[i]:.4f}" in text
        assert f"{100 * run.history.validation_accuracy[i]:.2f} %" in text


def test_report_of_a_long_run_stays_short(digital, folder):
    run = read_run(digital[0])
    arrays = {f.name: np.repeat(getattr(run.history, f.name), 50, axis=0) for f in dataclasses.fields(run.history)}
    arrays["epoch"] = np.arange(1, 151)
    write_run("long.h5", dataclasses.replace(run, history=type(run.history)(**arrays)))
    table = invoke("report", "long.h5").stdout.partition("Epochs")[2].partition("Wall time of an epoch")[0]
    shown = [int(n) for n in re.findall(r"│ +(\d+) │", table)]
    assert shown[0] == 1 and shown[-1] == 150 and len(shown) <= 22 and shown == sorted(set(shown))


def test_figure_has_panels_with_units(optical, digital, tmp_path):
    path, _ = optical
    figure = training_figure(read_run(path))
    axes = {a.get_title("left"): a for a in figure.axes}
    assert list(axes) == [
        "Accuracy", "Loss of the training data", "Hidden layers: angle to backpropagation", "Wall time of an epoch",
    ]  # fmt: skip
    units = ("(%)", "(nats)", "(degrees)")
    assert all(unit in a.get_ylabel() for unit, a in zip(units, figure.axes, strict=False))
    assert "(s)" in figure.axes[3].get_xlabel()
    angles = axes["Hidden layers: angle to backpropagation"]
    assert len({(line.get_linestyle(), line.get_marker()) for line in angles.lines[:2]}) == 2
    assert list(angles.lines[-1].get_ydata()) == [90, 90]
    assert "device itself" in axes["Wall time of an epoch"].texts[-1].get_text()
    target = tmp_path / "run.png"
    result = invoke("report", path, "--figure", target)
    assert result.exit_code == 0 and f"Figure: {target}" in result.stdout
    assert target.read_bytes().startswith(b"\x89PNG") and target.stat().st_size > 20_000
    plotting.save(training_figure(read_run(digital[0])), tmp_path / "run.pdf")
    assert (tmp_path / "run.pdf").read_bytes().startswith(b"%PDF")


def test_figure_of_a_baseline_says_why_there_is_no_angle(folder):
    for method, text in (("backprop", "These are the updates of backpropagation."), ("shallow", "No angles were")):
        train("--feedback", method, "--epochs", 1, "--out", f"{method}.h5")
        run = read_run(f"{method}.h5")
        assert any(text in t.get_text() for t in training_figure(run).axes[2].texts)
        assert run_title(run).startswith("digits, 64-24-16-10 tanh: ")
        assert run_title(run).endswith(", seed 0, 1 epoch")


def test_parts_of_the_time_are_the_whole(digital):
    history = read_run(digital[0]).history
    split = time_split(history)
    assert sum(split.values()) == pytest.approx(history.total_s.mean())
    # Each part is measured within the whole.
    assert all(seconds >= -1e-6 for seconds in split.values())


def test_files_that_report_refuses(digital, folder):
    path, _ = digital
    content = path.read_bytes()
    Path("none.txt").write_text("text")
    Path("cut.h5").write_bytes(content[: len(content) // 3])
    Path("empty.h5").write_bytes(b"")
    for source, message in (
        ("no.h5", "There is no file no.h5"), (".", "is a folder"), ("none.txt", "is not an HDF5 file"),
        ("cut.h5", "cut.h5 is damaged or cut short"), ("empty.h5", "empty.h5 is damaged or cut short"),
    ):  # fmt: skip
        assert message in sentence(invoke("report", source), "report")
    for source in ("cut.h5", "empty.h5"):
        with pytest.raises(ValueError, match="make it again, or use a backup") as told:
            read_run(source)
        assert sentence(invoke("report", source), "report") == f"opusim report: {told.value}"
    for form in ("opusim diary", None):
        with h5py.File("other.h5", "w") as file:
            if form is not None:
                file.attrs["format"] = form
        line = sentence(invoke("report", "other.h5"), "report")
        assert f"format {form!r}" in line and FORMAT in line and "opusim calibration" in line
    assert "it is for calibrations" in sentence(invoke("report", path, "--device", "aurora"), "report")
    assert "is the training run file itself" in sentence(invoke("report", path, "--figure", path), "report")
    assert "must end in one of" in sentence(invoke("report", path, "--figure", "run.doc"), "report")
    Path("changed.h5").write_bytes(content)
    with h5py.File("changed.h5", "r+") as file:
        file["history/loss"][0] = 0.0
    # h5py took the trailer away, so that the file opens with a warning; then its content is found to be changed.
    result = invoke("report", "changed.h5")
    assert result.exit_code == 2 and "changed.h5 has no check sum" in result.stderr
    assert "changed.h5 is damaged" in result.stderr


# ---------------------------------------------------------------- tasks


def test_digits_as_a_task():
    data, raw = load_task("digits"), datasets.load("digits")
    assert data.x_train.dtype == data.x_test.dtype == np.float32 and data.y_train.dtype == np.int64
    assert data.x_train.shape == (1348, 64) and data.x_test.shape == (449, 64) and data.n_classes == 10
    # 17 levels: sixteenths are exact in float32.
    assert np.array_equal(data.x_train * 16, raw.x_train.reshape(1348, 64))
    assert np.array_equal(data.y_test, raw.y_test)
    few = load_task("digits", limit=100)
    assert np.array_equal(few.x_train, data.x_train[:100]) and len(few.x_test) == 449


def test_centred_images_have_no_mean():
    data, centred = load_task("digits", limit=100), load_task("digits", limit=100, centred=True)
    # Rounding of sums of 100 numbers below 1.
    assert np.abs(centred.x_train.mean(axis=0)).max() < 1e-6
    assert np.allclose(data.x_test - centred.x_test, data.x_train.mean(axis=0), atol=1e-6)


def test_tasks_that_are_refused():
    with pytest.raises(ValueError, match="name is 'cora', but it must be one of 'mnist'"):
        load_task("cora")
    for limit in (0, 1349):
        with pytest.raises(ValueError, match=f"limit is {limit}"):
            load_task("digits", limit=limit)


@pytest.mark.data
@pytest.mark.parametrize("name", [name for name in TASKS if name != "digits"])
def test_image_sets_as_tasks(name, data_folder):
    data = load_task(name, limit=50)
    assert data.x_train.shape == (50, 784) and data.x_test.shape == (10_000, 784) and data.n_classes == 10
    # Grey levels of 8 bits: black is 0 and white 1.
    assert data.x_test.min() == 0 and data.x_test.max() == 1
