"""What EMVA 1288 release 4 "Linear" makes of frames, in numpy: sums of each scene, then its formulas.

Written from the standard's definitions, without the reference program: `benchmarks/emva_peers.py` checks one against
the other. Variances of rows, columns and pixels are those of an analysis of variance, with its degrees of freedom. The
standard solves the same three equations with M N - M - N in place of (M - 1)(N - 1), and means over M and N in place of
M - 1 and N - 1, which takes a part in M or N off a variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from opusim.device.camera import Camera

QUANTISATION = 1 / 12  # DN^2 (section 2)
SATURATED = 0.0015  # share of the pixels that reach the end of the scale at the brightest level: .1 to .2 % (6.6)
LEVELS = 60  # of light, evenly spaced from 0 to there


@dataclass(frozen=True)
class Pair:
    """Two frames of one scene (section 6.6)."""

    mean: float
    variance: float  # temporal, the change of the mean from one frame to the other taken off: new in release 4


def pair_of(frames: Iterable[np.ndarray]) -> Pair:
    """Return mean and temporal variance, in DN and DN^2, of two frames."""
    a, b = (np.asarray(frame, dtype=np.float64) for frame in frames)
    return Pair((a.mean() + b.mean()) / 2, float(np.mean((a - b) ** 2) / 2 - (a.mean() - b.mean()) ** 2 / 2))


@dataclass(frozen=True)
class Stack:
    """Many frames of one scene (section 8): mean image and variance of each pixel in time, in DN and DN^2."""

    mean: np.ndarray
    variance: np.ndarray
    frames: int

    def spatial(self) -> Spatial:
        """Return spatial variances, what temporal noise leaves in the mean image taken off."""
        return spatial_of(self.mean, float(self.variance.mean()) / self.frames)


def stack_of(frames: Iterable[np.ndarray]) -> Stack:
    """Return a stack of frames, which are counted, and summed as whole numbers."""
    n, total, squares = 0, 0, 0
    for frame in frames:
        values = np.asarray(frame).astype(np.int64)
        n, total, squares = n + 1, total + values, squares + values**2
    return Stack(total / n, (n * squares - total**2) / (n * (n - 1)), n)


@dataclass(frozen=True)
class Spatial:
    """Spatial variances in the square of an image's unit; each may come out below 0 where there is none."""

    row: float
    column: float
    pixel: float

    @property
    def total(self) -> float:
        """Variance of a pixel: that of its row, of its column and its own."""
        return self.row + self.column + self.pixel

    def minus(self, other: Spatial) -> Spatial:
        """Return what this one has more than another."""
        return Spatial(self.row - other.row, self.column - other.column, self.pixel - other.pixel)

    def roots(self) -> dict[str, float]:
        """Return standard deviations by name; nan of a variance below 0."""
        each = {"total": self.total, "row": self.row, "column": self.column, "pixel": self.pixel}
        return {name: math.sqrt(v) if v >= 0 else math.nan for name, v in each.items()}


def spatial_of(image: np.ndarray, temporal: float = 0.0) -> Spatial:
    """Return variances over rows, columns and pixels of an image whose pixels have a temporal variance left.

    Two-way analysis of variance: the mean square of what is left of the means of rows and columns is that of pixels,
    with (M - 1)(N - 1) degrees of freedom; that of row means is the rows' and a pixel's over N.
    """
    image = np.asarray(image, dtype=np.float64)
    m, n = image.shape
    rows, columns = image.mean(axis=1, keepdims=True), image.mean(axis=0, keepdims=True)
    left = float(np.sum((image - rows - columns + image.mean()) ** 2)) / ((m - 1) * (n - 1))
    return Spatial(float(rows.var(ddof=1)) - left / n, float(columns.var(ddof=1)) - left / m, left - temporal)


@dataclass(frozen=True)
class Transfer:
    """Levels of a photon transfer curve: photons on a pixel, mean and temporal variance above those of the dark."""

    photons: np.ndarray
    signal: np.ndarray
    variance: np.ndarray

    @property
    def saturation(self) -> int:
        """Level of the greatest variance (6.6)."""
        return int(np.argmax(self.variance))

    @property
    def lower(self) -> slice:
        """Levels up to 70 % of saturation, by which gain and responsivity are fitted."""
        return slice(0, int(np.flatnonzero(self.signal <= 0.7 * self.signal[self.saturation]).max()) + 1)

    @property
    def middle(self) -> slice:
        """Levels from 5 to 95 % of saturation, by which linearity is judged."""
        top = self.signal[self.saturation]
        first = int(np.flatnonzero(self.signal >= 0.05 * top).min())
        return slice(first, int(np.flatnonzero(self.signal <= 0.95 * top).max()) + 1)

    def gain(self, of: slice | None = None) -> float:
        """Return the system gain K in DN per electron: slope of variance over signal through the origin."""
        return _slope(self.signal, self.variance, of or self.lower)

    def responsivity(self, of: slice | None = None) -> float:
        """Return DN per photon: slope of signal over photons through the origin."""
        return _slope(self.photons, self.signal, of or self.lower)

    def deviations(self, of: slice | None = None) -> np.ndarray:
        """Return the relative deviation of each level in `of` from the line that keeps relative ones least (6.7)."""
        part = of or self.middle
        x, y = self.photons[part], self.signal[part]
        slope, offset = np.polyfit(x, y, 1, w=1 / y)
        return np.asarray(y / (slope * x + offset) - 1)


