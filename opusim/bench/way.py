"""What a way from patterns to counts declares: what it does, its work, and its memory."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from opusim.base.arrays import of

from .frames import Moments, Shots
from .reduction import Reduction

if TYPE_CHECKING:
    from .geometry import Geometry


def transform_flops(side: int, n: int = 1) -> float:
    """Return the operations of two-dimensional Fourier transforms on a square grid: 5 N log2 N each, for N points.

    Parameters
    ----------
    side : int
        Side of the grid.
    n : int, optional
        How many transforms.

    Returns
    -------
    float
        Operations.
    """
    points = side**2
    return n * 5 * points * math.log2(points)


@dataclass(frozen=True)
class Work:
    """Units of work of each kind.

    Parameters
    ----------
    side : int
        Side of the grid of the transforms.
    transforms : int
        Two-dimensional Fourier transforms on it, each with its share of the products.
    layer_points : int
        Points of layers that are prepared.
    entries : int
        Entries of a matrix that are made; where they are made by waves, beside these.
    sums : int
        Entries of tables that are added to a field; or products with complex weights.
    tables : int
        Tables of four features of a field that are made.
    """

    side: int = 0
    transforms: int = 0
    layer_points: int = 0
    entries: int = 0
    sums: int = 0
    tables: int = 0


class Way(ABC):
    """One of the ways from patterns to counts. It owns what it keeps, for one state of the medium's drift at a time.

    Attributes
    ----------
    name : str
        Of the class: "matrix" or "waves".
    """

    name: ClassVar[str]
    _geometry: Geometry

    def moments(self, shots: Shots) -> Moments | None:
        """Return when frames are taken, for a modulator that moves.

        Parameters
        ----------
        shots : Shots
            Circumstances of the frames.

        Returns
        -------
        Moments or None
            Of each frame, for `fields` of a pattern a frame; None where the modulator stands still.
        """
        device = self._geometry.device
        if not device.modulator.moves:
            return None
        times_s = np.zeros(len(shots.frames)) if shots.times_s is None else shots.times_s
        return Moments(shots.frames, times_s, shots.exposure_s if device.operation.exposure_average else 0.0)

    def in_time(self, bits: Any, shots: Shots) -> tuple[Any, Shots, Moments | None]:
        """Return patterns and circumstances as fields are made of them, and when each is shown.

        Parameters
        ----------
        bits : array of uint8, shape (n, n_features)
            Patterns.
        shots : Shots
            Circumstances of their frames.

        Returns
        -------
        bits : array
            Where the modulator moves, each as often as it has frames.
        shots : Shots
            With a frame a pattern there.
        moments : Moments or None
            For `fields`; None where the modulator stands still.
        """
        moments = self.moments(shots)
        if moments is not None and shots.steps > 1:
            bits, shots = np.repeat(of(bits).to_host(bits), shots.steps, axis=0), replace(shots, steps=1)
        return bits, shots, moments

    @abstractmethod
    def prepare(self, state: int) -> None:
        """Make what is kept for a state of the drift.

        Parameters
        ----------
        state : int
            Number of the state.
        """

    @abstractmethod
    def fields(self, bits: Any, state: int = 0, moments: Moments | None = None) -> Any:
        """Return the fields at the camera.

        Parameters
        ----------
        bits : array of uint8, shape (n, n_features)
            0 or 1, or levels of a phase modulator; of any library.
        state : int
            State of the medium's drift.
        moments : Moments, optional
            When each is shown, for a modulator that moves; by default it does not.

        Returns
        -------
        array of complex64, shape (n, n_pixels, samples)
            Of the library that the way computes with. The mean intensity of an ideal device is the number of mirrors
            that are on. Where pixels are sampled at several points, the fields are weighted
            (`PixelSampling.amplitudes`): the mean of their squares over the samples is the light of the pixel.
        """

    @abstractmethod
    def counts(self, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None = None) -> None:
        """Fill `out` with the counts of a batch.

        Parameters
        ----------
        bits : array of uint8, shape (n, n_features)
            0 or 1, or levels of a phase modulator; of any library.
        shots : Shots
            Circumstances of the n * steps frames.
        out : array, shape (n * steps, n_pixels)
            Filled in place: numpy's, or of the library that the way computes with.
        progress : callable, optional
            Told how many vectors are done.
        """

    def reduces(self, reduction: type[Reduction]) -> bool:
        """Return whether `reduce` is there for a kind of reduction.

        Parameters
        ----------
        reduction : type
            A class of `Reduction`.
        """
        return False

    def reduce(self, bits: Any, shots: Shots, reduction: Reduction, out: Any) -> None:
        """Fill `out` with what a reduction makes of the frames of a batch, without an array of frames.

        Parameters
        ----------
        bits : ndarray of uint8, shape (n, n_features)
            0 or 1.
        shots : Shots
            Circumstances of the frames, as many for each vector.
        reduction : Reduction
            What becomes of them.
        out : ndarray
            From its `empty`; the first pixels, if it has fewer.
        """
        raise NotImplementedError(f"{type(self).__name__} makes frames alone: see reduces.")

    @property
    def unkept(self) -> Way:
        """The way to the same fields, to single precision, where a state of the drift is needed once."""
        return self

    # ---------------------------------------------------------------- what it takes; nothing is computed

    @property
    @abstractmethod
    def kept_bytes(self) -> int:
        """Bytes of what is kept between calls, without a reference arm's wave."""

    @abstractmethod
    def making_bytes(self, threads: int) -> int:
        """Return the bytes that making it needs on top, with some threads."""

    @abstractmethod
    def showing_bytes(self, n_patterns: int, threads: int) -> int:
        """Return the bytes of buffers while patterns are shown in one go, with some threads."""

    @property
    @abstractmethod
    def vector_flops(self) -> float:
        """Operations from one vector to its fields, what is kept being there."""

    @abstractmethod
    def making(self) -> Work:
        """Return the work of making what is kept, once a state of the drift."""

    @abstractmethod
    def showing(self, n_patterns: int) -> Work:
        """Return the work of showing patterns in one go, up to their fields."""
