"""How much memory there is, and how much a size that is asked for needs: refused in a sentence before it is taken."""

from __future__ import annotations

import importlib
import math
import os
import sys
from pathlib import Path

from .arrays import NUMPY, Arrays

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def available_bytes(arrays: Arrays = NUMPY) -> float:
    """Return the bytes that may still be taken on a device; inf if the system does not say."""
    if arrays.name == "torch" and arrays.is_gpu:
        cuda = importlib.import_module("torch").cuda
        # What torch has taken and does not use, it gives out again.
        cached = cuda.memory_reserved(arrays.device) - cuda.memory_allocated(arrays.device)
        return float(cuda.mem_get_info(arrays.device)[0] + cached)
    if arrays.is_gpu:
        cupy = importlib.import_module("cupy")
        with cupy.cuda.Device(arrays.index):
            return float(cupy.cuda.runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes())
    known = []
    if not sys.platform.startswith("linux"):
        return float(importlib.import_module("psutil").virtual_memory().available)
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                known.append(1024.0 * int(line.split()[1]))
        known.append(float(_CGROUP_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError, IndexError):
        pass  # "max", or no such file
    if not known:
        try:
            known.append(float(total_bytes()))
        except (ValueError, OSError):
            return math.inf
    return min(known)


def total_bytes() -> int:
    """Return the bytes of memory that this machine has."""
    if not sys.platform.startswith("linux"):
        return int(importlib.import_module("psutil").virtual_memory().total)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def text(n_bytes: float) -> str:
    """Return a number of bytes as a text, as in "1.5 GiB"."""
    for unit, size in (("PiB", 2**50), ("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}" if n_bytes < 999.5 * size else f"{n_bytes / size:.0f} {unit}"
    return f"{n_bytes:.0f} bytes"


def check(what: str, needed: float, remedy: str, arrays: Arrays = NUMPY) -> None:
    """Raise a MemoryError that says how much is needed and what would fit, if there is not that much.

    Parameters
    ----------
    what : str
        What is asked for, the subject of the sentence.
    needed : float
        Bytes.
    remedy : str
        Which setting would fit.
    arrays : Arrays
        Device whose memory is meant.
    """
    there = available_bytes(arrays)
    if needed > there:
        where = f"the GPU {arrays.device}" if arrays.is_gpu else "this machine"
        raise MemoryError(f"{what} needs {text(needed)}, but {where} has {text(there)} to spare: {remedy}")


def check_result(n: int, n_out: int, itemsize: int, arrays: Arrays = NUMPY) -> None:
    """Raise a MemoryError that says how many vectors fit at a time, if the results of a batch do not.

    Parameters
    ----------
    n, n_out : int
        Vectors, and outputs of each.
    itemsize : int
        Bytes of an output.
    arrays : Arrays
        Where the results are to lie.
    """
    each = n_out * itemsize
    # A quarter is left for what shows the vectors.
    fit = min(n - 1, int(0.75 * available_bytes(arrays) // each)) if n * each > available_bytes(arrays) else n
    remedy = f"pass at most {fit} at a time, or a Dask array." if fit > 0 else "use fewer components, or free memory."
    check(f"The result of {n} vectors of {n_out} outputs", n * each, remedy, arrays)
