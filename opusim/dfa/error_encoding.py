"""Errors as patterns of bits: what a binary mirror can show, and the weights that put the projections together again.

An encoding splits each error vector e into a few 0/1 patterns b_k with weights w_k, so that e is about the sum of
w_k b_k. The projection is linear: B e is about the sum of w_k (B b_k).
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike

from opusim.base import validation
from opusim.base.short_repr import short_repr
from opusim.base.user_arrays import checked_array

SCALES = ("batch", "vector")
LARGEST_ERROR = 1e30  # norms stay finite in float32
_SPELLINGS = (
    "'float', 'ternary' (the nearest), 'ternary:nearest:LEAST_NORM', 'ternary:THRESHOLD', 'ternary:THRESHOLD:SCALE', "
    "'sign' or 'bits:NUMBER'"
)


def checked_errors(errors: ArrayLike, n_classes: int | None = None) -> np.ndarray:
    """Return errors as float32 of shape (batch, n_classes) after checking them.

    Parameters
    ----------
    errors : array_like, shape (batch, n_classes)
        Real numbers of at most 1e30, so that their norms are finite in float32. No vector at all is allowed.
    n_classes : int, optional
        How many columns there must be.

    Raises
    ------
    TypeError
        If `errors` does not hold real numbers.
    ValueError
        If its shape is another, or a number is not finite or too large.

    Warns
    -----
    UserWarning
        If not all errors are zero, but all of them are in float32 (below 7e-46): nothing of them is left.
    """
    given = array = checked_array("errors", errors)
    columns = "n_classes" if n_classes is None else str(n_classes)
    if array.ndim != 2 or (n_classes is not None and array.shape[1] != n_classes):
        raise ValueError(f"errors has the shape {array.shape}, but it must be (batch, {columns}).")
    if array.shape[1] == 0:
        raise ValueError(f"errors has the shape {array.shape}, but it must have at least one class.")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    allowed = np.abs(array) <= LARGEST_ERROR  # False for NaN
    if not allowed.all():
        row, column = np.argwhere(~allowed)[0]
        raise ValueError(
            f"errors[{row}, {column}] is {array[row, column]}, but every error must be a finite number of at most "
            f"{LARGEST_ERROR:g}."
        )
    # A few of the errors of a batch may well vanish beside the others, but not all of them.
    if given.dtype.kind == "f" and given.dtype.itemsize > array.dtype.itemsize and not array.any() and given.any():
        warnings.warn(
            f"errors are at most {np.abs(given).max()}, which is 0 in float32: nothing of them is projected. Scale "
            "them by a power of two, and scale the projections back.",
            stacklevel=3,
        )
    return array


@short_repr
@dataclass(frozen=True)
class EncodedErrors:
    """Patterns to show for a batch of errors, and what to do with their projections.

    Parameters
    ----------
    bits : ndarray of uint8, shape (n_shown, n_classes)
        The patterns, 0 or 1. A pattern without a single 1 is left out: its projection is zero.
    weights : scipy.sparse.csr_array of float32, shape (batch, n_shown)
        ``weights @ bits`` are the errors as shown; ``weights @ projections of bits`` is their projection.
    """

    bits: np.ndarray
    weights: scipy.sparse.csr_array

    def decoded(self) -> np.ndarray:
        """Return the errors that are really projected.

        Returns
        -------
        ndarray of float32, shape (batch, n_classes)
            Errors.
        """
        return np.asarray(self.weights @ self.bits.astype(np.float32), dtype=np.float32)


class ErrorEncoding(Protocol):
    """A way to show errors on a binary mirror."""

    def encode(self, errors: ArrayLike) -> EncodedErrors:
        """Return patterns and weights for errors.

        Parameters
        ----------
        errors : array_like of float, shape (batch, n_classes)
            Errors.

        Returns
        -------
        EncodedErrors
            Patterns and weights.
        """
        ...

    def describe(self) -> dict[str, str | int | float]:
        """Return what sets the encoding, to be compared when a run goes on."""
        ...


class _Encoding(ABC):
    """What the encodings share: errors are checked before they are encoded."""

    def encode(self, errors: ArrayLike) -> EncodedErrors:
        """Return patterns and weights for a batch of errors.

        Parameters
        ----------
        errors : array_like of float, shape (batch, n_classes)
            Errors.

        Returns
        -------
        EncodedErrors
            Patterns and weights.

        Raises
        ------
        TypeError, ValueError
            If `errors` is not what it may be.

        Warns
        -----
        UserWarning
            If all errors are too small for float32, and not zero.
        """
        return self._encoded(checked_errors(errors))

    @abstractmethod
    def _encoded(self, e: np.ndarray) -> EncodedErrors:
        """Return patterns and weights for errors that were checked, float32."""


@dataclass(frozen=True)
class NearestTernaryEncoding(_Encoding):
    """Errors as the ternary vector that lies nearest: s t with t in {-1, 0, 1}, each error with a threshold of its own.

    Of all t and all factors s, the squared distance ``norm(e - s t)**2`` is least. That is so for the k largest
    abs(e), where k has the largest (sum of these)**2 / k, and for s their mean. An untrained network's error is one
    large number and many small ones: it becomes a single -1, and one frame. A fixed threshold near 1 / n_classes shows
    the accidents of the small ones instead, and training begins with noise.

    Factor and threshold are each vector's own. Published optical experiments used one fixed threshold for all errors:
    that is `TernaryEncoding`.

    Parameters
    ----------
    least_norm : float
        Errors of at most this norm are not shown, in units of the error: samples that the network knows cost no frames
        then. Measured: see benchmarks/RESULTS.md.

    Notes
    -----
    The exact form of the threshold of ternary weight networks (Li and Liu, arXiv:1605.04711, eq. 5 and 6).
    """

    least_norm: float = 0.05

    def __post_init__(self) -> None:
        """Check the parameter."""
        validation.number("least_norm", self.least_norm, low=0.0, high=math.inf)

    def _encoded(self, e: np.ndarray) -> EncodedErrors:
        """Return at most two patterns a vector, one after the other."""
        sizes = np.sort(np.abs(e), axis=1)[:, ::-1]
        sums = np.cumsum(sizes, axis=1, dtype=np.float64)
        kept = np.argmax(sums**2 / np.arange(1, e.shape[1] + 1), axis=1)[:, None]
        # Equal sizes stand or fall together: the quotient has its largest value at an end of their run.
        least = np.take_along_axis(sizes, kept, axis=1)
        factors = np.take_along_axis(sums, kept, axis=1) / (kept + 1)
        factors[_norms(e) <= self.least_norm] = 0
        planes = np.stack([e >= least, e <= -least], axis=1)
        return _from_planes(planes, factors * np.array([1.0, -1.0]))

    def describe(self) -> dict[str, str | int | float]:
        """Return the name and the parameter.

        Returns
        -------
        dict
            Values by name.
        """
        return {"encoding": "nearest ternary", "encoding_least_norm": float(self.least_norm)}


@dataclass(frozen=True)
class TernaryEncoding(_Encoding):
    """Errors as t = sign(e) where abs(e) > threshold, else 0, with one threshold for all.

    One pattern for t = +1 and one for t = -1, two frames a vector at most; the scale is restored afterwards.

    Parameters
    ----------
    threshold : float
        Largest abs(e) that counts as nothing, at least 0, in units of the error.
    scale : {"batch", "vector"}
        "vector": norm(e_i) / norm(t_i) for each, so that the norm of every vector that is shown is kept. "batch": one
        factor for the batch, sum of norm(e) over sum of norm(t), so that the mean norm is kept.

    Notes
    -----
    "batch" is the formula of docs/physics.md, section 3, E norm(e) / E norm(t), with the means over the batch. A vector
    without an error above the threshold counts in the first mean, and has norm(t) = 0 in the second: when few vectors
    pass, they carry the norm of all. If one of 128 passes, it is shown with the norms of all 128 added up. With
    "vector" what does not pass is lost, and what does pass is as large as it was.

    Ternary errors on two binary frames: Launay et al., Hardware Beyond Backpropagation (arXiv:2012.06373) and Light in
    the Loop (arXiv:2006.01475), whose threshold is not published.
    """

    threshold: float = 0.1
    scale: str = "vector"

    def __post_init__(self) -> None:
        """Check the parameters."""
        validation.number("threshold", self.threshold, low=0.0, high=math.inf)
        validation.choice("scale", self.scale, SCALES)

    def _encoded(self, e: np.ndarray) -> EncodedErrors:
        """Return at most two patterns a vector, one after the other."""
        threshold = np.float32(self.threshold)
        planes = np.stack([e > threshold, e < -threshold], axis=1)
        factors = _restored(_norms(e), np.sqrt(planes.sum(axis=(1, 2), dtype=np.float64)), self.scale)
        return _from_planes(planes, factors[:, None] * np.array([1.0, -1.0]))

    def describe(self) -> dict[str, str | int | float]:
        """Return the name and the parameters.

        Returns
        -------
        dict
            Values by name.
        """
        return {"encoding": "ternary", "encoding_threshold": float(self.threshold), "encoding_scale": self.scale}


@dataclass(frozen=True)
class SignEncoding(_Encoding):
    """Errors as s = sign(e), where 0 counts as +: one pattern a vector, and two for the batch.

    Of + and - the rarer in the vector is shown, as a pattern v: s = 1 - 2 v or 2 v - 1. The vector of ones is shown
    once for the batch, in two halves. So no pattern has more than half of the classes on (rounded up): a camera whose
    exposure is set for that many does not saturate.

    Parameters
    ----------
    scale : {"batch", "vector"}
        As for `TernaryEncoding`. By default every vector keeps its norm: signs alone would make the error of a sample
        that the network has right as large as any. A vector of norm 0 is then not shown.

    Notes
    -----
    The noise of the two halves is the same for all vectors of a batch.
    """

    scale: str = "vector"

    def __post_init__(self) -> None:
        """Check the parameters."""
        validation.choice("scale", self.scale, SCALES)

    def _encoded(self, e: np.ndarray) -> EncodedErrors:
        """Return a pattern for each vector, then the halves of the vector of ones."""
        batch, n_classes = e.shape
        factors = _restored(_norms(e), np.full(batch, math.sqrt(n_classes)), self.scale).astype(np.float32)
        used = np.flatnonzero(factors)
        if used.size == 0:
            return _from_planes(np.zeros((batch, 0, n_classes), dtype=bool), np.zeros((batch, 0)))
        positive = e >= 0
        mostly = positive.sum(axis=1) * 2 > n_classes
        rarer = positive ^ mostly[:, None]
        signed = np.where(mostly, factors, -factors)
        shown = used[rarer[used].any(axis=1)]
        first = np.arange(n_classes) < n_classes // 2
        halves = np.stack([half for half in (first, ~first) if half.any()])
        bits = np.concatenate([rarer[shown], halves]).astype(np.uint8)
        rows = np.concatenate([shown, np.repeat(used, len(halves))])
        columns = np.concatenate([np.arange(len(bits) - len(halves)), np.tile(np.arange(-len(halves), 0), used.size)])
        values = np.concatenate([-2 * signed[shown], np.repeat(signed[used], len(halves))])
        weights = scipy.sparse.csr_array((values, (rows, columns % len(bits))), shape=(batch, len(bits)))
        return EncodedErrors(bits, weights)

    def describe(self) -> dict[str, str | int | float]:
        """Return the name and the parameters.

        Returns
        -------
        dict
            Values by name.
        """
        return {"encoding": "sign", "encoding_scale": self.scale}


@dataclass(frozen=True)
class BitPlaneEncoding(_Encoding):
    """Errors as sign and magnitude, the magnitude in `n_bits` bits of the largest in the batch.

    A pattern for each bit and each sign, 2 n_bits a vector at most.

    Parameters
    ----------
    n_bits : int
        Bits of the magnitude, 1 to 16.

    Notes
    -----
    With the step max(abs(errors)) / (2**n_bits - 1), magnitudes are rounded to the nearest step (not truncated): what
    is projected differs from the error by half a step at most.
    """

    n_bits: int = 4

    def __post_init__(self) -> None:
        """Check the parameters."""
        validation.integer("n_bits", self.n_bits, low=1, high=16)

    def _encoded(self, e: np.ndarray) -> EncodedErrors:
        """Return the patterns of each vector, the highest bit first, plus before minus."""
        largest = float(np.abs(e).max(initial=0.0))
        if largest == 0.0:
            return _from_planes(np.zeros((len(e), 0, e.shape[1]), dtype=bool), np.zeros((len(e), 0)))
        levels = 2**self.n_bits - 1
        magnitude = np.rint(np.abs(e, dtype=np.float64) * (levels / largest)).astype(np.uint32)
        places = np.arange(self.n_bits - 1, -1, -1, dtype=np.uint32)
        on = (magnitude[:, None, :] >> places[:, None]) & 1 > 0
        planes = np.stack([on & (e > 0)[:, None], on & (e < 0)[:, None]], axis=2)
        signed = (largest / levels) * np.exp2(places)[:, None] * np.array([1.0, -1.0])
        weights = np.broadcast_to(signed.ravel(), (len(e), 2 * self.n_bits))
        return _from_planes(planes.reshape(len(e), 2 * self.n_bits, -1), weights)

    def describe(self) -> dict[str, str | int | float]:
        """Return the name and the parameters.

        Returns
        -------
        dict
            Values by name.
        """
        return {"encoding": "bits", "encoding_bits": int(self.n_bits)}


def parse_encoding(text: str) -> ErrorEncoding | None:
    """Return the encoding that a text names.

    Parameters
    ----------
    text : str
        "float" (no encoding), "ternary" or "ternary:nearest" (the nearest), "ternary:nearest:0.05" (and least norm),
        "ternary:0.1" (fixed threshold), "ternary:0.1:batch" (and scale), "sign" or "bits:4".

    Returns
    -------
    ErrorEncoding or None
        None for "float".

    Raises
    ------
    TypeError
        If `text` is not a text.
    ValueError
        If it names no encoding.
    """
    if not isinstance(text, str):
        raise TypeError(f"encoding is {text!r} ({type(text).__name__}), but it must be {_SPELLINGS}.")
    name, *rest = text.split(":")
    try:
        if name == "float" and not rest:
            return None
        if name == "sign" and not rest:
            return SignEncoding()
        if name == "bits" and len(rest) == 1:
            return BitPlaneEncoding(int(rest[0]))
        if name == "ternary" and (not rest or rest[0] == "nearest") and len(rest) <= 2:
            return NearestTernaryEncoding(*map(float, rest[1:]))
        if name == "ternary" and len(rest) <= 2:
            return TernaryEncoding(float(rest[0]), *rest[1:])
    except ValueError as error:
        raise ValueError(f"encoding is {text!r}, but it must be {_SPELLINGS}: {error}") from None
    raise ValueError(f"encoding is {text!r}, but it must be {_SPELLINGS}.")


def _norms(vectors: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm of each row, float64."""
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))


def _restored(norms: np.ndarray, shown_norms: np.ndarray, scale: str) -> np.ndarray:
    """Return the factor of each vector that gives the patterns the norm of the errors."""
    if scale == "batch":
        norms, shown_norms = (np.full(len(norms), values.sum()) for values in (norms, shown_norms))
    return np.divide(norms, shown_norms, out=np.zeros(len(norms)), where=shown_norms > 0)


def _from_planes(planes: np.ndarray, weights: np.ndarray) -> EncodedErrors:
    """Return patterns (batch, k, n_classes) with their weights (batch, k), without the empty ones."""
    batch, _, n_classes = planes.shape
    values = np.asarray(weights, dtype=np.float32)
    used = planes.any(axis=2) & (values != 0)
    ends = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    n_shown = int(ends[-1])
    table = scipy.sparse.csr_array((values[used], np.arange(n_shown), ends), shape=(batch, n_shown))
    return EncodedErrors(planes[used].astype(np.uint8), table)
