"""Sweeps on a Dask cluster, a scheduler and workers as processes of this machine, and what may go wrong with them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from opusim.base.carried import Carried
from opusim.cli.sweep import make_opu
from opusim.device.medium import MeasuredMedium
from opusim.device.record import Device
from opusim.sweep import FunctionTask, Sweep, SweepResult, cluster, read_sweep
from opusim.sweep.run import Job
from opusim.tasks.registry import parse_task

distributed = pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform == "win32", reason="sends signals to groups of processes"),
]

ROOT = Path(__file__).resolve().parents[2]
# Long for a busy machine; nothing waits so long unless it fails.
LONG_S = 90.0
# A task without an OPU says how far it came and waits for leave, so that nothing hangs on how quick a machine is.
VARY = {"camera.bits": [4, 6, 8, 10]}


class Cluster:
    """A scheduler and its workers, each a process with a group of its own, in a folder that is not the test's."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.settings = {f"DASK_DISTRIBUTED__{key}": str(value) for key, value in settings.items()}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start("scheduler", "--port", 0, "--scheduler-file", folder / "address", "--no-show",
                                    "--idle-timeout", "300 s")  # fmt: skip
        self.workers: list[subprocess.Popen[bytes]] = []

    def worker(self, *options: object, nanny: bool = False, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker of one thread; one whose scheduler has gone ends by itself."""
        number = len(self.workers)
        self.workers.append(
            self.start("worker", "--scheduler-file", self.folder / "address", "--nthreads", 1, "--memory-limit", 0,
                       "--local-directory", self.folder / f"worker-{number}", "--death-timeout", "60 s",
                       "--nanny" if nanny else "--no-nanny", *options, **environment)
        )  # fmt: skip
        return self.workers[-1]

    def start(self, what: str, *options: object, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", "--no-dashboard"]
        paths = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), str(ROOT))))
        with open(self.folder / f"{what}-{len(self.processes)}.log", "wb") as log:
            process = subprocess.Popen(
                [*command, *map(str, options)], cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self.settings, **environment, "PYTHONPATH": paths},
            )  # fmt: skip
        self.processes.append(process)
        return process

    @property
    def address(self) -> str:
        """Where the scheduler is, once it is there and so are its workers."""

        def told() -> Any:
            with contextlib.suppress(OSError, ValueError):
                return json.loads((self.folder / "address").read_text())["address"]

        address = until(told)
        with distributed.Client(address, timeout=LONG_S, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=LONG_S)
        return address

    def close(self) -> None:
        for process in self.processes:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it has started, whatever state they are in."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(LONG_S)


def until(told: Callable[[], Any]) -> Any:
    """Wait until a function returns something true, and return that."""
    limit = time.monotonic() + LONG_S
    while not (result := told()):
        assert time.monotonic() < limit, "it never came so far"
        time.sleep(0.02)
    return result


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Make clusters that end with the test, whatever happens."""
    with contextlib.ExitStack() as stack:

        def make(*, workers: int = 2, nanny: bool = False, **settings: object) -> Cluster:
            number = len(list(tmp_path.glob("cluster-*")))
            made = Cluster(tmp_path / f"cluster-{number}", **settings)
            stack.callback(made.close)
            for _ in range(workers):
                made.worker(nanny=nanny)
            return made

        yield make


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a cluster that no test harms: a worker of one thread, and one of two."""
    made = Cluster(tmp_path_factory.mktemp("dask") / "cluster")
    try:
        made.worker()
        made.worker("--nthreads", 2)
        yield made.address
    finally:
        made.close()


@pytest.fixture
def client(two_workers: str) -> Iterator[Any]:
    with distributed.Client(two_workers, timeout=LONG_S, set_as_default=False) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.h5"


def no_opu(device, n_components, seed):
    raise AssertionError("made by a function that is sent")


def waiting_task(folder: Path, free: tuple[int, ...] = ()) -> Callable[..., dict[str, float]]:
    """A task that notes its process, and waits until the folder has a file "go", but for some numbers of bits."""

    def task(opu, seed):
        (folder / f"{opu}.{os.getpid()}").touch()
        limit = time.monotonic() + LONG_S
        while opu not in free and not (folder / "go").exists():
            assert time.monotonic() < limit, "the test has ended"
            time.sleep(0.02)
        return {"value": opu + seed / 3}

    return task


def waiting_sweep(folder: Path, **options: Any) -> Sweep:
    return Sweep(waiting_task(folder, **options), lambda device, n, seed: device.camera.bits, VARY)


def at_work(folder: Path) -> dict[int, int]:
    """Process by number of bits, of the points that were begun."""
    return {int(p.stem): int(p.suffix[1:]) for p in folder.glob("*.*") if p.suffix[1:].isdigit()}


def running(sweep: Sweep, path: Path, address: Any) -> Any:
    """Run a sweep in a thread; its result is what it returns or raises."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(sweep.run, path, dask=address)
    pool.shutdown(wait=False)
    return future


def n_done(path: Path) -> int:
    return len(read_sweep(path).outcomes) if path.exists() else 0


def is_complete(result: SweepResult) -> bool:
    return not result.n_failed and np.array_equal(result.values("value")[:, 0], VARY["camera.bits"])


# ---------------------------------------------------------------- the same numbers

# All of it: matrix, shot and read noise, an exposure that is found, a BLAS product, a warning, a point that fails.
PROGRAM = """
import warnings
import numpy as np
from beside import FEATURES

def task(opu, seed):
    camera = opu.device.device_model.camera
    if camera.bits == 4 and seed == 1:
        raise ValueError("No light.")
    if camera.bits == 4:
        warnings.warn("Little light.")
    bits = np.random.default_rng(seed).integers(0, 2, (40, FEATURES), dtype=np.uint8)
    counts = np.asarray(opu.fit_transform1d(bits), dtype=float)
    return {"accuracy": counts.mean() / 255, "product": np.linalg.norm(counts.T @ counts), "first": counts[0, 0]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program of the user's and a module beside it, where no worker works."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "beside.py").write_text("FEATURES = 100\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def opusim(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "opusim", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONG_S)


def real_sweep(task: str, seeds: int) -> Sweep:
    vary = {"camera.bits": [4, 8], "exposure.mean_level": [0.05, 0.2]}
    return Sweep(parse_task(task), make_opu, vary, n_components=300, seeds=seeds)


def test_the_command_gives_the_file_of_one_process(two_workers, folder):
    """Tables, progress, warnings and times too; a file that is half done goes on, on the cluster as without one."""
    command = ["sweep", "--task", "program.py:task", "--vary", "camera.bits=4,8", "--vary"]
    command += ["exposure.mean_level=0.05,0.2", "-n", 300, "--out", "there.h5", "--dask", two_workers]
    expected = real_sweep("program.py:task", 2).run()
    half = opusim(*command, "--seeds", 1)
    assert half.returncode == 0 and "4 of 4 are done" in half.stdout and "4/4" in half.stderr, half.stderr
    whole = opusim(*command, "--seeds", 2)
    assert whole.returncode == 2 and "6 of 8 are done; 2 failed" in whole.stdout and "8/8" in whole.stderr
    assert "No light." in whole.stderr and "UserWarning: Little light. (2 points)" in whole.stderr
    assert "distributed" not in whole.stderr
    found = read_sweep(folder / "there.h5")
    assert found.digest() == expected.digest() and found.n_failed == 2
    for place, outcome in found.outcomes.items():
        assert outcome.warnings == expected.outcomes[place].warnings and 0 < outcome.seconds < LONG_S
        assert ('raise ValueError("No light.")' in outcome.traceback) == outcome.failed
    told = opusim("report", "there.h5")
    assert told.returncode == 0 and told.stdout == whole.stdout
    assert "time of a point" in told.stdout


def test_a_module_is_found_from_the_folder_of_the_program(two_workers, folder):
    """Not from that of the worker; and one that is edited is told from the one that the worker holds."""
    (folder / "one_point.py").write_text("def task(opu, seed):\n    return {'value': opu.n_components}\n")

    def sweep():
        return Sweep(FunctionTask("one_point:task"), make_opu, {"n_components": [5, 6]})

    try:
        assert sweep().run(dask=two_workers).values()[:, 0].tolist() == [5, 6]
        (folder / "one_point.py").write_text("def task(opu, seed):\n    return {'value': 2 * opu.n_components}\n")
        edited = "from opusim.sweep import Sweep, FunctionTask; from opusim.cli.sweep import make_opu; import sys; "
        edited += "Sweep(FunctionTask('one_point:task'), make_opu, {'n_components': [5]}).run(dask=sys.argv[1])"
        run = subprocess.run(
            [sys.executable, "-c", edited, two_workers], capture_output=True, text=True, timeout=LONG_S
        )
        assert run.returncode == 1 and "this process holds another text of that module" in run.stderr
    finally:
        sys.modules.pop("one_point", None)


def test_a_measured_matrix_is_found_from_the_folder_of_the_program(two_workers, folder):
    with h5py.File(folder / "matrix.h5", "w") as file:
        file["tm"] = np.random.default_rng(0).normal(size=(300, 100, 2)) @ [1, 1j]
    device = Device.load("aurora").evolve(medium=MeasuredMedium("matrix.h5"))
    sweep = Sweep(
        parse_task("program.py:task"), make_opu, {"camera.read_noise_e": [0, 9]}, device=device, n_components=300
    )
    assert sweep.run(dask=two_workers).digest() == sweep.run().digest()
    # One that is not the same there. It is the same file here, so a worker is asked for it as if it were another.
    needs = cluster.Needs(device, "0" * 64)
    with pytest.raises(cluster.UnfitWorkerError, match="'matrix.h5' holds another matrix there"):
        needs.check()


def test_a_client_need_not_be_the_default_one(client, two_workers, path):
    """It is used, whichever other one there is, and stays open; an address leaves no default client behind."""
    sweep = Sweep(lambda opu, seed: {"value": opu}, lambda device, n, seed: device.camera.bits, VARY)
    places: list[Any] = []
    assert is_complete(sweep.run(path, dask=client, callback=lambda result, place: places.append(place)))
    assert places[0] is None and sorted(places[1:]) == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert client.status == "running" and is_complete(read_sweep(path))
    assert is_complete(sweep.run(dask=two_workers))
    with pytest.raises(ValueError, match="No clients found"):
        distributed.default_client()
    # A default client of a cluster that cannot do it: nothing is sent there.
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty:
        with distributed.Client(empty) as other:
            assert is_complete(sweep.run(dask=client)) and is_complete(sweep.run(dask=two_workers))
            assert distributed.default_client() is other


def test_two_sweeps_at_a_time_on_one_scheduler(two_workers, client, tmp_path):
    """The second one is there before a point of the first one may end."""
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    first = running(waiting_sweep(a), a / "s.h5", two_workers)
    until(lambda: at_work(a))
    second = running(waiting_sweep(b), b / "s.h5", two_workers)
    until(lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 8)
    (b / "go").touch()
    (a / "go").touch()
    for sweep, path in ((first, a / "s.h5"), (second, b / "s.h5")):
        assert is_complete(sweep.result(LONG_S)) and is_complete(read_sweep(path))


def test_points_in_threads_of_one_worker_keep_their_warnings_apart(two_workers, folder):
    """Each says its own; the worker of two threads is at two of them at a time."""

    def task(opu, seed):
        (folder / f"{opu}.{threading.get_ident()}").touch()
        limit = time.monotonic() + 30
        while len(list(folder.glob("*.[0-9]*"))) < 3 and time.monotonic() < limit:
            time.sleep(0.01)
        warnings.warn(f"at {opu}", stacklevel=2)
        return {"value": opu}

    result = Sweep(task, lambda device, n, seed: device.camera.bits, VARY).run(dask=two_workers)
    assert is_complete(result)
    assert [o.warnings for _, o in sorted(result.outcomes.items())] == [
        (f"UserWarning: at {b}",) for b in (4, 6, 8, 10)
    ]


# ---------------------------------------------------------------- what goes away


def test_a_worker_that_is_killed_costs_no_point(make_cluster, tmp_path, path):
    """What it was at, and what it had done and not given back, is run again by the other one."""
    made = make_cluster()
    sweep = running(waiting_sweep(tmp_path), path, made.address)
    victim = until(lambda: at_work(tmp_path)).popitem()[1]
    os.kill(victim, signal.SIGKILL)
    (tmp_path / "go").touch()
    assert is_complete(sweep.result(LONG_S)) and is_complete(read_sweep(path))


def test_a_point_that_kills_its_worker_fails_and_no_other(make_cluster, tmp_path, path):
    """Nor those that are in the same worker when it dies, which Dask blames too."""
    made = make_cluster(workers=0, SCHEDULER__ALLOWED_FAILURES=0)
    made.worker("--nthreads", 4, nanny=True)

    def task(opu, seed):
        (tmp_path / f"{opu}.{os.getpid()}").touch()
        is_first = len(list(tmp_path.glob(f"{opu}.*"))) == 1
        limit = time.monotonic() + LONG_S
        while is_first and time.monotonic() < limit and (opu != 8 or len(list(tmp_path.glob("*.[0-9]*"))) < 4):
            time.sleep(0.01)
        if opu == 8:
            os._exit(9)
        return {"value": opu}

    sweep = Sweep(task, lambda device, n, seed: device.camera.bits, VARY)
    result = sweep.run(path, dask=made.address)
    assert [place for place, outcome in result.outcomes.items() if outcome.failed] == [(2, 0)]
    assert sorted(result.outcomes) == [(i, 0) for i in range(4)]
    assert [len(list(tmp_path.glob(f"{bits}.*"))) for bits in (4, 6, 8, 10)] == [2, 2, 2, 2]
    outcome = read_sweep(path).outcomes[2, 0]
    assert outcome.error_type == "KilledWorker" and outcome.error.startswith("The workers that ran this point ended")
    # What differs from run to run is no part of the result.
    assert "tcp://" not in outcome.error and "tcp://" in outcome.traceback


def killing_sweep(killers: list[int], waits: dict[int, float]) -> Sweep:
    """A task that ends its worker at some numbers of bits."""

    def task(opu, seed):
        time.sleep(waits[opu])
        if opu in killers:
            os._exit(9)
        return {"value": opu}

    return Sweep(task, lambda device, n, seed: device.camera.bits, {"camera.bits": list(waits)})


def test_points_that_kill_their_workers_fail_and_no_other_on_a_cluster_of_the_command():
    """Time and again, in any order; Dask, as it is, would soon take a worker that starts again for one that is lost."""
    import dask

    quick = {"distributed.deploy.lost-worker-timeout": "300 ms", "distributed.scheduler.allowed-failures": 0}
    rng = np.random.default_rng(0)
    with dask.config.set(quick), cluster.dask_client("local:2") as client:
        for n_killers in (1, 2):
            bits = [int(b) for b in rng.permutation(np.arange(2, 13))]
            waits = {b: float(rng.choice([0.0, 0.01, 0.05])) for b in bits}
            result = killing_sweep(bits[:n_killers], waits).run(dask=client)
            failed = {bits[i] for (i, _), outcome in result.outcomes.items() if outcome.failed}
            assert failed == set(bits[:n_killers]) and len(result.outcomes) == len(bits)
            assert {o.error_type for o in result.outcomes.values() if o.failed} == {"KilledWorker"}


def test_points_that_the_cluster_gives_up_are_put_again(make_cluster, tmp_path, path):
    """As it is there still; a cluster that goes on giving up ends the sweep with a sentence."""
    made = make_cluster()
    sweep = waiting_sweep(tmp_path)
    first = running(sweep, path, made.address)

    def give_up(dask_scheduler: Any) -> int:
        keys = [key for key in dask_scheduler.tasks if str(key).startswith("opusim-sweep")]
        dask_scheduler.report({"op": "cancelled-keys", "keys": keys})
        return len(keys)

    with distributed.Client(made.address, timeout=LONG_S, set_as_default=False) as client:
        until(lambda: len(at_work(tmp_path)) == 2)
        assert client.run_on_scheduler(give_up) == 4
        (tmp_path / "go").touch()
        assert is_complete(first.result(LONG_S)) and is_complete(read_sweep(path))
        (tmp_path / "go").unlink()
        second = running(sweep, tmp_path / "other.h5", made.address)

        def ended() -> bool:
            client.run_on_scheduler(give_up)
            return second.done()

        until(ended)
        with pytest.raises(RuntimeError, match="gave up the points. Points that are done are kept"):
            second.result(LONG_S)
    (tmp_path / "go").touch()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_scheduler_that_goes_away_ends_the_sweep_and_another_one_goes_on(
    make_cluster, two_workers, tmp_path, path, how
):
    made = make_cluster()
    sweep = waiting_sweep(tmp_path, free=(4, 6))
    first = running(sweep, path, made.address)
    until(lambda: n_done(path) == 2 and len(at_work(tmp_path)) == 4)
    os.killpg(made.scheduler.pid, how)
    with pytest.raises(RuntimeError, match="The Dask cluster went away.*Points that are done are kept"):
        first.result(LONG_S)
    assert n_done(path) == 2
    (tmp_path / "go").touch()
    assert is_complete(sweep.run(path, dask=two_workers))
    # The two that were done were not run again.
    assert len(list(tmp_path.glob("4.*"))) == len(list(tmp_path.glob("6.*"))) == 1


def test_a_cluster_without_workers_or_answers_is_told_in_time(make_cluster, tmp_path, path, monkeypatch):
    """All workers go, or the scheduler stands still: the sweep ends, and goes on later."""
    monkeypatch.setattr(cluster, "_PATIENCE_S", 1.0)
    monkeypatch.setattr(cluster, "_LOOK_S", 0.2)
    made = make_cluster()
    sweep = waiting_sweep(tmp_path, free=(4,))
    first = running(sweep, path, made.address)
    until(lambda: n_done(path) == 1 and len(at_work(tmp_path)) == 3)
    for worker in made.workers:
        end(worker)
    with pytest.raises(RuntimeError, match="has had no workers for 1 s. Points that are done are kept"):
        first.result(LONG_S)
    made.workers.clear()
    made.worker()
    for file in tmp_path.glob("*.[0-9]*"):
        file.unlink()
    second = running(sweep, path, made.address)
    until(lambda: at_work(tmp_path))
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.5)
    os.kill(made.scheduler.pid, signal.SIGSTOP)
    with pytest.raises(RuntimeError, match="has not answered for 1 s"):
        second.result(LONG_S)
    os.kill(made.scheduler.pid, signal.SIGCONT)
    monkeypatch.setattr(cluster, "_ANSWER_S", 5.0)
    (tmp_path / "go").touch()
    assert is_complete(sweep.run(path, dask=made.address)) and is_complete(read_sweep(path))


@pytest.mark.parametrize("where", ["a scheduler", "local:2"])
def test_ctrl_c_takes_the_points_back_and_the_same_command_goes_on(two_workers, client, folder, where):
    """Of a cluster that the command has started, all processes get it, as in a terminal."""
    text = f"""
import os, pathlib, time

def task(opu, seed):
    bits = opu.device.device_model.camera.bits
    here = pathlib.Path({str(folder)!r})
    (here / f"{{bits}}.{{os.getpid()}}").touch()
    limit = time.monotonic() + {LONG_S}
    while bits > 4 and not (here / "go").exists():
        assert time.monotonic() < limit, "the test has ended"
        time.sleep(0.02)
    return {{"value": bits}}
"""
    (folder / "waiting.py").write_text(text)
    command = [sys.executable, "-m", "opusim", "sweep", "--task", "waiting.py:task", "--vary", "camera.bits=4,6,8,10"]
    command += ["-n", "20", "--out", "s.h5", "--dask", two_workers if where == "a scheduler" else where]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            until(lambda: n_done(folder / "s.h5") == 1 and len(at_work(folder)) >= 3)
            assert process.poll() is None
            os.killpg(process.pid, signal.SIGINT)
            _, error = process.communicate(timeout=LONG_S)
        finally:
            end(process)
    assert process.returncode == 130 and "Traceback" not in error
    assert "Interrupted; 1 of 4 points are in s.h5. The same command goes on." in error
    # Those that were begun end in their own time; the scheduler knows of none any more.
    until(lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
    (folder / "go").touch()
    again = subprocess.run([*command[:-1], two_workers], capture_output=True, text=True, timeout=LONG_S)
    assert again.returncode == 0 and "4 of 4 are done" in again.stdout
    assert is_complete(read_sweep(folder / "s.h5"))


# ---------------------------------------------------------------- what is refused beforehand


@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        (
            "__version__ = '0.0.1'",
            "A worker of the Dask cluster has opusim 0.0.1, but this program has .*: they must be",
        ),
        ("import no_numba_here", "cannot import opusim .No module named 'no_numba_here'."),
    ],
)
def test_a_worker_with_another_opusim_or_none_is_told(make_cluster, tmp_path, path, package, sentence):
    (tmp_path / "other" / "opusim").mkdir(parents=True)
    (tmp_path / "other" / "opusim" / "__init__.py").write_text(package)
    made = make_cluster(workers=1)
    made.worker(PYTHONPATH=str(tmp_path / "other"))
    with pytest.raises(cluster.UnfitWorkerError, match=sentence):
        waiting_sweep(tmp_path).run(path, dask=made.address)
    assert not path.exists() and not at_work(tmp_path)


LACKS = {
    "another version": ("__version__ = '0.0.1'", "A worker of the Dask cluster has opusim 0.0.1, but this program has"),
    "none": ("import no_numba_here", "A worker of the Dask cluster cannot use what opusim .* has sent .*no_numba_here"),
}


@pytest.mark.parametrize("lack", LACKS)
def test_a_worker_that_comes_later_and_lacks_opusim_ends_the_sweep(make_cluster, tmp_path, path, monkeypatch, lack):
    """It would close itself, or be asked for ever: nothing of opusim is loaded before it is used."""
    package, sentence = LACKS[lack]
    (tmp_path / "other" / "opusim").mkdir(parents=True)
    (tmp_path / "other" / "opusim" / "__init__.py").write_text(package)
    made = make_cluster(workers=0)
    made.worker(nanny=True, PYTHONPATH=str(tmp_path / "other"))
    # As if it had come when the others had been asked.
    monkeypatch.setattr("opusim.sweep.sweep.check_workers", lambda *_: None)
    with pytest.raises(cluster.UnfitWorkerError, match=f"{sentence}.*Points that are done are kept"):
        waiting_sweep(tmp_path).run(path, dask=made.address)


@pytest.mark.parametrize("lack", LACKS)
def test_a_transform_on_a_worker_that_lacks_opusim_says_so(make_cluster, tmp_path, lack):
    """Also its fit, its encoder and its linear transform; the same arrays can be computed where it is."""
    import dask.array as da

    from opusim.drivers import OPU
    from opusim.encoding import BinaryThresholdEncoder

    package, sentence = LACKS[lack]
    (tmp_path / "other" / "opusim").mkdir(parents=True)
    (tmp_path / "other" / "opusim" / "__init__.py").write_text(package)
    made = make_cluster(workers=0)
    made.worker(nanny=True, PYTHONPATH=str(tmp_path / "other"))
    x = da.from_array(np.random.default_rng(0).integers(0, 2, (20, 30), dtype=np.uint8), chunks=(10, 30))
    with (
        distributed.Client(made.address, timeout=LONG_S, set_as_default=False) as client,
        OPU(10, device="ideal", linear_mode="intensity", disable_pbar=True) as opu,
    ):
        opu.fit1d(x)
        lazy = [
            opu.transform(x), opu.linear_transform(x),
            opu.transform(x.astype(np.float32), encoder_cls=BinaryThresholdEncoder(0.5)),
        ]  # fmt: skip
        for y in lazy:
            with pytest.raises(RuntimeError, match=sentence):
                client.compute(y).result(LONG_S)
            assert y.compute(scheduler="threads").shape == (20, 10)
        with client.as_current(), pytest.raises(RuntimeError, match=sentence):
            opu.fit1d(x)


def test_a_worker_that_comes_later_is_asked_too():
    needs = cluster.Needs(Device.load("ideal"), Device.load("ideal").fingerprint())
    job = Job((0, 0), Sweep(lambda opu, seed: {"a": 1}, no_opu, VARY).settings[0], 0, 1, 1 << 30)
    place, outcome = cluster._on_worker(Carried(needs), Carried(lambda device, n, seed: None), Carried(job))
    assert place == (0, 0) and outcome.metrics == {"a": 1.0}
    for changed, sentence in (
        (dataclasses.replace(needs, opusim_version="0.0.1"), "but this program has 0.0.1"),
        (dataclasses.replace(needs, python=(3, 9)), "but this program has 3.9"),
    ):
        with pytest.raises(cluster.UnfitWorkerError, match=sentence):
            cluster._on_worker(Carried(changed), Carried(no_opu), Carried(job))


def test_what_the_workers_cannot_load_is_told_before_the_first_point(two_workers, folder, path):
    (folder / "only_here.py").write_text("def task(opu, seed):\n    return {'value': 1}\n")
    sys.path.insert(0, str(folder))
    try:
        import only_here  # type: ignore[import-not-found]

        with pytest.raises(cluster.UnfitWorkerError, match="cannot load .* No module named 'only_here'"):
            Sweep(only_here.task, lambda device, n, seed: 0, VARY).run(path, dask=two_workers)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("only_here", None)
    lock = threading.Lock()
    with pytest.raises(TypeError, match="task or make_opu cannot be sent .*lock"):
        Sweep(lambda opu, seed: {"value": lock}, lambda device, n, seed: 0, VARY).run(path, dask=two_workers)
    assert not path.exists()


def test_clients_and_addresses_that_are_none_are_told(two_workers, client, path, monkeypatch):
    sweep = Sweep(lambda opu, seed: {"value": 1}, lambda device, n, seed: 0, VARY)
    worker = next(iter(client.nthreads()))
    with pytest.raises(ConnectionError, match="no Dask scheduler answers there .it is the address of a Worker"):
        sweep.run(path, dask=worker)
    with pytest.raises(ConnectionError, match="no Dask scheduler answers there .*TLS"):
        sweep.run(path, dask=two_workers.replace("tcp:", "tls:"))
    closed = distributed.Client(two_workers, set_as_default=False)
    closed.close()
    with pytest.raises(ConnectionError, match="dask is a client that is closed"):
        sweep.run(path, dask=closed)

    async def with_asynchronous() -> None:
        async with distributed.Client(two_workers, asynchronous=True, set_as_default=False) as other:
            with pytest.raises(TypeError, match="dask is an asynchronous client"):
                sweep.run(path, dask=other)

    asyncio.run(with_asynchronous())
    monkeypatch.setattr(cluster, "_ANSWER_S", 1.0)
    with distributed.LocalCluster(n_workers=0, protocol="tcp", processes=False, dashboard_address=":0") as empty:
        with pytest.raises(ConnectionError, match="the scheduler there has no workers"):
            sweep.run(path, dask=empty.scheduler_address)
        # A client may be that of a cluster which starts workers when there is work.
        monkeypatch.setattr(cluster, "_PATIENCE_S", 0.5)
        monkeypatch.setattr(cluster, "_LOOK_S", 0.2)
        with distributed.Client(empty, set_as_default=False) as idle:
            with pytest.raises(RuntimeError, match="has had no workers for"):
                sweep.run(dask=idle)
    assert not path.exists()
