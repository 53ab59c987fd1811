"""How long a calibration holds: decorrelation of the medium and drift of the reference, watched over time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize

from opusim.base import validation
from opusim.base.short_repr import short_repr
from opusim.bench.protocol import Bench, Clocked, Skipping, checked_bench, elapsed_s, has, wait
from opusim.bench.region import AnyRoi
from opusim.calibration.algorithms.phase_shifting import equal_steps, least_squares
from opusim.calibration.contents import held
from opusim.calibration.on_bench import dark_frames, exposed_steadily, random_mirrors, saturation_dn, shown_mirrors
from opusim.calibration.words import duration

from .base import EXPOSURE, SEEKING, STEPS, Option, Procedure, Progress, Row, checked_confidence
from .exposure import usual_exposure
from .phase import checked_shifter_phases, stored_phases

if TYPE_CHECKING:
    from opusim.calibration.session import Calibration
    from opusim.device.medium import Medium
    from opusim.device.record import Device

__all__ = ["DriftRecord", "measure_drift"]

_DARK_FRAMES = 16
_LEAST_PIXELS = 64
# Pixels are dealt into this many groups; the scatter of what each group alone says gives the errors.
_GROUPS = 16
# Field correlation below which the phase of a correlation is not followed any further.
_LEAST_CORRELATION = 0.1
# Beyond so many standard errors of a look (rms) the law is not that of the medium. Neighbouring pixels of one grain
# make the error of a look seem smaller than it is.
_MISFIT = 3.0


@short_repr
@dataclass(frozen=True)
class DriftRecord:
    """Correlation against time, and what follows for a calibration.

    Parameters
    ----------
    times_s : ndarray of float64, shape (n,)
        Time of each look since the first one, in seconds.
    intensity_correlation : ndarray of float64, shape (n,)
        Correlation of the speckle intensities with those of the first look, camera noise taken off; 1 first.
    field_correlation : ndarray of float64, shape (n,)
        Modulus of the correlation of the fields; NaN without a reference.
    phase_rad : ndarray of float64, shape (n,)
        Phase of the reference against the first look, in radians, continued over whole turns; NaN without a reference
        or where the field has decorrelated.
    decorrelation_time_s : float
        The tau of the fit exp(-2 (t / tau)^2) to the intensity correlation, at which the correlation of the field is
        1/e; inf if no decorrelation was seen. Where `follows_law` is False it says nothing.
    decorrelation_interval_s : tuple of float
        Its confidence interval, by the scatter between groups of pixels; the upper end is inf if nothing was seen.
    reference_drift_rad_per_minute : float
        Root mean square of the change of the reference's phase in one minute; NaN without a reference or if the looks
        do not allow it (shorter than a minute).
    power_drift : float
        Root mean square of the mean intensity about its mean, as a share.
    redo_after_s : float
        When to calibrate again: when the intensity correlation has fallen by `allowed_loss`, by the law; where that
        does not fit, the time of the last look before it had; inf if it never had.
    allowed_loss : float
        That loss, as a share.
    phase_holds_s : float
        How long the phase of the reference stays within `allowed_phase_rad` (rms), after which it must be tracked or
        measured again; inf if it stays longer than was watched, NaN without a reference.
    allowed_phase_rad : float
        That phase, in radians.
    confidence : float
        Probability with which the interval holds the true value.
    exposure_s : float
        Exposure in seconds.
    elapsed_s : float
        Device time at the end, in seconds.
    misfit : float
        What the fit leaves of the intensity correlation (rms), over the standard error of a look, by the scatter
        between groups of pixels, or over a tenth of `allowed_loss` where that is more. About 1 or less for a medium
        that follows the law; NaN in a file of version 0.1.
    """

    times_s: np.ndarray = held(shape=("looks",), of="number")
    intensity_correlation: np.ndarray = held(shape=("looks",), of="number")
    field_correlation: np.ndarray = held(nan=True, shape=("looks",), of="number")
    phase_rad: np.ndarray = held(nan=True, shape=("looks",), of="number")
    decorrelation_time_s: float = held(low=0.0, inf=True)
    decorrelation_interval_s: tuple[float, float] = held(low=0.0, inf=True, shape=(2,))
    reference_drift_rad_per_minute: float = held(low=0.0, nan=True)
    power_drift: float = held(low=0.0)
    redo_after_s: float = held(low=0.0, inf=True)
    allowed_loss: float = held(low=0.0, high=1.0)
    phase_holds_s: float = held(low=0.0, nan=True, inf=True)
    allowed_phase_rad: float = held(low=0.0, low_open=True)
    confidence: float = held(low=0.0, high=1.0)
    exposure_s: float = held(low=0.0, low_open=True)
    elapsed_s: float = held()
    misfit: float = held(low=0.0, nan=True, later=math.nan)

    @property
    def follows_law(self) -> bool:
        """Whether exp(-2 (t / tau)^2) describes the looks: whether `misfit` is not above 3."""
        return not self.misfit > _MISFIT


def measure_drift(
    bench: Bench,
    *,
    mirrors: Any = None,
    duration_s: float = 600.0,
    looks: int = 61,
    reference: bool = True,
    phases_rad: Any = None,
    actual_rad: Any = None,
    repeats: int = 4,
    exposure_s: float = 400e-6,
    roi: AnyRoi | None = None,
    allowed_loss: float = 0.01,
    allowed_phase_rad: float = 0.1,
    full_scale_dn: float | None = None,
    confidence: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> DriftRecord:
    """Look at one pattern again and again, and say how long a calibration holds.

    Parameters
    ----------
    bench : Bench
        The bench. Time passes by its `skip_frames` if it has that, else by waiting.
    mirrors : ndarray or MirrorPatterns, optional
        One pattern; half of the mirrors, at random, by default.
    duration_s : float, optional
        From the first look to the last, in seconds.
    looks : int, optional
        How many, at equal distances, at least 3.
    reference : bool, optional
        Whether to follow the phase of the reference arm too.
    phases_rad : array_like of float, optional
        Phases to ask of the shifter; four quarters of a turn by default.
    actual_rad : array_like of float, optional
        Phases that it makes for these (`measure_phases`); those asked for by default.
    repeats : int, optional
        Frames (or bursts of phases) of each look, at least 2: camera noise is told from decorrelation by them.
    exposure_s : float, optional
        Exposure in seconds.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the whole sensor by default. A few thousand pixels are plenty.
    allowed_loss : float, optional
        Loss of intensity correlation after which a calibration is to be redone, as a share.
    allowed_phase_rad : float, optional
        Change of the reference's phase (rms) after which it is to be measured again, in radians.
    full_scale_dn : float, optional
        Count from which a pixel is saturated; asked of the flat field if left out.
    confidence : float, optional
        Probability with which the interval is to hold the true value.
    progress : callable, optional
        Told (done, total) looks.

    Returns
    -------
    DriftRecord
        Correlations against time, and how long a calibration holds.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, frames are dark or saturated, the reference's phase is lost, or the medium
        decorrelates faster than the looks follow each other.

    Notes
    -----
    For fully developed speckle the intensity correlation is the square of the field's (Siegert relation), and
    decorrelation by many small independent movements is exp(-(t/tau)^2) in the field at short times. Noise is taken
    off by comparing only frames of different repeats: their noise is independent.
    """
    checked_bench(bench)
    validation.number("duration_s", duration_s, low=0.0, high=1e8, low_open=True)
    validation.integer("looks", looks, low=3, high=1_000_000)
    validation.integer("repeats", repeats, low=2, high=10_000)
    validation.flag("reference", reference)
    validation.number("exposure_s", exposure_s, low=0.0, high=3600.0, low_open=True)
    validation.number("allowed_loss", allowed_loss, low=0.0, high=0.9, low_open=True)
    validation.number("allowed_phase_rad", allowed_phase_rad, low=0.0, high=10.0, low_open=True)
    quantile = checked_confidence(confidence)
    asked = made = equal_steps(4) if phases_rad is None else checked_shifter_phases("phases_rad", phases_rad, least=3)
    if actual_rad is not None:
        made = checked_shifter_phases("actual_rad", actual_rad, n=len(asked))
    shown = random_mirrors(bench) if mirrors is None else shown_mirrors(mirrors, bench)
    dark = dark_frames(bench, exposure_s, _DARK_FRAMES, roi).reshape(_DARK_FRAMES, -1).mean(axis=0, dtype=np.float64)
    limit = saturation_dn(bench, exposure_s, roi, full_scale_dn=full_scale_dn)
    watch = _Watch(bench, shown, exposure_s, roi, dark, repeats, asked, made, limit)

    times = np.empty(looks)
    intensities = np.empty((looks, repeats, dark.size), dtype=np.float32)
    fields = np.empty((looks, repeats, dark.size), dtype=np.complex64) if reference else None
    gap_s, now_s = duration_s / (looks - 1), _clock_of(bench)
    start_s = 0.0 if now_s is None else now_s()
    for i in range(looks):
        if i:
            # What the look itself took counts: the next one begins a gap after the last one began.
            taken = 0.0 if now_s is None else now_s() - start_s - times[i - 1]
            wait(bench, max(gap_s - taken, 0.0))
        times[i] = i * gap_s if now_s is None else now_s() - start_s
        intensities[i] = watch.intensities()
        if fields is not None:
            fields[i] = watch.fields()
        if progress is not None:
            progress(i + 1, looks)
    use = watch.usable(intensities[0])
    intensities = intensities[:, :, use]
    watch.check_light(intensities)
    correlation, by_group = _intensity_correlation(intensities)
    if correlation[1] < 0.3:
        raise ValueError(
            f"The medium changes faster than it is looked at: after {times[1]:.4g} s the correlation is "
            f"{correlation[1]:.2f}. duration_s is {duration_s:.4g} for {looks} looks, but they must follow each other "
            "faster."
        )
    tau, interval = _decorrelation(times, correlation, by_group, quantile)
    misfit = _misfit(times, correlation, by_group, tau, allowed_loss)
    redo_s = tau * math.sqrt(-math.log1p(-allowed_loss) / 2)
    if misfit > _MISFIT:
        lost = np.flatnonzero(1 - correlation > allowed_loss)
        redo_s = float(times[lost[0] - 1]) if len(lost) else math.inf
    moduli, phase = np.full(looks, math.nan), np.full(looks, math.nan)
    if fields is not None:
        moduli, phase = _field_correlation(fields[:, :, use], times)
    per_minute, holds_s = _phase_changes(times, phase, allowed_phase_rad)
    mean = intensities.mean(axis=(1, 2), dtype=np.float64)
    return DriftRecord(
        times_s=times,
        intensity_correlation=correlation,
        field_correlation=moduli,
        phase_rad=phase,
        decorrelation_time_s=tau,
        decorrelation_interval_s=interval,
        reference_drift_rad_per_minute=per_minute,
        power_drift=float(mean.std() / mean.mean()),
        redo_after_s=redo_s,
        allowed_loss=float(allowed_loss),
        phase_holds_s=holds_s,
        allowed_phase_rad=float(allowed_phase_rad),
        confidence=float(confidence),
        exposure_s=float(exposure_s),
        elapsed_s=elapsed_s(bench),
        misfit=misfit,
    )


def _clock_of(bench: Bench) -> Callable[[], float] | None:
    """Return what tells the time on a bench in seconds: its own clock, or the wall's; None where time is skipped."""
    if has(bench, Clocked):
        return lambda: elapsed_s(bench)
    return None if has(bench, Skipping) else time.monotonic


