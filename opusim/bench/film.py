"""Fields at the camera become counts, on the CPU or on a GPU.

Fields are developed where they lie, on the CPU by one kernel, on a GPU by another. Both are compiled from the same
functions of a pixel (`opusim.device.camera_kernels`). Tensors of torch on the CPU are seen by the CPU kernel as they
lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from opusim.base import elementary, parallel
from opusim.base.arrays import NUMPY, Arrays, is_device_array, of
from opusim.base.locks import new_lock
from opusim.device.camera import Camera

from .frames import Shots


class Exposure(NamedTuple):
    """What the kernels need of a run of frames beside the light, for all its vectors and pixels.

    Parameters
    ----------
    samples, steps : int
        Fields of a pixel, and frames of a vector.
    key : tuple of uint32
        Words of the noise key.
    params : array of float32
        From `Camera.params`.
    reference, turns, incoherent, scale, gain, dark_e, offset_e, telegraph_e, pixels, frames : array
        As in `matrix_kernels.develop_matrix`.
    """

    samples: int
    steps: int
    key: tuple[np.uint32, np.uint32]
    params: Any
    reference: Any
    turns: Any
    incoherent: Any
    scale: Any
    gain: Any
    dark_e: Any
    offset_e: Any
    telegraph_e: Any
    pixels: Any
    frames: Any

    def part(self, vectors: slice, pixels: slice) -> tuple[Any, ...]:
        """Return the arguments that all kernels of the camera share, in their order, of some vectors and pixels."""
        frames = slice(vectors.start * self.steps, vectors.stop * self.steps)
        wide = slice(2 * self.samples * pixels.start, 2 * self.samples * pixels.stop)
        return (
            self.samples, self.steps, self.reference[wide], self.turns[frames], self.incoherent[frames],
            self.scale[frames], self.gain[pixels], self.dark_e[pixels], self.offset_e[pixels], self.telegraph_e[pixels],
            self.pixels[pixels], self.frames[frames], *self.key, self.params,
        )  # fmt: skip


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
    """

    def __init__(self, camera: Camera, seed: int, samples: int, arrays: Arrays) -> None:
        self.camera = camera
        self.seed = seed
        self.samples = samples
        self.arrays = arrays
        self._key = camera.noise_key(seed)
        self._lock = new_lock()
        self._params: Any = None
        self._kept: tuple[tuple[Any, ...], tuple[Any, ...]] | None = None

    def exposure(self, shots: Shots) -> Exposure:
        """Return what the kernels need of a run of frames.

        Parameters
        ----------
        shots : Shots
            Its circumstances.

        Returns
        -------
        Exposure
            On the device of `arrays`.
        """
        gain, dark, offset, telegraph, places, reference = self._fixed(shots)
        turns, incoherent = shots.turns(), shots.incoherent()
        scale = (shots.photons_per_intensity / self.samples).astype(np.float32)
        frames = shots.frames.astype(np.uint64)
        if self.arrays.is_gpu:
            each = (turns, incoherent, scale, frames)
            turns, incoherent, scale, frames = (self.arrays.from_host(array) for array in each)
        return Exposure(
            self.samples, shots.steps, self._key, self._params, reference, turns, incoherent, scale, gain, dark, offset,
            telegraph, places, frames,
        )  # fmt: skip

    def _fixed(self, shots: Shots) -> tuple[Any, ...]:
        """Return what is fixed about all pixels, their places and the reference, made and moved to a GPU once."""
        maps, wave, exposure_s = shots.maps, shots.reference, shots.exposure_s
        with self._lock:
            # Held, so that no other object can come to have their identity.
            kept = self._kept
            if kept is None or kept[0][0] is not maps or kept[0][1] is not wave or kept[0][2] != exposure_s:
                flat = np.empty(0, dtype=np.float32) if wave is None else wave.reshape(-1).view(np.float32)
                made = (maps.gain, maps.dark_e(exposure_s), maps.offset_e, maps.telegraph_e, maps.pixels, flat)
                if self.arrays.is_gpu:
                    made = tuple(self.arrays.from_host(array) for array in made)
                self._kept = kept = ((maps, wave, exposure_s), made)
            if self._params is None:
                params = self.camera.params()
                self._params = self.arrays.from_host(params) if self.arrays.is_gpu else params
            return kept[1]

    def develop(
        self, fields: Any, exposure: Exposure, vectors: slice, pixels: slice, out: Any, threads: int = 1
    ) -> None:  # fmt: skip
        """Fill `out` with the counts of some vectors and pixels.

        Parameters
        ----------
        fields : array of complex64, shape (n, m, samples)
            Fields of the `n` vectors and `m` pixels.
        exposure : Exposure
            Of all vectors and pixels.
        vectors, pixels : slice
            Which of them these are.
        out : array of the camera's type, shape (n * steps, m)
            Of the library of `arrays`, contiguous.
        threads : int
            Threads on the CPU; they do not change the counts.
        """
        if not len(fields):
            return
        flat, rest = self.arrays.floats(fields.reshape(len(fields), -1)), exposure.part(vectors, pixels)
        if self.arrays.is_gpu:
            from . import cuda_kernels

            cuda_kernels.develop_fields(self.arrays, flat, rest, out)
            return
        from . import field_kernels

        light, target = np.ascontiguousarray(self.arrays.to_host(flat)), self.arrays.to_host(out)

        def work(a: int, b: int) -> None:
            field_kernels.develop_fields(light, *rest, target, a, b)

        n_blocks = -(-target.shape[1] // field_kernels.BLOCK)
        parallel.over_ranges(work, len(fields) * n_blocks, threads)

    def develop_all(
        self,
        fields: Callable[[slice], Any],
        n: int,
        step: int,
        shots: Shots,
        out: Any,
        progress: Callable[[int], None] | None,
        threads: int,
    ) -> None:
        """Fill `out` with the counts of a batch, whose fields come a few vectors at a time.

        Parameters
        ----------
        fields : callable
            Returns the fields of some vectors, complex64 of shape (vectors, n_pixels, samples).
        n, step : int
            Vectors in all, and at a time.
        shots : Shots
            Circumstances of the frames.
        out : array, shape (n * steps, n_pixels)
            Filled in place: numpy's, or of the library of `arrays`.
        progress : callable or None
            Told how many vectors are done.
        threads : int
            Threads on the CPU.
        """
        from . import field_kernels

        # The kernel sums many samples in an order of its own.
        plainly = self.arrays == NUMPY and self.samples > field_kernels.MAX_SAMPLES
        exposure, pixels = self.exposure(shots), slice(0, out.shape[1])
        for start in range(0, n, step):
            vectors = slice(start, min(n, start + step))
            if plainly:
                self._expose_plainly(fields(vectors), shots, start, out, threads)
            else:
                rows = slice(start * shots.steps, vectors.stop * shots.steps)
                with self.target(out, rows, pixels) as target:
                    self.develop(fields(vectors), exposure, vectors, pixels, target, threads)
            if progress is not None:
                progress(vectors.stop)

    def _expose_plainly(self, fields: np.ndarray, shots: Shots, first: int, out: np.ndarray, threads: int) -> None:
        """Frame by frame with numpy, as `develop` does it."""
        scale = (shots.photons_per_intensity / self.samples).astype(np.float32)
        turns, contrasts = shots.turns().view(np.complex64)[:, 0], shots.contrasts()
        for i, field in enumerate(fields, first):
            for f in range(i * shots.steps, (i + 1) * shots.steps):
                photons = intensity(field, shots.reference, turns[f], float(contrasts[f])) * scale[f]
                out[f] = exposed(self.camera, photons, shots, f, seed=self.seed, threads=threads)

    def target(self, out: Any, rows: slice, columns: slice) -> _Target:
        """Return the context of what the camera writes a part of `out` into."""
        return _Target(self.arrays, out, rows, columns)


class _Target:
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


def exposed(camera: Camera, photons: np.ndarray, shots: Shots, frame: int, *, seed: int, threads: int) -> np.ndarray:
    """Return the counts of one frame of a run by numpy, of the photons on its pixels.

    Parameters
    ----------
    camera : Camera
        The camera.
    photons : ndarray of float32, shape (n_pixels,)
        Mean photons in the exposure.
    shots : Shots
        Circumstances of the run.
    frame : int
        Which of its frames, from 0 on.
    seed : int
        Seed of the device: the noise.
    threads : int
        Threads to use; they do not change the result.

    Returns
    -------
    ndarray of the camera's type, shape (n_pixels,)
    """
    return camera.expose(
        photons, exposure_s=shots.exposure_s, seed=seed, frame0=int(shots.frames[frame]), maps=shots.maps,
        threads=threads,
    ).reshape(-1)  # fmt: skip


def intensity(
    field: np.ndarray, reference: np.ndarray | None = None, turn: Any = 0.0, contrast: Any = 1.0
) -> np.ndarray:
    """Return |S + c R exp(i d)|^2 + (1 - c^2) |R|^2 of each pixel, summed over its samples.

    Parameters
    ----------
    field : ndarray of complex64, shape (n_pixels, samples)
        S.
    reference : ndarray of complex64, shape (n_pixels, samples), optional
        R; None if it is blocked.
    turn : complex, or ndarray of complex64, shape (n_pixels, 1)
        c exp(i d).
    contrast : float, or ndarray of float64, shape (n_pixels, 1)
        c, of `Shots.contrasts`.

    Returns
    -------
    ndarray of float32, shape (n_pixels,)
    """
    total = field if reference is None else field + elementary.multiply(reference, np.asarray(turn, np.complex64))
    result = np.square(total.real) + np.square(total.imag)
    if reference is not None and np.min(contrast) < 1:
        rest = np.asarray(1 - contrast * contrast, dtype=np.float32)
        result += rest * (np.square(reference.real) + np.square(reference.imag))
    return result[..., 0] if result.shape[-1] == 1 else result.sum(axis=-1)
