"""What happens to a sweep when a task ends its process, or the sweep itself is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opusim.sweep import Sweep, read_sweep

pytestmark = pytest.mark.system

VARY = {"camera.bits": [6, 8, 10, 12]}


def bits(device, n_components, seed):
    return device.camera.bits


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.h5"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_calls_sys_exit_is_a_point_that_failed(path, workers):
    def task(opu, seed):
        if opu == 8:
            sys.exit(3)
        return {"value": opu}

    Sweep(task, bits, VARY).run(path, workers=workers)
    found = read_sweep(path)
    assert len(found.outcomes) == 4 and found.n_failed == 1
    assert found.outcomes[1, 0].error_type == "SystemExit" and "called sys.exit(3)" in found.outcomes[1, 0].error


def test_a_process_that_dies_costs_its_own_point_and_no_other(path):
    """Two are at work when one dies: the other one's point is run again and counts."""

    def task(opu, seed):
        if opu == 8:
            os._exit(9)
        time.sleep(0.2)
        return {"value": opu}

    Sweep(task, bits, VARY, seeds=2).run(path, workers=2)
    found = read_sweep(path)
    assert sorted(place for place, outcome in found.outcomes.items() if outcome.failed) == [(1, 0), (1, 1)]
    assert len(found.outcomes) == 8 and found.values("value")[3].tolist() == [12, 12]
    assert "process that ran this point ended without an answer" in found.outcomes[1, 0].error
    if sys.platform != "win32":
        assert "9" in found.outcomes[1, 0].error


PROGRAM = """
import os, sys, time
from opusim.sweep import Sweep

def make_opu(device, n_components, seed):
    return seed

def task(opu, seed):
    open(os.path.join(sys.argv[1], f"{os.getpid()}.pid"), "w").close()
    time.sleep(30)
    return {"one": 1.0}

if __name__ == "__main__":
    Sweep(task, make_opu, {"camera.bits": [8]}, seeds=20).run(os.path.join(sys.argv[1], "sweep.h5"), workers=2)
"""


def alive(pid: int) -> bool:
    """Whether a process is there; one that has ended and that nobody has waited for does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_workers_end_when_the_sweep_is_killed(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    with subprocess.Popen([sys.executable, str(tmp_path / "program.py"), str(tmp_path)]) as process:
        end = time.perf_counter() + 60
        while len(list(tmp_path.glob("*.pid"))) < 2:
            assert process.poll() is None and time.perf_counter() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    workers = [int(file.stem) for file in tmp_path.glob("*.pid")]
    # They look once a second; their points last thirty.
    end = time.perf_counter() + 15
    while any(map(alive, workers)):
        assert time.perf_counter() < end
        time.sleep(0.1)
