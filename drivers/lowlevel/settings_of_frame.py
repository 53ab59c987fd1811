"""What the device is told for one sequence of frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from opusim.bench.region import LightonmlRoi, Roi


@dataclass(frozen=True)
class FrameSettings:
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

    output_roi: LightonmlRoi
    exposure_us: int
    frametime_us: int
    gain_dB: float

    # What the bench is told, made once: the same settings serve many sequences.

    @cached_property
    def bench_roi(self) -> Roi:
        """Region as the bench counts: (row, column, n_rows, n_columns)."""
        return Roi.from_lightonml(self.output_roi)

    @cached_property
    def exposure_s(self) -> float:
        """Exposure in seconds."""
        return self.exposure_us / 1e6

    @cached_property
    def frametime_s(self) -> float:
        """Time between frames in seconds."""
        return self.frametime_us / 1e6

    @cached_property
    def n_pixels(self) -> int:
        """Pixels of the region."""
        width, height = self.output_roi[1]
        return width * height
