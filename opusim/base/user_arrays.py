"""Arrays of the user's, of any library: to numpy, and back to where they were."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import arrays
from .errors import InputTypeError

__all__ = ["as_numpy", "like"]


def as_numpy(X: Any) -> tuple[np.ndarray, Any]:
    """Return the array behind `X`, and for `like` where it was: None for arrays, a tensor's device, CuPy's `Arrays`.

    Nothing is copied on a CPU.
    """
    if X is None:
        raise InputTypeError("X is None, but it must be an array of 0 and 1.")
    sparse = sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(X):
        raise InputTypeError(f"X is a sparse {type(X).__name__}, but it must be an ordinary array: use .toarray().")
    if isinstance(X, np.ma.MaskedArray):
        raise InputTypeError("X is a masked array, but mirrors cannot leave out a value: use .filled(0) or .data.")
    torch = sys.modules.get("torch")  # a tensor can exist only if torch was imported
    if torch is not None and isinstance(X, torch.Tensor):
        place = X.device
        X = X.detach().cpu()
        if X.dtype is torch.bfloat16:  # numpy has no such type; every bfloat16 is a float32
            X = X.float()
        return X.numpy(), place
    if arrays.is_device_array(X):
        cupy = arrays.of(X)
        return cupy.to_host(X), cupy
    try:
        return np.asarray(X), None
    except ValueError as error:
        raise InputTypeError(
            f"X is a {type(X).__name__} that is no array ({error}); it must be an array of 0 and 1."
        ) from None


def like(Y: Any, place: Any) -> Any:
    """Return `Y`, or an array of it where `place`, from `as_numpy`, says, if that is not None."""
    if place is None:
        return Y
    if isinstance(place, arrays.Arrays):
        return Y if arrays.of(Y) == place else place.from_host(np.asarray(arrays.of(Y).to_host(Y)))
    import torch

    tensor = Y if isinstance(Y, torch.Tensor) else torch.from_numpy(np.asarray(Y))
    return tensor.to(place)
