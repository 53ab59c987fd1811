"""The journal of a long measurement: each batch on the disk as soon as it is taken, safe against a kill at any point.

HDF5 files do not survive a kill in the middle of a write. So batches go into plain files beside the result, in the
folder ``.NAME.parts``: each is written under a temporary name, brought to the disk, and renamed. A batch counts once
its second file, which carries the bench's clock, has its name. The result is made from them at the end.

Each file ends in the trailer of `opusim.base.files`, and is compared with it before it is used. A batch that is not as
it was written is measured anew; without header or start nothing is worth keeping, so they are refused.

A journal is there as long as its header and its start are. What lies about without them is deleted before a new header
is written, and a journal that has done its work gets another name before it is deleted: no kill leaves a part of one
that a later measurement could take for its own.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from opusim.base.file_system import only_writer
from opusim.base.files import TRAILER_BYTES, check_trailer, unwritten, write_with_trailer
from opusim.base.warn import warn_outside
from opusim.bench.protocol import Clocked, Resumable, has
from opusim.bench.protocol import elapsed_s as elapsed_s_of
from opusim.device.versions import told_version

__all__ = ["Journal", "clear_removed", "clock_of", "interrupted_header", "resume_clock"]

#: Version of the header; 1, up to opusim 0.1.1, had no check sums.
VERSION = 2
_HEADER, _START, _TEMPORARY = "header.json", "start.npz", "unfinished"


class _DamagedError(ValueError):
    """A file of a journal that is not as it was written."""


def _folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.parts")


def interrupted_header(out: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the header of an interrupted measurement of `out`, or None if there is none to go on with.

    Raises
    ------
    ValueError
        If the header is damaged, or of another version.
    """
    folder = _folder(Path(out))
    if not (folder / _START).exists() or not (folder / _HEADER).exists():
        return None
    return _read_header(folder / _HEADER)


def clock_of(bench: Any) -> tuple[int, float]:
    """Return (frames, elapsed_s) of the bench's clock; zeros for a bench that is not `Clocked`."""
    return (int(bench.clock.frames) if has(bench, Clocked) else 0), elapsed_s_of(bench)


def resume_clock(bench: Any, frames: int, elapsed_s: float) -> None:
    """Put the clock of a simulated bench to where a measurement stood, so that it meets the same noise and drift.

    A bench that is not `Resumable`, as in a laboratory, is left alone: its time has gone on by itself. So is
    a clock that is already further: frames of one bench never share noise.

    Parameters
    ----------
    bench : Bench
        The bench.
    frames : int
        Frames taken when the last batch was stored.
    elapsed_s : float
        Device time then, in seconds.
    """
    if has(bench, Clocked, Resumable) and bench.clock.frames < frames:
        bench.advance_to(frames, max(elapsed_s, float(bench.clock.elapsed_s)))


def clear_removed(out: str | os.PathLike[str]) -> None:
    """Delete what is left of journals of `out` whose removal was cut short by a kill."""
    out = Path(out)
    begin = _removed(out, "")
    try:
        with os.scandir(out.parent) as entries:
            left = [entry.path for entry in entries if entry.name.startswith(begin)]
    except OSError:
        return
    for path in left:
        shutil.rmtree(path, ignore_errors=True)


def _removed(out: Path, token: str) -> str:
    """Return the name of a journal that is being deleted, which no reader looks for."""
    return f".{out.name}.removed-{token}"


