"""A smooth wavefront error: a few Zernike terms with random weights."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from opusim.base import rng

from .lattice import SQUARE, places, spacing

# Zernike terms of a static aberration: astigmatism, defocus, coma, trefoil, spherical. Piston and tilt
# move nothing that a random medium could tell apart. 2311.17496 (docs/physics.md section 3) needs about eleven.
_N_ABERRATION_TERMS = 9


@lru_cache(maxsize=4)
def low_order_wavefront(
    shape: tuple[int, int], rms_rad: float, seed: int, purpose: str, lattice: str = SQUARE
) -> np.ndarray:
    """Return a smooth random phase over an array of points.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns).
    rms_rad : float
        Its standard deviation in radians.
    seed, purpose : int, str
        Which one.
    lattice : {"square", "diamond"}, optional
        How the points lie (`opusim.device.lattice`).

    Returns
    -------
    ndarray of float32, shape `shape`, read-only
        Zernike terms 4 to 12 (Noll) over the circle around the array, with random weights.
    """
    height, width = (n * step for n, step in zip(shape, spacing(lattice), strict=True))
    radius = math.sqrt(height * height + width * width) / 2
    y, x = (axis / radius for axis in places(shape, lattice))
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
        if not np.ptp(term):
            continue  # of a single line of points
        surface += weight * (term - np.mean(term)) / np.std(term)
    surface *= rms_rad / np.std(surface) if rms_rad else 0.0
    result = surface.astype(np.float32)
    result.setflags(write=False)
    return result
