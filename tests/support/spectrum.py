"""Singular values of linear maps too large for a decomposition, by Lanczos' method in numpy alone.

Golub and Meurant, Matrices, Moments and Quadrature (2010), chapters 4 and 11: m steps from a random vector give the
nodes and weights of the Gauss quadrature of the spectrum that this vector sees, which for large maps is that of all
vectors; the first and last nodes converge to the ends of the spectrum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from opusim import theory
from opusim.device.medium import ModeGrid

Map = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Spectrum:
    """Singular values of a map with entries of mean square 1, over the root of its longer side.

    `values` and `weights` are the nodes and weights of a quadrature in rising order, (probes, steps) each, and `ratio`
    is the shorter side over the longer.
    """

    values: np.ndarray
    weights: np.ndarray
    ratio: float

    @property
    def largest(self) -> float:
        """The largest singular value over Marchenko and Pastur's upper edge."""
        return float(self.values.max()) / theory.marchenko_pastur_edges(self.ratio)[1]

    @property
    def smallest(self) -> float:
        """The smallest over the lower edge; no number for a square."""
        low = theory.marchenko_pastur_edges(self.ratio)[0]
        return float(self.values.min()) / low if low > 1e-6 else float("nan")

    def share_below(self, s: np.ndarray) -> np.ndarray:
        """Share of the singular values up to each of `s`.

        The share of the spectrum below a node lies between the sums of the weights without it and with it (Chebyshev,
        Markov, Stieltjes). The middle of both is taken, which is near to it, and straight lines between the nodes.
        """
        below = np.cumsum(self.weights, axis=1) - self.weights / 2
        shares = [np.interp(s, nodes, part) for nodes, part in zip(self.values, below, strict=True)]
        result: np.ndarray = np.mean(shares, axis=0)
        return result

    @property
    def distance(self) -> float:
        """Kolmogorov and Smirnov's distance to Marchenko and Pastur's law, between first and last nodes."""
        s = np.linspace(self.values[:, 0].max(), self.values[:, -1].min(), 2000)
        return float(np.abs(self.share_below(s) - theory.marchenko_pastur_cdf(s, self.ratio)).max())


def spectrum(
    forward: Map, adjoint: Map, n_in: int, n_out: int, *, steps: int, probes: int = 1, seed: int = 0
) -> Spectrum:
    """Return the spectrum of a map, from `steps` steps from each of `probes` random vectors.

    `forward` takes vectors of `n_in` numbers of complex64 to `n_out`, `adjoint` the other way. What n vectors of N
    numbers see is known to about .8 / sqrt(n N) in the distribution function.
    """
    small, large = sorted((n_in, n_out))
    first, second = (forward, adjoint) if n_in <= n_out else (adjoint, forward)
    rng = np.random.default_rng((seed, small, large))
    parts = [_quadrature(lambda x: second(first(x)) / np.float32(large), small, steps, rng) for _ in range(probes)]
    nodes, weights = (np.stack(both) for both in zip(*parts, strict=True))
    return Spectrum(np.sqrt(np.maximum(nodes, 0)), weights, small / large)


def _quadrature(gram: Map, n: int, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of a Hermitian map of n numbers, as one random vector sees it."""
    v = (rng.standard_normal(n) + 1j * rng.standard_normal(n)).astype(np.complex64)
    v /= np.linalg.norm(v)
    kept = np.empty((steps, n), dtype=np.complex64)
    diagonal, beside = np.zeros(steps), np.zeros(steps)
    for k in range(steps):
        kept[k] = v
        w = gram(v)
        diagonal[k] = np.vdot(v, w).real
        for _ in range(2):  # against all before it, twice: rounding would bring found values back
            w = w - (kept[: k + 1] @ w.conj()).conj() @ kept[: k + 1]
        beside[k] = np.linalg.norm(w)
        v = w / np.float32(beside[k])
    nodes, vectors = scipy.linalg.eigh_tridiagonal(diagonal, beside[:-1])
    return nodes, vectors[0] ** 2


def layer_spectrum(
    medium: Any, grid: ModeGrid, *, steps: int, probes: int = 1, seed: int = 0, workers: int = 1
) -> Spectrum:
    """Return the spectrum of a layer from the cells of its input to those of its output."""
    operator = medium.operator(grid, wavelength_m=532e-9, seed=seed, workers=workers)

    def forward(x: np.ndarray) -> np.ndarray:
        result: np.ndarray = operator.forward(x.reshape(1, *grid.input_shape)).ravel()
        return result

    def adjoint(y: np.ndarray) -> np.ndarray:
        result: np.ndarray = operator.backward(y.conj().reshape(1, *grid.output_shape)).ravel().conj()
        return result

    n_in, n_out = (int(np.prod(shape)) for shape in (grid.input_shape, grid.output_shape))
    return spectrum(forward, adjoint, n_in, n_out, steps=steps, probes=probes, seed=seed)