class Journal:
    """Batches of one measurement on the disk.

    Parameters
    ----------
    out : path-like
        The file that the measurement makes; the journal lies beside it.
    header : dict
        Everything that sets what is measured, of JSON's types. A journal is only gone on with under the same header.
    resume : bool
        Whether to go on with a journal that is there.
    device : Device, optional
        The device of now: the sentence about a journal of another one knows versions of its preset.

    Raises
    ------
    FileExistsError
        If there is a journal and `resume` is False, or another process is writing it.
    ValueError
        If the header or the start of the journal is damaged, or it belongs to another measurement.
    OSError
        If the journal cannot be written.
    """

    def __init__(
        self, out: str | os.PathLike[str], header: dict[str, Any], *, resume: bool, device: Any = None
    ) -> None:
        self._out = out = Path(out)
        self._device = device
        self.folder = _folder(out)
        # As JSON gives it back: tuples become lists.
        self.header = json.loads(json.dumps({**header, "version": VERSION}))
        if not out.parent.is_dir():
            raise FileNotFoundError(f"out is {str(out)!r}, but there is no folder {out.parent}.")
        with self._writing("journal"):
            self._lock = _locked(self.folder)
        try:
            self._begin(resume)
        except BaseException:
            self.close()
            raise

    def _begin(self, resume: bool) -> None:
        """Check the journal that is there, or begin one."""
        header, start = self.folder / _HEADER, self.folder / _START
        if header.exists() and start.exists():
            if not resume:
                raise FileExistsError(
                    f"{self.folder} holds an interrupted measurement of {self._out}: go on with resume=True, or "
                    "delete it."
                )
            self._check_header(header)
            self.start()
            (self.folder / _TEMPORARY).unlink(missing_ok=True)
            return
        # Without both there is nothing to go on with. The header goes first: what is left by a kill is none then.
        with self._writing("journal"):
            header.unlink(missing_ok=True)
            for path in self.folder.iterdir():
                path.unlink()
            _names_to_disk(self.folder)
        self._write(header, "header", [json.dumps(self.header).encode()])

    @staticmethod
    def there(out: str | os.PathLike[str]) -> bool:
        """Whether a measurement of this file was begun and did not come to its end, however far it came."""
        return _folder(Path(out)).is_dir()

    def _check_header(self, path: Path) -> None:
        stored = _read_header(path)
        for name in sorted({*stored, *self.header}):
            if stored.get(name) != self.header.get(name):
                raise ValueError(
                    f"{self.folder} holds a measurement with {name} = {stored.get(name)!r}, but now {name} is "
                    f"{self.header.get(name)!r}: go on with the former, or delete the folder."
                    + (
                        f" {told_version(str(stored.get(name)), self._device)}" if name == "device_fingerprint" else ""
                    ).rstrip()
                )

    # ------------------------------------------------------------------ the start

    def write_start(self, **arrays: Any) -> None:
        """Store what is measured once, before the batches: arrays and numbers."""
        self._write(self.folder / _START, "start", _npz(arrays))

    def start(self) -> dict[str, np.ndarray] | None:
        """Return what `write_start` stored, or None; a ValueError says that it is damaged."""
        path = self.folder / _START
        return _read_npz(path) if path.exists() else None

    # ------------------------------------------------------------------ batches

    def whole_batches(self, n: int) -> set[int]:
        """Return which of so many batches are there and as they were written; the others are deleted.

        Warns
        -----
        UserWarning
            If one was damaged.
        """
        whole, damaged = set(), []
        for number in range(n):
            rows, rest = self._names(number)
            try:
                if rest.exists():
                    _check(rows)
                    _read_npz(rest)
                    whole.add(number)
                    continue
            except _DamagedError:
                damaged.append(number)
            # The second one first: without it the batch does not count.
            for path in (rest, rows):
                path.unlink(missing_ok=True)
        if damaged:
            told = ", ".join(map(str, damaged))
            several = len(damaged) > 1
            warn_outside(
                f"Batch{'es' if several else ''} {told} in {self.folder} {'are' if several else 'is'} damaged, and "
                f"{'are' if several else 'is'} measured anew."
            )
        return whole

    def write_batch(self, number: int, fields: np.ndarray, **arrays: Any) -> None:
        """Store a batch: its fields, complex64 (units, pixels), then everything else about it."""
        rows, rest = self._names(number)
        self._write(rows, f"batch {number}", _npy(fields))
        self._write(rest, f"batch {number}", _npz(arrays))

    def fields(self, number: int) -> np.ndarray:
        """Return the fields of a batch, on the disk; a ValueError says that they are damaged."""
        path = self._names(number)[0]
        _check(path)
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from error

    def rest(self, number: int) -> dict[str, np.ndarray]:
        """Return everything else about a batch; a ValueError says that it is damaged."""
        return _read_npz(self._names(number)[1])

    def close(self) -> None:
        """Let go of the journal, and leave it where it is."""
        self._lock.close()

    def remove(self) -> None:
        """Delete the journal: it is there, or it is not, wherever a kill cuts this short."""
        removed = self.folder.with_name(_removed(self._out, secrets.token_hex(4)))
        os.replace(self.folder, removed)
        _names_to_disk(removed.parent)
        self.close()
        # A name that cannot be deleted now, of a file that another program holds open, is so by the next measurement.
        shutil.rmtree(removed, ignore_errors=True)

    def _names(self, number: int) -> tuple[Path, Path]:
        return self.folder / f"batch-{number:06d}.npy", self.folder / f"batch-{number:06d}.npz"

    def _write(self, path: Path, what: str, parts: Iterable[bytes | memoryview]) -> None:
        # One name is enough for all: the folder is locked, and what a kill leaves is written over.
        temporary = self.folder / _TEMPORARY
        with self._writing(what):
            try:
                write_with_trailer(temporary, parts)
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _names_to_disk(self.folder)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Let an OSError say what cannot be written, and where."""
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise unwritten(error, self.folder, f"the {what} of the measurement of {self._out.name}") from error


def _npy(array: np.ndarray) -> list[bytes | memoryview]:
    """Return the bytes of a .npy file, of the array's own memory: numpy's writing says no cause on a full disk."""
    begin = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(begin, header)
    return [begin.getvalue(), np.ascontiguousarray(array).data.cast("B")]


def _npz(arrays: dict[str, Any]) -> list[bytes | memoryview]:
    """Return the bytes of a .npz file, made in memory: a zip file that cannot be closed says more than one error."""
    image = io.BytesIO()
    np.savez(image, **arrays)
    return [image.getbuffer()]


def _check(path: Path) -> None:
    """Refuse a file that is not as it was written."""
    try:
        whole = check_trailer(path)
    except OSError as error:
        raise _damaged(path, error.strerror or "it cannot be read") from error
    if not whole:
        raise _damaged(path, "its check sum does not fit")


def _damaged(path: Path, why: object) -> _DamagedError:
    if path.name in (_HEADER, _START):
        return _DamagedError(f"{path} is damaged ({why}): delete {path.parent} and measure again.")
    return _DamagedError(f"{path} is damaged ({why}): resume=True measures this batch anew.")


def _content(path: Path) -> bytes:
    _check(path)
    return path.read_bytes()[:-TRAILER_BYTES]


def _read_header(path: Path) -> dict[str, Any]:
    if _is_of_version_1(path):
        raise ValueError(
            f"{path.parent} was begun by an older opusim, without check sums: end it with that one, or delete the "
            "folder and measure again."
        )
    try:
        stored = json.loads(_content(path).decode())
        if not isinstance(stored, dict):
            raise ValueError("not an object")
    except _DamagedError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if stored.get("version") != VERSION:
        raise ValueError(
            f"{path.parent} was begun by another version of opusim: end it with that one, or delete the folder and "
            "measure again."
        )
    return stored


def _is_of_version_1(path: Path) -> bool:
    try:
        stored = json.loads(path.read_bytes())
        return isinstance(stored, dict) and stored.get("version") == 1
    except (OSError, ValueError, RecursionError):
        return False


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    content = _content(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _names_to_disk(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _locked(folder: Path) -> ExitStack:
    """Make a folder, and return what locks it until it is closed or the process ends."""
    held = ExitStack()
    taken = f"{folder} is being written by another process: let it end first."
    try:
        import fcntl
    except ImportError:  # Windows, where no folder can be locked: a file beside it is
        try:
            held.enter_context(only_writer(folder, taken))
        except RuntimeError:
            raise FileExistsError(taken) from None
        folder.mkdir(exist_ok=True)
        return held
    while True:
        folder.mkdir(exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have given it another name, to delete it.
            if os.path.samestat(os.fstat(handle), os.stat(folder)):
                held.callback(os.close, handle)
                return held
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(handle)
            raise FileExistsError(taken) from None
        except OSError:  # a file system without locks
            os.close(handle)
            return held
        os.close(handle)
