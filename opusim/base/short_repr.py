"""What a record with arrays says of itself: of an array its dtype and shape, not its numbers."""

from __future__ import annotations

from dataclasses import fields
from itertools import islice
from typing import Any, TypeVar

import numpy as np

__all__ = ["short_repr"]

Class = TypeVar("Class", bound=type)
# Numbers of an array that are shown, and characters of anything else.
_NUMBERS, _CHARACTERS = 8, 200


def short_repr(cls: Class) -> Class:
    """Give a dataclass a repr of a few lines, however large its arrays; a decorator above that of the dataclass.

    Parameters
    ----------
    cls : type
        A dataclass.

    Returns
    -------
    type
        The same class. Arrays of more than eight numbers show as ``<float32 (8192,)>``, others as they are; texts and
        collections are cut.
    """

    def __repr__(self: Any) -> str:
        shown = ", ".join(
            # A subclass may leave a field unset until it is complete.
            f"{field.name}={_short(getattr(self, field.name, None))}"
            for field in fields(self)
            if field.repr
        )
        return f"{type(self).__qualname__}({shown})"

    cls.__repr__ = __repr__  # type: ignore[assignment]
    return cls


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        if value.size > _NUMBERS or value.dtype.hasobject:
            return _form(value)
        return " ".join(np.array2string(value, separator=", ", precision=6).split())
    # Of another library: its own text has the numbers.
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic):
        return _form(value)
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{key!r}: {_short(item)}" for key, item in islice(value.items(), _CHARACTERS)) + "}"
    elif type(value) is list:
        text = "[" + ", ".join(map(_short, value[:_CHARACTERS])) + "]"
    elif type(value) is tuple:
        text = "(" + ", ".join(map(_short, value[:_CHARACTERS])) + (",)" if len(value) == 1 else ")")
    elif isinstance(value, (str, bytes)):
        text = repr(value[: _CHARACTERS + 1])
    else:
        return repr(value)
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}..."


def _form(array: Any) -> str:
    return f"<{array.dtype} {tuple(array.shape)}>"
