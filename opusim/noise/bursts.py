"""Bursts one by one: what rounding and strong leakage do to a field beyond the first order of the closed forms.

Rounding is no noise of 1/12 DN^2 where the noise of a frame is below a step: then it depends on the level, all frames
of a pixel share a part of it, and |R|^2, the dark level and the background keep theirs. And the light of off mirrors
stands in the denominator of a field. Both are found as means over some thousand bursts, each of a pixel of its own:
fields, other light, fixed patterns and the error of |R|^2 are points of a sequence that fills their space evenly; the
mean and the variance of a count about its level are exact (`noise_rounding`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy import special

from opusim.fringes.calibrated import (
    DARK_FRAMES,
    LEAST_REFERENCE,
    REFERENCE_FRAMES,
    light_of_reference,
    reference_bursts,
)
from opusim.fringes.demodulation import least_squares_row, offset_row

from .light import BACKGROUND_BURSTS, FrameLight, phase_covariance, saturation_e, step_phases_rad
from .point import WorkingPoint
from .rounding import clipped_moments, rounded_moments

__all__ = ["beyond_first_order", "shares_left"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Flags = NDArray[np.bool_]
_BURSTS, _AXES = 1 << 13, 8
# Bursts of a pixel from which it is told whether half of them are saturated.
_OF_A_PIXEL = 24


def beyond_first_order(point: WorkingPoint, off: Collection[str], light: FrameLight) -> float:
    """Error of bursts less what the first order in leakage and rounding as noise of 1/12 DN^2 make of it.

    Parameters
    ----------
    point : WorkingPoint
        In linear mode.
    off : collection of str
        Sources that are off.
    light : FrameLight
        Of that point, with those sources off.

    Notes
    -----
    Bursts with a saturated frame are left out: what is made of them is in the first order.
    """
    camera = point.device.camera
    leakage = 0.0 if "off-state leakage" in off else point.leakage
    if not leakage and (not camera.quantise or {"quantisation", "saturation"} <= set(off)):
        return 0.0
    bursts = _Bursts(point, off, light, math.sqrt(leakage))
    # The pixels are chosen with every source on. The first order knows only how many bursts of each kind are left.
    bursts.unsaturated = _unsaturated(point)
    saturated = bursts.saturated_frames(saturation_e(point))
    bursts.weight = shares_left(point)[saturated]
    if "saturation" not in off:
        # What is made of the others is in the first order.
        bursts.whole = saturated == 0
    return bursts.whole_error() - bursts.first_error()


class _Bursts:
    """Bursts and what they share, in electrons."""

    def __init__(self, point: WorkingPoint, off: Collection[str], light: FrameLight, eps: float) -> None:
        device = point.device
        camera = device.camera

        def on(source: str, value: float) -> float:
            return 0.0 if source in off else value

        self.camera, self.light, self.eps = camera, light, eps
        self.rounds = camera.quantise and "quantisation" not in off
        self.lowest = 0.0 if camera.quantise and "saturation" not in off else -math.inf
        self.dark_e = on("dark current", point.dark_e)
        self.read_e2 = on("read noise", camera.temporal_dark_noise_e) ** 2
        self.shot = float(camera.shot_noise and "shot noise" not in off)
        self.power_noise = on("laser power", device.laser.power_noise_in(point.exposure_s))
        self.phase_noise = math.sqrt(phase_covariance(point, off, 1)[0, 0])
        self.phases = step_phases_rad(point)[1]
        self.row = least_squares_row(self.phases)
        self.demodulated, self.reference_frames = point.demodulated, point.reference_frames
        # Roberts' sequence: powers of the root of x^(axes + 1) = x + 1.
        root = 2.0
        for _ in range(50):
            root = (1 + root) ** (1 / (_AXES + 1))
        even = (0.5 + np.outer(np.arange(1, _BURSTS + 1), root ** -np.arange(1.0, _AXES + 1))) % 1
        normal = special.ndtri(even)
        fill = point.share_on + eps**2 * (1 - point.share_on)
        unit = math.sqrt(light.field / fill / 2)
        self.lit: Complex = unit * math.sqrt(point.share_on) * (normal[:, 0] + 1j * normal[:, 1])
        rest: Complex = unit * math.sqrt(1 - point.share_on) * (normal[:, 2] + 1j * normal[:, 3])
        self.all = self.lit + rest
        self.field = self.lit + eps * rest
        self.response = 1 + on("PRNU", camera.total_prnu) * normal[:, 4]
        spread_e = 0.0 if "dark current" in off else point.dark_spread_e
        self.offset_e = on("DSNU", math.hypot(camera.total_dsnu_e(0.0), spread_e)) * normal[:, 5]
        self.drawn = normal[:, 6]
        self.other = np.full(_BURSTS, light.other)
        if light.other and math.isfinite(light.modes):
            self.other = special.gammaincinv(light.modes, even[:, 7]) * light.other / light.modes
        self.unsaturated: Flags = np.ones(_BURSTS, dtype=bool)
        self.whole: Flags = self.unsaturated
        self.weight: Array = np.ones(_BURSTS)
        self.other_alone = light.other * eps**2 / fill

    def saturated_frames(self, limit_e: float) -> NDArray[np.intp]:
        """Return how many frames of each burst are saturated."""
        frames, _ = self.levels(self.field, self.other, self.phases)
        return np.asarray((frames + self.dark_e > limit_e).sum(axis=1))

    def whole_error(self) -> float:
        """Error of what a bench would measure, by pixels with enough reference."""
        phases, gain = self.phases, self.camera.gain_dn_per_e
        seen, noise = self._counts(self.field, self.other, phases)
        empty, empty_noise = self._counts(self.eps * self.all, self.other_alone, phases, once=True)
        nothing = np.zeros((1, 1))
        dark, dark_noise = self._moments(nothing, nothing + self.read_e2 + self.shot * self.dark_e)
        if self.demodulated:
            row = offset_row(phases)
            once = empty_noise @ np.square(row) / reference_bursts(len(phases)) + dark_noise[:, 0] / DARK_FRAMES
            power = light_of_reference(empty @ row - dark[:, 0], np.square(np.abs(empty @ self.row)))
        else:
            alone, alone_noise = self._counts(self.eps * self.all, self.other_alone, np.zeros(1), once=True)
            once = (alone_noise / REFERENCE_FRAMES + dark_noise / DARK_FRAMES)[:, 0]
            power = (alone - dark)[:, 0]
        power = power + np.sqrt(np.maximum(once, 0.0)) * self.drawn
        valid = self.unsaturated & (power >= LEAST_REFERENCE * max(float(power.mean()), 1e-30))
        if not valid.any():
            return math.inf
        power = power[valid]
        row2 = np.square(np.abs(self.row))
        field = ((seen - empty) @ self.row)[valid] / np.sqrt(power) / math.sqrt(gain)
        variance = ((noise + empty_noise / BACKGROUND_BURSTS) @ row2)[valid] / power / gain
        return _error(field, variance, self.lit[valid], np.ones(len(power)), self.whole[valid])

    def first_error(self) -> float:
        """Error of the same bursts as the closed forms have it."""
        light, kept = self.light, 1 - self.eps
        reference = light.reference
        rounding = 1 / 12 / self.camera.gain_dn_per_e**2 if self.rounds else 0.0
        alone = self.read_e2 + self.shot * (reference + self.dark_e) + rounding
        once = alone / self.reference_frames + (alone - self.shot * reference) / DARK_FRAMES
        row2 = np.square(np.abs(self.row))
        _, noise = self.levels(self.field, self.other, self.phases)
        # PRNU changes the response of a burst's frames and of |R|^2 alike.
        target = kept * light.coherence * self.lit
        leaked = 0.0 if self.demodulated else self.eps * light.coherence / math.sqrt(reference)
        field = target * (1 + (self.response - 1) / 2 - leaked * self.all.real)
        variance = ((noise + rounding) @ row2 + float(row2.sum()) * alone / BACKGROUND_BURSTS) / reference
        return _error(
            field, variance + np.square(np.abs(target)) * once / (4 * reference**2), self.lit, self.weight, self.whole
        )

    def levels(self, field: Complex, other: Array | float, phases: Array, once: bool = False) -> tuple[Array, Array]:
        """Mean light and variance of frames (bursts, phases), in electrons."""
        others = np.broadcast_to(np.asarray(other, dtype=np.float64), field.shape)
        frames = self.light.frames(field.real, field.imag, others, phases)
        slope = 2 * self.light.coherence * math.sqrt(self.light.reference) * np.imag(
            field[:, None] * np.exp(-1j * phases)
        )  # fmt: skip
        variance = self.read_e2 + self.shot * (frames + self.dark_e)
        if once:
            # What all pixels of a frame share is a scale or an offset of all outputs in what is measured once.
            return frames, variance
        return frames, variance + np.square(self.power_noise * frames) + np.square(self.phase_noise * slope)

    def _counts(self, field: Complex, other: Array | float, phases: Array, once: bool = False) -> tuple[Array, Array]:
        return self._moments(*self.levels(field, other, phases, once))

    def _moments(self, frames: Array, variance: Array) -> tuple[Array, Array]:
        """Mean and variance of the counts of frames, fixed patterns in the mean."""
        camera = self.camera
        level = frames * self.response[:, None] + self.offset_e[:, None] + self.dark_e
        mean = camera.black_level_dn + camera.gain_dn_per_e * level
        spread = np.broadcast_to(camera.gain_dn_per_e**2 * variance, mean.shape)
        if self.rounds:
            return rounded_moments(mean, spread, self.lowest, math.inf)
        return clipped_moments(mean, spread, self.lowest, math.inf)[:2]


@functools.lru_cache(maxsize=8)
def shares_left(point: WorkingPoint) -> Array:
    """Share of the bursts with 0, 1, ... saturated frames that belong to pixels which the driver calls valid."""
    bursts = _Bursts(point, (), FrameLight.of(point, ()), math.sqrt(point.leakage))
    saturated, left = bursts.saturated_frames(saturation_e(point)), _unsaturated(point)
    shares = np.ones(point.n_steps + 1)
    for n in range(point.n_steps + 1):
        some = saturated == n
        # Of what is too rare to be seen as many are left as of the next.
        shares[n] = left[some].mean() if some.any() else shares[max(n - 1, 0)]
    shares.setflags(write=False)
    return shares


@functools.lru_cache(maxsize=8)
def _unsaturated(point: WorkingPoint) -> Flags:
    """Pixels of which less than half of the bursts have a saturated frame: bright ones are left out."""
    eps, share_on = math.sqrt(point.leakage), point.share_on
    bursts = _Bursts(point, (), FrameLight.of(point, ()), eps)
    # A pixel keeps the field of all mirrors; a part of that of the mirrors that are on follows from it.
    known = (share_on + eps * (1 - share_on)) * bursts.all
    power = bursts.light.field / (share_on + eps**2 * (1 - share_on))
    spread = (1 - eps) * math.sqrt(share_on * (1 - share_on) * power / 2)
    # A spiral of points that stands for the circular Gaussian law of the rest.
    steps = np.arange(_OF_A_PIXEL)
    radius = np.sqrt(-2 * np.log1p(-(steps + 0.5) / _OF_A_PIXEL))
    limit_e, clipped = saturation_e(point), np.zeros(_BURSTS)
    for rest in spread * radius * np.exp(1j * np.pi * (3 - math.sqrt(5)) * steps):
        frames, _ = bursts.levels(known + rest, bursts.other, bursts.phases)
        clipped += (frames + bursts.dark_e > limit_e).any(axis=1)
    unsaturated: Flags = clipped < 0.5 * _OF_A_PIXEL
    if not unsaturated.any():
        # No pixel would be taken: what is told is of all.
        unsaturated = ~unsaturated
    unsaturated.setflags(write=False)
    return unsaturated


def _error(field: Complex, variance: Array, target: Complex, weight: Array, whole: Flags) -> float:
    """Part of the bursts that are whole in 1 / |r|^2 - 1, with the correlation r of a field and its target."""
    power = float(weight @ np.square(np.abs(target)))
    field, variance, target, weight = field[whole], variance[whole], target[whole], weight[whole]
    if not weight.any():
        return 0.0
    field, target = (one - weight @ one / weight.sum() for one in (field, target))
    gain = (weight * target.conj()) @ field / (weight @ np.square(np.abs(target)))
    if not gain:
        return math.inf
    return float(weight @ (np.square(np.abs(field / gain - target)) + variance / abs(gain) ** 2)) / power
