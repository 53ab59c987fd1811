"""What is asked of a bench: what every one has, optional parts by name, and what stands for a part that is absent.

`Bench` is all that a procedure of calibration needs, `Drivable` what stands below an `OPU`. Each other class here is an
optional part. Nothing else asks a bench whether it has a member: what is optional is written here.
`opusim.testing.check_bench` checks that the parts of a bench do what they say.
"""

from __future__ import annotations

import functools
import inspect
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from opusim.base import validation
from opusim.base.user_arrays import checked_array
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

from .region import AnyRoi, Roi, checked_roi

if TYPE_CHECKING:
    from .frames import ReservedFrames
    from .reduction import Reduction
    from .together import Together

__all__ = [
    "Backed", "Bench", "Clock", "Clocked", "Drivable", "Exposing", "FramesLost", "Fresh", "Guarding", "Identified",
    "Identity", "Inputs", "Lagging", "Lamp", "Levelled", "Limited", "LitCamera", "Looping", "Outputs", "Phases",
    "Record", "Reducing", "Repeatable", "Reservable", "Resumable", "Single", "Skipping", "Stepping", "Surrounded",
    "Threaded", "Timed", "Tunable", "checked_bench", "elapsed_s", "has", "identity_of", "input_layout_of", "lacking",
    "lags_of", "level_turns_of", "output_roi_of", "reference_map_of", "stepped_frametime_of", "threads_of", "tunes",
    "wait",
]  # fmt: skip

_LONGEST_SKIP_S = 3600.0
# Twice the longest exposure.
_LONGEST_FRAME_S = 7200.0
# Levels are bytes.
_MOST_LEVELS = 256


class FramesLost(RuntimeError):
    """Frames were lost: what `opusim.bench.laboratory.LaboratoryBench` shows again.

    Raise it in `show` or `dark` of a bench when the instruments say so: a camera that counts triggers, a frame with
    another number than the one before it, a timeout.

    Parameters
    ----------
    message : str
        What the instruments said.
    frames : iterable of int, optional
        Numbers of the frames that are missing, from 0 on, if they are known.

    Attributes
    ----------
    frames : tuple of int or None
        The same.
    """

    def __init__(self, message: str = "Frames were lost.", frames: Iterable[int] | None = None) -> None:
        super().__init__(message)
        self.frames = None if frames is None else tuple(int(k) for k in frames)

    def __reduce__(self) -> Any:
        """Keep the parts, so that it comes back from another process."""
        return FramesLost, (str(self), self.frames)


# ---------------------------------------------------------------------------------------------- what every bench has


@runtime_checkable
class Exposing(Protocol):
    """A camera that returns frames of what the mirrors show."""

    @property
    def sensor_shape(self) -> tuple[int, int]:
        """Pixels as (rows, columns)."""
        ...

    def expose(
        self,
        mirrors: np.ndarray | MirrorPatterns | None,
        *,
        exposure_s: float,
        reference_phase_rad: float | np.ndarray | None = None,
        roi: AnyRoi | None = None,
        frametime_s: float | None = None,
        n_frames: int = 1,
    ) -> np.ndarray:
        """Show patterns and return a frame for each, and for each phase of the reference arm.

        With several phases each pattern is shown under every one of them, in turn.

        Parameters
        ----------
        mirrors : ndarray or MirrorPatterns, or None
            Patterns, (rows, columns) or (n, rows, columns) of 0 and 1. None shuts the laser.
        exposure_s : float
            Exposure in seconds.
        reference_phase_rad : float or array_like of float, optional
            Phases of the reference arm in radians; None blocks it.
        roi : tuple of int, optional
            (row, column, n_rows, n_columns); the whole sensor by default.
        frametime_s : float, optional
            Time of each frame in seconds; the bench's own by default.
        n_frames : int
            How many dark frames, where `mirrors` is None; with mirrors it must be 1.

        Returns
        -------
        ndarray, shape (n * number of phases, n_rows, n_columns)
            Counts.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it may be: also where there is no reference arm for a phase.
        """
        ...


