"""Compiled kernels: kept where there is room, made anew where what was kept is damaged, never half right."""

from __future__ import annotations

import builtins
import importlib.util
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opusim.base import jit

SOURCE = """
from opusim.base.jit import kernel

@kernel()
def twice_and_one(n):
    return 2 * n + 1
"""


@pytest.fixture
def load(tmp_path):
    """Import the module anew, as another process would, and return its kernel; the first call compiles it."""
    path = tmp_path / "some_kernels.py"
    path.write_text(SOURCE)

    def loading() -> Any:
        spec: Any = importlib.util.spec_from_file_location("some_kernels", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.twice_and_one

    loading.folder = path.parent / "__pycache__"
    return loading


def kept(load) -> list[Path]:
    return sorted(path for path in load.folder.iterdir() if path.suffix in (".nbi", ".nbc"))


def hits(kernel) -> int:
    return sum(kernel.stats.cache_hits.values())


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def other(content: bytes) -> bytes:
    return b"something else"


@pytest.mark.parametrize("damage", [cut, emptied, other])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_file_is_replaced(load, suffix, damage):
    assert load()(3) == 7
    (path,) = (path for path in kept(load) if path.suffix == suffix)
    path.write_bytes(damage(path.read_bytes()))
    again = load()
    assert again(3) == 7 and hits(again) == 0
    assert path.read_bytes() != damage(path.read_bytes())
    third = load()
    assert third(3) == 7 and hits(third) == 1


def test_no_flipped_byte_of_a_kernel_is_run(load):
    """Each loads as nothing, without running: machine code with a wrong byte may do anything."""
    one = load()
    assert one(3) == 7
    (path,) = (path for path in kept(load) if path.suffix == ".nbc")
    content = path.read_bytes()
    ((key, name),) = one._cache._cache_file._file._load_index().items()
    assert name == path.name
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content), size=200):
        bad = bytearray(content)
        bad[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        file = load()._cache._cache_file
        flushed = []
        file.flush = lambda flushed=flushed: flushed.append(True)
        if file.load(key) is None:
            assert flushed, place
        else:  # a pickle has bytes without a meaning
            assert pickle.loads(bad) == pickle.loads(content), place


def test_a_kernel_of_another_signature_is_not_taken(load):
    one = load()
    assert one(3) == 7 and one(2.5) == 6.0
    first, second = (path for path in kept(load) if path.suffix == ".nbc")
    first.write_bytes(second.read_bytes())
    again = load()
    assert again(3) == 7 and again(2.5) == 6.0


def test_a_kept_kernel_expires_when_a_file_of_kernels_changes(load, monkeypatch):
    """What it calls is inlined into it, and numba looks at its own file alone."""
    assert load()(3) == 7 and hits(load_and_call(load)) == 1
    assert "camera_kernels.py" in {name for name, _, _ in jit._kernel_sources()}
    monkeypatch.setattr(jit, "_kernel_sources", lambda: (("camera_kernels.py", 0.0, 1),))
    assert hits(load_and_call(load)) == 0 and hits(load_and_call(load)) == 1


def test_without_room_a_kernel_is_compiled_and_not_kept(load):
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    kernel, (soft, hard) = load(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # no file may have content, as on a full disk
    try:
        found = kernel(3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert found == 7
    again = load()
    assert again(3) == 7 and hits(again) == 0
    assert hits(load_and_call(load)) == 1


def load_and_call(load) -> Any:
    kernel = load()
    kernel(3)
    return kernel


def test_files_that_may_not_be_read(load, monkeypatch):
    """Of another user, in an installation that several share."""
    assert load()(3) == 7
    real = builtins.open

    def refusing(file, *arguments, **options):
        if str(file).endswith((".nbi", ".nbc")):
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refusing)
    again = load()
    assert again(3) == 7 and hits(again) == 0


@pytest.mark.system
def test_a_kept_kernel_loads_without_the_compiler(load):
    """Whose parts take longer to import than all kernels; where one must be compiled after all, they come."""
    load()  # which writes the module
    code = """
        import sys
        from some_kernels import twice_and_one as kernel

        print(kernel(3), "numba.typed.typeddict" in sys.modules, sum(kernel.stats.cache_hits.values()))
        print(kernel(int(sys.argv[1]) / 2), "numba.typed.typeddict" in sys.modules)
    """

    def run(twice: int) -> list[str]:
        where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(load.folder.parent), *sys.path])}
        command = [sys.executable, "-c", textwrap.dedent(code), str(twice)]
        return subprocess.run(command, capture_output=True, text=True, env=where, check=True).stdout.split()

    assert run(3) == ["7", "True", "0", "4.0", "True"]
    (path,) = (path for path in kept(load) if path.name.endswith(".2.nbc"))
    path.write_bytes(b"")
    assert run(5) == ["7", "False", "1", "6.0", "True"]


@pytest.mark.system
def test_without_compilation_there_is_a_sentence():
    """Ten lines of it in plain Python would overflow where kernels wrap, and take minutes: refused at once."""
    program = "import opusim; print(opusim.__version__); import opusim.base.rng_kernels"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True
    )
    assert done.stdout and done.returncode
    assert "RuntimeError: NUMBA_DISABLE_JIT is 1, but" in done.stderr and "0 or unset" in done.stderr
