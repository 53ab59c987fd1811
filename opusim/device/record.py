"""Device: the stages as one frozen record, how it is run, its variants and its fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, Self

from opusim.base.folders import expanded
from opusim.base.parameters import Stage, before_of, near_matches, parameter, part, parts_of, stage_name
from opusim.base.plugins import code_of
from opusim.base.warn import warn_outside

from . import origin, toml
from .camera import Camera
from .dmd import Dmd
from .fourier_stop import FourierStop
from .laser import Laser
from .lines import line_contrast, spectral_lines
from .medium.base import MEDIA, Medium
from .medium.drift import Drift
from .modulator import Modulator
from .optics import MAGNIFICATION, Optics
from .pixel_sampling import PixelSampling
from .reference import Reference
from .slm import PhaseSlm

RESOLUTIONS = ("auto", "mirrors")
MODULATORS: dict[str, type[Modulator]] = {kind.kind: kind for kind in (Dmd, PhaseSlm)}
"""Kinds of modulators by name."""
# From so much on, light is of another wavelength than that for which an efficiency is stated.
_WAVELENGTH_APART = 0.05
_TOLD = "_told"
# Share by which a quantum efficiency that a table gives may differ from that of a curve, as it is written rounded.
_ROUNDED = 1e-6


@dataclass(frozen=True)
class Operation(Stage):
    """How a device is run: its timing, and what its driver needs to know.

    Parameters
    ----------
    frametime_s : float
        Time from one pattern to the next, unless the exposure or the readout need longer.
    exposure_s : float
        Exposure of the camera.
    ones_range : tuple of int
        Fewest and most mirrors on for which the camera gets a good signal; above, the driver shortens the
        exposure in proportion. A phase modulator lights all of its pixels, whatever this says.
    opu_type : str
        "type1" (square region of interest), "type2" or "type3" (full width), as the real driver names them.
    minimum_output_size : int
        Fewest pixels of a region of interest.
    power_w : float
        Electrical power of the whole device, for the energy on the device clock.
    exposure_average : bool
        Whether what changes while the shutter is open is averaged over the exposure: the phase between the arms, the
        medium. If not, each frame sees both as they are when it begins, as in version 1 of the presets.
    frames_per_vector : int
        Frames that the linear transform by intensities takes of each vector, beside its anchors.
    reference_map : {"alone", "demodulated"}
        What a calibration takes for the light of the reference: frames of it with every mirror off, and the light of
        off mirrors with it ("alone"), or that of bursts with every mirror off, from which the field of these mirrors
        is taken ("demodulated").
    """

    stage: ClassVar[str] = "operation"

    frametime_s: float = parameter(500e-6, low=0.0, high=60.0, low_open=True, unit="s")
    exposure_s: float = parameter(400e-6, low=0.0, high=60.0, low_open=True, unit="s", learnable="scale")
    ones_range: tuple[int, int] = parameter((0, 1_039_680), kind="integers", low=(0, 1), unit="mirrors")
    opu_type: str = parameter("type2", choices=("type1", "type2", "type3"))
    minimum_output_size: int = parameter(0, low=0, unit="pixels")
    power_w: float = parameter(30.0, low=0.0, high=1e6, unit="W")
    exposure_average: bool = parameter(True, before=False)
    frames_per_vector: int = parameter(2, low=2, high=64, unit="frames", before=2)
    reference_map: str = parameter("alone", kind="choice", choices=("alone", "demodulated"), before="alone")

    def _check_together(self) -> None:
        """Check the order of the two numbers of mirrors."""
        if self.ones_range[0] >= self.ones_range[1]:
            raise ValueError(f"operation.ones_range is {list(self.ones_range)}, but the fewest must be below the most.")


@dataclass(frozen=True)
class Device(Stage):
    """An optical processing unit: laser, mirrors, stop, medium, camera, lenses, reference arm, and how they are run.

    Parameters
    ----------
    name : str
        Name of the device. That of a preset is for this preset alone: one that differs from it is called "aurora,
        changed", unless it gets a name of its own.
    laser : Laser
        The light source.
    dmd : Dmd or PhaseSlm
        The mirrors, or another modulator: its table in a TOML file is ``[modulator]``, with its `kind`.
    medium : Medium
        What scatters the light; of a kind that comes with opusim, or of another (`opusim.device.medium.Medium`).
    camera : Camera
        The camera.
    operation : Operation
        How the driver runs it.
    reference : Reference
        The reference arm; without one by default.
    optics : Optics
        The lenses before and behind the medium, or that every camera is re-magnified, as it is by default.
    resolution : {"auto", "mirrors"}
        "auto": one mode for each macro-pixel that the formatter makes; "mirrors": one for each mirror and each
        pixel. Statistically the same device, another realisation; part of the fingerprint. "auto" keeps rows and
        columns of the region that is read, and with them the correlation of neighbours, where the pixels average over
        their area (``camera.pixel_over_grain`` above 0); a region that is long and narrow is folded into bands, at
        whose seams neighbours have nothing in common. Pixels that sample points have nothing in common anyway: "auto"
        puts them in a square, and which pixel lies where means nothing. "mirrors" keeps all geometry. Behind a
        Fourier stop it is always "mirrors".
    version : int
        Version of the preset it came from; of the device itself if it came from none.
    description : str
        One line about it; that of a preset becomes one about what was changed.
    fourier_stop : FourierStop
        A relay with a stop behind the mirrors, for holograms; without one by default.
    """

    name: str = parameter(kind="name")
    laser: Laser = part(Laser)
    dmd: Modulator = part(MODULATORS, shelf="dmds", others=("slms",), base=Modulator, usual=Dmd.kind)
    medium: Medium = part(MEDIA, base=Medium)
    camera: Camera = part(Camera, shelf="cameras")
    operation: Operation = part(Operation, given=False)
    reference: Reference = part(Reference, given=False)
    optics: Optics = part(Optics, given=False)
    resolution: str = parameter("auto", choices=RESOLUTIONS)
    version: int = parameter(1, low=1)
    description: str = parameter("", kind="text")
    fourier_stop: FourierStop = part(FourierStop, given=False)

    def __post_init__(self) -> None:
        """Check every field and what holds between them; see that name and description say what it is."""
        super().__post_init__()
        efficiency = self.camera.efficiency_at(self.laser.wavelength_m)
        if efficiency != self.camera.quantum_efficiency:
            object.__setattr__(self, "camera", dataclasses.replace(self.camera, quantum_efficiency=efficiency))
        name, description = origin.told(self)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "description", description)

    def _check_together(self) -> None:
        """Check what holds between the stages."""
        self.optics.check(self.laser, self.dmd, self.camera, self.medium.transmission)
        self.medium.check(self.laser, self.camera)
        self.fourier_stop.check(self.dmd)
        _ = self.lit_modulator  # phases beyond what there may be are refused
        if self.fourier_stop.present and self.medium.by_feature:
            raise ValueError(
                f"fourier_stop.diameter_cycles is {self.fourier_stop.diameter_cycles!r}, but a medium of kind "
                f"{self.medium.kind!r} is known for its own inputs, with all that was in front of it, and not for "
                "mirrors: it must be inf, or the medium of a kind whose inputs are mirrors."
            )
        if self.optics.pixel_integration and not self.medium.has_waves:
            raise ValueError(
                f"optics.pixel_integration is True, but a medium of kind {self.medium.kind!r} has no geometry to "
                "integrate over: it must be False, or the medium must be of kind 'phase_screens'."
            )
        if self.optics.pixel_integration and self.medium.has_places:
            raise ValueError(
                f"optics.pixel_integration is True, but with a medium of kind {self.medium.kind!r} pixels sample a "
                "point: it must be False."
            )
        if self.optics.pixel_integration and not self.medium.spreads:
            raise ValueError(
                "optics.pixel_integration is True, but the medium has no space between screens to spread light in "
                "(medium.n_screens is 1, or medium.thickness_m is 0): the light of all mirrors comes to a focus in the "
                "middle of its exit face, which the stop lets through, and would be far above any expected level. "
                "medium.n_screens must be at least 2, better 3, with a thickness, or optics.pixel_integration False."
            )
        if self.laser.linewidth_hz:
            _ = self.sampling  # a line that takes too many frequencies is refused
        if self.dmd.binary and self.operation.ones_range[1] > self.dmd.n_mirrors:
            raise ValueError(
                f"operation.ones_range is {list(self.operation.ones_range)}, but there are {self.dmd.n_mirrors} "
                "mirrors: the most that may be on must not be above that."
            )

    def __repr__(self) -> str:
        """Say which device it is, in a line; its parts say the rest, and `opusim info` all of it."""
        rows, columns = self.dmd.shape
        pixels = " x ".join(map(str, self.camera.shape))
        arm = "with" if self.reference.relative_amplitude else "without"
        return (
            f"<Device {self.name!r}{self.title.removeprefix(self.name)}: {rows} x {columns} {self.dmd.elements}, "
            f"{type(self.medium).__name__}, {pixels} pixels of {self.camera.bits} bits, {arm} a reference arm>"
        )

    @property
    def modulator(self) -> Modulator:
        """What shows patterns: micromirrors or a phase modulator; the same as `dmd`, by the name that fits both."""
        return self.dmd

    @property
    def has_places(self) -> bool:
        """Whether it matters where a mirror and a pixel lie: behind a Fourier stop, or as ``Medium.has_places`` says.

        Such a device is computed mirror by mirror and pixel by pixel, also under the resolution "auto".
        """
        return self.fourier_stop.present or self.medium.has_places

    @property
    def lit_modulator(self) -> Modulator:
        """The modulator as the laser's light sees it (``Modulator.lit_by``).

        The same as `modulator` but for a phase modulator that is stated for another wavelength: drivers know the one,
        the light goes through the other.
        """
        return self.dmd.lit_by(self.laser.wavelength_m)

    @property
    def micromirrors(self) -> Dmd:
        """The modulator, where it is an array of micromirrors.

        Raises
        ------
        ValueError
            If it is another one.
        """
        if not isinstance(self.dmd, Dmd):
            raise ValueError(
                f"The modulator of this device is a {type(self.dmd).__name__}, but this is known of micromirrors alone."
            )
        return self.dmd

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """What differs from the preset that it comes from, as its name says, or its description.

        By dotted path: the value here, and that of the preset. Empty for a preset, and for a device with a name and a
        description of its own. A medium of another kind is one change, of ``medium.kind``.
        """
        return origin.changes(self)

    @property
    def title(self) -> str:
        """The name, and the version: that of the preset it comes from where it is another one now.

        Such as "aurora, version 1" or "aurora, changed (from aurora, version 1)".
        """
        return origin.title(self)

    @property
    def pixel_over_grain(self) -> float:
        """Width of a pixel over that of a speckle grain, where pixels integrate over their area; 0 where they do not.

        That of the camera, or what the lengths of the optics give.
        """
        if not self.optics.by_lengths:
            return self.camera.pixel_over_grain
        if not self.optics.pixel_integration:
            return 0.0
        return self.camera.pixel_pitch_m / self.optics.grain_m(self.laser.wavelength_m)

    @property
    def doubts(self) -> list[str]:
        """What the fields say that is allowed, but hardly meant: sentences, each with the values that would do.

        A face of the layer that does not go with its thickness (`Optics.doubts`), what the medium says of itself
        (`Medium.doubts`), efficiencies that are stated for light of another wavelength, and a line or a tuning that
        the medium does not see. Reading a TOML warns of them, and ``opusim info`` tells them.
        """
        told = self.optics.doubts(self.laser, self.dmd, self.medium.widening_m) + self.medium.doubts()
        return told + self.wavelength_doubts + self._light_doubts()

    @property
    def wavelength_doubts(self) -> list[str]:
        """Those of `doubts` about efficiencies for light of another wavelength, which a bench warns of too.

        An efficiency whose wavelength is not stated is that at the laser's, but for one that a preset had for its own
        laser, and that stayed when the laser became another one.
        """
        laser, result = self.laser, []
        for place in ("dmd", "camera"):
            part = getattr(self, place)
            if place == "camera" and part.qe_wavelengths_m:
                continue
            stage, names, wavelength_m = toml.table_of(place, part), part.stated, part.stated_wavelength_m
            why = "is stated for" if len(names) == 1 else "are stated for"
            if not wavelength_m:
                names = names[:1]
                wavelength_m = origin.left_wavelength_m(self, place, names[0])
                why = "is that of the preset it comes from, whose laser has"
            if wavelength_m and abs(laser.wavelength_m / wavelength_m - 1) > _WAVELENGTH_APART:
                paths, one = " and ".join(f"{stage}.{name}" for name in names), len(names) == 1
                result.append(
                    f"laser.wavelength_m is {laser.wavelength_m:g}, but {paths} {why} {wavelength_m:g}: "
                    f"{'it' if one else 'they'} must be given anew, with {stage}.stated_wavelength_m = "
                    f"{laser.wavelength_m:g} beside {'it' if one else 'them'}."
                )
        return result

    def tell_wavelength(self) -> None:
        """Warn of `wavelength_doubts`, unless reading the TOML of this device did."""
        if not self.__dict__.get(_TOLD):
            for sentence in self.wavelength_doubts:
                warn_outside(sentence)

    def _light_doubts(self) -> list[str]:
        """Say what of the laser's light has no effect."""
        laser, result = self.laser, []
        given = [name for name in ("linewidth_hz", "tuning_range_hz") if getattr(laser, name)]
        if given and not self.medium.disperses:
            result.append(
                f"laser.{' and laser.'.join(given)} {'has' if len(given) == 1 else 'have'} no effect, because a medium "
                f"of kind {self.medium.kind!r} does not change with the frequency of the light."
            )
        return result

    @property
    def sampling(self) -> PixelSampling:
        """How a pixel of the camera samples the field."""
        laser = self.laser
        lines: tuple[float, ...] = (0.0,)
        if laser.linewidth_hz:
            lines = spectral_lines(self._unshifted, laser.wavelength_m, laser.linewidth_hz, laser.line)
        return PixelSampling.of(
            polarised=self.camera.polarised, pixel_over_grain=self.pixel_over_grain, lines=lines
        )  # fmt: skip

    @property
    def _unshifted(self) -> Medium:
        """The medium without a shift of the frequency, by which the line is cut: a tuned laser has the same line."""
        shift: float = getattr(self.medium, "frequency_shift", 0.0)
        return self.medium.shifted(-shift) if shift else self.medium

    @property
    def line_contrast(self) -> float:
        """Contrast that the line of the laser leaves of the speckle of one pattern, 1 for a laser of one frequency.

        By a closed form over all angles: of phase screens what is seen may be .03 higher.
        """
        laser = self.laser
        if not laser.linewidth_hz:
            return 1.0
        return line_contrast(self._unshifted, laser.wavelength_m, laser.linewidth_hz, laser.line)

    @property
    def pixel_share(self) -> float:
        """Share of the light from the mirrors, all on, that reaches one pixel on average, in one polarisation.

        ``medium.transmission``; where `Optics.held` is "lengths" times what falls on the area of a pixel here over what
        falls on that for which the transmission is stated (`Optics.stated_share`).
        """
        return self.medium.transmission * self._over_stated

    @property
    def _over_stated(self) -> float:
        pitch_m = self.camera.pixel_pitch_m
        return self.optics.share_on(pitch_m * pitch_m) / self.optics.stated_share if self.optics.by_lengths else 1.0

    @property
    def fringe_coherence(self) -> float:
        """Contrast of the fringes: the coherence of the arms, times what a pixel that samples a point leaves of a tilt.

        Pixels that sample their area average the fringes of a tilted reference by themselves
        (`PixelSampling.fringe_contrast`).
        """
        arm = self.reference
        return arm.coherence * self.sampling.fringe_contrast(arm.carrier_cycles_per_pixel)

    @property
    def background_intensity(self) -> float:
        """Mean intensity with every feature off that a medium brings of its own, in that of one mirror; 0 for most."""
        powers, inputs = self.medium.output_powers(), self.medium.n_inputs
        if powers is None or inputs is None:
            return 0.0
        return float(powers[1].mean()) * (self.dmd.n_mirrors // inputs)

    def photons_per_intensity(self, exposure_s: Any, value: Callable[[str], Any] | None = None) -> Any:
        """Return the photons on a pixel for a field of intensity 1: the light of one average mirror, at the mean power.

        Without the polariser both polarisations reach the camera: twice the light.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.
        value : callable, optional
            What gives the value of a field by its dotted path, in place of the device: numbers or tensors.

        Returns
        -------
        float
            Mean number of photons, or what such values give.
        """
        value = value or (lambda path: attrgetter(path)(self))
        light = value("laser.power_w") * exposure_s / self.laser.photon_energy_j
        light = light * value(f"{self.dmd.stage}.efficiency") * value("medium.transmission") * self._over_stated
        return light * self.sampling.polarisations / self.dmd.n_mirrors

    def drift_within(self, exposure_s: float) -> Drift | None:
        """Return the drift of the medium, if an exposure averages over several of its states.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        Drift or None
            None if the exposure is within a state (`Drift.moves_within`), or ``operation.exposure_average`` is off.
        """
        drift = self.medium.drift
        return drift if self.operation.exposure_average and drift.moves_within(exposure_s) else None

    def averaged_s(self, exposure_s: float) -> float:
        """Return over which time what moves in a frame is averaged.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            The exposure; 0 where ``operation.exposure_average`` is off, and a frame sees its first moment.
        """
        return exposure_s if self.operation.exposure_average else 0.0

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
        return cls.from_dict(toml.read_preset("", text, parts_of(Device)), origin=f"preset {text!r}")

    @classmethod
    def from_toml(cls, source: str | Path) -> Device:
        """Read a device from a TOML file (a Path) or from TOML text (a str).

        Tables ``dmd`` or ``modulator``, and ``camera``, may name a preset (``preset = "DLP4500"``) and change fields of
        it; a file may also start from a whole device (``preset = "aurora"`` at the top) and change fields of that. A
        field that names a file (``medium.path``, ``medium.kind = "fog.py:Fog"``) leads from the folder of the TOML
        file, ``~`` being the user's; in a TOML text it leads from the working folder.

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
            If the file cannot be read, the text is not TOML, or it does not describe a device; if it gives a quantum
            efficiency that is not that of the camera's curve at the laser's wavelength.

        Warns
        -----
        UserWarning
            If the table changes some fields of a preset and leaves others that belong to them: the bits of a camera
            without its gain, its rows without its frame rate, or mirrors without `Operation.ones_range`. If it gives
            lengths of the optics where the magnification is held. And what `doubts` says.
        """
        if isinstance(source, Path):
            source = expanded(source)
        table, label = toml.read(source)
        return cls._of_table(table, label, source.parent if isinstance(source, Path) else None)

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

        Warns
        -----
        UserWarning
            As `from_toml`.
        """
        return cls._of_table(table, origin, None)

    @classmethod
    def from_stored(cls, table: Mapping[str, Any], *, origin: str = "the table") -> Device:
        """Build a device from what `to_dict` gave once, of this release or of an earlier one.

        Parameters
        ----------
        table : mapping
            Every field there was of every stage. One that came later takes the value of what was done before.
        origin : str
            What the sentence of an error calls the table.

        Returns
        -------
        Device
            The device.

        Raises
        ------
        TypeError, ValueError
            As `from_dict`.
        """
        # Without the doubts: they were told when the device was described.
        return cls._of_table(cls.stored_table(table), origin, None, doubts=False)

    @staticmethod
    def stored_table(table: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `to_dict` gave once with the fields that came later, at the values of what was done before.

        Parameters
        ----------
        table : mapping
            As for `from_stored`; of an unknown kind of medium it is taken as it is.

        Returns
        -------
        dict
            Tables of plain values, as `to_dict` gives them.
        """
        whole = toml.by_field(table)
        for stage, one in parts_of(Device).items():
            given = dict(whole.get(stage, {}))
            kind = one.kinds if isinstance(one.kinds, type) else one.kinds.get(given.get("kind", one.usual))
            before = {} if kind is None else before_of(kind)
            if before or given:
                whole[stage] = {**before, **given}
        return whole

    @classmethod
    def _of_table(cls, table: Mapping[str, Any], label: str, folder: Path | None, *, doubts: bool = True) -> Device:
        with toml.named_in_errors(label):
            device = cls(**toml.stages_of(table, cls, parts_of(Device), label, folder))
            table = toml.by_field(table)
            device._check_efficiency(table)
        for sentence in device._left_behind(table) + (device.doubts if doubts else []):
            warn_outside(f"{label}: {sentence}")
        device.__dict__[_TOLD] = doubts  # a bench of this very device need not say it again
        return device

    def _check_efficiency(self, table: Mapping[str, Any]) -> None:
        """Refuse a quantum efficiency in a table that is not that of the camera's curve, which would be in force."""
        given, by_curve = table.get("camera", {}), self.camera.quantum_efficiency
        if "quantum_efficiency" not in given or not self.camera.qe_wavelengths_m:
            return
        if abs(given["quantum_efficiency"] - by_curve) > _ROUNDED * by_curve:
            raise ValueError(
                f"camera.quantum_efficiency is {given['quantum_efficiency']!r}, but the camera has a curve of it "
                f"(camera.qe_wavelengths_m), by which it is {by_curve:.9g} at laser.wavelength_m = "
                f"{self.laser.wavelength_m:g}: it must be that, or the curve must be empty."
            )

    def _left_behind(self, table: Mapping[str, Any]) -> list[str]:
        """Say which fields a table has left as they were though others, that they belong to, have changed."""
        whole, each = toml.before(table, parts_of(Device))
        result = []
        if isinstance(each["camera"], Camera):
            result += self.camera.left_behind(each["camera"], table.get("camera", {}))
        given = table.get("optics", {})
        # A table with every field is one that was written by `to_dict`.
        if not {f.name for f in dataclasses.fields(self.optics)} <= set(given):
            result += self.optics.left_without_effect(given)
        if "dmd" in whole and self.dmd.binary and "ones_range" not in table.get("operation", {}):
            now, then, kept = self.dmd.n_mirrors, whole["dmd"].n_mirrors, self.operation.ones_range
            if now != then:
                fitting = [round(n * now / then) for n in kept]
                result.append(
                    f"there are {now:,} mirrors, but operation.ones_range stays {list(kept)}, that of {then:,} "
                    f"mirrors. operation.ones_range = {fitting} would be the same share of them."
                )
        return result

    # ------------------------------------------------------------------ writing

    def to_dict(self) -> dict[str, Any]:
        """Return nested tables of plain values, as `from_dict` takes them.

        Returns
        -------
        dict
            Every field of every stage.
        """
        result: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name, one in parts_of(Device).items():
            stage = result[name]
            table = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(stage).items()}
            plain = isinstance(one.kinds, type) or stage.kind == one.usual
            result[name] = table if plain else {"kind": stage.kind, **table}
        return result

    def to_toml(self) -> str:
        """Return the device as a TOML text.

        Returns
        -------
        str
            `from_toml` reads it back to an equal device.
        """
        import tomli_w

        return tomli_w.dumps({toml.table_of(k, getattr(self, k)): v for k, v in self.to_dict().items()})

    def fingerprint(self) -> str:
        """Return the checksum of everything that sets what the device does: files carry it.

        The name, the description and the version are left out; a measured matrix goes in with its contents, a medium
        or another part whose class does not come with opusim with its code: the text of the file that defines it, or
        of the class where that is a script or a notebook. What that imports does not. Numbers go in as they are
        written: a device of 2 has another one than the equal device of 2.0. A parameter that came with a later release
        is left out where its value is what was done before (``Parameter.before``), and so are fields that change no
        frame with the others as they are (`Optics.without_effect`).

        Returns
        -------
        str
            A sha256 in hexadecimal digits.
        """
        content = self.to_dict()
        for name in ("name", "description", "version"):
            content.pop(name)
            for stage in parts_of(Device):
                content[stage].pop(name, None)
        for stage in parts_of(Device):
            own: Stage = getattr(self, stage)
            plain, idle = before_of(type(own)), own.without_effect()
            # What came later and is switched to what was before: the device of then, as is its fingerprint.
            content[stage] = {
                name: v
                for name, v in content[stage].items()
                if name not in idle and (name not in plain or plain[name] != v)
            }
            if not content[stage]:
                del content[stage]
        content["medium"].update(self.medium.content())
        if codes := {name: code for name, cls in self._classes().items() if (code := code_of(cls))}:
            content["code"] = codes
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _classes(self) -> dict[str, type]:
        return {"device": type(self)} | {stage: type(getattr(self, stage)) for stage in parts_of(Device)}

    def told_beside_fields(self) -> str:
        """Return what may be another where a device of the same fields has another fingerprint, for a sentence.

        Returns
        -------
        str
            Such as "'tm.h5' holds another matrix" or "the code of Fog is another".
        """
        codes = [cls.__name__ for cls in self._classes().values() if code_of(cls)]
        words = [f"{self.medium.told_files()} holds another matrix"] if self.medium.files or not codes else []
        words += [f"the code of {' or '.join(codes)} is another"] if codes else []
        return ", or ".join(words)

    # ------------------------------------------------------------------ variants

    def evolve(self, **changes: Any) -> Device:
        """Return a device with some fields changed.

        Fields that belong to the changed ones stay without a warning (`from_toml` gives one), since programs vary a
        single field on purpose. A preset is renamed ("aurora, changed") and described by what differs; a device with
        a name or a description of its own keeps it, unless the changes give another.

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
        known = set(self.paths()) | set(parts_of(Device)) | {self.dmd.stage}
        if "dmd" in changes and "modulator" in changes:
            raise ValueError("dmd and modulator are both given, but a device has one modulator: give it by one name.")
        for path, value in changes.items():
            stage, dot, name = path.partition(".")
            # A modulator of any kind goes by the name that fits all of them, and by that of its own table.
            own = self.dmd.stage if stage == "modulator" else stage
            if own + dot + name not in known:
                raise ValueError(f"There is no field {path!r} in the device{self._near(path)}.")
            stage = "dmd" if own == self.dmd.stage else own
            if name:
                nested.setdefault(stage, {})[name] = tuple(value) if isinstance(value, list) else value
            else:
                top[stage] = value
        if "quantum_efficiency" in nested.get("camera", {}):
            curve = nested["camera"].get("qe_wavelengths_m", self.camera.qe_wavelengths_m)
            if curve and "camera" not in top:
                raise ValueError(
                    f"camera.quantum_efficiency is {nested['camera']['quantum_efficiency']!r}, but the camera has a "
                    "curve of it (camera.qe_wavelengths_m), which says what it is: the curve must be empty, or changed "
                    "in its place."
                )
        for stage, values in nested.items():
            top[stage] = dataclasses.replace(top.get(stage, getattr(self, stage)), **values)
        return dataclasses.replace(self, **top)

    def _near(self, path: str) -> str:
        """Return what may be meant by a path that is none, for a sentence."""
        return self.meant_by(path) or near_matches(path, self.paths())

    def meant_by(self, path: str) -> str:
        """Return what is said of a path that was the name of something, or that belongs to another kind of part.

        Parameters
        ----------
        path : str
            Such as "dmd.contrast_ratio" of a device with a phase modulator.

        Returns
        -------
        str
            The end of a sentence, such as ": its modulator is a PhaseSlm, ..."; empty for any other path.
        """
        stage, _, name = path.partition(".")
        meant = getattr(self, stage).meant.get(name) if stage in parts_of(Device) else None
        if stage == "dmd" and not meant and not self.dmd.binary:
            return f": its modulator is a {type(self.dmd).__name__}, whose fields are modulator.NAME"
        return f": {meant}" if meant else ""

    def remagnified(self) -> Device:
        """Return the device with the magnification held: grain in pixels and light of a pixel stay from here on.

        Frames have the same law, but for the angle between mirrors, which is that of the grid of modes again.

        Returns
        -------
        Device
            With `Optics.held` "magnification", the share of the light that reaches a pixel of this camera as
            ``medium.transmission`` and `Optics.stated_share` for it, so that ``optics.held = "lengths"`` leads back to
            the same light, and the pixels' width in grains as `Camera.pixel_over_grain`. This one stays as it is;
            where the magnification is held already, it comes back.
        """
        if not self.optics.by_lengths:
            return self
        pitch_m = self.camera.pixel_pitch_m
        share = self.optics.share_on(pitch_m * pitch_m)
        return self.evolve(
            optics=dataclasses.replace(self.optics, held=MAGNIFICATION, pixel_integration=False, stated_share=share),
            **{"medium.transmission": self.pixel_share, "camera.pixel_over_grain": self.pixel_over_grain},
        )

    def paths(self) -> list[str]:
        """Return the dotted paths of all fields of the stages.

        Returns
        -------
        list of str
            Such as "camera.bits": what `evolve` takes.
        """
        parts = parts_of(Device)
        result = []
        for f in dataclasses.fields(self):
            if f.name in parts:
                own = getattr(self, f.name)
                result += [f"{stage_name(type(own), f.name)}.{g.name}" for g in dataclasses.fields(own)]
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
        return self.switches()

    def ideal(self) -> Self:
        """Return the device without any imperfection: ``y = |Rx|^2`` in grey levels, as float32.

        Not rounded, not clipped; the same medium, the same light level.

        Returns
        -------
        Device
            The ideal device.
        """
        return super().ideal()
