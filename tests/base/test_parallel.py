"""Work over threads: all of it, its errors, one pool of them, and Ctrl-C as what it is."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from opusim.base import parallel


def renew():
    """Begin with no threads, and let those that there are end."""
    for worker in parallel._pool._workers:
        worker.inbox.put(None)
    parallel._renew()


@pytest.fixture
def fresh():
    """A pool without threads."""
    renew()
    yield
    renew()


def names(threads=2, n=16):
    """Return the names of the threads that had a part in some slow work."""
    seen = []

    def work(start, stop):
        seen.append(threading.current_thread().name)
        time.sleep(0.01)

    parallel.over_ranges(work, n, threads)
    return set(seen)


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


def test_an_interrupt_while_a_thread_starts_is_told_as_one(monkeypatch, fresh):
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


def test_the_error_of_the_first_range_is_told_and_ranges_behind_it_are_left_out():
    begun = []

    def work(start, stop):
        begun.append(start)
        time.sleep(0.002)
        raise ValueError(f"of {start}")

    for _ in range(20):
        begun.clear()
        with pytest.raises(ValueError, match="^of 0$"):
            parallel.over_ranges(work, 1000, 2)
        assert len(begun) <= 2


# ---------------------------------------------------------------- the pool


def test_two_threads_are_the_caller_and_one_other_which_stays(fresh):
    me = threading.current_thread().name
    assert names() == names() == {me, "opusim-1"}
    assert names(3) <= {me, "opusim-1", "opusim-2"}


def test_what_is_not_worth_a_range_stays_with_the_caller(fresh):
    calls = []
    parallel.over_ranges(lambda a, b: calls.append((a, b)), 19, 4, 10)
    assert calls == [(0, 19)] and len(parallel._pool._workers) == 0
    parallel.over_ranges(lambda a, b: calls.append((a, b)), 20, 4, 10)
    assert sorted(calls[1:]) == [(0, 10), (10, 20)]


def test_calls_within_the_work_are_done_where_they_are(fresh):
    seen = []

    def inner(start, stop):
        seen.append((threading.current_thread().name, stop - start))

    def outer(start, stop):
        time.sleep(0.005)
        parallel.over_ranges(inner, 8, 4)

    parallel.over_ranges(outer, 8, 2)
    assert [n for _, n in seen] == [8] * 8 and {name for name, _ in seen} == {"opusim-1", "MainThread"}
    parallel.over_ranges(inner, 8, 2)  # no call is left within another
    assert sorted(n for _, n in seen[8:]) == [1] * 8


def test_calls_of_several_threads_at_once_are_all_done(fresh):
    totals = []

    def call():
        for _ in range(200):
            done = []
            parallel.over_ranges(lambda a, b, done=done: done.extend(range(a, b)), 37, 3)
            totals.append(sorted(done) == list(range(37)))

    callers = [threading.Thread(target=call) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert totals == [True] * 1200
    assert len(parallel._pool._workers) <= max(2, parallel.default_threads() - 1)


def test_idle_threads_hold_nothing():
    class Large:
        pass

    large = Large()
    gone = weakref.ref(large)

    def work(start, stop, of=large):
        time.sleep(0.002)

    parallel.over_ranges(work, 8, 2)
    del work, large
    for _ in range(100):
        if gone() is None:
            break
        time.sleep(0.01)
        gc.collect()
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_threads_of_its_own(fresh):
    assert "opusim-1" in names()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(10)
            code = 0 if len(parallel._pool._workers) == 0 and "opusim-1" in names() else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    assert "opusim-1" in names()


class Interrupt:
    """Ctrl-C after so many steps of the module, at those where Python looks for it: calls that begin or have ended."""

    def __init__(self, step):
        self.left = step

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename == parallel.__file__ and event in ("call", "c_return"):
            self.left -= 1
            if self.left < 0:
                sys.setprofile(None)
                raise KeyboardInterrupt


@pytest.mark.parametrize("grown", [False, True], ids=["no thread yet", "a thread that waits"])
def test_ctrl_c_at_any_step_loses_no_thread_and_leaves_none_at_work(grown, fresh):
    begun, ended = [], []

    def work(start, stop):
        begun.append(start)
        time.sleep(0.001)
        ended.append(start)

    others = set(threading.enumerate())
    for step in range(1000):
        renew()
        if grown:
            assert "opusim-1" in names()
        begun.clear(), ended.clear()
        interrupt = Interrupt(step)
        sys.setprofile(interrupt)
        try:
            parallel.over_ranges(work, 8, 2)
        except KeyboardInterrupt:
            assert sorted(begun) == sorted(ended)
        finally:
            sys.setprofile(None)
        n_begun = len(begun)
        for _ in range(2000):  # until it has looked at what it was given
            if all(worker.is_idle() for worker in parallel._pool._workers):
                break
            time.sleep(0.001)
        assert len(begun) == len(ended) == n_begun
        assert names() == {threading.current_thread().name, "opusim-1"}
        assert len(parallel._pool._workers) == 1
        if interrupt.left >= 0:  # all steps are behind
            break
    assert step > 10 and n_begun == 8
    renew()
    for thread in set(threading.enumerate()) - others:
        thread.join(10)
        assert not thread.is_alive()


def test_two_callers_of_one_idle_thread_are_both_done(fresh, monkeypatch):
    """As they are where each looks before the other has given it its job."""
    assert "opusim-1" in names()
    (worker,) = parallel._pool._workers
    monkeypatch.setattr(parallel._pool, "idle", lambda n: [worker])
    seen = [[], []]

    def call(mine):
        parallel.over_ranges(lambda a, b: (time.sleep(0.002), mine.extend(range(a, b))), 16, 2)

    callers = [threading.Thread(target=call, args=(mine,)) for mine in seen]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert [sorted(mine) for mine in seen] == [list(range(16))] * 2


def run_program(text):
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)


def test_threads_do_not_keep_a_process_and_work_is_done_while_it_ends():
    done = run_program(
        "import atexit\n"
        "from opusim.base.parallel import over_ranges\n"
        "def call():\n"
        "    seen = []\n"
        "    over_ranges(lambda a, b: seen.extend(range(a, b)), 9, 3)\n"
        "    print(sorted(seen) == list(range(9)), flush=True)\n"
        "class Late:\n"
        "    def __del__(self, call=call):\n"
        "        call()\n"
        "late = Late()\n"
        "atexit.register(call)\n"
        "call()\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n" * 3, "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of processes")
def test_ctrl_c_waits_for_what_runs():
    done = run_program(
        "import os, signal, threading, time\n"
        "from opusim.base.parallel import over_ranges\n"
        "main, begun, ended = threading.get_ident(), [], []\n"
        "def work(a, b):\n"
        "    begun.append(a)\n"
        "    if threading.get_ident() == main:\n"
        "        while len(begun) < 2:\n"
        "            time.sleep(.001)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(5)\n"
        "    time.sleep(.3)\n"
        "    ended.append(a)\n"
        "try:\n"
        "    over_ranges(work, 100, 2)\n"
        "except KeyboardInterrupt:\n"
        "    print(len(begun), len(ended))\n"
        "seen = []\n"
        "over_ranges(lambda a, b: seen.extend(range(a, b)), 9, 2)\n"
        "print(len(seen))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 1\n9\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of processes")
def test_more_of_ctrl_c_waits_too():
    done = run_program(
        "import os, signal, threading, time\n"
        "from opusim.base.parallel import over_ranges\n"
        "main, begun, ended, sent = threading.get_ident(), [], [], []\n"
        "def send():\n"
        "    for _ in range(3):\n"
        "        time.sleep(.1)\n"
        "        sent.append(None)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "def work(a, b):\n"
        "    begun.append(a)\n"
        "    while len(begun) < 2:\n"
        "        time.sleep(.001)\n"
        "    if threading.get_ident() == main:\n"
        "        threading.Thread(target=send).start()\n"
        "        time.sleep(5)\n"
        "    time.sleep(1)\n"
        "    ended.append(a)\n"
        "try:\n"
        "    over_ranges(work, 100, 2)\n"
        "except KeyboardInterrupt:\n"
        "    print(len(begun), len(ended), len(sent))\n"
        "seen = []\n"
        "over_ranges(lambda a, b: seen.extend(range(a, b)), 9, 2)\n"
        "print(len(seen))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 1 3\n9\n", "")
