"""The making of a matrix over the Fourier transforms that it is made of, and over an earlier build.

    python benchmarks/making.py [--before FOLDER] [--device aurora] [--rounds 5]

FOLDER holds the package `opusim` of the earlier build: it is put on the path. Each build runs in a process of its own
that waits for its turn; rounds are interleaved. In each round a build makes a matrix, and then takes as many bare
transforms: `scipy.fft.fft2` of stacks of the same grids in single precision, as many at a time as 8 MB hold, in place,
on as many threads. Asked: at most 1.3 times their time. The layer of screens is there before. Where outputs are fewer
than features, light goes the other way.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

SIZES = ((784, 10_000), (784, 1_000), (2_100, 2_000), (10_000, 2_000), (2_000, 10_000))
STACK_BYTES = 8 << 20


def made(n: int, n_out: int, device: str, threads: int) -> dict[str, Any]:
    """Make a matrix, and take as many bare transforms: wall and processor time of each, in seconds."""
    import scipy.fft

    from opusim.bench.projector import Projector
    from opusim.bench.region import Region, Roi
    from opusim.device.record import Device
    from opusim.patterns.layout import MirrorLayout

    model = Device.load(device)
    columns = min(n_out, 2_000)
    region = Region(Roi(0, 0, -(-n_out // columns), columns), n_out, model.camera.shape[1])
    layout = MirrorLayout.lined(model.dmd.shape, n)
    waves = Projector(model, 0, layout, region, execution="waves", threads=threads).way
    waves.prepare(0)
    work = waves.matrix_work()
    stack = max(1, min(64, STACK_BYTES // (8 * work.side**2)))
    grids = np.random.default_rng(0).normal(size=(stack, work.side, 2 * work.side)).astype(np.float32)
    grids = grids.view(np.complex64)

    def transforms() -> None:
        for first in range(0, work.transforms, stack):
            scipy.fft.fft2(grids[: work.transforms - first], norm="ortho", overwrite_x=True, workers=threads)

    result: dict[str, Any] = {"side": work.side, "transforms": work.transforms}
    for name, call in (("matrix", lambda: waves.matrix(range(n_out), 0)), ("transforms_s", transforms)):
        wall, processor = time.perf_counter(), time.process_time()
        call()
        result[name] = [time.perf_counter() - wall, time.process_time() - processor]
    return result


def serve() -> None:
    """Answer each line of settings with times."""
    warnings.simplefilter("ignore")
    made(64, 64, "aurora", 1)  # kernels
    for line in sys.stdin:
        print(json.dumps(made(**json.loads(line))), flush=True)


def shown(ratios: np.ndarray) -> str:
    """Median (range) by wall time; median by processor time."""
    wall, processor = ratios.T
    return f"{np.median(wall):.2f} ({wall.min():.2f} - {wall.max():.2f}); {np.median(processor):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="folder of the earlier build")
    parser.add_argument("--device", default="aurora")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    import other_build  # not at the top: processes of another build do not see this folder

    environments = {"now": {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}}
    if options.before:
        environments["before"] = other_build.found(options.before, needs="opusim.bench.projector").environment
    command = [sys.executable, __file__, "--serve"]
    builds = {name: other_build.Waiting(command, environment) for name, environment in environments.items()}
    print(f"{options.device}; ratios: median (range) of {options.rounds} rounds by wall time; median by processor time")
    names = [f"matrix / transforms, {name}" for name in builds]
    print("| size | threads | grid | transforms | matrix s | " + " | ".join([*names, "before / now"]) + " |")
    print("| --- " * (6 + len(names)) + "|")
    for n, n_out in SIZES:
        for threads in (1, 2):
            settings = {"n": n, "n_out": n_out, "device": options.device, "threads": threads}
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in builds}
            for i in range(options.rounds):
                for name in list(builds)[:: 1 if i % 2 else -1]:
                    found[name].append(builds[name].ask(json.dumps(settings)))
            matrix = {name: np.array([one["matrix"] for one in each]) for name, each in found.items()}
            bare = {name: np.array([one["transforms_s"] for one in each]) for name, each in found.items()}
            cells = [shown(matrix[name] / bare[name]) for name in builds]
            cells.append(shown(matrix["before"] / matrix["now"]) if options.before else "")
            first = found["now"][0]
            print(
                f"| {n:,} -> {n_out:,} | {threads} | {first['side']} | {first['transforms']:,} | "
                f"{np.median(matrix['now'][:, 0]):.3f} | " + " | ".join(cells) + " |",
                flush=True,
            )
    for build in builds.values():
        build.close()


if __name__ == "__main__":
    main()
