"""The progress bar: what it counts, what it says, and that there is none unless it is asked for."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from opusim.base import progress
from opusim.base.progress import LongWork, ProgressBar, counted, long_work_shown


def test_it_is_filled_unless_something_goes_wrong(capfd):
    with ProgressBar(40, "here", unit="vector") as bar:
        bar.reach(3)
        bar.after(10)(5)
        assert bar.done == 15
        bar.advance()
        bar.say("there", loss="0.5")
    assert bar.done == 40
    told = capfd.readouterr().err
    assert "here" in told and "there" in told and "loss=0.5" in told and "40/40" in told
    with pytest.raises(KeyError), ProgressBar(40) as bar:
        bar.reach(3)
        raise KeyError
    assert bar.done == 3 and "40/40" not in capfd.readouterr().err


def test_a_bar_that_goes_on(capfd):
    with ProgressBar(10, done=6) as bar:
        assert bar.done == 6
        bar.advance(2)
        assert bar.done == 8
    assert "6/10" in capfd.readouterr().err


def test_nothing_is_shown_or_loaded_unasked(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with ProgressBar(5, shown=False) as bar:
        bar.reach(2)
        bar.say("nothing")
    assert list(counted(3, "here", False)) == [0, 1, 2] and capfd.readouterr().err == ""


def test_counted(capfd):
    assert list(counted(3, "here", True)) == [0, 1, 2]
    told = capfd.readouterr().err
    assert "here" in told and "3/3" in told


def test_without_a_terminal_there_is_none(monkeypatch):
    """As under pythonw, where Python has no standard streams."""
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressBar(5, "here", shown=True) as bar:
        bar.reach(2)
        bar.say("there", loss="0.5")
    assert bar.done == 5 and list(counted(3, "here", True)) == [0, 1, 2]


class _Lost:
    """A terminal that goes after some texts."""

    encoding = "utf-8"

    def __init__(self, error, left):
        self.error, self.left, self.told = error, left, []

    def write(self, text):
        self.flush()
        self.told.append(text)

    def flush(self):
        self.left -= 1
        if self.left < 0:
            raise type(self.error)(*self.error.args)


@pytest.mark.parametrize("error", [ValueError("I/O operation on closed file."), OSError(9, "Bad file descriptor")])
@pytest.mark.parametrize("left", [0, 1, 2, 5, 9])
def test_where_the_terminal_goes_the_bar_goes_and_the_count_stays(monkeypatch, error, left):
    terminal = _Lost(error, left)
    monkeypatch.setattr(sys, "stderr", terminal)
    with ProgressBar(5, "here") as bar:
        bar.reach(2)
        bar.say("there", loss="0.5")
        bar.advance()
        assert bar.done == 3
    assert bar.done == 5 and list(counted(3, "here", True)) == [0, 1, 2]
    clock = _Clock(monkeypatch)
    with long_work_shown(), LongWork(40, "here") as work:
        for _ in range(4):
            clock.now_s += 3
            work.advance()
    assert work.done == 4 and terminal.left < 0 and bool(terminal.told) == (left > 2)
    others: list[int] = []  # tqdm's lock is open for the bars of other threads
    monkeypatch.setattr(sys, "stderr", _Lost(error, 100))
    thread = threading.Thread(target=lambda: others.extend(counted(3, "there", True)), daemon=True)
    thread.start()
    thread.join(10)
    assert others == [0, 1, 2]


@pytest.mark.parametrize("how", ["sys.stderr.close()", "os.close(2)"])
def test_a_closed_standard_error_ends_no_work(how):
    done = subprocess.run(
        [sys.executable, "-c", f"""
import os, sys
from opusim.base import progress
progress.LONG_S = 0.0
with progress.ProgressBar(9, "before") as bar, progress.long_work_shown(), progress.LongWork(9, "work") as work:
    bar.reach(2), work.advance()
    {how}
    bar.say("there", loss="0.5"), bar.reach(4), work.advance()
with progress.ProgressBar(9, "after") as bar, progress.long_work_shown(), progress.LongWork(9, "work") as work:
    bar.reach(4), work.advance()
print(bar.done, work.done)
"""],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "9 1\n") and "before" in done.stderr


class _Clock:
    """A clock that a test puts forward."""

    def __init__(self, monkeypatch):
        self.now_s = 100.0
        monkeypatch.setattr(progress, "time", self)

    def monotonic(self):
        return self.now_s


class _Shown:
    """Bars that are written down: what they are told, and that they are closed."""

    def __init__(self):
        self.told = []

    def __call__(self, total, text, unit, done):
        self.told.append((total, text, unit, done))
        return self

    def reach(self, done):
        self.told.append(done)

    def close(self):
        self.told.append("closed")


def test_long_work_shows_a_bar_from_two_seconds_on(monkeypatch):
    clock, shown = _Clock(monkeypatch), _Shown()
    with long_work_shown(bars=shown), LongWork(40, "here", unit="row") as work:
        work.advance(3)
        clock.now_s += 1.9
        work.advance(3)
        assert not shown.told
        clock.now_s += 0.2
        work.advance(4)
        work.advance(20)
        assert shown.told == [(40, "here", "row", 10), 30]
    assert shown.told[2:] == ["closed"]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_the_bar_of_long_work_is_closed_whatever_happens(monkeypatch, error):
    clock, shown = _Clock(monkeypatch), _Shown()
    with pytest.raises(error), long_work_shown(bars=shown), LongWork(40, "here") as work:
        clock.now_s += 3
        work.advance()
        raise error
    assert shown.told == [(40, "here", "it", 1), "closed"]
    with LongWork(40, "there") as work:  # nobody asks for a bar any more
        clock.now_s += 3
        work.advance()
    assert len(shown.told) == 2


@pytest.mark.parametrize("error", [ValueError("I/O operation on closed file."), BrokenPipeError()])
@pytest.mark.parametrize("where", ["made", "told", "closed"])
def test_bars_that_cannot_be_written_leave_long_work_alone(monkeypatch, error, where):
    clock, shown = _Clock(monkeypatch), _Shown()

    def broken(*_):
        shown.told.append(where)
        raise error

    bars = broken if where == "made" else shown
    if where != "made":
        monkeypatch.setattr(shown, {"told": "reach", "closed": "close"}[where], broken)
    with long_work_shown(bars=bars), LongWork(40, "here") as work:
        for _ in range(3):
            clock.now_s += 3
            work.advance()
    assert work.done == 3
    first = (40, "here", "it", 1)
    assert shown.told == {"made": ["made"], "told": [first, "told", "closed"], "closed": [first, 2, 3, "closed"]}[where]


def test_what_is_over_shows_no_bar(monkeypatch):
    clock, shown = _Clock(monkeypatch), _Shown()
    with long_work_shown(bars=shown), LongWork(2, "here") as work:
        work.advance()
        clock.now_s += 60
        work.advance()
    assert work.done == 2 and not shown.told


def test_the_bar_of_long_work_leaves_the_screen_as_it_was(monkeypatch, capfd):
    clock = _Clock(monkeypatch)
    for asked in (True, False):
        with long_work_shown(asked), LongWork(40, "here") as work:
            clock.now_s += 3
            work.advance(10)
        told = capfd.readouterr().err
        assert ("here" in told and "10/40" in told) if asked else not told
    monkeypatch.setattr(sys, "stderr", None)
    with long_work_shown(), LongWork(40, "here") as work:
        clock.now_s += 3
        work.advance(10)
    assert work.done == 10
