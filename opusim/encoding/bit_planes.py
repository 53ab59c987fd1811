"""Bits of integers as they lie in memory, side by side or mixed."""

from __future__ import annotations

from typing import Any

import numpy as np

from opusim.base import validation

from .inputs import BitWidthError, check_matrix, refuse_nan
from .transformer import BaseTransformer, preserve_type

# The reference sums up to this many planes one after the other in single precision, and more by einsum.
_PLANES_ONE_BY_ONE = 15


def unpack_bits(X: np.ndarray) -> np.ndarray:
    """Return the bits of each number, byte by byte as in memory, each byte's highest bit first.

    Parameters
    ----------
    X : numpy.ndarray
        (n_samples, n_features).

    Returns
    -------
    numpy.ndarray
        uint8 0/1, (n_samples, n_features, bits).
    """
    return np.unpackbits(np.ascontiguousarray(X)[:, :, None].view(np.uint8), axis=2)


def check_planes(X: np.ndarray, n_bits: int, starting_bit: int) -> None:
    """Raise an error unless the values of `X` are numbers, and have that many bits."""
    check_matrix(X)
    refuse_nan(X)
    width = X.dtype.itemsize * 8
    if n_bits + starting_bit > width:
        raise BitWidthError(
            f"n_bits + starting_bit is {n_bits} + {starting_bit}, but numbers of {X.dtype} have only {width} bits."
        )


def mix_planes(planes: np.ndarray, decay: Any) -> np.ndarray:
    """Return the sum over i of ``decay**i`` times plane i.

    Products and sums are rounded to float32 one after the other from the first plane on (float64 for
    float64 planes), as numexpr rounds them in lightonml, so that results agree to the last bit.

    Parameters
    ----------
    planes : numpy.ndarray
        (n_samples, n_bits, n_features).
    decay : float
        Weight of a plane relative to the one before.

    Returns
    -------
    numpy.ndarray
        float32 or float64, (n_samples, n_features).
    """
    n_bits = planes.shape[1]
    factors = (decay ** np.arange(n_bits)).astype(np.float32)
    if n_bits > _PLANES_ONE_BY_ONE:
        return np.einsum("ijk,j->ik", planes, factors).astype(np.float32)
    dtype: type[np.floating] = np.float64 if planes.dtype.kind == "f" and planes.dtype.itemsize >= 8 else np.float32
    total = planes[:, 0].astype(dtype) * factors[0].astype(dtype)
    for i in range(1, n_bits):
        total += planes[:, i].astype(dtype) * factors[i].astype(dtype)
    return total


class ConcatenatedBitPlanEncoder(BaseTransformer):
    """The bits of each feature side by side: more features, as many samples.

    Parameters
    ----------
    n_bits : int, optional
        Bits to keep of each number, at least 1.
    starting_bit : int, optional
        Bits to leave out before the first one that is kept.

    Attributes
    ----------
    n_bits, starting_bit : int
        As given.

    Raises
    ------
    ValueError
        If one of them is too small.

    Notes
    -----
    Bits come in the order of memory: byte by byte, low byte first on usual machines, the highest bit of each
    byte first. For uint8, bit 0 is thus the most significant one; for uint16 it is bit 7 of the number.

    Examples
    --------
    >>> import numpy as np
    >>> from opusim.encoding import ConcatenatedBitPlanEncoder
    >>> ConcatenatedBitPlanEncoder(n_bits=8).transform(np.array([[5, 128]], np.uint8))
    array([[0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0]], dtype=uint8)
    """

    by_vector = True

    def __init__(self, n_bits: int = 8, starting_bit: int = 0) -> None:
        self.n_bits = validation.integer("n_bits", n_bits, low=1)
        self.starting_bit = validation.integer("starting_bit", starting_bit, low=0)

    @preserve_type
    def transform(self, X: Any) -> Any:
        """Encode.

        Parameters
        ----------
        X : array_like or torch.Tensor
            (n_samples, n_features) of bool, integers or floats.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Bits, uint8, (n_samples, n_features * n_bits): all bits of the first feature, then of the second, ...

        Raises
        ------
        ValueError
            If the numbers have fewer bits, `X` has not two dimensions, or holds NaN.
        """
        check_planes(X, self.n_bits, self.starting_bit)
        bits = unpack_bits(X)[:, :, self.starting_bit : self.starting_bit + self.n_bits]
        return bits.reshape(X.shape[0], X.shape[1] * self.n_bits)


class _PlaneDecoder(BaseTransformer):
    """Decoder of results that come plane by plane: n_bits rows for each sample."""

    def __init__(self, n_bits: int = 8, decoding_decay: float = 0.5) -> None:
        self.n_bits = validation.integer("n_bits", n_bits, low=1)
        self.decoding_decay = decoding_decay

    def _planes(self, X: np.ndarray) -> np.ndarray:
        """Return a view (n_samples, n_bits, n_features)."""
        check_matrix(X, "rows")
        if len(X) % self.n_bits:
            raise ValueError(
                f"X has {len(X)} rows, which is no multiple of n_bits = {self.n_bits}. Check that you used the same "
                "number of bits in encoder and decoder."
            )
        return X.reshape(len(X) // self.n_bits, self.n_bits, X.shape[1])


class ConcatenatingBitPlanDecoder(_PlaneDecoder):
    """The results of a sample's bit planes side by side, each plane weaker than the one before.

    Parameters
    ----------
    n_bits : int, optional
        Bits of the encoder, at least 1.
    decoding_decay : float, optional
        Weight of a plane relative to the one before.

    Attributes
    ----------
    n_bits, decoding_decay
        As given.
    """

    by_vector = True

    @preserve_type
    def transform(self, X: Any) -> Any:
        """Decode.

        Parameters
        ----------
        X : array_like or torch.Tensor
            (n_samples * n_bits, n_features), the planes of a sample in consecutive rows.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Numbers, float32, (n_samples, n_bits * n_features).

        Raises
        ------
        ValueError
            If the number of rows is no multiple of `n_bits`.
        """
        planes = self._planes(X)
        factors = (self.decoding_decay ** np.arange(self.n_bits)).reshape(1, self.n_bits, 1)
        return (planes * factors).astype(np.float32).reshape(planes.shape[0], -1)


class MixingBitPlanDecoder(_PlaneDecoder):
    """The sum of the results of a sample's bit planes, each plane weaker than the one before (lightonml up to 1.3).

    Parameters
    ----------
    n_bits : int, optional
        Bits of the encoder, at least 1.
    decoding_decay : float, optional
        Weight of a plane relative to the one before.

    Attributes
    ----------
    n_bits, decoding_decay
        As given.
    """

    by_vector = True

    @preserve_type
    def transform(self, X: Any) -> Any:
        """Decode.

        Parameters
        ----------
        X : array_like or torch.Tensor
            (n_samples * n_bits, n_features), the planes of a sample in consecutive rows.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            (n_samples, n_features); float64 if `X` is float64 and `n_bits` is below 16, else float32.

        Raises
        ------
        ValueError
            If the number of rows is no multiple of `n_bits`.
        """
        return mix_planes(self._planes(X), self.decoding_decay)
