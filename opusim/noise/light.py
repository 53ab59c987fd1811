"""The light of the frames of a burst: signal, reference, and the law of both over speckle."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from opusim.device.reference import Reference, shifted_rad
from opusim.fringes.calibrated import CLIPPED_SHARE
from opusim.theory import exposure_fringe_contrast, exposure_moments

from .point import WorkingPoint

__all__ = [
    "BACKGROUND_BURSTS",
    "FrameLight",
    "clipped_share",
    "vibration_contrast",
    "field_coherence",
    "linear_coherence",
    "phase_covariance",
    "saturation_e",
    "step_phases_rad",
    "usual_exposure_s",
]

Array = NDArray[np.float64]
# Bursts from which the driver takes the background.
BACKGROUND_BURSTS = 32
# Points of the grid on which means over speckle are taken, and from how many patterns on their sum is taken as even.
_AMPLITUDES, _PHASES, _OTHER, _MOST_MODES = 160, 24, 6, 100


def step_phases_rad(point: WorkingPoint) -> tuple[Array, Array]:
    """Phases asked of the shifter, equal steps over a turn, and those that it makes, in radians."""
    asked = 2 * np.pi * np.arange(point.n_steps) / point.n_steps
    arm = point.device.reference
    return asked, shifted_rad(asked, arm.scale_error, arm.nonlinearity)


def field_coherence(point: WorkingPoint) -> float:
    """Mean coherence of two points on a pixel: power of the field that makes fringes over the mean power."""
    whole, seen = _coherence(point)
    return float((seen.conj() @ whole @ seen).real)


def vibration_contrast(point: WorkingPoint, off: Collection[str] = ()) -> float:
    """Contrast that an exposure leaves the fringes while the reference vibrates: root of the mean square."""
    if "reference phase" in off:
        return 1.0
    return _vibration(point.device.reference, point.exposure_s, point.device.operation.exposure_average)[0]


def linear_coherence(point: WorkingPoint) -> float:
    """Contrast of the fringes against that of two beams that interfere fully, as a calibration measures it.

    The root of the power of the fields that bursts show over the light beside the reference's: coherence of the arms,
    what a pixel leaves of a tilt and of the grain, the polarisation that meets the reference, and what an exposure
    leaves of fringes of a reference that vibrates and of a medium that moves. The last two count as independent.
    """
    device = point.device
    drift = device.drift_within(point.exposure_s)
    moved = 1.0 if drift is None else exposure_fringe_contrast(point.exposure_s / drift.decorrelation_time_s)
    share = field_coherence(point) / device.sampling.polarisations
    return device.fringe_coherence * vibration_contrast(point) * moved * math.sqrt(share)


def phase_covariance(point: WorkingPoint, off: Collection[str], steps: int) -> Array:
    """Covariance (steps, steps) of the errors of the reference's phase in the frames of a burst.

    Jitter is new in each. A vibration of amplitude a at f has a^2 / 2 cos(2 pi f (k - l) T'), T' the time between
    frames; its mean over an exposure T has sinc^2(f T) of that (amplitudes that are small against a radian). Lines of
    equal frequency count one by one, as on average over devices.
    """
    if "reference phase" in off:
        return np.zeros((steps, steps))
    arm = point.device.reference
    _, hz, variance = _vibration(arm, point.exposure_s, point.device.operation.exposure_average)
    between = np.subtract.outer(*2 * [np.arange(steps)])
    result: Array = arm.jitter_rad**2 * np.eye(steps)
    for f, v in zip(hz, variance, strict=True):
        result = v * np.cos(2 * np.pi * f * point.frametime_s * between) + result
    return result


@lru_cache(maxsize=64)
def _vibration(arm: Reference, exposure_s: float, averaged: bool) -> tuple[float, Array, Array]:
    """Contrast of the fringes, and frequencies and variances of the phase of a frame."""
    # No device in particular: the starts of lines of equal frequency are independent over devices.
    lines = arm.vibration(0, apart=True)
    variance: Array = lines.rad**2 / 2
    if not averaged or not len(lines):
        return 1.0, lines.hz, variance
    power = exposure_moments(lines.hz, lines.rad, exposure_s)[1]
    return math.sqrt(power), lines.hz, variance * np.sinc(lines.hz * exposure_s) ** 2


def _coherence(point: WorkingPoint) -> tuple[Array, NDArray[np.complex128]]:
    """Coherence of each two of the points at which the bench samples a pixel, and with what the reference weighs them.

    That of points behind a round stop is 2 J1(pi x) / (pi x) (Goodman, Speckle Phenomena, 2nd ed., section 4.4), x
    their distance over the grain. The reference weighs points as the pixel does, and turns them where it is tilted.
    """
    sampling, size = point.device.sampling, point.device.pixel_over_grain
    y, x = sampling.offsets.T
    distance = np.pi * size * np.hypot(y[:, None] - y, x[:, None] - x)
    down, across = point.device.reference.carrier_cycles_per_pixel
    seen = sampling.point_weights * np.exp(2j * np.pi * (down * y + across * x))
    return np.where(distance > 0, 2 * special.j1(distance) / np.maximum(distance, 1e-300), 1.0), seen


@dataclass(frozen=True)
class FrameLight:
    """Mean electrons of a frame.

    Attributes
    ----------
    field : float
        Power of the field whose fringes the camera sees, coherence of the arms not counted.
    other : float
        Mean light of the signal that makes no fringes: the other polarisation, and what differs within a pixel.
    modes : float
        Speckle patterns that `other` is the sum of: its mean square over its variance.
    reference : float
        |R|^2.
    coherence : float
        c, with what a pixel that samples a point leaves of the fringes of a tilt, and a vibration in an exposure.
    """

    field: float
    other: float
    modes: float
    reference: float
    coherence: float

    @staticmethod
    def of(point: WorkingPoint, off: Collection[str]) -> FrameLight:
        """Light at a working point, some sources being off."""
        device = point.device
        camera, arm, channels = device.camera, device.reference, device.sampling.polarisations
        leakage = 0.0 if "off-state leakage" in off else point.leakage
        on = point.share_on * device.dmd.n_mirrors
        unit = point.electrons_per_intensity / channels
        signal = unit * (on + leakage * (device.dmd.n_mirrors - on))
        # Of the points on a pixel: covariance of their fields, and of what these differ from the mean field.
        whole, seen = _coherence(point)
        weights = device.sampling.point_weights
        share = float((seen.conj() @ whole @ seen).real)
        with_mean = whole @ seen
        apart = whole - np.outer(with_mean, with_mean.conj()) / share
        other = signal * (1 - share + (channels - 1))
        variance = signal**2 * float(
            weights @ np.square(np.abs(apart)) @ weights + (channels - 1) * (weights @ whole**2 @ weights)
        )
        row, column, n_rows, n_columns = point.roi
        index = np.arange(row, row + n_rows)[:, None] * camera.shape[1] + np.arange(column, column + n_columns)
        wave = arm.field(
            index.ravel(), sensor_shape=camera.shape, pixel_pitch_m=camera.pixel_pitch_m,
            n_mirrors=device.dmd.n_mirrors, seed=0,
        )  # fmt: skip
        reference = float(np.mean(np.square(np.abs(wave, dtype=np.float64)))) * unit
        modes = other**2 / variance if variance > 0 else math.inf
        coherence = device.fringe_coherence * vibration_contrast(point, off)
        return FrameLight(signal * share, other, modes, reference, coherence)

    def frames(self, x: Array, y: Array, other: Array, phases: Array) -> Array:
        """Electrons (n, steps) of fields x + i y, of power `field`, in the phase of the reference."""
        fringe = x[:, None] * np.cos(phases) + y[:, None] * np.sin(phases)
        steady = x**2 + y**2 + other + self.reference
        return steady[:, None] + 2 * self.coherence * math.sqrt(self.reference) * fringe

    def nodes(self) -> tuple[Array, Array, Array, Array]:
        """Real and imaginary part of the field, other light, and weight, on a grid that stands for their laws."""
        # Slices of the exponential law of |S|^2, each stood for by its mean; the tail is below 1e-15 of the whole.
        edges = -math.log(1e-15) * np.linspace(0, 1, _AMPLITUDES + 1) ** 2
        chance = -np.diff(np.exp(-edges))
        intensity = -np.diff((edges + 1) * np.exp(-edges)) / chance
        phase = 2 * np.pi * (np.arange(_PHASES) + 0.5) / _PHASES
        other, share = np.array([self.other]), np.ones(1)
        if self.modes < _MOST_MODES:
            other, share = special.roots_genlaguerre(_OTHER, self.modes - 1)
            other, share = other * self.other / self.modes, share / share.sum()
        grid = np.meshgrid(np.sqrt(self.field * intensity), phase, other, indexing="ij")
        amplitude, angle, beside = (part.ravel() for part in grid)
        weight = np.einsum("i,j,k->ijk", chance / chance.sum(), np.full(_PHASES, 1 / _PHASES), share).ravel()
        return amplitude * np.cos(angle), amplitude * np.sin(angle), beside, weight


def usual_exposure_s(point: WorkingPoint) -> float:
    """Exposure in seconds at which a burst in fourteen has a saturated frame; the device's own if none ever has."""
    own_s = point.device.operation.exposure_s
    limit_e = saturation_e(point)
    if math.isinf(limit_e):
        return own_s
    brightest, weight = _brightest_e(point)
    order = brightest.argsort()
    among = np.searchsorted(weight[order].cumsum(), 1 - CLIPPED_SHARE)
    return float(own_s * limit_e / brightest[order[among]])


def clipped_share(point: WorkingPoint) -> float:
    """Share of bursts with a saturated frame."""
    brightest, weight = _brightest_e(point)
    return float(weight @ (brightest > saturation_e(point)))


def saturation_e(point: WorkingPoint) -> float:
    """Electrons from which a frame is saturated."""
    camera = point.device.camera
    limit_dn = camera.black_level_dn + camera.gain_dn_per_e * camera.full_well_e
    return (min(limit_dn, point.full_scale_dn - 0.5) - camera.black_level_dn) / camera.gain_dn_per_e


def _brightest_e(point: WorkingPoint) -> tuple[Array, Array]:
    """Electrons of the brightest frame of bursts, dark ones included, and weights of the bursts."""
    light = FrameLight.of(point, ())
    x, y, other, weight = light.nodes()
    return light.frames(x, y, other, step_phases_rad(point)[1]).max(axis=-1) + point.dark_e, weight
