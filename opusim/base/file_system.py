"""What file systems and operating systems do differently: locks, and putting a file in the place of another."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .warn import warn_outside

__all__ = ["only_writer", "replace_file"]

# How long a file that is held open by another program on Windows is waited for: a reader, a virus scanner.
_PATIENCE_S, _LOOK_S = 3.0, 0.05
# What file systems without locks answer, some of the network among them.
_NO_LOCKS = {getattr(errno, name, None) for name in ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP")} - {None}


@contextmanager
def only_writer(path: str | os.PathLike[str], taken: str) -> Iterator[None]:
    """Be the only process and thread that writes a file, or into a folder, as long as the block lasts.

    A hidden file beside it, ending in .lock, stays there; the operating system lets go of the lock itself when the
    process ends in whatever way. On Linux, macOS and Windows.

    Parameters
    ----------
    path : str or path-like
        The file or folder; it need not be there, but the folder that it is in.
    taken : str
        The sentence for one that somebody else writes.

    Raises
    ------
    RuntimeError
        If another process or thread is in such a block.
    OSError
        If the lock's file cannot be made.

    Warns
    -----
    UserWarning
        If the file system knows no locks: nobody else may write then.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    target = Path(path)
    if FileLock is SoftFileLock:
        # Of a Python without either kind of lock: a file that a killed process leaves behind would stay taken.
        _tell_no_locks(target)
        yield
        return
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(taken) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        _tell_no_locks(target)
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _tell_no_locks(target: Path) -> None:
    warn_outside(f"No lock can be had in {target.parent}: see to it that nothing else writes {target.name}.")


def replace_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Rename a file to the name of another, which goes; a reader finds the one or the other, whole.

    Parameters
    ----------
    source, target : str or path-like
        Files of one folder.

    Raises
    ------
    PermissionError
        On Windows, if some program has the other file open and does not close it within seconds.
    OSError
        If it cannot be renamed for another reason.
    """
    limit = time.monotonic() + _PATIENCE_S
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError as error:
            if sys.platform != "win32":
                raise
            if time.monotonic() >= limit:
                raise PermissionError(
                    error.errno,
                    "Another program has the file open, and Windows lets nobody replace it before that closes it",
                    str(target),
                ) from error
        time.sleep(_LOOK_S)
