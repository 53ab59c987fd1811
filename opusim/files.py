"""Files: written under a temporary name and renamed when whole; read without ever running a pickle."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import opusim

if TYPE_CHECKING:
    import h5py

__all__ = [
    "HDF5_SIGNATURE", "Hdf5Kind", "NpyWriter", "check_file", "open_hdf5", "open_npy", "replacing", "unwritten",
    "writing_hdf5",
]  # fmt: skip

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# What h5py raises on a damaged file, and what makes use of such content.
_DAMAGE = (OSError, RuntimeError, KeyError, TypeError, AttributeError, ValueError, IndexError, MemoryError)


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
        removed if the block raises, so a reader finds the old file or the whole new one.

    Raises
    ------
    OSError
        If the folder is not there or cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    temporary.open("xb").close()
    try:
        yield temporary
        os.replace(temporary, target)
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
        The attribute "format_version".
    noun, wanted : str
        What it is, as for `check_file`: "sweep", "the file of a sweep (HDF5)".
    again : str
        What helps if it is of another version: "run the sweep again into a new file".
    rescue : str
        What helps if it is damaged: "run the sweep again into a new file, or use a backup of it".
    """

    form: str
    version: int
    noun: str
    wanted: str
    again: str
    rescue: str


@contextmanager
def open_hdf5(
    path: str | os.PathLike[str], kind: Hdf5Kind, *, damage: tuple[type[Exception], ...] = _DAMAGE
) -> Iterator[h5py.File]:
    """Open an HDF5 file of ours for reading; whatever HDF5 says against it becomes a sentence.

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
    import h5py

    path = Path(path)
    damaged = f"{path} is damaged or cut short; {kind.rescue}."
    other = f"{path} is not an HDF5 file, but a {kind.noun} must be one."
    check_file(path, HDF5_SIGNATURE, noun=kind.noun, wanted=kind.wanted, other=other, damaged=damaged)
    try:
        # Files are replaced whole and never changed in place, so a reader needs no lock.
        file = h5py.File(path, "r", locking=False)
    except _DAMAGE as error:
        raise ValueError(damaged) from error
    with file:
        try:
            form, version = file.attrs.get("format"), file.attrs.get("format_version")
            of_kind = bool(form == kind.form)
            of_version = of_kind and bool(version == kind.version)
        except _DAMAGE as error:
            raise ValueError(damaged) from error
        if not of_kind:
            raise ValueError(f"{path} is an HDF5 file, but not a {kind.noun}: its format is {form!r}.")
        if not of_version:
            raise ValueError(
                f"{path} has the format version {version}, but this opusim ({opusim.__version__}) reads "
                f"{kind.version}; {kind.again}."
            )
        try:
            yield file
        except damage as error:
            raise ValueError(damaged) from error


@contextmanager
def writing_hdf5(path: str | os.PathLike[str], what: str | None = None) -> Iterator[h5py.File]:
    """Give a new HDF5 file; when the block ends without an error it takes the place of `path`, whole.

    Parameters
    ----------
    path : str or path-like
        The file to be written, or to be replaced.
    what : str, optional
        What it holds, for an OSError that says that it cannot be written (`unwritten`); else the error is passed on.

    Yields
    ------
    h5py.File

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; an older file stays as it was.
    """
    import h5py

    target = Path(path)
    # In memory: a full disk then shows in a plain write, not inside the HDF5 library. HDF5 tells such files apart by
    # name, so two threads must not share one.
    with h5py.File(f"in memory {secrets.token_hex(8)}", "w", driver="core", backing_store=False, libver="v108") as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    try:
        with replacing(target) as temporary, temporary.open("wb") as out:
            out.write(image)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        if what is None:
            raise
        raise unwritten(error, target, what) from error


def unwritten(error: OSError, path: Path, what: str) -> OSError:
    """Return an error that says what cannot be written, and to which file."""
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
