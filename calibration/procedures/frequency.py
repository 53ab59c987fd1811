"""A servo on the frequency of the laser: the tuning at which speckle is again as it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import validation
from opusim.base.short_repr import short_repr
from opusim.bench.protocol import Bench, Surrounded, Tunable, checked_bench, elapsed_s, has
from opusim.bench.region import AnyRoi
from opusim.calibration.contents import held
from opusim.calibration.on_bench import dark_frames, exposed_each, shown_mirrors
from opusim.calibration.words import micro

from .base import EXPOSURE, SEEKING, Option, Procedure, Progress, Row
from .exposure import usual_exposure
from .matrix.journal import resume_clock

if TYPE_CHECKING:
    from opusim.calibration.session import Calibration
    from opusim.device.record import Device

__all__ = ["FrequencyRecord", "lock_frequency"]

# A width is looked for from this share of the range on, by steps of this factor.
_FIRST, _FACTOR = 1e-3, 2.0
_HALVINGS = 2  # of what is between the last two
# Tunings that a search may try, in steps of this share of the width on either side at half of the most.
_MOST_TRIALS, _STEP = 400, 0.75
# Shares of the correlation of one state: from the one on a search ends early, below the other it has found nothing.
_ENOUGH, _LEAST = 0.6, 0.3
# Parabolas through three points, each this share of the width apart: what noise leaves of the last one is below 1e-3.
_ROUNDS = (0.5, 0.25, 0.25)
_LEAST_PIXELS, _DARK_FRAMES = 64, 16


@short_repr
@dataclass(frozen=True)
class FrequencyRecord:
    """Frames to go back to, and the tuning at which frames are like them.

    Parameters
    ----------
    tuning_hz : float
        Tuning that was found, in which the laser was left, in hertz.
    correlation : float
        Correlation of the intensities there with those of the reference, over patterns and pixels.
    correlation_before : float
        The same at the tuning at which the search began.
    correlation_of_one_state : float
        That of two sets of frames of one state one after the other: what noise leaves of 1.
    width_hz : float
        Tuning away from a state at which half of that is left; inf where all of the range leaves more.
    range_hz : float
        By how much the laser can be tuned to either side.
    trials : int
        Tunings that were tried.
    reference_dn : ndarray of float32, shape (patterns, rows, columns)
        Mean frames of the patterns in the state to go back to, dark ones taken off.
    reference_tuning_hz : float
        Tuning at which they were taken.
    exposure_s : float
        Exposure in seconds.
    n_frames : int
        Frames of each pattern that are averaged.
    elapsed_s : float
        Device time at the end, in seconds.
    """

    tuning_hz: float = held()
    correlation: float = held(low=-1.0, high=1.0)
    correlation_before: float = held(low=-1.0, high=1.0)
    correlation_of_one_state: float = held(low=0.0, high=1.0)
    width_hz: float = held(low=0.0, low_open=True, inf=True)
    range_hz: float = held(low=0.0, low_open=True)
    trials: int = held(low=1.0, of="whole")
    reference_dn: np.ndarray = held(shape=("patterns", "rows", "columns"), of="number")
    reference_tuning_hz: float = held()
    exposure_s: float = held(low=0.0, low_open=True)
    n_frames: int = held(low=1.0, of="whole")
    elapsed_s: float = held()


def lock_frequency(
    bench: Bench,
    mirrors: Any,
    *,
    reference: FrequencyRecord | None = None,
    exposure_s: float = 400e-6,
    roi: AnyRoi | None = None,
    n_frames: int = 4,
    progress: Progress | None = None,
) -> FrequencyRecord:
    """Tune the laser to where speckle is as it was in a reference, and leave it there.

    A medium that is warmer, or under another pressure, acts on the light as a shift of its frequency does: the laser
    undoes it (docs/physics.md, section 3). Without a reference the present state becomes one.

    Parameters
    ----------
    bench : Bench
        The bench, with a laser that can be tuned (`opusim.bench.protocol.Tunable`).
    mirrors : ndarray or MirrorPatterns
        Patterns as in ``Bench.expose``, the same ones as for the reference; a few random ones.
    reference : FrequencyRecord, optional
        What an earlier call gave, of the same region.
    exposure_s : float, optional
        Exposure in seconds.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the whole sensor by default.
    n_frames : int, optional
        Frames of each pattern whose mean is correlated.
    progress : callable, optional
        Told (done, total) in parts of the work: reference, width, search.

    Returns
    -------
    FrequencyRecord
        With the reference in it, for the next call.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, the bench cannot tune, frames have no speckle, or no tuning within the
        range restores it; the laser then stands as before.

    Notes
    -----
    Without a reference of an earlier call the width is found by tuning away until half of the correlation is left. The
    search goes outwards from the present tuning, in steps of three quarters of the width, until 60 % of the correlation
    of one state is there, and then by parabolas through three tunings.

    Each tuning is another layer. A simulated bench that goes by the matrix makes one for each of them, which takes some
    thirty times longer than waves do: ``OpticalBench(device, execution="waves")``.
    """
    checked_bench(bench, Bench, Tunable)
    tunable: Any = bench
    most = validation.number("tuning_range_hz of the bench", tunable.tuning_range_hz, low=0.0, high=math.inf)
    if not most:
        raise ValueError("The laser of this bench cannot be tuned: its tuning_range_hz is 0, but it must be above 0.")
    if reference is not None and not isinstance(reference, FrequencyRecord):
        raise TypeError(f"reference is {reference!r}, but it must be a FrequencyRecord, or None.")
    if mirrors is None:
        raise ValueError("mirrors is None, which shuts the laser, but speckle needs its light.")
    mirrors = shown_mirrors(mirrors, bench)
    n_frames = validation.integer("n_frames", n_frames, low=1)
    exposure_s = validation.number("exposure_s", exposure_s, low=0.0, high=3600.0, low_open=True)
    start = float(tunable.tuning_hz)
    # Offsets of pixels are alike in all frames: with them, frames without light would correlate.
    dark = dark_frames(bench, exposure_s, _DARK_FRAMES, roi).mean(axis=0, dtype=np.float64)

    def frames() -> np.ndarray:
        total: Any = 0.0
        for _ in range(n_frames):
            total = total + exposed_each(bench, mirrors, exposure_s=exposure_s, roi=roi).astype(np.float64)
        return np.asarray(total / n_frames - dark)

    def tell(part: int) -> None:
        if progress is not None:
            progress(part, 3)

    now = frames()
    if not len(now) or now[0].size < _LEAST_PIXELS:
        raise ValueError(
            f"mirrors and roi give {now.size} outputs, but a correlation takes a pattern, and {_LEAST_PIXELS} pixels."
        )
    search = _Search(tunable, frames, most, now if reference is None else reference.reference_dn.astype(np.float64))
    if search.reference.shape != now.shape:
        raise ValueError(
            f"reference holds frames of shape {search.reference.shape}, but those of mirrors and roi have "
            f"{now.shape}: they must be the same patterns and the same region."
        )
    ceiling = _correlation(now, frames())
    if not ceiling > _LEAST:
        raise ValueError(
            f"Two sets of frames of one state correlate by {ceiling:.3g} only: a longer exposure or a larger n_frames "
            "is needed for a servo on the correlation."
        )
    before = ceiling if reference is None else _correlation(search.reference, now)
    tell(1)
    try:
        width = search.width(start, ceiling) if reference is None else reference.width_hz
        tell(2)
        found, correlation = search.best(start, before, ceiling, width)
    except BaseException:
        tunable.tune(start)
        raise
    tell(3)
    return FrequencyRecord(
        tuning_hz=found,
        correlation=correlation,
        correlation_before=before,
        correlation_of_one_state=ceiling,
        width_hz=width,
        range_hz=most,
        trials=search.trials,
        reference_dn=search.reference.astype(np.float32),
        reference_tuning_hz=start if reference is None else reference.reference_tuning_hz,
        exposure_s=exposure_s,
        n_frames=n_frames,
        elapsed_s=elapsed_s(bench),
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of frames over patterns and pixels; 0 where there is no speckle."""
    x, y = a - a.mean(), b - b.mean()
    power = math.sqrt(float(np.sum(x * x)) * float(np.sum(y * y)))
    return min(1.0, max(-1.0, float(np.sum(x * y)) / power)) if power else 0.0


