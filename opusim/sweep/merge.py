"""One sweep of the files of its parts, as the tasks of a job array have written them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from opusim.base.parts import check_parts

from .file import read_sweep, write_sweep, writing
from .result import SweepResult, differences

__all__ = ["merge_sweeps"]


def merge_sweeps(path: str | os.PathLike[str], parts: Sequence[str | os.PathLike[str]]) -> SweepResult:
    """Put the parts of a sweep together, and write it.

    Parameters
    ----------
    path : str or path-like
        The file to write, in place of an older one of that name.
    parts : sequence of str or path-like
        Files that `Sweep.run` has written with `part`, in any order; all of one sweep.

    Returns
    -------
    SweepResult
        That of one run: the same points, bit for bit.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is not there or damaged, no part, or of another sweep, another opusim or another division; if parts
        are missing or there twice, or one is not complete; if the task was edited between parts. The sentence says
        which.
    OSError
        If the file cannot be written.
    RuntimeError
        If a sweep is being run into it.
    """
    if not parts:
        raise ValueError("parts is empty, but it must name the files of all parts.")
    read = [(Path(part), read_sweep(part)) for part in parts]
    # Those of an earlier opusim do not tell what they were run with, and those without points were run with nothing.
    read.sort(key=lambda item: not item[1].texts)
    first_path, first = read[0]
    for other_path, other in read[1:]:
        found = differences(first.header, other.header)
        if not found and (other.header.opusim_version != first.header.opusim_version):
            found = [
                f"opusim is {first.header.opusim_version} in the one and {other.header.opusim_version} in the other"
            ]
        if not found and (other.settings, other.seeds) != (first.settings, first.seeds):
            found = ["values or seeds are not the same"]
        # Unlike a sweep that goes on after its task was mended, nobody has seen here that it was.
        if not found and first.texts and other.texts and {*first.texts} != {*other.texts}:
            raise ValueError(
                f"{first_path} and {other_path} were run with different texts of the task "
                f"{first.header.task.get('name')!r}: it was edited meanwhile. Run the parts of the older text "
                "again, into new files."
            )
        if found:
            raise ValueError(f"{first_path} and {other_path} are parts of two sweeps: {'; '.join(found)}.")
    check_parts([(result.part, file) for file, result in read], "a sweep")
    whole = SweepResult(first.header, first.settings, created=min(result.created for _, result in read))
    whole.texts = first.texts
    for file, result in read:
        assert result.part is not None
        left = [place for place in result.places_of(result.part) if place not in result.outcomes]
        if left:
            n = len(result.places_of(result.part))
            raise ValueError(f"{file}, part {result.part}, lacks {len(left)} of its {n} points: run it again to go on.")
        whole.outcomes.update(result.outcomes)
    with writing(path):
        write_sweep(path, whole)
    return whole
