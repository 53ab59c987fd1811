"""A graph-convolutional network on a citation graph, its hidden layer trained by projected errors.

The network of Kipf and Welling, "Semi-supervised classification with graph convolutional networks" (ICLR 2017): two
layers, ``A relu(A X W1 + b1) W2 + b2`` with A the normalised adjacency. The recipes are those of the code of Launay,
Poli, Boniface and Krzakala, "Direct feedback alignment scales to modern deep learning tasks and architectures"
(NeurIPS 2020): Adam with a learning rate of 0.01, 250 epochs on the whole graph, test accuracy at the best validation
accuracy; dropout 0.5 and weight decay 5e-4 on layer 1 for backpropagation, else 0.1 and 1e-4. It runs on the CPU, in
PyTorch and scipy; no graph library is needed::

    python -m opusim.tasks.graph --dataset cora --feedback optical
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import typer

from opusim import datasets
from opusim.base import validation
from opusim.base.errors import no_torch
from opusim.base.short_repr import short_repr
from opusim.datasets import Dataset
from opusim.dfa.feedback import Costs

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:
    raise no_torch("opusim.tasks.graph", error) from error

from opusim.dfa.torch import DFA

from .running import FeedbackFactory, WallTime, add_options, check_method, chosen, summary

__all__ = ["GCN", "GCNResult", "train_gcn"]


@short_repr
@dataclass(frozen=True)
class GCNResult:
    """One trained graph-convolutional network.

    Attributes
    ----------
    settings : dict
        Data set, method, seed, and all that was set; with what the feedback says of itself.
    loss : ndarray of float64, shape (epochs,)
        Mean cross entropy of the training nodes in each epoch, in nats, dropout on.
    validation_accuracy, test_accuracies : ndarray of float64, shape (epochs,)
        Accuracy after each epoch, 0 to 1.
    best_epoch : int
        The first epoch of the best validation accuracy, from 0 on.
    test_accuracy : float
        Test accuracy there.
    costs : Costs or None
        What the feedback has cost; None without one.
    time : WallTime
        Where the time went.
    """

    settings: dict[str, Any]
    loss: np.ndarray
    validation_accuracy: np.ndarray
    test_accuracies: np.ndarray
    best_epoch: int
    test_accuracy: float
    costs: Costs | None
    time: WallTime


class _Product(torch.autograd.Function):
    """A fixed sparse matrix times a dense tensor, by scipy: tens of times as fast as `torch.sparse.mm` on a CPU."""

    @staticmethod
    def forward(ctx: Any, matrix: scipy.sparse.csr_array, dense: Tensor) -> Tensor:
        ctx.matrix = matrix
        return torch.from_numpy(matrix @ dense.detach().numpy())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, torch.from_numpy(ctx.matrix.T @ gradient.numpy())


def _times(matrix: scipy.sparse.csr_array, dense: Tensor) -> Tensor:
    return _Product.apply(matrix, dense)


class GCN(nn.Module):
    """Two graph convolutions with a rectifier and dropout between them.

    Parameters
    ----------
    n_features, hidden, n_classes : int
        Sizes.
    dropout : float
        Share of hidden values that are set to zero in training.
    generator : torch.Generator
        Draws the weights (Glorot and Bengio's uniform distribution, as Kipf and Welling; biases are zero) and the
        dropout: no global state is read.
    """

    def __init__(
        self, n_features: int, hidden: int, n_classes: int, *, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.weight1 = nn.Parameter(torch.empty(n_features, hidden))
        self.bias1 = nn.Parameter(torch.zeros(hidden))
        self.weight2 = nn.Parameter(torch.empty(hidden, n_classes))
        self.bias2 = nn.Parameter(torch.zeros(n_classes))
        for weight in (self.weight1, self.weight2):
            nn.init.xavier_uniform_(weight, generator=generator)
        self.dropout = dropout
        self.generator = generator

    def forward(
        self,
        x: scipy.sparse.csr_array,
        adjacency: scipy.sparse.csr_array,
        dfa: DFA | None = None,
        propagate_error: bool = True,
    ) -> Tensor:
        """Return logits (nodes, n_classes) of features (nodes, n_features).

        With `dfa`, the graph of the hidden layer ends behind the second sum over neighbours if `propagate_error`,
        else before it.
        """
        h = torch.relu(_times(adjacency, _times(x, self.weight1)) + self.bias1)
        if self.training and self.dropout:
            kept = torch.empty_like(h).bernoulli_(1 - self.dropout, generator=self.generator)
            h = h * kept / (1 - self.dropout)
        if dfa is not None and not propagate_error:
            h = dfa.block(h)
        h = _times(adjacency, h)
        if dfa is not None and propagate_error:
            h = dfa.block(h)
        logits = h @ self.weight2 + self.bias2
        return logits if dfa is None else dfa.output(logits)


def train_gcn(
    graph: Dataset,
    method: str,
    feedback: FeedbackFactory | None = None,
    *,
    seed: int = 0,
    epochs: int = 250,
    hidden: int = 16,
    propagate_error: bool = True,
    feedback_scale: float | None = None,
    learning_rate: float = 0.01,
    dropout: float | None = None,
    weight_decay: float | None = None,
    report: Callable[[int, float, float], None] | None = None,
) -> GCNResult:
    """Train the network on one graph.

    Parameters
    ----------
    graph : opusim.datasets.Dataset
        "cora", "citeseer" or "pubmed", or another with the same arrays.
    method : {"backprop", "dfa", "shallow"}
        How the hidden layer is trained; "shallow" leaves it as it was drawn. The output layer gets its gradient always.
    feedback : callable, optional
        For "dfa": called with (n_classes, width), it returns the feedback, a new one for each training.
    seed : int
        Seed of weights and dropout.
    epochs : int
        Passes over the graph.
    hidden : int
        Hidden units: the width of the feedback.
    propagate_error : bool
        Where the projected error of a node goes. If true, to its sum over neighbours, and from there by the transposed
        adjacency, which is known and holds no weights, to the neighbours; the device shows not one frame more. If
        false, to the node itself, as in the code of Launay et al. True is the default because it is better: on Cora,
        with float errors and seeds 0 to 4, a test accuracy of 81.1 +- 0.5 % against 79.1 +- 1.0 %.
    feedback_scale : float, optional
        Factor of the projected errors, 1/sqrt(hidden) if None.
    learning_rate : float
        Adam's.
    dropout, weight_decay : float, optional
        Of the hidden layer; those of the sources if None.
    report : callable, optional
        Called with (epoch, loss, validation accuracy) after each epoch.

    Returns
    -------
    GCNResult

    Raises
    ------
    ValueError
        If an argument is not of the kind named, or a feedback does not go with the method.

    Notes
    -----
    The error of a node without a label is zero and is not projected. Errors begin at 1/n_classes - 1 for the right
    class and 1/n_classes for the others: a fixed ternary threshold must lie above that. On Cora, as above, the nearest
    ternary vectors give 80.4 %, fixed thresholds of 0.1, 0.2 and 0.4 give 78.3, 80.9 and 79.6 %, four bits 81.1 %.
    """
    check_method(method, feedback)
    epochs = validation.integer("epochs", epochs, low=1)
    hidden = validation.integer("hidden", hidden, low=1)
    learning_rate = validation.number("learning_rate", learning_rate, low=0, high=math.inf, low_open=True)
    dropout = (0.5 if method == "backprop" else 0.1) if dropout is None else dropout
    dropout = validation.number("dropout", dropout, low=0, high=0.99)
    weight_decay = (5e-4 if method == "backprop" else 1e-4) if weight_decay is None else weight_decay
    weight_decay = validation.number("weight_decay", weight_decay, low=0, high=math.inf)

    x, adjacency = _features(graph), _adjacency(graph)
    labels = torch.from_numpy(graph.labels.astype(np.int64))
    train, validating, test = (
        torch.from_numpy(rows.astype(np.int64)) for rows in (graph.idx_train, graph.idx_val, graph.idx_test)
    )
    n_classes = int(labels.max()) + 1
    generator = torch.Generator().manual_seed(validation.integer("seed", seed, low=0, high=2**63 - 1))
    model = GCN(x.shape[1], hidden, n_classes, dropout=dropout, generator=generator)
    projection = None if feedback is None else feedback(n_classes, hidden)
    dfa = None if projection is None else DFA(projection, scale=feedback_scale)
    first, last = [model.weight1, model.bias1], [model.weight2, model.bias2]
    if method == "shallow":
        for parameter in first:
            parameter.requires_grad_(False)
    groups: list[dict[str, Any]] = [{"params": first, "weight_decay": weight_decay}, {"params": last}]
    optimiser = torch.optim.Adam(groups, lr=learning_rate)

    start = time.perf_counter()
    losses, accuracies = [], []
    for epoch in range(epochs):
        model.train()
        optimiser.zero_grad()
        logits = model(x, adjacency, dfa, propagate_error)
        loss = functional.cross_entropy(logits[train], labels[train])
        loss.backward()
        optimiser.step()
        model.eval()
        with torch.no_grad():
            right = model(x, adjacency).argmax(1) == labels
        losses.append(loss.item())
        accuracies.append([right[rows].double().mean().item() for rows in (validating, test)])
        if report is not None:
            report(epoch, losses[-1], accuracies[-1][0])

    curves = np.array(accuracies)
    best = int(curves[:, 0].argmax())
    settings: dict[str, Any] = {
        "dataset": graph.name,
        "method": method,
        "seed": seed,
        "epochs": epochs,
        "hidden": hidden,
        "learning_rate": learning_rate,
        "dropout": dropout,
        "weight_decay": weight_decay,
    }
    if dfa is not None and projection is not None:
        settings |= {"propagate_error": propagate_error, "feedback_scale": dfa.scale or 1 / math.sqrt(hidden)}
        settings |= {"feedback": projection.describe()}
    costs = None if projection is None else projection.costs
    return GCNResult(
        settings,
        np.array(losses),
        curves[:, 0],
        curves[:, 1],
        best,
        float(curves[best, 1]),
        costs,
        WallTime.since(start, costs),
    )


def _features(graph: Dataset) -> scipy.sparse.csr_array:
    """Return the features, each node's divided by their sum, float32."""
    shape = tuple(int(length) for length in graph.x_shape)
    x = scipy.sparse.csr_array((graph.x_data, graph.x_indices.astype(np.int32), graph.x_indptr), shape=shape)
    sums = x.sum(axis=1)
    return (scipy.sparse.diags_array(np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)) @ x).tocsr()