@dataclass
class _Watch:
    """Takes the frames of one look."""

    bench: Bench
    shown: Any
    exposure_s: float
    roi: AnyRoi | None
    dark: np.ndarray
    repeats: int
    asked: np.ndarray
    made: np.ndarray
    limit: float
    clipped: np.ndarray | None = None

    def _frames(self, phases: np.ndarray | None) -> np.ndarray:
        frames = exposed_steadily(
            self.bench, self.shown, exposure_s=self.exposure_s, reference_phase_rad=phases, roi=self.roi
        ).reshape(-1, self.dark.size)
        if len(frames) != (1 if phases is None else len(phases)):
            raise ValueError("mirrors holds several patterns, but drift is watched on exactly one.")
        over = np.asarray((frames >= self.limit).any(axis=0))
        self.clipped = over if self.clipped is None else self.clipped | over
        return frames - self.dark

    def intensities(self) -> np.ndarray:
        """Frames without the reference, (repeats, pixels)."""
        return np.concatenate([self._frames(None) for _ in range(self.repeats)])

    def fields(self) -> np.ndarray:
        """Fields times the reference's, (repeats, pixels)."""
        frames = self._frames(np.tile(self.asked, self.repeats))
        return least_squares(frames.reshape(self.repeats, len(self.asked), -1), self.made, axis=1).q

    def usable(self, first: np.ndarray) -> np.ndarray:
        """Return which pixels never clipped."""
        assert self.clipped is not None
        use = ~self.clipped
        if use.mean() < 0.5 or use.sum() < _LEAST_PIXELS:
            raise ValueError(
                f"Only {int(use.sum())} of {use.size} pixels stay below saturation, but half of them and at "
                f"least {_LEAST_PIXELS} are needed. exposure_s is {self.exposure_s:.4g}, but it must be shorter, "
                "or roi larger."
            )
        return use

    def check_light(self, intensities: np.ndarray) -> None:
        """Refuse frames whose speckle drowns in the noise."""
        signal = _cross(intensities[0], intensities[0], same=True)
        noise = float(intensities[0].var(axis=1).mean())
        if not signal > 6 * noise / math.sqrt(intensities.shape[2]):
            raise ValueError(
                "There is no light: frames of one pattern have no speckle in common. Is the laser on, is the exposure "
                f"of {self.exposure_s:.4g} s long enough?"
            )


