"""What is read of the sensor, and which way a batch is computed: by matrix or by waves."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from opusim.base import memory
from opusim.device.medium.base import ModeGrid

# The planner weighs the two ways for one pass of the real driver, whatever the size of the batch at hand:
# the choice, and with it the last bits, must not depend on the batch.
_PASS = 3000
# Rates of a core that the planner reckons with. They need be right only within a factor of two or so.
_FFT_FLOPS, _SUM_FLOPS = 4e9, 4e10
_ENTRIES_PER_S = 2e8
_MAX_BUILD_S = 60.0
_STACK_BYTES = 8 << 20  # fields that go through the layer at a time
_THREADS_BYTES = 256 << 20  # or one for each thread, with its cells and outputs: up to so much
#: Most samples of a pixel in the matrix way; at most `matrix_kernels.TILE`.
MAX_SAMPLES = 64
EXECUTIONS = ("auto", "matrix", "waves")


@dataclass(frozen=True)
class Region:
    """Pixels that are read: the first `n_pixels`, in raster order, of a rectangle on the sensor.

    Parameters
    ----------
    row, column : int
        First row and column of the rectangle.
    n_rows, n_columns : int
        Its size.
    n_pixels : int
        How many of its pixels are read.
    sensor_columns : int
        Columns of the whole sensor.
    """

    row: int
    column: int
    n_rows: int
    n_columns: int
    n_pixels: int
    sensor_columns: int

    def pixels(self) -> np.ndarray:
        """Raster index on the sensor of each pixel that is read, uint32 (n_pixels,)."""
        p = np.arange(self.n_pixels, dtype=np.int64)
        index = (self.row + p // self.n_columns) * self.sensor_columns + self.column + p % self.n_columns
        return index.astype(np.uint32)


def stack_on_cpu(side: int, threads: int) -> int:
    """Return how many grids go through the layer at a time on the CPU."""
    grid = 8 * side**2
    return max(1, min(64, _STACK_BYTES // grid), min(threads, _THREADS_BYTES // (2 * grid)))


@dataclass(frozen=True)
class Shots:
    """Circumstances of a run of frames, apart from the patterns.

    Attributes
    ----------
    state : int
        State of the medium's drift; one for all.
    frames : ndarray of int64, shape (n,)
        Frame numbers.
    photons_per_intensity : ndarray of float64, shape (n,)
        Photons on a pixel for an intensity of 1, for each frame.
    exposure_s : float
        Exposure in seconds.
    maps : SensorMaps
        Fixed patterns of the pixels that are read.
    steps : int
        Frames of each pattern, one after the other: n is the number of patterns times this.
    reference : ndarray of complex64, shape (n_pixels, samples), optional
        Field of the reference arm at the phase 0; None if it is blocked.
    phases_rad : ndarray of float64, shape (n,), optional
        Phase of the reference in each frame.
    coherence : float
        Contrast of the fringes.
    """

    state: int
    frames: np.ndarray
    photons_per_intensity: np.ndarray
    exposure_s: float
    maps: Any
    steps: int = 1
    reference: np.ndarray | None = None
    phases_rad: np.ndarray | None = None
    coherence: float = 1.0

    def turns(self) -> np.ndarray:
        """Return what turns the reference in each frame, coherence included: float32 (n, 2), cosine and sine."""
        if self.phases_rad is None:
            return np.zeros((len(self.frames), 2), dtype=np.float32)
        return (self.coherence * np.stack([np.cos(self.phases_rad), np.sin(self.phases_rad)], axis=1)).astype(
            np.float32
        )


@dataclass(frozen=True)
class Plan:
    """What the projector chose and why.

    Attributes
    ----------
    way : str
        "matrix" or "waves".
    side : int
        Side of the grid of modes; 0 for a medium without waves.
    samples : int
        Fields whose intensities one pixel adds up (polarisations times samples of the pixel's area).
    matrix_bytes : int
        Size of the matrix, stored or not.
    stored : bool
        Whether the matrix is kept; otherwise it is made tile by tile.
    build_s, matrix_vector_s, wave_vector_s : float
        Expected cost of making the matrix, and of one vector either way, in seconds.
    """

    way: str
    side: int
    samples: int
    matrix_bytes: int
    stored: bool
    build_s: float
    matrix_vector_s: float
    wave_vector_s: float

    @property
    def keeps_matrix(self) -> bool:
        """Whether a matrix is made once and kept."""
        return self.way == "matrix" and self.stored


def memory_budget_bytes() -> int:
    """Return a quarter of the machine's memory: what a stored matrix may take by default."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, ValueError, OSError):
        return 2 << 30


def make_plan(
    medium: Any,
    grid: ModeGrid | None,
    *,
    n_features: int,
    n_modes: int,
    n_outputs: int,
    samples: int,
    channels: int,
    has_layout: bool,
    execution: str,
    memory_budget: int,
) -> Plan:
    """Choose the way: the cheaper one for a pass of the real driver, within memory.

    Parameters
    ----------
    medium : PhaseScreenMedium, GaussianMedium or MeasuredMedium
        The medium.
    grid : ModeGrid or None
        Grid of modes of a medium that has waves.
    n_features, n_modes, n_outputs : int
        Features, input modes of the medium, and fields that are read.
    samples, channels : int
        Fields that a pixel adds up, and polarisations among them.
    has_layout : bool
        Whether the inputs are features; bare mirrors have no matrix of features.
    execution : {"auto", "matrix", "waves"}
        What was asked for.
    memory_budget : int
        Bytes that a stored matrix may take.

    Raises
    ------
    ValueError
        If what was asked for is not possible.
    """
    matrix_bytes = 8 * (n_features + 1) * n_outputs
    stored = has_layout and matrix_bytes <= memory_budget
    matrix_vector_s = 2 * n_features * n_outputs / _SUM_FLOPS
    if grid is None:
        limit = getattr(medium, "max_entries", None)
        if limit is not None and n_modes * n_outputs > limit:
            raise ValueError(
                f"{n_modes} modes and {n_outputs} outputs make a matrix of {n_modes * n_outputs:.3g} entries, but a "
                f"medium of kind {medium.kind!r} computes at most {limit:.3g}: use fewer, or a medium of kind "
                "'phase_screens'."
            )
        if execution == "waves":
            raise ValueError(f"execution is 'waves', but a medium of kind {medium.kind!r} has only the way 'matrix'.")
        build_s = n_modes * n_outputs / _ENTRIES_PER_S
        return Plan("matrix", 0, samples, matrix_bytes, stored, build_s, matrix_vector_s, math.inf)
    points = grid.side**2
    wave_s = medium.n_transforms * channels * 5 * points * math.log2(points) / _FFT_FLOPS
    build_s = min(n_features + 1, n_outputs) * wave_s
    possible = stored and samples <= MAX_SAMPLES
    if execution == "matrix" and not possible:
        raise ValueError(
            f"execution is 'matrix', but a matrix of {n_features} features and {n_outputs} outputs takes "
            f"{memory.text(matrix_bytes)} and may take {memory.text(memory_budget)} (memory_budget={matrix_bytes} "
            f"would let it); it needs features (not bare mirrors) and at most {MAX_SAMPLES} samples a pixel. Use "
            "'waves' or 'auto'."
        )
    cheaper = build_s + _PASS * matrix_vector_s < _PASS * wave_s and build_s < _MAX_BUILD_S
    way = execution if execution != "auto" else ("matrix" if possible and cheaper else "waves")
    return Plan(way, grid.side, samples, matrix_bytes, stored, build_s, matrix_vector_s, wave_s)
