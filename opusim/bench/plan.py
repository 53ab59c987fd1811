"""Which way a batch is computed, by matrix or by waves, and what a way declares: its work, and its memory."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from opusim.base import memory
from opusim.device.medium import EntryMedium, WaveMedium

from .frames import Shots
from .geometry import Geometry

# The planner weighs the two ways for one pass of the real driver, whatever the size of the batch at hand:
# the choice, and with it the last bits, must not depend on the batch.
_PASS = 3000
#: Rates of a core that the planner reckons with, in flops a second. They need be right only within a factor of two.
FFT_FLOPS, SUM_FLOPS = 4e9, 4e10
#: Entries of a medium that gives them, a second.
ENTRIES_PER_S = 2e8
_MAX_BUILD_S = 60.0
#: Most samples of a pixel in the matrix way; at most `matrix_kernels.TILE`.
MAX_SAMPLES = 64
EXECUTIONS = ("auto", "matrix", "waves")


@dataclass(frozen=True)
class Work:
    """Units of work of each kind.

    Parameters
    ----------
    side : int
        Side of the grid of the transforms.
    transforms : int
        Two-dimensional Fourier transforms on it, each with its share of the products.
    layer_points : int
        Points of layers that are prepared.
    entries : int
        Entries of a matrix that are made; where they are made by waves, beside these.
    sums : int
        Entries of tables that are added to a field.
    tables : int
        Tables of four features of a field that are made.
    """

    side: int = 0
    transforms: int = 0
    layer_points: int = 0
    entries: int = 0
    sums: int = 0
    tables: int = 0


class Way(ABC):
    """One of the ways from patterns to counts. It owns what it keeps, for one state of the medium's drift at a time.

    Attributes
    ----------
    name : str
        Of the class: "matrix" or "waves".
    """

    name: ClassVar[str]

    @abstractmethod
    def prepare(self, state: int) -> None:
        """Make what is kept for a state of the drift.

        Parameters
        ----------
        state : int
            Number of the state.
        """

    @abstractmethod
    def fields(self, bits: Any, state: int = 0) -> Any:
        """Return the fields at the camera.

        Parameters
        ----------
        bits : array of uint8, shape (n, n_features)
            0 or 1; of any library.
        state : int
            State of the medium's drift.

        Returns
        -------
        array of complex64, shape (n, n_pixels, samples)
            Of the library that the way computes with. The mean intensity of an ideal device is the number of mirrors
            that are on.
        """

    @abstractmethod
    def counts(self, bits: Any, shots: Shots, out: Any, progress: Callable[[int], None] | None = None) -> None:
        """Fill `out` with the counts of a batch.

        Parameters
        ----------
        bits : array of uint8, shape (n, n_features)
            0 or 1; of any library.
        shots : Shots
            Circumstances of the n * steps frames.
        out : array, shape (n * steps, n_pixels)
            Filled in place: numpy's, or of the library that the way computes with.
        progress : callable, optional
            Told how many vectors are done.
        """

    # ---------------------------------------------------------------- what it takes; nothing is computed

    @property
    @abstractmethod
    def kept_bytes(self) -> int:
        """Bytes of what is kept between calls, without a reference arm's wave."""

    @abstractmethod
    def making_bytes(self, threads: int) -> int:
        """Return the bytes that making it needs on top, with some threads."""

    @abstractmethod
    def showing_bytes(self, n_patterns: int, threads: int) -> int:
        """Return the bytes of buffers while patterns are shown in one go, with some threads."""

    @abstractmethod
    def making(self) -> Work:
        """Return the work of making what is kept, once a state of the drift."""

    @abstractmethod
    def showing(self, n_patterns: int) -> Work:
        """Return the work of showing patterns in one go, up to their fields."""


@dataclass(frozen=True)
class Plan:
    """Which way was chosen, and why.

    Parameters
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
        Whether the matrix may be kept; otherwise it is made tile by tile, or waves do without.
    build_s, matrix_vector_s, wave_vector_s : float
        Expected cost of making the matrix, and of one vector either way, in seconds of a core.
    vector_flops : float
        Operations of one vector by the way that was chosen.
    why : str
        A sentence on the choice.
    """

    way: str
    side: int
    samples: int
    matrix_bytes: int
    stored: bool
    build_s: float
    matrix_vector_s: float
    wave_vector_s: float
    vector_flops: float
    why: str

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


