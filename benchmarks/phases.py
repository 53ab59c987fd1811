"""Phases to counts over the arithmetic that they cannot do without, in one process.

    python benchmarks/phases.py [--rounds 7] [--threads 1 2] [--only matrix]

By matrix: levels of a phase modulator through a matrix to counts, all noise on, over the bare complex product in single
precision by numpy's BLAS (weights of the same shape, times a matrix of the same shape, on as many threads). By waves:
over the bare transforms that a pass declares, by `scipy.fft.fft2` of stacks of the same grids in single precision, as
many at a time as 8 MB hold, in place, on as many threads. Asked: at most 1.3 times their time. Matrix and layer are
there before. Rounds are interleaved, and what comes first takes turns. threadpoolctl, which comes with scikit-learn,
holds the BLAS to as many threads.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import scipy.fft
from threadpoolctl import threadpool_limits

from opusim.bench.bench import OpticalBench
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.bench.way import Work
from opusim.device.record import Device
from opusim.device.slm import PhaseSlm
from opusim.patterns.layout import MirrorLayout
from opusim.patterns.phases import PhasePatterns

PRODUCTS = ((1920, 784, 10_000), (3000, 784, 10_000), (1920, 2_000, 2_000), (64, 784, 10_000), (1, 784, 10_000))
PICTURES = (((912, 1140), "auto"), ((1024, 1024), "auto"), ((1024, 1024), "mirrors"))
N_WAVES, N_PIXELS = 2, 2_000_000
STACK_BYTES = 8 << 20


def bench_of(shape: tuple[int, int], threads: int, **options: str) -> OpticalBench:
    """A device with a phase modulator of that shape."""
    slm = PhaseSlm(name="SLM", shape=shape, pitch_m=8e-6, unmodulated=0.05)
    return OpticalBench(Device.load("aurora").evolve(dmd=slm), threads=threads, **options)


def shown(bench: OpticalBench, layout: MirrorLayout, n: int, n_pixels: int) -> Callable[[], np.ndarray]:
    """What shows `n` random vectors of levels."""
    levels = np.random.default_rng(0).integers(0, 256, (n, layout.n_features_total)).astype(np.uint8)
    patterns, columns = PhasePatterns(levels, layout), min(n_pixels, bench.device.camera.shape[1])
    roi = (0, 0, -(-n_pixels // columns), columns)
    return lambda: bench.transform(patterns, exposure_s=4e-4, roi=roi, n_pixels=n_pixels)


def product(n: int, n_features: int, n_fields: int, threads: int) -> Callable[[], object]:
    """The bare product of phasors and a complex matrix."""
    rng = np.random.default_rng(0)
    weights = np.exp(2j * np.pi * rng.random((n, n_features))).astype(np.complex64)
    matrix = rng.normal(size=(n_features, 2 * n_fields)).astype(np.float32).view(np.complex64)

    def work() -> object:
        with threadpool_limits(threads):
            return weights @ matrix

    return work


def transforms(side: int, n: int, threads: int) -> Callable[[], object]:
    """As many bare transforms of grids of that side."""
    stack = max(1, min(64, STACK_BYTES // (8 * side**2)))
    grids = np.random.default_rng(0).normal(size=(stack, side, 2 * side)).astype(np.float32).view(np.complex64)

    def work() -> None:
        for first in range(0, n, stack):
            scipy.fft.fft2(grids[: n - first], norm="ortho", overwrite_x=True, workers=threads)

    return work


def declared(bench: OpticalBench, shape: tuple[int, int], resolution: str) -> Work:
    """What the way by waves says that it does."""
    sensor = bench.device.camera.shape[1]
    region = Region(Roi(0, 0, -(-N_PIXELS // sensor), sensor), N_PIXELS, sensor)
    layout = MirrorLayout.plain(shape)
    return Projector(bench.device, 0, layout, region, resolution=resolution, execution="waves").way.showing(N_WAVES)


def compared(ours: Callable[[], object], bare: Callable[[], object], rounds: int) -> str:
    """Cells of the table: milliseconds of both, and the ratio of ours to the bare work, of interleaved rounds."""
    calls = [ours, bare]
    times = np.empty((rounds, 2, 2))
    for call in calls:
        call()
    # Calls of some ms are repeated until they can be told apart.
    start = time.perf_counter()
    bare()
    repeats = max(1, round(0.05 / (time.perf_counter() - start)))
    for i in range(rounds):
        for k in (0, 1) if i % 2 else (1, 0):
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                calls[k]()
            times[i, k] = time.perf_counter() - wall, time.process_time() - processor
    wall, processor = (times[:, 0] / times[:, 1]).T
    least = times[..., 0].min(axis=0), times[..., 1].min(axis=0)
    ms = np.median(times[..., 0], axis=0) / repeats * 1e3
    return (
        f"{ms[0]:.1f} | {ms[1]:.1f} | {np.median(wall):.2f} ({wall.min():.2f} - {wall.max():.2f}) | "
        f"{np.median(processor):.2f} | {least[0][0] / least[0][1]:.2f} | {least[1][0] / least[1][1]:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", choices=("matrix", "waves"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("ratios: median (range) of rounds by wall time, median by processor time, shortest over shortest by either")
    print("| what | threads | ms | bare ms | ratio | by processor time | shortest | by processor time |")
    print("| --- " * 8 + "|")
    for threads in options.threads:
        if options.only != "waves":
            bench = bench_of((912, 1140), threads, execution="matrix")
            for n, n_features, n_fields in PRODUCTS:
                layout = MirrorLayout.lined(bench.device.modulator.shape, n_features)
                row = compared(
                    shown(bench, layout, n, n_fields), product(n, n_features, n_fields, threads), options.rounds
                )
                print(f"| {n:,} x {n_features:,} -> {n_fields:,} | {threads} | {row}", flush=True)
        if options.only != "matrix":
            for shape, resolution in PICTURES:
                bench = bench_of(shape, threads, execution="waves", resolution=resolution)
                work = shown(bench, MirrorLayout.plain(shape), N_WAVES, N_PIXELS)
                work()
                passes = declared(bench, shape, resolution)
                row = compared(work, transforms(passes.side, passes.transforms, threads), options.rounds)
                print(
                    f"| {shape[0]} x {shape[1]} pixels, {resolution}, -> {N_PIXELS:,} | {threads} | {row}", flush=True
                )


if __name__ == "__main__":
    main()
