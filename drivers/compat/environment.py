"""Which device a program gets that does not know it is simulated: from the environment, or a device's json.

`OPUSIM_DEVICE`
    A preset's name, the path of a TOML file, or the path of a json file shaped as a real device's. In such a json,
    `simulated_device` (a preset or a TOML file) says what is simulated; without it, `type` does.
`OPUSIM_SEED`
    Seed of the medium, the sensor and the noise; 0 by default.
`OPUSIM_EXCLUSIVE`
    1: only one process at a time may open the device. In a json: ``"exclusive": true``.

Without `OPUSIM_DEVICE`, the machine's own `/etc/lighton/host.json` is read if there is one. Files are written into the
user's configuration folder only.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opusim.base import folders, validation
from opusim.drivers.settings import OPU_TYPES, default_config, read_config, update_config

if TYPE_CHECKING:
    from opusim.device.record import Device

MACHINE_HOST_FILE = Path("/etc/lighton/host.json")
"""Where the real driver's installation leaves word of the device."""
_OF_TYPE = {"type1": "aurora-type1", "type2": "aurora", "type3": "aurora-type3"}


_KNOWN = {
    "type", "name", "input", "output", "ones_range", "n_samples_by_pass", "version", "location", "simulated_device",
    "exclusive",
}  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """What is to be simulated.

    Attributes
    ----------
    device : Device
        The device.
    seed : int
        Its seed.
    config : dict
        Settings of the driver, shaped as a real device's json.
    exclusive : bool
        Whether only one process may open it.
    config_path : Path or None
        The json that the settings come from, if there is one.
    """

    device: Device
    seed: int
    config: dict[str, Any]
    exclusive: bool
    config_path: Path | None


def selected(opu_type: str | None = None) -> Selection:
    """Return what the environment asks for.

    Parameters
    ----------
    opu_type : {"type1", "type2", "type3"}, optional
        Kind of the device if nothing else says which; "type2" by default.

    Raises
    ------
    ValueError
        If a variable or a file does not say what it should.
    """
    from opusim.device.record import Device

    given = os.environ.get("OPUSIM_DEVICE", "").strip()
    path = Path(given).expanduser() if given.lower().endswith(".json") else (None if given else _machine_config())
    content: dict[str, Any] = {}
    if path is not None:
        content = read_config(path, name="OPUSIM_DEVICE" if given else str(MACHINE_HOST_FILE))
        if not set(content) & _KNOWN:
            raise ValueError(
                f"{path} holds none of the keys of a device's json; some are needed of {', '.join(sorted(_KNOWN))}."
            )
        opu_type = content.get("type", opu_type)
    try:
        if opu_type is not None:
            validation.choice("type", opu_type, OPU_TYPES)
        device = Device.load(
            _beside(path, content.get("simulated_device"))
            or (given if path is None and given else _OF_TYPE[opu_type or "type2"])
        )
    except (TypeError, ValueError) as error:
        source = str(path) if path is not None else "OPUSIM_DEVICE"
        raise ValueError(f"{source}: {error}") from None
    config = default_config(device)
    if path is not None:
        update_config(config, content, name=str(path), strict=False)
    exclusive = _flag("OPUSIM_EXCLUSIVE") or validation.flag("exclusive", config.get("exclusive", False))
    return Selection(device, _seed(), config, exclusive, path)


def _beside(path: Path | None, spec: Any) -> Any:
    """Return what a json names as its device; a file's path is taken from the json's own folder."""
    if path is not None and isinstance(spec, str) and (spec.endswith(".toml") or "/" in spec):
        return path.parent / Path(spec).expanduser()
    return spec


def _machine_config() -> Path | None:
    if not MACHINE_HOST_FILE.exists():
        return None
    location = read_config(MACHINE_HOST_FILE).get("opu_config", "/etc/lighton/opu.json")
    # The device's json may lie on a server of the real installation; what cannot be read is no device.
    return Path(location) if Path(location).is_file() else None


def _seed() -> int:
    text = os.environ.get("OPUSIM_SEED", "0").strip() or "0"
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"OPUSIM_SEED is {text!r}, but it must be a whole number, 0 or more.")
    return int(text)


def _flag(name: str) -> bool:
    text = os.environ.get(name, "").strip().lower()
    if text not in ("", "0", "1", "false", "true"):
        raise ValueError(f"{name} is {text!r}, but it must be 0 or 1.")
    return text in ("1", "true")


def host_file() -> Path:
    """Return the host.json that the real lightonml shall read: it leads to the json of the selected device.

    Returns
    -------
    Path
        The machine's own file if that describes the selected device; else one in the user's configuration folder,
        written if it is not there.

    Raises
    ------
    OSError
        If the configuration folder cannot be written; the sentence says how to name another.
    """
    choice = selected()
    if choice.config_path is not None and not os.environ.get("OPUSIM_DEVICE", "").strip():
        return MACHINE_HOST_FILE
    name = folders.file_name(choice.device.name, f"-{choice.device.fingerprint()[:12]}")
    opu_config = choice.config_path
    if opu_config is None:
        opu_config = _kept(f"{name}.json", choice.config)
    else:
        name = folders.file_name(opu_config.stem, f"-{_digest(str(opu_config.resolve()))}")
    return _kept(f"{name}.host.json", {"opu_config": str(opu_config.resolve()), "lightonml_open_at_init": True})


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _kept(name: str, content: dict[str, Any]) -> Path:
    """Write a json into the configuration folder, unless it says just that already."""
    from opusim.base.files import replacing

    folder = folders.config_folder() / "lightonopu"
    path = folder / name
    text = json.dumps(content, indent=2) + "\n"
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return path
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise folders.not_kept("The configuration of the simulated device", folder, error) from error
    return path
