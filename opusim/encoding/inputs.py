"""What encoders are given: arrays, checked, and the errors of those checks."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from opusim.base.errors import InputTypeError, NotReadyError
from opusim.base.user_arrays import as_numpy, refuse_not_finite


class NotFittedError(NotReadyError, ValueError, AttributeError):
    """The encoder needs `fit` first. lightonml raises one of these types or another, by encoder."""


class AssertedValueError(ValueError, AssertionError):
    """A parameter of a value that it may not have, where lightonml asserts."""


class AssertedTypeError(AssertedValueError, TypeError):
    """A parameter of a wrong type, where lightonml asserts."""


class BitWidthError(ValueError, IndexError):
    """Numbers that have fewer bits than were asked for."""


def as_array(X: Any) -> tuple[np.ndarray, Any]:
    """Return the array behind `X` and, if it is a tensor or an array of CuPy, where it was (else None).

    Numbers come in the machine's byte order. A tensor that requires a gradient is detached: bits have none.

    Raises
    ------
    InputTypeError
        If `X` is no array of numbers; it is a TypeError and a ValueError.
    """
    array, place = as_numpy(X, what="an array of numbers")
    if array.dtype.kind not in "buif":
        raise InputTypeError(
            f"X is a {type(X).__name__} of dtype {array.dtype}, but it must be an array of bool, integers or real "
            "floats."
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array, place


def numeric(X: Any, *, finite: bool = False) -> np.ndarray:
    """Return `X` as an array with at least one element, bool as uint8, so that one may compute with it.

    NaN is refused, and infinity, too, if `finite` is set.
    """
    array, _ = as_array(X)
    if not array.size:
        raise ValueError(f"X has shape {array.shape}, but it must hold at least one number.")
    refuse_nan(array, infinite=finite)
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def refuse_nan(X: np.ndarray, *, infinite: bool = False) -> None:
    """Raise a ValueError that names the first NaN: no bit says what it is. Infinity is refused if `infinite` is set."""
    refuse_not_finite(
        "X", X, infinite=infinite, why="" if infinite else "NaN has no bits: every value must be a number"
    )


def check_matrix(X: np.ndarray, rows: str = "samples") -> None:
    """Raise a ValueError unless `X` has two dimensions."""
    if X.ndim != 2:
        raise ValueError(f"X has shape {X.shape}, but it must have two dimensions: ({rows}, features).")


def asserted_integer(name: str, value: Any, *, low: int, high: int, such: str = "") -> int:
    """Return `value` as an int within [low, high]; raise an AssertionError (also ValueError, TypeError) otherwise."""
    allowed = f"a whole number from {low} to {high}{such}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise AssertedTypeError(f"{name} is {value!r} ({type(value).__name__}), but it must be {allowed}.")
    if not low <= int(value) <= high:
        raise AssertedValueError(f"{name} is {value!r}, but it must be {allowed}.")
    return int(value)
