"""Parts by file, ours and others': registries that find what a folder holds, and what other packages bring.

A part (a medium, a procedure of calibration, a way to a linear transform, a task, a command) registers itself when its
module is imported. Our own modules are found by listing their folder. Those of another package are found by its entry
points, each of which names a module, or an object in one, to import::

    [project.entry-points."opusim.parts"]
    dark = "my_package.dark"

They are loaded once, and not before something is asked for that is not ours, or what there is is listed. A module that
a program imports itself needs no entry point.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import pkgutil
import re
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from .folders import expanded
from .locks import after_fork, new_lock

__all__ = ["GROUP", "Registry", "code_of", "import_folder", "load", "named", "text_of"]

#: Group of the entry points that name parts.
GROUP = "opusim.parts"
_METADATA = (".dist-info", ".egg-info")
_WORD = re.compile(r"\w[\w.@-]*")

Part = TypeVar("Part")

# How long others wait, from when a thread began to load, before they go on with what is there.
_PATIENCE_S = 5.0

_adding = new_lock()
_turn = threading.Condition(new_lock())
_loader: int | None = None
_began_s = 0.0
_loaded = False
_done: set[tuple[str, str]] = set()


def load() -> None:
    """Import the parts that other packages bring; once, later calls do nothing.

    One thread imports them, and no lock is held meanwhile. Others wait for it a few seconds, then go on with what is
    there: the part that is being imported may be waiting for one of them. After an interrupt (Ctrl-C) the next call
    goes on.

    Warns
    -----
    UserWarning
        For each that cannot be imported: it names it, and the others are there.
    """
    global _loaded, _loader
    if _loaded or not _is_our_turn():
        return
    try:
        if _any():
            _load_all()
        _loaded = True
    finally:
        with _turn:
            _loader = None
            _turn.notify_all()


def _is_our_turn() -> bool:
    """Whether this thread is to load: none does, or has."""
    global _loader, _began_s
    with _turn:
        if _loader == threading.get_ident():
            return False  # a part that asks while it is imported
        if _loader is not None:
            left_s = _began_s + _PATIENCE_S - time.monotonic()
            _turn.wait_for(lambda: _loader is None, timeout=max(0.0, left_s))
        if _loaded or _loader is not None:
            return False
        _loader, _began_s = threading.get_ident(), time.monotonic()
        return True


def _nobody_else_loads() -> None:
    """Let a forked child load what a thread that it has not was loading."""
    global _loader
    if _loader != threading.get_ident():
        _loader = None


after_fork(_nobody_else_loads)


def _load_all() -> None:
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if (point.name, point.value) in _done:
            continue  # before an interrupt
        problem: BaseException | None = None
        try:
            point.load()
        except (Exception, SystemExit) as error:
            problem = error
        _done.add((point.name, point.value))
        if problem is not None:
            owner = point.dist.name if point.dist is not None else "an unknown package"
            warnings.warn(
                f"The part {point.name!r} ({point.value}) of {owner} cannot be loaded and is left out "
                f"({type(problem).__name__}: {problem}).",
                stacklevel=3,
            )


def _any() -> bool:
    """Whether a folder of the path holds an entry point of ours: importlib.metadata takes ten times as long to say."""
    wanted = GROUP.encode()
    for folder in dict.fromkeys(sys.path):
        try:
            names = [name for name in os.listdir(folder or os.curdir) if name.endswith(_METADATA)]
        except OSError:
            continue
        for name in names:
            try:
                with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                    if wanted in file.read():
                        return True
            except OSError:
                continue
    return False


def named(spec: str, folder: Path | None = None) -> Any:
    """Import an object by name.

    Parameters
    ----------
    spec : str
        "module:name", or "file.py:name" of a file, whose ``~`` is the user's folder. The file is imported as a module
        of its own name, and its folder joins ``sys.path``: processes that are started later find it there.
    folder : Path, optional
        What leads to the file; the working folder by default.

    Returns
    -------
    object
        What has that name.

    Raises
    ------
    ValueError
        If it cannot be imported, or has no such name.
    """
    place, _, name = spec.rpartition(":")
    path = None
    if place.endswith(".py"):
        path = ((folder or Path()) / expanded(place)).resolve()
        if not path.is_file():
            raise ValueError(f"there is no file {place!r}" + (f" in {str(folder)!r}" if folder else ""))
    home = str(Path.cwd() if path is None else path.parent)
    if home not in sys.path:
        sys.path.append(home)
    try:
        module = importlib.import_module(place if path is None else path.stem)
    except (Exception, SystemExit) as error:
        raise ValueError(f"it cannot be loaded ({type(error).__name__}: {error})") from error
    found = getattr(module, "__file__", None)
    if path is not None and (found is None or Path(found).resolve() != path):
        raise ValueError(
            f"there is another module {path.stem!r} already, {found or 'of Python itself'}: rename the file"
        )
    try:
        return getattr(module, name)
    except AttributeError:
        raise ValueError(f"there is no {name!r} in {place}") from None


_KEPT = "_code_sha256"
# Scripts and notebooks change around a class that stays the same: there the class counts, not the whole file.
_SCRIPTS = ("__main__", "__mp_main__")


def code_of(kind: type) -> str:
    """Return what tells the code of a class that is not opusim's from another one of the same name.

    Of each class that it derives from, itself too, and that comes from elsewhere, the text counts: that of the file of
    its module; in a script or a notebook that of the class. What they import does not.

    Parameters
    ----------
    kind : type
        The class. What is found is kept in it, and goes with it where it is sent as code.

    Returns
    -------
    str
        A sha256 in hexadecimal digits; empty if all of it comes with opusim and Python, or no text can be had.
    """
    if (kept := vars(kind).get(_KEPT)) is not None:
        return str(kept)
    texts = [text for base in kind.__mro__ if _is_others(base) for text in [text_of(base)] if text]
    result = hashlib.sha256(b"\0".join(texts)).hexdigest() if texts else ""
    setattr(kind, _KEPT, result)
    return result


def _is_others(cls: type) -> bool:
    top = cls.__module__.partition(".")[0]
    return top != "opusim" and top not in sys.stdlib_module_names


def text_of(defined: Any) -> bytes:
    """Return the text that a class or a function is defined in.

    Parameters
    ----------
    defined : type or function
        The class or function.

    Returns
    -------
    bytes
        Of its module's file; of one of a script or a notebook its own source, for the rest of a program may differ.
        Empty if none can be had.
    """
    if defined.__module__ not in _SCRIPTS:
        try:
            return Path(str(sys.modules[defined.__module__].__file__)).read_bytes().replace(b"\r\n", b"\n")
        except (KeyError, AttributeError, OSError):
            pass  # no file: made by a program, or in an archive
    try:
        return inspect.getsource(defined).encode()
    except (OSError, TypeError):
        pass  # a notebook, where Python knows the cells of functions only
    texts = []
    for value in vars(defined).values():
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if inspect.isfunction(function):
            try:
                texts.append(inspect.getsource(function))
            except (OSError, TypeError):
                continue  # as of those that dataclasses make
    return "\n".join(texts).encode()


def import_folder(package: str, *, marker: str = "") -> None:
    """Import the modules of a package.

    Parameters
    ----------
    package : str
        Its full name.
    marker : str, optional
        A regular expression of what the lines of a module's source must hold for it to be imported, where a folder has
        more than parts in it: how a part is defined.
    """
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        if not marker or re.search(marker, _source(found.name), re.MULTILINE):
            importlib.import_module(found.name)


def _source(module: str) -> str:
    spec: Any = find_spec(module)
    return spec.loader.get_source(module) or ""


class Registry(Mapping[str, Part], Generic[Part]):
    """Parts of one kind by name, in the order that they ask for.

    Parameters
    ----------
    what : str
        What a part is called, for messages.
    package : str
        Full name of the package whose modules register our own.
    marker : str, optional
        As of `import_folder`.

    Attributes
    ----------
    marker : str
        As given.

    Notes
    -----
    Our own are imported when something is first looked up; others' (`load`) when a name is not ours, or when all are
    listed.
    """

    def __init__(self, what: str, package: str, *, marker: str = "") -> None:
        self._what, self._package, self.marker = what, package, marker
        self._parts: dict[str, tuple[float, str, Part]] = {}
        self._own_loaded = False
        self._loading = threading.local()  # whether this thread is at it

    def add(self, name: str, part: Part, *, origin: str, order: float = 100.0) -> None:
        """Register a part.

        Parameters
        ----------
        name : str
            Its name.
        part : object
            The part.
        origin : str
            Where it is from, as "module:name"; the same one may come again, as it does when a module is reloaded.
        order : float
            Its place in lists; those of one place stand as they came. Our own are below 100.

        Raises
        ------
        TypeError, ValueError
            If `name` is no text or no word, or another part has it.
        """
        if not isinstance(name, str):
            raise TypeError(f"The name of a {self._what} is {name!r}, but it must be a text, a word such as 'camera'.")
        if not _WORD.fullmatch(name):
            raise ValueError(f"The name of a {self._what} is {name!r}, but it must be a word such as 'camera'.")
        if not origin.startswith(f"{self._package}."):
            self._load_own()  # whose names are taken, whoever comes first
        with _adding:
            if name in self._parts and self._parts[name][1] != origin:
                raise ValueError(f"There is a {self._what} {name!r} already, that of {self._parts[name][1]}.")
            self._parts[name] = (order, origin, part)

    def _load_own(self) -> None:
        # Each thread that comes before they are there imports the folder. Python imports a module once and lets others
        # wait for it, and knows when two wait for each other: a lock of ours around that could hang.
        if self._own_loaded or getattr(self._loading, "now", False):
            return
        self._loading.now = True
        try:
            import_folder(self._package, marker=self.marker)
            self._own_loaded = True  # after an error the next one who asks is told too
        finally:
            self._loading.now = False

    def known(self) -> list[Part]:
        """Return those that are registered so far; nothing is imported.

        Returns
        -------
        list of object
            Parts, in the order in which they came.
        """
        return [part for _, _, part in dict(self._parts).values()]

    def own(self) -> list[str]:
        """Return the names of all but those that only `load` would find, in order.

        Returns
        -------
        list of str
            Names.
        """
        self._load_own()
        parts = dict(self._parts)  # another thread may add one meanwhile
        return sorted(parts, key=lambda name: parts[name][0])

    def __getitem__(self, name: str) -> Part:
        """Return a part; a KeyError if there is none of that name."""
        self._load_own()
        if name not in self._parts:
            load()
        return self._parts[name][2]

    def __iter__(self) -> Iterator[str]:
        """Names in order."""
        load()
        return iter(self.own())

    def __len__(self) -> int:
        """How many there are."""
        return sum(1 for _ in self)
