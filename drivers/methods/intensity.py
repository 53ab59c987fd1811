"""The linear transform by intensities alone: no reference arm, a signed combination of binary frames.

Let M be the matrix of the medium for the features in use, p the field of the mirrors that are always on, 1 the vector
of ones, r a fixed random 0/1 vector, ^ the exclusive or. With Y(u) = |M u + p|^2 for a 0/1 vector u::

    [Y(x ^ r) - Y(x ^ ~r)] - [Y(r) - Y(~r)] = 2 Re( conj(M 1 + 2 p) M diag(1 - 2 r) x )

which is linear in x for any p. (Put u = x ^ r = r + diag(1 - 2 r) x and ~u = 1 - u: the squares cancel.) Divided by
2 sqrt(Y(1)), for p = 0 the reference M 1 leaves only its phase, and the entries are i.i.d. normal numbers but in one
direction: 1 - 2 r is mapped to the moduli |M 1|, sqrt(2) Rayleigh numbers, always positive. For n features this gives
entries a mean of +-sqrt(pi / (2 n)), with the signs of 1 - 2 r. The random r is needed to hide it: with r = 0 the
direction is that of the vector of ones, which data often have a large part in.

Where mirrors outside the input region are on, p is not 0 (features in two dimensions, or a region that does not fill
the array): y is then still linear in x, but its rows are not equally scaled, and entries are not normal.

Method: Ohana et al., "Linear optical random projections without holography", Optics Express 31, 25881 (2023); the
frames used here are our own, the product's were not published.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from opusim.base import arrays
from opusim.base.rng import stream_key, uniforms

BLOCK = 64
"""Vectors between two exposures of the anchors; all anchors of a batch are averaged."""
ANCHORS = 3
"""Frames that each block begins with: all ones, r, and its complement."""
# Darkest reference, relative to the mean, that is divided by: 2 % of the pixels are darker, and would only show noise.
_DARKEST = 0.02
_FRAMES = ANCHORS + 2 * BLOCK


@functools.lru_cache(maxsize=16)
def anchor(n_features: int) -> np.ndarray:
    """Return r, the fixed random vector: uint8 0/1, (n_features,), read-only, the same in every process."""
    r = (uniforms(stream_key(0, "anchor of the linear transform", n_features), n_features) < 0.5).astype(np.uint8)
    r.flags.writeable = False
    return r


@functools.lru_cache(maxsize=16)
def anchor_on(place: arrays.Arrays, n_features: int) -> Any:
    """Return `anchor` as an array of a library on its device, which must not be written."""
    return place.from_host(anchor(n_features))


def frames_needed(n_vectors: int) -> int:
    """Return how many frames `encode` makes of `n_vectors` vectors: 2 n + 3 for each 64 begun."""
    return 2 * n_vectors + ANCHORS * -(-n_vectors // BLOCK)


def vectors_in(n_frames: int) -> int:
    """Return how many vectors stand behind `n_frames` frames.

    Raises
    ------
    ValueError
        If `encode` never makes so many.
    """
    blocks, rest = divmod(n_frames, _FRAMES)
    n = blocks * BLOCK + max(0, rest - ANCHORS) // 2
    if n < 1 or frames_needed(n) != n_frames:
        raise ValueError(
            f"There are {n_frames} frames, but no number of vectors gives so many: n vectors give 2 n + {ANCHORS} for "
            f"each {BLOCK} begun."
        )
    return n


def _blocks(n: int) -> Iterator[tuple[slice, slice]]:
    """Yield the vectors of each block and its frames."""
    for first in range(0, n, BLOCK):
        count = min(BLOCK, n - first)
        start = frames_needed(first)
        yield slice(first, first + count), slice(start, start + ANCHORS + 2 * count)


def encode(x: Any) -> Any:
    """Return the patterns to show for the vectors `x`.

    Parameters
    ----------
    x : numpy.ndarray, torch.Tensor or cupy.ndarray
        uint8 or bool 0/1, (n, n_features).

    Returns
    -------
    array of the same library, on the same device
        uint8 0/1, (frames_needed(n), n_features).
    """
    place = arrays.of(x)
    xp = place.xp
    n, n_features = x.shape
    x, r = x.view(xp.uint8), anchor_on(place, n_features)
    frames = place.empty((frames_needed(n), n_features), np.uint8)
    for vectors, rows in _blocks(n):
        block = frames[rows]
        block[0], block[1], block[2] = 1, r, 1 - r
        xp.bitwise_xor(x[vectors], r, out=block[ANCHORS::2])
        xp.bitwise_xor(block[ANCHORS::2], 1, out=block[ANCHORS + 1 :: 2])
    return frames


class Decoder:
    """Recovers y from the frames of `encode`, which may come in parts.

    Parameters
    ----------
    n_vectors : int
        Vectors of the batch.
    n_pixels : int
        Pixels of a frame.
    n_features : int
        Features of a vector.
    black_level_dn : float
        What the camera gives in the dark.
    level_dn : float, optional
        Mean level above the dark that the device gives with every feature on. Without it, the mean over the anchors
        and pixels at hand is taken, which for few pixels is itself a random number (relative error about
        .6 / sqrt(n_pixels), and half of that in y).
    result : array of float32, shape (n_vectors, n_pixels), optional
        What y is put into: an array of the library and on the device that frames will come from; numpy's by default.

    Notes
    -----
    The entries of the matrix have variance 1: the division by the reference is followed by one by their mean
    modulus, which follows from the mean level.
    """

    def __init__(
        self,
        n_vectors: int,
        n_pixels: int,
        n_features: int,
        black_level_dn: float,
        level_dn: float | None = None,
        *,
        result: Any = None,
    ) -> None:
        self.result = np.empty((n_vectors, n_pixels), dtype=np.float32) if result is None else result
        self._place = arrays.of(self.result)
        self._anchors = self._place.zeros((ANCHORS, n_pixels), np.float64)
        self._n_features = n_features
        self._black = black_level_dn
        self._level = level_dn
        self._n_blocks = 0
        self._done = 0

    def add(self, frames: Any) -> None:
        """Take the frames of the next vectors, whole blocks of them: real numbers, (k, n_pixels)."""
        n = vectors_in(len(frames))
        for vectors, rows in _blocks(n):
            self._n_blocks += 1
            target = self.result[self._done + vectors.start : self._done + vectors.stop]
            self._add_block(frames[rows], target)
        self._done += n

    def _add_block(self, block: Any, target: Any) -> None:
        plus, minus = block[ANCHORS::2], block[ANCHORS + 1 :: 2]
        if self._place == arrays.NUMPY:
            self._anchors += block[:ANCHORS]
            np.subtract(plus, minus, out=target, dtype=np.float32)
            return
        xp = self._place.xp
        # Converted first: torch does not compute with uint16.
        self._anchors += xp.astype(block[:ANCHORS], xp.float64)
        target[...] = plus
        target -= xp.astype(minus, xp.float32)

    def finish(self) -> Any:
        """Return y, float32 (n_vectors, n_pixels)."""
        anchors = self._anchors / self._n_blocks
        return reconstruct(self.result, anchors, self._n_features, self._black, self._level)


def reconstruct(
    differences: Any, anchors: Any, n_features: int, black_level_dn: float, level_dn: float | None = None
) -> Any:
    """Return y, made of the differences Y(x ^ r) - Y(x ^ ~r) in place.

    Parameters
    ----------
    differences : array of any library
        float32, (n, n_pixels).
    anchors : array of the same library, on the same device
        Means of the anchors' frames, float64 (ANCHORS, n_pixels).
    n_features, black_level_dn, level_dn : int, float, float
        As for `Decoder`.
    """
    xp = arrays.of(differences).xp
    ones, with_r, without_r = anchors[0], anchors[1], anchors[2]
    mean = level_dn
    if mean is None:
        # Expected: I, I / 2 and I / 2 above the black level, three speckles that are nearly independent.
        mean = float(xp.mean(ones + with_r + without_r) - 3 * black_level_dn) / 2
    if mean <= 0:  # no light at all
        mean = 1.0
    reference = xp.maximum(ones - black_level_dn, _DARKEST * mean)
    # An entry's modulus squared is I / n on average, and its real part has half of that.
    scale = math.sqrt(2 * n_features / mean) / (2 * xp.sqrt(reference))
    differences -= xp.astype(with_r - without_r, xp.float32)
    differences *= xp.astype(scale, xp.float32)
    return differences


def decode(
    frames: np.ndarray, n_features: int, black_level_dn: float = 0.0, level_dn: float | None = None
) -> np.ndarray:
    """Return y for the frames that the patterns of `encode` gave.

    Parameters
    ----------
    frames : numpy.ndarray
        Counts, (frames_needed(n), n_pixels), of any real type.
    n_features : int
        Features of a vector.
    black_level_dn, level_dn : float
        As for `Decoder`.

    Returns
    -------
    numpy.ndarray
        float32, (n, n_pixels): R x with entries of R of variance 1.

    Raises
    ------
    ValueError
        If the number of frames is none that `encode` makes.
    """
    decoder = Decoder(vectors_in(len(frames)), frames.shape[1], n_features, black_level_dn, level_dn)
    decoder.add(frames)
    return decoder.finish()
