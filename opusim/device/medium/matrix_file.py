"""The HDF5 file of a measured matrix: what its header says, and its numbers, block by block.

Nothing here takes a copy of a matrix beside the one that is made: it is looked at, and read, in blocks of some MiB.
Whatever is asked is kept for the last few files, by what changes with their content; a matrix until nobody needs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from opusim.base import elementary, memory
from opusim.base.hdf5_content import FileError, check_size, member
from opusim.base.locks import new_lock
from opusim.base.short_repr import short_repr
from opusim.base.user_arrays import exponent_of, refuse_not_finite, times_two_to

if TYPE_CHECKING:
    import h5py

__all__ = [
    "Header", "Key", "MatrixParts", "Spread", "checked", "header", "let_go", "matrix", "powers", "rectangle", "spread",
    "told_pixels",
]  # fmt: skip

#: Name that stands for no data set.
NONE = "none"
#: Names that a file need not hold, as nobody has to have set them.
OPTIONAL = ("background", "pixels", "times_s")
# Of a number of the background, or of a later state, over the root mean square of the (first) matrix: a feature of that
# adds nothing to such a field. Its square is light in single precision, which ends at 3e38.
_LARGEST = 1e7
# Up to this power of two nothing over- or underflows, in single precision neither.
_LARGE = 100
# Bytes of a block, as it is stored: with its copies in double precision a small part of any matrix that matters.
_BLOCK_BYTES = 2 << 20
# Of the matrices that were read last: two are compared with each other. One that is smaller may stay.
_KEPT, _SMALL_BYTES = 2, 16 << 20
# Above the rows and columns of every sensor.
_ROW = 1 << 32


class Key(NamedTuple):
    """What a file is asked for: it, its data sets, and what changes with its content.

    Parameters
    ----------
    path : str
        The file.
    dataset, background, pixels, times : str
        Names of its data sets.
    state : tuple of int
        What changes with the content of the file.
    """

    path: str
    dataset: str
    background: str
    pixels: str
    times: str
    state: tuple[int, ...]


@short_repr
@dataclass(frozen=True, eq=False)
class Header:
    """What a file says beside its matrix, whose numbers nobody has looked at yet.

    Parameters
    ----------
    n_states, n_outputs, n_inputs : int
        Size of the data set.
    is_sequence : bool
        Whether it has three axes: a matrix for each state.
    times_s : tuple of float or None
        Start of each state; None where the file has none.
    pixels : ndarray of int64, shape (n_outputs, 2), or None
        Row and column on the sensor of each output; None where the file does not say.
    pixels_from : str
        Name of the data set that says so.
    """

    n_states: int
    n_outputs: int
    n_inputs: int
    is_sequence: bool
    times_s: tuple[float, ...] | None = None
    pixels: np.ndarray | None = None
    pixels_from: str = ""
    # Of the pixels: numbers in rising order, and the output of each.
    _numbers: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _outputs: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def outputs_at(self, path: str, rows: np.ndarray, columns: np.ndarray, sensor_shape: tuple[int, int]) -> np.ndarray:
        """Return the outputs that lie on some pixels of the sensor.

        Parameters
        ----------
        path : str
            What a sentence calls the file.
        rows, columns : ndarray of int64, shape (n,)
            The pixels.
        sensor_shape : tuple of int
            Rows and columns of the sensor.

        Returns
        -------
        ndarray of int64, shape (n,)
            Numbers of outputs.

        Raises
        ------
        ValueError
            If a pixel is not in the file, or the file has one that is not on the sensor.
        """
        self.check_on(path, sensor_shape)
        assert self.pixels is not None
        wanted = rows * _ROW + columns
        at = np.minimum(np.searchsorted(self._numbers, wanted), len(self._numbers) - 1)
        lacking = np.flatnonzero(self._numbers[at] != wanted)
        if len(lacking):
            first, last = self.pixels.min(axis=0), self.pixels.max(axis=0)
            row, column, n_rows, n_columns = _largest_rectangle(self.pixels)
            raise ValueError(
                f"The region holds the pixel {(int(rows[lacking[0]]), int(columns[lacking[0]]))} (row, column) of the "
                f"sensor, but the matrix in {path!r} has none for it: by its data set {self.pixels_from!r} it has "
                f"{self.n_outputs} pixels, in rows {first[0]} to {last[0]} and columns {first[1]} to {last[1]}. The "
                f"region must hold these alone: roi {(row, column, n_rows, n_columns)} does, in lightonml's order "
                f"{((column, row), (n_columns, n_rows))}, as opu.device.output_roi has it after a fit. medium.pixels = "
                f"{NONE!r} takes the rows of the matrix in their order, whatever the region."
            )
        return self._outputs[at]

    def check_on(self, path: str, sensor_shape: tuple[int, int]) -> None:
        """Raise an error if a pixel is not on the sensor.

        Parameters
        ----------
        path : str
            What a sentence calls the file.
        sensor_shape : tuple of int
            Rows and columns of the sensor.

        Raises
        ------
        ValueError
            With the pixel.
        """
        if self.pixels is None:
            return
        outside = np.flatnonzero((self.pixels >= np.array(sensor_shape)).any(axis=1))
        if len(outside):
            raise ValueError(
                f"Data set {self.pixels_from!r} of {path!r} puts row {outside[0]} of the matrix on the pixel "
                f"{_pair(self.pixels[outside[0]])}, but the sensor has {sensor_shape[0]} rows and {sensor_shape[1]} "
                "columns, counted from 0: camera.shape must be that of the camera it was measured with."
            )


def _pair(place: np.ndarray) -> tuple[int, int]:
    return int(place[0]), int(place[1])


def _largest_rectangle(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Return the largest rectangle all of whose pixels are there: (row, column, n_rows, n_columns)."""
    corner = pixels.min(axis=0)
    shape = pixels.max(axis=0) - corner + 1
    if len(pixels) == shape[0] * shape[1]:
        return (*_pair(corner), *_pair(shape))
    there = np.zeros(shape, dtype=bool)
    there[tuple((pixels - corner).T)] = True
    height, best, found = np.zeros(shape[1] + 1, dtype=np.int64), 0, (0, 0, 1, 1)
    for row in range(shape[0]):
        height[:-1] = np.where(there[row], height[:-1] + 1, 0)
        # Columns whose heights rise, each with the first column that is as high.
        rising: list[tuple[int, int]] = []
        for column, high in enumerate(height.tolist()):
            start = column
            while rising and rising[-1][1] >= high:
                start, above = rising.pop()
                if above * (column - start) > best:
                    best = above * (column - start)
                    found = (row - above + 1, start, above, column - start)
            rising.append((start, high))
    return (found[0] + int(corner[0]), found[1] + int(corner[1]), int(found[2]), int(found[3]))


