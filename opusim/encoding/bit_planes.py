"""Bits of integers as they lie in memory, side by side or mixed."""

from __future__ import annotations

import warnings
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


def check_planes(X: np.ndarray, n_bits: int, starting_bit: int, *, last_first: bool = False) -> None:
    """Raise an error unless the values of `X` are numbers, and have that many bits; warn where whole bytes are lost.

    Parameters
    ----------
    X : numpy.ndarray
        Numbers.
    n_bits, starting_bit : int
        Bits that are kept, and left out before them.
    last_first : bool
        Whether bits are counted from the last of the last byte in memory.
    """
    check_matrix(X)
    refuse_nan(X)
    width = X.dtype.itemsize * 8
    if n_bits + starting_bit > width:
        raise BitWidthError(
            f"n_bits + starting_bit is {n_bits} + {starting_bit}, but numbers of {X.dtype} have only {width} bits."
        )
    # What comes before `starting_bit` and within the last byte was asked for; bytes behind belong to larger numbers.
    n_bytes = -(-(starting_bit + n_bits) // 8)
    if n_bytes < X.dtype.itemsize:
        in_memory = np.ascontiguousarray(X)[:, :, None].view(np.uint8)
        lost = (in_memory[:, :, ::-1] if last_first else in_memory)[:, :, n_bytes:].any(axis=2)
        if lost.any():
            row, column = np.argwhere(lost)[0]
            warnings.warn(
                f"X[{row}, {column}] is {X[row, column]}, and {n_bits} of the {width} bits of {X.dtype} do not tell it "
                f"from others: the bits that are kept are those of memory{', last first' if last_first else ''}, "
                "as in lightonml. Give a type of as many bits, such as X.astype(numpy.uint8), or more n_bits.",
                stacklevel=5 if last_first else 4,
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
    with np.errstate(over="ignore", invalid="ignore"):
        return finite_as(planes, _mixed(planes, decay))


def finite_as(given: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Return what was decoded; raise a ValueError if it is not finite though what was given is."""
    if not np.isfinite(result).all() and (given.dtype.kind != "f" or np.isfinite(given).all()):
        raise ValueError(
            f"X holds {given.max()} and {given.min()}, of which what is decoded is beyond what {result.dtype} holds: "
            "divide X by a power of two, and multiply the result."
        )
    return result


def _mixed(planes: np.ndarray, decay: Any) -> np.ndarray:
    """Return the sum over planes."""
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

        Warns
        -----
        UserWarning
            If bytes of the numbers that are not 0 lie behind the bits that are kept, as for 300 and 8 bits.
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
            If the number of rows is no multiple of `n_bits`, or if numbers get too large for float32.
        """
        planes = self._planes(X)
        factors = (self.decoding_decay ** np.arange(self.n_bits)).reshape(1, self.n_bits, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            result = (planes * factors).astype(np.float32)
        return finite_as(planes, result).reshape(planes.shape[0], -1)


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
            If the number of rows is no multiple of `n_bits`, or if numbers get too large for the result's type.
        """
        return mix_planes(self._planes(X), self.decoding_decay)
