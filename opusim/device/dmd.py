"""The digital micromirror device: binary mirrors in, a complex field out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from opusim.base import rng, validation

# Zernike terms of the static aberration: astigmatism, defocus, coma, trefoil, spherical. Piston and tilt
# move nothing that a random medium could tell apart. 2311.17496 (docs/physics.md section 3) needs about eleven.
_N_ABERRATION_TERMS = 9


@dataclass(frozen=True)
class Dmd:
    """A micromirror array lit by a Gaussian beam.

    Parameters
    ----------
    name : str
        Part name.
    shape : tuple of int
        Mirrors as (rows, columns). The DLP4500's diamond lattice is treated as a square one.
    pitch_m : float
        Distance between mirrors in metres.
    contrast_ratio : float
        Full-on to full-off intensity ratio; an off mirror still sends the amplitude 1/sqrt(contrast_ratio).
    efficiency : float
        Share of the light on the array that leaves it in the order used, all mirrors on
        (fill factor x mirror x diffraction x window).
    frame_rate_hz : float
        Highest rate of binary patterns.
    beam_radius_m : float
        Radius at which the beam's intensity is 1/e^2 of its centre; `inf` for even lighting.
    aberration_rms_rad : float
        Root mean square of the static low-order wavefront error over the array, in radians.
    stuck_on_fraction, stuck_off_fraction : float
        Share of mirrors that never leave the state.
    """

    name: str
    shape: tuple[int, int]
    pitch_m: float
    contrast_ratio: float = math.inf
    efficiency: float = 0.65
    frame_rate_hz: float = 2000.0
    beam_radius_m: float = math.inf
    aberration_rms_rad: float = 0.0
    stuck_on_fraction: float = 0.0
    stuck_off_fraction: float = 0.0

    def __post_init__(self) -> None:
        """Check every parameter."""
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"dmd.name is {self.name!r}, but it must be a text.")
        object.__setattr__(self, "shape", validation.shape2("dmd.shape", self.shape))
        validation.number("dmd.pitch_m", self.pitch_m, low=0.1e-6, high=1e-3)
        validation.number("dmd.contrast_ratio", self.contrast_ratio, low=1.0, high=math.inf, allow_inf=True)
        validation.number("dmd.efficiency", self.efficiency, low=0.0, high=1.0, low_open=True)
        validation.number("dmd.frame_rate_hz", self.frame_rate_hz, low=0.0, high=1e7, low_open=True)
        validation.number(
            "dmd.beam_radius_m", self.beam_radius_m, low=0.0, high=math.inf, low_open=True, allow_inf=True
        )
        validation.number("dmd.aberration_rms_rad", self.aberration_rms_rad, low=0.0, high=100.0)
        validation.number("dmd.stuck_on_fraction", self.stuck_on_fraction, low=0.0, high=1.0)
        validation.number("dmd.stuck_off_fraction", self.stuck_off_fraction, low=0.0, high=1.0)
        if self.stuck_on_fraction + self.stuck_off_fraction > 1:
            raise ValueError(
                f"dmd.stuck_on_fraction is {self.stuck_on_fraction!r} and dmd.stuck_off_fraction is "
                f"{self.stuck_off_fraction!r}, but together they must be at most 1."
            )

    @property
    def n_mirrors(self) -> int:
        """Number of mirrors."""
        return self.shape[0] * self.shape[1]

    @property
    def off_amplitude(self) -> float:
        """Amplitude of an off mirror relative to the same mirror on: 1/sqrt(contrast ratio)."""
        return 0.0 if math.isinf(self.contrast_ratio) else 1.0 / math.sqrt(self.contrast_ratio)

    def amplitude(self) -> np.ndarray:
        """Amplitude of every mirror that is on.

        Returns
        -------
        ndarray of float32, shape `shape`, read-only
            Amplitudes exp(-r^2 / w^2), scaled so that the mean of its square is 1: `Laser.power_w` is the power on
            the array, whatever the beam's radius.
        """
        return _amplitude(self.shape, self.pitch_m, self.beam_radius_m)

    def phase_rad(self, seed: int) -> np.ndarray:
        """Return the static wavefront error of every mirror in radians.

        Parameters
        ----------
        seed : int
            Seed of the device.

        Returns
        -------
        ndarray of float32, shape `shape`, read-only
            Zernike terms 4 to 12 (Noll) over the array's circumscribed circle with random weights, scaled
            to `aberration_rms_rad`.
        """
        return low_order_wavefront(self.shape, self.aberration_rms_rad, seed, "dmd aberration")

    def stuck(self, seed: int) -> np.ndarray:
        """Which mirrors are stuck.

        Parameters
        ----------
        seed : int
            Seed of the device.

        Returns
        -------
        ndarray of int8, shape `shape`, read-only
            For each mirror 1 if it is stuck on, -1 if it is stuck off, 0 if it works.
        """
        return _stuck(self.shape, self.stuck_on_fraction, self.stuck_off_fraction, seed)

    def field(self, mirrors: np.ndarray, *, seed: int) -> np.ndarray:
        """Complex field that leaves the mirrors.

        Parameters
        ----------
        mirrors : ndarray of uint8 or bool, shape (..., rows, columns)
            1 for on, 0 for off.
        seed : int
            Seed of the device: which mirrors are stuck, which wavefront error.

        Returns
        -------
        ndarray of complex64, same shape
            Field g [b + eps (1 - b)] exp(i phi) (docs/physics.md section 3), in units in which one mirror that is on
            has the mean intensity 1.
        """
        on, off = _states(self, seed)
        return np.where(np.asarray(mirrors, dtype=bool), on, off)


def unpack_mirrors(packed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mirrors as 0/1 bytes from packed bits.

    Parameters
    ----------
    packed : ndarray of uint8, shape (n, rows * columns / 8)
        Bit k % 8 of byte k // 8 is mirror k in raster order (little-endian, as the real driver sends them).
    shape : tuple of int
        (rows, columns).

    Returns
    -------
    ndarray of uint8, shape (n, rows, columns)
    """
    bits = np.unpackbits(packed, axis=-1, count=shape[0] * shape[1], bitorder="little")
    return bits.reshape(len(packed), *shape)


