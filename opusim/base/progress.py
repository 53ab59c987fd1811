"""One progress bar for everything that is counted; tqdm is loaded when one is shown."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol

from .locks import after_fork

__all__ = ["LongWork", "ProgressBar", "counted", "long_work_shown"]

LONG_S = 2.0
"""Seconds from which on work shows a bar that seldom takes so long."""


# What a stream raises that is closed: by its object, or by the system below it, as where a terminal has gone.
_UNWRITABLE = (ValueError, OSError)


class _Quiet:
    """A stream that writes what it can: tqdm would end the work, and keep its lock, where it cannot.

    Parameters
    ----------
    stream : file
        Where to.
    """

    def __init__(self, stream: Any) -> None:
        self._wrapped = stream  # the name by which tqdm sees that it is a standard stream, and asks how wide it is

    def __getattr__(self, name: str) -> Any:
        """Be like the stream otherwise."""
        return getattr(self._wrapped, name)

    def __eq__(self, other: object) -> bool:
        """Compare streams."""
        return bool(self._wrapped == getattr(other, "_wrapped", other))

    def __hash__(self) -> int:
        """Agree with the comparison."""
        return hash(self._wrapped)

    def write(self, text: str) -> None:
        """Write a text."""
        with suppress(*_UNWRITABLE):
            self._wrapped.write(text)

    def flush(self) -> None:
        """Have it seen."""
        with suppress(*_UNWRITABLE):
            self._wrapped.flush()


def _standard_streams_are_open() -> bool:
    """Return whether both can be flushed, as tqdm does when it begins: amid that a half-made bar would be left."""
    try:
        for stream in (sys.stderr, sys.stdout):
            if stream is not None:
                stream.flush()
    except _UNWRITABLE:
        return False
    return True


class ProgressBar:
    """A progress bar; filled when its with block ends, unless something went wrong.

    Parameters
    ----------
    total : int
        What there is to count.
    text : str
        What is said in front of it.
    unit : str
        What is counted.
    done : int
        How much of it is done already.
    shown : bool
        Whether there is a bar at all. There is none where there is nothing to write it to: a program without a
        terminal, as those that ``pythonw`` starts, has None for ``sys.stderr``. Where that is closed, or is later on,
        nothing more is written, and what is counted goes on.
    stays : bool
        Whether it is still seen when it is closed.

    Attributes
    ----------
    done : int
        What was reached.
    """

    def __init__(
        self, total: int, text: str = "", *, unit: str = "it", done: int = 0, shown: bool = True, stays: bool = True
    ) -> None:  # fmt: skip
        self.total, self.done = total, done
        self._bar: Any = None
        if shown and sys.stderr is not None and _standard_streams_are_open():
            from tqdm.auto import tqdm

            stream: Any = _Quiet(sys.stderr)
            with suppress(*_UNWRITABLE):
                self._bar = tqdm(total=total, desc=text or None, unit=unit, initial=done, leave=stays, file=stream)

    def reach(self, done: int) -> None:
        """Show that so much of the total is done.

        Parameters
        ----------
        done : int
            How much.
        """
        step, self.done = done - self.done, done
        if self._bar is not None:
            self._bar.update(step)

    def advance(self, n: int = 1) -> None:
        """Show that `n` more are done."""
        self.reach(self.done + n)

    def after(self, first: int) -> Callable[[int], None]:
        """Return what is told how much is done of a part that comes after the `first` ones."""
        return lambda done: self.reach(first + done)

    def say(self, text: str | None = None, **values: str) -> None:
        """Change what is said in front of the bar, or the values behind it; what is not given stays.

        Parameters
        ----------
        text : str, optional
            In front of it.
        **values : str
            Behind it, by name.
        """
        if self._bar is not None and text is not None:
            self._bar.set_description(text, refresh=False)
        if self._bar is not None and values:
            self._bar.set_postfix(values)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> ProgressBar:
        """Begin."""
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        """Fill the bar, unless something went wrong."""
        if kind is None:
            self.reach(self.total)
        self.close()


class Bar(Protocol):
    """What shows how much of a work is done."""

    def reach(self, done: int) -> None:
        """Show that so much is done."""
        ...

    def close(self) -> None:
        """Show no more."""
        ...


#: Makes a bar of a total, a text, a unit, and how much is done already.
Bars = Callable[[int, str, str, int], Bar]


def _plain_bar(total: int, text: str, unit: str, done: int) -> Bar:
    return ProgressBar(total, text, unit=unit, done=done, stays=False)


# Who asks for bars stands far above the work, and what is between them knows of neither.
_bars: ContextVar[Bars | None] = ContextVar("opusim_bars", default=None)


@contextmanager
def long_work_shown(shown: bool = True, bars: Bars = _plain_bar) -> Iterator[None]:
    """Let work show a bar in a with block, such as the making of a matrix, once it has taken two seconds.

    Parameters
    ----------
    shown : bool
        Whether there are bars; False changes nothing.
    bars : callable, optional
        Makes a bar of a total, a text, a unit and what is done already; a ``ProgressBar`` by default.

    Yields
    ------
    None
        Work of this thread shows its bars until the block ends.
    """
    if not shown:
        yield
        return
    token = _bars.set(bars)
    try:
        yield
    finally:
        _bars.reset(token)


class LongWork:
    """Work in a with block that shows how much of it is done from two seconds on, where `long_work_shown` is in force.

    A bar that cannot be written any more goes; the work stays.

    Parameters
    ----------
    total : int
        What there is to do.
    text : str
        What is said in front of the bar.
    unit : str
        What is counted.

    Attributes
    ----------
    done : int
        What was reached.
    """

    def __init__(self, total: int, text: str, *, unit: str = "it") -> None:
        self.total, self.done = total, 0
        self._text, self._unit = text, unit
        self._bars = _bars.get()
        self._bar: Bar | None = None
        self._start_s = time.monotonic()

    def advance(self, n: int = 1) -> None:
        """Tell that `n` more are done.

        Parameters
        ----------
        n : int
            How many.
        """
        self.done += n
        if self._bars is None:
            return
        try:
            if self._bar is not None:
                self._bar.reach(self.done)
            elif time.monotonic() - self._start_s >= LONG_S and self.done < self.total:
                # Not for what is over: a bar would only flash up.
                self._bar = self._bars(self.total, self._text, self._unit, self.done)
        except _UNWRITABLE:
            self._close()
            self._bars = None

    def _close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(*_UNWRITABLE):
                bar.close()

    def __enter__(self) -> LongWork:
        """Begin."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the bar, whatever the end."""
        self._close()


def _renew_tqdm() -> None:
    """Open tqdm's lock in a forked child: a thread that was drawing a bar has stayed in the parent."""
    std: Any = sys.modules.get("tqdm.std")
    auto: Any = sys.modules.get("tqdm.auto")
    if std is None or auto is None:
        return
    std.TqdmDefaultWriteLock.th_lock = threading.RLock()
    for kind in auto.tqdm.__mro__:  # the lock belongs to the class that first drew a bar
        # One that a program has set is its own matter.
        if isinstance(vars(kind).get("_lock"), std.TqdmDefaultWriteLock):
            kind.set_lock(std.TqdmDefaultWriteLock())


after_fork(_renew_tqdm)


def counted(n: int, text: str, shown: bool) -> Iterator[int]:
    """Yield the numbers below `n`, each when the one before it is done, with a progress bar if it is asked for.

    Parameters
    ----------
    n : int
        How many.
    text : str
        What the bar says.
    shown : bool
        Whether there is one.

    Yields
    ------
    int
        From 0 on.
    """
    bar = ProgressBar(n, text, shown=shown)
    try:
        for k in range(n):
            yield k
            bar.advance()
    finally:
        bar.close()
