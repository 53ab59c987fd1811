"""Field from frames of unknown phase steps: the advanced iterative algorithm, with a refinement for speckle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from opusim.base import elementary, validation
from opusim.base.short_repr import short_repr
from opusim.fringes.demodulation import pseudoinverse

from .frame_input import (
    LEAST_CONDITION,
    checked_axis,
    checked_frames,
    checked_mask,
    checked_phases,
    condition,
    design,
    tamed,
)
from .frame_power import gram_matrix
from .fringe_fit import Demodulated, least_squares, rows_for

__all__ = ["PhaseEstimate", "advanced_iterative"]

_BLOCK = 1 << 16


@short_repr
@dataclass(frozen=True)
class PhaseEstimate(Demodulated):
    """What frames with unknown steps say about each pixel, and about the steps.

    Parameters
    ----------
    q : ndarray of complex64 or complex128
        S conj(R), in the frames' unit.
    offset : ndarray of float32 or float64
        The sum ``|S|^2 + |R|^2``, in the frames' unit.
    phases_rad : ndarray of float64, shape (steps,)
        The steps that were found.
    valid : ndarray of bool, or None
        Pixels whose q can be used; None if all can.
    powers : ndarray of float64, shape (steps,)
        Relative power of each frame, of mean 1; all 1 if they were not fitted.
    iterations : int
        Rounds of the alternation.
    converged : bool
        Whether the steps settled within the tolerance.
    phase_std_rad : ndarray of float64, shape (steps,)
        Expected error of each phase (beside one common to all), if pixels are independent.
    """

    powers: NDArray[np.float64] = None  # type: ignore[assignment]
    iterations: int = 0
    converged: bool = False
    phase_std_rad: NDArray[np.float64] = None  # type: ignore[assignment]


def advanced_iterative(
    frames: ArrayLike,
    nominal_rad: ArrayLike,
    *,
    axis: int = 0,
    fit_power: bool = False,
    refine: bool = True,
    mask: ArrayLike | None = None,
    tolerance_rad: float = 1e-5,
    max_iterations: int = 100,
) -> PhaseEstimate:
    """Find field and phase steps together, from the frames alone.

    Parameters
    ----------
    frames : array_like of real numbers, shape (..., steps, ...)
        Frames of one burst, dark level taken off if `fit_power` is set. Steps must be the same in all pixels.
    nominal_rad : array_like of float, shape (steps,)
        What the steps should be: the start, and what settles the phase common to all steps and their sign, which
        frames cannot tell. The steps found have the nominal ones' mean, and turn the same way.
    axis : int, optional
        The axis of the steps; all others count as pixels.
    fit_power : bool, optional
        Whether the power of each frame is unknown too. Set it where the laser's power noise is above a tenth of a
        per cent: five steps or more are otherwise bent to explain it.
    refine : bool, optional
        Whether to go on from the alternation to the maximum-likelihood steps (see Notes).
    mask : array_like of bool, shape of a frame, optional
        Pixels from which the steps are found: leave out saturated ones. The field is given for all pixels.
    tolerance_rad : float, optional
        The alternation ends when no step moves by more, against the others.
    max_iterations : int, optional
        Most rounds.

    Returns
    -------
    PhaseEstimate
        The field and the steps.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named, frames hold NaN or infinity, or show no fringe.

    Notes
    -----
    *Alternation* (Wang and Han, Opt. Lett. 29, 1671, 2004): least squares in each pixel with the steps as known
    give offset and phase; least squares in each frame on 1, cos phase, sin phase give the steps; again. The second
    half takes offset and modulation for the same in all pixels. Over P pixels of speckle this leaves an error of
    the order of 1/sqrt(P).

    *Refinement*: three conditions, each weighted by its own precision. (1) Frames lie in the space of the columns
    1, cos d, sin d: exact in every pixel. It settles N steps for N >= 5 (2 (N - 3) equations for N - 1 unknown
    steps), within camera noise. (2) The field's phase is uniform over the pixels: mean of q^2 zero, to 1/sqrt(P).
    (3) It does not depend on the level: covariance of offset and q zero. Three and four steps, and powers, need
    (2) and (3), so that their error falls as 1/sqrt(P) even without noise. All three depend on the frames only
    through the sums of products of two frames.
    """
    array = checked_frames(frames, axis)
    axis = checked_axis(axis, array.ndim)
    steps = array.shape[axis]
    nominal = checked_phases("nominal_rad", nominal_rad, steps)
    shape = array.shape[:axis] + array.shape[axis + 1 :]
    use = checked_mask(mask, shape)
    tolerance = validation.number("tolerance_rad", tolerance_rad, low=0.0, high=1.0, low_open=True)
    rounds = validation.integer("max_iterations", max_iterations, low=1)
    fit_power = validation.flag("fit_power", fit_power)
    refine = validation.flag("refine", refine)
    burst = np.moveaxis(tamed(array), axis, 0).reshape(steps, -1)  # steps are told from ratios alone
    if use is not None:
        burst = burst[:, use.ravel()]
    if burst.shape[1] < 2 * steps:
        raise ValueError(
            f"frames has {burst.shape[1]} pixels to use, but at least {2 * steps} are needed to find steps."
        )
    products, means = gram_matrix(burst)
    if not np.isfinite(products).all():
        raise ValueError("frames is not finite everywhere, but each value must be a finite number.")
    _check_fringes(products, steps)
    found, done, settled = _alternate(burst, nominal, tolerance, rounds)
    found = _resolve(found, nominal)
    powers, spread = np.ones(steps), np.full(steps, np.nan)
    if refine:
        found, powers, spread = _refine(burst, products, means, found, fit_power)
        found = _resolve(found, nominal)
    if condition(found) < LEAST_CONDITION:
        raise ValueError(
            "frames shows no fringe that three different steps explain: the steps found do not differ clearly."
        )
    fit = least_squares(array, found, powers=powers if fit_power else None, axis=axis)
    return PhaseEstimate(fit.q, fit.offset, found, None, powers, done, settled, spread)


def _check_fringes(products: NDArray[np.float64], steps: int) -> None:
    """Refuse frames that do not differ from each other in two ways at least, beside their level."""
    difference = np.eye(steps) - 1 / steps
    values = np.linalg.eigvalsh(difference @ products @ difference)
    if not values[-2] > 1e-12 * max(np.trace(products), 1e-300):
        raise ValueError("frames shows no fringe: the steps differ in less than two independent ways.")


def _alternate(
    burst: NDArray[Any], start: NDArray[np.float64], tolerance: float, rounds: int
) -> tuple[NDArray[np.float64], int, bool]:
    """Alternate between pixels and frames until the steps settle."""
    found = start
    steps = len(start)
    for done in range(1, rounds + 1):
        rows = rows_for(found)
        normal, mixed = np.zeros((3, 3)), np.zeros((3, steps))
        for begin in range(0, burst.shape[1], _BLOCK):
            block = burst[:, begin : begin + _BLOCK].astype(np.float64)
            _, re, im = _product(rows, block)
            size = np.sqrt(re**2 + im**2)
            size[size == 0] = 1
            basis = np.stack([np.ones_like(re), re / size, im / size])
            normal += _products_of_rows(basis, basis)
            mixed += _products_of_rows(basis, block)
        _, cosine, sine = _product(pseudoinverse(normal), mixed)
        last, found = found, elementary.angle(cosine + 1j * sine)
        turn = elementary.phasors(found - last)
        moved = float(np.max(np.abs(elementary.angle(elementary.multiply(turn, turn.sum().conj())))))
        if moved < tolerance:
            return found, done, True
    return found, rounds, False


def _resolve(found: NDArray[np.float64], nominal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Settle sign, common phase and whole turns by the nominal steps."""
    candidates = []
    for signed in (found, -found):
        turn = elementary.phasors(signed - nominal)
        # Rotate so that the mean difference is zero, then write each step in the nominal one's turn.
        common = elementary.phasors(-elementary.angle(turn.sum()))
        rest = elementary.angle(elementary.multiply(turn, common))
        candidates.append((abs(turn.sum()), nominal + rest - rest.mean()))
    return candidates[0][1] if candidates[0][0] >= candidates[1][0] else candidates[1][1]


