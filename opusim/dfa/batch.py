"""One batch from its samples to its gradients, in arrays that are made once."""

from __future__ import annotations

import numpy as np

from .alignment import weight_update
from .losses import errors_and_loss
from .network import MLP

__all__ = ["Batch"]


class Batch:
    """The arrays that a batch needs.

    Parameters
    ----------
    network : MLP
    rows : int
        Number of samples.
    first_layer : int
        The first layer that is trained.

    Attributes
    ----------
    activations : Activations
        `inputs` is to be filled; the rest comes from `run_forward`.
    labels : ndarray of int64, shape (rows,)
        To be filled.
    errors : ndarray, shape (rows, n_classes)
        Gradient of each sample's own loss by its logits.
    output_delta : ndarray, shape (rows, n_classes)
        Gradient of the mean loss: the errors over the number of rows.
    hidden_deltas : list of ndarray, each of shape (rows, size of the hidden layer)
        To be filled by the training method: gradient of the mean loss by the pre-activations, or what takes its place.
    gradients : list of ndarray
        In the order of ``network.parameters(first_layer)``.
    """

    def __init__(self, network: MLP, rows: int, first_layer: int = 0) -> None:
        self.network = network
        self.first_layer = first_layer
        self.activations = network.workspace(rows)
        self.labels = np.empty(rows, np.int64)
        self.errors = np.empty((rows, network.n_classes), network.dtype)
        self.output_delta = np.empty_like(self.errors)
        self.hidden_deltas = [np.empty_like(hidden) for hidden in self.activations.hidden]
        self.gradients = [np.empty_like(array) for array in network.parameters(first_layer)]

    def rows(self, n: int) -> Batch:
        """Return a batch of the first `n` rows of the same arrays, and of the same gradients."""
        if n == len(self.labels):
            return self
        part = object.__new__(Batch)
        part.network, part.first_layer, part.gradients = self.network, self.first_layer, self.gradients
        part.activations = self.activations.rows(n)
        part.labels, part.errors, part.output_delta = self.labels[:n], self.errors[:n], self.output_delta[:n]
        part.hidden_deltas = [delta[:n] for delta in self.hidden_deltas]
        return part

    def run_forward(self, loss: str) -> float:
        """Fill activations, errors and output delta; return the sum of the losses."""
        logits = self.network.forward(self.activations.inputs, out=self.activations).logits
        total = errors_and_loss(loss, logits, self.labels, self.errors)
        np.multiply(self.errors, 1 / len(self.labels), out=self.output_delta)
        return total

    def find_gradients(self) -> None:
        """Fill the gradients, from the deltas of all layers that are trained."""
        deltas = [*self.hidden_deltas, self.output_delta]
        for i, layer in enumerate(range(self.first_layer, self.network.n_layers)):
            weight_update(self.activations, layer, deltas[layer], out=self.gradients[2 * i])
            np.sum(deltas[layer], axis=0, out=self.gradients[2 * i + 1])
