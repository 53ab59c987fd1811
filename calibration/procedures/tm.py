"""The procedure that measures a transmission matrix: it goes into a file of its own, and goes on where it stopped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import validation
from opusim.calibration.algorithms.phase_shifting import equal_steps
from opusim.calibration.words import micro

from .base import EXPOSURE, STEPS, Option, Procedure, Progress, Row, clock_of_record
from .exposure import usual_exposure
from .matrix.file import GROUP, TmRecord, read_tm
from .matrix.journal import Journal, clear_removed, interrupted_header
from .matrix.measure import METHODS, measure_tm
from .phase import actual_phases

if TYPE_CHECKING:
    from opusim.calibration.session import Calibration
    from opusim.device.record import Device

__all__ = ["tm_path"]


def tm_path(path: str | Path) -> Path:
    """Return the file of the transmission matrix that lies beside a calibration file: cal.tm.h5 beside cal.h5."""
    path = Path(path)
    return path.with_name(f"{path.stem}.tm{path.suffix}")


def _inputs(text: str) -> int | tuple[int, int]:
    parts = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if parts is None:
        raise ValueError(f"--inputs is {text!r}, but it must be a number, or rows and columns as in 16x16.")
    return int(parts[1]) if parts[2] is None else (int(parts[1]), int(parts[2]))


def _basis(text: str) -> str:
    if text not in ("hadamard", "canonical"):
        raise ValueError(f"--basis is {text!r}, but it must be hadamard or canonical.")
    return text


def _method(text: str) -> str:
    if text not in METHODS:
        raise ValueError(f"--method is {text!r}, but it must be {' or '.join(METHODS)}.")
    return text


def _checked_grain(value: Any) -> Any:
    return value if value is None else validation.number("grain_px", value, low=1.0, high=1e4)


def _how(record: TmRecord) -> str:
    """Return in words how the fields were found."""
    if record.method == "phase-stepping":
        return f"{len(record.asked_rad)} steps"
    down, across = record.carrier_cycles_per_pixel
    return f"off axis at {down:.3f} and {across:.3f} cycles a pixel"


class MatrixProcedure(Procedure):
    """The transmission matrix of a region, by phase stepping or off axis."""

    name = "tm"
    title = "Complex transmission matrix of a region, column by column."
    records = (TmRecord,)
    needs_reference = True
    order = 50.0
    options = (
        EXPOSURE,
        STEPS,
        Option(
            "inputs", "--inputs", str, "tm: macro-pixels in line, or rows x columns as 16x16; 256 by default.",
            default=256, read=_inputs, order=50,
        ),
        Option(
            "basis", "--basis", str, "tm: hadamard (the default) or canonical.", default="hadamard", read=_basis,
            order=60,
        ),
        Option(
            "method", "--method", str, "tm: phase-stepping (the default) or off-axis, a frame a pattern.",
            default="phase-stepping", read=_method, order=62,
        ),
        Option(
            "grain_px", "--grain-px", float, "tm: width of a speckle grain in pixels, for off-axis.",
            check=_checked_grain, order=64,
        ),
        Option(
            "resume", "--resume", bool, "tm: go on with an interrupted one. all: leave out what is there.",
            default=False, order=80,
        ),
    )  # fmt: skip

    def file(self, path: Path) -> Path:
        """Return the file beside that of the calibration."""
        return tm_path(path)

    def measure(self, session: Calibration, progress: Progress | None = None) -> dict[str, Any]:
        """Measure it with four steps by default; with the phases and the exposure that are stored."""
        options = session.options
        out, asked = self.file(session.path), equal_steps(options["steps"] or 4)
        off_axis = options["method"] == "off-axis"
        if off_axis:
            asked = np.zeros(1)
            if options["grain_px"] is None:
                raise ValueError(
                    "--grain-px is not given, but --method off-axis needs it: the width of a speckle grain in pixels."
                )
        header = interrupted_header(out)
        if header is not None and not options["resume"]:
            raise FileExistsError(
                f"{out} was begun and interrupted: --resume goes on with it; delete the folder .{out.name}.parts to "
                "begin afresh."
            )
        if header is not None and header.get("asked_rad") == asked.tolist():
            # What was found before it began would be found a little differently now.
            exposure_s, actual = options["exposure_s"] or header["exposure_s"], np.array(header["actual_rad"])
        elif options["resume"] and out.exists() and not Journal.there(out):
            done = read_tm(out, bench=session.bench)
            same = np.array_equal(done.asked_rad, asked)
            exposure_s, actual = options["exposure_s"] or done.exposure_s, done.actual_rad if same else asked
        else:
            exposure_s = usual_exposure(session)
            actual = asked if off_axis else actual_phases(session, asked, exposure_s)
        how = {"method": "off-axis", "grain_px": options["grain_px"]} if off_axis else {"actual_rad": actual}
        record = measure_tm(
            session.bench, options["inputs"], exposure_s=exposure_s, out=out, basis=options["basis"], steps=asked,
            roi=session.roi, resume=options["resume"], progress=progress, **how,
        )  # fmt: skip
        return {"tm": record}

    def done(self, session: Calibration) -> bool:
        """Whether it is whole, of this region, these inputs and this basis."""
        path = self.file(session.path)
        clear_removed(path)
        if not path.exists() or Journal.there(path):
            return False
        record = read_tm(path, bench=session.bench)
        session.check_same(path, "inputs", record.n_inputs, int(np.prod(session.options["inputs"])))
        session.check_same(path, "basis", record.basis, session.options["basis"])
        session.check_same(path, "method", record.method, session.options["method"])
        session.check_same(path, "roi", tuple(map(int, record.roi)), tuple(session.roi))
        return True

    def clock(self, session: Calibration) -> tuple[int, float] | None:
        """Return where the clock stood after the last pattern."""
        return clock_of_record(self.file(session.path), GROUP)

    def store(self, session: Calibration, records: dict[str, Any]) -> None:
        """Leave it: it was written as it was measured."""

    def summary(self, record: TmRecord, device: Device | None = None) -> list[Row]:
        """Say in a few rows what a record holds."""
        return [
            ("matrix", f"{record.n_outputs:,} outputs x {record.n_inputs:,} inputs", ""),
            ("basis", f"{record.basis}, {_how(record)}, {record.frames:,} frames", ""),
            ("exposure", micro(record.exposure_s), ""),
            ("random error of an entry", f"{100 * record.relative_error:.2g} % of the rms entry", ""),
            ("outputs", f"{int(record.valid.sum()):,} can be used", ""),
            ("anchor", f"correlation {float(np.median(record.anchor_correlation)):.4f} (median)", ""),
            ("drift taken out", f"{float(np.ptp(np.unwrap(record.anchor_phase_rad))):.2g} rad", ""),
            ("file", record.path, ""),
        ]
