"""How the light of a mirror array moves with time: a window that warms up, and a cable that shakes the chip.

A mirror's phase at the time t is ``sigma(t) Z + a(t) Y``. Z is a low-order wavefront that the seed says, of mean 0 over
the light of the beam, and sigma(t) such that the speckle behind a random medium, with all mirrors on, has lost what the
curve of the warm-up says: ``|<exp(i sigma Z)>|^2 = C(t)``, the mean being over the light. Y is the place along the
first axis, 1 at the outermost mirror, and a(t) a sine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opusim.base import elementary, rng
from opusim.base.short_repr import short_repr

from . import lattice as lattices
from .modulator import beam_amplitude
from .wavefront import low_order_wavefront

if TYPE_CHECKING:
    from .dmd import Dmd

#: Correlation of the speckle below which no warm-up goes: what is known of it ends long before.
LEAST_CORRELATION = 0.5

# Steps of the wavefront's size in the table that is read backwards, and the size at its end, in radians.
_STEPS, _MOST_RAD = 1024, 4.0
# Cells of equal width that the wavefront's values are put into, each with the mean of its own.
_CELLS = 4096
# Moments of a quarter of a sine over which it is averaged.
_PHASES = 64
# Standard deviation below which values differ by rounding alone.
_LEAST_SPREAD = 1e-6

Array = NDArray[np.float64]


@short_repr
@dataclass(frozen=True, eq=False)
class Wavefront:
    """A shape Z that grows with time, and how large it is where the speckle has kept so much.

    Attributes
    ----------
    shape : ndarray of float32, shape (n,)
        Z of mirrors or of modes: of mean 0 and standard deviation 1 over the light; 0 if all are alike.
    lost : ndarray of float64, shape (m,)
        ``-ln |<exp(i sigma Z)>|^2``, rising from 0.
    squares : ndarray of float64, shape (m,)
        Sigma^2 there, in square radians.
    """

    shape: NDArray[np.float32]
    lost: Array
    squares: Array

    @classmethod
    def of(cls, z: Array, light: Array) -> Wavefront:
        """Return that of some values.

        Parameters
        ----------
        z : ndarray of float64, shape (n,)
            Of any mean and size.
        light : ndarray of float64, shape (n,)
            Light of each.

        Returns
        -------
        Wavefront
            In the proportions of these.
        """
        power = light / light.sum()
        z = z - (power * z).sum()
        spread = math.sqrt((power * np.square(z)).sum())
        if spread < _LEAST_SPREAD:
            return cls(np.zeros(len(z), np.float32), np.array([0.0, np.inf]), np.zeros(2))
        z /= spread
        sigma = np.arange(_STEPS + 1, dtype=np.float64) * (_MOST_RAD / _STEPS)
        kept = _kept(z, power, sigma)
        kept[0] = 1.0
        # As far as it is asked for, and as it falls.
        rises = np.flatnonzero(np.diff(kept) >= 0)
        end = int(np.argmax(kept < LEAST_CORRELATION)) or _STEPS
        end = min(end, int(rises[0])) if len(rises) else end
        shape = z.astype(np.float32)
        shape.setflags(write=False)
        return cls(shape, -elementary.log(kept[: end + 1]), np.square(sigma[: end + 1]))

    def sizes(self, correlation: Array) -> Array:
        """Return sigma, with which all light together has kept a correlation.

        Parameters
        ----------
        correlation : ndarray of float64, shape (n,)
            Of the speckle's intensity, from `LEAST_CORRELATION` to 1.

        Returns
        -------
        ndarray of float64, shape (n,)
            Radians.
        """
        wanted = -elementary.log(correlation)
        k = np.clip(np.searchsorted(self.lost, wanted, side="right") - 1, 0, len(self.lost) - 2)
        within = np.minimum((wanted - self.lost[k]) / (self.lost[k + 1] - self.lost[k]), 1.0)
        return np.asarray(np.sqrt(self.squares[k] + within * (self.squares[k + 1] - self.squares[k])))


def warm_up(dmd: Dmd, seed: int) -> Wavefront:
    """Return the wavefront of the warm-up over the mirrors, in raster order.

    Parameters
    ----------
    dmd : Dmd
        The mirrors.
    seed : int
        Seed of the device.

    Returns
    -------
    Wavefront
        Zernike terms 4 to 12 (Noll).
    """
    return _warm_up(dmd.shape, dmd.lattice, dmd.pitch_m, dmd.beam_radius_m, seed)


def tilt(dmd: Dmd) -> NDArray[np.float32]:
    """Return the shape Y of the tilt over the mirrors.

    Parameters
    ----------
    dmd : Dmd
        The mirrors.

    Returns
    -------
    ndarray of float32, shape `dmd.shape`, read-only
        Place along the first axis over that of the outermost mirror.
    """
    return _tilt(dmd.shape, dmd.lattice)


def speckle_correlation(dmd: Dmd, times_s: Array) -> Array:
    """Return the correlation C of the speckle's intensity with that of a cold array.

    Parameters
    ----------
    dmd : Dmd
        The mirrors.
    times_s : ndarray of float64, shape (n,)
        Seconds since it was switched on.

    Returns
    -------
    ndarray of float64, shape (n,)
        ``1 - loss (1 - exp(-t / time)) - creep t``, at least `LEAST_CORRELATION`.
    """
    left = elementary.exp(-times_s / dmd.warm_up_time_s)
    lost = dmd.warm_up_loss * (1 - left) + dmd.creep_per_hour / 3600 * times_s
    return np.maximum(1 - lost, LEAST_CORRELATION)


def tilt_rad(dmd: Dmd, times_s: Array, exposure_s: float, seed: int) -> Array:
    """Return the tilt a in exposures.

    Parameters
    ----------
    dmd : Dmd
        The mirrors.
    times_s : ndarray of float64, shape (n,)
        Starts of the exposures in seconds.
    exposure_s : float
        Their length in seconds; 0 for the moments themselves.
    seed : int
        Seed of the device.

    Returns
    -------
    ndarray of float64, shape (n,)
        Its mean over each, in radians.
    """
    if not dmd.vibration_rad:
        return np.zeros(len(times_s))
    start = float(rng.uniforms(rng.key_of(seed, "dmd vibration"), 1)[0])
    turns = dmd.vibration_hz * times_s
    turns -= np.rint(turns)  # exact, and small whenever it is
    # The mean of a sine over an exposure is that of its middle, less what is averaged away.
    half = dmd.vibration_hz * exposure_s / 2
    size = dmd.vibration_rad * sine_left(dmd.vibration_hz * exposure_s)
    return np.asarray(size * elementary.sin(2 * np.pi * (turns + (half - round(half)) + start)))


def sine_left(turns: float) -> float:
    """Return what a mean over a sine leaves of its amplitude: sin(pi n) / (pi n).

    Parameters
    ----------
    turns : float
        Turns n of the sine, at least 0.

    Returns
    -------
    float
        1 for none; below 0 where the middle is not what weighs most.
    """
    if turns < 1e-9:
        return 1.0
    whole = round(turns)
    sine = float(elementary.sin(math.pi * (turns - whole)))
    return (-sine if whole % 2 else sine) / (math.pi * turns)


def vibrating_correlation(dmd: Dmd, exposure_s: float) -> float:
    """Return the correlation of the speckle's intensity with that of mirrors at rest, on average over the vibration.

    Parameters
    ----------
    dmd : Dmd
        The mirrors.
    exposure_s : float
        Exposure in seconds; 0 for moments.

    Returns
    -------
    float
        The mean of ``|<exp(i a Y)>|^2`` over a sine, the inner mean being over the light.
    """
    if not dmd.vibration_rad:
        return 1.0
    light = np.square(dmd.amplitude(), dtype=np.float64).ravel()
    size = dmd.vibration_rad * sine_left(dmd.vibration_hz * exposure_s)
    a = size * elementary.sin(np.pi / 2 * (np.arange(_PHASES) + 0.5) / _PHASES)
    return float(_kept(tilt(dmd).ravel().astype(np.float64), light / light.sum(), a).mean())


def _kept(values: Array, power: Array, sizes: Array) -> Array:
    """Return ``|sum of power exp(i size values)|^2`` for each size, values being put into cells."""
    low, high = float(values.min()), float(values.max())
    cell = np.minimum(((values - low) * (_CELLS / (high - low))).astype(np.int64), _CELLS - 1)
    of_cell = np.bincount(cell, weights=power, minlength=_CELLS)
    lit = of_cell > 0
    middle = np.bincount(cell, weights=power * values, minlength=_CELLS)[lit] / of_cell[lit]
    angle = sizes[:, None] * middle
    parts = ((of_cell[lit] * part).sum(axis=1) for part in (elementary.cos(angle), elementary.sin(angle)))
    real, imaginary = parts
    return np.asarray(real * real + imaginary * imaginary)


@lru_cache(maxsize=4)
def _warm_up(shape: tuple[int, int], lattice: str, pitch_m: float, beam_radius_m: float, seed: int) -> Wavefront:
    light = np.square(beam_amplitude(shape, lattice, pitch_m, beam_radius_m), dtype=np.float64).ravel()
    z = low_order_wavefront(shape, 1.0, seed, "dmd warm-up", lattice).astype(np.float64).ravel()
    return Wavefront.of(z, light)


@lru_cache(maxsize=4)
def _tilt(shape: tuple[int, int], lattice: str) -> NDArray[np.float32]:
    y = lattices.places(shape, lattice)[0]
    y = np.broadcast_to(y / max(float(np.abs(y).max()), 1e-300), shape).astype(np.float32)
    y.setflags(write=False)
    return y
