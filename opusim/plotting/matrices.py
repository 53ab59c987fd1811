"""Transmission matrices: their entries, and their singular values against the law of random matrices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim import theory
from opusim.base import validation
from opusim.base.user_arrays import exponent_of, times_two_to

from .style import ACCENT, SOFT, axes_for, colour_scale, image, note, numbers, phase_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["singular_values", "transmission_matrix"]

# Rows of a stored matrix that are read: enough to be seen, and for the law of singular values.
_SEEN, _READ = 256, 8192
# Amplitudes beyond this share are drawn as one.
_BRIGHTEST = 0.998
_PARTS = ("amplitude", "phase", "real")


def transmission_matrix(matrix: Any, ax: Axes | None = None, *, part: str = "amplitude", unit: str = "") -> Axes:
    """Draw the entries of a matrix, an output a row and an input a column.

    Parameters
    ----------
    matrix : ndarray of float or complex, shape (outputs, inputs), or TmRecord
        The matrix, or the record of a measured one, of which the first 256 valid rows are read.
    ax : matplotlib.axes.Axes, optional
        Where; a figure of its own, apart from pyplot, by default.
    part : {"amplitude", "phase", "real"}
        What is drawn of the entries. A phase goes from -pi (black) to pi (white). The real part is dark where it is
        negative.
    unit : str, optional
        Unit of the entries, for the label; a record's are roots of grey levels.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, or no row of the record is valid.
    """
    validation.choice("part", part, _PARTS)
    entries, unit = _entries(matrix, _SEEN, unit)
    with axes_for(ax, size=(6.4, 4.6)) as ax:
        if part == "phase":
            phase_image(ax, np.angle(entries), thing="", aspect="auto")
        else:
            shown = np.abs(entries) if part == "amplitude" else entries.real
            top = float(np.quantile(np.abs(shown), _BRIGHTEST)) or 1.0
            low, colours = (0.0, "inferno") if part == "amplitude" else (-top, "cividis")
            drawn = image(ax, shown, thing="", cmap=colours, vmin=low, vmax=top, aspect="auto")
            beyond = float(np.abs(shown).max()) > top
            name = "amplitude of an entry" if part == "amplitude" else "entry, real part" * np.iscomplexobj(entries)
            label = f"{name or 'entry'}{f' ({unit})' if unit else ''}"
            colour_scale(drawn, label, extend=("max" if low == 0 else "both") if beyond else "neither")
        ax.set(xlabel="input (macro-pixel)", ylabel="output (pixel)")
    return ax


def singular_values(matrix: Any, ax: Axes | None = None, *, independent: float | None = None) -> Axes:
    """Draw the histogram of singular values against the law of Marchenko and Pastur.

    Parameters
    ----------
    matrix : ndarray of float or complex, shape (outputs, inputs), or TmRecord
        The matrix, or the record of a measured one, of which up to 8192 valid rows are read. A wide matrix is turned.
    ax : matplotlib.axes.Axes, optional
        Where; a figure of its own, apart from pyplot, by default.
    independent : float, optional
        Number of outputs that know nothing of each other, where pixels share grains of speckle: pi / (4 g^2) of the
        pixels for grains g pixels wide. The law is then that of such a matrix, which has as many singular values that
        are not 0 at most. NaN: it is not known, and no law is drawn. By default every output; of the record of an
        off-axis measurement, what its grain gives, or NaN where only a part of its rows is read.

    Returns
    -------
    matplotlib.axes.Axes
        Columns are scaled to a root mean square of 1 first: the beam is brighter in the middle, and without its
        profile the entries are alike. The line is `opusim.theory.marchenko_pastur_pdf`.

    Raises
    ------
    TypeError, ValueError
        If it is no matrix, has fewer than two rows or columns, or no row of the record is valid.
    """
    entries, _ = _entries(matrix, _READ, "")
    if independent is None:
        independent = _independent(matrix, len(entries))
    elif not math.isnan(independent):
        validation.number("independent", independent, low=1.0, high=len(entries))
    if min(entries.shape) < 2:
        raise ValueError(f"matrix has the shape {entries.shape}, but it must have two rows and two columns at least.")
    if entries.dtype.kind in "fc":  # columns are scaled to 1 anyway: first so that their squares stay numbers
        entries = times_two_to(entries, -exponent_of(entries))
    tall = entries if entries.shape[0] >= entries.shape[1] else entries.T
    n_long, n_short = tall.shape
    power = np.mean(np.abs(tall) ** 2, axis=0, dtype=np.float64)
    tall = tall / np.sqrt(np.maximum(power, 1e-300)).astype(np.result_type(tall.real, np.float32))
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(tall.conj().T @ tall), 0) / n_long)
    low, high, law = _law(entries.shape, independent)
    with axes_for(ax) as ax:
        ax.hist(
            values, bins=min(40, max(8, n_short // 8)), density=True, color=SOFT, edgecolor="white", lw=0.3,
            label="this matrix",
        )  # fmt: skip
        if law is not None:
            ax.plot(*law, color=ACCENT, lw=1.6, label="Marchenko-Pastur")
        ax.set(
            xlabel=f"singular value / √{n_long:,} (columns scaled to rms 1)", ylabel="density",
            xlim=(min(low, float(values.min())) - 0.05, max(high, float(values.max())) + 0.05),
        )  # fmt: skip
        ax.set_ylim(0, 1.35 * ax.get_ylim()[1])
        ax.legend(loc="upper right")
        told = f"{entries.shape[0]:,} × {entries.shape[1]:,} entries"
        if independent is not None:
            told += (
                "\nno law: pixels share grains" if law is None else f"\n{independent:,.0f} independent outputs (grains)"
            )
        note(ax, told, (0.04, 0.96), ha="left", va="top")
    return ax


def _law(
    shape: tuple[int, int], independent: float | None
) -> tuple[float, float, tuple[np.ndarray, np.ndarray] | None]:
    """Return the edges of the law of Marchenko and Pastur, and its curve (s, density).

    Columns have rms 1 and singular values are over the root of the longer side. Where n outputs hold but k that are
    independent, the matrix is as one of k outputs of n / k times the power: of m inputs below k the values lie as
    those of ratio m / k. Of m above k, k of them lie as sqrt(m / k) times those of ratio k / m, and the others are 0.
    """
    outputs, inputs = shape
    if independent is None:
        ratio, stretch, share = min(shape) / max(shape), 1.0, 1.0
    elif math.isnan(independent):
        return 0.0, 0.0, None
    else:
        ratio = min(inputs, independent) / max(inputs, independent)
        share = min(1.0, independent / min(shape))
        # Values are over the root of the longer side of the matrix that is drawn.
        stretch = math.sqrt(max(1.0, inputs / independent) * outputs / max(shape))
    low, high = theory.marchenko_pastur_edges(ratio)
    # The law of a square matrix divides 0 by 0 at 0.
    s = np.linspace(max(low, 1e-6), high, 400)
    density = theory.marchenko_pastur_pdf(s, ratio) * share / stretch
    return (low if share == 1 else 0.0) * stretch, high * stretch, (s * stretch, density)


def _independent(matrix: Any, rows: int) -> float | None:
    """Independent outputs of the record of an off-axis measurement, NaN of a part of its rows; else None."""
    grain = float(getattr(matrix, "grain_px", 0.0) or 0.0)
    if not grain or not hasattr(matrix, "valid"):
        return None
    valid = int(np.sum(matrix.valid))
    return theory.independent_outputs(valid, grain) if rows == valid else math.nan


def _entries(matrix: Any, rows: int, unit: str) -> tuple[np.ndarray, str]:
    """Return the entries to draw, and their unit."""
    if not isinstance(unit, str):
        raise TypeError(f"unit is {unit!r} ({type(unit).__name__}), but it must be a text.")
    if callable(getattr(matrix, "matrix", None)) and hasattr(matrix, "valid"):
        valid = np.flatnonzero(matrix.valid)[:rows]
        if not len(valid):
            raise ValueError("matrix is the record of one without a valid row: there is nothing to draw.")
        return matrix.matrix(valid), unit or "√ grey levels"
    return numbers("matrix", matrix, ndim=2, kinds="biufc"), unit