@lru_cache(maxsize=8)
def _amplitude(shape: tuple[int, int], pitch_m: float, beam_radius_m: float) -> np.ndarray:
    y = (np.arange(shape[0]) - (shape[0] - 1) / 2) * pitch_m
    x = (np.arange(shape[1]) - (shape[1] - 1) / 2) * pitch_m
    g = np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / beam_radius_m**2)
    g = (g / math.sqrt(float(np.mean(g**2)))).astype(np.float32)
    g.setflags(write=False)
    return g


@lru_cache(maxsize=4)
def low_order_wavefront(shape: tuple[int, int], rms_rad: float, seed: int, purpose: str) -> np.ndarray:
    """Return a smooth random phase over an array of points.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns).
    rms_rad : float
        Its standard deviation in radians.
    seed, purpose : int, str
        Which one.

    Returns
    -------
    ndarray of float32, shape `shape`, read-only
        Zernike terms 4 to 12 (Noll) over the circumscribed circle with random weights.
    """
    rows, columns = shape
    radius = math.hypot(rows, columns) / 2
    y = ((np.arange(rows) - (rows - 1) / 2) / radius)[:, None]
    x = ((np.arange(columns) - (columns - 1) / 2) / radius)[None, :]
    r2 = x**2 + y**2
    terms = (
        2 * r2 - 1,
        2 * x * y,
        x**2 - y**2,
        (3 * r2 - 2) * y,
        (3 * r2 - 2) * x,
        (3 * x**2 - y**2) * y,
        (x**2 - 3 * y**2) * x,
        6 * r2**2 - 6 * r2 + 1,
        (4 * r2 - 3) * (x**2 - y**2),
    )
    weights = rng.normals(rng.stream_key(seed, purpose), _N_ABERRATION_TERMS).astype(np.float64)
    surface = np.zeros(shape)
    for weight, term in zip(weights, terms, strict=True):
        surface += weight * (term - np.mean(term)) / np.std(term)
    surface *= rms_rad / np.std(surface) if rms_rad else 0.0
    result = surface.astype(np.float32)
    result.setflags(write=False)
    return result


@lru_cache(maxsize=4)
def _states(dmd: Dmd, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Field of every mirror commanded on, and commanded off; a stuck mirror gives the same field either way."""
    on = dmd.amplitude() * np.exp(1j * dmd.phase_rad(seed)).astype(np.complex64)
    off = np.float32(dmd.off_amplitude) * on
    stuck = dmd.stuck(seed)
    result = np.where(stuck < 0, off, on), np.where(stuck > 0, on, off)
    for array in result:
        array.setflags(write=False)
    return result


@lru_cache(maxsize=4)
def _stuck(shape: tuple[int, int], on: float, off: float, seed: int) -> np.ndarray:
    result = np.zeros(shape, dtype=np.int8)
    if on or off:
        u = rng.uniforms(rng.stream_key(seed, "dmd stuck mirrors"), shape[0] * shape[1]).reshape(shape)
        result[u < on] = 1
        result[u > 1 - off] = -1
    result.setflags(write=False)
    return result
