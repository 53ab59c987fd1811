"""Which binary patterns a matrix is measured with, in groups that each hold an anchor, and how columns come of them."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from opusim.base import rng
from opusim.calibration.algorithms import hadamard

from .phases import HalvesPlan, SignsPlan

__all__ = ["PLANS", "CanonicalPlan", "HadamardPlan", "PatternPlan", "plan_of"]


class PatternPlan(Protocol):
    """Groups of patterns. Each group is shown `repeats` times in turn; it gives an anchor, a background and units."""

    n_inputs: int
    repeats: int
    n_groups: int
    n_units: int
    anchor_patterns: ClassVar[int]

    def patterns(self, first: int, stop: int) -> int:
        """Return how many patterns the groups from `first` to `stop` take, repeats included."""
        ...

    def units(self, first: int, stop: int) -> int:
        """Return how many units these groups give."""
        ...

    def group(self, number: int) -> np.ndarray:
        """Return the patterns of a group, shown once: uint8 0/1 (patterns, n_inputs)."""
        ...

    def split(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return (anchor, background if the group has one, units) of a group's fields (patterns, n_pixels)."""
        ...

    def columns(self, units: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Return the columns (n_inputs, n) of all units (n_units, n) and the mean background (n,)."""
        ...

    def noise_share(self) -> float:
        """Return the variance of an entry over that of the anchor, if all fields have one noise."""
        ...


class HadamardPlan:
    """Each Hadamard vector as a pattern of its +1 and one of its -1; their difference is the unit.

    The sum of the two is the field of all inputs, the same for each pair: the anchor. The random signs of
    `hadamard.column_signs` keep each pattern at about half of the inputs.
    """

    name: ClassVar[str] = "hadamard"
    anchor_patterns: ClassVar[int] = 2

    def __init__(self, n_inputs: int, repeats: int) -> None:
        self.n_inputs, self.repeats = n_inputs, repeats
        self.n_groups = self.n_units = hadamard.padded_order(n_inputs)
        self._signs = hadamard.column_signs(n_inputs)

    def patterns(self, first: int, stop: int) -> int:
        """Two for each vector."""
        return 2 * (stop - first) * self.repeats

    def units(self, first: int, stop: int) -> int:
        """One for each vector."""
        return stop - first

    def group(self, number: int) -> np.ndarray:
        """Return the inputs at +1, then those at -1."""
        plus = (hadamard.rows(number, number + 1, self.n_inputs) * self._signs > 0).astype(np.uint8)
        return np.concatenate([plus, 1 - plus])

    def split(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Sum, nothing, difference: the background drops out."""
        return q[0] + q[1], None, (q[0] - q[1])[None]

    def columns(self, units: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Undo the Hadamard matrix."""
        signs = self._signs.astype(np.float32)[:, None]
        return hadamard.fast_transform(units)[: self.n_inputs] * (signs / np.float32(self.n_units))

    def noise_share(self) -> float:
        """Return 1 / order: a difference is as noisy as a sum, and an entry is the mean of as many."""
        return 1.0 / self.n_units


class CanonicalPlan:
    """One input on at a time. A group: a random half on (the anchor), all off (the background), eight inputs."""

    name: ClassVar[str] = "canonical"
    columns_a_group: ClassVar[int] = 8
    anchor_patterns: ClassVar[int] = 1

    def __init__(self, n_inputs: int, repeats: int) -> None:
        self.n_inputs = self.n_units = n_inputs
        self.repeats = repeats
        self.n_groups = -(-n_inputs // self.columns_a_group)
        draws = rng.uniforms(rng.stream_key(0, "anchor pattern"), n_inputs)
        # The half with the lowest draws: exactly half, whatever the number of inputs.
        self._anchor = (np.argsort(np.argsort(draws)) < max(1, n_inputs // 2)).astype(np.uint8)

    def patterns(self, first: int, stop: int) -> int:
        """Columns, and two for each group."""
        return (self.units(first, stop) + 2 * (stop - first)) * self.repeats

    def units(self, first: int, stop: int) -> int:
        """Columns of these groups."""
        width = self.columns_a_group
        return min(self.n_inputs, stop * width) - min(self.n_inputs, first * width)

    def group(self, number: int) -> np.ndarray:
        """Return anchor, nothing, and the inputs of this group."""
        first = number * self.columns_a_group
        n = self.units(number, number + 1)
        bits = np.zeros((2 + n, self.n_inputs), dtype=np.uint8)
        bits[0] = self._anchor
        bits[2 + np.arange(n), first + np.arange(n)] = 1
        return bits

    def split(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return the three parts as they are; the background is taken off at the end, when its mean is known."""
        return q[0], q[1], q[2:]

    def columns(self, units: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Take the mean background off."""
        return units - background

    def noise_share(self) -> float:
        """Return 1 + 1 / groups: an entry's own noise and that of the mean background."""
        return 1.0 + 1.0 / self.n_groups


#: On mirrors, by the name of their basis.
PLANS: dict[str, type[HadamardPlan] | type[CanonicalPlan]] = {"hadamard": HadamardPlan, "canonical": CanonicalPlan}


def plan_of(basis: str, n_inputs: int, repeats: int, *, phases: bool = False, internal: bool = False) -> PatternPlan:
    """Return the plan of a basis, on mirrors or on a modulator of phases.

    Parameters
    ----------
    basis : str
        One of `PLANS`.
    n_inputs, repeats : int
        Inputs, and how often each pattern is measured.
    phases : bool
        Whether they turn phases.
    internal : bool
        Whether one half of the inputs is the reference of the other.

    Raises
    ------
    ValueError
        If there is no such plan.
    """
    if not phases:
        return PLANS[basis](n_inputs, repeats)
    if basis != "hadamard":
        raise ValueError(
            f"basis is {basis!r}, but the bench has a modulator of phases, of which no input is ever alone in the "
            "light: it must be 'hadamard'."
        )
    return HalvesPlan(n_inputs, repeats) if internal else SignsPlan(n_inputs, repeats)
