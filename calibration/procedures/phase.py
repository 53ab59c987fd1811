"""The phases that the shifter of the reference arm really makes, and how well it repeats them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import validation
from opusim.base.locks import forks_wait
from opusim.base.short_repr import short_repr
from opusim.base.user_arrays import checked_array
from opusim.bench.protocol import Bench, checked_bench, elapsed_s
from opusim.bench.region import AnyRoi
from opusim.calibration.algorithms.phase_shifting import advanced_iterative, equal_steps, least_squares
from opusim.calibration.contents import held
from opusim.calibration.on_bench import dark_frames, exposed_each, random_mirrors, saturation_dn, shown_mirrors
from opusim.calibration.words import radians

from .base import EXPOSURE, SEEKING, STEPS, Procedure, Progress, Row, checked_confidence
from .exposure import usual_exposure

if TYPE_CHECKING:
    from opusim.calibration.session import Calibration
    from opusim.device.record import Device

__all__ = ["PhaseRecord", "measure_phases"]

# More phases than the ones asked for, spread over a turn: with five or more that differ the fringes of every pixel
# settle the steps by themselves, without the statistics of the speckle.
_MORE = 2 * np.pi * (np.arange(8) + 0.5) / 8
_DARK_FRAMES = 16
# Fringes must stand out from the noise by this factor in power, in the mean of all bursts.
_LEAST_CONTRAST = 10.0
_LEAST_PIXELS = 64
# Change of the reference's phase between bursts up to which averaging them makes sense, in radians.
_MOST_DRIFT = 0.5
# Frames are kept in single precision.
_ROUNDING = 1e-6


@short_repr
@dataclass(frozen=True)
class PhaseRecord:
    """Phases of the reference arm: asked and made.

    Parameters
    ----------
    asked_rad : ndarray of float64, shape (n,)
        Phases asked of the shifter, in radians.
    phases_rad : ndarray of float64, shape (n,)
        Phases that it makes. A phase common to all cannot be known: it is set so that their mean is that of
        `asked_rad`.
    uncertainty_rad : float
        Standard error of each of them.
    repeatability_rad : float
        Standard deviation of a step from one time to the next, camera noise taken off: jitter and vibration.
    noise_rad : float
        Standard deviation of the phase found from one frame by camera noise alone.
    scale_error, scale_interval : float, tuple of float
        The s of the model d' = d (1 + s + n d / pi) + constant, over one turn.
    nonlinearity, nonlinearity_interval : float, tuple of float
        The n of the model.
    confidence : float
        Probability with which each interval alone holds the true value.
    modulation : float
        Median modulation of the fringes over the pixels used, 0 to 1.
    drift_rad : float
        Change of the phase common to all steps from the first to the last burst, in radians.
    exposure_s : float
        Exposure in seconds.
    bursts : int
        How often each phase was made.
    pixels : int
        Pixels used.
    elapsed_s : float
        Device time at the end, in seconds.
    """

    asked_rad: np.ndarray = held(shape=("phases",), of="number")
    phases_rad: np.ndarray = held(shape=("phases",), of="number")
    uncertainty_rad: float = held(low=0.0)
    repeatability_rad: float = held(low=0.0)
    noise_rad: float = held(low=0.0)
    scale_error: float = held()
    scale_interval: tuple[float, float] = held(shape=(2,))
    nonlinearity: float = held()
    nonlinearity_interval: tuple[float, float] = held(shape=(2,))
    confidence: float = held(low=0.0, high=1.0)
    modulation: float = held()
    drift_rad: float = held()
    exposure_s: float = held(low=0.0, low_open=True)
    bursts: int = held(low=1.0, of="whole")
    pixels: int = held(low=1.0, of="whole")
    elapsed_s: float = held()


def measure_phases(
    bench: Bench,
    phases_rad: Any,
    *,
    mirrors: Any = None,
    exposure_s: float = 400e-6,
    roi: AnyRoi | None = None,
    bursts: int = 24,
    shuffle_seed: int | None = 0,
    full_scale_dn: float | None = None,
    confidence: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> PhaseRecord:
    """Measure which phases the shifter makes when it is asked for some.

    Parameters
    ----------
    bench : Bench
        The bench, with a reference arm.
    phases_rad : array_like of float, shape (n,)
        Phases to ask for, in radians, at least 2.
    mirrors : ndarray or MirrorPatterns, optional
        One pattern; half of the mirrors, at random, by default.
    exposure_s : float, optional
        Exposure in seconds; frames should not be saturated.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the whole sensor by default. A few thousand pixels are plenty.
    bursts : int, optional
        How often each phase is made, at least 2. The error falls as its root.
    shuffle_seed : int or None, optional
        Each burst asks for the phases in another order, drawn from this seed, so that vibration is not taken for steps.
        None: always in the order given, for shifters whose steps depend on the last one.
    full_scale_dn : float, optional
        Count from which a pixel is saturated; asked of the flat field if left out.
    confidence : float, optional
        Probability with which each interval is to hold the true value.
    progress : callable, optional
        Told (done, total) bursts.

    Returns
    -------
    PhaseRecord
        The phases, and a model of them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, there is no reference arm, frames are dark, saturated or show no fringes,
        or the reference drifts too fast.

    Notes
    -----
    One speckle pattern is shown under the phases asked for and eight more, again and again. The mean frame of each
    phase gives offset, fringe and steps together (`advanced_iterative`). Each single frame is then fitted by 1,
    the offset and the two quadratures of the fringe, which gives its own phase whatever the laser's power was.
    """
    asked = checked_shifter_phases("phases_rad", phases_rad)
    checked_bench(bench)
    validation.number("exposure_s", exposure_s, low=0.0, high=3600.0, low_open=True)
    validation.integer("bursts", bursts, low=2, high=100_000)
    quantile = checked_confidence(confidence)
    shown = random_mirrors(bench) if mirrors is None else shown_mirrors(mirrors, bench)
    nominal = np.concatenate([asked, _MORE])
    dark = dark_frames(bench, exposure_s, _DARK_FRAMES, roi).reshape(_DARK_FRAMES, -1).astype(np.float64)
    limit = saturation_dn(bench, exposure_s, roi, full_scale_dn=full_scale_dn)

    generator = None if shuffle_seed is None else np.random.default_rng(shuffle_seed)
    frames = np.empty((bursts, len(nominal), dark.shape[1]), dtype=np.float32)
    clipped = np.zeros(dark.shape[1], dtype=bool)
    for i in range(bursts):
        order = np.arange(len(nominal)) if generator is None else generator.permutation(len(nominal))
        burst = exposed_each(bench, shown, exposure_s=exposure_s, reference_phase_rad=nominal[order], roi=roi)
        if len(burst) != len(nominal):
            raise ValueError("mirrors holds several patterns, but the phases are measured with exactly one.")
        counts = burst.reshape(len(nominal), -1)
        clipped |= (counts >= limit).any(axis=0)
        frames[i, order] = counts - dark.mean(axis=0)
        if progress is not None:
            progress(i + 1, bursts)
    use = _usable(frames, dark, clipped, exposure_s)
    frames = frames[:, :, use]

    _check_drift(frames, nominal)
    mean_frames = frames.mean(axis=0, dtype=np.float64)
    _check_fringes(frames, mean_frames, nominal)
    found = advanced_iterative(mean_frames, nominal)
    single, noise = _phases_of_frames(frames, found)
    offsets = single.mean(axis=1)
    rest = single - offsets[:, None]
    rest = rest - rest.mean(axis=0)
    scatter2 = float(np.sum(rest**2)) / ((bursts - 1) * (len(nominal) - 1))
    repeatability = math.sqrt(max(scatter2 - noise**2, 0.0))
    uncertainty = max(math.sqrt(max(scatter2, noise**2) / bursts), _ROUNDING)
    scale, nonlinearity, errors = _shifter_model(nominal, found.phases_rad, uncertainty)
    steps = found.phases_rad[: len(asked)]
    return PhaseRecord(
        asked_rad=asked,
        phases_rad=steps + (asked - steps).mean(),
        uncertainty_rad=uncertainty,
        repeatability_rad=repeatability,
        noise_rad=noise,
        scale_error=scale,
        scale_interval=(scale - quantile * errors[0], scale + quantile * errors[0]),
        nonlinearity=nonlinearity,
        nonlinearity_interval=(nonlinearity - quantile * errors[1], nonlinearity + quantile * errors[1]),
        confidence=float(confidence),
        modulation=float(np.median(2 * np.abs(found.q) / np.maximum(found.offset, 1e-30))),
        drift_rad=float(offsets[-1] - offsets[0]),
        exposure_s=float(exposure_s),
        bursts=bursts,
        pixels=int(use.sum()),
        elapsed_s=elapsed_s(bench),
    )


def _usable(frames: np.ndarray, dark: np.ndarray, clipped: np.ndarray, exposure_s: float) -> np.ndarray:
    """Return the pixels to use, or refuse frames that are dark or saturated."""
    level, noise = float(frames.mean()), float(dark.std()) / math.sqrt(dark.size)
    if not level > 6 * noise:
        raise ValueError(
            f"There is no light: frames are {level:.3g} DN above dark ones, within the noise of {noise:.2g}, at an "
            f"exposure of {exposure_s:.4g} s."
        )
    share = float(clipped.mean())
    if share > 0.5:
        raise ValueError(
            f"The frames are saturated: {share:.0%} of the pixels clip in at least one of them. exposure_s is "
            f"{exposure_s:.4g}, but it must be shorter."
        )
    use = ~clipped
    if use.sum() < _LEAST_PIXELS:
        raise ValueError(
            f"The region has {int(use.sum())} unsaturated pixels, but at least {_LEAST_PIXELS} are needed."
        )
    return use


def _check_drift(frames: np.ndarray, nominal: np.ndarray) -> None:
    """Refuse a reference whose phase runs away from burst to burst."""
    fields = np.stack([least_squares(burst, nominal).q for burst in frames])
    turns = np.einsum("bp,bp->b", fields[1:], fields[:-1].conj())
    power = np.sqrt(np.einsum("bp,bp->b", fields.conj(), fields).real)
    coherent = np.abs(turns) > 0.1 * power[1:] * power[:-1]
    if not coherent.all():
        return  # no fringes, or noise: told by `_check_fringes`
    jump, whole = float(np.abs(np.angle(turns)).max()), np.cumsum(np.angle(turns))
    if max(jump, float(np.ptp(np.append(whole, 0.0)))) > _MOST_DRIFT:
        raise ValueError(
            f"The reference drifts faster than its phases can be measured: {jump:.2f} rad from one burst to the next "
            f"and {np.ptp(np.append(whole, 0.0)):.2f} rad over all of them. Use fewer bursts, or quieten the arm."
        )


def _check_fringes(frames: np.ndarray, mean_frames: np.ndarray, nominal: np.ndarray) -> None:
    """Refuse frames without fringes: the mean over bursts must hold more than the bursts' scatter explains."""
    bursts, steps = frames.shape[:2]
    scatter = float(np.square(frames - mean_frames).sum()) / ((bursts - 1) * frames[0].size)
    between = float(np.square(mean_frames - mean_frames.mean(axis=0)).sum()) / ((steps - 1) * frames.shape[2])
    if between <= _LEAST_CONTRAST * scatter / bursts:
        level = float(mean_frames.mean())
        if level < math.sqrt(scatter):
            raise ValueError(
                f"The frames are dark: {level:.3g} counts on average above the dark level, with a noise of "
                f"{math.sqrt(scatter):.3g}. There is no light to find phases from; the exposure must be longer."
            )
        raise ValueError(
            f"The reference's phase is lost: frames change with it by no more than {math.sqrt(between) / level:.2%} of "
            "their level. Is the arm open and coherent with the signal, and does the shifter move? With a Fourier stop "
            "behind the mirrors: do the patterns send light through it, as holograms for its place do?"
        )


