"""The command ``opusim plan``: what a transform of a given size would take, here and on a cluster."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import DeviceOption, SeedOption, _load_device, command, err, out
from .tables import _table, joules

if TYPE_CHECKING:
    from opusim.bench.projector import Projector
    from opusim.device.record import Device
    from opusim.planning.costs import ScalePlan, Workload
    from opusim.planning.rates import Rates

# The other way is told where it takes less than this share of the time: closer, no rates can tell which is shorter.
_SHORTER = 0.8
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


@command("plan", order=21)
def plan(
    features: Annotated[str, typer.Option("--features", help="Bits or phases of a vector; 1e6 is a number too.")],
    components: Annotated[str, typer.Option("--components", "-n", help="Outputs of a vector: camera pixels.")],
    vectors: Annotated[str, typer.Option("--vectors", help="Vectors in all.")] = "1e4",
    device: DeviceOption = "aurora",
    seed: SeedOption = 0,
    workers: Annotated[str, typer.Option("--workers", "-j", help="Workers of a Dask cluster.")] = "1",
    threads: Annotated[
        str,
        typer.Option("--threads", help="Threads of a worker; as many as this machine has by default."),
    ] = "",
    linear: Annotated[bool, typer.Option("--linear", help="linear_transform rather than transform.")] = False,
    budget: Annotated[
        str,
        typer.Option("--memory-budget", help="What a stored matrix may take, as 4GiB; 6 GiB by default."),
    ] = "",
    worker_memory: Annotated[
        str, typer.Option("--worker-memory", help="Memory of a worker, as 16GiB; that of this machine by default.")
    ] = "",
    measure: Annotated[
        bool | None,
        typer.Option(
            "--measure/--no-measure",
            help="Measure this machine's rates anew, or take the planner's own; by default those kept from an earlier "
            "run, measured if there are none.", show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:  # fmt: skip
    """Tell what a transform of this size would take: memory, time and traffic, in one process and on a Dask cluster.

    The way is the one that the device itself takes. Times come from rates of this machine, measured in some seconds and
    kept in the user's cache folder, unless it was busy with something else; the workers are taken to be machines like
    this one.
    """
    n_features, n_components = _count("--features", features), _count("--components", components)
    n_vectors, n_workers = _count("--vectors", vectors), _count("--workers", workers)
    memory_budget = _bytes("--memory-budget", budget) if budget else None
    with err.status("Loading the simulation …"):
        from opusim.base import memory, parallel
        from opusim.device.record import Device

        model = _load_device(Device, device)
        n_threads = _count("--threads", threads) if threads else parallel.default_threads()
        limit = _bytes("--worker-memory", worker_memory) if worker_memory else memory.total_bytes()
        _check_counts(model, n_features, n_components)
        case = _Case(model, seed, n_features, n_components, n_vectors, linear, n_threads, n_workers)
        result, rates, other = case.plan(memory_budget, False)
    needed = result.memory.total
    if needed > limit:
        raise MemoryError(_too_much(case, needed, limit, memory_budget))
    if measure is not False:
        with err.status("Measuring the rates of this machine …"):
            result, rates, other = case.plan(memory_budget, measure)
    if other is not None and other.memory.total > limit:
        other = None
    if as_json:
        out.print(json.dumps(_as_dict(result, rates, other, model), indent=1), soft_wrap=True, markup=False)
        return
    for table in _tables(result, model, linear):
        out.print(table)
    out.print(_told(result, rates, other, model), soft_wrap=True, markup=False)


class _Case:
    """A size to plan for, under several memory budgets."""

    def __init__(
        self, model: Device, seed: int, n_features: int, n_components: int, n_vectors: int, linear: bool, threads: int,
        workers: int,
    ) -> None:  # fmt: skip
        self.model, self.seed, self.linear = model, seed, linear
        self.n_features, self.n_components, self.n_vectors = n_features, n_components, n_vectors
        self.threads, self.workers = threads, workers

    def plan(
        self, budget: int | None, measure: bool | None, *, threads: int = 0, components: int = 0
    ) -> tuple[ScalePlan, tuple[Rates, Rates], ScalePlan | None]:
        """Return the plan, the rates behind it, and the plan by the other way if there is one.

        The rates are the planner's own if `measure` is False; see the option.
        """
        from opusim.drivers import OPU
        from opusim.drivers import workload as rules
        from opusim.planning.costs import plan_scale
        from opusim.planning.rates import planner_rates

        n_threads = threads or self.threads
        with OPU(
            components or self.n_components, device=self.model, seed=self.seed, memory_budget=budget, disable_pbar=True
        ) as opu:
            opu.fit1d(n_features=self.n_features)
            work = rules.workload(opu, self.n_vectors, linear=self.linear)
            projector = rules.projector_of(opu, work, threads=n_threads)
            if measure is False or components or threads:
                rates = planner_rates(projector, n_threads), planner_rates(projector, 1, n_threads)
            else:
                rates = _rates(opu, projector, work, n_threads, bool(measure))
            other = self._other_way(opu, projector, n_threads)
        program = _program_bytes()
        result = plan_scale(projector, work, *rates, workers=self.workers, program_bytes=program)
        if other is None:
            return result, rates, None
        both = (each.completed(other[0]) for each in rates)
        return result, rates, plan_scale(*other, *both, workers=self.workers, program_bytes=program)

    def _other_way(self, opu: Any, projector: Projector, threads: int) -> tuple[Projector, Workload] | None:
        """Return the projector and the work of the way that was not chosen, if it is possible."""
        from opusim.drivers import workload as rules

        execution = "waves" if projector.plan.way == "matrix" else "matrix"
        try:
            work = rules.workload(opu, self.n_vectors, linear=self.linear, execution=execution)
            return rules.projector_of(opu, work, threads=threads, execution=execution), work
        except ValueError:
            return None


def _rates(opu: Any, projector: Any, work: Workload, threads: int, anew: bool) -> tuple[Rates, Rates]:
    """Return the rates of one call of all threads, and of calls of one thread: kept ones, or measured and kept.

    Those of a busy machine are not kept: the next time they are measured anew.
    """
    from opusim.drivers import workload as rules
    from opusim.planning.rates import RateStore
    from opusim.planning.rates import measure as measure_rates

    store = RateStore()
    calls = list(dict.fromkeys([(threads, 1), (1, threads)]))
    mode = (work.steps, work.patterns_per_vector)
    keys = [store.key(projector, *call, mode) for call in calls]
    kept = [None if anew else store.load(key) for key in keys]
    found = [rates for rates in kept if rates is not None]
    if len(found) < len(calls):
        reference = rules.reference_of(opu, projector) if work.steps > 1 else None
        finish = rules.finisher(opu, work)
        found = measure_rates(
            projector, calls, steps=work.steps, reference=reference, finish=finish,
            reduction=rules.reducer(opu, work), frames=work.patterns_per_vector * work.steps,
        )  # fmt: skip
        for key, rates in zip(keys, found, strict=True):
            if _is_whole(rates, projector, work) and not rates.busy:
                store.save(key, rates)
    return found[0], found[-1]


def _is_whole(rates: Rates, projector: Projector, work: Workload) -> bool:
    """Whether no rate is 0 that the time hangs on: one that was lost in the noise is measured anew next time."""
    needed = [rates.frame_s_per_pixel]
    if projector.plan.way == "matrix":
        needed.append(rates.sum_s)
    if projector.plan.side:
        needed += [rates.transform_s_per_point, rates.layer_s_per_point]
    if work.steps > 1:
        needed.append(rates.step_s_per_pixel)
    if work.together:
        needed.append(rates.reduced_s_per_pixel)
    return all(rate > 0 for rate in needed)


def _check_counts(model: Device, n_features: int, n_components: int) -> None:
    """Refuse what the device cannot show or read."""
    mirrors, pixels = model.dmd.n_mirrors, model.camera.n_pixels
    if n_features > mirrors:
        raise ValueError(
            f"--features is {n_features}, but {model.name} has {mirrors} {model.dmd.elements}: it must be a number "
            "from 1 to that."
        )
    if n_components > pixels:
        raise ValueError(
            f"--components is {n_components}, but the camera of {model.name} has {pixels} pixels: it must be a number "
            "from 1 to that."
        )


def _too_much(case: _Case, needed: int, limit: int, budget: int | None) -> str:
    """Say how much memory a worker needs, and which setting would fit."""

    def need(**changes: Any) -> int:
        try:
            return case.plan(changes.pop("budget", budget), False, **changes)[0].memory.total
        except ValueError:  # a way that is not there
            return sys.maxsize

    from opusim.base.memory import text

    hints = []
    for threads in range(case.threads - 1, 0, -1):
        if need(threads=threads) <= limit:
            hints.append(f"--threads {threads}")
            break
    smaller = 256 << 20
    if need(budget=smaller) <= limit:
        hints.append("--memory-budget 256MiB")
    components = case.n_components
    while not hints and components > 1:
        components //= 2
        if need(components=components, threads=1) <= limit:
            one = "" if case.threads == 1 else " with --threads 1"
            hints.append(f"--components {components}{one}")
    if hints:
        fits = f"{' or '.join(hints)} would fit."
    else:
        least, kept_small = need(threads=1), need(threads=1, budget=smaller)
        settings = [f"--worker-memory {-(-min(least, kept_small) // 2**20)}MiB"]
        settings += ["--threads 1"] * (case.threads > 1) + ["--memory-budget 256MiB"] * (kept_small < least)
        fits = f"The least that does is {' '.join(settings)}."
    return (
        f"{case.n_features} features and {case.n_components} components take {text(needed)} on a worker of "
        f"{case.threads} thread{'s' * (case.threads > 1)}, but it has {text(limit)}. {fits}"
    )


def _count(option: str, text: str) -> int:
    """Read a whole number that may be written as 1e6."""
    allowed = f"{option} is {text!r}, but it must be a whole number of at least 1, as 20000 or 2e4."
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        raise ValueError(allowed) from None
    if not math.isfinite(value) or value != int(value) or not 1 <= value <= 1e15:
        raise ValueError(allowed)
    return int(value)


def _bytes(option: str, text: str) -> int:
    """Read a number of bytes with a unit: 4GiB, 512 MiB, 2e9, 16GB."""
    match = re.fullmatch(r"\s*([0-9.e+]+?)\s*([KMGTP]?)(i?)(B?)\s*", text, re.IGNORECASE)
    try:
        assert match is not None
        value = float(match[1]) * (1024 if match[3] else 1000) ** _UNITS[match[2].upper()]
        assert 1 <= value < 2**63
    except (AssertionError, ValueError):
        raise ValueError(f"{option} is {text!r}, but it must be a number of bytes, as 4GiB or 500MB.") from None
    return int(value)


def _program_bytes() -> int:
    """Return what this process takes with its libraries loaded and nothing computed; 0 where it cannot be told."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    except (OSError, StopIteration, ValueError):
        return 0


