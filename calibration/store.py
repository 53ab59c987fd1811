"""Which calibration of the reference arm serves a region of the camera: one at hand, a stored one, or a new one.

A stored calibration of a simulated bench saves time and changes no number: it serves only where measuring it anew would
give the same to the bit (the same clock, steps, way and version), and the clock then passes over its frames. So what a
program computes does not depend on what earlier ones have left in the user's folder. That of a real device, whose
frames do not come again, serves for a day.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opusim.base import folders
from opusim.base.warn import warn_outside
from opusim.bench.protocol import Repeatable, elapsed_s, has, identity_of, reference_map_of
from opusim.bench.region import AnyRoi

if TYPE_CHECKING:
    from opusim.calibration.procedures.linear import LinearRecord

# Measured noise of one field over its rms: from the first on a calibration is told to be poor, from the second refused.
_POOR, _USELESS = 0.25, 0.7
# Phase steps of a calibration for which none are asked.
_STEPS = 4
# Age in device time after which that of a real device is measured again: beam and shifter stay, the dust does not.
_OLDEST_S = 86400.0


class CalibrationWarning(UserWarning):
    """The device was calibrated, or its calibration is poor."""


def find_record(bench: Any, roi: AnyRoi, at_hand: dict[AnyRoi, LinearRecord], *, name: str) -> LinearRecord:
    """Return the calibration for a region: a stored one that serves, or a new one, which is told and stored.

    On a simulated bench both are the same to the bit, and leave the clock at the same place.

    Parameters
    ----------
    bench : Bench
        What is calibrated.
    roi : tuple of int
        (row, column, n_rows, n_columns) on the sensor.
    at_hand : dict
        Calibrations by region; the one that is returned is put into it, for next time.
    name : str
        The device's name, for the warning.

    Raises
    ------
    RuntimeError
        If the calibration is useless.
    """
    record = _stored(bench, roi)
    if record is None:
        warn_outside(
            f"linear_transform: the reference arm of {name!r} is calibrated on the region {roi} now. "
            "calibrate() does it in advance.",
            CalibrationWarning,
        )
        return measure(bench, roi, at_hand)
    check_quality(record)
    at_hand[roi] = record
    return record


def measure(
    bench: Any,
    roi: AnyRoi,
    at_hand: dict[AnyRoi, LinearRecord],
    *,
    steps: int = _STEPS,
    exposure_s: float | None = None,
    store: bool = True,
) -> LinearRecord:
    """Calibrate a region anew, and keep the result in the user's folder if that can be written.

    Parameters
    ----------
    bench : Bench
        What is calibrated.
    roi : tuple of int
        (row, column, n_rows, n_columns) on the sensor.
    at_hand : dict
        Calibrations by region; the new one is put into it.
    steps : int
        Phase steps, 3 or more.
    exposure_s : float, optional
        Exposure in seconds; found by default.
    store : bool
        Whether to keep it in the user's folder.

    Raises
    ------
    ValueError
        If there is no exposure that fits.
    RuntimeError
        If the calibration is useless.
    """
    from opusim.calibration.procedures.linear import measure_linear

    repeatable = has(bench, Repeatable)
    start, counted = _clock(bench) if repeatable else (0, 0.0), _Counted(bench)
    # Asked of the bench itself, which says which device it is.
    way = reference_map_of(bench)
    record = measure_linear(counted, steps=steps, roi=roi, exposure_s=exposure_s, reference_map=way)
    end = _clock(bench) if repeatable else start
    check_quality(record)
    at_hand[roi] = record
    if store and not repeatable:
        _write(bench, roi, record)
    # Not where other threads have taken frames meanwhile: nobody could measure it so again.
    elif store and end[0] - start[0] == counted.frames:
        from opusim.calibration.procedures.linear import RepeatableRecord

        _write(bench, roi, RepeatableRecord.of(record, start, end, _made_with(bench, steps, exposure_s)))
    return record


class _Counted:
    """A bench that counts the frames which are taken by it, of all that its clock counts."""

    def __init__(self, bench: Any) -> None:
        self._bench, self.frames = bench, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._bench, name)
        # Not a method here: a bench without a lamp must not seem to have one.
        return self._counting(found) if name == "flat_field" else found

    def expose(self, *arguments: Any, **options: Any) -> Any:
        return self._counting(self._bench.expose)(*arguments, **options)

    def _counting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            frames = call(*arguments, **options)
            self.frames += len(frames)
            return frames

        return counted


def _clock(bench: Any) -> tuple[int, float]:
    return bench.clock.frames, bench.clock.elapsed_s


def _made_with(bench: Any, steps: int, exposure_s: float | None) -> str:
    """Return what a calibration depends on beside device, seed, region and clock."""
    exposure = "exposure found" if exposure_s is None else f"{float(exposure_s).hex()} s"
    way = reference_map_of(bench)
    # What was stored before there was another map says nothing of it.
    which = "" if way == "alone" else f"reference {way}; "
    return f"{steps} steps; {exposure}; {which}{bench.made_with}"


def _write(bench: Any, roi: AnyRoi, record: LinearRecord) -> None:
    from opusim.calibration.files import write_record

    path = stored_path(bench)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_record(path, _group(roi), record, bench=bench)
        except ValueError:
            _write_in_spite(path, roi, record, bench)
    except OSError:
        pass  # a folder that cannot be written costs no more than the next calibration


def check_quality(record: LinearRecord) -> None:
    """Warn of a poor calibration; raise a RuntimeError for a useless one."""
    error = record.relative_error
    if not error < _USELESS:
        raise RuntimeError(
            f"The calibration of the linear transform is useless: a field repeats to {100 * error:.0f} % only. The "
            "reference arm or the exposure is not right."
        )
    if error > _POOR:
        warn_outside(
            f"The calibration of the linear transform is poor: a field repeats to {100 * error:.0f} %.",
            CalibrationWarning,
        )


def stored_path(bench: Any) -> Path:
    """Return the file that keeps the calibrations of a bench: one for each fingerprint and seed."""
    # Of the bench, not of the preset: the resolution may have been chosen apart.
    identity = identity_of(bench)
    name = folders.file_name(identity.name, f"-{identity.fingerprint[:16]}-seed{identity.seed}.h5")
    return folders.config_folder() / "calibrations" / name


def _group(roi: AnyRoi) -> str:
    """Name of a region's calibration; the last one made is the one that is kept."""
    return "linear_" + "_".join(map(str, roi))


