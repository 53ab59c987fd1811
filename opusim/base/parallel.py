"""Work split over Python threads: kernels release the GIL, and no result depends on the split.

There is one pool of threads for the process. A caller cuts its work into ranges, wakes threads that are idle, and takes
ranges itself until none is left: so two threads are the caller and one other, a call whose helpers are busy or slow to
wake does it all alone, and none can wait for another. To wake a thread and hear of it takes about 10 us on a processor
that is free, by a `queue.SimpleQueue`; by `concurrent.futures` it takes 45, and threads started for the call 200.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from .locks import after_fork, new_lock

# Ranges for each thread: where one is slow, as another program has its processor, the others take more of them.
_RANGES = 4


def default_threads() -> int:
    """Return the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def over_ranges(work: Callable[[int, int], object], n_units: int, threads: int, least: int = 1) -> None:
    """Call `work(start, stop)` so that 0 ... n_units - 1 are covered once, on `threads` threads.

    Within `work` this may be called again, and then does all in the thread that calls it.

    Parameters
    ----------
    work : callable
        Takes a range of work; must release the GIL to gain anything, and must not fork.
    n_units : int
        Number of units of work.
    threads : int
        Threads to use, the calling one among them; 1 runs in the calling thread.
    least : int, optional
        Fewest units that are worth a range: some 50 us of work. Less than two ranges run in the calling thread.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when what runs has ended, however often it comes until then.
    Exception
        Of the first range whose work raised one, when what runs has ended; ranges not begun by then are left out.
    """
    most = n_units // max(1, least)
    helpers = _pool.idle(min(threads, most) - 1) if threads > 1 and most > 1 and not _here.inside else ()
    if not helpers:
        if n_units > 0:
            work(0, n_units)
        return
    n = min(_RANGES * threads, most)
    job = _Job(work, [(k, n_units * k // n, n_units * (k + 1) // n) for k in range(n)])
    try:
        _here.inside = True
        for worker in helpers:
            worker.inbox.put(job)
        job.take_part()
        job.wait()
    except BaseException:
        job.stop()
        raise
    finally:
        # No calls here: Python looks for Ctrl-C after them.
        _here.inside = False
        job.work = _nothing  # a worker that is slow to wake holds none of the caller's arrays
    job.raise_first()


def _nothing(start: int, stop: int) -> None:
    """Do no work."""


class _Here(threading.local):
    """What a thread knows of itself."""

    inside = False  # whether it is at work on a range


class _Job:
    """One call: its ranges, and who is at work on them.

    An interrupt may come between any two steps of the caller, so that only workers count, and each step of theirs is
    one that threads may take at once.
    """

    def __init__(self, work: Callable[[int, int], object], ranges: list[tuple[int, int, int]]) -> None:
        self.work = work
        self.ranges = deque(ranges)
        self.begun: list[None] = []  # an entry for each worker that has looked for a range
        self.ended: list[None] = []
        self.told: SimpleQueue[None] = SimpleQueue()
        self.errors: list[tuple[int, BaseException]] = []

    def take_part(self, caught: type[BaseException] = Exception) -> None:
        """Do ranges until none is left; after an error none is."""
        while True:
            try:
                number, start, stop = self.ranges.popleft()
            except IndexError:
                return
            try:
                self.work(start, stop)
            except caught as error:
                self.ranges.clear()
                self.errors.append((number, error))

    def help(self) -> None:
        """Do ranges as a worker."""
        self.begun.append(None)
        self.take_part(BaseException)

    def end(self) -> None:
        """Tell the caller that a worker has ended."""
        self.ended.append(None)
        self.told.put(None)

    def wait(self) -> None:
        """Wait for the workers that have begun; who begins now finds no range."""
        while len(self.ended) < len(self.begun):
            self.told.get()

    def stop(self) -> None:
        """Begin no more ranges, and wait for the workers that have begun, whatever comes meanwhile.

        They write into arrays of the caller, who must not go on before: what comes is raised when they have ended, the
        last of it. No function of Python's is called here, so that nothing comes up again and again, as at the limit
        of recursion.
        """
        last: BaseException | None = None
        while True:
            try:
                self.ranges.clear()
                while len(self.ended) < len(self.begun):
                    self.told.get()
                break
            except BaseException as another:
                last = another
        if last is not None:
            try:
                raise last
            finally:
                del last

    def raise_first(self) -> None:
        """Raise the error of the first range that has one."""
        if self.errors:
            error = min(self.errors, key=lambda pair: pair[0])[1]
            self.errors.clear()  # which would be held by its own traceback
            try:
                raise error
            finally:
                del error


class _Worker:
    """A thread of the pool. It keeps nothing of a job that has ended, and does not keep the process alive.

    A job may be put into its inbox at any time: one that finds the thread at work waits, and is over by then.
    """

    def __init__(self, number: int) -> None:
        self.inbox: SimpleQueue[_Job | None] = SimpleQueue()
        self._at_work = False  # written by the thread alone
        self._thread = threading.Thread(target=self._run, name=f"opusim-{number}", daemon=True)

    def start(self) -> None:
        """Let the thread wait for jobs, until it is given None."""
        self._thread.start()

    def is_idle(self) -> bool:
        """Return whether a job would be begun at once."""
        return not self._at_work and self.inbox.empty()

    def _run(self) -> None:
        _here.inside = True
        while (job := self.inbox.get()) is not None:
            self._at_work = True
            job.help()
            # First, so that the caller finds this thread when it calls next.
            self._at_work = False
            job.end()
            del job


class _Pool:
    """The threads of this process beside those that call.

    None is taken out by who calls and put back: between the two an interrupt would lose it. Two callers that find the
    same one idle both give it their job, and the second goes without its help.
    """

    def __init__(self) -> None:
        self._workers: list[_Worker] = []
        self._lock = new_lock()

    def idle(self, n: int) -> list[_Worker]:
        """Return idle threads, at most `n`, for a job to be put into the inbox of each."""
        found: list[_Worker] = []
        for worker in self._workers:
            if worker.is_idle():
                found.append(worker)
                if len(found) == n:
                    return found
        while len(found) < n:
            more = self._grow(n)
            if more is None:
                break
            found.append(more)
        return found

    def _grow(self, n: int) -> _Worker | None:
        """Start one more thread, if there are fewer than are asked for, or than processors beside the caller's."""
        handled = sys.exc_info()[1]
        with self._lock:
            if len(self._workers) >= max(n, default_threads() - 1):
                return None
            worker = _Worker(len(self._workers) + 1)
            try:
                worker.start()
                self._workers.append(worker)
            except BaseException as error:
                if worker not in self._workers:
                    worker.inbox.put(None)  # should it have started all the same
                if not isinstance(error, RuntimeError):
                    raise
                interrupt = _interrupt_behind(error, handled)
                if interrupt is not None:
                    raise interrupt from None
                return None  # no thread can be had, as when the interpreter ends: there are those that call
        return worker


_here = _Here()
_pool = _Pool()


def _renew() -> None:
    """Begin with no threads: a forked child has none of them."""
    global _pool
    _pool = _Pool()


after_fork(_renew)


def _interrupt_behind(error: BaseException, handled: BaseException | None) -> KeyboardInterrupt | None:
    """Return the Ctrl-C in whose handling an error came up, if there is one, and it is not what was handled before.

    Where it comes while Python waits for a thread to start, the waiting itself may lose its lock: up to Python 3.12 it
    then says "release unlocked lock" in its place.
    """
    seen: BaseException | None = error
    while seen is not None and seen is not handled:
        if isinstance(seen, KeyboardInterrupt):
            return seen
        seen = seen.__context__
    return None