def _phases_of_frames(frames: np.ndarray, found: Any) -> tuple[np.ndarray, float]:
    """Phase of each frame (bursts, steps) near the mean one, and its standard deviation by camera noise."""
    q = found.q.astype(np.complex128)
    basis = np.stack([np.ones(len(q)), found.offset.astype(np.float64), 2 * q.real, 2 * q.imag])
    flat = frames.reshape(-1, frames.shape[2]).astype(np.float64)
    # The fringe's share of 1 and of the offset is what speckle happens to hold; least squares keeps them apart.
    with forks_wait():
        solution, _, _, _ = np.linalg.lstsq(basis.T, flat.T, rcond=None)
        rest = flat - solution.T @ basis
        # Bright pixels are noisier and weigh more: each pixel's own misfit goes into the error (White 1980).
        rows = np.linalg.solve(basis @ basis.T, basis)[2:]
        variance = np.square(rest) @ np.square(rows).sum(axis=0)
    fringe = solution[2] + 1j * solution[3]
    # Half of it lies across the fringe's vector.
    noise2 = variance / 2 / np.square(np.abs(fringe))
    turn = fringe.reshape(frames.shape[:2]) * np.exp(-1j * found.phases_rad)
    return np.angle(turn), math.sqrt(float(noise2.mean()))


