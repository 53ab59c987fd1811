"""Temporary files: those that a kill has left go with the next write, those that somebody writes never."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from opusim.base import files
from opusim.base.files import (
    TRAILER_BYTES,
    NpyWriter,
    check_trailer,
    clear_leftovers,
    hdf5_onto,
    replacing,
    scratch_folder,
    temporary_beside,
    unwritten,
    write_with_trailer,
)

locked = pytest.mark.skipif(os.name == "nt", reason="locks of files")
limited = pytest.mark.skipif(os.name == "nt", reason="limits as on POSIX are needed")


@contextmanager
def little_room(n_bytes: int):
    """Let no file grow beyond so many bytes, which stands for a full disk."""
    import resource

    old, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# ------------------------------------------------------------------------------------------- leftovers


@locked
def test_the_next_write_removes_what_nobody_writes(tmp_path):
    for name in (".a.0123abcd.h5", ".a.ffffffff.h5"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".a.89abcdef.h5").touch(mode=0o400)
    with replacing(tmp_path / "a.h5") as temporary:
        assert names(tmp_path) == [temporary.name]
        temporary.write_bytes(b"whole")
    assert names(tmp_path) == ["a.h5"] and (tmp_path / "a.h5").read_bytes() == b"whole"


@locked
def test_files_of_other_names_stay(tmp_path):
    others = [
        "a.0123abcd.h5", ".a.0123abc.h5", ".a.0123abcde.h5", ".a.0123ABCD.h5", ".a.0123abcg.h5", ".a.0123abcd.h6",
        ".b.0123abcd.h5", ".a.b.0123abcd.h5", ".ab.0123abcd.h5", ".a.0123abcd", ".a.h5.lock",
    ]  # fmt: skip
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".a.01234567.h5").mkdir()
    with replacing(tmp_path / "a.h5"):
        pass
    clear_leftovers(tmp_path / "a.h5", alone=True)
    assert names(tmp_path) == sorted([*others, ".a.01234567.h5", "a.h5"])


@locked
def test_what_another_writer_is_at_stays(tmp_path):
    """Of another thread too; two writers of one file do not disturb each other, and the last one wins."""
    target = tmp_path / "a.txt"
    with replacing(target) as first:
        first.write_text("first")
        with replacing(target) as second:
            assert names(tmp_path) == sorted([first.name, second.name])
            second.write_text("second")
        assert target.read_text() == "second" and first.exists()
        clear_leftovers(target)
        assert first.exists()
    assert target.read_text() == "first" and names(tmp_path) == ["a.txt"]


WRITER = """
    import sys, time
    from pathlib import Path
    from opusim.base.files import replacing
    with replacing(Path(sys.argv[1])) as temporary:
        temporary.write_text("half")
        print(temporary.name, flush=True)
        time.sleep(60)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@locked
@pytest.mark.system
def test_of_a_process_as_long_as_it_lives(tmp_path):
    target = tmp_path / "a.txt"
    with start(WRITER, target) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        with replacing(target) as temporary:
            assert names(tmp_path) == sorted([name, temporary.name])
        assert names(tmp_path) == sorted([name, "a.txt"])
        process.kill()
        process.wait()
    assert names(tmp_path) == sorted([name, "a.txt"])
    with replacing(target):
        pass
    assert names(tmp_path) == ["a.txt"]


RACER = """
    import sys, time
    from pathlib import Path
    from opusim.base.files import replacing
    target, me, until = Path(sys.argv[1]), sys.argv[2] * 1000, time.monotonic() + 2
    print("ready", flush=True)
    number = 0
    while time.monotonic() < until:
        with replacing(target) as temporary:
            temporary.write_text(me)
        number += 1
    print(number)
"""


@locked
@pytest.mark.system
@pytest.mark.slow
def test_many_writers_never_take_each_others_files_for_leftovers(tmp_path):
    """Each write of four processes at once comes to its end; every one looks for leftovers of the others."""
    racers = [start(RACER, tmp_path / "a.txt", name) for name in "abcd"]
    told = [process.communicate(timeout=120)[0].split() for process in racers]
    assert all(process.returncode == 0 for process in racers)
    assert all(int(number) > 20 for _, number in told)
    assert names(tmp_path) == ["a.txt"] and set((tmp_path / "a.txt").read_text()) < set("abcd")