@runtime_checkable
class Bench(Exposing, Protocol):
    """A laser, mirrors, a medium and a camera that show patterns and return frames: all that every bench has.

    `opusim.OpticalBench` is one, and has all the optional parts too; so is any object of a laboratory with these three
    members. `opusim.bench.laboratory` makes of them what a driver needs besides.
    """

    @property
    def mirror_shape(self) -> tuple[int, int]:
        """Mirrors as (rows, columns)."""
        ...


# ---------------------------------------------------------------------------------------------- optional parts


@runtime_checkable
class Lamp(Protocol):
    """An even light of known strength in place of the medium: `characterise_camera` cannot do without.

    Without one, `opusim.calibration.on_bench.saturation_dn` reads full scale from the bench's record, or is to be told.
    """

    def flat_field(
        self, photons_per_pixel: float, *, exposure_s: float, n_frames: int = 1, roi: AnyRoi | None = None
    ) -> np.ndarray:
        """Light the sensor evenly and return frames.

        Parameters
        ----------
        photons_per_pixel : float
            Known mean number of photons on each pixel in the exposure.
        exposure_s : float
            Exposure in seconds.
        n_frames : int
            How many frames.
        roi : tuple of int, optional
            (row, column, n_rows, n_columns); the whole sensor by default.

        Returns
        -------
        ndarray, shape (n_frames, n_rows, n_columns)
            Counts.
        """
        ...


@runtime_checkable
class LitCamera(Exposing, Lamp, Protocol):
    """What `characterise_camera` needs: a camera and a lamp, no mirrors."""


@runtime_checkable
class Inputs(Protocol):
    """A bench that says on which of its mirrors patterns are to lie.

    Such as one whose medium was measured input by input, or whose beam lights a part of the mirrors. Calibrations and
    drivers then show features of this layout, the first ones where they need fewer (`MirrorLayout.first`).
    """

    @property
    def input_layout(self) -> MirrorLayout | None:
        """How its inputs lie on the mirrors; None if any pattern of the mirrors will do."""
        ...


@runtime_checkable
class Phases(Protocol):
    """A bench that says whether its modulator turns the phase of its light, and by which levels.

    Patterns of such a bench are levels, `opusim.patterns.phases.PhasePatterns` or whole numbers: no pixel is ever dark.
    One that does not say so has mirrors, which are on or off.
    """

    @property
    def level_turns(self) -> np.ndarray | None:
        """Phase of each level in turns of 2 pi, float64 (levels,); None for mirrors."""
        ...


@runtime_checkable
class Outputs(Protocol):
    """A bench that says on which of its pixels there is light to be had.

    Such as one whose medium was measured pixel by pixel, or whose light falls on a part of the sensor. Where nobody
    says a region, drivers and calibrations then choose one within this rectangle, also where the camera reads its full
    width.
    """

    @property
    def output_roi(self) -> Roi | None:
        """(row, column, n_rows, n_columns) on the sensor; None if any pixel will do."""
        ...


@runtime_checkable
class Fresh(Protocol):
    """A bench that says whether each call gives new arrays, which no later call writes over.

    Frames of one that does not say so are copied before they are kept, since cameras often hand out one buffer again.

    Attributes
    ----------
    frames_are_new : bool
        Whether they are.
    """

    frames_are_new: bool


@runtime_checkable
class Guarding(Protocol):
    """A bench that shows frames of its own beside those that it is asked for, to see whether any were lost.

    They count on the clock. One that does not say so takes a frame for each that it is asked for.

    Attributes
    ----------
    guards : bool
        Whether it does.
    """

    guards: bool


@runtime_checkable
class Timed(Protocol):
    """A bench that says how fast frames may follow each other."""

    def minimum_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames.

        Parameters
        ----------
        n_rows : int
            Rows of the sensor that are read.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds.
        """
        ...


@runtime_checkable
class Stepping(Timed, Protocol):
    """A bench whose reference needs time after a step of its phase, as one that a piezo moves."""

    def stepped_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames of which each has another phase than the last.

        Parameters
        ----------
        n_rows : int
            Rows of the sensor that are read.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds; at least `minimum_frametime_s`.
        """
        ...


