"""What procedures have a bench do: dark frames, a fixed pattern, and how bright a saturated pixel is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.user_arrays import as_numpy
from opusim.bench.inputs import checked_phases
from opusim.bench.protocol import (
    Bench,
    Drivable,
    Exposing,
    Lamp,
    checked_bench,
    has,
    input_layout_of,
    lags_of,
    level_turns_of,
)
from opusim.bench.region import AnyRoi
from opusim.bench.returned import exposed, flat_frames, number_of_patterns
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.phases import PhasePatterns, driven, nearest_levels

__all__ = [
    "all_off", "checked_full_scale", "dark_frames", "exposed_each", "exposed_steadily", "feature_layout",
    "random_mirrors", "random_patterns", "repeated", "saturation_dn", "shown_features", "shown_mirrors",
]  # fmt: skip

_MACRO_PIXELS = 1024


def dark_frames(bench: Exposing, exposure_s: float, n: int, roi: AnyRoi | None = None) -> np.ndarray:
    """Return frames with the laser shut.

    Parameters
    ----------
    bench : Exposing
        Takes them.
    exposure_s : float
        Exposure in seconds.
    n : int
        How many frames.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the whole sensor by default.

    Returns
    -------
    ndarray, shape (n, n_rows, n_columns)
        Counts, in the camera's type.
    """
    return exposed(bench, None, exposure_s=exposure_s, n_frames=n, roi=roi)


def exposed_steadily(bench: Bench, mirrors: Any, *, reference_phase_rad: Any = None, **how: Any) -> np.ndarray:
    """Return frames as they are amid a sequence: on a bench that lags the last ones are shown before the first ones.

    The first frame of a call finds a flushed camera, and would be darker than the others. Frames of one pattern under
    one phase are then without anything of another one.

    Parameters
    ----------
    bench : Bench
        Takes them. Of one that does not lag (`opusim.bench.protocol.Lagging`) they are those of ``exposed``.
    mirrors : ndarray or MirrorPatterns
        Patterns, as for `opusim.bench.protocol.Bench.expose`.
    reference_phase_rad : float or array_like of float, optional
        Phases of the reference arm in radians; None blocks it.
    **how
        What else ``Bench.expose`` takes.

    Returns
    -------
    ndarray, shape (n * number of phases, n_rows, n_columns)
        Counts.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As for ``opusim.bench.returned.exposed``.
    """
    if not lags_of(bench) or mirrors is None:  # frames without light are steady anyway
        return exposed(bench, mirrors, reference_phase_rad=reference_phase_rad, **how)
    mirrors, phases = shown_mirrors(mirrors, bench), checked_phases(reference_phase_rad, True)
    n, steps = number_of_patterns(bench, mirrors), 1 if phases is None else len(phases)
    if not n:
        return exposed(bench, mirrors, reference_phase_rad=phases, **how)
    if n == 1 and phases is not None and steps > 1:  # one frame will do, and not a whole burst
        return exposed(bench, mirrors, reference_phase_rad=np.concatenate([phases[-1:], phases]), **how)[1:]
    shown = _chosen(bench, mirrors, np.append(n - 1, np.arange(n)))
    return exposed(bench, shown, reference_phase_rad=phases, **how)[steps:]


def exposed_each(bench: Bench, mirrors: Any, *, reference_phase_rad: Any = None, **how: Any) -> np.ndarray:
    """Return frames without anything of another one: on a bench that lags each is taken twice, and the second is kept.

    Parameters
    ----------
    bench : Bench
        Takes them. Of one that does not lag (`opusim.bench.protocol.Lagging`) they are those of ``exposed``.
    mirrors : ndarray or MirrorPatterns
        Patterns, as for `opusim.bench.protocol.Bench.expose`.
    reference_phase_rad : float or array_like of float, optional
        Phases of the reference arm in radians; None blocks it.
    **how
        What else ``Bench.expose`` takes.

    Returns
    -------
    ndarray, shape (n * number of phases, n_rows, n_columns)
        Counts.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As for ``opusim.bench.returned.exposed``.
    """
    if not lags_of(bench) or mirrors is None:
        return exposed(bench, mirrors, reference_phase_rad=reference_phase_rad, **how)
    mirrors, phases = shown_mirrors(mirrors, bench), checked_phases(reference_phase_rad, True)
    if phases is None:
        twice = np.repeat(np.arange(number_of_patterns(bench, mirrors)), 2)
        return exposed(bench, _chosen(bench, mirrors, twice), **how)[1::2]
    return exposed(bench, mirrors, reference_phase_rad=np.repeat(phases, 2), **how)[1::2]


def _chosen(bench: Bench, mirrors: Any, which: np.ndarray) -> Any:
    """Return some of the patterns, in any form that a bench takes, by their numbers."""
    if isinstance(mirrors, MirrorPatterns):
        return type(mirrors)(mirrors.bits[which], mirrors.layout)
    array, _ = as_numpy(mirrors, "mirrors", "an array of 0 and 1, or MirrorPatterns")
    alone = array.shape == tuple(bench.mirror_shape) and number_of_patterns(bench, array) == 1
    return (array[None] if alone else array)[which]


def repeated(bench: Bench, mirrors: Any, n: int) -> Any:
    """Return the first of some patterns so many times, in any form that a bench takes.

    Parameters
    ----------
    bench : Bench
        Whose mirrors they are.
    mirrors : ndarray or MirrorPatterns
        Patterns, as for `opusim.bench.protocol.Bench.expose`.
    n : int
        How often.

    Returns
    -------
    ndarray or MirrorPatterns
        The patterns.
    """
    return _chosen(bench, shown_mirrors(mirrors, bench), np.zeros(n, dtype=np.int64))


def feature_layout(bench: Bench, n: int | None = None) -> MirrorLayout:
    """Return how features lie on the mirrors, in line: on the inputs of the bench, or on macro-pixels that fill them.

    Parameters
    ----------
    bench : Bench
        Whose mirrors they are.
    n : int, optional
        How many features; all inputs that the bench has of its own by default, else 1024 or as many as mirrors.

    Returns
    -------
    MirrorLayout
        The layout: of a bench with inputs of its own (`opusim.bench.protocol.Inputs`) of the first `n` of them.

    Raises
    ------
    TypeError, ValueError
        If `n` is no whole number from 1 to the number of inputs.
    """
    own, shape = input_layout_of(bench), bench.mirror_shape
    n_mirrors = shape[0] * shape[1]
    if own is None:
        return MirrorLayout.lined(
            shape, min(_MACRO_PIXELS, n_mirrors) if n is None else validation.integer("n", n, low=1, high=n_mirrors)
        )
    return own if n is None else own.first(n)


def random_patterns(bench: Bench, n: int, *, seed: int = 0) -> MirrorPatterns:
    """Return patterns of random macro-pixels, or inputs of the bench: half of them on, or of random phases.

    Parameters
    ----------
    bench : Bench
        Whose mirrors they are.
    n : int
        How many.
    seed : int
        Which patterns.

    Returns
    -------
    MirrorPatterns
        The same ones for the same seed, number and bench. Of inputs that the bench has of its own exactly half are on,
        since of few inputs drawn one by one none might be. On a modulator of phases
        (`opusim.bench.protocol.Phases`) `PhasePatterns`, each phase drawn from a whole turn.
    """
    layout, draws, turns = feature_layout(bench), np.random.default_rng(seed), level_turns_of(bench)
    total = layout.n_features_total
    if turns is not None:
        return PhasePatterns(nearest_levels(draws.random((n, total)), turns), layout)
    if input_layout_of(bench) is None:
        return MirrorPatterns(draws.integers(0, 2, (n, total), dtype=np.uint8), layout)
    half = (np.arange(total) < (total + 1) // 2).astype(np.uint8)
    return MirrorPatterns(draws.permuted(np.tile(half, (n, 1)), axis=1), layout)


def random_mirrors(bench: Bench, *, seed: int = 0) -> np.ndarray | MirrorPatterns:
    """Return a fixed pattern with about half of the mirrors on.

    Parameters
    ----------
    bench : Bench
        Whose mirrors they are.
    seed : int
        Which pattern.

    Returns
    -------
    ndarray of bool, shape (1, rows, columns), or MirrorPatterns
        The same one for the same seed and shape. On a bench with inputs of its own one pattern of these, on a
        modulator of phases one of `random_patterns`.
    """
    if input_layout_of(bench) is not None or level_turns_of(bench) is not None:
        return random_patterns(bench, 1, seed=seed)
    return np.random.default_rng(seed).random((1, *bench.mirror_shape)) < 0.5


def all_off(bench: Bench) -> np.ndarray | MirrorPatterns:
    """Return one pattern with every mirror off, or every input of a bench with inputs of its own.

    Parameters
    ----------
    bench : Bench
        Whose mirrors they are.

    Returns
    -------
    ndarray of uint8, shape (1, rows, columns), or MirrorPatterns
        The pattern.

    Raises
    ------
    ValueError
        If the bench has a modulator of phases, none of whose pixels is ever dark.
    """
    if level_turns_of(bench) is not None:
        raise ValueError("The bench has a modulator of phases, and no pattern of these is dark: there is none all off.")
    own = input_layout_of(bench)
    if own is None:
        return np.zeros((1, *bench.mirror_shape), dtype=np.uint8)
    return MirrorPatterns(np.zeros((1, own.n_features_total), dtype=np.uint8), own)


def shown_features(bench: Bench, bits: np.ndarray, layout: MirrorLayout) -> MirrorPatterns:
    """Return patterns of two values as a bench shows them: mirrors on for 1, or half a turn of phase for 0 against 1.

    Parameters
    ----------
    bench : Bench
        Whose mirrors or pixels they are.
    bits : ndarray of uint8, shape (n, n_features)
        0 and 1.
    layout : MirrorLayout
        Where they go.

    Returns
    -------
    MirrorPatterns
        Of bits; on a modulator of phases `PhasePatterns`, 1 as the phase 0 and 0 as half a turn.
    """
    turns, bits = level_turns_of(bench), layout.check_bits(bits)
    if turns is None:
        return MirrorPatterns(bits, layout)
    return PhasePatterns(nearest_levels(np.array([0.5, 0.0]), turns)[bits], layout)


def shown_mirrors(mirrors: Any, bench: Any) -> Any:
    """Return patterns in a form that every bench takes, or raise a sentence: a bench of one's own may not look.

    Parameters
    ----------
    mirrors : ndarray or MirrorPatterns
        Patterns, as for ``Bench.expose``.
    bench : Bench
        That shows them: whether it has mirrors or turns phases.

    Returns
    -------
    ndarray or MirrorPatterns
        The same; phases in turns (floats) as the nearest levels.

    Raises
    ------
    TypeError
        If they are no array of bool or uint8; or bits for a bench that turns phases, or levels for mirrors.
    ValueError
        If phases or levels are not what they may be.
    """
    turns = level_turns_of(bench)
    if isinstance(mirrors, MirrorPatterns):
        if isinstance(mirrors, PhasePatterns) != (turns is not None):
            given, has_, give = (
                ("bits of mirrors", "a modulator of phases", "opusim.patterns.phases.PhasePatterns")
                if turns is not None
                else ("levels of phases", "mirrors, which are on or off", "opusim.patterns.layout.MirrorPatterns")
            )
            raise TypeError(f"mirrors holds {given}, but the bench has {has_}: give {give}.")
        return mirrors
    if turns is None:
        array, _ = as_numpy(mirrors, "mirrors", "an array of 0 and 1, or MirrorPatterns")
        if array.dtype not in (np.bool_, np.uint8):
            raise TypeError(f"mirrors has type {array.dtype}, but it must be bool or uint8.")
        return array
    array, _ = as_numpy(mirrors, "mirrors", "an array of phases in turns, or of levels, or PhasePatterns")
    return driven("mirrors", array, turns)


def checked_full_scale(full_scale_dn: Any) -> float | None:
    """Return the count of a saturated pixel that is given, or None where none is.

    Parameters
    ----------
    full_scale_dn : float or None
        What is given; inf for a camera that never clips.

    Returns
    -------
    float or None
        The count.

    Raises
    ------
    TypeError, ValueError
        If it is no number above 0.
    """
    if full_scale_dn is None:
        return None
    return validation.number("full_scale_dn", full_scale_dn, low=0.0, high=math.inf, low_open=True, allow_inf=True)


def saturation_dn(
    bench: Any, exposure_s: float, roi: AnyRoi | None = None, *, full_scale_dn: float | None = None
) -> float:  # fmt: skip
    """Return the count from which a pixel is taken as saturated; inf for a camera that returns floats.

    With a `Lamp` two flat fields of far too much light are taken. They read full scale, or, where the full well comes
    first, that level with its read noise: then four standard deviations below it. Without one it is the full scale that
    the record of a `Drivable` bench names.

    Parameters
    ----------
    bench : object
        Any bench.
    exposure_s : float
        Exposure in seconds.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the whole sensor by default.
    full_scale_dn : float, optional
        The count where it is given: the bench is not asked then.

    Returns
    -------
    float
        The count.

    Raises
    ------
    TypeError, ValueError
        If the bench has neither, or what is given is no number above 0.
    """
    if (given := checked_full_scale(full_scale_dn)) is not None:
        return given
    if not has(bench, Lamp):
        checked_bench(bench, Drivable, why="Or give it a flat_field (Lamp), or name full_scale_dn where it is asked.")
        camera = bench.device.camera
        return float(camera.full_scale_dn) if camera.quantise else math.inf
    frames = flat_frames(bench, 1e9, exposure_s=exposure_s, n_frames=2, roi=roi)
    if frames.dtype.kind == "f":
        return math.inf
    level = frames.astype(np.float64)
    return float(math.floor(level.mean() - 4 * level.std())) if level.std() else float(level.flat[0])
