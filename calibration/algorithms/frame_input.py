"""Checks of frames and phases: each failure is a sentence that names the argument, its value and what it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opusim.base import elementary
from opusim.base.user_arrays import checked_array, exponent_of

# Least singular value of the columns 1, cos, sin over the largest at which phases still tell a field: at 1/1000 its
# noise is a thousand times that of equal steps.
LEAST_CONDITION = 1e-3
# Numbers up to this power of two have fourth powers, and sums of them, that float64 holds.
_TAME = 200


def checked_frames(frames: ArrayLike, axis: int, *, least: int = 3, exactly: int | None = None) -> NDArray[Any]:
    """Return frames as an array of real numbers that has enough steps along `axis`.

    Parameters
    ----------
    frames : array_like
        Real numbers.
    axis : int
        The axis that counts the steps; negative values count from the end.
    least : int, optional
        Fewest steps.
    exactly : int, optional
        The number of steps, where only one will do.

    Raises
    ------
    TypeError
        If the frames are not real numbers.
    ValueError
        If there is no such axis or it has too few steps.
    """
    array = checked_array("frames", frames, "real numbers, all frames of one shape")
    axis = checked_axis(axis, array.ndim)
    steps = array.shape[axis]
    if exactly is not None and steps != exactly:
        raise ValueError(f"frames has {steps} steps along axis {axis}, but this algorithm takes exactly {exactly}.")
    if steps < least:
        raise ValueError(f"frames has {steps} steps along axis {axis}, but at least {least} are needed.")
    return array


def tamed(frames: NDArray[Any]) -> NDArray[Any]:
    """Return frames times a power of two where their squares or fourth powers would be beyond what a number holds.

    A power of two rounds nothing. What is a ratio of such products stays the same to the bit; counts are never touched.
    """
    if frames.dtype.kind != "f" or not frames.size or not np.isfinite(frames).all():
        return frames
    exponent = exponent_of(frames)
    return frames if abs(exponent) < _TAME else np.ldexp(frames.astype(np.float64), -exponent)


def checked_axis(axis: Any, ndim: int) -> int:
    """Return `axis` counted from the front after checking that an array of `ndim` axes has it."""
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"axis is {axis!r} ({type(axis).__name__}), but it must be a whole number.")
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis is {axis}, but frames has {ndim} axes.")
    return int(axis) % ndim


def checked_phases(name: str, phases: ArrayLike, steps: int, *, conditioned: bool = True) -> NDArray[np.float64]:
    """Return phases in radians as float64 of shape (steps,), checked to be finite and different enough.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    phases : array_like of float, shape (steps,)
        Phases in radians.
    steps : int
        Number of frames.
    conditioned : bool, optional
        Whether they must be different enough to tell offset and field apart.

    Raises
    ------
    TypeError, ValueError
        If they are not of the kind named.
    """
    array = checked_steps(name, phases, steps, "phases in radians")
    if conditioned and condition(array) < LEAST_CONDITION:
        raise ValueError(
            f"{name} is {_short(array)}, but at least three phases must differ clearly, not counting whole turns: "
            "these do not tell the field from the offset."
        )
    return array


def checked_steps(name: str, values: ArrayLike, steps: int, what: str) -> NDArray[np.float64]:
    """Return one finite real number for each step as float64 of shape (steps,)."""
    array = checked_array(name, values, f"{what}, one for each step")
    if array.shape != (steps,):
        raise ValueError(f"{name} has shape {array.shape}, but it must be {what}, one for each of {steps} steps.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is {_short(array)}, but each value must be finite.")
    return array


def checked_weights(weights: ArrayLike | None, steps: int) -> NDArray[np.float64]:
    """Return weights of the steps, ones by default; at least three must be above 0 and none below."""
    if weights is None:
        return np.ones(steps)
    array = checked_steps("weights", weights, steps, "numbers of at least 0")
    if (array < 0).any() or np.count_nonzero(array) < 3:
        raise ValueError(f"weights is {_short(array)}, but none may be below 0 and at least three must be above 0.")
    return array


def checked_powers(powers: ArrayLike, before: tuple[int, ...], steps: int) -> NDArray[np.float64]:
    """Return powers as float64 after checking shape and sign."""
    array = checked_array("powers", powers, "numbers above 0")
    if array.shape not in ((steps,), (*before, steps)):
        allowed = " or ".join(map(str, dict.fromkeys([(steps,), (*before, steps)])))
        raise ValueError(f"powers has shape {array.shape}, but it must be {allowed}.")
    array = array.astype(np.float64)
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError(
            f"powers reaches from {array.min():.4g} to {array.max():.4g}, but each must be finite and > 0."
        )
    return array


def checked_mask(mask: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return a mask of pixels as an array of bool, or None."""
    if mask is None:
        return None
    array = checked_array("mask", mask, "True for the pixels to use, False for the others", kinds="b")
    if array.shape != shape:
        raise ValueError(f"mask has shape {array.shape}, but one frame has shape {shape}.")
    if not array.any():
        raise ValueError("mask leaves no pixel, but at least one must be True.")
    return array


def design(phases: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns 1, 2 cos d, 2 sin d of the fringe's model, shape (steps, 3)."""
    return np.stack([np.ones_like(phases), 2 * elementary.cos(phases), 2 * elementary.sin(phases)], axis=1)


def condition(phases: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> float:
    """Smallest over largest singular value of the columns 1, sqrt2 cos d, sqrt2 sin d: 1 for equal steps."""
    columns = design(phases) * np.array([1, np.sqrt(0.5), np.sqrt(0.5)])
    if weights is not None:
        columns = columns * np.sqrt(weights)[:, None]
    values = np.linalg.svd(columns, compute_uv=False)
    return float(values[-1] / values[0]) if values.size == 3 and values[0] > 0 else 0.0


def single_precision(dtype: np.dtype[Any]) -> bool:
    """Whether frames of this type fit into single precision without loss (counts up to 16 bits, float32)."""
    return dtype.itemsize <= 2 if dtype.kind in "iu" else dtype.itemsize <= 4


def _short(array: NDArray[np.float64]) -> str:
    text = ", ".join(f"{value:.4g}" for value in array[:8])
    return f"({text}{', ...' if array.size > 8 else ''})"
