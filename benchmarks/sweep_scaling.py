"""A sweep of 24 points by one process, by two, and by two Dask workers: times, ratios, and whether all is equal.

    python benchmarks/sweep_scaling.py [--rounds 5]

Every process computes with one thread, so that two have twice the processors of one. Medians of interleaved rounds.
The workers are started, and have loaded the simulation, before the first round; how long that takes stands beside it.
Asked: two processes, or two Dask workers, take at most 0.6 of the time of one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from opusim import OPU, Device
from opusim.sweep import KernelRidge, Sweep

VARY = {"camera.read_noise_e": [0, 10, 20, 40, 80, 160], "adc.bits": [6, 8]}
N_SEEDS = 2


def make_opu(device: Device, n_components: int, seed: int) -> Any:
    return OPU(n_components, device=device, seed=seed, disable_pbar=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--train", type=int, default=0)
    parser.add_argument("--test", type=int, default=0)
    parser.add_argument("--components", type=int, default=1500)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    from distributed import Client, LocalCluster

    task = KernelRidge(options.dataset, n_train=options.train, n_test=options.test)
    sweep = Sweep(task, make_opu, VARY, n_components=options.components, seeds=N_SEEDS)
    n_points, n = len(sweep.settings) * N_SEEDS, options.workers
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with (
            LocalCluster(n_workers=n, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            ways: dict[str, dict[str, Any]] = {
                "one process": {},
                f"{n} processes": {"workers": n},
                f"{n} Dask workers": {"dask": client},
            }
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            results: set[str] = set()
            for name, way in reversed(ways.items()):
                sweep.run(threads=1, **way)
                print(f"started and warm: {name}, {time.perf_counter() - start:.1f} s")
                start = time.perf_counter()
            for turn in range(options.rounds):
                for name, way in ways.items():
                    start = time.perf_counter()
                    path = Path(folder) / f"{name} {turn}.h5"
                    results.add(sweep.run(path, threads=1, **way).digest())
                    seconds[name].append(time.perf_counter() - start)
    print(f"\n{n_points} points of {task.name}, {options.components} outputs, {options.rounds} rounds")
    one = np.array(seconds["one process"])
    for name, values in seconds.items():
        times = np.array(values)
        print(
            f"{name:15s}  median {np.median(times):6.2f} s ({times.min():.2f} - {times.max():.2f}), "
            f"{np.median(times) / n_points:.3f} s a point, ratio {np.median(times / one):.3f}"
        )
    print(f"results equal: {'yes' if len(results) == 1 else 'NO'}")


if __name__ == "__main__":
    main()
