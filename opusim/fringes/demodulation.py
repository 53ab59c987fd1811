"""The field from a burst of frames under a stepped reference: linear least squares, and saturated frames left out.

Frame k of a burst shows I_k = |S|^2 / c^2 + |R|^2 + 2 |R| Re(S exp(-i d_k)), where S is the field that the fringes show
(coherence c included) in the phase of the reference R.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opusim.base import arrays, elementary, parallel
from opusim.base.short_repr import short_repr

__all__ = [
    "BurstPixels",
    "field_of_clipped",
    "fields_of_bursts",
    "fields_of_counts",
    "finished",
    "finishing_scale",
    "law_of",
    "least_squares_row",
    "offset_row",
    "pseudoinverse",
]

_NEWTON_STEPS = 8
# One over the least determinant of three columns' products, for columns of length 1.
_LEAST_INDEPENDENT = 10**24
# Below these a second thread costs more than it brings.
_FEW_BURSTS = 4096
_FEW_PIXELS = 1 << 17
_DEVICE_PIXELS = 1 << 23  # of all bursts that a device takes at a time


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
    rows = pseudoinverse(np.stack([np.ones_like(d), 2 * elementary.cos(d), 2 * elementary.sin(d)], axis=1))
    return rows[1] + 1j * rows[2]


def offset_row(phases_rad: ArrayLike) -> NDArray[np.float64]:
    """Coefficients of the offset ``|S|^2 / c^2 + |R|^2`` by least squares: the sum of them is 1.

    Parameters
    ----------
    phases_rad : array_like of float, shape (steps,)
        As for `least_squares_row`.

    Returns
    -------
    ndarray of float64, shape (steps,)
        The other row of the same pseudoinverse; 1 / N for N equal steps over a turn.
    """
    d = np.asarray(phases_rad, dtype=np.float64)
    return pseudoinverse(np.stack([np.ones_like(d), 2 * elementary.cos(d), 2 * elementary.sin(d)], axis=1))[0]


def pseudoinverse(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the pseudoinverse of three columns, in exact arithmetic where they are independent.

    LAPACK's has other last bits on another processor, and fields would have them too.

    Parameters
    ----------
    columns : ndarray of float64, shape (steps, 3)
        Numbers.

    Returns
    -------
    ndarray of float64, shape (3, steps)
        Each rounded once; of columns that depend on each other by `numpy.linalg.pinv`, of what is not finite NaN.
    """
    return _pseudoinverse(columns.tobytes()).copy()


