"""One progress bar for everything that is counted; tqdm is loaded when one is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["ProgressBar", "counted"]


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
        terminal, as those that ``pythonw`` starts, has None for ``sys.stderr``.

    Attributes
    ----------
    done : int
        What was reached.
    """

    def __init__(self, total: int, text: str = "", *, unit: str = "it", done: int = 0, shown: bool = True) -> None:
        self.total, self.done = total, done
        self._bar: Any = None
        if shown and sys.stderr is not None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=text or None, unit=unit, initial=done)

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
