"""Task: randomised linear algebra by the linear transform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from opusim import validation
from opusim.sweep.image_tasks import generator

if TYPE_CHECKING:
    from opusim.config import Device

__all__ = ["KINDS", "SketchError"]

KINDS = ("randsvd", "trace", "triangles")


@dataclass(frozen=True)
class SketchError:
    """Relative error of randomised linear algebra by the linear transform.

    Parameters
    ----------
    kind : {"randsvd", "trace", "triangles"}
        "randsvd": approximation of a matrix of normal numbers, of the rank n_components. "trace": Hutchinson's estimate
        of the trace of a matrix of uniform numbers. "triangles": tr(A^3) of a random graph, of which a tenth of all
        pairs are joined. (Sources: the notebook randomized_linear_algebra of lightonml; arXiv 2104.14429.)
    size : int
        Rows and columns of the matrix; a sketch has `n_components` columns.
    power_iterations : int
        Of "randsvd".
    n_bits : int
        Bits of the magnitude by which real numbers are shown; 6 in lightonml.
    mode : {"auto", "holographic", "intensity"}
        Mode of the linear transform.
    exposure_s : float
        Exposure of the calibration, by holography; 0 for the best one.

    Notes
    -----
    Returns `error`, and `ideal_error` for a matrix of normal numbers in double precision, on the same data.
    """

    linear: ClassVar[bool] = True

    kind: str = "randsvd"
    size: int = 500
    power_iterations: int = 2
    n_bits: int = 6
    mode: str = "auto"
    exposure_s: float = 0.0

    def __post_init__(self) -> None:
        """Check every parameter."""
        validation.choice("kind", self.kind, KINDS)
        validation.integer("size", self.size, low=10)
        validation.integer("power_iterations", self.power_iterations, low=0, high=100)
        validation.integer("n_bits", self.n_bits, low=1, high=16)
        validation.choice("mode", self.mode, ("auto", "holographic", "intensity"))
        validation.number("exposure_s", self.exposure_s, low=0.0, high=60.0)

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.kind

    def check(self, device: Device, n_components: int) -> None:
        """Refuse what cannot be done."""
        if n_components > self.size:
            raise ValueError(f"n_components is {n_components}, but the matrix has only {self.size} columns.")
        if self.mode == "holographic" and not device.reference.present:
            raise ValueError("mode is 'holographic', but this device has no reference arm.")

    def __call__(self, opu: Any, seed: int) -> dict[str, float]:
        """Sketch a matrix by the device, and by normal numbers."""
        from opusim.dfa.error_encoding import BitPlaneEncoding

        m, encoding = opu.n_components, BitPlaneEncoding(self.n_bits)
        opu.linear_mode, opu.rescale = self.mode, "none"
        opu.fit1d(n_features=self.size)
        if self.mode == "holographic" or (self.mode == "auto" and opu.device.has_reference):
            opu.calibrate(store=False, exposure_s=self.exposure_s or None)

        def sketch(x: np.ndarray) -> np.ndarray:
            encoded = encoding.encode(x)
            projected = np.asarray(opu.linear_transform(encoded.bits), dtype=np.float64)
            return (encoded.weights @ projected) / np.sqrt(m)

        matrix = generator(seed, "sketch").normal(size=(self.size, m)) / np.sqrt(m)
        estimate = _ESTIMATES[self.kind]
        errors = (estimate(self, generator(seed, "matrix"), s) for s in (sketch, lambda x: x @ matrix))
        return dict(zip(("error", "ideal_error"), errors, strict=True))


Sketch = Callable[[np.ndarray], np.ndarray]  # (rows, size) -> (rows, n_components)


def _trace_error(task: SketchError, numbers: np.random.Generator, sketch: Sketch) -> float:
    a = numbers.random((task.size, task.size))
    return float(abs(np.trace(sketch(sketch(a).T)) / np.trace(a) - 1))


def _triangles_error(task: SketchError, numbers: np.random.Generator, sketch: Sketch) -> float:
    upper = np.triu(numbers.random((task.size, task.size)) < 0.1, k=1)
    a = (upper | upper.T).astype(np.float64)
    b = sketch(sketch(a).T)
    return float(abs(np.trace(b @ b @ b) / np.trace(a @ a @ a) - 1))


def _approximation_error(task: SketchError, numbers: np.random.Generator, sketch: Sketch) -> float:
    a = numbers.normal(size=(task.size, task.size))
    y = sketch(a)
    for _ in range(task.power_iterations):
        q, _ = np.linalg.qr(y)
        q, _ = np.linalg.qr(a.T @ q)
        y = a @ q
    q, _ = np.linalg.qr(y)
    return float(np.linalg.norm(a - q @ (q.T @ a)) / np.linalg.norm(a))


_ESTIMATES: dict[str, Callable[[SketchError, np.random.Generator, Sketch], float]] = {
    "randsvd": _approximation_error,
    "trace": _trace_error,
    "triangles": _triangles_error,
}
