"""An application on a data set, which returns numbers: what sweeps, trainers and examples run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from .base import Task as Task
    from .registry import TASKS as TASKS
    from .registry import describe as describe
    from .registry import parse_task as parse_task
    from .registry import task as task

# name -> module of this package that it comes from
_LAZY = {"Task": ".base", **dict.fromkeys(("TASKS", "describe", "parse_task", "task"), ".registry")}

__all__ = ["TASKS", "Task", "describe", "parse_task", "task"]

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