@lru_cache(maxsize=256)
def _pseudoinverse(buffer: bytes) -> NDArray[np.float64]:
    columns = np.frombuffer(buffer).reshape(-1, 3)
    if not np.isfinite(columns).all():
        return np.full(columns.T.shape, np.nan)
    # As whole numbers, in units of the last bit of the smallest one.
    ratios = [[value.as_integer_ratio() for value in row] for row in columns.tolist()]
    unit = max(below for row in ratios for _, below in row)
    a = [[above * (unit // below) for above, below in row] for row in ratios]
    g = [[sum(row[i] * row[j] for row in a) for j in range(3)] for i in range(3)]
    # The inverse of g is its adjugate over its determinant; both are symmetric.
    adjugate = [
        [g[k][m] * g[n][o] - g[k][o] * g[n][m] for m, o in ((1, 2), (2, 0), (0, 1))]
        for k, n in ((1, 2), (2, 0), (0, 1))
    ]
    determinant = sum(g[0][j] * adjugate[0][j] for j in range(3))
    if determinant * _LEAST_INDEPENDENT <= g[0][0] * g[1][1] * g[2][2]:
        return np.asarray(np.linalg.pinv(columns), dtype=np.float64)
    return np.array(
        [[sum(x * y for x, y in zip(row, b, strict=True)) * unit / determinant for b in a] for row in adjugate]
    )


def field_of_clipped(
    light: Any, clipped: Any, amplitude: Any, phases: np.ndarray, coherence: float, start: Any,
    threads: int | None = None,
) -> Any:  # fmt: skip
    """Fields of bursts with saturated frames, from the others and the known reference.

    All arrays but `phases` are of one library, on one device.

    Parameters
    ----------
    light : array of float64, shape (n, steps)
        Frames, dark level taken off.
    clipped : array of bool, shape (n, steps)
        Which are saturated.
    amplitude : array, shape (n,)
        |R|, in roots of the frames' unit.
    phases : ndarray of float64, shape (steps,)
        d_k in radians.
    coherence : float
        c.
    start : array of complex, shape (n,)
        A first guess.
    threads : int, optional
        Threads to use with numpy; all processors by default. They do not change the result.

    Returns
    -------
    array of complex128, shape (n,)

    Notes
    -----
    With |R| and c known I_k has two unknowns a burst, so that two frames are enough; a saturated one only says that
    I_k is not below full scale. Least squares by Gauss and Newton, damped. numpy's arrays go through a compiled loop
    over the bursts, others through `_fit_clipped`, which is the same in whole arrays: equal to rounding.
    """
    place = arrays.of(light)
    if place.name != "numpy":
        return _fit_clipped(light, clipped, amplitude, phases, coherence, start)
    from .demodulation_kernels import fit_clipped

    field = np.array(start, dtype=np.complex128)
    work = partial(
        fit_clipped, np.ascontiguousarray(light, dtype=np.float64), np.ascontiguousarray(clipped, dtype=np.bool_),
        np.ascontiguousarray(amplitude, dtype=np.float64), elementary.cos(phases), elementary.sin(phases),
        1 / (coherence * coherence), _NEWTON_STEPS, field,
    )  # fmt: skip
    parallel.over_ranges(work, len(field), (threads or parallel.default_threads()) if len(field) > _FEW_BURSTS else 1)
    return field


def _fit_clipped(light: Any, clipped: Any, amplitude: Any, phases: np.ndarray, coherence: float, start: Any) -> Any:
    """Plain form of `field_of_clipped`, in whole arrays of any library."""
    place = arrays.of(light)
    xp = place.xp
    cosine, sine = place.from_host(elementary.cos(phases)), place.from_host(elementary.sin(phases))
    r = xp.astype(amplitude, xp.float64)[:, None]
    own = 1 / coherence**2
    x, y = xp.astype(start.real, xp.float64), xp.astype(start.imag, xp.float64)
    zero = place.zeros((), np.float64)
    for _ in range(_NEWTON_STEPS):
        model = own * (x[:, None] ** 2 + y[:, None] ** 2) + r**2 + 2 * r * (x[:, None] * cosine + y[:, None] * sine)
        rest = light - model
        # A saturated frame counts only while the model is below what it shows at least.
        rest = xp.where(clipped & (rest < 0), zero, rest)
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


def fields_of_counts(
    frames: NDArray[np.unsignedinteger[Any]], phases_rad: np.ndarray, amplitude: np.ndarray, dark_dn: np.ndarray,
    full_scale_dn: float, coherence: float, threads: int | None = None,
) -> NDArray[np.complex64]:  # fmt: skip
    """Fields in the reference's phase, S conj(R) / |R|, of bursts of counts, in one pass over them.

    Parameters
    ----------
    frames : ndarray of uint8 or uint16, shape (n * steps, n_pixels)
        Counts, each pattern under every phase in turn.
    phases_rad : ndarray of float64, shape (steps,)
        Phases d_k in radians.
    amplitude, dark_dn : ndarray of float32, shape (n_pixels,)
        |R| in roots of counts, and the level without light.
    full_scale_dn : float
        Count from which a pixel is saturated; such bursts are those of `field_of_clipped`.
    coherence : float
        Contrast of the fringes.
    threads : int, optional
        Threads to use; they do not change the result.

    Returns
    -------
    ndarray of complex64, shape (n, n_pixels)
        In roots of counts. The plain form is `least_squares_row` times the frames, in single precision.

    Raises
    ------
    ValueError
        If the frames are no whole bursts, or the maps are of another number of pixels.
    """
    from . import demodulation_kernels as kernels

    steps = len(phases_rad)
    if frames.ndim != 2 or len(frames) % steps:
        raise ValueError(
            f"frames has shape {frames.shape}, but it must be (n * {steps}, n_pixels): {steps} steps a pattern."
        )
    n, n_pixels = len(frames) // steps, frames.shape[1]
    for name, each in (("amplitude", amplitude), ("dark_dn", dark_dn)):
        if each.shape != (n_pixels,):
            raise ValueError(
                f"{name} has shape {each.shape}, but it must be ({n_pixels},), one for each pixel of frames."
            )
    field = np.empty((n, 2 * n_pixels), dtype=np.float32)
    law = law_of(BurstPixels(phases_rad, amplitude, dark_dn, full_scale_dn, coherence))
    work = partial(kernels.fields_of_counts, np.ascontiguousarray(frames), law, field)
    n_units = n * -(-n_pixels // kernels.PIXELS)
    parallel.over_ranges(work, n_units, (threads or parallel.default_threads()) if field.size > _FEW_PIXELS else 1)
    return field.view(np.complex64)


def finished(
    fields: NDArray[np.complex64], turns: NDArray[np.complex64], background: NDArray[np.complex64], scale: float,
    out: NDArray[Any], threads: int | None = None,
) -> None:  # fmt: skip
    """Turn fields back, take a background off and scale them, in one pass: ``(S turn - background) scale``.

    Parameters
    ----------
    fields : ndarray of complex64, shape (n, at least n_pixels)
        S, in line in memory.
    turns : ndarray of complex64, shape (n,)
        What those of a vector are multiplied by.
    background : ndarray of complex64, shape (at least n_pixels,)
        In the unit of the fields.
    scale : float
        What the rest is multiplied by.
    out : ndarray of complex64 or float32, shape (n, n_pixels)
        Receives the result, or, where it is real, sqrt(2) times its real part.
    threads : int, optional
        Threads to use; they do not change the result.
    """
    from . import demodulation_kernels as kernels

    work = partial(
        kernels.finish_fields, fields.view(np.float32), turns.view(np.float32).reshape(-1, 2),
        background.view(np.float32), finishing_scale(scale, real=out.dtype == np.float32), out.view(np.float32),
    )  # fmt: skip
    parallel.over_ranges(work, len(out), (threads or parallel.default_threads()) if out.size > _FEW_PIXELS else 1)


def finishing_scale(scale: float, *, real: bool) -> NDArray[np.float32]:
    """Return the scale as `demodulation_kernels.finish_block` takes it.

    Parameters
    ----------
    scale : float
        What fields are multiplied by.
    real : bool
        Whether sqrt(2) times the real part is asked for.

    Returns
    -------
    ndarray of float32, shape (1,) or (2,)
    """
    return np.array([scale, np.sqrt(2)] if real else [scale], dtype=np.float32)


@short_repr
@dataclass(frozen=True)
class BurstPixels:
    """What the fields of bursts on a device need to know beside the frames.

    Attributes
    ----------
    phases_rad : ndarray of float64, shape (steps,)
        Phases d_k in radians.
    amplitude : array of float32, shape (n_pixels,)
        |R|, on the device, in roots of the frames' unit.
    dark_dn : array of float32, shape (n_pixels,)
        Level without light, on the device.
    full_scale_dn : float
        Count from which a pixel is saturated.
    coherence : float
        Contrast of the fringes.
    """

    phases_rad: np.ndarray
    amplitude: Any
    dark_dn: Any
    full_scale_dn: float
    coherence: float


def law_of(pixels: BurstPixels) -> tuple[Any, ...]:
    """Return what the kernels of bursts need to know beside the frames (`demodulation_kernels.demodulate_block`).

    Parameters
    ----------
    pixels : BurstPixels
        In the machine's own memory.

    Returns
    -------
    tuple
        Coefficients, maps, full scale, cosines and sines, 1 / coherence**2 and the number of steps of the fit.
    """
    row = least_squares_row(pixels.phases_rad)
    return (
        row.real.astype(np.float32), row.imag.astype(np.float32),
        np.ascontiguousarray(pixels.amplitude, dtype=np.float32),
        np.ascontiguousarray(pixels.dark_dn, dtype=np.float32), float(pixels.full_scale_dn),
        elementary.cos(pixels.phases_rad), elementary.sin(pixels.phases_rad),
        1 / (pixels.coherence * pixels.coherence), _NEWTON_STEPS,
    )  # fmt: skip


def fields_of_bursts(frames: Any, pixels: BurstPixels) -> Any:
    """Fields in the reference's phase, S conj(R) / |R|, of bursts that lie on a device.

    `opusim.calibration.procedures.linear.demodulate` does this for numpy, with the same result within single precision.

    Parameters
    ----------
    frames : torch.Tensor or cupy.ndarray, shape (n * steps, n_pixels)
        Counts, each pattern under every phase in turn.
    pixels : BurstPixels
        For the same pixels, on the same device.

    Returns
    -------
    array of complex64, shape (n, n_pixels)
        On that device, in roots of the frames' unit.
    """
    place = arrays.of(frames)
    steps, n_pixels = len(pixels.phases_rad), frames.shape[-1]
    bursts = frames.reshape(-1, steps, n_pixels)
    field = place.empty((len(bursts), n_pixels), np.complex64)
    # A few at a time: what is made on the way takes four times as much as the fields.
    step = max(1, _DEVICE_PIXELS // n_pixels)
    for first in range(0, len(bursts), step):
        field[first : first + step] = _fields_of_few(bursts[first : first + step], pixels)
    return field


def _fields_of_few(bursts: Any, pixels: BurstPixels) -> Any:
    xp = arrays.of(bursts).xp
    steps = bursts.shape[1]
    real: Any = 0
    imaginary: Any = 0
    highest: Any = None
    for k, coefficient in enumerate(least_squares_row(pixels.phases_rad)):
        light = xp.astype(bursts[:, k], xp.float32)
        real = real + float(coefficient.real) * light
        imaginary = imaginary + float(coefficient.imag) * light
        highest = light if highest is None else xp.maximum(highest, light)
    field = (real + 1j * imaginary) / pixels.amplitude
    vector, pixel = xp.nonzero(highest >= pixels.full_scale_dn)
    if len(vector):
        counts = xp.stack([xp.astype(bursts[:, k], xp.float64)[vector, pixel] for k in range(steps)], axis=1)
        field[vector, pixel] = xp.astype(
            field_of_clipped(
                counts - pixels.dark_dn[pixel][:, None], counts >= pixels.full_scale_dn, pixels.amplitude[pixel],
                pixels.phases_rad, pixels.coherence, field[vector, pixel],
            ),
            xp.complex64,
        )  # fmt: skip
    return field