@runtime_checkable
class Clock(Protocol):
    """Counts what a bench has used.

    Attributes
    ----------
    frames : int
        Frames taken.
    elapsed_s : float
        Device time in seconds, from any origin; it never goes back.
    """

    frames: int
    elapsed_s: float

    @property
    def energy_j(self) -> float:
        """Energy used, in joules, from any origin."""
        ...


@runtime_checkable
class Clocked(Protocol):
    """A bench that counts frames and device time. One without is taken to stand at 0."""

    @property
    def clock(self) -> Clock:
        """Frames, device time and energy."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A bench whose clock can be put forward: a simulated one, which then goes on with the frames of another."""

    def advance_to(self, frames: int, elapsed_s: float) -> None:
        """Let the clock stand where that of another bench stood.

        Parameters
        ----------
        frames : int
            Frames taken.
        elapsed_s : float
            Device time in seconds.

        Raises
        ------
        ValueError
            If one lies behind the clock.
        """
        ...


@runtime_checkable
class Repeatable(Clocked, Protocol):
    """A simulated bench, which gives the same frames again where its clock stands as it did.

    What was measured on it once need not be measured again, if its clock passes over the frames.
    """

    @property
    def made_with(self) -> str:
        """What the last bits of its frames depend on, beside device, seed and clock: a text that is equal or not."""
        ...

    def advance_from(self, start: tuple[int, float], end: tuple[int, float]) -> bool:
        """Put the clock forward, if it stands where it is said to.

        Parameters
        ----------
        start, end : tuple of (int, float)
            Frames taken and device time in seconds: where the clock must stand, and where it shall.

        Returns
        -------
        bool
            Whether it stood there, and stands at the end now; nothing happens if it did not.
        """
        ...


@runtime_checkable
class Skipping(Protocol):
    """A bench whose time is simulated: it need not be waited for."""

    def skip_frames(self, n_frames: int, *, frametime_s: float | None = None) -> None:
        """Let frames pass unread, and their time.

        Parameters
        ----------
        n_frames : int
            How many.
        frametime_s : float, optional
            Time of each in seconds.
        """
        ...


@runtime_checkable
class Record(Protocol):
    """What a device is called, and what tells it from others: `opusim.Device`, `opusim.bench.laboratory.LabDevice`."""

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    def fingerprint(self) -> str:
        """Return a text that is another for whatever sets what the device does.

        Returns
        -------
        str
            Not empty.
        """
        ...


@runtime_checkable
class Identified(Protocol):
    """A bench that says which device it is: what is stored of one is then refused on another."""

    @property
    def device(self) -> Any:
        """The device, a `Record`."""
        ...

    @property
    def seed(self) -> int:
        """Which realisation of it; any whole number where there is one alone."""
        ...


