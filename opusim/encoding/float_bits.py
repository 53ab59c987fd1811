"""Bits of single-precision floats: sign, exponent, mantissa (IEEE 754)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from opusim.base import validation

from .bit_planes import unpack_bits
from .inputs import BitWidthError, check_matrix, refuse_nan
from .transformer import BaseTransformer, preserve_type

_EXPONENT_BITS = 8
_MANTISSA_BITS = 23


class _FloatBits(validation.Fixed, BaseTransformer):
    """Choice of bits, common to both encoders."""

    _fixed = dict.fromkeys(("sign_bit", "exp_bits", "mantissa_bits", "n_bits"), "Use set_params.")

    def __init__(self, sign_bit: bool = True, exp_bits: int = 8, mantissa_bits: int = 23) -> None:
        self.sign_bit = sign_bit
        self.exp_bits = validation.integer("exp_bits", exp_bits, low=0, high=_EXPONENT_BITS)
        self.mantissa_bits = validation.integer("mantissa_bits", mantissa_bits, low=0, high=_MANTISSA_BITS)
        self.n_bits = int(bool(sign_bit)) + self.exp_bits + self.mantissa_bits
        first_mantissa = 1 + _EXPONENT_BITS
        self.indices = [0] if sign_bit else []
        self.indices += range(1, 1 + self.exp_bits)
        self.indices += range(first_mantissa, first_mantissa + self.mantissa_bits)

    def _bits(self, X: np.ndarray) -> np.ndarray:
        """Return the bits that are kept, (n_samples, n_features, n_bits), the most significant ones first."""
        check_matrix(X)
        refuse_nan(X)
        width = X.dtype.itemsize * 8
        if self.indices and self.indices[-1] >= width:
            raise BitWidthError(
                f"X has dtype {X.dtype} of {width} bits, but bit {self.indices[-1]} was asked for: it must be float32."
            )
        if X.dtype.kind == "f" and X.dtype != np.float32:
            warnings.warn(
                f"X has dtype {X.dtype}: its leading bits are taken as they are, although their meaning is not "
                "that of float32. Use X.astype(numpy.float32) for the bits of single precision.",
                stacklevel=4,
            )
        # with the high byte first in memory, bits come in the order of their weight
        bits = unpack_bits(X.astype(X.dtype.newbyteorder(">")))
        return bits[:, :, np.array(self.indices, dtype=np.intp)]


class Float32Encoder(_FloatBits):
    """Bit planes of floats in rows of their own: more samples, as many features.

    Parameters
    ----------
    sign_bit : bool, optional
        Whether to keep the sign.
    exp_bits : int, optional
        Bits of the exponent to keep, the most significant ones; 0 to 8.
    mantissa_bits : int, optional
        Bits of the mantissa to keep, the most significant ones; 0 to 23.

    Attributes
    ----------
    sign_bit, exp_bits, mantissa_bits
        As given.
    n_bits : int
        Bits that are kept of each number.
    indices : list of int
        Which: 0 is the sign, 1 to 8 the exponent, 9 to 31 the mantissa.

    Raises
    ------
    ValueError
        If a number of bits is out of range.
    """

    by_vector = True

    @preserve_type
    def transform(self, X: Any) -> Any:
        """Encode.

        Parameters
        ----------
        X : array_like or torch.Tensor
            Numbers, float32, (n_samples, n_features). Of numbers of another type the leading bits are taken as they
            are, with a warning for floats.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Bits, uint8, (n_samples * n_bits, n_features): all planes of the first sample, then of the second, ...

        Raises
        ------
        ValueError
            If the numbers have fewer bits, `X` has not two dimensions, or holds NaN.
        """
        bits = self._bits(X)
        return bits.transpose(0, 2, 1).reshape(X.shape[0] * self.n_bits, X.shape[1])


class ConcatenatedFloat32Encoder(_FloatBits):
    """The bits of each float side by side: more features, as many samples.

    Parameters
    ----------
    sign_bit : bool, optional
        Whether to keep the sign.
    exp_bits : int, optional
        Bits of the exponent to keep, the most significant ones; 0 to 8.
    mantissa_bits : int, optional
        Bits of the mantissa to keep, the most significant ones; 0 to 23.

    Attributes
    ----------
    sign_bit, exp_bits, mantissa_bits
        As given.
    n_bits : int
        Bits that are kept of each number.
    indices : list of int
        Which: 0 is the sign, 1 to 8 the exponent, 9 to 31 the mantissa.

    Raises
    ------
    ValueError
        If a number of bits is out of range.
    """

    by_vector = True

    @preserve_type
    def transform(self, X: Any) -> Any:
        """Encode.

        Parameters
        ----------
        X : array_like or torch.Tensor
            Numbers, float32, (n_samples, n_features). Of numbers of another type the leading bits are taken as they
            are, with a warning for floats.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Bits, uint8, (n_samples, n_features * n_bits): all bits of the first feature, then of the second, ...

        Raises
        ------
        ValueError
            If the numbers have fewer bits, `X` has not two dimensions, or holds NaN.
        """
        return self._bits(X).reshape(X.shape[0], X.shape[1] * self.n_bits)
