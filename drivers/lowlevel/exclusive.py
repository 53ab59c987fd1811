"""A device that only one process at a time may open.

One place for a machine and a user, whatever the environment of a process: no variable moves it. On Linux it is a name
in the kernel (an abstract socket, to which nobody connects): it is no file, so that nothing can delete it, and it ends
with its process. Elsewhere, and where the kernel refuses that, it is a locked file in a folder of the user's own.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any, Protocol

from opusim.base import folders
from opusim.base.errors import OpuAlreadyUsedException
from opusim.base.locks import after_fork, new_lock

_MACHINE = Path("/tmp")  # not what TMPDIR names: that differs from process to process


class ExclusiveUse:
    """Holds a device by its name, for this process, until `release` or the end of the process.

    Any number of devices of one name may be open within one process; a forked process is another one. The operating
    system lets go when the process ends in whatever way, so that nothing stale keeps a device taken.

    Parameters
    ----------
    name : str
        Name of the device.

    Raises
    ------
    OpuAlreadyUsedException
        If another process of this user on this machine holds it.
    OSError
        If there is no place for the lock.
    """

    def __init__(self, name: str) -> None:
        self._name, self._process = name, os.getpid()
        with _lock:
            held = _held.get(name)
            if held is None:
                hold = _hold(name)
                if hold is None:
                    raise OpuAlreadyUsedException(
                        f"The OPU device {name!r} is in use by another process, and it is an exclusive one: close it "
                        "there, or end that process. Without OPUSIM_EXCLUSIVE or exclusive in its json, any number may "
                        "open it."
                    )
                held = hold, 0
            _held[name] = held[0], held[1] + 1

    @property
    def is_ours(self) -> bool:
        """Whether this process holds the device, not one that it was forked from."""
        return self._process == os.getpid()

    def release(self) -> None:
        """Let the device go, if this process holds it; the last one of its name frees it for others."""
        if not self.is_ours:
            return
        self._process = -1
        with _lock:
            hold, uses = _held.pop(self._name)
            if uses > 1:
                _held[self._name] = hold, uses - 1
            else:
                hold.close()


class _Hold(Protocol):
    def close(self) -> None: ...


_lock = new_lock()
# What this process holds, by the device's name, and how many use it.
_held: dict[str, tuple[_Hold, int]] = {}


def _let_go_in_child() -> None:
    """Close what a forked child has inherited: else the device would stay taken until the child has ended too."""
    for hold, _ in _held.values():
        if isinstance(hold, _LockedFile):
            hold.forget()
        else:
            hold.close()
    _held.clear()


after_fork(_let_go_in_child)


def _hold(name: str) -> _Hold | None:
    """Return what holds a device; None if another process does."""
    key = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    if sys.platform == "linux":
        place = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            place.bind(f"\0opusim-exclusive-{os.getuid()}-{key}")
        except OSError as error:
            place.close()
            if error.errno == errno.EADDRINUSE:
                return None
        else:
            return place
    file_name = folders.file_name(name, ".lock")
    if os.name == "nt":
        return _held_file_of_windows(folders.config_folder() / "locks" / file_name, name)
    folder = _MACHINE / f"opusim-{os.getuid()}"
    try:
        _own_folder(folder)
        return _LockedFile.at(folder / file_name)
    except OSError as error:
        why = error.strerror or error
        raise OSError(
            error.errno, f"The lock of the exclusive device {name!r} cannot be kept in {folder} ({why})"
        ) from error


def _own_folder(folder: Path) -> None:
    """Make a folder that nobody else can change, or raise an OSError if another's is in its place."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "it must be a folder of this user's own, which nobody else may enter")


class _LockedFile:
    """A file that is locked, and is the one that has that name."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def at(cls, path: Path) -> _LockedFile | None:
        """Return the locked file; None if another process has locked it."""
        import fcntl

        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Deleted, or made anew, between the two calls: then it is another file that others will see.
                if cls._has_name(descriptor, path):
                    return cls(descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    @staticmethod
    def _has_name(descriptor: int, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(path))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Unlock it; the file stays, as another process may be opening it."""
        import fcntl

        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)

    def forget(self) -> None:
        """Close it in a forked child, where unlocking would unlock it for the parent too."""
        os.close(self._descriptor)


def _held_file_of_windows(path: Path, name: str) -> _Hold | None:
    """Return a locked file, which Windows lets nobody delete; None if another process has it."""
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise folders.not_kept(f"The lock of the exclusive device {name!r}", path.parent, error) from error
    lock: Any = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    lock.close = lock.release
    return lock
