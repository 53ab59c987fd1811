"""Names of a package that are loaded when they are first asked for (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    Parameters
    ----------
    package : str
        Its full name; its ``__all__`` is what a wrong name is told.
    modules : mapping of str
        For each name the module that it comes from, below the package (``".feedback"``) or by its full name.

    Returns
    -------
    tuple of two callables
    """

    def load(name: str) -> Any:
        # The package itself is asked for its names at the time of the call, so that it may still be under way now.
        own = vars(sys.modules[package])
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(own['__all__'])}")
        value = getattr(importlib.import_module(modules[name], package), name)
        own[name] = value
        return value

    def names() -> list[str]:
        own = vars(sys.modules[package])
        return sorted({*own, *own["__all__"]})

    return load, names
