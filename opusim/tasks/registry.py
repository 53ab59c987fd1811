"""Tasks: what a sweep does with an OPU at each point.

A task is a `Task` (``opusim.tasks.base``), or a function ``task(opu, seed)`` that returns a mapping from names to
numbers. A function, or an object that can be called so, may have the attributes that a `Task` has, as many as it likes:
``example``, ``linear``, ``outputs``, ``check``, ``check_sweep`` and ``describe``.

A task that uses the linear transform by holography calls ``opu.calibrate(store=False)`` first: otherwise the first
transform calibrates, and says so. The result is the same.

A task that is known by name is one with the decorator `task`, a file each: those of this folder are found by listing
it, those of other packages as ``opusim.base.plugins`` says::

    @task("mean", what="mean of the counts")
    @dataclass(frozen=True)
    class MeanLevel(Task):
        n_vectors: int = 100

        def __call__(self, opu, seed):
            bits = np.random.default_rng(seed).integers(0, 2, (self.n_vectors, 400), dtype=np.uint8)
            return {"mean": float(opu.fit_transform1d(bits).mean())}
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from opusim.base.parameters import near_matches

from .base import TASKS, NamedTask, Task, as_task
from .function import FunctionTask

__all__ = ["TASKS", "FunctionTask", "NamedTask", "Task", "as_task", "describe", "parse_task", "task"]

Made = TypeVar("Made", bound=Callable[..., Any])


def task(
    names: str | Mapping[str, Mapping[str, Any]], *, what: str = "", order: float = 100.0
) -> Callable[[Made], Made]:
    """Give a task a name, or several.

    Parameters
    ----------
    names : str or mapping
        The name; or names, each with the fields of the dataclass that it stands for.
    what : str
        What it is, in a few words: help texts tell those of one kind together.
    order : float
        Its place in lists; our own are below 100.

    Returns
    -------
    callable
        A decorator of a dataclass whose objects are tasks, or of a function of an OPU and a seed.

    Raises
    ------
    TypeError, ValueError
        If a name is no word, or another task has it; if what is decorated can be no task, or has a field that no text
        can stand for: a setting is a bool, an int, a float or a str, or one of these or None.
    """
    kinds = {names: {}} if isinstance(names, str) else names

    def register(source: Made) -> Made:
        if not callable(source) or (isinstance(source, type) and not dataclasses.is_dataclass(source)):
            raise TypeError(
                f"The task {', '.join(kinds)} is {source!r}, but it must be a dataclass or a function of an OPU and a "
                "seed; @task comes before @dataclass."
            )
        for name, fixed in kinds.items():
            if isinstance(source, type):
                _check_settings(name, source, fixed)
            origin = f"{source.__module__}:{source.__qualname__}"
            TASKS.add(name, NamedTask(name, source, dict(fixed), what), origin=origin, order=order)
        return source

    return register


def parse_task(text: str, settings: Mapping[str, str] | None = None) -> Any:
    """Return the task that a text names.

    Parameters
    ----------
    text : str
        One of `TASKS`, "module:function" or "file.py:function".
    settings : mapping of str to str, optional
        Settings of the task, as texts.

    Returns
    -------
    object
        The task: a function of an OPU and a seed.

    Raises
    ------
    TypeError, ValueError
        If there is no such task or setting, or a setting is not what it may be.
    """
    settings = dict(settings or {})
    if text not in TASKS:
        if ":" not in text:
            near = near_matches(text, TASKS)
            raise ValueError(
                f"task is {text!r}{near}; it must be one of {', '.join(TASKS)}, module:function or file.py:function."
            )
        if settings:
            raise ValueError(f"The task {text!r} is a function: it has no settings such as {next(iter(settings))!r}.")
        return FunctionTask(text)
    make = TASKS[text]
    known = make.settings
    if settings and not known:
        raise ValueError(f"The task {text!r} has no settings such as {next(iter(settings))!r}.")
    hints = get_type_hints(make.source) if known else {}
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in known:
            near = near_matches(name, list(known))
            raise ValueError(f"The task {text!r} has no setting {name!r}{near}; it has {', '.join(known)}.")
        try:
            values[name] = _read(hints[name], value)
        except ValueError as error:
            raise ValueError(f"The setting {name} of the task {text!r} is {value!r}, but it must be {error}.") from None
    return make(**values)


# What a text may stand for a flag by.
_FLAGS = {word: flag for flag, words in ((True, "true yes on 1"), (False, "false no off 0")) for word in words.split()}


def _read(hint: Any, text: str) -> Any:
    """Return the value of a field that a text stands for; the ValueError of another says what it may be."""
    kind, or_none = _readable(hint)
    word = text.strip().lower()
    if or_none and word == "none":
        return None
    what = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]
    try:
        return _FLAGS[word] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise ValueError(f"{what} or none" if or_none else what) from None


def _readable(hint: Any) -> tuple[type, bool]:
    """Return the type of a field, and whether it may be None; a TypeError for one that no text stands for."""
    inner = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [one for one in inner if one is not types.NoneType]
    if len(kinds) != 1 or kinds[0] not in (bool, int, float, str):
        raise TypeError("a setting must be a bool, an int, a float or a str, or one of these or None")
    return kinds[0], len(inner) > 1


def _check_settings(name: str, source: type, fixed: Iterable[str]) -> None:
    """Refuse a dataclass with a field that a command line could not give."""
    fields: Any = dataclasses.fields
    try:
        hints = get_type_hints(source)
    except NameError as error:
        raise TypeError(
            f"The task {name!r} has a field of a type that is not known where it is defined ({error})."
        ) from error
    for field in fields(source):
        if field.init and field.name not in fixed:
            try:
                _readable(hints[field.name])
            except TypeError as error:
                raise TypeError(
                    f"The field {field.name} of the task {name!r} is declared as {hints[field.name]!r}, but {error}; "
                    "field(init=False) leaves it out."
                ) from None


def describe(task: Any) -> dict[str, Any]:
    """Return what makes a task the one that it is: its name and its settings.

    Parameters
    ----------
    task : callable
        A function of an OPU and a seed.

    Returns
    -------
    dict
        Texts, flags and numbers by name.

    Raises
    ------
    TypeError
        If it is no function, or describes itself by other things than texts, flags and numbers.
    """
    if not callable(task):
        raise TypeError(f"task is {task!r} ({type(task).__name__}), but it must be a function of an OPU and a seed.")
    result = dict(as_task(task).describe())
    for key, value in result.items():
        if value is not None and not isinstance(value, (str, bool, int, float)):
            raise TypeError(f"task {key} is {value!r}, but what describes a task must be texts, flags and numbers.")
    return result
