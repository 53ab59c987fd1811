"""Phase-shifting algorithms: the field in each pixel from frames under a stepped reference.

All take ``frames[step, row, column]`` (or any other shape, with `axis` naming the step axis) and return the field
against the phase of frame 0, in the convention of `fringe_fit`: I_k = a + 2 Re(q exp(-i d_k)), q = S conj(R).
Which to take: `four_step` or `least_squares` for a calibrated phase shifter, `schwider_hariharan` or `carre` for one
whose scale is off, `advanced_iterative` for steps that are not known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .frame_input import checked_axis, checked_frames, tamed
from .frame_power import frame_powers, normalise_power
from .fringe_fit import Demodulated, apply_rows, least_squares, modulation
from .iterative import PhaseEstimate, advanced_iterative
from .masks import dark_pixels, least_squares_unsaturated, saturated_pixels

__all__ = [
    "FOUR_STEP_PHASES",
    "SCHWIDER_HARIHARAN_PHASES",
    "THREE_STEP_PHASES",
    "Demodulated",
    "PhaseEstimate",
    "advanced_iterative",
    "carre",
    "dark_pixels",
    "equal_steps",
    "four_step",
    "frame_powers",
    "least_squares",
    "least_squares_unsaturated",
    "modulation",
    "normalise_power",
    "saturated_pixels",
    "schwider_hariharan",
    "three_step",
]

THREE_STEP_PHASES = (0.0, 2 * np.pi / 3, 4 * np.pi / 3)
FOUR_STEP_PHASES = (0.0, np.pi / 2, np.pi, 3 * np.pi / 2)
SCHWIDER_HARIHARAN_PHASES = (0.0, np.pi / 2, np.pi, 3 * np.pi / 2, 2 * np.pi)

_THREE = np.array([[1 / 3, 1 / 3, 1 / 3], [1 / 3, -1 / 6, -1 / 6], [0, np.sqrt(1 / 12), -np.sqrt(1 / 12)]])
_FOUR = np.array([[1, 1, 1, 1], [1, 0, -1, 0], [0, 1, 0, -1]]) / 4
_FIVE = np.array([[1, 2, 2, 2, 1], [1, 0, -2, 0, 1], [0, 2, 0, -2, 0]]) / 8


def equal_steps(n_steps: int) -> NDArray[np.float64]:
    """Return phases 0, 2 pi / n, ... that divide one turn, the best for a given number of frames.

    Parameters
    ----------
    n_steps : int
        Their number n, at least 3.

    Returns
    -------
    ndarray of float64, shape (n_steps,)
        Phases in radians.

    Raises
    ------
    TypeError, ValueError
        If it is not such a number.
    """
    if isinstance(n_steps, bool) or not isinstance(n_steps, (int, np.integer)):
        raise TypeError(f"n_steps is {n_steps!r} ({type(n_steps).__name__}), but it must be a whole number.")
    if n_steps < 3:
        raise ValueError(f"n_steps is {n_steps}, but at least 3 steps are needed.")
    return 2 * np.pi * np.arange(n_steps) / n_steps


def three_step(frames: ArrayLike, *, axis: int = 0) -> Demodulated:
    """Field from three frames at phases 0, 120 and 240 degrees (`THREE_STEP_PHASES`).

    Parameters
    ----------
    frames : array_like of real numbers
        Three steps along `axis`.
    axis : int, optional
        The axis of the steps.

    Returns
    -------
    Demodulated
        The field q = (2 I0 - I1 - I2) / 6 + i (I1 - I2) / sqrt(12).

    Raises
    ------
    TypeError, ValueError
        If the frames are not three, not real or not finite.
    """
    return _fixed(frames, _THREE, THREE_STEP_PHASES, axis)


def four_step(frames: ArrayLike, *, axis: int = 0) -> Demodulated:
    """Field from four frames at phases 0, 90, 180 and 270 degrees (`FOUR_STEP_PHASES`).

    Parameters
    ----------
    frames : array_like of real numbers
        Four steps along `axis`.
    axis : int, optional
        The axis of the steps.

    Returns
    -------
    Demodulated
        The field q = (I0 - I2) / 4 + i (I1 - I3) / 4.

    Raises
    ------
    TypeError, ValueError
        If the frames are not four, not real or not finite.
    """
    return _fixed(frames, _FOUR, FOUR_STEP_PHASES, axis)


def schwider_hariharan(frames: ArrayLike, *, axis: int = 0) -> Demodulated:
    """Field from five frames a quarter turn apart (`SCHWIDER_HARIHARAN_PHASES`), insensitive to the step's scale.

    Parameters
    ----------
    frames : array_like of real numbers
        Five steps along `axis`.
    axis : int, optional
        The axis of the steps.

    Returns
    -------
    Demodulated
        The field q = (I0 - 2 I2 + I4) / 8 + i (I1 - I3) / 4.

    Raises
    ------
    TypeError, ValueError
        If the frames are not five, not real or not finite.

    Notes
    -----
    Schwider et al., Appl. Opt. 22, 3421 (1983); Hariharan, Oreb and Eiju, Appl. Opt. 26, 2504 (1987). Steps that
    are all too long by the share e leave a phase error of second order, (pi e / 2)^2 / 2 peak to valley, beside the
    constant 2 pi e: the algorithm's own origin is frame 2.
    """
    return _fixed(frames, _FIVE, SCHWIDER_HARIHARAN_PHASES, axis)


def carre(frames: ArrayLike, *, axis: int = 0, per_pixel: bool = False) -> tuple[Demodulated, Any]:
    """Field and step from four frames with equal steps of unknown size.

    Parameters
    ----------
    frames : array_like of real numbers
        Four steps along `axis`, each as far from the last one, between 0 and 180 degrees; 90 or more is best.
    axis : int, optional
        The axis of the steps.
    per_pixel : bool, optional
        Whether each pixel has a step of its own, as in Carré's own algorithm. By default one step is found for all
        pixels by least squares, which is far less noisy; the field then follows by least squares too.

    Returns
    -------
    demodulated : Demodulated
        Field; its phases are 0, step, 2 step and 3 step, with the median step if each pixel has its own. `valid` is
        False where a pixel on its own has no step (only with `per_pixel`).
    step_rad : float, or ndarray of float64 with the shape of a frame
        The step.

    Raises
    ------
    TypeError, ValueError
        If the frames are not four, not real or not finite, or show no step between 0 and 180 degrees.

    Notes
    -----
    With steps of 2 b around the middle of the four, tan^2 b = (3 (I1 - I2) - (I0 - I3)) / ((I0 - I3) + (I1 - I2))
    (Carré, Metrologia 2, 13, 1966). Camera noise biases the common step, but not where it is 90 degrees.
    """
    array = checked_frames(frames, axis, exactly=4)
    steps = np.moveaxis(array, checked_axis(axis, array.ndim), 0).astype(np.float64)
    if not np.isfinite(steps).all():
        raise ValueError("frames is not finite everywhere, but each value must be a finite number.")
    tame = tamed(steps)  # the step is told from ratios alone
    above, below = _slopes(tame)
    if not per_pixel:
        square = float(np.vdot(above, below)), float(np.vdot(below, below))
        if not square[0] > 0 or not square[1] > 0:
            raise ValueError(
                "frames shows no common step between 0 and 180 degrees: there is no fringe, or not four equal steps."
            )
        step = 2 * float(np.arctan(np.sqrt(square[0] / square[1])))
        return least_squares(array, step * np.arange(4), axis=axis), step
    valid = above * below > 0
    if not valid.any():
        raise ValueError("frames shows no step between 0 and 180 degrees in any pixel: there is no fringe.")
    half = np.full(valid.shape, np.nan)
    half[valid] = np.arctan(np.sqrt(above[valid] / below[valid]))
    sine, cosine = np.sin(half), np.cos(half)
    below = _slopes(steps)[1]
    middle = (steps[1] + steps[2] - steps[0] - steps[3]) / (16 * sine**2 * cosine)
    q = (middle - 1j * below / (16 * sine * cosine**2)) * np.exp(3j * half)
    # The mean of the inner frames is a + 2 Re(q) cos b about the middle.
    offset = (steps[1] + steps[2]) / 2 - 2 * middle * cosine
    step_rad = 2 * half
    phases = np.array([0.0, 1.0, 2.0, 3.0]) * float(np.nanmedian(step_rad))
    return Demodulated(q, offset, phases, valid), step_rad


def _slopes(steps: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numerator and denominator of tan^2 of half a step, in each pixel."""
    outer, inner = steps[0] - steps[3], steps[1] - steps[2]
    return 3 * inner - outer, outer + inner


def _fixed(frames: ArrayLike, rows: NDArray[np.float64], phases: tuple[float, ...], axis: int) -> Demodulated:
    """Apply a linear algorithm with phases of its own."""
    array = checked_frames(frames, axis, exactly=len(phases))
    offset, q = apply_rows(array, rows, checked_axis(axis, array.ndim))
    return Demodulated(q, offset, np.array(phases))
