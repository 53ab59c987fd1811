"""Randomised linear algebra by a linear transform: sketches of matrices, and what is told from them.

Sources: Halko, Martinsson and Tropp 2011 (low rank); Hutchinson 1990 (trace); arXiv 2104.14429 (by light).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from opusim.base import validation
from opusim.base.user_arrays import checked_array, exponent_of
from opusim.bench.driver import check_driver_of_bits

__all__ = ["Sketch", "moments", "own_matrix", "range_basis", "sketch_by", "sketch_noise"]

Sketch = Callable[[np.ndarray], np.ndarray]
"""(rows, size) -> (rows, n_components): products with one random matrix."""


def sketch_by(opu: Any, n_bits: int) -> Sketch:
    """Return what sketches real numbers by an OPU, plane by plane of their bits.

    Parameters
    ----------
    opu : object
        Anything with ``linear_transform`` of bits, such as an `opusim.OPU`.
    n_bits : int
        Bits of the magnitude by which real numbers are shown.

    Returns
    -------
    callable
        Of an ndarray (rows, size) of real numbers; it returns one of float64, shape (rows, n_components).

    Raises
    ------
    ValueError
        If the device turns phases, or `n_bits` is not what it may be.
    """
    from opusim.dfa.error_encoding import BitPlaneEncoding

    check_driver_of_bits(opu, "A sketch")

    encoding = BitPlaneEncoding(n_bits)

    def sketch(x: np.ndarray) -> np.ndarray:
        encoded = encoding.encode(x)
        return encoded.weights @ np.asarray(opu.linear_transform(encoded.bits), dtype=np.float64)

    return sketch


def sketch_noise(first: np.ndarray, again: np.ndarray) -> float:
    """Return the noise of a sketch over its rms, from two of the same rows.

    What is the same in both, such as a wrong phase step, is not in it.

    Parameters
    ----------
    first, again : ndarray of real numbers, of one shape
        The sketches.

    Returns
    -------
    float
        Noise over rms.

    Raises
    ------
    TypeError, ValueError
        If one holds something else, or their shapes differ.
    """
    first, again = checked_array("first", first, finite=True), checked_array("again", again, finite=True)
    if first.shape != again.shape or not first.size:
        raise ValueError(
            f"again has the shape {again.shape}, but it must be that of first, {first.shape}, and not empty."
        )
    # By one power of two, which rounds nothing and drops out: squares of any number then stay numbers.
    exponent = max(exponent_of(first), exponent_of(again))
    first, again = np.ldexp(first, -exponent), np.ldexp(again, -exponent)
    # The difference of the two has their noise twice.
    return float(np.linalg.norm(again - first) / (np.sqrt(2) * np.linalg.norm(again)))


def own_matrix(sketch: Sketch, size: int, signs: np.ndarray) -> np.ndarray:
    """Measure the random matrix that a sketch multiplies by, in a basis of +1 and -1.

    Parameters
    ----------
    sketch : callable
        The sketch; one bit shows the basis exactly.
    size : int
        Rows of the matrix.
    signs : ndarray of float64, shape (size,)
        +1 and -1: random ones keep each pattern about half on.

    Returns
    -------
    ndarray of float64, shape (size, n_components)

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named, or the sketch returns something else.
    """
    size = validation.integer("size", size, low=1)
    signs = checked_array("signs", signs, "+1 and -1", finite=True)
    if signs.shape != (size,):
        raise ValueError(f"signs has the shape {signs.shape}, but it must be a sign for each row: ({size},).")
    if not (np.abs(signs) == 1).all():
        place = int(np.argmax(np.abs(signs) != 1))
        raise ValueError(f"signs[{place}] is {signs[place]}, but every sign must be +1 or -1.")
    # Orthogonal columns.
    basis = scipy.linalg.hadamard(1 << (size - 1).bit_length())[:, :size] * signs
    sketched = checked_array("what sketch returned", sketch(basis), finite=True)
    if sketched.ndim != 2 or len(sketched) != len(basis):
        raise ValueError(f"What sketch returned has the shape {sketched.shape}, but it must have {len(basis)} rows.")
    return basis.T @ sketched / len(basis)


def range_basis(matrix: np.ndarray, sketch: np.ndarray, *, power_iterations: int = 0) -> np.ndarray:
    """Return an orthonormal basis of about the range of a matrix.

    Parameters
    ----------
    matrix : ndarray of float64, shape (rows, size)
        The matrix.
    sketch : ndarray of float64, shape (rows, n_components)
        Its sketch.
    power_iterations : int
        In exact arithmetic; each takes most of the noise of the sketch off.

    Returns
    -------
    ndarray of float64, shape (rows, n_components)

    Raises
    ------
    TypeError, ValueError
        If an array holds something else, or their shapes do not go together.
    """
    matrix, sketch = checked_array("matrix", matrix, finite=True), checked_array("sketch", sketch, finite=True)
    power_iterations = validation.integer("power_iterations", power_iterations, low=0)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"matrix has the shape {matrix.shape}, but it must be (rows, size), with some of both.")
    if sketch.ndim != 2 or len(sketch) != len(matrix) or not sketch.size:
        raise ValueError(
            f"sketch has the shape {sketch.shape}, but it must be (rows, n_components), with as many rows as matrix: "
            f"{len(matrix)}."
        )
    for _ in range(power_iterations):
        q, _ = np.linalg.qr(sketch)
        q, _ = np.linalg.qr(matrix.T @ q)
        sketch = matrix @ q
    q, _ = np.linalg.qr(sketch)
    return q


def moments(twice: np.ndarray, block: int, power: int) -> np.ndarray:
    """Estimate tr(A^power) from a matrix that is sketched from both sides, once by each block of outputs.

    Parameters
    ----------
    twice : ndarray of float64, shape (n_components, n_components)
        The sketch of the transposed sketch of a square matrix A.
    block : int
        Outputs of one estimate.
    power : int
        1 for the trace; 3 for six times the triangles of a graph.

    Returns
    -------
    ndarray of float64, shape (n_components / block,)

    Raises
    ------
    TypeError, ValueError
        If `twice` is not square or holds something else, or if `block` does not divide its size.
    """
    twice = checked_array("twice", twice, finite=True)
    block, power = validation.integer("block", block, low=1), validation.integer("power", power, low=1)
    if twice.ndim != 2 or twice.shape[0] != twice.shape[1] or not twice.size:
        raise ValueError(f"twice has the shape {twice.shape}, but it must be square: (n_components, n_components).")
    if len(twice) % block:
        raise ValueError(f"block is {block}, but it must divide n_components, {len(twice)}.")
    blocks = [twice[k : k + block, k : k + block] for k in range(0, len(twice), block)]
    return np.array([np.trace(np.linalg.matrix_power(one / block, power)) for one in blocks])
