"""Device: the stages as one frozen record; TOML in and out; presets; fingerprint."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from opusim.base import validation

from .camera import Camera
from .dmd import Dmd
from .laser import Laser
from .medium import Medium
from .optics import Optics
from .reference import Reference

RESOLUTIONS = ("auto", "mirrors")
_SHELVES = {"dmd": "dmds", "camera": "cameras"}


@dataclass(frozen=True)
class Operation:
    """How a device is run: its timing, and what its driver needs to know.

    Parameters
    ----------
    frametime_s : float
        Time from one pattern to the next, unless the exposure or the readout need longer.
    exposure_s : float
        Exposure of the camera.
    ones_range : tuple of int
        Fewest and most mirrors on for which the camera gets a good signal; above, the driver shortens the
        exposure in proportion.
    opu_type : str
        "type1" (square region of interest), "type2" or "type3" (full width), as the real driver names them.
    minimum_output_size : int
        Fewest pixels of a region of interest.
    power_w : float
        Electrical power of the whole device, for the energy on the device clock.
    """

    frametime_s: float = 500e-6
    exposure_s: float = 400e-6
    ones_range: tuple[int, int] = (0, 1_039_680)
    opu_type: str = "type2"
    minimum_output_size: int = 0
    power_w: float = 30.0

    def __post_init__(self) -> None:
        """Check every parameter."""
        validation.number("operation.frametime_s", self.frametime_s, low=0.0, high=60.0, low_open=True)
        validation.number("operation.exposure_s", self.exposure_s, low=0.0, high=60.0, low_open=True)
        if not isinstance(self.ones_range, (list, tuple)) or len(self.ones_range) != 2:
            raise TypeError(f"operation.ones_range is {self.ones_range!r}, but it must be two whole numbers.")
        fewest = validation.integer("operation.ones_range[0]", self.ones_range[0], low=0)
        most = validation.integer("operation.ones_range[1]", self.ones_range[1], low=1)
        if fewest >= most:
            raise ValueError(f"operation.ones_range is {list(self.ones_range)}, but the fewest must be below the most.")
        object.__setattr__(self, "ones_range", (fewest, most))
        validation.choice("operation.opu_type", self.opu_type, ("type1", "type2", "type3"))
        validation.integer("operation.minimum_output_size", self.minimum_output_size, low=0)
        validation.number("operation.power_w", self.power_w, low=0.0, high=1e6)


@dataclass(frozen=True)
class Device:
    """An optical processing unit: laser, mirrors, medium, camera, reference arm, and how they are run.

    Parameters
    ----------
    name : str
        Name of the device.
    laser : Laser
        The light source.
    dmd : Dmd
        The mirrors.
    medium : Medium
        What scatters the light; of a kind that comes with opusim, or of another (`opusim.device.medium.Medium`).
    camera : Camera
        The camera.
    operation : Operation
        How the driver runs it.
    reference : Reference
        The reference arm; without one by default.
    resolution : {"auto", "mirrors"}
        "auto": one mode for each macro-pixel that the formatter makes; "mirrors": one for each mirror and each
        pixel. Statistically the same device, another realisation; part of the fingerprint.
    version : int
        Version of the preset it came from.
    description : str
        One line about it.
    """

    name: str
    laser: Laser
    dmd: Dmd
    medium: Medium
    camera: Camera
    operation: Operation = field(default_factory=Operation)
    reference: Reference = field(default_factory=Reference)
    resolution: str = "auto"
    version: int = 1
    description: str = ""

    def __post_init__(self) -> None:
        """Check what the stages do not check themselves."""
        validation.choice("resolution", self.resolution, RESOLUTIONS)
        validation.integer("version", self.version, low=1)
        for name in ("name", "description"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is {getattr(self, name)!r}, but it must be a text.")
        kinds: dict[str, Any] = {"laser": Laser, "dmd": Dmd, "camera": Camera, "operation": Operation}
        kinds["reference"] = Reference
        kinds["medium"] = Medium
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} is {getattr(self, name)!r}, but it must be of type {kind.__name__}.")
        self.medium.check(self.laser, self.camera)
        if self.operation.ones_range[1] > self.dmd.n_mirrors:
            raise ValueError(
                f"operation.ones_range is {list(self.operation.ones_range)}, but there are {self.dmd.n_mirrors} "
                "mirrors: the most that may be on must not be above that."
            )

    @property
    def optics(self) -> Optics:
        """How a pixel of the camera samples the field."""
        return Optics.of(polarised=self.camera.polarised, pixel_over_grain=self.camera.pixel_over_grain)

    # ------------------------------------------------------------------ reading

    @classmethod
    def load(cls, spec: str | Path | Device) -> Device:
        """Return the device that a name or a file stands for.

        Parameters
        ----------
        spec : str, Path or Device
            A preset ("aurora", or "aurora@1" for one version of it), the path of a TOML file, or a device.

        Returns
        -------
        Device
            The device; one that is given comes back as it is.

        Raises
        ------
        ValueError
            If there is no such preset or file, or the file does not describe a device.
        """
        if isinstance(spec, Device):
            return spec
        if not isinstance(spec, (str, Path)):
            raise TypeError(
                f"device is {spec!r} ({type(spec).__name__}), but it must be a preset's name, the path of a TOML file, "
                "or a Device."
            )
        text = str(spec)
        if isinstance(spec, Path) or text.endswith(".toml") or "/" in text:
            return cls.from_toml(Path(spec))
        return cls.from_dict(_read_preset("", text), origin=f"preset {text!r}")

    @classmethod
    def from_toml(cls, source: str | Path) -> Device:
        """Read a device from a TOML file (a Path) or from TOML text (a str).

        Tables ``dmd`` and ``camera`` may name a preset (``preset = "DLP4500"``) and change fields of it; a file may
        also start from a whole device (``preset = "aurora"`` at the top) and change fields of that.

        Parameters
        ----------
        source : str or Path
            The file, as a Path, or the text itself, as a str.

        Returns
        -------
        Device
            The device.

        Raises
        ------
        TypeError, ValueError
            If the file cannot be read, the text is not TOML, or it does not describe a device.
        """
        origin = "the TOML text"
        if isinstance(source, Path):
            origin = f"{str(source)!r}"
            try:
                text = source.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"device is {str(source)!r}, but that file cannot be read ({error}).") from error
        else:
            text = source
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{origin} is not valid TOML: {error}.") from error
        return cls.from_dict(table, origin=origin)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], *, origin: str = "the table") -> Device:
        """Build a device from nested tables as in a TOML file.

        Parameters
        ----------
        table : mapping
            Tables of the stages by name, and the fields of the device.
        origin : str
            What the sentence of an error calls the table.

        Returns
        -------
        Device
            The device.

        Raises
        ------
        TypeError, ValueError
            If a field is missing, unknown, or not what it may be.
        """
        table = dict(table)
        while (base := table.pop("preset", None)) is not None:  # a preset may start from another one
            table = _merge(_read_preset("", base), table)
        known = {f.name for f in dataclasses.fields(cls)}
        _refuse_unknown(table, known, origin, "")
        missing = [name for name in ("name", "laser", "dmd", "medium", "camera") if name not in table]
        if missing:
            raise ValueError(
                f'{origin} lacks {", ".join(map(repr, missing))}; preset = "aurora" at the top would start from aurora.'
            )
        for name in ("laser", "dmd", "medium", "camera", "operation", "reference"):
            if name in table and not isinstance(table[name], Mapping):
                hint = f' such as [{name}] with preset = "NAME"' if name in _SHELVES else ""
                raise ValueError(f"{origin}: {name} is {table[name]!r}, but it must be a table{hint}.")
        stages: dict[str, Any] = {
            "laser": _build(Laser, table["laser"], origin, "laser"),
            "dmd": _build(Dmd, _with_preset(table["dmd"], "dmd"), origin, "dmd"),
            "medium": _build_medium(table["medium"], origin),
            "camera": _build(Camera, _with_preset(table["camera"], "camera"), origin, "camera"),
        }
        if "operation" in table:
            stages["operation"] = _build(Operation, table["operation"], origin, "operation")
        if "reference" in table:
            stages["reference"] = _build(Reference, table["reference"], origin, "reference")
        rest = {k: v for k, v in table.items() if k in ("name", "version", "resolution", "description")}
        return cls(**rest, **stages)

    # ------------------------------------------------------------------ writing

    def to_dict(self) -> dict[str, Any]:
        """Return nested tables of plain values, as `from_dict` takes them.

        Returns
        -------
        dict
            Every field of every stage.
        """
        result: dict[str, Any] = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                stage = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(value).items()}
                if f.name == "medium":
                    stage = {"kind": self.medium.kind, **stage}
                result[f.name] = stage
            else:
                result[f.name] = value
        return result

    def to_toml(self) -> str:
        """Return the device as a TOML text.

        Returns
        -------
        str
            `from_toml` reads it back to an equal device.
        """
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    def fingerprint(self) -> str:
        """Return the checksum of everything that sets what the device does: files carry it.

        The name, the description and the version are left out; a measured matrix goes in with its contents.

        Returns
        -------
        str
            A sha256 in hexadecimal digits.
        """
        content = self.to_dict()
        for name in ("name", "description", "version"):
            content.pop(name)
            for stage in ("dmd", "camera"):
                content[stage].pop(name, None)
        content["medium"].update(self.medium.content())
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    # ------------------------------------------------------------------ variants

    def evolve(self, **changes: Any) -> Device:
        """Return a device with some fields changed.

        Parameters
        ----------
        **changes
            Fields by dotted path, as in ``device.evolve(**{"camera.bits": 10, "resolution": "mirrors"})``.

        Returns
        -------
        Device
            The changed device; this one stays as it is.

        Raises
        ------
        ValueError
            If there is no such field (near matches are named) or the value is not allowed.
        """
        top: dict[str, Any] = {}
        nested: dict[str, dict[str, Any]] = {}
        for path, value in changes.items():
            stage, dot, name = path.partition(".")
            stages = {f.name for f in dataclasses.fields(self)}
            if path not in (self.paths() if dot else stages):
                raise ValueError(f"There is no field {path!r} in the device{_near(path, self.paths())}")
            if name:
                nested.setdefault(stage, {})[name] = tuple(value) if isinstance(value, list) else value
            else:
                top[stage] = value
        for stage, values in nested.items():
            top[stage] = dataclasses.replace(top.get(stage, getattr(self, stage)), **values)
        return dataclasses.replace(self, **top)

    def paths(self) -> list[str]:
        """Return the dotted paths of all fields of the stages.

        Returns
        -------
        list of str
            Such as "camera.bits": what `evolve` takes.
        """
        result = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                result += [f"{f.name}.{g.name}" for g in dataclasses.fields(value)]
            else:
                result.append(f.name)
        return result

    def imperfections(self) -> dict[str, dict[str, Any]]:
        """Return, for each imperfection by name, the fields that switch it off alone.

        Returns
        -------
        dict of dict
            For each name, values by dotted path, as `evolve` takes them.
        """
        switches: dict[str, dict[str, Any]] = {
            "laser power noise": {"laser.power_noise": 0.0},
            "laser power drift": {"laser.power_drift_per_hour": 0.0},
            "off-state leakage": {"dmd.contrast_ratio": math.inf},
            "uneven beam": {"dmd.beam_radius_m": math.inf},
            "aberration": {"dmd.aberration_rms_rad": 0.0},
            "stuck mirrors": {"dmd.stuck_on_fraction": 0.0, "dmd.stuck_off_fraction": 0.0},
            "decorrelation": {"medium.decorrelation_time_s": math.inf},
            "shot noise": {"camera.shot_noise": False},
            "read noise": {"camera.read_noise_e": 0.0},
            "dark current": {"camera.dark_current_e_per_s": 0.0},
            "hot pixels": {"camera.hot_pixel_fraction": 0.0},
            "PRNU": {"camera.prnu": 0.0},
            "DSNU": {"camera.dsnu_e": 0.0},
            "full well": {"camera.full_well_e": math.inf},
            "black level": {"camera.black_level_dn": 0.0},
            "quantisation": {"camera.quantise": False},
            "pixel integration": {"camera.pixel_over_grain": 0.0},
            "unpolarised light": {"camera.polarised": True},
            "uneven reference": {"reference.beam_radius_m": math.inf, "reference.wavefront_rms_rad": 0.0},
            "phase shifter's error": {"reference.scale_error": 0.0, "reference.nonlinearity": 0.0},
            "phase jitter": {"reference.jitter_rad": 0.0},
            "reference drift": {"reference.drift_rad_per_minute": 0.0},
            "vibration": {"reference.vibration_rad": 0.0},
            "partial coherence": {"reference.coherence": 1.0},
        }
        for name, values in self.medium.switches().items():
            switches[name] = {f"medium.{field}": value for field, value in values.items()}
        return switches

    def ideal(self) -> Device:
        """Return the device without any imperfection: ``y = |Rx|^2`` in grey levels, as float32.

        Not rounded, not clipped; the same medium, the same light level.

        Returns
        -------
        Device
            The ideal device.
        """
        changes: dict[str, Any] = {}
        for switch in self.imperfections().values():
            changes.update(switch)
        return self.evolve(**changes)


def presets(shelf: str = "") -> dict[str, str]:
    """Return the presets that come with opusim.

    Parameters
    ----------
    shelf : {"", "cameras", "dmds"}
        Whole devices, cameras or mirror arrays.

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


