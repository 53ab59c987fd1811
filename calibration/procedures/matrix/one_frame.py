"""Fields from one frame each, off axis: the carrier, the frame of the reference alone, and what they are good for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from opusim.base.short_repr import short_repr
from opusim.base.warn import warn_outside
from opusim.calibration.algorithms import off_axis
from opusim.calibration.on_bench import dark_frames
from opusim.patterns.layout import MirrorLayout

from .phases import light_beside, random_bits

if TYPE_CHECKING:
    from .steps import Measurement

__all__ = ["OffAxis", "begin", "free_carrier", "reference_light"]

# The reference keeps its own light at any phase, while the light of mirrors that are off turns with it: the mean of two
# opposite phases is free of that.
_OPPOSITE = np.array([0.0, np.pi])
# Bursts of two frames of the reference alone: a 32nd of the variance of one field, in each field alike.
_REFERENCE_BURSTS = 16
# Patterns whose spectra tell the carrier.
_CARRIER_PATTERNS = 16
# Of three half bandwidths, by which the carrier that is found may fall short.
_SHORT = 0.05
# Least correlation of the fields of two phases that tells on which side of zero the carrier lies.
_LEAST_TURN = 0.3


@short_repr
@dataclass(frozen=True)
class OffAxis:
    """How fields are found from one frame each; see `measure_tm`.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the region.
    grain_px : float
        Width of a grain in pixels.
    carrier : ndarray of float64, shape (2,), optional
        Cycles per pixel; None until it is found.
    subtract : bool
        Whether what the reference alone has in the side band is taken off.
    alone : ndarray of float64, shape (n_pixels,), optional
        Mean frame of the reference alone; None until it is measured.
    found : bool
        Whether the carrier was found from frames.
    """

    shape: tuple[int, int]
    grain_px: float
    carrier: np.ndarray | None = None
    subtract: bool = True
    alone: np.ndarray | None = None

    found: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be read off axis before a frame is taken."""
        if min(self.shape) < 8:
            raise ValueError(
                f"roi has {self.shape[0]} x {self.shape[1]} pixels, but fields of one frame need 8 rows and 8 columns "
                "at least."
            )
        if self.carrier is not None:
            off_axis.check_room((float(self.carrier[0]), float(self.carrier[1])), self.bandwidth)

    @property
    def bandwidth(self) -> float:
        """Half bandwidth of the speckle in cycles per pixel."""
        return off_axis.half_bandwidth(self.grain_px)

    def of_start(self, start: dict[str, np.ndarray]) -> OffAxis:
        """Return it with what `begin` found."""
        return replace(
            self, carrier=start["carrier"], alone=start["alone_dn"], found=self.found or self.carrier is None
        )

    @property
    def carrier_uncertainty(self) -> float:
        """Cycles per pixel by which a carrier that was found may be off: B / (2 n), n grains across; 0 if given."""
        return self.bandwidth * self.grain_px / (2 * min(self.shape)) if self.found else 0.0

    def demodulate(self, frames: np.ndarray, *, biased: bool = False) -> Any:
        """Return the fit of frames (patterns, n_pixels): q and offset (patterns, n_pixels)."""
        assert self.carrier is not None
        alone = None if biased or not self.subtract or self.alone is None else self.alone.reshape(self.shape)
        fit = off_axis.demodulate(
            frames.reshape(-1, *self.shape), self.carrier, self.bandwidth, reference=alone, workers=1
        )
        return replace(fit, q=fit.q.reshape(len(frames), -1), offset=fit.offset.reshape(len(frames), -1))

    def lost(self, frames: np.ndarray, limit: float) -> np.ndarray:
        """Where fields are wrong since a pixel within a grain is saturated, of frames (patterns, n_pixels)."""
        clipped = (frames >= limit).reshape(-1, *self.shape)
        if clipped.any():
            width = 2 * math.ceil(self.grain_px) + 1
            clipped = ndimage.maximum_filter(clipped, size=(1, width, width))
        return clipped.reshape(len(frames), -1)

    def noise_share(self) -> float:
        """Variance of q over that of a pixel, for white noise."""
        assert self.carrier is not None
        return off_axis.share_of_band(self.shape, self.carrier, self.bandwidth)


def free_carrier(carrier: np.ndarray | tuple[float, float], bandwidth: float) -> tuple[float, float]:
    """Return a carrier whose side band is free, or raise: where it is 5 % too short at most, one of 3 B.

    What is left of the tilt is then the reference's own.

    Raises
    ------
    ValueError
        If the carrier is too short, or longer than the pixels resolve.
    """
    down, across = float(carrier[0]), float(carrier[1])
    short = 3 * bandwidth / max(math.hypot(down, across), 1e-300)
    if 1 < short <= 1 / (1 - _SHORT):
        down, across = down * short, across * short
    off_axis.check_room((down, across), bandwidth)
    return down, across


