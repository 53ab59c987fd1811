"""What a calibration file holds, in words and numbers, beside the truth where a simulated device tells it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from opusim.bench.bench import OpticalBench
from opusim.bench.protocol import Identity
from opusim.calibration.procedures.camera import CameraRecord
from opusim.calibration.procedures.drift import DriftRecord
from opusim.calibration.procedures.exposure import ExposureRecord
from opusim.calibration.procedures.linear import LinearRecord
from opusim.calibration.procedures.matrix.file import TmRecord, read_tm
from opusim.calibration.procedures.phase import PhaseRecord
from opusim.device.record import Device
from opusim.device.toml import presets
from opusim.patterns.layout import MirrorPatterns

from .files import RecordInfo, read_info, read_record, record_names
from .session import tm_path

__all__ = ["Entries", "Report", "duration", "read_report", "summary"]

#: Quantity, what was found, and the simulated device's own value or "".
Row = tuple[str, str, str]

_KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (ExposureRecord, CameraRecord, PhaseRecord, LinearRecord, DriftRecord)
}
# Data sets that lie beside the group in the file of a matrix.
_TM_GROUP, _TM_DATA = "transmission", {"tm", "background"}
# So much of a matrix is enough for its statistics, and is read in a moment.
_ROWS, _COLUMNS, _TRUE_COLUMNS = 8192, 1024, 32


@dataclass(frozen=True)
class Entries:
    """A part of a measured matrix.

    Parameters
    ----------
    matrix : ndarray of complex64, shape (rows, columns)
        Valid rows, in roots of counts.
    columns : ndarray of int64
        Columns for which `truth` was computed.
    truth : ndarray of complex128, shape (rows, len(columns)), or None
        The simulated device's own entries, each row in the phase of the measured one, which no frame tells.
    """

    matrix: np.ndarray
    columns: np.ndarray
    truth: np.ndarray | None

    @property
    def error(self) -> float:
        """Relative error of the entries against the truth; NaN without one."""
        if self.truth is None:
            return math.nan
        return float(np.linalg.norm(self.matrix[:, self.columns] - self.truth) / np.linalg.norm(self.truth))


@dataclass(frozen=True)
class Report:
    """A calibration file, read.

    Parameters
    ----------
    path : Path
        The file.
    identity : Identity
        Whose it is.
    records : dict
        Records by name; "tm" is that of the matrix in the file beside it.
    info : dict
        Where each comes from.
    device : Device or None
        The simulated device, if it is known.
    truth_note : str
        Which truth there is, or why there is none.
    entries : Entries or None
        A part of the matrix.
    """

    path: Path
    identity: Identity
    records: dict[str, Any]
    info: dict[str, RecordInfo]
    device: Device | None
    truth_note: str
    entries: Entries | None = field(repr=False)

    def first(self, kind: type) -> Any:
        """Return the first record of a kind, or None."""
        return next((record for record in self.records.values() if isinstance(record, kind)), None)


def read_report(path: str | os.PathLike[str], *, device: Device | None = None) -> Report:
    """Read a calibration file, and that of a matrix beside it.

    Parameters
    ----------
    path : path-like
        The file, or that of a matrix alone.
    device : Device, optional
        The simulated device it belongs to; a preset's is found by its fingerprint.

    Returns
    -------
    Report
        What the file holds.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If it is no calibration file, is cut short, of another version, holds nothing, or belongs to another device.
    """
    path = Path(path)
    names = [name for name in record_names(path) if name not in _TM_DATA]
    if not names:
        raise ValueError(f"{path} is a calibration file, but there is no record in it.")
    records: dict[str, Any] = {}
    info = {name: read_info(path, name) for name in names}
    identity = info[names[0]].device
    for name in names:
        kind = _KINDS.get(info[name].kind)
        if kind is not None:
            records[name] = read_record(path, name, kind)
    matrix = path if _TM_GROUP in names else tm_path(path)
    if matrix.exists():
        # That of another device beside it would only confuse.
        read_record(matrix, _TM_GROUP, TmRecord, fingerprint=identity.fingerprint, seed=identity.seed)
        records["tm"] = read_tm(matrix)
        info["tm"] = read_info(matrix, _TM_GROUP)
    known, note = _device_of(identity, device, path)
    entries = _entries(records["tm"], known, identity.seed) if "tm" in records else None
    return Report(path, identity, dict(sorted(records.items(), key=_order)), info, known, note, entries)


def _order(item: tuple[str, Any]) -> tuple[int, str]:
    kinds = [*_KINDS, TmRecord.__name__]
    return kinds.index(type(item[1]).__name__), item[0]


def _device_of(identity: Identity, given: Device | None, path: Path) -> tuple[Device | None, str]:
    """Return the simulated device of this fingerprint, and a word about it."""
    if given is not None:
        if given.fingerprint() != identity.fingerprint:
            raise ValueError(
                f"{path} belongs to another device: {identity.name or 'one without a name'} with the fingerprint "
                f"{identity.fingerprint[:12] or 'none'}, but {given.name} has {given.fingerprint()[:12]}."
            )
        return given, f"that of the device {given.name}"
    for spec in presets():
        device = Device.load(spec)
        if device.name == identity.name and device.fingerprint() == identity.fingerprint:
            return device, f"that of the preset {spec}"
    return None, "not known: no preset has this fingerprint (--device names the device)"


def _entries(record: TmRecord, device: Device | None, seed: int) -> Entries | None:
    valid = np.flatnonzero(record.valid)
    if not len(valid):
        return None
    rows = valid[np.linspace(0, len(valid) - 1, min(_ROWS, len(valid))).round().astype(np.int64)]
    matrix = record.matrix(rows)[:, :_COLUMNS]
    columns = np.linspace(0, matrix.shape[1] - 1, min(_TRUE_COLUMNS, matrix.shape[1])).round().astype(np.int64)
    truth = None if device is None else _true_entries(record, device, seed, rows, columns)
    if truth is not None:
        turn = np.sum(matrix[:, columns] * truth.conj(), axis=1, keepdims=True)
        truth = truth * (turn / np.maximum(np.abs(turn), 1e-300))
    return Entries(matrix, columns, truth)


def _true_entries(
    record: TmRecord, device: Device, seed: int, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray | None:
    """Entries in roots of counts, from the fields of single inputs less that of none; None if a pixel has several."""
    bench, layout = OpticalBench(device, seed), record.layout()
    bits = np.zeros((len(columns) + 1, layout.n_features_total), dtype=np.uint8)
    bits[np.arange(1, len(bits)), columns] = 1
    camera = device.camera
    scale = math.sqrt(bench.photons_per_intensity(record.exposure_s) * camera.quantum_efficiency * camera.gain_dn_per_e)
    fields = np.empty((len(bits), len(rows)), dtype=np.complex128)
    for k, one in enumerate(bits):
        planes = bench.inspect(MirrorPatterns(one[None], layout), exposure_s=record.exposure_s, roi=record.rectangle)
        if planes.medium_field.shape[-1] != 1:
            return None
        fields[k] = planes.medium_field.reshape(-1)[rows]
    return scale * (fields[1:] - fields[0]).T


# ---------------------------------------------------------------------------------------------- in words


def summary(record: Any, device: Device | None = None) -> list[Row]:
    """Say in a few rows what a record holds.

    Parameters
    ----------
    record : dataclass instance
        A record of one of the procedures.
    device : Device, optional
        The simulated device, whose own values stand beside.

    Returns
    -------
    list of (quantity, value, device's own value or "")

    Raises
    ------
    TypeError
        If it is no such record.
    """
    for kind, rows in _ROWS_OF.items():
        if isinstance(record, kind):
            return rows(record, device)
    raise TypeError(f"record is a {type(record).__name__}, but it must be one of a calibration procedure.")


def _exposure(record: ExposureRecord, _: Device | None) -> list[Row]:
    return [
        ("exposure", _micro(record.exposure_s), ""),
        ("mean level", f"{record.level_dn:.4g} DN above the dark, {record.dark_dn:.3g} DN", ""),
        ("clipped outputs", f"{100 * record.clipped_share:.3g} %, {100 * record.most_clipped_share:.3g} % allowed", ""),
    ]


def _camera(record: CameraRecord, device: Device | None) -> list[Row]:
    camera = None if device is None else device.camera

    def with_interval(value: float, interval: tuple[float, float], scale: float = 1.0, unit: str = "") -> str:
        low, high = interval
        return f"{scale * value:.4g} ({scale * low:.4g} to {scale * high:.4g}){unit}"

    def own(name: str, scale: float = 1.0) -> str:
        return "" if camera is None else f"{scale * getattr(camera, name):.4g}"

    top = record.saturation_e
    return [
        ("gain", with_interval(record.gain_dn_per_e, record.gain_interval, 1, " DN/e"), own("gain_dn_per_e")),
        (
            "quantum efficiency",
            with_interval(record.quantum_efficiency, record.quantum_efficiency_interval),
            own("quantum_efficiency"),
        ),
        ("read noise", with_interval(record.read_noise_e, record.read_noise_interval, 1, " e"), own("read_noise_e")),
        (
            "dark current",
            with_interval(record.dark_current_e_per_s, record.dark_current_interval, 1, " e/s"),
            own("dark_current_e_per_s"),
        ),
        ("saturation", f"{top:.4g} e, by {record.saturation_by}" if math.isfinite(top) else "none", ""),
        ("PRNU", with_interval(record.prnu, record.prnu_interval, 100, " %"), own("prnu", 100)),
        ("DSNU", with_interval(record.dsnu_e, record.dsnu_interval, 1, " e"), own("dsnu_e")),
        ("linearity error", f"{100 * record.linearity_error:.2g} %", ""),
        ("hot pixels", f"{len(record.hot_pixels)} of {record.roi[2] * record.roi[3]:,}", ""),
        ("intervals hold with", f"{100 * record.confidence:g} %, each alone", ""),
    ]


def _phase(record: PhaseRecord, device: Device | None) -> list[Row]:
    arm = None if device is None else device.reference
    low, high = record.scale_interval
    bent_low, bent_high = record.nonlinearity_interval
    return [
        ("phases asked", _radians(record.asked_rad), ""),
        ("phases made", f"{_radians(record.phases_rad)} ± {record.uncertainty_rad:.1g}", ""),
        (
            "scale error",
            f"{100 * record.scale_error:.3g} ({100 * low:.3g} to {100 * high:.3g}) %",
            "" if arm is None else f"{100 * arm.scale_error:g}",
        ),
        (
            "nonlinearity",
            f"{record.nonlinearity:.2g} ({bent_low:.2g} to {bent_high:.2g})",
            "" if arm is None else f"{arm.nonlinearity:g}",
        ),
        (
            "repeatability of a step",
            f"{record.repeatability_rad:.3g} rad",
            "" if arm is None else f"{math.hypot(arm.jitter_rad, arm.vibration_rad / math.sqrt(2)):.3g}",
        ),
        ("fringe modulation", f"{record.modulation:.3g}, median of {record.pixels:,} pixels", ""),
    ]


def _linear(record: LinearRecord, device: Device | None) -> list[Row]:
    return [
        ("exposure", _micro(record.exposure_s), ""),
        ("phase steps", f"{record.n_steps}: {_radians(record.actual_rad)}", ""),
        ("error of one field", f"{100 * record.relative_error:.2g} % of its rms", ""),
        ("coherence", f"{record.coherence:.3g}", "" if device is None else f"{device.reference.coherence:g}"),
        ("fringe modulation", f"{record.modulation:.3g} (median)", ""),
        ("pixels", f"{int(record.valid.sum()):,} of {len(record.valid):,} can be used", ""),
        ("fields with clipped frames", f"{100 * record.clipped_share:.2g} %", ""),
    ]


def _tm(record: TmRecord, _: Device | None) -> list[Row]:
    return [
        ("matrix", f"{record.n_outputs:,} outputs x {record.n_inputs:,} inputs", ""),
        ("basis", f"{record.basis}, {len(record.asked_rad)} steps, {record.frames:,} frames", ""),
        ("exposure", _micro(record.exposure_s), ""),
        ("random error of an entry", f"{100 * record.relative_error:.2g} % of the rms entry", ""),
        ("outputs", f"{int(record.valid.sum()):,} can be used", ""),
        ("anchor", f"correlation {float(np.median(record.anchor_correlation)):.4f} (median)", ""),
        ("drift taken out", f"{float(np.ptp(np.unwrap(record.anchor_phase_rad))):.2g} rad", ""),
        ("file", record.path, ""),
    ]


def _drift(record: DriftRecord, device: Device | None) -> list[Row]:
    tau, (low, _) = record.decorrelation_time_s, record.decorrelation_interval_s
    # By the lower end: not having seen any does not say that there is none.
    holds_s = low * math.sqrt(-math.log1p(-record.allowed_loss) / 2) if math.isinf(tau) else record.redo_after_s
    bound = "at least " if math.isinf(tau) else ""
    rows = [
        ("watched", f"{duration(float(record.times_s[-1]))}, {len(record.times_s)} looks", ""),
        (
            "medium decorrelates in",
            f"{bound}{duration(low if math.isinf(tau) else tau)}",
            "" if device is None else duration(device.medium.decorrelation_time_s),
        ),
        (f"{100 * record.allowed_loss:g} % lost, redo after", f"{bound}{duration(holds_s)}", ""),
        ("power drift", f"{100 * record.power_drift:.2g} % rms", ""),
    ]
    if np.isfinite(record.phase_rad).any():
        rate = record.reference_drift_rad_per_minute
        own = "" if device is None else f"{device.reference.drift_rad_per_minute:g}"
        watched = f"more than the {duration(float(record.times_s[-1]))} watched"
        holds = watched if math.isinf(record.phase_holds_s) else duration(record.phase_holds_s)
        rows += [
            ("reference drifts by", f"{rate:.2g} rad in a minute" if math.isfinite(rate) else "not watched long", own),
            (f"phase holds to {record.allowed_phase_rad:g} rad for", holds, ""),
        ]
    return rows


_ROWS_OF: dict[Any, Any] = {
    ExposureRecord: _exposure,
    CameraRecord: _camera,
    PhaseRecord: _phase,
    LinearRecord: _linear,
    TmRecord: _tm,
    DriftRecord: _drift,
}


def _micro(time_s: float) -> str:
    return f"{1e6 * time_s:.4g} µs"


def _radians(phases: np.ndarray) -> str:
    return ", ".join(f"{phase:.3f}" for phase in phases) + " rad"


def duration(time_s: float) -> str:
    """Say a time in the unit that suits it."""
    if math.isinf(time_s):
        return "never"
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if time_s >= 2 * size:
            return f"{time_s / size:.3g} {unit}"
    return f"{time_s:.3g} s"
