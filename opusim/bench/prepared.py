"""What a bench has prepared for the regions that are read: kept while there is room, computed again when needed."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from opusim.base.arrays import NUMPY, Arrays
from opusim.device.camera import SensorMaps
from opusim.device.medium.base import pixel_sampling
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout

from .plan import Region
from .projector import Layers, Projector

_KEPT = 4


class PreparedParts:
    """Projectors, fixed patterns of the sensor and waves of the reference, the last few of each.

    Parameters
    ----------
    device, seed, execution, memory_budget, threads : object
        As for `OpticalBench`.

    Attributes
    ----------
    projectors : OrderedDict
        By layout, region and library of arrays, the one used last at the end.
    """

    def __init__(self, device: Device, seed: int, *, execution: str, memory_budget: int, threads: int) -> None:
        self.device = device
        self.seed = seed
        self.execution = execution
        self.memory_budget = memory_budget
        self.threads = threads
        self.projectors: OrderedDict[tuple[MirrorLayout | None, Region, Arrays], Projector] = OrderedDict()
        self._maps: OrderedDict[Region, SensorMaps] = OrderedDict()
        self._waves: OrderedDict[Region, np.ndarray] = OrderedDict()
        self._layers = Layers()
        self._lock = threading.RLock()

    def projector(self, layout: MirrorLayout | None, region: Region, arrays: Arrays = NUMPY) -> Projector:
        """Return the way from patterns of a layout (None: bare mirrors) to the pixels of a region."""
        key = (layout, region, arrays)
        with self._lock:
            if key not in self.projectors:
                self.projectors[key] = Projector(
                    self.device, self.seed, layout, region, resolution=self.device.resolution,
                    execution=self.execution if layout is not None else "auto",
                    memory_budget=self.memory_budget, threads=self.threads, layers=self._layers, arrays=arrays,
                )  # fmt: skip
            self.projectors.move_to_end(key)
            # The stored matrices together must keep to the budget; the newest always stays.
            stored = sum(p.plan.matrix_bytes for p in self.projectors.values() if p.plan.keeps_matrix)
            while len(self.projectors) > 1 and (stored > self.memory_budget or len(self.projectors) > _KEPT):
                _, old = self.projectors.popitem(last=False)
                stored -= old.plan.matrix_bytes if old.plan.keeps_matrix else 0
            return self.projectors[key]

    def sensor(self, region: Region) -> SensorMaps:
        """Return the fixed patterns of the pixels of a region."""
        with self._lock:
            if region not in self._maps:
                self._maps[region] = self.device.camera.maps(self.seed, region.pixels())
                while len(self._maps) > _KEPT:
                    self._maps.popitem(last=False)
            return self._maps[region]

    def reference_wave(self, region: Region) -> np.ndarray:
        """Return the field of the reference on a region at the phase 0, complex64 (n_pixels, samples)."""
        with self._lock:
            wave = self._waves.get(region)
            if wave is None:
                camera = self.device.camera
                field = self.device.reference.field(
                    region.pixels(), sensor_shape=camera.shape, pixel_pitch_m=camera.pixel_pitch_m,
                    n_mirrors=self.device.dmd.n_mirrors, seed=self.seed,
                )  # fmt: skip
                fine, _ = pixel_sampling(camera.pixel_over_grain)
                channels = 1 if camera.polarised else 2
                # Polarised light: it meets the signal in one polarisation only.
                wave = np.zeros((len(field), channels, fine**2), dtype=np.complex64)
                wave[:, 0] = field[:, None]
                wave = wave.reshape(len(field), -1)
                while len(self._waves) >= _KEPT:
                    self._waves.popitem(last=False)
                self._waves[region] = wave
            return wave
