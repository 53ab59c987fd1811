"""A sweep: which points there are, and the run that fills a file with them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import opusim
from opusim.base import validation
from opusim.base.parts import Part
from opusim.base.progress import ProgressBar
from opusim.bench.plan import memory_budget_bytes
from opusim.device.record import Device
from opusim.tasks.base import as_task
from opusim.tasks.function import text_sha256
from opusim.tasks.registry import describe

from .cluster import check_workers, dask_client, on_dask
from .file import now, read_sweep, write_sweep, writing
from .points import MEANINGS, Number, Setting, make_axes, make_settings
from .processes import in_processes
from .result import Header, Outcome, Place, SweepResult
from .run import Job, default_threads, serially

__all__ = ["Sweep"]

Callback = Callable[[SweepResult, Place | None], object]
# Outputs where neither the caller nor the task says how many.
_OUTPUTS = 1000


class Sweep(validation.Fixed):
    """A task at every combination of some parameters, for some seeds.

    Parameters
    ----------
    task : callable
        ``task(opu, seed)`` returns a mapping from names to numbers. `opusim.tasks.registry` has some, and
        `opusim.tasks.base.Task` says what attributes a task may have.
    make_opu : callable
        ``make_opu(device, n_components, seed)`` returns an OPU; it is used as ``with make_opu(...) as opu``. For runs
        in other processes it must be picklable: joblib and Dask take any function.
    vary : mapping of str to sequence of numbers
        Values by dotted path, as in ``{"camera.bits": [4, 6, 8]}``; `opusim.sweep.points` lists what is there beside
        the fields of a device.
    device : Device, str or Path
        The device that is varied, a preset's name, or the path of a TOML file.
    n_components : int, optional
        Outputs of the OPU; those of the task by default (its attribute `outputs`), or 1000.
    seeds : int or sequence of int
        Seeds, or how many from 0 on. The seed is that of the OPU (medium, sensor, noise) and of the task's own choices.
    zipped : bool
        Whether the values go together, the first of each, then the second of each; otherwise every value is combined
        with every other.

    Attributes
    ----------
    header : opusim.sweep.result.Header
        What makes it the sweep that it is.
    settings : tuple of Setting
        Every combination, checked.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be. Every point is checked before any is run.
    """

    _fixed = dict.fromkeys(("task", "settings", "header"), "Make another Sweep.")

    def __init__(
        self,
        task: Any,
        make_opu: Callable[[Device, int, int], Any],
        vary: Mapping[str, Sequence[Number]],
        *,
        device: Device | str | Path = "aurora",
        n_components: int | None = None,
        seeds: int | Sequence[int] = 1,
        zipped: bool = False,
    ) -> None:
        if not callable(make_opu):
            raise TypeError(
                f"make_opu is {make_opu!r}, but it must be a function of a device, n_components and a seed."
            )
        described = describe(task)
        base = Device.load(device)
        if n_components is None:
            outputs = as_task(task).outputs
            n_components = _OUTPUTS if outputs is None else outputs
        n_components = validation.integer("n_components", n_components, low=1)
        validation.flag("zipped", zipped)
        axes = make_axes(vary, base, task)
        self.task, self.make_opu = task, make_opu
        self.settings = make_settings(axes, device=base, n_components=n_components, task=task, zipped=zipped)
        self.header = Header(
            task=described, device_name=base.name, fingerprint=base.fingerprint(), device=base.to_dict(),
            n_components=n_components, axes=axes, zipped=zipped, seeds=_checked_seeds(seeds),
            opusim_version=opusim.__version__,
            meanings={axis.path: MEANINGS[axis.path] for axis in axes if axis.path in MEANINGS},
        )  # fmt: skip

    def __repr__(self) -> str:
        """Say how many points there are."""
        return f"Sweep({self.header.task['name']!r}, {len(self.settings)} combinations, {len(self.header.seeds)} seeds)"

    def run(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        workers: int = 1,
        dask: Any = None,
        threads: int | None = None,
        memory_budget: int | None = None,
        retry_failed: bool = False,
        part: str | Part | None = None,
        progress: bool = False,
        callback: Callback | None = None,
    ) -> SweepResult:
        """Run the points that are not done yet.

        Parameters
        ----------
        path : str or path-like, optional
            File to keep the results in, rewritten whole after each point. If it holds results of this sweep, or of the
            same one with fewer values or seeds, they are kept, and only what is missing is run. Only one process at a
            time may run a sweep into a file. By default nothing is kept.
        workers : int, optional
            Processes, through joblib; 1 runs the points in this one.
        dask : str or distributed.Client, optional
            Runs the points on a Dask cluster: the address of a scheduler, "local:2" for a cluster of two processes on
            this machine, or a client, which need not be the default one. Needs the extra `distributed`. The workers
            must have the same opusim and Python, and the modules and files that task and device need.
        threads : int, optional
            Threads of the simulation at each point; the processors of this machine, shared among the workers, by
            default, and 1 on Dask. They do not change the results.
        memory_budget : int, optional
            Bytes that a stored matrix may take at each point, where `make_opu` does not say; 6 GiB by default, on every
            machine. The way that the light is computed depends on it, and with it last bits.
        retry_failed : bool, optional
            Whether points that are recorded as failed are run again.
        part : str or Part, optional
            Which part of the points is run, as "2/4", from 1 on: of a job array, each of whose tasks has a file of its
            own. `merge_sweeps` makes of them the file of one run.
        progress : bool, optional
            Whether to show a progress bar.
        callback : callable, optional
            Called with the result so far and the place of the newest point, before the first point with None as the
            place.

        Returns
        -------
        SweepResult
            What is done, in this call and before.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it may be, or the file is damaged or holds another sweep, which the sentence
            tells apart. A TypeError also if `task` or `make_opu` cannot be sent to the workers of a cluster.
        OSError
            If the file cannot be written; the last whole one stays. As a ConnectionError: if no scheduler answers.
        RuntimeError
            If a sweep is being run into the file; or a worker of a cluster is not fit for it, or the cluster goes
            away, or has no workers, or no answer, for a minute. What is done is kept.

        Notes
        -----
        A point that raises an error, calls sys.exit or whose worker process dies is recorded as failed, with the
        reason, and the others go on. A Dask cluster that starts its workers itself, other than "local:n", may lose them
        for good when they die in quick succession (docs/scaling.md says what helps). Worker processes end within
        seconds when this one is killed, except on Windows, where they finish what they are at.
        """
        workers = validation.integer("workers", workers, low=1)
        if dask is not None and workers != 1:
            raise ValueError(f"workers is {workers} and dask is given, but only one of them may be.")
        if threads is not None:
            validation.integer("threads", threads, low=1)
        elif dask is None:
            threads = default_threads(workers)
        if memory_budget is None:
            memory_budget = memory_budget_bytes()
        validation.integer("memory_budget", memory_budget, low=1)
        chosen = None if part is None else Part.parse(part)
        result = SweepResult(
            self.header, tuple(setting.values for setting in self.settings), created=now(), part=chosen
        )
        with ExitStack() as stack:
            if path is not None:
                stack.enter_context(writing(path))
                if Path(path).exists():
                    before = read_sweep(path)
                    # One without points keeps nothing: a start that failed need not be the same sweep.
                    if before.outcomes:
                        result.adopt(before, path)
                if retry_failed:
                    result.outcomes = {p: o for p, o in result.outcomes.items() if not o.failed}
            if not result.outcomes:
                result.texts = ()
            settings = [_anywhere(setting) for setting in self.settings]
            jobs = [
                Job((i, j), settings[i], self.header.seeds[j], threads or 1, memory_budget)
                for i, j in result.places_of(chosen)
                if (i, j) not in result.outcomes
            ]
            text = text_sha256(self.task) if jobs else ""
            if text and text not in result.texts:
                result.texts += (text,)
            client = None
            if dask is not None and jobs:
                # First of all: a cluster that is not there leaves no file behind, and no progress bar.
                client = stack.enter_context(dask_client(dask))
                check_workers(client, self.make_opu, jobs)
            if path is not None:
                # Before the work, so that a file that cannot be written shows at once.
                write_sweep(path, result)
            if callback is not None:
                callback(result, None)
            if not jobs:
                return result
            bar = stack.enter_context(ProgressBar(len(jobs), "sweep", unit="point", shown=progress))
            # Closed before the file is let go: an error in writing ends the workers.
            for place, outcome in stack.enter_context(closing(self._outcomes(jobs, workers, client))):
                result.outcomes[place] = outcome
                if path is not None:
                    write_sweep(path, result)
                bar.advance()
                if callback is not None:
                    callback(result, place)
        return result

    def _outcomes(self, jobs: list[Job], workers: int, client: Any) -> Generator[tuple[Place, Outcome], None, None]:
        if client is not None:
            yield from on_dask(self.make_opu, jobs, client)
        elif workers > 1:
            yield from in_processes(self.make_opu, jobs, workers)
        else:
            yield from serially(self.make_opu, jobs)


def _anywhere(setting: Setting) -> Setting:
    """Return a setting that means the same in a process that works in another folder."""
    device = setting.device
    medium = device.medium.anywhere()
    return setting if medium is device.medium else dataclasses.replace(setting, device=device.evolve(medium=medium))


def _checked_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, (list, tuple, range)):
        result = tuple(validation.integer(f"seeds[{i}]", seed, low=0, high=2**63 - 1) for i, seed in enumerate(seeds))
        if not result or len(set(result)) < len(result):
            raise ValueError(f"seeds is {list(seeds)}, but it must hold one seed or more, each once.")
        return result
    return tuple(range(validation.integer("seeds", seeds, low=1)))
