"""Three ways to train one network: direct feedback alignment, backpropagation, and the last layer only.

They differ in where the deltas of the hidden layers come from; all else is `opusim.dfa.base_trainer`.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.bench.protocol import lacking

from .alignment import angle_deg, backprop_deltas, weight_update
from .base_trainer import Trainer, TrainingDivergedError
from .batch import Batch
from .feedback import Feedback
from .network import MLP
from .progress import Progress

__all__ = ["BackpropTrainer", "DFATrainer", "Progress", "ShallowTrainer", "Trainer", "TrainingDivergedError"]


class DFATrainer(Trainer):
    """Direct feedback alignment: hidden layers learn from a fixed random projection of the error.

    The delta of hidden layer l is ``feedback_scale * (B_l e) * f'(a_l)``, where e is the error of a sample at the
    output, and B_l e its slice of one wide projection for all layers (Nokland, arXiv 1609.01596; the shared projection
    as in TinyDFA, arXiv 2006.12878). The last layer learns from e itself.

    Parameters
    ----------
    network : MLP
        With at least one hidden layer. It is changed in place.
    feedback : Feedback
        Projects errors. Its width is the sum of the sizes of the hidden layers: the first slice is of the first layer.
    feedback_scale : float, optional
        Above 0. The feedback's matrix has entries of mean square 1; by default this is 1 over the root of the size of
        the widest hidden layer, as in TinyDFA.
    **options
        As for `Trainer`: optimiser, batch_size, epochs, seed, loss, learning_rate_decay, alignment_samples, checkpoint,
        checkpoint_every, progress, callback, label.

    Raises
    ------
    TypeError
        If `feedback` lacks something that a feedback has, or an argument is of another type.
    ValueError
        If the feedback does not fit the network, or an argument is not what it may be.
    """

    method = "dfa"
    feedback: Feedback

    def __init__(
        self, network: MLP, feedback: Feedback, *, feedback_scale: float | None = None, **options: Any
    ) -> None:
        super().__init__(network, **options)
        missing = lacking(feedback, Feedback)
        if missing:
            raise TypeError(
                f"feedback is {feedback!r} ({type(feedback).__name__}), which has no {', '.join(missing)}; it must be "
                "a feedback, for instance an opusim.dfa.GaussianFeedback or an opusim.dfa.OpticalFeedback."
            )
        hidden = network.hidden_sizes
        if not hidden:
            raise ValueError(
                f"network has the sizes {network.sizes}, but direct feedback alignment needs a hidden layer."
            )
        if feedback.width != sum(hidden):
            raise ValueError(
                f"feedback has the width {feedback.width}, but it must be {sum(hidden)}: the sum of the hidden layers "
                f"{' + '.join(map(str, hidden))}."
            )
        if feedback.n_classes != network.n_classes:
            raise ValueError(
                f"feedback projects errors of {feedback.n_classes} classes, but the network has {network.n_classes}."
            )
        self.feedback = feedback
        self.feedback_scale = (
            1 / math.sqrt(max(hidden))
            if feedback_scale is None
            else validation.number("feedback_scale", feedback_scale, low=0, low_open=True, high=1e6)
        )

    def settings(self) -> dict[str, Any]:
        """Return what, besides network, optimiser, feedback and data, makes the run what it is.

        Returns
        -------
        dict
            Values by name.
        """
        return {**super().settings(), "feedback_scale": self.feedback_scale}

    def _fill_hidden_deltas(self, batch: Batch) -> None:
        start = time.perf_counter()
        projected = self.feedback.project(batch.errors)
        self.feedback_wall_s += time.perf_counter() - start
        if projected.shape != (len(batch.labels), self.feedback.width):
            raise ValueError(
                f"feedback returned an array of the shape {projected.shape}, but it must be (batch, width) = "
                f"{(len(batch.labels), self.feedback.width)}."
            )
        begin = 0
        for layer, delta in enumerate(batch.hidden_deltas):
            end = begin + delta.shape[1]
            self.network.times_derivative(batch.activations, layer, projected[:, begin:end], out=delta)
            delta *= self.feedback_scale / len(batch.labels)
            begin = end

    def _angles_deg(self, batch: Batch) -> np.ndarray:
        self._fill_hidden_deltas(batch)
        true_deltas = [np.empty_like(delta) for delta in batch.hidden_deltas]
        backprop_deltas(self.network, batch.activations, batch.output_delta, true_deltas)
        angles = []
        for layer, (own, true) in enumerate(zip(batch.hidden_deltas, true_deltas, strict=True)):
            update = weight_update(batch.activations, layer, own)
            angles.append(angle_deg(update, weight_update(batch.activations, layer, true)))
        return np.array(angles)


class BackpropTrainer(Trainer):
    """Backpropagation: the baseline that everything is compared with.

    Parameters
    ----------
    network : MLP
        It is changed in place.
    optimiser, batch_size, epochs, seed, loss, learning_rate_decay : optional
        As for `Trainer`.
    alignment_samples : int, optional
        Without effect: the angle to itself is 0.
    checkpoint, checkpoint_every, progress, callback, label : optional
        As for `Trainer`.
    """

    method = "backprop"

    def _fill_hidden_deltas(self, batch: Batch) -> None:
        backprop_deltas(self.network, batch.activations, batch.output_delta, batch.hidden_deltas)

    def _angles_deg(self, batch: Batch) -> np.ndarray:
        return np.zeros(len(self.network.hidden_sizes))

    def _probe_angles_deg(self, samples: Any) -> np.ndarray:
        return np.zeros(len(self.network.hidden_sizes))


class ShallowTrainer(Trainer):
    """Only the last layer is trained; hidden layers stay random. What direct feedback alignment must beat.

    Parameters
    ----------
    network : MLP
        Its last layer is changed in place.
    **options
        As for `Trainer`. `alignment_samples` has no effect: hidden layers have no updates.
    """

    method = "shallow"

    def __init__(self, network: MLP, **options: Any) -> None:
        super().__init__(network, **options)
        self.first_layer = network.n_layers - 1

    def _fill_hidden_deltas(self, batch: Batch) -> None:
        """Do nothing: no hidden layer is trained."""

    def _angles_deg(self, batch: Batch) -> np.ndarray:
        return np.full(len(self.network.hidden_sizes), np.nan)

    def _probe_angles_deg(self, samples: Any) -> np.ndarray:
        return np.full(len(self.network.hidden_sizes), np.nan)
