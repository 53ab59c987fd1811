"""What a loop pays for one vector: `python benchmarks/online.py [--before FOLDER] [--rounds 20] [--threads 1 2]`.

A fit with ``online=True``, then `OPU.transform` of half-on vectors one at a time, as in reinforcement learning and
reservoirs: 984 -> 32, 984 -> 600 and 2 100 -> 2 000, devices `aurora@1` and `aurora`.

Each line has the milliseconds of a vector, as the median and the least over the rounds of the median of a round of 100
vectors; then how many of them go to the light and the camera, from the packed bits to the counts, threads included,
and what is around them; and the processor time of a vector.

FOLDER holds the package `opusim` of an earlier build. It runs as a process of its own, which waits for its turn; rounds
are interleaved. Its numbers come behind ours, and last the ratio of the medians, before over now.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()
SIZES = ((984, 32), (984, 600), (2100, 2000))
DEVICES = ("aurora@1", "aurora")
VECTORS = 100


def serve() -> None:
    """Time a round of the case that comes in, and answer with seconds a vector: all, light and camera, processor."""
    warnings.simplefilter("ignore")
    from opusim import OPU
    from opusim.bench import by_matrix

    real, spent = by_matrix.parallel.over_ranges, [0.0]

    class Timed:
        """The module `parallel` as `by_matrix` sees it: the work that it hands over is timed."""

        default_threads = staticmethod(by_matrix.parallel.default_threads)

        @staticmethod
        def over_ranges(*arguments: Any, **more: Any) -> None:
            """Do the work, and add up its time."""
            start = time.perf_counter()
            real(*arguments, **more)
            spent[0] += time.perf_counter() - start

    made: dict[str, tuple[Any, np.ndarray]] = {}
    for line in sys.stdin:
        case = line.strip()
        if case not in made:
            device, n_features, n_outputs, threads = json.loads(case)
            x = np.random.default_rng(0).integers(0, 2, (VECTORS, n_features), dtype=np.uint8)
            opu = OPU(n_outputs, device=device, threads=threads)
            opu.fit1d(x, online=True)
            made[case] = opu, x
        opu, x = made[case]
        for one in x[:10]:
            opu.transform(one)
        all_s = []
        processor = time.process_time()
        for one in x:
            start = time.perf_counter()
            opu.transform(one)
            all_s.append(time.perf_counter() - start)
        processor = time.process_time() - processor
        by_matrix.parallel = Timed  # type: ignore[assignment]
        light_s = []
        for one in x:
            spent[0] = 0.0
            opu.transform(one)
            light_s.append(spent[0])
        by_matrix.parallel = sys.modules["opusim.base.parallel"]  # type: ignore[assignment]
        print(json.dumps([statistics.median(all_s), statistics.median(light_s), processor / VECTORS]), flush=True)


def told(rounds: list[list[float]]) -> str:
    """Return the numbers of a build as text."""
    whole, light, processor = (np.array(column) * 1e3 for column in zip(*rounds, strict=True))
    return (
        f"{np.median(whole):6.3f} ({whole.min():.3f})  {np.median(light):6.3f} + {np.median(whole - light):5.3f} "
        f"({(whole - light).min():.3f})  {np.median(processor):6.3f}"
    )


def main() -> None:
    """Interleave the builds and print their times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    import other_build  # not at the top: processes of another build do not see this folder

    environments = [dict(os.environ)]
    if arguments.before:
        environments.append(other_build.found(arguments.before, needs="opusim.bench.by_matrix").environment)
    command = [sys.executable, str(HERE), "--serve"]
    builds = [other_build.Waiting(command, environment) for environment in environments]
    head = "ms (least)      light + around (least)  processor"
    print(f"{'device, sizes, threads':<30}{head}" + (f"   before: {head}   ratio" if arguments.before else ""))
    for device in DEVICES:
        for n_features, n_outputs in SIZES:
            for threads in arguments.threads:
                case = json.dumps([device, n_features, n_outputs, threads])
                times: list[list[list[float]]] = [[] for _ in builds]
                for i in range(arguments.rounds + 1):
                    for build, rounds in zip(builds, times, strict=True):
                        found = build.ask(case)
                        if i:  # the first one makes the matrix
                            rounds.append(found)
                line = f"{f'{device}, {n_features} -> {n_outputs}, {threads}':<30}" + "   ".join(map(told, times))
                if arguments.before:
                    now, before = (np.median([round_[0] for round_ in rounds]) for rounds in times)
                    line += f"   {before / now:.2f}"
                print(line, flush=True)
    for build in builds:
        build.close()


if __name__ == "__main__":
    main()
