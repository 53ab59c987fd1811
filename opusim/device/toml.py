"""Devices as tables: what a TOML file may say, presets, and the shelves of presets for parts."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from opusim.base.folders import expanded
from opusim.base.parameters import Part, before_of, near_matches
from opusim.base.plain_files import parse_toml, read_text

# Of the presets of a shelf, by its folder: those of whole devices lie above the others.
_SHELVES = {"": "device", "dmds": "DMD", "slms": "phase modulator", "cameras": "camera"}
NAMES = {"dmd": "modulator"}
"""By the field of a device: another name of its table, which is that of every kind but the usual one."""
# What is taken for the name of a table, and which one is meant.
_MEANT = {"slm": "the table of a phase modulator is [modulator], with kind = 'slm'"}


def read(source: str | Path) -> tuple[dict[str, Any], str]:
    """Return the table in a TOML file (a Path) or a TOML text (a str), and what a sentence calls it.

    Raises
    ------
    ValueError
        If the file cannot be read or the text is not TOML.
    """
    origin = "the TOML text"
    if isinstance(source, Path):
        origin = f"{str(source)!r}"
        try:
            text = read_text(source)
        except (OSError, ValueError) as error:
            raise ValueError(f"device is {str(source)!r}, but that file cannot be read ({error}).") from error
    else:
        text = source
    try:
        return parse_toml(text), origin
    except ValueError as error:
        raise ValueError(f"{origin} is not valid TOML: {error}.") from error


@contextmanager
def named_in_errors(origin: str) -> Iterator[None]:
    """Put what a sentence calls a table before the errors of its values, as those of its keys have it.

    Parameters
    ----------
    origin : str
        Such as the name of a file.

    Raises
    ------
    TypeError, ValueError
        What is raised within.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        if str(error).startswith(origin):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{origin}: {error}") from error


def table_of(field: str, stage: Any) -> str:
    """Return the name of a stage's table: that of its field, or the other name for what is not the usual kind."""
    own = getattr(stage, "stage", "")
    return own if own and own == NAMES.get(field) else field


def field_of(table: str) -> str:
    """Return the field whose table has a name."""
    return next((field for field, other in NAMES.items() if other == table), table)


def by_field(table: Mapping[str, Any], origin: str = "the table") -> dict[str, Any]:
    """Return tables of stages by the fields of a device: some have another name too.

    Parameters
    ----------
    table : mapping
        Tables of the stages by name, and other fields.
    origin : str
        What the sentence of an error calls the table.

    Returns
    -------
    dict
        The same by the names of the fields.

    Raises
    ------
    ValueError
        If it has a stage under both names.
    """
    result = dict(table)
    for name, other in NAMES.items():
        if other in result:
            if name in result:
                raise ValueError(f"{origin} has the tables [{name}] and [{other}], but a device has one modulator.")
            result[name] = result.pop(other)
    return result


def stages_of(
    table: Mapping[str, Any], cls: type, parts: Mapping[str, Part], origin: str, folder: Path | None = None
) -> dict[str, Any]:
    """Return the fields of a record of stages from its table, the stages built.

    Parameters
    ----------
    table : mapping
        Tables of the stages by name, and other fields; it may start from a preset.
    cls : type
        The record.
    parts : mapping of str to Part
        Its stages.
    origin : str
        What the sentence of an error calls the table.
    folder : Path, optional
        Where the table names files from: that of its own file. Their paths are then whole. By default they stay as
        they are, and lead from the working folder.

    Returns
    -------
    dict
        By field.

    Raises
    ------
    TypeError, ValueError
        If a field is missing, unknown, or not what it may be.
    """
    # Sentences call a table what it is called where it stands.
    called = {name: other for name, other in NAMES.items() if other in table}
    table, older = by_field(table, origin), 0
    while (base := table.pop("preset", None)) is not None:  # a preset may start from another one
        table, older = _merge(read_preset("", base, parts), table), older or _older_version(base)
    fields = dataclasses.fields(cls)
    others = [other for name, other in NAMES.items() if name in parts]
    _refuse_unknown(table, {f.name for f in fields}, origin, "", ["preset", *others], _MEANT)
    missing = [f.name for f in fields if _required(f) and f.name not in table]
    if missing:
        raise ValueError(
            f'{origin} lacks {", ".join(map(repr, missing))}; preset = "aurora" at the top would start from aurora.'
        )
    for name, part in parts.items():
        if name in table and not isinstance(table[name], Mapping):
            hint = f' such as [{called.get(name, name)}] with preset = "NAME"' if part.shelf else ""
            raise ValueError(f"{origin}: {called.get(name, name)} is {table[name]!r}, but it must be a table{hint}.")
    built = {
        name: _build(part, table.get(name, {}), origin, called.get(name, name), parts, folder, older=older)
        for name, part in parts.items()
        if name in table or (older and isinstance(part.kinds, type) and before_of(part.kinds))
    }
    return table | built


