"""What a bench has prepared for the regions that are read: kept while there is room, computed again when needed."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from opusim.base.arrays import NUMPY, Arrays
from opusim.base.locks import new_lock
from opusim.device.camera import SensorMaps
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout

from .by_waves import Layers
from .projector import Projector
from .region import Region

Kept = TypeVar("Kept")

_KEPT = 4


class PreparedParts:
    """Projectors, fixed patterns of the sensor and waves of the reference, the last few of each.

    Parameters
    ----------
    device : Device
        What is simulated.
    seed : int
        Seed of everything random in it.
    execution : {"auto", "matrix", "waves"}
        How patterns from a formatter are computed.
    memory_budget : int or None
        Bytes that a stored matrix may take; None for 6 GiB.
    threads : int or None
        Threads to use; None for all processors.
    """

    def __init__(self, device: Device, seed: int, *, execution: str, memory_budget: int, threads: int) -> None:
        self._device = device
        self._seed = seed
        self._execution = execution
        self._memory_budget = memory_budget
        self._threads = threads
        # By layout, region and library of arrays, the one used last at the end.
        self._projectors: OrderedDict[tuple[MirrorLayout | None, Region, Arrays], Projector] = OrderedDict()
        # What was asked for last, by the same objects: a loop over single vectors asks for it again and again.
        self._last: tuple[MirrorLayout | None, Region, Arrays, Projector, SensorMaps] | None = None
        self._maps: OrderedDict[Region, SensorMaps] = OrderedDict()
        self._waves: OrderedDict[Region, np.ndarray] = OrderedDict()
        self._layers = Layers()
        # By field the path of a file of the medium, and its bytes and last change when it was first asked for.
        self._paths = {name: str(device.medium.path_of(name)) for name in device.medium.files}
        self._files: dict[str, tuple[int, int]] = {}
        self._lock = new_lock()

    def of(
        self, layout: MirrorLayout | None, region: Region, arrays: Arrays = NUMPY
    ) -> tuple[Projector, SensorMaps]:  # fmt: skip
        """Return what makes counts of patterns of a layout (None: bare mirrors) on the pixels of a region.

        Parameters
        ----------
        layout : MirrorLayout or None
            How features lie on the mirrors.
        region : Region
            Pixels that are read.
        arrays : Arrays
            Library and device to compute with.

        Returns
        -------
        projector : Projector
            From patterns to counts.
        maps : SensorMaps
            Fixed patterns of the pixels.
        """
        with self._lock:
            self.check_files()
            last = self._last
            if last is not None and last[0] is layout and last[1] is region and last[2] is arrays:
                return last[3], last[4]
            key = (layout, region, arrays)
            self._last = None  # room is made before another one is kept
            projector = self._projectors.get(key)
            if projector is None:
                projector = self._made(layout, region, arrays)
                self._projectors[key] = projector
                self._make_room()
            else:
                self._projectors.move_to_end(key)
            maps = self._maps.get(region)
            if maps is None:
                maps = self.sensor(region)
            self._last = (layout, region, arrays, projector, maps)
            return projector, maps

    def check_files(self) -> None:
        """Refuse a file of the medium that is another one than before: two media would be mixed under one name.

        Raises
        ------
        ValueError
            If one was replaced or written to since it was first asked for here.
        """
        for name, path in self._paths.items():
            try:
                stat = os.stat(path)  # asked with each transform
            except (OSError, ValueError):
                continue  # whoever reads it says so
            now = (stat.st_size, stat.st_mtime_ns)
            if self._files.setdefault(name, now) != now:
                raise ValueError(
                    f"medium.{name} is {getattr(self._device.medium, name)!r}, but that is not the file any more that "
                    "this bench has read: it was replaced or written to, or the working folder is another. Frames of "
                    "two media must not be mixed: make another bench or OPU, which reads it anew."
                )

    def _made(self, layout: MirrorLayout | None, region: Region, arrays: Arrays) -> Projector:
        return Projector(
            self._device, self._seed, layout, region, resolution=self._device.resolution,
            execution=self._execution if layout is not None else "auto",
            memory_budget=self._memory_budget, threads=self._threads, layers=self._layers, arrays=arrays,
        )  # fmt: skip

    def _make_room(self) -> None:
        """Let the matrices that are kept together keep to the budget; the newest always stays."""
        kept = self._projectors
        stored = sum(p.plan.matrix_bytes for p in kept.values() if p.plan.keeps_matrix)
        while len(kept) > 1 and (stored > self._memory_budget or len(kept) > _KEPT):
            _, old = kept.popitem(last=False)
            stored -= old.plan.matrix_bytes if old.plan.keeps_matrix else 0

    def sensor(self, region: Region) -> SensorMaps:
        """Return the fixed patterns of the pixels of a region.

        Parameters
        ----------
        region : Region
            Pixels that are read.

        Returns
        -------
        SensorMaps
            The patterns.
        """
        with self._lock:
            return _kept(self._maps, region, lambda: self._device.camera.maps(self._seed, region.pixels()))

    def reference_wave(self, region: Region) -> np.ndarray:
        """Return the field of the reference on a region at the phase 0.

        Parameters
        ----------
        region : Region
            Pixels that are read.

        Returns
        -------
        ndarray of complex64, shape (n_pixels, samples)
            The field.
        """
        with self._lock:
            return _kept(self._waves, region, lambda: reference_wave(self._device, self._seed, region))


def _kept(found: OrderedDict[Region, Kept], region: Region, make: Callable[[], Kept]) -> Kept:
    """Return what is kept for a region, made if it is not there; the oldest goes where there are too many."""
    if region not in found:
        found[region] = make()
        while len(found) > _KEPT:
            found.popitem(last=False)
    return found[region]


def reference_wave(device: Device, seed: int, region: Region) -> np.ndarray:
    """Return the field of a device's reference arm on a region at the phase 0.

    Parameters
    ----------
    device : Device
        The device.
    seed : int
        Its seed.
    region : Region
        Pixels that are read.

    Returns
    -------
    ndarray of complex64, shape (n_pixels, samples)
        The field at the points of each pixel, weighted as the signal's; polarised light meets the signal in one
        polarisation only.
    """
    camera, sampling = device.camera, device.sampling
    field = device.reference.field(
        region.pixels(), sensor_shape=camera.shape, pixel_pitch_m=camera.pixel_pitch_m,
        n_mirrors=device.dmd.n_mirrors, seed=seed, offsets=sampling.offsets,
    )  # fmt: skip
    return sampling.polarised(field)
