"""Checks of parameters: each failure is a sentence that names the argument, its value and what it may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar


def number(name: str, value: Any, *, low: float, high: float, low_open: bool = False, allow_inf: bool = False) -> float:
    """Return `value` as a float after checking that it lies between `low` and `high`.

    Parameters
    ----------
    name : str
        Name of the parameter as the user knows it, for the message.
    value : object
        What was given.
    low, high : float
        The range that is allowed, ends included.
    low_open : bool, optional
        Whether `low` itself is excluded.
    allow_inf : bool, optional
        Whether positive infinity is allowed.

    Raises
    ------
    TypeError
        If `value` is not a real number.
    ValueError
        If it lies outside the range or is not a number (NaN).
    """
    bracket = "(" if low_open else "["
    allowed = f"a number in {bracket}{low:g}, {high:g}{']' if math.isfinite(high) or allow_inf else ')'}"
    if low == high:
        allowed = f"{low:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}), but it must be {allowed}.")
    try:
        result = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        result = math.inf if value > 0 else -math.inf  # type: ignore[operator]
    below = result <= low if low_open else result < low
    if math.isnan(result) or below or result > high or (math.isinf(result) and (not allow_inf or value != result)):
        raise ValueError(f"{name} is {value!r}, but it must be {allowed}.")
    return result


def integer(name: str, value: Any, *, low: int | None, high: int | None = None) -> int:
    """Return `value` as an int after checking that it is whole and within [`low`, `high`]; None is no end.

    Raises
    ------
    TypeError
        If `value` is not an integer.
    ValueError
        If it lies outside the range.
    """
    allowed = "a whole number"
    if low is not None:
        allowed += f" of at least {low}" if high is None else f" from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}), but it must be {allowed}.")
    result = int(value)
    if (low is not None and result < low) or (high is not None and result > high):
        raise ValueError(f"{name} is {value!r}, but it must be {allowed}.")
    return result


def flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False; raise a TypeError that names it otherwise."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}), but it must be True or False.")
    return value


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is one of `allowed`; raise a ValueError that lists them otherwise."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} is {value!r}, but it must be one of {', '.join(map(repr, allowed))}.")
    return str(value)


def shape2(name: str, value: Any) -> tuple[int, int]:
    """Return `value` as a tuple of two whole numbers of at least 1 (rows, columns)."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} is {value!r}, but it must be two whole numbers (rows, columns).")
    return integer(f"{name}[0]", value[0], low=1), integer(f"{name}[1]", value[1], low=1)


class Fixed:
    """Base of classes with attributes that are given when an object is made, and stay what they are.

    Other things were made from them: a later value would have no effect, or half of one. Setting it raises an
    AttributeError that says what to do instead.

    Attributes
    ----------
    _fixed : mapping of str to str
        Of the class: the names, and for each the sentence that says what to do.
    """

    _fixed: ClassVar[Mapping[str, str]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; one that stays is set once."""
        if name in self._fixed and self._has(name):
            raise AttributeError(
                f"{name} can't be set to {_short(value)}: this {type(self).__name__} was made with "
                f"{_short(getattr(self, name))}, which stays. {self._fixed[name]}"
            )
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        """Take an attribute away, unless it stays."""
        if name in self._fixed and self._has(name):
            raise AttributeError(f"{name} can't be taken away: this {type(self).__name__} was made with it.")
        super().__delattr__(name)

    def _has(self, name: str) -> bool:
        """Whether it was made with it: it holds the attribute, or finds it elsewhere by a property."""
        return name in self.__dict__ or isinstance(getattr(type(self), name, None), property)


def _short(value: Any) -> str:
    """Return what a sentence says of a value: itself, or its kind where that is long."""
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"