def before(table: Mapping[str, Any], parts: Mapping[str, Part]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a table starts from.

    Parameters
    ----------
    table : mapping
        As for `stages_of`, which has taken it; by the fields of a device (`by_field`).
    parts : mapping of str to Part
        The stages.

    Returns
    -------
    whole : dict
        Stages of the whole preset that it names; empty if it names none.
    each : dict
        The stages that the table's own start from: those, or presets of their own. None for one that it gives whole.
    """
    base, older = table.get("preset"), 0
    whole: dict[str, Any] = {}
    while base is not None:
        whole, older = _merge(read_preset("", base, parts), whole), older or _older_version(base)
        base = whole.pop("preset", None)
    whole = {
        stage: _build(part, whole[stage], "the preset", stage, parts, None)
        for stage, part in parts.items()
        if stage in whole
    }
    each = {}
    for stage, part in parts.items():
        given = table.get(stage, {})
        if "preset" in given:
            each[stage] = _build(part, {"preset": given["preset"]}, "the preset", stage, parts, None, older=older)
        else:
            each[stage] = None if "kind" in given else whole.get(stage)
    return whole, each


def presets(shelf: str = "") -> dict[str, str]:
    """Return the presets that come with opusim.

    Parameters
    ----------
    shelf : {"", "cameras", "dmds", "slms"}
        Whole devices, cameras, mirror arrays or phase modulators.

    Returns
    -------
    dict of str
        Descriptions, by name@version.
    """
    folder = resources.files("opusim") / "presets"
    if shelf:
        folder = folder / shelf
    result = {}
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            table = tomllib.loads(entry.read_text(encoding="utf-8"))
            stem = entry.name.removesuffix(".toml").partition("@")[0]
            result[f"{stem}@{table.get('version', 1)}"] = table.get("description", "")
    return result


def preset_text(spec: str, shelf: str = "") -> str:
    """Return the file of a preset, in which each value has its mark and its source beside it.

    Parameters
    ----------
    spec : str
        Its name, or name@version; older versions lie beside the newest as NAME@VERSION.toml.
    shelf : {"", "cameras", "dmds", "slms"}
        Whole devices, cameras, mirror arrays or phase modulators.

    Returns
    -------
    str
        TOML; empty if there is no such preset.
    """
    folder = resources.files("opusim") / "presets"
    if shelf:
        folder = folder / shelf
    name, _, version = spec.partition("@")
    name = name.lower().replace(" ", "-")
    files = {entry.name.lower(): entry for entry in folder.iterdir() if entry.name.endswith(".toml")}
    for candidate in (f"{name}@{version}.toml", f"{name}.toml") if version else (f"{name}.toml",):
        if candidate in files:
            text = files[candidate].read_text(encoding="utf-8")
            if not version or str(tomllib.loads(text).get("version", 1)) == version:
                return text
    return ""


def read_preset(shelf: str, spec: Any, parts: Mapping[str, Part], others: tuple[str, ...] = ()) -> dict[str, Any]:
    """Table of a preset by name or name@version, from a shelf or from others that it may be on too."""
    shelves = (shelf, *others)
    what = " or ".join(_SHELVES[one] for one in shelves)
    if not isinstance(spec, str) or not spec:
        raise ValueError(f"preset is {spec!r}, but it must be the name of a {what} preset.")
    for one in shelves:
        if text := preset_text(spec, one):
            return by_field(tomllib.loads(text))
    name, _, version = spec.partition("@")
    name = name.lower().replace(" ", "-")
    names = sorted(known for one in shelves for known in presets(one))
    for stage, part in parts.items():
        if shelf in part.shelves:
            continue
        for one in part.shelves:
            if f"{name}@{version or 1}" in presets(one):
                table = stage if one == part.shelf else NAMES.get(stage, stage)
                raise ValueError(
                    f"There is no {what} preset {spec!r}: that is a {table}. Use it in a TOML file, as "
                    f"preset = {spec!r} in the table [{table}]."
                )
    raise ValueError(
        f"There is no {what} preset {spec!r}{near_matches(spec, [n.partition('@')[0] for n in names])}. "
        f"The {what} presets are {', '.join(names)}."
    )


def _older_version(spec: str, shelf: str = "") -> int:
    """Return the version with which a preset is named, if that is not the newest one; else 0."""
    name, _, version = spec.partition("@")
    folder = resources.files("opusim") / "presets"
    file = (folder / shelf if shelf else folder) / f"{name.lower().replace(' ', '-')}@{version}.toml"
    return int(version) if version and file.is_file() else 0


def _of_its_time(shelves: tuple[str, ...], spec: Any, version: int) -> Any:
    """Return a part's name with the version that it had when presets of devices had theirs: both have counted together.

    A part that is newer than that has none, and keeps its name; so does one that is named with a version.
    """
    if not isinstance(spec, str) or "@" in spec:
        return spec
    versions = (f"{spec}@{v}" for v in range(version, 0, -1))
    return next((named for named in versions if any(_older_version(named, one) for one in shelves)), spec)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        # A table that names its own preset or kind replaces the old one; any other one changes fields of it.
        if isinstance(old, dict) and isinstance(value, Mapping) and not ("preset" in value or "kind" in value):
            result[key] = {**old, **value}
        else:
            result[key] = value
    return result


def _build(
    part: Part,
    table: Mapping[str, Any],
    origin: str,
    stage: str,
    parts: Mapping[str, Part],
    folder: Path | None,
    *,
    older: int = 0,
) -> Any:
    """Build a stage: from a preset of its shelf if its table names one, of the kind that its table names.

    In a device that starts from an older version of a preset, a part of its own does what it did in that one's time:
    its preset is of the version of then, and what its table does not say of fields that came later is what was done
    before, whatever a preset of parts says.
    """
    table, own = dict(table), dict(table)
    more = []
    if part.shelf:
        more.append("preset")
        if (name := table.pop("preset", None)) is not None:
            base = read_preset(part.shelf, _of_its_time(part.shelves, name, older), parts, part.others)
            table = {**{k: v for k, v in base.items() if k not in ("version", "description")}, **table}
    if isinstance(part.kinds, type):
        cls = part.kinds
    else:
        more.append("kind")
        cls = part.of_kind(f"{origin}: {stage}.kind", table.pop("kind", part.usual or None), folder)
    if older:
        table |= {name: value for name, value in before_of(cls).items() if name not in own}
    if "stated_wavelength_m" not in own and set(own) & set(getattr(cls, "stated", ())):
        table["stated_wavelength_m"] = 0.0  # that of the preset's value goes with it: another one is at the laser's
    fields: Any = dataclasses.fields(cls)
    _refuse_unknown(table, {f.name for f in fields}, origin, f"{stage}.", more, getattr(cls, "meant", {}))
    missing = [f"{stage}.{f.name}" for f in fields if _required(f) and f.name not in table]
    if missing:
        raise ValueError(f"{origin} lacks {', '.join(missing)}.")
    if folder is not None:
        defaults = {f.name: f.default for f in fields}
        for name in getattr(cls, "files", ()):
            given = table.get(name, defaults[name])
            if isinstance(given, str) and given:
                table[name] = _from_folder(folder, given, f"{origin}: {stage}.{name}")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def _from_folder(folder: Path, given: str, label: str) -> str:
    """Return a path as a file in a folder means it; not the one of that name in the working folder, if there is one."""
    path = folder.absolute() / expanded(given)
    here = expanded(given).absolute()
    if here != path and not path.exists() and here.exists():
        try:
            write = f"{os.path.relpath(here, folder)!r}, or the whole path"
        except ValueError:  # another drive of Windows
            write = "the whole path"
        raise ValueError(
            f"{label} is {given!r}, but there is no {str(path)!r}: a path leads from the folder of the file that names "
            f"it. If {str(here)!r} is meant, write {write}."
        )
    return str(path)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _refuse_unknown(
    table: Mapping[str, Any],
    known: set[str],
    origin: str,
    prefix: str,
    more: list[str],
    meant: Mapping[str, str] | None = None,
) -> None:
    for key in table:
        if key not in known:
            near = f": {meant[key]}" if meant and key in meant else near_matches(key, sorted(known))
            allowed = ", ".join(sorted(prefix + k for k in [*known, *more]))
            raise ValueError(f"{origin} has an unknown key {prefix + key!r}{near}. Allowed are {allowed}.")