def _refine(
    burst: NDArray[Any],
    products: NDArray[np.float64],
    means: NDArray[np.float64],
    start: NDArray[np.float64],
    fit_power: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return steps, powers and expected errors by the three conditions of `advanced_iterative`."""
    steps, pixels = burst.shape
    square, uniform, level = _precisions(burst, rows_for(start), means)
    root = _square_root(products)
    central = products - np.outer(means, means)

    def conditions(x: NDArray[np.float64]) -> tuple[complex, complex, NDArray[np.float64]]:
        columns = design(x[:steps])
        if fit_power:
            columns = elementary.exp(x[steps:])[:, None] * columns
        rows = pseudoinverse(columns)
        # Covariances of offset, Re q and Im q; q's with itself comes first, and then that with the offset.
        m = _products_of_rows(_product(rows, central), rows)
        anisotropy, leak = complex(m[1, 1] - m[2, 2], 2 * m[1, 2]), complex(m[0, 1], m[0, 2])
        return anisotropy / square, leak / square, root - _product(columns, _product(rows, root))

    def equations(x: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
        anisotropy, leak, rest = conditions(x)
        parts = np.array([anisotropy.real, anisotropy.imag]) / uniform, np.array([leak.real, leak.imag]) / level
        # What the frames cannot tell is held: the mean step and the mean power.
        held = 1e4 * np.array([(x[:steps] - start).mean(), x[steps:].sum()])
        return np.concatenate([*parts, rest.ravel() * (np.sqrt(pixels) / sigma), held])

    x = np.concatenate([start, np.zeros(steps if fit_power else 0)])
    # Rounding of single precision is the least noise that is believed.
    floor = 1e-7 * float(np.sqrt(np.square(means).mean()))
    solution = None
    for _ in range(3 if steps > 3 else 1):  # the noise is what the last fit left over
        left = float(np.square(conditions(x)[2]).sum())
        sigma = max(np.sqrt(left / max(steps - 3, 1)), floor)
        solution = optimize.least_squares(equations, x, jac="3-point", method="lm", args=(sigma,), xtol=1e-12)
        x = solution.x
    assert solution is not None
    information = solution.jac.T @ solution.jac
    # Without what was held: a phase common to all steps is no error.
    inner = np.eye(steps) - 1 / steps
    covariance = inner @ np.linalg.pinv(information, hermitian=True)[:steps, :steps] @ inner
    spread = np.sqrt(np.maximum(np.diag(covariance), 0))
    powers = elementary.exp(x[steps:]) if fit_power else np.ones(steps)
    return x[:steps], powers / powers.mean(), spread


# Products by no BLAS, and no LAPACK: the steps end where the last bits say, and these would depend on the processor.


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the product of two matrices."""
    return np.einsum("ij,jp->ip", a, b)


def _products_of_rows(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scalar product of each row of one matrix with each row of another."""
    return np.array([[float(np.sum(one * other)) for other in b] for one in a])


def _square_root(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a matrix whose product with its transpose is a positive one: Cholesky's, largest pivots first."""
    n = len(products)
    root, rest, open_ = np.zeros((n, n)), np.diag(products).copy(), np.ones(n, dtype=bool)
    for j in range(n):
        pivot = int(np.argmax(np.where(open_, rest, -np.inf)))
        if not rest[pivot] > n * np.finfo(np.float64).eps * products[pivot, pivot]:
            break  # what is left is rounding
        left = products[:, pivot] - np.sum(root * root[pivot], axis=1)
        root[open_, j] = left[open_] / np.sqrt(rest[pivot])
        root[pivot, j] = np.sqrt(rest[pivot])
        open_[pivot] = False
        rest = rest - np.square(root[:, j])
    return root


def _precisions(
    burst: NDArray[Any], rows: NDArray[np.float64], means: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Mean of |q|^2, and the spread per quadrature of conditions (2) and (3) over samples of this many pixels."""
    pixels = burst.shape[1]
    second = fourth = mixed = 0.0
    offset = float(np.sum(rows[0] * means))
    for begin in range(0, pixels, _BLOCK):
        a, re, im = _product(rows, burst[:, begin : begin + _BLOCK].astype(np.float64))
        size = re**2 + im**2
        second += float(size.sum())
        fourth += float(np.sum(np.square(size)))
        mixed += float(np.sum(np.square(a - offset) * size))
    second, fourth, mixed = second / pixels, fourth / pixels, mixed / pixels
    least = 1e-9
    uniform = max(np.sqrt(fourth / (2 * pixels)) / second, least)
    return second, uniform, max(np.sqrt(mixed / (2 * pixels)) / second, least)