@lru_cache(maxsize=8)
def rectangle(key: Key) -> tuple[int, int, int, int]:
    """Return the largest rectangle of the sensor all of whose pixels a file has.

    Parameters
    ----------
    key : Key
        File and data sets, of which one says the pixels.

    Returns
    -------
    tuple of int
        (row, column, n_rows, n_columns).

    Raises
    ------
    ValueError
        As from `header`.
    """
    pixels = header(key).pixels
    assert pixels is not None
    return _largest_rectangle(pixels)


def told_pixels(key: Key) -> str:
    """Say where the pixels of a file lie.

    Parameters
    ----------
    key : Key
        File and data sets, of which one says the pixels.

    Returns
    -------
    str
        Rows and columns, and the largest rectangle where they fill none.

    Raises
    ------
    ValueError
        As from `header`.
    """
    pixels, roi = header(key).pixels, rectangle(key)
    assert pixels is not None
    first, last = pixels.min(axis=0), pixels.max(axis=0)
    gaps = "" if roi[2] * roi[3] == len(pixels) else ", with gaps; the largest region without"
    return f"rows {first[0]} to {last[0]}, columns {first[1]} to {last[1]} of the sensor{gaps}: roi {roi}"


# ---------------------------------------------------------------- data sets


class _Numbers:
    """A data set as the program that wrote it shows it.

    MATLAB writes its axes in the reverse order, and complex numbers as pairs "real" and "imag"; it marks its data sets
    by an attribute.

    Parameters
    ----------
    item : h5py.Dataset
        The data set, of one axis or more.
    """

    def __init__(self, item: h5py.Dataset) -> None:
        self.item = item
        self.reverse = "MATLAB_class" in item.attrs
        self.shape = tuple(item.shape[::-1] if self.reverse else item.shape)
        dtype = item.dtype
        self.in_parts = dtype.names == ("real", "imag") and all(dtype[i].kind == "f" for i in range(2))
        self.is_complex = dtype.kind == "c" or self.in_parts
        single = (dtype["real"].itemsize <= 4) if self.in_parts else dtype.itemsize <= 8
        self.dtype = np.dtype(np.complex64 if single else np.complex128) if self.is_complex else dtype

    def read(self, *where: Any) -> np.ndarray:
        """Return a part, its axes as they are shown: complex64 or complex128 if it is complex."""
        values = np.asarray(self.item[where[::-1] if self.reverse else where])
        if self.reverse:
            values = values.T
        if self.in_parts:
            joined = np.empty(values.shape, dtype=self.dtype)
            joined.real, joined.imag = values["real"], values["imag"]
            return joined
        with np.errstate(over="ignore"):  # of long doubles: infinite, and refused
            return values.astype(self.dtype, copy=False)

    def vector(self) -> np.ndarray:
        """Return all of it; a row or a column of MATLAB's, which has no vectors, as one axis."""
        values = self.read(*(slice(None),) * len(self.shape))
        return values.reshape(-1) if self.reverse and values.ndim == 2 and 1 in values.shape else values

    def blocks(self, index: int | None) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Yield (outputs, inputs, values) of a matrix, or of a state of a sequence, in whole chunks of the file."""
        stored = self.shape[:-3:-1] if self.reverse else self.shape[-2:]
        chunk = (1, 1) if self.item.chunks is None else self.item.chunks[:2] if self.reverse else self.item.chunks[-2:]
        room = max(1, _BLOCK_BYTES // self.item.dtype.itemsize)
        # In whole chunks, so that none is unpacked twice; in whole lines if there is room.
        long = min(-(-stored[1] // chunk[1]), max(1, room // (chunk[0] * chunk[1]))) * chunk[1]
        short = max(1, room // (chunk[0] * long)) * chunk[0]
        for a in range(0, stored[0], short):
            for b in range(0, stored[1], long):
                own = slice(a, min(stored[0], a + short)), slice(b, min(stored[1], b + long))
                outputs, inputs = own[::-1] if self.reverse else own
                yield outputs, inputs, self.read(*(() if index is None else (index,)), outputs, inputs)


@contextmanager
def _opened(key: Key) -> Iterator[h5py.File]:
    """Open a file; what is wrong with it is told as an error of the medium."""
    import h5py

    from opusim.base.files import OLD, check_trailer, tell_unchecked

    path = key.path
    try:
        # A lab's own file has none, and need not.
        whole = check_trailer(path)
        if whole is False:
            raise FileError("that file is damaged or cut short; use a backup of it.")
        with h5py.File(path, "r") as file:
            if whole is None and str(file.attrs.get("format", "")).startswith("opusim "):
                tell_unchecked(Path(path), OLD)
            yield file
    except FileError as error:
        raise ValueError(f"medium.path is {path!r}, but {error}") from error
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"medium.path is {path!r}, but that is not a readable HDF5 file ({error}).") from error


def _there(file: h5py.File, name: str) -> bool:
    return name != NONE and (name in file or file.get(name, getlink=True) is not None)


def _member(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a data set of a laboratory's file, all of which is in it: the fingerprint follows the file's bytes."""
    item = member(file, name, links=True)
    check_size(item, sparse=True)
    return item


