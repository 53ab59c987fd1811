"""What a training run did, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from opusim.base.short_repr import short_repr

__all__ = ["History"]


@short_repr
@dataclass(frozen=True)
class History:
    """Arrays of one entry for each epoch that is done. NaN where something was not measured.

    Parameters
    ----------
    epoch : ndarray of int64, shape (epochs,)
        Number of the epoch, from 1.
    loss : ndarray of float64, shape (epochs,)
        Mean loss of the training samples, each as its batch came up.
    train_accuracy : ndarray of float64, shape (epochs,)
        Share of the training samples predicted right, each as its batch came up.
    validation_accuracy : ndarray of float64, shape (epochs,)
        Share of the validation samples predicted right at the end of the epoch; NaN without any.
    alignment_deg : ndarray of float64, shape (epochs, hidden layers)
        Angle between the weight update of a hidden layer and that of backpropagation, at the end of the epoch. 0 for
        backpropagation itself, NaN where there is no update or none was asked for.
    network_s : ndarray of float64, shape (epochs,)
        Wall time in the network: forward, errors, gradients, optimiser.
    encoding_s : ndarray of float64, shape (epochs,)
        Wall time in encoding errors for the feedback.
    projection_s : ndarray of float64, shape (epochs,)
        Wall time in projecting them: on the device, simulated or not, or by a matrix.
    evaluation_s : ndarray of float64, shape (epochs,)
        Wall time in validation and alignment, without their projections, which count above.
    total_s : ndarray of float64, shape (epochs,)
        Wall time of the whole epoch, but for the writing of its checkpoint.
    frames : ndarray of float64, shape (epochs,)
        Frames that the device showed, those for the alignment included; NaN if the feedback has none.
    clock_s : ndarray of float64, shape (epochs,)
        Seconds that the real device would have taken, by the clock of the simulated one: no wall time. NaN if there is
        no clock.
    energy_j : ndarray of float64, shape (epochs,)
        Joules the real device would have used; NaN if not known.

    Notes
    -----
    A resumed run has the same entries as an uninterrupted one, but for the wall times.
    """

    epoch: np.ndarray
    loss: np.ndarray
    train_accuracy: np.ndarray
    validation_accuracy: np.ndarray
    alignment_deg: np.ndarray
    network_s: np.ndarray
    encoding_s: np.ndarray
    projection_s: np.ndarray
    evaluation_s: np.ndarray
    total_s: np.ndarray
    frames: np.ndarray
    clock_s: np.ndarray
    energy_j: np.ndarray

    @classmethod
    def empty(cls, n_hidden: int) -> History:
        """Return the history of a run before its first epoch.

        Parameters
        ----------
        n_hidden : int
            Hidden layers of the network.

        Returns
        -------
        History
            Arrays without an entry.
        """
        arrays: dict[str, np.ndarray] = {field.name: np.empty(0) for field in fields(cls)}
        arrays["epoch"] = np.empty(0, np.int64)
        arrays["alignment_deg"] = np.empty((0, n_hidden))
        return cls(**arrays)

    def appended(self, **entry: Any) -> History:
        """Return this history and one more epoch.

        Parameters
        ----------
        **entry
            A value for each field.

        Returns
        -------
        History
            A new history.
        """
        arrays = {}
        for field in fields(self):
            old = getattr(self, field.name)
            new = np.asarray(entry.pop(field.name), old.dtype).reshape(1, *old.shape[1:])
            arrays[field.name] = np.concatenate([old, new])
        if entry:
            raise TypeError(f"A history has no {', '.join(entry)}.")
        return History(**arrays)

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.epoch)
