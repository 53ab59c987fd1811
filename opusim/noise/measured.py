"""The error of an output, measured: each source switched off alone on a bench of the real stages."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from opusim.base import rng, validation
from opusim.bench.bench import OpticalBench
from opusim.bench.inputs import input_layout
from opusim.device.record import Device
from opusim.device.slm import PhaseSlm
from opusim.fringes.calibrated import (
    DARK_FRAMES,
    LEAST_REFERENCE,
    REFERENCE_FRAMES,
    light_of_reference,
    reference_bursts,
)
from opusim.fringes.demodulation import field_of_clipped, least_squares_row, offset_row
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.phases import PhasePatterns

from .budget import ErrorBudget, bounded
from .light import BACKGROUND_BURSTS, field_coherence, step_phases_rad, vibration_contrast
from .point import WorkingPoint
from .sources import sources_of, without
from .working_point import checked_point

__all__ = ["measured_error_budget"]

# Features of the patterns: the number of these that lets the share that is on be met best.
_FEATURES = range(40, 81)
# Bytes of the frames that are looked at together.
_BLOCK_BYTES = 16 << 20
# Patterns whose planes show what averaging over the pixel does.
_PLANES = 24
# Patterns from which the driver learns which pixels are saturated too often.
_CLIPPED_PATTERNS = 24
# Parts of the vectors, and of the pixels, of which each is left out once for the uncertainty.
_GROUPS = 8


def measured_error_budget(
    device: Device,
    mode: str = "intensity",
    *,
    n_vectors: int = 1000,
    sources: Collection[str] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **circumstances: Any,
) -> ErrorBudget:
    """Switch each source off alone and see by how much the error of outputs falls.

    Parameters
    ----------
    device : Device, str or Path
        The device, a preset's name, or the path of a TOML file.
    mode : {"intensity", "linear"}
        What an output is, see `opusim.noise.working_point.working_point`.
    n_vectors : int, optional
        Random patterns to show, at least 2. Noise that a whole frame shares (laser power, phase of the reference) is
        known to sqrt(2 / n_vectors) of its variance, a fixed pattern to sqrt(2 / number of pixels).
    sources : collection of str, optional
        Which sources to switch off, each alone; all by default. Shares are those in the sum of these.
    seed : int, optional
        Of device and patterns.
    progress : callable, optional
        Told (done, total) runs.
    **circumstances
        As for `opusim.noise.working_point.working_point`; `roi` says which pixels are read, and how many.

    Returns
    -------
    ErrorBudget
        The parts, and how sure they are.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, or no pixel of the region is fit for the linear mode.

    Warns
    -----
    UserWarning
        If the error is above 10, where it means no more than that nothing is left; if the parts are far from adding up
        to the whole; or if a part that counts is smaller than its uncertainty.

    Notes
    -----
    All runs show the same patterns and have the same seed and frame numbers, hence the same noise of the sources that
    are on: what differs is the source. The target of all is the run without any.

    In linear mode pixels are left out that the driver calls not valid with every source on: those whose ``|R|^2`` was
    found to be below a twentieth of its mean, and those where half of the bursts or more have a saturated frame. In the
    other runs ``|R|^2`` is taken as a twentieth of its mean where it is below, as the driver does. Far from the
    exposure that the driver's calibration finds, few pixels are left, or none.

    Uncertainties are those of a jackknife over eighths of the vectors or over eighths of the pixels, the larger of
    both. What happens to one pixel or one vector in thousands they cannot know.
    """
    point = checked_point(device, mode, circumstances)
    n_vectors = validation.integer("n_vectors", n_vectors, low=2)
    if isinstance(sources, str):
        raise TypeError(f"sources is the text {sources!r}, but it must be a list of names, as [{sources!r}].")
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is {progress!r}, but it must be a function of (done, total), or None.")
    every = sources_of(point)
    wanted = [validation.choice("source", name, every) for name in (every if sources is None else sources)]
    wanted.sort(key=every.index)
    patterns = _patterns(point, n_vectors, seed)
    switched = [name for name in wanted if name != "pixel integration"]
    all_off = tuple(name for name in every if name != "pixel integration")
    use = np.ones(point.roi[2] * point.roi[3], dtype=bool)
    if point.mode == "linear":
        use = _valid(point, patterns, seed)

    def outputs(off: Collection[str]) -> np.ndarray:
        run = _linear if point.mode == "linear" else _intensity
        return run(point, off, patterns, seed)[:, use]

    target = outputs(all_off)
    runs: list[tuple[str, ...]] = [(), *((name,) for name in switched)]
    found: list[_Errors] = []
    for i, off in enumerate(runs):
        found.append(_errors(outputs(off), target))
        if progress is not None:
            progress(i + 2, len(runs) + 1)
    whole, parts = found[0], dict(zip(switched, found[1:], strict=True))
    averaging = _averaging(point, patterns, seed)
    errors = {
        name: averaging.whole if name == "pixel integration" else whole.whole - parts[name].whole for name in wanted
    }
    unsure = {
        name: _spread(averaging) if name == "pixel integration" else _spread(whole, parts[name]) for name in wanted
    }
    budget = ErrorBudget(point, errors, whole.whole + averaging.whole, measured=True, uncertainty=unsure)
    for note in budget.notes:
        if sources is None or not note.startswith("The measured parts add up"):
            warnings.warn(note, stacklevel=2)
    return budget


def _patterns(point: WorkingPoint, n: int, seed: int) -> MirrorPatterns:
    """Random patterns with the same number of features on; of all inputs, where the medium has its own."""
    share, layout = point.share_on, input_layout(point.device)
    choices = _FEATURES if layout is None else range(layout.n_features_total, layout.n_features_total + 1)
    n_features = min(choices, key=lambda many: abs(round(share * many) / many - share))
    n_on = round(share * n_features)
    if not n_on:
        raise ValueError(f"share_on is {share!r}, but patterns are made for at least {0.5 / choices[-1]:.2g}.")
    if layout is None:
        layout = MirrorLayout.lined(point.device.dmd.shape, n_features)
    draws = rng.uniforms(rng.stream_key(seed, "noise budget patterns"), n * n_features).reshape(n, -1)
    modulator = point.device.modulator
    if isinstance(modulator, PhaseSlm):
        return PhasePatterns((draws * modulator.levels).astype(np.uint8), layout)
    return MirrorPatterns((draws.argsort(axis=1) < n_on).astype(np.uint8), layout)


def _read(frames: np.ndarray, point: WorkingPoint, off: Collection[str]) -> np.ndarray:
    """Do what is left to the reader where only one of rounding and the ends of the scale is off."""
    camera = point.device.camera
    if not camera.quantise or {"quantisation", "saturation"} <= set(off):
        return frames
    if "quantisation" in off:
        return np.clip(frames, 0, camera.full_scale_dn)
    return np.rint(frames) if "saturation" in off else frames


def _blocks(patterns: MirrorPatterns, bytes_each: int) -> Iterator[tuple[slice, MirrorPatterns]]:
    step = max(1, _BLOCK_BYTES // bytes_each)
    for start in range(0, len(patterns), step):
        part = slice(start, min(len(patterns), start + step))
        yield part, patterns[part]


def _let_pass(bench: OpticalBench, elapsed_s: float) -> None:
    """Let one frame and some time pass, which may be more than that of a frame."""
    bench.advance_to(bench.clock.frames + 1, bench.clock.elapsed_s + elapsed_s)


def _intensity(point: WorkingPoint, off: Collection[str], patterns: MirrorPatterns, seed: int) -> np.ndarray:
    """Return counts (n, n_pixels) some time after the start."""
    bench = OpticalBench(without(point.device, off), seed)
    _let_pass(bench, point.elapsed_s)
    n_pixels = point.roi[2] * point.roi[3]
    result = np.empty((len(patterns), n_pixels), dtype=np.float32)
    for part, shown in _blocks(patterns, 4 * n_pixels):
        frames = bench.transform(
            shown, exposure_s=point.exposure_s, roi=point.roi, n_pixels=n_pixels, frametime_s=point.frametime_s
        )
        result[part] = _read(frames, point, off)
    return result


def _valid(point: WorkingPoint, patterns: MirrorPatterns, seed: int) -> np.ndarray:
    """Return which pixels (n_pixels,) the driver would call valid, with every source on."""
    bench = OpticalBench(point.device, seed)
    n_pixels, full_scale_dn = point.roi[2] * point.roi[3], point.full_scale_dn
    times: dict[str, Any] = {"exposure_s": point.exposure_s, "roi": point.roi, "frametime_s": point.frametime_s}
    dark_dn = bench.expose(None, n_frames=DARK_FRAMES, **times).reshape(-1, n_pixels).mean(axis=0, dtype=np.float64)
    all_off = MirrorPatterns(np.zeros((1, patterns.bits.shape[1]), dtype=np.uint8), patterns.layout)

    def show(phases: np.ndarray) -> np.ndarray:
        return bench.transform(all_off, n_pixels=n_pixels, reference_phase_rad=phases, **times)

    reference_dn = _reference_dn(show, point, dark_dn)
    _let_pass(bench, point.elapsed_s)
    asked = step_phases_rad(point)[0]
    clipped = np.zeros(n_pixels)
    shown = patterns[: min(len(patterns), _CLIPPED_PATTERNS)]
    for _, some in _blocks(shown, 12 * point.n_steps * n_pixels):
        bursts = bench.transform(some, n_pixels=n_pixels, reference_phase_rad=asked, **times)
        clipped += (bursts.reshape(len(some), -1, n_pixels) >= full_scale_dn).any(axis=1).sum(axis=0)
    bright = reference_dn >= LEAST_REFERENCE * max(float(reference_dn.mean()), 1e-30)
    valid: np.ndarray = bright & (clipped < 0.5 * len(shown))
    if np.count_nonzero(valid) < 2:
        why, must = f"{np.mean(~bright):.0%} have next to no reference", "longer"
        if bright.mean() > 0.5:
            why, must = "half of the bursts or more are saturated in the others", "shorter"
        raise ValueError(
            f"exposure_s is {point.exposure_s:.4g}, but fields cannot be measured with it: less than two pixels of roi "
            f"are fit for it ({why}). It must be {must}."
        )
    return valid


def _reference_dn(show: Callable[[np.ndarray], np.ndarray], point: WorkingPoint, dark_dn: np.ndarray) -> np.ndarray:
    """Return |R|^2 (n_pixels,) as a calibration measures it, by frames with every mirror off under some phases."""
    if not point.demodulated:
        return show(np.zeros(REFERENCE_FRAMES)).mean(axis=0, dtype=np.float64) - dark_dn
    asked, actual = step_phases_rad(point)
    bursts = reference_bursts(point.n_steps)
    frames = show(np.tile(asked, bursts))
    mean = frames.reshape(bursts, point.n_steps, -1).mean(axis=0, dtype=np.float64)
    return light_of_reference(offset_row(actual) @ mean - dark_dn, np.square(np.abs(least_squares_row(actual) @ mean)))


def _linear(point: WorkingPoint, off: Collection[str], patterns: MirrorPatterns, seed: int) -> np.ndarray:
    """Return fields (n, n_pixels) some time after the start, less the field with every feature off."""
    bench = OpticalBench(without(point.device, off), seed)
    asked, actual = step_phases_rad(point)
    row = least_squares_row(actual).astype(np.complex64)
    n_pixels, steps = point.roi[2] * point.roi[3], point.n_steps
    full_scale_dn = math.inf if "saturation" in off else point.full_scale_dn
    if "quantisation" in off:
        full_scale_dn -= 0.5  # what would be rounded up to it
    coherence = point.device.fringe_coherence * vibration_contrast(point, off)
    coherence *= math.sqrt(field_coherence(point) / point.device.sampling.polarisations)
    times: dict[str, Any] = {"exposure_s": point.exposure_s, "roi": point.roi, "frametime_s": point.frametime_s}

    def show(shown: MirrorPatterns, phases: np.ndarray) -> np.ndarray:
        frames = bench.transform(shown, n_pixels=n_pixels, reference_phase_rad=phases, **times)
        return _read(frames, point, off)

    def fields(shown: MirrorPatterns) -> np.ndarray:
        bursts = show(shown, asked).reshape(len(shown), steps, n_pixels)
        # Offsets drop out, but rounding does not: without them single precision is enough.
        result = np.zeros((len(shown), n_pixels), dtype=np.complex64)
        for k in range(steps):
            result += row[k] * (bursts[:, k] - dark_dn)
        result /= amplitude
        vector, pixel = np.nonzero((bursts >= full_scale_dn).any(axis=1))
        if len(vector):
            counts = bursts[vector, :, pixel].astype(np.float64)
            result[vector, pixel] = field_of_clipped(
                counts - dark_dn[pixel, None], counts >= full_scale_dn, amplitude[pixel], actual, coherence,
                result[vector, pixel],
            )  # fmt: skip
        return result

    dark = _read(bench.expose(None, n_frames=DARK_FRAMES, **times), point, off).reshape(-1, n_pixels)
    dark_dn = dark.mean(axis=0, dtype=np.float64).astype(np.float32)
    all_off = MirrorPatterns(np.zeros((1, patterns.bits.shape[1]), dtype=np.uint8), patterns.layout)
    alone_dn = _reference_dn(lambda phases: show(all_off, phases), point, dark_dn)
    floor_dn = max(LEAST_REFERENCE * float(alone_dn.mean()), 1e-30)
    amplitude = np.sqrt(np.maximum(alone_dn, floor_dn)).astype(np.float32)
    _let_pass(bench, point.elapsed_s)
    repeated = MirrorPatterns(np.repeat(all_off.bits, BACKGROUND_BURSTS, axis=0), patterns.layout)
    background = np.zeros(n_pixels, dtype=np.complex128)
    for _, shown in _blocks(repeated, 12 * steps * n_pixels):
        background += fields(shown).sum(axis=0, dtype=np.complex128) / BACKGROUND_BURSTS
    result = np.empty((len(patterns), n_pixels), dtype=np.complex64)
    for part, shown in _blocks(patterns, 12 * steps * n_pixels):
        result[part] = fields(shown) - background
    return result


def _averaging(point: WorkingPoint, patterns: MirrorPatterns, seed: int) -> _Errors:
    """Error of the noise-free mean intensity of a pixel against the points on it, from the planes of some patterns."""
    # The mean of a field over a pixel is linear in the pattern: it is what a linear output is, and no error of it.
    if not point.device.pixel_over_grain or point.mode == "linear":
        return _Errors(0.0, ())
    bench = OpticalBench(point.device, seed)
    sampling = point.device.sampling
    channels, weights = sampling.channels, sampling.point_weights.astype(np.float32)
    means, points = [], []
    for i in range(min(_PLANES, len(patterns))):
        planes = bench.inspect(patterns[i : i + 1], roi=point.roi)
        field = planes.medium_field.reshape(-1, channels, planes.medium_field.shape[-1] // channels)
        seen = np.square(np.abs(field)).sum(axis=1)
        mean = seen @ weights
        means.append(np.broadcast_to(mean[:, None], seen.shape).reshape(-1))
        points.append(seen.reshape(-1))
    n_pixels = point.roi[2] * point.roi[3]
    return _errors(np.stack(means), np.stack(points), np.tile(sampling.point_weights * sampling.points, n_pixels))


@dataclass(frozen=True)
class _Errors:
    """An error, and what it is without each of some groups: of vectors, of pixels."""

    whole: float
    without: tuple[np.ndarray, ...]


def _errors(outputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> _Errors:
    """1 / |r|^2 - 1 with the correlation r over all outputs (n, n_pixels), with a weight each, in double precision."""
    n, n_pixels = outputs.shape
    wide = np.complex128 if np.iscomplexobj(target) else np.float64
    middle = outputs.mean(dtype=wide), target.mean(dtype=wide)
    rows, columns = min(_GROUPS, n), min(_GROUPS, n_pixels)
    starts = np.arange(columns) * n_pixels // columns
    # Count, both sums, both powers and the product, of each group of vectors and of pixels.
    sums = np.zeros((6, rows, columns), dtype=np.complex128)
    weights = np.ones(n_pixels) if weights is None else weights
    sizes = np.add.reduceat(weights, starts)
    for i, (y, t) in enumerate(zip(outputs, target, strict=True)):
        y, t = y.astype(wide) - middle[0], t.astype(wide) - middle[1]
        products = (y, t, np.square(np.abs(y)), np.square(np.abs(t)), np.conj(t) * y)
        group = i * rows // n
        sums[0, group] += sizes
        for k, product in enumerate(products, 1):
            sums[k, group] += np.add.reduceat(product * weights, starts)
    by_vectors, by_pixels = sums.sum(axis=2), sums.sum(axis=1)
    everything = by_vectors.sum(axis=1)
    left = tuple(
        np.array([_one_error(everything - group) for group in groups.T])
        for groups in (by_vectors, by_pixels)
        if groups.shape[1] > 1
    )
    return _Errors(_one_error(everything), left)


def _one_error(sums: np.ndarray) -> float:
    count, y, t, own, theirs, across = sums / max(sums[0].real, 1)
    own, theirs = own.real - abs(y) ** 2, theirs.real - abs(t) ** 2
    shared = abs(across - np.conj(t) * y) ** 2
    return bounded(own * theirs / shared - 1) if shared > 0 else bounded(math.inf)


def _spread(whole: _Errors, part: _Errors | None = None) -> float:
    """Return the standard error of an error or of a difference of two, by the jackknife: the larger of both."""
    found = [0.0]
    for k, left in enumerate(whole.without):
        each = left if part is None else left - part.without[k]
        found.append(math.sqrt((len(each) - 1) * float(each.var())))
    return max(found)
