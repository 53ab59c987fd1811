"""Bit planes of quantised numbers of either sign, and the way back.

The encoder's rows are vectors of bits for a linear device; the decoder adds the results of the planes with
weights 1, 1/2, 1/4, ... and puts the size of the data back, positive and negative parts apart.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from opusim.base import validation

from .bit_planes import check_planes, finite_as, mix_planes, unpack_bits
from .inputs import InputTypeError, asserted_integer, check_matrix, numeric
from .transformer import BaseTransformer, preserve_type

_OF_1_3 = ("n_bits", "starting_bit")
_MAGNITUDES = ("magnitude_p", "magnitude_n")
_MOST_PLANES = 8


class SeparatedBitPlanEncoder(BaseTransformer):
    """Quantise numbers and put each bit plane in a row of its own: more samples, as many features.

    Positive and negative parts are encoded apart: data of both signs give 2 * `precision` rows per sample.

    Parameters
    ----------
    precision : int, optional
        Bits of the quantised magnitude, 1 to 8.
    **kwargs
        `n_bits` (8) and `starting_bit` (0): with either of them the encoder works as that of lightonml 1.3, which
        separates the bits of integers as they are, and `precision` is not used.

    Attributes
    ----------
    precision : int
        As given.
    magnitude : tuple
        What the decoder multiplies the positive and the negative part with; (None, None) before `transform`.
    n_bits, starting_bit : int
        Only with the arguments of lightonml 1.3.

    Raises
    ------
    AssertionError
        If `precision` is out of range (the error is a ValueError, too).
    ValueError
        If `n_bits` or `starting_bit` is out of range.

    Notes
    -----
    Floats are scaled by their largest magnitude, m: the level is floor(x/m (2^p - 1) + 1/2), p the precision, so
    that after decoding an error of at most m / (2^p - 1) / 2 is left. Integers are scaled by a power of two instead,
    so that those of at most p bits are kept exactly. Integers of a signed type have two sides unless 0 is outside
    their range.

    The rows of lightonml 1.3 begin with the least significant bit. lightonml 1.4 refuses its arguments.
    """

    def __init__(self, precision: int = 6, **kwargs: Any) -> None:
        self.precision = asserted_integer("precision", precision, low=1, high=_MOST_PLANES)
        self.magnitude: tuple[Any, Any] = (None, None)
        unknown = [name for name in kwargs if name not in (*_OF_1_3, *_MAGNITUDES)]
        if unknown:  # lightonml takes any name without a word
            warnings.warn(f"SeparatedBitPlanEncoder does not use the argument {', '.join(unknown)}.", stacklevel=2)
        self._plain_bits = any(name in kwargs for name in _OF_1_3)
        # Bits of integers as they are; with `precision`, numbers are scaled by the largest of the batch.
        self.by_vector = self._plain_bits
        if self._plain_bits:
            self.n_bits = validation.integer("n_bits", kwargs.get("n_bits", 8), low=1)
            self.starting_bit = validation.integer("starting_bit", kwargs.get("starting_bit", 0), low=0)

    @preserve_type
    def transform(self, X: Any) -> Any:
        """Encode; the magnitudes for the decoder are kept.

        Parameters
        ----------
        X : array_like or torch.Tensor
            (n_samples, ...) of finite numbers, most often (n_samples, n_features).

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Bits, uint8, (n_samples * precision, ...): the planes of the first sample, the most significant first, then
            those of the second, ... Where there are two sides, all rows of positive parts come before those of
            negative parts. With `n_bits`: (n_samples * n_bits, n_features), the least significant plane first.

        Raises
        ------
        ValueError
            If `X` is empty or not finite; with `n_bits`, if its numbers have fewer bits or are NaN.

        Warns
        -----
        UserWarning
            If a signed type has no negative of a number; with `n_bits`, if bytes that are not 0 lie behind the bits
            that are kept.
        """
        if self._plain_bits:
            return self._separate(X)
        X = numeric(X, finite=True)
        if X.ndim == 0:
            raise ValueError("X is a single number, but it must have at least one dimension: (samples, features).")
        positive: Any
        negative: Any
        if X.dtype.kind == "f":
            positive, negative = X.max(), -X.min()
        elif X.dtype.kind == "i":
            if X.min() == np.iinfo(X.dtype).min:
                warnings.warn(
                    f"X holds {X.min()}, of which {X.dtype} has no negative: it is encoded as if it were not below "
                    "the other numbers, as in lightonml. Use a wider type.",
                    stacklevel=3,
                )
            positive, negative = self._integer_magnitude(X.max()), self._integer_magnitude((-X).max())
        else:
            positive, negative = self._integer_magnitude(X.max()), 0
        X = X.astype(np.float64)
        unit = (1 - 0.5**self.precision) * 2  # what the decoder's weights add up to
        self.magnitude = positive / unit, negative / unit
        if negative <= 0:
            return self._quantise(X, positive)
        if positive <= 0:
            return self._quantise(-X, negative)
        return np.concatenate((self._quantise(X, positive), self._quantise(-X, negative)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments of the decoder.

        Parameters
        ----------
        deep : bool, optional
            Ignored; scikit-learn passes it.

        Returns
        -------
        dict
            `precision`, `magnitude_p`, `magnitude_n` for `SeparatedBitPlanDecoder`, known after `transform`; with the
            arguments of lightonml 1.3, `n_bits` for `MixingBitPlanDecoder`.
        """
        if self._plain_bits:
            return {"n_bits": self.n_bits}
        return {"precision": self.precision, "magnitude_p": self.magnitude[0], "magnitude_n": self.magnitude[1]}

    def _arguments(self) -> dict[str, Any]:
        names = ("precision", *_OF_1_3) if self._plain_bits else ("precision",)
        return {name: getattr(self, name) for name in names}

    def _integer_magnitude(self, largest: Any) -> float:
        """Return what full scale means: 2^p - 1 steps of a power of two that hold the largest number."""
        if largest < 0:
            return 0.0
        n_bits = int(largest).bit_length()
        return (2**self.precision - 1) * 0.5 ** (self.precision - n_bits)

    def _quantise(self, X: np.ndarray, magnitude: Any) -> np.ndarray:
        """Return the planes of the positive part of `X`, (n_samples * precision, ...)."""
        with np.errstate(over="ignore"):  # the other side's numbers may be larger by any factor; they are cut to 0
            fraction = np.clip(X / (magnitude if magnitude != 0 else 1), 0, 1)
        level = (fraction * (2**self.precision - 1) + 0.5).astype(np.uint8)
        bits = np.unpackbits(level[:, None], axis=1)[:, -self.precision :]
        return bits.reshape(-1, *X.shape[1:])

    def _separate(self, X: np.ndarray) -> np.ndarray:
        """Return the planes of lightonml 1.3: bits of memory, last to first."""
        check_planes(X, self.n_bits, self.starting_bit, last_first=True)
        bits = unpack_bits(X)[:, :, ::-1][:, :, self.starting_bit : self.starting_bit + self.n_bits]
        return bits.transpose(0, 2, 1).reshape(X.shape[0] * self.n_bits, X.shape[1])


