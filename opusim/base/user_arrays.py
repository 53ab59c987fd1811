"""Arrays of the user's, of any library: to numpy, and back to where they were; and what an argument may be.

One check for every argument that takes an array, so that what cannot be one is refused by the same sentences
everywhere: None, masked, sparse, quantised and nested arrays, tensors without values, lists of them or of several
lengths, texts, dates and objects; and complex numbers, NaN and infinity where they have no meaning. A table with a name
(a DataFrame of pandas or polars) stands for the array of its values.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from . import arrays
from .errors import InputTypeError

__all__ = [
    "as_numpy",
    "checked_array",
    "exponent_of",
    "like",
    "refuse_not_finite",
    "refuse_odd_parts",
    "refuse_odd_tensor",
    "times_two_to",
]

# Lists in lists are searched for odd arrays this deep: rows of images of channels of ...
_LEVELS = 6
# What sentences call the kinds of numpy's types.
_MEANINGS = {"iu": "whole numbers", "b": "True and False", "iuf": "real numbers", "iufc": "numbers"}


def as_numpy(X: Any, name: str = "X", what: str = "an array of 0 and 1") -> tuple[np.ndarray, Any]:
    """Return the array behind `X`, and for `like` where it was: None for arrays, a tensor's device, CuPy's `Arrays`.

    Nothing is copied on a CPU. Which types of numbers are allowed is not asked here.

    Parameters
    ----------
    X : object
        What was given.
    name : str
        Name of the argument, for the message.
    what : str
        What it must be, for the message.

    Returns
    -------
    array : numpy.ndarray
        Its values.
    place : object
        For `like`.

    Raises
    ------
    InputTypeError
        If it is no ordinary array; it is a TypeError and a ValueError.
    """
    if type(X) is np.ndarray:
        return X, None
    if X is None:
        raise InputTypeError(f"{name} is None, but it must be {what}.")
    if isinstance(X, (list, tuple)):
        refuse_odd_parts(X, name)
    _refuse_odd_array(X, name)
    torch = sys.modules.get("torch")  # a tensor can exist only if torch was imported
    if torch is not None and isinstance(X, torch.Tensor):
        return _of_tensor(X, name, torch), X.device
    if arrays.is_device_array(X):
        cupy = arrays.of(X)
        return cupy.to_host(X), cupy
    try:
        return np.asarray(X), None
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(
            f"{name} is a {type(X).__name__} that is no array ({_one_line(error)}); it must be {what}."
        ) from None


def _refuse_odd_array(X: Any, name: str) -> None:
    """Refuse what numpy would make another array of: a sparse one, and a masked one, whose mask it forgets."""
    sparse = sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(X):
        raise InputTypeError(
            f"{name} is a sparse {type(X).__name__}, but it must be an ordinary array: use .toarray()."
        )
    if isinstance(X, np.ma.MaskedArray):
        raise InputTypeError(
            f"{name} is a masked array, but no value can be left out here: use .filled(0), or .data for all of them."
        )


def refuse_odd_parts(X: Any, name: str) -> None:
    """Refuse a list or a tuple, or one in it, that holds an array which would be refused by itself.

    Of what is in a list only the types are looked at.

    Parameters
    ----------
    X : list or tuple
        What was given.
    name : str
        Name of the argument, for the message.

    Raises
    ------
    InputTypeError
        If an array in it is masked, sparse, or a tensor that `refuse_odd_tensor` refuses.
    """
    level: list[Any] = [X]
    for _ in range(_LEVELS):
        kinds: set[type] = set()
        for items in level:
            kinds.update(map(type, items))
        if any(map(_may_be_odd, kinds)):
            for part, place in _parts(X, name, _LEVELS):
                _refuse_odd_array(part, place)
                refuse_odd_tensor(part, place)
            return
        if not any(issubclass(kind, (list, tuple)) for kind in kinds):
            return
        level = [item for item in chain.from_iterable(level) if isinstance(item, (list, tuple))]


def _may_be_odd(kind: type) -> bool:
    """Whether things of a type may be refused by themselves though numpy makes an array of them."""
    if kind in (float, int, bool, np.ndarray) or issubclass(kind, (list, tuple, np.generic)):
        return False
    if issubclass(kind, np.ma.MaskedArray):
        return True
    sparse, torch = sys.modules.get("scipy.sparse"), sys.modules.get("torch")
    if sparse is not None and issubclass(kind, (sparse.sparray, sparse.spmatrix)):
        return True
    return torch is not None and issubclass(kind, torch.Tensor)


def _parts(X: Any, name: str, levels: int) -> Iterator[tuple[Any, str]]:
    """Yield what lies in lists in lists, each with its place for a message."""
    for i, item in enumerate(X):
        if not isinstance(item, (list, tuple)):
            yield item, f"{name}[{i}]"
        elif levels > 1:
            yield from _parts(item, f"{name}[{i}]", levels - 1)


def refuse_odd_tensor(X: Any, name: str = "X") -> None:
    """Refuse a tensor that is no ordinary array, by an InputTypeError: one that is sparse, nested, or without values.

    Parameters
    ----------
    X : object
        Anything; what is no tensor passes.
    name : str
        Name of the argument, for the message.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(X, torch.Tensor):
        return
    what = advice = ""
    if X.is_nested:
        what, advice = "a nested tensor, whose rows may differ in length", "use .to_padded_tensor(0)"
    elif X.layout is not torch.strided:
        what, advice = f"a tensor of layout {str(X.layout).removeprefix('torch.')}", "use .to_dense()"
    elif X.is_quantized:
        what, advice = f"a quantised tensor ({str(X.dtype).removeprefix('torch.')})", "use .dequantize()"
    elif isinstance(X, torch.masked.MaskedTensor):
        what, advice = "a masked tensor, and no value can be left out here", "use .to_tensor(0)"
    elif X.is_meta:
        what = "a tensor on the device 'meta', which has a shape but no values"
    if what:
        raise InputTypeError(f"{name} is {what}, but it must be an ordinary array{f': {advice}' if advice else ''}.")


