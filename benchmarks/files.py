"""What check sums over whole files cost: writing and reading, beside an earlier build, in interleaved rounds.

    python benchmarks/files.py --before PYTHON [--rounds 9] [--matrix-mib 256]

PYTHON is an interpreter of an environment in which the earlier build is installed, or a folder that holds the package
`opusim` as it is installed. Both builds run as processes of
their own that wait for their turn. Asked: at most 5 % more than 0.1.0 for writing and for reading.

Processor time, which other programs on the machine hardly change; files are in the page cache, and fsync, which both
builds call once for a file, is left out: its time is the disk's.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()
RELEASE = HERE.parents[1] / "tests" / "releases" / "0.1.0"


@dataclass(frozen=True)
class Sensor:
    """Two arrays of the size of a sensor, as a camera's calibration has them."""

    dark_dn: np.ndarray
    gain: np.ndarray


def either(now: str, before: str) -> Any:
    """Import a module by its name of now, or of 0.1.0."""
    try:
        return importlib.import_module(now)
    except ModuleNotFoundError:
        return importlib.import_module(before)


def serve(folder: Path, matrix_mib: int) -> None:
    """Time each kind of file once whenever a line comes in; answer with a line of JSON."""
    import warnings

    import h5py

    from opusim import dfa
    from opusim.calibration.files import read_record, stamp_file, write_record
    from opusim.dfa.checkpoint import write_run
    from opusim.sweep import read_sweep
    from opusim.sweep.file import write_sweep

    files = either("opusim.base.files", "opusim.files")
    Identity = either("opusim.bench.protocol", "opusim.calibration.bench_protocol").Identity
    read_matrix = either("opusim.calibration.procedures.matrix.measure", "opusim.calibration.transmission").read_matrix
    warnings.simplefilter("ignore")
    os.fsync = lambda _: None  # type: ignore[assignment]
    rng = np.random.default_rng(0)
    sweep = read_sweep(RELEASE / "sweep.h5")
    sizes = [(1024, 784), (1024,), (1024, 1024), (1024,), (10, 1024), (10,)]
    weights = [rng.normal(size=size).astype(np.float32) for size in sizes]
    state = {f"{name}{i:04d}": array for name in ("m", "v") for i, array in enumerate(weights)}
    run = dfa.read_run(RELEASE / "run.h5")
    network = {**run.network, "sizes": "784-1024-1024-10"}
    history = replace(run.history, alignment_deg=np.repeat(run.history.alignment_deg, 2, axis=1))
    run = replace(run, network=network, history=history, parameters=weights, optimiser_state=state)
    sensor = Sensor(*rng.normal(size=(2, 1088, 2040)).astype(np.float32))
    rows = matrix_mib * 2**20 // (8 * 4096)
    matrix = rng.normal(size=(rows, 8192)).astype(np.float32).view(np.complex64)
    has_trailer = hasattr(files, "append_trailer")

    def write_matrix(path: Path) -> None:
        """Write as calibration/procedures/matrix/file.py does."""
        with files.replacing(path) as temporary:
            with (
                files.hdf5_onto(temporary)
                if hasattr(files, "hdf5_onto")
                else h5py.File(temporary, "w", libver="v108") as file
            ):
                stamp_file(file, Identity("", "", 0), 0.0, 0.0)
                chunks = (max(1, min(rows, 2**20 // (8 * 4096))), 4096)
                check = {} if has_trailer else {"fletcher32": True}
                tm = file.create_dataset("tm", matrix.shape, np.complex64, chunks=chunks, **check)
                for first in range(0, rows, 1024):
                    tm[first : first + 1024] = matrix[first : first + 1024]
                file.create_group("transmission").attrs.update({"n_outputs": rows, "n_inputs": 4096})
            if has_trailer:
                files.append_trailer(temporary)

    def write_sensor(path: Path) -> None:
        path.unlink(missing_ok=True)
        write_record(path, "sensor", sensor)

    kinds = {
        "sweep, 9 kB, 20 times": (20, lambda p: write_sweep(p, sweep), read_sweep),
        "training run, 22 MB": (1, lambda p: write_run(p, run), dfa.read_run),
        "calibration, 18 MB": (1, write_sensor, lambda p: read_record(p, "sensor", Sensor)),
        f"matrix, {matrix_mib} MiB": (1, write_matrix, read_matrix),
    }
    for _line in sys.stdin:
        times = {}
        for number, (name, (times_over, write, read)) in enumerate(kinds.items()):
            path = folder / f"{number}.h5"
            for what, work in ((f"write {name}", write), (f"read {name}", read)):
                start = time.process_time()
                for _ in range(times_over):
                    work(path)
                times[what] = time.process_time() - start
        print(json.dumps(times), flush=True)


def main() -> None:
    """Print the median of each kind, before and now."""
    parser = argparse.ArgumentParser(description=inspect.getdoc(sys.modules[__name__]))
    parser.add_argument("--before", help="interpreter with the earlier build, or a folder with its package")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--matrix-mib", type=int, default=256)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.matrix_mib)
        return
    import other_build  # not at the top: processes of another build do not see this folder

    if not options.before:
        other_build.refuse("--before is not given: it names the earlier build.")
    before = other_build.found(options.before, interpreters=True)
    started = {"before": (before.python, before.environment), "now": (sys.executable, dict(os.environ))}
    with tempfile.TemporaryDirectory() as folder:
        builds = {}
        for name, (python, environment) in started.items():
            (Path(folder) / name).mkdir()
            command = [python, HERE, "--serve", Path(folder) / name, "--matrix-mib", options.matrix_mib]
            builds[name] = other_build.Waiting([str(part) for part in command], environment, folder)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in builds}
        for number in range(options.rounds + 1):
            for name, build in builds.items():
                times = build.ask("go")
                if number:  # the first round warms up
                    rounds[name].append(times)
        for build in builds.values():
            build.close()
    print(f"{'':<34}{'before ms':>12}{'now ms':>10}   ratio of medians, its range over rounds")
    for what in rounds["now"][0]:
        before, now = (np.array([times[what] for times in rounds[name]]) for name in ("before", "now"))
        ratio = now / before
        print(
            f"{what:<34}{np.median(before) * 1e3:12.1f}{np.median(now) * 1e3:10.1f}   "
            f"{np.median(now) / np.median(before):.2f}  ({ratio.min():.2f} - {ratio.max():.2f})"
        )


if __name__ == "__main__":
    main()
