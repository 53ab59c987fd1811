"""Fourier transforms of numpy's arrays: the functions of `scipy.fft`, from its own engine.

`import scipy.fft` takes .2 s, most of it for parts of scipy that no transform needs (special functions, namespaces of
other array libraries). The compiled engine behind it is loaded alone: the same machine code, so the same bits. Where it
is not found, as in a scipy that is built in another way, `scipy.fft` itself is taken.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np

_ENGINE = "scipy.fft._pocketfft.pypocketfft"
_NORMS = ("backward", "ortho", "forward")  # as the engine counts them on the way there


def _engine() -> Any:
    """Return the engine of `scipy.fft`, or None if it is not where this scipy is known to have it."""
    if _ENGINE in sys.modules:
        return sys.modules[_ENGINE]
    if os.name == "nt":
        importlib.import_module("scipy")  # which tells Windows where its libraries lie
    home = find_spec("scipy")
    folders = (
        []
        if home is None
        else [str(Path(place, "fft", "_pocketfft")) for place in home.submodule_search_locations or ()]
    )
    spec = PathFinder.find_spec(_ENGINE, folders)
    if spec is None or spec.loader is None:
        return None
    try:
        found = module_from_spec(spec)
        spec.loader.exec_module(found)
    except ImportError:
        return None
    return found if all(hasattr(found, name) for name in ("c2c", "r2c", "c2r")) else None


_pocketfft = _engine()


def transform(
    x: np.ndarray,
    axes: tuple[int, ...],
    *,
    inverse: bool = False,
    norm: str = "backward",
    overwrite: bool = False,
    workers: int | None = None,
) -> np.ndarray:
    """Fourier transform along some axes, or its inverse.

    Parameters
    ----------
    x : ndarray of complex64 or complex128
        Any shape; the result has the same shape and type.
    axes : tuple of int
        Axes of the transform.
    inverse : bool
        Whether to take the inverse.
    norm : {"backward", "ortho", "forward"}
        As in `scipy.fft`.
    overwrite : bool
        Whether the result takes the place of `x`.
    workers : int, optional
        Threads; one if None.

    Returns
    -------
    ndarray
        That of `scipy.fft.fftn` or `scipy.fft.ifftn`, to the bit.
    """
    if _pocketfft is None or x.dtype.kind != "c":
        call = getattr(importlib.import_module("scipy.fft"), "ifftn" if inverse else "fftn")
        result: np.ndarray = call(x, axes=axes, norm=norm, overwrite_x=overwrite, workers=workers or 1)
        return result
    scale = _scale(norm, inverse)
    result = _pocketfft.c2c(x, axes, not inverse, scale, x if overwrite else None, workers or 1)
    return result


def rfft2(x: np.ndarray) -> np.ndarray:
    """Fourier transform of a real grid.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (rows, columns)
        The grid.

    Returns
    -------
    ndarray of complex64 or complex128, shape (rows, columns // 2 + 1)
        That of `scipy.fft.rfft2`, to the bit.
    """
    if _pocketfft is None:
        result: np.ndarray = importlib.import_module("scipy.fft").rfft2(x)
        return result
    result = _pocketfft.r2c(x, (0, 1), True, _scale("backward", False), None, 1)
    return result


def irfft2(x: np.ndarray, columns: int) -> np.ndarray:
    """Inverse of `rfft2`.

    Parameters
    ----------
    x : ndarray of complex64 or complex128, shape (rows, columns // 2 + 1)
        Spectrum of a real grid.
    columns : int
        Columns of the grid.

    Returns
    -------
    ndarray of float32 or float64, shape (rows, columns)
        That of `scipy.fft.irfft2`, to the bit.
    """
    if _pocketfft is None:
        result: np.ndarray = importlib.import_module("scipy.fft").irfft2(x, s=(len(x), columns))
        return result
    result = _pocketfft.c2r(x, (0, 1), columns, False, _scale("backward", True), None, 1)
    return result


def frequencies(n: int, step: float = 1.0) -> np.ndarray:
    """Return the frequencies of a transform in its own order.

    Parameters
    ----------
    n : int
        Length of the transform.
    step : float
        Distance of its points.

    Returns
    -------
    ndarray of float64, shape (n,)
        In cycles per unit of `step`: those of `scipy.fft.fftfreq`.
    """
    number = np.arange(n)
    number[(n + 1) // 2 :] -= n
    result: np.ndarray = number * (1.0 / (n * step))
    return result


def half_frequencies(n: int, step: float = 1.0) -> np.ndarray:
    """Return the frequencies of `rfft2` along its columns.

    Parameters
    ----------
    n : int
        Columns of the grid.
    step : float
        Distance of its points.

    Returns
    -------
    ndarray of float64, shape (n // 2 + 1,)
        In cycles per unit of `step`: those of `scipy.fft.rfftfreq`.
    """
    result: np.ndarray = np.arange(n // 2 + 1) * (1.0 / (n * step))
    return result


def centred(x: np.ndarray) -> np.ndarray:
    """Return an array with frequency zero in the middle of each axis.

    Parameters
    ----------
    x : ndarray
        In the order of the transform.

    Returns
    -------
    ndarray
        That of `scipy.fft.fftshift`.
    """
    return np.roll(x, [n // 2 for n in x.shape], tuple(range(x.ndim)))


def _scale(norm: str, inverse: bool) -> int:
    """Return the engine's number of a norm."""
    number = _NORMS.index(norm)
    return 2 - number if inverse else number
