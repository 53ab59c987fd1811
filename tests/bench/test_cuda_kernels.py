"""The camera's law of one pixel, and the kernel that a GPU runs, against the CPU's kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from textwrap import dedent

import numba
import numpy as np
import pytest

from opusim.bench.film import Film
from opusim.bench.frames import Shots
from opusim.device.camera import Camera
from opusim.device.camera_kernels import develop_frames, develop_pixel
from opusim.device.record import Device

CAMERA = Device.load("aurora").camera
N = 700  # more than two blocks of the kernel, and no multiple of one


@numba.njit
def one_by_one(photons, gain, dark_e, offset_e, telegraph_e, pixels, frame0, key0, key1, params, out):
    """Develop each pixel on its own, as the threads of a GPU do."""
    for i in range(photons.shape[0]):
        for p in range(photons.shape[1]):
            out[i, p] = develop_pixel(
                photons[i, p], gain[p], dark_e[p], offset_e[p], telegraph_e[p] if telegraph_e.size else np.float32(0),
                pixels[p], np.uint64(frame0 + i), key0, key1, params,
            )  # fmt: skip


SWITCHES = {
    "as it is": {},
    "no shot noise": {"shot_noise": False},
    "not rounded": {"quantise": False},
    "no read noise": {"read_noise_e": 0.0},
    "ten bits": {"bits": 10, "gain_dn_per_e": 0.3},
    "small well": {"full_well_e": 40.0},
    "hot and uneven": {"hot_pixel_fraction": 0.2, "hot_pixel_dark_e_per_s": 1e5, "prnu": 0.1, "dsnu_e": 5.0},
    "telegraph": {"telegraph_fraction": 0.4, "telegraph_e": 30.0},
    "not linear": {"nonlinearity": 0.1},
    "not linear below a large well": {"nonlinearity": -0.2, "full_well_e": 1e5, "quantise": False},
    "not linear, telegraph": {
        "nonlinearity": 0.2,
        "full_well_e": 2000.0,
        "telegraph_fraction": 1.0,
        "telegraph_e": 9.0,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("electrons", [False, True])
@pytest.mark.parametrize("light", [0.0, 2.0, 18.0, 300.0, 1e6])
@pytest.mark.parametrize("switch", SWITCHES)
def test_one_pixel_is_a_pixel_of_the_block_bit_for_bit(switch, light, electrons):
    """Dark, dim, around the threshold of the exact law, bright and saturated; frame numbers beyond 32 bits."""
    camera = CAMERA.evolve(**SWITCHES[switch])
    maps = camera.maps(5, np.arange(900, 900 + N))
    photons = np.random.default_rng(1).exponential(light, (2, N)).astype(np.float32)
    params = camera.params(electrons=electrons)
    kind = np.float32 if electrons else camera.dtype
    whole, single = np.empty((2, N), kind), np.full((2, N), 77, kind)
    fixed = (maps.gain, maps.dark_e(1e-3), maps.offset_e, maps.telegraph_e, maps.pixels)
    frame0, key = np.uint64(2**32 - 1), camera.noise_key(5)
    develop_frames(photons, *fixed, frame0, *key, params, whole, 0, 6)
    one_by_one(photons, *fixed, frame0, *key, params, single)
    np.testing.assert_array_equal(single, whole, strict=True)


def test_a_launch_covers_every_pixel_and_pattern():
    pytest.importorskip("numba.cuda", reason="numba.cuda is not here")
    from opusim.bench import cuda_kernels as sensor_cuda

    for n, n_pixels in ((1, 1), (3, 256), (70_000, 257)):
        across, down = sensor_cuda.launch(n, n_pixels)
        assert across * sensor_cuda.THREADS >= n_pixels and 1 <= down <= 65535  # the kernel strides over the rest


def test_a_launch_of_few_blocks_says_nothing():
    pytest.importorskip("numba.cuda", reason="numba.cuda is not here")
    from opusim.bench import cuda_kernels as sensor_cuda

    def said(blocks: tuple[int, int]) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with sensor_cuda._no_word_of_few_blocks(blocks):
                warnings.warn(
                    "Grid size 4 will likely result in GPU under-utilization due to low occupancy.", stacklevel=1
                )
                warnings.warn("something else", stacklevel=1)
        return len(caught)

    assert said((2, 2)) == 1 and said((128, 1)) == 2


@pytest.mark.slow
def test_kernel_of_the_gpu_gives_the_cpus_counts_in_numbas_simulator():
    """With several samples a pixel, a reference arm of partial coherence and phase steps; and without any of it."""
    pytest.importorskip("numba.cuda", reason="numba.cuda is not here")
    code = dedent("""
        import importlib.util, sys
        import numpy as np
        from numba import cuda
        from opusim.bench import cuda_kernels as sensor_cuda
        from opusim.base.arrays import Arrays
        spec = importlib.util.spec_from_file_location("film_of_tests", sys.argv[1])
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        # The simulator takes numpy's arrays for the GPU's, and has no streams. Compiled functions take plain ones.
        def plainly(function):
            return lambda *given: function(*(getattr(getattr(x, "_item", x), "_ary", x) for x in given))

        for name in ("summed_intensity", "develop_pixel"):
            setattr(sensor_cuda, name, plainly(getattr(sensor_cuda, name)))
        cuda.as_cuda_array = lambda array, sync: array
        sensor_cuda._stream = lambda arrays: 0
        sensor_cuda.THREADS = 32
        uneven = module.CAMERA.evolve(telegraph_fraction=0.3, telegraph_e=40.0, nonlinearity=0.1)
        cases = ((1, False, {}), (1, True, {}), (3, True, {}), (9, False, {}), (1, True, {"camera": uneven}))
        for samples, joined, other in cases:
            film, fields, shots, expected = module.shown(samples, joined, **other)
            out = np.zeros_like(expected)
            exposure = film.exposure(shots).part(slice(0, len(fields)), slice(0, out.shape[1]))
            flat = fields.reshape(len(fields), -1).view(np.float32)
            sensor_cuda.develop_fields(Arrays("torch", "cuda:0"), flat, exposure, out)
            # The simulator runs the functions of a pixel as compiled for the CPU: not a bit may differ, but in the
            # product of light and scale, which it makes by numpy's scalars.
            assert (out != expected).mean() <= 1e-3 and expected.std() > 1, (samples, joined, (out != expected).mean())
            print(samples, joined, "ok")
    """)  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, __file__],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok") == 5


def shown(samples: int, joined: bool, camera: Camera = CAMERA) -> tuple[Film, np.ndarray, Shots, np.ndarray]:
    """A small camera, fields of two patterns and three phase steps, and the CPU's counts of them."""
    from opusim.base.arrays import NUMPY

    n, m, steps = 2, 300, 3
    rng = np.random.default_rng(4)
    film = Film(camera, 9, samples, NUMPY)
    fields = (rng.standard_normal((n, m, samples)) + 1j * rng.standard_normal((n, m, samples))).astype(np.complex64)
    reference = (1.5 * np.exp(1j * rng.standard_normal((m, samples)))).astype(np.complex64) if joined else None
    shots = Shots(
        0, np.arange(n * steps) + 2**32, np.full(n * steps, 400.0), 4e-4, camera.maps(9, np.arange(m)), steps,
        reference, np.arange(n * steps) * 2.0 if joined else None, 0.9 if joined else 1.0,
    )  # fmt: skip
    out = np.empty((n * steps, m), camera.dtype)
    film.develop(fields, film.exposure(shots), slice(0, n), slice(0, m), out)
    return film, fields, shots, out


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 3, 8, 9, 32])
def test_fields_are_developed_as_intensities_of_numpy_are(samples, joined):
    """|S + c R exp(i d)|^2 + (1 - c^2) |R|^2, written plainly in numpy, then the camera: not a bit differs."""
    from opusim.bench.film import intensity

    film, fields, shots, out = shown(samples, joined)
    turns = shots.turns().view(np.complex64)[:, 0]
    scale = (shots.photons_per_intensity / samples).astype(np.float32)
    for i, field in enumerate(fields):
        for f in range(i * shots.steps, (i + 1) * shots.steps):
            light = intensity(field, shots.reference, turns[f], shots.coherence) * scale[f]
            expected = CAMERA.expose(light, exposure_s=4e-4, seed=9, maps=shots.maps, frame0=int(shots.frames[f]))
            np.testing.assert_array_equal(out[f], expected, strict=True)
