"""A batch of patterns becomes counts: the stages of a projector in their order, on the CPU or on a GPU.

Fields at the camera are developed where they lie, on the CPU by one kernel, on a GPU by another. Both are compiled from
the same functions of a pixel (`opusim.device.camera_kernels`). Tensors of torch on the CPU are seen by the CPU kernel
as they lie in memory.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import parallel
from opusim.base.arrays import NUMPY, Arrays, is_device_array, of
from opusim.device.camera import Camera

from .plan import MAX_SAMPLES, Shots

if TYPE_CHECKING:
    from .projector import Projector

_VECTORS = 1024  # vectors of one product with the matrix
_PRODUCT_BYTES = 64 << 20  # fields of one product; a GPU takes more
_PRODUCT_BYTES_GPU = 1 << 30


class Film:
    """The camera of a device for fields of one library.

    Parameters
    ----------
    camera : Camera
        The camera.
    seed : int
        Seed of the device: its noise.
    samples : int
        Fields whose intensities one pixel adds up.
    arrays : Arrays
        Library and device of the fields.
    threads : int
        Threads on the CPU; they do not change the counts.
    """

    def __init__(self, camera: Camera, seed: int, samples: int, arrays: Arrays, threads: int) -> None:
        self.camera = camera
        self.seed = seed
        self.samples = samples
        self.arrays = arrays
        self.threads = threads
        self._lock = threading.Lock()
        self._kept: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None

    def develop(self, fields: Any, shots: Shots, vectors: slice, pixels: slice, out: Any) -> None:
        """Fill `out` with the counts of some vectors and pixels.

        Parameters
        ----------
        fields : array of complex64, shape (n, m, samples)
            Fields of the `n` vectors and `m` pixels.
        shots : Shots
            Circumstances of all vectors and pixels.
        vectors, pixels : slice
            Which of them these are.
        out : array of the camera's type, shape (n * steps, m)
            Of the library of `arrays`, contiguous.
        """
        if not len(fields):
            return
        frames = slice(vectors.start * shots.steps, vectors.stop * shots.steps)
        turns = shots.turns()[frames]
        scale = (shots.photons_per_intensity[frames] / self.samples).astype(np.float32)
        numbers = shots.frames[frames].astype(np.uint64)
        wide = slice(2 * self.samples * pixels.start, 2 * self.samples * pixels.stop)
        gain, dark, offset, places, reference = self._fixed(shots)
        flat = self.arrays.floats(fields.reshape(len(fields), -1))
        key = self.camera.noise_key(self.seed)
        start = (flat, self.samples, shots.steps, reference[wide])
        incoherent = np.float32(1 - shots.coherence**2)
        fixed = (gain[pixels], dark[pixels], offset[pixels], places[pixels])
        if self.arrays.is_gpu:
            from . import cuda_kernels as sensor_cuda

            there = [self.arrays.from_host(array) for array in (turns, scale, numbers, self.camera.params())]
            sensor_cuda.develop_fields(
                self.arrays, *start, there[0], incoherent, there[1], *fixed, there[2], *key, there[3], out
            )
            return
        from . import field_kernels

        to_host = self.arrays.to_host
        start = (np.ascontiguousarray(to_host(flat)), self.samples, shots.steps, reference[wide])
        target = to_host(out)

        def work(a: int, b: int) -> None:
            field_kernels.develop_fields(
                *start, turns, incoherent, scale, *fixed, numbers, *key, self.camera.params(), target, a, b
            )

        n_blocks = -(-target.shape[1] // field_kernels.BLOCK)
        parallel.over_ranges(work, len(fields) * n_blocks, self.threads)

    def _fixed(self, shots: Shots) -> tuple[Any, ...]:
        """Gain, dark electrons, offset, places and reference of all pixels, on a GPU moved there once."""
        maps, wave = shots.maps, shots.reference

        def made() -> list[np.ndarray]:
            flat = np.empty(0, dtype=np.float32) if wave is None else wave.reshape(-1).view(np.float32)
            return [maps.gain, maps.dark_e(shots.exposure_s), maps.offset_e, maps.pixels, flat]

        if not self.arrays.is_gpu:
            return tuple(made())
        with self._lock:
            # Held, so that no other object can come to have their identity.
            kept = self._kept
            if kept is None or kept[0][0] is not maps or kept[0][1] is not wave or kept[0][2] != shots.exposure_s:
                moved = tuple(self.arrays.from_host(array) for array in made())
                self._kept = kept = ((maps, wave, shots.exposure_s), moved)
            return kept[1]


def counts(
    projector: Projector, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None = None
) -> None:  # fmt: skip
    """Fill `out` with the counts of a batch; arguments as for `Projector.counts`."""
    if projector.plan.way == "matrix" and projector.layout is not None and projector.samples <= MAX_SAMPLES:
        way = _by_sums if projector.arrays == NUMPY else _by_product
    else:
        way = _by_fields
    with projector.arrays.current():
        way(projector, bits, shots, out, progress)


def _by_fields(
    projector: Projector, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None
) -> None:  # fmt: skip
    """Take a few patterns at a time through the medium, then develop them."""
    from . import field_kernels

    steps, m = shots.steps, projector.region.n_pixels
    step = projector.stack() if projector.plan.way == "waves" else 1
    # The kernel sums many samples in an order of its own.
    plainly = projector.arrays == NUMPY and projector.samples > field_kernels.MAX_SAMPLES
    for start in range(0, len(bits), step):
        part = slice(start, min(len(bits), start + step))
        if projector.layout is None and projector.grid is None:
            fields = projector.fields_of_mirrors(bits[part], shots.state)
        elif projector.plan.way == "waves":
            fields = projector.wave_fields(bits[part], shots.state)
        else:
            fields = projector.fields(bits[part], shots.state)
        if plainly:
            _expose_plainly(projector, fields, shots, start, out)
        else:
            rows = slice(start * steps, part.stop * steps)
            with _target(projector.arrays, out, rows, slice(0, m)) as target:
                projector.film.develop(fields, shots, part, slice(0, m), target)
        if progress is not None:
            progress(part.stop)


def _expose_plainly(projector: Projector, fields: np.ndarray, shots: Shots, first: int, out: np.ndarray) -> None:
    """Frame by frame with numpy, as `Film.develop` does it."""
    scale = (shots.photons_per_intensity / projector.samples).astype(np.float32)
    turns = shots.turns().view(np.complex64)[:, 0]
    for i, field in enumerate(fields, first):
        for f in range(i * shots.steps, (i + 1) * shots.steps):
            out[f] = projector.device.camera.expose(
                intensity(field, shots.reference, turns[f], shots.coherence) * scale[f],
                exposure_s=shots.exposure_s, seed=projector.seed, frame0=int(shots.frames[f]), maps=shots.maps,
                threads=projector.threads,
            ).reshape(-1)  # fmt: skip


def _by_product(
    projector: Projector, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None
) -> None:  # fmt: skip
    """Bits times matrix as a product of real matrices, tile by tile, then the camera."""
    arrays, samples, steps = projector.arrays, projector.samples, shots.steps
    room = _PRODUCT_BYTES_GPU if arrays.is_gpu else _PRODUCT_BYTES
    for pixels, matrix, constant in projector.matrix_tiles(shots.state):
        for v0 in range(0, len(bits), _VECTORS):
            v = slice(v0, min(len(bits), v0 + _VECTORS))
            weights = arrays.xp.astype(arrays.bring(bits[v]), matrix.dtype)
            width = max(1, room // (8 * samples * len(weights)))
            for first in range(0, len(pixels), width):
                last = min(len(pixels), first + width)
                wide = slice(2 * samples * first, 2 * samples * last)
                fields = arrays.complexes(arrays.matmul(weights, matrix[:, wide]) + constant[wide])
                own = slice(pixels.start + first, pixels.start + last)
                rows = slice(v.start * steps, v.stop * steps)
                with _target(arrays, out, rows, own) as target:
                    projector.film.develop(fields.reshape(len(weights), -1, samples), shots, v, own, target)
            if progress is not None and pixels.stop == projector.region.n_pixels:
                progress(v.stop)


class _target:
    """Where the camera writes a part of `out`: that part itself if it is contiguous there, else an array between."""

    def __init__(self, arrays: Arrays, out: Any, rows: slice, columns: slice) -> None:
        self.arrays, self.out, self.place = arrays, out, (rows, columns)
        self.part = out[rows, columns]
        home = of(out)
        # Tensors of torch on the CPU and numpy's arrays are the same memory for the camera.
        reached = home == arrays or not (home.is_gpu or arrays.is_gpu)
        self.direct = reached and (columns.stop - columns.start == out.shape[1] or rows.stop - rows.start == 1)

    def __enter__(self) -> Any:
        if self.direct:
            self.made = self.part if is_device_array(self.part) else self.arrays.from_host(self.part)
        else:
            kind = np.dtype(str(self.out.dtype).rpartition(".")[2])
            self.made = self.arrays.empty(tuple(self.part.shape), kind)
        return self.made

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None and not self.direct:
            self.out[self.place] = self.made if of(self.out) == self.arrays else self.arrays.to_host(self.made)


def _by_sums(
    projector: Projector, bits: np.ndarray, shots: Shots, out: np.ndarray, progress: Callable[[int], None] | None
) -> None:  # fmt: skip
    """Bits times matrix as sums of its rows, which the kernel gives straight to the camera."""
    from . import matrix_kernels

    camera, samples = projector.device.camera, projector.samples
    key = camera.noise_key(projector.seed)
    codes = pack_codes(bits)
    n_chunks = -(-codes.shape[1] // matrix_kernels.CHUNK) if len(bits) > matrix_kernels.DIRECT else 0
    lists = np.empty((n_chunks, len(bits), matrix_kernels.CHUNK), dtype=np.uint16)
    lengths = np.empty((n_chunks, len(bits)), dtype=np.int64)
    matrix_kernels.list_rows(codes, lists, lengths)
    scale = (shots.photons_per_intensity / samples).astype(np.float32)
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
        wave = reference[2 * samples * p.start : 2 * samples * p.stop]

        def work(a: int, b: int) -> None:
            matrix_kernels.develop_matrix(
                codes[v], lists[:, v], lengths[:, v], matrix, constant, samples, steps, wave, turns[f],
                incoherent, scale[f], maps.gain[p], dark[p], maps.offset_e[p], maps.pixels[p], frames[f], key[0],
                key[1], camera.params(), target, a, b,
            )  # fmt: skip

        tile_pixels = max(1, matrix_kernels.TILE // samples)
        parallel.over_ranges(work, math.ceil(len(pixels) / tile_pixels), projector.threads)

    for pixels, matrix, constant in projector.matrix_tiles(shots.state):
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
