"""How kernels are compiled: one decorator, so that every kernel has the same options.

Kernels release the global lock and take a range of work; Python threads share the ranges out.
numba's own parallel loops are not used: its plain thread pool ends the process when two
threads call it at once, and the GNU OpenMP one does so after a fork.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.runtime.nrt import rtsys

_PACKAGE = Path(__file__).resolve().parents[1]
# Files of kernels without a check sum, as numba writes them, count as older than the source.
_FORM = 2
_SUM_BYTES = 4

if numba.config.DISABLE_JIT:
    # Bit patterns of floats and fused multiply-adds have no form in plain Python, and a frame would take minutes.
    raise RuntimeError(
        f"NUMBA_DISABLE_JIT is {numba.config.DISABLE_JIT}, but opusim computes with compiled kernels alone: it must be "
        "0 or unset when Python starts."
    )


@cache
def _kernel_sources() -> tuple[tuple[str, float, int], ...]:
    """Name, time and size of every file whose code may be inlined into a cached kernel."""
    files = sorted(_PACKAGE.rglob("*_kernels.py"))
    stats = [(path.name, path.stat()) for path in files if path.is_file()]
    return tuple((name, stat.st_mtime, stat.st_size) for name, stat in stats)


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function on its first call and keeps the result on disk.

    Parameters
    ----------
    **options
        Further options of `numba.njit`, such as ``inline="always"``.

    Returns
    -------
    callable
        Takes the function and returns numba's dispatcher of it.

    Notes
    -----
    ``error_model="numpy"`` lets loops with a division vectorise. `fastmath` stays off: results
    must not depend on how a loop was vectorised. Where no cache folder can be written, or there is
    no room in it, the function is compiled anew in each process. A kept kernel that is damaged is
    compiled anew and replaced.
    """
    settings = {"error_model": "numpy", "nogil": True, **options}

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            dispatcher = numba.njit(cache=True, **settings)(function)
        except (OSError, RuntimeError):  # numba's "cannot cache function: no locator available"
            return numba.njit(**settings)(function)
        _keep_safely(dispatcher)
        return dispatcher

    return decorate


def _keep_safely(dispatcher: Any) -> None:
    """Let a kept kernel be what this source makes, whole, or be compiled anew.

    numba looks only at the file of the function itself, yet the code of its callees is inlined: it expires when any
    kernel file changes.
    """
    kept: Any = getattr(dispatcher, "_cache", None)
    file: Any = getattr(kept, "_cache_file", None)
    if not all(hasattr(file, name) for name in ("_source_stamp", "_dump", "_load_data", "_data_path")):
        return  # a numba that keeps kernels in another way
    file._source_stamp = (file._source_stamp, _kernel_sources(), _FORM)
    kept._cache_file = _CheckedFile(file)
    dispatcher._cache = _Forgiving(kept)


class _CheckedFile:
    """numba's file of one function's kernels, with a check sum: damaged machine code would give other numbers."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._plain_dump, self._plain_load = file._dump, file._load_data
        file._dump, file._load_data = self._dump, self._load_data

    def _dump(self, value: Any) -> bytes:
        content: bytes = self._plain_dump(value)
        return content + zlib.crc32(content).to_bytes(_SUM_BYTES, "big")  # which numba, reading it, leaves aside

    def _load_data(self, name: str) -> Any:
        content = Path(self._file._data_path(name)).read_bytes()
        if zlib.crc32(content[:-_SUM_BYTES]) != int.from_bytes(content[-_SUM_BYTES:], "big"):
            raise ValueError(f"{name} is damaged.")
        return self._plain_load(name)

    def flush(self) -> None:
        """Forget all kernels."""
        self._file.flush()

    def save(self, key: Any, data: Any) -> None:
        """Keep a kernel; where the file of before is damaged, in its place."""
        try:
            self._file.save(key, (repr(key), data))
        except OSError:
            raise
        except Exception:  # whatever a damaged index ends in
            self.flush()
            self._file.save(key, (repr(key), data))

    def load(self, key: Any) -> Any:
        """Return a kernel, or None if none is kept, or none that is whole; what is damaged is forgotten."""
        try:
            found = self._file.load(key)
            if found is None:
                return None
            of, data = found
            if of == repr(key):  # not that of another signature, processor or source
                return data
        except OSError:
            return None
        except Exception:
            pass
        with contextlib.suppress(OSError):
            self.flush()
        return None


class _Forgiving:
    """numba's cache of one function, for which a full disk is no error: the kernel is there, and works."""

    def __init__(self, kept: Any) -> None:
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        """Leave all else to numba."""
        return getattr(self._kept, name)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return a kept kernel, or None.

        numba first imports all that it compiles with, .2 s in a fresh process. A kernel that is kept needs nothing of
        it but the runtime, and where one is compiled, the compiler asks for the rest itself.
        """
        parts = (self._kept, "_load_overload"), (self._kept, "_guard_against_spurious_io_errors")
        if not all(hasattr(*part) for part in parts):
            return self._kept.load_overload(signature, target)  # a numba that loads kernels in another way
        rtsys.initialize(target)
        with self._kept._guard_against_spurious_io_errors():
            return self._kept._load_overload(signature, target)

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep a kernel if there is room."""
        with contextlib.suppress(OSError):
            self._kept.save_overload(signature, data)