def _cross(a: np.ndarray, b: np.ndarray, *, same: bool = False) -> float:
    """Covariance over pixels of frames (repeats, pixels) of two looks; of one look, between different repeats only."""
    x, y = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    if not same:
        return float(np.mean(x.mean(axis=0) * y.mean(axis=0)))
    n = len(x)
    return float(np.mean(np.square(x.sum(axis=0)) - np.square(x).sum(axis=0))) / (n * (n - 1))


def _intensity_correlation(intensities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation with the first look (looks,), and that of each group of pixels left out (groups, looks)."""
    pixels = intensities.shape[2]
    # In turn, so that each group has pixels from everywhere.
    groups = np.arange(pixels) % _GROUPS

    def correlation(stack: np.ndarray) -> np.ndarray:
        power = np.array([_cross(look, look, same=True) for look in stack])
        cross = np.array([_cross(stack[0], look) for look in stack])
        result = cross / np.sqrt(np.maximum(power[0] * power, 1e-300))
        result[0] = 1.0
        return result

    double = intensities.astype(np.float64)
    return correlation(double), np.stack([correlation(double[:, :, groups != g]) for g in range(_GROUPS)])


def _decorrelation(
    times: np.ndarray, correlation: np.ndarray, by_group: np.ndarray, quantile: float
) -> tuple[float, tuple[float, float]]:
    """Time tau of exp(-2 (t/tau)^2) and its interval by the jackknife over groups of pixels.

    The fit is made in 1/tau^2, which is 0 for a frozen medium, and may be below it by noise.
    """
    scale = 2 * float(times[-1]) ** 2

    def rate(values: np.ndarray) -> float:
        def misfit(k: np.ndarray) -> np.ndarray:
            return np.exp(-np.clip(k[0] * scale, -5.0, 500.0) * np.square(times / times[-1])) - values

        guess = np.clip(-np.log(max(float(values[1]), 1e-3)), 0.0, None) / (2 * times[1] ** 2)
        starts = (guess, 0.0, 1 / scale)
        fits = [optimize.least_squares(misfit, [start], x_scale=1 / scale) for start in starts]
        return float(min(fits, key=lambda fit: fit.cost).x[0])

    k = rate(correlation)
    each = np.array([rate(values) for values in by_group])
    error = math.sqrt((_GROUPS - 1) / _GROUPS * float(np.sum(np.square(each - each.mean()))))
    # Rounding of single precision, relative to the watch.
    error = max(error, 1e-6 / scale)

    def time_of(value: float) -> float:
        return 1 / math.sqrt(value) if value > 0 else math.inf

    low, high = time_of(k + quantile * error), time_of(k - quantile * error)
    return (time_of(k) if math.isfinite(high) else math.inf), (low, high)


def _misfit(times: np.ndarray, correlation: np.ndarray, by_group: np.ndarray, tau: float, allowed_loss: float) -> float:
    """Root mean square of what exp(-2 (t/tau)^2) leaves, over the standard error of each look by the jackknife.

    A law that is wrong by less than a tenth of what may be lost is good enough, however little noise there is.
    """
    scatter = np.square(by_group - by_group.mean(axis=0)).sum(axis=0)
    error = np.maximum(np.sqrt((_GROUPS - 1) / _GROUPS * scatter), 0.1 * allowed_loss)
    left = correlation - np.exp(-2 * np.square(times / tau))
    return float(np.sqrt(np.mean(np.square(left / error)[1:])))


def _field_correlation(fields: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Modulus of the field correlation with the first look, and the phase of the reference against it."""
    n = fields.shape[1]

    def power(look: np.ndarray) -> float:
        total, each = np.abs(look.sum(axis=0)) ** 2, (np.abs(look) ** 2).sum(axis=0)
        return float((total - each).mean(dtype=np.float64)) / (n * (n - 1))

    powers = np.array([power(look) for look in fields])
    noise = float(np.mean(np.abs(fields[0] - fields[0].mean(axis=0)) ** 2, dtype=np.float64)) * n / (n - 1)
    if not powers[0] > 6 * noise / math.sqrt(n * fields.shape[2]):
        raise ValueError(
            "The reference's phase is lost: bursts of one pattern have no field in common. Is the arm open, coherent "
            "with the signal, and quiet within a burst? With a Fourier stop behind the mirrors: do the patterns send "
            "light through it, as holograms for its place do?"
        )
    mean = fields.mean(axis=1, dtype=np.complex128)
    cross = np.array([np.vdot(look, mean[0]) / look.size for look in mean])
    moduli = np.abs(cross) / np.sqrt(np.maximum(powers[0] * powers, 1e-300))
    moduli[0] = 1.0
    # q = S conj(R): the product of the first with the conjugate of a later one turns with the reference.
    steps = np.array([np.vdot(b, a) for a, b in zip(mean, mean[1:], strict=False)])
    close = np.abs(steps) / len(mean[0]) / np.sqrt(np.maximum(powers[1:] * powers[:-1], 1e-300))
    phase = np.concatenate([[0.0], np.cumsum(np.angle(steps))])
    lost = np.concatenate([[False], np.logical_or.accumulate(close < _LEAST_CORRELATION)])
    if lost[1]:
        raise ValueError(
            f"The field changes faster than it is looked at: after {times[1]:.4g} s its correlation is {close[0]:.2f}."
        )
    phase[lost] = math.nan
    return moduli, phase


def _phase_changes(times: np.ndarray, phase: np.ndarray, allowed: float) -> tuple[float, float]:
    """Rms change of the phase in a minute, and the time in which it reaches what is allowed."""
    known = np.isfinite(phase)
    t, p = times[known], phase[known]
    if len(t) < 3:
        return math.nan, math.nan
    gap = float(np.median(np.diff(t)))
    lags = np.arange(1, max(2, len(t) // 2 + 1))
    changes = np.array([math.sqrt(float(np.mean(np.square(p[k:] - p[:-k])))) for k in lags])
    at, rms = np.concatenate([[0.0], lags * gap]), np.concatenate([[0.0], changes])
    per_minute = float(np.interp(60.0, at, rms)) if at[-1] >= 60.0 else math.nan
    over = np.flatnonzero(rms > allowed)
    if not len(over):
        return per_minute, math.inf
    k = int(over[0])
    return per_minute, float(np.interp(allowed, rms[k - 1 : k + 1], at[k - 1 : k + 1]))


def _levels(times: np.ndarray, correlation: np.ndarray) -> str:
    """Say a correlation at the end of each quarter of the watch."""
    looks = np.unique(np.linspace(0, len(times) - 1, 5).round().astype(int))[1:]
    return ", ".join(f"{correlation[k]:.3f} after {duration(float(times[k]))}" for k in looks)


# States of a measured sequence that are told one by one.
_MOST_STATES = 5


def _told(medium: Medium) -> str:
    """Say how a simulated medium changes: by a time, or by its own states, with the correlation of their fields."""
    begins = medium.drift.begins_s
    if not begins:
        return duration(medium.decorrelation_time_s)
    shown = begins[1:] if len(begins) <= _MOST_STATES else (*begins[1 : _MOST_STATES - 1], begins[-1])
    told = [f"{medium.field_correlation(time_s):.3f} from {time_s:g} s on" for time_s in shown]
    if len(begins) > _MOST_STATES:
        told.insert(-1, "…")
    return f"{len(begins)} states of a file, whose fields correlate by {', '.join(told)}"


_LOOKS = 61


def _checked_minutes(value: Any) -> float:
    return validation.number("minutes", value, low=0.0, high=1e6, low_open=True)


class DriftProcedure(Procedure):
    """How the medium, the laser and the reference drift."""

    name = "drift"
    title = "How fast medium, light and reference drift, and how long a calibration holds."
    records = (DriftRecord,)
    needs_full_scale = True
    order = 60.0
    options = (
        EXPOSURE,
        *SEEKING,
        STEPS,
        Option(
            "minutes", "--minutes", float, "drift: device time to watch; 10 by default.", default=10.0,
            check=_checked_minutes, order=70,
        ),
    )  # fmt: skip

    def measure(self, session: Calibration, progress: Progress | None = None) -> dict[str, Any]:
        """Watch one pattern."""
        reference, exposure_s = session.has_reference, usual_exposure(session)
        asked = equal_steps(session.options["steps"] or 4)
        record = measure_drift(
            session.bench, mirrors=session.patterns(1), duration_s=60 * session.options["minutes"], looks=_LOOKS,
            reference=reference, phases_rad=asked, actual_rad=stored_phases(session, asked) if reference else None,
            exposure_s=exposure_s, roi=session.roi, full_scale_dn=session.options["full_scale_dn"], progress=progress,
        )  # fmt: skip
        return {"drift": record}

    def summary(self, record: DriftRecord, device: Device | None = None) -> list[Row]:
        """Say in a few rows what a record holds."""
        tau, (low, _) = record.decorrelation_time_s, record.decorrelation_interval_s
        # By the lower end: not having seen any does not say that there is none.
        holds_s = record.redo_after_s
        if math.isinf(tau) and record.follows_law:
            holds_s = low * math.sqrt(-math.log1p(-record.allowed_loss) / 2)
        seen = math.isfinite(low)
        bound = "at least " if math.isinf(tau) and seen else ""
        rows = [("watched", f"{duration(float(record.times_s[-1]))}, {len(record.times_s)} looks", "")]
        if record.follows_law:
            found = f"{bound}{duration(low if math.isinf(tau) else tau)}" if seen else "none was seen"
            again = f"{bound}{duration(holds_s)}" if seen else "longer than was watched"
        else:
            found = f"follows no law exp(-(t/τ)²): the best is off by {record.misfit:.2g} times the noise of a look"
            again = duration(holds_s) if math.isfinite(holds_s) else "longer than was watched"
            rows += [("intensities correlate by", _levels(record.times_s, record.intensity_correlation), "")]
            if np.isfinite(record.field_correlation).all():
                rows += [("fields correlate by", _levels(record.times_s, record.field_correlation), "")]
        rows += [
            ("medium decorrelates in", found, "" if device is None else _told(device.medium)),
            (f"{100 * record.allowed_loss:g} % lost, redo after", again, ""),
            ("power drift", f"{100 * record.power_drift:.2g} % rms", ""),
        ]
        if np.isfinite(record.phase_rad).any():
            rate = record.reference_drift_rad_per_minute
            own = "" if device is None else f"{device.reference.drift_rad_per_minute:g}"
            watched = f"more than the {duration(float(record.times_s[-1]))} watched"
            why = "watched for less than a minute" if record.times_s[-1] < 60 else "the phase was lost too soon"
            holds = watched if math.isinf(record.phase_holds_s) else duration(record.phase_holds_s)
            rows += [
                (
                    "reference drifts by",
                    f"{rate:.2g} rad in a minute" if math.isfinite(rate) else f"not known: {why}",
                    own,
                ),
                (f"phase holds to {record.allowed_phase_rad:g} rad for", holds, ""),
            ]
        return rows