@runtime_checkable
class Drivable(Identified, Timed, Protocol):
    """What stands below an `OPU`: `OpuDevice` takes it as its `bench`.

    Its `device` holds more than a `Record`: sizes, the camera's counts, the times to begin with. See
    `opusim.bench.laboratory.LabDevice`, which is no more than that.
    """

    def transform(
        self,
        patterns: MirrorPatterns,
        *,
        exposure_s: float,
        roi: AnyRoi,
        n_pixels: int,
        reference_phase_rad: float | np.ndarray | None = None,
        frametime_s: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Any:
        """Show patterns and return the first pixels of a region, flat.

        Parameters
        ----------
        patterns : MirrorPatterns or ndarray
            Patterns with their layout, or mirrors eight a byte, uint8 of (n, ceil(mirrors / 8)), little-endian.
        exposure_s : float
            Exposure in seconds.
        roi : tuple of int
            (row, column, n_rows, n_columns) on the sensor.
        n_pixels : int
            How many of its pixels, in raster order, are wanted.
        reference_phase_rad, frametime_s : float, optional
            As in `expose`.
        progress : callable, optional
            Told the number of patterns that are done.

        Returns
        -------
        ndarray, shape (n * number of phases, n_pixels)
            Counts.
        """
        ...


@runtime_checkable
class Levelled(Protocol):
    """A bench that knows how bright it is: the linear transform by intensities scales its result by that."""

    def expected_level_dn(self, n_on: float, exposure_s: float) -> float:
        """Return the mean grey level for so many mirrors on, spread evenly over the beam, without clipping.

        Parameters
        ----------
        n_on : float
            Number of mirrors that are on.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Grey levels.
        """
        ...


@runtime_checkable
class Reducing(Protocol):
    """A simulated bench that makes results of several frames without an array of frames: a linear transform is faster.

    Its results are, bit for bit, those that are made of the frames of `Drivable.transform`.
    """

    def together(
        self,
        layout: MirrorLayout,
        reductions: Sequence[type[Reduction]],
        *,
        exposure_s: float,
        roi: AnyRoi,
        n_pixels: int,
        reference_phase_rad: float | np.ndarray | None = None,
        frametime_s: float | None = None,
    ) -> Together | None:
        """Return what shows vectors in many sequences at once, and reduces their frames.

        Parameters
        ----------
        layout : MirrorLayout
            How features lie on the mirrors.
        reductions : sequence of type
            What is asked for: kinds of ``opusim.bench.reduction.Reduction``.
        exposure_s, roi, n_pixels, reference_phase_rad, frametime_s : object
            As for `Drivable.transform`.

        Returns
        -------
        Together or None
            None where frames must be made.
        """
        ...


@runtime_checkable
class Reservable(Protocol):
    """A simulated bench that shows patterns in frames taken before: also `transform` then has `reserved`."""

    def reserve(self, n_frames: int, *, frametime_s: float) -> ReservedFrames:
        """Take frames and their time now, to show patterns in them later.

        Parameters
        ----------
        n_frames : int
            How many.
        frametime_s : float
            Time of each, in seconds.

        Returns
        -------
        ReservedFrames
            The frames.
        """
        ...


@runtime_checkable
class Lagging(Protocol):
    """A simulated bench that says whether frames leave electrons behind: also `transform` then has `before`."""

    @property
    def lags(self) -> bool:
        """Whether a frame is read with electrons of the one before it."""
        ...


@runtime_checkable
class Single(Protocol):
    """What shows single patterns that have all but their bits in common."""

    def counts(self, bits: np.ndarray) -> np.ndarray:
        """Show one pattern and return its frame.

        Parameters
        ----------
        bits : ndarray of uint8, shape (1, n_features)
            0 and 1, which is not looked at.

        Returns
        -------
        ndarray, shape (1, n_pixels)
            Counts, as from `Drivable.transform`.
        """
        ...


@runtime_checkable
class Looping(Protocol):
    """Checks once what single patterns have in common, so that a loop pays for little but the light.

    Without it each one goes by `Drivable.transform`.
    """

    def singles(
        self, layout: MirrorLayout, *, exposure_s: float, roi: AnyRoi, n_pixels: int, frametime_s: float | None = None
    ) -> Single | None:  # fmt: skip
        """Return what shows single patterns of a layout; None where they must go by `transform`.

        Parameters
        ----------
        layout : MirrorLayout
            How features lie on the mirrors.
        exposure_s : float
            Exposure in seconds.
        roi : tuple of int
            (row, column, n_rows, n_columns) on the sensor.
        n_pixels : int
            How many of its pixels, in raster order, are wanted.
        frametime_s : float, optional
            Time of each frame in seconds; the bench's own by default.

        Returns
        -------
        Single or None
            Frames of it are those of `transform`, to the bit.
        """
        ...


@runtime_checkable
class Tunable(Protocol):
    """A bench whose laser can be tuned: a servo then undoes what temperature and pressure do to the medium."""

    @property
    def tuning_range_hz(self) -> float:
        """By how much it can be tuned to either side, in hertz; 0 where it cannot."""
        ...

    @property
    def tuning_hz(self) -> float:
        """By how much it is tuned now, in hertz."""
        ...

    def tune(self, shift_hz: float) -> None:
        """Tune it: frames from now on are of light of that frequency.

        Parameters
        ----------
        shift_hz : float
            By how many hertz the frequency is higher than that at a tuning of 0.

        Raises
        ------
        TypeError, ValueError
            If it is no number within `tuning_range_hz` to either side.
        """
        ...


@runtime_checkable
class Surrounded(Protocol):
    """A simulated bench whose medium can be made warmer, or put under another pressure."""

    def surround(
        self, *, temperature_change_k: float | None = None, pressure_change_pa: float | None = None
    ) -> None:  # fmt: skip
        """Change the surroundings of the medium: frames from now on see them.

        Parameters
        ----------
        temperature_change_k : float, optional
            By how many kelvin it is warmer than where the device is described; what is not given stays.
        pressure_change_pa : float, optional
            By how many pascal the pressure is higher.

        Raises
        ------
        TypeError, ValueError
            If one is no such number, or the medium does not change with the frequency.
        """
        ...


@runtime_checkable
class Threaded(Protocol):
    """A bench that computes, with so many threads; what is made of its frames uses no more."""

    @property
    def threads(self) -> int:
        """Threads in use."""
        ...


@runtime_checkable
class Limited(Threaded, Protocol):
    """A bench that computes, within limits that may be set."""

    @property
    def limits(self) -> dict[str, int | None]:
        """`memory_budget` and `threads` as they were given, None for what was not."""
        ...

    def with_limits(self, *, memory_budget: int | None = None, threads: int | None = None) -> Any:
        """Return this bench with other limits and the same clock.

        Parameters
        ----------
        memory_budget, threads : int, optional
            Bytes that a stored matrix may take, and threads; what is not given stays.

        Returns
        -------
        Limited
            Of the same class.
        """
        ...


@runtime_checkable
class Backed(Protocol):
    """A bench whose `transform` takes and returns arrays of other libraries than numpy."""

    @property
    def backend(self) -> str:
        """What it computes with, as for `opusim.OPU`."""
        ...


# ---------------------------------------------------------------------------------------------- to ask for a part


@functools.cache
def _members(part: type) -> dict[str, bool]:
    """Names of what a part declares, and whether each is a method."""
    result: dict[str, bool] = {}
    for cls in part.__mro__:
        if cls is object or cls.__module__ == "typing":
            continue
        names = {*vars(cls), *inspect.get_annotations(cls)}
        result |= {name: callable(vars(cls).get(name)) for name in names if not name.startswith("_")}
    return result


def lacking(thing: Any, *parts: type) -> list[str]:
    """Return which members of some parts an object lacks; none if it has them all.

    Parameters
    ----------
    thing : object
        A bench, or anything.
    *parts : type
        Protocols, such as those of this module.

    Returns
    -------
    list of str
        Names, sorted. A method that cannot be called counts as lacking.
    """
    # Not isinstance, which from Python 3.12 on overlooks what an object hands on from another by __getattr__.
    absent = object()
    return sorted(
        name
        for name, is_method in {k: v for part in parts for k, v in _members(part).items()}.items()
        if (found := getattr(thing, name, absent)) is absent or (is_method and not callable(found))
    )


def has(thing: Any, *parts: type) -> bool:
    """Whether an object has all that some parts declare.

    Parameters
    ----------
    thing : object
        A bench, or anything.
    *parts : type
        Protocols, such as those of this module.

    Returns
    -------
    bool
        Whether nothing is `lacking`.
    """
    return not lacking(thing, *parts)


def checked_bench(bench: Any, *parts: type, why: str = "") -> None:
    """Raise a TypeError that says what the bench lacks, and where that is declared.

    Parameters
    ----------
    bench : object
        What was given for one.
    *parts : type
        What is needed; `Bench` by default.
    why : str
        A sentence that is added: what else may be done.
    """
    parts = parts or (Bench,)
    if isinstance(bench, type):
        raise TypeError(f"bench is {bench!r}, which is a class: give an object, as {bench.__name__}().")
    missing = lacking(bench, *parts)
    if missing:
        names = sorted({name for part in parts for name in _members(part)})
        places = [f"opusim.bench.protocol.{part.__name__}" for part in parts if lacking(bench, part)]
        raise TypeError(
            f"bench is {bench!r} ({type(bench).__name__}), but it must have {', '.join(names)}; it lacks "
            f"{', '.join(missing)}, as declared by {' and '.join(places)}.{why and ' ' + why}"
        )


# ---------------------------------------------------------------------------------------------- what stands for a part


@dataclass(frozen=True)
class Identity:
    """Which device a bench is.

    Parameters
    ----------
    fingerprint : str
        Of everything that sets what the device does (`Device.fingerprint`); empty if the bench has none.
    name : str
        The device's name; empty if it has none.
    seed : int
        Which realisation of it; -1 if the bench has none.
    """

    fingerprint: str = ""
    name: str = ""
    seed: int = -1


def identity_of(bench: Any) -> Identity:
    """Return which device a bench is.

    Parameters
    ----------
    bench : object
        Any bench.

    Returns
    -------
    Identity
        All empty unless the bench is `Identified`, by a `Record`.
    """
    if not has(bench, Identified) or not has(bench.device, Record):
        return Identity()
    return Identity(str(bench.device.fingerprint()), str(bench.device.name), int(bench.seed))


def input_layout_of(bench: Any) -> MirrorLayout | None:
    """Return how the inputs of a bench lie on its mirrors; None, for any pattern, if it is not `Inputs`.

    Parameters
    ----------
    bench : object
        Any bench.

    Returns
    -------
    MirrorLayout or None
        The layout.

    Raises
    ------
    TypeError, ValueError
        If it is no layout, or one of other mirrors.
    """
    layout = bench.input_layout if has(bench, Inputs) else None
    if layout is None:
        return None
    if not isinstance(layout, MirrorLayout):
        raise TypeError(f"input_layout of the bench is {layout!r}, but it must be a MirrorLayout, or None.")
    if layout.dmd_shape != tuple(bench.mirror_shape):
        raise ValueError(
            f"input_layout of the bench is for {layout.dmd_shape} mirrors, but it has {tuple(bench.mirror_shape)}."
        )
    return layout


def output_roi_of(bench: Any) -> Roi | None:
    """Return the rectangle of the sensor on which a bench has light; None, for any pixel, if it is not `Outputs`.

    Parameters
    ----------
    bench : object
        Any bench.

    Returns
    -------
    Roi or None
        (row, column, n_rows, n_columns).

    Raises
    ------
    TypeError, ValueError
        If it is no such rectangle, or leaves the sensor.
    """
    roi = bench.output_roi if has(bench, Outputs) else None
    if roi is None:
        return None
    rows, columns = bench.sensor_shape
    try:
        return checked_roi(roi, (int(rows), int(columns)))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"output_roi of the bench is {roi!r}, but it must be None, or a rectangle (row, column, n_rows, n_columns) "
            f"of its {(int(rows), int(columns))} pixels."
        ) from error


