"""What a transform of an OPU would ask of the simulation, before any vector is there: for `opusim.planning`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.bench.projector import Projector
from opusim.bench.region import Region
from opusim.drivers.inputs.dask import task_vectors
from opusim.drivers.methods.base import Method
from opusim.drivers.methods.counts import Counts
from opusim.planning.costs import Workload

from .acquire import output_size, pass_size, stride_of

if TYPE_CHECKING:
    from opusim.bench.reduction import Reduction
    from opusim.device.record import Device
    from opusim.drivers.lowlevel.settings_of_frame import FrameSettings

__all__ = ["demodulator", "finisher", "projector_of", "reducer", "reference_of", "workload"]


def method_of(opu: Any, *, linear: bool, steps: int = 4) -> tuple[Method, FrameSettings]:
    """Return the method that an OPU would use for its fit, and the settings of its frames; nothing is measured."""
    fit, device = opu._fit, opu.device
    exposure = device.exposure()
    if not linear:
        return Counts(device.output_dtype), exposure
    n_out = output_size(fit, opu.n_components, exposure)
    return device.linear_mode(opu.linear_mode).planned(fit, device, exposure, n_out, steps)


def workload(
    opu: Any, n_vectors: int, *, linear: bool = False, steps: int = 4, execution: str | None = None
) -> Workload:
    """Describe a transform of `n_vectors` vectors by an OPU that is fitted, by the rules that it follows.

    Parameters
    ----------
    opu : OPU
        With a fit.
    n_vectors : int
        Vectors.
    linear : bool
        Whether it is `linear_transform`, in the mode that the OPU chooses, rather than `transform`.
    steps : int
        Phase steps, where the mode leaves their number free, as holography does.
    execution : {"auto", "matrix", "waves"}, optional
        How the light is computed; as in the bench by default.

    Returns
    -------
    Workload
        Its frame time belongs to the device's own exposure, also by holography, whose calibration will find another.
    """
    fit, device = opu._fit, opu.device
    method, exposure = method_of(opu, linear=linear, steps=steps)
    item, n_features = device.output_dtype.itemsize, fit.traits.n_features_total
    n_out = output_size(fit, opu.n_components, exposure)
    block = pass_size(method, n_features, n_out, item, opu._settings().n_samples_by_pass)
    each = method.per_vector()
    # Patterns that belong to no vector are those of a block, or all tasks share them.
    of_block, of_all = (method.patterns(n) - each * n for n in (block, n_vectors))
    work = Workload(
        n_vectors=n_vectors, n_features=n_features, n_out=n_out, out_bytes=method.dtype.itemsize,
        frametime_s=exposure.frametime_s, power_w=device.device_model.operation.power_w, block=block,
        steps=method.steps,
        task_vectors=task_vectors(method.task_bytes(n_out, item) + n_features, 1 if method.parted else block),
        patterns_per_vector=each, patterns_per_block=0 if method.parted else of_block,
        n_pixels=method.n_pixels or n_out, shared_patterns=of_all if method.parted else 0,
        fit_patterns=method.fit_patterns, frame_states=_frame_states(device.device_model, exposure.exposure_s),
    )  # fmt: skip
    if not _reduces(opu, method, work, execution):
        return work
    together = stride_of(method, block, n_features, work.n_pixels * item)
    fields = max(each.patterns for each in method.reductions)
    return dataclasses.replace(work, together=together, fields_per_vector=fields)


def _reduces(opu: Any, method: Method, work: Workload, execution: str | None) -> bool:
    """Return whether `OpticalBench.together` would be there for a method; that makes maps of pixels, this nothing."""
    bench, model = opu.device.bench, opu.device.device_model
    apart = model.camera.shutter == "rolling" and method.phases_rad is not None and model.reference.moves
    if not method.reductions or apart or model.camera.lag > 0 or work.frame_states:
        return False
    if bench.backend not in ("auto", "numpy"):
        return False
    way = projector_of(opu, work, threads=1, execution=execution).way
    return all(way.reduces(each) for each in method.reductions)


def _frame_states(model: Device, exposure_s: float) -> int:
    """Return how many states of the medium a frame averages; 0 if it stands still."""
    drift = model.drift_within(exposure_s)
    return 0 if drift is None else len(drift.within(0.0, exposure_s))


def projector_of(opu: Any, work: Workload, *, threads: int, execution: str | None = None) -> Projector:
    """Return the projector that would do the work: what the OPU's bench would make, with another number of threads.

    Parameters
    ----------
    opu : OPU
        With a fit.
    work : Workload
        From `workload`.
    threads : int
        Threads that it uses.
    execution : {"auto", "matrix", "waves"}, optional
        How the light is computed; as in the bench by default.

    Raises
    ------
    ValueError
        If the way that `execution` names is not possible.
    """
    bench = opu.device.bench
    region = Region(opu.device.exposure().bench_roi, work.n_pixels, bench.sensor_shape[1])
    return Projector(
        bench.device, bench.seed, opu._fit.layout, region, resolution=bench.device.resolution,
        execution=execution or bench.execution, memory_budget=bench.memory_budget, threads=threads,
    )  # fmt: skip


def reference_of(opu: Any, projector: Projector) -> np.ndarray:
    """Return a field like that of the reference arm, complex64 (n_pixels, samples), to time frames with it.

    Even over the pixels: what a pixel takes does not depend on it.
    """
    device = opu.device.device_model
    amplitude = device.reference.relative_amplitude * (device.dmd.n_mirrors / 2) ** 0.5
    return np.full((projector.geometry.region.n_pixels, projector.plan.samples), amplitude, dtype=np.complex64)


def finisher(opu: Any, work: Workload) -> Callable[[np.ndarray], object] | None:
    """Return what makes results of frames in a linear transform of this kind, to be timed; None for counts.

    Parameters
    ----------
    opu : OPU
        With a fit.
    work : Workload
        From `workload`.
    """
    if work.steps == 1 and work.patterns_per_vector == 1:
        return None
    method, _ = method_of(opu, linear=True, steps=work.steps)
    each, shared = method.per_vector(), None
    of_block = method.patterns(1) - each
    if method.shares:

        def show(_: int, places: np.ndarray, __: np.ndarray) -> np.ndarray:
            return np.full((work.steps * len(places), work.n_pixels), 12.0)

        shared = method.shared(show, [1], work.n_features)

    def finish(frames: np.ndarray) -> object:
        n_patterns = len(frames) // work.steps
        if method.parted:
            frames = frames[: n_patterns // each * each * work.steps]
            part = method.decode(frames, shared, part=True)
        else:
            frames = frames[: method.frames((n_patterns - of_block) // each)]
            part = method.rehearsed(frames).decode(frames, method.begin() if method.shares else None)
        return part if shared is None else method.finish(part, shared)

    return finish


def reducer(opu: Any, work: Workload) -> Callable[[int, int], Reduction | None] | None:
    """Return what makes a reduction for so many vectors of so many features, to be timed; None where frames are made.

    Parameters
    ----------
    opu : OPU
        With a fit.
    work : Workload
        From `workload`.
    """
    return method_of(opu, linear=True, steps=work.steps)[0].reduction if work.together else None


def demodulator(opu: Any, work: Workload) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes fields of the frames of bursts, by a calibration that stands for a measured one."""
    from opusim.calibration.procedures.linear import demodulate

    method: Any = method_of(opu, linear=True, steps=work.steps)[0]
    return lambda frames: demodulate(method.record, frames)
