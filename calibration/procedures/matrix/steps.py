"""What a matrix measurement does on the bench: the start, and one batch of patterns after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from opusim.base.short_repr import short_repr
from opusim.bench.protocol import Bench
from opusim.calibration.algorithms.masks import dark_pixels, least_squares_unsaturated
from opusim.calibration.algorithms.phase_shifting import least_squares
from opusim.calibration.on_bench import dark_frames, exposed_each, exposed_steadily, saturation_dn, shown_features
from opusim.fringes.calibrated import light_of_reference
from opusim.fringes.demodulation import least_squares_row
from opusim.patterns.layout import MirrorLayout
from opusim.patterns.phases import PhasePatterns

from .internal import measure_internal_start
from .one_frame import OffAxis, begin, reference_light, without_always_on
from .patterns import PatternPlan
from .phases import levels_of_codes, light_beside

__all__ = ["Measurement", "measure_batch", "measure_start"]

# Frames of the dark and bursts of the first patterns, and of the reference alone, which sets every entry's scale:
# their noise in the result is far below that of one pattern.
_START_FRAMES, _REFERENCE_BURSTS = 16, 64
# Least mean of |R|^2 over that of a pattern with half the inputs on: below it hardly any of the light interferes.
_LEAST_REFERENCE = 0.01
_LEAST_CONTRAST = 0.1
_LEAST_CORRELATION = 0.3


@short_repr
@dataclass(frozen=True)
class Measurement:
    """Circumstances of a measurement; see `measure_tm`."""

    bench: Bench
    plan: PatternPlan
    layout: MirrorLayout
    roi: Any
    n_pixels: int
    asked_rad: np.ndarray
    actual_rad: np.ndarray
    exposure_s: float
    patterns_at_once: int
    off_axis: OffAxis | None = None
    # Phases of the levels in turns where the modulator turns phases; and whether it makes the steps itself.
    level_turns: np.ndarray | None = None
    internal: bool = False

    def expose(
        self,
        bits: np.ndarray,
        layout: MirrorLayout | None = None,
        *,
        stepped: bool = True,
        phases: np.ndarray | None = None,
    ) -> np.ndarray:
        """Frames (patterns, phases or 1, n_pixels): at the steps, at other phases, or without the reference."""
        if self.internal:
            assert self.level_turns is not None
            levels = levels_of_codes(bits, self.level_turns, self.asked_rad / (2 * np.pi))
            frames = exposed_steadily(
                self.bench, PhasePatterns(levels, self.layout), exposure_s=self.exposure_s, roi=self.roi
            )
            return frames.reshape(len(bits), len(self.asked_rad), self.n_pixels)
        # Usual bursts are as those of a transform; a few at other phases tell of one pattern, or of light beside.
        show = exposed_steadily if phases is None else exposed_each
        phases = (self.asked_rad if phases is None else phases) if stepped else None
        frames = show(
            self.bench, shown_features(self.bench, bits, layout or self.layout), exposure_s=self.exposure_s,
            reference_phase_rad=phases, roi=self.roi,
        )  # fmt: skip
        return frames.reshape(len(bits), 1 if phases is None else len(phases), self.n_pixels)

    def in_parts(self, bits: np.ndarray) -> np.ndarray:
        """Frames of any number of patterns, shown as many at once as there is room for."""
        step = self.patterns_at_once
        return np.concatenate([self.expose(bits[k : k + step]) for k in range(0, len(bits), step)])

    def demodulate(self, frames: np.ndarray, full_scale_dn: float) -> tuple[np.ndarray, np.ndarray]:
        """Fields q (patterns, n_pixels), and where too few frames are not saturated (the clipped ones are used)."""
        if self.off_axis is not None:
            return self.off_axis.demodulate(frames[:, 0]).q, self.off_axis.lost(frames[:, 0], full_scale_dn)
        if np.isinf(full_scale_dn) or frames.max(initial=0) < full_scale_dn:
            q = least_squares(frames, self.actual_rad, axis=1).q
            return q, np.zeros(q.shape, dtype=bool)
        fit = least_squares_unsaturated(frames, self.actual_rad, full_scale_dn, axis=1)
        lost = np.zeros(fit.q.shape, dtype=bool) if fit.valid is None else ~fit.valid
        if lost.any():
            fit.q[lost] = least_squares(frames, self.actual_rad, axis=1).q[lost]
        return fit.q, lost

    def of_start(self, start: dict[str, np.ndarray]) -> Measurement:
        """Return it with what the start found of the carrier and the reference, if fields are found off axis."""
        return self if self.off_axis is None else replace(self, off_axis=self.off_axis.of_start(start))

    def noise_share(self) -> float:
        """Variance of q over that of a count, for noise that is new in each frame and pixel."""
        if self.off_axis is not None:
            return self.off_axis.noise_share()
        return float(np.sum(np.abs(least_squares_row(self.actual_rad)) ** 2))


def measure_start(m: Measurement, full_scale_dn: float | None) -> dict[str, np.ndarray]:
    """Measure what is needed once: dark level, reference, anchor, contrast of the fringes.

    Returns
    -------
    dict of ndarray
        full_scale_dn; dark_dn, reference_dn (|R|^2), both float64 (n_pixels,); anchor, background (all inputs off),
        both complex128 (n_pixels,); valid, bool (n_pixels,); contrast; rounding_dn2, variance of a count by rounding.
        Off axis also carrier, float64 (2,), and alone_dn, the mean frame of the reference alone, float64 (n_pixels,).

    Raises
    ------
    ValueError
        If there is no reference arm, no light or no fringe, most pixels saturate, or off axis the side band is not
        found or not free.
    """
    if m.internal:
        return measure_internal_start(m, full_scale_dn)
    n = _START_FRAMES
    bits = m.plan.group(0)
    # First of all, since a bench without a reference arm refuses it.
    halves = np.zeros((2, len(bits), m.n_pixels), dtype=np.complex128)
    frames = m.expose(bits)
    whole = frames.dtype.kind in "iu"
    first = np.empty(0)
    limit = saturation_dn(m.bench, m.exposure_s, m.roi, full_scale_dn=full_scale_dn)
    lost = np.zeros(m.n_pixels, dtype=bool)
    apart: dict[str, np.ndarray] = {}
    if m.off_axis is not None:
        found, apart = begin(m, limit)
        m = replace(m, off_axis=found)
    for k in range(n):
        q, clipped = m.demodulate(frames if k == 0 else m.expose(bits), limit)
        anchor = m.plan.split(q)[0]
        first = anchor if k == 0 else first
        halves[k % 2] += q * np.exp(-1j * np.angle(np.sum(anchor * first.conj(), dtype=np.complex128)))
        lost |= clipped[0]
    halves /= n / 2
    dark = _mean(lambda k: dark_frames(m.bench, m.exposure_s, k, m.roi), n, m)
    signal = _mean(lambda k: m.expose(np.repeat(bits[:1], k, axis=0), stepped=False), n, m) - dark
    if m.off_axis is None:
        reference, background, clipped = _reference(m, dark, limit)
    else:
        reference, background, clipped = reference_light(m, apart, dark, limit)
    light = float(np.mean(signal))
    if not light > 3 * float(np.std(dark)) / np.sqrt(n * m.n_pixels) or not light > 0:
        raise ValueError(
            f"The first pattern gives {light:.3g} counts above the dark level at an exposure of {m.exposure_s:.4g} s: "
            "there is no light to measure with."
        )
    if np.mean(lost | clipped) > 0.5:
        raise ValueError(
            f"More than half of the pixels saturate at an exposure of {m.exposure_s:.4g} s: it must be shorter."
        )
    if not float(np.mean(reference)) > _LEAST_REFERENCE * light:
        raise ValueError(
            f"The reference arm is lost: alone it gives {float(np.mean(reference)):.3g} counts on average, a pattern "
            f"{light:.3g}. It must be brighter than {_LEAST_REFERENCE:g} of the pattern."
        )
    valid = ~dark_pixels(reference) & ~clipped
    both = float(np.sum((halves[0, 0] * halves[1, 0].conj()).real[valid]))
    contrast2 = both / float(np.sum((reference * signal)[valid]))
    if not contrast2 > _LEAST_CONTRAST**2:
        raise ValueError(
            f"The fringes have a contrast of {np.sqrt(max(contrast2, 0)):.2g} of what both arms would give, and it "
            f"must be above {_LEAST_CONTRAST:g}: the reference is lost, or its phase moves faster than the steps."
        )
    start: dict[str, Any] = {
        "full_scale_dn": np.float64(limit), "dark_dn": dark, "reference_dn": reference,
        "anchor": m.plan.split(halves.mean(axis=0))[0], "background": background, "valid": valid,
        "contrast": np.float64(np.sqrt(contrast2)), "rounding_dn2": np.float64(1 / 12 if whole else 0.0),
    }  # fmt: skip
    return start | {name: apart[name] for name in ("carrier", "alone_dn") if name in apart}


def _mean(frames: Any, n: int, m: Measurement) -> np.ndarray:
    """Mean over n frames (n_pixels,), a few at a time."""
    total, left = np.zeros(m.n_pixels), n
    while left:
        k = min(left, max(1, m.patterns_at_once))
        total += frames(k).reshape(k, m.n_pixels).sum(axis=0, dtype=np.float64)
        left -= k
    return total / n


def _reference(m: Measurement, dark: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return |R|^2, q with all inputs off, and where the reference saturates.

    Mirrors that are off leave a little light S. The steps' mean is a = |R|^2 + |S|^2 and their fringe |q| = |R| |S|,
    so |R|^2 = (a + sqrt(a^2 - 4 |q|^2)) / 2, for |R| > |S| (`opusim.fringes.calibrated.light_of_reference`).
    """
    if m.level_turns is not None:
        # What no level turns the groups measure.
        reference, clipped = light_beside(
            m, _REFERENCE_BURSTS, limit,
            lambda frames: np.asarray(least_squares(frames, m.actual_rad, axis=1).offset, dtype=np.float64),
        )  # fmt: skip
        return reference, np.zeros(m.n_pixels, dtype=np.complex128), clipped
    layout = m.layout
    full = without_always_on(layout)
    offset, q, clipped = _all_off(m, full, limit)
    reference = light_of_reference(offset - dark, np.abs(q) ** 2)
    return reference, q if full is layout else _all_off(m, layout, limit)[1], clipped


