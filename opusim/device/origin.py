"""Which preset a device comes from, and what differs: its name and its description must not say what it is not.

A preset's name stands for that preset. A device that came from one by a TOML file, by `Device.evolve` or by
`dataclasses.replace`, and is no longer the same, is called "aurora, changed", unless it has a name of its own; changed
back it is called "aurora". Neither name nor description is part of a fingerprint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from opusim.base.parameters import before_of, parts_of

from . import toml

if TYPE_CHECKING:
    from .record import Device

__all__ = ["changes", "left_wavelength_m", "preset_of", "title", "told"]

_CHANGED = ", changed"
# So many changes are told in a description.
_TOLD = 6


def told(device: Device) -> tuple[str, str]:
    """Return the name and the description that are true of a device.

    Parameters
    ----------
    device : Device
        With those that it was given.

    Returns
    -------
    name, description : str
        Its own ones stay.
    """
    preset, spec = preset_of(device)
    if not spec:
        return device.name, device.description
    base = _preset(device, spec)
    differs, name, description = _differs(device, base), device.name, device.description
    if _plain(name) == preset:
        name = preset + _CHANGED * differs
    if description == base["description"] or description.startswith(_told(preset)):
        description = _told(preset) + _words(device, base) if differs else base["description"]
    return name, description


def changes(device: Device) -> dict[str, tuple[Any, Any]]:
    """Return what differs from the preset that a device comes from; see `Device.changes`."""
    _, spec = preset_of(device)
    return _changes(device, _preset(device, spec)) if spec else {}


def title(device: Device) -> str:
    """Return name and version, and whose version it is; see `Device.title`."""
    preset, spec = preset_of(device)
    if not spec or device.name == preset:
        return f"{device.name}, version {device.version}"
    return f"{device.name} (from {preset}, version {spec.partition('@')[2]})"


def left_wavelength_m(device: Device, stage: str, field: str) -> float:
    """Return the wavelength of the preset's laser, where a device has a field of the preset's own value still.

    Parameters
    ----------
    device : Device
        Any.
    stage, field : str
        Such as "camera" and "quantum_efficiency".

    Returns
    -------
    float
        In metres; 0 where the value is another one, or of another part, or there is no preset.
    """
    _, spec = preset_of(device)
    if not spec:
        return 0.0
    base, now = _preset(device, spec), getattr(device, stage)
    then = base[stage]
    same = type(now) is type(then) and now.name == then.name and getattr(now, field) == getattr(then, field)
    wavelength_m: float = base["laser"].wavelength_m if same else 0.0
    return wavelength_m


def _plain(name: str) -> str:
    return name.removesuffix(_CHANGED)


def _told(preset: str) -> str:
    return f"{preset}{_CHANGED}: "


def preset_of(device: Device) -> tuple[str, str]:
    """Return name and name@version of the preset that the name speaks of, or else the description; empty for none.

    Parameters
    ----------
    device : Device
        Any.

    Returns
    -------
    name, spec : str
        Such as "aurora" and "aurora@1".
    """
    known = _known()
    name = _plain(device.name)
    if name not in known and device.description:
        name = next((one for one, texts in known.items() if device.description.startswith(tuple(texts.values()))), "")
    versions = known.get(name)
    if not versions:
        return "", ""
    version = device.version if device.version in versions else max(versions)
    return name, f"{name}@{version}"


@cache
def _known() -> dict[str, dict[int, str]]:
    """For each preset by name: what a description of it begins with, by version; 0 is that of a changed one."""
    result: dict[str, dict[int, str]] = {}
    for spec, description in toml.presets().items():
        name, _, version = spec.partition("@")
        result.setdefault(name, {0: _told(name)})[int(version)] = description
    return result


def _preset(device: Device, spec: str) -> Mapping[str, Any]:
    cls: Any = type(device)  # which a type checker does not take for a key
    fields: Mapping[str, Any] = _fields(cls, spec)
    return fields


@cache
def _fields(cls: Any, spec: str) -> dict[str, Any]:
    """Return the fields of a preset, its stages built; what it does not give has its default."""
    parts = parts_of(cls)
    given = toml.stages_of(toml.read_preset("", spec, parts), cls, parts, f"preset {spec!r}")
    default = {
        f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        for f in dataclasses.fields(cls)
    }
    return default | given


def _differs(device: Device, base: Mapping[str, Any]) -> bool:
    parts = parts_of(type(device))
    if device.resolution == base["resolution"] and all(getattr(device, name) == base[name] for name in parts):
        return False  # as nearly always
    return bool(_changes(device, base))


def _changes(device: Device, base: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    result: dict[str, tuple[Any, Any]] = {}
    for stage in parts_of(type(device)):
        now, then = getattr(device, stage), base[stage]
        stage = toml.table_of(stage, now)
        if type(now) is not type(then):
            result[f"{stage}.kind"] = _kind(now), _kind(then)
            continue
        later = _not_told(now)
        for f in dataclasses.fields(now):
            if f.name not in ("name", *later) and getattr(now, f.name) != getattr(then, f.name):
                result[f"{stage}.{f.name}"] = getattr(now, f.name), getattr(then, f.name)
    if device.resolution != base["resolution"]:
        result["resolution"] = device.resolution, base["resolution"]
    return result


def _not_told(stage: Any) -> tuple[str, ...]:
    """Fields that change no frame, and that a device was written without before there were any of them."""
    return tuple(name for name, before in before_of(type(stage)).items() if name in stage.without_effect() and (
        getattr(stage, name) == before
    ))  # fmt: skip


def _kind(stage: Any) -> str:
    return getattr(stage, "kind", "") or type(stage).__name__


def _words(device: Device, base: Mapping[str, Any]) -> str:
    """Return what differs, in words: a part by its name where it is another one, fields with their units otherwise."""
    words: list[str] = []
    for path in _changes(device, base):
        stage, _, field = path.partition(".")
        if not field:
            words.append(f"{path} {getattr(device, path)}")
            continue
        place = toml.field_of(stage)
        now, then = getattr(device, place), base[place]
        if field == "kind" or getattr(now, "name", "") != getattr(then, "name", ""):
            words.append(f"{stage} {_part_words(type(device), place, now)}")
        else:
            words.append(f"{path} {_value(now, field)}")
    return _first(list(dict.fromkeys(words)))


def _value(stage: Any, field: str) -> str:
    text: str = stage.text(field)
    return text.removesuffix(f" {field}")  # no "bits 8 bits"


def _first(words: list[str]) -> str:
    more = f" and {len(words) - _TOLD} more" if len(words) > _TOLD else ""
    return ", ".join(words[:_TOLD]) + more


def _part_words(cls: Any, stage: str, now: Any) -> str:
    """Return another part's name, and where that is a preset of parts what it differs in from that."""
    name = getattr(now, "name", "")
    known = {spec: base for spec in _versions(cls, stage, name) if type(base := _part(cls, stage, spec)) is type(now)}
    if not known:
        return name or _kind(now)
    told = {spec: _differing(now, base) for spec, base in known.items()}
    spec = min(told, key=lambda spec: len(told[spec]))  # of equals the newest
    return f"{spec} with {_first(told[spec])}" if told[spec] else spec


def _differing(now: Any, base: Any) -> list[str]:
    own = [f.name for f in dataclasses.fields(base) if f.name != "name"]
    return [f"{field} {_value(now, field)}" for field in own if getattr(now, field) != getattr(base, field)]


def _versions(cls: Any, stage: str, name: str) -> list[str]:
    """Return how the versions of a preset of parts are named, the newest first, which has the plain name."""
    shelves = parts_of(cls)[stage].shelves
    if not shelves or not name:
        return []
    stem = name.lower().replace(" ", "-")
    specs = [spec for shelf in shelves for spec in toml.presets(shelf)]
    numbers = [int(spec.partition("@")[2]) for spec in specs if spec.partition("@")[0].lower() == stem]
    return [name, *(f"{name}@{number}" for number in sorted(numbers)[-2::-1])]


@lru_cache(maxsize=64)
def _part(cls: Any, stage: str, name: str) -> Any:
    """Return a preset of parts; None if there is none of that name."""
    parts = parts_of(cls)
    if not parts[stage].shelf:
        return None
    try:
        return toml.before({stage: {"preset": name}}, parts)[1][stage]
    except ValueError:
        return None
