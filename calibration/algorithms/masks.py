"""Pixels that cannot be trusted: saturated and dark ones, and fits that leave saturated frames out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opusim.base import validation
from opusim.base.user_arrays import checked_array, refuse_not_finite

from .frame_input import checked_axis, checked_frames, checked_phases, checked_weights, condition
from .fringe_fit import Demodulated, least_squares, rows_for

__all__ = ["dark_pixels", "least_squares_unsaturated", "saturated_pixels"]


def saturated_pixels(frames: ArrayLike, full_scale_dn: float, *, axis: int = 0) -> NDArray[np.bool_]:
    """Return which pixels reach full scale in any step.

    Parameters
    ----------
    frames : array_like of real numbers, shape (..., steps, ...)
        Counts as they come from the camera, black level included.
    full_scale_dn : float
        The count from which a pixel is saturated: 2^bits - 1, or the level of the full well if that is lower.
    axis : int, optional
        The axis of the steps.

    Returns
    -------
    ndarray of bool, shape of the frames without the step axis
        True where saturated.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.
    """
    array = checked_frames(frames, axis, least=1)
    refuse_not_finite("frames", array, infinite=False)
    limit = validation.number("full_scale_dn", full_scale_dn, low=0.0, high=np.inf, low_open=True, allow_inf=True)
    return array.max(axis=axis) >= limit


def dark_pixels(offset: ArrayLike, *, least_share: float = 0.05) -> NDArray[np.bool_]:
    """Return which pixels are too dark to carry a fringe: less than a share of the mean level.

    Parameters
    ----------
    offset : array_like of real numbers, shape (..., pixels) or of a frame
        Level of each pixel, dark frame taken off: a frame of the reference alone, or the offset of a fit.
    least_share : float, optional
        Share of the mean over all pixels, from 0 to 1. The field's noise goes as ``1/|R|``: in a pixel at the default
        share it is 4.5 times the typical one.

    Returns
    -------
    ndarray of bool, shape of offset
        True where dark, or where the level is not a number.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named, or no pixel has light.
    """
    level = checked_array("offset", offset)
    share = validation.number("least_share", least_share, low=0.0, high=1.0)
    finite = np.isfinite(level)
    mean = float(level[finite].mean(dtype=np.float64)) if finite.any() else 0.0
    if not mean > 0:
        raise ValueError(f"offset has mean {mean:.4g}, but it must be above 0: these are dark frames.")
    return ~(level > share * mean)


def least_squares_unsaturated(
    frames: ArrayLike,
    phases_rad: ArrayLike,
    full_scale_dn: float,
    weights: ArrayLike | None = None,
    *,
    axis: int = 0,
    black_level_dn: ArrayLike = 0.0,
    least_condition: float = 0.2,
) -> Demodulated:
    """Least squares that leaves saturated frames out, pixel by pixel.

    Parameters
    ----------
    frames : array_like of real numbers, shape (..., steps, ...)
        Counts as they come from the camera; at most 63 steps.
    phases_rad : array_like of float, shape (steps,)
        As for `least_squares`.
    full_scale_dn : float
        The count from which a pixel is saturated.
    weights, axis : optional
        As for `least_squares`.
    black_level_dn : float or array_like, optional
        Black level or dark frame, taken off the offset (the fringe does not depend on it).
    least_condition : float, optional
        Smallest over largest singular value of the columns 1, sqrt2 cos d, sqrt2 sin d of the frames left, from 0
        to 1. Four steps of a quarter turn less one have .41.

    Returns
    -------
    Demodulated
        `valid` is False, and q and offset are NaN, where fewer than three frames are left or they are badly
        conditioned.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.

    Notes
    -----
    Leaving out the brightest frames because noise carried them over full scale selects by the noise; the bias of a
    pixel right at full scale is a fraction of the noise of one frame.
    """
    array = checked_frames(frames, axis)
    axis = checked_axis(axis, array.ndim)
    steps = array.shape[axis]
    if steps > 63:
        raise ValueError(f"frames has {steps} steps along axis {axis}, but at most 63 can be looked at frame by frame.")
    limit = validation.number("full_scale_dn", full_scale_dn, low=0.0, high=np.inf, low_open=True, allow_inf=True)
    least = max(validation.number("least_condition", least_condition, low=0.0, high=1.0), 1e-3)
    phases = checked_phases("phases_rad", phases_rad, steps)
    weight = checked_weights(weights, steps)
    fit = least_squares(array, phases, weight, axis=axis)
    q, offset = fit.q, fit.offset
    valid = np.ones(q.shape, dtype=bool)
    by_step: Any = np.moveaxis(array, axis, 0)
    touched = np.nonzero(saturated_pixels(array, limit, axis=axis))
    if touched[0].size:
        values = by_step[(slice(None), *touched)]
        # One number names the set of frames that a pixel has lost; there are few different ones.
        codes = np.left_shift(np.uint64(1), np.arange(steps, dtype=np.uint64)) @ (values >= limit).astype(np.uint64)
        for code in np.unique(codes):
            which = np.nonzero(codes == code)[0]
            places = tuple(index[which] for index in touched)
            kept = np.array([not (int(code) >> k) & 1 for k in range(steps)])
            left = weight * kept
            if np.count_nonzero(left) >= 3 and condition(phases, left) >= least:
                a, re, im = rows_for(phases, left)[:, kept] @ values[kept][:, which].astype(np.float64)
                q[places], offset[places] = re + 1j * im, a
            else:
                q[places], offset[places], valid[places] = np.nan, np.nan, False
    return Demodulated(q, offset - _checked_black(black_level_dn, offset), phases, valid)


def _checked_black(black: ArrayLike, offset: NDArray[Any]) -> NDArray[Any]:
    """Return the black level in the offset's type after checking that it fits."""
    array = checked_array("black_level_dn", black, finite=True)
    try:
        fits = np.broadcast_shapes(array.shape, offset.shape) == offset.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"black_level_dn has shape {array.shape}, but it must fit one of {offset.shape}.")
    return array.astype(offset.dtype)
