"""What a task is: all that a sweep asks of one, and what stands for what it does not say."""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opusim.base.plugins import Registry

if TYPE_CHECKING:
    from opusim.device.record import Device

__all__ = ["TASKS", "GivenTask", "NamedTask", "Task", "as_task"]

Given = Callable[[Any, int], Mapping[str, float]]
"""A plain function, or an object that can be called as one."""


class Task(ABC):
    """A function of an OPU and a seed that returns numbers, and what it says of itself.

    All but the call is optional: what stands here is what holds for a task that says nothing. A plain function, or an
    object of another class that can be called so, may have attributes of these names; `as_task` reads them.

    Attributes
    ----------
    name : str
        What a dataclass is called in results; empty for the name that it is registered under, or that of its class.
    example : array_like or callable or None
        Vectors such as it shows, 0/1, (n, features) or (n, rows, columns), or a function of the seed that returns
        them: the level that ``exposure.mean_level`` asks for is that of them. None for random ones.
    linear : bool
        Whether it uses the linear transform rather than counts.
    outputs : int or None
        `n_components` where nobody says how many; None for the usual number.
    """

    if TYPE_CHECKING:  # a class that is one may have an attribute, a field or a property of the name

        @property
        def name(self) -> str:
            """What it is called; empty for its usual name."""

        @property
        def example(self) -> Any:
            """Vectors, or a function of the seed."""

        @property
        def linear(self) -> bool:
            """Whether it uses the linear transform."""

        @property
        def outputs(self) -> int | None:
            """Outputs by default."""

    else:
        name, example, linear, outputs = "", None, False, None

    @abstractmethod
    def __call__(self, opu: Any, seed: int) -> Mapping[str, float]:
        """Do it.

        Parameters
        ----------
        opu : OPU
            An open OPU. It is left with the settings that it came with.
        seed : int
            Chooses what is random in the task.

        Returns
        -------
        mapping of str to float
            Numbers by name.
        """

    def check(self, device: Device, n_components: int) -> None:  # noqa: B027
        """Raise a ValueError for a device, or a number of outputs, that it cannot use.

        Parameters
        ----------
        device : Device
            What is simulated at a point.
        n_components : int
            Outputs at that point.
        """

    def check_sweep(self, axes: Sequence[Any], settings: Sequence[Any]) -> None:  # noqa: B027
        """Raise a ValueError if what is varied has no effect on it.

        Parameters
        ----------
        axes : sequence of opusim.sweep.points.Axis
            What is varied.
        settings : sequence of opusim.sweep.points.Setting
            Values of each point.
        """

    def describe(self) -> Mapping[str, str | bool | int | float]:
        """Return what makes it the task that it is: two sweeps of other descriptions are not one.

        Returns
        -------
        mapping
            Texts, flags and numbers by name: those of a dataclass are its fields, of another class its name.
        """
        return described(self, self.name)


class GivenTask(Task):
    """A task that is no `Task`: a plain function, or an object that can be called as one. `as_task` makes it.

    Its attributes are read when they are asked for; one that is None is as one that is not there.

    Parameters
    ----------
    task : callable
        The function or object.

    Raises
    ------
    TypeError
        If it has an attribute that is no function where it must be one.
    """

    def __init__(self, task: Given) -> None:
        self._task = check_methods(task)

    def _given(self) -> Given:
        return self._task

    def _said(self, name: str) -> Any:
        """Return an attribute; None if there is none."""
        return getattr(self._given(), name, None)

    @property
    def name(self) -> str:
        """As the object has it."""
        return self._said("name") or ""

    @property
    def example(self) -> Any:
        """As the function or object has it."""
        return self._said("example")

    @property
    def linear(self) -> bool:
        """As the function or object has it."""
        linear = self._said("linear")
        return False if linear is None else linear

    @property
    def outputs(self) -> int | None:
        """As the function or object has it."""
        return self._said("outputs")

    def check(self, device: Device, n_components: int) -> None:
        """Ask the function or object, if it has a `check`.

        Parameters
        ----------
        device : Device
            What is simulated at a point.
        n_components : int
            Outputs at that point.
        """
        if (check := self._said("check")) is not None:
            check(device, n_components)

    def check_sweep(self, axes: Sequence[Any], settings: Sequence[Any]) -> None:
        """Ask the function or object, if it has a `check_sweep`.

        Parameters
        ----------
        axes : sequence of opusim.sweep.points.Axis
            What is varied.
        settings : sequence of opusim.sweep.points.Setting
            Values of each point.
        """
        if (check := self._said("check_sweep")) is not None:
            check(axes, settings)

    def describe(self) -> Mapping[str, str | bool | int | float]:
        """Return what the function or object says that it is; without that its fields, or its name.

        Returns
        -------
        mapping
            Texts, flags and numbers by name.
        """
        own = self._said("describe")
        return described(self._given(), self.name) if own is None else own()

    def __call__(self, opu: Any, seed: int) -> Mapping[str, float]:
        """Call the function or object."""
        return self._given()(opu, seed)


