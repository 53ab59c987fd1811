"""The error of an output, measured: each source switched off alone on a bench of the real stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from . import rng, validation
from .bench import OpticalBench
from .config import Device
from .demodulation import field_of_clipped, least_squares_row
from .layout import MirrorLayout, MirrorPatterns
from .noise_light import BACKGROUND_BURSTS, DARK_FRAMES, REFERENCE_FRAMES, field_coherence, step_phases_rad
from .noise_sources import ErrorBudget, WorkingPoint, sources_of, without, working_point

__all__ = ["measured_error_budget"]

# Features of the patterns: the number of these that lets the share that is on be met best.
_FEATURES = range(40, 81)
# Bytes of the frames that are looked at together.
_BLOCK_BYTES = 16 << 20
# Patterns whose planes show what averaging over the pixel does.
_PLANES = 24


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
        What an output is, see `noise_sources.working_point`.
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
        As for `noise_sources.working_point`; `roi` says which pixels are read, and how many.

    Returns
    -------
    ErrorBudget

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.

    Notes
    -----
    All runs show the same patterns and have the same seed and frame numbers, hence the same noise of the sources that
    are on: what differs is the source. The target of all is the run without any.
    """
    point = working_point(device, mode, **circumstances)
    n_vectors = validation.integer("n_vectors", n_vectors, low=2)
    every = sources_of(point)
    wanted = [validation.choice("source", name, every) for name in (every if sources is None else sources)]
    wanted.sort(key=every.index)
    patterns = _patterns(point, n_vectors, seed)
    switched = [name for name in wanted if name != "pixel integration"]
    run = _linear if point.mode == "linear" else _intensity
    all_off = tuple(name for name in every if name != "pixel integration")
    runs: list[tuple[str, ...]] = [all_off, (), *((name,) for name in switched)]
    found: list[float] = []
    target = np.empty(0)
    for i, off in enumerate(runs):
        outputs = run(point, off, patterns, seed)
        if i == 0:
            target = outputs
        else:
            found.append(_error(outputs, target))
        if progress is not None:
            progress(i + 1, len(runs))
    whole, parts = found[0], dict(zip(switched, found[1:], strict=True))
    averaging = _averaging(point, patterns, seed)
    errors = {name: averaging if name == "pixel integration" else whole - parts[name] for name in wanted}
    return ErrorBudget(point, errors, whole + averaging, measured=True)


def _patterns(point: WorkingPoint, n: int, seed: int) -> MirrorPatterns:
    """Random patterns with the same number of features on."""
    share = point.share_on
    n_features = min(_FEATURES, key=lambda many: abs(round(share * many) / many - share))
    n_on = round(share * n_features)
    if not n_on:
        raise ValueError(f"share_on is {share!r}, but patterns are made for at least {0.5 / _FEATURES[-1]:.2g}.")
    order = rng.uniforms(rng.stream_key(seed, "noise budget patterns"), n * n_features).reshape(n, -1).argsort(axis=1)
    return MirrorPatterns((order < n_on).astype(np.uint8), MirrorLayout.lined(point.device.dmd.shape, n_features))


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


def _intensity(point: WorkingPoint, off: Collection[str], patterns: MirrorPatterns, seed: int) -> np.ndarray:
    """Return counts (n, n_pixels) some time after the start."""
    bench = OpticalBench(without(point.device, off), seed)
    bench.skip_frames(1, frametime_s=point.elapsed_s)
    n_pixels = point.roi[2] * point.roi[3]
    result = np.empty((len(patterns), n_pixels), dtype=np.float32)
    for part, shown in _blocks(patterns, 4 * n_pixels):
        frames = bench.transform(
            shown, exposure_s=point.exposure_s, roi=point.roi, n_pixels=n_pixels, frametime_s=point.frametime_s
        )
        result[part] = _read(frames, point, off)
    return result


def _linear(point: WorkingPoint, off: Collection[str], patterns: MirrorPatterns, seed: int) -> np.ndarray:
    """Return fields (n, n_pixels) some time after the start, less the field with every feature off."""
    bench = OpticalBench(without(point.device, off), seed)
    asked, actual = step_phases_rad(point)
    row = least_squares_row(actual).astype(np.complex64)
    n_pixels, steps = point.roi[2] * point.roi[3], point.n_steps
    full_scale_dn = math.inf if "saturation" in off else point.full_scale_dn
    if "quantisation" in off:
        full_scale_dn -= 0.5  # what would be rounded up to it
    coherence = point.device.reference.coherence * math.sqrt(
        field_coherence(point) / (1 if point.device.camera.polarised else 2)
    )
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
    alone_dn = show(all_off, np.zeros(REFERENCE_FRAMES)).mean(axis=0, dtype=np.float64) - dark_dn
    amplitude = np.sqrt(np.maximum(alone_dn, 1e-30)).astype(np.float32)
    bench.skip_frames(1, frametime_s=point.elapsed_s)
    repeated = MirrorPatterns(np.repeat(all_off.bits, BACKGROUND_BURSTS, axis=0), patterns.layout)
    background = np.zeros(n_pixels, dtype=np.complex128)
    for _, shown in _blocks(repeated, 12 * steps * n_pixels):
        background += fields(shown).sum(axis=0, dtype=np.complex128) / BACKGROUND_BURSTS
    result = np.empty((len(patterns), n_pixels), dtype=np.complex64)
    for part, shown in _blocks(patterns, 12 * steps * n_pixels):
        result[part] = fields(shown) - background
    return result


def _averaging(point: WorkingPoint, patterns: MirrorPatterns, seed: int) -> float:
    """Error of the noise-free mean over a pixel against the points on it, from the planes of some patterns."""
    camera = point.device.camera
    if not camera.pixel_over_grain:
        return 0.0
    bench = OpticalBench(point.device, seed)
    channels = 1 if camera.polarised else 2
    means, points = [], []
    for i in range(min(_PLANES, len(patterns))):
        planes = bench.inspect(patterns[i : i + 1], roi=point.roi)
        field = planes.medium_field.reshape(-1, channels, planes.medium_field.shape[-1] // channels)
        # The reference meets one polarisation.
        seen = field[:, 0] if point.mode == "linear" else np.square(np.abs(field)).sum(axis=1)
        means.append(np.broadcast_to(seen.mean(axis=-1, keepdims=True), seen.shape))
        points.append(seen)
    return _error(np.stack(means), np.stack(points))


def _error(outputs: np.ndarray, target: np.ndarray) -> float:
    """1 / |r|^2 - 1 with the correlation r over all outputs, in double precision."""
    outputs, target = outputs.reshape(len(outputs), -1), target.reshape(len(target), -1)
    wide = np.complex128 if np.iscomplexobj(target) else np.float64
    middle = outputs.mean(dtype=wide), target.mean(dtype=wide)
    own = across = theirs = 0.0
    for y, t in zip(outputs, target, strict=True):
        y, t = y.astype(wide) - middle[0], t.astype(wide) - middle[1]
        own, theirs, across = own + np.vdot(y, y).real, theirs + np.vdot(t, t).real, across + np.vdot(t, y)
    return float(own * theirs / abs(across) ** 2 - 1)
