"""A laboratory's bench of numbers in place of instruments: through the four methods, and with `expose` alone."""

from __future__ import annotations

import numpy as np

from opusim.bench.laboratory import FromExpose, LabDevice, LaboratoryBench

MIRRORS, SENSOR = (24, 32), (40, 60)


class Numbers(LaboratoryBench):
    """A constant random matrix and Poisson noise, behind the template's methods."""

    device = LabDevice("numbers", MIRRORS, SENSOR, bits=8, black_level_dn=2.0, has_reference=True)

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        size = (np.prod(self.device.sensor_shape), np.prod(self.device.mirror_shape))
        real, imaginary = np.random.default_rng(7).normal(size=(2, *size))
        self.matrix, self.phase = (real + 1j * imaginary).astype(np.complex64), None

    def minimum_frametime_s(self, n_rows, exposure_s):
        return exposure_s + n_rows * 1e-6

    def show(self, mirrors, *, exposure_s, frametime_s, roi):
        fields = mirrors.reshape(len(mirrors), -1) @ self.matrix.T
        if self.phase is not None:
            fields += 20 * np.exp(1j * self.phase)
        return self.counts(np.abs(fields) ** 2 * 40 * exposure_s, roi)

    def dark(self, n_frames, *, exposure_s, frametime_s, roi):
        return self.counts(np.zeros((n_frames, np.prod(self.device.sensor_shape))), roi)

    def set_reference(self, phase_rad):
        self.phase = phase_rad

    def counts(self, light, roi):
        row, column, n_rows, n_columns = roi
        frames = self.developed(light).reshape(-1, *self.device.sensor_shape)
        return frames[:, row : row + n_rows, column : column + n_columns]

    def developed(self, light):
        return np.minimum(2 + self.rng.poisson(light), 255).astype(np.uint8)


class Few(Numbers):
    """A small one: what calibrates it is done in a second."""

    device = LabDevice("few", (8, 12), (10, 16), bits=8, black_level_dn=2.0, has_reference=True)


class Bare(FromExpose):
    """What the smallest bench has, and what is made of it."""

    mirror_shape, sensor_shape = MIRRORS, SENSOR

    def __init__(self) -> None:
        self.inside = Numbers()

    def expose(self, mirrors, **how):
        return self.inside.expose(mirrors, **how)

    def minimum_frametime_s(self, n_rows, exposure_s):
        return self.inside.minimum_frametime_s(n_rows, exposure_s)