def _all_off(m: Measurement, layout: MirrorLayout, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean level and q with every input of a layout off, and where any frame saturates."""
    offset, q = np.zeros(m.n_pixels), np.zeros(m.n_pixels, dtype=np.complex128)
    clipped = np.zeros(m.n_pixels, dtype=bool)
    left = _REFERENCE_BURSTS
    while left:
        k = min(left, m.patterns_at_once)
        frames = m.expose(np.zeros((k, layout.n_features_total), dtype=np.uint8), layout)
        fit = least_squares(frames, m.actual_rad, axis=1)
        offset += fit.offset.sum(axis=0, dtype=np.float64)
        q += fit.q.sum(axis=0, dtype=np.complex128)
        clipped |= (frames >= limit).any(axis=(0, 1))
        left -= k
    return offset / _REFERENCE_BURSTS, q / _REFERENCE_BURSTS, clipped


def measure_batch(
    m: Measurement, start: dict[str, np.ndarray], first: int, stop: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Measure the groups from `first` to `stop`.

    Returns
    -------
    fields : ndarray of complex64, shape (units, n_pixels)
        q, the reference's drift taken out.
    rest : dict of ndarray
        anchor_phase_rad, anchor_correlation: (groups * repeats,); lost: patterns in which a pixel had too few frames,
        whole numbers (n_pixels,); anchor_residual: sum over the anchors of the squared modulus of what each differs by
        from the start's, phase and strength of all pixels together taken out, float32 (n_pixels,); background: sum over
        the groups, if they measure it, complex (n_pixels,).

    Raises
    ------
    ValueError
        If the anchors have nothing to do with the first one.
    """
    plan, repeats = m.plan, m.plan.repeats
    groups = [plan.group(g) for g in range(first, stop)]
    shown = np.concatenate([np.tile(bits, (repeats, 1)) for bits in groups])
    # All at once as a rule; in parts where one group alone is more than fits.
    parts = [
        m.demodulate(m.expose(shown[k : k + m.patterns_at_once]), float(start["full_scale_dn"]))
        for k in range(0, len(shown), m.patterns_at_once)
    ]
    q = parts[0][0] if len(parts) == 1 else np.concatenate([part[0] for part in parts])
    lost = sum(part[1].sum(axis=0, dtype=np.int64) for part in parts)
    valid = start["valid"]
    mark = np.where(valid, start["anchor"], 0).conj()
    size = np.sqrt(np.sum(np.abs(mark) ** 2))
    fields = np.zeros((plan.units(first, stop), m.n_pixels), dtype=np.complex64)
    background: np.ndarray | None = None
    residual = np.zeros(m.n_pixels)
    phases, correlations = [], []
    row = unit = 0
    for bits in groups:
        width = 0
        for _ in range(repeats):
            anchor, off, units = plan.split(q[row : row + len(bits)])
            overlap = complex(np.sum(anchor * mark))
            anchor_size = float(np.sqrt(np.sum(np.where(valid, np.abs(anchor) ** 2, 0), dtype=np.float64)))
            phases.append(np.angle(overlap))
            correlations.append(abs(overlap) / max(size * anchor_size, 1e-300))
            turn = np.complex64(np.exp(-1j * phases[-1]))
            residual += np.abs(anchor * turn - abs(overlap) / max(size**2, 1e-300) * start["anchor"]) ** 2
            width = len(units)
            fields[unit : unit + width] += units * turn
            if off is not None:
                background = off * turn if background is None else background + off * turn
            row += len(bits)
        unit += width
    usual = float(np.median(correlations))
    if usual < _LEAST_CORRELATION:
        raise ValueError(
            f"The anchor pattern does not repeat: its field correlates by {usual:.2g} with the first one (median over "
            f"a batch), and it must be above {_LEAST_CORRELATION:g}. The reference or the light was lost, the phase "
            "moves faster than the steps, or the medium changes too fast. resume=True takes this batch again."
        )
    rest = {
        "anchor_phase_rad": np.array(phases),
        "anchor_correlation": np.array(correlations),
        "lost": np.asarray(lost).astype(np.min_scalar_type(len(shown))),
        "anchor_residual": residual.astype(np.float32),
    }
    if repeats > 1:
        fields /= np.float32(repeats)
    if background is not None:
        rest["background"] = background / repeats
    return fields, rest
