"""What a calibration file holds, in words and numbers, beside the truth where a simulated device tells it."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base.short_repr import short_repr
from opusim.base.warn import warn_outside
from opusim.bench.protocol import Identity
from opusim.calibration.procedures.base import PROCEDURES, Procedure, Row
from opusim.calibration.procedures.matrix.file import TmRecord, read_tm
from opusim.calibration.procedures.tm import tm_path

from .files import RecordInfo, read_info, read_record, record_names
from .truth import known_device, true_entries
from .words import duration

if TYPE_CHECKING:
    from opusim.device.record import Device

__all__ = ["Entries", "Report", "duration", "procedure_of", "read_report", "summary", "whose"]

# Data sets that lie beside the group in the file of a matrix.
_TM_GROUP, _TM_DATA = "transmission", {"tm", "background"}
# So much of a matrix is enough for its statistics, and is read in a moment.
_ROWS, _COLUMNS, _TRUE_COLUMNS = 8192, 1024, 32


@short_repr
@dataclass(frozen=True)
class Entries:
    """A part of a measured matrix.

    Parameters
    ----------
    matrix : ndarray of complex64, shape (rows, columns)
        Valid rows, in roots of counts.
    columns : ndarray of int64
        Columns for which `truth` was computed.
    truth : ndarray of complex128, shape (rows, len(columns)), or None
        The simulated device's own entries, each row in the phase of the measured one, which no frame tells.
    inside : ndarray of bool, shape (rows,), or None
        Off axis: which rows are of pixels two grains and more from the edges of the region, where one frame tells the
        field less well.
    """

    matrix: np.ndarray
    columns: np.ndarray
    truth: np.ndarray | None
    inside: np.ndarray | None = None

    @property
    def inner_error(self) -> float:
        """As `error`, of the rows that are `inside`; NaN where it is not known which are, or there is none."""
        if self.truth is None or self.inside is None or not self.inside.any():
            return math.nan
        truth = self.truth[self.inside]
        return float(np.linalg.norm(self.matrix[self.inside][:, self.columns] - truth) / np.linalg.norm(truth))

    @property
    def error(self) -> float:
        """Relative error of the entries against the truth; NaN without one."""
        if self.truth is None:
            return math.nan
        return float(np.linalg.norm(self.matrix[:, self.columns] - self.truth) / np.linalg.norm(self.truth))


@dataclass(frozen=True)
class Report:
    """A calibration file, read.

    Parameters
    ----------
    path : Path
        The file.
    identity : Identity
        Whose it is.
    records : dict
        Records by name; "tm" is that of the matrix in the file beside it.
    info : dict
        Where each comes from.
    device : Device or None
        The simulated device, if it is known.
    truth_note : str
        Which truth there is, or why there is none.
    entries : Entries or None
        A part of the matrix.
    """

    path: Path
    identity: Identity
    records: dict[str, Any]
    info: dict[str, RecordInfo]
    device: Device | None
    truth_note: str
    entries: Entries | None = field(repr=False)

    @property
    def of_instruments(self) -> bool:
        """Whether it was measured on instruments, of which nobody knows the truth, and which have no seed."""
        return any(info.of_instruments for info in self.info.values())

    def first(self, kind: type | tuple[type, ...]) -> Any:
        """Return the first record of a kind, or None."""
        return next((record for record in self.records.values() if isinstance(record, kind)), None)

    def found_by(self, procedure: str) -> Any:
        """Return the first record of a procedure, or None."""
        return self.first(PROCEDURES[procedure].records)


def read_report(path: str | os.PathLike[str], *, device: Device | None = None) -> Report:
    """Read a calibration file, and that of a matrix beside it.

    Parameters
    ----------
    path : path-like
        The file, or that of a matrix alone.
    device : Device, optional
        The simulated device it belongs to; a preset's is found by its fingerprint.

    Returns
    -------
    Report
        What the file holds.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If it is no calibration file, is damaged or cut short, of another version, holds nothing or what makes no sense,
        or belongs to another device.

    Warns
    -----
    UserWarning
        If a record is of a kind that no procedure here makes: it is left out.
    """
    path = Path(path)
    names = record_names(path)
    if _TM_GROUP in names:
        names = [name for name in names if name not in _TM_DATA]
    if not names:
        raise ValueError(f"{path} is a calibration file, but there is no record in it.")
    records: dict[str, Any] = {}
    info = {name: read_info(path, name) for name in names}
    identity = info[names[0]].device
    for name in names:
        kind = None if name == _TM_GROUP else _kind(info[name].kind)
        if kind is not None:
            records[name] = read_record(path, name, kind)
        elif name != _TM_GROUP:
            warn_outside(
                f"{path}: the record {name!r} is left out: it is a {info[name].kind or 'thing without a name'}, which "
                "no procedure here makes. The package that made it is not installed, or the file was changed."
            )
    matrix = path if _TM_GROUP in names else tm_path(path)
    if matrix.exists():
        # That of another device beside it would only confuse.
        read_record(matrix, _TM_GROUP, TmRecord, fingerprint=identity.fingerprint, seed=identity.seed)
        records["tm"] = read_tm(matrix)
        info["tm"] = read_info(matrix, _TM_GROUP)
    records = dict(sorted(records.items(), key=_order))
    known, note = known_device(identity, device, path)
    if known is None and identity.fingerprint and any(one.of_instruments for one in info.values()):
        note = "none: it was measured on instruments, not on a simulated device"
    entries = _entries(records["tm"], known, identity.seed) if "tm" in records else None
    return Report(path, identity, records, info, known, note, entries)


def whose(device: Identity, *, of_instruments: bool = False) -> str:
    """Say which device a calibration is of; instruments have no seed, a bench without a record not even a name."""
    name = device.name or "without a name"
    return name if of_instruments or device.seed < 0 else f"{name}, seed {device.seed}"


def procedure_of(kind: str) -> Procedure | None:
    """Return the procedure that has records of a kind (the name of their class), or None."""
    # Names of ours first: others' are imported where a file holds what none of ours has made.
    for name in itertools.chain(PROCEDURES.own(), PROCEDURES):
        if any(record.__name__ == kind for record in PROCEDURES[name].records):
            return PROCEDURES[name]
    return None


def _kind(name: str) -> type | None:
    owner = procedure_of(name)
    return None if owner is None else next(record for record in owner.records if record.__name__ == name)


def _order(item: tuple[str, Any]) -> tuple[float, str]:
    owner = procedure_of(type(item[1]).__name__)
    return math.inf if owner is None else owner.order, item[0]


def _entries(record: TmRecord, device: Device | None, seed: int) -> Entries | None:
    valid = np.flatnonzero(record.valid)
    if not len(valid):
        return None
    rows = valid[np.linspace(0, len(valid) - 1, min(_ROWS, len(valid))).round().astype(np.int64)]
    matrix = record.matrix(rows)[:, :_COLUMNS]
    columns = np.linspace(0, matrix.shape[1] - 1, min(_TRUE_COLUMNS, matrix.shape[1])).round().astype(np.int64)
    truth = None if device is None else true_entries(record, device, seed, rows, columns)
    if truth is not None:
        turn = np.sum(matrix[:, columns] * truth.conj(), axis=1, keepdims=True)
        truth = truth * (turn / np.maximum(np.abs(turn), 1e-300))
    return Entries(matrix, columns, truth, _inside(record, rows))


def _inside(record: TmRecord, rows: np.ndarray) -> np.ndarray | None:
    """Which outputs lie two grains and more from the edges of the region; None by phase stepping."""
    if not record.grain_px:
        return None
    _, _, n_rows, n_columns = record.rectangle
    row, column = np.divmod(rows, n_columns)
    nearest = np.minimum.reduce([row, n_rows - 1 - row, column, n_columns - 1 - column])
    found: np.ndarray = nearest >= 2 * record.grain_px
    return found


def summary(record: Any, device: Device | None = None) -> list[Row]:
    """Say in a few rows what a record holds.

    Parameters
    ----------
    record : dataclass instance
        A record of one of the procedures.
    device : Device, optional
        The simulated device, whose own values stand beside.

    Returns
    -------
    list of (quantity, value, device's own value or "")

    Raises
    ------
    TypeError
        If it is no such record.
    """
    owner = procedure_of(type(record).__name__)
    if owner is None or not isinstance(record, owner.records):
        raise TypeError(f"record is a {type(record).__name__}, but it must be one of a calibration procedure.")
    return owner.summary(record, device)
