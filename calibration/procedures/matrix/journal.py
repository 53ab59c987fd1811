"""The journal of a long measurement: each batch on the disk as soon as it is taken, safe against a kill at any point.

HDF5 files do not survive a kill in the middle of a write. So batches go into plain files beside the result, in the
folder ``.NAME.parts``: each is written under a temporary name, brought to the disk, and renamed. A batch counts once
its second file, which carries the bench's clock, has its name. The result is made from them at the end.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from opusim.base.files import open_npy, replacing
from opusim.bench.protocol import Clocked, Resumable, has
from opusim.bench.protocol import elapsed_s as elapsed_s_of

__all__ = ["Journal", "clock_of", "interrupted_header", "resume_clock"]

_HEADER, _START = "header.json", "start.npz"


def _folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.parts")


def interrupted_header(out: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the header of an interrupted measurement of `out`, or None if there is none to go on with.

    Raises
    ------
    ValueError
        If the header is damaged.
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

    Raises
    ------
    FileExistsError
        If there is a journal and `resume` is False, or another process is writing it.
    ValueError
        If the journal is damaged or belongs to another measurement.
    """

    def __init__(self, out: str | os.PathLike[str], header: dict[str, Any], *, resume: bool) -> None:
        out = Path(out)
        self.folder = _folder(out)
        # As JSON gives it back: tuples become lists.
        self.header = json.loads(json.dumps(header))
        if not out.parent.is_dir():
            raise FileNotFoundError(f"out is {str(out)!r}, but there is no folder {out.parent}.")
        self.folder.mkdir(exist_ok=True)
        self._lock = _locked(self.folder)
        try:
            self._begin(out, resume)
        except BaseException:
            self.close()
            raise

    def _begin(self, out: Path, resume: bool) -> None:
        """Check the header that is there, or write one."""
        path = self.folder / _HEADER
        if path.exists() and resume:
            self._check_header(path)
            return
        if (self.folder / _START).exists():
            raise FileExistsError(
                f"{self.folder} holds an interrupted measurement of {out}: go on with resume=True, or delete it."
            )
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.header), encoding="utf-8")
            _to_disk(temporary)

    @staticmethod
    def there(out: str | os.PathLike[str]) -> bool:
        """Whether there is a journal for this file."""
        return (_folder(Path(out)) / _HEADER).exists()

    def _check_header(self, path: Path) -> None:
        stored = _read_header(path)
        for name in sorted({*stored, *self.header}):
            if stored.get(name) != self.header.get(name):
                raise ValueError(
                    f"{self.folder} holds a measurement with {name} = {stored.get(name)!r}, but now {name} is "
                    f"{self.header.get(name)!r}: go on with the former, or delete the folder."
                )

    # ------------------------------------------------------------------ the start

    def write_start(self, **arrays: Any) -> None:
        """Store what is measured once, before the batches: arrays and numbers."""
        self._write_npz(self.folder / _START, arrays)

    def start(self) -> dict[str, np.ndarray] | None:
        """Return what `write_start` stored, or None."""
        path = self.folder / _START
        return _read_npz(path) if path.exists() else None

    # ------------------------------------------------------------------ batches

    @property
    def n_batches(self) -> int:
        """Batches that are whole: all before the first one that lacks its second file."""
        number = 0
        while self._names(number)[1].exists():
            number += 1
        return number

    def write_batch(self, number: int, fields: np.ndarray, **arrays: Any) -> None:
        """Store a batch: its fields, complex64 (units, pixels), then everything else about it."""
        rows, rest = self._names(number)
        with replacing(rows) as temporary:
            np.save(temporary, fields)
            _to_disk(temporary)
        self._write_npz(rest, arrays)

    def fields(self, number: int) -> np.ndarray:
        """Return the fields of a batch, on the disk."""
        return open_npy(self._names(number)[0])

    def rest(self, number: int) -> dict[str, np.ndarray]:
        """Return everything else about a batch."""
        return _read_npz(self._names(number)[1])

    def close(self) -> None:
        """Let go of the journal, and leave it where it is."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        """Delete the journal."""
        self.close()
        shutil.rmtree(self.folder)

    def _names(self, number: int) -> tuple[Path, Path]:
        return self.folder / f"batch-{number:06d}.npy", self.folder / f"batch-{number:06d}.npz"

    def _write_npz(self, path: Path, arrays: dict[str, Any]) -> None:
        with replacing(path) as temporary:
            np.savez(temporary, **arrays)
            _to_disk(temporary)
        _to_disk(self.folder)


def _read_header(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete {path.parent} and measure again.") from error
    return stored


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}): delete {path.parent} and measure again.") from error


def _to_disk(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _locked(folder: Path) -> int | None:
    """Return a handle that locks the folder until it is closed or the process ends, or None without such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise FileExistsError(f"{folder} is being written by another process: let it end first.") from None
    return handle
