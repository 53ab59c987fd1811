"""Mirrors, on or off, whose light behind a stop has an amplitude and a phase: Lee holograms, and superpixels.

A grating of mirrors sends light to orders. Where its lines are shifted the light of the first order is turned, where
they are narrower it is less; a stop behind the mirrors (`opusim.device.fourier_stop.FourierStop`) lets this order alone
pass::

    device = Device.load("aurora").evolve(**lee_stop((0.0, 0.25)))
    y, x = device.dmd.places_m()
    tilt = np.exp(0.5j * np.pi * y / y.max()) * np.ones_like(x)  # a smooth field: a turn of pi over the rows
    frames = OpticalBench(device).expose(lee(tilt, (0.0, 0.25), device.dmd), exposure_s=4e-3)

An order has a tenth of the light at most: exposures are some ten times as long as those of bare mirrors. Details of a
field that are finer than the stop passes are lost.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import elementary, validation
from opusim.base.errors import InputTypeError
from opusim.base.user_arrays import checked_array

if TYPE_CHECKING:
    from opusim.device.dmd import Dmd

_SIZES = (2, 3, 4)  # of larger superpixels a table of all sums has millions of entries
# By so much, in radians, a grating is turned: where both edges of a line lie on mirrors one of these is on, not as many
# as rounding says.
_ASIDE = 1e-9
_ROUNDED = 1e-6  # by which a modulus of 1 may be above it, after rounding to single precision


def lee(field: Any, carrier: Any, dmd: Dmd | None = None) -> np.ndarray:
    """Return the Lee hologram of a field: a grating whose lines have its phase as their shift, its modulus in width.

    Parameters
    ----------
    field : array_like of complex, shape (rows, columns) or (n, rows, columns)
        Amplitude and phase wanted at each mirror, of modulus 1 at most.
    carrier : array_like of float, shape (2,)
        Lines of the grating along the first and the second axis, in cycles per pitch: each within -.5 and .5, not both
        0. The first order lies there in the plane of the stop.
    dmd : Dmd, optional
        The mirrors. By default they stand on a square lattice.

    Returns
    -------
    ndarray of uint8, shape of `field`
        1 for on: what `opusim.OpticalBench.expose` shows.

    Raises
    ------
    TypeError, ValueError
        If the field is no such array, holds NaN, infinity or a modulus above 1, or is not of the shape of the mirrors;
        if these are a phase modulator;
        if the carrier has no first order of its own.

    Notes
    -----
    At the place r, in pitches from the middle of the array, a mirror is on where ``cos(2 pi carrier.r + phi)`` is above
    ``cos(pi w)`` (W. H. Lee, Applied Optics 18, 3661 (1979)). Lines of the share w of a period send the amplitude
    ``sin(pi w) / pi exp(i phi)`` to the first order, so that ``w = arcsin(modulus) / pi``: the field behind the stop is
    `field` / pi, and 1 / pi^2 is the most of the light that comes there. Mirrors stand at whole pitches, which rounds
    both; of a period of few mirrors what it rounds repeats, and is part of the light that passes.
    """
    wanted, given = _checked_field(field, dmd)
    across = _checked_carrier(carrier)
    y, x = _places(wanted.shape[1:], dmd)
    angle = _turned(across[0] * y + across[1] * x) + _ASIDE
    along, aside = elementary.cos(angle), elementary.sin(angle)
    mirrors = np.empty(wanted.shape, dtype=np.uint8)
    for one, shown in zip(wanted, mirrors, strict=True):
        # The law times the modulus, which needs no angle: cos(pi w) = sqrt(1 - modulus^2).
        power = np.minimum(elementary.square_modulus(one), 1.0)
        np.greater(one.real * along - one.imag * aside, np.sqrt(power * (1.0 - power)), out=shown.view(np.bool_))
    return mirrors.reshape(given)


def lee_stop(carrier: Any, diameter: float | None = None) -> dict[str, Any]:
    """Return the stop that lets the first order of a Lee hologram pass.

    Parameters
    ----------
    carrier : array_like of float, shape (2,)
        As of `lee`.
    diameter : float, optional
        Full width of the stop in cycles per pitch. By default its edge is half way to the nearest of the orders 0 and
        -1 of a square lattice: finer details of a field than 1 / diameter pitches do not pass.

    Returns
    -------
    dict
        Fields by dotted path, as `opusim.Device.evolve` takes them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """
    centre = _checked_carrier(carrier)
    if diameter is None:
        twice = [2 * f - round(2 * f) for f in centre]
        diameter = min(_length(centre), _length(twice))
    return _stop(centre, diameter)


def superpixel(field: Any, size: int, dmd: Dmd | None = None) -> np.ndarray:
    """Return mirrors whose sums over squares of size x size of them are a field, seen behind a stop at an angle.

    Parameters
    ----------
    field : array_like of complex, shape (rows, columns) or (n, rows, columns)
        Amplitude and phase wanted at each mirror, of modulus 1 at most. A superpixel gets the mean over its mirrors.
    size : int
        Mirrors along each side of a superpixel: 2, 3 or 4. `rows` and `columns` must be multiples of it.
    dmd : Dmd, optional
        The mirrors, on a square lattice.

    Returns
    -------
    ndarray of uint8, shape of `field`
        1 for on: what `opusim.OpticalBench.expose` shows.

    Raises
    ------
    TypeError, ValueError
        If the field is no such array, holds NaN, infinity or a modulus above 1, or is not of the shape of the mirrors;
        if these are a phase modulator;
        if the size is none of these, or does not divide the array; if the mirrors stand on a diamond lattice.

    Notes
    -----
    S. A. Goorden, J. Bertolotti and A. P. Mosk, Optics Express 22, 17999 (2014). In the direction of `superpixel_stop`
    the N = size^2 mirrors of a superpixel have the phases 2 pi k / N, and the stop leaves their mean. Of all subsets
    that is taken whose sum is nearest to the one wanted, which is `field` times the largest modulus of a sum,
    ``1 / sin(pi / N)`` for an even N: behind the stop the field is `field` times that over N, .320 for a size of 4.
    """
    wanted, given = _checked_field(field, dmd)
    size = validation.integer("size", size, low=_SIZES[0], high=_SIZES[-1])
    n, rows, columns = wanted.shape
    if dmd is not None and dmd.lattice != "square":
        raise ValueError(
            f"dmd has a {dmd.lattice} lattice, but superpixels are squares of rows and columns: it must be a square "
            "one. lee makes holograms for either."
        )
    if rows % size or columns % size:
        raise ValueError(
            f"size is {size}, but field has {rows} rows and {columns} columns: both must be multiples of the size."
        )
    sums, subsets = _table(size)
    high, wide = rows // size, columns // size
    means = wanted.reshape(n, high, size, wide, size).mean(axis=(2, 4))
    # What the first mirror of a superpixel is turned by, the others are counted from.
    y, x = (axis[::size] if axis.shape[0] > 1 else axis[:, ::size] for axis in _places((rows, columns), None))
    centre = _superpixel_centre(size)
    first = elementary.phasors(_turned(centre[0] * y + centre[1] * x))
    target = elementary.multiply(np.ascontiguousarray(means), first * np.abs(sums).max())
    nearest = _nearest(sums, target.ravel())
    blocks = subsets[nearest].reshape(n, high, wide, size, size)
    return np.ascontiguousarray(blocks.transpose(0, 1, 3, 2, 4)).reshape(given)


def superpixel_stop(size: int, diameter: float | None = None) -> dict[str, Any]:
    """Return the stop of superpixels, at the angle at which the phases of their mirrors go round once.

    Parameters
    ----------
    size : int
        As of `superpixel`.
    diameter : float, optional
        Full width of the stop in cycles per pitch, 1 / size by default: it leaves one spot a superpixel. Which mirrors
        of a superpixel are on also shows at other angles within that: the fidelity of smooth fields is .86 to .99 with
        a size of 4. The paper's stop is half as wide, 1 / (2 size), 8 x 8 mirrors a spot: .98 and more, at half the
        resolution.

    Returns
    -------
    dict
        Fields by dotted path, as `opusim.Device.evolve` takes them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """
    size = validation.integer("size", size, low=_SIZES[0], high=_SIZES[-1])
    return _stop(_superpixel_centre(size), 1 / size if diameter is None else diameter)


def _stop(centre: tuple[float, float], diameter: float) -> dict[str, Any]:
    diameter = validation.number("diameter", diameter, low=0.0, high=1.0, low_open=True)
    return {"fourier_stop.diameter_cycles": diameter, "fourier_stop.centre_cycles": centre}


def _superpixel_centre(size: int) -> tuple[float, float]:
    """Direction in which mirrors k, row by row, of a superpixel have the phases 2 pi k / size^2."""
    return 1 / size, 1 / (size * size)


@lru_cache(maxsize=len(_SIZES))
def _table(size: int) -> tuple[np.ndarray, np.ndarray]:
    """All sums of mirrors of a superpixel, complex128, and the mirrors of each, uint8 (sums, size^2)."""
    n = size * size
    if n % 2:
        subsets = np.array(list(itertools.product((0, 1), repeat=n)), dtype=np.uint8)
    else:
        # Opposite mirrors cancel: of each pair at most one is on.
        states = np.array(list(itertools.product((0, 1, -1), repeat=n // 2)), dtype=np.int8)
        subsets = np.concatenate([states > 0, states < 0], axis=1).astype(np.uint8)
    turned = elementary.phasors(-2 * np.pi * np.arange(n) / n)
    sums = np.zeros(len(subsets), dtype=np.complex128)
    for k in range(n):
        sums += np.where(subsets[:, k], turned[k], 0)
    for array in (sums, subsets):
        array.setflags(write=False)
    return sums, subsets


def _nearest(sums: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return which sum is nearest to each number."""
    from scipy.spatial import cKDTree

    tree = cKDTree(np.stack([sums.real, sums.imag], axis=1))
    found: np.ndarray = tree.query(np.stack([target.real, target.imag], axis=1))[1]
    return found


