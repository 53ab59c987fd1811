"""Patterns of a phase modulator that a matrix is measured with: signs against a reference arm, or halves in turn.

And the light of a reference arm beside them, as none of them is dark.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from opusim.base import rng
from opusim.calibration.algorithms import hadamard
from opusim.patterns.phases import nearest_levels

if TYPE_CHECKING:
    from .steps import Measurement

__all__ = [
    "INTERNAL_STEPS", "HalvesPlan", "SignsPlan", "check_levels", "levels_of_codes", "light_beside", "random_bits",
]  # fmt: skip

#: Steps in turns by which one half of the inputs is turned against the other.
INTERNAL_STEPS = np.array([0.0, 0.25, 0.5, 0.75])
# Vectors of a group, which has an anchor of its own.
_VECTORS = 8
# Farthest that a level may be from the phase that a pattern needs, in turns: 18 degrees, where a difference of two
# patterns is 1.2 % smaller than it is taken for.
_FARTHEST = 0.05
# Share of the bursts of a reference beside phases that must not saturate in a pixel.
_LEAST_BURSTS = 0.5


def check_levels(level_turns: np.ndarray, turns: np.ndarray, what: str) -> None:
    """Refuse a modulator that has no level near one of the phases that patterns need.

    Parameters
    ----------
    level_turns : ndarray of float64, shape (levels,)
        Phases of the levels in turns.
    turns : ndarray of float64
        Phases that are needed, in turns.
    what : str
        What they are for.

    Raises
    ------
    ValueError
        If one is farther from all levels than a twentieth of a turn.
    """
    made = level_turns[nearest_levels(turns, level_turns)]
    away = np.abs((made - turns + 0.5) % 1.0 - 0.5)
    if away.max() > _FARTHEST:
        k = int(away.argmax())
        raise ValueError(
            f"The modulator has no level for a phase of {turns[k]:g} turns: the nearest of its {len(level_turns)} "
            f"levels is {away[k]:.2g} turns away, but {what} needs one within {_FARTHEST:g}."
        )


def levels_of_codes(codes: np.ndarray, level_turns: np.ndarray, step_turns: np.ndarray) -> np.ndarray:
    """Return the levels of patterns under each step of the inputs that are stepped.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, n_inputs)
        As `HalvesPlan.group` has them: bit 0 is 1 for the phase 0, 0 for half a turn; bit 1 is 1 for a stepped input.
    level_turns : ndarray of float64, shape (levels,)
        Phases of the levels in turns.
    step_turns : ndarray of float64, shape (steps,)
        Steps in turns. A stepped input is turned back by them, as a reference that goes forward turns the fringes.

    Returns
    -------
    ndarray of uint8, shape (n * steps, n_inputs)
        Levels, the steps of each pattern one after the other.
    """
    table = np.empty((len(step_turns), 4), dtype=np.uint8)
    for code in range(4):
        turns = (0.0 if code & 1 else 0.5) - (step_turns if code & 2 else np.zeros_like(step_turns))
        table[:, code] = nearest_levels(turns, level_turns)
    return table[:, codes].swapaxes(0, 1).reshape(-1, codes.shape[1])


def random_bits(n: int, n_inputs: int, what: str = "random signs", key: int = 0) -> np.ndarray:
    """Return the same random patterns each time, uint8 0/1 (n, n_inputs)."""
    draws = rng.uniforms(rng.stream_key(key, what), n * n_inputs)
    return (draws < 0.5).astype(np.uint8).reshape(n, -1)


def _anchor(n_inputs: int) -> np.ndarray:
    return random_bits(1, n_inputs, "anchor of phases")[0]


def light_beside(
    m: Measurement,
    n: int,
    limit: float,
    level: Callable[[np.ndarray], np.ndarray],
    phases: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return |R|^2 and where frames saturate, (n_pixels,), on a modulator that is never dark.

    Steps' mean less the frame with the arm shut is |R|^2, whatever the pattern: each burst has one of its own. Bursts
    in which a pixel saturates are left out there.

    Parameters
    ----------
    m : Measurement
        With a modulator of phases, and a reference arm.
    n : int
        Bursts.
    limit : float
        Count from which a pixel is saturated.
    level : callable
        Steps' mean (patterns, n_pixels) of frames (patterns, phases, n_pixels).
    phases : ndarray of float, shape (phases,), optional
        Phases of a burst, in radians; the steps by default.
    """
    light, used = np.zeros(m.n_pixels), np.zeros(m.n_pixels, dtype=np.int64)
    bits = random_bits(n, m.layout.n_features_total)
    for first in range(0, n, m.patterns_at_once):
        part = bits[first : first + m.patterns_at_once]
        frames = m.expose(part, phases=phases)
        blocked = m.expose(part, stepped=False)[:, 0]
        good = (frames < limit).all(axis=1) & (blocked < limit)
        light += np.where(good, level(frames) - blocked, 0).sum(axis=0)
        used += good.sum(axis=0)
    return light / np.maximum(used, 1), used < _LEAST_BURSTS * n


