"""A device that only one process at a time may open."""

from __future__ import annotations

import os
import re

from opusim.base import folders
from opusim.base.errors import OpuAlreadyUsedException


class ExclusiveUse:
    """Holds a device by its name, for this process, until `release` or the end of the process.

    Any number of devices of one name may be open within one process; a forked process is another one. The operating
    system lets go of the lock when the process ends in whatever way, so that no stale file keeps a device taken.

    Parameters
    ----------
    name : str
        Name of the device.

    Raises
    ------
    OpuAlreadyUsedException
        If another process holds it.
    OSError
        If the lock's file cannot be made in the user's configuration folder.
    """

    def __init__(self, name: str) -> None:
        from filelock import FileLock, Timeout

        folder = folders.config_folder() / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise folders.not_kept(f"The lock of the exclusive device {name!r}", folder, error) from error
        path = folder / (re.sub(r"[^A-Za-z0-9.-]", "_", name) + ".lock")
        # One lock object for a path in this process, which counts how often it is taken.
        self._lock = FileLock(path, thread_local=False, is_singleton=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise OpuAlreadyUsedException(
                f"The OPU device {name!r} is in use by another process, and it is an exclusive one: close it there, or "
                "end that process. Without OPUSIM_EXCLUSIVE or exclusive in its json, any number may open it."
            ) from None

        self._process = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether this process holds the device, not one that it was forked from."""
        return self._process == os.getpid()

    def release(self) -> None:
        """Let the device go, if this process holds it."""
        if self.is_ours:
            self._lock.release()
