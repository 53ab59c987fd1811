"""What sources of all kinds have in common: the cells that they feed, and what lies between them and the light."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from opusim.device.fourier_stop import Relay


class Cells:
    """Input cells of a medium, a mode each: macro-pixels, or mirrors or pixels one by one."""

    by_mirror: ClassVar[bool] = False
    """Whether each mirror, or each pixel of a phase modulator, is a mode."""
    relay: Relay | None = None
    """What the light of mirrors goes through before it comes to the cells; there is none in front of macro-pixels."""

    def before_relay(self, fields: np.ndarray, workers: int = 1) -> np.ndarray:
        """Return what the transposed relay makes of fields at the cells: those at the columns of `modes`.

        Parameters
        ----------
        fields : ndarray of complex64, shape (n, *input_shape)
            Light that comes back through the medium.
        workers : int, optional
            Threads, which do not change the result.

        Returns
        -------
        ndarray of complex64, shape (n, n_modes)
            Without a relay the fields themselves.
        """
        if self.relay is not None:
            fields = self.relay.through(fields, workers=workers, transposed=True)
        return fields.reshape(len(fields), -1)


def scale(numbers: np.ndarray, by: np.ndarray) -> None:
    """Multiply complex64 numbers (n, m) by real ones in place: part by part, so that there are no sums that round."""
    numbers.view(np.float32).reshape(*numbers.shape, 2)[...] *= by[..., None]


def macro_shape(n_features: tuple[int, ...]) -> tuple[int, int]:
    """Return the rows and columns of cells for features on macro-pixels, and one cell for the light of none of them."""
    if len(n_features) == 2:
        rows, columns = n_features
        return rows + 1, columns  # the background lies in the row below
    n = math.prod(n_features) + 1
    columns = math.ceil(math.sqrt(n))
    return math.ceil(n / columns), columns
