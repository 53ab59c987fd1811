"""What goes to the workers of a Dask cluster, and is loaded there when it is used, not when it arrives.

A worker that cannot load what it is sent, for lack of opusim perhaps, does not say so: Dask lets it close itself, or
ask for the thing again, and whoever waits for a result waits for ever. What is carried arrives everywhere, since it is
told in terms of the standard library alone; a worker that cannot use it raises an error, which reaches the one who
waits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import opusim

__all__ = ["Carried"]

# As text, which every version of Python compiles for itself: `content`, `version` and `text` stand beside it.
_SOURCE = '''
class Arrived:
    """What `opusim.base.carried.Carried` becomes in another process."""

    def load(self):
        if "value" not in vars(self):
            try:
                import opusim
                from pickle import loads
                there = opusim.__version__
                if there == version:
                    self.value = loads(content)
            except Exception as error:
                said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                raise RuntimeError(
                    f"A worker of the Dask cluster cannot use what opusim {version} has sent ({said}): it must have "
                    "the same opusim, and the modules that encoders, methods and tasks come from."
                ) from error
            if there != version:
                raise RuntimeError(
                    f"A worker of the Dask cluster has opusim {there}, but this program has {version}: they must be "
                    "the same."
                )
        return self.value

    def __call__(self, *arguments, **options):
        return self.load()(*arguments, **options)

    def __reduce__(self):
        return eval, (made, {"made": made, "text": text, "content": content, "version": version})

arrived = Arrived()
'''
_MADE = "(exec(text, globals()), globals()['arrived'])[1]"


class Carried:
    """A value, or a function, that any process takes in and only one that has this opusim uses.

    Parameters
    ----------
    value : object
        It can be pickled where it is sent; within a process it is passed on as it is.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        if callable(value):
            # Dask looks which arguments a function takes.
            self.__signature__ = inspect.signature(value)

    def load(self) -> Any:
        """Return the value."""
        return self.value

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the value."""
        return self.value(*arguments, **options)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Tell it in terms of the standard library."""
        from cloudpickle import dumps

        parts = {"made": _MADE, "text": _SOURCE, "content": dumps(self.value), "version": opusim.__version__}
        return eval, (_MADE, parts)