# ---------------------------------------------------------------- telling


def _tables(result: ScalePlan, model: Device, linear: bool) -> list[Any]:
    from opusim.base.memory import text
    from opusim.bench.linear_modes import AUTO, chosen
    from opusim.calibration.words import duration

    work, memory, binary = result.work, result.memory, model.modulator.binary
    shown = "mirrors" if binary else "modulator"
    what = _table(
        f"{work.n_vectors:,} vectors, {work.n_features:,} -> {work.n_out:,}, on {model.name}", "quantity", "value"
    )
    mode = "transform"
    if linear:
        way = chosen(AUTO, model.reference.present).what
        mode = f"linear_transform, {way}" + (f", {work.steps} steps" if work.steps > 1 else "")
    what.add_row("call", mode)
    way = f"waves, on a grid of {result.side} x {result.side}"
    if result.way == "matrix":
        kept = "kept" if result.stored else "made anew in every call"
        way = f"matrix of {text(result.matrix_bytes)}, {kept}"
    what.add_row("way", way)
    if work.patterns_per_block:
        what.add_row("blocks", f"{work.block} vectors between two anchors")
    what.add_row("frames", f"{work.n_frames:,}")
    what.add_row("the device itself", f"{duration(work.device_s)}, {joules(work.device_j)}")

    many = f"{result.workers} worker{'s' * (result.workers > 1)} of {result.threads}"
    time = _table("Time, by the rates of this machine", "part", "one process", many)
    threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
    time.add_row("threads", threads, "1 a task")
    making = "" if result.states == 1 else f", for each of {result.states} states of the drift"
    time.add_row(f"making what is kept{making}", duration(result.process_build_s), duration(result.worker_build_s))
    if work.shared_patterns:
        time.add_row("anchors, on one worker", "", duration(result.shared_s))
    time.add_row("tasks", "", f"{work.n_tasks:,} of {work.task_size:,} vectors, {duration(result.task_s)} each")
    time.add_row("all", duration(result.process_s), duration(result.cluster_s))

    alone = result.process_memory
    held = _table("Memory", "part", "one process", "a worker")
    for name, in_process, n_bytes in (
        ("interpreter and libraries", alone.program, memory.program),
        (f"kept: matrix or layer, sensor, {shown}", alone.kept, memory.kept),
        ("while that is made", alone.making, memory.making),
        ("one call, or one task: vectors, buffers, results", alone.task, memory.task),
        (
            f"most, with {memory.at_once} tasks at once on a worker" if memory.at_once > 1 else "most",
            alone.total,
            memory.total,
        ),
    ):
        held.add_row(name, text(in_process), text(n_bytes))

    moved = _table("Between workers and client", "what", "size")
    moved.add_row(f"vectors, a byte a {'bit' if binary else 'phase'}", text(work.bytes_in))
    moved.add_row("results", text(work.bytes_back))
    moved.add_row("so that the network is no limit", f"{text(result.traffic_bytes_per_s)}/s")
    for column in (*held.columns[1:], moved.columns[1]):
        column.justify = "right"
    return [what, time, held, moved]


