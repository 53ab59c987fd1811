"""The linear transform by phase-shifting holography: the field itself, against the device's reference arm.

Each vector is shown once under each phase step, and its field S follows from the frames
(`opusim.calibration.procedures.linear`). The mirrors that are always on, and the light of those that are off, add a
background S(0), which is measured once for a fit and taken off. Of a phase modulator x is exp(i phase) of each feature,
and the background is the light that no level turns: the mean of a pattern and the same turned on by thirds of a turn
(`opusim.drivers.values.Probes`).
The phase of the reference drifts: every block begins and ends with an anchor pattern of the fit,
whose fields say by how much the vectors between are turned, and whether the anchor is still what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import arrays, elementary
from opusim.base.errors import NotReadyError, warn_outside
from opusim.base.short_repr import short_repr
from opusim.bench.linear_modes import LinearMode
from opusim.bench.protocol import input_layout_of, lags_of, output_roi_of
from opusim.bench.reduction import FieldsOfBursts
from opusim.calibration import store as calibrations
from opusim.drivers.values import BITS, Values, probes_on
from opusim.fringes.demodulation import BurstPixels, fields_of_bursts, fields_of_counts, finished

from .base import Method, tell_lag

# Procedures and algorithms of the calibration, and scipy with them, are imported where they are used: this file is read
# when any linear mode is asked for by name.
if TYPE_CHECKING:
    from opusim.bench.together import TakenTogether
    from opusim.calibration.procedures.linear import LinearRecord
    from opusim.drivers.fit import Fit
    from opusim.drivers.lowlevel.device import OpuDevice
    from opusim.drivers.lowlevel.settings_of_frame import FrameSettings

_BLOCK = 64
# Frames, fields and results of a block; two million pixels leave room for twelve vectors between two anchors.
_BLOCK_BYTES = 384 << 20
_FIT_BYTES = 256 << 20
# Bursts from which the fields of a fit are averaged: their noise is below that of a vector by the root of it.
_REPEATS = 32
# Patterns of a fit (`opusim.drivers.values.Probes`).
_PROBES = 3
# Pixels that are read at least, where the region has them: the anchor's phase and the scale are means over pixels.
_PIXELS = 4000
# Change of the anchor's field, over its rms, from which the result is in doubt, and from which it means nothing.
_DOUBTFUL, _LOST = 0.1, 0.7
# The same that is expected of a camera which lags, over the share of a frame that it leaves. The first of N steps mixes
# with what was before the anchor, or with nothing: with a reference of r times the light that is about
# (1 + r) / (N sqrt(r)) of the field, .7 for r = 5 and four steps.
_LAGGED = 1.0
# Light of a reference that stands for a measured one, where there is no full scale.
_LEVEL_DN = 64.0
# Turn of the reference within a block, in radians, up to which it may be taken as even.
_MOST_TURN = 0.3


@short_repr
@dataclass(frozen=True)
class FitFields:
    """Fields of the patterns that belong to a fit.

    Attributes
    ----------
    anchor : ndarray of complex64, shape (n_pixels,)
        Field of the anchor pattern, in roots of grey levels; its phase is the origin.
    background : ndarray of complex64, shape (n_pixels,)
        Field with every feature off, or that no level turns.
    scale : float
        Root mean square of an entry of the matrix, in the same unit.
    """

    anchor: np.ndarray
    background: np.ndarray
    scale: float
    _placed: dict[arrays.Arrays, tuple[Any, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def on(self, place: arrays.Arrays, record: LinearRecord, n_pixels: int) -> PlacedFields:
        """Return the fields and what the calibration says of their pixels on a device, moved there once and kept."""
        # Another thread may put another one there meanwhile: what is used is a local.
        kept = self._placed.get(place)
        if kept is None or kept[0] is not record or kept[1] != n_pixels:
            maps = PlacedFields(
                place.from_host(self.anchor[:n_pixels]), place.from_host(self.background[:n_pixels]),
                place.from_host(record.valid[:n_pixels]), burst_pixels(place, record, n_pixels),
            )  # fmt: skip
            kept = record, n_pixels, maps
            self._placed[place] = kept
        return kept[2]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what lies on devices."""
        return {**self.__dict__, "_placed": {}}


