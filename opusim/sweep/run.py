"""Running the points of a sweep, and one after the other; `processes` and `cluster` have two other ways.

All three give the same numbers.

Every point runs with one BLAS thread, because the last bits of a BLAS's result depend on how many there are. Threads
of the simulation itself do not change its results.
"""

from __future__ import annotations

import math
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from numbers import Real
from typing import Any

from opusim.base.locks import after_fork, new_lock
from opusim.bench.driver import bench_of
from opusim.bench.protocol import Limited, has

from .exposure import OUTPUTS, example_of, exposure_for_level
from .points import EXPOSURE, Setting, without_rounding
from .result import Outcome, Place

MakeOpu = Callable[[Any, int, int], Any]

# Lines at the end of a traceback that are kept, and characters of a sentence.
_TRACEBACK_LINES, _SENTENCE = 25, 2000


@dataclass(frozen=True)
class Job:
    """One point, as it goes to a worker.

    Parameters
    ----------
    place : tuple of int
        Index of the combination, and of the seed.
    setting : Setting
        What it is run with.
    seed : int
        Seed of the OPU and of the task.
    threads : int
        Threads of the simulation.
    memory_budget : int
        Bytes that a stored matrix may take by default: which way the light is computed, and with it the last bits,
        must not depend on the worker. An OPU that was made with a `memory_budget` keeps that.
    """

    place: Place
    setting: Setting
    seed: int
    threads: int
    memory_budget: int


def run_job(make_opu: MakeOpu, job: Job) -> tuple[Place, Outcome]:
    """Run one point.

    Parameters
    ----------
    make_opu : callable
        ``make_opu(device, n_components, seed)`` returns an OPU.
    job : Job
        The point.

    Returns
    -------
    place : tuple of int
    outcome : Outcome
        Also of a point that fails: any error but an interruption is recorded, and a call of sys.exit.
    """
    start = time.perf_counter()
    seen: list[str] = []
    try:
        with _one_blas_thread(), _warnings(seen):
            metrics = _checked_metrics(_run(make_opu, job))
    except (Exception, SystemExit) as error:
        lines = "".join(traceback.format_exception(error)).splitlines()[-_TRACEBACK_LINES:]
        said = f"The task called sys.exit({error})." if isinstance(error, SystemExit) else _words(error)
        sentence = " ".join(said.split())[:_SENTENCE] or type(error).__name__
        outcome = Outcome(
            error_type=type(error).__name__, error=sentence, traceback="\n".join(lines),
            warnings=tuple(seen), seconds=time.perf_counter() - start,
        )  # fmt: skip
    else:
        outcome = Outcome(metrics, warnings=tuple(seen), seconds=time.perf_counter() - start)
    return job.place, outcome


def _words(error: BaseException) -> str:
    """Return what an error says; its own code may fail at that."""
    try:
        return str(error)
    except Exception:
        return ""


def _run(make_opu: MakeOpu, job: Job) -> Any:
    setting, device = job.setting, job.setting.device
    if setting.mean_level is not None:
        # On an OPU of its own, so that the point itself is that of a sweep over this exposure, and so that the light
        # does not depend on the bits: half a grey level is much where there are four.
        with _opened(make_opu, job, without_rounding(device), min(setting.n_components, OUTPUTS)) as opu:
            example = example_of(setting.task, job.seed, phases=not device.modulator.binary)
            exposure_s = exposure_for_level(opu, setting.mean_level, example)
        device = device.evolve(**{EXPOSURE: exposure_s})
    with _opened(make_opu, job, device, setting.n_components) as opu:
        return setting.task(opu, job.seed)


@contextmanager
def _opened(make_opu: MakeOpu, job: Job, device: Any, n_components: int) -> Iterator[Any]:
    opu = make_opu(device, n_components, job.seed)
    with opu if isinstance(opu, AbstractContextManager) else nullcontext():
        _limit(opu, job)
        yield opu


