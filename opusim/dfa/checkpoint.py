"""A training run in one HDF5 file: parameters, optimiser, history, and all that must be the same when it goes on.

A file is made whole in memory, written under a temporary name and renamed, so a reader finds the old file or the whole
new one. A check sum covers all of its content. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import opusim
from opusim.base.files import Hdf5Kind, open_hdf5, temporary_beside, unwritten, writing_hdf5
from opusim.base.hdf5_content import FileError, attribute, member, read_array
from opusim.base.plain_files import parse_json, refuse_other_target
from opusim.base.short_repr import short_repr
from opusim.device.versions import told_version

from .history import History
from .network import MLP

if TYPE_CHECKING:
    import h5py

__all__ = ["FORMAT", "RunFile", "check_same_run", "check_target", "read_run", "write_run"]

FORMAT = "opusim training run"
FORMAT_VERSION = 3  # 2, of opusim 0.1.0, had no trailer
_KIND = Hdf5Kind(
    FORMAT,
    FORMAT_VERSION,
    oldest=2,
    checked=3,
    noun="training run",
    wanted="the file of a training run (HDF5)",
    again="train again",
    rescue="make it again, or use a backup",
)
_WHAT = "the training run"

Description = dict[str, Any]
# Fields of a RunFile that are kept as JSON text: descriptions, of texts, flags and numbers.
_DESCRIPTIONS = ("settings", "network", "optimiser", "feedback", "feedback_state", "data")
_GROUPS = ("parameters", "optimiser_state", "history")
# Settings that may differ when a run goes on: they say when it ends, not what it does.
_FREE_SETTINGS = ("epochs",)


@short_repr
@dataclass(frozen=True)
class RunFile:
    """What a file of a training run holds.

    Parameters
    ----------
    settings : dict
        Of the trainer: method ("dfa", "backprop", "shallow"), batch size, seed, loss and so on.
    network : dict
        `MLP.describe`: sizes as text ("784-1024-10"), activation, seed, dtype.
    optimiser : dict
        `Optimiser.describe`.
    feedback : dict
        `Feedback.describe`; empty for a method without feedback.
    feedback_state : dict
        `Feedback.state` at the end of the last epoch; empty likewise.
    data : dict
        Numbers and check sums of the training and the validation samples.
    history : History
        The epochs that are done.
    parameters : list of ndarray
        In the order of `MLP.parameters`.
    optimiser_state : dict of ndarray
        `Optimiser.state`.
    created : str, optional
        Date and time of writing, ISO 8601, UTC; `write_run` sets it.
    opusim_version : str, optional
        What wrote it; `write_run` sets it.
    """

    settings: Description
    network: Description
    optimiser: Description
    feedback: Description
    feedback_state: Description
    data: Description
    history: History
    parameters: list[np.ndarray] = field(repr=False)
    optimiser_state: dict[str, np.ndarray] = field(repr=False)
    created: str = ""
    opusim_version: str = ""

    @property
    def epochs_done(self) -> int:
        """Number of epochs that are done."""
        return len(self.history)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the network: inputs, hidden layers, classes."""
        return tuple(int(size) for size in str(self.network["sizes"]).split("-"))

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the device that made the projections; "" without a device."""
        return str(self.feedback.get("fingerprint", ""))

    def trained_network(self) -> MLP:
        """Return the network with the parameters of the last epoch that is done.

        Returns
        -------
        MLP
            A new network.
        """
        network = MLP(
            self.sizes,
            activation=self.network["activation"],
            seed=self.network["seed"],
            dtype=self.network["dtype"],
        )
        network.load_parameters(self.parameters)
        return network


def write_run(path: str | os.PathLike[str], run: RunFile) -> None:
    """Write a training run, in place of an older file of that name.

    Parameters
    ----------
    path : str or path-like
        The file.
    run : RunFile
        What goes into it. Its `created` and `opusim_version` are set anew.

    Raises
    ------
    TypeError
        If a description holds something else than texts, flags and numbers.
    OSError
        If the disk is full or the folder cannot be written. It names the file; an older file stays as it was.
    """
    texts = {name: _to_json(name, getattr(run, name)) for name in _DESCRIPTIONS}
    texts["created"] = datetime.now(UTC).isoformat(timespec="seconds")
    texts["opusim_version"] = opusim.__version__
    arrays = _arrays(run)
    with writing_hdf5(path, _KIND, _WHAT) as file:
        file.attrs["fingerprint"] = run.fingerprint
        # Beside the trailer: another program that changes the file takes that away, and the change is still seen.
        file.attrs["content_sha256"] = _digest(texts, arrays)
        for name, text in texts.items():
            file.attrs[name] = text
        for group in _GROUPS:
            file.create_group(group)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def check_target(path: str | os.PathLike[str]) -> None:
    """Say at once, not after an epoch, that a training run cannot be written: a file is made beside it and removed.

    Parameters
    ----------
    path : str or path-like
        The file that is to be written or replaced; it is not touched.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If its folder is not there, or it is a folder itself.
    ValueError
        If it is a pipe or a device.
    OSError
        If nothing can be written in the folder.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent} for the checkpoint {target.name}.")
    refuse_other_target(target)
    try:
        with temporary_beside(target):
            pass
    except OSError as error:
        raise unwritten(error, target, _WHAT) from error


