"""Least squares over the steps of phase-shifted frames, for any known phases.

The model of all phase-shifting algorithms: frame k shows

    I_k = |S + R exp(i d_k)|^2 = a + 2 Re(q exp(-i d_k)),   q = S conj(R),   a = |S|^2 + |R|^2,

with signal S, reference R and phase step d_k. A linear algorithm is three rows of one coefficient per step, which
give a, Re q and Im q: a small matrix product over the step axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opusim.base.short_repr import short_repr
from opusim.base.user_arrays import checked_array
from opusim.fringes.demodulation import pseudoinverse

from .frame_input import (
    LEAST_CONDITION,
    checked_axis,
    checked_frames,
    checked_phases,
    checked_powers,
    checked_weights,
    condition,
    design,
    single_precision,
)

__all__ = ["Demodulated", "apply_rows", "least_squares", "modulation", "rows_for"]

_PRODUCT = {2: "rs,nsm->nrm", 3: "nrs,nsm->nrm"}  # by the dimensions of the rows
_BLOCK = 1 << 18  # numbers converted at a time: a mebibyte of float32, which stays in the cache


@short_repr
@dataclass(frozen=True)
class Demodulated:
    """What phase-shifted frames say about each pixel.

    Parameters
    ----------
    q : ndarray of complex64 or complex128
        S conj(R), in the frames' unit. Not a number (NaN) in pixels that `valid` leaves out.
    offset : ndarray of float32 or float64
        The sum ``|S|^2 + |R|^2``, in the frames' unit.
    phases_rad : ndarray of float64, shape (steps,)
        The steps that were used or found.
    valid : ndarray of bool, or None
        Pixels whose q can be used; None if all can.
    """

    q: NDArray[Any]
    offset: NDArray[Any]
    phases_rad: NDArray[np.float64]
    valid: NDArray[np.bool_] | None = None

    @property
    def modulation(self) -> NDArray[Any]:
        """Fringe modulation of each pixel, `modulation` of q and offset."""
        return modulation(self.q, self.offset)

    def field(self, reference_intensity: ArrayLike) -> NDArray[Any]:
        """Return the signal field S in the reference's phase, ``q / |R|``.

        Parameters
        ----------
        reference_intensity : array_like
            ``|R|^2``: a frame of the reference alone, dark frame taken off, in the frames' unit; broadcasts to q.

        Returns
        -------
        ndarray, shape and type of q
            In roots of the frames' unit. NaN in pixels without reference (intensity not above 0).

        Raises
        ------
        TypeError, ValueError
            If the intensity is not real, or not of a shape that fits q.
        """
        intensity = checked_array("reference_intensity", reference_intensity)
        try:
            fits = np.broadcast_shapes(intensity.shape, self.q.shape) == self.q.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"reference_intensity has shape {intensity.shape}, but it must fit the field's shape {self.q.shape}."
            )
        amplitude = np.sqrt(np.where(intensity > 0, intensity, np.nan).astype(self.offset.dtype))
        with np.errstate(invalid="ignore"):
            return self.q / amplitude


def least_squares(
    frames: ArrayLike,
    phases_rad: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    powers: ArrayLike | None = None,
    axis: int = 0,
) -> Demodulated:
    """Fit offset and fringe in each pixel by least squares, for any known phases.

    Parameters
    ----------
    frames : array_like of real numbers, shape (..., steps, ...)
        Frames, ``frames[step, row, column]`` by default; whole batches (vectors, steps, pixels) with ``axis=1``.
    phases_rad : array_like of float, shape (steps,)
        Phase of the reference in each frame, at least three that differ.
    weights : array_like of float, shape (steps,), optional
        Weight of each frame in the sum of squares; equal by default.
    powers : array_like of float, shape (steps,) or frames.shape[:axis] + (steps,), optional
        Relative laser power of each frame, by which it is divided (`frame_powers`).
    axis : int, optional
        The axis of the steps.

    Returns
    -------
    Demodulated
        Its q and offset have the shape of the frames without the step axis. They are complex64 and float32 for counts
        of up to 16 bits and float32 frames, double precision otherwise.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named, frames hold NaN or infinity, or the phases do not determine a field.

    Notes
    -----
    With A the matrix of columns 1, 2 cos d, 2 sin d, the result is (A' W A)^-1 A' W I (Greivenkamp, Opt. Eng. 23,
    350, 1984). For N equal steps over a turn q = (1/N) sum of I_k exp(i d_k). Frames are read in blocks and never
    copied as a whole, if they lie in memory in order.
    """
    array = checked_frames(frames, axis)
    axis = checked_axis(axis, array.ndim)
    steps = array.shape[axis]
    phases = checked_phases("phases_rad", phases_rad, steps)
    weight = checked_weights(weights, steps)
    if condition(phases, weight) < LEAST_CONDITION:
        raise ValueError("weights leaves fewer than three clearly different phases, which do not determine a field.")
    rows = rows_for(phases, weight)
    if powers is not None:
        rows = rows / checked_powers(powers, array.shape[:axis], steps)[..., None, :]
    offset, q = apply_rows(array, rows, axis)
    return Demodulated(q, offset, phases)


def rows_for(phases: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> NDArray[Any]:
    """Coefficients of least squares: rows for a, Re q and Im q, shape (3, steps)."""
    columns = design(phases)
    if weights is None:
        return pseudoinverse(columns)
    root = np.sqrt(weights / weights.max())
    return pseudoinverse(columns * root[:, None]) * root


def apply_rows(frames: NDArray[Any], rows: NDArray[np.float64], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return offset and q of frames by a linear algorithm.

    Parameters
    ----------
    frames : ndarray, shape (..., steps, ...)
        Checked frames.
    rows : ndarray of float64, shape (3, steps) or frames.shape[:axis] + (3, steps)
        Coefficients for a, Re q and Im q.
    axis : int
        The axis of the steps, counted from the front.

    Returns
    -------
    offset, q : ndarray
        Shape of the frames without the step axis.

    Raises
    ------
    ValueError
        If frames of floating point hold NaN or infinity.
    """
    before, steps, after = frames.shape[:axis], frames.shape[axis], frames.shape[axis + 1 :]
    shape = before + after
    stack = frames.reshape(prod(before), steps, prod(after))
    real = np.dtype(np.float32 if single_precision(frames.dtype) else np.float64)
    rows = rows.astype(real)
    if rows.ndim == 2 and stack.shape[2] == 1:  # the step axis is the last one: many pixels of one batch
        stack = stack.reshape(1, -1, steps).transpose(0, 2, 1)
    n, _, m = stack.shape
    rows = np.broadcast_to(rows, before + (3, steps)).reshape(n, 3, steps) if rows.ndim > 2 else rows
    offset = np.empty((n, m), dtype=real)
    q = np.empty((n, m), dtype=np.complex64 if real == np.float32 else np.complex128)
    parts = q.view(real).reshape(n, m, 2)
    wide = max(1, min(m, _BLOCK // steps))
    high = max(1, _BLOCK // (steps * max(m, 1)))
    for i in range(0, n, high):
        some = slice(i, i + high)
        for j in range(0, m, wide):
            part = slice(j, j + wide)
            block = stack[some, :, part].astype(real, copy=False)
            with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
                # By no BLAS, whose order of the sum depends on the processor.
                fitted = np.einsum(_PRODUCT[rows.ndim], rows if rows.ndim == 2 else rows[some], block)
            offset[some, part] = fitted[:, 0]
            parts[some, part, 0] = fitted[:, 1]
            parts[some, part, 1] = fitted[:, 2]
    # A frame that is not finite makes the offset of its pixel NaN or infinite: one sum finds it.
    with np.errstate(invalid="ignore", over="ignore"):
        total = offset.sum(dtype=np.float64)
    if frames.dtype.kind == "f" and not np.isfinite(total):
        bad = int(np.count_nonzero(~np.isfinite(offset)))
        if bad and np.isfinite(frames).all():
            largest = float(np.abs(frames).max())
            raise ValueError(
                f"frames holds {largest:.3g}, whose sums are beyond what {real} holds in {bad} pixels: divide frames "
                "by a number first, or give them in float64."
            )
        if bad:
            raise ValueError(f"frames is not finite in {bad} pixels, but each value must be a finite number.")
    return offset.reshape(shape), q.reshape(shape)


def modulation(q: ArrayLike, offset: ArrayLike) -> NDArray[Any]:
    """Return the fringe modulation ``2 |q| / a`` of each pixel: 0 without fringes, 1 for ``|S| = |R|``.

    Parameters
    ----------
    q : array_like of complex
        S conj(R).
    offset : array_like of float
        ``|S|^2 + |R|^2``, of the same shape.

    Returns
    -------
    ndarray of float
        From 0 to 1; noise may carry it beyond 1. It is 0 where the offset is not above 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named, or the shapes differ.
    """
    field, level = checked_array("q", q, kinds="iufc"), checked_array("offset", offset)
    if field.shape != level.shape:
        raise ValueError(f"q has shape {field.shape} and offset {level.shape}, but both must have one shape.")
    amplitude = np.abs(field)
    return np.divide(2 * amplitude, level, out=np.zeros_like(amplitude), where=level > 0)