def _extra(file: h5py.File, key: Key, what: str, name: str) -> _Numbers | None:
    """Return a data set that may be there; one of another name than the usual must be."""
    if _there(file, name):
        return _Numbers(_member(file, name))
    if name == NONE or name in OPTIONAL:
        return None
    raise _no_such(file, key, what, name)


def _no_such(file: h5py.File, key: Key, what: str, name: str) -> ValueError:
    held = ", ".join(map(repr, file)) or "nothing"
    none = "" if what == "dataset" else f" {NONE!r} names no data set."
    return ValueError(f"medium.{what} is {name!r}, but {key.path!r} holds {held}.{none}")


@lru_cache(maxsize=8)
def header(key: Key) -> Header:
    """Return what a file says beside its matrix, of which only the size is read.

    Parameters
    ----------
    key : Key
        File and data sets.

    Returns
    -------
    Header
        Checked.

    Raises
    ------
    ValueError
        If the file cannot be read, holds no such data sets, or one that cannot be what it is for; it names it.
    """
    with _opened(key) as file:
        stored = _matrix_in(file, key)
        is_sequence = len(stored.shape) == 3
        n_states = stored.shape[0] if is_sequence else 1
        n_outputs, n_inputs = stored.shape[-2:]
        if (extra := _extra(file, key, "background", key.background)) is not None:
            _check_background(extra, key, stored.shape)
        times = None
        if is_sequence and (data := _extra(file, key, "times", key.times)) is not None:
            times = _checked_times(data.vector(), key, n_states)
        data, name = _extra(file, key, "pixels", key.pixels), key.pixels
        if data is None:
            return Header(n_states, n_outputs, n_inputs, is_sequence, times)
        where = f"Data set {name!r} of {key.path!r}"
        pixels = _checked_pixels(data, where, n_outputs)
    numbers = pixels[:, 0] * _ROW + pixels[:, 1]
    order = np.argsort(numbers, kind="stable")
    twice = np.flatnonzero(np.diff(numbers[order]) == 0)
    if len(twice):
        first, second = order[twice[0]], order[twice[0] + 1]
        raise ValueError(
            f"{where} puts rows {first} and {second} of the matrix on one pixel, {_pair(pixels[first])}: each must "
            "have its own."
        )
    return Header(n_states, n_outputs, n_inputs, is_sequence, times, pixels, name, numbers[order], order)


