"""The mirrors alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from opusim.drivers.compat import environment

__all__ = ["InputDevice"]


class InputDevice:
    """Shows patterns on the mirrors of the selected device, without a camera.

    Parameters
    ----------
    verbose : bool
        Kept, without effect.

    Attributes
    ----------
    shape : tuple of int
        Mirrors, (912, 1140) for the real device.
    input_size : int
        Bytes of a packed pattern.
    displayed : numpy.ndarray or None
        What the mirrors show: uint8 0/1, `shape`. The real device has no such attribute.
    frametime_us : int or None
        For how long, in microseconds.
    """

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose
        rows, columns = environment.selected().device.dmd.shape
        self.shape = (int(rows), int(columns))
        self.input_size = -(-self.shape[0] * self.shape[1] // 8)
        self.displayed: np.ndarray | None = None
        self.frametime_us: int | None = None

    def display(self, input_data: Any, frametime_us: float) -> None:
        """Show a packed pattern, uint8 (input_size,), mirror k in bit k % 8 of byte k // 8."""
        data = np.asarray(input_data)
        if data.dtype != np.uint8 or data.size != self.input_size:
            raise ValueError(
                f"input_data has {data.size} elements of {data.dtype}, but it must have {self.input_size} of uint8."
            )
        bits = np.unpackbits(data.ravel(), bitorder="little", count=self.shape[0] * self.shape[1])
        self.displayed, self.frametime_us = bits.reshape(self.shape), int(frametime_us)