def _checked_field(field: Any, dmd: Dmd | None) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return a field as complex128 (n, rows, columns), and the shape in which it was given."""
    if dmd is not None and not dmd.binary:
        raise TypeError(
            f"dmd is a {type(dmd).__name__}, which turns phases, but a hologram is made of mirrors that are on or off: "
            "it must be a Dmd. A phase modulator is given the phases themselves, in turns."
        )
    array = checked_array("field", field, "complex numbers", kinds="biufc", finite=True, dtype=np.complex128)
    shape = array.shape
    wanted = "(rows, columns) or (n, rows, columns)" if dmd is None else f"{dmd.shape} or (n, *{dmd.shape})"
    if len(shape) not in (2, 3) or 0 in shape[-2:] or (dmd is not None and shape[-2:] != dmd.shape):
        raise ValueError(f"field has shape {shape}, but it must be of {wanted}, a number for each mirror.")
    stack = array.reshape(-1, *shape[-2:])
    power = elementary.square_modulus(stack)
    if (power > 1 + 2 * _ROUNDED).any():
        at = np.unravel_index(int(np.argmax(power)), power.shape)[-len(shape) :]
        raise ValueError(
            f"field has a modulus of {math.sqrt(power.max()):.6g} at [{', '.join(map(str, at))}], but it must be at "
            "most 1, which is all that a grating sends to the order: divide it by its largest modulus."
        )
    return stack, shape


def _checked_carrier(carrier: Any) -> tuple[float, float]:
    """Return a carrier as two floats, for which the orders 1, 0 and -1 lie apart."""
    pair = checked_array("carrier", carrier, "two numbers, in cycles per pitch along both axes")
    if pair.shape != (2,):
        raise InputTypeError(
            f"carrier has shape {pair.shape}, but it must be two numbers, in cycles per pitch along both axes."
        )
    down, across = (validation.number("carrier", one, low=-0.5, high=0.5) for one in pair.tolist())
    if all(abs(one) in (0.0, 0.5) for one in (down, across)):
        raise ValueError(
            f"carrier is {(down, across)}, but one of both numbers must lie between 0 and half a cycle per pitch: else "
            "the two first orders of the grating are one, which has no phase."
        )
    return down, across


def _places(shape: tuple[int, ...], dmd: Dmd | None) -> tuple[np.ndarray, np.ndarray]:
    """Places of mirrors from the middle of the array in pitches, of shapes that broadcast."""
    if dmd is not None:
        y, x = dmd.places_m()
        return y / dmd.pitch_m, x / dmd.pitch_m
    rows, columns = shape
    return (np.arange(rows) - (rows - 1) / 2)[:, None], (np.arange(columns) - (columns - 1) / 2)[None, :]


def _turned(turns: np.ndarray) -> np.ndarray:
    """Return turns as radians, without whole ones."""
    return 2 * np.pi * (turns - np.rint(turns))


def _length(cycles: Any) -> float:
    return math.sqrt(sum(one * one for one in cycles))