def _of_tensor(X: Any, name: str, torch: Any) -> np.ndarray:
    """Return the values of a tensor, wherever it lies."""
    refuse_odd_tensor(X, name)
    X = X.detach()
    try:
        # numpy has neither bfloat16 nor the floats of eight bits; each of their numbers is a float32.
        if X.dtype.is_floating_point and X.dtype not in (torch.float16, torch.float32, torch.float64):
            X = X.float()
        array: np.ndarray = X.cpu().resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise InputTypeError(
            f"{name} is a tensor of {str(X.dtype).removeprefix('torch.')} that is no array ({_one_line(error)}); it "
            "must be an ordinary array."
        ) from None
    return array


def checked_array(
    name: str, value: Any, what: str = "", *, kinds: str = "iuf", finite: bool = False, dtype: Any = None
) -> np.ndarray:
    """Return what was given for an array as one of numpy's, after checking what it holds.

    What is plainly right passes at once: of an array only its type is looked at.

    Parameters
    ----------
    name : str
        Name of the argument as the user knows it, for the message.
    value : object
        What was given: an array of any library, a sequence, a number, a table.
    what : str
        What it must hold, for the message; it follows from `kinds` by default.
    kinds : str
        Kinds of numpy types that are allowed: "b" for bool, "i" and "u" for whole numbers, "f" for floats, "c" for
        complex numbers.
    finite : bool
        Whether NaN and infinity are refused.
    dtype : dtype, optional
        What the result is converted to; the type of what was given by default.

    Returns
    -------
    numpy.ndarray
        A view where nothing is converted.

    Raises
    ------
    InputTypeError
        If it is no array of such numbers; it is a TypeError and a ValueError.
    ValueError
        If it holds NaN or infinity where it must not, or in `dtype` would.
    """
    if type(value) is np.ndarray:
        array = value
    else:
        array, _ = as_numpy(value, name, f"an array of {what or _meaning(kinds)}")
    # An empty list is one of floats for numpy, though it holds nothing of the kind.
    if array.dtype.kind not in kinds and not (not array.size and array.dtype.kind in "biuf"):
        given = f"an array of {array.dtype}"
        if isinstance(value, (str, bytes)):
            given = repr(value) if len(value) < 40 else f"a text of {len(value)} letters"
        elif array.dtype.kind == "O" and not isinstance(value, (np.ndarray, list, tuple)):
            given = f"of the type {type(value).__name__}"
        hint = " (take its modulus, or its real part, first)" if array.dtype.kind == "c" else ""
        if array.dtype.kind == "O" and hasattr(value, "to_numpy"):
            hint = " in columns of numpy's types: use .to_numpy(dtype=float)"
        raise InputTypeError(f"{name} is {given}, but it must hold {what or _meaning(kinds)}{hint}.")
    if finite:
        refuse_not_finite(name, array)
    if dtype is not None and array.dtype != dtype:
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
        if finite and converted.dtype.kind in "fc" and not np.isfinite(converted).all():
            bad = np.unravel_index(int(np.argmin(np.isfinite(converted))), array.shape)
            raise ValueError(
                f"{_item(name, bad)} is {array[bad]}, but every value must be finite in {np.dtype(dtype)}."
            )
        return converted
    return array


