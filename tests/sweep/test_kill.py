"""Sweeps on real OPUs: in processes, on Dask, and killed three times, the file is always the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opusim.sweep import SweepResult, read_sweep

pytestmark = pytest.mark.system

# Small, but all of it: matrix, shot noise and read noise of the seed, an exposure that is found, a BLAS product, and a
# point that fails. Every run of the task is noted in a file.
PROGRAM = """
import os, sys, time
import numpy as np
from opusim import OPU
from opusim.sweep import Sweep

def make_opu(device, n_components, seed):
    return OPU(n_components, device=device, seed=seed, disable_pbar=True)

def task(opu, seed):
    camera = opu.device.device_model.camera
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{camera.read_noise_e} {camera.bits} {seed}\\n")
    if camera.bits == 4 and seed == 1:
        raise ValueError("No light.")
    bits = np.random.default_rng(seed).integers(0, 2, (40, 100), dtype=np.uint8)
    counts = np.asarray(opu.fit_transform1d(bits), dtype=float)
    time.sleep(float(os.environ["PAUSE"]))
    return {"mean": counts.mean(), "product": np.linalg.norm(counts.T @ counts), "first": counts[0, 0]}

VARY = {"camera.read_noise_e": [0, 20, 40], "camera.bits": [4, 8], "exposure.mean_level": [0.05, 0.2]}
N_POINTS = 24

if __name__ == "__main__":
    where = {"workers": int(sys.argv[2])} if sys.argv[2].isdigit() else {"dask": sys.argv[2]}
    Sweep(task, make_opu, VARY, n_components=300, seeds=2).run(sys.argv[1], **where)
"""
N_POINTS = 24


class Program:
    """The program above, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.file, self.notes = folder / "program.py", folder / "notes.txt"
        self.file.write_text(PROGRAM)

    def start(self, path: Path, where: str, pause_s: float) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "NOTES": str(self.notes), "PAUSE": str(pause_s)}
        command = [sys.executable, str(self.file), str(path), where]
        # A session of its own, so that its workers can be killed with it.
        return subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE)

    def finish(self, path: Path, where: str) -> SweepResult:
        with self.start(path, where, 0) as process:
            _, error = process.communicate(timeout=240)
        assert process.returncode == 0, error.decode()
        return read_sweep(path)

    def noted(self) -> list[str]:
        return self.notes.read_text().splitlines()


def kill_after(process: subprocess.Popen[bytes], path: Path, n_points: int) -> int:
    """Kill a program and its workers once so many points are in the file; return how many there are then."""
    end = time.perf_counter() + 120
    while n_points_in(path) < n_points:
        assert process.poll() is None and time.perf_counter() < end, "it ended by itself, or never came so far"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return n_points_in(path)


def n_points_in(path: Path) -> int:
    return len(read_sweep(path).outcomes) if path.exists() else -1


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = Program(folder).finish(folder / "sweep.h5", "1")
    assert len(result.outcomes) == N_POINTS and result.n_failed == 6
    return result


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills process groups")
def test_killed_three_times_and_resumed_the_file_is_equal(tmp_path, uninterrupted):
    path, program = tmp_path / "sweep.h5", Program(tmp_path)
    done = 0
    for n_points in (1, 7, 15):
        done = kill_after(program.start(path, "1", 0.1), path, n_points)
        assert n_points <= done < N_POINTS
    result = program.finish(path, "1")
    assert result.digest() == uninterrupted.digest()
    # Each point ran once, but for those that a kill cut short: at most one of each life.
    assert len(set(program.noted())) == N_POINTS // 2 and N_POINTS <= len(program.noted()) <= N_POINTS + 3
    assert [p.name for p in tmp_path.glob(".sweep*")] == [".sweep.h5.lock"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills process groups")
def test_two_processes_give_an_equal_file_killed_or_not(tmp_path, uninterrupted):
    path, program = tmp_path / "sweep.h5", Program(tmp_path)
    kill_after(program.start(path, "2", 0.1), path, 5)
    assert program.finish(path, "2").digest() == uninterrupted.digest()
    # Two are at work at any time, and two more may have been handed out.
    assert len(program.noted()) <= N_POINTS + 4


@pytest.mark.slow
def test_two_dask_workers_give_an_equal_file(tmp_path, uninterrupted):
    pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    result = Program(tmp_path).finish(tmp_path / "sweep.h5", "local:2")
    assert result.digest() == uninterrupted.digest()
