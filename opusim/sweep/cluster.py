"""Running the points of a sweep on a Dask cluster.

Its workers are other machines: they may hold another opusim, lack a module or a file, die at a point, or all go away,
and so may the scheduler. What hinders a worker is told before the first point; a worker that dies costs its own point
and no other; a cluster that goes away, or says nothing any more, ends the sweep, which keeps what is done.

A client need not be the default one of its process, so nothing here asks for that one.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import re
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import opusim
from opusim.base.carried import Carried
from opusim.device.record import Device
from opusim.tasks.base import as_task

from .result import Outcome, Place
from .run import Job, MakeOpu, run_job

__all__ = ["UnfitWorkerError", "check_workers", "dask_client", "on_dask"]

# Time that a scheduler has to answer, and that workers have to say what they are: they import opusim for that.
_ANSWER_S, _IMPORT_S = 5.0, 120.0
# How often a sweep looks after a cluster that gives nothing back, and how long that may have no workers, or be silent.
_LOOK_S, _PATIENCE_S = 1.0, 60.0
_KEPT = "Points that are done are kept: run the sweep again to go on."
# How often a point is put again that the cluster gave up, though it is there.
_TIMES_GIVEN_UP = 4
# How a sentence begins that is about a worker, also where `opusim.base.carried` says it there.
_WORKER = "A worker of the Dask cluster "
# Characters of what the cluster says in one of our sentences.
_SAID = 300


class UnfitWorkerError(RuntimeError):
    """A worker is not fit to run points of a sweep: another version, a file that differs."""


@dataclass(frozen=True)
class Needs:
    """What a worker must have in common with the program that runs a sweep.

    Parameters
    ----------
    device : Device
        The device of a point.
    fingerprint : str
        Of that device, where the sweep is run.
    opusim_version : str
        Of opusim there.
    python : tuple of int
        Version of Python there, two numbers: functions that are sent as code run on no other.
    """

    device: Device
    fingerprint: str
    opusim_version: str = opusim.__version__
    python: tuple[int, ...] = sys.version_info[:2]

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Needs:
        """Return what the points of a sweep, one or more, need."""
        device = jobs[0].setting.device
        return cls(device, device.fingerprint())

    def check(self) -> None:
        """Raise an UnfitWorkerError unless this process has it."""
        if opusim.__version__ != self.opusim_version:
            raise UnfitWorkerError(_other("opusim", opusim.__version__, self.opusim_version))
        if sys.version_info[:2] != self.python:
            raise UnfitWorkerError(_other("Python", _dotted(sys.version_info[:2]), _dotted(self.python)))
        try:
            found = self.device.fingerprint()
        except ValueError as error:
            raise UnfitWorkerError(f"A worker of the Dask cluster cannot use the device: {error}") from error
        if found != self.fingerprint:
            raise UnfitWorkerError(
                f"The device {self.device.name!r} is not the same on a worker of the Dask cluster: "
                f"{self.device.told_beside_fields()} there."
            )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _other(what: str, there: str, here: str) -> str:
    return f"A worker of the Dask cluster has {what} {there}, but this program has {here}: they must be the same."


# ---------------------------------------------------------------- the points


def on_dask(make_opu: MakeOpu, jobs: Sequence[Job], client: Any) -> Iterator[tuple[Place, Outcome]]:
    """Run points on a Dask cluster; give each back when it is done.

    Parameters
    ----------
    make_opu : callable
        ``make_opu(device, n_components, seed)`` returns an OPU.
    jobs : sequence of Job
        The points.
    client : distributed.Client
        The cluster; it need not be the default client.

    Yields
    ------
    place : tuple of int
    outcome : Outcome
        A point at which workers die, time and again, has failed; the others go on.

    Raises
    ------
    UnfitWorkerError
        If a worker, one that came later perhaps, has not what is needed.
    RuntimeError
        If the cluster goes away, drops a point or cannot run it, or for a minute has no workers or no answer.
    """
    from distributed.scheduler import KilledWorker

    needs = Needs.of(jobs)
    batches = [list(jobs)]
    given_up: Counter[Place] = Counter()
    for batch in batches:
        again: list[Job] = []
        with closing(_answers(make_opu, batch, client, needs)) as answers:
            for job, answer in answers:
                if isinstance(answer, _GoneError):
                    # Dask lets go of a point too when workers come and go in an unlucky order: if the cluster is
                    # there, the point is put again.
                    given_up[job.place] += 1
                    if given_up[job.place] == _TIMES_GIVEN_UP or not _is_there(client):
                        raise _ended(answer) from answer
                    again.append(job)
                elif isinstance(answer, KilledWorker) and len(batch) > 1:
                    # Dask blames all that a worker was at when it died. By itself a point shows whose fault it was.
                    batches.append([job])
                elif isinstance(answer, KilledWorker):
                    yield job.place, Outcome(error_type="KilledWorker", error=_DIED, traceback=_text(answer))
                elif isinstance(answer, Outcome):
                    yield job.place, answer
                else:
                    raise _ended(answer) from answer
        if again:
            batches.append(again)


def _is_there(client: Any) -> bool:
    """Whether the scheduler of a client answers."""
    if client.status in ("closing", "closed"):
        return False
    try:
        _ask(client, client.nthreads, _ANSWER_S)
    except Exception:  # a limit of time, a connection that breaks, a loop that has ended
        return False
    return True


# The same words wherever it ran: they are part of the result.
_DIED = "The workers that ran this point ended without an answer, one after the other, perhaps for lack of memory."


def _answers(
    make_opu: MakeOpu, jobs: Sequence[Job], client: Any, needs: Needs
) -> Generator[tuple[Job, Outcome | BaseException], None, None]:
    """Run points; give back for each what it gave, or what went wrong with the cluster."""
    name = uuid.uuid4().hex[:8]
    arrived: queue.SimpleQueue[tuple[Any, Outcome | BaseException]] = queue.SimpleQueue()

    async def fetch(future: Any) -> None:
        answer: Outcome | BaseException
        try:
            _, answer = await future
        except BaseException as error:
            answer = error if future.status == "error" else _GoneError(_named(error))
        arrived.put((future, answer))

    waiting: dict[Any, Job] = {}
    watch = _Watch(client)
    # A worker that comes later may lack what it takes to load them.
    point, needs_there, make_opu_there = Carried(_on_worker), Carried(needs), Carried(make_opu)
    try:
        for number, job in enumerate(jobs):
            key = f"opusim-sweep-{name}-{number}"
            waiting[client.submit(point, needs_there, make_opu_there, Carried(job), key=key, pure=False)] = job
        for future in waiting:
            client.loop.add_callback(fetch, future)
        while waiting:
            try:
                future, answer = arrived.get(timeout=_LOOK_S)
            except queue.Empty:
                watch.look()
                continue
            watch.seen()
            job = waiting.pop(future)
            future.release()
            yield job, answer
    finally:
        # A cluster that is gone cannot be told, and the reason of that is on its way already.
        with suppress(Exception):
            client.cancel(list(waiting), force=True)


def _on_worker(carried_needs: Any, make_opu: Any, job: Any) -> tuple[Place, Outcome]:
    needs = carried_needs.load()
    if needs not in _met:
        needs.check()
        _met.append(needs)
        del _met[:-_KEPT_NEEDS]
    return run_job(make_opu.load(), job.load())


# What this worker is known to have, of the latest sweeps: a measured matrix is read whole for its fingerprint.
_KEPT_NEEDS = 8
_met: list[Needs] = []


class _GoneError(Exception):
    """A point was given up by the cluster, or its result cannot be had any more."""


def _ended(error: BaseException) -> RuntimeError:
    """Return what ends a sweep, for an error that is none of its points'."""
    if isinstance(error, UnfitWorkerError) or (type(error) is RuntimeError and str(error).startswith(_WORKER)):
        return UnfitWorkerError(f"{error} {_KEPT}")
    if isinstance(error, _GoneError):
        return RuntimeError(f"The Dask cluster went away, or gave up the points. {_KEPT}")
    return RuntimeError(f"The Dask cluster could not run a point ({_named(error)}). {_KEPT}")


