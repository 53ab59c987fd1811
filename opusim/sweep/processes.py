"""Running the points of a sweep in processes: one that dies costs its own point, and none outlives the sweep.

A pool of processes breaks as a whole when one of them dies, and does not tell what it was at. So each process notes
which point it runs. If several were running, each of their points is run again by itself, which tells them apart.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

from opusim.base.files import scratch_folder

from .result import Outcome, Place
from .run import Job, MakeOpu, run_job

__all__ = ["in_processes"]

# How often a process looks whether its parent is still there.
_LOOK_S = 1.0


def in_processes(make_opu: MakeOpu, jobs: Sequence[Job], workers: int) -> Iterator[tuple[Place, Outcome]]:
    """Run points in processes of their own; give each back when it is done.

    Parameters
    ----------
    make_opu : callable
        ``make_opu(device, n_components, seed)`` returns an OPU.
    jobs : sequence of Job
        The points.
    workers : int
        Processes, 2 or more.

    Yields
    ------
    place : tuple of int
    outcome : Outcome
        A point whose process ends without an answer has failed; the others go on.

    Raises
    ------
    RuntimeError
        If processes end before any point is begun.
    """
    left = {job.place: job for job in jobs}
    suspects: list[Place] = []
    with scratch_folder("opusim-notes-") as folder:
        notes = {place: folder / "-".join(map(str, place)) for place in left}
        while left:
            alone = [left[place] for place in suspects if place in left][:1]
            try:
                for place, outcome in _pool(make_opu, alone or list(left.values()), workers, notes):
                    del left[place]
                    yield place, outcome
                continue
            except BrokenProcessPool as error:
                died = error
            running = [place for place in left if notes[place].exists()]
            for place in running:
                notes[place].unlink(missing_ok=True)
            if not running:
                raise RuntimeError(
                    "The worker processes end before they begin a point. Points that are done are kept: run the sweep "
                    "again to go on, with fewer workers if memory is short."
                ) from died
            if len(running) == 1:
                del left[running[0]]
                yield running[0], Outcome(error_type=type(died).__name__, error=_reason(died))
            else:
                suspects = running


def _pool(
    make_opu: MakeOpu, jobs: Sequence[Job], workers: int, notes: dict[Place, Path]
) -> Iterator[tuple[Place, Outcome]]:
    from joblib import Parallel, delayed, parallel_config

    with parallel_config(backend="loky", n_jobs=workers, inner_max_num_threads=1):
        done = Parallel(return_as="generator_unordered", batch_size=1)(
            delayed(_noted)(make_opu, job, str(notes[job.place]), os.getpid()) for job in jobs
        )
    try:
        yield from done
    finally:
        done.close()


def _noted(make_opu: MakeOpu, job: Job, note: str, parent: int) -> tuple[Place, Outcome]:
    """Run a point in a worker, and note for its duration that it runs."""
    _end_with(parent)
    with suppress(OSError):
        Path(note).touch()
    try:
        return run_job(make_opu, job)
    finally:
        with suppress(OSError):
            Path(note).unlink(missing_ok=True)


_watched = 0


def _end_with(parent: int) -> None:
    """End this process soon after its parent is gone, however that ended. Windows does not tell, so not there."""
    global _watched
    if parent in (_watched, os.getpid()) or os.getppid() != parent:
        return
    _watched = parent

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, name="opusim sweep: parent", daemon=True).start()


def _reason(error: BaseException) -> str:
    # Of the form {SIGKILL(-9)}: joblib tells it in a longer text.
    codes = re.search(r"exit codes of the workers are \{([^}]*)\}", str(error))
    how = f" (exit code {codes[1]})" if codes else ""
    return f"The process that ran this point ended without an answer{how}, perhaps for lack of memory."
