"""From where the light goes to where: sources on the grid of modes, and the pixels that see it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from opusim.device import lattice, propagation
from opusim.device.fourier_stop import Relay
from opusim.device.medium import ModeGrid
from opusim.device.pixel_sampling import PixelSampling
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout

from .pixel_block import PixelBlock
from .region import Region
from .sources import Source, make_source

# Grid modes for each mode in use, so that the modes in use are a small part of a unitary map; above
# `_LARGE` modes, where a grid costs seconds, twice as many must do, as for the whole mirror array.
_SPARE_MODES, _SPARE_MODES_LARGE, _LARGE = 4, 2, 1 << 16
_MIN_SIDE = 64  # smaller grids are no crowd of modes
# Points across the stop that makes the grains, if they cost no grid above this side: fewer are no round stop.
_STOP_POINTS, _STOP_SIDE = 16, 512
# A region whose pixels integrate over their area has its own rows and columns on grids up to this side, or up to so
# many times the side that as many pixels need in a square; a longer one is folded.
_PICTURE_SIDE, _PICTURE_TIMES = 1024, 2
# Bytes of a mirror: its amplitude, whether it is stuck, its feature; where mirrors are modes, both of its fields too.
_MIRROR_BYTES, _FIELD_BYTES = 9, 28
# Of a mirror of a diamond lattice: its place while the beam is computed, its cell on the grid.
_PLACE_BYTES, _CELL_BYTES = 16, 8
_PIXEL_BYTES, _TELEGRAPH_BYTES = 20, 4  # of the fixed patterns of the sensor


@dataclass(frozen=True, eq=False)
class Geometry:
    """Inputs, medium and pixels of one way of using a device.

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
    source : MacroSource, MirrorSource, PhaseMacroSource or PixelSource
        What feeds the medium.
    grid : ModeGrid or None
        Grid of modes of a medium that has waves.
    sampling : PixelSampling
        How a pixel samples the field.
    block : PixelBlock or None
        Where the pixels lie among the output cells of such a grid.
    """

    device: Device
    seed: int
    layout: MirrorLayout | None
    region: Region
    source: Source
    grid: ModeGrid | None
    sampling: PixelSampling
    block: PixelBlock | None = None

    @classmethod
    def of(
        cls, device: Device, seed: int, layout: MirrorLayout | None, region: Region, resolution: str = "auto"
    ) -> Self:
        """Return the geometry of a device.

        Parameters
        ----------
        device : Device
            The device.
        seed : int
            Its seed.
        layout : MirrorLayout or None
            How features lie on the mirrors; None if the inputs are mirrors in raster order.
        region : Region
            Pixels that are read.
        resolution : {"auto", "mirrors"}
            "auto": a mode a feature; "mirrors": a mode a mirror and a pixel. Without a layout, and for a device that
            tells places (``Device.has_places``), always "mirrors".

        Returns
        -------
        Geometry
            Grids are chosen, and nothing is computed on them.

        Raises
        ------
        ValueError
            If the medium has fewer inputs or outputs.
        """
        stop = device.fourier_stop
        by_mirror = resolution == "mirrors" or device.has_places
        source = make_source(
            layout, device.lit_modulator, seed, by_mirror=by_mirror,
            on_grid=device.medium.has_waves, relay=Relay(stop, device.dmd) if stop.present else None,
        )  # fmt: skip
        sampling, grid, block = device.sampling, None, None
        if device.medium.has_waves:
            grid, block = _grid(device, source, region, sampling)
        return cls(device, seed, layout, region, source, grid, sampling, block)

    @property
    def by_mirror(self) -> bool:
        """Whether each mirror is a mode."""
        return self.source.by_mirror

    @property
    def relay(self) -> Relay | None:
        """What the light of mirrors goes through before the medium, if there is a Fourier stop."""
        return self.source.relay

    @property
    def has_matrix(self) -> bool:
        """Whether there can be a matrix of features: each has one weight. Not of bare mirrors."""
        return self.layout is not None and self.source.one_weight

    @property
    def n_modes(self) -> int:
        """Inputs of the medium that are in use."""
        if self.by_mirror:
            return self.device.dmd.n_mirrors
        return self.source.n_features + (0 if self.device.medium.by_feature else 1)

    @property
    def n_fields(self) -> int:
        """Fields that one pattern gives."""
        return self.region.n_pixels * self.sampling.samples

    @property
    def kept_bytes(self) -> int:
        """Bytes of what is kept of mirrors and sensor."""
        mirror = _MIRROR_BYTES + (_FIELD_BYTES if self.by_mirror else 0)
        if self.by_mirror and self._turned:
            mirror += _CELL_BYTES
        camera = self.device.camera
        pixel = _PIXEL_BYTES + (_TELEGRAPH_BYTES if camera.telegraph_fraction and camera.telegraph_e else 0)
        relay = self.relay.kept_bytes if self.relay else 0
        return self.device.dmd.n_mirrors * mirror + pixel * self.region.n_pixels + relay

    @property
    def making_bytes(self) -> int:
        """Bytes of the mirrors' light in double precision, before there is anything else."""
        return (_FIELD_BYTES + _MIRROR_BYTES + (_PLACE_BYTES if self._turned else 0)) * self.device.dmd.n_mirrors

    @property
    def _turned(self) -> bool:
        """Whether mirrors stand on a diamond lattice."""
        return self.device.dmd.lattice == lattice.DIAMOND


def _grid(device: Device, source: Source, region: Region, sampling: PixelSampling) -> tuple[ModeGrid, PixelBlock]:
    """Return the grid of modes, and where the pixels lie among its output cells."""
    fine, shape_in, corner = sampling.fine, source.input_shape, None
    shape = (region.roi.n_rows, region.roi.n_columns)
    least = 0
    if sampling.aperture:
        least = min(math.ceil(_STOP_POINTS / sampling.aperture), _STOP_SIDE)
    if source.by_mirror:
        block, sensor = PixelBlock(shape, sampling), device.camera.shape
        side = propagation.good_side(max(*shape_in, fine * sensor[0], fine * sensor[1], least))
        # The sensor is centred on the axis, whichever part of it is read.
        corner = (
            side // 2 - fine * sensor[0] // 2 + fine * region.roi.row,
            side // 2 - fine * sensor[1] // 2 + fine * region.roi.column,
        )
    else:
        if not sampling.aperture:
            # Pixels that sample points have nothing in common with their neighbours: their order means nothing, and a
            # square takes the smallest grid.
            columns = math.ceil(math.sqrt(region.roi.n_pixels))
            shape = (math.ceil(region.roi.n_pixels / columns), columns)
        n_modes = max(math.prod(shape) * fine * fine, math.prod(shape_in))
        spare = _SPARE_MODES if n_modes <= _LARGE else _SPARE_MODES_LARGE
        needed = max(math.ceil(math.sqrt(spare * n_modes)), *shape_in, _MIN_SIDE, least)
        block = PixelBlock(shape, sampling)
        if max(block.cells) > max(_PICTURE_TIMES * needed, _PICTURE_SIDE):
            block = PixelBlock.within(shape, sampling, needed)
        side = propagation.good_side(max(needed, *block.cells))
    angle = 0.0
    if device.optics.by_lengths:  # a feature of m mirrors lies the side of a square of m from the next
        angle = device.optics.mirror_angle_rad(device.dmd.pitch_m) * math.sqrt(source.mirrors_per_cell)
    grid = ModeGrid(side, shape_in, block.cells, sampling.aperture, output_corner=corner, cell_angle_rad=angle)
    return grid, block
