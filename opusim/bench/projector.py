"""How a batch of binary patterns becomes counts: by matrix or by waves, the same device, the cheaper way chosen."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import scipy.sparse

from opusim.base import memory, parallel
from opusim.base.arrays import NUMPY, Arrays, of
from opusim.device import propagation
from opusim.device.medium.base import ModeGrid, pixel_sampling
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout

from . import film as executor
from .plan import Region, Shots, make_plan, memory_budget_bytes, stack_on_cpu
from .sources import MacroSource, MirrorSource

# Grid modes for each mode in use, so that the modes in use are a small part of a unitary map; above
# `_LARGE` modes, where a grid costs seconds, twice as many must do, as for the whole mirror array.
_SPARE_MODES, _SPARE_MODES_LARGE, _LARGE = 4, 2, 1 << 16
_STACK_BYTES_GPU = 1 << 30  # at most
_STACK_COPIES = 4  # of the stack, while it goes through a layer
_MODES = 2048  # modes, and outputs, of a tile of entries
_MIN_SIDE = 64  # smaller grids are no crowd of modes


class Layers:
    """Prepared layers of the projectors of one bench, which take up to a second to make.

    They are held weakly: a layer lives as long as a projector that has it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.made: WeakValueDictionary[Any, Any] = WeakValueDictionary()


