"""Which way a batch is computed, by matrix or by waves: the cheaper one, by the work that the ways declare."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opusim.base import memory
from opusim.device.medium import EntryMedium

from .entries import outputs_by_feature
from .geometry import Geometry
from .inputs import check_inputs
from .way import Work, transform_flops

if TYPE_CHECKING:
    from .by_matrix import MatrixWay
    from .by_waves import WavesWay

# The planner weighs the two ways for a training set such as MNIST's, whatever the size of the batch at hand: the
# choice, and with it the last bits, must not depend on the batch.
_VECTORS = 60_000
#: Rates of a core that the planner reckons with, in flops a second. They need be right only within a factor of two.
#: Measured on one core of a Xeon of 2023 with vectors of 512 bits: transforms of 1.2e10 to 1.4e10 on grids of 200 to
#: 450, sums of 1.6e11 to 2.1e11 (benchmarks/RESULTS.md).
FFT_FLOPS, SUM_FLOPS = 1.3e10, 1.8e11
#: The same of products with complex weights, eight flops each: 1.3e11 to 1.45e11 were measured there.
WEIGHT_FLOPS = 1.4e11
#: Entries of a medium that gives them, a second.
ENTRIES_PER_S = 2e8
#: Seconds of a core for which a first transform may make its matrix.
MAX_BUILD_S = 25.0
#: Most samples of a pixel in the matrix way; at most `matrix_kernels.STRIP`, as a strip has whole pixels.
MAX_SAMPLES = 64
_UNEVEN = (
    "with resolution 'mirrors' crosstalk and a spread of gains (modulator.crosstalk_pixels, modulator.gain_spread) "
    "turn the pixels of a feature by different phases, which no matrix of features has: with resolution 'auto' a "
    "feature has their mean."
)
_EACH_BY_ITSELF = (
    "mirrors that move, each by itself, have no matrix of features: dmd.warm_up_loss, dmd.creep_per_hour and "
    "dmd.vibration_rad must be 0, or resolution 'auto', where a feature moves as one."
)
EXECUTIONS = ("auto", "matrix", "waves")


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


#: Bytes that a stored matrix may take by default, on every machine: the choice of the way, and with it the last bits,
#: must not depend on how much memory there is. A quarter of that of a machine of 24 GiB. Where it does not fit the
#: memory that is free, `memory.check` says so before it is taken.
MEMORY_BUDGET = 6 << 30


def memory_budget_bytes() -> int:
    """Return what a stored matrix may take by default."""
    return MEMORY_BUDGET


def make_plan(geometry: Geometry, matrix: MatrixWay, waves: WavesWay | None, *, execution: str) -> Plan:
    """Choose the way: the cheaper one for a training set such as MNIST's, within memory.

    Parameters
    ----------
    geometry : Geometry
        Inputs, medium and pixels.
    matrix : MatrixWay
        The way by matrix, which says what it takes; bare mirrors do not have it.
    waves : WavesWay or None
        The way by waves; None for a medium of entries.
    execution : {"auto", "matrix", "waves"}
        What was asked for.

    Returns
    -------
    Plan
        The choice.

    Raises
    ------
    ValueError
        If what was asked for is not possible, or the medium has fewer inputs or outputs.
    """
    medium, samples = geometry.device.medium, geometry.sampling.samples
    matrix_bytes, stored = matrix.matrix_bytes, matrix.stored
    rate = WEIGHT_FLOPS if geometry.source.weighted else SUM_FLOPS
    matrix_vector_s, build_s = matrix.vector_flops / rate, _seconds(matrix.making())
    if waves is None:
        assert isinstance(medium, EntryMedium), "a medium of waves has their way"
        n_modes, n_outputs = geometry.n_modes, geometry.n_fields
        # What is wrong with a file, and with the pixels, is told first; of its inputs what may be shown instead.
        n, own = geometry.source.n_features, medium.n_inputs
        medium.check_size(n if own is None else min(n, own), geometry.region.n_pixels)
        check_inputs(geometry.layout, geometry.device)
        outputs_by_feature(geometry)  # whether there is one on each pixel
        limit = medium.max_entries
        if limit is not None and n_modes * n_outputs > limit:
            raise ValueError(
                f"{n_modes} modes and {n_outputs} outputs make a matrix of {n_modes * n_outputs:.3g} entries, but a "
                f"medium of kind {medium.kind!r} computes at most {limit:.3g}: use fewer, or a medium of kind "
                "'phase_screens'."
            )
        if execution == "waves":
            raise ValueError(f"execution is 'waves', but a medium of kind {medium.kind!r} has only the way 'matrix'.")
        return Plan(
            "matrix", 0, samples, matrix_bytes, stored, build_s, matrix_vector_s, math.inf, matrix.vector_flops,
            f"A medium of kind {medium.kind!r} gives entries: there is no other way.",
        )  # fmt: skip
    wave_s = waves.vector_flops / FFT_FLOPS
    possible = stored and samples <= MAX_SAMPLES and geometry.has_matrix
    if execution == "matrix" and not possible:
        raise ValueError(f"execution is 'matrix', but {_no_matrix(geometry, matrix)} Use 'waves' or 'auto'.")
    by_matrix_s, by_waves_s = build_s + _VECTORS * matrix_vector_s, _VECTORS * wave_s
    cheaper = by_matrix_s < by_waves_s and build_s < MAX_BUILD_S
    way = execution if execution != "auto" else ("matrix" if possible and cheaper else "waves")
    if execution != "auto":
        why = f"execution is {execution!r}."
    elif geometry.layout is None:
        why = "Bare mirrors have no matrix of features."
    elif not geometry.has_matrix:
        why = f"There is no matrix: {_no_matrix(geometry, matrix)}"
    elif not stored:
        why = f"A matrix would take {memory.text(matrix_bytes)} and may take {memory.text(matrix.memory_budget)}."
    elif not possible:
        why = f"A matrix sums at most {MAX_SAMPLES} samples a pixel, and there are {samples}."
    else:
        why = (
            f"{_VECTORS} vectors would take {by_matrix_s:.3g} s of a core by matrix, {build_s:.3g} s of it to make "
            f"the matrix (at most {MAX_BUILD_S:g}), and {by_waves_s:.3g} s by waves."
        )
        if by_matrix_s < by_waves_s and not cheaper:
            why += (
                f" Making it takes more than the {MAX_BUILD_S:g} s that a first transform may wait for it by itself: "
                "execution='matrix' takes it all the same."
            )
    if geometry.relay and geometry.layout is not None:
        why += " Behind a Fourier stop each mirror is a mode."
    chosen = matrix if way == "matrix" else waves
    return Plan(
        way, geometry.grid.side if geometry.grid else 0, samples, matrix_bytes, stored, build_s, matrix_vector_s,
        wave_s, chosen.vector_flops, why,
    )  # fmt: skip


def _no_matrix(geometry: Geometry, matrix: MatrixWay) -> str:
    """Say why a medium of waves has no matrix in this geometry."""
    samples = geometry.sampling.samples
    if geometry.layout is None:
        return "bare mirrors have no matrix of features: patterns must come from a layout."
    if not geometry.has_matrix:
        return _EACH_BY_ITSELF if geometry.device.modulator.binary else _UNEVEN
    if samples > MAX_SAMPLES:
        return (
            f"a matrix sums at most {MAX_SAMPLES} samples a pixel, and there are {samples} (polarisations times points "
            f"on the pixel, which {geometry.device.pixel_over_grain:g} grains a pixel need)."
        )
    return (
        f"a matrix of {geometry.source.n_features} features and {geometry.n_fields} outputs takes "
        f"{memory.text(matrix.matrix_bytes)} and may take {memory.text(matrix.memory_budget)} "
        f"(memory_budget={matrix.matrix_bytes} would let it)."
    )


def _seconds(work: Work) -> float:
    """Seconds of a core for making a matrix; entries that come out of waves cost nothing beside these."""
    if work.transforms:
        return transform_flops(work.side, work.transforms) / FFT_FLOPS
    return work.entries / ENTRIES_PER_S
