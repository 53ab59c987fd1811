"""Which rectangle of the sensor is read for a number of components."""

from __future__ import annotations

from opusim.base import validation
from opusim.base.errors import TooManyComponentsError
from opusim.bench.region import LightonmlRoi, Roi, checked_lightonml_roi
from opusim.device.camera import middle_of_sensor

from .types import OutputRoiStrategy, Tuple2D, as_member


class OutputRoi(validation.Fixed):
    """Chooses the region of interest on the camera.

    Parameters
    ----------
    output_shape : tuple of int
        Sensor as (width, height).
    strategy : OutputRoiStrategy
        `mid_width`: rows of full width in the middle of the sensor, which is the fastest to read. `mid_square`: a
        rectangle of the sensor's proportions in the middle.
    allowed_roi : tuple, optional
        ((x, y), (width, height)) to stay within; the whole sensor by default.
    minimum_components : int, optional
        Fewest pixels of a region.
    outputs : Roi, optional
        (row, column, n_rows, n_columns) of the pixels that have light, if these are not all
        (`opusim.bench.protocol.Outputs`). Regions then lie within them: rows of their full width, or a rectangle of
        their proportions.

    Notes
    -----
    Same numbers as lightonml 1.4.3's `OutputRoi`, without `outputs`.
    """

    _fixed = dict.fromkeys(("strategy", "allowed_roi", "min_components", "max_components"), "Make another OutputRoi.")

    def __init__(
        self,
        output_shape: Tuple2D,
        strategy: OutputRoiStrategy,
        allowed_roi: LightonmlRoi | None = None,
        minimum_components: int = 0,
        outputs: Roi | None = None,
    ) -> None:
        self.strategy = as_member("strategy", strategy, OutputRoiStrategy)
        self.allowed_roi = checked_lightonml_roi(
            "output.allowed_roi", allowed_roi or ((0, 0), output_shape), output_shape
        )
        (x, _), (width, height) = self.allowed_roi
        self._within: Roi | None = None
        if outputs is not None:
            self._within = _common(outputs, Roi.from_lightonml(self.allowed_roi))
            self.max_components = self._within.n_pixels
            self.min_components = min(minimum_components, self.max_components)
            return
        if self.strategy is OutputRoiStrategy.mid_width and x != 0:
            raise ValueError(f"output.allowed_roi starts at x = {x}, but a camera that reads full width needs x = 0.")
        self.min_components = minimum_components
        self.max_components = width * height
        if self.min_components >= self.max_components:
            raise ValueError(
                f"output.minimum_output_size is {minimum_components}, but it must be below the {self.max_components} "
                "pixels that may be read."
            )

    def compute_roi(self, n_components: int) -> LightonmlRoi:
        """Return the region ((x, y), (width, height)) for `n_components`.

        Raises
        ------
        TooManyComponentsError
            If the sensor has fewer pixels; it is a ValueError and an IndexError.
        """
        if n_components > self.max_components and self._within is not None:
            raise TooManyComponentsError(
                f"n_components is {n_components}, but this device has outputs on a rectangle of "
                f"{self.max_components} pixels of the camera, {self._within.as_lightonml}: it must be a whole number "
                f"from 1 to {self.max_components}."
            )
        if n_components > self.max_components:
            raise TooManyComponentsError(
                f"n_components is {n_components}, but the camera has {self.max_components} pixels: it must be a whole "
                f"number from 1 to {self.max_components}."
            )
        n = max(self.min_components, n_components)
        (x0, y0), (width, height) = self.allowed_roi
        full_width = self.strategy is OutputRoiStrategy.mid_width
        y, x, h, w = middle_of_sensor((height, width), n, full_width=full_width, within=self._within)
        if self._within is not None:
            return Roi(y, x, h, w).as_lightonml
        # lightonml leaves the allowed region's own place out for rows of full width.
        return Roi(*((y, x, h, w) if full_width else (y0 + y, x0 + x, h, w))).as_lightonml


def _common(outputs: Roi, allowed: Roi) -> Roi:
    """Return the rectangle that two have in common."""
    row, column = max(outputs.row, allowed.row), max(outputs.column, allowed.column)
    n_rows = min(outputs.row + outputs.n_rows, allowed.row + allowed.n_rows) - row
    n_columns = min(outputs.column + outputs.n_columns, allowed.column + allowed.n_columns) - column
    if n_rows < 1 or n_columns < 1:
        raise ValueError(
            f"output.allowed_roi is {allowed.as_lightonml}, but this device has outputs on "
            f"{outputs.as_lightonml}: it must hold some of them, or be None."
        )
    return Roi(row, column, n_rows, n_columns)
