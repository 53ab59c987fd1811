"""Task: randomised linear algebra by the linear transform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from opusim.applications.sketching import Sketch, moments, own_matrix, range_basis, sketch_by, sketch_noise
from opusim.base import validation
from opusim.bench import linear_modes
from opusim.bench.driver import check_device_of_bits

from .base import Task
from .choosing import generator
from .registry import task

if TYPE_CHECKING:
    from opusim.device.record import Device

__all__ = ["KINDS", "SketchError"]

KINDS = ("randsvd", "trace", "triangles")
# Rows that are sketched twice to tell the noise.
_NOISE_ROWS = 50


@task({kind: {"kind": kind} for kind in KINDS}, what="sketches", order=20)
@dataclass(frozen=True)
class SketchError(Task):
    """Relative error of randomised linear algebra by the linear transform.

    Parameters
    ----------
    kind : {"randsvd", "trace", "triangles"}
        "randsvd": approximation of a matrix, its singular values falling, of the rank n_components. "trace":
        Hutchinson's estimate of the trace of a matrix of uniform numbers. "triangles": tr(A^3) of a random graph, of
        which a tenth of all pairs are joined. (Sources: Halko, Martinsson and Tropp 2011; the notebook
        randomized_linear_algebra of lightonml; arXiv 2104.14429.)
    size : int
        Rows and columns of the matrix; a sketch has `n_components` columns.
    decay : float
        Of "randsvd": the k-th singular value is k**-decay. With 0 all are the same, and every basis is as good.
    power_iterations : int
        Of "randsvd", in exact arithmetic. Each takes most of the noise of the sketch off.
    block : int
        Of "trace" and "triangles": outputs of one estimate. There are n_components / block of them, whose errors are
        averaged: one alone says little about a device.
    n_bits : int
        Bits of the magnitude by which real numbers are shown; 6 in lightonml.
    mode : str
        Mode of the linear transform, as `OPU.linear_mode`: "auto", "holographic", "intensity" or another.
    exposure_s : float
        Exposure of the calibration, by holography; 0 for the best one.

    Notes
    -----
    What it returns:

    - `error`: of the device; for "trace" and "triangles" the mean of abs(estimate / truth - 1) over the blocks.
    - `exact_error`: the same in exact arithmetic, on the same data and with the same random matrix. That matrix is the
      device's own, measured by light in a basis of +1 and -1, so it is right but for some noise in its entries. What
      `error` has beyond it is the device's.
    - `noise`: rms difference of two sketches of the same rows by the device, over sqrt(2) and the rms of a sketch. What
      is the same in both, such as a wrong phase step, is not in it.
    """

    linear: ClassVar[bool] = True

    kind: str = "randsvd"
    size: int = 500
    decay: float = 2.0
    power_iterations: int = 0
    block: int = 20
    n_bits: int = 6
    mode: str = "auto"
    exposure_s: float = 0.0

    def __post_init__(self) -> None:
        """Check every parameter."""
        validation.choice("kind", self.kind, KINDS)
        validation.integer("size", self.size, low=10)
        validation.number("decay", self.decay, low=0.0, high=10.0)
        validation.integer("power_iterations", self.power_iterations, low=0, high=100)
        validation.integer("block", self.block, low=1)
        validation.integer("n_bits", self.n_bits, low=1, high=16)
        linear_modes.checked("mode", self.mode)
        validation.number("exposure_s", self.exposure_s, low=0.0, high=60.0)

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.kind

    @property
    def outputs(self) -> int:
        """Outputs where nobody says how many: two fifths of the columns, or twenty blocks."""
        return max(1, 2 * self.size // 5) if self.kind == "randsvd" else 20 * self.block

    def check(self, device: Device, n_components: int) -> None:
        """Refuse what cannot be done.

        Parameters
        ----------
        device : Device
            What is simulated at a point.
        n_components : int
            Outputs at that point.

        Raises
        ------
        ValueError
            If it cannot.
        """
        check_device_of_bits(device, "A sketch")
        if self.kind == "randsvd" and n_components > self.size:
            raise ValueError(f"n_components is {n_components}, but the matrix has only {self.size} columns.")
        if self.kind != "randsvd" and n_components % self.block:
            raise ValueError(
                f"n_components is {n_components}, but it must be a multiple of block, {self.block}: each block of "
                "outputs gives an estimate."
            )
        present = device.reference.present
        if linear_modes.chosen(self.mode, present).needs_reference and not present:
            raise ValueError(f"mode is {self.mode!r}, but this device has no reference arm.")

    def check_sweep(self, axes: Any, settings: Any) -> None:
        """Refuse to vary what this kind does not use.

        Parameters
        ----------
        axes : sequence of Axis
            What is varied.
        settings : sequence of Setting
            Values of each point.

        Raises
        ------
        ValueError
            If something is not used.
        """
        idle = ("block",) if self.kind == "randsvd" else ("decay", "power_iterations")
        for axis in axes:
            if axis.path.removeprefix("task.") in idle and len(axis.values) > 1:
                raise ValueError(f"{axis.path} has no effect here: the task {self.kind!r} does not use it.")

    def __call__(self, opu: Any, seed: int) -> dict[str, float]:
        """Sketch a matrix by the device, and by what its random matrix is."""
        before = opu.linear_mode, opu.rescale
        opu.linear_mode, opu.rescale = self.mode, "none"
        try:
            return self._measured(opu, seed)
        finally:
            opu.linear_mode, opu.rescale = before

    def _measured(self, opu: Any, seed: int) -> dict[str, float]:
        opu.fit1d(n_features=self.size)
        if linear_modes.chosen(self.mode, opu.device.has_reference).calibrated:
            opu.calibrate(store=False, exposure_s=self.exposure_s or None)
        by_light = sketch_by(opu, self.n_bits)
        matrix = _MATRICES[self.kind](self, generator(seed, "matrix"))
        sketch = by_light(matrix)
        noise = sketch_noise(sketch[:_NOISE_ROWS], by_light(matrix[:_NOISE_ROWS]))
        error = self._error(matrix, sketch, by_light)
        signs = generator(seed, "signs").choice([-1.0, 1.0], size=self.size)
        own = own_matrix(sketch_by(opu, 1), self.size, signs)
        exact = self._error(matrix, matrix @ own, lambda x: x @ own)
        return {"error": error, "exact_error": exact, "noise": noise}

    def _error(self, matrix: np.ndarray, sketch: np.ndarray, again: Sketch) -> float:
        """Return the error that a sketch gives; `again` sketches by the same random matrix."""
        if self.kind == "randsvd":
            q = range_basis(matrix, sketch, power_iterations=self.power_iterations)
            return float(np.linalg.norm(matrix - q @ (q.T @ matrix)) / np.linalg.norm(matrix))
        power = 1 if self.kind == "trace" else 3
        truth = np.trace(np.linalg.matrix_power(matrix, power))
        return float(np.mean(np.abs(moments(again(sketch.T), self.block, power) / truth - 1)))


def _falling(task: SketchError, numbers: np.random.Generator) -> np.ndarray:
    left, right = (np.linalg.qr(numbers.normal(size=(task.size, task.size)))[0] for _ in range(2))
    return (left * np.arange(1.0, task.size + 1) ** -task.decay) @ right.T


def _uniform(task: SketchError, numbers: np.random.Generator) -> np.ndarray:
    return numbers.random((task.size, task.size))


def _graph(task: SketchError, numbers: np.random.Generator) -> np.ndarray:
    upper = np.triu(numbers.random((task.size, task.size)) < 0.1, k=1)
    return (upper | upper.T).astype(np.float64)


_MATRICES: dict[str, Callable[[SketchError, np.random.Generator], np.ndarray]] = {
    "randsvd": _falling,
    "trace": _uniform,
    "triangles": _graph,
}