class Projector:
    """Binary inputs to camera counts, for one device, one arrangement of inputs and one region of pixels.

    Parameters
    ----------
    device : Device
        The device.
    seed : int
        Its seed: which medium, which sensor, which noise.
    layout : MirrorLayout or None
        How features lie on the mirrors; None if the inputs are mirrors in raster order.
    region : Region
        Pixels that are read.
    resolution : str
        "auto": a mode a feature; "mirrors": a mode a mirror and a pixel. Without a layout always "mirrors".
    execution : str
        "auto", "matrix" or "waves".
    memory_budget : int, optional
        Bytes that a stored matrix may take; a quarter of the machine by default.
    threads : int, optional
        Threads to use; they do not change the result.
    layers : Layers, optional
        Where the projectors of one bench find the layers of each other.
    arrays : Arrays, optional
        Library and device to compute with.

    Raises
    ------
    ValueError
        If the execution asked for is not possible for this medium, or the problem is too large for it.
    MemoryError
        If the grid of the waves does not fit the memory that is free, before any of it is taken.
    """

    def __init__(
        self,
        device: Device,
        seed: int,
        layout: MirrorLayout | None,
        region: Region,
        *,
        resolution: str = "auto",
        execution: str = "auto",
        memory_budget: int | None = None,
        threads: int | None = None,
        layers: Layers | None = None,
        arrays: Arrays = NUMPY,
    ) -> None:
        self.arrays = arrays
        self._layers = Layers() if layers is None else layers
        self.device = device
        self.seed = seed
        self.layout = layout
        self.region = region
        self.by_mirror = layout is None or resolution == "mirrors"
        self.threads = threads or parallel.default_threads()
        self.memory_budget = memory_budget_bytes() if memory_budget is None else memory_budget
        self.medium: Any = device.medium
        self.source: Any = (
            MirrorSource(layout, device.dmd, seed)
            if self.by_mirror or layout is None
            else MacroSource(layout, device.dmd, seed)
        )
        camera = device.camera
        self.channels = 1 if camera.polarised else 2
        self.fine, aperture = pixel_sampling(camera.pixel_over_grain)
        self.samples = self.channels * self.fine**2
        if self.medium.kind == "measured":
            self.medium.check_size(self.source.n_features, region.n_pixels)
        self.grid = self._make_grid(aperture) if self.medium.has_waves else None
        self.plan = make_plan(
            self.medium,
            self.grid,
            n_features=self.source.n_features,
            n_modes=self._n_modes(),
            n_outputs=region.n_pixels * self.samples,
            samples=self.samples,
            channels=self.channels,
            has_layout=layout is not None,
            execution=execution,
            memory_budget=self.memory_budget,
        )
        self.film = executor.Film(camera, seed, self.samples, arrays, self.threads)
        self._lock = threading.RLock()
        self._stack: int | None = None
        self._operators: tuple[int, list[Any]] | None = None
        self._matrix: tuple[int, Any, Any] | None = None

    # ---------------------------------------------------------------- geometry and plan

    def _make_grid(self, aperture: float) -> ModeGrid:
        region, fine = self.region, self.fine
        shape_in = self.source.input_shape
        corner = None
        if self.by_mirror:
            rows, columns = region.n_rows * fine, region.n_columns * fine
            sensor = self.device.camera.shape
            side = propagation.good_side(max(*shape_in, fine * sensor[0], fine * sensor[1]))
            # The sensor is centred on the axis, whichever part of it is read.
            corner = (
                side // 2 - fine * sensor[0] // 2 + fine * region.row,
                side // 2 - fine * sensor[1] // 2 + fine * region.column,
            )
        else:
            n_out = region.n_rows * region.n_columns
            columns = math.ceil(math.sqrt(n_out))
            rows = math.ceil(n_out / columns)
            rows, columns = rows * fine, columns * fine
            n_modes = max(rows * columns, math.prod(shape_in))
            spare = _SPARE_MODES if n_modes <= _LARGE else _SPARE_MODES_LARGE
            side = propagation.good_side(
                max(math.ceil(math.sqrt(spare * n_modes)), rows, columns, *shape_in, _MIN_SIDE)
            )
        return ModeGrid(side, shape_in, (rows, columns), aperture, output_corner=corner)

    def _n_modes(self) -> int:
        if self.by_mirror:
            return self.device.dmd.n_mirrors
        return self.source.n_features + (0 if self.medium.kind == "measured" else 1)

    def prepare(self, state: int) -> None:
        """Make what is kept for a state of the drift: the matrix, or the layer on its grid."""
        with self.arrays.current():
            if self.plan.keeps_matrix:
                self.matrix(state)
            elif self.plan.way == "waves":
                self.operators(state)

    # ---------------------------------------------------------------- fields

    def operators(self, state: int) -> list[Any]:
        """Return the prepared layers, one a polarisation, in a state of the drift; kept until the state changes."""
        with self._lock:
            kept = self._operators
            if kept is None or kept[0] != state:
                self._operators = kept = None  # frees the old screens before the new ones are made
                kept = (state, self._prepare(state))
                self._operators = kept
            return kept[1]

    def _prepare(self, state: int) -> list[Any]:
        assert self.grid is not None
        keys = [(self.grid.side, self.grid.aperture, state, self.arrays, channel) for channel in range(self.channels)]
        with self._layers.lock:
            shared: list[Any] = [self._layers.made.get(key) for key in keys]
            if None not in shared:
                return [operator.on(self.grid) for operator in shared]
            made = self._make_layers(state)
            self._layers.made.update(zip(keys, made, strict=True))
            return made

    def _make_layers(self, state: int) -> list[Any]:
        assert self.grid is not None
        side = self.grid.side
        memory.check(
            f"The layer on a grid of {side} x {side} modes",
            self._layer_bytes() + (_STACK_COPIES * 8 * side**2 * (self.stack() - 1) if self.arrays.is_gpu else 0),
            "use fewer components, a smaller camera or fewer mirrors, or free memory.",
            self.arrays,
        )  # fmt: skip
        return [
            self.medium.operator(
                self.grid,
                wavelength_m=self.device.laser.wavelength_m,
                seed=self.seed,
                state=state,
                channel=channel,
                workers=self.threads,
                arrays=self.arrays,
            )
            for channel in range(self.channels)
        ]

    def _read(self, block: Any) -> Any:
        """Output cells (n, rows, columns) as (n, n_pixels, fine^2), pixels in the region's raster order."""
        n, fine = len(block), self.fine
        rows, columns = block.shape[1] // fine, block.shape[2] // fine
        if fine > 1:
            block = self.arrays.xp.permute_dims(block.reshape(n, rows, fine, columns, fine), (0, 1, 3, 2, 4))
        return block.reshape(n, rows * columns, fine**2)[:, : self.region.n_pixels]

    def fields(self, bits: Any, state: int = 0) -> Any:
        """Fields at the camera.

        Parameters
        ----------
        bits : array of uint8, shape (n, n_features)
            0 or 1; of any library.
        state : int
            State of the medium's drift.

        Returns
        -------
        array of complex64, shape (n, n_pixels, samples)
            Of the library of `arrays`. The mean intensity of an ideal device is the number of mirrors that are on.
        """
        result = self.arrays.empty((len(bits), self.region.n_pixels, self.samples), np.complex64)
        if self.plan.way == "matrix":
            for pixels, matrix, constant in self.matrix_tiles(state):
                weights = self.arrays.xp.astype(self.arrays.bring(bits), matrix.dtype)
                tile = self.arrays.matmul(weights, matrix) + constant
                part = self.arrays.complexes(tile).reshape(len(bits), len(pixels), self.samples)
                result[:, pixels.start : pixels.stop] = part
            return result
        step = self.stack()
        for start in range(0, len(bits), step):
            result[start : start + step] = self.wave_fields(bits[start : start + step], state)
        return result

    def wave_fields(self, bits: Any, state: int) -> Any:
        """Fields of a few patterns by waves, as from `fields`; at most `stack` of them at a time."""
        cells = self.source.cells(self.arrays.bring(bits), self.arrays)
        operators = self.operators(state)
        if self.channels == 1:
            return self._read(operators[0].forward(cells))
        result = self.arrays.empty((len(bits), self.region.n_pixels, self.samples), np.complex64)
        for channel, operator in enumerate(operators):
            part = slice(channel * self.fine**2, (channel + 1) * self.fine**2)
            result[:, :, part] = self._read(operator.forward(cells))
        return result

    def stack(self) -> int:
        """How many grids go through the layer at a time; on a GPU as its memory is when that is first asked."""
        assert self.grid is not None
        with self._lock:
            if self._stack is None:
                if self.arrays.is_gpu:
                    layer = 0 if self._operators else self._layer_bytes()
                    free = memory.available_bytes(self.arrays) - layer
                    size = min(_STACK_BYTES_GPU, free / (_STACK_COPIES + 1))
                    self._stack = max(1, min(64, int(size // (8 * self.grid.side**2))))
                else:
                    self._stack = stack_on_cpu(self.grid.side, self.threads)
            return self._stack

    def _layer_bytes(self) -> int:
        assert self.grid is not None
        ballistic = bool(self.medium.ballistic_fraction)
        return memory.layer_bytes(self.grid.side, self.medium.n_screens, self.channels, ballistic=ballistic)

    # ---------------------------------------------------------------- the matrix

    def matrix(self, state: int = 0) -> tuple[Any, Any]:
        """Return the matrix of the features in use, in the memory of the device if there is room in it.

        Returns
        -------
        matrix : array of float32, shape (n_features, 2 * n_pixels * samples)
            Change of the fields by each feature: real and imaginary parts by turns.
        constant : array of float32, shape (2 * n_pixels * samples,)
            Field with every feature off.
        """
        with self._lock:  # one thread makes the matrix, the others wait for it
            kept = self._matrix
            if kept is None or kept[0] != state:
                self._matrix = kept = None
                memory.check(
                    f"A matrix of {self.source.n_features} features and {self.region.n_pixels} pixels",
                    self.plan.matrix_bytes,
                    "set memory_budget below that, or execution='waves'.",
                )
                if self.grid is None:
                    made = self._matrix_from_entries(range(self.region.n_pixels), state)
                else:
                    made = self._matrix_from_waves(state)
                if not self.arrays.is_gpu or self.plan.matrix_bytes <= memory.available_bytes(self.arrays) / 2:
                    made = self.arrays.from_host(made[0]), self.arrays.from_host(made[1])
                kept = (state, *made)
                self._matrix = kept
            return kept[1], kept[2]

    def matrix_tiles(self, state: int) -> Iterator[tuple[range, Any, Any]]:
        """Yield (range of pixels, matrix, constant): all at once if the matrix may be stored on the device."""
        m = self.region.n_pixels
        place = self.arrays
        stored = self.matrix(state) if self.plan.stored else None
        if stored is not None and of(stored[0]) == place:
            yield (range(m), *stored)
            return
        n = self.source.n_features
        room = min(self.memory_budget, 1 << 30, memory.available_bytes(place) / 4 if place.is_gpu else 1 << 30)
        step = max(64, int(room // (16 * (n + 1) * self.samples)))
        for start in range(0, m, step):
            pixels = range(start, min(m, start + step))
            if stored is None:
                made = self._matrix_from_entries(pixels, state)
            else:
                wide = slice(2 * self.samples * pixels.start, 2 * self.samples * pixels.stop)
                made = np.ascontiguousarray(stored[0][:, wide]), stored[1][wide]
            yield (pixels, place.from_host(made[0]), place.from_host(made[1]))

    def _matrix_from_waves(self, state: int) -> tuple[np.ndarray, np.ndarray]:
        n, m, fine = self.source.n_features, self.region.n_pixels, self.fine
        matrix = np.empty((n, m, self.samples), dtype=np.complex64)
        constant = np.empty((m, self.samples), dtype=np.complex64)
        off = self.source.cells(np.zeros((1, n), dtype=np.uint8))
        step = self.stack()

        def through(operator: Any, cells: np.ndarray) -> np.ndarray:
            return self.arrays.to_host(self._read(operator.forward(self.arrays.from_host(cells))))

        for channel, operator in enumerate(self.operators(state)):
            part = slice(channel * fine**2, (channel + 1) * fine**2)
            constant[:, part] = through(operator, off)[0]
            if m * fine**2 < n and operator.reciprocal:
                self._rows_backward(operator, matrix[:, :, part])
                continue
            for start in range(0, n, step):
                stop = min(n, start + step)
                matrix[start:stop, :, part] = through(operator, self.source.basis(start, stop))
        self._operators = None  # the matrix holds all that they know
        return matrix.reshape(n, -1).view(np.float32), constant.reshape(-1).view(np.float32)

    def _rows_backward(self, operator: Any, matrix: np.ndarray) -> None:
        """Fill the matrix output by output (reciprocity): cheaper where outputs are fewer than features."""
        n = self.source.n_features
        modes = self.source.modes()[:n]
        shape = self.grid.output_shape  # type: ignore[union-attr]
        columns = shape[1] // self.fine
        step = self.stack()
        outputs = [(p, s) for p in range(self.region.n_pixels) for s in range(self.fine**2)]
        for start in range(0, len(outputs), step):
            batch = outputs[start : start + step]
            cells = np.zeros((len(batch), *shape), dtype=np.complex64)
            for i, (p, s) in enumerate(batch):
                row = (p // columns) * self.fine + s // self.fine
                cells[i, row, (p % columns) * self.fine + s % self.fine] = 1
            back = self.arrays.to_host(operator.backward(self.arrays.from_host(cells)))
            back = back.reshape(len(batch), -1)[:, : modes.shape[1]]
            rows = modes @ back.T
            for i, (p, s) in enumerate(batch):
                matrix[:, p, s] = rows[:, i]

    def _matrix_from_entries(self, pixels: range, state: int) -> tuple[np.ndarray, np.ndarray]:
        n = self.source.n_features
        result = self._through_entries(self._entry_modes(), pixels, state)
        background = getattr(self.medium, "background_field", None)
        if background is not None:
            field = background(range(pixels.start, pixels.stop))
            if field is not None:
                result[n, :, 0] = field * self._measured_amplitude()
        flat = result.reshape(n + 1, -1).view(np.float32)
        return flat[:n], flat[n]

    def _through_entries(self, modes: Any, pixels: range, state: int) -> np.ndarray:
        """Fields (n, len(pixels), channels) of sparse mode amplitudes (n, n_modes), entry by entry.

        Modes are taken in chunks of one size, so that sums have one order whatever the region of pixels.
        """
        result = np.zeros((modes.shape[0], len(pixels), self.channels), dtype=np.complex64)
        by_mode = scipy.sparse.csc_array(modes)  # chunks of modes come cheaply
        for start in range(0, modes.shape[1], _MODES):
            inputs = range(start, min(modes.shape[1], start + _MODES))
            part = scipy.sparse.csr_array(by_mode[:, inputs.start : inputs.stop])
            # A feature has its mirrors side by side: few have any in this chunk, and only these are added to.
            lit = np.flatnonzero(np.diff(part.indptr))
            part = part[lit]
            for first in range(0, len(pixels), _MODES):
                columns = slice(first, min(len(pixels), first + _MODES))
                outputs = self._output_modes(pixels[columns])
                for channel in range(self.channels):
                    result[:, columns, channel][lit] += part @ self._entries(inputs, outputs, state, channel)
        return result

    def _entry_modes(self):
        if self.medium.kind != "measured":
            return self.source.modes()
        # A measured matrix belongs to its features: they all weigh the same, and nothing else is lit.
        n = self.source.n_features
        weights = scipy.sparse.diags_array(np.full(n, self._measured_amplitude(), dtype=np.float32))
        return scipy.sparse.csr_array(scipy.sparse.vstack([weights, scipy.sparse.csr_array((1, n), dtype=np.float32)]))

    def _measured_amplitude(self) -> np.float32:
        return np.float32(math.sqrt(self.device.dmd.n_mirrors / self.source.n_features))

    def _output_modes(self, pixels: range) -> list[range]:
        """Output modes of the pixels as runs of consecutive numbers."""
        if self.medium.kind == "measured":
            return [pixels]
        index = self.region.pixels()[pixels.start : pixels.stop].astype(np.int64)
        cuts = np.flatnonzero(np.diff(index) != 1) + 1
        return [range(int(run[0]), int(run[-1]) + 1) for run in np.split(index, cuts)]

    def _entries(self, inputs: range, outputs: list[range], state: int, channel: int) -> np.ndarray:
        how: dict[str, Any] = {"seed": self.seed, "state": state, "channel": channel, "threads": self.threads}
        tiles = [self.medium.entries(inputs, run, **how) for run in outputs]
        return tiles[0] if len(tiles) == 1 else np.concatenate(tiles, axis=1)

    # ---------------------------------------------------------------- counts

    def counts(self, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None = None) -> None:
        """Fill `out` with the counts of a batch.

        Parameters
        ----------
        bits : array of uint8, shape (n, n_features)
            0 or 1; of any library.
        shots : Shots
            Circumstances of the n * steps frames.
        out : array, shape (n * steps, n_pixels)
            Filled in place: numpy's, or of the library of `arrays`.
        progress : callable, optional
            Told how many vectors are done.
        """
        executor.counts(self, bits, shots, out, progress)

    def fields_of_mirrors(self, bits: np.ndarray, state: int) -> np.ndarray:
        """Fields of bare mirror patterns through a medium that has entries only: vector by vector."""
        cells = scipy.sparse.csr_array(self.source.cells(bits).reshape(len(bits), -1))
        return self._through_entries(cells, range(self.region.n_pixels), state)