def _arrays(run: RunFile) -> dict[str, np.ndarray]:
    """Return the arrays of a run by their names in the file."""
    result = {f"parameters/{i:04d}": array for i, array in enumerate(run.parameters)}
    result |= {f"optimiser_state/{name}": array for name, array in run.optimiser_state.items()}
    return result | {f"history/{f.name}": getattr(run.history, f.name) for f in fields(History)}


def _to_json(name: str, description: Mapping[str, Any]) -> str:
    """Return a description as text; floats come back as they were, to the last bit."""
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in description.items()}
    for key, value in plain.items():
        if not isinstance(key, str) or not isinstance(value, (bool, int, float, str)):
            raise TypeError(
                f"{name}[{key!r}] is {value!r} ({type(value).__name__}), but it must be a text, a flag or a number to "
                "go into the file of a training run."
            )
    return json.dumps(plain, sort_keys=True)


def _digest(texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """Return a check sum of the whole content."""
    result = hashlib.sha256()
    for name, text in sorted(texts.items()):
        result.update(f"{name}={text}\n".encode())
    for name, array in sorted(arrays.items()):
        result.update(f"{name}:{array.dtype.str}{array.shape}".encode())
        result.update(np.ascontiguousarray(array).tobytes())
    return result.hexdigest()


def read_run(path: str | os.PathLike[str]) -> RunFile:
    """Read a training run.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    RunFile
        What the file holds.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it is not the file of a training run, is damaged or cut short, of another format version, or does not go
        together, whoever wrote it.
    """
    with open_hdf5(path, _KIND) as file:
        return _content(file)


def _content(file: h5py.File) -> RunFile:
    """Return what a file holds; any error means that it is damaged."""
    texts = {name: attribute(file, name, str) for name in (*_DESCRIPTIONS, "created", "opusim_version")}
    stored = {group: member(file, group) for group in _GROUPS}
    arrays = {f"{group}/{name}": read_array(member(stored[group], name)) for group in _GROUPS for name in stored[group]}
    if attribute(file, "content_sha256") != _digest(texts, arrays):
        raise ValueError("the check sum does not fit")
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in _GROUPS}
    for name, array in sorted(arrays.items()):
        group, _, key = name.partition("/")
        groups[group][key] = array
    run = RunFile(
        **{name: parse_json(texts[name]) for name in _DESCRIPTIONS},
        history=History(**groups["history"]),
        parameters=list(groups["parameters"].values()),
        optimiser_state=groups["optimiser_state"],
        created=texts["created"],
        opusim_version=texts["opusim_version"],
    )
    _check(run, file)
    return run


