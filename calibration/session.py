"""A calibration: procedures on one bench, each with what earlier ones found, into one file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from opusim.base import validation
from opusim.base.parameters import near_matches
from opusim.bench.protocol import Bench, Drivable, Lamp, has, identity_of, output_roi_of, tunes
from opusim.bench.region import AnyRoi, Roi
from opusim.calibration.on_bench import random_patterns
from opusim.calibration.procedures.base import PROCEDURES, SEEKING, Progress, options_of
from opusim.calibration.procedures.matrix.journal import resume_clock

from .files import check_device, device_of, open_calibration, read_record, record_names

if TYPE_CHECKING:
    from opusim.patterns.layout import MirrorPatterns

    NEED_REFERENCE: tuple[str, ...]

__all__ = ["NEED_REFERENCE", "PROCEDURES", "Calibration", "middle_region"]

# Thousands of pixels are plenty for everything but a matrix, and take seconds.
_REGION = (64, 128)

Record = TypeVar("Record")


def __getattr__(name: str) -> Any:
    """Return NEED_REFERENCE: the procedures that cannot do without a reference arm."""
    if name == "NEED_REFERENCE":
        return tuple(key for key, procedure in PROCEDURES.items() if procedure.needs_reference)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def middle_region(sensor_shape: tuple[int, int], within: Roi | None = None) -> Roi:
    """Return the middle of a sensor, 64 x 128 pixels or less: (row, column, n_rows, n_columns).

    Of the pixels that a bench has of its own (`within`), all of them where they are no more than that.
    """
    row, column, *size = Roi.whole(sensor_shape) if within is None else within
    if within is not None and within.n_pixels <= _REGION[0] * _REGION[1]:
        return within
    n_rows, n_columns = (min(n, most) for n, most in zip(_REGION, size, strict=True))
    return Roi(row + (size[0] - n_rows) // 2, column + (size[1] - n_columns) // 2, n_rows, n_columns)


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of all procedures by name, with their defaults; what is wrong by itself needs no bench.

    Parameters
    ----------
    options : dict
        As for `Calibration`.

    Returns
    -------
    dict
        Each option that there is.

    Raises
    ------
    TypeError, ValueError
        If one is not what it may be, or there is no such option.
    """
    known = {name: option for name, (option, _) in options_of(PROCEDURES.values()).items()}
    for name in options:
        if name not in known:
            near = near_matches(name, known)
            raise TypeError(f"There is no option {name!r} of a procedure{near}; there are {', '.join(known)}.")
    found: dict[str, Any] = {}
    for name, option in known.items():
        given = options.get(name)
        found[name] = option.default if given is None else given
        if option.check is not None:
            option.check(found[name])
    shortest_s, longest_s = (found[name] for name in ("shortest_s", "longest_s"))
    if shortest_s is not None and longest_s is not None and longest_s < shortest_s:
        raise ValueError(f"longest_s is {longest_s:g}, but shortest_s is {shortest_s:g}: it must not be shorter.")
    return found


def check_files(path: Path, bench: Bench | None = None) -> None:
    """Refuse a file that is no calibration, or damaged, or that of another device.

    Parameters
    ----------
    path : Path
        The calibration file; that of a matrix lies beside it.
    bench : Bench, optional
        Whose the files must be; without one that is not looked at.

    Raises
    ------
    ValueError, OSError
        If one is there that cannot be added to.
    """
    identity = None if bench is None else identity_of(bench)
    for file in dict.fromkeys(procedure.file(path) for procedure in PROCEDURES.values()):
        if file.exists():
            with open_calibration(file) as opened:
                if identity is not None:
                    check_device(opened, file, identity.fingerprint, identity.seed, device_of(bench))