def _read_preset(shelf: str, spec: Any) -> dict[str, Any]:
    """Table of a preset by name or name@version; older versions lie beside the newest as NAME@VERSION.toml."""
    what = {"": "device", "dmds": "DMD", "cameras": "camera"}[shelf]
    if not isinstance(spec, str) or not spec:
        raise ValueError(f"preset is {spec!r}, but it must be the name of a {what} preset.")
    folder = resources.files("opusim") / "presets"
    if shelf:
        folder = folder / shelf
    name, _, version = spec.partition("@")
    name = name.lower().replace(" ", "-")
    files = {entry.name.lower(): entry for entry in folder.iterdir() if entry.name.endswith(".toml")}
    for candidate in (f"{name}@{version}.toml", f"{name}.toml") if version else (f"{name}.toml",):
        if candidate in files:
            table = tomllib.loads(files[candidate].read_text(encoding="utf-8"))
            if not version or str(table.get("version", 1)) == version:
                return table
    names = sorted(presets(shelf))
    for stage, other in _SHELVES.items():
        if other != shelf and f"{name}@{version or 1}" in presets(other):
            raise ValueError(
                f"There is no {what} preset {spec!r}: that is a {stage}. Use it in a TOML file, as "
                f"preset = {spec!r} in the table [{stage}]."
            )
    raise ValueError(
        f"There is no {what} preset {spec!r}{_near(spec, [n.partition('@')[0] for n in names])} "
        f"The {what} presets are {', '.join(names)}."
    )


