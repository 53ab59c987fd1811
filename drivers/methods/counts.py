"""The camera's counts themselves: one frame a vector, |R x|^2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import Method


@dataclass(frozen=True)
class Counts(Method):
    """Counts as the camera gives them.

    Parameters
    ----------
    dtype : numpy.dtype
        The camera's.
    """

    dtype: np.dtype[Any]

    def frames(self, n: int) -> int:
        """Return one frame for each vector."""
        return n

    def encode(self, bits: Any, *, part: bool = False) -> Any:
        """Return the vectors as they are."""
        return bits

    def decode(
        self, frames: Any, shared: Any = None, *, out: Any = None, part: bool = False, threads: int | None = None
    ) -> Any:
        """Return the frames."""
        return frames

    def task_bytes(self, n_out: int, frame_item: int) -> int:
        """Return the bytes of a frame, which is the result."""
        return n_out * frame_item