@dataclass(frozen=True)
class PlacedFields:
    """Fields of a fit, and what the calibration says of their pixels, where frames are demodulated.

    Attributes
    ----------
    anchor, background : array of complex64, shape (n_pixels,)
        As in `FitFields`.
    valid : array of bool, shape (n_pixels,)
        Pixels that can be trusted.
    pixels : BurstPixels
        What the calibration says of them for `fields_of`.
    """

    anchor: Any
    background: Any
    valid: Any
    pixels: BurstPixels


def burst_pixels(place: arrays.Arrays, record: LinearRecord, n_pixels: int) -> BurstPixels:
    """Return what demodulation needs of a calibration, where frames are demodulated."""
    from opusim.calibration.procedures.linear import reference_amplitude

    return BurstPixels(
        record.actual_rad, place.from_host(reference_amplitude(record, n_pixels)),
        place.from_host(record.dark_dn[:n_pixels]), float(record.full_scale_dn), record.coherence,
    )  # fmt: skip


def n_measured(n_out: int, region: int) -> int:
    """Return how many of a region's pixels to read for `n_out` outputs."""
    return max(n_out, min(region, _PIXELS))


def block_size(n_steps: int, n_pixels: int) -> int:
    """Return how many vectors are shown between two anchors."""
    return max(1, min(_BLOCK, _BLOCK_BYTES // ((12 + n_steps) * n_pixels)))


def fit_repeats(n_steps: int, n_pixels: int) -> int:
    """Return how often each of the three patterns of a fit is shown."""
    return max(4, min(_REPEATS, _FIT_BYTES // (12 * n_steps * n_pixels)))


@short_repr
@dataclass(frozen=True)
class Holography(Method):
    """R x from the field that interferes with the reference: blocks of vectors between two anchors.

    Parameters
    ----------
    record : LinearRecord
        The calibration of the region.
    fields : FitFields
        Of the fit.
    n_features, n_out, n_pixels : int
        Features of a vector; outputs, and pixels that are read for them, the first ones of the region.
    complex_output : bool
        Whether to return the field, entries of variance 1, or sqrt(2) times its real part.
    lag : float
        Share of a frame that is read with the next one: so much of the anchor is that of the pattern before it.
    values : Values
        What is shown: bits by default.
    """

    record: LinearRecord
    fields: FitFields
    n_features: int
    n_out: int
    n_pixels: int
    complex_output: bool = False
    lag: float = 0.0
    values: Values = BITS

    dtype: np.dtype[Any] = field(init=False)
    block: int = field(init=False)
    phases_rad: np.ndarray | None = field(init=False)
    fit_patterns: int = field(init=False)

    parted = False
    packed = False
    by_light = True
    reductions = (FieldsOfBursts,)

    def __post_init__(self) -> None:
        """Work out what follows."""
        put = object.__setattr__
        put(self, "dtype", np.dtype(np.complex64 if self.complex_output else np.float32))
        put(self, "block", block_size(len(self.record.asked_rad), self.n_pixels))
        put(self, "phases_rad", self.record.asked_rad)
        put(self, "fit_patterns", _PROBES * fit_repeats(len(self.record.asked_rad), self.n_pixels))

    def frames(self, n: int) -> int:
        """Return a frame of each vector and of two anchors under each phase."""
        return (n + 2) * len(self.record.asked_rad)

    def task_bytes(self, n_out: int, frame_item: int) -> int:
        """Return the bytes of a result: those of the frames are bounded by the block."""
        return n_out * self.dtype.itemsize

    def encode(self, bits: Any, *, part: bool = False) -> Any:
        """Return the vectors of a block between two anchors."""
        place = arrays.of(bits)
        probes = probes_on(place, self.values, self.n_features)[1]
        return place.xp.concat([probes[1:2], bits, probes[1:2]])

    def decode(
        self, frames: Any, shared: Any = None, *, out: Any = None, part: bool = False, threads: int | None = None
    ) -> Any:
        """Return R x of the vectors of a block.

        Raises
        ------
        RuntimeError
            If the phase of the reference was lost.
        """
        place = arrays.of(frames)
        maps = self.fields.on(place, self.record, self.n_pixels)
        measured = fields_of(self.record, frames, maps.pixels, threads)
        block = measured[1:-1, : self.n_out]
        turned = self._turned_back(measured[0], measured[-1], len(block), maps)
        if place.name == "numpy":
            result = np.empty(block.shape, dtype=self.dtype)
            finished(measured[1:-1], turned, maps.background, 1 / self.fields.scale, result, threads)
            return result
        block *= place.from_host(turned[:, None])
        block -= maps.background[: self.n_out]
        block *= float(np.float32(1 / self.fields.scale))
        if not self.complex_output:
            return float(np.float32(np.sqrt(2))) * block.real
        # Of its own, so that what was measured beside it is let go.
        result = place.empty(tuple(block.shape), np.complex64)
        result[...] = block
        return result

    def reduce(
        self, bits: np.ndarray, taken: TakenTogether, sizes: Sequence[int], shared: Any = None, *, out: Any = None
    ) -> np.ndarray:
        """Return R x of the vectors of some blocks: the anchors come first, and tell how all others are turned.

        Raises
        ------
        RuntimeError
            If the phase of the reference was lost.
        """
        maps = self.fields.on(arrays.NUMPY, self.record, self.n_pixels)
        edges = np.cumsum([0, *(n + 2 for n in sizes)])
        anchors = np.stack([edges[:-1], edges[1:] - 1], axis=1).reshape(-1, 1)
        vectors = np.concatenate([np.arange(k + 1, k + n + 1) for k, n in zip(edges, sizes, strict=False)])
        steps = np.arange(self.steps)
        ends = taken.reduce(
            probes_on(arrays.NUMPY, self.values, self.n_features)[1][1:2], FieldsOfBursts(maps.pixels, known=True),
            (self.steps * anchors + steps).reshape(1, -1), self.n_pixels,
        ).reshape(len(sizes), 2, -1)  # fmt: skip
        turns = []
        for k, ((first, last), n) in enumerate(zip(ends, sizes, strict=True)):
            try:
                turns.append(self._turned_back(first, last, n, maps))
            except BaseException:  # a warning that is an error, too
                taken.give_back(k + 1)  # as if each block had been shown before the next
                raise
        finishing, frames = self._finishing(maps, np.concatenate(turns)), self.steps * vectors[:, None] + steps
        return taken.reduce(bits, finishing, frames, self.n_out, out)

    def reduction(self, n: int, n_features: int) -> FieldsOfBursts:
        """Return the demodulation of `n` vectors that are not turned."""
        maps = self.fields.on(arrays.NUMPY, self.record, self.n_pixels)
        return self._finishing(maps, np.ones(n, dtype=np.complex64))

    def _finishing(self, maps: PlacedFields, turns: np.ndarray) -> FieldsOfBursts:
        """Return what makes results of the frames of vectors that are turned back."""
        scale = 1 / self.fields.scale
        return FieldsOfBursts(maps.pixels, turns, maps.background, scale, not self.complex_output)

    def _turned_back(self, first: Any, last: Any, n: int, maps: PlacedFields) -> np.ndarray:
        """Return what turns `n` vectors between two anchors back to the phase of the fit: complex64 (n,)."""
        expected = max(3 * self.record.relative_error, _LAGGED * self.lag)
        before, after = (_checked_turn(each, maps, expected) for each in (first, last))
        moved = (after - before + np.pi) % (2 * np.pi) - np.pi
        if abs(moved) > _MOST_TURN:
            raise RuntimeError(
                f"The reference turned by {moved:.2f} rad while {n} vectors were shown: it drifts faster than they can "
                "be measured."
            )
        turns = before + moved * np.arange(1, n + 1) / (n + 1)
        return elementary.phasors(-turns, np.complex64)

    def rehearsed(self, frames: Any) -> Holography:
        """Return the method for a fit whose anchor gave the frames of the first pattern, and gives them again last."""
        frames[-self.steps :] = first = frames[: self.steps]
        pixels = burst_pixels(arrays.of(frames), self.record, self.n_pixels)
        anchor = fields_of(self.record, first, pixels, None)[0]
        return replace(self, fields=replace(self.fields, anchor=anchor))


class Holographic(LinearMode):
    """Against the reference arm, by the calibration of the region."""

    name = "holographic"
    what = "holographic"
    needs_reference = True
    calibrated = True
    gives_fields = True
    auto = True
    order = 10

    def prepare(
        self, fit: Fit, device: OpuDevice, settings: FrameSettings, n_out: int, place: arrays.Arrays, *,
        complex_output: bool,
    ) -> tuple[Holography, FrameSettings]:  # fmt: skip
        """Return the method with the calibration of the region, which is found or made, and settings with its times."""
        record = device.linear_records.get(settings.bench_roi)
        if record is None:
            at_hand = device.linear_records
            with device.measuring:  # one thread calibrates, the others wait for it
                record = at_hand.get(settings.bench_roi)
                if record is None:
                    record = _calibrated(device, settings, n_out)
        return holography_of(fit, device, settings, record, n_out, place, complex_output=complex_output)

    def planned(
        self, fit: Fit, device: OpuDevice, settings: FrameSettings, n_out: int, steps: int
    ) -> tuple[Holography, FrameSettings]:
        """Return a method whose calibration stands for a measured one, of the device's own exposure.

        The reference is as bright as a calibrated exposure has it, and even over the pixels.
        """
        from opusim.calibration.algorithms.phase_shifting import equal_steps
        from opusim.calibration.procedures.linear import LinearRecord

        n, phases, full_scale = n_measured(n_out, settings.n_pixels), equal_steps(steps), float(device.full_scale_dn)
        # A camera that does not round has no full scale; any level will do.
        level = full_scale / 4 if np.isfinite(full_scale) else _LEVEL_DN
        record = LinearRecord(
            exposure_s=settings.exposure_s, asked_rad=phases, actual_rad=phases, jitter_rad=0.0,
            roi=np.array(settings.bench_roi), dark_dn=np.zeros(n, np.float32),
            reference_dn=np.full(n, level, np.float32), valid=np.ones(n, dtype=bool),
            full_scale_dn=full_scale, clipped_share=0.0, modulation=1.0, modulation_map=np.ones(n, np.float32),
            coherence=1.0, relative_error=0.1, drift_rad_per_minute=0.0, elapsed_s=0.0,
        )  # fmt: skip
        nothing = np.zeros(n, np.complex64)
        fields, traits = FitFields(nothing, nothing, 1.0), fit.traits
        method = Holography(record, fields, traits.n_features_total, n_out, n, values=traits.values)
        # With the calibration's times, frames follow each other as fast as they can.
        return method, device.fastest(settings, settings.exposure_s, stepped=True)


def _calibrated(device: OpuDevice, settings: FrameSettings, n_out: int) -> LinearRecord:
    """Return the calibration of a region, found or made; a medium that is not known for all of it is told."""
    roi = settings.bench_roi
    try:
        return calibrations.find_record(device.bench, roi, device.linear_records, name=device.name)
    except ValueError as error:
        # Within outputs of its own a region has no pixel without one.
        if input_layout_of(device.bench) is None or output_roi_of(device.bench) is not None:
            raise
        fewer = (roi[2] - 1) * roi[3] if roi[3] == device.output_shape_max[0] else 0
        raise ValueError(
            f"{error} linear_transform calibrates every pixel of the region in which the {n_out} components lie, "
            f"{settings.n_pixels} in {roi[2]} rows of {roi[3]}"
            + (f": {fewer} components lie in one row less." if fewer else ": give fewer components.")
        ) from error


def holography_of(
    fit: Fit,
    device: OpuDevice,
    settings: FrameSettings,
    record: LinearRecord,
    n_out: int,
    place: arrays.Arrays = arrays.NUMPY,
    *,
    complex_output: bool = False,
) -> tuple[Holography, FrameSettings]:
    """Return the method for a fit, whose own fields are measured once and kept, and the settings that it needs.

    Parameters
    ----------
    fit : Fit
        How vectors are shown.
    device : OpuDevice
        What shows them.
    settings : FrameSettings
        Region and times.
    record : LinearRecord
        The calibration of the region.
    n_out : int
        Pixels to return.
    place : Arrays
        Where the light is computed.
    complex_output : bool
        Whether results are complex fields, rather than real numbers of a real matrix.

    Returns
    -------
    Holography
        The method.
    FrameSettings
        The region with the calibration's exposure, and frames as fast as that allows.

    Raises
    ------
    NotReadyError
        If the features send no light to the camera.
    """
    of = record, n_out, settings.output_roi
    kept = fit.measured.get("holography")
    # Another thread may measure meanwhile: what is used is a local.
    if not _is_of(kept, of):
        with device.measuring:  # one thread measures, the others wait for it
            kept = fit.measured.get("holography")
            if not _is_of(kept, of):
                timed = device.fastest(settings, record.exposure_s, stepped=True)
                kept = of, timed, measure_fit(fit, device, timed, record, n_out, place)
                fit.measured["holography"] = kept
    assert kept is not None
    _, timed, fields = kept
    n_pixels = n_measured(n_out, settings.n_pixels)
    lag = tell_lag(device, "has an error of about as much, as the steps of one vector mix with those of the last one")
    traits = fit.traits
    method = Holography(record, fields, traits.n_features_total, n_out, n_pixels, complex_output, lag, traits.values)
    return method, timed


def _is_of(kept: Any, of: tuple[Any, ...]) -> bool:
    """Whether what is kept for a fit was measured by this calibration, for these outputs and this region."""
    return kept is not None and kept[0][0] is of[0] and kept[0][1:] == of[1:]


def measure_fit(
    fit: Fit,
    device: OpuDevice,
    exposure: FrameSettings,
    record: LinearRecord,
    n_out: int,
    place: arrays.Arrays = arrays.NUMPY,
) -> FitFields:
    """Measure the fields of a fit's own patterns, with the library and on the device that vectors come from."""
    values = fit.traits.values
    probes, shown = probes_on(place, values, fit.traits.n_features_total)
    n_pixels = n_measured(n_out, exposure.n_pixels)
    repeats = fit_repeats(record.n_steps, n_pixels)
    pixels = burst_pixels(place, record, n_pixels)
    means = []
    for pattern in shown:
        patterns = values.patterns(place.xp.tile(pattern, (repeats, 1)), fit.layout)
        frames = device.project(patterns, n_pixels, settings=exposure, reference_phase_rad=record.asked_rad)
        fields = fields_of(record, frames, pixels, device.threads)
        if lags_of(device.bench):  # the first burst finds a flushed camera, the others what one of their own left
            fields = fields[1:]
        means.append(place.to_host(fields.mean(axis=0)))
    background, use = probes.background(means), record.valid[:n_pixels]
    lit = sum(np.mean(elementary.square_modulus((means[k] - background)[use])) for k in probes.lit)
    if not lit > 0:
        raise NotReadyError("The features of this fit send no light to the camera: there is nothing to scale by.")
    return FitFields(means[1], background, float(np.sqrt(lit / probes.entries)))


def fields_of(record: LinearRecord, frames: Any, pixels: BurstPixels, threads: int | None) -> Any:
    """Return the fields of bursts, complex64 (n, n_pixels), where the frames are: as the calibration does it."""
    if not isinstance(frames, np.ndarray):
        return fields_of_bursts(frames, pixels)
    if frames.dtype not in (np.uint8, np.uint16):
        from opusim.calibration.procedures.linear import demodulate

        return demodulate(record, frames, threads=threads)
    return fields_of_counts(
        frames, pixels.phases_rad, pixels.amplitude, pixels.dark_dn, pixels.full_scale_dn, pixels.coherence, threads
    )


def _checked_turn(measured: Any, maps: PlacedFields, expected: float) -> float:
    """Return the phase by which the anchor has turned; an error if it is not the anchor any more.

    Two fields of one power with the correlation c differ by sqrt(2 (1 - c)) of their rms.
    """
    xp = arrays.of(measured).xp
    a, b = measured[maps.valid], maps.anchor[maps.valid]
    # No BLAS: the last bits of its sum, and with it of the result, depend on the number of threads.
    products = elementary.multiply(a, b.conj()) if isinstance(a, np.ndarray) else xp.conj(b) * a
    overlap = complex(xp.sum(products, dtype=xp.complex128))
    likeness = abs(overlap) / max(float(xp.linalg.vector_norm(a) * xp.linalg.vector_norm(b)), 1e-30)
    change = float(np.sqrt(2 * max(0.0, 1 - likeness)))
    if change > _LOST:
        raise RuntimeError(
            f"The field of the anchor pattern has changed by {100 * change:.0f} % since it was measured: the "
            "reference is lost, or the medium is another. Call calibrate() and fit again."
        )
    if change > max(_DOUBTFUL, expected):
        warn_outside(
            f"The field of the anchor pattern has changed by {100 * change:.0f} % since it was measured, and so has "
            "the matrix of linear_transform. Fit again, and if that does not help call calibrate()."
        )
    return float(elementary.angle(overlap))
