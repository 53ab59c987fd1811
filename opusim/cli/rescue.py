"""The command ``opusim rescue``: files of an older opusim made readable, with the check sum that they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import EXIT_ERROR, _say, _sentence, command, out


@command("rescue", order=23)
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
    from opusim.base.files import rescue_hdf5

    if to is not None and len(sources) > 1:
        raise ValueError(f"--out is {str(to)!r}, but {len(sources)} files are named: it may be given with one.")
    refused = 0
    for source in sources:
        try:
            out.print(rescue_hdf5(source, to, verify=_read), markup=False, soft_wrap=True)
        except (OSError, ValueError) as error:
            # The others are rescued all the same.
            refused += 1
            _say(f"opusim rescue: {_sentence(error)}")
    if refused:
        raise typer.Exit(EXIT_ERROR)


def _read(path: Path) -> None:
    """Read all of a file as what it says that it is; its own check sums and digests are compared."""
    from opusim.base.files import format_of
    from opusim.dfa.checkpoint import FORMAT as RUN
    from opusim.dfa.checkpoint import read_run
    from opusim.sweep.file import FORMAT as SWEEP
    from opusim.sweep.file import read_sweep

    form = format_of(path, wanted="a file", other="not HDF5", damaged="damaged")
    if form == SWEEP:
        read_sweep(path)
    elif form == RUN:
        read_run(path)
    else:
        from opusim.calibration.files import check_arrays

        check_arrays(path)