def refuse_not_finite(name: str, array: np.ndarray, *, infinite: bool = True, why: str = "") -> None:
    """Raise a ValueError that names the first value of an array that is NaN or infinite.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    array : numpy.ndarray
        Of numbers.
    infinite : bool
        Whether infinity is refused, too.
    why : str
        What the value must be, for the message; "every value must be finite" by default.
    """
    if array.dtype.kind not in "fc":
        return
    good = np.isfinite(array) if infinite else ~np.isnan(array)
    if not good.all():
        place = np.unravel_index(int(np.argmin(good)), array.shape)
        what = "finite" if infinite else "a number"
        raise ValueError(f"{_item(name, place)} is {array[place]}, but {why or f'every value must be {what}'}.")


def exponent_of(array: np.ndarray) -> int:
    """Return the exponent of two of the largest entry of a finite array; 0 where all are zero.

    ``np.ldexp(array, -exponent)`` is below 1 everywhere, and its squares neither over- nor underflow where they count.
    A power of two rounds nothing, so that ordinary numbers give the same bits as without it.
    """
    parts = (array.real, array.imag) if array.dtype.kind == "c" else (array,)
    # Not np.abs, which overflows for the least whole number of a type.
    largest = max((max(abs(float(part.max())), abs(float(part.min()))) for part in parts if part.size), default=0.0)
    return math.frexp(largest)[1]


def times_two_to(array: np.ndarray, exponent: int) -> np.ndarray:
    """Return an array of floats or complex numbers times a power of two, in its own type."""
    if not exponent:
        return array
    if array.dtype.kind != "c":
        return np.ldexp(array, exponent)
    result = np.empty_like(array)
    result.real, result.imag = np.ldexp(array.real, exponent), np.ldexp(array.imag, exponent)
    return result


def like(Y: Any, place: Any) -> Any:
    """Return `Y`, or an array of it where `place`, from `as_numpy`, says, if that is not None."""
    if place is None:
        return Y
    if isinstance(place, arrays.Arrays):
        return Y if arrays.of(Y) == place else place.from_host(np.asarray(arrays.of(Y).to_host(Y)))
    import torch

    tensor = Y if isinstance(Y, torch.Tensor) else torch.from_numpy(np.asarray(Y))
    return tensor.to(place)


def _meaning(kinds: str) -> str:
    """Return what a sentence calls kinds of numbers."""
    chosen = "".join(kind for kind in "iufc" if kind in kinds)
    if chosen in _MEANINGS and chosen:
        return _MEANINGS[chosen]
    return _MEANINGS["b"] if kinds == "b" else "numbers" if "c" in kinds else "real numbers"


def _item(name: str, place: tuple[Any, ...]) -> str:
    return f"{name}[{', '.join(str(int(i)) for i in place)}]" if place else name


def _one_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0].rstrip(".")
    return text if len(text) <= 160 else f"{text[:157]}..."
