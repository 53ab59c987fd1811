"""The field from a burst of frames under a stepped reference: linear least squares, and saturated frames left out.

Frame k of a burst shows I_k = |S|^2 / c^2 + |R|^2 + 2 |R| Re(S exp(-i d_k)), where S is the field that the fringes show
(coherence c included) in the phase of the reference R.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["field_of_clipped", "least_squares_row"]

_NEWTON_STEPS = 8


def least_squares_row(phases_rad: ArrayLike) -> NDArray[np.complex128]:
    """Coefficients c_k of q = S |R| = sum of c_k I_k by least squares; the sum of them is 0.

    Parameters
    ----------
    phases_rad : array_like of float, shape (steps,)
        Phases d_k in radians, at least three that differ.

    Returns
    -------
    ndarray of complex128, shape (steps,)
        Rows of the pseudoinverse of the matrix of columns 1, 2 cos d, 2 sin d (Greivenkamp, Opt. Eng. 23, 350, 1984);
        exp(i d_k) / N for N equal steps over a turn.
    """
    d = np.asarray(phases_rad, dtype=np.float64)
    rows = np.linalg.pinv(np.stack([np.ones_like(d), 2 * np.cos(d), 2 * np.sin(d)], axis=1))
    return rows[1] + 1j * rows[2]


def field_of_clipped(
    light: np.ndarray,
    clipped: np.ndarray,
    amplitude: np.ndarray,
    phases: np.ndarray,
    coherence: float,
    start: np.ndarray,
) -> np.ndarray:
    """Fields of bursts with saturated frames, from the others and the known reference.

    Parameters
    ----------
    light : ndarray of float64, shape (n, steps)
        Frames, dark level taken off.
    clipped : ndarray of bool, shape (n, steps)
        Which are saturated.
    amplitude : ndarray, shape (n,)
        |R|, in roots of the frames' unit.
    phases : ndarray of float64, shape (steps,)
        d_k in radians.
    coherence : float
        c.
    start : ndarray of complex, shape (n,)
        A first guess.

    Returns
    -------
    ndarray of complex128, shape (n,)

    Notes
    -----
    With |R| and c known I_k has two unknowns a burst, so that two frames are enough; a saturated one only says that
    I_k is not below full scale. Least squares by Gauss and Newton, damped.
    """
    cosine, sine = np.cos(phases), np.sin(phases)
    r = amplitude.astype(np.float64)[:, None]
    own = 1 / coherence**2
    x, y = start.real.astype(np.float64), start.imag.astype(np.float64)
    for _ in range(_NEWTON_STEPS):
        model = own * (x[:, None] ** 2 + y[:, None] ** 2) + r**2 + 2 * r * (x[:, None] * cosine + y[:, None] * sine)
        rest = light - model
        # A saturated frame counts only while the model is below what it shows at least.
        rest[clipped & (rest < 0)] = 0
        used = ~clipped | (rest > 0)
        along_x = (2 * own * x[:, None] + 2 * r * cosine) * used
        along_y = (2 * own * y[:, None] + 2 * r * sine) * used
        xx, yy, xy = (along_x**2).sum(axis=1), (along_y**2).sum(axis=1), (along_x * along_y).sum(axis=1)
        damping = 1e-3 * (xx + yy) + 1e-12
        xx, yy = xx + damping, yy + damping
        gx, gy = (along_x * rest).sum(axis=1), (along_y * rest).sum(axis=1)
        determinant = xx * yy - xy**2
        x, y = x + (yy * gx - xy * gy) / determinant, y + (xx * gy - xy * gx) / determinant
    return x + 1j * y
