"""What the parts of `scale.py` share: OPUs, vectors, memory, tables, tasks in processes of their own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from opusim import OPU


def half_on(n: int, n_features: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (n, n_features), dtype=np.uint8)


def shown(times: list[float], scale: float = 1e3) -> str:
    return f"{scale * statistics.median(times):.4g} ({scale * min(times):.4g} - {scale * max(times):.4g})"


def apart(task: str, **settings: Any) -> dict[str, Any]:
    """Run a task of `scale.py` in a process of its own and return what it printed."""
    program = Path(__file__).with_name("scale.py")
    command = [sys.executable, str(program), "--task", json.dumps({"task": task, **settings})]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{task} {settings} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(*columns: str) -> None:
    print("\n| " + " | ".join(columns) + " |\n| " + " | ".join("---" for _ in columns) + " |")


def row(*cells: Any) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def fitted(n: int, n_out: int, execution: str = "auto", **settings: Any) -> OPU:
    opu = OPU(n_out, execution=execution, disable_pbar=True, **settings)
    opu.fit1d(n_features=n)
    return opu


def plan_of(opu: OPU) -> Any:
    """The planner's choice for an OPU: its projector's plan."""
    from opusim.drivers import workload as rules

    return rules.projector_of(opu, rules.workload(opu, 1), threads=1).plan


def with_threads(opu: OPU, threads: int) -> OPU:
    """Return the OPU with so many threads, and with nothing computed yet."""
    opu.device.set_limits(threads=threads)
    opu.bench._fresh()
    return opu
