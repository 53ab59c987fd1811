"""Feedback: errors (batch, classes) in, projected errors (batch, width) out, by arithmetic.

`opusim.dfa.optical_feedback` has the one that is made by a device. All scale alike: the entries of the feedback matrix
B have mean square 1, so that B e has the root mean square norm(e).
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from opusim.base import parallel, rng, validation

from .error_encoding import ErrorEncoding, checked_errors

# Multiplications from which on threads are worth while: some tenths of a millisecond.
_MANY = 1 << 24
#: Outputs of a rounded `NoisyFeedback` reach so many times norm(e) on either side.
RANGE = 4.0

Description = dict[str, str | int | float]
State = dict[str, int | float]


@dataclass
class Costs:
    """What projections have cost, summed over all calls.

    Parameters
    ----------
    vectors : int
        Error vectors projected.
    frames : int or None
        Frames that the device has shown, calibration included; None where there is no device that counts them.
    device_s, device_j : float or None
        Seconds and joules that the real device would have needed; None likewise.
    encoding_s, projection_s : float
        Wall time of the encoding, and of the projecting (with it the preparing of a device), in seconds.
    """

    vectors: int = 0
    frames: int | None = None
    device_s: float | None = None
    device_j: float | None = None
    encoding_s: float = 0.0
    projection_s: float = 0.0


class ErrorProjection(Protocol):
    """Anything that projects errors: all that `opusim.dfa.torch.DFA` needs of a feedback.

    Attributes
    ----------
    n_classes, width : int
        Length of an error vector, and of a projected one.
    """

    n_classes: int
    width: int

    def project(self, errors: ArrayLike) -> np.ndarray:
        """Return B e for each error vector.

        Parameters
        ----------
        errors : array_like of float, shape (batch, n_classes)
            Errors.

        Returns
        -------
        ndarray of float32, shape (batch, width)
            Projections.
        """
        ...


class Feedback(ErrorProjection, Protocol):
    """What a trainer needs: a projection of errors that counts what it costs, and whose run can go on later.

    Attributes
    ----------
    n_classes, width : int
        Length of an error vector, and of a projected one.
    costs : Costs
        What the calls have cost.
    """

    costs: Costs

    def describe(self) -> Description:
        """Return what must be the same when a run goes on.

        Returns
        -------
        dict
            Values by name.
        """
        ...

    def state(self) -> State:
        """Return what moves on from call to call.

        Returns
        -------
        dict
            Numbers by name.
        """
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Parameters
        ----------
        state : mapping
            From `state`.
        """
        ...