class Calibration:
    """Procedures on one bench whose records go into one file.

    Parameters
    ----------
    bench : Bench
        The bench.
    path : path-like
        The calibration file; the transmission matrix goes beside it, into cal.tm.h5 for cal.h5.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); by default the middle of the sensor, or of the rectangle that has light on it
        (`middle_region`, `opusim.bench.protocol.Outputs`).
    **options
        Of the procedures; None for what each does by default. Ours have `exposure_s` (exposure in seconds; by default
        that of the record "exposure", or one that is found), `steps` (phase steps: 8 for "phase", 4 for the others),
        `level_dn` (grey level that "exposure" aims at; by default the longest exposure with few clipped outputs),
        `clipped_share` (share of outputs that may clip there), `inputs` (macro-pixels of the matrix: so many in line,
        or (rows, columns)), `basis` ("hadamard" or "canonical", of the matrix), `method`
        ("phase-stepping", "off-axis" or "internal", of the matrix), `grain_px` and `carrier` (for off-axis; by default
        the grain of a simulated device, and a carrier that is found), `full_scale_dn` (count of a saturated pixel; by
        default that of the lamp or the bench's record), `shortest_s` and `longest_s` (exposures in seconds between
        which one is sought), `minutes` (device time that "drift" watches),
        `temperature_k` and `pressure_pa` (changes of a simulated bench's surroundings, for "frequency") and `resume`
        (whether to go on with an interrupted matrix).

    Attributes
    ----------
    options : dict
        Options of every procedure, by name.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, or `path` holds something else or another device's calibration.
    """

    def __init__(self, bench: Bench, path: str | Path, roi: AnyRoi | None = None, **options: Any) -> None:
        """Check everything before anything is measured."""
        self.bench, self.path = bench, Path(path)
        self.roi: AnyRoi = middle_region(bench.sensor_shape, output_roi_of(bench)) if roi is None else roi
        self.options: dict[str, Any] = checked_options(options)
        check_files(self.path, bench)

    @property
    def has_reference(self) -> bool:
        """Whether the bench has a reference arm: it is asked for one frame with it."""
        row, column, _, n_columns = self.roi
        shortest_s, longest_s = (self.options[name] for name in ("shortest_s", "longest_s"))
        exposure_s = min(max(400e-6, shortest_s or 0.0), longest_s or math.inf)
        how: dict[str, Any] = {"exposure_s": exposure_s, "roi": (row, column, 1, n_columns)}
        # What is wrong with anything but the phase is told by this one.
        self.bench.expose(self.patterns(1), **how)
        try:
            self.bench.expose(self.patterns(1), reference_phase_rad=0.0, **how)
        except (TypeError, ValueError):
            return False
        return True

    @property
    def has_lamp(self) -> bool:
        """Whether the bench has an even light of known strength (`opusim.bench.protocol.Lamp`)."""
        return has(self.bench, Lamp)

    @property
    def has_tuning(self) -> bool:
        """Whether the laser of the bench can be tuned (`opusim.bench.protocol.Tunable`)."""
        return tunes(self.bench)

    def done(self, procedure: str) -> bool:
        """Whether the record of a procedure is there already.

        Parameters
        ----------
        procedure : str
            One of `PROCEDURES`.

        Returns
        -------
        bool
            Whether it is.

        Raises
        ------
        ValueError
            If a record is there that was made with other options, or there is no such procedure.
        """
        return self._procedure(procedure).done(self)

    def go_past(self, procedure: str) -> None:
        """Put the clock of a simulated bench to where a procedure that is done has left it.

        So procedures after it find what they would have found in one go, noise and drift to the bit.

        Parameters
        ----------
        procedure : str
            One of `PROCEDURES`.
        """
        clock = self._procedure(procedure).clock(self)
        if clock is not None:
            resume_clock(self.bench, *clock)

    def prepare(self, procedure: str) -> list[str]:
        """Refuse what a procedure cannot work with before it takes a frame, as `run` does first of all.

        Parameters
        ----------
        procedure : str
            One of `PROCEDURES`.

        Returns
        -------
        list of str
            Sentences on what the procedure chose where nothing was given.

        Raises
        ------
        TypeError, ValueError
            If an option is missing or does not fit, or the bench has no lamp, no tuning or no full scale where one is
            needed.
        """
        one = self._procedure(procedure)
        found: list[str] = one.prepare(self)
        if one.needs_full_scale:
            self.check_full_scale()
        if one.needs_tuning and not self.has_tuning:
            raise ValueError(
                f"The laser of this device cannot be tuned (laser.tuning_range_hz), and {procedure!r} cannot do "
                "without one that can."
            )
        if one.needs_lamp and not self.has_lamp:
            raise ValueError(
                f"This bench has no lamp, and {procedure!r} cannot do without one: flat_field, an even light of known "
                "strength (opusim.bench.protocol.Lamp)."
            )
        return found

    def run(self, procedure: str, progress: Progress | None = None) -> dict[str, Any]:
        """Run a procedure and store what it found.

        Parameters
        ----------
        procedure : str
            One of `PROCEDURES`.
        progress : callable, optional
            Told (done, total).

        Returns
        -------
        dict
            Records by the names under which they are stored.

        Raises
        ------
        TypeError, ValueError
            If there is no such procedure, the bench lacks what it needs, or it refuses what it sees.
        OSError
            If the file cannot be written.
        """
        one = self._procedure(procedure)
        self.prepare(procedure)
        if one.needs_reference_on(self.bench) and not self.has_reference:
            raise ValueError(f"This device has no reference arm, and {procedure!r} cannot do without one.")
        records = one.measure(self, progress)
        one.store(self, records)
        return records

    # ------------------------------------------------------------------ what procedures ask for

    def check_full_scale(self) -> None:
        """Refuse a bench of which nothing tells from which count on a pixel is saturated.

        Raises
        ------
        ValueError
            If it has neither a lamp nor a record, and `full_scale_dn` is not given.
        """
        if self.options["full_scale_dn"] is None and not self.has_lamp and not has(self.bench, Drivable):
            raise ValueError(
                "full_scale_dn (--full-scale) is not given, but this bench has no lamp and no record that tells the "
                "count of a saturated pixel: it must be a number such as 4095, or inf for a camera that never clips."
            )

    def seeking(self) -> dict[str, Any]:
        """Return what is given for an exposure that is sought, as arguments of `find_exposure`.

        Returns
        -------
        dict
            `full_scale_dn`, `shortest_s` and `longest_s`, those that are given.
        """
        return {one.name: self.options[one.name] for one in SEEKING if self.options[one.name] is not None}

    def patterns(self, n: int) -> MirrorPatterns:
        """Return patterns of random macro-pixels, or inputs of the bench, half of them on; the same ones each time.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        MirrorPatterns
            The patterns.
        """
        return random_patterns(self.bench, n)

    def stored(self, name: str, kind: type[Record]) -> Record | None:
        """Return the record that is stored under a name.

        Parameters
        ----------
        name : str
            The name.
        kind : type
            Its class.

        Returns
        -------
        object or None
            The record, if there is one.

        Raises
        ------
        ValueError
            If it is of another kind.
        """
        if not self.path.exists() or name not in record_names(self.path):
            return None
        return read_record(self.path, name, kind, bench=self.bench)

    @staticmethod
    def check_same(path: Path, option: str, stored: Any, wanted: Any) -> None:
        """Refuse what is stored if it was made with another option than is wanted now.

        Parameters
        ----------
        path : Path
            Where it is.
        option : str
            Name of the option.
        stored, wanted : object
            Its values.

        Raises
        ------
        ValueError
            If they differ.
        """
        if stored != wanted:
            raise ValueError(
                f"{path} was made with {option} {stored}, but now it is {wanted}: go on with the same options, or name "
                "another file."
            )

    @staticmethod
    def _procedure(name: str) -> Any:
        if name not in PROCEDURES:
            validation.choice("procedure", name, tuple(PROCEDURES))
        return PROCEDURES[name]
