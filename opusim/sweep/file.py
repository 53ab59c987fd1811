"""A sweep in one HDF5 file.

The file is small. After each point it is made whole in memory, written under a temporary name and renamed, so that a
process that is killed at any time leaves a whole file. Only the process that runs the sweep writes it.

``points`` holds the outcomes as JSON text, exact to the last bit, an empty text for a point that was not run yet;
``metrics`` holds the same numbers as an array, for other programs. The group ``run`` holds what may differ between two
runs of one sweep: when, how long each point took, tracebacks and warnings, check sums of the texts of the task, and
which part of it the file holds, if it is one of a job array's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base.file_system import only_writer
from opusim.base.files import Hdf5Kind, clear_leftovers, open_hdf5, writing_hdf5
from opusim.base.hdf5_content import FileError, attribute, member, read_array
from opusim.base.parts import Part
from opusim.base.plain_files import parse_json, refuse_other_target

from .points import Number
from .result import Header, Outcome, SweepResult

if TYPE_CHECKING:
    import h5py

__all__ = ["FORMAT", "read_sweep", "write_sweep", "writing"]

FORMAT = "opusim sweep"
FORMAT_VERSION = 2  # 1, of opusim 0.1.0, had no trailer
_KIND = Hdf5Kind(
    FORMAT,
    FORMAT_VERSION,
    oldest=1,
    checked=2,
    noun="sweep",
    wanted="the file of a sweep (HDF5)",
    again="run the sweep again into a new file",
    rescue="run the sweep again into a new file, or use a backup of it",
)


def write_sweep(path: str | os.PathLike[str], result: SweepResult) -> None:
    """Write a sweep, in place of an older file of that name.

    Parameters
    ----------
    path : str or path-like
        The file.
    result : SweepResult
        What goes into it.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written. It names the file; an older file stays as it was.
    """
    import h5py

    shape = len(result.settings), len(result.seeds)
    points, notes = np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
    seconds = np.full(shape, np.nan)
    for place, outcome in result.outcomes.items():
        points[place], seconds[place] = outcome.to_json(), outcome.seconds
        if outcome.traceback or outcome.warnings:
            notes[place] = json.dumps({"traceback": outcome.traceback, "warnings": outcome.warnings})
    with writing_hdf5(path, _KIND, "the sweep", opusim_version=result.header.opusim_version) as file:
        file.attrs["device_fingerprint"] = result.header.fingerprint
        file.attrs["results_sha256"] = result.digest()
        text = h5py.string_dtype()
        # Datasets, not attributes, which hold 64 KiB at most.
        file.create_dataset("sweep", data=result.header.to_json(), dtype=text)
        file.create_dataset("values", data=np.array(result.settings, dtype=np.float64))
        file.create_dataset("seeds", data=np.array(result.seeds, dtype=np.int64))
        file.create_dataset("points", data=points, dtype=text)
        names = result.metrics
        stored = file.create_dataset(
            "metrics", data=np.array([result.values(name) for name in names]).reshape(len(names), *shape)
        )
        stored.attrs["names"] = json.dumps(names)
        run = file.create_group("run")
        run.attrs["created"] = result.created
        run.attrs["written"] = now()
        if result.part is not None:
            run.attrs["part"] = str(result.part)
        if result.texts:
            run.attrs["task_sha256"] = ", ".join(result.texts)
        run.create_dataset("seconds", data=seconds)
        run.create_dataset("notes", data=notes, dtype=text)


def read_sweep(path: str | os.PathLike[str]) -> SweepResult:
    """Read a sweep, complete or not.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    SweepResult
        What is done so far.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it is not the file of a sweep, is damaged or cut short, of another format version, or does not go together,
        whoever wrote it.
    """
    with open_hdf5(path, _KIND) as file:
        return _content(file)


def _content(file: h5py.File) -> SweepResult:
    """Return what a file holds; any error means that it is damaged."""
    run = member(file, "run")
    header = Header.from_json(_texts(file, "sweep")[()])
    points, notes, seconds = _texts(file, "points"), _texts(run, "notes"), read_array(member(run, "seconds"))
    # The order is that of `make_settings`; whole numbers come back as such from the axes.
    settings = tuple(
        tuple(_as_written(axis.values, value) for axis, value in zip(header.axes, row, strict=True))
        for row in read_array(member(file, "values")).tolist()
    )
    outcomes = {}
    for place in np.ndindex(points.shape):
        if points[place]:
            note = parse_json(notes[place]) if notes[place] else {"traceback": "", "warnings": ()}
            note["warnings"] = tuple(note["warnings"])
            outcomes[place] = Outcome(**parse_json(points[place]), **note, seconds=float(seconds[place]))
    part = Part.parse(attribute(run, "part", str), {}) if "part" in run.attrs else None
    texts = attribute(run, "task_sha256", str).split(", ") if "task_sha256" in run.attrs else ()
    result = SweepResult(header, settings, outcomes, attribute(run, "created", str), part, tuple(texts))
    if points.shape != (len(settings), len(header.seeds)) or attribute(file, "results_sha256") != result.digest():
        raise ValueError("the check sum does not fit")
    _check(result, file)
    return result


def _texts(group: h5py.Group, name: str) -> Any:
    """Return a data set of texts."""
    texts = read_array(member(group, name))
    flat = texts.reshape(-1)
    flat[:] = [item.decode() for item in flat]
    return texts


def _check(result: SweepResult, file: h5py.File) -> None:
    """Raise an error if what a file holds is not of the kinds that it should be, or what stands twice differs.

    Its check sum tells that it was written so, not that it was written by opusim.
    """
    header, name = result.header, file.filename
    fingerprint = attribute(file, "device_fingerprint")
    if fingerprint != header.fingerprint:
        raise FileError(f"{name} says that it is of the device {fingerprint!r}, but its text {header.fingerprint!r}.")
    texts = [header.device_name, header.fingerprint, header.opusim_version, *(axis.path for axis in header.axes)]
    numbers: list[Any] = [header.n_components, *header.seeds, *(v for axis in header.axes for v in axis.values)]
    tables: list[Any] = [header.task, header.device, header.meanings]
    for place, outcome in result.outcomes.items():
        texts += [outcome.error_type, outcome.error, outcome.traceback, *outcome.warnings, *outcome.metrics]
        numbers += outcome.metrics.values()
        if not outcome.failed and not outcome.metrics or outcome.seconds < 0:
            raise FileError(f"{name}: the point {place} has neither results nor an error, or took less than no time.")
    for kind, words, values in ((str, "a text", texts), ((int, float), "a number", numbers), (dict, "a table", tables)):
        for value in values:
            if not isinstance(value, kind) or isinstance(value, bool):  # type: ignore[arg-type]
                raise FileError(f"{name} holds {value!r} where {words} must be.")


def _as_written(values: tuple[Number, ...], value: float) -> Number:
    return values[values.index(value)]


def now() -> str:
    """Return date and time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a sweep's file to this process, and clear away what a killed one may have left half written.

    It is that of `only_writer`: a hidden file beside it, ending in .lock, stays there.

    Raises
    ------
    RuntimeError
        If a sweep is being run into this file, by another process or thread.
    OSError
        If there is no such folder, or it cannot be written.
    """
    target = Path(path).resolve()
    refuse_other_target(target)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent} for {target.name}.")
    taken = f"Another sweep is being run into {path}: wait for it, end it, or give this one another file."
    with only_writer(target, taken):
        clear_leftovers(target, alone=True)
        yield
