"""The procedure that measures a transmission matrix: it goes into a file of its own, and goes on where it stopped."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import stats

from opusim.base import validation
from opusim.bench.protocol import Bench, has, level_turns_of
from opusim.calibration.algorithms.off_axis import check_room, checked_carrier, half_bandwidth
from opusim.calibration.algorithms.phase_shifting import equal_steps
from opusim.calibration.files import device_of
from opusim.calibration.on_bench import dark_frames, exposed_each, feature_layout, saturation_dn
from opusim.calibration.words import micro
from opusim.patterns.layout import MirrorPatterns

from .base import EXPOSURE, SEEKING, STEPS, Option, Procedure, Progress, Row, clock_of_record
from .exposure import usual_exposure
from .matrix.file import GROUP, TmRecord, read_tm
from .matrix.journal import Journal, clear_removed, interrupted_header
from .matrix.measure import METHODS, measure_tm, refuse_carrier_of
from .matrix.patterns import plan_of
from .matrix.phases import INTERNAL_STEPS
from .phase import actual_phases

if TYPE_CHECKING:
    from opusim.calibration.session import Calibration
    from opusim.device.record import Device

__all__ = ["tm_path"]

# Patterns and dark frames that tell the law of the light, the share of the camera's range that it may fill, and that of
# the pixels whose reference is taken for the brightest.
_PATTERNS, _DARK, _FILLED, _BRIGHT = 16, 8, 0.97, 0.99
# Inputs of a matrix for which none are asked.
_INPUTS = 256


class _Grained(Protocol):
    """A device, simulated, that knows how large its grains are."""

    @property
    def pixel_over_grain(self) -> float:
        """Pixel over grain; 0 where pixels are points."""


def tm_path(path: str | Path) -> Path:
    """Return the file of the transmission matrix that lies beside a calibration file: cal.tm.h5 beside cal.h5."""
    path = Path(path)
    return path.with_name(f"{path.stem}.tm{path.suffix}")


def _inputs(text: str) -> int | tuple[int, int]:
    parts = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if parts is None:
        raise ValueError(f"--inputs is {text!r}, but it must be a number, or rows and columns as in 16x16.")
    return int(parts[1]) if parts[2] is None else (int(parts[1]), int(parts[2]))


def _wanted(session: Calibration) -> int | tuple[int, int]:
    """Return the inputs asked for, or 256, or all where the bench has fewer."""
    asked: int | tuple[int, int] | None = session.options["inputs"]
    if asked is not None:
        return asked
    return min(_INPUTS, feature_layout(session.bench).n_features_total)


def _basis(text: str) -> str:
    if text not in ("hadamard", "canonical"):
        raise ValueError(f"--basis is {text!r}, but it must be hadamard or canonical.")
    return text


def _method(text: str) -> str:
    if text not in METHODS:
        raise ValueError(f"--method is {text!r}, but it must be {', '.join(METHODS[:-1])} or {METHODS[-1]}.")
    return text


def _checked_grain(value: Any) -> Any:
    return value if value is None else validation.number("grain_px", value, low=1.0, high=1e4)


def _carrier(text: str) -> tuple[float, float]:
    parts = text.replace(" ", "").split(",")
    try:
        down, across = map(float, parts)
        return checked_carrier((down, across), "--carrier")
    except ValueError:
        raise ValueError(
            f"--carrier is {text!r}, but it must be two numbers from -0.5 to 0.5, cycles per pixel along rows and "
            "columns, as in 0.25,-0.3."
        ) from None


def _checked_carrier(value: Any) -> Any:
    return value if value is None else checked_carrier(value)


def _grain(session: Calibration) -> tuple[float, str]:
    """Return the width of a grain in pixels as given, or that of a simulated device, and a sentence about the latter.

    Raises
    ------
    ValueError
        If neither is known.
    """
    given = session.options["grain_px"]
    if given is not None:
        return float(given), ""
    missing = "--grain-px is not given, but --method off-axis needs it: the width of a speckle grain in pixels"
    device = device_of(session.bench)
    if not has(device, _Grained):
        raise ValueError(f"{missing}.")
    if not device.pixel_over_grain:
        raise ValueError(f"{missing}. Pixels of the simulated device are points, which tell no grain.")
    grain = 1 / device.pixel_over_grain
    if grain < 1:
        raise ValueError(
            f"A grain of the simulated device is {grain:.3g} pixels wide, but --method off-axis needs one of a pixel "
            "at least."
        )
    return grain, f"A grain is taken to be {grain:.4g} pixels wide, as the simulated device has it; --grain-px sets it."


def _exposure_for_all(session: Calibration, exposure_s: float, n_inputs: int, patterns: int) -> float:
    """Return an exposure at which few pixels clip in any of so many frames of one phase, no longer than the one given.

    Of the outputs, `clipped_share` may clip in one frame or more. A pixel's light is |S + c R|^2 + (1 - c^2) |R|^2 with
    S of circular Gaussian statistics and c the contrast of the fringes: the first part has a non-central chi-squared
    law with two degrees of freedom (Rice's). Frames without the reference tell <|S|^2>, those without a pattern
    |R|^2, and the variance of frames with both, <|S|^2>^2 + 2 c^2 |R|^2 <|S|^2>, tells c.
    """
    how: dict[str, Any] = {"exposure_s": exposure_s, "roi": session.roi}
    full = saturation_dn(session.bench, exposure_s, session.roi, full_scale_dn=session.options["full_scale_dn"])
    share = session.options["clipped_share"] / patterns
    if math.isinf(full) or not 0 < share < 1:
        return exposure_s
    shown = session.patterns(_PATTERNS)
    dark = dark_frames(session.bench, exposure_s, _DARK, session.roi)
    floor = float(dark.mean(dtype=np.float64))
    both = exposed_each(session.bench, shown, reference_phase_rad=np.zeros(1), **how)
    signals = exposed_each(session.bench, shown, **how)
    signal = float(signals.mean(dtype=np.float64)) - floor
    if level_turns_of(session.bench) is None:
        off = MirrorPatterns(np.zeros_like(shown.bits[:1]), shown.layout)
        alone = exposed_each(session.bench, off, reference_phase_rad=np.zeros(1), **how).astype(np.float64) - floor
    else:  # no pattern is dark: the mean of opposite phases less what the arm does not bring
        opposite = exposed_each(session.bench, shown, reference_phase_rad=np.array([0.0, np.pi]), **how)
        alone = opposite.mean(axis=0, dtype=np.float64) - signals.mean(axis=0, dtype=np.float64)
    level, spread = float(alone.mean()), float(both.var(dtype=np.float64) - dark.var(dtype=np.float64))
    if not (signal > 0 and level > 0):
        return exposure_s
    coherent = min(max((spread - signal**2) / (2 * level * signal), 0.0), 1.0)
    # Where the reference is brightest, and under patterns that have more inputs on than others, as half of n chosen at
    # random has by one standard deviation.
    level, signal = max(level, float(np.quantile(alone, _BRIGHT))), signal * (1 + 1 / math.sqrt(n_inputs))
    rice = float(stats.ncx2.isf(share, 2, 2 * coherent * level / signal)) * signal / 2
    highest = rice + (1 - coherent) * level
    return exposure_s if not math.isfinite(highest) else exposure_s * min(1.0, _FILLED * (full - floor) / highest)


def _how(record: TmRecord) -> str:
    """Return in words how the fields were found."""
    if record.method == "phase-stepping":
        return f"{len(record.asked_rad)} steps"
    if record.method == "internal":
        return f"{len(record.asked_rad)} steps of each half against the other"
    return "off axis"


def _method_on(session: Calibration) -> str:
    """Return the method asked for; by default, on phases without a reference arm, one half of them is stepped.

    Raises
    ------
    ValueError
        If steps of an arm are asked for that is not there.
    """
    method: str | None = session.options["method"]
    if method not in (None, "phase-stepping"):
        return str(method)
    if level_turns_of(session.bench) is None or session.has_reference:
        return "phase-stepping"
    if method is not None:
        raise ValueError(
            "--method is phase-stepping, but this device has no reference arm to be stepped: it must be internal, as "
            "it is by default there."
        )
    return "internal"


def _check_steps(steps: Any) -> None:
    if steps not in (None, len(INTERNAL_STEPS)):
        raise ValueError(f"--steps is {steps}, but an internal reference is stepped by {len(INTERNAL_STEPS)} quarters.")


def _off_axis_rows(record: TmRecord, device: Device | None) -> list[Row]:
    """Return carrier and grain beside those of a simulated device."""
    if record.method != "off-axis":
        return []
    down, across = record.carrier_cycles_per_pixel
    within = f" (each to {record.carrier_uncertainty:.1g})" if record.carrier_uncertainty else ", as given"
    true_carrier = true_grain = ""
    if device is not None:
        true_carrier = "{:.4f} and {:.4f}".format(*device.reference.carrier_cycles_per_pixel)
        true_grain = f"{1 / device.pixel_over_grain:.4g}" if device.pixel_over_grain else ""
    return [
        ("carrier", f"{down:.4f} and {across:.4f} cycles a pixel{within}", true_carrier),
        ("grain", f"{record.grain_px:.4g} pixels", true_grain),
    ]


class MatrixProcedure(Procedure):
    """The transmission matrix of a region, by phase stepping or off axis."""

    name = "tm"
    title = "Complex transmission matrix of a region, column by column."
    records = (TmRecord,)
    needs_reference = True
    needs_full_scale = True
    order = 50.0
    options = (
        EXPOSURE,
        *SEEKING,
        STEPS,
        Option(
            "inputs", "--inputs", str,
            "tm: macro-pixels in line, or rows x columns as 16x16; 256 by default, or all where there are fewer.",
            read=_inputs, order=50,
        ),
        Option(
            "basis", "--basis", str, "tm: hadamard (the default) or canonical.", default="hadamard", read=_basis,
            order=60,
        ),
        Option(
            "method", "--method", str,
            "tm: phase-stepping, off-axis, a frame a pattern, or internal, of phases; phase-stepping by default, "
            "internal where phases have no reference arm.",
            read=_method, order=62,
        ),
        Option(
            "grain_px", "--grain-px", float, "tm: width of a speckle grain in pixels, for off-axis.",
            check=_checked_grain, order=64,
        ),
        Option(
            "carrier", "--carrier", str,
            "tm: tilt of the reference along rows and columns for off-axis, as 0.25,-0.3 cycles a pixel; found if not.",
            read=_carrier, check=_checked_carrier, order=66,
        ),
        Option(
            "resume", "--resume", bool, "tm: go on with an interrupted one. all: leave out what is there.",
            default=False, order=80,
        ),
    )  # fmt: skip

    def needs_reference_on(self, bench: Bench) -> bool:
        """Whether the bench has mirrors: phases have a reference in their own light."""
        return level_turns_of(bench) is None

    def file(self, path: Path) -> Path:
        """Return the file beside that of the calibration."""
        return tm_path(path)

    def prepare(self, session: Calibration) -> list[str]:
        """Refuse what cannot be read off axis; say which grain is taken where none is given."""
        options = session.options
        if options["method"] == "internal" and level_turns_of(session.bench) is None:
            raise ValueError("--method is internal, but it is for a modulator of phases, and this bench has mirrors.")
        if options["method"] != "off-axis":
            for name in ("grain_px", "carrier"):
                if options[name] is not None:
                    flag = next(option.flag for option in self.options if option.name == name)
                    raise ValueError(f"{flag} is given, but it is for --method off-axis.")
            return []
        grain, told = _grain(session)
        if options["carrier"] is None:
            refuse_carrier_of(session.bench, grain)
        else:
            check_room(options["carrier"], half_bandwidth(grain))
        return [told] if told else []

    def measure(self, session: Calibration, progress: Progress | None = None) -> dict[str, Any]:
        """Measure it with four steps by default; with the phases and the exposure that are stored.

        Off axis the exposure is one at which few pixels clip in any of the frames, since a clipped pixel spoils the
        fields of a whole grain: shorter than the one that is stored, as a rule. One that is asked for is kept.
        """
        options = session.options
        out, asked = self.file(session.path), equal_steps(options["steps"] or 4)
        inputs = _wanted(session)
        method = _method_on(session)
        off_axis = method == "off-axis"
        if off_axis:
            asked = np.zeros(1)
        elif method == "internal":
            _check_steps(options["steps"])
            asked = 2 * np.pi * INTERNAL_STEPS
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
            actual = asked if method != "phase-stepping" else actual_phases(session, asked, exposure_s)
            if off_axis and options["exposure_s"] is None:
                n = int(np.prod(inputs))
                plan = plan_of(options["basis"], n, 1, phases=level_turns_of(session.bench) is not None)
                exposure_s = _exposure_for_all(session, exposure_s, n, plan.patterns(0, plan.n_groups))
        how: dict[str, Any] = {}
        if off_axis:
            how = {"grain_px": _grain(session)[0], "carrier": options["carrier"]}
        elif method != "internal":
            how = {"steps": asked, "actual_rad": actual}
        record = measure_tm(
            session.bench, inputs, exposure_s=exposure_s, out=out, basis=options["basis"], method=method,
            roi=session.roi, full_scale_dn=options["full_scale_dn"], resume=options["resume"], progress=progress,
            **how,
        )  # fmt: skip
        return {"tm": record}

    def done(self, session: Calibration) -> bool:
        """Whether it is whole, of this region, these inputs and this basis."""
        path = self.file(session.path)
        clear_removed(path)
        if not path.exists() or Journal.there(path):
            return False
        record = read_tm(path, bench=session.bench)
        session.check_same(path, "inputs", record.n_inputs, int(np.prod(_wanted(session))))
        session.check_same(path, "basis", record.basis, session.options["basis"])
        asked = session.options["method"]
        if asked is None:  # where there is no arm phases have been stepped against each other
            own = record.method == "internal" and level_turns_of(session.bench) is not None
            asked = "internal" if own else "phase-stepping"
        session.check_same(path, "method", record.method, asked)
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
            *_off_axis_rows(record, device),
            ("exposure", micro(record.exposure_s), ""),
            ("random error of an entry", f"{100 * record.relative_error:.2g} % of the rms entry", ""),
            ("outputs", f"{int(record.valid.sum()):,} can be used", ""),
            ("anchor", f"correlation {float(np.median(record.anchor_correlation)):.4f} (median)", ""),
            ("drift taken out", f"{float(np.ptp(np.unwrap(record.anchor_phase_rad))):.2g} rad", ""),
            ("file", record.path, ""),
        ]