def _write_in_spite(path: Path, roi: AnyRoi, record: LinearRecord, bench: Any) -> None:
    """Write beside calibrations that 0.1.0 spoilt, or in place of a file of no use here, which is kept elsewhere."""
    from opusim.base.files import rescue_hdf5
    from opusim.calibration.files import write_record

    try:
        rescue_hdf5(path)
        write_record(path, _group(roi), record, bench=bench)
    except ValueError as error:
        aside = path.with_name(f"{path.name}.unreadable")
        path.replace(aside)
        warn_outside(f"{error} It is {aside} now, and the calibrations are made anew.", CalibrationWarning)
        write_record(path, _group(roi), record, bench=bench)


def _stored(bench: Any, roi: AnyRoi) -> LinearRecord | None:
    """Return the stored calibration of a region, if one can be read and serves; its frames are passed over."""
    from opusim.calibration.files import read_record
    from opusim.calibration.procedures.linear import LinearRecord, RepeatableRecord

    repeatable = has(bench, Repeatable)
    path = stored_path(bench)
    if not path.exists():
        return None
    try:
        record = read_record(path, _group(roi), RepeatableRecord if repeatable else LinearRecord, bench=bench)
    except (OSError, ValueError):
        return None
    if not isinstance(record, RepeatableRecord):
        return record if abs(elapsed_s(bench) - record.elapsed_s) < _OLDEST_S else None
    if record.made_with != _made_with(bench, _STEPS, None) or not bench.advance_from(record.start, record.end):
        return None
    return record.plain()
