"""Locks and renames, on this system and as other systems do them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest

from opusim.base import file_system
from opusim.base.file_system import only_writer, replace_file
from opusim.base.files import replacing

TAKEN = "Another one writes it."


def test_one_process_and_one_thread_at_a_time(tmp_path):
    path = tmp_path / "file"
    program = (
        "import sys; from opusim.base.file_system import only_writer\nwith only_writer(sys.argv[1], 'taken'): pass"
    )
    with only_writer(path, TAKEN):
        with pytest.raises(RuntimeError, match=TAKEN), only_writer(path, TAKEN):
            raise AssertionError
        found = []

        def other() -> None:
            try:
                with only_writer(path, TAKEN):
                    found.append("no")
            except RuntimeError as error:
                found.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert found == [TAKEN]
        run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
        assert run.returncode == 1 and "RuntimeError: taken" in run.stderr
    with only_writer(path, TAKEN), only_writer(tmp_path / "another", TAKEN):
        assert not path.exists()
    assert subprocess.run([sys.executable, "-c", program, path]).returncode == 0


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(KeyError), only_writer(tmp_path / "file", TAKEN):
        raise KeyError
    with only_writer(tmp_path / "file", TAKEN):
        pass


@pytest.mark.parametrize("kind", ["no locks there", "no such call", "no locks of this Python"])
def test_where_there_are_no_locks_it_is_told(tmp_path, monkeypatch, kind):
    def fail(self: object, timeout: float) -> None:
        raise OSError(errno.ENOLCK, "No locks available") if kind == "no locks there" else NotImplementedError

    if kind == "no locks of this Python":
        monkeypatch.setattr(filelock, "FileLock", filelock.SoftFileLock)
    else:
        monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    with pytest.warns(UserWarning, match="No lock can be had in .*: see to it that nothing else writes file"):
        with only_writer(tmp_path / "file", TAKEN):
            (tmp_path / "file").touch()
    assert [path.name for path in tmp_path.iterdir() if "lock" not in path.name] == ["file"]


def test_other_errors_of_a_lock_are_passed_on(tmp_path, monkeypatch):
    def fail(self: object, timeout: float) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    with pytest.raises(OSError, match="No space left"), only_writer(tmp_path / "file", TAKEN):
        raise AssertionError


# ---------------------------------------------------------------- as on Windows


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch):
    """As on Windows while a reader has the target open, for so many tries."""
    tries = [0]
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        tries[0] -= 1
        if tries[0] >= 0:
            raise PermissionError(errno.EACCES, "Access is denied", str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(file_system, "_LOOK_S", 0.001)
    monkeypatch.setattr(file_system, "_PATIENCE_S", 0.05)
    return tries


def test_a_reader_that_closes_soon_is_waited_for(tmp_path, held, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    (tmp_path / "file").write_text("old")
    held[0] = 3
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "new" and len(list(tmp_path.iterdir())) == 1


def test_a_reader_that_stays_is_told(tmp_path, held, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    (tmp_path / "file").write_text("old")
    held[0] = 10**9
    begin = time.monotonic()
    with pytest.raises(PermissionError, match="Another program has the file open, and Windows lets nobody") as error:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("new")
    assert error.value.filename.endswith("file") and time.monotonic() - begin < 5
    assert (tmp_path / "file").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_elsewhere_a_file_that_may_not_be_replaced_is_told_at_once(tmp_path, held):
    (tmp_path / "new").touch()
    held[0] = 1
    with pytest.raises(PermissionError, match="Access is denied"):
        replace_file(tmp_path / "new", tmp_path / "file")
    replace_file(tmp_path / "new", tmp_path / "file")
    assert (tmp_path / "file").exists()
