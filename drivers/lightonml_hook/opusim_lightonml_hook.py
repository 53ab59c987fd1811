"""Shows an installed lightonml the configuration of the simulated device.

lightonml reads ``/etc/lighton/host.json``. Versions before 1.4.2 do so before they import lightonopu, so the stand-in
of that name comes too late to point them elsewhere. Here `lightonml.internal.config` is changed when it is loaded: the
name `Path` in it gives opusim's own file for that one path, if there is no such file. Nothing is imported before.
"""

from __future__ import annotations

import pathlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULE = "lightonml.internal.config"
HOST = "/etc/lighton/host.json"


def path(*segments: Any) -> pathlib.Path:
    """Return a path as `pathlib.Path` does; for the host's configuration, opusim's, unless the host has one."""
    wanted = pathlib.Path(*segments)
    if wanted != pathlib.Path(HOST) or wanted.exists():
        return wanted
    from opusim.drivers.compat.environment import host_file

    return host_file()


def patch(config: ModuleType) -> None:
    """Change `lightonml.internal.config`, which has been loaded."""
    names = vars(config)
    names["Path"] = path
    if "host_path" in names:
        names["host_path"] = path(HOST)


class _Loader:
    """The loader that Python would have used, and `patch` after it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on the module is as any other, for what looks up its source.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        patch(module)


class _Finder:
    """First in the list of finders; it answers for one module only."""

    @staticmethod
    def find_spec(name: str, search: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != MODULE:
            return None
        for finder in sys.meta_path:
            if finder is _Finder or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, search, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


def install() -> None:
    """Change the configuration of lightonml now if it is loaded, else when it is. A second call does nothing."""
    loaded = sys.modules.get(MODULE)
    if loaded is not None:
        patch(loaded)
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]
