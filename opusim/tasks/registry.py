"""Tasks: what a sweep does with an OPU at each point.

A task is a function ``task(opu, seed)`` that returns a mapping from names to numbers. It may have attributes:

- ``example``: vectors such as it shows, an array or a function of the seed, for ``exposure.mean_level``;
- ``linear``: True if it uses the linear transform rather than counts;
- ``outputs``: the `n_components` where none is given;
- ``check(device, n_components)``: raises a ValueError for a device that it cannot use;
- ``check_sweep(axes, settings)``: raises a ValueError if what is varied has no effect (`opusim.sweep.points` has both);
- ``describe()``: returns a dict of what makes it the task that it is. By default the fields of a dataclass, or the name
  of a function.

A task that uses the linear transform by holography calls ``opu.calibrate(store=False)`` first: otherwise the driver
takes a calibration that is stored, if there is one, and the result depends on that.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, get_type_hints

from opusim.base.parameters import near_matches

from .function import FunctionTask
from .images import IMAGE_SETS, DfaAccuracy, KernelRidge
from .sketch import KINDS, SketchError

__all__ = ["TASKS", "DfaAccuracy", "FunctionTask", "KernelRidge", "SketchError", "describe", "parse_task"]

TASKS: dict[str, functools.partial[Any]] = {
    **{name: functools.partial(KernelRidge, dataset=name) for name in IMAGE_SETS},
    **{name: functools.partial(SketchError, kind=name) for name in KINDS},
    **{f"dfa-{name}": functools.partial(DfaAccuracy, dataset=name) for name in IMAGE_SETS},
}
"""Tasks by name."""


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
    hints = get_type_hints(make.func)
    fields: Any = dataclasses.fields
    known = [f.name for f in fields(make.func) if f.name not in make.keywords]
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in known:
            near = near_matches(name, known)
            raise ValueError(f"The task {text!r} has no setting {name!r}{near}; it has {', '.join(known)}.")
        try:
            values[name] = hints[name](value)
        except ValueError:
            what = {int: "a whole number", float: "a number"}[hints[name]]
            raise ValueError(f"The setting {name} of the task {text!r} is {value!r}, but it must be {what}.") from None
    return make(**values)


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
    if hasattr(task, "describe"):
        result = dict(task.describe())
    elif dataclasses.is_dataclass(task) and not isinstance(task, type):
        result = {"name": getattr(task, "name", type(task).__qualname__), **dataclasses.asdict(task)}
    else:
        function = task.func if isinstance(task, functools.partial) else task
        module = getattr(function, "__module__", None)
        name = getattr(function, "__qualname__", type(function).__qualname__)
        result = {"name": name if module in (None, "__main__") else f"{module}:{name}"}
        if isinstance(task, functools.partial):
            result |= {"arguments": repr(task.args), **{key: repr(value) for key, value in task.keywords.items()}}
    for key, value in result.items():
        if not isinstance(value, (str, bool, int, float)):
            raise TypeError(f"task {key} is {value!r}, but what describes a task must be texts, flags and numbers.")
    return result
