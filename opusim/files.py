"""Files: written under a temporary name and renamed when whole; read without ever running a pickle."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

__all__ = ["NpyWriter", "open_npy", "replacing"]


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
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, but it must be a .npy file.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    magic = np.lib.format.MAGIC_PREFIX
    with path.open("rb") as file:
        begin = file.read(len(magic))
    if begin != magic:
        raise ValueError(f"{path} is not a .npy file (numpy.save makes one).")
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
