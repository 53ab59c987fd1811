"""Light through the medium onto one pixel, with a measured transmission matrix, and how much brighter it becomes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.short_repr import short_repr
from opusim.base.user_arrays import checked_array, exponent_of, times_two_to
from opusim.bench.protocol import Bench, level_turns_of
from opusim.calibration.contents import held
from opusim.calibration.on_bench import dark_frames, exposed_each, saturation_dn
from opusim.calibration.procedures.matrix.file import TmRecord
from opusim.patterns.layout import MirrorPatterns
from opusim.patterns.phases import PhasePatterns, nearest_levels

__all__ = [
    "FocusRecord", "binary_enhancement", "focus_binary", "focus_levels", "focus_phase", "measure_focus",
    "phase_enhancement", "phase_enhancement_of",
]  # fmt: skip

# Phases of a turn over which the rounding to levels is averaged.
_PHASES = 4096


def binary_enhancement(n_inputs: int, *, towards_mean: bool = False) -> float:
    """Return the expected enhancement of binary-amplitude focusing against random patterns with as many inputs on.

    Parameters
    ----------
    n_inputs : int
        Inputs n.
    towards_mean : bool
        Whether the inputs are chosen along the phase of the sum of all of them.

    Returns
    -------
    float
        1 + (n / 2 - 1) / pi (Akbulut et al., Opt. Express 19, 4017, 2011), for a phase that has nothing to do with
        the entries. Along their sum the amplitude is half of sum |Re t| + |sum t|, which adds sqrt(n) / 2, and
        1 + 1 / sqrt(n) times as many inputs are on, in the random patterns too (both to leading order).
    """
    n = validation.integer("n_inputs", n_inputs, low=2)
    value = 1 + (n / 2 - 1) / math.pi
    return (value + math.sqrt(n) / 2) / (1 + 1 / math.sqrt(n)) if towards_mean else value


def phase_enhancement(n_inputs: int, level_turns: np.ndarray | None = None) -> float:
    """Return that of phase-only focusing, pi / 4 (n - 1) + 1 (Vellekoop and Mosk, Opt. Lett. 32, 2309, 2007).

    Parameters
    ----------
    n_inputs : int
        Inputs n.
    level_turns : ndarray of float, shape (levels,), optional
        Phases in turns that there are; each input then shows the nearest one. Any phase by default.

    Returns
    -------
    float
        With levels the first term times the square of the mean cosine of what phases are off by: sinc^2(1 / levels)
        where they divide a turn evenly.
    """
    n = validation.integer("n_inputs", n_inputs, low=1)
    if level_turns is None:
        return math.pi / 4 * (n - 1) + 1
    turns = checked_array("level_turns", level_turns, "the phase of each level, in turns", finite=True)
    asked = (np.arange(_PHASES) + 0.5) / _PHASES
    along = np.exp(2j * np.pi * (turns[nearest_levels(asked, turns)] - asked)).mean()
    return math.pi / 4 * float(abs(along)) ** 2 * (n - 1) + 1


def focus_binary(rows: np.ndarray, phase_rad: float | str = 0.0) -> np.ndarray:
    """Choose for each target the inputs whose field there has a positive part along a phase.

    Parameters
    ----------
    rows : ndarray of complex, shape (targets, inputs) or (inputs,)
        Rows of the transmission matrix.
    phase_rad : float or "mean"
        The phase. Each row's own is arbitrary, so any number is as good as another. "mean": that of the sum of the
        row, which makes the focus a little brighter (`binary_enhancement`).

    Returns
    -------
    ndarray of uint8, shape (targets, inputs)
        0 or 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.
    """
    matrix = _rows(rows)
    if isinstance(phase_rad, str):
        validation.choice("phase_rad", phase_rad, ("mean",))
        turn = np.exp(-1j * np.angle(matrix.sum(axis=1, keepdims=True)))
    else:
        turn = np.exp(-1j * validation.number("phase_rad", phase_rad, low=-1e6, high=1e6))
    return ((matrix * turn).real > 0).astype(np.uint8)


def focus_levels(rows: np.ndarray, level_turns: np.ndarray, phase_rad: float = 0.0) -> np.ndarray:
    """Choose for each target the levels of a phase modulator whose light adds up there: nearest to -arg(t).

    Parameters
    ----------
    rows : ndarray of complex, shape (targets, inputs) or (inputs,)
        Rows t of the transmission matrix.
    level_turns : ndarray of float, shape (levels,)
        Phases of the levels, in turns (`opusim.bench.protocol.Phases`).
    phase_rad : float
        Phase along which they add up, in radians, as in `focus_binary`.

    Returns
    -------
    ndarray of uint8, shape (targets, inputs)
        Levels.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.
    """
    turns = checked_array("level_turns", level_turns, "the phase of each level, in turns", finite=True)
    phase = validation.number("phase_rad", phase_rad, low=-1e6, high=1e6)
    return nearest_levels((phase - np.angle(_rows(rows))) / (2 * np.pi), turns)


def focus_phase(rows: np.ndarray) -> np.ndarray:
    """Return for each target the inputs of modulus 1 that add up there: ``conj(t) / |t|``.

    For mirrors with a phase (Lee holograms) or a phase modulator; an input that does not reach the target gets 1.

    Parameters
    ----------
    rows : ndarray of complex, shape (targets, inputs)
        Rows t of the matrix.

    Returns
    -------
    ndarray of complex64, shape (targets, inputs)
        Inputs.
    """
    matrix = _rows(rows)
    size = np.abs(matrix)
    return np.where(size > 0, matrix.conj() / np.where(size > 0, size, 1), 1).astype(np.complex64)


def phase_enhancement_of(rows: np.ndarray, true_rows: np.ndarray | None = None) -> float:
    """Compute the enhancement of phase-only focusing on a matrix.

    Parameters
    ----------
    rows : ndarray of complex, shape (targets, inputs)
        The matrix that the phases are taken from.
    true_rows : ndarray of complex, shape (targets, inputs), optional
        The matrix that the light goes through; `rows` by default, which flatters a noisy one.

    Returns
    -------
    float
        Intensity at the target over that of random phases, both averaged over the targets.
    """
    matrix = _rows(rows)
    through = matrix if true_rows is None else _rows(true_rows, "true_rows")
    if through.shape != matrix.shape:
        raise ValueError(f"true_rows has shape {through.shape}, but it must have that of rows, {matrix.shape}.")
    # A ratio of powers, which stay within what a number holds.
    through = times_two_to(through, -exponent_of(through))
    power = float(np.sum(np.abs(through) ** 2, dtype=np.float64))
    if power == 0:
        raise ValueError("rows is zero everywhere, but a target must be reached by light.")
    focus = np.sum(through * focus_phase(matrix), axis=1, dtype=np.complex128)
    return float(np.sum(np.abs(focus) ** 2)) / power


@short_repr
@dataclass(frozen=True)
class FocusRecord:
    """What focusing on a bench gave.

    Parameters
    ----------
    enhancement : float
        Mean intensity at the targets over that of random patterns with as many inputs on.
    theory : float
        `binary_enhancement` for a perfect matrix; `phase_enhancement` on a modulator of phases.
    targets : ndarray of int64, shape (n,)
        Pixels, numbered in raster order of the matrix's region.
    focus_dn, random_dn : ndarray of float64, shape (n,)
        Counts at each target, dark level taken off, both for `exposure_s`: focused, and mean of random patterns.
    mean_on : float
        Inputs that are on, on average: all on a modulator of phases.
    exposure_s, focus_exposure_s : float
        Exposures of random and of focusing patterns, in seconds.
    saturated_share : float
        Share of the targets that saturated when focused: the enhancement is then a lower bound.
    """

    enhancement: float = held()
    theory: float = held(low=0.0)
    targets: np.ndarray = held(low=0.0, shape=("targets",), of="whole")
    focus_dn: np.ndarray = held(shape=("targets",), of="number")
    random_dn: np.ndarray = held(shape=("targets",), of="number")
    mean_on: float = held(low=0.0)
    exposure_s: float = held(low=0.0, low_open=True)
    focus_exposure_s: float = held(low=0.0, low_open=True)
    saturated_share: float = held(low=0.0, high=1.0)


def measure_focus(
    bench: Bench,
    record: TmRecord,
    targets: int | np.ndarray = 256,
    *,
    phase_rad: float | str = 0.0,
    exposure_s: float | None = None,
    focus_exposure_s: float | None = None,
    n_random: int = 256,
    dark_n: int = 16,
    full_scale_dn: float | None = None,
    seed: int = 0,
) -> FocusRecord:
    """Bring light to one pixel after the other, with the reference arm blocked, and compare with random patterns.

    Parameters
    ----------
    bench : Bench
        The bench the matrix belongs to.
    record : TmRecord
        From `measure_tm` or `read_tm`.
    targets : int or array_like of int
        Pixels of the matrix's region, or how many of the valid ones, evenly spread.
    phase_rad : float or "mean"
        As for `focus_binary`; on a modulator of phases a number.
    exposure_s, focus_exposure_s : float, optional
        Exposure of random patterns, that of the matrix by default; and of focusing ones, shorter by the enhancement
        that theory lets expect by default, so that they do not saturate.
    n_random : int
        Random patterns, each the rearranged pattern of one of the targets.
    dark_n : int
        Dark frames of each exposure.
    full_scale_dn : float, optional
        Count from which a pixel is saturated; found with the flat field by default.
    seed : int
        Of the random patterns.

    Returns
    -------
    FocusRecord
        Enhancements, and what theory lets expect.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named, a target is not valid, or there is no light.
    """
    chosen = _targets(record, targets)
    n_random = validation.integer("n_random", n_random, low=1)
    turns = level_turns_of(bench)
    if turns is None:
        theory = binary_enhancement(record.n_inputs, towards_mean=isinstance(phase_rad, str))
    else:
        theory = phase_enhancement(record.n_inputs, turns)
    exposure = record.exposure_s if exposure_s is None else exposure_s
    short = exposure / theory if focus_exposure_s is None else focus_exposure_s
    for name, value in (("exposure_s", exposure), ("focus_exposure_s", short)):
        validation.number(name, value, low=0.0, high=3600.0, low_open=True)
    if turns is None:
        bits = focus_binary(record.matrix(chosen), phase_rad)
    elif isinstance(phase_rad, str):
        raise ValueError(f"phase_rad is {phase_rad!r}, but on a modulator of phases it must be a number.")
    else:
        bits = focus_levels(record.matrix(chosen), turns, phase_rad)
    kind = MirrorPatterns if turns is None else PhasePatterns
    draws = np.random.default_rng(validation.integer("seed", seed, low=0))
    others = draws.permuted(bits[np.arange(n_random) % len(bits)], axis=1)

    def shown(patterns: np.ndarray, time_s: float) -> np.ndarray:
        """Return counts (patterns, targets) without the dark level."""
        dark = dark_frames(bench, time_s, dark_n, record.rectangle).reshape(dark_n, -1)[:, chosen].mean(axis=0)
        frames = exposed_each(bench, kind(patterns, record.layout()), exposure_s=time_s, roi=record.rectangle)
        counts = frames.reshape(len(patterns), -1)[:, chosen].astype(np.float64)
        return counts - dark

    limit = saturation_dn(bench, short, record.rectangle, full_scale_dn=full_scale_dn)
    focused = np.diagonal(shown(bits, short))
    random = shown(others, exposure).mean(axis=0)
    if not random.mean() > 0:
        raise ValueError(
            f"Random patterns give {random.mean():.3g} counts on average at an exposure of {exposure:.4g} s: there is "
            "no light."
        )
    focus_dn = focused * (exposure / short)
    return FocusRecord(
        enhancement=float(focus_dn.mean() / random.mean()), theory=theory, targets=chosen, focus_dn=focus_dn,
        random_dn=random, mean_on=_mean_on(bits, turns), exposure_s=exposure, focus_exposure_s=short,
        saturated_share=float(np.mean(focused + record.dark_dn[chosen] >= limit)),
    )  # fmt: skip


def _mean_on(shown: np.ndarray, turns: np.ndarray | None) -> float:
    return float(shown.shape[1] if turns is not None else shown.sum(axis=1).mean())


def _targets(record: TmRecord, targets: Any) -> np.ndarray:
    good = np.flatnonzero(record.valid)
    if isinstance(targets, (int, np.integer)):
        n = validation.integer("targets", targets, low=1, high=len(good))
        return good[np.linspace(0, len(good) - 1, n).round().astype(np.int64)]
    chosen = np.atleast_1d(checked_array("targets", targets, "numbers of pixels", kinds="iu"))
    if chosen.ndim != 1 or not len(chosen):
        raise TypeError(f"targets is {targets!r}, but it must be a whole number or some numbers of pixels.")
    if chosen.min() < 0 or chosen.max() >= record.n_outputs:
        bad = int(chosen.min()) if chosen.min() < 0 else int(chosen.max())
        raise ValueError(f"targets holds {bad}, but the matrix has {record.n_outputs} pixels.")
    if not record.valid[chosen].all():
        bad = int(chosen[~record.valid[chosen]][0])
        raise ValueError(f"targets holds {bad}, but that pixel was left out of the matrix: choose a valid one.")
    return chosen.astype(np.int64)


def _rows(rows: Any, name: str = "rows") -> np.ndarray:
    matrix = np.atleast_2d(checked_array(name, rows, kinds="fc", finite=True))
    if matrix.ndim != 2 or not matrix.size:
        raise TypeError(
            f"{name} is an array of {matrix.dtype} and shape {matrix.shape}, but it must be complex (targets, inputs)."
        )
    return matrix
