"""What a medium declares: all that a bench, a plan, a budget of noise and a file need to know of it.

A kind of medium is a frozen dataclass in one file: its fields are what a TOML table holds, its `kind` is its name
there. Defining the class is enough to make it known (`Medium.of_kind`), here or in a program that uses opusim. A TOML
file may name one that is not known as ``kind = "file.py:Class"``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from opusim.base.arrays import NUMPY, Arrays
from opusim.base.folders import expanded
from opusim.base.parameters import Part, Stage, parameter
from opusim.base.plain_files import check_plain
from opusim.base.plugins import Registry

from .drift import Drift
from .grid import ModeGrid
from .layer import LayerFactors, LayerOperator

if TYPE_CHECKING:
    from opusim.device.camera import Camera
    from opusim.device.laser import Laser


MEDIA: Registry[type[Medium]] = Registry("kind of medium", __name__.rpartition(".")[0], marker=r"^    kind\b.*=")
"""Kinds of media by name."""

_SHORTEST_S = 1e-9  # decorrelation time


def transmission() -> Any:
    """Return the field that every medium has for the share of the light that reaches one pixel.

    Returns
    -------
    dataclasses.Field
        For the body of a medium's class; its default is 1e-10.
    """
    return parameter(1e-10, kind="number", low=0.0, high=1.0, learnable="odds")


def decorrelation_time(*, frozen: bool = False) -> Any:
    """Return the field that every medium has for the time after which its field correlation has fallen to 1/e.

    Parameters
    ----------
    frozen : bool, optional
        Whether the medium never changes, so that the time can only be `inf`.

    Returns
    -------
    dataclasses.Field
        For the body of a medium's class; its default is `inf`, a frozen medium. It is 1 ns at least: no layer moves
        faster, and the clock of a bench would soon not tell its states apart.
    """
    return parameter(
        math.inf, kind="number", low=math.inf if frozen else _SHORTEST_S, high=math.inf, unit="s",
        off=math.inf, imperfection="decorrelation", source="decorrelation",
    )  # fmt: skip


class Medium(Stage, ABC):
    """Base of all media; a kind derives from `WaveMedium` or from `EntryMedium`.

    A subclass is a frozen dataclass with a `kind` and with the fields `transmission` and `decorrelation_time_s`: by the
    functions of those names, or plain. Its other fields are parameters of its own (``opusim.base.parameters``). It has
    the method `EntryMedium.entries`, or what `WaveMedium` asks for. `opusim.testing.check_medium` says which rules it
    breaks. One file is all that it takes; see Examples.

    Attributes
    ----------
    kind : str
        Of the class: its name in the TOML table ``[medium]``.
    order : float
        Of the class: its place in lists of kinds. Our own are below 100.
    files : tuple of str
        Of the class: fields that name files. What these hold is part of the fingerprint. A TOML file names them from
        its own folder; `path_of` gives them as they are opened.
    has_waves : bool
        Of the class: whether waves go through it on a grid (`WaveMedium`), or its entries are given (`EntryMedium`).
    by_feature : bool
        Of the class: whether its inputs are the features as they are formatted, with beam profile and the difference
        of on and off in them, and its outputs the pixels of the region in raster order, or those that `outputs_at`
        says. Otherwise inputs are cells of mirrors, and outputs places on the sensor.
    random : bool
        Of the class: whether its matrix is drawn, so that matrices of two seeds, of both polarisations, and of times
        far apart are independent, and entries have the mean square 1. False for one that is given, such as a formula:
        it may be the same for all of these, and `transmission` is then the share for entries of modulus 1. One
        whose entries do not depend on `state` has ``decorrelation_time(frozen=True)``: budgets of noise count with it.
    has_places : bool
        Of the class: whether it matters where a mirror and a pixel lie, as behind a lens, which no random layer tells.
        Such a device is computed mirror by mirror and pixel by pixel, also under the resolution "auto".
    transmission : float
        Share of the light that leaves the mirrors (all on) which reaches one pixel, averaged over the speckle, in one
        polarisation. Of a device that holds lengths (`opusim.Optics.held`) it is that of the pixel for which it is
        stated (`opusim.Optics.stated_share`), and other pixels get what falls on their area.
    decorrelation_time_s : float
        Time after which the field correlation with the start has fallen to 1/e; `inf` for a frozen medium.

    Examples
    --------
    A whole file; a device may have it once it is imported, and ``check_medium(ConstantMedium())`` passes::

        from dataclasses import dataclass
        from typing import ClassVar

        import numpy as np

        from opusim.device.medium import EntryMedium, decorrelation_time, transmission


        @dataclass(frozen=True)
        class ConstantMedium(EntryMedium):
            kind: ClassVar[str] = "constant"
            random: ClassVar[bool] = False

            phase_rad: float = 0.0
            transmission: float = transmission()
            decorrelation_time_s: float = decorrelation_time(frozen=True)

            def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
                return np.full((len(inputs), len(outputs)), np.exp(1j * self.phase_rad), dtype=np.complex64)
    """

    kind: ClassVar[str] = ""
    order: ClassVar[float] = 100.0
    files: ClassVar[tuple[str, ...]] = ()
    has_waves: ClassVar[bool]
    by_feature: ClassVar[bool] = False
    random: ClassVar[bool] = True
    has_places: ClassVar[bool] = False
    stage: ClassVar[str] = "medium"
    described = {"transmission": transmission(), "decorrelation_time_s": decorrelation_time()}

    transmission: float
    decorrelation_time_s: float

    @property
    def n_inputs(self) -> int | None:
        """How many inputs of its own a medium by feature has; None where any pattern of the mirrors will do.

        Patterns are then laid on these inputs (`opusim.bench.protocol.Inputs`), and a feature has the light of the
        mirrors that its layout gives it. A medium by feature that says None shares out all the light over the features
        that are shown.
        """
        return None

    def own_outputs(self, sensor_shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
        """Return the rectangle of the sensor that the outputs fill which a medium by feature has of its own.

        Parameters
        ----------
        sensor_shape : tuple of int
            Rows and columns of the sensor.

        Returns
        -------
        tuple of int or None
            (row, column, n_rows, n_columns), within which regions are then chosen (`opusim.bench.protocol.Outputs`);
            None where any pixels of the sensor will do.
        """
        return None

    @property
    def spreads(self) -> bool:
        """Whether light with a focus where it enters is spread until it leaves, as pixels that integrate need it."""
        return True

    def __new__(cls, *values: Any, **fields: Any) -> Self:
        """Refuse a class that declares too little."""
        _check_class(cls)
        return super().__new__(cls)

    def __init_subclass__(cls, **options: Any) -> None:
        """Make a class with a kind of its own known by it."""
        super().__init_subclass__(**options)
        if kind := vars(cls).get("kind"):
            MEDIA.add(kind, cls, origin=f"{cls.__module__}:{cls.__qualname__}", order=cls.order)

    @classmethod
    def of_kind(cls, kind: str) -> type[Medium]:
        """Return the class of a kind.

        Parameters
        ----------
        kind : str
            Its name; or "module:Class" or "file.py:Class", to import one.

        Returns
        -------
        type
            A subclass of `Medium`.

        Raises
        ------
        ValueError
            If no class of that kind is known; near names are named.
        """
        return Part(MEDIA, base=Medium).of_kind("medium.kind", kind)

    # ------------------------------------------------------------------ beside the light itself

    def facts(self) -> dict[str, str]:
        """Return what there is to tell of it beside its fields, such as what a file holds.

        Returns
        -------
        dict of str
            What it is, by name; empty for a medium that its fields tell.
        """
        return {}

    @property
    def idle_fields(self) -> tuple[str, ...]:
        """Names of fields that have no effect as it is."""
        return ()

    def output_powers(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return how strong each output is, where they are not all alike.

        Returns
        -------
        tuple of ndarray of float64, shape (outputs,), or None
            Mean square of the entries of each output, and the squared modulus of its field with every feature off, in
            the same units. None for a medium whose outputs follow one law.
        """
        return None

    @property
    def drift(self) -> Drift:
        """How it changes with time."""
        return Drift(self.decorrelation_time_s)

    def field_correlation(self, time_s: float) -> float:
        """Return the correlation of the field with that at the start.

        Parameters
        ----------
        time_s : float
            Start of a state of the drift (`Drift.time`), in seconds.

        Returns
        -------
        float
            From 0 to 1.
        """
        return self.drift.correlation(time_s)

    @property
    def disperses(self) -> bool:
        """Whether it changes with the frequency of the light; one that does has `shifted` of its own."""
        return False

    def spectral_correlation(self, relative_shift: float, wavelength_m: float) -> float:
        """Return the correlation of its field with that at another frequency of the light.

        Parameters
        ----------
        relative_shift : float
            Difference of the frequencies over the first one.
        wavelength_m : float
            Wavelength of the first one in metres.

        Returns
        -------
        float
            Modulus of the correlation, from 0 to 1; 1 for a medium that does not change with the frequency.
        """
        return 1.0

    def shifted(self, relative_shift: float) -> Self:
        """Return the medium as light of another frequency sees it.

        Parameters
        ----------
        relative_shift : float
            By how much the frequency is higher, over the frequency itself.

        Returns
        -------
        Medium
            Of the same class; this one where there is no shift, or where the medium does not change with the frequency.
        """
        return self

    def equivalent_shift(self, temperature_change_k: float, pressure_change_pa: float) -> float:
        """Return the relative shift of the frequency that acts on the light as a change of its surroundings does.

        Parameters
        ----------
        temperature_change_k : float
            By how many kelvin it is warmer.
        pressure_change_pa : float
            By how many pascal the pressure is higher.

        Returns
        -------
        float
            0 for a medium that says nothing of it.
        """
        return 0.0

    def check(self, laser: Laser, camera: Camera) -> None:
        """Raise an error if a laser or a camera does not go with it.

        Parameters
        ----------
        laser : Laser
            The light that comes in.
        camera : Camera
            What sees the light that comes out.

        Raises
        ------
        TypeError
            If its class has no `kind` of its own: files would take it for another.
        ValueError
            If laser or camera do not go with it.
        """
        if "kind" not in vars(type(self)):
            raise TypeError(
                f"medium is a {type(self).__name__}, whose class has no kind of its own, by which files know it: it "
                "must have one, as in kind: ClassVar[str] = 'fog'."
            )

    @property
    def widening_m(self) -> float | None:
        """By how much a spot of light on it is wider where it leaves it, in metres; None where that is not known.

        Twice the field `thickness_m` of a medium that has one: light that diffuses through a layer spreads by about
        its thickness to either side.
        """
        thickness_m = getattr(self, "thickness_m", None)
        return None if thickness_m is None else 2 * thickness_m

    def doubts(self) -> list[str]:
        """Say which fields are allowed, but give another matrix than one may expect.

        Returns
        -------
        list of str
            Sentences, which are told as warnings where a TOML is read, and by ``opusim info``.
        """
        return []

    def content(self) -> dict[str, Any]:
        """Return what stands for some fields in the device's fingerprint.

        Returns
        -------
        dict
            Values by field, of what JSON holds: for a field that names a file the sha256 of the file.

        Raises
        ------
        ValueError
            If a file cannot be read.
        """
        return {name: _checksum(name, self.path_of(name)) for name in self.files}

    def path_of(self, name: str) -> Path:
        """Return the file that a field names, as programs open it.

        Parameters
        ----------
        name : str
            One of `files`.

        Returns
        -------
        Path
            With ``~`` as the user's folder; a path that is not whole leads from the working folder. In a device that
            a TOML file describes it is whole: it was taken from that file's folder.
        """
        return expanded(getattr(self, name))

    def told_files(self) -> str:
        """Return what a sentence calls the source of the content.

        Returns
        -------
        str
            Paths of the files, or "it" where there are none.
        """
        return " or ".join(repr(getattr(self, name)) for name in self.files) or "it"

    def anywhere(self) -> Self:
        """Return the medium that means the same in a process that works in another folder.

        Returns
        -------
        Medium
            With whole paths of its files.
        """
        paths = {name: str(self.path_of(name).resolve()) for name in self.files}
        return dataclasses.replace(self, **paths) if paths else self  # type: ignore[type-var]


