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

import numpy as np

QUANTISATION = 1 / 12  # DN^2 (section 2)


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
