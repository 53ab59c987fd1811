"""Work over threads: all of it, its errors, and Ctrl-C as what it is."""

from __future__ import annotations

import threading

import pytest

from opusim.base import parallel


@pytest.mark.parametrize(("n", "threads"), [(0, 3), (1, 3), (7, 1), (7, 3), (7, 20)])
def test_every_unit_is_worked_on_once(n, threads):
    seen = []
    parallel.over_ranges(lambda a, b: seen.extend(range(a, b)), n, threads)
    assert sorted(seen) == list(range(n))


def interrupted_wait(self, timeout=None):
    """What Event.wait does where Ctrl-C comes while it takes its lock back."""
    lock = threading.Lock()
    try:
        raise KeyboardInterrupt
    finally:
        lock.release()


def test_an_interrupt_while_a_thread_starts_is_told_as_one(monkeypatch):
    """Python's own waiting makes a RuntimeError of it, "release unlocked lock"."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Event, "wait", interrupted_wait)
        with pytest.raises(RuntimeError, match="release unlocked lock"):
            threading.Thread(target=int).start()
        with pytest.raises(KeyboardInterrupt):
            parallel.over_ranges(lambda a, b: None, 8, 2)


def test_errors_of_the_work_stay_themselves():
    def work(start, stop):
        raise RuntimeError("of the work")

    with pytest.raises(RuntimeError, match="of the work"):
        parallel.over_ranges(work, 8, 2)
    with pytest.raises(RuntimeError, match="of the work"):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:  # a program that tidies up after one
            parallel.over_ranges(work, 8, 2)
