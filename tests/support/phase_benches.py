"""Devices with a modulator of phases in place of the mirrors, and a laboratory's bench with one."""

from __future__ import annotations

import numpy as np

from laboratory_bench import Numbers
from opusim.bench.laboratory import LabDevice
from opusim.device.record import Device
from opusim.device.slm import PhaseSlm


def phase_device(base="ideal", *, reference=True, **slm) -> Device:
    """A preset whose mirrors are pixels of 256 levels, with or without its reference arm."""
    preset = Device.load(base)
    own = {"efficiency": preset.dmd.efficiency, "frame_rate_hz": preset.dmd.frame_rate_hz, **slm}
    device = preset.evolve(dmd=PhaseSlm("pixels", preset.dmd.shape, preset.dmd.pitch_m, **own))
    return device if reference else device.evolve(**{"reference.relative_amplitude": 0.0})


class Phases(Numbers):
    """Numbers in place of instruments, whose modulator turns phases by 64 levels of a whole turn."""

    device = LabDevice(
        "phases", (8, 12), (10, 16), bits=8, black_level_dn=2.0, has_reference=True, phase_levels=64
    )  # fmt: skip

    def show(self, mirrors, *, exposure_s, frametime_s, roi):
        fields = np.exp(2j * np.pi / 64 * mirrors.reshape(len(mirrors), -1)) @ self.matrix.T
        if self.phase is not None:
            fields += 14 * np.exp(1j * self.phase)
        return self.counts(np.abs(fields) ** 2 * 0.1 * (exposure_s / 400e-6), roi)
