"""What users pass in: arrays or tensors, single vectors or batches, packed or not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from opusim.base import arrays, validation
from opusim.base.errors import CallError, CoderError, InputTypeError
from opusim.base.user_arrays import as_numpy, like
from opusim.drivers.context import Context, ContextArray

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
    """

    n_features: tuple[int, ...]
    packed: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        given = self.n_features
        items = tuple(given) if isinstance(given, (tuple, list, np.ndarray)) else (given,)
        if len(items) not in (1, 2):
            raise ValueError(f"n_features is {given!r}, but it must be one whole number or two.")
        checked = tuple(validation.integer("n_features", item, low=1) for item in items)
        object.__setattr__(self, "n_features", checked)
        validation.flag("packed", self.packed)

    @property
    def n_features_s(self) -> int:
        """Features of a vector, as one number."""
        return math.prod(self.n_features)

    @property
    def shown(self) -> int | tuple[int, ...]:
        """Features of a vector as a user writes them: 100, or (28, 28)."""
        return self.n_features[0] if len(self.n_features) == 1 else self.n_features

    @property
    def n_bytes(self) -> int:
        """Bytes of a packed vector."""
        return -(-self.n_features_s // 8)

    @property
    def vector_shape(self) -> tuple[int, ...]:
        """Shape of one vector as the user passes it."""
        return (self.n_bytes,) if self.packed else self.n_features


class UserInput:
    """A batch of vectors of one kind.

    Parameters
    ----------
    array : numpy.ndarray
        As the user gave it, any layout in memory.
    traits : InputTraits
        Features of a vector, packed or not.
    torch_device : torch.device or Arrays, optional
        Where the tensor, or CuPy's array, was, if it was one.

    Attributes
    ----------
    place : Arrays or None
        Where the light is computed; None for numpy.
    batch_shape : tuple of int
        Dimensions in front of a vector's: none, one or two.
    group : int
        Vectors that belong together, where an encoder made several of one.

    Raises
    ------
    InputTypeError
        If the array cannot hold bits; it is a TypeError and a ValueError.
    CallError, ValueError
        If the shape does not fit (a ValueError and an AssertionError), or there is no vector in it.
    """

    group = 1
    place: arrays.Arrays | None = None

    def __init__(self, array: np.ndarray, traits: InputTraits, torch_device: Any = None) -> None:
        _check_dtype(array, traits.packed)
        shape = traits.vector_shape
        n_batch = array.ndim - len(shape)
        if n_batch not in _BATCH_DIMS or array.shape[n_batch:] != shape:
            raise CallError(
                f"X has shape {array.shape}, but vectors of {traits.shown} features"
                f"{' packed in bytes' if traits.packed else ''} need the shape {_shapes(shape)}."
            )
        if 0 in array.shape[:n_batch]:
            raise ValueError(f"X has shape {array.shape}, but it must hold at least one vector.")
        self.array = array
        self.traits = traits
        self.torch_device = torch_device
        self.batch_shape = array.shape[:n_batch]

    @classmethod
    def from_traits(cls, X: Any, traits: InputTraits) -> UserInput:
        """Return the input that must look like the one of a fit."""
        array, place = as_numpy(X)
        return cls(array, traits, place)

    @classmethod
    def from_input(cls, X: Any, packed: bool = False, is_2d: bool = False, n_2d_features: Any = None) -> UserInput:
        """Return the input, its number of features read from its shape.

        Parameters
        ----------
        X : array_like or torch.Tensor
            (..., n), (..., a, b), or packed (..., bytes).
        packed : bool
            Whether eight features share a byte.
        is_2d : bool
            Whether features have two dimensions.
        n_2d_features : tuple of int, optional
            (a, b) of packed features in two dimensions.
        """
        validation.flag("packed", packed)
        array, place = as_numpy(X)
        _check_dtype(array, packed)
        if is_2d and packed:
            if n_2d_features is None:
                raise ValueError("n_features is None, but packed features in two dimensions need it: give (a, b).")
            n_features = n_2d_features
        elif is_2d:
            if array.ndim < 2:
                raise CallError(
                    f"X has shape {array.shape}, but features in two dimensions need {_shapes(('a', 'b'))}."
                )
            n_features = array.shape[-2:]
        else:
            if array.ndim < 1:
                raise ValueError(f"X has shape {array.shape}, but it must be {_shapes(('n',))}.")
            n_features = (array.shape[-1] * 8,) if packed else array.shape[-1:]
        if not packed and math.prod(n_features) == 0:
            raise ValueError(f"X has shape {array.shape}, but a vector must have at least one feature.")
        return cls(array, InputTraits(n_features, packed), place)

    @property
    def n_samples(self) -> int:
        """Vectors in all."""
        return math.prod(self.batch_shape)

    @property
    def is_batch(self) -> bool:
        """Whether there is more than one vector."""
        return self.n_samples > 1

    def _rows(self) -> np.ndarray:
        """Vectors one after the other, (n_samples, *vector_shape); a view wherever there is one."""
        return self.array.reshape(self.n_samples, *self.traits.vector_shape)

    def check_binary(self, first: int = 0, shape: tuple[int, ...] | None = None) -> None:
        """Raise a ValueError that names the first value that is neither 0 nor 1. All of the input is looked at.

        Where this is a part of an array of a `shape`, its first vector is number `first` of that array.
        """
        array = self.array
        if self.traits.packed or array.dtype.kind == "b" or not array.size:
            return
        if array.dtype.kind in "ui":
            if array.max() <= 1 and (array.dtype.kind == "u" or array.min() >= 0):
                return
        rows = self._rows()
        step = self._step
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            good = (part == 0) | (part == 1)
            if not good.all():
                self._refuse(good, part, first + start, shape)

    @property
    def _step(self) -> int:
        """Vectors that are looked at together."""
        return max(1, _STEP_BYTES // max(1, math.prod(self.traits.vector_shape)))

    def _refuse(self, good: np.ndarray, part: np.ndarray, first: int, shape: tuple[int, ...] | None) -> NoReturn:
        """Name the first value of some vectors, from number `first` on, that is not good."""
        place = int(good.argmin())
        size = math.prod(self.traits.vector_shape)
        where = np.unravel_index(first * size + place, shape or self.array.shape)
        index = ", ".join(str(int(i)) for i in where)
        raise ValueError(
            f"X should be binary, but X[{index}] is {part.flat[place]}: it may contain only 0 and 1 "
            "(an encoder makes bits of other data)."
        )

    def count_ones(self) -> float:
        """Return the mean number of ones of a vector."""
        if not self.traits.packed:
            array = self.array
            if array.dtype == np.uint8:
                array = array.view(np.bool_)  # counted four times faster; the values were checked
            return float(np.count_nonzero(array)) / self.n_samples
        rows = self._rows()
        ones = 0
        for start in range(0, len(rows), max(1, _STEP_BYTES // self.traits.n_bytes)):
            part = rows[start : start + max(1, _STEP_BYTES // self.traits.n_bytes)]
            ones += int(np.bincount(part.ravel(), minlength=256) @ _POPCOUNT)
        spare = self.traits.n_bytes * 8 - self.traits.n_features_s
        if spare:  # bits behind the last feature do not count
            ones -= int(_POPCOUNT[rows[:, -1] & ((1 << spare) - 1)].sum())
        return ones / self.n_samples

    def bits(self, start: int, stop: int, bitorder: str = "big") -> np.ndarray:
        """Return some of the vectors as bits.

        Parameters
        ----------
        start, stop : int
            Which vectors.
        bitorder : {"big", "little"}
            Order of packed bits.

        Returns
        -------
        numpy.ndarray
            uint8 0/1, (stop - start, n_features_s), contiguous: a view of the user's array where that is possible.
        """
        part = self._rows()[start:stop]
        if self.traits.packed:
            order: Any = bitorder
            return np.unpackbits(part, axis=1, count=self.traits.n_features_s, bitorder=order)
        flat = part.reshape(len(part), self.traits.n_features_s)
        if flat.dtype.itemsize == 1:
            return np.ascontiguousarray(flat).view(np.uint8)
        return flat.astype(np.uint8)

    def placed(self, bits: np.ndarray) -> Any:
        """Return bits where the light is computed."""
        return bits if self.place is None else self.place.from_host(bits)

    def fetched(self, values: Any) -> Any:
        """Return results that were computed there as what the result for the user is collected in."""
        return arrays.of(values).to_host(values)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array to collect results in."""
        return np.empty(shape, dtype=dtype)

    def finished(self, Y: Any, context: Context) -> Any:
        """Return results (n_samples, m) as a decoder gets them: in the input's shape, with their context."""
        return ContextArray(self.shape_output(Y), context)

    def shape_output(self, Y: Any) -> Any:
        """Return counts (n_samples, m) in the shape that belongs to the input: (*batch_shape, m)."""
        return Y.reshape(*self.batch_shape, Y.shape[-1])

    def like_input(self, Y: Any) -> Any:
        """Return the result as what the input was: an array, or a tensor on the same device."""
        return like(Y, self.torch_device)


def describe_fit(X: Any, n_features: Any, packed: bool, is_2d: bool) -> tuple[InputTraits, UserInput | None]:
    """Return what a fit is for, and its data if there are any.

    Parameters
    ----------
    X : array_like, torch.Tensor or None
        Data of the fit.
    n_features : int, tuple of int or None
        Features of a vector, if the data do not say it.
    packed, is_2d : bool
        Whether eight features share a byte; whether features have two dimensions.

    Raises
    ------
    CallError
        If neither is given, or they contradict each other; it is a ValueError and an AssertionError.
    """
    data: UserInput | None = None
    if X is not None:
        data = UserInput.from_input(X, packed, is_2d, n_features if packed and is_2d else None)
        traits = data.traits
        if n_features is not None and InputTraits(n_features, packed).n_features != traits.n_features:
            raise CallError(
                f"n_features is {n_features!r}, but X has {traits.shown} features: leave out one of the two."
            )
    elif n_features is None:
        raise CallError("X and n_features are None, but one of them must be given.")
    else:
        traits = InputTraits(n_features, packed)
    if is_2d != (len(traits.n_features) == 2):
        raise CallError(
            f"n_features is {n_features!r}, but {'fit2d takes two whole numbers' if is_2d else 'fit1d takes one'}."
        )
    return traits, data


_POPCOUNT = np.array([bin(k).count("1") for k in range(256)], dtype=np.int64)


def check_coder(name: str, value: Any) -> None:
    """Raise a CoderError (a TypeError) unless `value`, a class or an object, has a method `transform`."""
    if not callable(getattr(value, "transform", None)):
        raise CoderError(f"{name} is {value!r}, but it must be a class or an object with a method transform, or None.")


def _check_dtype(array: np.ndarray, packed: bool) -> None:
    if packed and array.dtype != np.uint8:
        raise InputTypeError(f"X has dtype {array.dtype}, but packed input must be uint8.")
    if array.dtype.kind not in "buif":
        raise InputTypeError(
            f"X has dtype {array.dtype}, but it must be bool, integer or float, with only 0 and 1 in it."
        )


def _shapes(vector: tuple[Any, ...]) -> str:
    inner = ", ".join(str(v) for v in vector)
    single = f"({inner},)" if len(vector) == 1 else f"({inner})"
    return f"{single}, (batch, {inner}) or (batch1, batch2, {inner})"
