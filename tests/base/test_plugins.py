"""Parts of our own are found by listing their folders: none is overlooked, however it is written."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opusim.base.plugins import import_folder
from opusim.device.medium.base import MEDIA
from opusim.tasks.base import TASKS

OPUSIM = Path(importlib.import_module("opusim").__file__ or "").parent


def classes_with_a_kind(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        for line in node.body if isinstance(node, ast.ClassDef) else ():
            targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
            if any(getattr(target, "id", "") == "kind" for target in targets) and getattr(line, "value", None):
                yield ast.literal_eval(line.value)


def decorated_as_tasks(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        for decorator in getattr(node, "decorator_list", ()):
            called = decorator.func if isinstance(decorator, ast.Call) else None
            if getattr(called, "id", getattr(called, "attr", "")) == "task":
                yield node.name


def test_every_kind_of_medium_of_our_own_is_known():
    defined = {}
    for path in (OPUSIM / "device" / "medium").glob("*.py"):
        for kind in classes_with_a_kind(ast.parse(path.read_text(encoding="utf-8"))):
            if kind:  # the base has none
                defined[kind] = f"opusim.device.medium.{path.stem}"
    assert len(defined) >= 3
    for kind, module in defined.items():
        assert MEDIA[kind].__module__ == module


def test_every_task_of_our_own_is_known():
    defined = set()
    for path in (OPUSIM / "tasks").glob("*.py"):
        for name in decorated_as_tasks(ast.parse(path.read_text(encoding="utf-8"))):
            defined.add((f"opusim.tasks.{path.stem}", name))
    assert len(defined) >= 3
    assert {(task.source.__module__, task.source.__qualname__) for task in TASKS.values()} >= defined


@pytest.mark.parametrize(
    ("package", "marker", "text", "found"),
    [
        ("opusim.device.medium", MEDIA.marker, 'class A:\n    kind = "a"\n', True),
        ("opusim.device.medium", MEDIA.marker, "class A:\n    x = 1\n    kind: str = 'a'\n", True),
        ("opusim.device.medium", MEDIA.marker, 'class A:\n    kind: "ClassVar[str]" = "a"\n', True),
        ("opusim.device.medium", MEDIA.marker, "kind = 1\nclass A:\n    kind: str\n    kinds = 2\n", False),
        ("opusim.tasks", TASKS.marker, "task = lambda name: lambda f: f\n@task('a')\ndef f(): ...\n", True),
        ("opusim.tasks", TASKS.marker, "def f(): ...  # as by @task('a')\n# @task('a')\n", False),
        ("opusim.tasks", TASKS.marker, "class p:\n    task = staticmethod(lambda n: lambda f: f)\n@p.task( 'a' )\n"
         "def f(): ...\n", True),
    ],
)  # fmt: skip
def test_a_file_is_found_however_its_part_is_written(package, marker, text, found, tmp_path, monkeypatch):
    (tmp_path / "a_strange_part.py").write_text(text)
    module = importlib.import_module(package)
    monkeypatch.setattr(module, "__path__", [*module.__path__, str(tmp_path)])
    name = f"{package}.a_strange_part"
    try:
        import_folder(package, marker=marker)
        assert (name in sys.modules) == found
    finally:
        if sys.modules.pop(name, None) is not None:
            delattr(module, "a_strange_part")
        importlib.invalidate_caches()
