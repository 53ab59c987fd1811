"""The linear transform by phase-shifting holography: the field itself, against the device's reference arm.

Each vector is shown once under each phase step, and its field S follows from the frames
(`opusim.calibration.procedures.linear`). The mirrors that are always on, and the light of those that are off, add a
background S(0), which is measured once for a fit and taken off.
The phase of the reference drifts: every block begins and ends with an anchor pattern of the fit,
whose fields say by how much the vectors between are turned, and whether the anchor is still what it was.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import arrays
from opusim.base.errors import NotReadyError, warn_outside
from opusim.bench.protocol import threads_of
from opusim.calibration.procedures import linear
from opusim.drivers.inputs.dask import LazyInput
from opusim.drivers.runner import Fit, ProgressBar, acquiring_batch, check_linear, check_result, context_of
from opusim.fringes.demodulation import BurstPixels, fields_of_bursts
from opusim.patterns.layout import MirrorPatterns

from .base import BenchRecipe, Job, Passes
from .intensity import anchor_on

if TYPE_CHECKING:
    from opusim.drivers.inputs.traits import UserInput
    from opusim.drivers.lowlevel.device import OpuDevice
    from opusim.drivers.lowlevel.settings_of_frame import FrameSettings

_BLOCK = 64
# Frames, fields and results of a block; two million pixels leave room for twelve vectors between two anchors.
_BLOCK_BYTES = 384 << 20
_FIT_BYTES = 256 << 20
# Bursts from which the fields of a fit are averaged: their noise is below that of a vector by the root of it.
_REPEATS = 32
# Pixels that are read at least, where the region has them: the anchor's phase and the scale are means over pixels.
_PIXELS = 4000
# Change of the anchor's field, over its rms, from which the result is in doubt, and from which it means nothing.
_DOUBTFUL, _LOST = 0.1, 0.7
# Turn of the reference within a block, in radians, up to which it may be taken as even.
_MOST_TURN = 0.3


@dataclass(frozen=True)
class FitFields:
    """Fields of the patterns that belong to a fit.

    Attributes
    ----------
    anchor : ndarray of complex64, shape (n_pixels,)
        Field of the anchor pattern, in roots of grey levels; its phase is the origin.
    background : ndarray of complex64, shape (n_pixels,)
        Field with every feature off.
    scale : float
        Root mean square of an entry of the matrix, in the same unit.
    """

    anchor: np.ndarray
    background: np.ndarray
    scale: float
    _placed: dict[arrays.Arrays, tuple[Any, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def on(self, place: arrays.Arrays, record: linear.LinearRecord, n_pixels: int) -> PlacedFields:
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
    pixels : BurstPixels or None
        For `fields_of_bursts`; None for numpy.
    """

    anchor: Any
    background: Any
    valid: Any
    pixels: BurstPixels | None


def burst_pixels(place: arrays.Arrays, record: linear.LinearRecord, n_pixels: int) -> BurstPixels | None:
    """Return what demodulation on a device needs of a calibration; None for numpy, which takes the record itself."""
    if place == arrays.NUMPY:
        return None
    return BurstPixels(
        record.actual_rad, place.from_host(linear.reference_amplitude(record, n_pixels)),
        place.from_host(record.dark_dn[:n_pixels]), float(record.full_scale_dn), record.coherence,
    )  # fmt: skip


def n_measured(n_out: int, exposure: FrameSettings) -> int:
    """Return how many pixels to read for `n_out` outputs."""
    width, height = exposure.output_roi[1]
    return max(n_out, min(width * height, _PIXELS))


