"""The part of `scale.py --square`: 10^3 to 10^6 features and as many outputs, way by way."""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import time
from typing import Any

import numpy as np
from scale_common import apart, fitted, half_on, plan_of, row, shown, table
from throughput import interleaved, peak_mib

import opusim
from opusim import OPU
from opusim.device.medium import GaussianMedium

PASS = 3000  # vectors of a pass of the real driver, for which the planner weighs its ways
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


def gaussian(n: int, **settings: Any) -> OPU:
    """Return an OPU of a Gaussian medium whose DMD has little more than n mirrors: a matrix of n^2 entries."""
    side = math.ceil(math.sqrt(n))
    device = opusim.Device.load("aurora")
    device = dataclasses.replace(
        device, medium=GaussianMedium(transmission=device.medium.transmission),
        dmd=dataclasses.replace(device.dmd, shape=(side, side)),
        operation=dataclasses.replace(device.operation, ones_range=(0, side**2)),
    )  # fmt: skip
    return fitted(n, n, device=device, **settings)


def task_square(n: int, way: str, vectors: int, rounds: int) -> dict[str, Any]:
    """First call and further ones of one size one way, and the memory that they took."""
    if way == "simulator":
        from opusim.drivers.compat.opu import SimulatorOPU

        SimulatorOPU(16, max_n_features=16).fit_transform1d(half_on(8, 16))
    elif way == "gaussian":
        gaussian(16).transform(half_on(8, 16))  # loads the kernels
    else:
        fitted(16, 16, way).transform(half_on(8, 16))
    x = half_on(vectors, n)
    before = peak_mib()
    start = time.perf_counter()
    if way == "simulator":
        opu: Any = SimulatorOPU(n, max_n_features=n)
        opu.fit1d(n_features=n)
    else:
        opu = gaussian(n) if way == "gaussian" else fitted(n, n, way)
    opu.transform(x[:1])
    build_s = time.perf_counter() - start
    if way == "gaussian" and not plan_of(opu).stored:
        # Each call makes the matrix again.
        both = interleaved(rounds, one=lambda: opu.transform(x[:1]), all=lambda: opu.transform(x))
        each = [(t - one) / (vectors - 1) for one, t in zip(both["one"], both["all"], strict=True)]
    else:
        each = [t / vectors for t in interleaved(rounds, it=lambda: opu.transform(x))["it"]]
    return {"build_s": build_s, "times": each, "mib": peak_mib() - before}


def square(options: argparse.Namespace) -> None:
    print(f"Square: n features -> n outputs, medians of {options.rounds} rounds; memory above that of the program")
    table("n", "way", "first vector, s", "ms a vector", f"s for {PASS}, first included", "memory, MiB")
    found: dict[str, list[tuple[int, float, float, float]]] = {
        "matrix": [], "waves": [], "gaussian": [], "simulator": []
    }  # fmt: skip
    budget = opusim.OpticalBench("aurora").memory_budget
    for n in (n for n in SIZES if n <= options.largest):
        for way in found:
            # 24 bytes an entry: what drawing the simulator's matrix holds at its peak.
            size = {"matrix": 8, "simulator": 24}.get(way, 0) * n**2
            if size > (budget if way == "matrix" else options.memory * 2**30):
                continue
            rounds = options.rounds
            if way == "simulator":
                vector_s = 8 * n**2 / 1e11
            else:
                try:
                    plan = plan_of(gaussian(n) if way == "gaussian" else fitted(n, n, way))
                except ValueError as error:
                    print(f"\n{way}, n = {n:,}: {error}\n")
                    continue
                if way != "waves" and plan.build_s > options.longest:
                    continue
                vector_s = plan.wave_vector_s if way == "waves" else plan.matrix_vector_s
            vectors = int(min(1024, max(1, 1 / vector_s), 2e9 // n))
            if way == "gaussian" and not plan.stored:
                # As much time for the vectors as for the matrix, so that the difference can be told.
                vectors, rounds = max(8, math.ceil(plan.build_s / vector_s)), 1
            got = apart("square", n=n, way=way, vectors=vectors, rounds=rounds)
            vector_s = statistics.median(got["times"])
            found[way].append((n, vector_s, got["mib"], got["build_s"]))
            total = got["build_s"] + PASS * vector_s
            row(f"{n:,}", way, f"{got['build_s']:.3g}", shown(got["times"]), f"{total:.4g}", f"{got['mib']:.0f}")
    table("way", "exponent of the time of a vector", "exponent of the memory", "of the first vector", "sizes")
    for way, points in found.items():
        large = [p for p in points if p[0] >= 3_000]
        if len(large) > 1:
            n, *values = zip(*large, strict=True)
            slopes = [np.polyfit(np.log(n), np.log(v), 1)[0] for v in values]
            row(way, *(f"{slope:.2f}" for slope in slopes), f"{n[0]:,} to {n[-1]:,}")
    crossover(found)


def crossover(found: dict[str, list[tuple[int, float, float, float]]]) -> None:
    """Compare where the planner changes over to waves with where the measured times of a pass meet."""
    low, high = 100, 1_000_000
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if plan_of(fitted(middle, middle)).way == "matrix" else (low, middle)
    print(f"\nThe planner takes waves from about n = {high:,} on.")
    totals = {way: {n: build + PASS * t for n, t, _, build in found[way]} for way in ("matrix", "waves")}
    n = sorted(set(totals["matrix"]) & set(totals["waves"]))
    if len(n) < 2:
        print("Too few sizes by both ways for a measured crossover.")
        return
    gap = np.log([totals["matrix"][k] / totals["waves"][k] for k in n])
    crossed = [i for i in range(len(n) - 1) if gap[i] < 0 <= gap[i + 1]]
    i = crossed[0] if crossed else (0 if gap[0] >= 0 else len(n) - 2)
    log_n = np.log(n)
    at = math.exp(log_n[i] - gap[i] * (log_n[i + 1] - log_n[i]) / (gap[i + 1] - gap[i]))
    how = "between measured sizes" if crossed else "by extrapolation"
    print(f"Measured, for {PASS} vectors and the first one: n = {at:,.0f}, {how}.")