def level_turns_of(bench: Any) -> np.ndarray | None:
    """Return the phases of the levels of a bench whose modulator turns phases; None, for mirrors, if it is no `Phases`.

    Parameters
    ----------
    bench : object
        Any bench.

    Returns
    -------
    ndarray of float64, shape (levels,), or None
        In turns of 2 pi.

    Raises
    ------
    TypeError, ValueError
        If it has something else, or not from 2 to 256 levels.
    """
    turns = bench.level_turns if has(bench, Phases) else None
    if turns is None:
        return None
    found = checked_array("level_turns of the bench", turns, "the phase of each level, in turns", finite=True)
    if found.ndim != 1 or not 2 <= len(found) <= _MOST_LEVELS:
        raise ValueError(
            f"level_turns of the bench has the shape {found.shape}, but it must hold the phase of each of 2 to "
            f"{_MOST_LEVELS} levels."
        )
    return found.astype(np.float64)


def lags_of(bench: Any) -> bool:
    """Return whether frames are read with electrons of the ones before them; False where a bench does not say.

    Parameters
    ----------
    bench : object
        Any bench.

    Returns
    -------
    bool
        Whether they are.
    """
    return has(bench, Lagging) and bool(bench.lags)


def stepped_frametime_of(bench: Any, n_rows: int, exposure_s: float) -> float:
    """Return the shortest time between frames of which each has another phase of the reference than the last.

    Parameters
    ----------
    bench : object
        A `Timed` bench.
    n_rows : int
        Rows of the sensor that are read.
    exposure_s : float
        Exposure in seconds.

    Returns
    -------
    float
        Seconds; those of any frames where the bench does not say (`Stepping`).

    Raises
    ------
    RuntimeError
        If the bench says something else than seconds.
    """
    return asked_seconds(
        bench.stepped_frametime_s if has(bench, Stepping) else bench.minimum_frametime_s, n_rows, exposure_s
    )


