"""Files: written under a temporary name and renamed when whole; read without ever running a pickle.

An HDF5 file of ours ends in a trailer of 40 bytes, behind what HDF5 reads: a mark, the number of bytes before it (8
bytes), their CRC-32 (4 bytes; both the lowest byte first), and a second mark. Other programs read it as any other file.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

import opusim

from .file_system import replace_file
from .hdf5_content import FileError, attribute, check_size, has_attribute, member, read_array
from .plain_files import check_plain, refuse_other_target
from .warn import warn_outside

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

if TYPE_CHECKING:
    import h5py

__all__ = [
    "HDF5_SIGNATURE", "TRAILER_BYTES", "Hdf5Kind", "NpyWriter", "append_trailer", "check_file", "check_trailer",
    "clear_leftovers", "copy_hdf5", "format_of", "hdf5_onto", "open_hdf5", "open_npy", "read_npz", "replacing",
    "rescue_hdf5", "scratch_folder", "stamp_hdf5", "state_of", "tell_unchecked", "temporary_beside", "unwritten",
    "write_with_trailer", "writing_hdf5",
]  # fmt: skip

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# What h5py raises on a damaged file, and what makes use of such content.
_DAMAGE = (OSError, RuntimeError, KeyError, TypeError, AttributeError, ValueError, IndexError, MemoryError)

# CRC-32, because it is against damage, not against people, and is the fastest in the standard library: seven times
# SHA-256 where that has instructions of its own, and more elsewhere.
_TRAILER = struct.Struct("<16sQI12s")
_MARK, _END = b"opusim checksum\n", b"opusim end.\n"
_PART_BYTES = 1 << 18
#: Bytes of a trailer.
TRAILER_BYTES = _TRAILER.size
# In the name of a temporary file.
_TOKEN_BYTES = 4
# Files that were found whole, by path, with what shows that they are still the same: a file is read for its check once
# in a process. And those that were told to have no trailer.
_whole: dict[str, tuple[int, ...]] = {}
_told: dict[str, tuple[int, ...]] = {}
_REMEMBERED = 1000
# A disk or a network is hardly slower.
_SLOWEST_BYTES_PER_S = 20e6
# Where the superblock of HDF5's version 2 holds its status, and those of the versions the length of the file.
_STATUS_BYTE, _HEAD_BYTES = 11, 52
_LENGTHS = {b"\0": slice(40, 48), b"\1": slice(44, 52), b"\2": slice(28, 36), b"\3": slice(28, 36)}
# Two changes of a file within one tick of the system's clock leave the same times. Linux counts in up to 10 ms; where
# times are whole milliseconds the file system counts in up to two seconds.
_TICK_NS, _COARSE_TICK_NS = 20_000_000, 2_000_000_000
_RESCUED = "the rescued file"
#: Why a file of ours may have no check sum.
OLD, CHANGED = "an opusim before 0.1.1 wrote it", "another program changed it"


@contextmanager
def replacing(path: str | os.PathLike[str], what: str | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an error.

    Parameters
    ----------
    path : str or path-like
        The file to be written, or to be replaced.
    what : str, optional
        What it holds, for an OSError of a write (`unwritten`) that names `path`, not the temporary file. By default
        an error of the block is passed on.

    Yields
    ------
    pathlib.Path
        An empty file in the same folder, whose name begins with a dot and ends as `path` does. It is
        removed if the block raises, so a reader finds the old file or the whole new one. Of a link the file that it
        leads to is replaced, and who may read a file stays as it was.

    Raises
    ------
    OSError
        If the folder is not there or cannot be written, or `path` is a folder.
    ValueError
        If `path` is a pipe, a socket or a device, which a file would take the place of.

    Notes
    -----
    A process that is killed leaves its temporary file. It is locked as long as somebody writes it, so that the next
    writer of `path` tells and removes one that nobody does (`clear_leftovers`).
    """
    target = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    refuse_other_target(target)
    temporary: Path | None = None
    try:
        with temporary_beside(target) as temporary:
            if target.is_file():
                shutil.copymode(target, temporary)
            yield temporary
            replace_file(temporary, target)
    except OSError as error:
        # Of another file, such as one that the block reads, it is not for us to say something.
        if what is None or error.filename not in (None, *map(str, (temporary, target))):
            raise
        raise unwritten(error, Path(path), what) from error


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Give a new empty file beside another one, which is gone or has another name when the block ends.

    Parameters
    ----------
    target : pathlib.Path
        The other one; it need not be there. What killed processes have left beside it is removed.

    Yields
    ------
    pathlib.Path
        The file. As long as the block lasts it is locked: no other process takes it for a leftover.

    Raises
    ------
    OSError
        If the folder is not there or cannot be written. It names `target`.
    """
    clear_leftovers(target)
    try:
        temporary, handle = _new_temporary(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error
    try:
        yield temporary
    finally:
        try:
            temporary.unlink(missing_ok=True)
        finally:
            _let_go(handle)


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Give a new folder among the temporary files of this machine; it is deleted when the block ends.

    Parameters
    ----------
    prefix : str
        How its name begins. Folders of that prefix that killed processes of this user have left are deleted.

    Yields
    ------
    pathlib.Path
        The folder.
    """
    if fcntl is None:
        with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    with os.scandir(tempfile.gettempdir()) as entries:
        left = [Path(e.path) for e in entries if e.name.startswith(prefix) and e.is_dir(follow_symlinks=False)]
    for folder in left:
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                _remove_unlocked(folder)
    folder, handle = _new_folder(prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _let_go(handle)


def _new_folder(prefix: str) -> tuple[Path, int]:
    """Return a new folder and the handle that locks it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # taken for a leftover before it was locked
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.lstat(folder)):
                return folder, handle
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:  # a file system without locks
            return folder, handle
        os.close(handle)


def clear_leftovers(target: Path, *, alone: bool = False) -> None:
    """Remove the temporary files of a file that killed processes have left.

    Parameters
    ----------
    target : pathlib.Path
        The file that they were to become.
    alone : bool, optional
        Whether the caller has made sure that nobody else writes it. By default a temporary file is only removed if it
        can be locked; where there are no locks of files, as on Windows, none is.
    """
    begin, end = f".{target.stem}.", target.suffix
    try:
        with os.scandir(target.parent) as entries:
            found = [e.name for e in entries if e.name.startswith(begin) and e.name.endswith(end) and not e.is_dir()]
    except OSError:
        return
    for name in found:
        token = name[len(begin) : len(name) - len(end)]
        if len(token) != 2 * _TOKEN_BYTES or not set(token) <= set("0123456789abcdef"):
            continue
        path = target.with_name(name)
        with suppress(OSError):
            if alone:
                path.unlink(missing_ok=True)
            else:
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    """Remove a file or folder that no process has locked; OSError if one has."""
    if fcntl is None:
        return
    flags = os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        handle = os.open(path, os.O_RDWR | flags)  # a network's file system locks nothing that is open for reading
    except (PermissionError, IsADirectoryError):
        handle = os.open(path, os.O_RDONLY | flags)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.lstat(path)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
    finally:
        _let_go(handle)


def _new_temporary(target: Path) -> tuple[Path, int | None]:
    """Return a new file and the handle that locks it, None where there are no locks."""
    while True:
        temporary = target.with_name(f".{target.stem}.{secrets.token_hex(_TOKEN_BYTES)}{target.suffix}")
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            # Windows renames no file that is open.
            os.close(handle)
            return temporary, None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Before it was locked another process may have taken it for a leftover.
            if os.path.samestat(os.fstat(handle), os.lstat(temporary)):
                return temporary, handle
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:  # a file system without locks, where nobody can take it for a leftover either
            os.close(handle)
            return temporary, None
        os.close(handle)


def _let_go(handle: int | None) -> None:
    """Unlock a file, in processes that were forked meanwhile too, and close it."""
    if handle is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_UN)
    except OSError:
        pass
    finally:
        os.close(handle)


def check_file(path: Path, signature: bytes, *, noun: str, wanted: str, other: str, damaged: str | None = None) -> None:
    """Raise an error if there is no file, or one that does not begin with a signature.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    signature : bytes
        What it must begin with.
    noun, wanted : str
        What it is, for the sentences "There is no {noun} ..." and "... is a folder, but it must be {wanted}."
    other : str
        The sentence for a file that begins with something else.
    damaged : str, optional
        The sentence for a file that ends within the signature; `other` by default.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it begins with something else, or is a pipe, a socket or a device.
    """
    check_plain(path, noun=noun, wanted=wanted)
    with path.open("rb") as raw:
        begin = raw.read(len(signature))
    if begin != signature:
        # Of the signature itself there may be a part, or nothing.
        raise ValueError(damaged if damaged and signature.startswith(begin) else other)


@dataclass(frozen=True)
class Hdf5Kind:
    """A kind of HDF5 files that opusim writes, and what is said of a file that is not one.

    Parameters
    ----------
    form : str
        What such a file says that it is, its attribute "format".
    version : int
        The attribute "format_version" of what is written.
    oldest : int
        The oldest version that can be read.
    checked : int
        The first version that is written with a trailer.
    noun, wanted : str
        What it is, as for `check_file`: "sweep", "the file of a sweep (HDF5)".
    again : str
        What helps if it is of another version: "run the sweep again into a new file".
    rescue : str
        What helps if it is damaged: "run the sweep again into a new file, or use a backup of it".
    """

    form: str
    version: int
    oldest: int
    checked: int
    noun: str
    wanted: str
    again: str
    rescue: str


def _sum(raw: BinaryIO, n_bytes: int) -> int:
    """Return the CRC-32 of the next bytes of a file; of fewer, if it ends before."""
    total, part = 0, memoryview(bytearray(min(n_bytes, _PART_BYTES)))
    while n_bytes:
        got = raw.readinto(part[: min(n_bytes, _PART_BYTES)])  # type: ignore[attr-defined]
        if not got:
            break
        total = zlib.crc32(part[:got], total)
        n_bytes -= got
    return total


def append_trailer(path: str | os.PathLike[str]) -> None:
    """Put the trailer behind an HDF5 file that is whole and closed, and bring the file to the disk.

    Parameters
    ----------
    path : str or path-like
        The file, under its temporary name: it must not be in use, nor have a trailer.

    Raises
    ------
    OSError
        If the disk is full.
    """
    with open(path, "rb+") as raw:
        size = raw.seek(0, os.SEEK_END)
        raw.seek(0)
        total = _sum(raw, size)
        raw.seek(size)
        raw.write(_TRAILER.pack(_MARK, size, total, _END))
        raw.flush()
        os.fsync(raw.fileno())


def write_with_trailer(path: str | os.PathLike[str], parts: Iterable[bytes | memoryview]) -> None:
    """Write a file of plain bytes with the trailer behind them, and bring it to the disk.

    Parameters
    ----------
    path : str or path-like
        The file, under its temporary name.
    parts : iterable of bytes or of memoryview of bytes
        What goes into it.

    Raises
    ------
    OSError
        If the disk is full.
    """
    size = total = 0
    with open(path, "wb") as raw:
        for part in parts:
            raw.write(part)
            size, total = size + len(part), zlib.crc32(part, total)
        raw.write(_TRAILER.pack(_MARK, size, total, _END))
        raw.flush()
        os.fsync(raw.fileno())


def check_trailer(path: str | os.PathLike[str]) -> bool | None:
    """Compare a file with the check sum in its trailer.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    bool or None
        Whether it is as it was written; None for a file without a trailer that is not cut short. A file that did not
        change since it was found whole is not read again.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as raw:
        state = state_of(raw)
        size = state[1]
        head = raw.read(_HEAD_BYTES)
        length = _length(head)
        if length > size or (size < _HEAD_BYTES and HDF5_SIGNATURE.startswith(head[: len(HDF5_SIGNATURE)])):
            return False
        raw.seek(max(0, size - _TRAILER.size))
        tail = raw.read(_TRAILER.size)
        begin = b""
        if 0 < length < size:
            raw.seek(length)
            begin = raw.read(len(_MARK))
        # Either end of a trailer is enough to ask for the whole; a file that was cut may end within the first mark.
        if not (begin and _MARK.startswith(begin)) and not tail.endswith(_END):
            return None
        if len(tail) < _TRAILER.size:
            return False
        mark, n_bytes, total, end = _TRAILER.unpack(tail)
        if (mark, n_bytes, end) != (_MARK, size - _TRAILER.size, _END):
            return False
        key = os.path.realpath(path)
        if _whole.get(key) == state:
            return True
        raw.seek(0)
        seen_ns = time.time_ns()
        if _sum(raw, n_bytes) != total:
            return False
        if is_settled(state, seen_ns):
            _remember(_whole, key, state)
    return True


def _length(head: bytes) -> int:
    """Return how long an HDF5 file says that it is; 0 if it does not begin with a superblock of a known version."""
    place = _LENGTHS.get(head[8:9]) if head.startswith(HDF5_SIGNATURE) else None
    return int.from_bytes(head[place], "little") if place is not None and len(head) >= place.stop else 0


def state_of(raw: BinaryIO) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to: its number, size and times."""
    stat = os.fstat(raw.fileno())
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def is_settled(state: tuple[int, ...], seen_ns: int) -> bool:
    """Return whether a file of this state, seen at some time, would show a change since: its times are old enough."""
    _, _, *times = state
    tick = _TICK_NS if any(moment % 1_000_000 for moment in times) else _COARSE_TICK_NS
    return seen_ns - max(times) > tick


def _remember(memory: dict[str, tuple[int, ...]], key: str, state: tuple[int, ...]) -> None:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = state


def _is_checked(path: Path, damaged: str) -> bool:
    """Return whether a file has a trailer; refuse one that is not as it was written."""
    try:
        whole = check_trailer(path)
        # HDF5 ends a file where it says that it does; what lies behind may have been a trailer.
        other_length = whole is None and _other_length(path)
    except OSError as error:
        raise ValueError(damaged) from error
    if whole is False or other_length:
        raise ValueError(damaged)
    return whole is not None


def _other_length(path: str | os.PathLike[str]) -> bool:
    """Return whether an HDF5 file has another length than it says, if it says so where ours do."""
    with open(path, "rb") as raw:
        length = _length(raw.read(_HEAD_BYTES))
        return length > 0 and length != raw.seek(0, os.SEEK_END)


def tell_unchecked(path: Path, cause: str) -> None:
    """Warn of a file that has no trailer, once as long as it stays the same.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    cause : str
        Why it has none, a clause.
    """
    with path.open("rb") as raw:
        state = state_of(raw)
    key = os.path.realpath(path)
    if _told.get(key) != state:
        _remember(_told, key, state)
        warn_outside(
            f"{path} has no check sum, so that damage to it may not be seen: {cause}. opusim rescue gives it one."
        )


@contextmanager
def open_hdf5(
    path: str | os.PathLike[str], kind: Hdf5Kind, *, damage: tuple[type[Exception], ...] = _DAMAGE
) -> Iterator[h5py.File]:
    """Open an HDF5 file of ours for reading; whatever HDF5 says against it becomes a sentence.

    Its check sum is compared before HDF5 sees it; a file without one opens with a warning.

    Parameters
    ----------
    path : str or path-like
        The file.
    kind : Hdf5Kind
        What it must be.
    damage : tuple of exception types, optional
        Those of the block that mean that the file is damaged; by default all that its content may give rise to.

    Yields
    ------
    h5py.File

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it is of another kind or version, damaged or cut short.
    """
    path = Path(path)
    damaged = f"{path} is damaged or cut short; {kind.rescue}."
    other = f"{path} is not an HDF5 file, but a {kind.noun} must be one."
    check_file(path, HDF5_SIGNATURE, noun=kind.noun, wanted=kind.wanted, other=other, damaged=damaged)
    is_checked = _is_checked(path, damaged)
    with _opened(path, damaged) as file:
        try:
            # None if there is none: HDF5 files of others are told from damaged ones.
            said: list[Any] = [
                attribute(file, name) if has_attribute(file, name) else None for name in ("format", "format_version")
            ]
            form, version = said
            of_kind = bool(form == kind.form)
            of_version = of_kind and bool(kind.oldest <= version <= kind.version)
        except _DAMAGE as error:
            raise ValueError(damaged) from error
        if not of_kind:
            raise ValueError(f"{path} is an HDF5 file, but not a {kind.noun}: its format is {form!r}.")
        if not of_version:
            readable = f"{kind.oldest} to {kind.version}" if kind.oldest < kind.version else f"{kind.version}"
            raise ValueError(
                f"{path} has the format version {version}, but this opusim ({opusim.__version__}) reads {readable}; "
                f"{kind.again}."
            )
        if not is_checked:
            tell_unchecked(path, CHANGED if version >= kind.checked else OLD)
        try:
            yield file
        except FileError:
            raise
        except damage as error:
            if isinstance(error, MemoryError) and str(error):
                raise
            raise ValueError(damaged) from error


def _opened(path: Path, damaged: str) -> h5py.File:
    """Return the open HDF5 file; a ValueError says what is wrong with it."""
    import h5py

    try:
        # Files are replaced whole and never changed in place, so a reader needs no lock.
        return h5py.File(path, "r", locking=False)
    except _DAMAGE as error:
        if _mended(path) is not None:
            raise ValueError(
                f"{path} was written by opusim 0.1.0 beside an h5py from 3.10 to 3.15, and no h5py can open it. "
                f"Nothing in it is lost: `opusim rescue {path}` mends it."
            ) from error
        raise ValueError(damaged) from error


def format_of(path: str | os.PathLike[str], *, wanted: str, other: str, damaged: str) -> str | None:
    """Return what an HDF5 file says that it is, its attribute "format"; None if it says nothing.

    Parameters
    ----------
    path : str or path-like
        The file.
    wanted : str
        What it must be, as for `check_file`.
    other, damaged : str
        The sentences for a file that is not HDF5, and for one that cannot be read.

    Returns
    -------
    str or None
        Such as "opusim sweep".

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it is not an HDF5 file, damaged or cut short.
    """
    path = Path(path)
    check_file(path, HDF5_SIGNATURE, noun="file", wanted=wanted, other=other, damaged=damaged)
    _is_checked(path, damaged)
    with _opened(path, damaged) as file:
        try:
            form = attribute(file, "format") if has_attribute(file, "format") else None
        except _DAMAGE as error:
            raise ValueError(damaged) from error
    return form if isinstance(form, str) else None


def stamp_hdf5(file: h5py.File, kind: Hdf5Kind, opusim_version: str | None = None) -> None:
    """Write into a file what it is, and which opusim wrote it.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    kind : Hdf5Kind
        What it is.
    opusim_version : str, optional
        All versions that made what is in it, with commas between; this one by default.
    """
    file.attrs["format"] = kind.form
    file.attrs["format_version"] = kind.version
    file.attrs["opusim_version"] = opusim_version or opusim.__version__


@contextmanager
def writing_hdf5(
    path: str | os.PathLike[str],
    kind: Hdf5Kind | None = None,
    what: str | None = None,
    *,
    opusim_version: str | None = None,
) -> Iterator[h5py.File]:
    """Give a new HDF5 file; when the block ends without an error it takes the place of `path`, whole, with its trailer.

    Parameters
    ----------
    path : str or path-like
        The file to be written, or to be replaced.
    kind : Hdf5Kind, optional
        What it is, for `stamp_hdf5`; it is stamped before the block.
    what : str, optional
        What it holds, for an OSError that says that it cannot be written (`unwritten`); else the error is passed on.
    opusim_version : str, optional
        As for `stamp_hdf5`.

    Yields
    ------
    h5py.File

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; an older file stays as it was.
    """
    import h5py

    target, image = Path(path), io.BytesIO()
    # In memory: a full disk then shows in a plain write, not inside the HDF5 library. As a file object: what HDF5 1.14
    # gives of a file under its own driver for memory (get_file_image) no HDF5 can open, because the status in the
    # superblock is cleared without its check sum being made anew.
    with h5py.File(image, "w", libver="v108") as file:
        if kind is not None:
            stamp_hdf5(file, kind, opusim_version)
        yield file
    _replace(target, image, what)


def _replace(target: Path, image: io.BytesIO, what: str | None, verify: Callable[[Path], object] | None = None) -> None:
    """Put the bytes of an HDF5 file in the place of a file, whole, with their trailer; if `verify` raises no error."""
    content = image.getbuffer()
    try:
        with replacing(target) as temporary:
            with temporary.open("wb") as out:
                out.write(content)
                out.write(_TRAILER.pack(_MARK, len(content), zlib.crc32(content), _END))
                out.flush()
                os.fsync(out.fileno())
            if verify is not None:
                verify(temporary)
    except OSError as error:
        if what is None:
            raise
        raise unwritten(error, target, what) from error


@contextmanager
def hdf5_onto(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Give a new HDF5 file that is too large for memory, and goes to the disk as it is written.

    Parameters
    ----------
    path : str or path-like
        The file, under its temporary name.

    Yields
    ------
    h5py.File

    Raises
    ------
    OSError
        If the disk is full.
    """
    import h5py

    with open(path, "wb+", buffering=0) as raw:
        disk = _Disk(raw)
        try:
            with h5py.File(disk, "w", libver="v108") as file:
                yield file
        finally:
            # Whatever the block has made of it: this is the cause.
            if disk.error is not None:
                raise disk.error


class _Disk:
    """A file for HDF5 to write to, which never fails: HDF5 may end the process on a disk that is full.

    What goes wrong is kept, and what is written after that is dropped.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while self.error is None and len(left):
            try:
                left = left[self._raw.write(left) :]
            except OSError as error:
                self.error = error
        if len(left):
            self._raw.seek(len(left), os.SEEK_CUR)
        return size

    def read(self, size: int) -> bytes:
        data = bytearray(size)
        self.readinto(data)
        return bytes(data)

    def readinto(self, into: Any) -> int:
        space = memoryview(into).cast("B")
        got = 0
        while n := self._raw.readinto(space[got:]):
            got += n
        space[got:] = bytes(len(space) - got)  # it was dropped
        return len(space)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def truncate(self, size: int) -> int:
        try:
            return self._raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size

    def flush(self) -> None:
        """Do nothing: there is no buffer."""


def _mended(path: Path) -> bytes | None:
    """Return the content of a file that HDF5 1.14 spoilt, as it should have been; None if something else is wrong."""
    import h5py

    try:
        content = bytearray(path.read_bytes())
        # Version 2 of the superblock: its status is 0 in a file that is closed, and was 1 when its check sum was made.
        if content[8:9] != b"\2" or content[_STATUS_BYTE : _STATUS_BYTE + 1] != b"\0":
            return None
        content[_STATUS_BYTE] = 1
        with h5py.File(io.BytesIO(content), "r"):
            return bytes(content)
    except _DAMAGE:
        return None


def rescue_hdf5(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    verify: Callable[[Path], object] | None = None,
    limit_s: float | None = 60.0,
) -> str:
    """Make a file of an older opusim readable, and give it the check sum that it lacks.

    opusim 0.1.0 beside an h5py from 3.10 to 3.15 wrote files that no h5py opens ("incorrect metadata checksum"), though
    nothing in them is lost. What is in such a file is copied into a new one, which takes its place when it is whole.
    Any other file of ours without a trailer is read through, and gets one.

    Parameters
    ----------
    path : str or path-like
        The file: a sweep, a training run, a calibration or a transmission matrix.
    out : str or path-like, optional
        Where the rescued file goes, a name that is not taken; in place of the old one by default.
    verify : callable, optional
        Reads the rescued file, under a temporary name, before it takes its place, and raises a ValueError if its
        content is not what it should be; `opusim rescue` gives the reader of its kind.
    limit_s : float, optional
        A damaged file may keep HDF5 busy for ever, or end the process. So a file without a check sum is first read by
        a process of its own, which is ended after so many seconds, and one more for every 20 MB; with None it is not.

    Returns
    -------
    str
        What was done, a sentence.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    FileExistsError
        If there is something by the name `out`.
    ValueError
        If it is not an HDF5 file of ours, or is damaged in another way: it stays as it is.
    OSError
        If the disk is full or the folder cannot be written; the old file stays.
    """
    path = Path(path)
    target = path if out is None else Path(out)
    damaged = f"{path} is damaged or cut short in a way that cannot be mended; use a backup of it."
    other = f"{path} is not an HDF5 file, but calibrations, training runs and sweeps are."
    check_file(
        path, HDF5_SIGNATURE, noun="file", wanted="a file that opusim wrote (HDF5)", other=other, damaged=damaged
    )
    if out is not None and os.path.lexists(target):
        raise FileExistsError(
            f"out is {str(target)!r}, which is there already: the rescued file needs a name of its own."
        )
    whole = check_trailer(path)
    if whole is False:
        raise ValueError(damaged)
    if whole:
        if out is None:
            return f"{path} is whole and has its check sum: there is nothing to mend."
        _copy_checked(path, target, trailer=False)
        return f"{path} is whole and has its check sum; {target} is a copy of it."
    if _other_length(path):
        raise ValueError(damaged)
    if limit_s is not None:
        _survey_elsewhere(path, limit_s + path.stat().st_size / _SLOWEST_BYTES_PER_S, damaged)

    def checked(temporary: Path) -> None:
        if verify is not None:
            try:
                verify(temporary)
            except ValueError as error:
                raise ValueError(damaged) from error

    mended = _survey(path, damaged)
    if mended is not None:
        _replace(target, mended, _RESCUED, checked)
        return f"{target} can be read again, and has a check sum."
    _copy_checked(path, target, trailer=True, verify=checked)
    return f"{target} could be read as it was, and has a check sum now."


def _survey(path: Path, damaged: str) -> io.BytesIO | None:
    """Read all of a file; return the image of a mended one if nothing opens it, None if it can be read as it is."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as old:
            _check_ours(old, path)
            _read_through("", old)
            old.visititems(_read_through)
            return None
    except FileError:
        raise
    except _DAMAGE as error:
        content = _mended(path)
        if content is None:
            raise ValueError(damaged) from error
    return _copy_of(content, path, damaged)


# What the other process runs; a ValueError there is one here too, where it is raised with its words.
_SURVEY = """
import sys
from pathlib import Path
from opusim.base.files import _survey
try:
    _survey(Path(sys.argv[1]), "")
except ValueError:
    pass
"""


def _survey_elsewhere(path: Path, limit_s: float, damaged: str) -> None:
    """Have a file read by another process; refuse it if that does not come to an end, or to a bad one."""
    if not sys.executable or getattr(sys, "frozen", False):
        return  # a program that holds Python within: there is no other process to ask
    # What is imported here is imported there, from wherever it comes.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _SURVEY, os.path.abspath(path)], env=environment, timeout=limit_s,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{damaged} HDF5 had not read it after {limit_s:.0f} s.") from error
    except OSError:
        return  # no process can be started
    if done.returncode:
        raise ValueError(f"{damaged} Reading it ended a process.")


def _copy_checked(path: Path, target: Path, *, trailer: bool, verify: Callable[[Path], object] | None = None) -> None:
    """Copy a file byte by byte, with a trailer behind it if it has none."""
    try:
        with replacing(target) as temporary:
            shutil.copyfile(path, temporary)
            if trailer:
                append_trailer(temporary)
            if verify is not None:
                verify(temporary)
    except OSError as error:
        raise unwritten(error, target, _RESCUED) from error


def _copy_of(content: bytes, path: Path, damaged: str) -> io.BytesIO:
    """Return a new image with what is in a mended one, which is small: a large matrix was never spoilt."""
    import h5py

    copy = io.BytesIO()
    try:
        with h5py.File(io.BytesIO(content), "r") as old, h5py.File(copy, "w", libver="v108") as new:
            _check_ours(old, path)
            copy_hdf5(old, new)
    except FileError:
        raise
    except _DAMAGE as error:
        raise ValueError(damaged) from error
    return copy


def _check_ours(file: h5py.File, path: Path) -> None:
    if not has_attribute(file, "format") or not str(attribute(file, "format")).startswith("opusim "):
        raise FileError(f"{path} is an HDF5 file, but none that opusim wrote.")


def copy_hdf5(old: h5py.Group | h5py.Dataset, new: h5py.Group | h5py.Dataset, leave_out: Container[str] = ()) -> None:
    """Copy attributes and members of a group of a file into a group of another one.

    Parameters
    ----------
    old, new : h5py.Group
        From and to; attributes that `new` has already stay.
    leave_out : collection of str
        Names of members that are not copied.

    Notes
    -----
    Not by HDF5's own call: with h5py 3.10 that ends the process on some of our groups.
    """
    import h5py

    for key in old.attrs:
        if key not in new.attrs:
            value = attribute(old, key)
            is_array = isinstance(value, np.ndarray)
            new.attrs.create(key, value, dtype=old.attrs.get_id(key).dtype if is_array else None)
    if not isinstance(old, h5py.Group):
        return
    for key in old:
        if key in leave_out:
            continue
        item = member(old, key)
        if isinstance(item, h5py.Group):
            copy_hdf5(item, new.create_group(key))
        else:
            copy_hdf5(item, new.create_dataset(key, data=read_array(item), dtype=item.dtype))


def _read_through(_: str, item: h5py.Group | h5py.Dataset) -> None:
    """Read all of an object, so that what is damaged shows."""
    for key in item.attrs:
        attribute(item, key)
    if hasattr(item, "keys"):
        for key in item:
            member(item, key)  # a link is none of what our files have, and is not visited
    if hasattr(item, "shape"):
        check_size(item)
        for first in range(0, item.shape[0], 1024) if item.shape else ():
            item[first : first + 1024]
        if not item.shape:
            item[()]


def unwritten(error: OSError, path: Path, what: str) -> OSError:
    """Return an error that says what cannot be written, and to which file.

    Parameters
    ----------
    error : OSError
        What a write has raised.
    path : pathlib.Path
        The file that the user has named.
    what : str
        What it was to hold, such as "the sweep".

    Returns
    -------
    OSError
        To be raised from `error`.
    """
    # A write does not know its file's name, and the temporary one says nothing to the user. What numpy raises has no
    # number, and says how many elements it has written.
    why = error.strerror or "the disk is full or the file system refuses it"
    return OSError(error.errno or errno.EIO, f"{why}; {what} cannot be written to", str(path))


def open_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """Open a .npy file as a read-only array on disk.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    numpy.ndarray
        Mapped from the file: nothing is read before it is used.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    IsADirectoryError
        If it is a folder.
    ValueError
        If it is no .npy file of numbers, is cut short or goes on behind its array, holds Python objects, or is a pipe
        or a device.
    """
    path = Path(path)
    check_file(
        path,
        np.lib.format.MAGIC_PREFIX,
        noun="file",
        wanted="a .npy file",
        other=f"{path} is not a .npy file (numpy.save makes one).",
    )
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a header is read as Python's text: whatever comes of that
        if "Python objects" in str(error) or "pickle" in str(error):
            raise ValueError(f"{path} holds Python objects, which are never read here; save numbers.") from error
        raise ValueError(
            f"{path} is cut short or is no .npy file that this numpy can read ({_in_short(error)})."
        ) from error
    behind = path.stat().st_size - getattr(array, "offset", 0) - array.nbytes
    if behind and not check_trailer(path):  # behind a part of a transform its note stands
        raise ValueError(
            f"{path} goes on for {behind} bytes behind its array, {array.dtype}{list(array.shape)}: its header is "
            "damaged, or there are several arrays in it."
        )
    return array


def read_npz(path: str | os.PathLike[str], names: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Read the arrays of a .npz file.

    Parameters
    ----------
    path : str or path-like
        The file.
    names : iterable of str, optional
        Which arrays; all by default.

    Returns
    -------
    dict of ndarray
        By name.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    KeyError
        If one of `names` is not in it.
    ValueError
        If it is no .npz file, is cut short or damaged, holds Python objects, or is a pipe or a device.
    """
    path = Path(path)
    other = f"{path} is not a .npz file (numpy.savez makes one)."
    check_file(path, b"PK", noun="file", wanted="a .npz file", other=other)
    wanted = list(names)
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in wanted if name not in archive.files]
            if not missing:
                return {name: archive[name] for name in wanted or archive.files}
            there = archive.files
    except Exception as error:  # of the archive, of its compression, and of each header
        if "Python objects" in str(error) or "pickle" in str(error):
            raise ValueError(f"{path} holds Python objects, which are never read here; save numbers.") from error
        raise ValueError(f"{path} is cut short or damaged ({_in_short(error)}).") from error
    raise KeyError(f"The file {path} has no array {', '.join(missing)}; it has {', '.join(there) or 'none'}.")


def _in_short(error: BaseException) -> str:
    """Return the words of an error in a line, which may hold a whole header."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 200 else f"{words[:200]} ..."


class NpyWriter:
    """Writes a .npy file row by row, in order.

    A file mapped into memory would do too, but on a full disk it ends the process with a signal; a write
    raises an OSError that can be told to the user.

    Parameters
    ----------
    path : str or path-like
        The file.
    shape : tuple of int
        Shape of the whole array.
    dtype : numpy.dtype
        Type of its elements.
    named : str or path-like, optional
        The file that the user has named, for the OSError of a full disk, if `path` is a temporary one.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        named: str | os.PathLike[str] | None = None,
    ) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._rows, self._named = 0, Path(path if named is None else named)
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        # Without a buffer: closing must not fail on what is left in one.
        self._file = open(path, "wb", buffering=0)
        try:
            begin = io.BytesIO()
            np.lib.format.write_array_header_1_0(begin, header)
            self._write(begin.getbuffer())
        except BaseException:
            self._file.close()
            raise

    def _write(self, data: memoryview) -> None:
        try:
            while len(data):
                data = data[self._file.write(data) :]
        except OSError as error:
            raise unwritten(error, self._named, "the array") from error

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows; ValueError if they do not fit the shape and dtype, OSError if the disk is full."""
        if rows.shape[1:] != self.shape[1:] or self._rows + len(rows) > self.shape[0] or rows.dtype != self.dtype:
            raise ValueError(
                f"rows is {rows.dtype}{rows.shape}, but after {self._rows} rows of {self.dtype}{self.shape} "
                f"it must fit in what is left."
            )
        if rows.size:
            self._write(np.ascontiguousarray(rows).data.cast("B"))
        self._rows += len(rows)

    def close(self) -> None:
        """Close the file, after making sure that it is on the disk."""
        if self._file.closed:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritten(error, self._named, "the array") from error
        finally:
            self._file.close()

    def __enter__(self) -> NpyWriter:
        """Return the writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the file."""
        if kind is None:
            self.close()
            return
        # The block's own error matters: closing must not hide it, nor leave the file open.
        try:
            self._file.close()
        except OSError:
            pass
