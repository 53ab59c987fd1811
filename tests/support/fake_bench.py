"""A bench without optics: each pixel shows a number that follows from the mirrors alone. Fast and exact."""

from __future__ import annotations

import threading

import numpy as np

from opusim.bench.bench import BenchClock
from opusim.bench.inputs import checked_exposure, checked_mirrors, checked_phases
from opusim.bench.region import checked_roi
from opusim.device.record import Device
from opusim.patterns.kinds import ALWAYS_ON
from opusim.patterns.layout import MirrorPatterns


class FakeBench:
    """Answers to what the driver calls, and remembers the calls."""

    def __init__(self, device="aurora", seed=0):
        self.device = Device.load(device)
        self.seed = seed
        self.calls = []
        self.clock = BenchClock()
        self.interrupt_at = None
        self._weights = {}
        self._lock = threading.Lock()

    @property
    def mirror_shape(self):
        return self.device.dmd.shape

    @property
    def sensor_shape(self):
        return self.device.camera.shape

    def minimum_frametime_s(self, n_rows, exposure_s):
        return max(self.device.camera.readout_s(n_rows), exposure_s) + 50e-6

    def _signature(self, patterns):
        """Sum over the mirrors that are on of their number modulo 9973."""
        n_mirrors = self.device.dmd.n_mirrors
        weight = np.arange(n_mirrors) % 9973
        if not isinstance(patterns, MirrorPatterns):
            bits = np.unpackbits(patterns, axis=1, count=n_mirrors, bitorder="little")
            return bits.astype(np.int64) @ weight
        layout = patterns.layout
        if layout not in self._weights:
            owner = layout.feature_of_mirror().ravel()
            of_feature = np.bincount(owner[owner >= 0], weight[owner >= 0])
            self._weights[layout] = of_feature.astype(np.int64), int(weight[owner == ALWAYS_ON].sum())
        of_feature, constant = self._weights[layout]
        return patterns.bits.astype(np.int64) @ of_feature + constant

    def expose(self, mirrors, *, exposure_s, reference_phase_rad=None, roi=None, frametime_s=None, n_frames=1):
        checked_phases(reference_phase_rad, has_reference=False)
        exposure_s = checked_exposure(exposure_s)
        roi = checked_roi(roi, self.sensor_shape)
        if mirrors is None:
            self.clock.frames += n_frames
            return np.zeros((n_frames, *roi[2:]), dtype=self.device.camera.dtype)
        if n_frames != 1:
            raise ValueError(f"n_frames is {n_frames}, but with mirrors it must be 1.")
        if not isinstance(mirrors, MirrorPatterns):
            mirrors = np.packbits(checked_mirrors(mirrors, self.mirror_shape)[1], axis=1, bitorder="little")
        least_s = self.minimum_frametime_s(roi[2], exposure_s)
        counts = self.transform(
            mirrors, exposure_s=exposure_s, roi=roi, n_pixels=roi[2] * roi[3], frametime_s=frametime_s or least_s
        )
        return counts.reshape(-1, *roi[2:])

    def transform(self, patterns, *, exposure_s, roi, n_pixels, frametime_s=None, progress=None):
        row, column, n_rows, n_columns = roi
        assert 1 <= n_pixels <= n_rows * n_columns
        assert frametime_s >= self.minimum_frametime_s(n_rows, exposure_s) * (1 - 1e-9)
        with self._lock:
            self.calls.append(
                {
                    "n": len(patterns),
                    "exposure_s": exposure_s,
                    "roi": roi,
                    "n_pixels": n_pixels,
                    "frametime_s": frametime_s,
                }
            )
            if self.interrupt_at is not None and len(self.calls) >= self.interrupt_at:
                self.interrupt_at = None
                raise KeyboardInterrupt
            self.clock.frames += len(patterns)
        p = np.arange(n_pixels)
        pixel = (row + p // n_columns) * self.sensor_shape[1] + column + p % n_columns
        counts = (self._signature(patterns)[:, None] // 8 * (2 * pixel + 1) % 251).astype(self.device.camera.dtype)
        if progress is not None:
            progress(len(patterns))
        return counts
