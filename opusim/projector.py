"""How a batch of binary patterns becomes counts: by matrix or by waves, the same device, the cheaper way chosen."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse

from opusim import parallel, propagation
from opusim.config import Device
from opusim.layout import MirrorLayout
from opusim.medium.base import ModeGrid, pixel_sampling
from opusim.plan import MAX_SAMPLES, Region, Shots, make_plan, memory_budget_bytes
from opusim.sources import MacroSource, MirrorSource

# Grid modes for each mode in use, so that the modes in use are a small part of a unitary map; above
# `_LARGE` modes, where a grid costs seconds, twice as many must do, as for the whole mirror array.
_SPARE_MODES, _SPARE_MODES_LARGE, _LARGE = 4, 2, 1 << 16
_CHUNK_BYTES = 32 << 20
_MODES = 2048  # modes, and outputs, of a tile of entries
_MIN_SIDE = 64  # smaller grids are no crowd of modes


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
    layers : dict, optional
        Where projectors of one bench share the layer on the grid of all mirrors: it takes a second to prepare.

    Raises
    ------
    ValueError
        If the execution asked for is not possible for this medium, or the problem is too large for it.
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
        layers: dict[Any, list[Any]] | None = None,
    ) -> None:
        self._layers: dict[Any, list[Any]] = {} if layers is None else layers
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
        self._lock = threading.RLock()
        self._operators: tuple[int, list[Any]] | None = None
        self._matrix: tuple[int, np.ndarray, np.ndarray] | None = None

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
        key = (self.grid.side, self.grid.aperture, state)
        shared = self._layers.get(key) if self.by_mirror else None
        if shared is not None:
            return [operator.on(self.grid) for operator in shared]
        made = [
            self.medium.operator(
                self.grid,
                wavelength_m=self.device.laser.wavelength_m,
                seed=self.seed,
                state=state,
                channel=channel,
                workers=self.threads,
            )
            for channel in range(self.channels)
        ]
        if self.by_mirror:
            self._layers.clear()  # one state at a time: the arrays are large
            self._layers[key] = made
        return made

    def _read(self, block: np.ndarray) -> np.ndarray:
        """Output cells (n, rows, columns) as (n, n_pixels, fine^2), pixels in the region's raster order."""
        n, fine = len(block), self.fine
        rows, columns = block.shape[1] // fine, block.shape[2] // fine
        if fine > 1:
            block = block.reshape(n, rows, fine, columns, fine).transpose(0, 1, 3, 2, 4)
        return block.reshape(n, rows * columns, fine**2)[:, : self.region.n_pixels]

    def fields(self, bits: np.ndarray, state: int = 0) -> np.ndarray:
        """Fields at the camera.

        Parameters
        ----------
        bits : ndarray of uint8, shape (n, n_features)
            0 or 1.
        state : int
            State of the medium's drift.

        Returns
        -------
        ndarray of complex64, shape (n, n_pixels, samples)
            The mean intensity of an ideal device is the number of mirrors that are on.
        """
        if self.plan.way == "matrix":
            return self._fields_by_matrix(bits, state)
        result = np.empty((len(bits), self.region.n_pixels, self.samples), dtype=np.complex64)
        step = self._stack()
        for start in range(0, len(bits), step):
            cells = self.source.cells(bits[start : start + step])
            for channel, operator in enumerate(self.operators(state)):
                part = slice(channel * self.fine**2, (channel + 1) * self.fine**2)
                result[start : start + step, :, part] = self._read(operator.forward(cells))
        return result

    def _fields_by_matrix(self, bits: np.ndarray, state: int) -> np.ndarray:
        """Plain reference of the kernel's sums, tile by tile."""
        result = np.empty((len(bits), self.region.n_pixels, self.samples), dtype=np.complex64)
        for pixels, matrix, constant in self._matrix_tiles(state):
            tile = np.asarray(bits, dtype=np.float32) @ matrix + constant
            result[:, pixels] = tile.view(np.complex64).reshape(len(bits), len(pixels), self.samples)
        return result

    def _stack(self) -> int:
        """How many grids go through the layer at a time."""
        assert self.grid is not None
        return max(1, min(64, (_CHUNK_BYTES // 4) // (8 * self.grid.side**2)))

    # ---------------------------------------------------------------- the matrix

    def matrix(self, state: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the matrix of the features in use.

        Returns
        -------
        matrix : ndarray of float32, shape (n_features, 2 * n_pixels * samples)
            Change of the fields by each feature: real and imaginary parts by turns.
        constant : ndarray of float32, shape (2 * n_pixels * samples,)
            Field with every feature off.
        """
        with self._lock:  # one thread makes the matrix, the others wait for it
            kept = self._matrix
            if kept is None or kept[0] != state:
                self._matrix = kept = None
                if self.grid is None:
                    kept = (state, *self._matrix_from_entries(range(self.region.n_pixels), state))
                else:
                    kept = (state, *self._matrix_from_waves(state))
                self._matrix = kept
            return kept[1], kept[2]

    def _matrix_tiles(self, state: int) -> Iterator[tuple[range, np.ndarray, np.ndarray]]:
        """Yield (range of pixels, matrix, constant): all at once if the matrix may be stored."""
        m = self.region.n_pixels
        if self.plan.stored:
            yield (range(m), *self.matrix(state))
            return
        n = self.source.n_features
        step = max(64, int(min(self.memory_budget, 1 << 30) // (16 * (n + 1) * self.samples)))
        for start in range(0, m, step):
            pixels = range(start, min(m, start + step))
            yield (pixels, *self._matrix_from_entries(pixels, state))

    def _matrix_from_waves(self, state: int) -> tuple[np.ndarray, np.ndarray]:
        n, m, fine = self.source.n_features, self.region.n_pixels, self.fine
        matrix = np.empty((n, m, self.samples), dtype=np.complex64)
        constant = np.empty((m, self.samples), dtype=np.complex64)
        off = self.source.cells(np.zeros((1, n), dtype=np.uint8))
        step = self._stack()
        for channel, operator in enumerate(self.operators(state)):
            part = slice(channel * fine**2, (channel + 1) * fine**2)
            constant[:, part] = self._read(operator.forward(off))[0]
            if m * fine**2 < n and operator.reciprocal:
                self._rows_backward(operator, matrix[:, :, part])
                continue
            for start in range(0, n, step):
                stop = min(n, start + step)
                matrix[start:stop, :, part] = self._read(operator.forward(self.source.basis(start, stop)))
        self._operators = None  # the matrix holds all that they know
        return matrix.reshape(n, -1).view(np.float32), constant.reshape(-1).view(np.float32)

    def _rows_backward(self, operator: Any, matrix: np.ndarray) -> None:
        """Fill the matrix output by output (reciprocity): cheaper where outputs are fewer than features."""
        n = self.source.n_features
        modes = self.source.modes()[:n]
        shape = self.grid.output_shape  # type: ignore[union-attr]
        columns = shape[1] // self.fine
        step = self._stack()
        outputs = [(p, s) for p in range(self.region.n_pixels) for s in range(self.fine**2)]
        for start in range(0, len(outputs), step):
            batch = outputs[start : start + step]
            cells = np.zeros((len(batch), *shape), dtype=np.complex64)
            for i, (p, s) in enumerate(batch):
                row = (p // columns) * self.fine + s // self.fine
                cells[i, row, (p % columns) * self.fine + s % self.fine] = 1
            back = operator.backward(cells).reshape(len(batch), -1)[:, : modes.shape[1]]
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
        for start in range(0, modes.shape[1], _MODES):
            inputs = range(start, min(modes.shape[1], start + _MODES))
            part = modes[:, inputs.start : inputs.stop]
            for first in range(0, len(pixels), _MODES):
                columns = slice(first, min(len(pixels), first + _MODES))
                outputs = self._output_modes(pixels[columns])
                for channel in range(self.channels):
                    result[:, columns, channel] += part @ self._entries(inputs, outputs, state, channel)
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
        tiles = [self.medium.entries(inputs, run, seed=self.seed, state=state, channel=channel) for run in outputs]
        return tiles[0] if len(tiles) == 1 else np.concatenate(tiles, axis=1)

    # ---------------------------------------------------------------- counts

    def counts(
        self, bits: np.ndarray, shots: Shots, out: np.ndarray, progress: Callable[[int], None] | None = None
    ) -> None:
        """Fill `out` with the counts of a batch.

        Parameters
        ----------
        bits : ndarray of uint8, shape (n, n_features)
            0 or 1.
        shots : Shots
            Circumstances of the n * steps frames.
        out : ndarray, shape (n * steps, n_pixels)
            Filled in place.
        progress : callable, optional
            Told how many vectors are done.
        """
        camera = self.device.camera
        if self.plan.way == "matrix" and self.layout is not None and self.samples <= MAX_SAMPLES:
            self._counts_by_matrix(bits, shots, out, progress)
            return
        scale = (shots.photons_per_intensity / self.samples).astype(np.float32)
        turns = shots.turns().view(np.complex64)[:, 0]
        step = self._stack() if self.plan.way == "waves" else 1
        for start in range(0, len(bits), step):
            part = slice(start, min(len(bits), start + step))
            if self.layout is None and self.grid is None:
                fields = self._fields_of_mirrors(bits[part], shots.state)
            else:
                fields = self.fields(bits[part], shots.state)
            for i, field in enumerate(fields, start):
                for f in range(i * shots.steps, (i + 1) * shots.steps):
                    out[f] = camera.expose(
                        intensity(field, shots.reference, turns[f], shots.coherence) * scale[f],
                        exposure_s=shots.exposure_s, seed=self.seed, frame0=int(shots.frames[f]), maps=shots.maps,
                        threads=self.threads,
                    ).reshape(-1)  # fmt: skip
            if progress is not None:
                progress(part.stop)

    def _fields_of_mirrors(self, bits: np.ndarray, state: int) -> np.ndarray:
        """Fields of bare mirror patterns through a medium that has entries only: vector by vector."""
        cells = scipy.sparse.csr_array(self.source.cells(bits).reshape(len(bits), -1))
        return self._through_entries(cells, range(self.region.n_pixels), state)

    def _counts_by_matrix(
        self, bits: np.ndarray, shots: Shots, out: np.ndarray, progress: Callable[[int], None] | None
    ) -> None:
        from opusim import matrix_kernels

        camera = self.device.camera
        key = camera.noise_key(self.seed)
        codes = pack_codes(bits)
        n_chunks = -(-codes.shape[1] // matrix_kernels.CHUNK) if len(bits) > matrix_kernels.DIRECT else 0
        lists = np.empty((n_chunks, len(bits), matrix_kernels.CHUNK), dtype=np.uint16)
        lengths = np.empty((n_chunks, len(bits)), dtype=np.int64)
        matrix_kernels.list_rows(codes, lists, lengths)
        scale = (shots.photons_per_intensity / self.samples).astype(np.float32)
        frames = shots.frames.astype(np.uint64)
        maps, steps, turns = shots.maps, shots.steps, shots.turns()
        dark = maps.dark_e(shots.exposure_s)
        incoherent = np.float32(1 - shots.coherence**2)
        if shots.reference is None:
            reference = np.empty(0, dtype=np.float32)
        else:
            reference = shots.reference.reshape(-1).view(np.float32)

        def develop(v: slice, pixels: range, matrix: np.ndarray, constant: np.ndarray, target: np.ndarray) -> None:
            p = slice(pixels.start, pixels.stop)
            f = slice(v.start * steps, v.stop * steps)
            wave = reference[2 * self.samples * p.start : 2 * self.samples * p.stop]

            def work(a: int, b: int) -> None:
                matrix_kernels.develop_matrix(
                    codes[v], lists[:, v], lengths[:, v], matrix, constant, self.samples, steps, wave, turns[f],
                    incoherent, scale[f], maps.gain[p], dark[p], maps.offset_e[p], maps.pixels[p], frames[f], key[0],
                    key[1], camera.params(), target, a, b,
                )  # fmt: skip

            tile_pixels = max(1, matrix_kernels.TILE // self.samples)
            parallel.over_ranges(work, math.ceil(len(pixels) / tile_pixels), self.threads)

        for pixels, matrix, constant in self._matrix_tiles(shots.state):
            whole = len(pixels) == out.shape[1]
            target = out if whole else np.empty((len(out), len(pixels)), dtype=out.dtype)
            for v0 in range(0, len(bits), matrix_kernels.VECTORS):
                v = slice(v0, min(len(bits), v0 + matrix_kernels.VECTORS))
                develop(v, pixels, matrix, constant, target[v.start * steps : v.stop * steps])
                if progress is not None and pixels.stop == out.shape[1]:
                    progress(v.stop)
            if not whole:
                out[:, pixels.start : pixels.stop] = target


def intensity(
    field: np.ndarray, reference: np.ndarray | None = None, turn: complex = 0.0, coherence: float = 1.0
) -> np.ndarray:
    """Return |S + c R exp(i d)|^2 + (1 - c^2) |R|^2 of each pixel, summed over its samples.

    Parameters
    ----------
    field : ndarray of complex64, shape (n_pixels, samples)
        S.
    reference : ndarray of complex64, shape (n_pixels, samples), optional
        R; None if it is blocked.
    turn : complex
        c exp(i d).
    coherence : float
        c.

    Returns
    -------
    ndarray of float32, shape (n_pixels,)
    """
    total = field if reference is None else field + reference * np.complex64(turn)
    result = np.square(total.real) + np.square(total.imag)
    if reference is not None and coherence < 1:
        result += np.float32(1 - coherence**2) * (np.square(reference.real) + np.square(reference.imag))
    return result[..., 0] if result.shape[-1] == 1 else result.sum(axis=-1)


def pack_codes(bits: np.ndarray) -> np.ndarray:
    """Four 0/1 features a byte, the first in the lowest bit: uint8 (n, 2 ceil(n_features / 8))."""
    packed = np.packbits(bits, axis=1, bitorder="little")
    codes = np.empty((len(packed), 2 * packed.shape[1]), dtype=np.uint8)
    np.bitwise_and(packed, 15, out=codes[:, ::2])
    np.right_shift(packed, 4, out=codes[:, 1::2])
    return codes