def make_plan(geometry: Geometry, *, execution: str, memory_budget: int) -> Plan:
    """Choose the way: the cheaper one for a pass of the real driver, within memory.

    Parameters
    ----------
    geometry : Geometry
        Inputs, medium and pixels.
    execution : {"auto", "matrix", "waves"}
        What was asked for.
    memory_budget : int
        Bytes that a stored matrix may take.

    Returns
    -------
    Plan
        The choice.

    Raises
    ------
    ValueError
        If what was asked for is not possible, or the medium has fewer inputs or outputs.
    """
    medium, samples, n_features = geometry.device.medium, geometry.optics.samples, geometry.source.n_features
    n_modes, n_outputs = geometry.n_modes, geometry.n_fields
    has_layout = geometry.layout is not None  # bare mirrors have no matrix of features
    matrix_bytes = 8 * (n_features + 1) * n_outputs
    stored = has_layout and matrix_bytes <= memory_budget
    matrix_flops = 2.0 * n_features * n_outputs
    matrix_vector_s = 2 * n_features * n_outputs / SUM_FLOPS
    if isinstance(medium, EntryMedium):
        medium.check_size(n_features, geometry.region.n_pixels)
        limit = medium.max_entries
        if limit is not None and n_modes * n_outputs > limit:
            raise ValueError(
                f"{n_modes} modes and {n_outputs} outputs make a matrix of {n_modes * n_outputs:.3g} entries, but a "
                f"medium of kind {medium.kind!r} computes at most {limit:.3g}: use fewer, or a medium of kind "
                "'phase_screens'."
            )
        if execution == "waves":
            raise ValueError(f"execution is 'waves', but a medium of kind {medium.kind!r} has only the way 'matrix'.")
        build_s = n_modes * n_outputs / ENTRIES_PER_S
        return Plan(
            "matrix", 0, samples, matrix_bytes, stored, build_s, matrix_vector_s, math.inf, matrix_flops,
            f"A medium of kind {medium.kind!r} gives entries: there is no other way.",
        )  # fmt: skip
    assert isinstance(medium, WaveMedium) and geometry.grid is not None
    points = geometry.grid.side**2
    wave_flops = medium.n_transforms * geometry.optics.channels * 5 * points * math.log2(points)
    wave_s = wave_flops / FFT_FLOPS
    build_s = min(n_features + 1, n_outputs) * wave_s
    possible = stored and samples <= MAX_SAMPLES
    if execution == "matrix" and not possible:
        raise ValueError(
            f"execution is 'matrix', but a matrix of {n_features} features and {n_outputs} outputs takes "
            f"{memory.text(matrix_bytes)} and may take {memory.text(memory_budget)} (memory_budget={matrix_bytes} "
            f"would let it); it needs features (not bare mirrors) and at most {MAX_SAMPLES} samples a pixel. Use "
            "'waves' or 'auto'."
        )
    by_matrix_s, by_waves_s = build_s + _PASS * matrix_vector_s, _PASS * wave_s
    cheaper = by_matrix_s < by_waves_s and build_s < _MAX_BUILD_S
    way = execution if execution != "auto" else ("matrix" if possible and cheaper else "waves")
    if execution != "auto":
        why = f"execution is {execution!r}."
    elif not has_layout:
        why = "Bare mirrors have no matrix of features."
    elif not stored:
        why = f"A matrix would take {memory.text(matrix_bytes)} and may take {memory.text(memory_budget)}."
    elif not possible:
        why = f"A matrix sums at most {MAX_SAMPLES} samples a pixel, and there are {samples}."
    else:
        why = (
            f"{_PASS} vectors would take {by_matrix_s:.3g} s of a core by matrix, {build_s:.3g} s of it to make the "
            f"matrix (at most {_MAX_BUILD_S:g}), and {by_waves_s:.3g} s by waves."
        )
    return Plan(
        way, geometry.grid.side, samples, matrix_bytes, stored, build_s, matrix_vector_s, wave_s,
        matrix_flops if way == "matrix" else wave_flops, why,
    )  # fmt: skip
