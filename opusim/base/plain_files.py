"""What is read must be a plain file: a pipe or a device may keep a reader waiting for ever, or never end.

And texts of settings, TOML and JSON, whose nesting and length have a bound.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["check_plain", "parse_json", "parse_toml", "read_text", "refuse_other_target"]

# Tables in tables: those of devices go three deep. What is deeper overflows the stack of whoever prints or walks it.
_DEEPEST = 100
# Settings have some kilobytes, tasks in Python some more.
_LONGEST_BYTES = 16 << 20
_OTHERS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _other(mode: int) -> str:
    """Return what something is that is no plain file; "" for a plain file."""
    if stat.S_ISREG(mode):
        return ""
    return next((words for is_it, words in _OTHERS if is_it(mode)), "no plain file")


def check_plain(path: str | os.PathLike[str], *, noun: str = "file", wanted: str = "a plain file") -> None:
    """Raise an error unless there is a plain file, or a link to one. Nothing is opened.

    Parameters
    ----------
    path : str or path-like
        The file.
    noun, wanted : str
        What it is, for the sentences "There is no {noun} ..." and "... is a pipe, but it must be {wanted}."

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it is a pipe, a socket or a device, or no path can be so.
    OSError
        If the system does not say.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"There is no {noun} {path}.") from error
    except ValueError as error:  # a zero character, or half of one
        raise ValueError(f"There is no {noun} {str(path)!r}: no file can have that name ({error}).") from error
    other = _other(mode)
    if other == "a folder":
        raise IsADirectoryError(f"{path} is a folder, but it must be {wanted}.")
    if other:
        raise ValueError(f"{path} is {other}, but it must be {wanted}.")


def refuse_other_target(path: str | os.PathLike[str]) -> None:
    """Raise an error if what is to be replaced by a file is there, and is none: a device would be gone then.

    Parameters
    ----------
    path : str or path-like
        What is to be written.

    Raises
    ------
    IsADirectoryError, ValueError
        If it is a folder; a pipe, a socket or a device.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # nothing there, or whoever writes learns why not
    other = _other(mode)
    if other == "a folder":
        raise IsADirectoryError(f"{path} is a folder, but it must be the name of a file.")
    if other:
        raise ValueError(f"{path} is {other}, and would be replaced: it must be the name of a file.")


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a plain file in UTF-8.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    str
        All of it.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is no plain file, is longer than any settings, or is not UTF-8.
    """
    check_plain(path)
    with open(path, "rb") as file:
        # Read, not asked for: files of the system that say 0 may go on and on.
        content = file.read(_LONGEST_BYTES + 1)
    if len(content) > _LONGEST_BYTES:
        raise ValueError(f"{Path(path)} is longer than {_LONGEST_BYTES >> 20} MiB")
    return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML text; a ValueError says why it is none, also if it is nested too deeply."""
    return _parsed(tomllib.loads, text)


def parse_json(text: str) -> Any:
    """Return what a JSON text holds; a ValueError says why it is none, also if it is nested too deeply."""
    return _parsed(json.loads, text)


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    deep = f"it is nested more than {_DEEPEST} levels deep"
    try:
        result = parse(text)
    except RecursionError:
        # Of a stack of thousands of calls nobody learns anything.
        raise ValueError(deep) from None
    if text.count("[") + text.count("{") + text.count(".") <= _DEEPEST:
        return result  # with so few brackets, and dots of dotted keys, nothing is deep
    level: list[Any] = [result]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return result
    raise ValueError(deep)


def _inside(value: Any) -> Iterable[Any]:
    """Return the tables and lists in a table or list; of others nothing."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [inner for inner in values if isinstance(inner, (dict, list))]
