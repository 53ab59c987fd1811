"""From the start of Python to the first counts, and what that time is made of; beside an earlier build.

    python benchmarks/first_use.py [--before FOLDER] [--now FOLDER] [--device aurora@1] [--processes 7]

FOLDER holds the package `opusim` as it is installed (`pip install --no-deps --target FOLDER .`): in a working tree
modules are found more slowly. Without `--now` it is what this interpreter imports. Every figure is the median of fresh
processes whose kernels are kept on disk; both builds take turns, and the first process of each does not count.

- start to first counts: 100 half-on vectors, 784 -> 10 000, stage by stage. "Light and mirrors" is what the bench makes
  before its matrix, with the import of numba; "first counts" is what follows the matrix. Of a build that makes its
  matrix elsewhere, all of it is in "first counts".
- imports: the time that the modules of a package take themselves, by `-X importtime`, so with what that costs.
- `import opusim`, `opusim --help`, `OPU(...)` and `fit1d`: whole processes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict

import numpy as np
import other_build

STAGES = """
import json, sys, time
rows = []
def mark(name):
    rows.append([name, time.monotonic(), time.process_time()])
mark("interpreter")
import numpy as np
mark("import numpy")
from opusim import OPU
mark("from opusim import OPU")
x = np.random.default_rng(0).integers(0, 2, (100, 784), dtype=np.uint8)
opu = OPU(n_components=10_000, device=sys.argv[1], disable_pbar=True)
mark("OPU(...)")
opu.fit1d(x)
mark("fit1d")
try:
    from opusim.bench.by_waves import WavesWay
    plain = WavesWay.matrix
    def matrix(*args, **options):
        mark("light and mirrors")
        made = plain(*args, **options)
        mark("matrix")
        return made
    WavesWay.matrix = matrix
except (ImportError, AttributeError):  # a build in which it has another name
    pass
opu.transform(x)
mark("first counts")
opu.transform(x)
mark("the same counts again")
print(json.dumps(rows))
"""
LAST = "first counts"
WHOLE = {
    "import opusim": ["-c", "import opusim"],
    "opusim --help": ["-m", "opusim", "--help"],
    "OPU(...), fit1d": [
        "-c",
        "import numpy as np; from opusim import OPU; "
        "OPU(n_components=10_000, disable_pbar=True).fit1d(np.ones((9, 784), np.uint8))",
    ],
}
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "opusim")

Times = dict[str, list[tuple[float, float]]]


def ran(environment: dict[str, str], *arguments: str) -> tuple[subprocess.CompletedProcess[str], float, float, float]:
    """Run an interpreter; return what it said, its start, and its wall and processor time."""
    before, start = os.times(), time.monotonic()
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    wall, after = time.monotonic() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return done, start, wall, used


def stages(environment: dict[str, str], device: str, times: Times) -> None:
    """Add wall and processor time of each stage of one fresh process."""
    done, at, _, _ = ran(environment, "-c", STAGES, device)
    begin, used = at, 0.0
    for name, wall, processor in json.loads(done.stdout):
        times[name].append((wall - at, processor - used))
        at, used = wall, processor
        if name == LAST:
            times["start to first counts"].append((wall - begin, processor))


def imports(environment: dict[str, str], device: str, times: dict[str, list[float]]) -> None:
    """Add the seconds that modules of each package take themselves while they are imported in one fresh process."""
    done = ran(environment, "-X", "importtime", "-c", STAGES, device)[0]
    spent: dict[str, float] = defaultdict(float)
    for own, name in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \| +(\S+)$", done.stderr, re.MULTILINE):
        package = name.partition(".")[0]
        spent[package if package in PACKAGES else "others"] += int(own) / 1e6
    for package in (*PACKAGES, "others"):
        times[package].append(spent[package])


def line(name: str, columns: list[str]) -> None:
    """Print a row of a table."""
    print(f"{name:<24}" + "".join(f"{column:>16}" for column in columns))


def main() -> None:
    """Take turns and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before")
    parser.add_argument("--now")
    parser.add_argument("--device", default="aurora@1")
    parser.add_argument("--processes", type=int, default=7)
    arguments = parser.parse_args()
    builds = {"now": {**os.environ, "PYTHONSAFEPATH": "1"}}
    for option in ("now", "before"):
        folder = getattr(arguments, option)
        if folder:
            builds[option] = other_build.found(folder, f"--{option}").environment
    builds = dict(sorted(builds.items()))  # the earlier one first
    staged: dict[str, Times] = {build: defaultdict(list) for build in builds}
    imported: dict[str, dict[str, list[float]]] = {build: defaultdict(list) for build in builds}
    whole: dict[str, Times] = {build: defaultdict(list) for build in builds}
    for environment in builds.values():
        ran(environment, "-c", STAGES, arguments.device)
    for i in range(arguments.processes):
        for build in list(builds) if i % 2 == 0 else list(builds)[::-1]:
            stages(builds[build], arguments.device, staged[build])
            imports(builds[build], arguments.device, imported[build])
            for name, command in WHOLE.items():
                whole[build][name].append(ran(builds[build], *command)[2:])
    print(f"{arguments.device}, {arguments.processes} processes each; load average at the end {os.getloadavg()[0]:.1f}")
    heads = [head for build in builds for head in (f"{build}, wall", "processor")]
    line("ms", heads + ["ratio, wall", "processor"] * (len(builds) > 1))
    for table in (staged, whole):
        for name in table["now"]:
            found = {build: 1e3 * np.array(table[build][name]) for build in builds if table[build][name]}
            columns = []
            for build in builds:
                columns += [f"{v:.0f}" for v in np.median(found[build], axis=0)] if build in found else ["-", "-"]
            if "before" in found:
                columns += [f"{v:.2f}" for v in np.median(found["before"] / np.maximum(found["now"], 0.1), axis=0)]
            line(name, columns)
        print()
    line("imports, ms of wall", list(builds))
    for package in (*PACKAGES, "others"):
        line(package, [f"{1e3 * np.median(imported[build][package]):.0f}" for build in builds])


if __name__ == "__main__":
    main()
