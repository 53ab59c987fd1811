"""What users pass in: arrays or tensors, single vectors or batches, packed or not. `Values` says what is in them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, cast

import numpy as np

from opusim.base import arrays, validation
from opusim.base.errors import CallError, CoderError
from opusim.base.user_arrays import as_numpy, like
from opusim.drivers.context import Context, ContextArray
from opusim.drivers.values import BITS, Values

# Bytes of temporaries when values are checked.
_STEP_BYTES = 16 << 20
_BATCH_DIMS = (0, 1, 2)


@dataclass(frozen=True)
class InputTraits:
    """What a fit remembers of its input.

    Parameters
    ----------
    n_features : int or tuple of int
        Features of a vector; two numbers for features in two dimensions. Kept as a tuple.
    packed : bool
        Whether eight features share a byte.
    values : Values
        What the values are for the modulator that shows them: bits by default.

    Raises
    ------
    TypeError, ValueError
        If the numbers are none, or levels are packed.
    """

    n_features: tuple[int, ...]
    packed: bool = False
    values: Values = BITS

    def __post_init__(self) -> None:
        """Check the numbers."""
        given = self.n_features
        items = tuple(given) if isinstance(given, (tuple, list, np.ndarray)) else (given,)
        if len(items) not in (1, 2):
            raise ValueError(f"n_features is {given!r}, but it must be one whole number or two.")
        checked = tuple(validation.integer("n_features", item, low=1) for item in items)
        object.__setattr__(self, "n_features", checked)
        if validation.flag("packed", self.packed):
            self.values.check_dtype(np.dtype(np.uint8), True)

    @cached_property
    def n_features_total(self) -> int:
        """Features of a vector, as one number."""
        return math.prod(self.n_features)

    @cached_property
    def shown(self) -> int | tuple[int, ...]:
        """Features of a vector as a user writes them: 100, or (28, 28)."""
        return self.n_features[0] if len(self.n_features) == 1 else self.n_features

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of a packed vector."""
        return -(-self.n_features_total // 8)

    @cached_property
    def vector_shape(self) -> tuple[int, ...]:
        """Shape of one vector as the user passes it."""
        return (self.n_bytes,) if self.packed else self.n_features

    @cached_property
    def flat(self) -> InputTraits:
        """Traits of the same vectors in one dimension; packed ones are so already."""
        return self if self.packed else InputTraits((self.n_features_total,), values=self.values)


class UserInput(ABC):
    """A batch of vectors of one kind, wherever they are, or will be: what a fit asks of them.

    Parameters
    ----------
    shape : tuple of int
        As the user gave them.
    dtype : numpy.dtype
        Type of their values.
    traits : InputTraits
        Features of a vector, packed or not.

    Attributes
    ----------
    shape, traits
        As given.
    batch_shape : tuple of int
        Dimensions in front of a vector's: none, one or two.
    n_samples : int
        Vectors in all.
    is_batch : bool
        Whether there is more than one.
    group : int
        Vectors that belong together, where an encoder made several of one.
    place : Arrays or None
        Where the light is computed; None for numpy.

    Raises
    ------
    InputTypeError
        If values of this type are none that the modulator shows; it is a TypeError and a ValueError.
    CallError, ValueError
        If the shape does not fit (a ValueError and an AssertionError), or there is no vector in it.
    """

    group = 1
    place: arrays.Arrays | None = None

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], traits: InputTraits) -> None:
        traits.values.check_dtype(dtype, traits.packed)
        vector = traits.vector_shape
        n_batch = len(shape) - len(vector)
        if n_batch not in _BATCH_DIMS or shape[n_batch:] != vector:
            raise CallError(
                f"X has shape {shape}, but vectors of {traits.shown} features"
                f"{' packed in bytes' if traits.packed else ''} need the shape {_shapes(vector)}."
            )
        if 0 in shape[:n_batch]:
            raise ValueError(f"X has shape {shape}, but it must hold at least one vector.")
        self.shape, self.traits = shape, traits
        self.batch_shape = shape[:n_batch]
        self.n_samples = math.prod(self.batch_shape)
        self.is_batch = self.n_samples > 1

    @abstractmethod
    def count_ones(self) -> float | None:
        """Return the mean number of ones of a vector; None of levels. A ValueError names the first wrong value."""

    def shape_output(self, Y: Any) -> Any:
        """Return results (n_samples, m) in the shape that belongs to the input: (*batch_shape, m)."""
        return Y.reshape(*self.batch_shape, Y.shape[-1])

    @abstractmethod
    def like_input(self, Y: Any) -> Any:
        """Return the result as what the input was: an array, or a tensor on the same device."""


