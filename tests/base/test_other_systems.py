"""macOS and Windows, as far as they can be had here: what they say of memory, and a Python without what they lack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from opusim import Device, OpticalBench
from opusim.base import memory
from opusim.bench.plan import MEMORY_BUDGET, memory_budget_bytes

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_the_memory_that_is_free_elsewhere(system, monkeypatch):
    """It is asked of psutil; what does not fit is refused there too."""
    told = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=3 << 30, total=8 << 30))
    monkeypatch.setitem(sys.modules, "psutil", told)  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert memory.available_bytes() == 3 << 30 and memory.total_bytes() == 8 << 30
    memory.check("It", 2 << 30, "use less.")
    with pytest.raises(MemoryError, match="It needs 4 GiB, but this machine has 3 GiB to spare: use less."):
        memory.check("It", 4 << 30, "use less.")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as Linux tells it")
def test_the_memory_that_is_free_here():
    assert (
        0 < memory.available_bytes() <= memory.total_bytes() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )


@pytest.mark.parametrize("machine_bytes", [2 << 30, 24 << 30, 2 << 40])
def test_the_way_is_the_same_on_a_machine_of_any_memory(machine_bytes, monkeypatch):
    """With it the last bits are; what decides is a number that does not follow the machine."""
    page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
    answers = {"SC_PAGE_SIZE": page, "SC_PHYS_PAGES": machine_bytes // page}
    monkeypatch.setattr(os, "sysconf", answers.__getitem__, raising=False)
    monkeypatch.setattr(memory, "available_bytes", lambda *_: machine_bytes / 2)
    assert memory_budget_bytes() == MEMORY_BUDGET == 6 << 30
    assert OpticalBench(Device.load("ideal"), 0).memory_budget == MEMORY_BUDGET


# What Python has on Linux and not on Windows, of what a library might use.
PROGRAM = """
import builtins, os, signal, sys
import numpy, scipy, scipy.fft, scipy.linalg, numba, h5py, joblib, threadpoolctl, sklearn, psutil, subprocess, tempfile
import multiprocessing, concurrent.futures, asyncio, socket, shutil, matplotlib
for name in ("torch", "torch.distributed", "dask.array", "distributed"):
    try:
        __import__(name)
    except ImportError:
        pass

POSIX = ["fork", "register_at_fork", "sysconf", "sched_getaffinity", "getuid", "geteuid", "getgid", "getpgid", "killpg",
         "setsid", "mkfifo", "O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "O_CLOEXEC", "getloadavg", "chown", "nice",
         "wait3", "wait4", "WNOHANG", "statvfs"]
for name in POSIX:
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGQUIT", "SIGSTOP", "SIGCONT", "alarm"):
    if hasattr(signal, name):
        delattr(signal, name)
GONE = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"}
for name in GONE:
    sys.modules[name] = None
real_open = open
def no_proc(file, *more, **others):
    if isinstance(file, (str, os.PathLike)) and os.fspath(file).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "No such file or directory", file)
    return real_open(file, *more, **others)
builtins.open = no_proc

import importlib, pkgutil
import opusim
failed = {}
for found in pkgutil.walk_packages(opusim.__path__, "opusim."):
    skip = (".lightonml", ".lightonopu", ".lightonml_hook", ".torch", ".__main__")
    if any(part in found.name + "." for part in [s + "." for s in skip]):
        continue
    try:
        importlib.import_module(found.name)
    except ImportError as error:
        # Adapters say what to install.
        if error.name not in ("torch", "cupy", "dask", "distributed") and "opusim[" not in str(error):
            failed[found.name] = repr(error)
    except Exception as error:
        failed[found.name] = repr(error)
assert not failed, failed

import numpy as np
from opusim import OPU
from opusim.sweep import Sweep, read_sweep
from opusim.cli.sweep import make_opu
x = np.random.default_rng(0).integers(0, 2, (20, 50), dtype=np.uint8)
with OPU(30, seed=1, disable_pbar=True) as opu:
    opu.fit1d(x)
    counts = opu.transform(x)
print(int(np.asarray(counts, dtype=np.int64).sum()))
result = Sweep(lambda opu, seed: {"value": 1.0}, make_opu, {"camera.bits": [4, 8]}, n_components=5).run("s.h5")
print(len(read_sweep("s.h5").outcomes))
"""


@pytest.mark.system
@pytest.mark.skipif(sys.platform == "win32", reason="takes away what is not there")
def test_a_python_without_what_windows_lacks(tmp_path):
    """Every module is imported, a transform made and a sweep written, with the counts that are made here."""
    import numpy as np

    from opusim import OPU

    x = np.random.default_rng(0).integers(0, 2, (20, 50), dtype=np.uint8)
    with OPU(30, seed=1, disable_pbar=True) as opu:
        opu.fit1d(x)
        expected = int(np.asarray(opu.transform(x), dtype=np.int64).sum())
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [str(expected), "2"]
