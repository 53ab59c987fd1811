"""How kernels are compiled: one decorator, so that every kernel has the same options.

Kernels release the global lock and take a range of work; Python threads share the ranges out.
numba's own parallel loops are not used: its plain thread pool ends the process when two
threads call it at once, and the GNU OpenMP one does so after a fork.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

_PACKAGE = Path(__file__).resolve().parents[1]


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
    must not depend on how a loop was vectorised. Where no cache folder can be written the
    function is compiled anew in each process.
    """
    settings = {"error_model": "numpy", "nogil": True, **options}

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            dispatcher = numba.njit(cache=True, **settings)(function)
        except RuntimeError:  # numba's "cannot cache function: no locator available"
            return numba.njit(**settings)(function)
        _stamp(dispatcher)
        return dispatcher

    return decorate


def _stamp(dispatcher: Any) -> None:
    """Make a cached kernel expire when a kernel file that it calls into changes.

    numba looks only at the file of the function itself, yet the code of its callees is inlined.
    """
    store: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if hasattr(store, "_source_stamp"):
        store._source_stamp = (store._source_stamp, _kernel_sources())
