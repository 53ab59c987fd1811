"""The journal of a matrix: nothing of it is taken that is damaged, old, or of another measurement."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from opusim import OpticalBench
from opusim.calibration.procedures.matrix import journal as module
from opusim.calibration.procedures.matrix.journal import Journal, interrupted_header
from opusim.calibration.procedures.matrix.measure import measure_tm, read_tm
from opusim.device.record import Device

AURORA = Device.load("aurora")
SLOW = pytest.mark.slow
SETTINGS = {"exposure_s": 400e-6, "roi": (500, 0, 1, 300)}
HALF = 32  # of 64 patterns


def measured(out: Path, seed: int = 0, **more):
    return measure_tm(OpticalBench(AURORA, seed), 32, out=out, **{**SETTINGS, **more})


def content(record):
    return record.matrix().tobytes(), record.background().tobytes(), record.anchor_phase_rad.tobytes()


def parts_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.parts")


def interrupt(out: Path, at: int, seed: int = 0, **more) -> Path:
    """Stop a measurement after so many patterns; return its journal."""

    def stop(done: int, total: int) -> None:
        if done >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(out, seed, progress=stop, **more)
    return parts_of(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[int, tuple[bytes, ...]]:
    """What an uninterrupted measurement gives, by seed."""
    folder = tmp_path_factory.mktemp("whole")
    return {seed: content(measured(folder / f"{seed}.h5", seed)) for seed in (0, 1)}


@pytest.fixture(scope="module")
def half(tmp_path_factory) -> Path:
    """A journal with half of the batches: eight of sixteen."""
    return interrupt(tmp_path_factory.mktemp("half") / "tm.h5", HALF)


@pytest.fixture
def left(half, tmp_path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(half, tmp_path / half.name))


def flip(path: Path, place: float, bit: int = 3) -> None:
    data = bytearray(path.read_bytes())
    data[min(len(data) - 1, int(place * len(data)))] ^= 1 << bit
    path.write_bytes(data)


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


HEADS = ("header.json", "start.npz")
SPOILT = {
    "first byte": lambda path: flip(path, 0),
    "middle": lambda path: flip(path, 0.5),
    "first byte of the check sum's mark": lambda path: flip(path, (path.stat().st_size - 39.5) / path.stat().st_size),
    "last byte": lambda path: flip(path, 1),
    "half": lambda path: cut(path, 0.5),
    "without its last byte": lambda path: cut(path, 1 - 1e-9),
    "without its check sum": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "empty": lambda path: cut(path, 0),
}


@pytest.mark.parametrize("how", [how if how in ("middle", "half") else pytest.param(how, marks=SLOW) for how in SPOILT])
def test_damaged_batches_are_measured_anew_and_nothing_else(left, whole, how):
    """One in the middle, and the last one: fields of the one, clock and anchors of the other."""
    for name in ("batch-000002.npy", "batch-000007.npz"):
        SPOILT[how](left / name)
    bench, told = OpticalBench(AURORA), []
    before = sorted(left.glob("batch-*"))
    with pytest.warns(UserWarning, match="Batches 2, 7 in .* are damaged, and are measured anew"):
        record = measure_tm(
            bench, 32, out=left.parent / "tm.h5", **SETTINGS, resume=True, progress=lambda *done: told.append(done)
        )
    assert content(record) == whole[0]
    assert len(before) == 16 and told[0] == (HALF - 8, 64) and told[-1] == (64, 64)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("how", SPOILT)
def test_without_header_or_start_nothing_goes_on(left, name, how):
    SPOILT[how](left / name)
    with pytest.raises(ValueError, match=rf"{name} is damaged \(.*\): delete .* and measure again"):
        measured(left.parent / "tm.h5", resume=True)
    assert left.is_dir() and not (left.parent / "tm.h5").exists()


def test_a_batch_that_is_lost_is_measured_anew(left, whole):
    for name in ("batch-000001.npy", "batch-000003.npz"):
        (left / name).unlink()
    with pytest.warns(UserWarning, match="Batch 1 in"):
        record = measured(left.parent / "tm.h5", resume=True)
    assert content(record) == whole[0]


@pytest.mark.slow
def test_no_flipped_byte_passes(half, whole, tmp_path):
    """Any byte of any file of the journal: measured anew to the bit, or refused with a sentence."""
    rng = np.random.default_rng(5)
    refused = 0
    for number in range(60):
        out = tmp_path / f"{number}" / "tm.h5"
        journal = Path(shutil.copytree(half, parts_of(out)))
        files = sorted(journal.iterdir())
        flip(files[rng.integers(len(files))], rng.random(), int(rng.integers(8)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert content(measured(out, resume=True)) == whole[0]
            except ValueError as error:
                assert "is damaged" in str(error)
                refused += 1
        shutil.rmtree(out.parent)
    assert 0 < refused < 30


# ------------------------------------------------------------------------------------------- what a kill leaves


@pytest.mark.parametrize("resume", [pytest.param(False, marks=SLOW), True])
@pytest.mark.parametrize(
    "gone",
    [("header.json",), ("start.npz",), ("header.json", "start.npz"), ("header.json", "batch-000000.npy"), None],
    ids=["header", "start", "both", "header and a batch", "all"],
)
def test_an_old_journal_without_header_or_start_is_never_taken(left, whole, gone, resume):
    """As a removal leaves it that deletes file by file, or one by hand: another measurement finds its own matrix."""
    for path in sorted(left.iterdir()) if gone is None else [left / name for name in gone]:
        path.unlink()
    out = left.parent / "tm.h5"
    assert interrupted_header(out) is None
    assert content(measured(out, 1, resume=resume)) == whole[1]
    assert os.listdir(left.parent) == ["tm.h5"]


def test_a_journal_is_removed_by_its_name_first(tmp_path, whole, monkeypatch):
    """Killed once it has its other name: nobody takes it for a journal, and the next measurement deletes it."""
    out = tmp_path / "tm.h5"
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "rmtree", lambda *_, **__: None)
        measured(out)
    (left,) = tmp_path.glob(".tm.h5.removed-*")
    assert not Journal.there(out) and len(list(left.iterdir())) == 2 + 2 * 16
    frames = OpticalBench(AURORA)
    record = measure_tm(frames, 32, out=out, **SETTINGS, resume=True)
    assert content(record) == whole[0] and os.listdir(tmp_path) == ["tm.h5"]
    # It is finished: nothing was shown, and the clock is where the measurement left it.
    once = OpticalBench(AURORA)
    measure_tm(once, 32, out=tmp_path / "once.h5", **SETTINGS)
    assert (frames.clock.frames, frames.clock.elapsed_s) == (once.clock.frames, once.clock.elapsed_s)


def test_a_measurement_that_was_begun_over_an_old_one_goes_on(tmp_path, whole):
    """Killed before its start was stored: not the old file is given back."""
    out = tmp_path / "tm.h5"
    measured(out, exposure_s=300e-6)
    journal = interrupt(out, 0)
    for path in journal.iterdir():
        if path.name != "header.json":
            path.unlink()
    assert content(measured(out, resume=True)) == whole[0] and read_tm(out).exposure_s == 400e-6


def test_the_clock_after_a_journal_that_was_whole_already(tmp_path):
    """Killed before the result had its name: resumed, nothing is shown, and the clock goes on as in one go."""
    once, again = OpticalBench(AURORA), OpticalBench(AURORA)
    measure_tm(once, 32, out=tmp_path / "once.h5", **SETTINGS)
    interrupt(tmp_path / "tm.h5", 64)
    measure_tm(again, 32, out=tmp_path / "tm.h5", **SETTINGS, resume=True)
    assert (again.clock.frames, again.clock.elapsed_s) == (once.clock.frames, once.clock.elapsed_s)


def test_a_journal_of_an_older_opusim_is_told(left):
    header = json.loads((left / "header.json").read_bytes()[:-40])
    (left / "header.json").write_text(json.dumps({**header, "version": 1}))
    with pytest.raises(ValueError, match="begun by an older opusim, without check sums: end it with that one, or del"):
        measured(left.parent / "tm.h5", resume=True)


@pytest.mark.skipif(os.name != "posix", reason="locks of files")
def test_a_lock_on_a_journal_that_was_just_removed_is_none(tmp_path, monkeypatch):
    """Another process may rename the folder between our opening and our locking of it: then a new one is made."""
    import fcntl

    folder, real, moved = tmp_path / ".tm.h5.parts", fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        if not moved:
            moved.append(folder.rename(tmp_path / "moved"))
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    journal = Journal(tmp_path / "tm.h5", {}, resume=False)
    try:
        assert moved and folder.is_dir()
        with pytest.raises(FileExistsError, match="being written"):
            Journal(tmp_path / "tm.h5", {}, resume=False)
    finally:
        journal.close()


# ------------------------------------------------------------------------------------------- a full disk


@pytest.mark.skipif(os.name == "nt", reason="limits as on POSIX are needed")
@pytest.mark.parametrize(
    ("room", "what"),
    [(100, "the header of the measurement of tm.h5"), (5_000, "the start of the measurement of tm.h5"),
     (25_000, "the transmission matrix")],
)  # fmt: skip
def test_a_full_disk_is_told_with_the_file_and_costs_no_batch(tmp_path, whole, room, what):
    """A limit on the size of a file stands for the full disk."""
    import resource

    out, old = tmp_path / "tm.h5", signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    out.write_bytes(before := b"an older one")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        with pytest.raises(OSError, match=f"File too large; {what} cannot be written to: '.*tm.h5") as told:
            measured(out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert told.value.filename in (str(out), str(parts_of(out)))
    assert sorted(os.listdir(tmp_path)) == [".tm.h5.parts", "tm.h5"] and out.read_bytes() == before
    out.unlink()
    assert content(measured(out, resume=True)) == whole[0]


def test_without_locks_of_folders_a_file_beside_it_is_locked(tmp_path, monkeypatch):
    import filelock  # noqa: F401  (which has locks of Windows there)

    monkeypatch.setitem(sys.modules, "fcntl", None)
    one = Journal(tmp_path / "tm.h5", {"a": 1}, resume=False)
    with pytest.raises(FileExistsError, match="being written by another process"):
        Journal(tmp_path / "tm.h5", {"a": 1}, resume=False)
    one.close()
    Journal(tmp_path / "tm.h5", {"a": 1}, resume=False).remove()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
