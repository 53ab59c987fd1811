"""Speed and memory of the default device beside its peers, in one process, in interleaved rounds.

    python benchmarks/throughput.py [--rounds 5]

- MNIST-size: 3 000 binary vectors of 784 features to 10 000 outputs, default device with all noise, against
  the arithmetic of lightonml's noise-free simulator (np.dot(uint8, complex64), abs, square), with MNIST's own
  digits (pixels > 25) where OPUSIM_DATA is set, and with random half-on vectors.
- Every mirror to the whole sensor: 1 039 680 -> 2 219 520, 8 bit, all noise, against as many scipy.fft.fft2 on
  a 2048 x 2048 grid as the optics has transforms.

Beside an earlier build, with memory, threads and every other size that a speed is asked of: `scale.py --speed`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.fft

import opusim
from opusim.bench.bench import OpticalBench
from opusim.device.record import Device


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(rounds: int, **peers: Callable[[], object]) -> dict[str, list[float]]:
    """Times of each peer, one round of all after the other; a first round warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for i in range(rounds + 1):
        for name, work in peers.items():
            t = timed(work)
            if i:
                times[name].append(t)
    return times


def report(times: dict[str, list[float]], per: int, unit: str) -> None:
    """Print the median and the range of each peer."""
    for name, values in times.items():
        print(
            f"  {name:<28} median {1e3 * np.median(values) / per:9.4f} ms/{unit}   "
            f"range {1e3 * min(values) / per:.4f} - {1e3 * max(values) / per:.4f}"
        )


def peak_mib() -> float:
    """Most memory that this process has held, in MiB (Linux; `ru_maxrss` would count the parent's from before exec)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def whole_sensor(rounds: int) -> None:
    """Every mirror to every pixel. Runs first, so that the peak memory is its own."""
    device = Device.load("aurora").evolve(resolution="mirrors")
    bench = OpticalBench(device, 0)
    mirrors = np.random.default_rng(0).integers(0, 2, size=(1, *bench.mirror_shape), dtype=np.uint8)
    transforms = device.medium.n_transforms
    grid = np.ones((2048, 2048), dtype=np.complex64)
    print(f"Every mirror to the whole sensor: {mirrors.size} -> {np.prod(bench.sensor_shape)}, {transforms} transforms")
    bench.expose(mirrors, exposure_s=400e-6)
    print(f"  peak memory of the process after the first frame: {peak_mib():.0f} MiB")

    def ffts() -> None:
        nonlocal grid
        for _ in range(transforms):
            grid = scipy.fft.fft2(grid, norm="ortho", workers=2, overwrite_x=True)

    times = interleaved(
        rounds, **{"opusim, all noise": lambda: bench.expose(mirrors, exposure_s=400e-6), f"{transforms} x fft2": ffts}
    )
    report(times, 1, "vector")
    ours, theirs = (np.median(v) for v in times.values())
    print(f"  ratio opusim / fft2: {ours / theirs:.2f} (asked: at most 1.5)")
    print(f"  peak memory of the process: {peak_mib():.0f} MiB (asked: at most 1024)\n")


def mnist_size(rounds: int, what: str, x: np.ndarray, asked: float) -> None:
    """784 -> 10 000 for 3 000 vectors; `asked` is the least ratio of vectors per second."""
    rng = np.random.RandomState(0)
    scale = 1 / np.sqrt(784)
    matrix = (rng.normal(scale=scale, size=(784, 10_000)) + 1j * rng.normal(scale=scale, size=(784, 10_000))).astype(
        np.complex64
    )
    opu = opusim.OPU(n_components=10_000, disable_pbar=True)
    opu.fit1d(x)
    print(f"784 -> 10 000, {len(x)} vectors, {what}: {100 * x.mean():.0f} % of the features on")
    first = timed(lambda: opu.transform(x[:2]))
    print(f"  first call, with the matrix: {first:.2f} s")
    times = interleaved(
        rounds,
        **{
            "opusim, all noise": lambda: opu.transform(x),
            "lightonml's arithmetic": lambda: np.abs(np.dot(x, matrix)) ** 2,
        },
    )
    report(times, len(x), "vector")
    ours, theirs = (np.median(v) for v in times.values())
    print(f"  vectors per second: opusim {len(x) / ours:.0f}, lightonml's arithmetic {len(x) / theirs:.0f}")
    print(f"  ratio of vectors per second: {theirs / ours:.2f} (asked: at least {asked})\n")
    opu.close()


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"opusim {opusim.__version__}, numpy {np.__version__}, {len(os.sched_getaffinity(0))} processors\n")
    whole_sensor(rounds)
    if os.environ.get("OPUSIM_DATA"):
        digits = opusim.datasets.load("mnist").x_train[:3000].reshape(3000, 784)
        mnist_size(rounds, "MNIST digits", (digits > 25).astype(np.uint8), 4.5)
    half = np.random.default_rng(1).integers(0, 2, size=(3000, 784), dtype=np.uint8)
    mnist_size(rounds, "random", half, 3.5)


if __name__ == "__main__":
    main()
