"""Electrons that a frame leaves behind, which are read with the next one.

Of the electrons that a pixel holds at the end of frame k the share ``lag`` stays, and is read with frame k + 1, which
reads ``(1 - lag) n_k + lag n_(k-1)``. What was left is read and gone: a share of lag^2 that would be left a second time
is dropped. The parameter is a share of a frame "that is read with the next one", which this says to the letter, with
every electron read once; a chain without end would differ by lag^2, less than any sensor states its lag to, and would
make a frame depend on all before it.

Photons and dark electrons are mixed as means, before shot noise. A Poisson number of electrons that go one way or the
other, each by itself, is two independent Poisson numbers (thinning). So what is read is a Poisson number of the mixed
mean, and the shot noise of two frames has nothing in common; the noise of the laser's power has, and it is in the
means. Left out is what a full well does to this: what a pixel holds is then no Poisson number any more. Its mean is
kept at the full well, so that no more than a share of that is left behind.

Before a sequence of patterns the camera stands idle and is flushed: the first frame of a call finds nothing of another,
and reads ``(1 - lag) n``. A call in parts tells each part the pattern before it (`OpticalBench.transform`, ``before``).
A light that does not change is there before the first frame too: dark frames and flat fields have their whole level
from the first one on, and nothing of lag is seen in them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from opusim.device.camera import Camera, SensorMaps

from .film import exposed
from .frames import Shots


class Readout:
    """Frames of one sequence, read one after the other by numpy.

    Parameters
    ----------
    camera : Camera
        The camera.
    seed : int
        Seed of the device: its noise.
    threads : int
        Threads; they do not change the counts.
    unread : int
        Frames at the beginning that another part of the sequence reads: here only what they leave behind is known.
    """

    def __init__(self, camera: Camera, seed: int, threads: int, unread: int = 0) -> None:
        self.camera, self.seed, self.threads, self.unread = camera, seed, threads, unread
        self._before: np.ndarray | None = None

    def read(self, out: np.ndarray, number: int, photons: np.ndarray, shots: Shots, k: int) -> None:
        """Read the next frame.

        Parameters
        ----------
        out : ndarray of the camera's type, shape (frames, n_pixels)
            Its row is filled in place, if it is one to be read.
        number : int
            Number of the frame in the sequence, those that are unread counted.
        photons : ndarray of float32, shape (n_pixels,)
            Mean photons in its exposure.
        shots : Shots
            Circumstances of its run.
        k : int
            Its place in that.
        """
        if number >= self.unread:
            light, maps = self.mixed(photons, shots.maps, shots.exposure_s)
            run = shots if maps is shots.maps else replace(shots, maps=maps)
            out[number - self.unread] = exposed(self.camera, light, run, k, seed=self.seed, threads=self.threads)
        self.leave(photons, shots)

    def leave(self, photons: np.ndarray, shots: Shots) -> None:
        """Keep what a frame leaves behind; before the first one: let this light have been there already.

        Parameters
        ----------
        photons : ndarray of float32, shape (n_pixels,)
            Mean photons in its exposure.
        shots : Shots
            Circumstances of its run.
        """
        if self.camera.lag:
            self._before = np.minimum(photons, self._most_photons(shots.maps, shots.exposure_s))

    def mixed(self, photons: np.ndarray, maps: SensorMaps, exposure_s: float) -> tuple[np.ndarray, SensorMaps]:
        """Return photons whose electrons the next frame reads, and pixels with the dark electrons that it reads.

        Parameters
        ----------
        photons : ndarray of float32, shape (n_pixels,)
            Mean photons in its exposure.
        maps : SensorMaps
            Of the pixels.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        photons : ndarray of float32, shape (n_pixels,)
        maps : SensorMaps
            These themselves, but in the first frame, which finds no dark electrons of another.
        """
        lag = np.float32(self.camera.lag)
        if not lag:
            return photons, maps
        own = (1 - lag) * photons
        if self._before is None:
            return own, replace(maps, dark_e_per_s=(1 - lag) * maps.dark_e_per_s)
        return own + lag * self._before, maps

    def _most_photons(self, maps: SensorMaps, exposure_s: float) -> np.ndarray | np.float32:
        """Return the photons that fill the well of each pixel; infinite where nothing does."""
        well = np.float32(self.camera.full_well_e)
        if not np.isfinite(well):
            return well
        room = np.maximum(well - maps.dark_e(exposure_s), np.float32(0))
        blind = np.full(len(maps), np.inf, dtype=np.float32)
        return np.divide(room, maps.gain, out=blind, where=maps.gain > 0)
