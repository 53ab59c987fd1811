"""Files: written under a temporary name and renamed when whole; read without ever running a pickle.

An HDF5 file of ours ends in a trailer of 40 bytes, behind what HDF5 reads: a mark, the number of bytes before it (8
bytes), their CRC-32 (4 bytes; both the lowest byte first), and a second mark. Other programs read it as any other file.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import struct
import zlib
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

import opusim

from .file_system import replace_file
from .warn import warn_outside

if TYPE_CHECKING:
    import h5py

__all__ = [
    "HDF5_SIGNATURE", "Hdf5Kind", "NpyWriter", "append_trailer", "check_file", "check_trailer", "copy_hdf5",
    "format_of", "open_hdf5", "open_npy", "replacing", "rescue_hdf5", "stamp_hdf5", "tell_unchecked", "unwritten",
    "writing_hdf5",
]  # fmt: skip

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# What h5py raises on a damaged file, and what makes use of such content.
_DAMAGE = (OSError, RuntimeError, KeyError, TypeError, AttributeError, ValueError, IndexError, MemoryError)

# CRC-32, because it is against damage, not against people, and is the fastest in the standard library: seven times
# SHA-256 where that has instructions of its own, and more elsewhere.
_TRAILER = struct.Struct("<16sQI12s")
_MARK, _END = b"opusim checksum\n", b"opusim end.\n"
_PART_BYTES = 1 << 20
# Files that were found whole, by path, with what shows that they are still the same: a file is read for its check once
# in a process. And those that were told to have no trailer.
_whole: dict[str, tuple[int, ...]] = {}
_told: dict[str, tuple[int, ...]] = {}
_REMEMBERED = 1000
# Where the superblock of HDF5's version 2 holds its status, and those of the versions the length of the file.
_STATUS_BYTE, _HEAD_BYTES = 11, 48
_LENGTHS = {b"\0": slice(40, 48), b"\2": slice(28, 36), b"\3": slice(28, 36)}
_RESCUED = "the rescued file"
#: Why a file of ours may have no check sum.
OLD, CHANGED = "an opusim before 0.1.1 wrote it", "another program changed it"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an error.

    Parameters
    ----------
    path : str or path-like
        The file to be written, or to be replaced.

    Yields
    ------
    pathlib.Path
        An empty file in the same folder, whose name begins with a dot and ends as `path` does. It is
        removed if the block raises, so a reader finds the old file or the whole new one. Of a link the file that it
        leads to is replaced, and who may read a file stays as it was.

    Raises
    ------
    OSError
        If the folder is not there or cannot be written.
    """
    target = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    temporary.open("xb").close()
    try:
        if target.is_file():
            shutil.copymode(target, temporary)
        yield temporary
        replace_file(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


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
        If it begins with something else.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, but it must be {wanted}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no {noun} {path}.")
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
    total, part = 0, memoryview(bytearray(_PART_BYTES))
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


def check_trailer(path: str | os.PathLike[str]) -> bool | None:
    """Compare a file with the check sum in its trailer.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    bool or None
        Whether it is as it was written; None for a file without a trailer. A file that did not change since it was
        found whole is not read again.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as raw:
        state = _state(raw)
        size = state[1]
        length = _length(raw.read(_HEAD_BYTES))
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
        if _sum(raw, n_bytes) != total:
            return False
        _remember(_whole, key, state)
    return True


def _length(head: bytes) -> int:
    """Return how long an HDF5 file says that it is; 0 if its superblock is of another version than 0, 2 and 3."""
    place = _LENGTHS.get(head[8:9])
    return int.from_bytes(head[place], "little") if place is not None and len(head) >= place.stop else 0


def _state(raw: BinaryIO) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to: its number, size and times."""
    stat = os.fstat(raw.fileno())
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _remember(memory: dict[str, tuple[int, ...]], key: str, state: tuple[int, ...]) -> None:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = state


def _is_checked(path: Path, damaged: str) -> bool:
    """Return whether a file has a trailer; refuse one that is not as it was written."""
    try:
        whole = check_trailer(path)
    except OSError as error:
        raise ValueError(damaged) from error
    if whole is False:
        raise ValueError(damaged)
    return whole is not None


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
        state = _state(raw)
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
            form, version = file.attrs.get("format"), file.attrs.get("format_version")
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
        except damage as error:
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
            form = file.attrs.get("format")
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
    import h5py

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

    def checked(temporary: Path) -> None:
        if verify is not None:
            try:
                verify(temporary)
            except ValueError as error:
                raise ValueError(damaged) from error

    try:
        with h5py.File(path, "r", locking=False) as old:
            _check_ours(old, path)
            old.visititems(_read_through)
    except _NotOursError:
        raise
    except _DAMAGE as error:
        content = _mended(path)
        if content is None:
            raise ValueError(damaged) from error
        _replace(target, _copy_of(content, path, damaged), _RESCUED, checked)
        return f"{target} can be read again, and has a check sum."
    _copy_checked(path, target, trailer=True, verify=checked)
    return f"{target} could be read as it was, and has a check sum now."


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
    except _NotOursError:
        raise
    except _DAMAGE as error:
        raise ValueError(damaged) from error
    return copy


class _NotOursError(ValueError):
    """An HDF5 file that opusim did not write."""


def _check_ours(file: h5py.File, path: Path) -> None:
    if not str(file.attrs.get("format", "")).startswith("opusim "):
        raise _NotOursError(f"{path} is an HDF5 file, but none that opusim wrote.")


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

    for key, value in old.attrs.items():
        if key not in new.attrs:
            is_array = isinstance(value, np.ndarray)
            new.attrs.create(key, value, dtype=old.attrs.get_id(key).dtype if is_array else None)
    if not isinstance(old, h5py.Group):
        return
    for key, item in old.items():
        if key in leave_out:
            continue
        if isinstance(item, h5py.Group):
            copy_hdf5(item, new.create_group(key))
        else:
            copy_hdf5(item, new.create_dataset(key, data=item[()], dtype=item.dtype))


def _read_through(_: str, item: h5py.Group | h5py.Dataset) -> None:
    """Read all of an object, so that what is damaged shows."""
    for key in item.attrs:
        item.attrs[key]
    if hasattr(item, "shape"):
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
    # A write does not know its file's name, and the temporary one says nothing to the user.
    return OSError(error.errno, f"{error.strerror}; {what} cannot be written to", str(path))


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
        If it is no .npy file of numbers, is cut short, or holds Python objects.
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
    except ValueError as error:
        if "Python objects" in str(error) or "pickle" in str(error):
            raise ValueError(f"{path} holds Python objects, which are never read here; save numbers.") from error
        raise ValueError(f"{path} is cut short or is no .npy file that this numpy can read ({error}).") from error
    return array


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
    """

    def __init__(self, path: str | os.PathLike[str], shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._rows = 0
        self._file = open(path, "wb")
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows; ValueError if they do not fit the shape and dtype."""
        if rows.shape[1:] != self.shape[1:] or self._rows + len(rows) > self.shape[0] or rows.dtype != self.dtype:
            raise ValueError(
                f"rows is {rows.dtype}{rows.shape}, but after {self._rows} rows of {self.dtype}{self.shape} "
                f"it must fit in what is left."
            )
        self._file.write(np.ascontiguousarray(rows).data)
        self._rows += len(rows)

    def close(self) -> None:
        """Close the file, after making sure that it is on the disk."""
        if self._file.closed:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
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
