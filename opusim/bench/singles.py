"""Single patterns, one after the other: what a loop shows, which knows the next one only from the frame before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from opusim.patterns.layout import MirrorLayout

from .frames import Shots
from .region import Region

if TYPE_CHECKING:
    from .bench import OpticalBench

__all__ = ["Singles"]


class Singles:
    """Shows single patterns of one layout in a frame each, as `OpticalBench.transform` does, to the bit.

    What they have in common is checked once, by the bench that makes it: `OpticalBench.singles`. What may change from
    one to the next is looked at for each: the clock, the state of the medium, its files, and what the bench has kept.

    Parameters
    ----------
    bench : OpticalBench
        Shows them, by numpy.
    layout : MirrorLayout
        How features lie on the mirrors.
    region : Region
        Pixels that are read.
    exposure_s, frametime_s : float
        Exposure, in which the medium stands still, and time of a frame, in seconds.
    """

    def __init__(
        self, bench: OpticalBench, layout: MirrorLayout, region: Region, exposure_s: float, frametime_s: float
    ) -> None:
        self._bench, self._layout, self._region = bench, layout, region
        self._exposure_s, self._frametime_s = exposure_s, frametime_s
        self._shape, self._kind = (1, region.n_pixels), np.dtype(bench.device.camera.dtype)

    def counts(self, bits: np.ndarray) -> np.ndarray:
        """Show one pattern and return its frame; the clock goes on by one.

        Parameters
        ----------
        bits : ndarray of uint8, shape (1, n_features)
            0 and 1, or levels of a phase modulator, in order in memory, which is not looked at.

        Returns
        -------
        ndarray of the camera's type, shape (1, n_pixels)
            Counts of the first pixels of the region.

        Raises
        ------
        ValueError
            If a file of the medium is another one than before, or the clock is at its end.
        MemoryError
            If a new state of the medium needs a matrix for which there is not enough memory; no frame is taken then.
        """
        bench, exposure_s = self._bench, self._exposure_s
        projector, maps = bench._parts.of(self._layout, self._region)
        way = projector.way
        now_s = bench.clock.elapsed_s
        state = bench._state(now_s)
        way.prepare(state)
        out = np.empty(self._shape, self._kind)
        frame, start_s = bench._take(1, self._frametime_s)
        if start_s != now_s:  # another thread has shown something meanwhile
            state = bench._state(start_s)
        frames = np.array([frame])
        power = bench.device.laser.relative_power(
            frames, np.array([start_s]), seed=bench.seed, exposure_s=exposure_s
        )  # fmt: skip
        scale = power * bench.photons_per_intensity(exposure_s)
        shown = bits.view()
        shown.flags.writeable = False  # as those of `MirrorPatterns`: compiled kernels meet arrays of one kind
        way.counts(shown, Shots(state, frames, scale, exposure_s, maps), out)
        return out