def asked_seconds(asked: Callable[[int, float], Any], n_rows: int, exposure_s: float) -> float:
    """Return what a bench's own method says of the time of a frame, checked.

    Parameters
    ----------
    asked : callable
        The method, such as `Timed.minimum_frametime_s`.
    n_rows : int
        Rows of the sensor that are read.
    exposure_s : float
        Exposure in seconds.

    Returns
    -------
    float
        Seconds, above 0.

    Raises
    ------
    RuntimeError
        If it says something else than seconds, above 0 and up to twice the longest exposure.
    """
    value = asked(n_rows, exposure_s)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # an array or a tensor of one number
    method = getattr(asked, "__name__", "")
    # A function without a name of its own stands there as the shortest time.
    name = (
        f"{method if method.endswith('frametime_s') else 'minimum_frametime_s'}({n_rows}, {exposure_s:g}), in seconds,"
    )
    try:
        return validation.number(name, value, low=0.0, high=_LONGEST_FRAME_S, low_open=True)
    except (TypeError, ValueError) as error:
        raise RuntimeError(str(error)) from None


def reference_map_of(bench: Any) -> str:
    """Return what a calibration takes for the light of the reference (`opusim.device.record.Operation`).

    Parameters
    ----------
    bench : object
        Any bench.

    Returns
    -------
    str
        What the record of its device says; "demodulated" where there is none that says so.
    """
    operation = getattr(bench.device, "operation", None) if has(bench, Identified) else None
    return str(getattr(operation, "reference_map", "demodulated"))


