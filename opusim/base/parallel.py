"""Work split over Python threads: kernels release the GIL, and no result depends on the split."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def default_threads() -> int:
    """Return the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def over_ranges(work: Callable[[int, int], object], n_units: int, threads: int) -> None:
    """Call `work(start, stop)` so that 0 ... n_units - 1 are covered once, on `threads` threads.

    Parameters
    ----------
    work : callable
        Takes a range of work; must release the GIL to gain anything.
    n_units : int
        Number of units of work.
    threads : int
        Threads to use; 1 runs in the calling thread.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, whatever the threads made of it.
    """
    threads = max(1, min(threads, n_units))
    if threads == 1:
        if n_units:
            work(0, n_units)
        return
    edges = [n_units * k // threads for k in range(threads + 1)]
    handled = sys.exc_info()[1]
    try:
        # A pool of its own for each call: nothing is left behind that a fork could break.
        with ThreadPoolExecutor(threads) as pool:
            for future in [pool.submit(work, a, b) for a, b in zip(edges, edges[1:], strict=False)]:
                future.result()
    except RuntimeError as error:
        interrupt = _interrupt_behind(error, handled)
        if interrupt is None:
            raise
        raise interrupt from None


def _interrupt_behind(error: BaseException, handled: BaseException | None) -> KeyboardInterrupt | None:
    """Return the Ctrl-C in whose handling an error came up, if there is one, and it is not what was handled before.

    Where it comes while Python waits for a thread to start or to end, the waiting itself may lose its lock: up to
    Python 3.12 it then says "release unlocked lock" in its place.
    """
    seen: BaseException | None = error
    while seen is not None and seen is not handled:
        if isinstance(seen, KeyboardInterrupt):
            return seen
        seen = seen.__context__
    return None
