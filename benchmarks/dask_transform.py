"""A Dask transform on two worker processes against one process: `python benchmarks/dask_transform.py [--linear]`.

20 000 x 784 -> 10 000 by default: are the numbers the same, bit for bit, how much memory does each worker take at most,
and how long does it take. The one process uses all processors, or one with `--threads 1`; each worker uses one.
"""

from __future__ import annotations

import argparse
import time

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster
from throughput import peak_mib

from opusim import OPU


def make_opu(options: argparse.Namespace) -> OPU:
    opu = OPU(options.outputs, linear_mode="intensity", threads=options.threads)
    opu.fit1d(n_features=options.features)
    return opu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vectors", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=784)
    parser.add_argument("--outputs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=1000, help="vectors of a chunk")
    parser.add_argument("--threads", type=int, help="of the one process; all processors by default")
    parser.add_argument("--linear", action="store_true", help="the linear transform by intensity in place of counts")
    options = parser.parse_args()
    call = OPU.linear_transform if options.linear else OPU.transform
    x = np.random.default_rng(0).integers(0, 2, (options.vectors, options.features), dtype=np.uint8)

    opu = make_opu(options)
    first_frames = call(opu, x[:64])  # matrix and kernels
    start = time.perf_counter()
    expected = np.asarray(call(opu, x))
    print(f"one process, {opu.bench.threads} threads: {time.perf_counter() - start:.1f} s, {peak_mib():.0f} MiB")

    with (
        LocalCluster(
            n_workers=options.workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        other = make_opu(options)
        lazy_x = da.from_array(x, chunks=(options.chunk, -1))
        warm_up = call(other, lazy_x[:64])
        print("first 64 equal:", np.array_equal(warm_up.compute(), first_frames))
        start = time.perf_counter()
        y = call(other, lazy_x)
        built_s = time.perf_counter() - start
        rounds = []
        for _ in range(2):
            start = time.perf_counter()
            computed = y.compute()
            rounds.append(time.perf_counter() - start)
        print(f"{y}\nmade in {built_s * 1e3:.0f} ms")
        peaks = ", ".join(f"{value:.0f}" for value in client.run(peak_mib).values())
        times = ", ".join(f"{value:.1f}" for value in rounds)
        print(f"{options.workers} workers of one thread: {times} s, at most {peaks} MiB each")
    print("bit-equal:", computed.dtype == expected.dtype and np.array_equal(computed, expected))


if __name__ == "__main__":
    main()
