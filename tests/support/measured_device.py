"""Devices around a matrix that is written to a file, for tests of inputs that a bench has of its own."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from opusim.device.medium import MeasuredMedium
from opusim.device.record import Device


def write_matrix(
    path: Path, outputs: int, inputs: int, background: float = 0.0, seed: int = 0, pixels: object = None
) -> tuple[np.ndarray, np.ndarray]:
    """Write a circular Gaussian matrix, and with `background` a field of that rms over an entry's; return both.

    With `pixels` the file says where its rows lie on the sensor.
    """
    draws = np.random.default_rng(seed).standard_normal((outputs, inputs + 1, 2))
    entries = (3 * (draws[..., 0] + 1j * draws[..., 1])).astype(np.complex64)
    tm, off = entries[:, 1:], background * entries[:, 0]
    with h5py.File(path, "w") as file:
        file["tm"] = tm
        if background:
            file["background"] = off
        if pixels is not None:
            file["pixels"] = np.asarray(pixels)
    return tm, off


def measured_device(path: Path, preset: str = "ideal", **changes: object) -> Device:
    """Return a device of 60 x 76 mirrors around the matrix of a file, about as bright as the preset."""
    base = Device.load(preset)
    medium = MeasuredMedium(path=str(path), transmission=base.medium.transmission)
    # The light of a mirror is that of the whole beam over the mirrors.
    sizes = {"dmd.shape": (60, 76), "camera.shape": (64, 90), "operation.ones_range": (10, 4000)}
    return base.evolve(medium=medium, **{**sizes, **changes})
