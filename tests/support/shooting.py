"""A camera with every imperfection, and its frames of even light."""

from __future__ import annotations

import numpy as np

from opusim.device.camera import Camera

SIDE = 700
EXPOSURE_S = 400e-6

REAL = Camera(
    "real", (SIDE, SIDE), 5.5e-6, 0.6, 100.0, 0.124, 12,
    full_well_e=32000.0, read_noise_e=7.0, dark_current_e_per_s=125.0, prnu=0.01, dsnu_e=15.0,
    hot_pixel_fraction=0.001, hot_pixel_dark_e_per_s=20_000.0, black_level_dn=40.0,
)  # fmt: skip


def shoot(camera, photons, *, exposure_s=EXPOSURE_S, seed=1, frames=None, **options):
    """Expose the whole sensor evenly (a number) or as given (an array of one value for each pixel)."""
    maps = camera.maps(seed)
    light = np.broadcast_to(np.float32(photons), (frames or 1, len(maps)))
    out = camera.expose(light, exposure_s=exposure_s, seed=seed, maps=maps, **options)
    return out if frames else out[0]