class _Search:
    """Tunings of a laser, and how alike frames are there to those of a reference."""

    def __init__(
        self, bench: Any, frames: Callable[[], np.ndarray], most_hz: float, reference: np.ndarray
    ) -> None:  # fmt: skip
        self.bench, self.frames, self.most, self.reference = bench, frames, most_hz, reference
        self.trials = 1  # that of the start

    def at(self, tuning_hz: float, reference: np.ndarray | None = None) -> float:
        """Correlation with the reference, or with other frames, at a tuning."""
        self.bench.tune(tuning_hz)
        self.trials += 1
        return _correlation(self.reference if reference is None else reference, self.frames())

    def width(self, start: float, ceiling: float) -> float:
        """Tuning away from the start that leaves half of the correlation; inf if none in the range does."""
        towards = 1.0 if start <= 0 else -1.0
        more, less = 0.0, _FIRST * self.most
        while less <= self.most and self.at(start + towards * less) >= ceiling / 2:
            more, less = less, less * _FACTOR
        if less > self.most:
            return math.inf
        for _ in range(_HALVINGS):
            middle = (more + less) / 2
            if self.at(start + towards * middle) < ceiling / 2:
                less = middle
            else:
                more = middle
        return (more + less) / 2

    def best(self, start: float, before: float, ceiling: float, width: float) -> tuple[float, float]:
        """Tuning of the highest correlation, and what it is there; the laser is left there."""
        step = min(width, self.most) * _STEP
        best, value = start, before
        n = math.ceil(2 * self.most / step)
        if n > _MOST_TRIALS and value < _ENOUGH * ceiling:
            raise ValueError(
                f"A search over {2 * self.most:.4g} Hz in steps of {step:.4g} Hz, three quarters of the width of the "
                f"correlation, would take {n} tunings, but it may take {_MOST_TRIALS}: laser.tuning_range_hz must be "
                "smaller, or the search begin closer to the state that is looked for."
            )
        for k in range(1, n + 1):
            if value >= _ENOUGH * ceiling:
                break
            for tuning in (start + k * step, start - k * step):
                if abs(tuning) <= self.most and (found := self.at(tuning)) > value:
                    best, value = tuning, found
        if value < _LEAST * ceiling:
            raise ValueError(
                f"No tuning within {self.most:.4g} Hz to either side restores the speckle: frames correlate with the "
                f"reference by {value:.3g} at most, and by {ceiling:.3g} in one state. Another frequency may be "
                "needed, or the medium has changed in itself."
            )
        for share in _ROUNDS:
            best, value = self._vertex(best, min(width, self.most) * share)
        return best, value

    def _vertex(self, middle: float, apart: float) -> tuple[float, float]:
        """Maximum of the parabola through three tunings, not farther than they are, and the correlation there."""
        middle = min(max(middle, -self.most + apart), self.most - apart)
        low, here, high = (self.at(middle + k * apart) for k in (-1, 0, 1))
        bend = low - 2 * here + high
        move = 0.5 * (low - high) / bend if bend < 0 else math.copysign(1.0, high - low)
        found = middle + apart * min(1.0, max(-1.0, move))
        return found, self.at(found)


