"""Locks in a forked child, and that the package has no others."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

import pytest

import opusim
from opusim.base import arrays, locks, plugins, progress
from opusim.drivers import AcqState, OpuDevice
from opusim.sweep import run

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def in_child(work):
    """Return what `work` returns in a forked child, a small number; -1 if it hangs."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            import signal

            signal.alarm(5)
            code = int(work())
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return -1 if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


class Held:
    """Another thread is within a with block."""

    def __init__(self, *blocks):
        self.blocks, self.inside, self.end = blocks, threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._hold)

    def _hold(self):
        from contextlib import ExitStack

        with ExitStack() as stack:
            for block in self.blocks:
                stack.enter_context(block)
            self.inside.set()
            self.end.wait(30)

    def __enter__(self):
        self.thread.start()
        assert self.inside.wait(30)

    def __exit__(self, *exception):
        self.end.set()
        self.thread.join()


@fork
def test_a_lock_that_another_thread_holds_is_open_in_a_child():
    lock = locks.new_lock()
    with Held(lock):
        assert in_child(lambda: lock.acquire(timeout=1)) == 1
        assert not lock.acquire(blocking=False)  # here it is held


@fork
def test_a_lock_that_the_forking_thread_holds_stays_its_own():
    lock = locks.new_lock()

    def child():
        lock.release()
        taken = []
        thread = threading.Thread(target=lambda: taken.append(lock.acquire(timeout=1)))
        thread.start()
        thread.join()
        return taken == [True]

    with lock:
        assert in_child(child) == 1


@fork
def test_batches_of_other_threads_end_in_a_child_and_the_online_mode_stays():
    device = OpuDevice(device="ideal")
    with device:
        with Held(device.acquiring()):
            assert device.acq_state is AcqState.batch
            assert in_child(lambda: device.acq_state is AcqState.stopped) == 1
        with device.acquiring():
            assert in_child(lambda: device.acq_state is AcqState.batch) == 1
        with Held(device.acquiring(online=True)):
            assert in_child(lambda: device.acq_state is AcqState.online) == 1
        assert device.acq_state is AcqState.stopped


@fork
def test_counts_of_threads_are_right_in_a_child():
    torch = pytest.importorskip("torch")
    torch.set_float32_matmul_precision("medium")
    try:
        with Held(arrays._full_precision(torch), run._one_blas_thread(), run._warnings([])):
            assert torch.get_float32_matmul_precision() == "highest"
            assert in_child(lambda: torch.get_float32_matmul_precision() == "medium") == 1
            assert in_child(lambda: (run._blas_users, run._warned) == (0, {})) == 1
        with arrays._full_precision(torch):
            assert in_child(lambda: torch.get_float32_matmul_precision() == "highest") == 1
    finally:
        torch.set_float32_matmul_precision("highest")


@fork
def test_a_part_that_another_thread_loads_is_loaded_in_a_child(monkeypatch):
    monkeypatch.setattr(plugins, "_loaded", False)

    class Loading:
        def __enter__(self):
            assert plugins._is_our_turn()

        def __exit__(self, *exception):
            plugins._loader = None

    with Held(Loading()):
        assert in_child(lambda: plugins._loader is None and plugins._is_our_turn()) == 1


@fork
def test_a_bar_that_another_thread_draws_does_not_stop_a_child():
    import tqdm

    with progress.ProgressBar(1, shown=True):
        pass

    class Drawing:
        def __enter__(self):
            tqdm.std.TqdmDefaultWriteLock.th_lock.acquire()

        def __exit__(self, *exception):
            tqdm.std.TqdmDefaultWriteLock.th_lock.release()

    def child():
        with progress.ProgressBar(3, shown=True) as bar:
            bar.advance()
        return bar.done

    with Held(Drawing()):
        assert in_child(child) == 3


def test_the_package_has_no_other_locks():
    """Each is made by `new_lock`, so that none is forgotten."""
    root = Path(opusim.__file__).parent.parent
    made = re.compile(r"threading\.(R?Lock|Condition|(Bounded)?Semaphore|Event|Barrier)\((?!new_lock)")
    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for folder in ("opusim", "drivers", "calibration")
        for path in sorted((root / folder).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if made.search(line)
    ]
    assert [line for line in found if "base/locks.py" not in line and "base/progress.py" not in line] == []


@fork
def test_a_fork_waits_for_products_and_leaves_them_open():
    inside, done = threading.Event(), threading.Event()

    def multiplies():
        with locks.forks_wait():
            inside.set()
            time.sleep(0.2)
            done.set()

    thread = threading.Thread(target=multiplies)
    thread.start()
    inside.wait()
    assert in_child(lambda: done.is_set() and locks._products.acquire(blocking=False)) == 1
    thread.join()
    with locks.forks_wait():  # and here
        assert done.is_set()
