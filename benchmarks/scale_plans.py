"""The parts of `scale.py --plan` and `--cluster`: what `opusim plan` says against what is measured."""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scale_common import apart, fitted, half_on, row, shown, table, with_threads
from throughput import peak_mib

from opusim import OPU
from opusim.fringes import demodulation

# (features, outputs, vectors, linear) of the plan's checks.
CASES = (
    (784, 10_000, 3_000, False), (784, 10_000, 640, True), (10_000, 2_000, 1_000, False), (30_000, 30_000, 128, False),
    (100_000, 200_000, 24, False), (30_000, 30_000, 64, True),
)  # fmt: skip
CLUSTER_CASES = (
    (784, 10_000, 20_000, False), (784, 10_000, 4_000, True), (30_000, 30_000, 1_000, False),
    (30_000, 30_000, 256, True),
)  # fmt: skip


def task_plan(case: tuple[int, int, int, bool], rounds: int) -> dict[str, Any]:
    """Time of a plan and of what it plans, by turns, and memory: in this process, or on one Dask worker of it."""
    from opusim.cli.plan import _program_bytes
    from opusim.drivers import workload as rules
    from opusim.planning import costs as scale
    from opusim.planning import rates as scale_rates

    warnings.simplefilter("ignore")
    n, n_out, vectors, linear = case
    threads = 2
    with_threads(fitted(16, 16), threads).transform(half_on(8, 16))
    program = _program_bytes()
    opu = with_threads(fitted(n, n_out), threads)
    call = opu.linear_transform if linear else opu.transform
    work = rules.workload(opu, vectors, linear=linear)
    projector = rules.projector_of(opu, work, threads=threads)
    reference = rules.reference_of(opu, projector) if work.steps > 1 else None
    finish, reduction = rules.finisher(opu, work), rules.reducer(opu, work)
    frames = work.patterns_per_vector * work.steps
    if linear:
        opu.calibrate(store=False)
    x = half_on(vectors, n)
    planned, measured = [], []
    for i in range(rounds):
        rates = scale_rates.measure(projector, [(threads, 1), (1, threads)], steps=work.steps, reference=reference,
                                    finish=finish, reduction=reduction, frames=frames)  # fmt: skip
        plan = scale.plan_scale(projector, work, *rates, program_bytes=program)
        planned.append(plan.process_s)
        opu.fit1d(n_features=n)
        with_threads(opu, threads)
        start = time.perf_counter()
        call(x)
        measured.append(time.perf_counter() - start)
        print(f"  round {i + 1}: planned {planned[-1]:.3g} s, measured {measured[-1]:.3g} s", file=sys.stderr)
    return {"planned": planned, "measured": measured, "way": plan.way, "threads": threads}


def task_memory(case: tuple[int, int, int, bool]) -> dict[str, Any]:
    """Memory of one process that does one task of the lazy transform after the other, planned and measured."""
    import dask
    import dask.array as da

    from opusim.cli.plan import _program_bytes
    from opusim.drivers import workload as rules
    from opusim.planning import costs as scale
    from opusim.planning import rates as scale_rates

    warnings.simplefilter("ignore")
    n, n_out, vectors, linear = case
    with_threads(fitted(16, 16), 1).transform(da.from_array(half_on(8, 16))).compute(scheduler="sync")
    opu = with_threads(fitted(n, n_out), 1)
    work = rules.workload(opu, vectors, linear=linear)
    program = _program_bytes()
    projector = rules.projector_of(opu, work, threads=1)
    rates = scale_rates.planner_rates(projector, 1)
    plan = scale.plan_scale(projector, work, rates, rates, program_bytes=program)
    if linear:
        opu.calibrate(store=False)
        # No worker has the layer of all mirrors, nor the free memory that a calibration leaves in the heap.
        opu.bench._fresh()
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    x = da.from_array(half_on(vectors, n), chunks=(work.task_size, -1))
    y = opu.linear_transform(x) if linear else opu.transform(x)
    with dask.config.set(scheduler="sync"):
        for block in range(y.numblocks[0]):
            y.blocks[block].compute()
    # The whole input lies in this process; on a worker only chunks do.
    measured = peak_mib() - vectors * n / 2**20
    return {"planned": plan.memory.total / 2**20, "measured": measured}