def _slope(x: np.ndarray, y: np.ndarray, of: slice) -> float:
    x, y = x[of], y[of]
    return float(x @ y / (x @ x))


def dark_noise(variance: float, gain: float) -> float:
    """Return the temporal dark noise in electrons from its variance in DN^2: at least .24, less the rounding's."""
    return math.sqrt(max(variance, 0.24) - QUANTISATION) / gain


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return slope and offset of a straight line by least squares."""
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(offset)


# ---------------------------------------------------------------------- what the lines give of a camera's fields


@dataclass(frozen=True)
class Sheet:
    """What a data sheet by the standard has of a camera; None for what it does not tell."""

    gain_dn_per_e: float | None = None  # K, slope of variance over signal
    quantum_efficiency: float | None = None  # slope of signal over photons, by K
    dark_noise_e: float | None = None  # root mean square over the pixels, by K
    saturation_e: float | None = None  # quantum efficiency times photons of the saturation level


# What the sheets of parts have, and other photon transfers; sources: docs/physics.md, section 4, and the preset's file.
# The CMV2000 is not among them: its preset and aurora are of the OPU, whose gain was inferred from its noise.
TABULATED = {
    "cmv4000": Sheet(0.075, 0.60, 13.0),
    "imx174": Sheet(None, 0.77, 6.83, 32691.0),
    "imx250": Sheet(None, 0.67, 2.33, 10715.0),
    "imx252": Sheet(None, 0.67, 2.33, 10715.0),
    "zyla-4.2": Sheet(1 / 0.45, 0.72, 1.4),
    "flash4.0-v3": Sheet(1 / 0.46, 0.72, 1.6),
}


def end_of(camera: Camera) -> float:
    """Return the electrons at the end of a camera's scale: full well or highest count."""
    return min(camera.full_well_e, (2**camera.bits - 1 - camera.black_level_dn) / camera.gain_dn_per_e)


def saturation_of(camera: Camera) -> float:
    """Return the mean electrons of the level at which `SATURATED` of the pixels reach the end of the scale.

    Below the end by so many standard deviations of a pixel's electrons: of shots, of the response from pixel to pixel
    and of the dark noise.
    """
    wide, uneven2 = float(stats.norm.isf(SATURATED)), camera.prnu**2 + camera.prnu_row**2 + camera.prnu_column**2
    end_e = top_e = end_of(camera)
    for _ in range(20):
        top_e = end_e - wide * math.sqrt(top_e + uneven2 * top_e**2 + camera.read_noise_e**2)
    return top_e


def sheet_of(camera: Camera) -> Sheet:
    """Return what the lines of the standard give of a camera's fields in the limit of many pixels and short exposures.

    A mean of n electrons on a scale that ends at E is read as K (n (1 + 4 a (1 - n / E)) - 4 a n / E), with the
    temporal variance K^2 ((1 + 4 a (1 - 2 n / E))^2 n + 2 (4 a n / E)^2): the law of the bent response of a Poisson
    number (docs/physics.md, Camera). The lines go through levels up to 70 % of saturation. Sums are taken, and nothing
    is expanded in a. Read noise comes after the bend, so that its levels are K each.
    """
    k, bend, end_e = camera.gain_dn_per_e, 4 * camera.nonlinearity, end_of(camera)
    n = saturation_of(camera) * np.arange(1, LEVELS + 1) / LEVELS
    signal = k * (n * (1 + bend * (1 - n / end_e)) - bend * n / end_e)
    variance = k**2 * ((1 + bend * (1 - 2 * n / end_e)) ** 2 * n + 2 * (bend * n / end_e) ** 2)
    transfer = Transfer(n / camera.quantum_efficiency, signal, variance)
    gain = transfer.gain()
    efficiency = transfer.responsivity() / gain
    # Amplitudes of telegraph noise are exponential, and shown in half of the frames: A^2 / 2 has their mean's square.
    rms_e = math.sqrt(camera.read_noise_e**2 + camera.telegraph_fraction * camera.telegraph_e**2)
    return Sheet(gain, efficiency, rms_e * k / gain, efficiency * float(transfer.photons[-1]))
