"""The way by matrix of features with complex weights: phases of a modulator, or mirrors whose light moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from opusim.base import parallel
from opusim.base.arrays import NUMPY
from opusim.base.arrays import of as arrays_of

from .by_matrix import MatrixWay
from .frames import Moments, Shots
from .reduction import Reduction
from .sources import MirrorSource

_VECTORS = 64  # vectors whose fields are developed together


class WeightedMatrixWay(MatrixWay):
    """From features to counts by a matrix, as `MatrixWay`, where each feature has a complex weight.

    Weights are those of the source (`coefficients`), which may follow the moment at which a vector is shown.
    """

    def fields(self, bits: Any, state: int = 0, moments: Moments | None = None) -> Any:
        """Return the fields at the camera; see `Way.fields`."""
        levels = arrays_of(bits).to_host(bits)
        source = self._geometry.source
        assert not isinstance(source, MirrorSource), "mirrors that move each by itself have no matrix of features"
        weights = source.coefficients(levels, moments)
        arrays, n = self._arrays, len(levels)
        result = arrays.empty((n, self._n_pixels, self._samples), np.complex64)
        for pixels, matrix, constant in self._tiles(state):
            wide = len(pixels) * self._samples
            if arrays == NUMPY:
                part = np.empty((n, wide), dtype=np.complex64)
                self._weigh(weights, matrix, constant, part.view(np.float32))
            else:
                # Of real matrices: the interleaved one times either part of the weights.
                brought = arrays.from_host(np.ascontiguousarray(weights))
                part = arrays.matmul(brought, arrays.complexes(matrix)) + arrays.complexes(constant)
            result[:, pixels.start : pixels.stop] = part.reshape(n, len(pixels), self._samples)
        return result

    def _weigh(self, weights: np.ndarray, matrix: np.ndarray, constant: np.ndarray, out: np.ndarray) -> None:
        """Fill `out` (n, width) with constant plus weights times matrix, on all threads, in the order of features."""
        from .weight_kernels import TILE, weigh

        n_tiles = -(-out.shape[1] // TILE)

        def work(a: int, b: int) -> None:
            weigh(weights.view(np.float32), matrix, constant, out, a, b)

        parallel.over_ranges(work, n_tiles, self._threads)

    def counts(self, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None = None) -> None:
        """Fill `out` with the counts of a batch; see `Way.counts`."""
        bits, shots, moments = self.in_time(bits, shots)

        def fields(vectors: slice) -> Any:
            return self.fields(bits[vectors], shots.state, None if moments is None else moments.part(vectors))

        with self._arrays.current():
            self._film.develop_all(fields, len(bits), _VECTORS, shots, out, progress, self._threads)

    def reduces(self, reduction: type[Reduction]) -> bool:
        """Return False: frames are made; see `Way.reduces`."""
        return False
