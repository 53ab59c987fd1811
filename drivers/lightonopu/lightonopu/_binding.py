"""The compiled binding of a device, which lightonml 1.3 to 1.4.1 wrap themselves."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from opusim.bench.region import LightonmlRoi
from opusim.drivers.types import AcqState

from .internal.device import _OpuDevice


class Binding:
    """A closed device of one type; what it knows is there while it is open, as with the real one.

    Attributes
    ----------
    nb_prelim : int
        Preliminary frames of a sequence: kept, without effect.
    """

    opu_type: ClassVar[str]

    def __init__(self) -> None:
        self._device = _OpuDevice(self.opu_type, 500, 400)
        self.nb_prelim = 0

    # ------------------------------------------------------------------ open and closed

    @property
    def active(self) -> bool:
        """Whether it is open."""
        return self._device.active

    def open(self, frametime_us: float, exposure_us: float, nb_prelim: int = 0, verbose: int = 0) -> None:
        """Open the device with these times, in microseconds."""
        self._device.frametime_us, self._device.exposure_us = frametime_us, exposure_us
        self.nb_prelim = nb_prelim
        self._device.open()

    def close(self) -> None:
        """Close the device."""
        self._device.close()

    # ------------------------------------------------------------------ what it is

    @property
    def input_shape(self) -> list[int]:
        """Mirrors, [912, 1140] for the real device."""
        return list(self._device.input_shape)

    @property
    def input_size(self) -> int:
        """Bytes of a packed pattern."""
        return self._device.input_size

    @property
    def output_shape_max(self) -> list[int]:
        """Sensor as [width, height]."""
        return list(self._device.output_shape_max)

    def device_versions(self) -> str:
        """Return what is simulated."""
        return self._device.versions()

    def library_versions(self) -> str:
        """Return the version of the software."""
        import opusim

        return f"opusim version {opusim.__version__}"

    # ------------------------------------------------------------------ settings

    @property
    def frametime_us(self) -> int:
        """Time between frames in microseconds."""
        return self._device.frametime_us

    @frametime_us.setter
    def frametime_us(self, value: float) -> None:
        self._device.frametime_us = value

    @property
    def exposure_us(self) -> int:
        """Exposure in microseconds."""
        return self._device.exposure_us

    @exposure_us.setter
    def exposure_us(self, value: float) -> None:
        self._device.exposure_us = value

    @property
    def gain_dB(self) -> float:
        """Gain in dB: 0."""
        return self._device.gain_dB

    @gain_dB.setter
    def gain_dB(self, value: float) -> None:
        self._device.gain_dB = value

    @property
    def output_roi(self) -> tuple[list[int], list[int]]:
        """Region of interest, ([x, y], [width, height])."""
        (x, y), (width, height) = self._device.output_roi
        return [x, y], [width, height]

    @output_roi.setter
    def output_roi(self, value: LightonmlRoi) -> None:
        self._device.output_roi = value

    @property
    def output_readout_us(self) -> int:
        """Time to read the region, in microseconds."""
        return self._device.output_readout_us

    def reserve(self, n_images: int) -> None:
        """Prepare for frames."""
        self._device.reserve(n_images)

    # ------------------------------------------------------------------ frames

    def start_acq(self, triggered: bool = True) -> None:
        """Begin to acquire batches."""
        self._device.start_acquisition(AcqState.batch)

    def start_online_acq(self, triggered: bool = True) -> None:
        """Begin to acquire single vectors."""
        self._device.start_acquisition(AcqState.online)

    def stop_acq(self) -> None:
        """End what was begun last; nothing happens if nothing was, or the device is closed."""
        state = self._device.acq_state
        if state is not None:
            self._device.stop_acquisition(state)

    @property
    def acq_state(self) -> int:
        """1 stopped, 2 batch, 3 online."""
        state = self._device.acq_state
        return (AcqState.stopped if state is None else state).value

    def transform1(self, ins: np.ndarray, batch_index: int = -1, nb_acq_output: int | None = None) -> np.ndarray:
        """Return the whole region for each pattern."""
        return self._device.transform1(ins, batch_index, nb_acq_output)

    def transform2(self, ins: np.ndarray, out: np.ndarray, batch_index: int = -1, nb_acq_output: Any = None) -> None:
        """Fill `out` with the first pixels of the region for each pattern."""
        self._device.transform2(ins, out, batch_index, nb_acq_output)

    def transform_single(self, v: np.ndarray) -> np.ndarray:
        """Return the whole region for one pattern."""
        return self._device.transform_single(v)

    def transform_online(self, v: np.ndarray) -> np.ndarray:
        """Return the whole region for one pattern, in online mode."""
        return self._device.transform_online(v)
