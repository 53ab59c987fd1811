"""A small file of each kind that opusim writes, all that reads it, and what becomes of one that is damaged.

As a program, in a process of its own that may be ended: ``python four_kinds.py KIND FOLDER FLIPS CUTS``.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from opusim import dfa
from opusim.base.files import append_trailer, copy_hdf5, format_of
from opusim.calibration.files import read_info, read_record, record_names, write_record
from opusim.calibration.procedures.base import PROCEDURES
from opusim.calibration.procedures.exposure import ExposureRecord
from opusim.calibration.procedures.matrix.measure import read_matrix, read_tm
from opusim.calibration.report import read_report
from opusim.device.medium import MeasuredMedium
from opusim.dfa.checkpoint import write_run
from opusim.sweep import read_sweep
from opusim.sweep.file import write_sweep

RELEASE = Path(__file__).resolve().parents[1] / "releases" / "0.1.0"
KINDS = ("sweep", "run", "cal", "tm")
TRAILER = 40
_RECORDS = {record.__name__: record for name in PROCEDURES.own() for record in PROCEDURES[name].records}


def make(kind: str, folder: Path) -> Path:
    """Write a file as this opusim does, with what one of 0.1.0 holds."""
    path = folder / f"{kind}.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of 0.1.0 have no check sum
        if kind == "sweep":
            write_sweep(path, read_sweep(RELEASE / "sweep.h5"))
        elif kind == "run":
            write_run(path, dfa.read_run(RELEASE / "run.h5"))
        elif kind == "cal":
            old = RELEASE / "cal.h5"
            for name in record_names(old):
                write_record(path, name, read_record(old, name, _RECORDS[read_info(old, name).kind]))
        else:
            with h5py.File(RELEASE / "cal.tm.h5", "r") as old, h5py.File(path, "w", libver="v108") as new:
                new.attrs["format_version"] = 2
                copy_hdf5(old, new)
            append_trailer(path)
    return path


def readers(kind: str) -> dict[str, Callable[[Path], Any]]:
    """Return all that reads a file of a kind."""
    every = {"format": _format, "report": _report_command}
    if kind == "sweep":
        return {"read_sweep": read_sweep, **every}
    if kind == "run":
        return {"read_run": dfa.read_run, **every}
    every["read_report"] = lambda path: read_report(path).records
    if kind == "cal":
        return {
            "record_names": record_names,
            "read_info": lambda path: [read_info(path, name) for name in record_names(path)],
            "read_record": lambda path: read_record(path, "exposure", ExposureRecord),
            "write_record": lambda path: write_record(path, "more", ExposureRecord(1e-3, *[1.0] * 6, 1, 0.0)),
            **every,
        }
    return {
        "read_tm": read_tm,
        "read_matrix": read_matrix,
        "rows": lambda path: read_matrix(path, [3, 1, 5]),
        "medium": lambda path: MeasuredMedium(path=str(path)).entries(range(16), range(9), seed=0),
        **every,
    }


def _format(path: Path) -> str | None:
    return format_of(path, wanted="a file", other=f"{path} is not an HDF5 file.", damaged=f"{path} is damaged.")


def _report_command(path: Path) -> None:
    """Run ``opusim report``; its sentence becomes a ValueError again."""
    from typer.testing import CliRunner

    from opusim.cli import app

    result = CliRunner().invoke(app, ["report", str(path)])
    if result.exit_code == 2 and isinstance(result.exception, SystemExit):
        raise ValueError(result.stderr)
    if result.exception is not None:
        raise result.exception


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """Return "refused" for a sentence that names the file; else what happened."""
    try:
        read(path)
    except (ValueError, MemoryError) as error:
        text = str(error)
        fits = path.name in text and text.rstrip().endswith((".", ")")) and "Traceback" not in text
        return "refused" if fits else f"no sentence: {type(error).__name__}: {text[:200]}"
    except Exception as error:  # noqa: BLE001 - counted
        return f"raw: {type(error).__name__}: {str(error)[:200]}"
    return "silent"


class _UnaskedError(Exception):
    """HDF5 was asked to open a damaged file."""


def attack(kind: str, folder: Path, flips: int, cuts: int) -> dict[str, dict[str, int]]:
    """Damage a file again and again; HDF5 must never see it. Return how often what happened, by reader."""
    path = make(kind, folder)
    whole, all_readers, rng = path.read_bytes(), readers(kind), np.random.default_rng(15)
    for read in all_readers.values():
        read(path)
    whole = path.read_bytes()  # one of them has written to it
    damaged = []
    for _ in range(flips):
        content = bytearray(whole)
        content[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
        damaged.append(content)
    # At the end of HDF5's own part a file is one without a check sum, which is told.
    lengths = {int(n) for n in rng.integers(0, len(whole), cuts)} - {len(whole) - TRAILER}
    damaged += [whole[:n] for n in sorted(lengths | {0, 7, 8, len(whole) - 1, len(whole) - TRAILER + 1})]

    asked = h5py.File

    def unasked(name: Any, mode: str = "r", **settings: Any) -> Any:
        if mode != "w":  # a new one, before the old one is looked at
            raise _UnaskedError
        return asked(name, mode, **settings)

    h5py.File = unasked  # type: ignore[assignment,misc]
    counts: dict[str, Counter[str]] = {name: Counter() for name in all_readers}
    try:
        first, *others = all_readers
        for i, content in enumerate(damaged):
            path.write_bytes(content)
            # All lead through one check: the others take turns.
            for name in (first, others[i % len(others)]):
                counts[name][outcome(all_readers[name], path)] += 1
            assert path.read_bytes() == bytes(content), "a reader has changed the file"
    finally:
        h5py.File = asked  # type: ignore[misc]
    return {name: dict(count) for name, count in counts.items()}


def copies(kind: str, folder: Path) -> Path:
    """Write the file of a kind once for a folder, and return a copy to be changed."""
    stem = folder / "as_it_was"
    if not stem.is_dir():
        stem.mkdir()
        make(kind, stem)
    return Path(shutil.copy(stem / f"{kind}.h5", folder / f"{kind}.h5"))


if __name__ == "__main__":
    asked_kind, to, n_flips, n_cuts = sys.argv[1:]
    print(json.dumps(attack(asked_kind, Path(to), int(n_flips), int(n_cuts))))
