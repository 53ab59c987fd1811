"""What a transform of an OPU would ask of the simulation, before any vector is there: for `opusim.planning`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from opusim.bench.projector import Projector
from opusim.bench.region import Region
from opusim.drivers.inputs import dask as lazy
from opusim.drivers.methods import intensity as linear_reconstruction
from opusim.planning.costs import Workload

from . import runner
from .settings import whole_microseconds

__all__ = ["demodulator", "finisher", "projector_of", "reference_of", "workload"]


def workload(opu: Any, n_vectors: int, *, linear: bool = False, steps: int = 4) -> Workload:
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
        Phase steps of the holographic mode.

    Returns
    -------
    Workload
        Its frame time belongs to the device's own exposure, also by holography, whose calibration will find another.
    """
    fit, device = opu._fit, opu.device
    exposure = device.exposure()
    n_features, frame_item = fit.traits.n_features_s, device.output_dtype.itemsize
    n_out = runner.output_size(fit, opu.n_components, exposure)
    in_pass = opu._settings().n_samples_by_pass
    common = Workload(
        n_vectors=n_vectors, n_features=n_features, n_out=n_out, out_bytes=frame_item,
        frametime_s=exposure.frametime_us / 1e6, power_w=device.device_model.operation.power_w,
        task_vectors=lazy.task_vectors(n_out * frame_item + n_features),
        block=runner.pass_size(n_features, n_out * frame_item, in_pass),
    )  # fmt: skip
    if not linear:
        return common
    float_item = np.dtype(np.float32).itemsize
    if device.linear_mode(opu.linear_mode) == "intensity":
        frames = runner.pass_size(n_features, n_out * frame_item, in_pass)
        per_block = linear_reconstruction.frames_needed(linear_reconstruction.BLOCK)
        return replace(
            common, out_bytes=float_item, patterns_per_vector=2,
            task_vectors=lazy.task_vectors(n_out * (2 * frame_item + float_item) + n_features),
            block=max(1, frames // per_block) * linear_reconstruction.BLOCK,
            shared_patterns=linear_reconstruction.frames_needed(n_vectors) - 2 * n_vectors,
        )  # fmt: skip
    from opusim.drivers.methods import holography

    n_pixels = holography.n_measured(n_out, exposure)
    block = holography.block_size(steps, n_pixels)
    least_s = device.bench.minimum_frametime_s(exposure.output_roi[1][1], exposure.exposure_us / 1e6)
    return replace(
        common, out_bytes=float_item, frametime_s=whole_microseconds(least_s) / 1e6, block=block, steps=steps,
        task_vectors=lazy.task_vectors(n_out * float_item + n_features, block), patterns_per_block=2,
        n_pixels=n_pixels, fit_patterns=3 * holography.fit_repeats(steps, n_pixels),
    )  # fmt: skip


def projector_of(opu: Any, work: Workload, *, threads: int) -> Projector:
    """Return the projector that would do the work: what the OPU's bench would make, with another number of threads."""
    bench = opu.device.bench
    row, column, n_rows, n_columns = opu.device.exposure().bench_roi
    region = Region(row, column, n_rows, n_columns, work.n_pixels, bench.sensor_shape[1])
    return Projector(
        bench.device, bench.seed, opu._fit.layout, region, resolution=bench.device.resolution,
        execution=bench.execution, memory_budget=bench.memory_budget, threads=threads,
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
    if work.steps > 1:
        return _holographic_finisher(opu, work)
    if work.patterns_per_vector == 1:
        return None

    def reconstruct(frames: np.ndarray) -> object:
        result = np.subtract(frames[::2], frames[1::2], dtype=np.float32)
        shared = np.full((3, frames.shape[1]), 10.0)
        return linear_reconstruction.reconstruct(result, shared, work.n_features, 2.0, 10.0)

    return reconstruct


def demodulator(opu: Any, work: Workload) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes fields of the frames of bursts, by a calibration that stands for a measured one.

    Its reference is as bright as a calibrated exposure has it, and even over the pixels.
    """
    from opusim.calibration.procedures.linear import demodulate

    record = _plain_record(opu, work)
    return lambda frames: demodulate(record, frames)


def _plain_record(opu: Any, work: Workload) -> Any:
    from opusim.calibration.algorithms.phase_shifting import equal_steps
    from opusim.calibration.procedures.linear import LinearRecord

    exposure, n = opu.device.exposure(), work.n_pixels
    phases = equal_steps(work.steps)
    full_scale = float(opu.device.full_scale_dn)
    return LinearRecord(
        exposure_s=exposure.exposure_us / 1e6, asked_rad=phases, actual_rad=phases, jitter_rad=0.0,
        roi=np.array(exposure.bench_roi), dark_dn=np.zeros(n, np.float32),
        reference_dn=np.full(n, full_scale / 4, np.float32), valid=np.ones(n, dtype=bool), full_scale_dn=full_scale,
        clipped_share=0.0, modulation=1.0, modulation_map=np.ones(n, np.float32), coherence=1.0, relative_error=0.1,
        drift_rad_per_minute=0.0, elapsed_s=0.0,
    )  # fmt: skip


def _holographic_finisher(opu: Any, work: Workload) -> Callable[[np.ndarray], object]:
    from opusim.calibration.procedures.linear import demodulate
    from opusim.drivers.methods import holography

    fit, exposure, n = opu._fit, opu.device.exposure(), work.n_pixels
    record = _plain_record(opu, work)

    def reconstruct(frames: np.ndarray) -> object:
        # The first pattern stands for the anchor, before and after.
        frames[-work.steps :] = frames[: work.steps]
        shown = SimpleNamespace(project=lambda *_, **__: frames, bench=opu.device.bench)
        anchor = demodulate(record, frames[: work.steps])[0]
        fields = holography.FitFields(anchor, np.zeros(n, np.complex64), 1.0)
        bits = np.zeros((len(frames) // work.steps - 2, work.n_features), dtype=np.uint8)
        return holography.show_block(
            bits, fit, shown, exposure, work.n_out, record=record, fields=fields, complex_output=False
        )

    return reconstruct