class GaussianFeedback(validation.Fixed):
    """Projection by a matrix of independent normal numbers: the noise-free digital twin of a device.

    Parameters
    ----------
    n_classes, width : int
        Length of an error vector, and of a projected one.
    seed : int
        Seed of the matrix. One of more rows begins with the rows of one of fewer.
    encoding : ErrorEncoding, optional
        How errors are shown; None projects them as they are.
    matrix : array_like of float, shape (width, n_classes), optional
        A matrix in place of the random one; `seed` has then no part in it.

    Attributes
    ----------
    matrix : ndarray of float32, shape (width, n_classes)
        B. Read only.
    costs : Costs
        Without frames: nothing is shown.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.

    Notes
    -----
    Same errors, same numbers, bit for bit, however they are split into batches, unless the encoding looks at the whole
    batch (the scale "batch" and bit planes do).
    """

    _fixed = dict.fromkeys(("n_classes", "width", "seed"), "Its matrix is made of it: make another feedback.")

    def __init__(
        self,
        n_classes: int,
        width: int,
        *,
        seed: int = 0,
        encoding: ErrorEncoding | None = None,
        matrix: ArrayLike | None = None,
    ) -> None:
        self.n_classes = validation.integer("n_classes", n_classes, low=1)
        self.width = validation.integer("width", width, low=1)
        self.seed = validation.integer("seed", seed, low=0)
        self.encoding = checked_encoding(encoding)
        self.costs = Costs()
        self._vectors = 0
        if matrix is None:
            key = rng.stream_key(self.seed, "feedback matrix", self.n_classes)
            rows = rng.normals(key, self.width * self.n_classes).reshape(self.width, self.n_classes)
        else:
            rows = _checked_matrix(matrix, (self.width, self.n_classes))
        self._digest = "" if matrix is None else hashlib.sha256(rows.tobytes()).hexdigest()
        # Kept as the product takes it: a class a row.
        self._columns = np.ascontiguousarray(rows.T)

    @property
    def matrix(self) -> np.ndarray:
        """The feedback matrix B, float32 of shape (width, n_classes), read only."""
        matrix = self._columns.T
        matrix.flags.writeable = False
        return matrix

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a feedback with counts of its own; the matrix is never written, so that both have the same one."""
        other = copy.copy(self)
        memo[id(self)] = other
        memo[id(self._columns)] = self._columns
        other.__dict__.update({name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()})
        return other

    def project(self, errors: ArrayLike) -> np.ndarray:
        """Return B e for each error vector, as the encoding shows it.

        Parameters
        ----------
        errors : array_like of float, shape (batch, n_classes)
            Errors.

        Returns
        -------
        ndarray of float32, shape (batch, width)
            Projections.

        Raises
        ------
        TypeError, ValueError
            If `errors` is not what it may be.
        """
        start = time.perf_counter()
        array = checked_errors(errors, self.n_classes)
        if self.encoding is not None:
            array = self.encoding.encode(array).decoded()
        encoded = time.perf_counter()
        result = self._project(array)
        self._vectors += len(array)
        self.costs.vectors += len(array)
        self.costs.encoding_s += encoded - start
        self.costs.projection_s += time.perf_counter() - encoded
        return result

    def _project(self, errors: np.ndarray) -> np.ndarray:
        # Here: numba takes a while to load.
        from .feedback_kernels import COLUMNS, add_products

        result = np.zeros((len(errors), self.width), dtype=np.float32)
        errors = np.ascontiguousarray(errors, dtype=np.float32)

        def work(first: int, last: int) -> None:
            add_products(errors, self._columns, COLUMNS * first, min(COLUMNS * last, self.width), result)

        n_blocks = -(-self.width // COLUMNS)
        many = errors.size * self.width > _MANY
        parallel.over_ranges(work, n_blocks, parallel.default_threads() if many else 1)
        return result

    def describe(self) -> Description:
        """Return kind, sizes, what sets the matrix, and the encoding.

        Returns
        -------
        dict
            Values by name.
        """
        origin: Description = {"matrix_sha256": self._digest} if self._digest else {"seed": self.seed}
        return {
            "kind": "gaussian", "n_classes": self.n_classes, "width": self.width, **origin,
            **described(self.encoding),
        }  # fmt: skip

    def state(self) -> State:
        """Return the number of vectors projected; nothing else moves on.

        Returns
        -------
        dict
            Numbers by name.
        """
        return {"vectors": self._vectors}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Parameters
        ----------
        state : mapping
            From `state`.

        Raises
        ------
        ValueError
            If it holds no number of vectors, or a negative one.
        """
        self._vectors = self.costs.vectors = vectors_of(state)