def _near(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; near matches are {', '.join(map(repr, close))}." if close else "."


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


def _with_preset(table: Mapping[str, Any], stage: str) -> dict[str, Any]:
    table = dict(table)
    name = table.pop("preset", None)
    if name is None:
        return table
    base = _read_preset(_SHELVES[stage], name)
    for key in ("version", "description"):
        base.pop(key, None)
    return {**base, **table}


def _build(cls: type, table: Mapping[str, Any], origin: str, stage: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    _refuse_unknown(table, set(fields), origin, f"{stage}.")
    missing = [
        f"{stage}.{name}"
        for name, f in fields.items()
        if name not in table and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{origin} lacks {', '.join(missing)}.")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def _build_medium(table: Mapping[str, Any], origin: str) -> Any:
    table = dict(table)
    kind = table.pop("kind", None)
    try:
        medium = Medium.of_kind(kind)
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from None
    return _build(medium, table, origin, "medium")


def _refuse_unknown(table: Mapping[str, Any], known: set[str], origin: str, prefix: str) -> None:
    for key in table:
        if key not in known:
            more = {"": ["preset"], "dmd.": ["preset"], "camera.": ["preset"], "medium.": ["kind"]}.get(prefix, [])
            allowed = ", ".join(sorted(prefix + k for k in [*known, *more]))
            raise ValueError(
                f"{origin} has an unknown key {prefix + key!r}{_near(key, sorted(known))} Allowed are {allowed}."
            )
