"""A device for one arrangement of inputs and one region of pixels: its geometry, and the way that is chosen for it."""

from __future__ import annotations

from opusim.base import parallel
from opusim.base.arrays import NUMPY, Arrays
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout

from .by_matrix import MatrixWay, VectorWay
from .by_waves import Layers, WavesWay
from .by_weights import WeightedMatrixWay
from .entries import Entries
from .geometry import Geometry
from .plan import Plan, make_plan, memory_budget_bytes
from .region import Region
from .way import Way


class Projector:
    """Binary inputs to camera counts: by matrix or by waves, the same device, the cheaper way chosen.

    Parameters
    ----------
    device : Device
        The device.
    seed : int
        Its seed: which medium, which sensor, which noise.
    layout : MirrorLayout or None
        How features lie on the mirrors; None if the inputs are mirrors in raster order.
    region : Region
        Pixels that are read.
    resolution : str
        "auto": a mode a feature; "mirrors": a mode a mirror and a pixel. Without a layout always "mirrors".
    execution : str
        "auto", "matrix" or "waves".
    memory_budget : int, optional
        Bytes that a stored matrix may take; 6 GiB by default.
    threads : int, optional
        Threads to use; they do not change the result.
    layers : Layers, optional
        Where the projectors of one bench find the layers of each other.
    arrays : Arrays, optional
        Library and device to compute with.

    Attributes
    ----------
    geometry : Geometry
        Inputs, medium and pixels.
    plan : Plan
        The choice, and why.
    way : Way
        What makes fields and counts.
    memory_budget, threads : int
        In use.

    Raises
    ------
    ValueError
        If the execution asked for is not possible for this medium, or the problem is too large for it.
    """

    def __init__(
        self,
        device: Device,
        seed: int,
        layout: MirrorLayout | None,
        region: Region,
        *,
        resolution: str = "auto",
        execution: str = "auto",
        memory_budget: int | None = None,
        threads: int | None = None,
        layers: Layers | None = None,
        arrays: Arrays = NUMPY,
    ) -> None:
        self.memory_budget = memory_budget_bytes() if memory_budget is None else memory_budget
        self.threads = threads or parallel.default_threads()
        self.geometry = Geometry.of(device, seed, layout, region, resolution)
        waves = None
        if self.geometry.grid is not None:
            waves = WavesWay(self.geometry, threads=self.threads, arrays=arrays, layers=layers)
        source = Entries(self.geometry, self.threads) if waves is None else waves
        matrix = (WeightedMatrixWay if self.geometry.source.weighted else MatrixWay)(
            self.geometry, source, memory_budget=self.memory_budget, threads=self.threads, arrays=arrays
        )  # fmt: skip
        self.plan: Plan = make_plan(self.geometry, matrix, waves, execution=execution)
        self.way: Way = matrix
        if waves is not None and self.plan.way == "waves":
            self.way = waves
        elif isinstance(source, Entries) and not self.geometry.has_matrix:
            self.way = VectorWay(self.geometry, source, threads=self.threads)
