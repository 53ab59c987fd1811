"""The command ``opusim merge``: one result of the files that the tasks of a job array have written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import ForceOption, _folder_of, _progress, command, err, out


@command("merge", order=26)
def merge(
    target: Annotated[Path, typer.Argument(help="The file to write: .npy of a transform, or that of a sweep.")],
    parts: Annotated[
        list[Path], typer.Argument(help="Files of all parts, in any order, as y.part*of4.npy.", metavar="PARTS...")
    ],
    force: ForceOption = False,
) -> None:
    """Make of the parts of a transform, or of a sweep, the file of one run. The parts stay."""
    _folder_of(target)
    for part in parts:
        if target.exists() and part.exists() and target.samefile(part):
            raise ValueError(f"{target} is one of the parts: the merged file needs a name of its own.")
    if target.exists() and not force:
        raise FileExistsError(f"{target} is there already; --force replaces it.")
    if parts[0].suffix == ".npy":
        if target.suffix != ".npy":
            raise ValueError(f"The output is {str(target)!r}, but of parts of a transform its name must end in .npy.")
        with err.status("Loading …"):
            from opusim.base.npy_parts import merge_npy, read_note

            n = read_note(parts[0])[0].n_rows
        with _progress("Checking the parts", "Merging", n) as advance:
            shape, dtype = merge_npy(target, parts, advance)
        told = f"{dtype} {' x '.join(map(str, shape))}"
    else:
        if target.suffix == ".npy":
            raise ValueError(
                f"The output is {str(target)!r}, but of parts of a sweep it is an HDF5 file: its name must not end in "
                ".npy."
            )
        with err.status("Merging …"):
            from opusim.sweep import merge_sweeps

            result = merge_sweeps(target, parts)
        failed = f", {result.n_failed} of them failed" if result.n_failed else ""
        told = f"{len(result.outcomes)} points{failed}"
    out.print(f"{target}: {told}, of {len(parts)} part{'s' * (len(parts) > 1)}.", markup=False, soft_wrap=True)
