"""Tensors of torch that a user gives: which of them are ordinary arrays of numbers, and a sentence for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import arrays
from .errors import InputTypeError
from .user_arrays import as_numpy, refuse_odd_tensor

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["as_tensor", "ordinary_tensor"]


def ordinary_tensor(name: str, x: Any) -> Tensor:
    """Return a tensor whose values lie there one by one, in a type that arithmetic knows.

    Floats of eight bits come back as float32, which holds each of their numbers.

    Parameters
    ----------
    name : str
        What the argument is called, for the message.
    x : torch.Tensor
        What was given.

    Returns
    -------
    torch.Tensor
        The tensor itself, but for floats of eight bits.

    Raises
    ------
    InputTypeError
        If it is sparse, nested, masked, quantised, without values, or of less than a byte a number. A TypeError and a
        ValueError.
    """
    import torch

    refuse_odd_tensor(x, name)
    if x.is_floating_point() and x.element_size() == 1:
        if x.dtype in _small_floats():
            return x.to(torch.float32)
        raise InputTypeError(
            f"{name} is a tensor of {str(x.dtype).removeprefix('torch.')}, but it must be of bool, integers or floats "
            "of eight bits or more."
        )
    return x


def as_tensor(name: str, x: Any) -> Tensor:
    """Return a tensor or an array of any other library as an ordinary tensor that no gradient goes through.

    Parameters
    ----------
    name : str
        What the argument is called, for the message.
    x : torch.Tensor, array_like
        What was given.

    Returns
    -------
    torch.Tensor
        Where `x` is; the memory is shared where it can be.

    Raises
    ------
    InputTypeError
        If it is no array of numbers; a TypeError and a ValueError.
    """
    import torch

    if isinstance(x, torch.Tensor):
        return ordinary_tensor(name, x).detach()
    if arrays.is_device_array(x):
        return torch.as_tensor(x)
    array, _ = as_numpy(x)
    if array.dtype.kind not in "biufc":
        raise InputTypeError(f"{name} is an array of {array.dtype}, but it must hold numbers.")
    return arrays.Arrays("torch", "cpu").from_host(array)


def _small_floats() -> tuple[Any, ...]:
    import torch

    return tuple(getattr(torch, name) for name in dir(torch) if name.startswith("float8_"))