class WaveMedium(Medium):
    """A medium of planes with free space between them, which waves go through on a grid of modes.

    Attributes
    ----------
    inside : tuple of str
        Of the class: fields that act on the waves inside, and may be learnt. Each turns the phases of the factors in
        proportion to its change, as `phase_slopes` says, and is described as ``parameter(..., learnable=...)``.
    """

    has_waves: ClassVar[bool] = True
    inside: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def n_transforms(self) -> int:
        """Two-dimensional Fourier transforms of one pass through it, lenses included."""

    @abstractmethod
    def layer_bytes(self, side: int, channels: int) -> int:
        """Return the bytes of its factors on a grid.

        Parameters
        ----------
        side : int
            Grid points along each axis.
        channels : int
            Polarisations, each with factors of its own.

        Returns
        -------
        int
            Bytes.
        """

    @abstractmethod
    def factors(
        self, grid: ModeGrid, *, wavelength_m: float, seed: int, state: int = 0, channel: int = 0
    ) -> LayerFactors:
        """Return what the light is multiplied by on its way.

        Parameters
        ----------
        grid : ModeGrid
            Grid of modes.
        wavelength_m : float
            Wavelength in metres.
        seed, state, channel : int
            Which realisation, which state of its drift, which polarisation.

        Returns
        -------
        LayerFactors
            Arrays of its own, which may be written to.
        """

    def phase_slopes(
        self, name: str, grid: ModeGrid, *, wavelength_m: float, seed: int, channel: int = 0
    ) -> LayerFactors:
        """Return by how much the phase of each factor grows with a field of `inside`, at the start of time.

        If the field changes by d, a factor becomes ``factor * exp(1j * slope * d)``.

        Parameters
        ----------
        name : str
            The field.
        grid : ModeGrid
            Grid of modes.
        wavelength_m : float
            Wavelength in metres.
        seed, channel : int
            Which realisation, which polarisation.

        Returns
        -------
        LayerFactors
            Real arrays of the shapes of `factors`: as many screens or none, and None for what does not change. The stop
            never does.

        Raises
        ------
        NotImplementedError
            If a medium has no such fields.
        """
        raise NotImplementedError(f"A medium of kind {self.kind!r} has no field {name!r} that turns phases (`inside`).")

    def operator(
        self,
        grid: ModeGrid,
        *,
        wavelength_m: float,
        seed: int,
        state: int = 0,
        channel: int = 0,
        workers: int | None = None,
        arrays: Arrays = NUMPY,
    ) -> LayerOperator:
        """Prepare the layer for a grid: compute its factors once.

        Parameters
        ----------
        grid : ModeGrid
            Grid of modes.
        wavelength_m : float
            Wavelength in metres.
        seed, state, channel : int
            Which realisation, which state of its drift, which polarisation.
        workers : int, optional
            Threads of the FFT; they do not change the result.
        arrays : Arrays, optional
            Library and device that the fields are of: the layer is prepared by numpy and moved there once.

        Returns
        -------
        LayerOperator
            What takes fields through the layer.
        """
        factors = self.factors(grid, wavelength_m=wavelength_m, seed=seed, state=state, channel=channel)
        return LayerOperator(factors, grid, workers, arrays)


