"""One sequence of frames: what the device is told for it, and the time that it lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opusim.drivers.types import AcqState, Roi

if TYPE_CHECKING:
    import numpy as np

    from opusim.patterns.layout import MirrorPatterns

    from .device import OpuDevice


@dataclass(frozen=True)
class Exposure:
    """All that the device is told for one sequence of frames.

    Attributes
    ----------
    output_roi : tuple
        ((x, y), (width, height)) on the sensor.
    exposure_us, frametime_us : int
        Exposure, and time between frames: as set, or as short as this exposure and region allow if that is longer.
    gain_dB : float
        Gain as reported.
    """

    output_roi: Roi
    exposure_us: int
    frametime_us: int
    gain_dB: float

    @property
    def bench_roi(self) -> tuple[int, int, int, int]:
        """Region as the bench counts: (row, column, n_rows, n_columns)."""
        (x, y), (w, h) = self.output_roi
        return y, x, h, w

    @property
    def n_pixels(self) -> int:
        """Pixels of the region."""
        width, height = self.output_roi[1]
        return width * height

    def show(self, bench: Any, patterns: MirrorPatterns | np.ndarray, n_pixels: int, **more: Any) -> Any:
        """Show patterns on a bench with these settings.

        Parameters
        ----------
        bench : OpticalBench
            Shows them.
        patterns : MirrorPatterns or numpy.ndarray
            As for `OpuDevice.project`.
        n_pixels : int
            How many pixels of the region, in raster order.
        **more
            Any of `reference_phase_rad`, `progress` and `reserved`, as for the bench; it is not told of a None.

        Returns
        -------
        array
            Counts, (n * number of phases, n_pixels), where the patterns were.
        """
        return bench.transform(
            patterns,
            exposure_s=self.exposure_us / 1e6,
            roi=self.bench_roi,
            n_pixels=n_pixels,
            frametime_s=self.frametime_us / 1e6,
            **{name: value for name, value in more.items() if value is not None},
        )


class Acquisition:
    """An acquisition while it lasts. No generator: one left open must do nothing when the interpreter ends."""

    def __init__(self, device: OpuDevice, state: AcqState) -> None:
        self._device = device
        self._state = state

    def __enter__(self) -> OpuDevice:
        """Begin to acquire."""
        self._device.start_acquisition(self._state)
        return self._device

    def __exit__(self, *exception: object) -> None:
        """End it."""
        self._device.stop_acquisition(self._state)
