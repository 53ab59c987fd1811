"""What a low-level device is, and what it is set to: sizes, region, times."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.drivers.output_region import check_roi
from opusim.drivers.settings import OPU_TYPES, microseconds, whole_microseconds
from opusim.drivers.types import OutputRoiStrategy, Roi, Tuple2D

# Read the middle rows of a sensor at full width, or a rectangle of its proportions, in steps of so many pixels.
_ROI_RULES = {
    "type1": (OutputRoiStrategy.mid_square, 8),
    "type2": (OutputRoiStrategy.mid_width, 1),
    "type3": (OutputRoiStrategy.mid_width, 1),
}


class DeviceSettings:
    """What `OpuDevice` is without bench and frames; see there."""

    device_model: Any
    _opu_type: str
    _output_roi: Roi
    _gain_dB: float

    # ------------------------------------------------------------------ sizes

    @property
    def input_shape(self) -> Tuple2D:
        """Mirrors, cartesian: (912, 1140) for the real device."""
        rows, columns = self.device_model.dmd.shape
        return int(rows), int(columns)

    @property
    def nb_features(self) -> int:
        """Number of mirrors."""
        return math.prod(self.input_shape)

    @property
    def input_size(self) -> int:
        """Bytes of a packed pattern."""
        return -(-self.nb_features // 8)

    @property
    def output_shape_max(self) -> Tuple2D:
        """Sensor as (width, height)."""
        rows, columns = self.device_model.camera.shape
        return int(columns), int(rows)

    @property
    def output_roi_strategy(self) -> OutputRoiStrategy:
        """Where regions of interest lie."""
        return _ROI_RULES[self.opu_type][0]

    @property
    def output_roi_increment(self) -> int:
        """Step of a region's size, in pixels, on the real camera; any size is taken here."""
        return _ROI_RULES[self.opu_type][1]

    @cached_property
    def output_dtype(self) -> np.dtype:
        """Type of the counts: uint8 up to 8 bits, uint16 above, float32 if they are not rounded."""
        return np.dtype(self.device_model.camera.dtype)

    @property
    def has_reference(self) -> bool:
        """Whether the device has a reference arm."""
        arm = getattr(self.device_model, "reference", None)
        return arm is not None and arm.present

    @property
    def black_level_dn(self) -> float:
        """What the camera gives in the dark, in grey levels."""
        return float(self.device_model.camera.black_level_dn)

    @property
    def full_scale_dn(self) -> float:
        """Highest count of the camera; inf for one that does not clip."""
        camera = self.device_model.camera
        return float(camera.full_scale_dn) if camera.quantise else math.inf

    # ------------------------------------------------------------------ settings

    @property
    def opu_type(self) -> str:
        """Which rule the region of interest follows: type1, type2 or type3."""
        return self._opu_type

    @opu_type.setter
    def opu_type(self, value: str) -> None:
        self._opu_type = validation.choice("opu_type", value, OPU_TYPES)

    @property
    def output_roi(self) -> Roi:
        """Region of interest on the camera, ((x, y), (width, height))."""
        return self._output_roi

    @output_roi.setter
    def output_roi(self, value: Roi) -> None:
        roi = check_roi("output_roi", value, self.output_shape_max)
        if self.output_roi_strategy is OutputRoiStrategy.mid_width and roi[1][0] != self.output_shape_max[0]:
            raise ValueError(
                f"output_roi is {value!r}, but this camera reads full width: it must be ((0, y), "
                f"({self.output_shape_max[0]}, height))."
            )
        self._output_roi = roi

    @property
    def output_shape(self) -> Tuple2D:
        """Size of the region of interest, (width, height)."""
        return self._output_roi[1]

    @property
    def frametime_us(self) -> int:
        """Time between frames in microseconds; cut to an integer when set.

        What is set below the time that the exposure and the readout need is kept, and lengthened when frames are
        taken: a camera that is not ready cannot be triggered.
        """
        return self._frametime_us

    @frametime_us.setter
    def frametime_us(self, value: float) -> None:
        self._frametime_us = microseconds("frametime_us", value)

    @property
    def exposure_us(self) -> int:
        """Exposure in microseconds; cut to an integer when set."""
        return self._exposure_us

    @exposure_us.setter
    def exposure_us(self, value: float) -> None:
        self._exposure_us = microseconds("exposure_us", value)

    @property
    def gain_dB(self) -> float:
        """Analogue gain relative to the device's own, in dB: 0.

        The gain of the camera belongs to the simulated device (`gain_dn_per_e`), so that nothing else may be set.
        """
        return self._gain_dB

    @gain_dB.setter
    def gain_dB(self, value: float) -> None:
        self._gain_dB = validation.number("gain_dB", value, low=0.0, high=0.0)

    def readout_us(self, n_rows: int) -> int:
        """Return the time to read rows of the sensor.

        Parameters
        ----------
        n_rows : int
            How many rows.

        Returns
        -------
        int
            Microseconds, rounded up.
        """
        return whole_microseconds(self.device_model.camera.readout_s(n_rows))