class _Watch:
    """Looks after a cluster that gives nothing back: points may take long, but need workers, and those a scheduler."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._since: float | None = None

    def seen(self) -> None:
        """Note that something came back."""
        self._since = None

    def look(self) -> None:
        """Raise a RuntimeError if there has been no worker, or no answer, for too long."""
        if self._client.status in ("closing", "closed"):
            raise RuntimeError(f"The client of the Dask cluster was closed. {_KEPT}")
        trouble = "has had no workers"
        try:
            if _ask(self._client, self._client.nthreads, _ANSWER_S):
                self._since = None
                return
        except Exception:  # a limit of time, a connection that breaks, a loop that has ended
            trouble = "has not answered"
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since >= _PATIENCE_S:
            raise RuntimeError(f"The Dask cluster {trouble} for {_PATIENCE_S:.0f} s. {_KEPT}")


def _ask(client: Any, method: Callable[..., Any], timeout_s: float, *arguments: Any, **options: Any) -> Any:
    """Return what a method of a client gives; without a limit, it waits for ever for one that does not answer."""
    return client.sync(method, *arguments, callback_timeout=timeout_s, **options)


# ---------------------------------------------------------------- before the first point


def check_workers(client: Any, make_opu: MakeOpu, jobs: Sequence[Job]) -> None:
    """Ask every worker whether it can run the points of a sweep.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    make_opu : callable
        What makes an OPU.
    jobs : sequence of Job
        The points, one or more.

    Raises
    ------
    TypeError
        If `make_opu` or the task cannot be sent to another process.
    UnfitWorkerError
        If a worker has no opusim or another version of it, another Python or another measured matrix, lacks a module
        that the task or `make_opu` comes from, or the task's own check finds something missing. A RuntimeError.
    ConnectionError
        If the workers do not answer within two minutes.
    """
    from distributed.protocol.pickle import dumps

    needs = Needs.of(jobs)
    try:
        sent = dumps((make_opu, jobs[0]))
    except Exception as error:
        raise TypeError(
            f"task or make_opu cannot be sent to the workers of a Dask cluster ({_named(error)}): they must be "
            "functions or objects that can be pickled."
        ) from error
    # Python first, of Dask itself, because code is sent to the same one only; then the version by code that is sent,
    # because another opusim may not know what it is asked next.
    for worker in _of_workers(client, client.get_versions)["workers"].values():
        python = worker["host"]["python"]
        if not python.startswith(f"{_dotted(needs.python)}."):
            raise UnfitWorkerError(_other("Python", python, _dotted(needs.python)))
    for version in _of_workers(client, client.run, _asks_version(), on_error="return").values():
        if isinstance(version, Exception):
            raise UnfitWorkerError(f"A worker of the Dask cluster cannot import opusim ({_text(version)}).")
        if version != needs.opusim_version:
            raise UnfitWorkerError(_other("opusim", version, needs.opusim_version))
    for hindrance in filter(None, _of_workers(client, client.run, _hindrance, needs, sent).values()):
        raise UnfitWorkerError(hindrance)


def _of_workers(client: Any, method: Callable[..., Any], *arguments: Any, **options: Any) -> dict[str, Any]:
    try:
        return _ask(client, method, _IMPORT_S, *arguments, **options)
    except TimeoutError as error:
        raise ConnectionError(f"A worker of the Dask cluster has not answered for {_IMPORT_S:.0f} s.") from error
    except Exception as error:
        raise ConnectionError(f"The workers of the Dask cluster do not answer ({_text(error)}).") from error


def _asks_version() -> Callable[[], str]:
    """Return a function that is sent as code, being none of a module's."""

    def version() -> str:
        import opusim

        return opusim.__version__

    return version


