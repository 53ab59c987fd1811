"""Time and memory from small sizes to the device's own, and against what bounds them.

    python benchmarks/scale.py --square [--largest 1e6] [--longest 120]
    python benchmarks/scale.py --limit [--rounds 9] [--calibrate]
    python benchmarks/scale.py --threads [--rounds 9]
    python benchmarks/scale.py --plan [--rounds 3]
    python benchmarks/scale.py --cluster [--rounds 3]
    python benchmarks/scale.py --gpu [--rounds 9]
    python benchmarks/scale.py --speed --before FOLDER [--rows 1 3] [--rounds 5] [--lightonml ENVIRONMENT] [--busy]

- `--square`: 10^3 to 10^6 features and as many outputs by matrix and by waves, and lightonml's simulator where its
  matrix fits. Beside them the matrix of a Gaussian medium on as many mirrors: kept where it fits the budget, made
  anew tile by tile in each call where it does not. Each size in a process of its own. Exponents are slopes of log time
  over log size.
- `--limit`: 1 039 680 -> 2 000 000 with all noise over the Fourier transforms that it calls, replayed on the same
  memory without anything between them; four frames against the reference arm over one frame.
- `--threads`: two threads over one, by matrix and by waves.
- `--plan`: what `opusim plan` says against what is measured, time and memory, in one process and on a Dask worker.
- `--cluster`: the same for the time of a Dask cluster of two worker processes of one thread on this machine.
- `--gpu`: 1 000 000 -> 300 000 linear and -> 2 000 000 on a GPU, and whether its counts are the CPU's.
- `--speed`: all that is asked of the speed, in one table: counts, linear transforms, training and single vectors beside
  lightonml and an earlier build, with memory, threads and the bare loop (`scale_speed.py`, which says how); `aurora@1`.

Default device `aurora`, seed 0, vectors half on (data seed 0), times in interleaved rounds: medians (range).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scale_gpu
import scale_plans
import scale_speed
import scale_square
from scale_common import apart, fitted, half_on, plan_of, row, shown, table, with_threads
from throughput import interleaved, peak_mib

import opusim
from opusim.base import parallel
from opusim.patterns.layout import MirrorPatterns

MIRRORS, OUTPUTS = 1_039_680, 2_000_000


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
    bench, exposure, layout = opu.bench, opu.device.exposure(), opu._fit.layout
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
        both = interleaved(rounds, counts=lambda: opu.transform(block), linear=lambda: opu.linear_transform(block))
        times |= {key: [t / len(block) for t in each] for key, each in both.items()}
        result |= {"block": len(block), "mib_calibrated": peak_mib()}
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
             "counts": f"transform, a vector of a block of {got.get('block')}",
             "linear": "linear_transform, the same, anchors in"}  # fmt: skip
    for key, name in names.items():
        if key in times:
            asked = "<= 1.5" if key in ("field", "linear") else ""
            over = statistics.median(times["counts"]) if key == "linear" else vector
            row(name, shown(times[key]), f"over {statistics.median(times[key]) / over:.3g}", asked)
    print(f"\nFirst vector {got['first_s']:.2f} s. Peak memory of the process {got['mib']:.0f} MiB (asked: <= 1024), "
          f"with four frames {got['mib_linear']:.0f} MiB.")  # fmt: skip
    if "mib_calibrated" in got:
        print(f"After a calibration and a block of linear_transform {got['mib_calibrated']:.0f} MiB.")


# ---------------------------------------------------------------- threads


def threads_of_two(options: argparse.Namespace) -> None:
    print(f"Two threads over one, medians of {options.rounds} interleaved rounds, ms")
    table("way", "size", "one thread", "two threads", "speedup", "asked")
    for way, n, n_out, vectors in (("matrix", 784, 10_000, 3_000), ("waves", 30_000, 30_000, 32),
                                   ("waves", MIRRORS, OUTPUTS, 1), ("waves", MIRRORS, OUTPUTS, 4)):  # fmt: skip
        x = half_on(vectors, n)
        opus = [with_threads(fitted(n, n_out, way), threads) for threads in (1, 2)]
        for opu in opus:
            opu.transform(x[:1])
        times = interleaved(options.rounds, one=partial(opus[0].transform, x), two=partial(opus[1].transform, x))
        speedups = [a / b for a, b in zip(times["one"], times["two"], strict=True)]
        row(way, f"{n:,} -> {n_out:,}, {vectors} vectors", shown(times["one"]), shown(times["two"]),
            shown(speedups, 1), ">= 1.6")  # fmt: skip


TASKS = {
    "square": scale_square.task_square, "limit": task_limit, "plan": scale_plans.task_plan,
    "memory": scale_plans.task_memory, "cluster": scale_plans.task_cluster,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--square", action="store_true")
    parser.add_argument("--limit", action="store_true")
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--largest", type=float, default=1e6, help="largest size of --square")
    parser.add_argument("--longest", type=float, default=120, help="seconds that the planner may give a matrix")
    parser.add_argument("--memory", type=float, default=8, help="GiB that the simulator may take in --square")
    parser.add_argument("--calibrate", action="store_true", help="--limit: also linear_transform, some minutes more")
    parser.add_argument("--before", help="--speed: folder with the package of an earlier build")
    parser.add_argument("--rows", type=int, nargs="+", choices=scale_speed.ROWS, help="--speed: rows of its table")
    parser.add_argument("--lightonml", help="--speed: environment that .ci/contract-environment made")
    parser.add_argument("--busy", action="store_true", help="--speed: measure although the machine is not quiet")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        settings = json.loads(options.task)
        print(json.dumps(TASKS[settings.pop("task")](**settings)))
        return
    if options.speed:
        scale_speed.check(options)
    print(f"opusim {opusim.__version__}, numpy {np.__version__}, {len(os.sched_getaffinity(0))} processors")
    chosen = {
        "square": scale_square.square, "limit": limit, "threads": threads_of_two, "plan": scale_plans.plans,
        "cluster": scale_plans.clusters, "gpu": scale_gpu.run,
        "speed": scale_speed.speed,
    }  # fmt: skip
    asked = [name for name in chosen if getattr(options, name)]
    if not asked:
        parser.error(f"choose one of {', '.join(f'--{name}' for name in chosen)}")
    for name in asked:
        print()
        chosen[name](options)


if __name__ == "__main__":
    main()
