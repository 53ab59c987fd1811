"""Times beside an earlier build: counts, linear transforms, the drop-in, a large transform, a first call.

    python benchmarks/earlier_build.py --before PYTHON [--dropin FOLDER] [--rounds 3] [--processes 5] [--large]

PYTHON is an interpreter of an environment in which the earlier build is installed (or a folder that holds the package
`opusim` as it is installed: it is put on the path of this interpreter). Both builds run as processes of their own that
wait for their turn; rounds are interleaved, and the order of the two changes from round to round. The ratio of a round
is the time of the earlier build over ours: above 1 we are faster. Both are started anew `--processes` times: where a
process has its memory moves all its times by up to 5 %. Asked: at least .95 each.

- counts: 784 -> 10 000, `transform` of 2 000 half-on vectors, device `aurora@1`, as everywhere here but in the drop-in.
- one vector: 784 -> 10 000, 200 calls of one vector each.
- waves: 784 -> 1 000, 500 vectors through the layer.
- linear, intensity and holography: 784 -> 10 000, 300 vectors.
- drop-in, with `--dropin FOLDER` (lightonml 1.4.3, as `.ci/contract-environment` installs it): the same 2 000 vectors
  through the real lightonml on our lightonopu; the ratio of its time to `opusim.OPU`'s is that of the drop-in.
- 1 M -> 2 M, with `--large`: one pair of vectors by waves.
- first call: a fresh process, from its start to the counts of 100 vectors, 784 -> 1 000; kernels are cached on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()
FIRST = """
import numpy as np
from opusim import OPU
x = np.random.default_rng(0).integers(0, 2, (100, 784), dtype=np.uint8)
with OPU(n_components=1000, device="aurora@1", disable_pbar=True) as opu:
    opu.fit_transform1d(x)
"""
DEVICE = "aurora@1"  # the same device in both builds


def jobs(dropin: bool, large: bool) -> dict[str, Callable[[], Any]]:
    """What is timed, by name; everything is made and warm."""
    from opusim import OPU

    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (2000, 784), dtype=np.uint8)
    made: dict[str, Callable[[], Any]] = {}
    counts = OPU(n_components=10_000, device=DEVICE, disable_pbar=True)
    counts.fit1d(x)
    made["counts"] = lambda: counts.transform(x)
    made["one vector"] = lambda: [counts.transform(one) for one in x[:200]]
    waves = OPU(n_components=1_000, device=DEVICE, execution="waves", disable_pbar=True)
    waves.fit1d(x)
    made["waves"] = lambda: waves.transform(x[:500])
    for mode in ("intensity", "holographic"):
        opu = OPU(n_components=10_000, device=DEVICE, linear_mode=mode, disable_pbar=True)
        opu.fit1d(x)
        made[f"linear, {mode}"] = lambda opu=opu: opu.linear_transform(x[:300])
    if dropin:
        import lightonml

        real = lightonml.OPU(n_components=10_000, verbose_level=-1)
        real.open()
        real.fit1d(x)
        made["drop-in"] = lambda: real.transform(x)
    if large:
        wide = OPU(n_components=2_000_000, device=DEVICE, disable_pbar=True)
        bits = rng.integers(0, 2, (2, 1_000_000), dtype=np.uint8)
        wide.fit1d(bits)
        made["1 M -> 2 M"] = lambda: wide.transform(bits)
    for work in made.values():
        work()
    return made


def serve(dropin: bool, large: bool) -> None:
    """Time the work whose name comes in; answer with its wall and its processor time."""
    warnings.simplefilter("ignore")
    made = jobs(dropin, large)
    print(json.dumps(list(made)), flush=True)
    for line in sys.stdin:
        work = made[line.strip()]
        wall, processor = time.perf_counter(), time.process_time()
        work()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - processor]), flush=True)


def first_call(python: str, environment: dict[str, str]) -> list[float]:
    """Wall and processor time of a fresh process, in seconds."""
    before, wall = os.times(), time.perf_counter()
    subprocess.run([python, "-W", "ignore", "-c", FIRST], env=environment, check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return [time.perf_counter() - wall, used]


def main() -> None:
    """Interleave the two builds and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="interpreter of the earlier build, or a folder with its package")
    parser.add_argument("--now", help="the same of ours; by default what this interpreter imports")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--dropin", default=None)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    if arguments.serve:
        if arguments.dropin:
            exec(os.environ["OPUSIM_BENCHMARK"])
        serve(bool(arguments.dropin), arguments.large)
        return
    import other_build  # not at the top: processes of another build do not see this folder

    if not arguments.before:
        other_build.refuse("--before is not given: it names the earlier build.")
    found = {"before": other_build.found(arguments.before, interpreters=True)}
    if arguments.now:
        found["now"] = other_build.found(arguments.now, "--now", interpreters=True)
    else:
        found["now"] = other_build.Build(sys.executable, os.environ.get("PYTHONPATH", ""))
    environments = {name: build.environment for name, build in found.items()}
    options = ["--large"] if arguments.large else []
    if arguments.dropin:
        options += ["--dropin", arguments.dropin]
        for environment in environments.values():
            paths = [path for path in (environment["PYTHONPATH"], arguments.dropin) if path]
            environment["PYTHONPATH"] = os.pathsep.join(paths)
            environment["OPUSIM_BENCHMARK"] = "from opusim.drivers import install; install()"
    times: dict[tuple[str, str], list[list[float]]] = {}
    for _ in range(arguments.processes):
        builds = {
            name: other_build.Waiting([build.python, str(HERE), "--serve", *options], environments[name])
            for name, build in found.items()
        }
        known = {name: build.answer() for name, build in builds.items()}
        names = [*known["now"], "first call"]
        for name, build in found.items():
            first_call(build.python, environments[name])
        for i in range(arguments.rounds):
            order = list(builds) if i % 2 == 0 else list(builds)[::-1]
            for name in names:
                for which in order:
                    if name == "first call":
                        took = first_call(found[which].python, environments[which])
                    else:
                        took = builds[which].ask(name)
                    times.setdefault((which, name), []).append(took)
        for build in builds.values():
            build.close()
    print(f"{'':<22}{'before':>10}{'now':>10}   ratio, median of the rounds (range); by processor time")
    for name in names:
        before, now = (np.array(times[which, name]) for which in ("before", "now"))
        wall, processor = (before[:, k] / now[:, k] for k in (0, 1))
        print(
            f"{name:<22}{np.median(before[:, 0]):>9.3f}s{np.median(now[:, 0]):>9.3f}s   {np.median(wall):.3f} "
            f"({wall.min():.3f} - {wall.max():.3f}); {np.median(processor):.3f}"
        )
    if arguments.dropin:
        for which in builds:
            ratio = np.array(times[which, "drop-in"])[:, 0] / np.array(times[which, "counts"])[:, 0]
            print(f"drop-in over opusim.OPU, {which}: {np.median(ratio):.3f} ({ratio.min():.3f} - {ratio.max():.3f})")


if __name__ == "__main__":
    main()
