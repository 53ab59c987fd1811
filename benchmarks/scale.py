"""Time and memory from small sizes to the device's own, and against what bounds them.

    python benchmarks/scale.py --square [--largest 1e6] [--longest 120]
    python benchmarks/scale.py --limit [--rounds 9] [--calibrate]
    python benchmarks/scale.py --threads [--rounds 9]
    python benchmarks/scale.py --plan [--rounds 3]
    python benchmarks/scale.py --gpu [--rounds 9]

- `--square`: 10^3 to 10^6 features and as many outputs by matrix and by waves, and lightonml's simulator where its
  matrix fits. Each size in a process of its own. Exponents are slopes of log time over log size.
- `--limit`: 1 039 680 -> 2 000 000 with all noise over the Fourier transforms that it calls, replayed on the same
  memory without anything between them; four frames against the reference arm over one frame.
- `--threads`: two threads over one, by matrix and by waves.
- `--plan`: what `opusim plan` says against what is measured, time and memory, in one process and on a Dask worker.
- `--gpu`: 1 000 000 -> 300 000 linear and -> 2 000 000 on a GPU, and whether its counts are the CPU's.

Default device `aurora`, seed 0, vectors half on (data seed 0), times in interleaved rounds: medians (range).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from throughput import interleaved

import opusim
from opusim import OPU, parallel
from opusim.layout import MirrorPatterns

MIRRORS, OUTPUTS = 1_039_680, 2_000_000
PASS = 3000  # vectors of a pass of the real driver, for which the planner weighs its ways
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
# (features, outputs, vectors, linear) of the plan's checks.
CASES = (
    (784, 10_000, 3_000, False), (784, 10_000, 640, True), (10_000, 2_000, 1_000, False), (30_000, 30_000, 128, False),
    (100_000, 200_000, 24, False), (30_000, 30_000, 64, True),
)  # fmt: skip


def half_on(n: int, n_features: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (n, n_features), dtype=np.uint8)


def peak_mib() -> float:
    """Most memory that this process has held, in MiB (Linux; `ru_maxrss` would count the parent's from before exec)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def shown(times: list[float], scale: float = 1e3) -> str:
    return f"{scale * statistics.median(times):.4g} ({scale * min(times):.4g} - {scale * max(times):.4g})"


def apart(task: str, **settings: Any) -> dict[str, Any]:
    """Run a task of this file in a process of its own and return what it printed."""
    command = [sys.executable, __file__, "--task", json.dumps({"task": task, **settings})]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{task} {settings} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(*columns: str) -> None:
    print("\n| " + " | ".join(columns) + " |\n| " + " | ".join("---" for _ in columns) + " |")


def row(*cells: Any) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


# ---------------------------------------------------------------- square


def fitted(n: int, n_out: int, execution: str = "auto", **settings: Any) -> OPU:
    opu = OPU(n_out, execution=execution, disable_pbar=True, **settings)
    opu.fit1d(n_features=n)
    return opu


def plan_of(opu: OPU) -> Any:
    """The planner's choice for an OPU: its projector's plan."""
    from opusim.drivers import workload as rules

    return rules.projector_of(opu, rules.workload(opu, 1), threads=1).plan


def task_square(n: int, way: str, vectors: int, rounds: int) -> dict[str, Any]:
    """First call and further ones of one size one way, and the memory that they took."""
    if way == "simulator":
        from opusim.drivers.simulated_opu import SimulatorOPU

        SimulatorOPU(16, max_n_features=16).fit_transform1d(half_on(8, 16))
    else:
        fitted(16, 16, way).transform(half_on(8, 16))  # loads the kernels
    x = half_on(vectors, n)
    before = peak_mib()
    start = time.perf_counter()
    if way == "simulator":
        opu: Any = SimulatorOPU(n, max_n_features=n)
        opu.fit1d(n_features=n)
    else:
        opu = fitted(n, n, way)
    opu.transform(x[:1])
    build_s = time.perf_counter() - start
    times = interleaved(rounds, it=lambda: opu.transform(x))["it"]
    return {"build_s": build_s, "times": [t / vectors for t in times], "mib": peak_mib() - before}


def square(options: argparse.Namespace) -> None:
    print(f"Square: n features -> n outputs, medians of {options.rounds} rounds; memory above that of the program")
    table("n", "way", "first vector, s", "ms a vector", f"s for {PASS}, first included", "memory, MiB")
    found: dict[str, list[tuple[int, float, float, float]]] = {"matrix": [], "waves": [], "simulator": []}
    budget = opusim.OpticalBench("aurora").memory_budget
    for n in (n for n in SIZES if n <= options.largest):
        for way in found:
            # 24 bytes an entry: what drawing the simulator's matrix holds at its peak.
            size = {"matrix": 8, "waves": 0, "simulator": 24}[way] * n**2
            if size > (budget if way == "matrix" else options.memory * 2**30):
                continue
            if way == "simulator":
                vector_s = 8 * n**2 / 1e11
            else:
                plan = plan_of(fitted(n, n, way))
                if way == "matrix" and plan.build_s > options.longest:
                    continue
                vector_s = plan.matrix_vector_s if way == "matrix" else plan.wave_vector_s
            vectors = int(min(1024, max(1, 1 / vector_s), 2e9 // n))
            got = apart("square", n=n, way=way, vectors=vectors, rounds=options.rounds)
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


# ---------------------------------------------------------------- limit


class Replay:
    """The Fourier transforms of one vector: recorded with the memory that they work on, to be called alone."""

    def __init__(self, work: Callable[[], object], threads: int) -> None:
        import scipy.fft

        self.threads = threads
        self.passes: list[tuple[tuple[Any, ...], list[tuple[Any, Any, dict[str, Any]]]]] = []
        lock = threading.Lock()
        own = {name: getattr(scipy.fft, name) for name in ("fft", "ifft", "fft2", "ifft2")}

        def recording(name: str) -> Callable[..., Any]:
            def call(x: np.ndarray, **settings: Any) -> Any:
                kind = (name, settings.get("axis"), settings.get("norm"))
                with lock:
                    if not self.passes or self.passes[-1][0] != kind:
                        self.passes.append((kind, []))
                    self.passes[-1][1].append((own[name], x, settings))
                return own[name](x, **settings)

            return call

        for name in own:
            setattr(scipy.fft, name, recording(name))
        try:
            work()
        finally:
            for name, function in own.items():
                setattr(scipy.fft, name, function)

    @property
    def n_transforms(self) -> float:
        """Lengths along one axis, in whole grids of both axes."""
        points = sum(x.size for _, calls in self.passes for _, x, settings in calls)
        doubled = sum(x.size for (name, *_), calls in self.passes if name[-1] == "2" for _, x, _ in calls)
        side = max(max(x.shape) for _, calls in self.passes for _, x, _ in calls)
        return (points + doubled) / (2 * side**2)

    def __call__(self) -> None:
        for _, calls in self.passes:

            def work(start: int, stop: int, calls: list[Any] = calls) -> None:
                for function, x, settings in calls[start:stop]:
                    function(x, **settings)

            parallel.over_ranges(work, len(calls), self.threads)


def task_limit(rounds: int, calibrate: bool) -> dict[str, Any]:
    """Every mirror to two million pixels, all noise; beside it the transforms alone, and four frames of a vector."""
    from opusim.drivers import workload as rules

    opu = fitted(MIRRORS, OUTPUTS)
    bench, exposure, layout = opu.device.bench, opu.device.exposure(), opu._fit.layout
    x = half_on(1, MIRRORS)
    phases = np.arange(4) * np.pi / 2
    settings = {"roi": exposure.bench_roi, "n_pixels": OUTPUTS, "exposure_s": exposure.exposure_us / 1e6}
    patterns = MirrorPatterns(x, layout)

    def four_frames() -> Any:
        return bench.transform(patterns, reference_phase_rad=phases, **settings)

    start = time.perf_counter()
    opu.transform(x)
    first_s = time.perf_counter() - start
    mib = peak_mib()
    # The exposure that a calibration would find: one burst in fourteen has a saturated frame.
    brightest = np.quantile(four_frames().max(axis=0), 13 / 14)
    settings["exposure_s"] *= 255 / max(brightest, 1)
    mib_linear = peak_mib()
    demodulate = rules.demodulator(opu, rules.workload(opu, 1, linear=True))
    replay = Replay(lambda: opu.transform(x), bench.threads)
    peers = {
        "vector": lambda: opu.transform(x),
        "transforms": replay,
        "frames": four_frames,
        "field": lambda: demodulate(four_frames()),
    }
    times = interleaved(rounds, **peers)
    result = {"first_s": first_s, "mib": mib, "mib_linear": mib_linear, "threads": bench.threads, "times": times,
              "side": plan_of(opu).side, "n_transforms": replay.n_transforms}  # fmt: skip
    if calibrate:
        warnings.simplefilter("ignore")
        opu.calibrate(store=False)
        block = half_on(rules.workload(opu, 1, linear=True).block, MIRRORS)
        opu.linear_transform(block)
        # Of a whole block, its anchors included.
        times["linear"] = [t / len(block) for t in interleaved(rounds, it=lambda: opu.linear_transform(block))["it"]]
        result |= {"block": len(block), "mib_linear": peak_mib()}
    return result


def limit(options: argparse.Namespace) -> None:
    got = apart("limit", rounds=options.rounds, calibrate=options.calibrate)
    times = got["times"]
    print(
        f"{MIRRORS:,} -> {OUTPUTS:,}, all noise, {got['threads']} threads, grid {got['side']}, medians of "
        f"{options.rounds} interleaved rounds; the transforms are {got['n_transforms']:.2f} whole ones of both axes"
    )
    table("", "ms", "ratio", "asked")
    vector = statistics.median(times["vector"])
    pairs = [a / b for a, b in zip(times["vector"], times["transforms"], strict=True)]
    row("one vector, one frame", shown(times["vector"]), "", "")
    row("its Fourier transforms alone", shown(times["transforms"]), f"vector / transforms {shown(pairs, 1)}", "<= 1.3")
    names = {"frames": "the same vector, 4 frames", "field": "and the field made of them",
             "linear": f"linear_transform, a vector of a block of {got.get('block')}, anchors in"}  # fmt: skip
    for key, name in names.items():
        if key in times:
            asked = "<= 1.5" if key == "field" else ""
            row(name, shown(times[key]), f"over one frame {statistics.median(times[key]) / vector:.3g}", asked)
    print(f"\nFirst vector {got['first_s']:.2f} s. Peak memory of the process {got['mib']:.0f} MiB (asked: <= 1024), "
          f"with four frames {got['mib_linear']:.0f} MiB.")  # fmt: skip


# ---------------------------------------------------------------- threads


def with_threads(opu: OPU, threads: int) -> OPU:
    opu.device.bench.threads = threads
    opu.device.bench._fresh()
    return opu


def threads_of_two(options: argparse.Namespace) -> None:
    print(f"Two threads over one, medians of {options.rounds} interleaved rounds, ms")
    table("way", "size", "one thread", "two threads", "speedup", "asked")
    for way, n, n_out, vectors in (("matrix", 784, 10_000, 3_000), ("waves", 30_000, 30_000, 32),
                                   ("waves", MIRRORS, OUTPUTS, 1)):  # fmt: skip
        x = half_on(vectors, n)
        opus = [with_threads(fitted(n, n_out, way), threads) for threads in (1, 2)]
        for opu in opus:
            opu.transform(x[:1])
        times = interleaved(options.rounds, one=partial(opus[0].transform, x), two=partial(opus[1].transform, x))
        speedups = [a / b for a, b in zip(times["one"], times["two"], strict=True)]
        row(way, f"{n:,} -> {n_out:,}, {vectors} vectors", shown(times["one"]), shown(times["two"]),
            shown(speedups, 1), ">= 1.6")  # fmt: skip


# ---------------------------------------------------------------- plan


def task_plan(case: tuple[int, int, int, bool], rounds: int) -> dict[str, Any]:
    """Time of a plan and of what it plans, by turns, and memory: in this process, or on one Dask worker of it."""
    from opusim import scale, scale_rates
    from opusim.cli_plan import _program_bytes
    from opusim.drivers import workload as rules

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
    finish = rules.finisher(opu, work)
    if linear:
        opu.calibrate(store=False)
    x = half_on(vectors, n)
    planned, measured = [], []
    for i in range(rounds):
        rates = scale_rates.measure(projector, [(threads, 1), (1, threads)], steps=work.steps, reference=reference,
                                    finish=finish)  # fmt: skip
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

    from opusim import scale, scale_rates
    from opusim.cli_plan import _program_bytes
    from opusim.drivers import workload as rules

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
        opu.device.bench._fresh()  # drops the layer of all mirrors, which no worker has
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


def on_gpu(options: argparse.Namespace) -> None:
    import scale_gpu

    scale_gpu.run(options.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--square", action="store_true")
    parser.add_argument("--limit", action="store_true")
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--largest", type=float, default=1e6, help="largest size of --square")
    parser.add_argument("--longest", type=float, default=120, help="seconds that the planner may give a matrix")
    parser.add_argument("--memory", type=float, default=8, help="GiB that the simulator may take in --square")
    parser.add_argument("--calibrate", action="store_true", help="--limit: also linear_transform, some minutes more")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        settings = json.loads(options.task)
        print(json.dumps(globals()[f"task_{settings.pop('task')}"](**settings)))
        return
    print(f"opusim {opusim.__version__}, numpy {np.__version__}, {len(os.sched_getaffinity(0))} processors")
    chosen = {"square": square, "limit": limit, "threads": threads_of_two, "plan": plans, "gpu": on_gpu}
    asked = [name for name in chosen if getattr(options, name)]
    if not asked:
        parser.error(f"choose one of {', '.join(f'--{name}' for name in chosen)}")
    for name in asked:
        print()
        chosen[name](options)


if __name__ == "__main__":
    main()