@locked
def test_a_name_that_was_taken_for_a_leftover_is_given_up(tmp_path, monkeypatch):
    """Between the making of a file and its lock another process may remove it: another one is made."""
    import fcntl

    target, taken = tmp_path / "a.txt", []

    class Thief:
        LOCK_EX, LOCK_NB, LOCK_UN = fcntl.LOCK_EX, fcntl.LOCK_NB, fcntl.LOCK_UN

        @staticmethod
        def flock(handle: int, how: int) -> None:
            if how != fcntl.LOCK_UN and len(taken) < 3:
                (only,) = tmp_path.iterdir()
                only.unlink()
                taken.append(only.name)
            fcntl.flock(handle, how)

    monkeypatch.setattr(files, "fcntl", Thief)
    with replacing(target) as temporary:
        assert len(taken) == 3 and names(tmp_path) == [temporary.name] and temporary.name not in taken
        temporary.write_text("whole")
    assert target.read_text() == "whole"


def test_without_locks_files_are_written_and_nothing_is_removed(tmp_path, monkeypatch):
    """As on Windows."""
    monkeypatch.setattr(files, "fcntl", None)
    (tmp_path / ".a.0123abcd.txt").touch()
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    with scratch_folder("opusim-test-") as folder:
        assert folder.is_dir()
    assert names(tmp_path) == [".a.0123abcd.txt", "a.txt"] and not folder.exists()
    clear_leftovers(tmp_path / "a.txt", alone=True)
    assert names(tmp_path) == ["a.txt"]


@locked
def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    import fcntl

    fake = type("fcntl", (), {"LOCK_EX": fcntl.LOCK_EX, "LOCK_NB": fcntl.LOCK_NB, "LOCK_UN": fcntl.LOCK_UN})
    fake.flock = staticmethod(refuse)
    monkeypatch.setattr(files, "fcntl", fake)
    (tmp_path / ".a.0123abcd.txt").touch()
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == [".a.0123abcd.txt", "a.txt"]


@locked
def test_the_file_is_not_locked_when_it_has_its_name(tmp_path):
    """Nor in a process that was forked while it was written: other programs may lock what they read."""
    import fcntl

    target = tmp_path / "a.txt"
    with replacing(target) as temporary:
        temporary.write_text("whole")
        kept = [os.dup(int(name)) for name in os.listdir("/proc/self/fd") if _leads_to(name, temporary)] if (
            os.path.isdir("/proc/self/fd")
        ) else []  # fmt: skip
    with target.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for handle in kept:
        os.close(handle)


def _leads_to(name: str, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{name}") == str(path)
    except OSError:
        return False


@locked
def test_scratch_folders_of_killed_processes_go(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "notes-dead").mkdir()
    (tmp_path / "notes-dead" / "0-1").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "notes-file").touch()
    with scratch_folder("notes-") as first:
        with scratch_folder("notes-") as second:
            assert names(tmp_path) == sorted([first.name, second.name, "notes-file", "other"])
        assert first.is_dir() and not second.exists()
    assert names(tmp_path) == ["notes-file", "other"]


def test_nothing_of_a_probe_stays(tmp_path):
    (tmp_path / ".run.0123abcd.h5").touch()
    with temporary_beside(tmp_path / "run.h5") as temporary:
        assert temporary.suffix == ".h5" and temporary.exists()
    assert names(tmp_path) == [] or os.name == "nt"
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*no/run\.h5'"):
        with temporary_beside(tmp_path / "no" / "run.h5"):
            pass


