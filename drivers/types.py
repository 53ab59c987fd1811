"""Names of the driver's choices, as lightonml has them."""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar

from opusim.base.errors import UnknownNameError

Tuple2D = tuple[int, int]


class OutputRoiStrategy(Enum):
    """Where the region of interest lies on the camera."""

    mid_width = 1
    """Full width, in the middle of the height: the fastest to read."""
    mid_square = 2
    """In the middle, with the sensor's proportions."""


class InputRoiStrategy(Enum):
    """Which part of the mirrors shows the features."""

    full = 1
    """Macro-pixels as large as fit, over the whole array."""
    small = 2
    """One mirror a feature, in the centre."""
    auto = 3
    """Macro-pixels, made smaller until enough mirrors are on."""


class FeaturesFormat(Enum):
    """How features are laid on the mirrors."""

    lined = 1
    """One after the other, in lines."""
    macro_2d = 2
    """Each as a square block of mirrors."""
    auto = 3
    """`lined` for features in one dimension, `macro_2d` for two."""
    none = 4
    """As they are: as many features as mirrors."""


class AcqState(Enum):
    """What the camera is doing."""

    stopped = 1
    batch = 2
    online = 3


class OutputRescaling(Enum):
    """How the result of the linear transform is scaled."""

    variance = 1
    """By the standard deviation for a Gaussian input."""
    norm = 2
    """So that norms are kept, approximately."""
    none = 3
    """Not at all."""


E = TypeVar("E", bound=Enum)


def as_member(name: str, value: Any, kind: type[E]) -> E:
    """Return the member of `kind` that `value` stands for: itself, its name, or another enum's member of that name.

    Raises
    ------
    UnknownNameError
        If there is none; it is a ValueError and a KeyError.
    """
    if isinstance(value, kind):
        return value
    label = value.name if isinstance(value, Enum) else value
    if isinstance(label, str):
        for member in kind:
            if member.name == label.lower():
                return member
    allowed = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
    raise UnknownNameError(f"{name} is {value!r}, but it must be one of {allowed} (or its name as a string).")
