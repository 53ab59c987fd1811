"""What a modulator shows of the values that a user passes: bits of mirrors, or phases in levels.

`values_of` asks a device's modulator once; all that differs between the two stands here.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from opusim.base import arrays, elementary
from opusim.base.errors import InputTypeError, NotReadyError
from opusim.base.rng import stream_key, uniforms
from opusim.base.short_repr import short_repr
from opusim.bench.protocol import level_turns_of
from opusim.device.slm import PhaseSlm
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.phases import PhasePatterns, doubt_of_bits, driven, nearest_levels

__all__ = ["BITS", "Bits", "Levels", "Probes", "Values", "anchor", "anchor_on", "values_of"]

# Numbers that become levels together, so that what is in between, in double precision, stays in cache.
_STEP = 1 << 15


class Values(ABC):
    """What the values of vectors are for a modulator.

    Attributes
    ----------
    binary : bool
        Whether they are bits, which can be counted, packed and combined.
    what : str
        What they are, in sentences: an array of what.
    """

    binary: ClassVar[bool]
    what: ClassVar[str]

    @abstractmethod
    def check_dtype(self, dtype: np.dtype[Any], packed: bool) -> None:
        """Raise an InputTypeError if values of a type cannot be shown; packed ones may be shown or not."""

    @abstractmethod
    def all_good(self, array: np.ndarray) -> bool:
        """Return whether a quick look says that all can be shown; if not, `good` says which."""

    @abstractmethod
    def good(self, part: Any) -> Any:
        """Return which values can be shown: bools, of an array's own library."""

    @abstractmethod
    def refusal(self, index: str, value: Any, seen: Any) -> str:
        """Return the sentence for one that cannot, which may tell of those around it that were seen until there."""

    @abstractmethod
    def shown(self, part: np.ndarray) -> np.ndarray:
        """Return what is shown for vectors (n, n_features): uint8, in order in memory; a view where possible."""

    @abstractmethod
    def patterns(self, shown: Any, layout: MirrorLayout) -> MirrorPatterns:
        """Return what was shown, (n, n_features), with its layout, as the bench takes it."""

    @abstractmethod
    def probes(self, n_features: int) -> Probes:
        """Return the patterns that tell what is measured once for a fit."""

    def doubt(self, dtype: np.dtype[Any], shown: np.ndarray) -> str:
        """Return a sentence if the values are hardly meant as what they are; else nothing."""
        return ""

    def check_encoded(self, encoder: Any, made: Any) -> None:  # noqa: B027
        """Raise an InputTypeError if an encoder made what cannot be shown."""


@dataclass(frozen=True)
class Bits(Values):
    """Mirrors that are on or off: values are 0 and 1."""

    binary: ClassVar[bool] = True
    what: ClassVar[str] = "0 and 1"

    def check_dtype(self, dtype: np.dtype[Any], packed: bool) -> None:
        """Raise an InputTypeError if values of a type cannot be bits, or packed bits."""
        if packed and dtype != np.uint8:
            raise InputTypeError(f"X has dtype {dtype}, but packed input must be uint8.")
        if dtype.kind not in "buif":
            raise InputTypeError(
                f"X has dtype {dtype}, but it must be bool, integer or float, with only 0 and 1 in it."
            )

    def all_good(self, array: np.ndarray) -> bool:
        """Return whether a quick look says that all are 0 or 1: of whole numbers and bools alone."""
        kind = array.dtype.kind
        return kind == "b" or (kind in "ui" and bool(array.max() <= 1) and (kind == "u" or bool(array.min() >= 0)))

    def good(self, part: Any) -> Any:
        """Return which values are 0 or 1."""
        return (part == 0) | (part == 1)

    def refusal(self, index: str, value: Any, seen: Any) -> str:
        """Return the sentence for a value that is neither 0 nor 1."""
        told = ""
        if isinstance(value, (float, np.floating)) and 0 < value < 1:
            told = "; phases need a device with a phase modulator"
        return (
            f"X should be binary, but X[{index}] is {value}: it may contain only 0 and 1 "
            f"(an encoder makes bits of other data{told})."
        )

    def shown(self, part: np.ndarray) -> np.ndarray:
        """Return the bits: a view of single bytes that are in order."""
        if part.dtype.itemsize == 1:
            return np.ascontiguousarray(part).view(np.uint8)
        return part.astype(np.uint8)

    def patterns(self, shown: Any, layout: MirrorLayout) -> MirrorPatterns:
        """Return bits with their layout."""
        return MirrorPatterns.of_checked(shown, layout)

    def probes(self, n_features: int) -> Probes:
        """Return all off, a random half of the features, and the other half: together they have each once."""
        r = anchor(n_features)
        return Probes(np.stack([np.zeros_like(r), r, 1 - r]), (1.0, 0.0, 0.0), (1, 2), n_features)


