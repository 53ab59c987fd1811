"""The way by matrix of features with complex weights: phases of a modulator, or mirrors whose light moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from opusim.base import parallel
from opusim.base.arrays import NUMPY
from opusim.base.arrays import of as arrays_of

from .by_matrix import MatrixWay
from .frames import Moments, Shots, part_of
from .reduction import Reduction
from .sources import MirrorSource
from .way import Work

# Vectors whose fields are summed together, and the bytes that their weights may take: both are read again for each
# strip of outputs, from the second- and third-level cache.
_VECTORS = 1024
_WEIGHT_BYTES = 16 << 20
_PACKED = 8  # blocks of vectors whose weights are made at a time
_LEAST_PACKED = 16384  # weights that take as long as a thread takes to wake


class WeightedMatrixWay(MatrixWay):
    """From features to counts by a matrix, as `MatrixWay`, where each feature has a complex weight.

    Weights are those of the source (`coefficients`), which may follow the moment at which a vector is shown.
    """

    def counts(self, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None = None) -> None:
        """Fill `out` with the counts of a batch; see `Way.counts`."""
        bits, shots, moments = self.in_time(bits, shots)
        if self._arrays == NUMPY:
            self._by_sums(bits, shots, out, progress, moments)
            return
        with self._arrays.current():
            self._by_product(bits, shots, out, progress, moments)

    def reduces(self, reduction: type[Reduction]) -> bool:
        """Return False: frames are made; see `Way.reduces`."""
        return False

    # ---------------------------------------------------------------- weights

    def _weights(self, bits: Any, moments: Moments | None) -> np.ndarray:
        """Return the weights of vectors, complex64 (n, n_features), contiguous."""
        source = self._geometry.source
        assert not isinstance(source, MirrorSource), "mirrors that move each by itself have no matrix of features"
        return np.ascontiguousarray(source.coefficients(arrays_of(bits).to_host(bits), moments))

    def _factors(self, bits: Any, moments: Moments | None) -> Any:
        """Return the weights on the device."""
        return self._arrays.from_host(self._weights(bits, moments))

    def _product(self, weights: Any, matrix: Any, constant: Any, fields: slice) -> Any:
        """Return some of the fields of vectors, complex64 (n, fields)."""
        arrays = self._arrays
        return arrays.matmul(weights, arrays.complexes(matrix)[:, fields]) + arrays.complexes(constant)[fields]

    @property
    def _kernels(self) -> tuple[Any, Any]:
        """What makes fields of what `_listed` gives, and what makes counts."""
        from . import weight_kernels

        return weight_kernels.weigh_matrix, weight_kernels.develop_weights

    def _listed(
        self, bits: np.ndarray, reduction: Reduction | None = None, moments: Moments | None = None
    ) -> Iterator[tuple[slice, tuple[Any, ...]]]:  # fmt: skip
        """Yield vectors that go to the kernel together, with their weights and their number."""
        n = -(-len(bits) // self._at_once)
        for k in range(n):
            v = slice(len(bits) * k // n, len(bits) * (k + 1) // n)
            given = self._packed(bits[v], part_of(moments, v))
            yield v, (given, v.stop - v.start)

    @property
    def _at_once(self) -> int:
        """Most vectors that go to the kernel together."""
        return max(1, min(_VECTORS, _WEIGHT_BYTES // (8 * self._n_features)))

    def _packed(self, bits: np.ndarray, moments: Moments | None) -> np.ndarray:
        """Return the weights of vectors as the kernel takes them: float32, of the shape that `panel_shape` says."""
        from .weight_kernels import DIRECT, pack_weights, panel_shape
        from .weighted_tile_kernels import ABREAST

        n = len(bits)
        if n <= DIRECT:
            return self._weights(bits, moments).view(np.float32)
        panel = np.empty(panel_shape(n, self._n_features), dtype=np.float32)
        n_blocks, step = -(-n // ABREAST), _PACKED * ABREAST

        def work(a: int, b: int) -> None:
            for first in range(a * step, min(n, b * step), step):
                v = slice(first, min(n, first + step))
                own = self._weights(bits[v], part_of(moments, v))
                pack_weights(own.view(np.float32), self._n_features, panel[0], first // ABREAST, n_blocks)

        parallel.over_ranges(work, -(-n // step), self._threads, -(-_LEAST_PACKED // (step * self._n_features)))
        return panel

    # ---------------------------------------------------------------- what it takes

    def showing_bytes(self, n_patterns: int, threads: int) -> int:
        """Return the bytes of weights, the kernel's scratch and a tile; see `Way.showing_bytes`."""
        from . import weight_kernels

        n = min(n_patterns, self._at_once)
        packed = 8 * self._n_features * (n + 8)  # the last block is filled up
        made = 2 * packed // max(1, n) * _PACKED * 6 * threads  # levels, and weights before they are packed
        return packed + made + weight_kernels.space_bytes(n) * threads + 2 * self._tile_bytes

    @property
    def vector_flops(self) -> float:
        """Operations of a product with the matrix, of complex numbers; see `Way.vector_flops`."""
        return 8.0 * self._n_features * self._geometry.n_fields

    def showing(self, n_patterns: int) -> Work:
        """Return the work of summing products, and of the matrix if it is made anew in each go; see `Way.showing`."""
        making = Work() if self.stored else self.making()
        products = self._n_features * self._geometry.n_fields * n_patterns
        return Work(making.side, making.transforms, making.layer_points, making.entries, sums=products)
