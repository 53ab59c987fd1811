"""The command ``opusim selftest``: whether this machine gives the same light as any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import ForceOption, _folder_of, command, err, out
from .tables import _table


@command("selftest", order=14)
def selftest(
    write: Annotated[Path | None, typer.Option("--write", help="Write the hashes to this file, as JSON.")] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--compare",
            help="Compare with a file that --write made elsewhere, in place of the published hashes of the release.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the new process without vector instructions.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    force: ForceOption = False,
) -> None:
    """Compute a fixed table of cases and compare the bits: threads, parts, a plain processor, what the release gives.

    The hashes of the release come with it, and stand in the documentation. On another kind of processor, or with
    other libraries, they need not hold: they are not compared then, and a sentence says so. It takes about a minute and
    a half; the first time kernels are compiled, which takes up to two and a half minutes more. The exit status is 1 if
    anything differs.
    """
    from opusim.drivers import selftest as library

    stored, reason = (library.read_table(against), "") if against is not None else library.published()
    if write is not None:
        _folder_of(write)
        if write.exists() and not force:
            raise FileExistsError(f"{write} is there already: --force replaces it")
    with err.status("Starting …") as status:
        found, differences = library.check(lambda text: status.update(f"{text} …"), plain=not quick)
    there = [] if stored is None else library.compare(found, stored["sha256"])
    made = library.table_of(found)
    if write is not None:
        write.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    if as_json:
        compared = None if stored is None else {name: stored.get(name) for name in ("opusim", "made_with")}
        told = {**made, "compared_with": compared, "not_compared": reason, "differences": differences + there}
        out.print(json.dumps(told, indent=1), soft_wrap=True, markup=False)
    else:
        table = _table("Hashes of the results", "case", "way", "call", "sha256")
        for label, digest in found.items():
            table.add_row(*label.split(" | "), digest[:16])
        out.print(table)
        others = "three threads, vectors in parts" if quick else "three threads, vectors in parts, a plain processor"
        sentences = [*differences, _told(len(differences), f"Here ({others}, both ways)")]
        if stored is None:
            sentences.append(reason)
        else:
            other = f"the published hashes of opusim {stored.get('opusim')}" if against is None else against
            sentences += [*there, _told(len(there), f"Against {other}"), *_otherwise(made, stored)]
        if write is not None:
            sentences.append(f"File: {write}")
        for sentence in sentences:
            out.print(sentence, soft_wrap=True, markup=False)
    if differences or there:
        raise typer.Exit(1)


def _told(n_different: int, where: str) -> str:
    if n_different:
        return f"{where}: {n_different} {'result differs' if n_different == 1 else 'results differ'}."
    return f"{where}: all results are the same bits."


def _otherwise(here: dict[str, Any], there: dict[str, Any]) -> list[str]:
    """Return in what the other table was made otherwise, a sentence or none."""
    one, other = (
        ({"opusim": table.get("opusim"), **made} if isinstance(made := table.get("made_with"), dict) else {})
        for table in (here, there)
    )
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    # A list of dozens of features, which follows from the processor and numpy's version.
    told = [name for name in names if name != "numpy_uses"] or names
    facts = [f"{name} {other.get(name)} (here {one.get(name)})" for name in told]
    return [f"It was made with {', '.join(facts)}."] if facts else []
