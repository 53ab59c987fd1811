"""Bits of features that lie in a tensor of torch or an array of CuPy, checked where they are."""

from __future__ import annotations

from typing import Any

from opusim.base import arrays
from opusim.base.user_arrays import refuse_odd_tensor


def checked_device_bits(bits: Any, n_features: int, *, values: bool = True) -> Any:
    """Return bits on their device as (n, n_features) of uint8, without a copy where that is possible.

    Parameters
    ----------
    bits : torch.Tensor or cupy.ndarray
        uint8 or bool 0/1, (n, n_features) or (n_features,).
    n_features : int
        Features of a vector.
    values : bool
        Whether to look at the values too; this waits for the device.

    Returns
    -------
    torch.Tensor or cupy.ndarray
        uint8, in order in memory; a tensor's memory may be the caller's, and must not be written.

    Raises
    ------
    TypeError, ValueError
        If dtype, shape or values are others.
    """
    refuse_odd_tensor(bits, "bits")
    xp = arrays.of(bits).xp
    if bits.dtype not in (xp.uint8, xp.bool):
        raise TypeError(f"bits has dtype {bits.dtype}, but it must be uint8 or bool.")
    if bits.ndim not in (1, 2) or bits.shape[-1] != n_features:
        raise ValueError(f"bits has shape {tuple(bits.shape)}, but it must be (n, {n_features}).")
    if values and bits.dtype == xp.uint8 and 0 not in bits.shape and (highest := int(xp.max(bits))) > 1:
        raise ValueError(f"bits holds the value {highest}, but it may hold only 0 and 1.")
    return as_uint8(bits.reshape(-1, n_features))


def as_uint8(bits: Any) -> Any:
    """Return a device array of bool or uint8 as uint8, in order in memory; the same memory if it is so already."""
    place = arrays.of(bits)
    if place.name == "torch":
        return bits.detach().contiguous().view(place.xp.uint8)
    return place.xp.ascontiguousarray(bits).view(place.xp.uint8)