def _shifter_model(nominal: np.ndarray, made: np.ndarray, error: float) -> tuple[float, float, tuple[float, float]]:
    """Scale error and nonlinearity of d' = c + d (1 + s + n d / pi), and their standard errors."""
    design = np.stack([np.ones_like(nominal), nominal, nominal**2 / np.pi], axis=1)
    solution, _, _, _ = np.linalg.lstsq(design, made - nominal, rcond=None)
    covariance = error**2 * np.linalg.inv(design.T @ design)
    return float(solution[1]), float(solution[2]), (math.sqrt(covariance[1, 1]), math.sqrt(covariance[2, 2]))


class PhaseProcedure(Procedure):
    """The phase steps of the reference arm."""

    name = "phase"
    title = "Phases that the shifter of the reference arm makes, and how well it repeats them."
    records = (PhaseRecord,)
    needs_reference = True
    needs_full_scale = True
    order = 30.0
    options = (EXPOSURE, *SEEKING, STEPS)

    def measure(self, session: Calibration, progress: Progress | None = None) -> dict[str, Any]:
        """Measure equal steps, eight by default."""
        asked = equal_steps(session.options["steps"] or 8)
        return {"phase": _measured(session, asked, usual_exposure(session), progress)}

    def summary(self, record: PhaseRecord, device: Device | None = None) -> list[Row]:
        """Say in a few rows what a record holds."""
        arm = None if device is None else device.reference
        low, high = record.scale_interval
        bent_low, bent_high = record.nonlinearity_interval
        return [
            ("phases asked", radians(record.asked_rad), ""),
            ("phases made", f"{radians(record.phases_rad)} ± {record.uncertainty_rad:.1g}", ""),
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
                "" if device is None else f"{_repeatability_rad(device, record.exposure_s):.3g}",
            ),
            ("fringe modulation", f"{record.modulation:.3g}, median of {record.pixels:,} pixels", ""),
        ]


