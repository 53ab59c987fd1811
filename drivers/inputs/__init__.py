"""Data of the user's, in host memory, on a GPU or lazy: what is known of them, and how they become what is shown.

`read` and `describe` are the doors: they choose the kind of `UserInput` by what they are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.errors import CallError, warn_outside
from opusim.base.user_arrays import as_numpy, refuse_odd_tensor
from opusim.drivers.values import BITS, Values

from .dask import LazyInput, as_bits, is_lazy
from .gpu import DeviceInput, kind_of, place_for
from .traits import HostInput, InputTraits, UserInput, traits_of
from .traits import PresentInput as PresentInput

# Backends that leave numpy's arrays to numpy.
PLAIN = (None, "auto", "numpy")


def read(X: Any, traits: InputTraits, backend: str | None) -> UserInput:
    """Return data that must look like those of a fit.

    Parameters
    ----------
    X : object
        The data: an array of any library, a sequence, a Dask array, or what an encoder will make of one.
    traits : InputTraits
        Of the fit.
    backend : str or None
        What the light is computed with, as for `OPU`; None for a bench that knows only numpy.

    Returns
    -------
    UserInput
        In host memory, on a GPU or lazy, as the data are.

    Raises
    ------
    TypeError, ValueError
        If type or shape are others; values are looked at later.
    """
    if type(X) is np.ndarray and backend in PLAIN:
        return HostInput(X, traits)
    _, _, of_traits = _seen(X, backend, traits.values)
    return of_traits(traits)


def describe(
    X: Any, n_features: Any, packed: bool, is_2d: bool, backend: str | None, values: Values = BITS
) -> tuple[InputTraits, UserInput | None]:
    """Return what a fit is for, and its data if there are any.

    Parameters
    ----------
    X : object
        Data of the fit, as for `read`, or None.
    n_features : int, tuple of int or None
        Features of a vector, if the data do not say it.
    packed, is_2d : bool
        Whether eight features share a byte; whether features have two dimensions.
    backend : str or None
        As for `read`.
    values : Values
        What values are for the modulator that shows them.

    Returns
    -------
    traits : InputTraits
        What the fit is for.
    data : UserInput or None
        The data; None if there are none.

    Raises
    ------
    CallError
        If neither is given, or they contradict each other; it is a ValueError and an AssertionError.
    """
    of_traits: Callable[[InputTraits], UserInput] | None = None
    if X is not None:
        validation.flag("packed", packed)
        shape, dtype, of_traits = _seen(X, backend, values)
        traits = traits_of(shape, dtype, packed, is_2d, n_features, values)
    elif n_features is None:
        raise CallError("X and n_features are None, but one of them must be given.")
    else:
        traits = InputTraits(n_features, packed, values)
    data = None if of_traits is None else of_traits(traits)
    if data is not None and n_features is not None and InputTraits(n_features, packed).n_features != traits.n_features:
        raise CallError(f"n_features is {n_features!r}, but X has {traits.shown} features: leave out one of the two.")
    if is_2d != (len(traits.n_features) == 2):
        raise CallError(
            f"n_features is {n_features!r}, but {'fit2d takes two whole numbers' if is_2d else 'fit1d takes one'}."
        )
    if is_2d and data is not None and n_features is None and not data.batch_shape:
        _warn_of_flat_pictures(*traits.n_features)
    return traits, data


def _warn_of_flat_pictures(a: int, b: int) -> None:
    """Warn where one picture looks like several that are flat: its columns make a square, or its sides are unlike."""
    side = math.isqrt(b)
    flat = side * side == b and side > 1
    if a != b and (flat or not 0.5 <= a / b <= 2):
        shape = f"({a}, {side}, {side})" if flat else f"({a}, rows, columns)"
        warn_outside(
            f"X has the shape ({a}, {b}), and is taken as one picture of {a} x {b} features. If it holds {a} pictures "
            f"of {b} features, give them as {shape}, or use fit1d; if it is one picture, say so by n_features=({a}, "
            f"{b})."
        )


def _seen(
    X: Any, backend: str | None, values: Values
) -> tuple[tuple[int, ...], np.dtype[Any], Callable[[InputTraits], UserInput]]:
    """Shape and type of data, and what makes an input of them when their traits are known."""
    if is_lazy(X):
        bits = as_bits(X)
        return bits.array.shape, bits.array.dtype, partial(LazyInput, bits)
    refuse_odd_tensor(X)
    place, stays = place_for(X, backend)
    if not values.binary:
        # Phases become levels in the machine's own memory, by one law; the bench takes them to where light is computed.
        place, stays = None, False
    if place is not None and stays:
        return tuple(X.shape), kind_of(X), partial(DeviceInput, X, place=place)
    array, came_from = as_numpy(X)
    return array.shape, array.dtype, partial(HostInput, array, came_from=came_from, place=place)
