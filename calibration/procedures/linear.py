"""All that the holographic linear transform needs of a device: exposure, phase steps, reference, and how good it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import elementary, validation
from opusim.base.short_repr import short_repr
from opusim.bench.protocol import Bench, elapsed_s, level_turns_of, reference_map_of, threads_of
from opusim.bench.region import AnyRoi, Roi
from opusim.calibration.algorithms.masks import dark_pixels, saturated_pixels
from opusim.calibration.algorithms.phase_shifting import equal_steps, least_squares
from opusim.calibration.contents import held
from opusim.calibration.on_bench import (
    all_off,
    checked_full_scale,
    dark_frames,
    exposed_steadily,
    random_patterns,
    repeated,
    saturation_dn,
    shown_mirrors,
)
from opusim.calibration.words import micro, radians
from opusim.fringes.calibrated import (
    CLIPPED_SHARE,
    DARK_FRAMES,
    LEAST_REFERENCE,
    REFERENCE_FRAMES,
    REFERENCE_MAPS,
    light_of_reference,
    reference_bursts,
)
from opusim.fringes.demodulation import field_of_clipped, fields_of_counts, least_squares_row
from opusim.patterns.layout import MirrorPatterns

from .base import EXPOSURE, SEEKING, STEPS, Procedure, Progress, Row
from .exposure import find_exposure
from .phase import measure_phases

if TYPE_CHECKING:
    from opusim.calibration.session import Calibration
    from opusim.device.record import Device

__all__ = ["LinearRecord", "demodulate", "measure_linear"]

# Patterns that are measured twice, and pixels from which the phase steps are found.
_PATTERNS = 24
_PHASE_PIXELS = 8000


@short_repr
@dataclass(frozen=True)
class LinearRecord:
    """Calibration of the holographic linear transform on one region of the sensor.

    Parameters
    ----------
    exposure_s : float
        Exposure of every frame, in seconds.
    asked_rad : ndarray of float64, shape (steps,)
        Phases to ask of the shifter, in radians.
    actual_rad : ndarray of float64, shape (steps,)
        Phases that it makes, against their mean.
    jitter_rad : float
        Standard deviation of a step from burst to burst, in radians.
    roi : ndarray of int64, shape (4,)
        Region: row, column, n_rows, n_columns.
    dark_dn : ndarray of float32, shape (n_pixels,)
        Level without light.
    reference_dn : ndarray of float32, shape (n_pixels,)
        ``|R|^2``, the light of the reference, dark level taken off.
    valid : ndarray of bool, shape (n_pixels,)
        Pixels with enough reference, whose fringes were not saturated.
    full_scale_dn : float
        Count from which a pixel is saturated.
    clipped_share : float
        Share of the pixels with at least one saturated frame, for the test patterns.
    modulation : float
        Median fringe modulation, 0 to 1.
    modulation_map : ndarray of float32, shape (n_pixels,)
        Fringe modulation of each pixel, mean over the test patterns; 0 where the reference is too dark.
    coherence : float
        Contrast of the fringes against that of two beams that interfere fully.
    relative_error : float
        Noise of one measured field over its rms: from patterns that were measured twice.
    drift_rad_per_minute : float
        Change of the reference's phase during the calibration.
    elapsed_s : float
        Device time at its end, in seconds.
    """

    exposure_s: float = held(low=0.0, low_open=True)
    asked_rad: np.ndarray = held(shape=("steps",), of="number")
    actual_rad: np.ndarray = held(shape=("steps",), of="number")
    jitter_rad: float = held(low=0.0)
    roi: np.ndarray = held(low=0.0, shape=(4,), of="whole")
    dark_dn: np.ndarray = held(shape=("roi",), of="number")
    reference_dn: np.ndarray = held(shape=("roi",), of="number")
    valid: np.ndarray = held(shape=("roi",), of="flag")
    full_scale_dn: float = held(low=0.0, low_open=True, inf=True)
    clipped_share: float = held(low=0.0, high=1.0)
    modulation: float = held()
    modulation_map: np.ndarray = held(shape=("roi",), of="number")
    coherence: float = held(low=0.0, high=1.0)
    relative_error: float = held(low=0.0, inf=True)
    drift_rad_per_minute: float = held(low=0.0)
    elapsed_s: float = held()

    @property
    def n_steps(self) -> int:
        """Frames of one measurement."""
        return len(self.asked_rad)

    @property
    def rectangle(self) -> Roi:
        """The region as (row, column, n_rows, n_columns)."""
        return Roi(*(int(v) for v in self.roi))


@short_repr
@dataclass(frozen=True)
class RepeatableRecord(LinearRecord):
    """A calibration of a simulated bench, with all that it would come out of again, to the bit.

    Parameters
    ----------
    first_frame, next_frame : int
        Frames that the bench had taken before it and after it.
    start_s, end_s : float
        Device time there, in seconds.
    made_with : str
        What else it depends on, beside device, seed and region.
    """

    first_frame: int = held(low=0)
    next_frame: int = held(low=0)
    start_s: float = held(low=0.0)
    end_s: float = held(low=0.0)
    made_with: str = held()

    @classmethod
    def of(
        cls, record: LinearRecord, start: tuple[int, float], end: tuple[int, float], made_with: str
    ) -> RepeatableRecord:
        """Return a calibration with where the clock stood before it and after it, and what else it depends on."""
        own = {field.name: getattr(record, field.name) for field in fields(LinearRecord)}
        return cls(**own, first_frame=start[0], next_frame=end[0], start_s=start[1], end_s=end[1], made_with=made_with)

    @property
    def start(self) -> tuple[int, float]:
        """Where the clock stood before it."""
        return self.first_frame, self.start_s

    @property
    def end(self) -> tuple[int, float]:
        """Where the clock stood after it."""
        return self.next_frame, self.end_s

    def plain(self) -> LinearRecord:
        """Return the calibration alone, as it was measured."""
        return LinearRecord(**{field.name: getattr(self, field.name) for field in fields(LinearRecord)})


def demodulate(record: LinearRecord, frames: np.ndarray, threads: int | None = None) -> np.ndarray:
    """Return fields in the reference's phase, S conj(R) / |R|, for bursts of frames.

    Parameters
    ----------
    record : LinearRecord
        The calibration.
    frames : ndarray, shape (n * steps, n_pixels)
        Counts of the first `n_pixels` pixels of the region, each pattern under every phase in turn.
    threads : int, optional
        Threads to use; they do not change the result.

    Returns
    -------
    ndarray of complex64, shape (n, n_pixels)
        In roots of grey levels. Where frames are saturated, the others and the known reference give the field.
    """
    n_pixels = frames.shape[-1]
    amplitude = reference_amplitude(record, n_pixels)
    if frames.dtype in (np.uint8, np.uint16):
        return fields_of_counts(
            frames.reshape(-1, n_pixels), record.actual_rad, amplitude, record.dark_dn[:n_pixels],
            record.full_scale_dn, record.coherence, threads,
        )  # fmt: skip
    bursts = frames.reshape(-1, record.n_steps, n_pixels)
    field = least_squares(bursts, record.actual_rad, axis=1).q
    field /= amplitude
    vector, pixel = np.nonzero(saturated_pixels(bursts, record.full_scale_dn, axis=1))
    if len(vector):
        counts = bursts[vector, :, pixel].astype(np.float64)
        field[vector, pixel] = field_of_clipped(
            counts - record.dark_dn[pixel, None], counts >= record.full_scale_dn, amplitude[pixel],
            record.actual_rad, record.coherence, field[vector, pixel], threads,
        )  # fmt: skip
    return field.astype(np.complex64, copy=False)


def reference_amplitude(record: LinearRecord, n_pixels: int) -> np.ndarray:
    """Return |R| of the first pixels, float32 (n_pixels,): where the reference is too dark, as at the least allowed."""
    reference = record.reference_dn[:n_pixels]
    floor = np.float32(LEAST_REFERENCE * max(float(reference.mean()), 1e-30))
    return np.sqrt(np.maximum(reference, floor))


def measure_linear(
    bench: Bench,
    mirrors: np.ndarray | MirrorPatterns | None = None,
    *,
    steps: int = 4,
    roi: AnyRoi | None = None,
    exposure_s: float | None = None,
    clipped_share: float = CLIPPED_SHARE,
    reference_map: str | None = None,
    full_scale_dn: float | None = None,
    shortest_s: float = 20e-6,
    longest_s: float = 0.1,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> LinearRecord:
    """Measure what the holographic linear transform needs.

    Parameters
    ----------
    bench : Bench
        With a reference arm.
    mirrors : ndarray or MirrorPatterns, optional
        Test patterns, 16 or more, as bright as those to come; by default random ones with half of the mirrors on.
    steps : int
        Phase steps, 3 or more.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the whole sensor by default.
    exposure_s : float, optional
        Exposure in seconds; found by default.
    clipped_share : float
        Share of the pixels that may have a saturated frame when the exposure is sought.
    reference_map : {"alone", "demodulated"}, optional
        What is taken for ``|R|^2``. "alone": the mean of 64 frames with every mirror off, ``|R + E|^2`` with the light
        E of off mirrors. "demodulated": bursts of as many frames or a few more with every mirror off, whose fringes
        tell E from R. By default what the bench's device says (`Operation.reference_map`), or "demodulated". A
        modulator of phases has no such pattern: there it is what the arm adds to the light of a test pattern.
    full_scale_dn : float, optional
        Count from which a pixel is saturated; that of ``saturation_dn`` by default.
    shortest_s, longest_s : float
        Limits of the exposure that is found, in seconds.
    seed : int
        Of the test patterns.
    progress : callable, optional
        Told (done, total) parts.

    Returns
    -------
    LinearRecord
        What was found, pixel by pixel.

    Raises
    ------
    ValueError
        If there is no reference arm, no light, no fringe, or no exposure that fits; if the bench returns old frames; or
        if `reference_map` is none of these words.
    RuntimeError
        If it returns something else than the frames that were asked for.
    """
    asked = equal_steps(steps)
    full_scale_dn = checked_full_scale(full_scale_dn)
    way = reference_map_of(bench) if reference_map is None else reference_map
    validation.choice("reference_map", way, REFERENCE_MAPS)
    shown = random_patterns(bench, _PATTERNS, seed=seed) if mirrors is None else shown_mirrors(mirrors, bench)
    if len(shown) < 16:
        raise ValueError(f"mirrors holds {len(shown)} patterns, but at least 16 are needed to tell how good it is.")
    rectangle = (0, 0, *bench.sensor_shape) if roi is None else roi
    report = progress if progress is not None else _silent
    total = 4
    if exposure_s is None:
        found = find_exposure(
            bench, shown[:2], clipped_share=clipped_share, reference_phase_rad=asked, roi=roi,
            full_scale_dn=full_scale_dn, shortest_s=shortest_s, longest_s=longest_s,
        )  # fmt: skip
        exposure_s = found.exposure_s
    else:
        exposure_s = validation.number("exposure_s", exposure_s, low=0.0, high=3600.0, low_open=True)
    report(1, total)
    dark = dark_frames(bench, exposure_s, DARK_FRAMES, roi)
    dark_dn = dark.reshape(len(dark), -1).mean(axis=0, dtype=np.float64).astype(np.float32)
    # Bursts of a step each are frames of one phase.
    bursts, turns = (reference_bursts(steps), asked) if way == "demodulated" else (REFERENCE_FRAMES, np.zeros(1))
    level_turns = level_turns_of(bench)
    if level_turns is not None:  # no pattern is dark: one of the test patterns, with the arm and without
        way, bursts, turns = "beside", reference_bursts(steps), asked
    pattern = all_off(bench) if level_turns is None else shown[:1]
    alone = exposed_steadily(bench, pattern, exposure_s=exposure_s, reference_phase_rad=np.tile(turns, bursts), roi=roi)
    alone = alone.reshape(bursts, len(turns), -1)
    full_scale = saturation_dn(bench, exposure_s, roi, full_scale_dn=full_scale_dn)
    beside_dn = dark_dn
    if way == "beside":
        blocked = exposed_steadily(bench, repeated(bench, pattern, bursts * steps), exposure_s=exposure_s, roi=roi)
        beside_dn = blocked.reshape(bursts * steps, -1).mean(axis=0, dtype=np.float64).astype(np.float32)
    reference_dn = alone.mean(axis=(0, 1), dtype=np.float64).astype(np.float32) - beside_dn
    if float(reference_dn.mean()) <= 0:
        raise ValueError("The reference alone gives no light on this region, so there is nothing to interfere with.")
    if float(np.mean(alone >= full_scale)) > 0.5:
        raise ValueError(
            f"The reference alone saturates most of the region in {exposure_s:.4g} s: the exposure must be shorter."
        )
    report(2, total)

    # At half the exposure few frames are saturated.
    steps_found = measure_phases(
        bench, asked, mirrors=shown[:1], exposure_s=exposure_s / 2, roi=_part(rectangle), full_scale_dn=full_scale
    )
    actual, jitter = np.asarray(steps_found.phases_rad), float(steps_found.repeatability_rad)
    if way == "demodulated":
        reference_dn = _without_off_light(alone, actual, dark_dn)
    elif way == "beside":
        offset = least_squares(alone.mean(axis=0, dtype=np.float64), actual).offset
        reference_dn = np.maximum(offset - beside_dn, 0).astype(np.float32)
    report(3, total)
    started = elapsed_s(bench)
    first = _bursts(bench, shown, exposure_s, asked, roi)
    second = _bursts(bench, shown, exposure_s, asked, roi)
    ended = elapsed_s(bench)
    _check_repetition(first, second, alone)
    report(4, total)
    clipped = saturated_pixels(first, full_scale, axis=1)
    del dark, alone
    usable = ~dark_pixels(reference_dn, least_share=LEAST_REFERENCE)
    valid = usable & (clipped.mean(axis=0) < 0.5)
    whole = valid & ~(clipped | saturated_pixels(second, full_scale, axis=1))
    modulation, modulation_map, light_dn = _fringes(first, actual, dark_dn, reference_dn, usable, whole)
    record = LinearRecord(
        exposure_s=exposure_s, asked_rad=asked, actual_rad=actual, jitter_rad=jitter,
        roi=np.array(rectangle, dtype=np.int64), dark_dn=dark_dn, reference_dn=reference_dn,
        valid=valid, full_scale_dn=full_scale, clipped_share=float(clipped.mean()),
        modulation=modulation, modulation_map=modulation_map, coherence=1.0, relative_error=np.inf,
        drift_rad_per_minute=0.0, elapsed_s=ended,
    )  # fmt: skip
    return _with_quality(record, first, second, whole, light_dn, ended - started, threads_of(bench))


def _bursts(bench: Bench, shown: Any, exposure_s: float, asked: np.ndarray, roi: AnyRoi | None) -> np.ndarray:
    """Frames (n, steps, n_pixels) of each pattern under each phase."""
    frames = exposed_steadily(bench, shown, exposure_s=exposure_s, reference_phase_rad=asked, roi=roi)
    return frames.reshape(len(shown), len(asked), -1)


def _without_off_light(bursts: np.ndarray, actual: np.ndarray, dark_dn: np.ndarray) -> np.ndarray:
    """Return |R|^2, float32 (n_pixels,), from bursts (n, steps, n_pixels) with every mirror off."""
    fit = least_squares(bursts.mean(axis=0, dtype=np.float64), actual)
    return light_of_reference(fit.offset - dark_dn, elementary.square_modulus(fit.q)).astype(np.float32)


def _check_repetition(first: np.ndarray, second: np.ndarray, alone: np.ndarray) -> None:
    """Refuse a second measurement that is the first one to the bit, on a bench whose frames have noise.

    `alone` are bursts (n, steps, n_pixels) with every mirror off. The error of a field is told from how the two
    measurements differ. Without noise there is nothing to be told but rounding.
    """
    # Mostly the first pattern differs, and no other is looked at.
    if all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)) and (alone != alone[0]).any():
        raise ValueError(
            "The test patterns were measured twice, and the second frames are the first ones to the bit, though frames "
            "of the reference alone differ from each other: the bench returned old frames, so that the error of a "
            "field cannot be told. opusim.testing.check_bench says more."
        )


def _rounding(record: LinearRecord) -> float:
    """Variance of a field by the rounding of counts to whole numbers, mean over the valid pixels."""
    amplitude = reference_amplitude(record, record.reference_dn.size)[record.valid].astype(np.float64)
    row = least_squares_row(record.actual_rad)
    return float(np.sum(np.abs(row) ** 2) / 12 * np.mean(amplitude**-2)) if amplitude.size else 0.0


def _part(roi: AnyRoi) -> AnyRoi:
    """Rows in the middle of a region that hold enough pixels to find phases from."""
    row, column, n_rows, n_columns = roi
    rows = min(n_rows, max(1, -(-_PHASE_PIXELS // n_columns)))
    return row + (n_rows - rows) // 2, column, rows, n_columns


def _fringes(
    bursts: np.ndarray, actual: np.ndarray, dark_dn: np.ndarray, reference_dn: np.ndarray, usable: np.ndarray,
    whole: np.ndarray,
) -> tuple[float, np.ndarray, float]:  # fmt: skip
    """Median fringe modulation, the mean over the patterns of each pixel, and the mean light beside the reference's.

    The light is that of the bursts in `whole`. Pattern by pattern: the fields of all of them would take gigabytes.
    """
    each = np.empty((len(bursts), np.count_nonzero(usable)), dtype=np.float32)
    light = 0.0
    for i, burst in enumerate(bursts):
        fringe = least_squares(burst, actual)
        level_dn = fringe.offset - dark_dn
        each[i] = 2 * np.sqrt(elementary.square_modulus(fringe.q[usable])) / np.maximum(level_dn[usable], 1e-6)
        light += float(np.sum((level_dn - reference_dn)[whole[i]], dtype=np.float64))
    by_pixel = np.zeros(usable.shape, dtype=np.float32)
    by_pixel[usable] = each.mean(axis=0)
    return float(np.median(each, overwrite_input=True)), by_pixel, light / max(1, int(whole.sum()))


def _with_quality(
    record: LinearRecord, first: np.ndarray, second: np.ndarray, whole: np.ndarray, light_dn: float, lasted_s: float,
    threads: int | None = None,
) -> LinearRecord:  # fmt: skip
    """Add what two measurements of the same patterns tell: noise, and drift of the reference.

    `whole` are the bursts that are not clipped, `light_dn` the mean light in them without the reference's own.
    """
    # The contrast of the fringes: field against intensity.
    (own, _), noise, _ = _compared(record, first, second, whole, threads)
    if light_dn > 0 and own > noise:
        record = replace(record, coherence=min(1.0, float(np.sqrt((own - noise) / light_dn))))
    powers, noise, moved = _compared(record, first, second, np.broadcast_to(record.valid, whole.shape), threads)
    # The two rounds follow each other: the same pattern comes half of the time later.
    minutes = lasted_s / 2 / 60
    if first.dtype.kind in "iu":  # two measurements without noise are rounded alike, and yet both are wrong by that
        noise = max(noise, _rounding(record))
    drift = abs(float(np.mean(moved))) / minutes if minutes > 0 else 0.0
    # Where no pixel counts nothing was measured.
    error = float(np.sqrt(noise / max(powers.mean() - noise, 1e-30))) if record.valid.any() else np.inf
    return replace(record, relative_error=error, drift_rad_per_minute=drift)


def _compared(
    record: LinearRecord, first: np.ndarray, second: np.ndarray, use: np.ndarray, threads: int | None
) -> tuple[np.ndarray, float, np.ndarray]:
    """Return the mean powers of both rounds' fields, their noise, and the phase between them of each pattern.

    Powers and noise are those of the bursts in `use`. The second round is turned by one phase onto the first. Pattern
    by pattern, as for `_fringes`.
    """
    products = np.zeros(len(first), dtype=np.complex128)
    for i, (a, b) in enumerate(_fields(record, first, second, threads)):
        products[i] = np.sum(elementary.multiply(b, a.conj())[record.valid], dtype=np.complex128)
    turn = elementary.phasors(-elementary.angle(products.sum()), np.complex64)
    powers, noise = np.zeros(2), 0.0
    for some, (a, b) in zip(use, _fields(record, first, second, threads), strict=True):
        x, y = a[some], elementary.multiply(b, turn)[some]
        # The difference itself: on a device without noise it is ten digits below the powers.
        noise += float(np.sum(elementary.square_modulus(x - y), dtype=np.float64)) / 2
        powers += [np.sum(elementary.square_modulus(f), dtype=np.float64) for f in (x, y)]
    size = max(1, int(use.sum()))
    return powers / size, noise / size, elementary.angle(products)


def _fields(
    record: LinearRecord, first: np.ndarray, second: np.ndarray, threads: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the fields of each pattern in both rounds."""
    for bursts in zip(first, second, strict=True):
        a, b = (demodulate(record, burst, threads)[0] for burst in bursts)
        yield a, b


