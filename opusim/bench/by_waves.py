"""The way by waves: fields of the mirrors go through the layer on its grid, a few patterns at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from opusim.base import memory, parallel
from opusim.base.arrays import NUMPY, Arrays
from opusim.base.arrays import of as arrays_of
from opusim.base.locks import new_lock
from opusim.base.progress import LongWork
from opusim.device.medium import WaveMedium
from opusim.device.medium.layer import CACHE_BYTES, LayerOperator

from .film import Film
from .frames import Moments, Shots, part_of
from .geometry import Geometry
from .way import Way, Work, transform_flops

_STACK_BYTES = 8 << 20  # fields that go through the layer at a time
_THREADS_BYTES = 256 << 20  # or one for each thread, with its cells and outputs: up to so much
_STACK_BYTES_GPU = 1 << 30  # at most
_STACK_COPIES = 4  # of the stack, while it goes through a layer
_ROUND = 4  # batches of small grids that a thread takes before all wait for each other
_FEATURES = 2048  # rows of a column of the matrix that are written together
# While a screen is made: random numbers, its spectrum, the amplitude in double precision. While it is used: fields.
_GRIDS_BESIDE = 4


class Layers:
    """Prepared layers of the ways of one bench, which take up to a second to make.

    They are held weakly: a layer lives as long as a way that has it.
    """

    def __init__(self) -> None:
        self.lock = new_lock()
        self.made: WeakValueDictionary[Any, LayerOperator] = WeakValueDictionary()


class WavesWay(Way):
    """From patterns to counts through the layer.

    Parameters
    ----------
    geometry : Geometry
        Inputs, medium and pixels; of a medium that has waves.
    threads : int
        Threads to use; they do not change the result.
    arrays : Arrays
        Library and device to compute with.
    layers : Layers, optional
        Where the ways of one bench find the layers of each other.

    Raises
    ------
    MemoryError
        From what it does first: if the grid does not fit the memory that is free, before any of it is taken.
    """

    name = "waves"

    def __init__(
        self, geometry: Geometry, *, threads: int, arrays: Arrays = NUMPY, layers: Layers | None = None
    ) -> None:  # fmt: skip
        medium, grid, block = geometry.device.medium, geometry.grid, geometry.block
        assert isinstance(medium, WaveMedium) and grid is not None, "a medium of entries has no waves"
        assert block is not None, "pixels lie somewhere on the grid"
        self._geometry, self._medium, self._grid, self._block = geometry, medium, grid, block
        self._threads = threads
        self._arrays = arrays
        self._layers = Layers() if layers is None else layers
        self._film = Film(geometry.device.camera, geometry.seed, geometry.sampling.samples, arrays)
        self._lock = new_lock()
        self._stack: int | None = None
        self._operators: tuple[int, list[LayerOperator]] | None = None
        self._reading: tuple[Any, Any] | None = None

    # ---------------------------------------------------------------- the layer

    def prepare(self, state: int) -> None:
        """Make the layer on its grid for a state of the drift."""
        with self._arrays.current():
            self.operators(state)

    def operators(self, state: int) -> list[LayerOperator]:
        """Return the prepared layers in a state of the drift, kept until the state changes.

        Parameters
        ----------
        state : int
            State of the medium's drift.

        Returns
        -------
        list of LayerOperator
            One for each channel (`PixelSampling.wave`).
        """
        with self._lock:
            kept = self._operators
            if kept is None or kept[0] != state:
                self._operators = kept = None  # frees the old screens before the new ones are made
                kept = (state, self._found(state))
                self._operators = kept
            return kept[1]

    def _found(self, state: int) -> list[LayerOperator]:
        """Return the layers that another way has, or new ones."""
        grid, channels = self._grid, range(self._geometry.sampling.channels)
        keys = [(grid.side, grid.aperture, grid.cell_angle_rad, state, self._arrays, channel) for channel in channels]
        with self._layers.lock:
            shared = [self._layers.made.get(key) for key in keys]
            found = [operator.on(grid) for operator in shared if operator is not None]
            if len(found) == len(keys):
                return found
            made = self._made(state)
            self._layers.made.update(zip(keys, made, strict=True))
            return made

    def _made(self, state: int) -> list[LayerOperator]:
        geometry, grid = self._geometry, self._grid
        memory.check(
            f"The layer on a grid of {grid.side} x {grid.side} modes",
            self.layer_bytes + (_STACK_COPIES * 8 * grid.side**2 * (self.stack - 1) if self._arrays.is_gpu else 0),
            "use fewer components, a smaller camera or fewer mirrors, or free memory.",
            self._arrays,
        )  # fmt: skip
        waves = [geometry.sampling.wave(channel) for channel in range(geometry.sampling.channels)]
        return [
            self._medium.shifted(shift).operator(
                grid, wavelength_m=geometry.device.laser.wavelength_m, seed=geometry.seed, state=state,
                channel=polarisation, workers=self._threads, arrays=self._arrays,
            )
            for polarisation, shift in waves
        ]  # fmt: skip

    @property
    def stack(self) -> int:
        """How many patterns go through the layer at a time; on a GPU as its memory is when that is first asked."""
        with self._lock:
            if self._stack is None:
                self._stack = self._stack_on_gpu() if self._arrays.is_gpu else self._stack_on_cpu(self._threads)
            return self._stack

    def _stack_on_cpu(self, threads: int) -> int:
        grid = 8 * self._grid.side**2
        return max(1, min(64, _STACK_BYTES // grid), min(threads, _THREADS_BYTES // (2 * grid)))

    def _stack_on_gpu(self) -> int:
        free = memory.available_bytes(self._arrays) - (0 if self._operators else self.layer_bytes)
        size = min(_STACK_BYTES_GPU, free / (_STACK_COPIES + 1))
        return max(1, min(64, int(size // (8 * self._grid.side**2))))

    # ---------------------------------------------------------------- fields and counts

    def fields(self, bits: Any, state: int = 0, moments: Moments | None = None) -> Any:
        """Return the fields at the camera; see `Way.fields`."""
        geometry, step = self._geometry, self.stack
        shape = (len(bits), geometry.region.n_pixels, geometry.sampling.samples)
        result = self._arrays.empty(shape, np.complex64)
        for start in range(0, len(bits), step):
            some = slice(start, start + step)
            result[some] = self._through(bits[some], state, part_of(moments, some))
        return result

    def _through(self, bits: Any, state: int, moments: Moments | None = None) -> Any:
        """Fields of a few patterns, at most `stack` of them."""
        geometry = self._geometry
        # Levels become fields where tables are looked up: in the machine's own memory.
        given = arrays_of(bits).to_host(bits) if geometry.source.weighted else self._arrays.bring(bits)
        cells = geometry.source.cells(given, self._arrays, moments, self._threads)
        operators, points = self.operators(state), geometry.sampling.points
        if len(operators) == 1:
            return self._read(operators[0].forward(cells))
        shape = (len(bits), geometry.region.n_pixels, geometry.sampling.samples)
        result = self._arrays.empty(shape, np.complex64)
        for channel, operator in enumerate(operators):
            part = slice(channel * points, (channel + 1) * points)
            result[:, :, part] = self._read(operator.forward(cells))
        return result

    def _read(self, block: Any) -> Any:
        """Output cells (n, rows, columns) as (n, n_pixels, points), pixels in the region's raster order, weighted."""
        n_pixels, sampling, arrays = self._geometry.region.n_pixels, self._geometry.sampling, self._arrays
        take: Callable[..., Any] = lambda array, index, axis: arrays.xp.take(array, index, axis=axis)  # noqa: E731
        if self._block.in_order:
            return self._block.read(block, n_pixels, take, None)
        if self._reading is None:
            places = arrays.from_host(self._block.places(n_pixels).ravel())
            self._reading = places, arrays.from_host(sampling.amplitudes)
        places, amplitudes = self._reading
        fields = self._block.read(block, n_pixels, take, places)
        if sampling.fine == 1:
            return fields
        if arrays.name == "numpy":
            # Of real numbers, in place: half of the work, and no sums that could round.
            parts = fields.view(np.float32).reshape(len(fields), -1, sampling.points, 2)
            parts *= amplitudes[:, None]
            return fields
        return fields * amplitudes

    def counts(self, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None = None) -> None:
        """Fill `out` with the counts of a batch; see `Way.counts`."""
        bits, shots, moments = self.in_time(bits, shots)

        def fields(vectors: slice) -> Any:
            return self._through(bits[vectors], shots.state, part_of(moments, vectors))

        with self._arrays.current():
            self._film.develop_all(fields, len(bits), self.stack, shots, out, progress, self._threads)

    # ---------------------------------------------------------------- the matrix of the same device

    def matrix(self, pixels: range, state: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the matrix of the features, as `MatrixWay` keeps it; the layer is not kept.

        Parameters
        ----------
        pixels : range
            All pixels of the region: waves go to all of them at once.
        state : int
            State of the medium's drift.

        Returns
        -------
        matrix : ndarray of float32, shape (n_features, 2 * n_pixels * samples)
            Change of the fields by each feature.
        constant : ndarray of float32, shape (2 * n_pixels * samples,)
            Field with every feature off.
        """
        source, sampling, m = self._geometry.source, self._geometry.sampling, self._geometry.region.n_pixels
        assert pixels == range(m), "waves go to all pixels at once"
        n = source.n_features
        matrix = np.empty((n, m, sampling.samples), dtype=np.complex64)
        constant = np.empty((m, sampling.samples), dtype=np.complex64)
        off = source.off()
        operators, outputs = self.operators(state), m * sampling.points
        # By reciprocity outputs can go through the layer the other way, which is cheaper where they are fewer.
        backward = [outputs < n and operator.reciprocal for operator in operators]
        with LongWork(sum(outputs if back else n for back in backward), "OPU: matrix", unit="pass") as work:
            for channel, (operator, back) in enumerate(zip(operators, backward, strict=True)):
                part = slice(channel * sampling.points, (channel + 1) * sampling.points)
                field = self._arrays.to_host(self._read(operator.forward(self._arrays.from_host(off))))
                constant[:, part] = field[0]
                if back:
                    self._in_batches(outputs, self._backward(operator, matrix[:, :, part]), work)
                else:
                    self._in_batches(n, self._forward(operator, off, matrix[:, :, part]), work)
        with self._lock:
            self._operators = None  # the matrix holds all that they know
        return matrix.reshape(n, -1).view(np.float32), constant.reshape(-1).view(np.float32)

    def _in_batches(self, n: int, fill: Callable[[int, int, int | None], None], told: LongWork) -> None:
        """Call `fill(start, stop, workers)` for batches of 0 ... n - 1, on all threads; no result depends on the split.

        Each thread takes batches of its own from end to end, so that none waits while another makes cells or writes to
        the matrix. All of them together hold as many patterns as `stack`.
        """
        stack = self.stack
        # Of the largest grids all threads share one.
        threads = self._threads if self._arrays.name == "numpy" and stack >= self._threads else 1
        workers = 1 if threads > 1 else None
        batch = stack // threads
        # Threads start anew each round: seldom beside their work, and Ctrl-C waits for the end of one.
        step = batch * threads * (_ROUND if batch > 1 else 1)
        for start in range(0, n, step):
            stop = min(n, start + step)

            def work(a: int, b: int, start: int = start, stop: int = stop) -> None:
                for first in range(start + a * batch, min(stop, start + b * batch), batch):
                    fill(first, min(stop, first + batch), workers)

            parallel.over_ranges(work, -(-(stop - start) // batch), threads)
            told.advance(stop - start)

    def _forward(
        self, operator: LayerOperator, off: np.ndarray, matrix: np.ndarray
    ) -> Callable[[int, int, int | None], None]:
        """Return what fills rows of the matrix, feature by feature."""
        arrays, source = self._arrays, self._geometry.source

        def fill(start: int, stop: int, workers: int | None) -> None:
            cells = arrays.from_host(source.basis(start, stop, off, workers or self._threads))
            matrix[start:stop] = arrays.to_host(self._read(operator.forward(cells, workers)))

        return fill

    def _backward(self, operator: LayerOperator, matrix: np.ndarray) -> Callable[[int, int, int | None], None]:
        """Return what fills columns of the matrix, output by output."""
        arrays, geometry, points = self._arrays, self._geometry, self._geometry.sampling.points
        source, n_features = geometry.source, geometry.source.n_features
        # In the type of the product, which scipy would make of them for each batch.
        modes = source.modes()[:n_features].astype(np.complex64)
        n_modes = modes.shape[1]
        # Some features at a time: their part of the product is still in the cache when it is written to the matrix.
        parts = [(a, modes[a : a + _FEATURES]) for a in range(0, n_features, _FEATURES)]
        places = self._block.places(geometry.region.n_pixels).ravel()
        shape, amplitudes = self._grid.output_shape, geometry.sampling.amplitudes

        def fill(start: int, stop: int, workers: int | None) -> None:
            n = stop - start
            flat = np.zeros((n, math.prod(shape)), dtype=np.complex64)
            flat[np.arange(n), places[start:stop]] = amplitudes[np.arange(start, stop) % points]
            back = arrays.to_host(operator.backward(arrays.from_host(flat.reshape(n, *shape)), workers))
            back = source.before_relay(back, workers or self._threads)
            of_modes = np.ascontiguousarray(back[:, :n_modes].T)
            del back
            for a, some in parts:
                rows = some @ of_modes
                for point in range(points):  # of pixels side by side
                    first = (point - start) % points
                    pixel = (start + first) // points
                    columns = rows[:, first::points]
                    matrix[a : a + len(rows), pixel : pixel + columns.shape[1], point] = columns

        return fill

    def matrix_work(self) -> Work:
        """Return the work of making the matrix."""
        geometry = self._geometry
        # Features go through the layer, or outputs where they are fewer.
        passes = min(geometry.source.n_features, geometry.region.n_pixels * geometry.sampling.points) + 1
        return Work(
            self._grid.side, passes * self._pass_transforms, self.making().layer_points,
            entries=(geometry.source.n_features + 1) * geometry.n_fields,
        )  # fmt: skip

    def matrix_making_bytes(self, threads: int) -> int:
        """Return the bytes that making the matrix needs beside it, with some threads."""
        through = self.showing_bytes(self._stack_on_cpu(threads), threads)
        return self._kept_layer_bytes + max(self._screen_bytes, through)

    # ---------------------------------------------------------------- what it takes

    @property
    def layer_bytes(self) -> int:
        """Most bytes of the layer, while it is prepared and used."""
        return self._kept_layer_bytes + _GRIDS_BESIDE * 8 * self._grid.side**2

    @property
    def _kept_layer_bytes(self) -> int:
        return self._medium.layer_bytes(self._grid.side, self._geometry.sampling.channels)

    @property
    def _screen_bytes(self) -> int:
        """A screen's phase, its spectrum and the noise that both come from."""
        return 20 * self._grid.side**2

    @property
    def _pass_transforms(self) -> int:
        relay = self._geometry.relay
        before = relay.transforms_on(self._grid.side) if relay else 0
        return self._medium.n_transforms * self._geometry.sampling.channels + before

    @property
    def kept_bytes(self) -> int:
        """Bytes of mirrors, sensor, layer, and of where the points of pixels lie; see `Way.kept_bytes`."""
        places = 0 if self._block.in_order else 8 * self._geometry.region.n_pixels * self._geometry.sampling.points
        return self._geometry.kept_bytes + self._kept_layer_bytes + places

    def making_bytes(self, threads: int) -> int:
        """Return the bytes that the layer needs while it is made; see `Way.making_bytes`."""
        return max(self._geometry.making_bytes - self.kept_bytes, self._screen_bytes)

    def showing_bytes(self, n_patterns: int, threads: int) -> int:
        """Return the bytes of one go through the layer, up to the counts of one frame; see `Way.showing_bytes`."""
        geometry, stack = self._geometry, min(self._stack_on_cpu(threads), n_patterns)
        # One for each thread, or as many as fit its cache; all threads share one where there are too few.
        shared = threads if stack >= threads else 1
        each = 8 * self._grid.side**2 * shared
        grids = geometry.sampling.channels * max(each, CACHE_BYTES * threads)
        if geometry.relay:  # which is done with before the layer is begun
            grids = max(grids, max(geometry.relay.grid_bytes * shared, CACHE_BYTES * threads))
        # The cells and what they are made of; the fields of one grid, and of all that go in one stack.
        return grids + stack * (16 * math.prod(geometry.source.input_shape) + 16 * geometry.n_fields)

    @property
    def vector_flops(self) -> float:
        """Operations of the transforms of one pass; see `Way.vector_flops`."""
        return transform_flops(self._grid.side, self._pass_transforms)

    def making(self) -> Work:
        """Return the work of preparing the layer; see `Way.making`."""
        return Work(self._grid.side, layer_points=self._geometry.sampling.channels * self._grid.side**2)

    def showing(self, n_patterns: int) -> Work:
        """Return the work of taking patterns through the layer; see `Way.showing`."""
        return Work(self._grid.side, n_patterns * self._pass_transforms)
