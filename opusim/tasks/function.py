"""Task: a function of the user's, by name."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from opusim.base.parameters import near_matches
from opusim.base.plain_files import read_text
from opusim.base.plugins import text_of

from .base import GivenTask, check_methods

__all__ = ["FunctionTask", "text_sha256"]


@dataclass(frozen=True)
class FunctionTask(GivenTask):
    """A function of the user's, by name: each process loads it anew, from the same folder.

    Parameters
    ----------
    spec : str
        "module:function", or "file.py:function"; the file's text goes to the workers.

    Raises
    ------
    TypeError, ValueError
        If it cannot be loaded, or is no function.

    Notes
    -----
    A process that lives on, as a Dask worker does, keeps what it has imported: after a module beside the file was
    edited, start it again. Of the module that is named itself, one that keeps another text says so.
    """

    spec: str
    source: str = field(default="", init=False, repr=False)
    folder: str = field(default="", init=False, repr=False)
    digest: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        """Load it once, so that an error shows before anything is run."""
        place, colon, _ = self.spec.rpartition(":")
        if not colon or not place:
            raise ValueError(f"task is {self.spec!r}, but a function is named as module:function or file.py:function.")
        if place.endswith(".py"):
            try:
                text = read_text(place)
            except (OSError, ValueError) as error:
                raise ValueError(f"task is {self.spec!r}, but the file cannot be read ({error}).") from error
            object.__setattr__(self, "source", text)
        # A process elsewhere may work in another folder.
        object.__setattr__(self, "folder", str(Path(place).resolve().parent if self.source else Path.cwd()))
        function, digest = _load(self.spec, self.source, self.folder)
        check_methods(function)
        object.__setattr__(self, "digest", digest)

    def _given(self) -> Callable[..., Any]:
        function, digest = _load(self.spec, self.source, self.folder)
        if digest != self.digest:
            raise ValueError(
                f"task is {self.spec!r}, but this process holds another text of that module than the one that runs the "
                "sweep: start it again, or name the task as file.py:function."
            )
        return function

    @property
    def name(self) -> str:
        """Name of the task: that of the file without its folder, and of the function."""
        place, _, function = self.spec.rpartition(":")
        return f"{Path(place).name if self.source else place}:{function}"

    def describe(self) -> dict[str, Any]:
        """Return what tells one task from another.

        The text of the function is not compared: it may be mended in the course of a sweep.

        Returns
        -------
        dict
            The function's name.
        """
        return {"name": self.name}


def text_sha256(task: Any) -> str:
    """Return the check sum of the text that a task is defined in.

    Parameters
    ----------
    task : callable
        A function of an OPU and a seed, or an object that can be called so.

    Returns
    -------
    str
        A sha256 (hex): of its file; of a function or class of the program that runs, of its own text. Empty where there
        is no text, and for opusim's own tasks, which the version tells.
    """
    if isinstance(task, FunctionTask):
        return hashlib.sha256(task.source.encode()).hexdigest() if task.source else task.digest
    kind = inspect.unwrap(task) if inspect.isfunction(task) else type(task)
    module = sys.modules.get(kind.__module__)
    if module is None or kind.__module__.partition(".")[0] == "opusim":
        return ""
    if kind.__module__ == "__main__":
        # The rest of a program may well differ: that which starts the parts stands there.
        text = text_of(kind)
        return hashlib.sha256(text).hexdigest() if text else ""
    return _digests.setdefault(module, _digest(module))


@functools.lru_cache(maxsize=32)
def _load(spec: str, source: str, folder: str) -> tuple[Callable[..., Any], str]:
    """Return the function, and of a module the sha256 (hex) of its text."""
    place, _, name = spec.rpartition(":")
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        if source:
            # By a name of its own: a file may be called as a module that there is.
            module = types.ModuleType(f"opusim_task_{hashlib.sha256(source.encode()).hexdigest()[:16]}")
            module.__file__ = str(Path(folder) / Path(place).name)
            sys.modules[module.__name__] = module
            exec(compile(source, module.__file__, "exec"), module.__dict__)
        else:
            module = importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise ValueError(f"task is {spec!r}, but it cannot be loaded ({type(error).__name__}: {error}).") from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        near = near_matches(name, names)
        raise ValueError(f"task is {spec!r}, but there is no function {name!r} in {place}{near}.")
    return function, "" if source else _digests.setdefault(module, _digest(module))


# Of modules, when they were first met here: what is loaded does not change with the file.
_digests: WeakKeyDictionary[types.ModuleType, str] = WeakKeyDictionary()


def _digest(module: types.ModuleType) -> str:
    path = Path(getattr(module, "__file__", None) or "")
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".py" else ""
    except OSError:
        return ""
