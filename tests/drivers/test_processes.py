"""An OPU in other processes: forked, spawned, killed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from opusim import OPU
from opusim.drivers.compat import opu as compat

pytestmark = pytest.mark.system

METHODS = [method for method in ("fork", "spawn", "forkserver") if method in multiprocessing.get_all_start_methods()]


def bits(*shape):
    return np.random.default_rng(0).integers(0, 2, shape, dtype=np.uint8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [OPU, compat.OPU], ids=["opusim", "lightonml names"])
def test_the_same_matrix_in_another_process(method, kind, monkeypatch):
    """Without noise the counts are the same; the OPU was used before, so that threads and kernels are there to copy."""
    monkeypatch.setenv("OPUSIM_DEVICE", "ideal")
    arguments = {} if kind is compat.OPU else {"device": "ideal"}
    with kind(40, **arguments) as opu:
        opu.fit1d(bits(6, 50))
        here = np.asarray(opu.transform(bits(6, 50)))
        active, there = _forked(opu) if method == "fork" else _by_a_program(opu, method)
        assert active and np.array_equal(here, there)
        assert np.array_equal(opu.transform(bits(6, 50)), here)


def _forked(opu):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=lambda: queue.put((opu.device.active, np.asarray(opu.transform(bits(6, 50))))))
    process.start()
    result = queue.get(timeout=120)
    process.join(60)
    assert process.exitcode == 0
    return result


PROGRAM = """
import multiprocessing, pickle, sys
import numpy as np

def work(job):
    opu, x = job
    return opu.device.active, np.asarray(opu.transform(x))

if __name__ == "__main__":
    job = pickle.load(sys.stdin.buffer)
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        pickle.dump(pool.map(work, [job])[0], sys.stdout.buffer)
"""


def _by_a_program(opu, method):
    """Start a program that hands the OPU to a worker started by `method`."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program.py"
        program.write_text(PROGRAM)
        done = subprocess.run(
            [sys.executable, str(program), method], input=pickle.dumps((opu, bits(6, 50))), capture_output=True,
            timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def test_several_live_in_one_process():
    opus = [OPU(n, seed=seed, device="ideal") for n, seed in ((20, 0), (30, 1), (20, 0))]
    outputs = [np.asarray(opu.fit_transform1d(bits(3, 40))) for opu in opus]
    assert [y.shape for y in outputs] == [(3, 20), (3, 30), (3, 20)]
    assert np.array_equal(outputs[0], outputs[2]) and not np.allclose(outputs[0], outputs[1][:, :20])


def test_never_closed_ends_quietly():
    program = (
        "import numpy as np\nfrom opusim import OPU\nopu = OPU(20)\n"
        "opu.fit1d(n_features=30, online=True)\nprint(opu.transform(np.ones(30, dtype=np.uint8)).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(20,)\n", "")


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX are needed")
def test_interrupted_opu_can_be_used_on():
    """Ctrl-C within a long transform raises KeyboardInterrupt, and the next transform is right."""
    program = """
import os, signal, threading
import numpy as np
from opusim import OPU
x = np.random.default_rng(0).integers(0, 2, (400, 20), dtype=np.uint8)
opu = OPU(400_000, device="ideal")
opu.fit1d(x)
first = np.asarray(opu.transform(x[:3]))
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    while True:
        opu.transform(x)
except KeyboardInterrupt:
    print("interrupted", np.array_equal(opu.transform(x[:3]), first))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.stdout == "interrupted True\n", done.stderr
    assert done.returncode == 0
