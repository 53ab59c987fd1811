"""What a calibration found, in one HDF5 file: one group for each procedure.

A file is made whole in memory, written under a temporary name and renamed, so a reader finds the old file or the whole
new one. It says which device it belongs to. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

import opusim
from opusim.base.files import Hdf5Kind, copy_hdf5, open_hdf5, stamp_hdf5, writing_hdf5
from opusim.base.hdf5_content import FileError, attribute, has_attribute, member, read_array
from opusim.bench.protocol import Clocked, Identified, Identity, elapsed_s, has, identity_of
from opusim.device.versions import told_version

from .contents import came_later, check_record

if TYPE_CHECKING:
    import h5py

__all__ = ["RecordInfo", "read_info", "read_record", "record_names", "write_record", "write_records"]

FORMAT = "opusim calibration"
FORMAT_VERSION = 2  # 1, of opusim 0.1.0, had no trailer
_KIND = Hdf5Kind(
    FORMAT,
    FORMAT_VERSION,
    oldest=1,
    checked=2,
    noun="calibration file",
    wanted="a calibration file (HDF5)",
    again="calibrate again",
    rescue="calibrate again, or use a backup of it",
)

Record = TypeVar("Record")
_SCALARS = (bool, int, float, complex, str)
# An HDF5 object header holds attributes of up to 64 KiB.
_LONGEST_TEXT = 60_000


@dataclass(frozen=True)
class RecordInfo:
    """Where a record comes from.

    Parameters
    ----------
    name : str
        Name of its group.
    kind : str
        Name of its class.
    created : str
        Date and time of writing, ISO 8601, UTC.
    epoch_s : float
        The same in seconds since 1970.
    elapsed_s : float
        Time on the device's own clock, in seconds.
    opusim_version : str
        What wrote it.
    device : Identity
        Whose it is.
    frames : int or None
        Frames that the bench had taken by then; None if the file does not say, as up to opusim 0.1.1.
    """

    name: str
    kind: str
    created: str
    epoch_s: float
    elapsed_s: float
    opusim_version: str
    device: Identity
    frames: int | None = None

    @property
    def of_instruments(self) -> bool:
        """Whether the bench was none that is simulated: it had the clock on the wall, or none."""
        if self.frames is None and self.elapsed_s == 0:
            return True
        # Of a simulated one it counts from 0, and fifty years of it nobody waits for; that of a laboratory's bench is
        # read a moment before or after the date.
        return abs(self.elapsed_s - self.epoch_s) < 3600


# -------------------------------------------------------------------------------------------------- writing


_DIGEST = "sha256"


def write_record(path: str | os.PathLike[str], name: str, record: Any, *, bench: Any = None) -> None:
    """Write a record into a calibration file, in place of an older one of that name; other groups stay.

    Parameters
    ----------
    path : str or path-like
        The file; it is made if it is not there.
    name : str
        Name of the group, such as "camera".
    record : dataclass instance
        Of numpy arrays (numbers), numbers, texts, flags, None, and tuples of numbers or texts.
    bench : Bench, optional
        Whose record it is.

    Raises
    ------
    TypeError, ValueError
        If `name` or a field cannot be written or makes no sense (`held`), or the file there is none of ours, damaged,
        of another version, or of another device; it stays as it was.
    OSError
        If the disk is full or the folder cannot be written; the old file stays.

    Notes
    -----
    Of two processes that write at the same time the last one wins, whole: what the other one wrote is lost if both
    had read the file before.
    """
    write_records(path, {name: record}, bench=bench)


def write_records(path: str | os.PathLike[str], records: Mapping[str, Any], *, bench: Any = None) -> None:
    """Write records into a calibration file, all or, if the process is killed, none.

    Parameters
    ----------
    path : str or path-like
        The file; it is made if it is not there.
    records : mapping
        As for `write_record`, by their names.
    bench : Bench, optional
        Whose they are.

    Raises
    ------
    TypeError, ValueError, OSError
        As for `write_record`.
    """
    target = Path(path)
    contents = {checked_name(name): _content(record) for name, record in records.items()}
    for record in records.values():
        try:
            check_record(record)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{type(record).__name__}.{error}.") from None
    identity = identity_of(bench)
    now, clock = time.time(), elapsed_s(bench)
    frames = int(bench.clock.frames) if has(bench, Clocked) else None
    # Written afresh, so that the space of a replaced group is not carried along.
    with writing_hdf5(target, _KIND, "the calibration") as file:
        if target.exists():
            with open_calibration(target) as old:
                check_device(old, target, identity.fingerprint, identity.seed, device_of(bench))
                copy_hdf5(old, file, leave_out=contents)
        else:
            stamp_file(file, identity, now, clock)
        for name, content in contents.items():
            group = file.create_group(name)
            stamp_group(group, type(records[name]).__name__, now, clock, frames)
            _fill(group, content)


def _fill(group: h5py.Group, content: dict[str, Any]) -> None:
    """Write the fields of a record into its group."""
    for field_name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind != "O":
            stored = group.create_dataset(field_name, data=value)
            # Beside the trailer, which another program takes away when it changes the file.
            stored.attrs[_DIGEST] = _digest(value)
        else:
            group.attrs[field_name] = value


def checked_name(name: str) -> str:
    """Return the name of a group if it may be one."""
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"name is {name!r}, but it must be a word such as 'camera'.")
    return name


def stamp_file(file: h5py.File, identity: Identity, now_s: float, clock_s: float) -> None:
    """Write what a calibration file says about itself."""
    stamp_hdf5(file, _KIND)
    file.attrs["device_fingerprint"] = identity.fingerprint
    file.attrs["device_name"] = identity.name
    # HDF5 has no whole numbers above; those are read back from their digits.
    file.attrs["seed"] = identity.seed if identity.seed < 2**63 else str(identity.seed)
    file.attrs["created"] = _iso(now_s)
    file.attrs["epoch_s"] = now_s
    file.attrs["elapsed_s"] = clock_s


def stamp_group(group: h5py.Group, kind: str, now_s: float, clock_s: float, frames: int | None = None) -> None:
    """Write what a group says about itself."""
    if frames is not None:
        group.attrs["_frames"] = frames
    group.attrs["_kind"] = kind
    group.attrs["_created"] = _iso(now_s)
    group.attrs["_epoch_s"] = now_s
    group.attrs["_elapsed_s"] = clock_s
    group.attrs["_opusim_version"] = opusim.__version__


def _iso(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")


def _content(record: Any) -> dict[str, Any]:
    """Return what goes into a group, checked before anything is written."""
    import h5py

    if not is_dataclass(record) or isinstance(record, type):
        raise TypeError(f"record is {record!r} ({type(record).__name__}), but it must be an instance of a dataclass.")
    result: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        where = f"{type(record).__name__}.{field.name}"
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biufc":
                raise TypeError(f"{where} is an array of {value.dtype}, but an array in a record must hold numbers.")
            result[field.name] = value
        elif value is None:
            result[field.name] = h5py.Empty("f")
        elif isinstance(value, (list, tuple)):
            result[field.name] = _checked_tuple(where, value)
        elif isinstance(value, _SCALARS):
            result[field.name] = _checked_scalar(where, value)
        else:
            raise TypeError(
                f"{where} is {value!r} ({type(value).__name__}), but a record holds arrays, numbers, texts, flags, "
                "None, and tuples of numbers or texts."
            )
    return result


def _checked_scalar(where: str, value: Any) -> Any:
    """Return a text, number or flag that fits in an attribute."""
    if isinstance(value, str):
        if "\0" in value or len(value.encode("utf-8", "surrogatepass")) > _LONGEST_TEXT or not _is_unicode(value):
            raise ValueError(
                f"{where} is a text of {len(value)} characters, but it must be valid Unicode without zero characters "
                f"and of at most {_LONGEST_TEXT} bytes."
            )
    elif isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{where} is {value}, but it must fit in 64 bits.")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _checked_tuple(where: str, value: Any) -> Any:
    import h5py

    items = [item.item() if isinstance(item, np.generic) else item for item in value]
    kinds = {type(item) for item in items}
    if not items or not (len(kinds) == 1 or kinds <= {int, float}) or not kinds <= set(_SCALARS):
        raise TypeError(f"{where} is {value!r}, but a tuple in a record must hold numbers or texts, of one kind.")
    items = [_checked_scalar(where, item) for item in items]
    if kinds == {str}:
        return np.array(items, dtype=h5py.string_dtype())  # of objects, which no array of a record is
    return items


# -------------------------------------------------------------------------------------------------- reading


def read_record(
    path: str | os.PathLike[str],
    name: str,
    kind: Callable[..., Record],
    *,
    bench: Any = None,
    fingerprint: str | None = None,
    seed: int | None = None,
) -> Record:
    """Read a record back.

    Parameters
    ----------
    path : str or path-like
        The file.
    name : str
        Name of the group.
    kind : type
        The dataclass of the record.
    bench : Bench, optional
        The bench for which it is wanted: a file of another device is refused.
    fingerprint : str, optional
        The device's fingerprint, in place of a bench.
    seed : int, optional
        The device's seed, in place of a bench.

    Returns
    -------
    instance of `kind`
        The record.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it is not a calibration file, is damaged or cut short, of another format version, of another device or seed,
        lacks the record, or holds one that makes no sense, whoever wrote it.
    """
    if bench is not None:
        identity = identity_of(bench)
        fingerprint = identity.fingerprint if fingerprint is None else fingerprint
        seed = identity.seed if seed is None else seed
    wanted = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    label = getattr(kind, "__name__", str(kind))
    with open_calibration(path) as file:
        check_device(file, path, fingerprint, seed, device_of(bench))
        group = _group(file, path, name)
        stored = attribute(group, "_kind", str)
        if stored != label:
            raise FileError(f"{path}: the group {name!r} holds a {stored or 'thing'}, but a {label} is wanted.")
        absent = wanted - set(group.attrs) - set(group)
        # What a file says that is older than the field: its default, if it has one for that.
        lacking = sorted(absent - {field.name for field in fields(kind) if came_later(field)})  # type: ignore[arg-type]
        if lacking:
            raise FileError(f"{path}: the group {name!r} lacks {', '.join(lacking)}; calibrate again.")
        values = {key: _value(group, key) for key in wanted - absent}
    try:
        record = kind(**values)
        if is_dataclass(record):
            check_record(record)
        return record
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the group {name!r} does not hold a valid {label} ({error})") from error


def record_names(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the groups of a calibration file.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    list of str
        Names, sorted.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, ValueError
        As for `read_record`.
    """
    with open_calibration(path) as file:
        return sorted(file)