_NUMBER = (int, float)
# What every run says of itself, by description.
_SAID: dict[str, dict[str, Any]] = {
    "settings": {
        "method": str, "label": str, "batch_size": int, "epochs": int, "seed": int, "learning_rate_decay": _NUMBER,
    },
    "network": {"sizes": str, "activation": str, "seed": int, "dtype": str},
    "optimiser": {"kind": str},
    "data": {"samples": int},
}  # fmt: skip


def _check(run: RunFile, file: h5py.File) -> None:
    """Raise an error if what a file holds is not of the kinds that it should be, or does not go together.

    Its check sum tells that it was written so, not that it was written by opusim.
    """
    name = file.filename
    for what in _DESCRIPTIONS:
        table = getattr(run, what)
        if not isinstance(table, dict):
            raise FileError(f"{name}: {what} is {table!r}, but it must be a table.")
        for key, kind in _SAID.get(what, {}).items():
            value = table.get(key)
            if not isinstance(value, kind) or isinstance(value, bool):
                found = f"is {value!r}, which it must not be" if key in table else "is not there"
                raise FileError(f"{name}: {what} {key} {found}.")
    if attribute(file, "fingerprint") != run.fingerprint:
        raise FileError(f"{name}: the fingerprint is not that of its feedback.")
    if not re.fullmatch(r"[1-9][0-9]*(-[1-9][0-9]*)+", run.network["sizes"]):
        raise FileError(f"{name}: network sizes is {run.network['sizes']!r}, but it must be as in '784-1024-10'.")
    shapes = [shape for n_in, n_out in itertools.pairwise(run.sizes) for shape in ((n_out, n_in), (n_out,))]
    there = [array.shape for array in run.parameters]
    if there != shapes or any(str(array.dtype) != run.network["dtype"] for array in run.parameters):
        raise FileError(
            f"{name}: the parameters have the shapes {there}, but those of a network {run.network['sizes']} in "
            f"{run.network['dtype']} must be {shapes}."
        )
    epochs = len(run.history)
    for column in fields(History):
        array = getattr(run.history, column.name)
        shape = (epochs, len(run.sizes) - 2) if column.name == "alignment_deg" else (epochs,)
        if array.shape != shape or array.dtype.kind not in "if":
            raise FileError(f"{name}: history {column.name} is {array.dtype}{array.shape}, but it must be {shape}.")
    if not np.array_equal(run.history.epoch, np.arange(1, epochs + 1)):
        raise FileError(f"{name}: the epochs in its history are not counted from 1.")


def check_same_run(
    path: str | os.PathLike[str], run: RunFile, *, device: Any = None, **present: Mapping[str, Any]
) -> None:
    """Raise a ValueError that names all that differs between a file and the run that is to go on from it.

    Parameters
    ----------
    path : str or path-like
        The file, for the message.
    run : RunFile
        What is in it.
    device : Device, optional
        The device of now, if there is one: the sentence about a run of another one knows versions of its preset.
    **present : mapping
        Descriptions of the run of now, by the names of fields of `RunFile`: settings, network, optimiser, feedback,
        data. The number of epochs is not compared.
    """
    differences = []
    for what, now in present.items():
        then = getattr(run, what)
        for key in [*then, *(key for key in now if key not in then)]:
            if what == "settings" and key in _FREE_SETTINGS:
                continue
            found, expected = (
                repr(d[key]) if key in d else "not there" for d in (then, json.loads(_to_json(what, now)))
            )
            if found != expected:
                differences.append(f"{what} {key} is {found} in the file, but {expected} now")
    if differences:
        words = f"{path} cannot be continued, because it is another run: {'; '.join(differences)}. "
        here = str(present.get("feedback", {}).get("fingerprint", ""))
        other = bool(here and run.fingerprint != here)
        raise ValueError(f"{words}{told_version(run.fingerprint, device) if other else ''}".rstrip())