def _matrix_in(file: h5py.File, key: Key) -> _Numbers:
    """Return the data set of the matrix, or of the sequence of matrices."""
    if not _there(file, key.dataset):
        raise _no_such(file, key, "dataset", key.dataset)
    stored = _Numbers(_member(file, key.dataset))
    if len(stored.shape) not in (2, 3) or not stored.is_complex or 0 in stored.shape:
        raise ValueError(
            f"Data set {key.dataset!r} of {key.path!r} has shape {stored.shape} and type {stored.item.dtype}, but it "
            "must be a complex matrix of shape (outputs, inputs), or (states, outputs, inputs); real and imaginary "
            "parts that lie apart are joined as real + 1j * imag."
        )
    return stored


def _check_background(extra: _Numbers, key: Key, shape: tuple[int, ...]) -> None:
    allowed = [(shape[-2],), shape[:-1]]
    shown = extra.shape
    if extra.reverse:  # a row or a column: MATLAB has no vectors
        allowed += [(shape[-2], 1), (1, shape[-2])]
    if shown not in allowed or not (extra.is_complex or extra.item.dtype.kind in "iuf"):
        raise ValueError(
            f"Data set {key.background!r} of {key.path!r} has shape {shown} and type {extra.item.dtype}, but it must "
            f"hold complex or real numbers, of shape {' or '.join(map(str, dict.fromkeys(allowed[:2])))}."
        )


