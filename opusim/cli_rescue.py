"""The command ``opusim rescue``: files of an older opusim made readable, with the check sum that they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli import command, out


@command("rescue")
def rescue(
    sources: Annotated[list[Path], typer.Argument(help="Of opusim sweep, train or calibrate.", metavar="FILE...")],
    to: Annotated[
        Path | None,
        typer.Option("--out", help="Where the rescued file goes, of one; in place of the old one by default."),
    ] = None,
) -> None:
    """Make files readable that opusim 0.1.0 wrote beside h5py 3.10 to 3.15, and give older files a check sum.

    Nothing in such a file is lost; a file that is damaged in another way is left as it is.
    """
    from .files import rescue_hdf5

    if to is not None and len(sources) > 1:
        raise ValueError(f"--out is {str(to)!r}, but {len(sources)} files are named: it may be given with one.")
    for source in sources:
        out.print(rescue_hdf5(source, to), markup=False, soft_wrap=True)
