"""The camera on a CUDA GPU: fields in the GPU's memory become counts there.

The law of a pixel is that of the CPU, function for function (`opusim.device.camera_kernels`): numba compiles the same
code for the GPU, where a thread takes one pixel of one pattern and all its phase steps. Square roots and quotients are
rounded to the nearest on both, and the noise is addressed by seed, frame and pixel. The GPU's compiler (NVVM) fuses
more multiply-adds than the CPU's does, so that last bits may differ there as they do in the light itself: within the
tolerance between backends, one pixel in 10^4 by one grey level.
Imported where a GPU is used: numba's CUDA target comes with it.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import cuda

from opusim.base.arrays import Arrays
from opusim.base.locks import new_lock
from opusim.device.camera_kernels import develop_pixel

from .field_kernels import summed_intensity

THREADS = 256
"""Threads of a block."""

_MAX_BLOCKS_Y = 65535
_FEW_BLOCKS = 128  # below that numba warns
_quiet_lock = new_lock()


@cuda.jit
def develop(
    fields, samples, steps, reference, turns, incoherent, scale, gain, dark_e, offset_e, telegraph_e, pixels, frames,
    key0, key1, params, out,
):  # fmt: skip
    """Body of the kernel; arguments as in `field_kernels.develop_fields`, `fields` of one dimension."""
    n_pixels = out.shape[1]
    n = out.shape[0] // steps
    column, row = cuda.grid(2)
    across, down = cuda.gridsize(2)
    for vector in range(row, n, down):
        for p in range(column, n_pixels, across):
            amplitude_e = telegraph_e[p] if telegraph_e.size else np.float32(0)
            r_place = np.uint64(2) * np.uint64(p) * np.uint64(samples)
            place = np.uint64(vector) * np.uint64(2 * n_pixels) * np.uint64(samples) + r_place
            for f in range(vector * steps, (vector + 1) * steps):
                light = summed_intensity(
                    fields, place, reference, r_place, samples, turns[f, 0], turns[f, 1], incoherent[f]
                )
                out[f, p] = develop_pixel(
                    light * scale[f], gain[p], dark_e[p], offset_e[p], amplitude_e, pixels[p], frames[f], key0, key1,
                    params,
                )  # fmt: skip


def develop_fields(arrays: Arrays, fields: Any, exposure: tuple[Any, ...], out: Any) -> None:
    """Develop a stack of fields on a GPU.

    Parameters
    ----------
    arrays : Arrays
        Library and GPU of the arrays, which all lie there.
    fields : array of float32, shape (n, 2 * n_pixels * samples)
        As in `field_kernels.develop_fields`.
    exposure : tuple
        From `Exposure.part`: what stands between `fields` and `out` there.
    out : array
        As there.
    """
    _, steps, *_ = exposure
    with cuda.gpus[arrays.index]:
        stream = _stream(arrays)
        light, *rest, counts = (
            given if np.isscalar(given) else cuda.as_cuda_array(given, sync=False)
            for given in (fields.reshape(-1), *exposure, out)
        )
        blocks = launch(len(out) // steps, out.shape[1])
        with _no_word_of_few_blocks(blocks):
            kernel = develop[blocks, (THREADS, 1), stream]
        kernel(light, *rest, counts)


def launch(n: int, n_pixels: int) -> tuple[int, int]:
    """Return the blocks along pixels and along patterns, for `THREADS` threads a block."""
    return -(-n_pixels // THREADS), min(n, _MAX_BLOCKS_Y)


@contextmanager
def _no_word_of_few_blocks(blocks: tuple[int, int]) -> Iterator[None]:
    """Keep back numba's warning of a launch of few blocks: that a batch is small is no fault of the user's."""
    if blocks[0] * blocks[1] >= _FEW_BLOCKS:
        yield
        return
    with _quiet_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*under-utilization")
        yield


def _stream(arrays: Arrays) -> Any:
    """Return the stream that the library works in, so that the kernel follows its work and goes before what comes."""
    library = importlib.import_module(arrays.name)
    if arrays.name == "torch":
        pointer = library.cuda.current_stream(arrays.device).cuda_stream
    else:
        pointer = library.cuda.get_current_stream().ptr
    return cuda.external_stream(pointer) if pointer else cuda.default_stream()