def begin(m: Measurement, limit: float) -> tuple[OffAxis, dict[str, np.ndarray]]:
    """Measure the reference alone and find the carrier.

    Parameters
    ----------
    m : Measurement
        With an `OffAxis`.
    limit : float
        Count from which a pixel is saturated.

    Returns
    -------
    found : OffAxis
        With carrier and reference.
    start : dict of ndarray
        carrier, float64 (2,); alone_dn, the mean frame of the reference alone, and opposite_dn, half the difference of
        its frames at opposite phases, float64 (n_pixels,); alone_clipped, bool (n_pixels,).

    Raises
    ------
    ValueError
        If there is no side band, or it is not free.
    """
    own = m.off_axis
    assert own is not None
    alone, opposite, clipped = _alone(m, without_always_on(m.layout), limit)
    if own.carrier is not None:
        carrier = own.carrier
    else:
        bits = random_bits(_CARRIER_PATTERNS, m.plan.n_inputs, "off-axis patterns")
        frames = m.in_parts(bits).reshape(-1, *own.shape).astype(np.float32)
        # Half of the light is alike in all patterns: without it their spectra are independent, and their sum smooth.
        # The light of the reference goes with it.
        carrier = off_axis.find_carrier(frames - frames.mean(axis=0, dtype=np.float64), own.bandwidth, workers=1)
        carrier = np.array(free_carrier(carrier, own.bandwidth))
    found = replace(own, carrier=np.asarray(carrier, dtype=np.float64), alone=alone, found=own.carrier is None)
    if own.carrier is None:
        found = replace(found, carrier=_signed(m, found, bits[:1]))
    assert found.carrier is not None
    return found, {
        "carrier": found.carrier, "alone_dn": alone, "opposite_dn": opposite, "alone_clipped": clipped,
    }  # fmt: skip


def _signed(m: Measurement, found: OffAxis, bits: np.ndarray) -> np.ndarray:
    """Return the carrier with the sign by which a field turns as its reference does, by a quarter of a wave.

    Frames cannot tell f from -f, the field from its conjugate. With the reference at d the field is q exp(-i d), its
    conjugate turns the other way.
    """
    assert found.carrier is not None
    frames = m.expose(np.repeat(bits, 2, axis=0), phases=np.array([0.0, np.pi / 2]))
    q = [found.demodulate(frames[:, k]).q.sum(axis=0, dtype=np.complex128) for k in range(2)]
    sizes = [float(np.sqrt(np.sum(np.abs(field) ** 2))) for field in q]
    turn = complex(np.sum(q[1] * q[0].conj())) / max(sizes[0] * sizes[1], 1e-300)
    if abs(turn.imag) < _LEAST_TURN:
        warn_outside(
            f"The carrier ({found.carrier[0]:.4f}, {found.carrier[1]:.4f}) cycles per pixel may have the other sign: "
            "the fields did not turn with the reference by a quarter of a wave, which would tell. With the other one "
            "the matrix is the conjugate of this; give carrier if you know it."
        )
        return found.carrier
    return found.carrier if turn.imag < 0 else -found.carrier


def without_always_on(layout: MirrorLayout) -> MirrorLayout:
    """Return a layout whose pattern of all inputs off has no mirror on."""
    return layout if layout.n_always_on == 0 else MirrorLayout.lined(layout.dmd_shape, layout.n_features_total)


def _alone(m: Measurement, layout: MirrorLayout, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean frame with all inputs off at opposite phases, half their difference, and where any frame saturates.

    Where no pattern is dark, on a modulator of phases: of random signs, less the light with the arm shut.
    """
    if m.level_turns is not None:
        return _beside_phases(m, limit)
    total, clipped = np.zeros((2, m.n_pixels)), np.zeros(m.n_pixels, dtype=bool)
    left = _REFERENCE_BURSTS
    while left:
        k = min(left, m.patterns_at_once)
        frames = m.expose(np.zeros((k, layout.n_features_total), dtype=np.uint8), layout, phases=_OPPOSITE)
        total += frames.sum(axis=0, dtype=np.float64)
        clipped |= (frames >= limit).any(axis=(0, 1))
        left -= k
    one, other = total / _REFERENCE_BURSTS
    return (one + other) / 2, (one - other) / 2, clipped


def _beside_phases(m: Measurement, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = _REFERENCE_BURSTS
    dark = dark_frames(m.bench, m.exposure_s, n, m.roi).reshape(n, -1).mean(axis=0, dtype=np.float64)
    light, clipped = light_beside(m, n, limit, lambda frames: frames.mean(axis=1, dtype=np.float64), _OPPOSITE)
    return light + dark, np.zeros(m.n_pixels), clipped


def reference_light(
    m: Measurement, start: dict[str, np.ndarray], dark: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return |R|^2, q with all inputs off, and where the reference saturates, from what `begin` found.

    Mirrors that are off leave a little light S: the mean of opposite phases is a = |R|^2 + |S|^2, of which what has the
    bandwidth of the fields' own light is kept, and half their difference has the side band q = S conj(R). So
    |R|^2 = (a + sqrt(a^2 - 4 |q|^2)) / 2, for |R| > |S|.
    """
    own = m.off_axis
    assert own is not None
    level = own.demodulate((start["alone_dn"] - dark)[None], biased=True).offset[0]
    q = own.demodulate(start["opposite_dn"][None], biased=True).q[0]
    reference = (level + np.sqrt(np.maximum(level * np.abs(level) - 4 * np.abs(q) ** 2, 0))) / 2
    background, clipped = q, start["alone_clipped"]
    if m.layout.n_always_on and m.level_turns is None:
        _, opposite, more = _alone(m, m.layout, limit)
        background, clipped = own.demodulate(opposite[None], biased=True).q[0], clipped | more
    return np.maximum(reference, 0), background, own.lost(np.where(clipped, limit, -np.inf)[None], limit)[0]