def plans(options: argparse.Namespace) -> None:
    print(f"Planned over measured, 2 threads, medians of {options.rounds} rounds, rates measured in each")
    table(
        "size", "call", "way", "planned, s", "measured, s", "time", "planned, MiB", "measured, MiB", "memory", "asked"
    )
    for case in CASES:
        n, n_out, vectors, linear = case
        got = apart("plan", case=case, rounds=options.rounds)
        held = apart("memory", case=case)
        ratios = [a / b for a, b in zip(got["planned"], got["measured"], strict=True)]
        row(f"{n:,} -> {n_out:,}, {vectors} vectors", "linear" if linear else "counts", got["way"],
            shown(got["planned"], 1), shown(got["measured"], 1), f"{statistics.median(ratios):.2f}",
            f"{held['planned']:.0f}", f"{held['measured']:.0f}",
            f"{held['planned'] / held['measured']:.2f}")  # fmt: skip
    print("\nAsked of both ratios: 0.7 to 1.3.")


def task_cluster(case: tuple[int, int, int, bool], rounds: int) -> dict[str, Any]:
    """Time that is planned for a cluster of two workers of one thread, and what it takes here, by turns."""
    import dask.array as da
    from distributed import Client, LocalCluster, wait

    from opusim.drivers import workload as rules
    from opusim.planning import costs as scale
    from opusim.planning import rates as scale_rates

    warnings.simplefilter("ignore")
    n, n_out, vectors, linear = case
    opu = with_threads(fitted(n, n_out), 1)
    work = rules.workload(opu, vectors, linear=linear)
    projector = rules.projector_of(opu, work, threads=1)
    reference = rules.reference_of(opu, projector) if work.steps > 1 else None
    finish = rules.finisher(opu, work)
    if linear:
        opu.calibrate(store=False)
    x = da.from_array(half_on(vectors, n), chunks=(work.task_size, -1))

    def warm_up() -> None:
        for execution in ("matrix", "waves"):
            small = OPU(16, execution=execution, disable_pbar=True)
            small.fit1d(n_features=16)
            small.transform(np.ones((8, 16), dtype=np.uint8))
        maps = np.ones(16, dtype=np.float32)
        demodulation.fields_of_counts(np.zeros((4, 16), np.uint8), np.arange(4) * np.pi / 2, maps, maps, 255.0, 1.0)

    def measured_s() -> tuple[float, float]:
        # A cluster of its own each time, so that what the workers keep is made again.
        with (
            LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
            ) as cluster,
            Client(cluster) as client,
        ):
            client.run(warm_up)
            start = time.perf_counter()
            y = client.persist(opu.linear_transform(x) if linear else opu.transform(x))
            wait(y)
            done_s = time.perf_counter() - start
            y.compute()
            return done_s, time.perf_counter() - start - done_s

    planned, measured, fetched = [], [], []
    for _ in range(rounds):
        # Two calls at a time, as the two workers compete for this machine's memory and caches.
        (rates,) = scale_rates.measure(projector, [(1, 2)], steps=work.steps, reference=reference, finish=finish)
        rates = dataclasses.replace(rates, at_once=1)
        plan = scale.plan_scale(projector, work, rates, rates, workers=2)
        planned.append(plan.cluster_s)
        with_threads(opu, 1)
        opu.fit1d(n_features=n)  # its patterns belong to the time
        done_s, fetch_s = measured_s()
        measured.append(done_s)
        fetched.append(fetch_s)
        print(f"  planned {planned[-1]:.3g} s, measured {measured[-1]:.3g} s", file=sys.stderr)
    return {"planned": planned, "measured": measured, "fetched": fetched, "way": plan.way, "tasks": work.n_tasks}


def clusters(options: argparse.Namespace) -> None:
    print(f"Dask cluster of two workers of one thread, planned over measured, medians of {options.rounds} rounds")
    table("size", "call", "way", "tasks", "planned, s", "results on the workers, s", "ratio", "asked", "and fetched, s")
    for case in CLUSTER_CASES:
        n, n_out, vectors, linear = case
        got = apart("cluster", case=case, rounds=options.rounds)
        ratios = [a / b for a, b in zip(got["planned"], got["measured"], strict=True)]
        row(f"{n:,} -> {n_out:,}, {vectors} vectors", "linear" if linear else "counts", got["way"], got["tasks"],
            shown(got["planned"], 1), shown(got["measured"], 1), shown(ratios, 1), "0.7 to 1.3",
            shown(got["fetched"], 1))  # fmt: skip
