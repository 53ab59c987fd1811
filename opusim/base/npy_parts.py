"""Rows of one large array in several .npy files, each with a note of what it is a part of, and a check sum.

A part is a .npy file that numpy reads. Behind the array stand the note, as JSON text, and the trailer of 40 bytes that
HDF5 files of ours have (`opusim.base.files`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .files import TRAILER_BYTES, NpyWriter, append_trailer, check_file, check_trailer, replacing
from .parts import Part, check_parts
from .plain_files import parse_json

__all__ = ["RowsOf", "append_note", "merge_npy", "read_note"]

_STEP_BYTES = 16 << 20
_FORMAT = "opusim part of an array"


@dataclass(frozen=True)
class RowsOf:
    """What a .npy file is a part of.

    Parameters
    ----------
    part : Part
        Which part it is.
    n_rows : int
        Rows of the whole.
    made : mapping
        What the whole is made from, by name: numbers and texts that must be the same in each part.
    """

    part: Part
    n_rows: int
    made: Mapping[str, Any]


def append_note(path: str | os.PathLike[str], note: RowsOf) -> None:
    """Put a note and a check sum behind a .npy file that is whole and closed, under its temporary name.

    Parameters
    ----------
    path : str or path-like
        The file.
    note : RowsOf
        What it is a part of.
    """
    content = {"format": _FORMAT, "part": str(note.part), "n_rows": note.n_rows, "made": dict(note.made)}
    with open(path, "ab") as raw:
        raw.write(json.dumps(content, sort_keys=True).encode())
    append_trailer(path)


def read_note(path: str | os.PathLike[str]) -> tuple[RowsOf, np.dtype[Any], tuple[int, ...], int]:
    """Read what a file is a part of, after a look at all of it.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    note : RowsOf
        What it is a part of.
    dtype : numpy.dtype
        Of the array.
    shape : tuple of int
        Of the array.
    offset : int
        Where its values begin in the file.

    Raises
    ------
    FileNotFoundError, ValueError
        If it is not there, damaged, or no such part.
    """
    path = Path(path)
    none = f"{path} is no part of a transform: opusim transform --part writes such files."
    check_file(
        path, np.lib.format.MAGIC_PREFIX, noun="part", wanted="a part of a transform (.npy)", other=none,
    )  # fmt: skip
    whole = check_trailer(path)
    if whole is None:
        if not _ends_with_its_array(path):
            # Something stands behind the array, and its end is not that of a part; or not even the array is whole.
            raise ValueError(f"{path} is damaged or cut short: run this part again.")
        raise ValueError(f"{none[:-1]}; or it was cut short.")
    damaged = f"{path} is damaged: it is not as it was written. Run this part again."
    if not whole:
        raise ValueError(damaged)
    try:
        with path.open("rb") as raw:
            version = np.lib.format.read_magic(raw)
            if version != (1, 0):
                raise ValueError("another version")
            shape, _, dtype = np.lib.format.read_array_header_1_0(raw)
            offset = raw.tell()
            end = raw.seek(offset + dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
            content = parse_json(raw.read(path.stat().st_size - end - TRAILER_BYTES).decode())
        if content["format"] != _FORMAT:
            raise ValueError("another format")
        note = RowsOf(Part.parse(content["part"], {}), int(content["n_rows"]), dict(content["made"]))
        rows = note.part.rows(note.n_rows)
        if shape[0] != rows.stop - rows.start:
            raise ValueError("another number of rows")
    except (ValueError, KeyError, TypeError, EOFError) as error:
        # With a check sum that fits: another program made it, or a later opusim.
        raise ValueError(none) from error
    return note, dtype, shape, offset


def _ends_with_its_array(path: Path) -> bool:
    """Whether a .npy file is as long as its header says, as numpy writes it."""
    try:
        with path.open("rb") as raw:
            if np.lib.format.read_magic(raw) != (1, 0):
                return True  # none of ours
            shape, _, dtype = np.lib.format.read_array_header_1_0(raw)
            return path.stat().st_size == raw.tell() + dtype.itemsize * math.prod(shape)
    except ValueError:
        return False


def merge_npy(
    path: str | os.PathLike[str],
    parts: Sequence[str | os.PathLike[str]],
    advance: Callable[[int], object] | None = None,
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Put the parts of an array together into one .npy file.

    Parameters
    ----------
    path : str or path-like
        The file to write, in place of an older one of that name.
    parts : sequence of str or path-like
        All of the parts, in any order.
    advance : callable, optional
        Told the number of rows that have been written.

    Returns
    -------
    shape : tuple of int
        Of the whole.
    dtype : numpy.dtype
        Its type.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is not there, damaged, no part, or one of another whole; if parts are missing or there twice. The
        sentence says which.
    OSError
        If the file cannot be written.
    """
    read = [(Path(part), *read_note(part)) for part in parts]
    if not read:
        raise ValueError("parts is empty, but it must name the files of all parts.")
    first_path, first, dtype, shape, _ = read[0]
    for other_path, other, other_dtype, other_shape, _ in read[1:]:
        ours, theirs = _facts(first, dtype, shape), _facts(other, other_dtype, other_shape)
        differ = [
            f"{name} is {ours.get(name)!r} in the one and {theirs.get(name)!r} in the other"
            for name in {**ours, **theirs}
            if ours.get(name) != theirs.get(name)
        ]
        if differ:
            raise ValueError(f"{first_path} and {other_path} are parts of two transforms: {'; '.join(differ)}.")
    check_parts([(note.part, file) for file, note, *_ in read], "a transform")
    whole = (first.n_rows, *shape[1:])
    with replacing(path) as temporary, NpyWriter(temporary, whole, dtype, named=path) as writer:
        for file, _, _, of, offset in sorted(read, key=lambda item: item[1].part):
            each = dtype.itemsize * int(np.prod(of[1:], dtype=np.int64))
            step = max(1, _STEP_BYTES // max(1, each))
            with file.open("rb") as raw:
                raw.seek(offset)
                for start in range(0, of[0], step):
                    n = min(step, of[0] - start)
                    rows = np.frombuffer(raw.read(n * each), dtype=dtype).reshape(n, *of[1:])
                    writer.append(rows)
                    if advance is not None:
                        advance(n)
    return whole, dtype


def _facts(note: RowsOf, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
    return {**note.made, "rows": note.n_rows, "columns": list(shape[1:]), "type": str(dtype)}