def read_info(path: str | os.PathLike[str], name: str) -> RecordInfo:
    """Return where a record comes from.

    Parameters
    ----------
    path : str or path-like
        The file.
    name : str
        Name of the group.

    Returns
    -------
    RecordInfo
        Format, device and time of the record.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, ValueError
        As for `read_record`.
    """
    with open_calibration(path) as file:
        group = _group(file, path, name)
        return RecordInfo(
            name=name,
            kind=attribute(group, "_kind", str),
            created=attribute(group, "_created", str),
            epoch_s=float(attribute(group, "_epoch_s", float)),
            elapsed_s=float(attribute(group, "_elapsed_s", float)),
            opusim_version=attribute(group, "_opusim_version", str),
            device=_identity(file),
            frames=int(attribute(group, "_frames", int)) if has_attribute(group, "_frames") else None,
        )


def check_arrays(path: str | os.PathLike[str]) -> None:
    """Compare every array of a calibration file with its check sum; errors as for `read_record`."""
    with open_calibration(path) as file:
        for name in file:
            group = member(file, name)
            for key in group if hasattr(group, "keys") else ():
                _value(group, key)


@contextmanager
def open_calibration(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a calibration file for reading; whatever HDF5 says against it becomes a sentence.

    Parameters
    ----------
    path : str or path-like
        The file.

    Yields
    ------
    h5py.File
    """
    with open_hdf5(path, _KIND) as file:
        yield file


def check_device(
    file: h5py.File,
    path: str | os.PathLike[str],
    fingerprint: str | None,
    seed: int | None = None,
    device: Any = None,
) -> None:
    """Refuse a file of another device; None is not compared. With a device the sentence knows versions of a preset."""
    identity = _identity(file)
    if fingerprint is not None and identity.fingerprint != fingerprint:
        raise FileError(
            f"{path} belongs to another device: {identity.name or 'one without a name'} with the fingerprint "
            f"{identity.fingerprint[:12] or 'none'}, but this one has {fingerprint[:12] or 'none'}. "
            f"{told_version(identity.fingerprint, device)}".rstrip()
        )
    if seed is not None and identity.seed != seed:
        raise FileError(
            f"{path} belongs to the device {identity.name!r} of seed {identity.seed}, but this one has the seed {seed}."
        )


def device_of(bench: Any) -> Any:
    """Return the device of a bench that says which one it is; None of another."""
    return bench.device if has(bench, Identified) else None


def _identity(file: h5py.File) -> Identity:
    fingerprint, name = (attribute(file, key, str) for key in ("device_fingerprint", "device_name"))
    return Identity(fingerprint, name, _seed(file))


def _seed(file: h5py.File) -> int:
    """Return the seed: a whole number, or the digits of one that HDF5 has no type for."""
    found = attribute(file, "seed")
    if isinstance(found, str) and found.isascii() and found.isdecimal():
        return int(found)
    return int(attribute(file, "seed", int))


def _group(file: h5py.File, path: str | os.PathLike[str], name: str) -> h5py.Group:
    if name not in file:
        there = ", ".join(sorted(file)) or "nothing"
        raise FileError(f"{path} has no record {name!r}; it has {there}.")
    found = member(file, name)
    if not hasattr(found, "keys"):
        raise FileError(f"{path} holds a data set {name!r}, but it must be the group of a record.")
    return found


def _digest(array: np.ndarray) -> str:
    """Return a check sum of an array's type, shape and numbers."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def _value(group: h5py.Group, key: str) -> Any:
    import h5py

    if key in group:
        stored = member(group, key)
        array = read_array(stored)
        if _DIGEST in stored.attrs and attribute(stored, _DIGEST) != _digest(array):
            raise FileError(f"{group.file.filename}: {key} in {group.name} is damaged; calibrate again.")
        return array
    value = attribute(group, key)
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return value.item() if isinstance(value, np.generic) else value
