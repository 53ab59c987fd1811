"""The way by matrix: binary features times the matrix of the device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

import numpy as np

from opusim.base import memory, parallel
from opusim.base.arrays import NUMPY, Arrays
from opusim.base.locks import new_lock

from .entries import Entries
from .film import Film
from .frames import Moments, Shots, part_of
from .geometry import Geometry
from .reduction import Reduction
from .way import Way, Work

_VECTORS = 1024  # vectors of one product with the matrix
_PRODUCT_BYTES = 64 << 20  # fields of one product; a GPU takes more
_PRODUCT_BYTES_GPU = 1 << 30
_KNOWN = 2  # sets of vectors whose fields are kept: anchors of either linear transform
_TILE_BYTES = 1 << 30  # most of a matrix that is not kept, at a time
_LEAST_ADDED = 200_000  # entries of a matrix, times vectors, that take as long as a thread takes to wake: 20 us or more


class MatrixSource(Protocol):
    """What a matrix is made from: a `WavesWay`, or `Entries`."""

    def matrix(self, pixels: range, state: int) -> tuple[np.ndarray, np.ndarray]:
        """Return matrix and constant of some pixels; see `MatrixWay.matrix`."""
        ...

    def matrix_work(self) -> Work:
        """Return the work of making all of it."""
        ...

    def matrix_making_bytes(self, threads: int) -> int:
        """Return the bytes that making it needs beside it, with some threads."""
        ...


class MatrixWay(Way):
    """From features to counts by a matrix, which is kept, or made tile by tile in each go.

    Parameters
    ----------
    geometry : Geometry
        Features, medium and pixels.
    source : WavesWay or Entries
        What the matrix is made from; waves only for one that is kept.
    memory_budget : int
        Bytes that the matrix may take to be kept, else a tile of it.
    threads : int
        Threads to use; they do not change the result.
    arrays : Arrays
        Library and device to compute with.

    Attributes
    ----------
    matrix_bytes : int
        Size of the matrix, kept or not.
    stored : bool
        Whether it may be kept.
    memory_budget : int
        As given.
    """

    name = "matrix"

    def __init__(
        self,
        geometry: Geometry,
        source: MatrixSource,
        *,
        memory_budget: int,
        threads: int,
        arrays: Arrays = NUMPY,
    ) -> None:
        self._geometry, self._source = geometry, source
        self._n_features, self._n_pixels = geometry.source.n_features, geometry.region.n_pixels
        self._samples = geometry.sampling.samples
        self.memory_budget, self._threads, self._arrays = memory_budget, threads, arrays
        self.matrix_bytes = 8 * (self._n_features + 1) * geometry.n_fields
        self.stored = geometry.has_matrix and self.matrix_bytes <= memory_budget
        self._film = Film(geometry.device.camera, geometry.seed, self._samples, arrays)
        self._lock = new_lock()
        self._fields_kept: dict[tuple[int, bytes], np.ndarray] = {}
        # State, matrix and constant, and whether they lie where they are needed.
        self._kept: tuple[int, Any, Any, bool] | None = None

    def with_threads(self, threads: int) -> Self:
        """Return the same way, which has the same matrix by now, with another number of threads."""
        other = copy.copy(self)
        other._threads = threads
        return other

    # ---------------------------------------------------------------- the matrix

    def prepare(self, state: int) -> None:
        """Make the matrix for a state of the drift, if it is kept; if not, see that it can be made."""
        if self.stored:
            self._held(state)
        elif isinstance(self._source, Entries):
            self._source.check_content()

    def matrix(self, state: int = 0) -> tuple[Any, Any]:
        """Return the matrix of the features in use, in the memory of the device if there is room in it.

        Parameters
        ----------
        state : int
            State of the medium's drift.

        Returns
        -------
        matrix : array of float32, shape (n_features, 2 * n_pixels * samples)
            Change of the fields by each feature: real and imaginary parts by turns.
        constant : array of float32, shape (2 * n_pixels * samples,)
            Field with every feature off.
        """
        _, matrix, constant, _ = self._held(state)
        return matrix, constant

    def _held(self, state: int) -> tuple[int, Any, Any, bool]:
        with self._lock:  # one thread makes the matrix, the others wait for it
            kept = self._kept
            if kept is None or kept[0] != state:
                self._kept = kept = None
                with self._arrays.current():
                    self._kept = kept = (state, *self._made(state))
            return kept

    def _made(self, state: int) -> tuple[Any, Any, bool]:
        memory.check(
            f"A matrix of {self._n_features} features and {self._n_pixels} pixels",
            self.matrix_bytes,
            "set memory_budget below that, or execution='waves'.",
        )
        matrix, constant = self._source.matrix(range(self._n_pixels), state)
        if isinstance(self._source, Entries):
            self._source.let_go()  # else the matrix of a file would be there twice for good
        here = not self._arrays.is_gpu or self.matrix_bytes <= memory.available_bytes(self._arrays) / 2
        if here:
            return self._arrays.from_host(matrix), self._arrays.from_host(constant), True
        return matrix, constant, False

    def _tiles(self, state: int) -> Iterator[tuple[range, Any, Any]]:
        """Yield (range of pixels, matrix, constant): all at once if the matrix may be kept on the device."""
        m, arrays = self._n_pixels, self._arrays
        kept = None
        if self.stored:
            _, matrix, constant, here = kept = self._held(state)
            if here:
                yield (range(m), matrix, constant)
                return
        room = min(
            self.memory_budget, _TILE_BYTES, memory.available_bytes(arrays) / 4 if arrays.is_gpu else _TILE_BYTES
        )  # fmt: skip
        step = max(64, int(room // (16 * (self._n_features + 1) * self._samples)))
        for start in range(0, m, step):
            pixels = range(start, min(m, start + step))
            if kept is None:
                made = self._source.matrix(pixels, state)
            else:
                wide = slice(2 * self._samples * pixels.start, 2 * self._samples * pixels.stop)
                made = np.ascontiguousarray(kept[1][:, wide]), kept[2][wide]
            yield (pixels, arrays.from_host(made[0]), arrays.from_host(made[1]))

    @property
    def unkept(self) -> Way:
        """The waves that the matrix would be made from, if there are any; see `Way.unkept`."""
        return self._source if isinstance(self._source, Way) else self

    # ---------------------------------------------------------------- fields and counts

    def fields(self, bits: Any, state: int = 0, moments: Moments | None = None) -> Any:
        """Return the fields at the camera; see `Way.fields`.

        With numpy they are the sums that `counts` makes, so that a row has the same bits in any batch.
        """
        arrays = self._arrays
        if arrays == NUMPY:
            return self._sums(bits, state, moments)
        result = arrays.empty((len(bits), self._n_pixels, self._samples), np.complex64)
        weights = self._factors(bits, moments)
        for pixels, matrix, constant in self._tiles(state):
            tile = self._product(weights, matrix, constant, slice(0, len(pixels) * self._samples))
            result[:, pixels.start : pixels.stop] = tile.reshape(len(bits), len(pixels), self._samples)
        return result

    def _factors(self, bits: Any, moments: Moments | None) -> Any:
        """Return what rows of the matrix are multiplied by, on the device: (n, n_features)."""
        return self._arrays.xp.astype(self._arrays.bring(bits), self._arrays.dtype(np.float32))

    def _product(self, weights: Any, matrix: Any, constant: Any, fields: slice) -> Any:
        """Return some of the fields of vectors, complex64 (n, fields)."""
        wide = slice(2 * fields.start, 2 * fields.stop)
        return self._arrays.complexes(self._arrays.matmul(weights, matrix[:, wide]) + constant[wide])

    @property
    def _kernels(self) -> tuple[Any, Any]:
        """What makes fields of what `_listed` gives, and what makes counts."""
        from . import matrix_kernels

        return matrix_kernels.sum_matrix, matrix_kernels.develop_matrix

    def _sums(self, bits: np.ndarray, state: int, moments: Moments | None = None) -> np.ndarray:
        """Fields of a batch as sums of rows of the matrix: complex64 (n, n_pixels, samples)."""
        kernel = self._kernels[0]
        result = np.empty((len(bits), self._n_pixels, self._samples), dtype=np.complex64)
        for pixels, matrix, constant in self._tiles(state):
            whole = len(pixels) == self._n_pixels
            shape = (len(bits), len(pixels), self._samples)
            target = result if whole else np.empty(shape, dtype=np.complex64)
            flat = target.reshape(len(bits), len(pixels) * self._samples).view(np.float32)
            strip, n_strips, least = self._strips(len(bits), len(pixels))
            for v, listed in self._listed(bits, moments=moments):
                given = (*listed, matrix, constant, strip, self._samples, flat[v])

                def work(a: int, b: int, given: tuple[Any, ...] = given) -> None:
                    kernel(*given, a, b)

                parallel.over_ranges(work, n_strips, self._threads, least)
            if not whole:
                result[:, pixels.start : pixels.stop] = target
        return result

    def counts(self, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None = None) -> None:
        """Fill `out` with the counts of a batch; see `Way.counts`."""
        if self._arrays == NUMPY:
            self._by_sums(bits, shots, out, progress)
            return
        with self._arrays.current():
            self._by_product(bits, shots, out, progress)

    def _by_product(
        self, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None, moments: Moments | None = None
    ) -> None:  # fmt: skip
        """Bits times matrix as a product of matrices, tile by tile, then the camera."""
        arrays, samples, steps, film = self._arrays, self._samples, shots.steps, self._film
        room = _PRODUCT_BYTES_GPU if arrays.is_gpu else _PRODUCT_BYTES
        exposure = film.exposure(shots)
        for pixels, matrix, constant in self._tiles(shots.state):
            for v0 in range(0, len(bits), _VECTORS):
                v = slice(v0, min(len(bits), v0 + _VECTORS))
                weights = self._factors(bits[v], part_of(moments, v))
                width = max(1, room // (8 * samples * len(weights)))
                for first in range(0, len(pixels), width):
                    last = min(len(pixels), first + width)
                    fields = self._product(weights, matrix, constant, slice(samples * first, samples * last))
                    own = slice(pixels.start + first, pixels.start + last)
                    with film.target(out, slice(v.start * steps, v.stop * steps), own) as target:
                        fields = fields.reshape(len(weights), -1, samples)
                        film.develop(fields, exposure, v, own, target, self._threads)
                if progress is not None and pixels.stop == self._n_pixels:
                    progress(v.stop)

    def _by_sums(
        self,
        bits: np.ndarray,
        shots: Shots,
        out: np.ndarray,
        progress: Callable[[int], None] | None,
        moments: Moments | None = None,
    ) -> None:
        """Bits times matrix as sums of its rows, which the kernel gives straight to the camera."""
        kernel = self._kernels[1]
        steps, exposure = shots.steps, self._film.exposure(shots)
        for pixels, matrix, constant in self._tiles(shots.state):
            whole = len(pixels) == out.shape[1]
            target = out if whole else np.empty((len(out), len(pixels)), dtype=out.dtype)
            strip, n_strips, least = self._strips(len(bits), len(pixels))
            for v, listed in self._listed(bits, moments=moments):
                rest = exposure.part(v, slice(pixels.start, pixels.stop))
                part = target[v.start * steps : v.stop * steps]

                def work(
                    a: int, b: int, given: tuple[Any, ...] = (*listed, matrix, constant, strip, *rest, part)
                ) -> None:
                    kernel(*given, a, b)

                parallel.over_ranges(work, n_strips, self._threads, least)
                if progress is not None and pixels.stop == out.shape[1]:
                    progress(v.stop)
            if not whole:
                out[:, pixels.start : pixels.stop] = target

    def reduces(self, reduction: type[Reduction]) -> bool:
        """Return whether counts are made by sums of a matrix that is kept; see `Way.reduces`."""
        return self._arrays == NUMPY and self.stored and self._film.camera.dtype.kind in reduction.kinds

    def reduce(self, bits: np.ndarray, shots: Shots, reduction: Reduction, out: np.ndarray) -> None:
        """Fill `out` with what a reduction makes of the frames of a batch; see `Way.reduce`."""
        exposure, m = self._film.exposure(shots), out.shape[1]
        _, matrix, constant, _ = self._held(shots.state)
        strip, n_strips, least = self._strips(reduction.patterns * len(bits), m)
        like = np.empty(0, dtype=self._film.camera.dtype)
        if reduction.known:
            fields = self._known(bits, shots.state)
            shared = exposure.part(slice(0, len(bits)), slice(0, m))
            work = reduction.work((fields, strip), shared, like, out, slice(None))
            parallel.over_ranges(work, n_strips, self._threads, least)
            return
        each = len(out) // len(bits) if len(bits) else 1
        for v, listed in self._listed(bits, reduction):
            given = (listed, matrix, constant, strip)
            rows = slice(v.start * each, v.stop * each)
            work = reduction.work(given, exposure.part(v, slice(0, m)), like, out, rows)
            parallel.over_ranges(work, n_strips, self._threads, least)

    def _known(self, bits: np.ndarray, state: int) -> np.ndarray:
        """Return the fields of vectors that come again, as float32 (n, 2 * n_fields): kept, the last few of them."""
        key = state, bits.tobytes()
        fields = self._fields_kept.get(key)
        if fields is None:
            fields = self._sums(bits, state).reshape(len(bits), self._n_pixels * self._samples).view(np.float32)
            with self._lock:
                for other in [other for other in self._fields_kept if other[0] != state]:
                    del self._fields_kept[other]
                self._fields_kept[key] = fields
                while len(self._fields_kept) > _KNOWN:
                    del self._fields_kept[next(iter(self._fields_kept))]
        return fields

    def _strips(self, n_vectors: int, n_pixels: int) -> tuple[int, int, int]:
        """Return the pixels of a strip, how many strips there are, and how many of them are worth a thread.

        There are as many for each thread, if there can be.
        """
        from .matrix_kernels import STRIP, WIDTH

        most = max(1, STRIP // self._samples)
        n = -(-n_pixels // most)
        n = -(-n // self._threads) * self._threads
        even = max(1, WIDTH // (2 * self._samples))  # pixels of a tile, of which none is left in part
        strip = min(most, -(-n_pixels // (n * even)) * even)
        added = max(1, n_vectors * self._n_features * strip * self._samples)
        return strip, -(-n_pixels // strip), -(-_LEAST_ADDED // added)

    def _listed(
        self, bits: np.ndarray, reduction: Reduction | None = None, moments: Moments | None = None
    ) -> Iterator[tuple[slice, tuple[Any, ...]]]:  # fmt: skip
        """Yield vectors that go to the kernel together, with the first arguments that it takes of them."""
        from .matrix_kernels import VECTORS

        each = 1 if reduction is None else reduction.patterns
        n = -(-len(bits) * each // VECTORS)
        for k in range(n):
            start, stop = len(bits) * k // n, len(bits) * (k + 1) // n
            packed = np.packbits(bits[start:stop], axis=1, bitorder="little")
            if reduction is not None:
                packed = reduction.shown(packed)
            yield slice(start, stop), list_groups(packed, self._threads)

    # ---------------------------------------------------------------- what it takes

    @property
    def kept_bytes(self) -> int:
        """Bytes of mirrors, sensor, matrix and the fields of anchors; see `Way.kept_bytes`."""
        known = sum(fields.nbytes for fields in list(self._fields_kept.values()))
        return self._geometry.kept_bytes + known + (self.matrix_bytes if self.stored else 0)

    def making_bytes(self, threads: int) -> int:
        """Return the bytes that the matrix needs beside it while it is made; see `Way.making_bytes`."""
        return max(self._geometry.making_bytes - self.kept_bytes, self._source.matrix_making_bytes(threads))

    def showing_bytes(self, n_patterns: int, threads: int) -> int:
        """Return the bytes of lists of table entries, the kernel's scratch and a tile; see `Way.showing_bytes`."""
        from . import matrix_kernels

        n = min(n_patterns, matrix_kernels.VECTORS)
        # A word of eight groups and the number of its vector; packed bits.
        lists = n * (10 * -(-self._groups // matrix_kernels.GROUPS) + self._groups)
        return lists + matrix_kernels.space_bytes(n) * threads + 2 * self._tile_bytes

    @property
    def _tile_bytes(self) -> int:
        """Bytes of a tile of a matrix that is not kept."""
        return 0 if self.stored else min(self.matrix_bytes, self.memory_budget, _TILE_BYTES)

    @property
    def vector_flops(self) -> float:
        """Operations of a product with the matrix; see `Way.vector_flops`."""
        return 2.0 * self._n_features * self._geometry.n_fields

    def making(self) -> Work:
        """Return the work of making the matrix; see `Way.making`."""
        return self._source.matrix_work()

    def showing(self, n_patterns: int) -> Work:
        """Return the work of summing rows, and of the matrix if it is made anew in each go; see `Way.showing`."""
        from . import matrix_kernels

        added = self._groups * self._geometry.n_fields
        sums, tables = added * n_patterns, added * -(-n_patterns // matrix_kernels.VECTORS)
        making = Work() if self.stored else self.making()
        return Work(making.side, making.transforms, making.layer_points, making.entries, sums, tables)

    @property
    def _groups(self) -> int:
        from . import matrix_kernels

        return -(-self._n_features // matrix_kernels.GROUP)


class VectorWay(Way):
    """From bare mirrors to counts through a medium of entries: vector by vector, and nothing is kept.

    Parameters
    ----------
    geometry : Geometry
        Mirrors, medium and pixels.
    source : Entries
        What fields are made from.
    threads : int
        Threads to use; they do not change the result.
    """

    name = "matrix"

    def __init__(self, geometry: Geometry, source: Entries, *, threads: int) -> None:
        self._geometry, self._source, self._threads = geometry, source, threads
        self._film = Film(geometry.device.camera, geometry.seed, geometry.sampling.samples, NUMPY)

    def prepare(self, state: int) -> None:
        """See that entries can be made: there is nothing to keep."""
        self._source.check_content()

    def fields(self, bits: Any, state: int = 0, moments: Moments | None = None) -> np.ndarray:
        """Return the fields at the camera; see `Way.fields`."""
        import scipy.sparse

        cells = scipy.sparse.csr_array(self._geometry.source.cells(bits, moments=moments).reshape(len(bits), -1))
        return self._source.through(cells, range(self._geometry.region.n_pixels), state)

    def counts(self, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None = None) -> None:
        """Fill `out` with the counts of a batch; see `Way.counts`."""
        bits, shots, moments = self.in_time(bits, shots)

        def fields(vectors: slice) -> np.ndarray:
            return self.fields(bits[vectors], shots.state, part_of(moments, vectors))

        self._film.develop_all(fields, len(bits), 1, shots, out, progress, self._threads)

    @property
    def kept_bytes(self) -> int:
        """Bytes of mirrors and sensor; see `Way.kept_bytes`."""
        return self._geometry.kept_bytes

    def making_bytes(self, threads: int) -> int:
        """Return the bytes of the mirrors' light while it is made; see `Way.making_bytes`."""
        return max(0, self._geometry.making_bytes - self.kept_bytes)

    def showing_bytes(self, n_patterns: int, threads: int) -> int:
        """Return the bytes of tiles of entries; see `Way.showing_bytes`."""
        return self._source.matrix_making_bytes(threads)

    @property
    def vector_flops(self) -> float:
        """Operations of the product with the entries; see `Way.vector_flops`."""
        return 2.0 * self._geometry.source.n_features * self._geometry.n_fields

    def making(self) -> Work:
        """Return no work; see `Way.making`."""
        return Work()

    def showing(self, n_patterns: int) -> Work:
        """Return the work of making all entries for each vector; see `Way.showing`."""
        return Work(entries=n_patterns * self._geometry.n_modes * self._geometry.n_fields)


def list_groups(packed: np.ndarray, threads: int = 1) -> tuple[Any, ...]:
    """Return the first arguments of the kernels of sums: packed vectors, and which table entries they add.

    Parameters
    ----------
    packed : ndarray of uint8, shape (n, n_bytes)
        Eight features a byte, the first one in the lowest bit; at most `matrix_kernels.VECTORS`.
    threads : int
        Threads to use; they do not change the result.

    Returns
    -------
    tuple
        As `matrix_kernels.develop_matrix` takes them, from `packed` to `ends`.
    """
    from . import matrix_kernels

    n = len(packed)
    assert n <= matrix_kernels.VECTORS, "lists number vectors by 16 bits"
    if n <= matrix_kernels.DIRECT:
        return packed, *_NO_LISTS
    groups = np.empty(2 * packed.shape[1], dtype=np.int64)
    n_groups = matrix_kernels.used_groups(packed, groups)
    n_chunks = -(-n_groups // matrix_kernels.GROUPS)
    entries = np.empty((n_chunks, n), dtype=np.uint64)
    order = np.empty((n_chunks, n), dtype=np.uint16)
    ends = np.empty((n_chunks, matrix_kernels.GROUPS + 1), dtype=np.int64)

    def work(a: int, b: int) -> None:
        matrix_kernels.list_entries(packed, groups, n_groups, entries, order, ends, a, b)

    parallel.over_ranges(work, n_chunks, threads, -(-_LEAST_LISTED // n))
    return packed, groups, n_groups, entries, order, ends


_LEAST_LISTED = 8192  # lists of eight groups: 50 us
_NO_LISTS = (
    np.empty(0, np.int64), 0, np.empty((0, 0), np.uint64), np.empty((0, 0), np.uint16), np.empty((0, 0), np.int64),
)  # fmt: skip