class NoisyFeedback(GaussianFeedback):
    """Projection by a matrix, with the noise of a device added and its outputs rounded.

    Parameters
    ----------
    n_classes, width : int
        As for `GaussianFeedback`.
    noise : float
        Standard deviation of the noise over the root mean square of the signal, norm(e) as shown: sigma / signal.
    bits : int, optional
        Outputs are rounded to 2**bits levels, evenly from -4 to +4 norm(e) with both ends, and clipped there: full
        scale of an ideal camera that is set for each vector. 1 to 16; None does not round.
    seed : int
        Seed of the matrix and of the noise; a `GaussianFeedback` of the same seed has the same matrix.
    encoding : ErrorEncoding, optional
        How errors are shown; None projects them as they are.
    matrix : array_like of float, shape (width, n_classes), optional
        A matrix in place of the random one.

    Notes
    -----
    The noise belongs to the number of the vector, counted over all calls: the same for any split into batches, and
    never the same twice.
    """

    def __init__(
        self,
        n_classes: int,
        width: int,
        *,
        noise: float = 0.1,
        bits: int | None = None,
        seed: int = 0,
        encoding: ErrorEncoding | None = None,
        matrix: ArrayLike | None = None,
    ) -> None:
        self.noise = validation.number("noise", noise, low=0.0, high=1e6)
        self.bits = None if bits is None else validation.integer("bits", bits, low=1, high=16)
        super().__init__(n_classes, width, seed=seed, encoding=encoding, matrix=matrix)
        self._key = rng.stream_key(self.seed, "feedback noise")

    def _project(self, errors: np.ndarray) -> np.ndarray:
        result = super()._project(errors)
        norms = np.sqrt(np.einsum("ij,ij->i", errors, errors, dtype=np.float64)).astype(np.float32)[:, None]
        if self.noise > 0:
            noise = rng.normals(self._key, result.size, self._vectors * self.width).reshape(result.shape)
            noise *= np.float32(self.noise) * norms
            result += noise
        if self.bits is not None:
            steps = np.float32(2**self.bits - 1)
            size = norms * np.float32(2 * RANGE) / steps
            result /= np.where(size > 0, size, np.float32(1))
            # Levels lie at whole steps from the lowest one, not from zero.
            result += steps / 2
            np.rint(np.clip(result, 0, steps, out=result), out=result)
            result -= steps / 2
            result *= size
        return result

    def describe(self) -> Description:
        """Return kind, sizes, what sets matrix and noise, and the encoding.

        Returns
        -------
        dict
            Values by name.
        """
        bits: str | int = "none" if self.bits is None else self.bits
        return {**super().describe(), "kind": "noisy", "noise": self.noise, "output_bits": bits, "seed": self.seed}


def checked_encoding(encoding: Any, *, none_allowed: bool = True) -> ErrorEncoding | None:
    """Return `encoding` if it is None or can encode; a TypeError sentence otherwise."""
    # A text has `encode` too.
    if encoding is not None and not all(callable(getattr(encoding, name, None)) for name in ("encode", "describe")):
        raise TypeError(
            f"encoding is {encoding!r} ({type(encoding).__name__}), but it must be {'None or ' if none_allowed else ''}"
            "an encoding object, for instance opusim.dfa.TernaryEncoding(); opusim.dfa.parse_encoding makes one of a "
            "text."
        )
    return encoding


def described(encoding: ErrorEncoding | None) -> Description:
    """Return what `describe` of a feedback says about its encoding."""
    return {"encoding": "float"} if encoding is None else encoding.describe()


def vectors_of(state: Mapping[str, Any]) -> int:
    """Return the number of vectors in a state; a ValueError sentence if it is not there."""
    return validation.integer("vectors", state_value(state, "vectors"), low=0)


def state_value(state: Mapping[str, Any], name: str) -> int | float:
    """Return one number of a state; a ValueError sentence if it is not there."""
    if name not in state:
        raise ValueError(f"The state of the feedback holds {sorted(state)}, but it must hold {name!r}.")
    return state[name]


def _checked_matrix(matrix: ArrayLike, shape: tuple[int, int]) -> np.ndarray:
    array = np.asarray(matrix)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"matrix is an array of {array.dtype}, but it must hold real numbers.")
    if array.shape != shape:
        raise ValueError(f"matrix has the shape {array.shape}, but it must be (width, n_classes) = {shape}.")
    rows = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise ValueError("matrix holds numbers that are not finite.")
    return rows
