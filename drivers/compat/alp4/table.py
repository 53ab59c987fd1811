"""A board on an optical bench: light, and frames of what the board shows."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.warn import warn_outside
from opusim.bench.bench import OpticalBench
from opusim.bench.region import Region, Roi
from opusim.device.camera import SensorMaps
from opusim.device.record import Device
from opusim.drivers.compat.environment import selected
from opusim.patterns.layout import MirrorLayout

from .board import MODELS, Board, Lit, Projection
from .constants import ALP_PROJ_STEP
from .grid import Grid, centred

__all__ = ["GRID_VARIABLE", "Table", "bench_from_environment", "checked_grid", "table", "use"]

GRID_VARIABLE = "OPUSIM_ALP4_GRID"
"""Environment variable of the grid that pictures lie on: auto, mirrors, or blocks as 256x256, in the middle."""
# Frames that are shown at a time: their features take a byte each.
_AT_ONCE = 1024


class Table:
    """A board whose mirrors are those of a bench.

    Parameters
    ----------
    bench : OpticalBench
        The bench, with the mirrors of one of `MODELS`.
    grid : MirrorLayout or {"auto", "mirrors"}
        As for `Grid`.

    Attributes
    ----------
    bench : OpticalBench
    board : Board
    grid : Grid
    """

    def __init__(self, bench: OpticalBench, grid: MirrorLayout | str = "auto") -> None:
        self.bench = bench
        self.board = Board(MODELS[bench.mirror_shape], threads=bench.threads)
        self.grid = Grid(bench, grid)
        self._maps: tuple[Roi, SensorMaps] | None = None  # of the region last read
        self._clock_us = 0  # moment of the board to which the bench's clock has come

    def frames(
        self, projection: Projection, first_us: int, stride: int, first: int, n: int, exposure_us: int, roi: Roi,
        phase_rad: float | None,
    ) -> np.ndarray:  # fmt: skip
        """Return frames that begin with pictures of what is shown, every so many.

        Parameters
        ----------
        projection : Projection
            What is shown.
        first_us : int
            When the first frame begins, in microseconds of the board.
        stride : int
            Pictures from one frame to the next.
        first, n : int
            Which picture of the projection the first one begins with, and how many frames.
        exposure_us : int
            Exposure in microseconds.
        roi : Roi
            What the camera reads.
        phase_rad : float or None
            Phase of the reference arm.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts.
        """
        timing = projection.timing
        step_us = stride * timing.picture_us
        # Under ALP_PROJ_STEP a picture is shown again and again until a trigger.
        stepping = bool(self.board.projection_settings[ALP_PROJ_STEP])
        delayed = self.board.delay_us(projection) > 0
        plain = timing.bits == 1 and not delayed and exposure_us <= timing.illuminate_us and not stepping
        if not plain:
            frames = [self.frame(first_us + k * step_us, exposure_us, step_us, roi, phase_rad) for k in range(n)]
            return np.stack(frames)
        self._settle()
        self._come_to(first_us)
        sequence = projection.sequence
        out = np.empty((n, roi.n_pixels), dtype=self.bench.device.camera.dtype)
        for start in range(0, n, _AT_ONCE):
            part = range(start, min(n, start + _AT_ONCE))
            rows = [projection.picture(first + k * stride) * sequence.bits for k in part]
            # Neighbours are shown as they lie in the memory.
            together = stride == 1 and sequence.bits == 1 and rows[-1] - rows[0] == len(rows) - 1
            planes = sequence.planes[rows[0] : rows[-1] + 1] if together else sequence.planes[rows]
            shown = self._shown(planes, projection.flips)
            out[part.start : part.stop] = self.bench.transform(
                shown, exposure_s=exposure_us * 1e-6, roi=roi, n_pixels=roi.n_pixels, reference_phase_rad=phase_rad,
                frametime_s=step_us * 1e-6,
            )  # fmt: skip
        self._clock_us = first_us + n * step_us
        return out.reshape(n, roi[2], roi[3])

    def frame(
        self, start_us: int, exposure_us: int, frametime_us: int, roi: Roi, phase_rad: float | None
    ) -> np.ndarray:  # fmt: skip
        """Return a frame of whatever the mirrors show while the shutter is open: the light of each picture by its time.

        Parameters
        ----------
        start_us, exposure_us, frametime_us : int
            When it begins, how long the shutter is open, and how long the frame takes, in microseconds.
        roi : Roi
            What the camera reads.
        phase_rad : float or None
            Phase of the reference arm.

        Returns
        -------
        ndarray, shape (n_rows, n_columns)
            Counts.
        """
        self._settle()
        self._come_to(start_us)
        bench, camera, exposure_s = self.bench, self.bench.device.camera, exposure_us * 1e-6
        shares: dict[Any, tuple[Lit, int]] = {}
        for lit in self.board.lit(start_us, start_us + exposure_us):
            key = None if lit.projection is None else (id(lit.projection.sequence), lit.plane, lit.projection.flips)
            shares[key] = (lit, lit.us + shares.get(key, (lit, 0))[1])
        if len(shares) == 1:
            shown = self._of(next(iter(shares.values()))[0])
            frame: np.ndarray = bench.transform(
                shown, exposure_s=exposure_s, roi=roi, n_pixels=roi.n_pixels, reference_phase_rad=phase_rad,
                frametime_s=frametime_us * 1e-6,
            )[0]  # fmt: skip
        else:
            # Intensities add up, and electrons are read once: shot noise, read noise and rounding are those of one
            # frame.
            photons = np.zeros(roi.n_pixels)
            for lit, us in shares.values():
                planes = bench.inspect(
                    self._of(lit), exposure_s=exposure_s, reference_phase_rad=phase_rad, roi=roi
                )  # fmt: skip
                photons += planes.photons.ravel() * (us / exposure_us)
            frame = camera.expose(
                photons.astype(np.float32), exposure_s=exposure_s, seed=bench.seed,
                maps=self._maps_of(roi), frame0=bench.clock.frames,
            )  # fmt: skip
            bench.skip_frames(1, frametime_s=frametime_us * 1e-6)
        self._clock_us = start_us + frametime_us
        return frame.reshape(roi[2], roi[3])

    def dark(self, n: int, exposure_us: int, roi: Roi) -> np.ndarray:
        """Return frames with the laser shut."""
        return self.bench.expose(None, exposure_s=exposure_us * 1e-6, roi=roi, n_frames=n)

    def _of(self, lit: Lit) -> Any:
        if lit.projection is None:
            n_bytes = self.board.model.shape[0] * self.board.model.used_bytes
            return self._shown(np.zeros((1, n_bytes), dtype=np.uint8), (False, False))
        return self._shown(lit.projection.sequence.planes[lit.plane : lit.plane + 1], lit.projection.flips)

    def _shown(self, planes: np.ndarray, flips: tuple[bool, bool]) -> Any:
        inverted, upside_down = flips
        if upside_down:
            planes = planes.reshape(len(planes), self.board.model.shape[0], -1)[:, ::-1].reshape(len(planes), -1)
        return self.grid.patterns(planes, inverted)

    def _maps_of(self, roi: Roi) -> SensorMaps:
        if self._maps is None or self._maps[0] != roi:
            pixels = Region(roi, roi.n_pixels, self.bench.sensor_shape[1]).pixels()
            self._maps = roi, self.bench.device.camera.maps(self.bench.seed, pixels)
        return self._maps[1]

    def _settle(self) -> None:
        if not self.grid.settled:
            self.grid.settle([sequence.planes for sequence in self.board.sequences.values()])

    def _come_to(self, us: int) -> None:
        """Let the clock of the bench go on to a moment of the board."""
        if us > self._clock_us:
            clock = self.bench.clock
            self.bench.advance_to(clock.frames, clock.elapsed_s + (us - self._clock_us) * 1e-6)
            self._clock_us = us


_table: Table | None = None


def table() -> Table:
    """Return the table of this process; that of the environment, where nobody has said another."""
    global _table
    if _table is None:
        bench = bench_from_environment()
        grid = checked_grid(os.environ.get(GRID_VARIABLE, "auto"), bench.mirror_shape, name=GRID_VARIABLE)
        _table = Table(bench, grid)
    return _table


def use(bench: OpticalBench, grid: Any = "auto") -> Table:
    """Make a bench that of this process."""
    global _table
    if _table is not None and _table.board.allocated:
        raise RuntimeError("A program has the board at present: let it call Free before another bench is put under it.")
    _table = Table(bench, checked_grid(grid, bench.mirror_shape))
    return _table


def checked_grid(grid: Any, shape: tuple[int, int], name: str = "grid") -> MirrorLayout | str:
    """Return a grid as `Grid` takes it: of a layout, a name, blocks as (rows, columns), or a text ROWSxCOLUMNS."""
    may = "'auto', 'mirrors', (rows, columns) of blocks in the middle of the mirrors, or a MirrorLayout"
    if isinstance(grid, str):
        text = grid.strip().lower() or "auto"
        if text in ("auto", "mirrors"):
            return text
        parts = text.split("x")
        if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
            raise ValueError(f"{name} is {grid!r}, but it must be auto, mirrors, or blocks as in 256x256.")
        grid = (int(parts[0]), int(parts[1]))
    if isinstance(grid, MirrorLayout):
        if grid.dmd_shape != tuple(shape):
            raise ValueError(f"{name} is laid out for {grid.dmd_shape} mirrors, but this bench has {tuple(shape)}.")
        return grid
    if not isinstance(grid, (tuple, list)) or len(grid) != 2:
        raise TypeError(f"{name} is {grid!r}, but it must be {may}.")
    rows, columns = (validation.integer(f"{name}[{k}]", each, low=1) for k, each in enumerate(grid))
    return centred(shape, (rows, columns), name)


def bench_from_environment(dmd: str | None = None) -> OpticalBench:
    """Return the bench that `OPUSIM_DEVICE` and `OPUSIM_SEED` name, with mirrors that such a board drives.

    Parameters
    ----------
    dmd : {"DLP7000", "DLP9500"}, optional
        Mirrors in place of the device's own. Without it they stay where a board drives them, else it is a DLP7000.

    Returns
    -------
    OpticalBench
        The bench.

    Raises
    ------
    ValueError
        If a variable does not say what it should.
    """
    choice = selected()
    device = choice.device
    if not device.modulator.binary:
        warn_outside(
            f"The device {device.name!r} has a modulator of phases, which no ALP board drives: mirrors of a "
            f"{dmd or 'DLP7000'} stand in its place."
        )
    if dmd is None and tuple(device.modulator.shape) not in MODELS:
        dmd = "DLP7000"
    return OpticalBench(device if dmd is None else with_mirrors(device, dmd), choice.seed)


def with_mirrors(device: Device, dmd: str) -> Device:
    """Return a device with other micromirrors under the same beam, and the driver's range of ones for as many."""
    names = [model.preset for model in MODELS.values()]
    validation.choice("dmd", dmd, tuple(names))
    table = device.to_dict()
    before = device.modulator.n_mirrors
    kept = {
        name: value for name, value in (table.get("dmd") or {}).items()
        if name in ("beam_radius_m", "aberration_rms_rad", "stuck_on_fraction", "stuck_off_fraction", "contrast_ratio")
    }  # fmt: skip
    table.pop("modulator", None)
    table["dmd"] = {"preset": dmd, **kept}
    rows, columns = next(model.shape for model in MODELS.values() if model.preset == dmd)
    share = rows * columns / before
    ones = table["operation"]["ones_range"]
    table["operation"] = {**table["operation"], "ones_range": [round(each * share) for each in ones]}
    return Device.from_dict(table, origin=f"the device with {dmd}")
