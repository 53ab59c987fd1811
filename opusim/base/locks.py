"""Locks that a fork does not leave locked.

A thread that holds a lock does not live on in a forked child, its lock does: whoever asked for it there would wait for
ever. All locks of the package are made here, and are open in a child; but those that the forking thread itself holds
stay its own, for it goes on in the child.

What a lock guards must therefore be sound at every moment, as another thread may have been in the middle of changing
it: it is made aside and put in place by one assignment, or dropped before it is made anew. State that counts threads is
set right by a function given to `after_fork`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

__all__ = ["after_fork", "forks_wait", "new_lock"]

_made: WeakSet[Any] = WeakSet()
_renewals: list[Callable[[], object]] = []


def new_lock() -> threading.RLock:
    """Return a lock that a thread may take several times; in a forked child it is open.

    Returns
    -------
    threading.RLock
        The lock. Nothing is added to it: to take it costs what it costs.
    """
    lock = threading.RLock()
    _made.add(lock)
    return lock


def after_fork(renew: Callable[[], object]) -> None:
    """Have a function called in each forked child, when its locks are open again.

    Parameters
    ----------
    renew : callable
        Sets right what other threads, which are not there any more, had begun; it must take no lock of others.
    """
    _renewals.append(renew)


def _in_child() -> None:
    lock: Any
    for lock in list(_made):
        # As the standard library does with its own.
        if not lock._is_owned():
            lock._at_fork_reinit()
    for renew in _renewals:
        renew()


_products = threading.RLock()


@contextmanager
def forks_wait() -> Iterator[None]:
    """Keep other threads from forking as long as the block lasts, and from such a block of their own.

    For products of large matrices by BLAS, and what LAPACK makes of them: OpenBLAS shuts its threads down before a fork
    and starts them anew after it, and a fork amid a product may leave the child, or the parent, waiting for ever.
    """
    with _products:
        yield


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
    os.register_at_fork(before=_products.acquire, after_in_parent=_products.release, after_in_child=_products.release)
