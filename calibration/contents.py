"""What the fields of a record may hold: said once, at the field, and asked whenever a record is written or read.

A check sum tells that a file is as it was written. That an exposure is a number above 0, that phases are as many as
steps, and that no entry is NaN, this tells.
"""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from opusim.base.hdf5_content import first_not_finite

__all__ = ["Content", "came_later", "check_record", "held"]

_CONTENT = "opusim content"
_KINDS = {
    "number": ("biuf", "numbers"), "whole": ("iu", "whole numbers"), "flag": ("b", "flags"),
    "complex": ("c", "complex numbers"),
}  # fmt: skip


@dataclass(frozen=True)
class Content:
    """What a field of a record may hold.

    Parameters
    ----------
    low, high : float
        The range of its numbers, ends included.
    low_open : bool
        Whether `low` itself is excluded.
    nan, inf : bool
        Whether a number may be NaN, and infinite.
    shape : tuple of int or str, optional
        Of an array or tuple: a length, or a name for it, which fields share. The name of a field stands for its value,
        that of a region (row, column, rows, columns) for the number of its pixels.
    of : {"number", "whole", "flag", "complex"}, optional
        What an array holds; any of them if left out.
    choices : tuple, optional
        What it may be.
    """

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    nan: bool = False
    inf: bool = False
    shape: tuple[int | str, ...] | None = None
    of: str = ""
    choices: tuple[Any, ...] = ()

    def range_text(self) -> str:
        """Return the range in words."""
        words = []
        if self.low > -math.inf:
            words.append(f"above {self.low:g}" if self.low_open else f"at least {self.low:g}")
        if self.high < math.inf:
            words.append(f"at most {self.high:g}")
        if not words:
            return "infinite or finite" if self.inf else "finite"
        return " and ".join(words) + ("" if self.inf or self.high < math.inf else " and finite")


def held(*, repr: bool = True, later: Any = MISSING, **content: Any) -> Any:
    """Describe what a field of a record may hold: ``exposure_s: float = held(low=0.0, low_open=True)``.

    Parameters
    ----------
    repr : bool
        Whether the text of a record tells the field.
    later : object, optional
        What a file means that was written before there was the field; its default. None, of a field whose type has
        None, for what that file does not tell.
    **content
        As for `Content`.

    Returns
    -------
    dataclasses.Field
        Of a field without a default, but for `later`.
    """
    return field(default=later, repr=repr, metadata={_CONTENT: Content(**content)})


def came_later(one: Field[Any]) -> bool:
    """Return whether files may lack a field, since it is younger than they are.

    Parameters
    ----------
    one : dataclasses.Field
        Field of a record.

    Returns
    -------
    bool
        Whether `held` gave it a value for that.
    """
    return _CONTENT in one.metadata and one.default is not MISSING


def check_record(record: Any) -> None:
    """Raise an error if a field of a record does not hold what its type and its `held` say.

    Parameters
    ----------
    record : dataclass instance
        The record. Of fields that are not described, and of types that are no numbers, texts, flags, tuples or arrays,
        nothing is asked.

    Raises
    ------
    TypeError, ValueError
        A sentence that names the field.
    """
    lengths: dict[str, int] = {}
    kind: Any = type(record)
    hints = _hints(kind)
    for one in fields(record):
        value, content = getattr(record, one.name), one.metadata.get(_CONTENT)
        _check_type(one, value, hints.get(one.name, Any))
        if content is not None:
            _check_content(one.name, value, content)
            if content.shape is not None and value is not None:
                _check_shape(record, one.name, np.shape(value), content.shape, lengths)


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    """Return the types of a record's fields; none where they are not to be found out."""
    try:
        return get_type_hints(kind)
    except Exception:  # names that only a type checker sees
        return {}


_TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    # Whole numbers and others stand for each other, as in Python; flags do not.
    float: ((int, float, np.integer, np.floating), "a number"),
    int: ((int, float, np.integer, np.floating), "a number"),
    complex: ((int, float, complex, np.number), "a number"),
    bool: ((bool, np.bool_), "a flag"),
    str: ((str,), "a text"),
    tuple: ((tuple, list), "a tuple"),
    np.ndarray: ((np.ndarray,), "an array"),
}


def _check_type(one: Field[Any], value: Any, hint: Any) -> None:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [get_origin(option) or option for option in options]
    kinds = [tuple if isinstance(kind, type) and issubclass(kind, tuple) else kind for kind in kinds]
    if value is None and (type(None) in kinds or one.default is None):
        return
    known = [_TYPES.get(kind) for kind in kinds if kind is not type(None)]
    if any(entry is None for entry in known):
        return
    for entry, kind in zip(known, [kind for kind in kinds if kind is not type(None)], strict=True):
        assert entry is not None
        is_flag = isinstance(value, (bool, np.bool_))
        if isinstance(value, entry[0]) and (kind is bool or not is_flag):
            return
    wanted = " or ".join(entry[1] for entry in known if entry is not None)
    raise TypeError(f"{one.name} is {_short(value)}, but it must be {wanted}")


def _check_content(name: str, value: Any, content: Content) -> None:
    if content.choices and value not in content.choices:
        raise ValueError(f"{name} is {_short(value)}, but it must be one of {', '.join(map(repr, content.choices))}")
    if isinstance(value, str) or value is None:
        return
    array = np.asarray(value)
    kinds, words = _KINDS.get(content.of, ("biufc", "numbers"))
    if array.dtype.kind not in kinds:
        what = f"an array of {array.dtype}" if isinstance(value, np.ndarray) else _short(value)
        raise TypeError(f"{name} is {what}, but it must hold {words}")
    _check_numbers(name, array, content)


def _check_numbers(name: str, array: np.ndarray, content: Content) -> None:
    if array.dtype.kind == "b" or not array.size:
        return
    if not (content.nan or content.inf):
        place = first_not_finite(array)
        if place is not None:
            raise ValueError(f"{_place(name, place)} is {array[place]}, but it must be {content.range_text()}")
    if array.dtype.kind == "c":
        return
    bounded = content.low > -math.inf or content.high < math.inf or content.low_open
    if not bounded and content.nan and content.inf:
        return
    with np.errstate(invalid="ignore"):
        bad = (array <= content.low if content.low_open else array < content.low) | (array > content.high)
    if not content.nan:
        bad = bad | np.isnan(array)
    if not content.inf:
        bad = bad | np.isinf(array)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{_place(name, place)} is {array[place]}, but it must be {content.range_text()}")


def _check_shape(
    record: Any, name: str, shape: tuple[int, ...], wanted: Sequence[int | str], lengths: dict[str, int]
) -> None:
    known = [length if isinstance(length, int) else _length(record, length, lengths) for length in wanted]
    if len(shape) != len(wanted) or any(b is not None and a != b for a, b in zip(shape, known, strict=True)):
        words = ", ".join(str(a if b is None else b) for a, b in zip(wanted, known, strict=True))
        raise ValueError(
            f"{name} has the shape {shape}, but by what else is there it must be ({words}{',' * (len(wanted) == 1)})"
        )
    for length, found in zip(wanted, shape, strict=True):
        if isinstance(length, str):
            lengths.setdefault(length, found)


def _length(record: Any, name: str, lengths: dict[str, int]) -> int | None:
    """Return what the name of a length stands for; None if nothing has said so yet."""
    value = getattr(record, name, None)
    if value is None:
        return lengths.get(name)
    numbers = np.asarray(value)
    if numbers.shape == (4,):
        return int(numbers[2]) * int(numbers[3])
    return int(value)


def _place(name: str, place: tuple[int, ...]) -> str:
    return f"{name}{list(place)}" if place else name


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"
