"""What is in an open HDF5 file: each thing is there and is what it should be, or a sentence says what is wrong.

A check sum tells that a file is as it was written, not that what was written makes sense. And what a file leads to
elsewhere, by a link, an external or a virtual data set, no check sum of it covers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import memory

if TYPE_CHECKING:
    import h5py

__all__ = [
    "FileError", "attribute", "check_finite", "check_memory", "check_size", "first_not_finite", "has_attribute",
    "member", "read_array",
]  # fmt: skip

# Numbers whose squares are summed up at once: they stay in a processor's own memory.
_AT_ONCE = 1 << 18
# An attribute in the head of its object has at most so much.
_ATTRIBUTE_BYTES = 64 << 10
# Asking how much memory there is takes longer than reading so much.
_SMALL_BYTES = 64 << 20


class FileError(ValueError):
    """A whole sentence about what is in a file; whoever reads the file passes it on as it is."""


def _where(item: h5py.Group | h5py.Dataset) -> str:
    place = str(item.name).lstrip("/")
    return f"{item.file.filename}: {place}" if place else str(item.file.filename)


def member(group: h5py.Group, name: str, *, links: bool = False) -> h5py.Group | h5py.Dataset:
    """Return what a group holds under a name, if it is in this file.

    Parameters
    ----------
    group : h5py.Group
        The group, or the file.
    name : str
        The name.
    links : bool
        Whether a link to another place of the same file will do.

    Returns
    -------
    h5py.Group or h5py.Dataset

    Raises
    ------
    FileError
        If it is a link to another file, or, unless `links`, to another place; or to nothing.
    KeyError
        If there is nothing of that name, or it cannot be read.
    """
    import h5py

    try:
        way = group.id.links.get_info(name.encode("utf-8", "surrogateescape")).type
    except RuntimeError as error:
        raise KeyError(name) from error
    if way == h5py.h5l.TYPE_HARD:
        found = group[name]
        if "/" in name and found.file.filename != group.file.filename:
            raise FileError(f"{_where(group)} holds {name!r} in another file, but it must be in the file itself.")
        return found
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise FileError(
            f"{_where(group)} holds {name!r} as a link to {link.path!r} in the file {link.filename!r}, but it must be "
            "in the file itself: copy it into it."
        )
    if isinstance(link, h5py.SoftLink):
        if not links:
            raise FileError(
                f"{_where(group)} holds {name!r} as a link to {link.path!r}, but it must be there itself: copy it to "
                "that place."
            )
        try:
            target = group.get(link.path, getlink=True)
            found = None if isinstance(target, h5py.ExternalLink) else group[name]
        except (KeyError, RuntimeError, OSError):
            found = None
        if found is None:
            raise FileError(
                f"{_where(group)} holds {name!r} as a link to {link.path!r}, and there is no such thing in the file."
            )
        return found
    raise FileError(f"{_where(group)} holds {name!r} as a link of a kind of its own, which is not followed.")


def attribute(item: h5py.Group | h5py.Dataset, name: str, kind: type | None = None) -> Any:
    """Return an attribute. `attrs.get` would take one that cannot be read for one that is not there.

    Parameters
    ----------
    item : h5py.Group or h5py.Dataset
        What has it.
    name : str
        Its name.
    kind : {str, float, int}, optional
        What it must be: a text, a finite number, a whole number.

    Returns
    -------
    object
        As h5py gives it.

    Raises
    ------
    FileError
        If there is none of that name, it is of another kind, or says that it is larger than the file.
    KeyError, OSError, TypeError, ...
        If it cannot be read.
    """
    import h5py

    try:
        found = h5py.h5a.open(item.id, name.encode("utf-8", "surrogateescape"))
    except KeyError:
        if has_attribute(item, name):
            raise
        raise FileError(f"{_where(item)} has no attribute {name!r}, which files of opusim have.") from None
    shape, dtype = found.shape, found.dtype
    if shape == ():
        # As h5py does it, which takes three times as long to come to it: a text, or a number.
        value: Any = np.zeros((), dtype)
        text = h5py.check_string_dtype(dtype)
        if dtype.kind in "biufc" or (text and text.length is None):
            found.read(value)
            result = value[()].decode("utf-8", "surrogateescape") if text else value[()]
            return result if kind is None else _of_kind(item, name, result, kind)
    n_bytes = math.prod(shape or ()) * dtype.itemsize
    if n_bytes > _ATTRIBUTE_BYTES and n_bytes > item.file.id.get_filesize():
        raise FileError(
            f"{_where(item)}: the attribute {name!r} says that it has {memory.text(n_bytes)}, more than the file."
        )
    result = item.attrs[name]
    return result if kind is None else _of_kind(item, name, result, kind)


_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a text"),
    float: ((float, np.floating, np.integer), "a finite number"),
    int: ((int, np.integer), "a whole number"),
}


def _of_kind(item: h5py.Group | h5py.Dataset, name: str, value: Any, kind: type) -> Any:
    types: Any
    types, words = _KINDS[kind]
    if not isinstance(value, types) or (kind is float and not math.isfinite(value)):
        shown = repr(value) if np.ndim(value) == 0 else f"an array of the shape {np.shape(value)}"
        raise FileError(f"{_where(item)}: the attribute {name!r} is {shown}, but it must be {words}.")
    return value


def has_attribute(item: h5py.Group | h5py.Dataset, name: str) -> bool:
    """Return whether there is an attribute of that name, to be read or not."""
    import h5py

    return bool(h5py.h5a.exists(item.id, name.encode("utf-8", "surrogateescape")))


def check_size(item: h5py.Group | h5py.Dataset, *, sparse: bool = False) -> None:
    """Raise an error unless something is a data set whose elements are in the file, and may be read.

    Parameters
    ----------
    item : h5py.Group or h5py.Dataset
        What is to be read.
    sparse : bool
        Whether elements may be missing that were never written, which HDF5 fills in.

    Raises
    ------
    FileError
        If it is a group, its elements are in other files, or there are more than the file has.
    """
    import h5py

    if not isinstance(item, h5py.Dataset):
        raise FileError(f"{_where(item)} is a group, but it must be a data set.")
    if item.shape is None:
        raise FileError(f"{_where(item)} holds nothing, but it must be a data set of elements.")
    n_bytes, stored = math.prod(item.shape) * item.id.dtype.itemsize, item.id.get_storage_size()
    if n_bytes <= stored and item.id.get_offset() is not None:
        return  # in one piece, in this file: most are, and of others it takes longer to ask
    if item.external or item.is_virtual:
        raise FileError(f"{_where(item)} keeps its elements in other files: copy them into this one.")
    if n_bytes > stored and not sparse and not item.id.get_create_plist().get_nfilters():
        raise FileError(
            f"{_where(item)} says that it has the shape {item.shape} and {memory.text(n_bytes)}, but the file holds "
            f"{memory.text(stored)} of it."
        )


def read_array(item: h5py.Group | h5py.Dataset, *, sparse: bool = False) -> np.ndarray:
    """Return all of a data set, in the type that it is stored in.

    Parameters
    ----------
    item : h5py.Group or h5py.Dataset
        What is to be read.
    sparse : bool
        As for `check_size`.

    Returns
    -------
    ndarray

    Raises
    ------
    FileError
        As for `check_size`.
    MemoryError
        If there is not the memory for it.
    """
    check_size(item, sparse=sparse)
    check_memory(item, item.shape)  # type: ignore[union-attr]
    return np.asarray(item[()], dtype=item.id.dtype)  # type: ignore[index]


def check_memory(item: h5py.Dataset, shape: tuple[int, ...]) -> None:
    """Raise a MemoryError that says how much is needed, if a part of a data set does not fit."""
    n_bytes = math.prod(shape) * item.id.dtype.itemsize
    if n_bytes > _SMALL_BYTES:
        memory.check(f"{_where(item)}, of the shape {shape},", n_bytes, "free memory, or read fewer rows.")


def first_not_finite(array: np.ndarray) -> tuple[int, ...] | None:
    """Return where the first NaN or infinity of an array stands; None if there is none, or it holds no such numbers."""
    if array.dtype.kind not in "fc" or not array.size:
        return None
    flat = array.reshape(-1) if array.flags.c_contiguous else np.ascontiguousarray(array).reshape(-1)
    parts = flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat
    fast = parts.dtype in (np.float32, np.float64) and parts.dtype.isnative
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, len(parts), _AT_ONCE):
            part = parts[first : first + _AT_ONCE]
            # One NaN or infinity makes the sum of the squares one: half the time of asking each number. Large numbers
            # may do so as well.
            if fast and math.isfinite(np.dot(part, part)):
                continue
            bad = np.flatnonzero(~np.isfinite(part))
            if len(bad):
                place = (first + int(bad[0])) // (2 if flat.dtype.kind == "c" else 1)
                return tuple(int(i) for i in np.unravel_index(place, array.shape))
    return None


def check_finite(array: np.ndarray, where: str) -> None:
    """Raise a FileError that names the first number of an array that is not finite.

    Parameters
    ----------
    array : ndarray
        Of any numbers.
    where : str
        What it is, the subject of the sentence.
    """
    place = first_not_finite(array)
    if place is not None:
        raise FileError(f"{where} holds {array[place]} at {list(place)}, but all of it must be finite.")
