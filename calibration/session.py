"""What the command line does: each procedure on one bench, with what earlier ones found, into one file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.bench.protocol import Bench, Roi, identity_of
from opusim.calibration.algorithms.phase_shifting import equal_steps
from opusim.calibration.procedures.camera import CameraRecord, characterise_camera
from opusim.calibration.procedures.drift import DriftRecord, measure_drift
from opusim.calibration.procedures.exposure import ExposureRecord, find_exposure
from opusim.calibration.procedures.linear import LinearRecord, measure_linear
from opusim.calibration.procedures.matrix.file import TmRecord, read_tm
from opusim.calibration.procedures.matrix.journal import interrupted_header
from opusim.calibration.procedures.matrix.measure import measure_tm
from opusim.calibration.procedures.phase import PhaseRecord, measure_phases
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

from .files import check_device, open_calibration, read_record, record_names, write_record

__all__ = ["PROCEDURES", "Calibration", "middle_region", "tm_path"]

#: In the order in which each can use what the ones before it found.
PROCEDURES = ("exposure", "camera", "phase", "linear", "tm", "drift")
#: Those that cannot do without a reference arm.
NEED_REFERENCE = ("phase", "linear", "tm")
#: Name of the record of the signal alone, with the reference arm blocked.
SIGNAL_EXPOSURE = "exposure_signal"

# Thousands of pixels are plenty for everything but a matrix, and take seconds.
_REGION = (64, 128)
_MACRO_PIXELS, _PATTERNS = 1024, 16
_PHASES, _STEPS = 8, 4
_LOOKS = 61

Progress = Callable[[int, int], None]


def tm_path(path: str | Path) -> Path:
    """Return the file of the transmission matrix that lies beside a calibration file: cal.tm.h5 beside cal.h5."""
    path = Path(path)
    return path.with_name(f"{path.stem}.tm{path.suffix}")


def middle_region(sensor_shape: tuple[int, int]) -> Roi:
    """Return the middle of a sensor, 64 x 128 pixels or less: (row, column, n_rows, n_columns)."""
    n_rows, n_columns = (min(n, size) for n, size in zip(_REGION, sensor_shape, strict=True))
    return (sensor_shape[0] - n_rows) // 2, (sensor_shape[1] - n_columns) // 2, n_rows, n_columns


@dataclass
class Calibration:
    """Procedures on one bench whose records go into one file.

    Parameters
    ----------
    bench : Bench
        The bench.
    path : Path
        The calibration file; the transmission matrix goes beside it (`tm_path`).
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the middle of the sensor by default (`middle_region`).
    exposure_s : float, optional
        Exposure in seconds; by default that of the record "exposure", or one that is found.
    steps : int, optional
        Phase steps: 8 for "phase", 4 for the others by default.
    level_dn : float, optional
        Grey level that "exposure" aims at; by default the longest exposure with few clipped outputs.
    clipped_share : float
        Share of outputs that may clip in "exposure".
    inputs : int or tuple of int
        Macro-pixels of the matrix: so many in line, or (rows, columns).
    basis : {"hadamard", "canonical"}
        Basis of the matrix.
    minutes : float
        Device time that "drift" watches.
    resume : bool
        Whether to go on with an interrupted matrix.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, or `path` holds something else or another device's calibration.
    """

    bench: Bench
    path: Path
    roi: Roi | None = None
    exposure_s: float | None = None
    steps: int | None = None
    level_dn: float | None = None
    clipped_share: float = 1e-3
    inputs: int | tuple[int, int] = 256
    basis: str = "hadamard"
    minutes: float = 10.0
    resume: bool = False

    def __post_init__(self) -> None:
        """Check everything before anything is measured."""
        self.path = Path(self.path)
        if self.roi is None:
            self.roi = middle_region(self.bench.sensor_shape)
        if self.steps is not None:
            validation.integer("steps", self.steps, low=3, high=63)
        if self.exposure_s is not None:
            validation.number("exposure_s", self.exposure_s, low=0.0, high=3600.0, low_open=True)
        validation.number("minutes", self.minutes, low=0.0, high=1e6, low_open=True)
        identity = identity_of(self.bench)
        for path in (self.path, tm_path(self.path)):
            if path.exists():
                with open_calibration(path) as file:
                    check_device(file, path, identity.fingerprint, identity.seed)

    @property
    def has_reference(self) -> bool:
        """Whether the bench has a reference arm: it is asked for one frame with it."""
        row, column, _, n_columns = self._region
        small = (row, column, 1, n_columns)
        self.bench.expose(self._patterns(1), exposure_s=400e-6, roi=small)
        try:
            self.bench.expose(self._patterns(1), exposure_s=400e-6, roi=small, reference_phase_rad=0.0)
        except ValueError:
            return False
        return True

    def done(self, procedure: str) -> bool:
        """Whether the record of a procedure is there already.

        Raises
        ------
        ValueError
            If a record is there that was made with other options.
        """
        if procedure == "tm":
            path = tm_path(self.path)
            if not path.exists() or interrupted_header(path) is not None:
                return False
            record = read_tm(path, bench=self.bench)
            self._check_same(path, "inputs", record.n_inputs, int(np.prod(self.inputs)))
            self._check_same(path, "basis", record.basis, self.basis)
            self._check_same(path, "roi", tuple(map(int, record.roi)), tuple(self._region))
            return True
        if not self.path.exists() or procedure not in record_names(self.path):
            return False
        if procedure == "linear":
            linear = read_record(self.path, "linear", LinearRecord, bench=self.bench)
            self._check_same(self.path, "roi", linear.rectangle, tuple(self._region))
            if self.steps is not None:
                self._check_same(self.path, "steps", linear.n_steps, self.steps)
        return True

    @staticmethod
    def _check_same(path: Path, option: str, stored: Any, wanted: Any) -> None:
        if stored != wanted:
            raise ValueError(
                f"{path} was made with {option} {stored}, but now it is {wanted}: go on with the same options, or name "
                "another file."
            )

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
        validation.choice("procedure", procedure, PROCEDURES)
        if procedure in NEED_REFERENCE and not self.has_reference:
            raise ValueError(f"This device has no reference arm, and {procedure!r} cannot do without one.")
        records: dict[str, Any] = getattr(self, f"_{procedure}")(progress)
        if procedure != "tm":
            for name, record in records.items():
                write_record(self.path, name, record, bench=self.bench)
        return records

    # ------------------------------------------------------------------ procedures

    def _exposure(self, progress: Progress | None) -> dict[str, ExposureRecord]:
        if self.exposure_s is not None:
            raise ValueError("exposure_s is given, but the procedure 'exposure' is there to find it.")
        arms = (True, False) if self.has_reference else (False,)
        found = {}
        for reference in arms:
            found["exposure" if reference else SIGNAL_EXPOSURE] = self._find_exposure(reference)
            if progress is not None:
                progress(len(found), len(arms))
        return found

    def _camera(self, progress: Progress | None) -> dict[str, CameraRecord]:
        # The light is changed there, not the exposure.
        exposure: dict[str, Any] = {} if self.exposure_s is None else {"exposure_s": self.exposure_s}
        return {"camera": characterise_camera(self.bench, roi=self.roi, progress=progress, **exposure)}

    def _phase(self, progress: Progress | None) -> dict[str, PhaseRecord]:
        asked = equal_steps(self.steps or _PHASES)
        return {"phase": self._measure_phases(asked, self._usual_exposure(), progress)}

    def _linear(self, progress: Progress | None) -> dict[str, LinearRecord]:
        return {
            "linear": measure_linear(
                self.bench, steps=self.steps or _STEPS, roi=self.roi, exposure_s=self.exposure_s, progress=progress
            )
        }

    def _tm(self, progress: Progress | None) -> dict[str, TmRecord]:
        out, asked = tm_path(self.path), equal_steps(self.steps or _STEPS)
        header = interrupted_header(out)
        if header is not None and not self.resume:
            raise FileExistsError(
                f"{out} was begun and interrupted: --resume goes on with it; delete the folder .{out.name}.parts to "
                "begin afresh."
            )
        if header is not None and header.get("asked_rad") == asked.tolist():
            # What was found before it began would be found a little differently now.
            exposure_s, actual = self.exposure_s or header["exposure_s"], np.array(header["actual_rad"])
        elif self.resume and out.exists() and header is None:
            done = read_tm(out, bench=self.bench)
            same = np.array_equal(done.asked_rad, asked)
            exposure_s, actual = self.exposure_s or done.exposure_s, done.actual_rad if same else asked
        else:
            exposure_s = self._usual_exposure()
            actual = self._actual_phases(asked, exposure_s)
        record = measure_tm(
            self.bench, self.inputs, exposure_s=exposure_s, out=out, basis=self.basis, steps=asked, actual_rad=actual,
            roi=self.roi, resume=self.resume, progress=progress,
        )  # fmt: skip
        return {"tm": record}

    def _drift(self, progress: Progress | None) -> dict[str, DriftRecord]:
        reference, exposure_s = self.has_reference, self._usual_exposure()
        asked = equal_steps(self.steps or _STEPS)
        actual = self._stored_phases(asked) if reference else None
        return {
            "drift": measure_drift(
                self.bench, mirrors=self._patterns(1), duration_s=60 * self.minutes, looks=_LOOKS, reference=reference,
                phases_rad=asked, actual_rad=actual, exposure_s=exposure_s, roi=self.roi, progress=progress,
            )
        }  # fmt: skip

    # ------------------------------------------------------------------ what several need

    @property
    def _region(self) -> Roi:
        assert self.roi is not None
        return self.roi

    def _patterns(self, n: int) -> MirrorPatterns:
        """Random macro-pixels, half of them on."""
        shape = self.bench.mirror_shape
        layout = MirrorLayout.lined(shape, min(_MACRO_PIXELS, shape[0] * shape[1]))
        return MirrorPatterns(
            np.random.default_rng(0).integers(0, 2, (n, layout.n_features_total), dtype=np.uint8), layout
        )

    def _find_exposure(self, reference: bool) -> ExposureRecord:
        return find_exposure(
            self.bench, self._patterns(_PATTERNS), target_level_dn=self.level_dn, clipped_share=self.clipped_share,
            reference_phase_rad=equal_steps(_STEPS) if reference else None, roi=self.roi,
        )  # fmt: skip

    def _usual_exposure(self) -> float:
        """Return the exposure asked for, the stored one, or one that is found."""
        if self.exposure_s is not None:
            return self.exposure_s
        names = record_names(self.path) if self.path.exists() else []
        for name in ("exposure", SIGNAL_EXPOSURE):
            if name in names:
                return read_record(self.path, name, ExposureRecord, bench=self.bench).exposure_s
        return self._find_exposure(self.has_reference).exposure_s

    def _measure_phases(self, asked: np.ndarray, exposure_s: float, progress: Progress | None = None) -> PhaseRecord:
        return measure_phases(
            self.bench, asked, mirrors=self._patterns(1), exposure_s=exposure_s, roi=self.roi, progress=progress
        )

    def _stored_phases(self, asked: np.ndarray) -> np.ndarray | None:
        """Phases that the shifter makes when asked for these, if the file has them."""
        if not self.path.exists() or "phase" not in record_names(self.path):
            return None
        record = read_record(self.path, "phase", PhaseRecord, bench=self.bench)
        near = np.abs(record.asked_rad[:, None] - asked) < 1e-9
        return record.phases_rad[near.argmax(axis=0)] if near.any(axis=0).all() else None

    def _actual_phases(self, asked: np.ndarray, exposure_s: float) -> np.ndarray:
        stored = self._stored_phases(asked)
        return self._measure_phases(asked, exposure_s).phases_rad if stored is None else stored
