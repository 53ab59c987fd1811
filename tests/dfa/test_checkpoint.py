"""Files of training runs: exact resume, whole files whatever happens, and refusal of what does not belong."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from textwrap import dedent

import h5py
import numpy as np
import pytest

import opusim
from opusim.dfa import checkpoint
from opusim.dfa.checkpoint import read_run, write_run
from opusim.dfa.error_encoding import TernaryEncoding
from opusim.dfa.feedback import NoisyFeedback
from opusim.dfa.history import History
from opusim.dfa.network import MLP
from opusim.dfa.optimisers import SGD, Adam
from opusim.dfa.trainer import BackpropTrainer, DFATrainer, ShallowTrainer

SIZES = (6, 8, 7, 4)
METHODS = ("dfa", "backprop", "shallow")
WALL_TIMES = {"network_s", "encoding_s", "projection_s", "evaluation_s", "total_s"}
# What a new process needs to make the same run; `make` is the same as in this file.
PRELUDE = """
    import os, signal, sys
    sys.path.insert(0, {folder!r})
    from test_checkpoint import make, samples
    path = {path!r}
"""


def samples(n: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    return (rng.normal(size=(4, 6))[y] + 0.5 * rng.normal(size=(n, 6))).astype(np.float32), y


def make(path, method="dfa", *, network=None, optimiser=None, feedback=None, **options):
    network = network or MLP(SIZES, seed=3)
    options = {"batch_size": 16, "epochs": 4, "seed": 7, "alignment_samples": 20, "checkpoint": path, **options}
    options["optimiser"] = optimiser or Adam(0.01)
    if method == "dfa":
        feedback = feedback or NoisyFeedback(4, 15, noise=0.2, bits=6, seed=1, encoding=TernaryEncoding(0.1))
        return DFATrainer(network, feedback, **options)
    return {"backprop": BackpropTrainer, "shallow": ShallowTrainer}[method](network, **options)


def held_out() -> tuple[np.ndarray, np.ndarray]:
    return samples(30, seed=1)


def fit(trainer, **options) -> History:
    return trainer.fit(*samples(), **{"validation": held_out(), **options})


def assert_same(trainer, other) -> None:
    """Bit for bit, but for the wall times."""
    for a, b in zip(trainer.network.parameters(), other.network.parameters(), strict=True):
        assert np.array_equal(a, b)
    for name, array in trainer.optimiser.state().items():
        assert np.array_equal(array, other.optimiser.state()[name])
    for field in fields(History):
        if field.name not in WALL_TIMES:
            a, b = getattr(trainer.history, field.name), getattr(other.history, field.name)
            assert np.array_equal(a, b, equal_nan=field.name != "epoch"), field.name


def in_new_process(tmp_path: Path, path: Path, code: str) -> subprocess.CompletedProcess[str]:
    program = dedent(PRELUDE).format(folder=str(Path(__file__).parent), path=str(path)) + dedent(code)
    return subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300)


# ---------------------------------------------------------------------------------------------- exact resume


@pytest.mark.parametrize("optimiser", [lambda: Adam(0.01), lambda: SGD(0.05, weight_decay=0.01)], ids=["adam", "sgd"])
@pytest.mark.parametrize("method", METHODS)
def test_four_epochs_are_two_and_two(tmp_path, method, optimiser):
    """The noise of the feedback, the moments and the order of the samples all go on."""
    whole = make(tmp_path / "whole.h5", method, optimiser=optimiser(), learning_rate_decay=0.9)
    fit(whole)
    options = {"method": method, "learning_rate_decay": 0.9}
    fit(make(tmp_path / "run.h5", optimiser=optimiser(), epochs=2, **options))
    second = make(tmp_path / "run.h5", optimiser=optimiser(), **options)
    history = fit(second, resume=True)
    assert_same(whole, second)
    assert len(history) == 4 and second.checkpoint_epoch == 4
    a, b = read_run(tmp_path / "whole.h5"), read_run(tmp_path / "run.h5")
    assert all(np.array_equal(p, q) for p, q in zip(a.parameters, b.parameters, strict=True))
    assert a.feedback_state == b.feedback_state and a.settings == b.settings and a.data == b.data


def test_resume_takes_everything_from_the_file(tmp_path):
    """Whatever the network, the optimiser and the feedback have done meanwhile."""
    path = tmp_path / "run.h5"
    whole = make(tmp_path / "whole.h5")
    fit(whole)
    fit(make(path, epochs=2))
    used = make(None)
    fit(used)
    again = make(path, network=used.network, optimiser=used.optimiser, feedback=used.feedback)
    fit(again, resume=True)
    assert_same(whole, again)


def test_a_finished_run_is_read_and_left(tmp_path):
    path = tmp_path / "run.h5"
    whole = make(path)
    fit(whole)
    before = path.read_bytes()
    again = make(path, callback=lambda at: pytest.fail("nothing is left to train"))
    fit(again, resume=True)
    assert_same(whole, again)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="signals and limits as on POSIX are needed")
def test_killed_in_the_middle_of_an_epoch_and_resumed_in_a_new_process(tmp_path):
    path, whole = tmp_path / "run.h5", make(tmp_path / "whole.h5")
    fit(whole)
    killed = in_new_process(
        tmp_path,
        path,
        """
        from test_checkpoint import fit
        def kill(at):
            if at.epoch == 3 and at.step == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        fit(make(path, callback=kill))
        """,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_run(path).epochs_done == 2
    resumed = make(path)
    fit(resumed, resume=True)
    assert_same(whole, resumed)


def test_checkpoints_come_as_often_as_asked_and_at_the_end(tmp_path):
    path, epochs = tmp_path / "run.h5", []

    def look(at):
        if at.epoch_done:
            epochs.append(read_run(path).epochs_done if path.exists() else 0)

    fit(make(path, epochs=5, checkpoint_every=2, callback=look))
    assert epochs == [0, 2, 2, 4, 5]


def test_without_a_checkpoint_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(make(None, epochs=1))
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------------------ what the file holds


def test_a_file_gives_back_what_was_written(tmp_path):
    path, trainer = tmp_path / "run.h5", make(tmp_path / "run.h5", epochs=3)
    fit(trainer)
    run = read_run(path)
    assert run.settings == trainer.settings() and run.settings["method"] == "dfa"
    assert run.network == trainer.network.describe() and run.sizes == SIZES
    assert run.optimiser == trainer.optimiser.describe()
    assert run.feedback == trainer.feedback.describe() and run.feedback_state == trainer.feedback.state()
    assert run.data["samples"] == 50 and run.data["validation_samples"] == 30
    assert run.fingerprint == "" and run.epochs_done == 3 and run.opusim_version == opusim.__version__
    for field in fields(History):
        assert np.array_equal(getattr(run.history, field.name), getattr(trainer.history, field.name), equal_nan=True)
    X, _ = held_out()
    assert np.array_equal(run.trained_network().predict(X), trainer.network.predict(X))
    with h5py.File(path) as file:
        assert file.attrs["format"] == "opusim training run" and file.attrs["format_version"] == 3
        assert file.attrs["created"] == run.created and run.created.endswith("+00:00")


def test_numbers_of_any_size_come_back_to_the_last_bit(tmp_path):
    path, trainer = tmp_path / "run.h5", make(tmp_path / "run.h5", epochs=1)
    fit(trainer)
    numbers = {
        "big": 2**80,
        "third": 1 / 3,
        "tiny": 5e-324,
        "flag": True,
        "text": 'ä "quoted"\n',
        "one": np.float32(0.1),
    }
    write_run(path, replace(read_run(path), feedback=numbers | {"fingerprint": "abc"}))
    run = read_run(path)
    assert run.feedback == {**numbers, "one": float(np.float32(0.1)), "fingerprint": "abc"}
    assert run.fingerprint == "abc" and run.feedback["flag"] is True


def test_only_plain_values_go_into_a_description(tmp_path):
    path = tmp_path / "run.h5"
    fit(make(path, epochs=1))
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"feedback\['matrix'\] is .*ndarray.*, but it must be a text"):
        write_run(path, replace(read_run(path), feedback={"matrix": np.zeros(3)}))
    assert path.read_bytes() == before


# ------------------------------------------------------------------------------------------- what is refused

CHANGES = [
    ({"batch_size": 32}, "settings batch_size is 16 in the file, but 32 now"),
    ({"seed": 8}, "settings seed is 7 in the file, but 8 now"),
    ({"loss": "squared_error"}, "settings loss is 'cross_entropy' in the file, but 'squared_error' now"),
    ({"learning_rate_decay": 0.5}, "settings learning_rate_decay is 1.0 in the file, but 0.5 now"),
    ({"alignment_samples": 0}, "settings alignment_samples is 20 in the file, but 0 now"),
    ({"feedback_scale": 0.5}, "settings feedback_scale is 0.35.* in the file, but 0.5 now"),
    ({"network": MLP((6, 8, 7, 4), seed=4)}, "network seed is 3 in the file, but 4 now"),
    ({"network": MLP((6, 7, 8, 4), seed=3)}, "network sizes is '6-8-7-4' in the file, but '6-7-8-4' now"),
    ({"network": MLP(SIZES, seed=3, activation="relu")}, "network activation is 'tanh' in the file, but 'relu' now"),
    ({"network": MLP(SIZES, seed=3, dtype=float)}, "network dtype is 'float32' in the file, but 'float64' now"),
    ({"optimiser": Adam(0.02)}, "optimiser learning_rate is 0.01 in the file, but 0.02 now"),
    (
        {"optimiser": SGD(0.01)},
        "optimiser kind is 'adam' in the file, but 'sgd' now;.*momentum is not there in the file",
    ),
    (
        {"feedback": NoisyFeedback(4, 15, noise=0.3, bits=6, seed=1, encoding=TernaryEncoding(0.1))},
        "feedback noise is 0.2",
    ),
    (
        {"feedback": NoisyFeedback(4, 15, noise=0.2, bits=6, seed=2, encoding=TernaryEncoding(0.1))},
        "feedback seed is 1",
    ),
    ({"method": "backprop"}, "settings method is 'dfa' in the file, but 'backprop' now"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=[next(iter(change)) for change, _ in CHANGES])
def test_another_run_is_refused(tmp_path, change, message):
    path = tmp_path / "run.h5"
    fit(make(path, epochs=1))
    before = path.read_bytes()
    trainer = make(path, **change)
    parameters = [array.copy() for array in trainer.network.parameters()]
    with pytest.raises(ValueError, match=f"run.h5 cannot be continued, because it is another run: .*{message}"):
        fit(trainer, resume=True)
    assert path.read_bytes() == before
    assert all(np.array_equal(a, b) for a, b in zip(parameters, trainer.network.parameters(), strict=True))


def one_number_else(X, y):
    X[17, 3] += 1e-6
    return X, y


def one_label_else(X, y):
    y[20] = (y[20] + 1) % 4
    return X, y


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_number_else, "data digest is"),
        (one_label_else, "data digest is"),
        (lambda X, y: (X[:-1], y[:-1]), "data samples is 50 in the file, but 49 now"),
    ],
)
def test_other_data_are_refused(tmp_path, change, message):
    path = tmp_path / "run.h5"
    fit(make(path, epochs=1))
    with pytest.raises(ValueError, match=message):
        make(path).fit(*change(*samples()), validation=held_out(), resume=True)
    with pytest.raises(ValueError, match="data validation_digest is"):
        make(path).fit(*samples(), validation=one_number_else(*held_out()), resume=True)
    with pytest.raises(ValueError, match="data validation_samples is 30 in the file, but not there now"):
        make(path).fit(*samples(), resume=True)


def test_fewer_epochs_than_done_are_refused(tmp_path):
    path = tmp_path / "run.h5"
    fit(make(path, epochs=3))
    with pytest.raises(ValueError, match="epochs is 2, but .*run.h5 has 3 epochs already"):
        fit(make(path, epochs=2), resume=True)


def test_resume_needs_a_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="resume is True, but the trainer has no checkpoint"):
        fit(make(None), resume=True)
    with pytest.raises(FileNotFoundError, match="There is no training run .*run.h5"):
        fit(make(tmp_path / "run.h5"), resume=True)


def test_a_missing_folder_is_told_before_anything_is_trained(tmp_path):
    trainer = make(tmp_path / "no" / "run.h5", callback=lambda at: pytest.fail("training began"))
    with pytest.raises(FileNotFoundError, match="There is no folder .*no for the checkpoint"):
        fit(trainer)


@pytest.fixture
def run_path(tmp_path) -> Path:
    fit(make(tmp_path / "run.h5", epochs=1))
    return tmp_path / "run.h5"


def test_a_file_cut_short_at_any_place_is_refused(run_path):
    content = run_path.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, 511, 512, 2000, len(content) // 2, len(content) - 1]:
        run_path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="run.h5 is damaged or cut short; make it again, or use a backup"):
            read_run(run_path)


def test_a_changed_byte_is_found(run_path):
    """One byte in 97 places."""
    content = run_path.read_bytes()
    for place in range(8, len(content), len(content) // 97):
        run_path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        with pytest.raises(ValueError, match="run.h5 is damaged or cut short"):
            read_run(run_path)


def test_foreign_files_are_refused(run_path):
    with pytest.raises(IsADirectoryError, match="is a folder, but it must be the file of a training run"):
        read_run(run_path.parent)
    run_path.write_text("accuracy: 98 %")
    with pytest.raises(ValueError, match="run.h5 is not an HDF5 file"):
        read_run(run_path)
    with h5py.File(run_path, "w") as file:
        file.attrs["format"] = "opusim calibration"
    with pytest.raises(ValueError, match="not a training run: its format is 'opusim calibration'"):
        read_run(run_path)
    with h5py.File(run_path, "w") as file:
        file["format"] = np.zeros(3)
    with pytest.raises(ValueError, match="not a training run: its format is None"):
        read_run(run_path)


@pytest.mark.parametrize(("name", "error"), [("", IsADirectoryError), ("x" * 250 + ".h5", OSError)])
def test_a_target_that_cannot_be_written_is_told_before_anything_is_done(tmp_path, name, error):
    """A folder, or a name that no file system takes (255 bytes with what is added)."""
    trainer = make(tmp_path / name)
    trainer.feedback.project = lambda errors: pytest.fail("nothing may be projected")
    with pytest.raises(error, match="is a folder|the training run cannot be written to"):
        fit(trainer)
    assert os.listdir(tmp_path) == []


def test_looking_for_room_leaves_nothing(tmp_path):
    """Neither a file of its own nor a change of the one that is there."""
    path = tmp_path / "run.h5"
    path.write_text("mine")
    checkpoint.check_target(path)
    assert os.listdir(tmp_path) == ["run.h5"] and path.read_text() == "mine"


@pytest.mark.parametrize("path", [5, True, b"run.h5"])
def test_a_checkpoint_is_a_path(path):
    with pytest.raises(TypeError, match="checkpoint is .*, but it must be the path of a file"):
        make(path)


def test_another_version_is_refused(run_path):
    with h5py.File(run_path, "r+") as file:
        file.attrs["format_version"] = 4
    with pytest.raises(ValueError, match="format version 4, but this opusim .* reads 2 to 3"):
        read_run(run_path)


# ------------------------------------------------------------------------------------- whole, whatever happens


@pytest.mark.skipif(os.name == "nt", reason="signals and limits as on POSIX are needed")
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_killed_while_writing_leaves_the_old_file(tmp_path, step):
    path = tmp_path / "run.h5"
    killed = in_new_process(
        tmp_path,
        path,
        f"""
        from test_checkpoint import fit
        def arm(at):
            if at.epoch == 3:
                os.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        fit(make(path, callback=arm))
        """,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_run(path).epochs_done == 2


def test_two_processes_writing_one_file_leave_a_whole_one(tmp_path):
    """Two write as fast as they can and are killed at some time; whoever reads meanwhile finds a whole file."""
    path = tmp_path / "run.h5"
    fit(make(path, epochs=1))
    program = dedent(PRELUDE).format(folder=str(Path(__file__).parent), path=str(path)) + dedent(
        """
        from opusim.dfa.checkpoint import read_run, write_run
        run = read_run(path)
        print("ready", flush=True)
        while True:
            write_run(path, run)
        """
    )
    writers = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 2
        seen, until = set(), time.monotonic() + 1.0
        while time.monotonic() < until:
            assert read_run(path).epochs_done == 1
            seen.add(path.stat().st_ino)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            writer.stdout.close()
    assert len(seen) > 1 and read_run(path).epochs_done == 1


@pytest.mark.skipif(os.name == "nt", reason="signals and limits as on POSIX are needed")
def test_a_file_that_cannot_grow_leaves_the_old_one(tmp_path):
    path = tmp_path / "run.h5"
    done = in_new_process(
        tmp_path,
        path,
        """
        import resource
        from test_checkpoint import fit
        def fill_up(at):
            if at.epoch == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        trainer = make(path, callback=fill_up)
        try:
            fit(trainer)
        except OSError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            print(error.filename, len(trainer.history), trainer.checkpoint_epoch)
        """,
    )
    assert done.stdout.split() == [str(path), "2", "1"], done.stderr
    assert read_run(path).epochs_done == 1 and os.listdir(tmp_path) == ["run.h5"]
    whole, resumed = make(tmp_path / "whole.h5"), make(path)
    fit(whole)
    fit(resumed, resume=True)
    assert_same(whole, resumed)


def test_a_full_disk_is_told_with_the_path(run_path, monkeypatch):
    before = run_path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device; the training run cannot be written.*run.h5") as told:
        fit(make(run_path), resume=True)
    assert told.value.errno == errno.ENOSPC and told.value.filename == str(run_path)
    assert run_path.read_bytes() == before and os.listdir(run_path.parent) == ["run.h5"]
