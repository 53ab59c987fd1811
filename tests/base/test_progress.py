"""The progress bar: what it counts, what it says, and that there is none unless it is asked for."""

from __future__ import annotations

import sys

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
