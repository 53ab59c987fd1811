"""Speed of the camera kernel and of Gaussian entries, on one thread.

    python benchmarks/camera.py [--rounds 15] [--threads 1] [--before PYTHON]

Processor times, medians and ranges over rounds in which every case has one turn, so that a slow spell of the machine
hits all of them alike. With `--before`, an interpreter of an environment in which an earlier build is installed or a
folder with the package `opusim`, both builds run as processes of their own that wait for their turn, and the ratio is
the earlier build's time over ours, of the medians and of the least. Frames of the presets have the light of half-on
vectors of 784 features, on as many pixels as a transform to 10 000 has, in the caches as there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from opusim.base import rng
from opusim.device.camera import Camera
from opusim.device.camera_kernels import BLOCK, develop_frames
from opusim.device.medium.gaussian_kernels import gaussian_entries

SHAPE = (1000, 2000)
MEANS_E = (0.5, 5, 50, 500, 10_000)
PRESETS = ("aurora@1", "aurora")
EXPOSURE_S = 400e-6


def sensor(mean_e: float, bits: int = 8) -> Camera:
    """CMV2000 with everything on, its gain set so that full scale is five times the mean."""
    return Camera(
        "benchmark",
        SHAPE,
        5.5e-6,
        0.6,
        340.0,
        gain_dn_per_e=(2**bits - 1) / (5 * max(mean_e, 10.0)),
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


def preset_case(name: str, n_pixels: int = 10_000, n_frames: int = 200) -> Work:
    """Return the kernel alone on frames of a preset as a transform takes them, one speckle field for all."""
    from opusim import OPU

    x = np.random.default_rng(0).integers(0, 2, (40, 784), dtype=np.uint8)
    with OPU(n_components=n_pixels, device=name, disable_pbar=True) as opu:
        counts = opu.fit_transform1d(x)
        device = opu.bench.device
    camera = device.camera
    mean_e = max(float(np.mean(counts)) - camera.black_level_dn, 0.0) / camera.gain_dn_per_e
    maps = camera.maps(0, np.arange(n_pixels))
    speckle = np.random.default_rng(0).exponential(1.0, (n_frames, n_pixels))
    light = (speckle * mean_e / maps.gain).astype(np.float32)
    out = np.empty((n_frames, n_pixels), camera.dtype)
    fixed = (maps.gain, maps.dark_e(EXPOSURE_S), maps.offset_e, maps.telegraph_e, maps.pixels)
    rest = (np.uint64(0), *camera.noise_key(0), camera.params(), out, 0, n_frames * -(-n_pixels // BLOCK))
    return lambda: develop_frames(light, *fixed, *rest)


def small_blocks(mean_e: float, size: int) -> Work:
    """Return the kernel alone on rows of few pixels each: a block of each frame."""
    camera = sensor(mean_e)
    maps = camera.maps(0, np.arange(size))
    n_frames = SHAPE[0] * SHAPE[1] // size
    light = np.full((n_frames, size), mean_e / 0.6, np.float32)
    out = np.empty((n_frames, size), camera.dtype)
    fixed = (maps.gain, maps.dark_e(EXPOSURE_S), maps.offset_e, maps.telegraph_e, maps.pixels)
    rest = (np.uint64(0), *camera.noise_key(0), camera.params(), out, 0, n_frames)
    return lambda: develop_frames(light, *fixed, *rest)


def all_cases(threads: int) -> dict[str, tuple[Work, int]]:
    """What is timed, by name, with how many numbers it makes; everything is made and warm."""
    cases: dict[str, tuple[Work, int]] = {}
    n = SHAPE[0] * SHAPE[1]
    for mean_e in MEANS_E:
        for speckle in (False, True):
            kernel, call = camera_case(mean_e, speckle, threads)
            label = f"{mean_e:6g} e-  {'speckle' if speckle else 'uniform'}"
            cases[f"camera 2 Mpx {label}  kernel"] = (kernel, n)
            cases[f"camera 2 Mpx {label}  call  "] = (call, n)
    deep, _ = camera_case(1000, True, threads, bits=12)
    cases["camera 2 Mpx   1000 e-  speckle  kernel, 12 bits"] = (deep, n)
    cases["camera 2 Mpx    500 e-  kernel, blocks of 32"] = (small_blocks(500, 32), n)
    for name in PRESETS:
        cases[f"camera 2 Mpx {name} as it is used  kernel"] = (preset_case(name), n)
    key = rng.stream_key(0, "benchmark")
    small, large = np.empty((64, 2 * 1000), np.float32), np.empty((100, 2 * 50_000), np.float32)
    cases["Gaussian entries, tile of 64 x 1000"] = (
        lambda: gaussian_entries(key, small, threads=threads),
        small.size,
    )
    cases["Gaussian entries, tile of 100 x 50000"] = (
        lambda: gaussian_entries(key, large, threads=threads),
        large.size,
    )
    cases["rng.normals, 4 million"] = (lambda: rng.normals(key, 4_000_000), 4_000_000)
    for work, _ in cases.values():
        work()  # compiles, or reads the cache
    return cases


def timed(work: Work) -> float:
    """Seconds of processor time that a piece of work takes, which other programs do little to."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def serve(threads: int) -> None:
    """Time the work whose name comes in."""
    cases = all_cases(threads)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(timed(cases[line.rstrip("\n")][0])), flush=True)


def earlier_build(where: str, threads: int) -> Any:
    """Return the process of an earlier build that times what it is told."""
    import other_build  # not at the top: processes of another build do not see this folder

    build = other_build.found(where, interpreters=True, needs="opusim.device.camera_kernels")
    command = [build.python, str(Path(__file__).resolve()), "--serve", "--threads", str(threads)]
    earlier = other_build.Waiting(command, build.environment)
    earlier.answer()
    return earlier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each case")
    parser.add_argument("--threads", type=int, default=1, help="threads of whole calls; kernels use one")
    parser.add_argument("--before", help="an interpreter of an earlier build, or a folder with its package")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.threads)
        return
    earlier = earlier_build(options.before, options.threads) if options.before else None
    cases = all_cases(options.threads)
    times: dict[str, list[float]] = {name: [] for name in cases}
    before: dict[str, list[float]] = {name: [] for name in cases}
    for i in range(options.rounds):
        for name, (work, _) in cases.items():
            if earlier and i % 2:
                before[name].append(earlier.ask(name))
            times[name].append(timed(work))
            if earlier and not i % 2:
                before[name].append(earlier.ask(name))
    if earlier:
        earlier.close()

    print(f"{options.rounds} interleaved rounds; kernels on 1 thread, calls on {options.threads}")
    print(
        f"{'':52s}  median ms    (range)         million/s"
        + ("      before ms   ratio (of the least)" if earlier else "")
    )
    for name, (_, size) in cases.items():
        t = 1e3 * np.array(times[name])
        line = f"{name:52s}  {np.median(t):8.2f}  ({t.min():6.2f} - {t.max():6.2f})   {size / np.median(t) / 1e3:8.0f}"
        if earlier:
            b = 1e3 * np.array(before[name])
            line += f"   {np.median(b):8.2f}       {np.median(b) / np.median(t):.2f} ({b.min() / t.min():.2f})"
        print(line)


if __name__ == "__main__":
    main()
