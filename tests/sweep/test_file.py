"""The file of a sweep: whole at any time, its own only, and refused when anything is wrong with it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from opusim.sweep import Sweep, SweepResult, read_sweep
from opusim.sweep.file import write_sweep, writing


class Task:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, int]] = []

    def describe(self) -> dict[str, str]:
        return {"name": "test"}

    def __call__(self, opu, seed: int) -> dict[str, float]:
        self.calls.append((opu, seed))
        return {"double": 2 * opu + seed, "third": 1 / 3}


@pytest.fixture
def task() -> Task:
    return Task()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.h5"


def sweep(task, vary=None, seeds=2) -> Sweep:
    vary = vary or {"camera.read_noise_e": [1.0, 2.0, 3.0]}
    return Sweep(task, lambda device, n, seed: device.camera.read_noise_e, vary, seeds=seeds)


def test_a_full_disk_is_told_and_the_file_before_it_stays(task, path, monkeypatch):
    def full(descriptor):
        if len(task.calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device; the sweep cannot be written to.*sweep.h5"):
        sweep(task).run(path)
    assert len(read_sweep(path).outcomes) == 2
    assert [p.name for p in path.parent.iterdir() if p.suffix == ".h5"] == ["sweep.h5"]
    monkeypatch.undo()
    assert sweep(task).run(path).digest() == sweep(Task()).run().digest()
    assert len(task.calls) == 7  # the point that could not be written, twice


def test_a_folder_that_is_not_there_is_told_before_the_work(task, tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere for sweep.h5"):
        sweep(task).run(tmp_path / "nowhere" / "sweep.h5")
    with pytest.raises(IsADirectoryError):
        sweep(task).run(tmp_path)
    assert not task.calls


def foreign(path: Path) -> str:
    path.write_text("a text\n")
    return "is not an HDF5 file, but a sweep must be one"


def empty(path: Path) -> str:
    path.write_bytes(b"")
    return "is damaged or cut short"


def cut(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:2000])
    return "is damaged or cut short"


def other_format(path: Path) -> str:
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "opusim calibration"
    return "is an HDF5 file, but not a sweep: its format is 'opusim calibration'"


def other_version(path: Path) -> str:
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 99
    return "has the format version 99, but this opusim"


def changed(path: Path) -> str:
    with h5py.File(path, "a") as file:
        points = file["points"]
        points[0, 0] = points.asstr()[0, 0].replace("2.0", "2.5")
    return "is damaged or cut short"


@pytest.mark.parametrize("damage", [foreign, empty, cut, other_format, other_version, changed])
def test_a_file_that_is_none_or_damaged_is_refused_and_kept(task, path, damage):
    sweep(task).run(path)
    sentence = damage(path)
    before = path.read_bytes()
    task.calls.clear()
    for read in (lambda: read_sweep(path), lambda: sweep(task).run(path)):
        with pytest.raises(ValueError, match=f"sweep.h5 {sentence}"):
            read()
    assert path.read_bytes() == before and not task.calls


def test_every_changed_byte_is_found_or_does_no_harm(task, path):
    """Of 300 single changed bytes each leaves the results as they were, or is refused with a sentence."""
    digest = sweep(task).run(path).digest()
    whole = path.read_bytes()
    places = np.random.default_rng(0).integers(0, len(whole), 300)
    for place in places.tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            found = read_sweep(path)
        except ValueError as error:
            assert "sweep.h5" in str(error)
        else:
            assert found.digest() == digest


def test_no_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no sweep"):
        read_sweep(tmp_path / "none.h5")
    with pytest.raises(IsADirectoryError):
        read_sweep(tmp_path)


def test_only_one_sweep_at_a_time_runs_into_a_file(task, path):
    refused = []

    def other(result, place):
        if place is None:
            return
        with pytest.raises(RuntimeError, match="Another sweep is being run into") as caught:
            sweep(Task()).run(path)
        refused.append(str(caught.value))
        thread = threading.Thread(target=lambda: refused.append(_refused(path)))
        thread.start()
        thread.join()

    sweep(task, {"camera.bits": [8]}, seeds=1).run(path, callback=other)
    assert len(refused) == 2 and len(set(refused)) == 1


def _refused(path: Path) -> str:
    try:
        with writing(path):
            return "let in"
    except RuntimeError as error:
        return str(error)


def test_another_process_is_kept_out_too_until_this_one_is_killed(path):
    code = (
        "import sys, time; from opusim.sweep.file import writing\n"
        "with writing(sys.argv[1]):\n    print('in', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline().strip() == "in"
            assert "Another sweep" in _refused(path)
        finally:
            process.kill()
            process.wait()
    assert _refused(path) == "let in"


def test_what_a_killed_process_left_half_written_is_cleared_away(task, path):
    left = path.with_name(".sweep.0123abcd.h5")
    others = [path.with_name(name) for name in (".sweep.0123abcd.txt", "sweep.0123abcd.h5", ".sweep2.0123abcd.h5")]
    for file in (left, *others):
        file.write_bytes(b"half")
    sweep(task).run(path)
    assert not left.exists() and all(file.exists() for file in others)


def test_a_reader_sees_a_whole_file_at_any_time(task, path):
    """While a sweep is written over and over, every reading finds one of the states that it went through."""
    result = sweep(task).run(path)
    states = {result.digest()}
    smaller = SweepResult(result.header, result.settings, {})
    states.add(smaller.digest())
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            write_sweep(path, smaller)
            write_sweep(path, result)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        end = time.perf_counter() + 1.0
        found = set()
        while time.perf_counter() < end:
            found.add(read_sweep(path).digest())
    finally:
        stop.set()
        writer.join()
    assert found <= states
