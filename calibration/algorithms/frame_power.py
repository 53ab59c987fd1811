"""The laser's power in each frame, from the frames themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .frame_input import (
    checked_axis,
    checked_frames,
    checked_mask,
    checked_phases,
    checked_powers,
    design,
    single_precision,
    tamed,
)

__all__ = ["frame_powers", "gram_matrix", "normalise_power"]

_BLOCK = 1 << 17  # pixels per block of sums in double precision


def frame_powers(
    frames: ArrayLike,
    phases_rad: ArrayLike | None = None,
    *,
    axis: int = 0,
    mask: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Relative power of each frame, with mean 1 over the steps.

    Parameters
    ----------
    frames : array_like of real numbers, shape (..., steps, ...)
        Frames, dark level taken off.
    phases_rad : array_like of float, shape (steps,), optional
        Phases of at least four steps. With them the powers are those under which the frames fit their fringes best.
        Without, they are the mean levels of the frames.
    axis : int, optional
        The axis of the steps; axes before it are separate bursts with powers of their own.
    mask : array_like of bool, shape frames.shape[axis + 1:], optional
        Pixels to use: leave out saturated ones.

    Returns
    -------
    ndarray of float64, shape frames.shape[:axis] + (steps,)
        Powers.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named, or a frame's power is not above 0.

    Notes
    -----
    *Mean levels* need no phases, but over P independent pixels the fringes of speckle do not average out: they leave
    a relative field error of about 1/sqrt(P). That is worth it once 1/sqrt(P) is below the error of the power noise
    itself (1.8 g for a reference of 3 times the signal and 4 steps).

    *Best fit*: with M = 1 - A A^+ the projector off the columns 1, cos d, sin d, the powers p minimise the sum over
    pixels of ``|M (I/p)|^2``, a quadratic form in w = 1/p with the matrix M o G, G the sums of products of two frames;
    w is its lowest eigenvector. It is limited by camera noise only, but takes an error of the phases for power: one
    of s rad gives powers wrong by about s.
    """
    array = checked_frames(frames, axis)
    axis = checked_axis(axis, array.ndim)
    steps = array.shape[axis]
    before = array.shape[:axis]
    use = checked_mask(mask, array.shape[axis + 1 :])
    if array.size == 0:
        raise ValueError(f"frames has shape {array.shape}, but at least one pixel is needed.")
    # Powers are ratios.
    stack = tamed(array).reshape(-1, steps, int(np.prod(array.shape[axis + 1 :])))
    if use is not None:
        stack = stack[:, :, use.ravel()]
    if phases_rad is None:
        power = stack.mean(axis=2, dtype=np.float64)
    else:
        if steps < 4:
            raise ValueError(f"phases_rad is given for {steps} steps, but powers can only be fitted to at least 4.")
        phases = checked_phases("phases_rad", phases_rad, steps)
        columns = design(phases)
        off = np.eye(steps) - columns @ np.linalg.pinv(columns)
        power = np.stack([_fitted(off * gram_matrix(burst)[0]) for burst in stack])
    if not (np.isfinite(power).all() and (power > 0).all()):
        raise ValueError(
            "frames has a step without light (its mean level is not above 0 or not finite), so powers cannot be "
            "compared."
        )
    return (power / power.mean(axis=1, keepdims=True)).reshape(*before, steps)


def normalise_power(
    frames: ArrayLike,
    phases_rad: ArrayLike | None = None,
    *,
    powers: ArrayLike | None = None,
    axis: int = 0,
    mask: ArrayLike | None = None,
) -> NDArray[np.floating]:
    """Return frames divided by their relative power.

    `least_squares` takes powers by itself, without a copy of the frames.

    Parameters
    ----------
    frames : array_like of real numbers, shape (..., steps, ...)
        Frames, dark level taken off.
    phases_rad : array_like of float, shape (steps,), optional
        Phases of at least four steps, to find the powers by; without, they are mean levels (see `frame_powers`).
    powers : array_like of float, shape frames.shape[:axis] + (steps,) or (steps,), optional
        Measured powers (a photodiode's, say), used instead.
    axis : int, optional
        The axis of the steps; axes before it are separate bursts.
    mask : array_like of bool, shape frames.shape[axis + 1:], optional
        Pixels to find the powers by.

    Returns
    -------
    ndarray of float32 or float64, shape of frames
        The frames.

    Raises
    ------
    TypeError, ValueError
        As `frame_powers`.
    """
    array = checked_frames(frames, axis)
    axis = checked_axis(axis, array.ndim)
    if powers is None:
        power = frame_powers(array, phases_rad, axis=axis, mask=mask)
    else:
        power = checked_powers(powers, array.shape[:axis], array.shape[axis])
    real = np.float32 if single_precision(array.dtype) else np.float64
    return array * (1 / power).astype(real).reshape(power.shape + (1,) * (array.ndim - axis - 1))


def gram_matrix(burst: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean products of two steps, and means of the steps, over the pixels of one burst.

    Parameters
    ----------
    burst : ndarray of real numbers, shape (steps, pixels)

    Returns
    -------
    products : ndarray of float64, shape (steps, steps)
    means : ndarray of float64, shape (steps,)
    """
    steps, pixels = burst.shape
    products, sums = np.zeros((steps, steps)), np.zeros(steps)
    for start in range(0, pixels, _BLOCK):
        # Double precision: what the fit leaves over is a small difference of large sums.
        block = burst[:, start : start + _BLOCK].astype(np.float64)
        # One by one, not by BLAS, whose order of the sum depends on the processor.
        for i, row in enumerate(block):
            products[i] += np.sum(row * block, axis=1)
        sums += block.sum(axis=1)
    return products / pixels, sums / pixels


def _fitted(form: NDArray[np.float64]) -> NDArray[np.float64]:
    """Powers from the quadratic form of `frame_powers`."""
    if not np.isfinite(form).all():
        return np.full(len(form), np.nan)
    inverse = np.linalg.eigh(form)[1][:, 0]
    inverse = inverse * np.sign(inverse.sum())
    return np.where(inverse > 0, 1 / np.where(inverse > 0, inverse, 1), np.nan)
