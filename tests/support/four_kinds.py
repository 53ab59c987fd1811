"""A small file of each kind that opusim writes, all that reads it, and what becomes of one that is damaged.

As a program, in a process of its own that may be ended: ``python four_kinds.py attack KIND FOLDER FLIPS CUTS``, or
``python four_kinds.py change KIND FOLDER``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
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
            "everything": _everything,
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


def _everything(path: Path) -> Any:
    """Read what a calibration file holds, as a report does."""
    info = [read_info(path, name) for name in record_names(path)]
    return info, [read_record(path, one.name, _RECORDS.get(one.kind, ExposureRecord)) for one in info]


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
    return outcome_of(read, path)[0]


def outcome_of(read: Callable[[Path], Any], path: Path) -> tuple[str, Any]:
    """Return the same, and the result if there is one."""
    result = None
    try:
        result = read(path)
    except (ValueError, MemoryError) as error:
        text = str(error)
        fits = path.name in text and text.rstrip().endswith((".", ")")) and "Traceback" not in text
        return "refused" if fits else f"no sentence: {type(error).__name__}: {text[:200]}", None
    except Exception as error:  # noqa: BLE001 - counted
        return f"raw: {type(error).__name__}: {str(error)[:200]}", None
    return "silent", result


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


# ---------------------------------------------------------------- other programs, which give a right check sum


def plain(value: Any) -> Any:
    """Return a result in a form that can be compared, to the bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if dataclasses.is_dataclass(value):
        return type(value).__name__, [plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, dict):
        return [(str(key), plain(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return repr(value)


def changes(path: Path) -> dict[str, Callable[[h5py.File], None]]:
    """Return what another program may make of each attribute, data set and group of a file, by its name."""
    result: dict[str, Callable[[h5py.File], None]] = {}

    def add(words: str, function: Callable[[h5py.File], None]) -> None:
        result[words] = function

    def attributes(place: str, item: h5py.Group | h5py.Dataset) -> None:
        for key, value in item.attrs.items():
            others = {"gone": None, "nothing": h5py.Empty("f"), "a table": np.zeros((2, 3))}
            others["another kind"] = 7.5 if isinstance(value, str) else "abc"
            for words, other in others.items():
                add(f"{place}@{key}: {words}", partial(_set_attribute, place, key, other))

    def visit(place: str, item: h5py.Group | h5py.Dataset) -> None:
        attributes(place, item)
        add(f"{place}: gone", partial(_put, place, None))
        add(f"{place}: a link to nothing", partial(_put, place, h5py.SoftLink("/nowhere")))
        add(f"{place}: a link to another file", partial(_put, place, h5py.ExternalLink("other.h5", "/x")))
        if isinstance(item, h5py.Group):
            add(f"{place}: a data set", partial(_put, place, np.zeros(3)))
            return
        add(f"{place}: a group", partial(_put, place, "group"))
        add(f"{place}: a million million elements", partial(_put, place, "huge"))
        add(f"{place}: never written", partial(_put, place, "never written"))
        add(f"{place}: in another file", partial(_put, place, "virtual"))
        add(f"{place}: nothing", partial(_put, place, h5py.Empty("f")))
        value = item[()]
        if isinstance(value, np.ndarray) and value.ndim:
            add(f"{place}: longer", partial(_put, place, np.concatenate([value, value[:1]])))
            add(f"{place}: of one more axis", partial(_put, place, value[None]))
        add(f"{place}: another kind", partial(_put, place, np.zeros(np.shape(value)) if item.dtype == "O" else "abc"))
        if item.dtype.kind in "fc" and value.size:
            bad = np.array(value)
            bad.reshape(-1)[-1] = np.nan
            add(f"{place}: NaN", partial(_put, place, bad))

    with h5py.File(path, "r") as file:
        attributes("/", file)
        file.visititems(visit)
    return result


def _set_attribute(place: str, key: str, value: Any, file: h5py.File) -> None:
    del file[place].attrs[key]
    if value is not None:
        file[place].attrs[key] = value


def _put(place: str, value: Any, file: h5py.File) -> None:
    """Put something in the place of a data set or group; attributes of a data set stay."""
    attributes, old = dict(file[place].attrs), file[place]
    shape, dtype = getattr(old, "shape", ()), getattr(old, "dtype", None)
    del file[place]
    if value is None:
        return
    if isinstance(value, str) and value == "group":
        file.create_group(place)
    elif isinstance(value, str) and value == "huge":
        file.create_dataset(place, (10**12, *shape[1:]), dtype, chunks=(1000, *shape[1:]))
    elif isinstance(value, str) and value == "never written":
        file.create_dataset(place, shape, dtype)
    elif isinstance(value, str) and value == "virtual":
        layout = h5py.VirtualLayout(shape or (1,), "f8")
        layout[...] = h5py.VirtualSource("other.h5", "x", shape=shape or (1,))
        file.create_virtual_dataset(place, layout)
    else:
        file[place] = value
    if not isinstance(value, (h5py.SoftLink, h5py.ExternalLink)):
        file[place].attrs.update(attributes)


_WHOLE = {
    "sweep": ("read_sweep",), "run": ("read_run",), "cal": ("everything",), "tm": ("read_tm", "read_matrix", "medium"),
}  # fmt: skip


def change(kind: str, folder: Path) -> dict[str, list[str]]:
    """Change a file in each of these ways, with a right check sum; return what came of each, by reader."""
    path = make(kind, folder)
    whole = path.read_bytes()
    # The others are parts of these.
    some = {name: read for name, read in readers(kind).items() if name in _WHOLE[kind]}
    right = {name: plain(read(path)) for name, read in some.items()}
    found: dict[str, list[str]] = {"changed": [], "raw": [], "refused": [], "the same": []}
    for words, function in changes(path).items():
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            function(file)
        append_trailer(path)
        for name, read in some.items():
            what, result = outcome_of(read, path)
            if what == "silent":
                what = "the same" if plain(result) == right[name] else "changed"
            found[what if what in found else "raw"].append(f"{name}, {words}" + ("" if what in found else f": {what}"))
    return found


if __name__ == "__main__":
    os.fsync = lambda _: None  # type: ignore[assignment]  # nothing here need outlive the machine
    doing, asked_kind, to, *numbers = sys.argv[1:]
    if doing == "attack":
        print(json.dumps(attack(asked_kind, Path(to), *map(int, numbers))))
    else:
        print(json.dumps(change(asked_kind, Path(to))))