def _hindrance(needs: Needs, sent: bytes) -> str:
    """Return why this worker cannot run points; an empty text if it can."""
    from distributed.protocol.pickle import loads

    try:
        needs.check()
    except UnfitWorkerError as error:
        return str(error)
    try:
        _, job = loads(sent)
    except Exception as error:
        return (
            f"A worker of the Dask cluster cannot load task or make_opu ({_named(error)}): it must have the modules "
            "that they come from. A function of the main program, or one that opusim sweep is given as "
            "file.py:function, is sent as it is."
        )
    setting = job.setting
    try:
        # Of the device it was asked where the sweep is run; here, whether module and data set are there.
        as_task(setting.task).check(setting.device, setting.n_components)
    except Exception as error:
        return f"A worker of the Dask cluster cannot run the task: {_text(error)}"
    return ""


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {_text(error)}"


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SAID] or type(error).__name__


# ---------------------------------------------------------------- the client


@contextmanager
def dask_client(dask: Any) -> Iterator[Any]:
    """Connect to a Dask cluster, or start one on this machine.

    Parameters
    ----------
    dask : str or distributed.Client
        An address such as "tcp://host:8786", "local:2" for two processes here, or a client, which stays open.

    Yields
    ------
    distributed.Client

    Raises
    ------
    TypeError
        If it is neither, or an asynchronous client.
    RuntimeError
        If the package distributed is not installed.
    ConnectionError
        If no scheduler answers within five seconds, it has no workers, or the client is closed.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise RuntimeError(
            "dask is given, but the package distributed is not installed: pip install 'opusim[distributed]'."
        ) from error
    if isinstance(dask, Client):
        if dask.asynchronous:
            raise TypeError(
                "dask is an asynchronous client, but a sweep waits: it must be a Client as it is by default."
            )
        if dask.status != "running":
            raise ConnectionError(f"dask is a client that is {dask.status}, but it must be connected to a scheduler.")
        yield dask
        return
    if not isinstance(dask, str):
        raise TypeError(f"dask is {dask!r} ({type(dask).__name__}), but it must be an address or a distributed.Client.")
    local = re.fullmatch(r"local(?::([1-9][0-9]*))?", dask)
    if local:
        from dask import config

        n = int(local[1]) if local[1] else None
        with (
            # Such a cluster looks, some time after each death of a worker, whether one of that name is there, and ends
            # for good the place of one that is just being started again after another death; with it goes what it had
            # begun, and soon the last worker. Its nannies start workers again by themselves.
            config.set({"distributed.deploy.lost-worker-timeout": "10000 days"}),
            LocalCluster(
                n_workers=n,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=logging.ERROR,
                # A port of its own even without a page: another cluster here may have the usual one.
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            client.register_plugin(_deaf_to_ctrl_c(), name="opusim sweep")
            yield client
        return
    try:
        _knock(dask)
        client = Client(dask, timeout=_ANSWER_S, set_as_default=False)
    except Exception as error:  # of all kinds: something else may listen there
        raise ConnectionError(
            f"dask is {dask!r}, but no Dask scheduler answers there ({_text(error)}). It must be an address such as "
            "tcp://host:8786, or local:2 for two processes on this machine."
        ) from error
    try:
        try:
            client.wait_for_workers(1, timeout=_ANSWER_S)
        except TimeoutError as error:
            raise ConnectionError(f"dask is {dask!r}, but the scheduler there has no workers.") from error
        yield client
    finally:
        with _muted("distributed.client"):
            client.close()


def _deaf_to_ctrl_c() -> Any:
    """Return what keeps workers from ending, each with a traceback, at a Ctrl-C: this process ends them."""
    from distributed import WorkerPlugin

    class DeafToCtrlC(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            # Only the main thread may, and that is where a worker process sets itself up.
            with suppress(ValueError):
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    return DeafToCtrlC()


@contextmanager
def _muted(name: str) -> Iterator[None]:
    """Keep a logger silent: a client that looks for a lost scheduler tells at length that it is stopped."""
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _knock(address: str) -> None:
    """Raise an error if no scheduler answers: a client that cannot connect leaves threads behind, or waits for ever."""
    from distributed.core import rpc
    from distributed.security import Security

    async def ask() -> None:
        arguments = Security().get_connection_args("client")
        async with rpc(address, timeout=_ANSWER_S, connection_args=arguments) as scheduler:
            who = await asyncio.wait_for(scheduler.identity(), _ANSWER_S)
        if who["type"] != "Scheduler":
            raise ConnectionError(f"it is the address of a {who['type']}")

    # In a thread of its own: in a notebook this one has an event loop already.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, ask()).result()