def _told(result: ScalePlan, rates: tuple[Rates, Rates], other: ScalePlan | None, model: Device) -> str:
    lines = []
    if other is not None and other.process_s < _SHORTER * result.process_s:
        lines.append(_told_of(other, result))
    if model.camera.lag > 0:
        lines.append(
            "camera.lag is above 0: frames are made one after the other, in a slower way that is not in these times "
            "(about a millisecond a frame more). Parts are told the vector before their first "
            "(OPU.batch, opusim transform --part); Dask arrays and linear transforms by parts are refused."
        )
    if result.work.n_tasks < result.workers * result.threads:
        n = result.work.n_tasks
        tasks = "is only 1 task" if n == 1 else f"are only {n} tasks"
        lines.append(f"There {tasks} for {result.workers * result.threads} threads: more workers gain nothing.")
    if states := result.work.frame_states:
        lines.append(
            f"The medium moves during a frame: each is the mean over {states} state{'s' * (states > 1)} of it, "
            f"with {'layers or entries' if states > 1 else 'a layer or entries'} that no other frame uses. That is in "
            "these times, to a factor of two. operation.exposure_s below 1/316 of medium.decorrelation_time_s, or "
            "operation.exposure_average = false, would spare it."
        )
    if result.work.fit_patterns:
        lines.append("The calibration of the reference arm is not in these times; it is kept once it is made.")
    slowed = max((one.slowed for one in rates if one.slowed is not None), default=None)
    if any(one.busy for one in rates):
        lines.append(
            f"Rates: measured while other programs kept this machine busy. The times by them are at least {slowed:.1f} "
            "times too long. They are not kept: the next run measures anew."
        )
    elif rates[0].measured:
        untold = " How busy it was cannot be told here." if slowed is None else ""
        lines.append(f"Rates: measured on this machine; --measure does so anew.{untold}")
    else:
        lines.append("Rates: the planner's own, right within a factor of two or so; --measure measures them.")
    return "\n".join(lines)


