"""The textbook medium: independent circular complex Gaussian entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from opusim.base import parallel, rng

from .base import EntryMedium, decorrelation_time, transmission


@dataclass(frozen=True)
class GaussianMedium(EntryMedium):
    """A medium whose transmission matrix has independent circular complex Gaussian entries.

    Entry (output, input) is computed from (seed, output, input) alone, so that the matrix can be stored or
    made tile by tile and is the same either way. It has only the matrix way: one entry a mode.

    Parameters
    ----------
    transmission : float
        Share of the light that leaves the mirrors (all on) which reaches one pixel on average, in one
        polarisation (`Medium`).
    decorrelation_time_s : float
        Time after which the field correlation has fallen to 1/e; `inf` for none.
    """

    kind: ClassVar[str] = "gaussian"
    order: ClassVar[float] = 20.0
    #: Largest number of matrix entries that one call computes: about ten minutes on one core.
    max_entries: ClassVar[int] = 100_000_000_000

    transmission: float = transmission()
    decorrelation_time_s: float = decorrelation_time()

    def entries(
        self, inputs: range, outputs: range, *, seed: int, state: int = 0, channel: int = 0, threads: int | None = None
    ) -> np.ndarray:
        """Return a tile of the matrix: independent entries of unit variance.

        Parameters
        ----------
        inputs, outputs : range
            Consecutive inputs and outputs, as of `EntryMedium.entries`.
        seed, state, channel : int
            Which realisation, which state of its drift (`drift`), which polarisation.
        threads : int, optional
            Threads to use; all processors by default. The entries do not depend on it.

        Returns
        -------
        ndarray of complex64, shape (len(inputs), len(outputs))
            Entries of mean square 1, input first: the transpose of T[output, input].
        """
        drift = self.drift
        first, others = drift.mixture(drift.time(state))
        threads = threads or parallel.default_threads()
        tile = self._tile(inputs, outputs, seed, channel, 0, threads)
        if not others:
            return tile
        tile *= np.complex64(first)
        for m, weight in others:
            tile += np.complex64(weight) * self._tile(inputs, outputs, seed, channel, m, threads)
        return tile

    @staticmethod
    def _tile(inputs: range, outputs: range, seed: int, channel: int, term: int, threads: int) -> np.ndarray:
        from .gaussian_kernels import gaussian_entries

        key = rng.stream_key(seed, "gaussian medium", channel, term)
        tile = np.empty((len(inputs), 2 * len(outputs)), dtype=np.float32)
        gaussian_entries(key, tile, inputs.start, outputs.start, threads=threads)
        return tile.view(np.complex64)