class EntryMedium(Medium):
    """A medium whose transmission matrix is given entry by entry.

    Attributes
    ----------
    max_entries : int or None
        Of the class: the most entries that one call may ask for; None for no limit.
    """

    has_waves: ClassVar[bool] = False
    max_entries: ClassVar[int | None] = None

    @abstractmethod
    def entries(
        self, inputs: range, outputs: range, *, seed: int, state: int = 0, channel: int = 0, threads: int | None = None
    ) -> np.ndarray:
        """Return a tile of the transmission matrix.

        Parameters
        ----------
        inputs, outputs : range
            Consecutive inputs and outputs. An input is a feature, or under the resolution "mirrors" a mirror in raster
            order; behind the features stands one for what is always lit. An output is a place on the sensor in raster
            order. See `by_feature` for another meaning.
        seed, state, channel : int
            Which realisation, which state of its drift (`drift`), which polarisation.
        threads : int, optional
            Threads to use; all processors by default. The entries do not depend on it.

        Returns
        -------
        ndarray of complex64, shape (len(inputs), len(outputs))
            Entries of mean square 1, input first: the transpose of T[output, input].
        """

    def background_field(self, outputs: range, *, seed: int = 0, state: int = 0) -> np.ndarray | None:
        """Return the field with every feature off, of a medium by feature.

        Parameters
        ----------
        outputs : range
            Consecutive outputs.
        seed, state : int
            Which realisation, and which state of its drift (`drift`).

        Returns
        -------
        ndarray of complex64, shape (len(outputs),), or None
            In the units of the entries; None if there is none.
        """
        return None

    def outputs_at(self, rows: np.ndarray, columns: np.ndarray, sensor_shape: tuple[int, int]) -> np.ndarray | None:
        """Return the outputs that lie on some pixels of the sensor, of a medium by feature.

        Parameters
        ----------
        rows, columns : ndarray of int64, shape (n,)
            The pixels of a region.
        sensor_shape : tuple of int
            Rows and columns of the sensor.

        Returns
        -------
        ndarray of int64, shape (n,), or None
            Numbers of outputs; None if they are the pixels of the region in raster order, whatever the region.

        Raises
        ------
        ValueError
            If there is none on a pixel.
        """
        return None

    def check_content(self) -> None:
        """Raise an error if its files hold numbers that cannot be used: asked before a frame is taken.

        Raises
        ------
        ValueError
            With what is wrong.
        """

    def let_go(self) -> None:
        """Keep no more in memory than is small or needed again: a bench calls it when it has a matrix of its own."""

    def check_size(self, n_features: int, n_pixels: int) -> None:
        """Raise an error if it has fewer inputs or outputs.

        Parameters
        ----------
        n_features, n_pixels : int
            Inputs and outputs that are wanted.

        Raises
        ------
        ValueError
            If it has fewer.
        """

    def check(self, laser: Laser, camera: Camera) -> None:
        """Raise an error for a camera whose pixels are to average over their area.

        Parameters
        ----------
        laser : Laser
            The light that comes in.
        camera : Camera
            What sees the light that comes out.

        Raises
        ------
        ValueError
            If laser or camera do not go with it.
        """
        super().check(laser, camera)
        if camera.pixel_over_grain:
            raise ValueError(
                f"camera.pixel_over_grain is {camera.pixel_over_grain!r}, but a medium of kind {self.kind!r} has no "
                "geometry to integrate over: it must be 0, or the medium must be of kind 'phase_screens'."
            )


