"""A small device with a lens in place of the layer: a phase modulator and a camera in its focal planes."""

from __future__ import annotations

from opusim.device.record import Device

SHAPE, SENSOR, SIDE = (112, 128), (240, 256), 256
"""Pixels of modulator and camera, and the side of the grid that holds them."""


def lens_device(preset="ideal", *, medium=None, camera=None, tables=None, **modulator) -> Device:
    """Return it; keywords are fields of the modulator, which has neither gaps nor losses unless they say so.

    A lens that loses nothing would send some 1e10 photons to the brightest pixel in 400 us: `transmission` is for a
    grey filter, with which that spot reads a few thousand grey levels of `ideal`, a hundred of `aurora` in 1 us.
    """
    return Device.from_dict(
        {
            "preset": preset, "name": "small lens",
            "modulator": {
                "kind": "slm", "name": "small", "shape": list(SHAPE), "pitch_m": 8e-6, "efficiency": 1.0,
                "fill_factor": 1.0, **modulator,
            },
            "medium": {"kind": "fourier_lens", "transmission": 1e-13, **(medium or {})},
            "optics": {"held": "magnification", "pixel_integration": False},
            "camera": {"shape": list(SENSOR), "frame_rate_hz": 1500.0, **(camera or {})},
            "operation": {"ones_range": [1, SHAPE[0] * SHAPE[1]]},
            **(tables or {}),
        }
    )  # fmt: skip