def _limit(opu: Any, job: Job) -> None:
    """Give the bench of an OPU the threads of the job, and its memory where `make_opu` has not said how much."""
    bench = bench_of(opu)
    if has(bench, Limited):
        opu.device.set_limits(threads=job.threads, memory_budget=bench.limits["memory_budget"] or job.memory_budget)


def _checked_metrics(metrics: Any) -> dict[str, float]:
    if not isinstance(metrics, Mapping) or not metrics:
        raise TypeError(f"The task returned {metrics!r}, but it must return a mapping from names to numbers.")
    result: dict[str, float] = {}
    for name, value in metrics.items():
        # A mean over counts, for instance, is an array without axes.
        number = value.item() if getattr(value, "ndim", None) == 0 else value
        if not isinstance(name, str) or not isinstance(number, Real):
            raise TypeError(f"The task returned {name!r}: {value!r}, but it must return names with real numbers.")
        result[name] = float(number)
    return result


_blas_lock = new_lock()
_blas_users = 0
_blas_mine = threading.local()  # how many of the users are this thread
_blas_limits: Any = None


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread in this process, for as long as any point runs in it."""
    global _blas_users, _blas_limits
    import scipy.linalg  # noqa: F401  (a BLAS is only limited once it is loaded)
    from threadpoolctl import threadpool_limits

    with _blas_lock:
        if not _blas_users:
            _blas_limits = threadpool_limits(limits=1, user_api="blas")
        _blas_users += 1
        _blas_mine.n = getattr(_blas_mine, "n", 0) + 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            _blas_mine.n -= 1
            if not _blas_users:
                _blas_limits.restore_original_limits()


_warnings_lock = new_lock()
# Of each thread that is at a point, what warned there; and what puts back the module's state when there is none.
_warned: dict[int, list[str]] = {}
_warnings_state = ExitStack()


@contextmanager
def _warnings(seen: list[str]) -> Iterator[None]:
    """Collect the warnings of a point, each once; a worker of a cluster may be at several points at a time."""
    caught: list[str] = []
    thread = threading.get_ident()
    with _warnings_lock:
        if not _warned:
            _warnings_state.enter_context(warnings.catch_warnings())
            warnings.simplefilter("always")
            warnings.showwarning = _sorted_by_thread(warnings.showwarning)
        # A task may run a sweep itself.
        before = _warned.get(thread)
        _warned[thread] = caught
    try:
        yield
    finally:
        seen += dict.fromkeys(caught)
        with _warnings_lock:
            del _warned[thread]
            if before is not None:
                _warned[thread] = before
            if not _warned:
                _warnings_state.close()


def _only_this_thread_runs() -> None:
    """Forget the points of threads that a forked child has not."""
    global _blas_users
    before, _blas_users = _blas_users, getattr(_blas_mine, "n", 0)
    if before and not _blas_users:
        _blas_limits.restore_original_limits()
    others = [thread for thread in _warned if thread != threading.get_ident()]
    for thread in others:
        del _warned[thread]
    if others and not _warned:
        _warnings_state.close()


after_fork(_only_this_thread_runs)


def _sorted_by_thread(others: Callable[..., None]) -> Callable[..., None]:
    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        mine = _warned.get(threading.get_ident())
        if mine is None and len(_warned) == 1:
            # Of a thread that the point has started, if there is only one.
            (mine,) = _warned.values()
        if mine is None:
            others(message, category, *place, **more)
        else:
            mine.append(f"{category.__name__}: {' '.join(str(message).split())}")

    return show


# ---------------------------------------------------------------- where points run


def serially(make_opu: MakeOpu, jobs: Sequence[Job]) -> Iterator[tuple[Place, Outcome]]:
    """Run points one after the other in this process."""
    for job in jobs:
        yield run_job(make_opu, job)


def default_threads(workers: int) -> int:
    """Return the threads of each of so many workers on this machine."""
    from opusim.base.parallel import default_threads as processors

    return max(1, math.floor(processors() / workers))