# Patterns whose frames are compared.
_PATTERNS = 4


def _checked_change(value: Any) -> Any:
    return value if value is None else validation.number("a change of the surroundings", value, low=-1e7, high=1e7)


class FrequencyProcedure(Procedure):
    """The tuning at which speckle is as it was when the file got its reference."""

    name = "frequency"
    title = "Tuning of the laser that brings back the speckle of a reference, the file's or the present one."
    records = (FrequencyRecord,)
    needs_tuning = True
    changes_light = True
    order = 70.0
    options = (
        EXPOSURE,
        *SEEKING,
        Option(
            "temperature_k", "--temperature-k", float,
            "frequency: kelvin by which a simulated medium is warmer than described.",
            check=_checked_change, alone=True, order=90,
        ),
        Option(
            "pressure_pa", "--pressure-pa", float,
            "frequency: pascal by which the pressure on a simulated medium is higher.",
            check=_checked_change, alone=True, order=92,
        ),
    )  # fmt: skip

    def prepare(self, session: Calibration) -> list[str]:
        """Refuse other surroundings of a bench that is not simulated."""
        flags = {option.name: option.flag for option in self.options}
        for name in ("temperature_k", "pressure_pa"):
            if session.options[name] is not None and not has(session.bench, Surrounded):
                raise ValueError(f"{flags[name]} is given, but this bench is not simulated: its medium is as it is.")
        if session.options["exposure_s"] is None and not self.done(session):
            session.check_full_scale()
        return []

    def measure(self, session: Calibration, progress: Progress | None = None) -> dict[str, Any]:
        """Go back to the reference that the file has, or take the present state as one."""
        reference = session.stored("frequency", FrequencyRecord)
        if (clock := self.clock(session)) is not None:  # no frame may have the noise of one of the reference
            resume_clock(session.bench, *clock)
        kelvin, pascal = (session.options[name] for name in ("temperature_k", "pressure_pa"))
        if kelvin is not None or pascal is not None:
            bench: Any = session.bench  # whether it has surroundings is asked by `prepare`
            bench.surround(temperature_change_k=kelvin, pressure_change_pa=pascal)
        exposure_s = session.options["exposure_s"]
        if exposure_s is None:
            exposure_s = usual_exposure(session) if reference is None else reference.exposure_s
        record = lock_frequency(
            session.bench, session.patterns(_PATTERNS), reference=reference, exposure_s=exposure_s, roi=session.roi,
            progress=progress,
        )  # fmt: skip
        return {"frequency": record}

    def summary(self, record: FrequencyRecord, device: Device | None = None) -> list[Row]:
        """Say in a few rows what a record holds."""
        width = "more than the range" if math.isinf(record.width_hz) else f"{1e-9 * record.width_hz:.4g} GHz"
        return [
            ("laser tuned to", f"{1e-9 * record.tuning_hz:+.6g} GHz of ±{1e-9 * record.range_hz:.4g} GHz", ""),
            (
                "correlation with the reference",
                f"{record.correlation:.4f}, before {record.correlation_before:.4f}, of one state "
                f"{record.correlation_of_one_state:.4f}",
                "",
            ),
            ("half of it is left at", width, ""),
            ("tunings tried", f"{record.trials}, {micro(record.exposure_s)} each", ""),
        ]