def elapsed_s(bench: Any) -> float:
    """Return the device time in seconds, or 0.0 if the bench is not `Clocked`.

    Parameters
    ----------
    bench : object
        Any bench.

    Returns
    -------
    float
        Seconds.
    """
    return float(bench.clock.elapsed_s) if has(bench, Clocked) else 0.0


def threads_of(bench: Any) -> int | None:
    """Return the threads of a bench that computes (`Threaded`); None, for all, where it does not.

    Parameters
    ----------
    bench : object
        Any bench.

    Returns
    -------
    int or None
        Threads.
    """
    return bench.threads if has(bench, Threaded) else None


def tunes(bench: Any) -> bool:
    """Return whether the laser of a bench can be tuned; False where a bench is not `Tunable`.

    Parameters
    ----------
    bench : object
        Any bench.

    Returns
    -------
    bool
        Whether there is a range above 0.
    """
    return has(bench, Tunable) and float(bench.tuning_range_hz) > 0


def wait(bench: Any, time_s: float) -> None:
    """Let time pass on the bench: it skips frames where it is `Skipping`, else in real time.

    Parameters
    ----------
    bench : object
        Any bench.
    time_s : float
        Seconds, from 0 to 1e9.

    Raises
    ------
    TypeError, ValueError
        If `time_s` is no such number.
    """
    time_s = validation.number("time_s", time_s, low=0.0, high=1e9)
    if not has(bench, Skipping):
        time.sleep(time_s)
        return
    n = max(1, math.ceil(time_s / _LONGEST_SKIP_S))
    bench.skip_frames(n, frametime_s=time_s / n)