def _told_of(other: ScalePlan, result: ScalePlan) -> str:
    """Say how long the way takes that was not chosen."""
    from opusim.bench.plan import MAX_BUILD_S
    from opusim.calibration.words import duration

    by = "the matrix" if other.way == "matrix" else "waves"
    n = result.work.n_vectors
    waits = (
        f" A matrix is made unasked only where that takes at most {MAX_BUILD_S:g} s of a core."
        if other.way == "matrix"
        else ""
    )
    return (
        f"The way is chosen for a large training set, however many vectors come.{waits} "
        f"{n:,} vector{'s' * (n > 1)} would take {duration(other.process_s)} by {by} in one process, not "
        f"{duration(result.process_s)}: OPU(execution={other.way!r}) takes that way. Between the two counts differ by "
        "one level or an electron in at most 1 % of the pixels."
    )


def _as_dict(
    result: ScalePlan, rates: tuple[Rates, Rates], other: ScalePlan | None, model: Device
) -> dict[str, Any]:  # fmt: skip
    """Return all numbers, for JSON."""
    import dataclasses

    apart = ("work", "memory", "process_memory")
    work, memory, alone = result.work, result.memory, result.process_memory
    return {
        "device": model.name,
        "fingerprint": model.fingerprint(),
        **{key: value for key, value in dataclasses.asdict(result).items() if key not in apart},
        "rounds": result.rounds,
        "other_way": None if other is None else {"way": other.way, "process_s": other.process_s},
        "work": {
            **dataclasses.asdict(work), "n_tasks": work.n_tasks, "task_size": work.task_size, "n_frames": work.n_frames
        },
        "device_s": work.device_s,
        "device_j": work.device_j,
        "memory": {**dataclasses.asdict(memory), "total": memory.total},
        "process_memory": {**dataclasses.asdict(alone), "total": alone.total},
        "traffic": {
            "bytes_in": work.bytes_in, "bytes_back": work.bytes_back, "bytes_per_s": result.traffic_bytes_per_s
        },
        "rates": {"process": dataclasses.asdict(rates[0]), "worker": dataclasses.asdict(rates[1])},
    }  # fmt: skip
