"""Speed of the camera kernel and of Gaussian entries, on one thread.

Medians and ranges over rounds in which every case has one turn, so that a slow spell of the machine hits all
of them alike. Run it as ``python benchmarks/camera.py [--rounds 15] [--threads 1]``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from opusim.base import rng
from opusim.device.camera import Camera
from opusim.device.camera_kernels import BLOCK, develop_frames
from opusim.device.medium.gaussian_kernels import gaussian_entries

SHAPE = (1000, 2000)
MEANS_E = (10, 100, 1000, 10_000)
EXPOSURE_S = 400e-6


def sensor(mean_e: float, bits: int = 8) -> Camera:
    """CMV2000 with everything on, its gain set so that full scale is five times the mean."""
    return Camera(
        "benchmark",
        SHAPE,
        5.5e-6,
        0.6,
        340.0,
        gain_dn_per_e=(2**bits - 1) / (5 * mean_e),
        bits=bits,
        full_well_e=max(13_500.0, 5.0 * mean_e),
        read_noise_e=13.0,
        dark_current_e_per_s=125.0,
        prnu=0.01,
        dsnu_e=15.0,
        hot_pixel_fraction=1e-5,
        hot_pixel_dark_e_per_s=2000.0,
        black_level_dn=2.0,
    )


Work = Callable[[], object]


def camera_case(mean_e: float, speckle: bool, threads: int, bits: int = 8) -> tuple[Work, Work]:
    """Return the kernel alone on one frame of 2 Mpx, and the whole call with its checks."""
    camera = sensor(mean_e, bits)
    maps = camera.maps(0)
    n = len(maps)
    light = np.full(n, mean_e / 0.6, np.float32)
    if speckle:
        light *= np.random.default_rng(0).exponential(1.0, n).astype(np.float32)
    stack, out = light[None], np.empty((1, n), camera.dtype)
    key0, key1 = camera.noise_key(0)
    dark_e, params = maps.dark_e(EXPOSURE_S), camera.params()
    n_blocks = -(-n // BLOCK)

    def kernel() -> object:
        return develop_frames(
            stack, maps.gain, dark_e, maps.offset_e, maps.telegraph_e, maps.pixels, np.uint64(0), key0, key1, params,
            out, 0, n_blocks,
        )  # fmt: skip

    def call() -> object:
        return camera.expose(light, exposure_s=EXPOSURE_S, seed=0, maps=maps, threads=threads)

    return kernel, call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each case")
    parser.add_argument("--threads", type=int, default=1, help="threads of whole calls; kernels use one")
    options = parser.parse_args()

    cases: dict[str, tuple[Work, int]] = {}
    n = SHAPE[0] * SHAPE[1]
    for mean_e in MEANS_E:
        for speckle in (False, True):
            kernel, call = camera_case(mean_e, speckle, options.threads)
            label = f"{mean_e:6d} e-  {'speckle' if speckle else 'uniform'}"
            cases[f"camera 2 Mpx {label}  kernel"] = (kernel, n)
            cases[f"camera 2 Mpx {label}  call  "] = (call, n)
    deep, _ = camera_case(1000, True, options.threads, bits=12)
    cases["camera 2 Mpx   1000 e-  speckle  kernel, 12 bits"] = (deep, n)
    key = rng.stream_key(0, "benchmark")
    small, large = np.empty((64, 2 * 1000), np.float32), np.empty((100, 2 * 50_000), np.float32)
    cases["Gaussian entries, tile of 64 x 1000"] = (
        lambda: gaussian_entries(key, small, threads=options.threads),
        small.size,
    )
    cases["Gaussian entries, tile of 100 x 50000"] = (
        lambda: gaussian_entries(key, large, threads=options.threads),
        large.size,
    )
    cases["rng.normals, 4 million"] = (lambda: rng.normals(key, 4_000_000), 4_000_000)

    times: dict[str, list[float]] = {name: [] for name in cases}
    for work, _ in cases.values():
        work()  # compiles, or reads the cache
    for _ in range(options.rounds):
        for name, (work, _) in cases.items():
            begin = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - begin)

    print(f"{options.rounds} interleaved rounds; kernels on 1 thread, calls on {options.threads}")
    print(f"{'':52s}  median ms    (range)         million/s")
    for name, (_, size) in cases.items():
        t = 1e3 * np.array(times[name])
        print(f"{name:52s}  {np.median(t):8.2f}  ({t.min():6.2f} - {t.max():6.2f})   {size / np.median(t) / 1e3:8.0f}")


if __name__ == "__main__":
    main()
