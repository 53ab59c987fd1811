"""A device that only one process at a time may open."""

from __future__ import annotations

import re

from .environment import config_folder
from .errors import OpuAlreadyUsedException


class ExclusiveUse:
    """Holds a device by its name, for this process, until `release` or the end of the process.

    Any number of devices of one name may be open within one process. The operating system lets go of the lock when
    the process ends in whatever way, so that no stale file keeps a device taken.

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

        folder = config_folder() / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (re.sub(r"[^A-Za-z0-9.-]", "_", name) + ".lock")
        # One lock object for a path in this process, which counts how often it is taken.
        self._lock = FileLock(path, thread_local=False, is_singleton=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise OpuAlreadyUsedException(
                f"The OPU device {name!r} is in use by another process, and it is an exclusive one: close it there, or "
                "end that process. Without exclusive in its configuration, any number of processes may open it."
            ) from None

    def release(self) -> None:
        """Let the device go."""
        self._lock.release()
