"""Benches of numbers whose camera loses frames: one that says so, and those that fill the stack up in silence."""

from __future__ import annotations

import numpy as np

from opusim.bench.laboratory import FromExpose, LabDevice, LaboratoryBench
from opusim.bench.protocol import FramesLost

MIRRORS, SENSOR = (12, 16), (16, 32)
# How frames are lost, and how a silent camera fills up what is missing at the end.
MANNERS = ("raises", "fewer", "moved, last again", "moved, stale", "moved, dark", "doubled")


class Losing(LaboratoryBench):
    """A constant random matrix, a reference, Poisson and read noise; each frame is lost with some probability."""

    device = LabDevice("losing", MIRRORS, SENSOR, bits=12, black_level_dn=20.0, has_reference=True)
    reference = 12.0

    def __init__(self, manner: str = "raises", share: float = 0.0, seed: int = 0) -> None:
        size = (SENSOR[0] * SENSOR[1], MIRRORS[0] * MIRRORS[1])
        entries = np.random.default_rng(7).normal(size=(2, *size)) / np.sqrt(2)
        self.matrix = (entries[0] + 1j * entries[1]).astype(np.complex64)
        self.manner, self.share = manner, share
        self.rng, self.losses = np.random.default_rng(seed), np.random.default_rng([seed, 1])
        self.phase, self.n_lost, self.n_restarts, self.calls = None, 0, 0, []
        # Slots of the camera's memory, which keep what was there.
        self.slots = np.full((4096, *SENSOR), 20, dtype=np.uint16)

    def minimum_frametime_s(self, n_rows, exposure_s):
        return exposure_s + n_rows * 1e-6

    def set_reference(self, phase_rad):
        self.phase = phase_rad

    def restart(self):
        self.n_restarts += 1

    def light(self, mirrors):
        fields = mirrors.reshape(len(mirrors), -1) @ self.matrix.T
        if self.phase is not None:
            fields = fields + self.reference * np.exp(1j * self.phase)
        return np.abs(fields) ** 2

    def show(self, mirrors, *, exposure_s, frametime_s, roi):
        self.calls.append((len(mirrors), self.phase))
        return self.sent(self.counts(self.light(mirrors) * exposure_s / 400e-6), roi)

    def dark(self, n_frames, *, exposure_s, frametime_s, roi):
        return self.sent(self.counts(np.zeros((n_frames, SENSOR[0] * SENSOR[1]))), roi)

    def counts(self, light):
        electrons = self.rng.poisson(4 * light) + self.rng.normal(0, 3, light.shape)
        return np.clip(np.rint(20 + electrons / 2), 0, 4095).astype(np.uint16).reshape(-1, *SENSOR)

    def sent(self, frames, roi):
        """Return frames of the region as the camera sends them."""
        n = len(frames)
        lost = np.flatnonzero(self.losses.random(n) < self.share)
        self.n_lost += len(lost)
        if self.manner == "raises" and len(lost):
            raise FramesLost(f"The camera missed {len(lost)} triggers.", lost)
        kept = np.delete(frames, lost, axis=0)
        if self.manner == "doubled":
            for k in lost:
                frames[k] = frames[k - 1] if k else self.slots[0]
            kept = frames
        elif self.manner == "moved, last again" and len(lost):
            last = kept[-1:] if len(kept) else self.slots[:1]
            kept = np.concatenate([kept, np.repeat(last, len(lost), axis=0)])
        elif self.manner == "moved, dark" and len(lost):
            kept = np.concatenate([kept, self.counts(np.zeros((len(lost), SENSOR[0] * SENSOR[1])))])
        self.slots[: len(kept)] = kept
        if self.manner != "fewer":
            kept = self.slots[:n]
        row, column, n_rows, n_columns = roi
        return kept[:, row : row + n_rows, column : column + n_columns]


class Plain(FromExpose):
    """The same with `expose` alone, which shows all patterns under all phases in one go, and looks at nothing."""

    mirror_shape, sensor_shape, device = MIRRORS, SENSOR, Losing.device

    def __init__(self, *arguments, **options) -> None:
        self.inside = Losing(*arguments, **options)

    def minimum_frametime_s(self, n_rows, exposure_s):
        return self.inside.minimum_frametime_s(n_rows, exposure_s)

    def expose(
        self, mirrors, *, exposure_s, reference_phase_rad=None, roi=None, frametime_s=None, n_frames=1
    ):  # fmt: skip
        roi = (0, 0, *SENSOR) if roi is None else roi
        inside = self.inside
        if mirrors is None:
            return inside.dark(n_frames, exposure_s=exposure_s, frametime_s=None, roi=roi)
        mirrors = mirrors if isinstance(mirrors, np.ndarray) else mirrors.to_mirrors()
        mirrors = mirrors.reshape(-1, *MIRRORS)
        phases = [None] if reference_phase_rad is None else np.atleast_1d(reference_phase_rad)
        light = []
        for phase in phases:
            inside.set_reference(phase)
            light.append(inside.light(mirrors))
        inside.set_reference(None)
        each = np.stack(light, axis=1).reshape(len(mirrors) * len(phases), -1)
        return inside.sent(inside.counts(each * exposure_s / 400e-6), roi)