def _adjacency(graph: Dataset) -> scipy.sparse.csr_array:
    """Return D^-1/2 (A + I) D^-1/2, D the degrees of A + I, float32; a loop in the data counts once."""
    n = len(graph.labels)
    u, v = graph.edges.T
    neighbours = scipy.sparse.coo_array((np.ones(2 * len(u)), (np.r_[u, v], np.r_[v, u])), shape=(n, n))
    neighbours = neighbours.tocsr() + scipy.sparse.eye_array(n)
    roots = scipy.sparse.diags_array(1 / np.sqrt(neighbours.sum(axis=1)))
    return (roots @ neighbours @ roots).tocsr().astype(np.float32)


def main(arguments: list[str] | None = None) -> None:
    """Train one network from the command line and print how it went."""
    parser = argparse.ArgumentParser(
        prog="python -m opusim.tasks.graph", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--dataset", choices=("cora", "citeseer", "pubmed"), default="cora")
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--every", type=int, default=50, help="print a line every so many epochs (%(default)s)")
    add_options(parser)
    options = parser.parse_args(arguments)

    def report(epoch: int, loss: float, accuracy: float) -> None:
        if (epoch + 1) % options.every == 0:
            typer.echo(f"epoch {epoch + 1:4d}  loss {loss:.3f}  validation {accuracy:.1%}")

    graph = datasets.load(options.dataset)
    with chosen(options) as (method, feedback):
        result = train_gcn(graph, method, feedback, seed=options.seed, epochs=options.epochs, report=report)
    typer.echo(
        f"test {result.test_accuracy:.1%} at epoch {result.best_epoch + 1}  ({summary(result.costs, result.time)})"
    )


if __name__ == "__main__":
    main()