@cache
def _check_class(cls: type[Medium]) -> None:
    """Raise a TypeError that says what a class of media lacks."""
    annotated = vars(cls).get("__annotations__", {}).items()
    # Annotations without a decorator make no fields.
    is_plain = "__dataclass_fields__" not in vars(cls) and any("ClassVar" not in str(kind) for _, kind in annotated)
    about: Any = getattr(cls, "__dataclass_params__", None)
    if about is None or not about.frozen or is_plain:
        raise TypeError(
            f"medium is a {cls.__name__}, but a medium must be a frozen dataclass, by @dataclass(frozen=True) above "
            "its class: its fields are what a TOML table holds."
        )
    fields: Any = dataclasses.fields
    lacking = sorted(set(cls.described) - {f.name for f in fields(cls)})
    if lacking:
        helpers = {"transmission": "transmission()", "decorrelation_time_s": "decorrelation_time()"}
        lines = ", ".join(f"{name}: float = {helpers[name]}" for name in lacking)
        raise TypeError(
            f"medium is a {cls.__name__}, which has no field {' and none '.join(lacking)}: every medium must declare "
            f"{lines} (opusim.device.medium), or plain, with a number."
        )


def _checksum(name: str, path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal digits."""
    try:
        check_plain(path)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise ValueError(f"medium.{name} is {str(path)!r}, but that file cannot be read ({error}).") from error
