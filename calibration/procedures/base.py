"""What a procedure of calibration is, and which there are.

A procedure is a class, one in a file; it registers itself, and ``opusim calibrate``, ``opusim report`` and
`Calibration` then know it: `Procedure` has a whole one.

Those of this folder are found by listing it. ``opusim.base.plugins`` says how another package's are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from opusim.base import validation
from opusim.base.plugins import Registry
from opusim.calibration.files import read_info, record_names, write_records
from opusim.calibration.on_bench import checked_full_scale

if TYPE_CHECKING:
    from opusim.bench.protocol import Bench
    from opusim.calibration.session import Calibration
    from opusim.device.record import Device

__all__ = ["PROCEDURES", "Option", "Procedure"]

#: Quantity, what was found, and the simulated device's own value or "".
Row = tuple[str, str, str]
#: Told (done, total).
Progress = Callable[[int, int], None]

#: Procedures by name, in the order in which each can use what the ones before it found.
PROCEDURES: Registry[Procedure] = Registry("procedure", __name__.rpartition(".")[0])

# What `opusim calibrate` itself takes.
_TAKEN = {"--out", "--bench", "--device", "--seed", "--roi", "--help"}


@dataclass(frozen=True)
class Option:
    """What a procedure can be told.

    Parameters
    ----------
    name : str
        Its keyword of `Calibration`.
    flag : str
        Its name on the command line, as "--level".
    kind : type
        What the command line takes: int, float, str, or bool for a switch.
    help : str
        A line about it.
    default : object
        Its value where none is given.
    read : callable, optional
        Makes the value of what the command line took, or raises a ValueError that names the flag.
    check : callable, optional
        Raises a TypeError or ValueError for a value that is none.
    alone : bool
        Whether it is for one procedure at a time, not for all in one go.
    order : float
        Its place among the options, of help texts and of checks. Our own are below 100.
    """

    name: str
    flag: str
    kind: type
    help: str
    default: Any = None
    read: Callable[[Any], Any] | None = None
    check: Callable[[Any], Any] | None = None
    alone: bool = False
    order: float = 100.0

    def __post_init__(self) -> None:
        """Refuse what is no option, or one of the command line's own."""
        if not self.name.isidentifier():
            raise ValueError(f"name is {self.name!r}, but that of an option must be a word of Python, as 'level_dn'.")
        if not self.flag.startswith("--") or self.flag in _TAKEN:
            raise ValueError(
                f"flag is {self.flag!r}, but it must begin with --, and be none of {', '.join(sorted(_TAKEN))}."
            )


def _checked_steps(value: Any) -> Any:
    return value if value is None else validation.integer("steps", value, low=3, high=63)


def _time_of(name: str) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        return value if value is None else validation.number(name, value, low=0.0, high=3600.0, low_open=True)

    return checked


STEPS = Option(
    "steps", "--steps", int, "Phase steps; 8 for phase, 4 for others by default.", check=_checked_steps, order=10
)
EXPOSURE = Option(
    "exposure_s", "--exposure-us", float,
    "Exposure in µs; by default 400 for camera, the file's or a found one for others.",
    read=lambda us: 1e-6 * us, check=_time_of("exposure_s"), alone=True, order=20,
)  # fmt: skip

FULL_SCALE = Option(
    "full_scale_dn", "--full-scale", float,
    "Count of a saturated pixel, as 4095 of 12 bits; asked of the lamp, or of the bench's record, by default.",
    check=checked_full_scale, order=22,
)  # fmt: skip
SHORTEST = Option(
    "shortest_s", "--shortest-us", float, "Shortest exposure in µs that is tried where one is sought; 20 by default.",
    read=lambda us: us / 1e6, check=_time_of("shortest_s"), order=24,
)  # fmt: skip
LONGEST = Option(
    "longest_s", "--longest-us", float,
    "Longest exposure in µs that is tried: 100 000 by default where one is sought, 1 000 000 for camera.",
    read=lambda us: us / 1e6, check=_time_of("longest_s"), order=26,
)  # fmt: skip
#: What a procedure can be told that seeks an exposure where none is given.
SEEKING = (FULL_SCALE, SHORTEST, LONGEST)