class PresentInput(UserInput):
    """Vectors whose values are there: they can be shown now."""

    _checked = False

    def check_values(self, first: int = 0, shape: tuple[int, ...] | None = None) -> None:
        """Raise a ValueError that names the first value that cannot be shown. All are looked at, but once.

        Where this is a part of an array of a `shape`, its first vector is number `first` of that array.
        """
        if not self._checked:
            self._check_values(first, self.shape if shape is None else shape)
            self._checked = True

    def count_ones(self) -> float | None:
        """Return the mean number of ones of a vector; None of levels. A ValueError names the first wrong value."""
        self.check_values()
        return self._count() / self.n_samples if self.traits.values.binary else None

    @property
    def home(self) -> arrays.Arrays:
        """Where results are collected."""
        return arrays.NUMPY

    @abstractmethod
    def bits(self, start: int, stop: int, bitorder: str = "big") -> Any:
        """Return some of the vectors as they are shown, where they are: uint8 (stop - start, n_features_total)."""

    @abstractmethod
    def placed(self, bits: Any) -> Any:
        """Return bits where the light is computed."""

    @abstractmethod
    def fetched(self, values: Any) -> Any:
        """Return results that were computed there as what the result for the user is collected in."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array to collect results in."""

    @abstractmethod
    def finished(self, Y: Any, context: Context) -> Any:
        """Return results (n_samples, m) as a decoder gets them: in the input's shape, with their context."""

    @abstractmethod
    def _check_values(self, first: int, shape: tuple[int, ...]) -> None: ...

    @abstractmethod
    def _count(self) -> int:
        """Ones of all vectors together."""

    @property
    def _step(self) -> int:
        """Vectors that are looked at together."""
        return max(1, _STEP_BYTES // max(1, math.prod(self.traits.vector_shape)))

    def _refuse(self, good: np.ndarray, part: np.ndarray, first: int, shape: tuple[int, ...]) -> NoReturn:
        """Name the first value of some vectors, from number `first` on, that is not good."""
        place = int(good.argmin())
        size = math.prod(self.traits.vector_shape)
        index = ", ".join(str(int(i)) for i in np.unravel_index(first * size + place, shape))
        # What has passed before this part may be anything that is good.
        seen = part if first == 0 else np.full(1, np.nan)
        raise ValueError(self.traits.values.refusal(index, part.flat[place], seen))


class HostInput(PresentInput):
    """A batch of vectors in the machine's own memory.

    Parameters
    ----------
    array : numpy.ndarray
        As the user gave it, any layout in memory.
    traits : InputTraits
        Features of a vector, packed or not.
    came_from : torch.device or Arrays, optional
        Where the tensor, or CuPy's array, was, if it was one.
    place : Arrays, optional
        Where the light is computed; numpy by default.
    """

    def __init__(
        self,
        array: np.ndarray,
        traits: InputTraits,
        *,
        came_from: Any = None,
        place: arrays.Arrays | None = None,
    ) -> None:
        super().__init__(array.shape, array.dtype, traits)
        self.array, self.came_from, self.place = array, came_from, place

    @classmethod
    def from_traits(cls, X: Any, traits: InputTraits) -> HostInput:
        """Return the input that must look like the one of a fit."""
        array, came_from = as_numpy(X)
        return cls(array, traits, came_from=came_from)

    def _rows(self) -> np.ndarray:
        """Vectors one after the other, (n_samples, *vector_shape); a view wherever there is one."""
        return self.array.reshape(self.n_samples, *self.traits.vector_shape)

    def _check_values(self, first: int, shape: tuple[int, ...]) -> None:
        array, values = self.array, self.traits.values
        if self.traits.packed or not array.size or values.all_good(array):
            return
        rows = self._rows()
        step = self._step
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            good = values.good(part)
            if not good.all():
                self._refuse(good, part, first + start, shape)

    def _count(self) -> int:
        if not self.traits.packed:
            array = self.array
            if array.dtype == np.uint8:
                array = array.view(np.bool_)  # counted four times faster; the values were checked
            return int(np.count_nonzero(array))
        rows = self._rows()
        ones = 0
        for start in range(0, len(rows), max(1, _STEP_BYTES // self.traits.n_bytes)):
            part = rows[start : start + max(1, _STEP_BYTES // self.traits.n_bytes)]
            ones += int(np.bincount(part.ravel(), minlength=256) @ _POPCOUNT)
        spare = self.traits.n_bytes * 8 - self.traits.n_features_total
        if spare:  # bits behind the last feature do not count
            ones -= int(_POPCOUNT[rows[:, -1] & ((1 << spare) - 1)].sum())
        return ones

    def bits(self, start: int, stop: int, bitorder: str = "big") -> np.ndarray:
        """Return some of the vectors as they are shown: bits, or levels.

        Parameters
        ----------
        start, stop : int
            Which vectors.
        bitorder : {"big", "little"}
            Order of packed bits.

        Returns
        -------
        numpy.ndarray
            uint8, (stop - start, n_features_total), contiguous: a view of the user's array where possible.
        """
        n_features = self.traits.n_features_total
        if self.traits.packed:
            part, order = self._rows()[start:stop], cast(Any, bitorder)
            return np.unpackbits(part, axis=1, count=n_features, bitorder=order)
        return self.traits.values.shown(self.array.reshape(self.n_samples, n_features)[start:stop])

    def placed(self, bits: np.ndarray) -> Any:
        """Return bits where the light is computed."""
        return bits if self.place is None else self.place.from_host(bits)

    def fetched(self, values: Any) -> np.ndarray:
        """Return results that were computed there in the machine's own memory."""
        return values if isinstance(values, np.ndarray) else arrays.of(values).to_host(values)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array to collect results in."""
        return np.empty(shape, dtype=dtype)

    def finished(self, Y: Any, context: Context) -> Any:
        """Return results (n_samples, m) as a decoder gets them: in the input's shape, with their context."""
        return ContextArray(self.shape_output(Y), context)

    def like_input(self, Y: Any) -> Any:
        """Return the result as what the input was: an array, or a tensor on the same device."""
        return Y if self.came_from is None else like(Y, self.came_from)


def traits_of(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    packed: bool = False,
    is_2d: bool = False,
    n_features: Any = None,
    values: Values = BITS,
) -> InputTraits:
    """Return the traits of data, their number of features read from their shape.

    Parameters
    ----------
    shape, dtype : tuple of int, numpy.dtype
        Of the data: (..., n), (..., a, b), or packed (..., bytes).
    packed : bool
        Whether eight features share a byte.
    is_2d : bool
        Whether features have two dimensions.
    n_features : tuple of int, optional
        (a, b) of packed features in two dimensions.
    values : Values
        What values are for the modulator.
    """
    values.check_dtype(dtype, packed)
    if is_2d and packed:
        if n_features is None:
            raise ValueError("n_features is None, but packed features in two dimensions need it: give (a, b).")
    elif is_2d:
        if len(shape) < 2:
            raise CallError(f"X has shape {shape}, but features in two dimensions need {_shapes(('a', 'b'))}.")
        n_features = shape[-2:]
    else:
        if len(shape) < 1:
            raise ValueError(f"X has shape {shape}, but it must be {_shapes(('n',))}.")
        n_features = (shape[-1] * 8,) if packed else shape[-1:]
    if not packed and math.prod(n_features) == 0:
        raise ValueError(f"X has shape {shape}, but a vector must have at least one feature.")
    return InputTraits(n_features, packed, values)


_POPCOUNT = np.array([bin(k).count("1") for k in range(256)], dtype=np.int64)


def check_coder(name: str, value: Any) -> None:
    """Raise a CoderError (a TypeError) unless `value`, a class or an object, has a method `transform`."""
    if not callable(getattr(value, "transform", None)):
        raise CoderError(f"{name} is {value!r}, but it must be a class or an object with a method transform, or None.")


def _shapes(vector: tuple[Any, ...]) -> str:
    inner = ", ".join(str(v) for v in vector)
    single = f"({inner},)" if len(vector) == 1 else f"({inner})"
    return f"{single}, (batch, {inner}) or (batch1, batch2, {inner})"
