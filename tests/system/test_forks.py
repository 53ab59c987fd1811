"""Forks of a process whose other threads are at work: no child hangs, and each goes on from where it was copied."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

# Each child is given so long; the whole program is ended after the limit of its run below.
PROGRAM = """
import os, signal, sys, threading, time, warnings
import numpy as np
from opusim import OPU
from opusim.device.record import Device

n_forks = int(sys.argv[1])
small = {"dmd.shape": (60, 76), "camera.shape": (64, 90), "operation.ones_range": (200, 4000)}
device = Device.load("ideal").evolve(**small)
x = np.random.default_rng(0).integers(0, 2, (8, 60), dtype=np.uint8)
warnings.simplefilter("ignore")

def made():
    opu = OPU(90, device=device, threads=2)
    opu.fit1d(x)
    return opu

busy, linear, quiet = made(), made(), made()
expected = np.asarray(busy.transform(x))
linear.calibrate(store=False)
right = np.asarray(linear.linear_transform(x))
quiet.transform(x)
stop = threading.Event()

def shows():
    while not stop.is_set():
        busy.transform(x)

def projects():
    while not stop.is_set():
        linear.linear_transform(x)

def settles():
    while not stop.is_set():  # the way is made anew each time, under its locks
        busy.n_components = 60
        busy.n_components = 90
        quiet.device.set_limits(threads=1 + quiet.bench.threads % 2)

def calibrates():
    while not stop.is_set():
        made().calibrate(store=False)

def child(k):
    signal.alarm(20)
    opu = linear if k % 3 == 2 else busy
    before = opu.bench.clock.frames
    y = np.asarray((opu.linear_transform if opu is linear else opu.transform)(x))
    frames = opu.bench.clock.frames - before
    if opu is linear:
        same, took = np.abs(y - right).max() < 1e-2 * right.std(), frames == 4 * (8 + 2)
    else:
        # One row of the sensor, for 60 components as for 90.
        same, took = y.shape[1] in (60, 90) and np.array_equal(y, expected[:, : y.shape[1]]), frames == 8
    idle = opu.device.acq_state.name == "stopped"
    return 10 + 4 * (not same) + 2 * (not took) + (not idle)

threads = [threading.Thread(target=work, daemon=True) for work in (shows, shows, projects, settles, calibrates)]
for thread in threads:
    thread.start()
ends = {}
for k in range(n_forks):
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = child(k)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    end = "hangs" if os.WIFSIGNALED(status) else {10: "right"}.get(os.waitstatus_to_exitcode(status), str(status >> 8))
    ends[end] = ends.get(end, 0) + 1
stop.set()
for thread in threads:
    thread.join(20)
print(sorted(ends.items()))
"""


def test_two_hundred_forks_while_busy(root):
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "200"], env=environment, capture_output=True, text=True, timeout=240
    )
    assert (done.returncode, done.stdout) == (0, "[('right', 200)]\n"), (done.stdout, done.stderr[-2000:])
