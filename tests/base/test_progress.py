"""The progress bar: what it counts, what it says, and that there is none unless it is asked for."""

from __future__ import annotations

import sys

import pytest

from opusim.base.progress import ProgressBar, counted


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