def block_size(n_steps: int, n_pixels: int) -> int:
    """Return how many vectors are shown between two anchors."""
    return max(1, min(_BLOCK, _BLOCK_BYTES // ((12 + n_steps) * n_pixels)))


def fit_repeats(n_steps: int, n_pixels: int) -> int:
    """Return how often each of the three patterns of a fit is shown."""
    return max(4, min(_REPEATS, _FIT_BYTES // (12 * n_steps * n_pixels)))


def measure_fit(
    fit: Fit,
    device: OpuDevice,
    exposure: FrameSettings,
    record: linear.LinearRecord,
    n_out: int,
    place: arrays.Arrays = arrays.NUMPY,
) -> FitFields:
    """Measure the fields of a fit's own patterns, with the library and on the device that vectors come from."""
    n_features = fit.traits.n_features_s
    r = anchor_on(place, n_features)
    n_pixels = n_measured(n_out, exposure)
    repeats = fit_repeats(record.n_steps, n_pixels)
    pixels = burst_pixels(place, record, n_pixels)
    means = []
    for pattern in (place.xp.zeros_like(r), r, 1 - r):
        patterns = MirrorPatterns(place.xp.tile(pattern, (repeats, 1)), fit.layout)
        fields = _fields(device, exposure, record, patterns, n_pixels, pixels)
        means.append(place.to_host(fields.mean(axis=0)))
    background, first, second = means
    use = record.valid[:n_pixels]
    lit = np.mean(np.abs(first - background)[use] ** 2 + np.abs(second - background)[use] ** 2)
    if not lit > 0:
        raise NotReadyError("The features of this fit send no light to the camera: there is nothing to scale by.")
    # r and its complement have each feature on once: together n entries.
    return FitFields(first, background, float(np.sqrt(lit / n_features)))


def _fields(
    device: OpuDevice,
    exposure: FrameSettings,
    record: linear.LinearRecord,
    patterns: MirrorPatterns,
    n_pixels: int,
    pixels: BurstPixels | None,
) -> Any:
    """Show patterns under each phase step; fields (n, n_pixels), complex64, where the frames come to be."""
    frames = device.project(patterns, n_pixels, settings=exposure, reference_phase_rad=record.asked_rad)
    if pixels is not None:
        return fields_of_bursts(frames, pixels)
    return linear.demodulate(record, frames, threads=threads_of(device.bench))


def run(
    fit: Fit,
    data: UserInput,
    device: OpuDevice,
    exposure: FrameSettings,
    n_out: int,
    *,
    record: linear.LinearRecord,
    fields: FitFields,
    complex_output: bool,
    progress: bool,
) -> Any:
    """Show vectors under each phase step and return R x.

    Parameters
    ----------
    fit, data, device, n_out, progress : object
        As for `runner.run`.
    exposure : FrameSettings
        Region, and the calibration's times.
    record : LinearRecord
        The calibration of the region.
    fields : FitFields
        Of this fit.
    complex_output : bool
        Whether to return the field, entries of variance 1, or sqrt(2) times its real part.

    Returns
    -------
    ContextArray, or an array of the input's device
        complex64 or float32, (*batch_shape, n_out).

    Raises
    ------
    NotReadyError
        If the device is closed or in online mode.
    RuntimeError
        If the input is packed, or the phase of the reference was lost.
    MemoryError
        If the results do not fit the memory that is free.
    """
    check_linear(fit, data, device)
    start = dt.datetime.now()
    n, n_pixels = data.n_samples, n_measured(n_out, exposure)
    step = block_size(record.n_steps, n_pixels)
    dtype = np.dtype(np.complex64 if complex_output else np.float32)
    if isinstance(data, LazyInput):
        recipe = BenchRecipe.of(device.bench)
        passes = Passes.reserve(device.bench, exposure, n, step, lambda count: (count + 2) * record.n_steps)
        job = HolographicJob(
            recipe, fit, data.array.shape, exposure, n_out, passes, record, fields, complex_output
        )  # fmt: skip
        return data.shown(job, dtype, n_out * dtype.itemsize, align=step)
    check_result(data, n_out, dtype)
    result = data.empty((n, n_out), dtype)
    with acquiring_batch(device, (min(n, step) + 2) * record.n_steps), ProgressBar(n, progress) as bar:
        for first in range(0, n, step):
            bits = data.placed(data.bits(first, min(n, first + step), fit.bitorder))
            block = show_block(
                bits, fit, device, exposure, n_out, record=record, fields=fields, complex_output=complex_output
            )
            result[first : first + len(block)] = data.fetched(block)
            bar.reach(first + len(block))
    return data.finished(result, context_of(fit, exposure, start))


def show_block(
    bits: Any,
    fit: Fit,
    device: Any,
    exposure: FrameSettings,
    n_out: int,
    *,
    record: linear.LinearRecord,
    fields: FitFields,
    complex_output: bool,
) -> Any:
    """Show the vectors of one block between two anchors and return R x; parameters as for `run`.

    Parameters
    ----------
    bits : array of uint8, shape (n, n_features)
        0 or 1; its library and device are those of the result.

    Returns
    -------
    array of complex64 or float32, shape (n, n_out)
    """
    place = arrays.of(bits)
    n, n_pixels = len(bits), n_measured(n_out, exposure)
    anchor = anchor_on(place, fit.traits.n_features_s)[None]
    patterns = MirrorPatterns(place.xp.concat([anchor, bits, anchor]), fit.layout)
    maps = fields.on(place, record, n_pixels)
    measured = _fields(device, exposure, record, patterns, n_pixels, maps.pixels)
    before, after = (_checked_turn(measured[i], maps, record.relative_error) for i in (0, -1))
    moved = (after - before + np.pi) % (2 * np.pi) - np.pi
    if abs(moved) > _MOST_TURN:
        raise RuntimeError(
            f"The reference turned by {moved:.2f} rad while {n} vectors were shown: it drifts faster than they can be "
            "measured."
        )
    turns = before + moved * np.arange(1, n + 1) / (n + 1)
    block = measured[1:-1, :n_out]
    block *= place.from_host(np.exp(-1j * turns)[:, None].astype(np.complex64))
    block -= maps.background[:n_out]
    block *= float(np.float32(1 / fields.scale))
    return block if complex_output else float(np.float32(np.sqrt(2))) * block.real


def _checked_turn(measured: Any, maps: PlacedFields, noise: float) -> float:
    """Return the phase by which the anchor has turned; an error if it is not the anchor any more.

    Two fields of one power with the correlation c differ by sqrt(2 (1 - c)) of their rms.
    """
    xp = arrays.of(measured).xp
    a, b = measured[maps.valid], maps.anchor[maps.valid]
    # No BLAS: the last bits of its sum, and with it of the result, depend on the number of threads.
    overlap = complex(xp.sum(xp.conj(b) * a, dtype=xp.complex128))
    likeness = abs(overlap) / max(float(xp.linalg.vector_norm(a) * xp.linalg.vector_norm(b)), 1e-30)
    change = float(np.sqrt(2 * max(0.0, 1 - likeness)))
    if change > _LOST:
        raise RuntimeError(
            f"The field of the anchor pattern has changed by {100 * change:.0f} % since it was measured: the "
            "reference is lost, or the medium is another. Call calibrate() and fit again."
        )
    if change > max(_DOUBTFUL, 3 * noise):
        warn_outside(
            f"The field of the anchor pattern has changed by {100 * change:.0f} % since it was measured, and so has "
            "the matrix of linear_transform. Fit again, and if that does not help call calibrate()."
        )
    return float(np.angle(overlap))


@dataclass(frozen=True)
class HolographicJob(Job):
    """The linear transform by holography: blocks of vectors between anchors. Parts must hold whole blocks.

    Attributes
    ----------
    record : LinearRecord
        The calibration of the region.
    fields : FitFields
        Of this fit.
    complex_output : bool
        Whether to return the field.
    """

    record: linear.LinearRecord
    fields: FitFields
    complex_output: bool

    def _show(self, bits: np.ndarray, first: int, shared: Any) -> np.ndarray:
        dtype = np.complex64 if self.complex_output else np.float32
        result = np.empty((len(bits), self.n_out), dtype=dtype)
        place = arrays.choose(self.recipe.backend)
        for rows, _, frames in self.passes.parts(first, first + len(bits)):
            block = show_block(
                place.from_host(bits[rows]), self.fit, self._in(frames), self.exposure, self.n_out,
                record=self.record, fields=self.fields, complex_output=self.complex_output,
            )  # fmt: skip
            result[rows] = place.to_host(block)
        return result
