"""Mirrors that move: what multiplies the light of each mode of a source in each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opusim.base import elementary
from opusim.device import mirror_motion
from opusim.device.dmd import Dmd

if TYPE_CHECKING:
    from .frames import Moments


class ModeMotion:
    """Phases by which modes move, from frame to frame.

    Parameters
    ----------
    dmd : Dmd
        The mirrors.
    seed : int
        Seed of the device.
    mode_of_mirror : ndarray of int, shape `dmd.shape`, optional
        Mode that each mirror belongs to, below zero for none; each is a mode of its own by default. A mode has the mean
        of the wavefront and of the tilt over the light of its mirrors. The wavefront of modes is as large as theirs
        must be, so that the speckle of all modes loses what that of all mirrors does: a line of mirrors averages most
        of it away, and would have it as a change of its mode, which stays the same here.
    n_modes : int, optional
        Modes, where mirrors belong to some.
    """

    def __init__(
        self, dmd: Dmd, seed: int, mode_of_mirror: np.ndarray | None = None, n_modes: int | None = None
    ) -> None:  # fmt: skip
        self._dmd, self._seed = dmd, seed
        self._wavefront = mirror_motion.warm_up(dmd, seed)
        self._tilt: NDArray[Any] = mirror_motion.tilt(dmd).ravel()
        if mode_of_mirror is None:
            return
        assert n_modes is not None, "how many modes there are is told"
        mode = mode_of_mirror.ravel()
        lit = mode >= 0
        power = np.square(dmd.amplitude(), dtype=np.float64).ravel()[lit]
        light = np.bincount(mode[lit], weights=power, minlength=n_modes).astype(np.float64, copy=False)
        # What has no light has no phase that could be seen.
        least = np.where(light > 0, light, 1.0)
        wavefront, self._tilt = (
            np.bincount(mode[lit], weights=power * shape[lit], minlength=n_modes) / least
            for shape in (self._wavefront.shape, self._tilt)
        )  # fmt: skip
        self._wavefront = mirror_motion.Wavefront.of(wavefront, light)

    def phasors(self, moments: Moments) -> np.ndarray:
        """Return by what the light of each mode is multiplied: complex64 (n, modes), of modulus 1."""
        dmd, times_s = self._dmd, moments.times_s
        sizes = self._wavefront.sizes(mirror_motion.speckle_correlation(dmd, times_s))
        phase = sizes[:, None] * self._wavefront.shape
        if dmd.vibrates:
            phase += mirror_motion.tilt_rad(dmd, times_s, moments.exposure_s, self._seed)[:, None] * self._tilt
        return elementary.phasors(phase, np.complex64)
