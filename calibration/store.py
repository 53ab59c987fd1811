"""Which calibration of the reference arm serves a region of the camera: one at hand, a stored one, or a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from opusim.base import folders
from opusim.base.warn import warn_outside
from opusim.bench.protocol import elapsed_s, identity_of
from opusim.bench.region import AnyRoi

if TYPE_CHECKING:
    from opusim.calibration.procedures.linear import LinearRecord

# Measured noise of one field over its rms: from the first on a calibration is told to be poor, from the second refused.
_POOR, _USELESS = 0.25, 0.7
# Age in device time after which a stored calibration is measured again: beam and shifter stay, the dust does not.
_OLDEST_S = 86400.0


class CalibrationWarning(UserWarning):
    """The device was calibrated, or its calibration is poor."""


def find_record(bench: Any, roi: AnyRoi, at_hand: dict[AnyRoi, LinearRecord], *, name: str) -> LinearRecord:
    """Return the calibration for a region: a stored one, or a new one, which is told and stored.

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
    steps: int = 4,
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
    from opusim.calibration.files import write_record
    from opusim.calibration.procedures.linear import measure_linear

    record = measure_linear(bench, steps=steps, roi=roi, exposure_s=exposure_s)
    check_quality(record)
    at_hand[roi] = record
    if store:
        path = stored_path(bench)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_record(path, _group(roi), record, bench=bench)
            except ValueError:
                _write_in_spite(path, roi, record, bench)
        except OSError:
            pass  # a folder that cannot be written costs no more than the next calibration
    return record


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
    name = f"{identity.name}-{identity.fingerprint[:16]}-seed{identity.seed}.h5"
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
    """Return the stored calibration of a region, if there is one that can be read and is not too old."""
    from opusim.calibration.files import read_record
    from opusim.calibration.procedures.linear import LinearRecord

    path = stored_path(bench)
    if not path.exists():
        return None
    try:
        record = read_record(path, _group(roi), LinearRecord, bench=bench)
    except (OSError, ValueError):
        return None
    return record if abs(elapsed_s(bench) - record.elapsed_s) < _OLDEST_S else None