def _repeatability_rad(device: Device, exposure_s: float) -> float:
    """Return the standard deviation of a frame's phase: jitter, and what an exposure leaves of a small vibration."""
    lines = device.reference.vibration(0, apart=True)
    share = np.sinc(lines.hz * exposure_s) if device.operation.exposure_average else 1.0
    return math.sqrt(device.reference.jitter_rad**2 + float(np.sum(np.square(lines.rad * share))) / 2)


def _measured(
    session: Calibration, asked: np.ndarray, exposure_s: float, progress: Progress | None = None
) -> PhaseRecord:
    return measure_phases(
        session.bench, asked, mirrors=session.patterns(1), exposure_s=exposure_s, roi=session.roi,
        full_scale_dn=session.options["full_scale_dn"], progress=progress,
    )  # fmt: skip


def stored_phases(session: Calibration, asked: np.ndarray) -> np.ndarray | None:
    """Return the phases that the shifter makes when asked for these, if the file has them."""
    record = session.stored("phase", PhaseRecord)
    if record is None:
        return None
    near = np.abs(record.asked_rad[:, None] - asked) < 1e-9
    return record.phases_rad[near.argmax(axis=0)] if near.any(axis=0).all() else None


def actual_phases(session: Calibration, asked: np.ndarray, exposure_s: float) -> np.ndarray:
    """Return the stored phases, or measured ones."""
    stored = stored_phases(session, asked)
    return _measured(session, asked, exposure_s).phases_rad if stored is None else stored


def checked_shifter_phases(name: str, phases_rad: Any, *, least: int = 2, n: int | None = None) -> np.ndarray:
    """Return phases of the shifter as float64 of shape (n,), in radians.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    phases_rad : array_like of float, shape (n,)
        Phases in radians.
    least : int
        Fewest of them.
    n : int, optional
        How many, where they belong to those of `phases_rad`.

    Raises
    ------
    ValueError
        If they are not finite numbers, or another number of them.
    """
    array = checked_array(name, phases_rad, "finite numbers, in radians", dtype=np.float64)
    if array.ndim != 1 or len(array) < least or not np.isfinite(array).all() or n not in (None, len(array)):
        wanted = f"at least {least} finite numbers" if n is None else f"{n} finite numbers, as phases_rad"
        raise ValueError(f"{name} is {phases_rad!r}, but it must be {wanted}, in radians.")
    return array