def as_task(task: Given) -> Task:
    """Return a task with all members, for one that may have some.

    Parameters
    ----------
    task : callable
        A function of an OPU and a seed, or an object that can be called so.

    Returns
    -------
    Task
        The same, if it is one.

    Raises
    ------
    TypeError
        If it has an attribute that is no function where it must be one.
    """
    return task if isinstance(task, Task) else GivenTask(task)


def check_methods(task: Given) -> Given:
    """Return a function or object after checking that what must be functions of it are."""
    for name in ("check", "check_sweep", "describe"):
        method = getattr(task, name, None)
        if method is not None and not callable(method):
            raise TypeError(f"{name} of the task is {method!r}, but it must be a function.")
    return task


@dataclass(frozen=True)
class NamedTask:
    """What makes a task that has a name.

    Parameters
    ----------
    name : str
        Name of the task.
    source : callable
        A dataclass whose objects are tasks, or a task: a function of an OPU and a seed.
    fixed : mapping
        Fields of the dataclass that the name stands for.
    what : str
        What it is, in a few words.
    """

    name: str
    source: Callable[..., Any]
    fixed: Mapping[str, Any]
    what: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of what may be set."""
        if not isinstance(self.source, type):
            return ()
        fields: Any = dataclasses.fields
        return tuple(field.name for field in fields(self.source) if field.init and field.name not in self.fixed)

    def __call__(self, **settings: Any) -> Any:
        """Return the task."""
        return self.source(**self.fixed, **settings) if isinstance(self.source, type) else self.source


# Other files of the folder are programs, some of which need torch: only those with the decorator are loaded.
TASKS: Registry[NamedTask] = Registry("task", __name__.rpartition(".")[0], marker=r"^@(\w+\.)*task\(")
"""Tasks by name."""


def described(task: Any, name: str = "") -> dict[str, Any]:
    """Return what describes a task that does not do so itself.

    Parameters
    ----------
    task : callable
        The task.
    name : str
        What it calls itself, if it is a dataclass.

    Returns
    -------
    dict
        Of a dataclass its name and fields; else the name of the function or class, with what a partial one is given.
    """
    if dataclasses.is_dataclass(task) and not isinstance(task, type):
        return {"name": name or _name_of(task), **dataclasses.asdict(task)}
    function = task.func if isinstance(task, functools.partial) else task
    module = getattr(function, "__module__", None)
    own = getattr(function, "__qualname__", type(function).__qualname__)
    result = {"name": own if module in (None, "__main__") else f"{module}:{own}"}
    if isinstance(task, functools.partial):
        result |= {"arguments": repr(task.args), **{key: repr(value) for key, value in task.keywords.items()}}
    return result


def _name_of(task: Any) -> str:
    """Return the name under which a dataclass is known with what it holds; else that of the class."""
    for named in TASKS.known():
        if named.source is type(task) and all(getattr(task, key) == value for key, value in named.fixed.items()):
            return named.name
    return type(task).__qualname__
