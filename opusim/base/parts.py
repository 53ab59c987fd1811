"""Parts of one piece of work that several processes share, as a job array of a cluster does.

>>> from opusim.base.parts import Part
>>> Part.parse("2/4").rows(10)
slice(2, 5, None)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from . import validation

__all__ = ["Part", "check_parts"]

_SLURM = "SLURM_ARRAY_TASK_"


@dataclass(frozen=True, order=True)
class Part:
    """One of several parts.

    Parameters
    ----------
    number : int
        Which one, from 1 on.
    count : int
        How many there are.

    Raises
    ------
    TypeError, ValueError
        If there is no such part.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        """Check the numbers."""
        validation.integer("count", self.count, low=1)
        validation.integer("number", self.number, low=1, high=self.count)

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str | Part, environment: Mapping[str, str] | None = None) -> Self:
        """Return the part that a text names.

        Parameters
        ----------
        text : str or Part
            Number and count, as "2/4": parts count from 1. Or "slurm": the place of this task in its SLURM job array,
            which must be one of all parts, as ``--array=0-3`` or ``--array=1-4``.
        environment : mapping, optional
            Where the variables of SLURM are; that of the process by default.

        Returns
        -------
        Part
            The part.

        Raises
        ------
        TypeError, ValueError
            If it names none, or is what the variables of SLURM give where that is another part than this task's.
        """
        if isinstance(text, Part):
            return cls(text.number, text.count)
        if not isinstance(text, str):
            raise TypeError(f"part is {text!r} ({type(text).__name__}), but it must be a text as '2/4'.")
        slurm = _slurm(os.environ if environment is None else environment)
        if text.strip().lower() == "slurm":
            return cls(*_place_in_array(text, slurm))
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
        if match is None:
            raise ValueError(
                f"part is {text!r}, but it must be a number and a count, as 2/4: the second part of four; or slurm, in "
                "a task of a SLURM job array."
            )
        number, count = int(match[1]), int(match[2])
        if slurm and (slurm.get("ID"), slurm.get("COUNT")) == (number, count) and not _is_from_one(slurm):
            # From 0 on it would name the part before; of some tasks that are sent again it would count these alone.
            raise ValueError(
                f"part is {text!r}, as SLURM_ARRAY_TASK_ID/SLURM_ARRAY_TASK_COUNT of this task is, but its array is "
                f"{_written(slurm)}: {_INSTEAD}"
            )
        if not 1 <= number <= count:
            zero = "" if number else " In a SLURM array that begins at 0 use --part slurm."
            raise ValueError(
                f"part is {text!r}, but parts count from 1: it must be from 1/{max(count, 1)} to "
                f"{max(count, 1)}/{max(count, 1)}.{zero}"
            )
        return cls(number, count)

    def rows(self, n: int) -> slice:
        """Return which of `n` rows are this part's: ranges of rows, of sizes that differ by one at most.

        Parameters
        ----------
        n : int
            Rows in all.

        Returns
        -------
        slice
            Empty for some parts, if there are more parts than rows.
        """
        return slice((self.number - 1) * n // self.count, self.number * n // self.count)

    def beside(self, path: str | os.PathLike[str]) -> Path:
        """Return the name of this part's file: "y.part2of4.npy" of "y.npy".

        Parameters
        ----------
        path : str or path-like
            The file of the whole.

        Returns
        -------
        pathlib.Path
            In the same folder.
        """
        target = Path(path)
        return target.with_name(f"{target.stem}.part{self.number}of{self.count}{target.suffix}")


def _slurm(environment: Mapping[str, str]) -> dict[str, int]:
    given = {name: environment.get(_SLURM + name, "") for name in ("ID", "COUNT", "MIN", "MAX", "STEP")}
    return {name: int(text) for name, text in given.items() if re.fullmatch(r"[0-9]{1,9}", text)}


def _is_from_one(slurm: Mapping[str, int]) -> bool:
    """Whether numbers of an array are those of parts: 1 to K, for a K above 1."""
    count = slurm["COUNT"]
    return count > 1 and slurm.get("MIN", 1) == 1 and slurm.get("MAX", count) == count


def _place_in_array(text: str, slurm: Mapping[str, int]) -> tuple[int, int]:
    """Return the place of a task in its array, from 1 on, and the length of the array."""
    absent = [_SLURM + name for name in ("ID", "COUNT", "MIN", "MAX") if name not in slurm]
    if absent:
        raise ValueError(
            f"part is {text!r}, but this is no task of a SLURM job array: {', '.join(absent)} "
            f"{'is' if len(absent) == 1 else 'are'} not set. Write number and count out, as in --part 2/4."
        )
    number, count, first, last = (slurm[name] for name in ("ID", "COUNT", "MIN", "MAX"))
    # Not an array of one either: it is far more often one task that is sent again, of which nothing tells how many
    # parts there are.
    if first not in (0, 1) or last - first + 1 != count or not first <= number <= last or count == 1:
        raise ValueError(f"part is {text!r}, but the array of this task is {_written(slurm)}: {_INSTEAD}")
    return number - first + 1, count


_INSTEAD = (
    "which part is meant cannot be told. --part slurm is for an array of all parts, as --array=0-3 or --array=1-4. To "
    "send one part again, write number and count out, as in --part 3/4, or in a script "
    '--part "$((SLURM_ARRAY_TASK_ID + 1))/4" for an array that began at 0.'
)


def _written(slurm: Mapping[str, int]) -> str:
    """Return what is known of an array, in words."""
    ends = f" from {slurm['MIN']} to {slurm['MAX']}" if {"MIN", "MAX"} <= {*slurm} else ""
    return f"one of {slurm['COUNT']} task{'s' * (slurm['COUNT'] != 1)}{ends}"


def check_parts(parts: Iterable[tuple[Part | None, Path]], whole: str) -> None:
    """Raise a ValueError unless files are the parts of one whole: all of them, each once.

    Parameters
    ----------
    parts : iterable of (Part or None, Path)
        Which part a file is, and its name.
    whole : str
        What they are parts of, for the sentences: "a sweep".
    """
    found: dict[int, Path] = {}
    counts: dict[int, Path] = {}
    for part, path in parts:
        if part is None:
            raise ValueError(f"{path} is no part of {whole}: it was not written with --part.")
        counts.setdefault(part.count, path)
        if len(counts) > 1:
            (one, a), (other, b) = counts.items()
            raise ValueError(
                f"{a} is a part of {one} and {b} one of {other}, but they must be parts of the same whole."
            )
        if part.number in found:
            raise ValueError(f"{found[part.number]} and {path} are both part {part}: each part may be there once.")
        found[part.number] = path
    (count,) = counts
    missing = [number for number in range(1, count + 1) if number not in found]
    if missing:
        shown = ", ".join(map(str, missing[:20])) + (f" and {len(missing) - 20} more" if len(missing) > 20 else "")
        raise ValueError(
            f"Part{'s' * (len(missing) > 1)} {shown} of {count} {'are' if len(missing) > 1 else 'is'} missing."
        )