BITS = Bits()
"""Those of mirrors."""


@dataclass(frozen=True)
class Levels(Values):
    """Pixels that turn the phase: values are phases in turns, or levels.

    Parameters
    ----------
    turns : tuple of float
        Phase of each level in turns, as the modulator's table says.
    """

    turns: tuple[float, ...]

    binary: ClassVar[bool] = False
    what: ClassVar[str] = "phases in turns, or of levels"

    @cached_property
    def _table(self) -> np.ndarray:
        return np.array(self.turns)

    def check_dtype(self, dtype: np.dtype[Any], packed: bool) -> None:
        """Raise an InputTypeError if values of a type are neither phases nor levels, or if they are packed."""
        if packed:
            raise InputTypeError(
                "packed is True, but this device has a phase modulator, whose levels cannot be packed: give phases in "
                "turns as floats, or levels as whole numbers."
            )
        try:
            driven("X", np.empty(0, dtype), self._table)
        except TypeError as error:
            raise InputTypeError(str(error)) from None

    def all_good(self, array: np.ndarray) -> bool:
        """Return whether all are within what they may be."""
        top = 1 if array.dtype.kind == "f" else len(self.turns)
        return bool(array.min() >= 0) and bool(array.max() < top)  # a NaN is neither

    def good(self, part: Any) -> Any:
        """Return which phases are from 0 to below 1, or which levels there are."""
        return (part >= 0) & (part < (1 if part.dtype.kind == "f" else len(self.turns)))

    def refusal(self, index: str, value: Any, seen: Any) -> str:
        """Return the sentence for a phase or a level that there is not."""
        if not isinstance(value, (float, np.floating)):
            return f"X[{index}] is {value}, but levels of this phase modulator go from 0 to {len(self.turns) - 1}."
        told = ""
        if value == 1:
            bits = bool(((seen == 0) | (seen == 1)).all())
            told = ": a whole turn is 0, " + (
                "and bits may be shown as phases by 0.5 * X" if bits else "and X % 1 takes whole turns off"
            )
        elif np.isfinite(value):
            told = ": phases in radians, divided by 2 pi, modulo 1"
        return f"X[{index}] is {value}, but phases are in turns of 2 pi, from 0 to below 1{told}."

    def shown(self, part: np.ndarray) -> np.ndarray:
        """Return the levels: those nearest to phases, or whole numbers as they are."""
        if part.dtype.kind != "f":
            return np.ascontiguousarray(part, dtype=np.uint8)
        n, n_features = part.shape
        levels, rows = np.empty(part.shape, dtype=np.uint8), max(1, _STEP // n_features)
        for first in range(0, n, rows):
            for start in range(0, n_features, _STEP):
                block = slice(first, first + rows), slice(start, start + _STEP)
                levels[block] = nearest_levels(part[block], self._table)
        return levels

    def patterns(self, shown: Any, layout: MirrorLayout) -> PhasePatterns:
        """Return levels with their layout, from the machine's own memory."""
        return PhasePatterns.of_checked(arrays.of(shown).to_host(shown), layout)

    def probes(self, n_features: int) -> Probes:
        """Return random levels, and the same a third and two thirds of a turn on.

        The light that no level turns is the mean of the three, with weights where levels are no thirds of a turn. A
        smooth error of the levels' phases shows in harmonics of the phase; of those the mean leaves each third one.
        Levels of uneven phases take those nearest to the thirds, and leave what they differ by.
        """
        levels, step = len(self.turns), self.turns[1]
        if not (step > 0 and np.allclose(self._table, np.arange(levels) * step, rtol=0, atol=1e-9)):
            return self._uneven_probes(n_features)
        turns = float(f"{step * levels:.12g}")  # as it was given, but for the rounding of a step
        steps = np.minimum(np.rint(np.arange(3) * levels / (3 * turns)), levels - 1).astype(np.int64)
        round_about = turns.is_integer()  # the level above the last one is level 0
        count = levels if round_about else levels - int(steps[-1])
        random = np.floor(uniforms(stream_key(0, "levels of the linear transform", n_features), n_features) * count)
        patterns = (random.astype(np.int64) + steps[[1, 0, 2], None]) % levels
        turned = elementary.phasors(2 * np.pi * turns / levels * steps[[1, 0, 2]], np.complex128)
        total = complex(turned[0] + turned[1] + turned[2])
        # Of all weights with the sum 1 whose sum with these phasors is 0, the smallest.
        left = 9 - (total.real * total.real + total.imag * total.imag)
        if left < 1e-9:
            raise NotReadyError(
                f"The {levels} levels of this phase modulator span {turns:g} turns, so that none of them turns the "
                "light by another phase: linear_transform has nothing to measure."
            )
        weights = [(3 - total * complex(one).conjugate()) / left for one in turned]
        return Probes(patterns.astype(np.uint8), tuple(weights), (0, 1, 2), 3 * n_features)

    def _uneven_probes(self, n_features: int) -> Probes:
        levels = len(self.turns)
        drawn = uniforms(stream_key(0, "levels of the linear transform", n_features), n_features) * levels
        asked = self._table[np.floor(drawn).astype(np.int64)] + np.array([[1 / 3], [0.0], [2 / 3]])
        return Probes(nearest_levels(asked, self._table), (1 / 3,) * 3, (0, 1, 2), 3 * n_features)

    def doubt(self, dtype: np.dtype[Any], shown: np.ndarray) -> str:
        """Return a sentence for whole numbers that are only 0 and 1, as bits are, where there are more levels."""
        return doubt_of_bits("X", dtype.kind, shown, len(self.turns))

    def check_encoded(self, encoder: Any, made: Any) -> None:
        """Raise an InputTypeError if an encoder made bits: bools, or one of ours only 0 and 1."""
        from opusim.encoding.base import BaseTransformer, NoEncoding

        kind = str(getattr(made, "dtype", "")).removeprefix("torch.")
        ours = isinstance(encoder, BaseTransformer) and not isinstance(encoder, NoEncoding)
        if kind == "bool" or (ours and "int" in kind and 0 not in made.shape and made.max() <= 1):
            raise InputTypeError(
                f"{encoder!r} makes bits, but this device has a phase modulator, which is neither on nor off: leave "
                "the encoder out and give phases in turns, or use one that makes phases or levels."
            )


def values_of(device: Any, bench: Any = None) -> Values:
    """Return what values are for the modulator of a device.

    Parameters
    ----------
    device : Device
        The device, or what a laboratory's bench says of its own.
    bench : Bench, optional
        The bench that it stands on, which is asked for its levels first (`opusim.bench.protocol.Phases`).

    Returns
    -------
    Values
        `BITS`, or `Levels` of its phase modulator.
    """
    turns = None if bench is None else level_turns_of(bench)
    if turns is None and isinstance(device.dmd, PhaseSlm):
        turns = device.dmd.level_turns
    return BITS if turns is None else Levels(tuple(turns.tolist()))


@short_repr
@dataclass(frozen=True)
class Probes:
    """Patterns whose fields tell what belongs to a fit: the anchor's, the background's, and the scale of the matrix.

    Attributes
    ----------
    patterns : ndarray of uint8, shape (3, n_features)
        What is shown; number 1 is the anchor, which is shown before and after each block.
    weights : tuple of complex
        The field that no feature changes is the sum of theirs with these weights.
    lit : tuple of int
        Which of them show entries of the matrix beside it.
    entries : int
        How many entries the powers of those add up to.
    """

    patterns: np.ndarray
    weights: tuple[complex, ...]
    lit: tuple[int, ...]
    entries: int

    def background(self, fields: list[np.ndarray]) -> np.ndarray:
        """Return the field that no feature changes.

        Parameters
        ----------
        fields : list of ndarray of complex64
            Those of the patterns.

        Returns
        -------
        ndarray of complex64
            Of the same shape as one of them.
        """
        used = [(weight, each) for weight, each in zip(self.weights, fields, strict=True) if weight]
        if len(used) == 1 and used[0][0] == 1:
            return used[0][1]
        result = np.zeros_like(fields[0])
        for weight, each in used:
            result += elementary.multiply(each, weight)
        return result


@functools.lru_cache(maxsize=4)
def probes_on(place: arrays.Arrays, values: Values, n_features: int) -> tuple[Probes, Any]:
    """Return the probes of a fit, and their patterns as an array of a library on its device, not to be written to."""
    probes = values.probes(n_features)
    return probes, place.from_host(probes.patterns)


@functools.lru_cache(maxsize=16)
def anchor(n_features: int) -> np.ndarray:
    """Return r, the fixed random vector: uint8 0/1, (n_features,), read-only, the same in every process."""
    r = (uniforms(stream_key(0, "anchor of the linear transform", n_features), n_features) < 0.5).astype(np.uint8)
    r.flags.writeable = False
    return r


@functools.lru_cache(maxsize=16)
def anchor_on(place: arrays.Arrays, n_features: int) -> Any:
    """Return `anchor` as an array of a library on its device, which must not be written."""
    return place.from_host(anchor(n_features))