class SignsPlan:
    """Each Hadamard vector as a pattern of its signs and one of the opposite ones, against the reference arm.

    Half their difference is the unit, half their sum what no sign turns: the background. A group is an anchor of random
    signs and up to eight vectors.
    """

    name: ClassVar[str] = "hadamard"
    anchor_patterns: ClassVar[int] = 1

    def __init__(self, n_inputs: int, repeats: int) -> None:
        self.n_inputs, self.repeats = n_inputs, repeats
        self.n_units = hadamard.padded_order(n_inputs)
        self._width = min(_VECTORS, self.n_units)
        self.n_groups = self.n_units // self._width
        self._signs, self._anchor = hadamard.column_signs(n_inputs), _anchor(n_inputs)

    def patterns(self, first: int, stop: int) -> int:
        """Two for each vector, and the anchors."""
        return (stop - first) * (1 + 2 * self._width) * self.repeats

    def units(self, first: int, stop: int) -> int:
        """One for each vector."""
        return (stop - first) * self._width

    def group(self, number: int) -> np.ndarray:
        """Return the anchor, the vectors of this group, and their opposites: 1 for +1, 0 for -1."""
        first = number * self._width
        plus = (hadamard.rows(first, first + self._width, self.n_inputs) * self._signs > 0).astype(np.uint8)
        return np.concatenate([self._anchor[None], plus, 1 - plus])

    def split(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return anchor, half the mean sum, half the differences."""
        plus, minus = q[1 : 1 + self._width], q[1 + self._width :]
        half = q.dtype.type(0.5)
        return q[0], (plus + minus).mean(axis=0) * half, (plus - minus) * half

    def columns(self, units: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Undo the Hadamard matrix."""
        signs = self._signs.astype(np.float32)[:, None]
        return hadamard.fast_transform(units)[: self.n_inputs] * (signs / np.float32(self.n_units))

    def noise_share(self) -> float:
        """Return 1 / (2 order): half a difference has half the variance of a field."""
        return 0.5 / self.n_units


class HalvesPlan:
    """One half of the inputs is stepped in phase against the other, which stands still, and then the other way round.

    Every other input is of the first half. The half that is stepped shows a Hadamard vector, the other one signs that
    stay: a reference within the light itself (Popoff et al., Phys. Rev. Lett. 104, 100601, 2010, who step all inputs
    against pixels around them). A group is an anchor, up to eight vectors of the first half, as many of the second.
    """

    name: ClassVar[str] = "hadamard"
    anchor_patterns: ClassVar[int] = 1

    def __init__(self, n_inputs: int, repeats: int) -> None:
        self.n_inputs, self.repeats = n_inputs, repeats
        self.order = hadamard.padded_order(-(-n_inputs // 2))
        self.n_units = 2 * self.order
        self._width = min(_VECTORS, self.order)
        self.n_groups = self.order // self._width
        #: Which inputs are of each half, and the signs that they show while they stand still.
        self.halves = (np.arange(0, n_inputs, 2), np.arange(1, n_inputs, 2))
        self.base = _anchor(n_inputs)
        self._signs = tuple(hadamard.column_signs(len(half)) for half in self.halves)

    def patterns(self, first: int, stop: int) -> int:
        """One for each vector of each half, and the anchors."""
        return (stop - first) * (1 + 2 * self._width) * self.repeats

    def units(self, first: int, stop: int) -> int:
        """One for each vector of each half."""
        return (stop - first) * 2 * self._width

    def stepped(self, half: int, bits: np.ndarray) -> np.ndarray:
        """Return codes (n, n_inputs) of patterns: bits (n, inputs of a half) for the stepped half, beside the base."""
        codes = np.tile(self.base, (len(bits), 1))
        codes[:, self.halves[half]] = bits | np.uint8(2)
        return codes

    def group(self, number: int) -> np.ndarray:
        """Return the codes of anchor and vectors: bit 0 is the sign, bit 1 whether the input is stepped."""
        first, parts = number * self._width, [self.stepped(0, self.base[None, self.halves[0]])]
        for half, signs in enumerate(self._signs):
            vectors = hadamard.rows(first, first + self._width, len(signs)) * signs
            parts.append(self.stepped(half, (vectors > 0).astype(np.uint8)))
        return np.concatenate(parts)

    def split(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return anchor, nothing, and the vectors of both halves: what stands still drops out."""
        return q[0], None, q[1:]

    def columns(self, units: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Undo the Hadamard matrix of each half; those of the second are joined to the first by `joined`."""
        columns = np.empty((self.n_inputs, units.shape[1]), dtype=units.dtype)
        by_half = units.reshape(self.n_groups, 2, self._width, -1)
        for half, (inputs, signs) in enumerate(zip(self.halves, self._signs, strict=True)):
            own = np.ascontiguousarray(by_half[:, half]).reshape(self.order, -1)
            scale = signs.astype(np.float32)[:, None] / np.float32(self.order)
            columns[inputs] = hadamard.fast_transform(own)[: len(inputs)] * scale
        return columns

    def joined(self, columns: np.ndarray, join: np.ndarray) -> np.ndarray:
        """Turn the columns (n_inputs, n) of the second half to the reference of the first one, by `join` (n,)."""
        columns[self.halves[1]] *= join
        return columns

    def noise_share(self) -> float:
        """Return 1 / order: an entry is the mean of as many fields."""
        return 1.0 / self.order
