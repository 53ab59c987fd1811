"""What the last bits of numbers depend on, beside the program: libraries, and the processor as they see it."""

from __future__ import annotations

import hashlib
import importlib
import platform
from functools import cache
from typing import Any

import numpy as np

import opusim

__all__ = ["environment", "numerics", "numpy_dispatch", "numpy_features"]


@cache
def environment() -> dict[str, str]:
    """Return what the last bits depend on, by name.

    The processor stands for the kernels that BLAS chooses for it; `OPENBLAS_CORETYPE`, which chooses others, is not
    looked at.

    Returns
    -------
    dict of str
        Versions and names.
    """
    import llvmlite.binding
    import numba
    import scipy

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name(),
        "numpy": np.__version__,
        "numpy_uses": " ".join(numpy_features()),
        "scipy": scipy.__version__,
        "numba": numba.__version__,
        "blas": f"{blas['name']} {blas['version']}",
    }


@cache
def numerics() -> str:
    """Return a short text of the version and of `environment`, to be compared.

    Returns
    -------
    str
        Equal where numbers are equal to the bit.
    """
    digest = hashlib.sha256(repr(sorted(environment().items())).encode()).hexdigest()
    return f"opusim {opusim.__version__}; {digest[:16]}"


def numpy_features() -> list[str]:
    """Return the processor's features that numpy uses; they can be turned off by NPY_DISABLE_CPU_FEATURES.

    Returns
    -------
    list of str
        As numpy names them, in order.
    """
    return sorted(name for name, here in getattr(_core(), "__cpu_features__", {}).items() if here)


def numpy_dispatch() -> list[str]:
    """Return the features that this numpy has code of its own for.

    Returns
    -------
    list of str
        As numpy names them.
    """
    return list(_core().__cpu_dispatch__)


def _core() -> Any:
    name = "numpy._core" if hasattr(np, "_core") else "numpy.core"  # of numpy 2 and 1
    return importlib.import_module(f"{name}._multiarray_umath")
