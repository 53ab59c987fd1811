"""Tensors of torch that a user gives: which of them are ordinary arrays of numbers, and a sentence for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import arrays
from .errors import InputTypeError
from .user_arrays import as_numpy

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

    wrong = ""
    if x.is_nested:
        wrong = "a nested tensor, whose rows may differ, but it must be an ordinary tensor: use .to_padded_tensor(0)"
    elif x.layout is not torch.strided:
        wrong = f"a tensor of layout {_short(x.layout)}, but it must be an ordinary tensor: use .to_dense()"
    elif x.is_quantized:
        wrong = f"a quantised tensor ({_short(x.dtype)}), but it must be an ordinary tensor: use .dequantize()"
    elif isinstance(x, torch.masked.MaskedTensor):
        wrong = "a masked tensor, but no value can be left out: use .to_tensor(0)"
    elif x.is_meta:
        wrong = "a tensor on the device 'meta', which has no values"
    elif x.is_floating_point() and x.element_size() == 1:
        if x.dtype in _small_floats():
            return x.to(torch.float32)
        wrong = f"a tensor of {_short(x.dtype)}, but it must be of bool, integers or floats of eight bits or more"
    if wrong:
        raise InputTypeError(f"{name} is {wrong}.")
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


def _short(value: Any) -> str:
    return str(value).removeprefix("torch.")