def _silent(done: int, total: int) -> None:
    """Do nothing with the progress."""


class LinearProcedure(Procedure):
    """What the linear transform by holography needs."""

    name = "linear"
    title = "What the linear transform needs: phases, pixels, fringes, exposure."
    records = (LinearRecord, RepeatableRecord)
    needs_reference = True
    needs_full_scale = True
    order = 40.0
    options = (EXPOSURE, *SEEKING, STEPS)

    def measure(self, session: Calibration, progress: Progress | None = None) -> dict[str, Any]:
        """Measure with four steps by default."""
        record = measure_linear(
            session.bench, steps=session.options["steps"] or 4, roi=session.roi,
            exposure_s=session.options["exposure_s"], progress=progress, **session.seeking(),
        )  # fmt: skip
        return {"linear": record}

    def done(self, session: Calibration) -> bool:
        """Whether it is there, of this region and with these steps."""
        record = session.stored("linear", LinearRecord)
        if record is None:
            return False
        session.check_same(session.path, "roi", record.rectangle, tuple(session.roi))
        if session.options["steps"] is not None:
            session.check_same(session.path, "steps", record.n_steps, session.options["steps"])
        return True

    def summary(self, record: LinearRecord, device: Device | None = None) -> list[Row]:
        """Say in a few rows what a record holds."""
        return [
            ("exposure", micro(record.exposure_s), ""),
            ("phase steps", f"{record.n_steps}: {radians(record.actual_rad)}", ""),
            ("error of one field", f"{100 * record.relative_error:.2g} % of its rms", ""),
            ("coherence", f"{record.coherence:.3g}", "" if device is None else f"{_coherence(record, device):.3g}"),
            ("fringe modulation", f"{record.modulation:.3g} (median)", ""),
            ("pixels", f"{int(record.valid.sum()):,} of {len(record.valid):,} can be used", ""),
            ("fields with clipped frames", f"{100 * record.clipped_share:.2g} %", ""),
        ]


def _coherence(record: LinearRecord, device: Device) -> float:
    """Return what a simulated device leaves of the fringes in frames like those of a record."""
    from opusim.noise.light import linear_coherence
    from opusim.noise.point import WorkingPoint

    return linear_coherence(
        WorkingPoint(
            device, "linear", share_on=0.5, exposure_s=record.exposure_s, elapsed_s=0.0, n_steps=record.n_steps,
            frametime_s=record.exposure_s, roi=record.rectangle,
        )
    )  # fmt: skip
