"""What a transform of any size would take: memory, time and traffic, from the planner's choice and measured rates.

Arithmetic only: nothing is computed and nothing is stored. The way, and the size of what is kept for it, are those of
the projector that would do the work; seconds are counts of transforms, sums, entries and pixels times the rates of
`opusim.planning.rates`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opusim.base import validation

if TYPE_CHECKING:
    from opusim.bench.projector import Projector

    from .rates import Rates

__all__ = ["Costs", "Memory", "ScalePlan", "Workload", "plan_scale"]


@dataclass(frozen=True)
class Workload:
    """A transform of a batch of vectors, as the driver would show it.

    Parameters
    ----------
    n_vectors : int
        Vectors in all.
    n_features, n_out : int
        Bits of a vector, and outputs that it gives.
    out_bytes : int
        Bytes of one output.
    frametime_s, power_w : float
        Time between the frames of the device itself, in seconds, and its electrical power in watts.
    task_vectors : int
        Vectors of a task of the lazy transform, at most.
    block : int
        Vectors that are shown in one go, at most.
    patterns_per_vector : int
        Patterns that a vector is shown by: two for a linear transform by intensities.
    patterns_per_block : int
        Patterns beside the vectors' own in each block: the anchors of holography.
    steps : int
        Frames of each pattern: phases of the reference arm.
    n_pixels : int, optional
        Pixels that are read, at least `n_out`, which is the default.
    shared_patterns : int
        Patterns that one worker shows for all tasks, before any of them.
    fit_patterns : int
        Patterns that the client shows once for the fit.
    frame_states : int
        States of the medium whose light each frame averages, with a layer or entries of their own that are not kept;
        0 where the medium stands still during a frame.
    together : int
        Vectors whose frames one call in one process reduces at once, at most; 0 where it makes frames. Tasks make them.
    fields_per_vector : int
        Fields of each that are computed then: repetitions of a pattern share one.
    """

    n_vectors: int
    n_features: int
    n_out: int
    out_bytes: int
    frametime_s: float
    power_w: float
    task_vectors: int
    block: int
    patterns_per_vector: int = 1
    patterns_per_block: int = 0
    steps: int = 1
    n_pixels: int = 0
    shared_patterns: int = 0
    fit_patterns: int = 0
    frame_states: int = 0
    together: int = 0
    fields_per_vector: int = 1

    def __post_init__(self) -> None:
        """Check the counts."""
        for name in ("n_vectors", "n_features", "n_out", "task_vectors", "block", "patterns_per_vector", "steps"):
            validation.integer(name, getattr(self, name), low=1)
        for name, low in (("frame_states", 0), ("together", 0), ("fields_per_vector", 1)):
            validation.integer(name, getattr(self, name), low=low)
        object.__setattr__(self, "n_pixels", validation.integer("n_pixels", self.n_pixels or self.n_out, low=1))

    def patterns(self, n_vectors: int) -> int:
        """Return how many patterns vectors are shown by.

        Parameters
        ----------
        n_vectors : int
            How many vectors.

        Returns
        -------
        int
            Patterns.
        """
        return self.patterns_per_vector * n_vectors + self.patterns_per_block * -(-n_vectors // self.block)

    @property
    def n_frames(self) -> int:
        """Frames that the device itself would take for the vectors; those of the fit come before."""
        return (self.patterns(self.n_vectors) + self.shared_patterns) * self.steps

    @property
    def device_s(self) -> float:
        """Time that the device itself would take, in seconds."""
        return self.n_frames * self.frametime_s

    @property
    def device_j(self) -> float:
        """Energy that the device itself would take, in joules."""
        return self.device_s * self.power_w

    @property
    def task_size(self) -> int:
        """Vectors of a task: the batch in pieces of one size, none above `task_vectors`."""
        align = self.block if self.patterns_per_block else 1  # anchors stand around whole blocks
        pieces = -(-self.n_vectors // self.task_vectors)
        return min(self.n_vectors, -(-self.n_vectors // (pieces * align)) * align)

    @property
    def n_tasks(self) -> int:
        """Tasks of the lazy transform."""
        return -(-self.n_vectors // self.task_size)

    @property
    def bytes_in(self) -> int:
        """Bytes of all vectors, one a bit, as they go to the workers."""
        return self.n_vectors * self.n_features

    @property
    def bytes_back(self) -> int:
        """Bytes of all results."""
        return self.n_vectors * self.n_out * self.out_bytes


@dataclass(frozen=True)
class Memory:
    """What a worker holds, or one process for a call, in bytes.

    Parameters
    ----------
    kept : int
        Matrix, or screens and transfer function, and the fixed patterns of sensor and mirrors: once a worker.
    making : int
        What is needed beside it while that is made.
    task : int
        Arrays of one task, or of the call: its vectors, buffers and results.
    at_once : int
        Tasks at a time.
    program : int
        Interpreter and libraries.
    """

    kept: int
    making: int
    task: int
    at_once: int = 1
    program: int = 0

    @property
    def total(self) -> int:
        """Most that is held at any time, in bytes."""
        return self.program + self.kept + max(self.making, self.at_once * self.task)


# Bytes a pixel of a call's anchors, their fields, sums and what is compared; bytes a frame of number, time and light.
_ANCHOR_BYTES, _SHOT_BYTES = 100, 64


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes of one projector's work, from rates.

    Parameters
    ----------
    projector : Projector
        Does the work; nothing of it is computed.
    rates : Rates
        Of the threads that it would use.
    """

    projector: Projector
    rates: Rates

    @property
    def build_s(self) -> float:
        """Seconds to make what is kept, once a state of the drift."""
        return self.rates.seconds(self.projector.way.making())

    def show_s(self, n_patterns: int, steps: int, frame_states: int = 0) -> float:
        """Return the seconds to show patterns in one go, without making what is kept.

        A matrix that is not kept is made anew in each go.

        Parameters
        ----------
        n_patterns : int
            How many patterns.
        steps : int
            Frames of each.
        frame_states : int
            As of `Workload`.

        Returns
        -------
        float
            Seconds.
        """
        if frame_states:
            return n_patterns * steps * self.moving_frame_s(frame_states)
        frame_s = self.rates.frame_s_per_pixel if steps == 1 else self.rates.step_s_per_pixel
        frames_s = n_patterns * steps * self.projector.geometry.region.n_pixels * frame_s
        return frames_s + self.rates.seconds(self.projector.way.showing(n_patterns))

    def moving_frame_s(self, frame_states: int) -> float:
        """Return the seconds of a frame in which the medium moves.

        Parameters
        ----------
        frame_states : int
            States that it averages, at least 1.

        Returns
        -------
        float
            Seconds: in each state a layer, or entries, are made and one pattern is shown.
        """
        way = self.projector.way.unkept
        states_s = frame_states * (self.rates.seconds(way.making()) + self.rates.seconds(way.showing(1)))
        return states_s + self.projector.geometry.region.n_pixels * self.rates.frame_s_per_pixel

    def vectors_s(self, work: Workload, n_vectors: int) -> float:
        """Return the seconds of a call for some of the vectors, what is kept being there.

        Parameters
        ----------
        work : Workload
            The transform.
        n_vectors : int
            How many of its vectors.

        Returns
        -------
        float
            Seconds.
        """
        whole, rest = divmod(n_vectors, work.block)
        seconds = whole * self.show_s(work.patterns(work.block), work.steps, work.frame_states)
        if rest:
            seconds += self.show_s(work.patterns(rest), work.steps, work.frame_states)
        return seconds + work.patterns(n_vectors) * work.steps * work.n_pixels * self.rates.finish_s_per_pixel

    def call_s(self, work: Workload) -> float:
        """Return the seconds of one call for all vectors in one process, what is kept being there.

        Parameters
        ----------
        work : Workload
            The transform.

        Returns
        -------
        float
            Seconds, with the patterns that all vectors share.
        """
        n, rates = work.n_vectors, self.rates
        if not work.together:
            shared_s = self.show_s(work.shared_patterns, 1, work.frame_states) if work.shared_patterns else 0.0
            return shared_s + self.vectors_s(work, n)
        whole, rest = divmod(n, work.together)
        showing = self.projector.way.showing
        sums_s = whole * rates.seconds(showing(work.fields_per_vector * work.together))
        if rest:
            sums_s += rates.seconds(showing(work.fields_per_vector * rest))
        # Anchors, whose fields are known, are read on more pixels than are asked for.
        own = work.patterns_per_vector * n
        others = work.patterns(n) - own + work.shared_patterns
        pixels = work.steps * (own * work.n_out + others * work.n_pixels)
        frame_s = rates.frame_s_per_pixel if work.steps == 1 else rates.step_s_per_pixel
        reduced_s = rates.reduced_s_per_pixel or frame_s + rates.finish_s_per_pixel
        return sums_s * work.n_out / work.n_pixels + pixels * reduced_s

    # ---------------------------------------------------------------- bytes

    @property
    def kept_bytes(self) -> int:
        """Bytes of what is kept between calls, without a reference arm's wave."""
        return self.projector.way.kept_bytes

    @property
    def making_bytes(self) -> int:
        """Bytes that making it needs on top."""
        return self.projector.way.making_bytes(self.rates.threads)

    def task_bytes(self, work: Workload) -> int:
        """Return the bytes of one task: a chunk of vectors, the buffers of one block, frames and results.

        Parameters
        ----------
        work : Workload
            The transform.

        Returns
        -------
        int
            Bytes.
        """
        n = work.task_size
        _, buffers, frames, fields = self._block_bytes(work, n)
        result = n * work.n_out * work.out_bytes
        if work.steps == 1 and work.patterns_per_vector == 1:
            # Frames are the result; those of a task that two passes share are put together at the end.
            made = result if work.n_vectors <= work.block or work.block % n == 0 else 2 * result
        else:
            made = result + frames + fields
        return n * work.n_features + buffers + made

    def call_bytes(self, work: Workload) -> int:
        """Return the bytes of one call for all vectors in one process: vectors, buffers, frames of a block and results.

        Parameters
        ----------
        work : Workload
            The transform.

        Returns
        -------
        int
            Bytes; without frames where none are made.
        """
        n, way, threads = work.n_vectors, self.projector.way, self.rates.threads
        result = n * work.n_out * work.out_bytes
        held = n * work.n_features + result
        # A linear transform is scaled at the end, in the array that it was collected in.
        if work.together:
            together = min(n, work.together)
            ends = 8 * work.patterns_per_block * -(-together // work.block)
            shots = _SHOT_BYTES * (work.patterns(together) + work.shared_patterns) * work.steps
            anchors = (ends + _ANCHOR_BYTES) * work.n_pixels + shots
            return held + anchors + way.showing_bytes(work.fields_per_vector * together, threads)
        shown, buffers, frames, fields = self._block_bytes(work, n)
        if work.steps == 1 and work.patterns_per_vector == 1:
            return held + buffers + (frames if n > work.block else 0)  # else frames are the result
        return held + buffers + frames + fields + shown * work.n_features

    def _block_bytes(self, work: Workload, n: int) -> tuple[int, int, int, int]:
        """Return the patterns of one block of at most `n` vectors, and the bytes of its buffers, frames and fields."""
        shown = work.patterns(min(n, work.block))
        buffers = self.projector.way.showing_bytes(shown, self.rates.threads)
        frames = shown * work.steps * work.n_pixels * self.projector.geometry.device.camera.dtype.itemsize
        fields = 12 * shown * work.n_pixels if work.steps > 1 else 0  # and the results that are made of them
        return shown, buffers, frames, fields


@dataclass(frozen=True)
class ScalePlan:
    """What a transform would take; times in seconds, memory in bytes.

    Parameters
    ----------
    work : Workload
        The transform.
    way : str
        "matrix" or "waves".
    side : int
        Side of the grid of modes; 0 for a medium without waves.
    stored : bool
        Whether a matrix is kept; False by waves.
    matrix_bytes : int
        Size that the matrix has, or would have.
    memory : Memory
        Of a worker.
    process_memory : Memory
        Of one process, for one call with all its threads.
    states : int
        States of the medium's drift in the device's time: what is kept is made for each of them; 1 where nothing is
        kept, as the medium moves during each frame.
    process_build_s, process_s : float
        One call in one process with all its threads: making what is kept, and all of it.
    worker_build_s, task_s, shared_s : float
        On a Dask worker, whose tasks have a thread each: making what is kept, one task, and what one worker shows
        for all before.
    cluster_s : float
        All of it on the cluster.
    workers, threads : int
        Workers, and threads of each.
    """

    work: Workload
    way: str
    side: int
    stored: bool
    matrix_bytes: int
    memory: Memory
    process_memory: Memory
    states: int
    process_build_s: float
    process_s: float
    worker_build_s: float
    task_s: float
    shared_s: float
    cluster_s: float
    workers: int
    threads: int

    @property
    def rounds(self) -> int:
        """Tasks that the busiest thread does one after the other."""
        return -(-self.work.n_tasks // (self.workers * self.threads))

    @property
    def traffic_bytes_per_s(self) -> float:
        """What the network must carry so that it does not hold up the cluster."""
        return (self.work.bytes_in + self.work.bytes_back) / self.cluster_s


def plan_scale(
    projector: Projector, work: Workload, process: Rates, worker: Rates, *, workers: int = 1, program_bytes: int = 0
) -> ScalePlan:
    """Work out what a transform takes in one process, and on a Dask cluster.

    Parameters
    ----------
    projector : Projector
        The way that the device would take; nothing of it is computed.
    work : Workload
        What is to be shown.
    process : Rates
        Of one call that uses all threads of a process.
    worker : Rates
        Of calls of one thread, as many at a time as a worker has threads.
    workers : int
        Workers of the cluster.
    program_bytes : int
        What interpreter and libraries take.

    Returns
    -------
    ScalePlan
        Way, memory, times and traffic.

    Raises
    ------
    ValueError
        If a count is below 1, or `worker` are no rates of one thread.
    """
    workers = validation.integer("workers", workers, low=1)
    if worker.threads != 1:
        raise ValueError(f"worker has rates of {worker.threads} threads, but a task of a Dask worker uses one.")
    threads = worker.at_once
    one, many = Costs(projector, process), Costs(projector, worker)
    plan = projector.plan
    drift = projector.geometry.device.medium.drift
    states = 1 if math.isinf(drift.step_s) else 1 + math.floor(work.device_s / drift.step_s)
    states = 1 if work.frame_states else min(states, work.n_vectors)
    kept = (plan.way == "waves" or plan.stored) and not work.frame_states
    moving = work.frame_states
    fit_s = one.show_s(work.fit_patterns, work.steps, moving) if work.fit_patterns else 0.0
    process_build_s, worker_build_s = (costs.build_s if kept else 0.0 for costs in (one, many))
    shared_s = many.show_s(work.shared_patterns, 1, moving) if work.shared_patterns else 0.0
    task_s = many.vectors_s(work, work.task_size)
    rounds = -(-work.n_tasks // (workers * threads))
    reference = 8 * work.n_pixels * plan.samples if work.steps > 1 else 0
    memory = Memory(
        kept=many.kept_bytes + reference, making=many.making_bytes, task=many.task_bytes(work), at_once=threads,
        program=program_bytes,
    )  # fmt: skip
    process_memory = Memory(
        kept=one.kept_bytes + reference, making=one.making_bytes, task=one.call_bytes(work), program=program_bytes
    )  # fmt: skip
    # A worker meets the states one after the other, as long as it has tasks.
    built = min(states, rounds * threads)
    return ScalePlan(
        work=work, way=plan.way, side=plan.side, stored=plan.keeps_matrix, matrix_bytes=plan.matrix_bytes,
        memory=memory, process_memory=process_memory, states=states, process_build_s=process_build_s,
        process_s=fit_s + states * process_build_s + one.call_s(work),
        worker_build_s=worker_build_s, task_s=task_s, shared_s=shared_s,
        # The client makes what is kept for the patterns of the fit.
        cluster_s=(process_build_s if work.fit_patterns else 0.0) + fit_s + built * worker_build_s + shared_s
        + rounds * task_s, workers=workers, threads=threads,
    )  # fmt: skip
