"""What a file says of a device that is another one now: which version of its preset it was, and how it is named today.

A preset's name means its newest version. A file that was made with an older one does not go on with the newest, and the
sentence that says so also says with what it does go on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from opusim.base.parameters import parameters_of, parts_of

from . import origin, toml
from .record import Device

__all__ = ["told_version"]


def told_version(fingerprint: str, device: Any = None, what: str = "the file") -> str:
    """Return a sentence about a device that is known by its fingerprint alone, where another one is at hand.

    Parameters
    ----------
    fingerprint : str
        Of the device that is looked for.
    device : Device, optional
        The one at hand: its changes are tried on the other versions of its preset, and fields that came later at what
        was done before. Without one, or one of a laboratory, presets alone are looked through.
    what : str, optional
        Whose device is looked for.

    Returns
    -------
    str
        Such as "The device of the file is aurora, version 1, ...: aurora@1 is that device (...)."; empty where the
        fingerprint is that of no such device, or of the one at hand.
    """
    here = device if isinstance(device, Device) else None
    if not fingerprint or (here is not None and here.fingerprint() == fingerprint):
        return ""
    newest, (mine, at_hand) = _newest(), ("", "") if here is None else origin.preset_of(here)
    for spec in toml.presets():
        name, _, version = spec.partition("@")
        # Not where the version is no matter: one that is changed is at hand, or the name alone tells all.
        told = spec != at_hand and (name == mine or int(version) != newest[name])
        if told and Device.load(spec).fingerprint() == fingerprint:
            meaning = f", and {name} means version {newest[name]} now" if int(version) != newest[name] else ""
            return (
                f"The device of {what} is {name}, version {version}{meaning}: {spec} is that device "
                f"(--device {spec}, or device={spec!r})."
            )
    return "" if here is None else _told_changed(fingerprint, here, what, newest)


def _newest() -> dict[str, int]:
    """Return the newest version of each preset."""
    result: dict[str, int] = {}
    for spec in toml.presets():
        name, _, version = spec.partition("@")
        result[name] = max(int(version), result.get(name, 0))
    return result


def _told_changed(fingerprint: str, here: Device, what: str, newest: dict[str, int]) -> str:
    name, spec = origin.preset_of(here)
    versions = dict(_on_versions(here, name, spec))
    plain: list[tuple[str, Device, dict[str, Any]]] = [(other, device, {}) for other, device in versions.items()]
    # The fewest words first: another version, fields that came later, both.
    later = [(other, *_as_before(device)) for other, device in {spec: here, **versions}.items()]
    for other, device, fields in [*plain, *later]:
        if device is here or device.fingerprint() != fingerprint:
            continue
        words = [f"{path} = {_toml_text(value)}" for path, value in fields.items()]
        first = f"The device of {what} is of a time when these fields were not there"
        if other != spec:
            words = [f'preset = "{other}" in place of what it starts from', *words]
            version = other.partition("@")[2]
            meaning = f", and {name} means version {newest[name]} now" if newest[name] != int(version) else ""
            first = f"The device of {what} came from {name}, version {version}{meaning}"
        return f"{first}: with {' and '.join(words)} the device of now is that one."
    return ""


def _on_versions(here: Device, name: str, spec: str) -> Iterator[tuple[str, Device]]:
    """Return its changes on the other versions of the preset that it came from."""
    for other in toml.presets():
        if other.partition("@")[0] != name or other == spec:
            continue
        base = Device.load(other)
        stages: dict[str, Any] = {stage: getattr(base, stage) for stage in parts_of(Device)}
        for path, (value, _) in here.changes.items():
            stage, _, field = path.partition(".")
            if not field:
                stages[stage] = value
            elif field == "kind":
                stages[stage] = getattr(here, stage)
            else:
                stages[stage] = dataclasses.replace(stages[stage], **{field: value})
        try:
            yield other, dataclasses.replace(here, **stages)
        except (TypeError, ValueError):
            continue  # changes that do not go with that version


def _as_before(device: Device) -> tuple[Device, dict[str, Any]]:
    """Return a device with every field that came later at what was done before, and the fields that this changes."""
    changed: dict[str, Any] = {}
    for stage in parts_of(Device):
        part = getattr(device, stage)
        for field, about in parameters_of(type(part)).items():
            if about.before is not None and getattr(part, field) != about.before:
                changed[f"{stage}.{field}"] = about.before
    try:
        return (device.evolve(**changed) if changed else device), changed
    except (TypeError, ValueError):
        return device, {}


def _toml_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml_text, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
