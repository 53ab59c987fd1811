"""The camera of `opusim.device.camera` a second time, written plainly: what its kernel is checked against."""

from __future__ import annotations

import numpy as np

from opusim.device.camera import Camera, SensorMaps


def expose(
    camera: Camera, photons: np.ndarray, *, exposure_s: float, generator: np.random.Generator, maps: SensorMaps
) -> np.ndarray:
    """Return counts by the same laws as `Camera.expose`, in double precision.

    Parameters
    ----------
    camera : Camera
        The camera.
    photons : ndarray, shape (n,) or (frames, n)
        Mean photons on each pixel of `maps` in the exposure.
    exposure_s : float
        Exposure in seconds.
    generator : numpy.random.Generator
        Source of the noise, which is drawn in order, with numpy's Poisson law.
    maps : SensorMaps
        Fixed patterns of the pixels.

    Returns
    -------
    ndarray of the camera's type, shape of `photons`
    """
    mean = np.asarray(photons, dtype=np.float64) * maps.gain + maps.dark_e_per_s * exposure_s
    electrons = generator.poisson(mean) if camera.shot_noise else mean
    electrons = np.minimum(electrons, camera.full_well_e)
    # The response: a parabola to the end of the scale, then straight on.
    bend, end_e = 4 * camera.nonlinearity, min(camera.full_well_e, camera.full_scale_e)
    inside = np.minimum(electrons, end_e)
    signal = inside + bend * inside * (1 - inside / end_e) + (1 - bend) * (electrons - inside)
    signal = signal + maps.offset_e + camera.read_noise_e * generator.standard_normal(mean.shape)
    if maps.telegraph_e.size:
        signal += maps.telegraph_e * (generator.binomial(2, 0.5, mean.shape) - 1)
    level = camera.black_level_dn + camera.gain_dn_per_e * signal
    if camera.quantise:
        level = np.clip(np.rint(level), 0, camera.full_scale_dn)
    return level.astype(camera.dtype)
