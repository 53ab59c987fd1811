"""The exposure that gives a wanted level, or the longest one that does not clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import validation
from opusim.base.user_arrays import checked_array
from opusim.bench.protocol import Bench, checked_bench, elapsed_s
from opusim.bench.region import AnyRoi
from opusim.calibration.algorithms.phase_shifting import equal_steps
from opusim.calibration.contents import held
from opusim.calibration.files import record_names
from opusim.calibration.on_bench import dark_frames, exposed_steadily, saturation_dn, shown_mirrors
from opusim.calibration.words import micro

from .base import SEEKING, Option, Procedure, Progress, Row, clock_of_record

if TYPE_CHECKING:
    from opusim.calibration.session import Calibration
    from opusim.device.record import Device

__all__ = ["SIGNAL_EXPOSURE", "ExposureRecord", "find_exposure", "usual_exposure"]

#: Name of the record of the signal alone, with the reference arm blocked.
SIGNAL_EXPOSURE = "exposure_signal"

# A trial is off by at most this factor from the last one, since little is known from a frame all dark or all clipped.
_LARGEST_STEP = 30.0
_TRIALS = 30
# Standard errors by which light must stand out from the dark.
_SIGNIFICANT = 6.0


@dataclass(frozen=True)
class ExposureRecord:
    """An exposure and what it gives.

    Parameters
    ----------
    exposure_s : float
        Exposure in seconds.
    level_dn : float
        Mean grey level of the frames over the region, dark level taken off.
    dark_dn : float
        Mean grey level with the laser shut.
    clipped_share : float
        Share of the outputs (a pixel under a pattern) that are saturated in at least one frame.
    saturation_dn : float
        Count from which a pixel was taken as saturated; inf for a camera that never clips.
    target_level_dn : float
        The level that was wanted; NaN if the longest exposure was.
    most_clipped_share : float
        The share of clipped outputs that was allowed.
    trials : int
        Exposures that were tried.
    elapsed_s : float
        Device time when it was found, in seconds.
    """

    exposure_s: float = held(low=0.0, low_open=True)
    level_dn: float = held()
    dark_dn: float = held()
    clipped_share: float = held(low=0.0, high=1.0)
    saturation_dn: float = held(low=0.0, inf=True)
    target_level_dn: float = held(low=0.0, low_open=True, nan=True)
    most_clipped_share: float = held(low=0.0, high=1.0)
    trials: int = held(low=1.0, of="whole")
    elapsed_s: float = held()


@dataclass(frozen=True)
class _Trial:
    exposure_s: float
    level: float
    error: float  # standard error of the level
    dark: float
    clipped: float
    peak: float  # level, dark taken off, that all but the allowed share of the outputs stay below


def find_exposure(
    bench: Bench,
    mirrors: Any,
    *,
    target_level_dn: float | None = None,
    clipped_share: float = 1e-3,
    reference_phase_rad: float | np.ndarray | None = None,
    roi: AnyRoi | None = None,
    shortest_s: float = 20e-6,
    longest_s: float = 0.1,
    start_s: float = 400e-6,
    tolerance: float = 0.02,
    full_scale_dn: float | None = None,
    n_dark: int = 8,
) -> ExposureRecord:
    """Find the exposure for some patterns.

    Parameters
    ----------
    bench : Bench
        The bench.
    mirrors : ndarray or MirrorPatterns
        Patterns as in ``Bench.expose``; typical ones.
    target_level_dn : float, optional
        Mean grey level wanted, dark level not counted. Without one, the longest exposure is found at which no more
        than `clipped_share` of the outputs clip.
    clipped_share : float, optional
        Share of outputs that may be saturated, 0 to 1. An output is a pixel under a pattern; with several phases it
        counts as saturated if it is in any of them.
    reference_phase_rad : float or array_like of float, optional
        Phases of the reference arm in radians; None blocks it.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the whole sensor by default.
    shortest_s, longest_s : float, optional
        Limits of the exposure in seconds; what the camera allows.
    start_s : float, optional
        First exposure to try, in seconds; kept if the camera never clips and no level is wanted.
    tolerance : float, optional
        How far the level may be from the one wanted, as a share of it.
    full_scale_dn : float, optional
        Count from which a pixel is saturated; asked of the flat field if left out (`saturation_dn`).
    n_dark : int, optional
        Dark frames of each trial.

    Returns
    -------
    ExposureRecord
        The exposure, and the levels at it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, or no exposure fits: the light is too weak at the longest one, too
        strong at the shortest, or the level wanted cannot be had without clipping.
    """
    checked_bench(bench)
    if mirrors is None:
        raise ValueError("mirrors is None, which shuts the laser, but an exposure is found for patterns with light.")
    mirrors = shown_mirrors(mirrors, bench)
    number = validation.number
    if target_level_dn is not None:
        number("target_level_dn", target_level_dn, low=0.0, high=1e9, low_open=True)
    number("clipped_share", clipped_share, low=0.0, high=1.0)
    number("shortest_s", shortest_s, low=0.0, high=3600.0, low_open=True)
    number("longest_s", longest_s, low=shortest_s, high=3600.0)
    number("start_s", start_s, low=0.0, high=3600.0, low_open=True)
    number("tolerance", tolerance, low=0.0, high=0.5, low_open=True)
    validation.integer("n_dark", n_dark, low=1)
    start_s = min(max(start_s, shortest_s), longest_s)
    limit = saturation_dn(bench, start_s, roi, full_scale_dn=full_scale_dn)
    phases = None
    if reference_phase_rad is not None:
        phases = np.atleast_1d(checked_array("reference_phase_rad", reference_phase_rad, finite=True))
    steps = 1 if phases is None else len(phases)

    def attempt(exposure_s: float) -> _Trial:
        dark = dark_frames(bench, exposure_s, n_dark, roi).astype(np.float64)
        frames = exposed_steadily(bench, mirrors, exposure_s=exposure_s, reference_phase_rad=phases, roi=roi)
        if not len(frames):
            raise ValueError("mirrors holds no pattern, but at least one is needed.")
        highest = frames.reshape(-1, steps, dark[0].size).max(axis=1).astype(np.float64)
        level, floor = frames.mean(dtype=np.float64), dark.mean()
        # Frames of the same pattern differ from the dark ones by their light; their noise is at least the dark's.
        error = float(dark.std() * math.sqrt(1 / dark.size + 1 / frames.size))
        peak = float(np.quantile(highest, 1 - clipped_share)) - float(floor)
        clipped = float(np.mean(highest >= limit))
        return _Trial(exposure_s, float(level - floor), error, float(floor), clipped, peak)

    limits = _Limits(shortest_s, longest_s, clipped_share, tolerance, limit)
    if target_level_dn is None:
        found, trials = _longest(attempt, start_s, limits)
    else:
        found, trials = _for_level(attempt, start_s, target_level_dn, limits)
    return ExposureRecord(
        exposure_s=found.exposure_s,
        level_dn=found.level,
        dark_dn=found.dark,
        clipped_share=found.clipped,
        saturation_dn=limit,
        target_level_dn=math.nan if target_level_dn is None else float(target_level_dn),
        most_clipped_share=float(clipped_share),
        trials=trials,
        elapsed_s=elapsed_s(bench),
    )


@dataclass(frozen=True)
class _Limits:
    shortest_s: float
    longest_s: float
    clipped: float
    tolerance: float
    full_scale: float


def _for_level(attempt: Any, start_s: float, target: float, limits: _Limits) -> tuple[_Trial, int]:
    """Follow the ratio of levels until the target is met."""
    exposure_s = start_s
    for trials in range(1, _TRIALS + 1):
        trial = attempt(exposure_s)
        # A quarter of the tolerance leaves room for the noise of the next measurement.
        if abs(trial.level / target - 1) <= limits.tolerance / 4 and trial.clipped <= limits.clipped:
            return trial, trials
        if trial.clipped > limits.clipped and trial.level <= target * (1 + limits.tolerance / 4):
            raise ValueError(
                f"target_level_dn is {target:g}, but {trial.clipped:.2%} of the outputs clip at a level of "
                f"{trial.level:.4g} already, and at most {limits.clipped:.2%} may: it must be lower."
            )
        at_longest, at_shortest = exposure_s >= limits.longest_s, exposure_s <= limits.shortest_s
        if at_longest and trial.level < target:
            if abs(trial.level / target - 1) <= limits.tolerance:
                return trial, trials
            raise ValueError(_too_dark(trial, f"the target of {target:g}"))
        if at_shortest and trial.level > target:
            if abs(trial.level / target - 1) <= limits.tolerance and trial.clipped <= limits.clipped:
                return trial, trials
            raise ValueError(
                f"The light is too strong: at the shortest exposure of {exposure_s:.4g} s the level is "
                f"{trial.level:.4g} DN above the dark, more than the target of {target:g}, and {trial.clipped:.2%} of "
                "the outputs clip."
            )
        step = target / trial.level if trial.level > _SIGNIFICANT * trial.error else _LARGEST_STEP
        exposure_s = _stepped(exposure_s, step, limits)
    raise ValueError(
        f"The level does not settle within {limits.tolerance:.1%} of {target:g} DN in {_TRIALS} trials: the light "
        "changes from frame to frame, or the region has too few pixels."
    )


def _longest(attempt: Any, start_s: float, limits: _Limits) -> tuple[_Trial, int]:
    """Lengthen until the peak just stays below saturation."""
    best: _Trial | None = None
    exposure_s, too_long = start_s, math.inf
    for trials in range(1, _TRIALS + 1):
        trial = attempt(exposure_s)
        room = limits.full_scale - trial.dark
        if trial.clipped > limits.clipped:
            if exposure_s <= limits.shortest_s:
                raise ValueError(
                    f"The light is too strong: at the shortest exposure of {exposure_s:.4g} s {trial.clipped:.2%} of "
                    f"the outputs clip, and at most {limits.clipped:.2%} may."
                )
            too_long = min(too_long, exposure_s)
            # A count at full scale does not tell how far beyond it the light is.
            exposure_s = math.sqrt(best.exposure_s * too_long) if best else _stepped(exposure_s, 0.25, limits)
            continue
        if best is None or exposure_s > best.exposure_s:
            best = trial
        if math.isinf(limits.full_scale):
            if trial.level > _SIGNIFICANT * trial.error:
                return trial, trials
        elif trial.peak >= 0.93 * room or too_long < 1.05 * exposure_s:
            return trial, trials
        if exposure_s >= limits.longest_s:
            if trial.level <= _SIGNIFICANT * trial.error or trial.peak < 0.1 * room:
                raise ValueError(_too_dark(trial, "a tenth of the range"))
            return trial, trials
        visible = trial.level > _SIGNIFICANT * trial.error and math.isfinite(room)
        exposure_s = _stepped(exposure_s, 0.97 * room / max(trial.peak, 1.0) if visible else _LARGEST_STEP, limits)
        if exposure_s >= too_long:
            exposure_s = math.sqrt(best.exposure_s * too_long)
    if best is not None:
        return best, _TRIALS
    raise ValueError("No exposure keeps the clipped outputs within their share: the light changes from frame to frame.")


def _stepped(exposure_s: float, ratio: float, limits: _Limits) -> float:
    ratio = min(max(ratio, 1 / _LARGEST_STEP), _LARGEST_STEP)
    return min(max(exposure_s * ratio, limits.shortest_s), limits.longest_s)


def _too_dark(trial: _Trial, wanted: str) -> str:
    if trial.level <= _SIGNIFICANT * trial.error:
        return (
            f"There is no light: at the longest exposure of {trial.exposure_s:.4g} s frames are {trial.level:.3g} DN "
            f"above dark ones, within the noise of {trial.error:.2g}. Is the laser on, and are mirrors?"
        )
    return (
        f"The light is too weak: at the longest exposure of {trial.exposure_s:.4g} s the level is {trial.level:.4g} DN "
        f"above the dark, less than {wanted}."
    )


class ExposureProcedure(Procedure):
    """The exposure of the whole, and where there is an arm that of the signal alone."""

    name = "exposure"
    title = "Exposure of a wanted level, or the longest one that does not clip."
    records = (ExposureRecord,)
    needs_full_scale = True
    order = 10.0
    options = (
        *SEEKING,
        Option(
            "level_dn", "--level", float,
            "exposure: mean grey level to reach; by default as long as few outputs clip.", order=30,
        ),
        Option(
            "clipped_share", "--clipped", float, "exposure: share of outputs that may clip; 0.001 by default.",
            default=1e-3, order=40,
        ),
    )  # fmt: skip

    def measure(self, session: Calibration, progress: Progress | None = None) -> dict[str, Any]:
        """Find it with the reference arm, if there is one, and without."""
        if session.options["exposure_s"] is not None:
            raise ValueError("exposure_s is given, but the procedure 'exposure' is there to find it.")
        arms = (True, False) if session.has_reference else (False,)
        found: dict[str, Any] = {}
        for reference in arms:
            found["exposure" if reference else SIGNAL_EXPOSURE] = _find(session, reference)
            if progress is not None:
                progress(len(found), len(arms))
        return found

    def done(self, session: Calibration) -> bool:
        """Whether that of the signal is there, which every device has."""
        return session.path.exists() and SIGNAL_EXPOSURE in record_names(session.path)

    def clock(self, session: Calibration) -> tuple[int, float] | None:
        """Return where the clock stood when they had been found."""
        return clock_of_record(session.path, SIGNAL_EXPOSURE)

    def summary(self, record: ExposureRecord, device: Device | None = None) -> list[Row]:
        """Say in a few rows what a record holds."""
        return [
            ("exposure", micro(record.exposure_s), ""),
            ("mean level", f"{record.level_dn:.4g} DN above the dark, {record.dark_dn:.3g} DN", ""),
            (
                "clipped outputs",
                f"{100 * record.clipped_share:.3g} %, {100 * record.most_clipped_share:.3g} % allowed",
                "",
            ),
        ]


# Patterns, and phase steps of the arm, of which few outputs may clip.
_PATTERNS, _STEPS = 16, 4


def _find(session: Calibration, reference: bool) -> ExposureRecord:
    return find_exposure(
        session.bench, session.patterns(_PATTERNS), target_level_dn=session.options["level_dn"],
        clipped_share=session.options["clipped_share"],
        reference_phase_rad=equal_steps(_STEPS) if reference else None, roi=session.roi, **session.seeking(),
    )  # fmt: skip


def usual_exposure(session: Calibration) -> float:
    """Return the exposure asked for, the stored one, or one that is found, in seconds."""
    if session.options["exposure_s"] is not None:
        return float(session.options["exposure_s"])
    for name in ("exposure", SIGNAL_EXPOSURE):
        stored = session.stored(name, ExposureRecord)
        if stored is not None:
            return stored.exposure_s
    return _find(session, session.has_reference).exposure_s