def test_threads_replace_one_file(tmp_path):
    target, failed = tmp_path / "a.txt", []

    def write(text: str) -> None:
        try:
            for _ in range(50):
                with replacing(target) as temporary:
                    temporary.write_text(text)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(name * 100,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and names(tmp_path) == ["a.txt"] and len(set(target.read_text())) == 1


def test_looking_for_leftovers_is_quick(tmp_path):
    """In a folder of many files it is a small part of a write that reaches the disk."""
    for number in range(500):
        (tmp_path / f"file-{number}").touch()
    best = float("inf")
    for _ in range(5):
        start_s = time.perf_counter()
        clear_leftovers(tmp_path / "a.h5")
        best = min(best, time.perf_counter() - start_s)
    assert best < 0.02


# ------------------------------------------------------------------------------------------- a full disk


@limited
def test_replacing_names_the_file_that_the_user_has_named(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with little_room(1000), pytest.raises(OSError, match=r"File too large; the thing cannot be .*'.*/a\.txt'") as told:
        with replacing(target, "the thing") as temporary:
            temporary.write_bytes(bytes(5000))
    assert told.value.filename == str(target) and told.value.errno == errno.EFBIG
    assert target.read_text() == "old" and names(tmp_path) == ["a.txt"]
    # What a block has read is not ours to speak of.
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*other'"):
        with replacing(target, "the thing"):
            (tmp_path / "other").read_text()


def test_what_numpy_says_of_a_full_disk_becomes_a_sentence(tmp_path):
    """An OSError without a number or a cause."""
    error = unwritten(OSError("16384 requested and 3568 written"), tmp_path / "a.npy", "the array")
    assert str(error) == (
        f"[Errno 5] the disk is full or the file system refuses it; the array cannot be written to: '{tmp_path}/a.npy'"
    )


@limited
def test_rows_on_a_full_disk(tmp_path):
    target = tmp_path / "out.npy"
    rows = np.ones((100, 100))
    for room in (50, 20_000, 80_100):
        with little_room(room), pytest.raises(OSError, match=r"the array cannot be written to: '.*/out\.npy'"):
            with (
                replacing(target) as temporary,
                NpyWriter(temporary, (200, 100), rows.dtype, named=target) as writer,
            ):
                writer.append(rows)
                writer.append(rows)
        assert names(tmp_path) == []
    with NpyWriter(target, (200, 100), rows.dtype) as writer:
        writer.append(rows)
        writer.append(rows[:0])
        writer.append(rows[::-1].T)
    assert np.array_equal(np.load(target), np.ones((200, 100)))


@limited
@pytest.mark.parametrize("room", [0, 700, 5_000, 100_000, 400_000])
def test_a_large_hdf5_file_on_a_full_disk(tmp_path, room):
    """HDF5 itself may end the process then; it must not see it."""
    with little_room(room), pytest.raises(OSError, match="File too large"):
        with hdf5_onto(tmp_path / "a.h5") as file:
            data = file.create_dataset("tm", (500, 128), np.complex64, chunks=(64, 128))
            for first in range(0, 500, 50):
                data[first : first + 50] = np.ones((50, 128), np.complex64)
            data[3:70] = data[100:167]
            file["more"] = np.arange(1000)


def test_a_large_hdf5_file_is_what_hdf5_writes_by_itself(tmp_path):
    import h5py

    numbers = np.random.default_rng(0).normal(size=(500, 128))

    def fill(file: h5py.File) -> None:
        data = file.create_dataset("tm", (500, 128), np.float64, chunks=(64, 128))
        for first in range(0, 500, 50):
            data[first : first + 50] = numbers[first : first + 50]
        file.attrs["name"] = "x" * 1000

    with hdf5_onto(tmp_path / "a.h5") as file:
        fill(file)
    with h5py.File(tmp_path / "b.h5", "w", libver="v108") as file:
        fill(file)
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["tm"][()], numbers) and file.attrs["name"] == "x" * 1000
    assert (tmp_path / "a.h5").stat().st_size == (tmp_path / "b.h5").stat().st_size


def test_plain_bytes_with_a_trailer(tmp_path):
    path = tmp_path / "a.bin"
    write_with_trailer(path, [b"one", memoryview(bytes(3_000_000)), b""])
    content = path.read_bytes()
    assert content[:-TRAILER_BYTES] == b"one" + bytes(3_000_000) and check_trailer(path) is True
    for place in (0, 2_999_999, len(content) - 40, len(content) - 20, len(content) - 1):
        spoilt = bytearray(content)
        spoilt[place] ^= 1
        path.write_bytes(spoilt)
        assert not check_trailer(path)
    write_with_trailer(path, [])
    assert path.stat().st_size == TRAILER_BYTES and check_trailer(path) is True
