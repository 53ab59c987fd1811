"""The linear transform by phase-shifting holography: the field itself, against the device's reference arm.

Each vector is shown once under each phase step, and its field S follows from the frames (`opusim.calibration.linear`).
The mirrors that are always on, and the light of those that are off, add a background S(0), which is measured once for
a fit and taken off. The phase of the reference drifts: every block begins and ends with an anchor pattern of the fit,
whose fields say by how much the vectors between are turned, and whether the anchor is still what it was.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.calibration import linear
from opusim.layout import MirrorPatterns

from .context import ContextArray
from .errors import NotReadyError, warn_outside
from .lazy import LazyInput
from .lazy_jobs import BenchRecipe, HolographicJob, Passes
from .linear_reconstruction import anchor as anchor_bits
from .runner import Fit, ProgressBar, acquiring_batch, check_linear, context_of

if TYPE_CHECKING:
    from .acquisition import Exposure
    from .device import OpuDevice
    from .user_input import UserInput

_BLOCK = 64
_BLOCK_BYTES = 256 << 20
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


def n_measured(n_out: int, exposure: Exposure) -> int:
    """Return how many pixels to read for `n_out` outputs."""
    width, height = exposure.output_roi[1]
    return max(n_out, min(width * height, _PIXELS))


def measure_fit(fit: Fit, device: OpuDevice, exposure: Exposure, record: linear.LinearRecord, n_out: int) -> FitFields:
    """Measure the fields of a fit's own patterns."""
    n_features = fit.traits.n_features_s
    r = anchor_bits(n_features)
    n_pixels = n_measured(n_out, exposure)
    repeats = max(4, min(_REPEATS, _BLOCK_BYTES // (12 * record.n_steps * n_pixels)))
    means = []
    for pattern in (np.zeros_like(r), r, 1 - r):
        patterns = MirrorPatterns(np.tile(pattern, (repeats, 1)), fit.layout)
        means.append(_fields(device, exposure, record, patterns, n_pixels).mean(axis=0))
    background, first, second = means
    use = record.valid[:n_pixels]
    lit = np.mean(np.abs(first - background)[use] ** 2 + np.abs(second - background)[use] ** 2)
    if not lit > 0:
        raise NotReadyError("The features of this fit send no light to the camera: there is nothing to scale by.")
    # r and its complement have each feature on once: together n entries.
    return FitFields(first, background, float(np.sqrt(lit / n_features)))


def _fields(
    device: OpuDevice, exposure: Exposure, record: linear.LinearRecord, patterns: MirrorPatterns, n_pixels: int
) -> np.ndarray:
    frames = device.project(patterns, n_pixels, settings=exposure, reference_phase_rad=record.asked_rad)
    return linear.demodulate(record, frames)


def run(
    fit: Fit,
    data: UserInput,
    device: OpuDevice,
    exposure: Exposure,
    n_out: int,
    *,
    record: linear.LinearRecord,
    fields: FitFields,
    complex_output: bool,
    progress: bool,
) -> ContextArray:
    """Show vectors under each phase step and return R x.

    Parameters
    ----------
    fit, data, device, n_out, progress : object
        As for `runner.run`.
    exposure : Exposure
        Region, and the calibration's times.
    record : LinearRecord
        The calibration of the region.
    fields : FitFields
        Of this fit.
    complex_output : bool
        Whether to return the field, entries of variance 1, or sqrt(2) times its real part.

    Returns
    -------
    ContextArray
        complex64 or float32, (*batch_shape, n_out).

    Raises
    ------
    NotReadyError
        If the device is closed or in online mode.
    RuntimeError
        If the input is packed, or the phase of the reference was lost.
    """
    check_linear(fit, data, device)
    start = dt.datetime.now()
    n, n_pixels = data.n_samples, n_measured(n_out, exposure)
    step = max(1, min(_BLOCK, _BLOCK_BYTES // (12 * record.n_steps * n_pixels)))
    dtype = np.dtype(np.complex64 if complex_output else np.float32)
    if isinstance(data, LazyInput):
        recipe = BenchRecipe.of(device.bench)
        passes = Passes.reserve(device.bench, exposure, n, step, lambda count: (count + 2) * record.n_steps)
        job = HolographicJob(
            recipe, fit, data.array.shape, exposure, n_out, passes, record, fields, complex_output
        )  # fmt: skip
        return data.shown(job, dtype, n_out * dtype.itemsize, align=step)
    result = np.empty((n, n_out), dtype=dtype)
    with acquiring_batch(device, (min(n, step) + 2) * record.n_steps), ProgressBar(n, progress) as bar:
        for first in range(0, n, step):
            bits = data.bits(first, min(n, first + step), fit.bitorder)
            block = show_block(
                bits, fit, device, exposure, n_out, record=record, fields=fields, complex_output=complex_output
            )
            result[first : first + len(block)] = block
            bar.reach(first + len(block))
    return ContextArray(data.shape_output(result), context_of(fit, exposure, start))


def show_block(
    bits: np.ndarray,
    fit: Fit,
    device: Any,
    exposure: Exposure,
    n_out: int,
    *,
    record: linear.LinearRecord,
    fields: FitFields,
    complex_output: bool,
) -> np.ndarray:
    """Show the vectors of one block between two anchors and return R x; parameters as for `run`.

    Parameters
    ----------
    bits : ndarray of uint8, shape (n, n_features)
        0 or 1.

    Returns
    -------
    ndarray of complex64 or float32, shape (n, n_out)
    """
    n, n_pixels = len(bits), n_measured(n_out, exposure)
    anchor = anchor_bits(fit.traits.n_features_s)[None]
    patterns = MirrorPatterns(np.concatenate([anchor, bits, anchor]), fit.layout)
    measured = _fields(device, exposure, record, patterns, n_pixels)
    use, origin = record.valid[:n_pixels], fields.anchor[:n_pixels]
    before, after = (_checked_turn(measured[i], origin, use, record.relative_error) for i in (0, -1))
    moved = (after - before + np.pi) % (2 * np.pi) - np.pi
    if abs(moved) > _MOST_TURN:
        raise RuntimeError(
            f"The reference turned by {moved:.2f} rad while {n} vectors were shown: it drifts faster than they can be "
            "measured."
        )
    turns = before + moved * np.arange(1, n + 1) / (n + 1)
    turned = measured[1:-1, :n_out] * np.exp(-1j * turns)[:, None].astype(np.complex64)
    block = (turned - fields.background[:n_out]) * np.float32(1 / fields.scale)
    return block if complex_output else np.float32(np.sqrt(2)) * block.real


def _checked_turn(measured: np.ndarray, origin: np.ndarray, use: np.ndarray, noise: float) -> float:
    """Return the phase by which the anchor has turned; an error if it is not the anchor any more.

    Two fields of one power with the correlation c differ by sqrt(2 (1 - c)) of their rms.
    """
    a, b = measured[use], origin[use]
    # No BLAS: the last bits of its sum, and with it of the result, depend on the number of threads.
    overlap = complex((np.conj(b) * a).sum(dtype=np.complex128))
    likeness = abs(overlap) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30)
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
