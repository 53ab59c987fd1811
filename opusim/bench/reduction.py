"""What becomes of the frames of patterns where no array of frames is asked for.

A linear transform makes one number of several frames. A way that has a kernel for it makes it of a strip of pixels
while their counts are in cache (`reduction_kernels`); what it writes is, bit for bit, what plain code makes of frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from opusim.base.short_repr import short_repr
from opusim.fringes.demodulation import BurstPixels, finishing_scale, law_of

__all__ = ["CountSums", "FieldsOfBursts", "MeanDifferences", "Reduction"]

_NO_TURNS = np.empty((0, 2), dtype=np.float32)
_NO_BACKGROUND = np.empty(0, dtype=np.float32)


class Reduction(ABC):
    """What is made of the frames of some vectors.

    Attributes
    ----------
    patterns : int
        Patterns that a vector is shown by.
    kinds : str
        Kinds of counts (`numpy.dtype.kind`) that it takes: those of a camera that rounds, or others too.
    known : bool
        Whether the vectors are the same in every call, so that their fields are worth keeping.
    """

    patterns: int = 1
    kinds: str = "u"
    known: bool = False

    @abstractmethod
    def empty(self, n: int, frames: int, n_pixels: int) -> np.ndarray:
        """Return what the results of `n` vectors, of so many frames each, are put into.

        Parameters
        ----------
        n, frames, n_pixels : int
            Vectors, frames of each, and pixels.

        Returns
        -------
        ndarray
            Some rows a vector.
        """

    @abstractmethod
    def work(self, given: tuple[Any, ...], shared: tuple[Any, ...], like: np.ndarray, out: np.ndarray, rows: slice) -> (
        Callable[[int, int], None]
    ):  # fmt: skip
        """Return the kernel's work on some vectors, for ranges of strips.

        Parameters
        ----------
        given : tuple
            Listed patterns, matrix, constant and pixels of a strip; or fields that are `known` and pixels of a strip.
        shared : tuple
            From `Exposure.part`.
        like : ndarray
            Whose type counts have.
        out : ndarray
            From `empty`.
        rows : slice
            Which rows of it are those of the vectors.
        """

    def shown(self, packed: np.ndarray) -> np.ndarray:
        """Return the packed patterns that vectors are shown by, those of a vector next to each other.

        Parameters
        ----------
        packed : ndarray of uint8, shape (n, n_bytes)
            The vectors, eight features a byte, the first one in the lowest bit.

        Returns
        -------
        ndarray of uint8, shape (n * patterns, n_bytes)
            The vectors themselves by default.
        """
        return packed


@dataclass(frozen=True)
class CountSums(Reduction):
    """The sums of the frames of known vectors, in float64, added in the order of the frames to what is there."""

    kinds = "uf"
    known = True

    def empty(self, n: int, frames: int, n_pixels: int) -> np.ndarray:
        """Return rows to add to."""
        return np.full((n, n_pixels), -0.0)  # what is added to +0 is never -0 itself

    def work(self, given: tuple[Any, ...], shared: tuple[Any, ...], like: np.ndarray, out: np.ndarray, rows: slice) -> (
        Callable[[int, int], None]
    ):  # fmt: skip
        """Return the work of adding."""
        from . import reduction_kernels

        return partial(reduction_kernels.total_counts, *given, shared, like, out[rows])


@short_repr
@dataclass(frozen=True, eq=False)
class MeanDifferences(Reduction):
    """Differences of two means, in float32: over the frames of ``x ^ r`` and of ``x ^ ~r``, shown in turn.

    Parameters
    ----------
    flips : ndarray of uint8, shape (n_features,)
        r: 0 or 1.
    """

    flips: np.ndarray

    patterns = 2
    kinds = "uf"

    def empty(self, n: int, frames: int, n_pixels: int) -> np.ndarray:
        """Return a row for each vector."""
        return np.empty((n, n_pixels), dtype=np.float32)

    def work(self, given: tuple[Any, ...], shared: tuple[Any, ...], like: np.ndarray, out: np.ndarray, rows: slice) -> (
        Callable[[int, int], None]
    ):  # fmt: skip
        """Return the work of adding and subtracting."""
        from . import reduction_kernels

        return partial(reduction_kernels.differences_of_means, *given, shared, like, out[rows])

    def shown(self, packed: np.ndarray) -> np.ndarray:
        """Return each vector with the features of r flipped, then with the others flipped."""
        flips = np.packbits(np.stack([self.flips, 1 - self.flips]), axis=1, bitorder="little")
        return (packed[:, None] ^ flips).reshape(2 * len(packed), -1)


@short_repr
@dataclass(frozen=True, eq=False)
class FieldsOfBursts(Reduction):
    """Fields of bursts, complex64, of which each vector has one or several; or what a linear transform makes of them.

    Parameters
    ----------
    pixels : BurstPixels
        What is known of the pixels, in the machine's own memory.
    turns : ndarray of complex64, shape (n,), optional
        What the fields of a vector are multiplied by, with one burst each; without it they stay as they are.
    background : ndarray of complex64, shape (at least n_pixels,), optional
        What is taken off then.
    scale : float
        What the rest is multiplied by.
    real : bool
        Whether sqrt(2) times the real part is asked for.
    known : bool
        As in `Reduction`.
    """

    pixels: BurstPixels
    turns: np.ndarray | None = None
    background: np.ndarray | None = None
    scale: float = 1.0
    real: bool = False
    known: bool = False

    def empty(self, n: int, frames: int, n_pixels: int) -> np.ndarray:
        """Return a row for each burst."""
        rows = n * frames // len(self.pixels.phases_rad)
        return np.empty((rows, n_pixels), dtype=np.float32 if self.real else np.complex64)

    def work(self, given: tuple[Any, ...], shared: tuple[Any, ...], like: np.ndarray, out: np.ndarray, rows: slice) -> (
        Callable[[int, int], None]
    ):  # fmt: skip
        """Return the work of demodulating and finishing."""
        from . import reduction_kernels

        turned, background = _NO_TURNS, _NO_BACKGROUND
        if self.turns is not None:
            assert self.background is not None, "a turn goes with a background"
            turned = self.turns.view(np.float32).reshape(-1, 2)[rows]
            background = self.background.view(np.float32)
        finish = turned, background, finishing_scale(self.scale, real=self.real)
        kernels = reduction_kernels
        kernel = kernels.known_fields_of_bursts if self.known else kernels.fields_of_bursts
        return partial(kernel, *given, shared, like, law_of(self.pixels), finish, out[rows].view(np.float32))