class Procedure(ABC):
    """What is measured on a bench, stored under names of its own, and told in words.

    A subclass that has a name registers itself.

    Attributes
    ----------
    name : str
        Name of the procedure.
    title : str
        What it measures, in a sentence.
    records : tuple of type
        Classes of what it finds: frozen dataclasses that `write_record` can store. They tell a file of it in a report.
    needs_reference : bool
        Whether it cannot do without a reference arm.
    needs_tuning : bool
        Whether it cannot do without a laser that can be tuned.
    needs_lamp : bool
        Whether it cannot do without a lamp (`opusim.bench.protocol.Lamp`).
    needs_full_scale : bool
        Whether it cannot do without the count of a saturated pixel, which a lamp, a record or `full_scale_dn` tells.
    changes_light : bool
        Whether it changes the light or the medium from one frame to the next: ``opusim calibrate`` then computes a
        simulated bench by waves, as each change would be another matrix.
    options : tuple of Option
        What it can be told.
    order : float
        Its place among the others: each can use what those before it found. Our own are below 100.

    Examples
    --------
    A whole file, which a program imports or a package names in an entry point (`opusim.base.plugins`)::

        from dataclasses import dataclass

        from opusim.base import validation
        from opusim.calibration import Option, Procedure
        from opusim.calibration.on_bench import dark_frames


        @dataclass(frozen=True)
        class DarkRecord:
            level_dn: float
            frames: int


        def checked_frames(value):
            return validation.integer("frames", value, low=2)


        class DarkLevel(Procedure):
            name = "dark"
            title = "Mean level with the laser shut."
            records = (DarkRecord,)
            options = (
                Option("frames", "--frames", int, "dark: frames; 8 by default.", default=8, check=checked_frames),
            )

            def measure(self, session, progress=None):
                n = session.options["frames"]
                frames = dark_frames(session.bench, 400e-6, n, session.roi)
                if progress is not None:
                    progress(1, 1)
                return {"dark": DarkRecord(float(frames.mean()), n)}

            def summary(self, record, device=None):
                own = "" if device is None else f"{device.camera.black_level_dn:g}"
                return [("dark level", f"{record.level_dn:.2f} DN", own), ("frames", str(record.frames), "")]
    """

    name: ClassVar[str]
    title: ClassVar[str]
    records: ClassVar[tuple[type, ...]]
    needs_reference: ClassVar[bool] = False
    needs_tuning: ClassVar[bool] = False
    needs_lamp: ClassVar[bool] = False
    needs_full_scale: ClassVar[bool] = False
    changes_light: ClassVar[bool] = False
    options: ClassVar[tuple[Option, ...]] = ()
    order: ClassVar[float] = 100.0

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Register a class that has a name."""
        super().__init_subclass__(**keywords)
        if "name" not in vars(cls):
            return
        for member in ("title", "records"):
            if not hasattr(cls, member):
                raise TypeError(f"The procedure {cls.name!r} has no {member}.")
        for procedure in PROCEDURES.known():
            options_of([procedure, cls])
        if cls.name == "all":
            raise ValueError("The name of a procedure is 'all', but that means every one.")
        PROCEDURES.add(cls.name, cls(), origin=f"{cls.__module__}:{cls.__qualname__}", order=cls.order)

    def needs_reference_on(self, bench: Bench) -> bool:
        """Whether it cannot do without a reference arm on this bench: `needs_reference`, unless a class knows better.

        Parameters
        ----------
        bench : Bench
            The bench.

        Returns
        -------
        bool
            Whether it cannot.
        """
        return self.needs_reference

    def prepare(self, session: Calibration) -> list[str]:
        """Refuse options that do not fit each other or the bench, before a frame is taken.

        Parameters
        ----------
        session : Calibration
            The bench and the options.

        Returns
        -------
        list of str
            Sentences on what was chosen where nothing was given; none as a rule.

        Raises
        ------
        TypeError, ValueError
            If something does not fit.
        """
        return []

    @abstractmethod
    def measure(self, session: Calibration, progress: Progress | None = None) -> dict[str, Any]:
        """Measure.

        Parameters
        ----------
        session : Calibration
            The bench, the options and what was found before.
        progress : callable, optional
            Told (done, total).

        Returns
        -------
        dict
            Records by the names under which they are stored.
        """

    @abstractmethod
    def summary(self, record: Any, device: Device | None = None) -> list[Row]:
        """Say in a few rows what a record holds.

        Parameters
        ----------
        record : object
            One of `records`.
        device : Device, optional
            The simulated device, whose own values stand beside.

        Returns
        -------
        list of tuple of str
            Quantity, value, and the device's own value or "".
        """

    def file(self, path: Path) -> Path:
        """Return where the records go.

        Parameters
        ----------
        path : Path
            The calibration file.

        Returns
        -------
        Path
            That file, but for what is large.
        """
        return path

    def done(self, session: Calibration) -> bool:
        """Whether the records are there already.

        Parameters
        ----------
        session : Calibration
            File and options.

        Returns
        -------
        bool
            Whether they are.

        Raises
        ------
        ValueError
            If they were made with other options.
        """
        return session.path.exists() and self.name in record_names(session.path)

    def clock(self, session: Calibration) -> tuple[int, float] | None:
        """Return where the clock of the bench stood when what is stored had been found.

        Parameters
        ----------
        session : Calibration
            File and options.

        Returns
        -------
        tuple of (int, float) or None
            Frames and device time in seconds; None if there is no record of the procedure's name, or it does not say.
        """
        return clock_of_record(session.path, self.name)

    def store(self, session: Calibration, records: dict[str, Any]) -> None:
        """Write what was found, in place of what was there.

        Parameters
        ----------
        session : Calibration
            The file, and whose it is.
        records : dict
            From `measure`.
        """
        write_records(session.path, records, bench=session.bench)

    def panels(self) -> tuple[tuple[str, Callable[..., None]], ...]:
        """Return the panels of a report's figure that the procedure brings.

        Returns
        -------
        tuple of (str, callable)
            Title, and ``draw(axes, record, report)``.
        """
        return ()


def clock_of_record(path: Path, name: str) -> tuple[int, float] | None:
    """Return frames and device time in seconds when a record was stored; None if the file does not say."""
    if not path.exists() or name not in record_names(path):
        return None
    info = read_info(path, name)
    return None if info.frames is None else (info.frames, info.elapsed_s)


def options_of(procedures: Iterable[Procedure | type[Procedure]]) -> dict[str, tuple[Option, tuple[str, ...]]]:
    """Return options by name, in order, each with the names of the procedures that have it.

    Raises
    ------
    ValueError
        If two mean different things by one name or flag.
    """
    found: dict[str, tuple[Option, tuple[str, ...]]] = {}
    for procedure in procedures:
        for option in procedure.options:
            for other, owners in found.values():
                if other != option and (other.name == option.name or other.flag == option.flag):
                    raise ValueError(
                        f"The procedure {procedure.name!r} has an option {option.name} ({option.flag}), but that of "
                        f"{', '.join(owners)} is another one."
                    )
            found[option.name] = option, (*found.get(option.name, (option, ()))[1], procedure.name)
    return dict(sorted(found.items(), key=lambda item: item[1][0].order))


def checked_confidence(confidence: float) -> float:
    """Return the two-sided normal quantile of a confidence between 0 and 1."""
    from scipy import special

    value = validation.number("confidence", confidence, low=0.0, high=1.0, low_open=True)
    if value == 1.0:
        raise ValueError("confidence is 1, but it must be below 1: no interval is certain.")
    return float(special.ndtri((1 + value) / 2))
