"""The file of a measured transmission matrix: made from the journal, block by block, and read back."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from opusim.base.files import append_trailer, hdf5_onto, replacing
from opusim.base.hdf5_content import (
    FileError,
    attribute,
    check_finite,
    check_memory,
    check_size,
    first_not_finite,
    member,
)
from opusim.base.short_repr import short_repr
from opusim.bench.protocol import Identity
from opusim.bench.region import Roi
from opusim.calibration.contents import check_record, held
from opusim.calibration.files import open_calibration, read_record, stamp_file, stamp_group
from opusim.patterns.layout import MirrorLayout

from .journal import Journal
from .phases import HalvesPlan
from .steps import Measurement

__all__ = ["GROUP", "TmRecord", "read_matrix", "read_tm", "write_tm"]

#: Name of the group with all but the matrix.
GROUP = "transmission"
_BLOCK_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 18
# Share of the patterns in which a pixel may have lost its fringe to saturation. Off axis a field is a mean over a
# grain, in which one clipped pixel has a small part, and all of a grain's pixels count as lost by it.
_MOST_LOST, _MOST_LOST_OFF_AXIS = 0.01, 0.05
# Share of the pixels that may be left out without a word. A reference that is speckle is dark in some.
_MOST_INVALID, _MOST_INVALID_INTERNAL = 0.05, 0.2
_GOOD_CORRELATION = 0.9
_FAST_DRIFT_RAD = 0.5


@short_repr
@dataclass(frozen=True)
class TmRecord:
    """A measured transmission matrix: all about it but the matrix.

    Parameters
    ----------
    basis : str
        "hadamard" or "canonical".
    n_inputs, n_outputs : int
        Shape of the matrix: tm[output, input].
    layout_kind : str
        Kind of the layout of the macro-pixels, see `layout`.
    layout_factor : int
        Mirrors of an input, or side of its block.
    layout_features, layout_dmd_shape, layout_offset, layout_size : ndarray of int64
        Shapes of the features, the mirrors and the region that they lie on.
    roi : ndarray of int64, shape (4,)
        Outputs: row, column, n_rows, n_columns on the sensor, in raster order.
    exposure_s : float
        Exposure of each frame in seconds.
    asked_rad, actual_rad : ndarray of float64, shape (steps,)
        Phases asked of the shifter, and what they were taken for.
    repeats : int
        How often each pattern was measured.
    full_scale_dn : float
        Count from which a pixel was taken as saturated.
    valid : ndarray of bool, shape (n_outputs,)
        Pixels with a reference and with fringes that were not saturated. Rows of the others are zero.
    dark_dn, reference_dn : ndarray of float32, shape (n_outputs,)
        Dark level, and ``|R|^2``, in counts.
    contrast : float
        Contrast of the fringes over that of fully coherent arms; divided out.
    conjugate_share : complex
        Share of its conjugate that was taken out of each entry (`circular`); 0 if it was not asked for.
    anchor_phase_rad, anchor_correlation : ndarray of float64, shape (anchors,)
        Phase of the anchor against the start, which is the reference's drift, and its correlation with it.
    relative_error : float
        Random error of an entry over the rms entry, of valid rows, as their anchors repeat. What is wrong with
        every anchor alike, such as phase steps, is not in it.
    lost_share : float
        Share of all fields with too few frames that were not saturated.
    frames : int
        Frames of the patterns, without those of the start.
    path : str
        The file; set when it is read.
    method : str
        "phase-stepping", "off-axis" for one frame a pattern, at the phase 0, or "internal" for steps of one half of the
        inputs against the other.
    carrier_cycles_per_pixel : tuple of float
        Off axis: tilt of the reference along rows and columns; what it differs by from the true one stays in the
        fields, as a phase of each row.
    grain_px : float
        Off axis: width of a grain in pixels, by which the side band was cut out; 0 by phase stepping.
    carrier_uncertainty : float
        Cycles per pixel by which a carrier that was found from frames may be off, B / (2 n) for n grains across the
        region; 0 where it was given.
    """

    basis: str = held(choices=("hadamard", "canonical"))
    n_inputs: int = held(low=1.0, of="whole")
    n_outputs: int = held(low=1.0, of="whole")
    layout_kind: str = held()
    layout_factor: int = held(low=1.0, of="whole")
    layout_features: np.ndarray = held(low=1.0, shape=("axes",), of="whole")
    layout_dmd_shape: np.ndarray = held(low=1.0, shape=(2,), of="whole")
    layout_offset: np.ndarray = held(low=0.0, shape=(2,), of="whole")
    layout_size: np.ndarray = held(low=1.0, shape=(2,), of="whole")
    roi: np.ndarray = held(low=0.0, shape=(4,), of="whole")
    exposure_s: float = held(low=0.0, low_open=True)
    asked_rad: np.ndarray = held(shape=("steps",), of="number")
    actual_rad: np.ndarray = held(shape=("steps",), of="number")
    repeats: int = held(low=1.0, of="whole")
    full_scale_dn: float = held(low=0.0, low_open=True, inf=True)
    valid: np.ndarray = held(shape=("n_outputs",), of="flag")
    dark_dn: np.ndarray = held(shape=("roi",), of="number")
    reference_dn: np.ndarray = held(shape=("n_outputs",), of="number")
    contrast: float = held(low=0.0, low_open=True)
    conjugate_share: complex = held()
    anchor_phase_rad: np.ndarray = held(shape=("anchors",), of="number")
    anchor_correlation: np.ndarray = held(shape=("anchors",), of="number")
    relative_error: float = held(low=0.0, inf=True)
    lost_share: float = held(low=0.0, high=1.0)
    frames: int = held(low=1.0, of="whole")
    path: str = ""
    method: str = held(choices=("phase-stepping", "off-axis", "internal"), later="phase-stepping")
    carrier_cycles_per_pixel: tuple[float, float] = held(low=-0.5, high=0.5, shape=(2,), later=(0.0, 0.0))
    grain_px: float = held(low=0.0, later=0.0)
    carrier_uncertainty: float = held(low=0.0, later=0.0)

    def layout(self) -> MirrorLayout:
        """Return the macro-pixels.

        Returns
        -------
        MirrorLayout
            How the inputs lie on the mirrors.
        """

        def pair(values: np.ndarray) -> Any:
            return tuple(int(v) for v in values)

        return MirrorLayout(
            pair(self.layout_dmd_shape), pair(self.layout_features), self.layout_kind, int(self.layout_factor),
            pair(self.layout_offset), pair(self.layout_size),
        )  # fmt: skip

    @property
    def rectangle(self) -> Roi:
        """The region as (row, column, n_rows, n_columns)."""
        return Roi(*(int(v) for v in self.roi))

    def matrix(self, outputs: Any = slice(None)) -> np.ndarray:
        """Read rows of the matrix.

        Parameters
        ----------
        outputs : slice or sequence of int
            Which rows; all by default.

        Returns
        -------
        ndarray of complex64, shape (outputs, n_inputs)
            Entries, in roots of counts.
        """
        return read_matrix(self.path, outputs)

    def background(self, outputs: Any = slice(None)) -> np.ndarray:
        """Read the field with every input off.

        Parameters
        ----------
        outputs : slice or sequence of int
            Which rows; all by default.

        Returns
        -------
        ndarray of complex64, shape (outputs,)
            Fields, in roots of counts.
        """
        return read_matrix(self.path, outputs, name="background")


def read_tm(path: str | os.PathLike[str], *, bench: Any = None) -> TmRecord:
    """Read what a file of a transmission matrix says, without the matrix.

    Parameters
    ----------
    path : path-like
        The file.
    bench : Bench, optional
        The bench for which it is wanted: a file of another device is refused.

    Returns
    -------
    TmRecord
        All about the matrix, which its method `matrix` reads.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it is no such file, is damaged or cut short, of another version, or of another device, or holds what makes no
        sense: a matrix of another shape than it says, a background that is not finite.
    """
    record = replace(read_record(path, GROUP, TmRecord, bench=bench), path=str(path))
    try:
        layout = record.layout()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not say how the inputs lie on the mirrors: {error}") from error
    if layout.n_features_total != record.n_inputs:
        raise ValueError(
            f"{path} says that it has {record.n_inputs} inputs, but {layout.n_features_total} macro-pixels."
        )
    with open_calibration(path) as file:
        _matrix_of(file, path, "tm")
        check_finite(_matrix_of(file, path, "background")[()], f"{path}: background")
    return record


def _matrix_of(file: Any, path: str | os.PathLike[str], name: str) -> Any:
    """Return a data set of complex numbers that is in the file, all of it, and of the shape that it should have."""
    for needed in (GROUP, name):
        if needed not in file:
            raise FileError(f"{path} holds no {needed!r}: it is no file of a transmission matrix.")
    data, group = member(file, name), member(file, GROUP)
    check_size(data)
    if data.dtype != np.complex64:
        raise FileError(f"{path}: {name} holds {data.dtype}, but it must hold complex64.")
    sizes = [attribute(group, key, int) for key in ("n_outputs", "n_inputs")]
    shape = tuple(map(int, sizes if name == "tm" else sizes[:1]))
    if data.shape != shape:
        raise FileError(f"{path}: {name} has the shape {data.shape}, but it must be {shape}.")
    return data


def read_matrix(path: str | os.PathLike[str], outputs: Any = slice(None), *, name: str = "tm") -> np.ndarray:
    """Read rows of a stored matrix.

    Parameters
    ----------
    path : path-like
        The file.
    outputs : slice or sequence of int
        Which rows; all by default.
    name : str
        Data set: "tm" or "background".

    Returns
    -------
    ndarray of complex64, shape (outputs, n_inputs)

    Raises
    ------
    ValueError
        As for `read_tm`; if a row is not there, or an entry that is read is not finite.
    """
    with open_calibration(path) as file:
        data = _matrix_of(file, path, name)
        if isinstance(outputs, slice):
            return _rows(data, path, name, outputs)
        wanted = np.asarray(outputs, dtype=np.int64)
        if wanted.size and not -len(data) <= wanted.min() <= wanted.max() < len(data):
            raise FileError(
                f"outputs goes from {wanted.min()} to {wanted.max()}, but the rows of {name} in {path} from 0 to "
                f"{len(data) - 1}."
            )
        chosen, back = np.unique(wanted % max(1, len(data)), return_inverse=True)
        found = data[chosen]  # HDF5 reads rows in rising order
        check_finite(found, f"{path}: {name}, of the rows asked for,")
        return found[back]


def _rows(data: Any, path: str | os.PathLike[str], name: str, outputs: slice) -> np.ndarray:
    """Return a range of rows whose entries are all finite."""
    rows = range(*outputs.indices(len(data)))
    if rows.step < 1:  # HDF5 reads rows in rising order
        return _rows(data, path, name, slice(min(rows), max(rows) + 1))[:: rows.step] if rows else data[:0]
    check_memory(data, (len(rows), *data.shape[1:]))
    found = data[outputs]
    place = first_not_finite(found)
    if place is not None:
        where = [rows[place[0]], *place[1:]]
        raise FileError(f"{path}: {name} holds {found[place]} at {where}, but all of it must be finite.")
    return found


def write_tm(
    out: Path,
    journal: Journal,
    m: Measurement,
    start: dict[str, np.ndarray],
    n_batches: int,
    identity: Identity,
    circular: bool,
) -> TmRecord:
    """Make the file from the journal; memory stays at a few blocks of `_BLOCK_BYTES`.

    Raises
    ------
    ValueError
        If a part of the journal is damaged, or what was found makes no sense.
    OSError
        If the disk is full; an older file stays.
    """
    plan, n_pixels = m.plan, m.n_pixels
    parts = [journal.fields(k) for k in range(n_batches)]
    if any(p.shape[1:] != (n_pixels,) or p.dtype != np.complex64 for p in parts) or sum(map(len, parts)) != (
        plan.n_units
    ):
        raise ValueError(f"The parts in {journal.folder} do not fit each other: delete the folder and measure again.")
    background, lost, residual, phases, correlations, n_frames, elapsed_s = _rests(journal, m, start, n_batches)
    n_patterns = plan.patterns(0, plan.n_groups)
    most = _MOST_LOST if m.off_axis is None else _MOST_LOST_OFF_AXIS
    valid = start["valid"] & (lost <= most * n_patterns)
    scale = np.where(valid, 1 / (np.sqrt(np.where(valid, start["reference_dn"], 1)) * start["contrast"]), 0)
    scale = scale.astype(np.float32)
    step = max(1, _BLOCK_BYTES // (8 * plan.n_units))

    def blocks():
        for first in range(0, n_pixels, step):
            part = slice(first, min(n_pixels, first + step))
            units = np.concatenate([p[:, part] for p in parts])
            off = background[part].astype(np.complex64)
            columns = plan.columns(units, off)
            if "join" in start:
                assert isinstance(plan, HalvesPlan)
                columns = plan.joined(columns, start["join"][part].astype(np.complex64))
            yield part, columns * scale[part], off * scale[part]

    share = 0j
    if circular:
        squares, power = 0j, 0.0
        for _, columns, _ in blocks():
            squares += complex(np.sum(columns**2, dtype=np.complex128))
            power += float(np.sum(np.abs(columns) ** 2, dtype=np.float64))
        # Wrong steps give t + b conj(t) up to a common factor: the mean of the squares is 2 b <|t|^2>, to order b^2.
        share = squares / (2 * max(power, 1e-300))
    turn, keep = np.complex64(share), np.float32(1 / (1 - abs(share) ** 2))
    total = 0.0
    chunk = (max(1, min(n_pixels, _CHUNK_BYTES // (8 * plan.n_inputs))), plan.n_inputs)
    with replacing(out, "the transmission matrix") as temporary:
        with hdf5_onto(temporary) as file:
            stamp_file(file, identity, time.time(), elapsed_s)
            tm = file.create_dataset("tm", (n_pixels, plan.n_inputs), np.complex64, chunks=chunk)
            off_field = file.create_dataset("background", (n_pixels,), np.complex64)
            for part, columns, off in blocks():
                if circular:
                    columns = (columns - turn * columns.conj()) * keep
                    off = (off - turn * off.conj()) * keep
                total += float(np.sum(np.abs(columns) ** 2, dtype=np.float64))
                tm[part] = np.ascontiguousarray(columns.T)
                off_field[part] = off
            mean = total / max(1, int(valid.sum()) * plan.n_inputs)
            layout = m.layout
            record = TmRecord(
                basis=plan.name, n_inputs=plan.n_inputs, n_outputs=n_pixels,  # type: ignore[attr-defined]
                layout_kind=layout.kind, layout_factor=layout.factor,
                layout_features=np.array(layout.n_features), layout_dmd_shape=np.array(layout.dmd_shape),
                layout_offset=np.array(layout.roi_offset), layout_size=np.array(layout.roi_size),
                roi=np.array(m.roi, dtype=np.int64), exposure_s=m.exposure_s, asked_rad=m.asked_rad,
                actual_rad=m.actual_rad, repeats=plan.repeats, full_scale_dn=float(start["full_scale_dn"]),
                valid=valid, dark_dn=start["dark_dn"].astype(np.float32),
                reference_dn=start["reference_dn"].astype(np.float32), contrast=float(start["contrast"]),
                conjugate_share=complex(share), anchor_phase_rad=phases, anchor_correlation=correlations,
                relative_error=_relative_error(m, start, residual, len(correlations), scale, mean),
                lost_share=float(lost.sum() / (n_patterns * n_pixels)), frames=n_patterns * len(m.asked_rad),
                path=str(out), **_how(m),
            )  # fmt: skip
            check_record(record)
            _check_quality(record, phases, correlations)
            group = file.create_group(GROUP)
            stamp_group(group, TmRecord.__name__, time.time(), elapsed_s, n_frames)
            for field in fields(record):
                value = getattr(record, field.name)
                if isinstance(value, np.ndarray):
                    group[field.name] = value
                else:
                    group.attrs[field.name] = "" if field.name == "path" else value
        append_trailer(temporary)
    return record


def _how(m: Measurement) -> dict[str, Any]:
    """Fields of a record that only a measurement off axis has."""
    if m.internal:
        return {"method": "internal"}
    if m.off_axis is None:
        return {}
    assert m.off_axis.carrier is not None
    carrier = tuple(float(f) for f in m.off_axis.carrier)
    return {
        "method": "off-axis", "carrier_cycles_per_pixel": carrier, "grain_px": m.off_axis.grain_px,
        "carrier_uncertainty": m.off_axis.carrier_uncertainty,
    }  # fmt: skip


def _rests(
    journal: Journal, m: Measurement, start: dict[str, np.ndarray], n_batches: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int, float]:
    """Sum up what batches say beside their fields, one after the other: on a whole sensor each takes megabytes.

    Returns (mean background, lost patterns, residuals of the anchors, their phases, their correlations, frames and
    device time at the end).
    """
    background: np.ndarray | None = None
    residual = np.zeros(m.n_pixels)
    lost = np.zeros(m.n_pixels, dtype=np.int64)
    phases, correlations, n_frames, elapsed_s = [], [], 0, 0.0
    for number in range(n_batches):
        rest = journal.rest(number)
        lost += rest["lost"]
        phases.append(rest["anchor_phase_rad"])
        correlations.append(rest["anchor_correlation"])
        n_frames, elapsed_s = int(rest["frames"]), float(rest["elapsed_s"])
        residual += rest["anchor_residual"]
        if "background" in rest:
            background = rest["background"] if background is None else background + rest["background"]
    # A plan whose groups hold no pattern that is all off leaves the background to the start.
    mean = start["background"] if background is None else background / m.plan.n_groups
    return mean, lost, residual, np.concatenate(phases), np.concatenate(correlations), n_frames, elapsed_s


def _relative_error(
    m: Measurement, start: dict[str, np.ndarray], residual: np.ndarray, n_anchors: int, scale: np.ndarray, mean: float
) -> float:
    """Random error of an entry over the rms entry, from how well the anchor repeats in the pixels that are kept.

    An anchor with the noise v differs from the start's, a mean of 16, by v (1 + 1/16) on average. Pixel by pixel:
    bright pixels that clip, and are left out in the end, would set a correlation of all.
    """
    kept, weight = scale > 0, scale.astype(np.float64) ** 2
    if not kept.any():
        return 0.0
    noise = float(np.mean((residual * weight)[kept])) / n_anchors / (1 + 1 / 16)
    # Without noise an anchor repeats to the bit, rounded alike each time, and yet it is wrong by that.
    rounding = float(start.get("rounding_dn2", 0.0)) * m.noise_share()
    noise = max(noise, m.plan.anchor_patterns * rounding * float(np.mean(weight[kept])))
    entry = noise * m.plan.noise_share() / m.plan.repeats
    return float(np.sqrt(entry / max(mean - entry, 1e-300)))


def _check_quality(record: TmRecord, phases: np.ndarray, correlations: np.ndarray) -> None:
    """Warn of what is bad."""
    least, usual = float(correlations.min()), float(np.median(correlations))
    if least < _GOOD_CORRELATION:
        warnings.warn(
            f"The anchor pattern repeats badly: its field correlates by {least:.2g} with the first one at worst and by "
            f"{usual:.2g} at the median, where {_GOOD_CORRELATION:g} is good. There is too little light, or the device "
            "changed during the measurement.",
            stacklevel=4,
        )
    jumps = np.abs(np.angle(np.exp(1j * np.diff(phases))))
    if len(jumps) and float(np.median(jumps)) > _FAST_DRIFT_RAD:
        warnings.warn(
            f"The reference drifts faster than the measurement: by {float(np.median(jumps)):.2g} rad from one anchor "
            f"to the next (median), where {_FAST_DRIFT_RAD:g} is the most that can be followed.",
            stacklevel=4,
        )
    if np.mean(~record.valid) > (_MOST_INVALID_INTERNAL if record.method == "internal" else _MOST_INVALID):
        warnings.warn(
            f"{100 * np.mean(~record.valid):.1f} % of the pixels are left out: their reference is dark or they "
            "saturate. A shorter exposure may help.",
            stacklevel=4,
        )
