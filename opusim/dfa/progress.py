"""Where a training run stands, for a callback or a bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opusim.base.progress import ProgressBar

from .history import History
from .losses import loss_text

__all__ = ["Bar", "Progress"]


@dataclass(frozen=True)
class Progress:
    """Where a training run stands: what a callback is given.

    Parameters
    ----------
    epoch, epochs : int
        Number of the epoch under way, from 1, and how many there will be.
    step, steps : int
        Batches done in it, and how many it has.
    loss, accuracy : float
        Means over the samples of this epoch so far.
    epoch_done : bool
        True once for each epoch, after its last batch: `history` has the epoch, and its checkpoint is written.
    history : History
        The epochs that are done.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    epoch_done: bool
    history: History


class Bar:
    """A progress bar that follows a run; it opens with the first batch."""

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None

    def __call__(self, progress: Progress) -> None:
        """Show where the run stands."""
        if self._bar is None:
            total = progress.epochs * progress.steps
            self._bar = ProgressBar(total, unit="batch", done=(progress.epoch - 1) * progress.steps)
        bar = self._bar
        if not progress.epoch_done:
            bar.say(f"epoch {progress.epoch} of {progress.epochs}")
            bar.advance()
            return
        history = progress.history
        told = {"loss": loss_text(history.loss[-1]), "training": f"{history.train_accuracy[-1]:.2%}"}
        if not np.isnan(history.validation_accuracy[-1]):
            told["validation"] = f"{history.validation_accuracy[-1]:.2%}"
        if not np.isnan(history.alignment_deg[-1]).all():
            told["alignment"] = "/".join(f"{angle:.0f}°" for angle in history.alignment_deg[-1])
        bar.say(**told)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
