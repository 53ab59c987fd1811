"""The command ``opusim selftest``: whether this machine gives the same light as any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .app import ForceOption, _folder_of, command, err, out
from .tables import _table


@command("selftest", order=14)
def selftest(
    write: Annotated[Path | None, typer.Option("--write", help="Write the hashes to this file, as JSON.")] = None,
    against: Annotated[
        Path | None, typer.Option("--compare", help="Compare with the hashes of a file that --write made elsewhere.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the new process without vector instructions.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    force: ForceOption = False,
) -> None:
    """Compute a fixed table of cases and compare the bits: threads, parts, a plain processor, another machine.

    It takes about a minute; the first time kernels are compiled, which takes some more. The exit status is 1 if
    anything differs.
    """
    from opusim.drivers import selftest as library

    stored = None if against is None else library.read_table(against)
    if write is not None:
        _folder_of(write)
        if write.exists() and not force:
            raise FileExistsError(f"{write} is there already: --force replaces it")
    with err.status("Starting …") as status:
        found, differences = library.check(lambda text: status.update(f"{text} …"), plain=not quick)
    if stored is not None:
        differences += library.compare(found, stored["sha256"])
    made = library.table_of(found)
    if write is not None:
        write.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    if as_json:
        out.print(json.dumps({**made, "differences": differences}, indent=1), soft_wrap=True, markup=False)
    else:
        table = _table("Hashes of the results", "case", "way", "call", "sha256")
        for label, digest in found.items():
            table.add_row(*label.split(" | "), digest[:16])
        out.print(table)
        for sentence in differences:
            out.print(sentence, soft_wrap=True, markup=False)
        out.print(_told(len(found), len(differences), quick, against), soft_wrap=True, markup=False)
    if differences:
        raise typer.Exit(1)


def _told(n: int, n_different: int, quick: bool, against: Path | None) -> str:
    with_what = ["three threads and vectors in parts"]
    if not quick:
        with_what.append("a process without the processor's vector instructions")
    if against is not None:
        with_what.append(str(against))
    others = " and ".join([", ".join(with_what[:-1]), with_what[-1]] if with_what[1:] else with_what)
    if n_different:
        return f"{n_different} of {n} results differ from those of {others}, or between the two ways."
    return f"All {n} results are the same bits as those of {others}."