class SeparatedBitPlanDecoder(BaseTransformer):
    """Put together what a linear device made of the rows of `SeparatedBitPlanEncoder`.

    Parameters
    ----------
    precision : int
        Bits of the encoder, at least 1.
    magnitude_p, magnitude_n : float, optional
        Size of the positive and of the negative part; one that is not positive means that there is no such
        part. ``SeparatedBitPlanDecoder(**encoder.get_params())`` takes all three from an encoder.
    decoding_decay : float, optional
        Weight of a plane relative to the one before.

    Attributes
    ----------
    precision, magnitude_p, magnitude_n, decoding_decay
        As given.
    """

    def __init__(
        self, precision: int, magnitude_p: float = 1, magnitude_n: float = 0, decoding_decay: float = 0.5
    ) -> None:
        self.precision = validation.integer("precision", precision, low=1)
        self.magnitude_p = magnitude_p
        self.magnitude_n = magnitude_n
        self.decoding_decay = decoding_decay

    @preserve_type
    def transform(self, X: Any) -> Any:
        """Decode.

        Parameters
        ----------
        X : array_like or torch.Tensor
            (n_rows, n_features), rows in the encoder's order.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Numbers, float64, (n_samples, n_features). n_samples is n_rows / precision, half of that with two sides.

        Raises
        ------
        ValueError
            If the number of rows does not fit, or if numbers get too large for float64.
        TypeError
            If a magnitude is None, because the encoder has not transformed anything yet.
        """
        check_matrix(X, "rows")
        for name in _MAGNITUDES:
            if getattr(self, name) is None:
                raise InputTypeError(
                    f"{name} is None, but it must be a number: make the decoder after the encoder's transform."
                )
        two_sided = self.magnitude_n > 0 and self.magnitude_p > 0
        sides = 2 if two_sided else 1
        if len(X) % (sides * self.precision):
            raise ValueError(
                f"X has {len(X)} rows, which is no multiple of {sides * self.precision}: precision = {self.precision} "
                f"bit planes for {'both signs' if two_sided else 'one sign'}."
            )
        n_samples = len(X) // (sides * self.precision)
        planes = X.astype(np.float64).reshape(sides, n_samples, self.precision, X.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            first = mix_planes(planes[0], self.decoding_decay)
            if self.magnitude_n <= 0:
                return finite_as(planes, first * self.magnitude_p)
            if self.magnitude_p <= 0:
                return finite_as(planes, -first * self.magnitude_n)
            second = mix_planes(planes[1], self.decoding_decay)
            return finite_as(planes, first * self.magnitude_p - second * self.magnitude_n)
