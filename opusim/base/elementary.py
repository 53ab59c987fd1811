"""Sine, cosine, exponential, logarithm and products of complex numbers whose bits are the same on every machine.

For all that light and counts are made of; `elementary_kernels` says why numpy's own will not do. Sums, differences,
products, quotients and square roots of real arrays are the same anyway, and so are numpy's sums and means.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Where J1 goes from the mean over a turn to the series, nodes of a quarter of the turn, and terms of the series.
_BESSEL_FAR, _BESSEL_STEPS, _BESSEL_TERMS = 25.0, 16, 22


def sin(x: ArrayLike) -> Any:
    """Return the sine of angles in radians.

    Parameters
    ----------
    x : array_like of float64
        Angles up to 1e13 in size; beyond, the result is NaN.

    Returns
    -------
    ndarray of float64, or float64 for a number
        Less than one unit in the last place from the truth.
    """
    from . import elementary_kernels as kernels

    return _filled(kernels.fill_sines, x)


def cos(x: ArrayLike) -> Any:
    """Return the cosine of angles in radians.

    Parameters
    ----------
    x : array_like of float64
        Angles up to 1e13 in size; beyond, the result is NaN.

    Returns
    -------
    ndarray of float64, or float64 for a number
        Less than one unit in the last place from the truth.
    """
    from . import elementary_kernels as kernels

    return _filled(kernels.fill_cosines, x)


def sinc(x: ArrayLike) -> Any:
    """Return sin(pi x) / (pi x), the transform of an interval of length 1; 1 at 0.

    Parameters
    ----------
    x : array_like of float64
        Numbers.

    Returns
    -------
    ndarray of float64, or float64 for a number
        That of `numpy.sinc`, to rounding.
    """
    values = np.asarray(x, dtype=np.float64)
    away = np.where(values != 0, np.pi * values, 1.0)
    return np.where(values != 0, sin(away) / away, 1.0)[()]


def exp(x: ArrayLike) -> Any:
    """Return e to the power of numbers.

    Parameters
    ----------
    x : array_like of float64
        Powers.

    Returns
    -------
    ndarray of float64, or float64 for a number
        Less than one unit in the last place from the truth.
    """
    from . import elementary_kernels as kernels

    return _filled(kernels.fill_exponentials, x)


def log(x: ArrayLike) -> Any:
    """Return the natural logarithm of numbers.

    Parameters
    ----------
    x : array_like of float64
        Numbers of at least 0.

    Returns
    -------
    ndarray of float64, or float64 for a number
        Less than one unit in the last place from the truth; minus infinity of 0, NaN below.
    """
    from . import elementary_kernels as kernels

    return _filled(kernels.fill_logarithms, x)


def bessel_j1(x: ArrayLike) -> Any:
    """Return the Bessel function J1, the first of the laws of round stops.

    Parameters
    ----------
    x : array_like of float64
        Numbers of at least 0.

    Returns
    -------
    ndarray of float64, or float64 for a number
        Less than 2e-15 from the truth.

    Notes
    -----
    Up to 25 the mean of ``sin(t) sin(x sin t)`` over a turn of t, at 64 equal steps, of which a quarter is enough: the
    error is J63(x), below 1e-18. Above, Hankel's series (Abramowitz and Stegun 9.2.5), whose terms fall to 1e-17.
    """
    values = np.asarray(x, dtype=np.float64)
    near = np.minimum(values, _BESSEL_FAR)
    result = np.zeros(values.shape)
    for height in sin((np.arange(_BESSEL_STEPS) + 0.5) * (np.pi / 2 / _BESSEL_STEPS)):
        result += height * sin(near * height)
    result /= _BESSEL_STEPS
    far = np.flatnonzero(values > _BESSEL_FAR)
    if len(far):
        at = values.reshape(-1)[far]
        term, parts = np.ones(len(at)), [np.zeros(len(at)), np.zeros(len(at))]
        for k in range(_BESSEL_TERMS):
            parts[k % 2] += -term if k % 4 > 1 else term
            term *= (4 - (2 * k + 1) ** 2) / (8 * (k + 1)) / at
        up, side = sin(at), cos(at)
        result.reshape(-1)[far] = (parts[0] * (up - side) + parts[1] * (up + side)) / np.sqrt(np.pi * at)
    return result[()]


def phasors(phase_rad: ArrayLike, kind: Any = np.complex128) -> NDArray[Any]:
    """Return exp(i phase).

    Parameters
    ----------
    phase_rad : array_like of float32 or float64
        Phases in radians, up to 1e13 in size; beyond, the result is NaN.
    kind : numpy dtype
        complex64 or complex128: of the result. The parts are computed in double precision.

    Returns
    -------
    ndarray of `kind`, shape of `phase_rad`
        Numbers of modulus 1.
    """
    from . import elementary_kernels as kernels

    phase = np.asarray(phase_rad)
    if phase.dtype != np.float32:
        phase = phase.astype(np.float64, copy=False)
    out = np.empty(phase.shape, dtype=kind)
    kernels.fill_phasors(np.ascontiguousarray(phase).reshape(-1), out.reshape(-1).view(out.real.dtype), 0, phase.size)
    return out


def angle(z: ArrayLike) -> Any:
    """Return the phase of complex numbers.

    Parameters
    ----------
    z : array_like of complex128
        Numbers.

    Returns
    -------
    ndarray of float64, or float64 for a number
        Radians from -pi to pi, 0 for 0; less than 1e-15 from the truth.
    """
    from . import elementary_kernels as kernels

    values = np.asarray(z, dtype=np.complex128)
    out = np.empty(values.shape)
    y, x = (np.ascontiguousarray(part).reshape(-1) for part in (values.imag, values.real))
    kernels.fill_angles(y, x, out.reshape(-1), 0, values.size)
    return out[()]


def geometric(first: float, last: float, n: int) -> NDArray[np.float64]:
    """Return numbers from `first` to `last` at equal ratios, as `numpy.geomspace` does.

    Parameters
    ----------
    first, last : float
        Ends, above 0.
    n : int
        How many, at least 2.

    Returns
    -------
    ndarray of float64, shape (n,)
        With both ends.
    """
    steps = np.arange(n) / (n - 1)
    result: NDArray[np.float64] = first * exp(steps * log(last / first))
    result[-1] = last
    return result


def multiply(
    a: NDArray[Any], b: NDArray[Any] | np.number[Any] | complex, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return products of complex numbers.

    numpy's own fuse a product with the sum behind it where the processor can.

    Parameters
    ----------
    a : ndarray of complex64 or complex128, any shape
        Factors.
    b : ndarray or number
        The other factors, in the type of `a`: of a shape that broadcasts to that of `a`.
    out : ndarray, optional
        Where to leave the products: of the type and shape of `a`, possibly `a` itself.

    Returns
    -------
    ndarray of the type and shape of `a`
        `out`, or an array of its own.
    """
    from . import elementary_kernels as kernels

    if out is None:
        out = np.empty(a.shape, dtype=a.dtype)
    factor = np.asarray(b, dtype=a.dtype)
    if a.ndim > 3 or factor.ndim > 2:
        factor = np.broadcast_to(factor, a.shape)
        for one, other, target in zip(a, factor, out, strict=True):
            multiply(one, other, target)
        return out
    # As a stack of rows, without a copy.
    stack = (None,) * (3 - a.ndim)
    rows = a[stack].shape[1:]
    if factor.shape != rows:
        factor = np.broadcast_to(factor, rows)
    kernels.multiply_rows(a[stack], factor, out[stack])
    return out


def square_modulus(a: NDArray[Any]) -> NDArray[Any]:
    """Return the square of the modulus of complex numbers.

    Parameters
    ----------
    a : ndarray of complex64 or complex128
        Numbers.

    Returns
    -------
    ndarray of float32 or float64, shape of `a`
        The sum of the squares of both parts.
    """
    result: NDArray[Any] = np.square(a.real) + np.square(a.imag)
    return result


def _filled(fill: Any, x: ArrayLike) -> Any:
    values = np.asarray(x, dtype=np.float64)
    out = np.empty(values.shape)
    fill(np.ascontiguousarray(values).reshape(-1), out.reshape(-1), 0, values.size)
    return out[()]