def _checked_times(times: np.ndarray, key: Key, n_states: int) -> tuple[float, ...]:
    where = f"Data set {key.times!r} of {key.path!r}"
    if times.shape != (n_states,) or times.dtype.kind not in "iuf":
        raise ValueError(
            f"{where} has shape {times.shape} and type {times.dtype}, but it must hold the start of each of the "
            f"{n_states} states in seconds: real numbers, of shape ({n_states},)."
        )
    refuse_not_finite(where, times)
    seconds = times.astype(np.float64)
    if seconds[0] != 0:
        raise ValueError(f"{where} begins at {seconds[0]:g} s, but the first state must begin at 0.")
    back = np.flatnonzero(np.diff(seconds) <= 0)
    if len(back):
        k = int(back[0])
        raise ValueError(
            f"{where} goes from {seconds[k]:g} s in state {k} to {seconds[k + 1]:g} s in state {k + 1}, but times must "
            "rise."
        )
    return tuple(seconds.tolist())


def _checked_pixels(data: _Numbers, where: str, n_outputs: int) -> np.ndarray:
    """Return row and column on the sensor of each output: int64 (outputs, 2); of a rectangle in raster order."""
    what = (
        f"it must hold the row and the column on the sensor of each of the {n_outputs} rows of the matrix: whole "
        f"numbers from 0 on, of shape ({n_outputs}, 2), or a rectangle [row, column, n_rows, n_columns] of as many "
        "pixels."
    )
    values = data.read(*(slice(None),) * len(data.shape))
    if data.reverse and values.shape in ((1, 4), (4, 1)):  # MATLAB has no vectors
        values = values.reshape(-1)
    if values.dtype.kind not in "iu" or values.shape not in ((n_outputs, 2), (4,)):
        raise ValueError(f"{where} has shape {values.shape} and type {values.dtype}, but {what}")
    # From here on nothing can overflow.
    wrong = np.argwhere((values < 0) | (values >= _ROW // 2))
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        raise ValueError(f"{where} holds {values[place]} at {list(place)}, but {what}")
    pixels = values.astype(np.int64)
    if pixels.shape == (n_outputs, 2):
        return pixels
    row, column, n_rows, n_columns = pixels.tolist()
    if n_rows * n_columns != n_outputs:
        raise ValueError(f"{where} is the rectangle {pixels.tolist()} of {n_rows * n_columns} pixels, but {what}")
    number = np.arange(n_outputs)
    return np.stack([row + number // n_columns, column + number % n_columns], axis=1)


# ---------------------------------------------------------------- the matrix


@lru_cache(maxsize=8)
def checked(key: Key) -> tuple[int, float]:
    """Look at every number of a file, the background's too, and return what its matrices are divided by.

    Parameters
    ----------
    key : Key
        File and data sets.

    Returns
    -------
    exponent : int
        Power of two that is drawn out first, which rounds nothing: squares of any number then stay within what a
        number holds.
    scale : float
        Root mean square of what is left; of a sequence that of the first state.

    Raises
    ------
    ValueError
        If a number is not finite, the (first) matrix is zero everywhere, or a later state or the background is far
        above it. They may be below it by any factor: then they are dark.
    MemoryError
        If there is not the memory for a matrix.
    """
    top = header(key)
    with _opened(key) as file:
        stored = _matrix_in(file, key)
        _check_memory(stored, top)
        where = f"Data set {key.dataset!r} of {key.path!r}"
        parts: list[tuple[int, float]] = []
        largest, reached = 0, [0.0] * top.n_states
        for k in range(top.n_states):
            for outputs, inputs, values in stored.blocks(k if top.is_sequence else None):
                _refuse_not_finite(where, values, ((k,) if top.is_sequence else ()), outputs, inputs)
                if k == 0:
                    own = exponent_of(values) if values.any() else None
                    if own is None:
                        continue
                    # Blocks of ordinary numbers as they are, without a copy.
                    drawn = own if abs(own) >= _LARGE else 0
                    largest = own if not parts else max(largest, own)
                    values = times_two_to(values, -drawn).astype(np.complex128, copy=False)
                    parts.append((drawn, float(elementary.square_modulus(values).sum())))
                else:
                    reached[k] = max(reached[k], *(float(np.abs(part).max()) for part in (values.real, values.imag)))
        if not parts:
            raise ValueError(f"{where} is zero everywhere{' in its first state' if top.is_sequence else ''}.")
        exponent = largest if abs(largest) >= _LARGE else 0
        total = sum(math.ldexp(square, 2 * (drawn - exponent)) for drawn, square in parts)
        scale = math.sqrt(total / (top.n_outputs * top.n_inputs))
        for k, told in enumerate(reached):
            if _too_large(told, exponent, scale):
                raise ValueError(
                    f"{where} reaches {told:.3g} in state {k}, more than {_LARGEST:g} times the root mean square of "
                    "state 0: all states must be in one unit."
                )
        _background(file, key, 0, exponent, scale)
    return exponent, scale


def _too_large(told: float, exponent: int, scale: float) -> bool:
    """Return whether a number is too far above the root mean square, which is scale * 2^exponent."""
    drawn, own = math.frexp(told)
    # Neither the number over 2^exponent need be one that a float holds, nor the limit times scale and 2^exponent.
    return told > 0 and (own - exponent > 1000 or math.ldexp(drawn, own - exponent) / scale > _LARGEST)


def _check_memory(stored: _Numbers, top: Header) -> None:
    n_bytes = 8 * top.n_outputs * top.n_inputs
    if n_bytes > 64 << 20:  # asking how much memory there is takes longer than reading so much
        where = f"{stored.item.file.filename}: {str(stored.item.name).lstrip('/')}, of the shape {stored.shape},"
        memory.check(where, n_bytes, "free memory, or store a part of it.")


def _refuse_not_finite(where: str, values: np.ndarray, state: tuple[int, ...], outputs: slice, inputs: slice) -> None:
    """Refuse NaN and infinity in a block, by their place in the data set."""
    try:
        refuse_not_finite(where, values)
    except ValueError:
        bad = np.argwhere(~np.isfinite(values))[0]
        place = [*state, int(bad[0]) + outputs.start, int(bad[1]) + inputs.start]
        raise ValueError(f"{where}: {place} is {values[tuple(bad)]}, but every value must be finite.") from None


class MatrixParts(NamedTuple):
    """A matrix, and the field with every feature off.

    Parameters
    ----------
    matrix : ndarray of complex64, shape (n_inputs, n_outputs)
        Of mean square 1, or of what the first state of a sequence has then.
    background : ndarray of complex64, shape (n_outputs,), or None
        In the same units.
    """

    matrix: np.ndarray
    background: np.ndarray | None


_kept: dict[tuple[Key, int], MatrixParts] = {}
_lock = new_lock()


def matrix(key: Key, state: int = 0) -> MatrixParts:
    """Read a matrix; the last two are kept until they are let go.

    Parameters
    ----------
    key : Key
        File and data sets.
    state : int
        Which of a sequence.

    Returns
    -------
    MatrixParts
        Scaled as `checked` says.

    Raises
    ------
    ValueError, MemoryError
        As from `checked`.
    """
    with _lock:
        if (found := _kept.get((key, state))) is not None:
            return found
    read = _read(key, state)
    with _lock:
        _kept[key, state] = read
        while len(_kept) > _KEPT:
            del _kept[next(iter(_kept))]
    return read


def let_go(path: str) -> None:
    """Keep no large matrix of a file any more: the next one that asks for it reads it anew.

    Parameters
    ----------
    path : str
        The file, as in `Key`.
    """
    with _lock:
        for one in [one for one in _kept if one[0].path == path and _kept[one].matrix.nbytes > _SMALL_BYTES]:
            del _kept[one]


def _read(key: Key, state: int) -> MatrixParts:
    top = header(key)
    exponent, scale = checked(key)
    with _opened(key) as file:
        background = _background(file, key, state, exponent, scale)
        stored = _matrix_in(file, key)
        _check_memory(stored, top)
        result = np.empty((top.n_inputs, top.n_outputs), dtype=np.complex64)
        for outputs, inputs, values in stored.blocks(state if top.is_sequence else None):
            result[inputs, outputs] = (times_two_to(values, -exponent) / scale).T
    return MatrixParts(result, background)


def _background(file: h5py.File, key: Key, state: int, exponent: int, scale: float) -> np.ndarray | None:
    if not _there(file, key.background):
        return None
    data = _Numbers(_member(file, key.background))
    extra = data.vector()
    if extra.dtype.kind in "iu":
        extra = extra.astype(np.float64)
    where = f"Data set {key.background!r} of {key.path!r}"
    refuse_not_finite(where, extra)
    with np.errstate(over="ignore", invalid="ignore"):
        fields = (times_two_to(extra, -exponent) / scale).astype(np.complex64)
    # Its square is light on a pixel, in single precision.
    with np.errstate(over="ignore"):
        largest, told = float(np.abs(fields).max()), float(np.abs(extra).max())
    if not largest < _LARGEST:
        raise ValueError(
            f"{where} reaches {told:.3g}, more than {_LARGEST:g} times the root mean "
            f"square of data set {key.dataset!r}: both must be in one unit."
        )
    return fields[state] if fields.ndim == 2 else fields


class Spread(NamedTuple):
    """Root mean squares of a matrix, by which it drifts.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_outputs,)
        Of each output.
    columns : ndarray of float32, shape (n_inputs,)
        Of each input, over that of the whole matrix.
    background : float
        Of the background, over that of the whole matrix; 0 if there is none.
    """

    rows: np.ndarray
    columns: np.ndarray
    background: float


@lru_cache(maxsize=8)
def spread(key: Key) -> Spread:
    """Return the root mean squares of rows and columns of a matrix as `matrix` gives it.

    Parameters
    ----------
    key : Key
        File and data sets.

    Returns
    -------
    Spread
        Of the first state.

    Raises
    ------
    ValueError, MemoryError
        As from `matrix`.
    """
    entries, background = matrix(key, 0)
    n_inputs, n_outputs = entries.shape
    rows, columns = np.zeros(n_outputs), np.empty(n_inputs)
    step = max(1, _BLOCK_BYTES // (8 * n_outputs))
    for a in range(0, n_inputs, step):
        squares = elementary.square_modulus(entries[a : a + step].astype(np.complex128))
        rows += squares.sum(axis=0)
        columns[a : a + step] = squares.sum(axis=1)
    total = float(rows.sum()) / entries.size
    share = 0.0
    if background is not None:
        square = float(elementary.square_modulus(background.astype(np.complex128)).sum()) / n_outputs
        share = math.sqrt(square / total)
    return Spread(
        np.sqrt(rows / n_inputs).astype(np.float32), np.sqrt(columns / n_outputs / total).astype(np.float32), share
    )


@lru_cache(maxsize=8)
def powers(key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Return the light of each output as `matrix` gives it.

    Parameters
    ----------
    key : Key
        File and data sets.

    Returns
    -------
    rows, background : ndarray of float64, shape (n_outputs,)
        Mean square of the entries of each output, and the squared modulus of its background; of the first state.
    """
    rows = np.square(spread(key).rows.astype(np.float64))
    background = matrix(key, 0).background
    if background is None:
        return rows, np.zeros(len(rows))
    return rows, elementary.square_modulus(background.astype(np.complex128))
